"""Does the verdict call sick runs by name, and leave healthy ones alone? python tools/break_runs.py [--folder FOLDER]

Small runs of 32 x 32 pixels: some broken on purpose, others as they should be. For each the table says what was
expected, and what was called, when: by the lines that the run logged, as this version of the verdict reads them. It is
printed as Markdown. Runs that FOLDER holds already are not repeated.
"""

import argparse
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from translate.data.glyphs import draw_dataset
from translate.training.log import METRICS, VALIDATION, read_metrics
from translate.training.verdict import Diagnosis

COMMON = "image_size=32 epochs=null data.workers=0 log_every=10 sample_every=100 save_every=1000 validation.every=50"
SMALL = "generator.width=16 discriminator.width=16 discriminator.num_layers=2 batch_size=4"
PIX2PIX = f"method=pix2pix generator=unet_64 generator.num_downs=5 {SMALL}"
CYCLEGAN = f"method=cyclegan generator=resnet_6blocks generator.num_blocks=2 {SMALL}"
STARGAN = (
    f"method=stargan generator=resnet_6blocks generator.num_blocks=2 {SMALL} discriminator.num_layers=4 batch_size=8 "
    "method.n_critic=2 optimizer.lr=0.0002"
)
LONG = "steps=1000"
PLAIN = "data.augmentation.load_size=32 data.augmentation.horizontal_flip=0"
COLOURS = f"{CYCLEGAN} data=unpaired data.root={{colours}} {PLAIN}"


class Case(NamedTuple):
    """A run, and the symptom that it must be called by; None for a healthy one."""

    name: str
    words: str
    expected: str | None = None


def cases(images: Path | None) -> list[Case]:
    """All runs; `images` holds photographs for some healthy ones."""
    letters = f"data=paired data.root={{pairs}} data.folder_a=regular data.folder_b=fancy {PLAIN}"
    found = [
        Case("Pix2Pix, learning rate x 100", f"{PIX2PIX} data=glyphs optimizer.lr=0.02 steps=300", "steps too large"),
        Case("CycleGAN, learning rate x 100", f"{CYCLEGAN} data=glyphs optimizer.lr=0.02 steps=200", "steps too large"),
        Case(
            "Pix2Pix, discriminator x 10 steps",
            f"{PIX2PIX} data=glyphs method.n_critic=10 steps=300",
            "the discriminator has won",
        ),
        Case(
            "Pix2Pix, pairs shuffled",
            f"{PIX2PIX} {letters.format(pairs='{shuffled_pairs}')} steps=600",
            "answers do not depend on the inputs",
        ),
        Case(
            "StarGAN, labels shuffled",
            f"{STARGAN} data=domains data.root={{shuffled_domains}} {PLAIN} steps=800",
            "labels do not depend on the images",
        ),
        Case(
            "CycleGAN, identity weight 0 on colours",
            f"{COLOURS} method.identity_weight=0 seed=1 steps=600",
            "colours inverted",
        ),
        Case("Pix2Pix, letters", f"{PIX2PIX} data=glyphs {LONG}"),
        Case("Pix2Pix, letters, least squares", f"{PIX2PIX} data=glyphs objective=lsgan seed=1 {LONG}"),
        Case("Pix2Pix, letters, hinge", f"{PIX2PIX} data=glyphs objective=hinge seed=2 {LONG}"),
        Case("CycleGAN, letters", f"{CYCLEGAN} data=glyphs {LONG}"),
        Case("CycleGAN, colours", f"{COLOURS} seed=1 {LONG}"),
        Case("StarGAN, letters", f"{STARGAN} data=glyphs {LONG}"),
        Case("StarGAN, letters, hinge", f"{STARGAN} data=glyphs objective=hinge seed=1 {LONG}"),
    ]
    if images is not None:
        found += [
            Case("Pix2Pix, facades", f"{PIX2PIX} data=paired data.root={images}/facades data.direction=BtoA {LONG}"),
            Case("CycleGAN, paintings", f"{CYCLEGAN} data=unpaired data.root={images}/monet2photo {LONG}"),
            Case("StarGAN, textures", f"{STARGAN} data=domains data.root={images}/textures/domains {LONG}"),
        ]
    return found


def main() -> None:
    """Run everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/break_runs"), help="where runs are kept")
    parser.add_argument("--images", type=Path, help="a folder of facades, monet2photo and textures, for healthy runs")
    parser.add_argument("--only", default="", help="runs whose name has these words")
    arguments = parser.parse_args()
    roots = draw_data(arguments.folder / "data")
    print("| run | steps | expected | called at step (share of the run) |")
    print("|---|---|---|---|")
    for case in cases(arguments.images):
        if arguments.only in case.name:
            folder = arguments.folder / "".join(letter if letter.isalnum() else "_" for letter in case.name)
            print_row(case, train(case.words.format(**roots), folder))


def draw_data(folder: Path) -> dict[str, Path]:
    """The data sets by the name that the runs know them by."""
    names = ("letters", "shuffled_pairs", "shuffled_domains", "colours")
    roots = {name: folder / name for name in names}
    draw_dataset(roots["letters"], size=32)
    if not roots["colours"].exists():
        shuffle(roots["letters"], roots["shuffled_pairs"], ("fancy",))
        shuffle(roots["letters"], roots["shuffled_domains"], ("regular", "outline", "color", "texture"))
        draw_colours(roots["colours"])
    return roots


def shuffle(letters: Path, folder: Path, styles: tuple[str, ...]) -> None:
    """Copy letters so that those of the styles have one another's names and, of several, one another's style."""
    for split in ("train", "validation", "test"):
        kept = styles if len(styles) > 1 else ("regular", *styles)
        for style in kept:
            shutil.copytree(letters / split / style, folder / split / style)
        places = [path for style in styles for path in sorted((folder / split / style).iterdir())]
        contents = [path.read_bytes() for path in places]
        random.Random(0).shuffle(contents)
        for path, content in zip(places, contents, strict=True):
            path.write_bytes(content)


def draw_colours(folder: Path, count: int = 200) -> None:
    """Discs (A) and squares (B) on grey, orange or blue by chance: both sides have the same colours."""
    draw = np.random.default_rng(0)
    for side in ("trainA", "trainB", "testA", "testB"):
        (folder / side).mkdir(parents=True)
        for index in range(count if side.startswith("train") else 20):
            image = np.full((32, 32, 3), 128, np.uint8)
            offset = np.array([-90, 0, 90]) * draw.choice([-1, 1]) * draw.uniform(0.6, 1)
            colour = tuple((128 + offset).tolist())
            x, y, radius = (int(value) for value in (*draw.integers(10, 22, 2), draw.integers(6, 10)))
            if side.endswith("A"):
                cv2.circle(image, (x, y), radius, colour, -1)
            else:
                cv2.rectangle(image, (x - radius, y - radius), (x + radius, y + radius), colour, -1)
            cv2.imwrite(str(folder / side / f"{index:03d}.png"), image)


def train(words: str, folder: Path) -> Path:
    """A run, which does nothing where it is finished."""
    command = [sys.executable, "-m", "translate", "train", *COMMON.split(), *words.split(), f"output={folder}"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return folder


def print_row(case: Case, folder: Path) -> None:
    """A line of the table."""
    steps = int(case.words.rpartition(" steps=")[2])
    diagnosis, measured = Diagnosis(steps), read_metrics(folder / VALIDATION)
    for row in read_metrics(folder / METRICS):
        diagnosis.measured[:] = (line for line in measured if line["step"] < row["step"])
        diagnosis.take(row)
    called = [f"{each.symptom.name}: {each.step} ({each.step / steps:.0%})" for each in diagnosis.called]
    print(f"| {case.name} | {steps} | {case.expected or 'nothing'} | {'; '.join(called) or 'nothing'} |", flush=True)


if __name__ == "__main__":
    main()
