"""`translate evaluate` of models of every method, on the command line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from translate.data.image import read_image, write_image

SIZE = 16
SHARED = [f"image_size={SIZE}", "batch_size=2", "steps=1", "epochs=null", "data.workers=0", "accelerator=cpu"]
TINY = [
    *SHARED,
    "generator=unet_64",
    "generator.num_downs=3",
    "generator.width=2",
    "discriminator.num_layers=1",
    "discriminator.width=2",
]
STARGAN = [
    *SHARED,
    "method=stargan",
    "generator.width=4",
    "generator.num_blocks=1",
    "discriminator.width=4",
    "discriminator.num_layers=2",
]

Command = Callable[..., Any]


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    """Folders A (grey noise) and B (its negative), with test images."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 2)):
        for name in ("A", "B"):
            (tmp_path / "sides" / split / name).mkdir(parents=True)
        for index in range(count):
            image = generator.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
            write_image(tmp_path / "sides" / split / "A" / f"{index}.png", image)
            write_image(tmp_path / "sides" / split / "B" / f"{index}.png", 255 - image)
    return tmp_path / "sides"


@pytest.fixture
def cyclegan(command: Command, tmp_path: Path, sides: Path) -> Path:
    """A run of CycleGAN on the sides as unpaired images."""
    words = [*TINY, "method=cyclegan", f"data.root={sides}", f"output={tmp_path / 'run'}"]
    assert command("train", *words).code == 0
    return tmp_path / "run"


def test_unpaired_data_is_measured_by_cycles_and_sets_and_pairs_can_be_named(
    command: Command, cyclegan: Path, sides: Path
) -> None:
    ran = command("evaluate", cyclegan, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert list(told["metrics"]) == ["cycle_source", "cycle_target"]
    assert set(told["distances"]) == {"model", "input unchanged", "other real images"}
    assert told["set_counts"] == {"model": 2, "input unchanged": 2, "other real images": 2, "real": 2}
    lines = (cyclegan / "evaluation_test.csv").read_text().splitlines()
    assert lines[0] == "name,cycle_source,cycle_target"
    assert [line.split(",")[0] for line in lines[1:]] == ["A/0", "A/1", "B/0", "B/1"]
    ran = command("evaluate", cyclegan, "data=paired", f"data.root={sides}")
    assert ran.code == 0, ran.err
    assert "2 pairs of the test split" in ran.out
    assert "Measured on other data than the model was trained with: data._target_=" in ran.out
    assert (cyclegan / "evaluation_test.csv").read_text().splitlines() == lines
    table = next(cyclegan.glob("evaluation_test_sides-*.csv"))
    assert table.read_text().startswith("name,l1,psnr,ssim,cycle_source,cycle_target\n0,")
    told = json.loads(table.with_suffix(".json").read_text())
    assert told["other_data"] == table.stem.removeprefix("evaluation_test_")
    assert told["measured_on"]["data.root"] == str(sides.resolve())
    picture = read_image(table.with_suffix(".png"))
    assert picture.shape == (22 + 22 + 22 + 164, 2 * (3 * 164 + 12), 3)  # one best and one worst, three images each


def test_models_are_compared_on_the_same_images(command: Command, cyclegan: Path, sides: Path, tmp_path: Path) -> None:
    other = tmp_path / "lr=1"  # a folder, not a setting
    shutil.copytree(cyclegan, other)
    pairs = ["data=paired", f"data.root={sides}"]
    ran = command("evaluate", cyclegan, other, *pairs)
    assert ran.code == 0, ran.err
    assert "95 % interval" in ran.out
    assert "on the same images" in ran.out
    assert "too few images to tell" in ran.out
    ran = command("evaluate", f"from=[{cyclegan},{other}]", *pairs, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert [model["checkpoint"] for model in told["models"]] == [str(cyclegan), str(other)]
    assert told["difference"]["l1"] == {"value": 0, "low": None, "high": None}
    assert told["models"][0] == json.loads(next(cyclegan.glob("evaluation_test_*.json")).read_text())
    refused = command("evaluate", "from=[]", *pairs)
    assert refused.code == 2
    assert "from=[] names no checkpoint" in refused.err


def test_translating_back_has_a_table_of_its_own(command: Command, cyclegan: Path, sides: Path) -> None:
    pairs = ["data=paired", f"data.root={sides}"]
    assert command("evaluate", cyclegan, *pairs, "--direction", "AtoB").code == 0
    assert command("evaluate", cyclegan, *pairs, "--direction", "BtoA").code == 0
    there, back = (next(cyclegan.glob(f"evaluation_test{end}_sides-*.csv")).read_text() for end in ("", "_BtoA"))
    assert there != back
    refused = command("evaluate", cyclegan, *pairs, "data.direction=BtoA")
    assert refused.code == 2
    assert "data.direction=BtoA, but this model was trained AtoB: leave it out, and use --direction" in refused.err


def test_other_data_keeps_the_direction_of_training(command: Command, tmp_path: Path, sides: Path) -> None:
    words = [*TINY, "method=cyclegan", f"data.root={sides}", "data.direction=BtoA", f"output={tmp_path / 'run'}"]
    assert command("train", *words).code == 0
    pairs = ["data=paired", f"data.root={sides}"]
    assert command("evaluate", tmp_path / "run", *pairs).code == 0
    (table,) = (tmp_path / "run").glob("evaluation_*.csv")
    trained = table.read_text()
    assert command("evaluate", tmp_path / "run", *pairs, "--direction", "BtoA").code == 0
    assert list((tmp_path / "run").glob("evaluation_*.csv")) == [table]
    assert table.read_text() == trained


def test_cyclegan_trained_on_pairs_is_measured_on_them(command: Command, tmp_path: Path, sides: Path) -> None:
    words = [*TINY, "method=cyclegan", "data=paired", f"data.root={sides}", f"output={tmp_path / 'run'}"]
    assert command("train", *words).code == 0
    ran = command("evaluate", tmp_path / "run", "--split", "train")
    assert ran.code == 0, ran.err
    assert "2 pairs of the train split" in ran.out  # one is held out for validation


def test_what_the_model_is_made_of_stays_fixed(command: Command, cyclegan: Path, sides: Path) -> None:
    refused = command("evaluate", cyclegan, "data=paired", f"data.root={sides}", "generator.width=3")
    assert refused.code == 2
    assert "generator.width is fixed by the trained model" in refused.err
    refused = command("evaluate", cyclegan, "data=pears", f"data.root={sides}")
    assert refused.code == 2
    assert "data=pears is not one of" in refused.err


def test_domains_have_a_row_each(command: Command, tmp_path: Path, sides: Path) -> None:
    words = [*STARGAN, f"data.root={sides}", "data.aligned=true", f"output={tmp_path / 'run'}"]
    trained = command("train", *words)
    assert trained.code == 0, trained.err
    ran = command("evaluate", tmp_path / "run", "--classifier-steps", 1)
    assert ran.code == 0, ran.err
    assert "translations of the test split" in ran.out
    assert "input l1" in ran.out
    assert "trained for 1 steps on the training images" in ran.out
    lines = (tmp_path / "run" / "evaluation_test.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines] == [
        ["name", "domain"],
        ["B/0", "A"],
        ["B/1", "A"],
        ["A/0", "B"],
        ["A/1", "B"],
    ]
    assert lines[0] == "name,domain,recognized,l1,psnr,ssim,reconstruction"
