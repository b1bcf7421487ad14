"""Whether a latent code chooses among several true translations: python tools/measure_latent.py [--folder FOLDER]

Plain letters are paired with letters in one of several styles, which nothing but a code can tell. Pix2Pix learns to
translate them with a code (generator.latent=8) and without; then the test letters, which no training saw, are
translated with random codes, the same for every letter. The style of an output is that of the nearest true letter, by
L1. The table is printed as Markdown, and FOLDER/samples_8.png shows letters by rows and codes by columns. Runs that
FOLDER holds already are not repeated.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import translate
from translate.codes import draw_codes
from translate.data.glyphs import STYLES
from translate.data.image import read_image, write_image

NETWORK = "generator=unet_64 generator.num_downs=5 generator.width=16 discriminator.width=16 discriminator.num_layers=2"
USUAL = (
    "image_size=32 batch_size=4 method.encoder_width=16 log_every=250 save_every=1000 sample_every=500 accelerator=cpu"
)
ROWS = 10
"""Letters in the picture."""


def main() -> None:
    """Train, translate, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/measure_latent"), help="where runs are kept")
    parser.add_argument("--styles", default="outline,color,texture,fancy", help=f"some of {', '.join(STYLES)}")
    parser.add_argument("--latent", type=int, default=8, help="numbers of the code")
    parser.add_argument("--codes", type=int, default=16, help="codes that each letter is translated with")
    parser.add_argument("--steps", type=int, default=1500, help="of training")
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="further settings of training")
    options = parser.parse_args()
    styles = options.styles.split(",")
    print(f"| | styles that {options.codes} codes give a letter | letters that a code gives one style | L1 to it |")
    print("|---|---|---|---|")
    for latent in (options.latent, 0):
        run = options.folder / f"latent_{latent}"
        train(run, f"data.style_b=[{options.styles}] generator.latent={latent} steps={options.steps}", options.words)
        plain, true = letters(run / "glyphs" / "test", styles)
        translator = translate.load(run / "model", accelerator="cpu")  # the last: the best is that of the code of zeros
        codes = draw_codes(options.codes, latent) if latent else [None]
        outputs = [[translator(letter, code=code) for code in codes] for letter in plain]
        values = np.stack(outputs)[:, :, None].astype(np.float32)  # (letters, codes, 1, H, W, C)
        distances = np.abs(values - true[:, None]).mean((3, 4, 5)) / 255  # (letters, codes, styles)
        nearest = distances.argmin(2)
        appear = np.mean([len(set(row)) for row in nearest])
        counts = np.stack([(nearest == place).sum(0) for place in range(len(styles))])  # (styles, codes)
        share = counts.max(0) / len(plain)
        print(
            f"| `generator.latent={latent}` | {appear:.2f} of {len(styles)} | {share.mean():.0%} on average, "
            f"{share.min():.0%} at least | {distances.min(2).mean():.3f} |",
            flush=True,
        )
        names = ", ".join(f"{style} {total}" for style, total in zip(styles, counts.sum(1), strict=True))
        print(f"{nearest.size} translations: {names}", file=sys.stderr)
        rows = [np.concatenate([letter, *row], axis=1) for letter, row in zip(plain, outputs, strict=True)]
        write_image(options.folder / f"samples_{latent}.png", np.concatenate(rows[:ROWS]))


def train(run: Path, words: str, more: Sequence[str]) -> None:
    """Train a run, which does nothing where it is finished."""
    command = f"train data=glyphs {NETWORK} {USUAL} {words} output={run}".split()
    done = subprocess.run([sys.executable, "-m", "translate", *command, *more], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"translate {' '.join(command)}\n{done.stdout}{done.stderr}")


def letters(folder: Path, styles: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The plain letters (letters, H, W, C), and the true ones (letters, styles, H, W, C)."""
    names = sorted(path.name for path in (folder / "regular").iterdir())
    read = {style: np.stack([read_image(folder / style / name) for name in names]) for style in ("regular", *styles)}
    return read["regular"], np.stack([read[style] for style in styles], axis=1)


if __name__ == "__main__":
    main()
