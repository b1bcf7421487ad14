"""What a trained model saves on 20 letters of a new style: python tools/compare_finetuning.py [--folder FOLDER]

Pix2Pix learns to turn plain letters of all kinds into one style; from there, and from nothing, it learns another style
with 20 letters. Of every run the L1 distance on the validation letters is followed, and that of its best model on the
test letters measured. The table is printed as Markdown. Runs that FOLDER holds already are not repeated.
"""

import argparse
import json
import random
import re
import subprocess
import sys
from pathlib import Path

from translate.data.glyphs import draw_dataset, letter_name, split_characters

SIZE = 32
LETTERS = 20
NETWORK = "generator=unet_64 generator.num_downs=5 generator.width=16 discriminator.width=16 discriminator.num_layers=2"
USUAL = f"image_size={SIZE} batch_size=4 log_every=250 sample_every=10000 save_every=10000 validation.every=75"
FULL, QUARTER = 1500, 375
BASE_STEPS = 2500
PAIRS = (("texture", "outline"), ("outline", "texture"), ("texture", "fancy"))
"""(style that is known, style that is new)."""
FASTER = "finetune.rates={decoder_5:10}"


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/compare_finetuning"), help="where runs are kept")
    folder = parser.parse_args().folder
    letters = draw_letters(folder)
    print("| new style | begun with | validation L1 after 75 steps | 375 | 1,500 | as good as from nothing | test L1 |")
    print("|---|---|---|---|---|---|---|")
    for known, new in PAIRS:
        data = f"data=paired data.root={letters} data.folder_a=regular data.folder_b={new}"
        data += f" data.augmentation.load_size={SIZE} data.augmentation.horizontal_flip=0"
        base = folder / f"base_{known}"
        run(f"train data=glyphs data.style_b={known} {NETWORK} {USUAL} steps={BASE_STEPS} output={base}")
        nothing = folder / f"{new}_from_nothing"
        run(f"train {NETWORK} {data} {USUAL} steps={FULL} output={nothing}")
        bar = min(curve(nothing).values())
        print_row(new, "nothing", nothing, bar)
        for label, name, extra, steps in (
            (f"`{known}`", "", "", QUARTER),
            (f"`{known}`", "", "", FULL),
            (f"`{known}`, `{FASTER}`", "_faster", FASTER, QUARTER),
        ):
            tuned = folder / f"{new}_from_{known}{name}_{steps}"
            run(f"finetune from={base} {data} {USUAL} {extra} steps={steps} output={tuned}")
            print_row(new, label, tuned, bar)


def draw_letters(folder: Path) -> Path:
    """All styles of 20 training letters and of all held-out ones, as a folder of folders."""
    drawn = folder / "letters"
    draw_dataset(folder / "all", size=SIZE)
    for split, characters in split_characters(0).items():
        chosen = random.Random(0).sample(characters, LETTERS) if split == "train" else characters
        for style in (folder / "all" / split).iterdir():
            (drawn / split / style.name).mkdir(parents=True, exist_ok=True)
            for name in map(letter_name, chosen):
                (drawn / split / style.name / f"{name}.png").write_bytes((style / f"{name}.png").read_bytes())
    return drawn


def run(words: str) -> str:
    """Run a command of the toolkit, which does nothing where its run is finished."""
    done = subprocess.run([sys.executable, "-m", "translate", *words.split()], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"translate {words}\n{done.stdout}{done.stderr}")
    return done.stdout


def curve(folder: Path) -> dict[int, float]:
    """The validation L1 by step."""
    rows = [json.loads(line) for line in (folder / "validation.jsonl").read_text().splitlines()]
    return {row["step"]: row["metrics"]["l1"] for row in rows}


def print_row(new: str, label: str, folder: Path, bar: float) -> None:
    """A line of the table."""
    values = curve(folder)
    cells = [f"{values[step]:.4f}" if step in values else "" for step in (75, QUARTER, FULL)]
    reached = next((f"step {step}" for step, value in values.items() if value <= bar), "never")
    found = re.search(r"model\D*(\d\.\d+)", run(f"evaluate {folder} --split test"))
    assert found is not None
    print(f"| {new} | {label} | {' | '.join(cells)} | {reached} | {found[1]} |", flush=True)


if __name__ == "__main__":
    main()
