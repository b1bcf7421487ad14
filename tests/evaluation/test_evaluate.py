"""Measuring a model on a data set whose true answer is known."""

import csv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor

from translate.conversion.translator import Translator
from translate.data.image import write_image
from translate.errors import UserError
from translate.evaluation.evaluate import evaluate
from translate.methods.method import Method, Turn
from translate.methods.pix2pix import Pix2Pix
from translate.model import Model
from translate.networks.unet import UNet
from translate.objectives.adversarial import nonsaturating
from translate.pixels import Side

COLOR = Side(3, "uint8", 0, 255)


class Negative(Method):
    """Turns every pixel into its negative."""

    players: ClassVar = {}
    translators: ClassVar = ()
    size_multiple = 1  # type: ignore[assignment]

    def play(self, batch: Any) -> Iterator[Turn]:
        raise NotImplementedError

    def translate(self, source: Tensor, domain: str | None = None) -> Tensor:
        return -source

    def show(self, batch: Any) -> dict[str, Tensor]:
        raise NotImplementedError


def negative(side: Side = COLOR) -> Translator:
    return Translator(Model(Negative(), side, side, {"dropout_at_test": False}, 0), torch.device("cpu"))


@pytest.fixture
def sources() -> list[np.ndarray]:
    """Eleven images of 12x12 pixels, more than one batch; their pairs are their negatives."""
    return list(np.random.default_rng(0).integers(0, 256, (11, 12, 12, 3), np.uint8))


@pytest.fixture
def pairs(tmp_path: Path, sources: list[np.ndarray]) -> Callable[..., dict[str, Any]]:
    """Draw the pairs into a split and return the settings that name them."""

    def make(split: str = "test", *, size: int = 12, **data: Any) -> dict[str, Any]:
        (tmp_path / split).mkdir(exist_ok=True)
        for index, image in enumerate(sources):
            write_image(tmp_path / split / f"{index:02}.png", np.concatenate([image, 255 - image], axis=1))
        write_image(tmp_path / "train.png", np.zeros((12, 24, 3), np.uint8))
        (tmp_path / "train").mkdir(exist_ok=True)
        (tmp_path / "train.png").replace(tmp_path / "train" / "only.png")
        augmentation = {"_target_": "translate.data.augmentation.Augmentation", "horizontal_flip": 1.0, "color_a": 1.0}
        fractions = {"validation_fraction": 0.0, "test_fraction": 0.0}
        data = {
            "_target_": "translate.data.paired.PairedData",
            "root": str(tmp_path),
            "augmentation": augmentation,
        } | data
        return {"image_size": size, "data": fractions | data}

    return make


def test_a_perfect_model(pairs: Callable[..., dict[str, Any]]) -> None:
    evaluation = evaluate(negative(), pairs())
    assert evaluation.split == "test"
    assert evaluation.names == [f"{index:02}" for index in range(11)]
    assert len(evaluation.rows) == 11
    assert evaluation.mean == pytest.approx({"l1": 0, "psnr": 100, "ssim": 1}, abs=1e-5)


def test_the_input_unchanged_is_measured_beside(
    pairs: Callable[..., dict[str, Any]], sources: list[np.ndarray]
) -> None:
    identity = evaluate(negative(), pairs()).identity
    differences = [np.abs(255 - 2 * image.astype(float)) / 255 for image in sources]
    assert identity is not None
    assert identity["l1"] == pytest.approx(np.mean(differences), abs=1e-5)
    psnr = [10 * np.log10(1 / (difference**2).mean()) for difference in differences]
    assert identity["psnr"] == pytest.approx(np.mean(psnr), abs=1e-4)


def test_images_are_resized_as_in_training_but_not_augmented(pairs: Callable[..., dict[str, Any]]) -> None:
    settings = pairs(size=8)
    assert evaluate(negative(), settings).rows == evaluate(negative(), settings).rows
    assert evaluate(negative(), settings).mean["l1"] == pytest.approx(0, abs=1 / 255)


def test_without_a_comparable_input_there_is_no_baseline(tmp_path: Path, pairs: Callable[..., dict[str, Any]]) -> None:
    settings = pairs(channels_a=1)
    grey = Side(1, "uint8", 0, 255)

    class Repeating(Negative):
        def translate(self, source: Tensor, domain: str | None = None) -> Tensor:
            return -source.expand(-1, 3, -1, -1)

    translator = Translator(Model(Repeating(), grey, COLOR, {"dropout_at_test": False}, 0), torch.device("cpu"))
    evaluation = evaluate(translator, settings)
    assert evaluation.identity is None
    assert 0 < evaluation.mean["l1"] < 0.5


@pytest.mark.parametrize(("split", "chosen"), [("test", "test"), ("val", "validation")])
def test_the_split_is_test_or_else_validation(pairs: Callable[..., dict[str, Any]], split: str, chosen: str) -> None:
    assert evaluate(negative(), pairs(split)).split == chosen


def test_a_split_can_be_named(pairs: Callable[..., dict[str, Any]]) -> None:
    assert evaluate(negative(), pairs(), "train").names == ["only"]


@pytest.mark.parametrize("split", ["validation", "holdout"])
def test_a_split_without_pairs_names_those_that_have_some(pairs: Callable[..., dict[str, Any]], split: str) -> None:
    with pytest.raises(UserError, match=rf"the split '{split}' has no pairs; those that have are train, test"):
        evaluate(negative(), pairs(), split)


def test_problems_in_the_data_are_said(tmp_path: Path, pairs: Callable[..., dict[str, Any]]) -> None:
    settings = pairs()
    (tmp_path / "test" / "03.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"the data has 1 problem:\n.*03\.png: is empty"):
        evaluate(negative(), settings)


def test_data_of_another_kind_than_the_model_was_trained_on_is_refused(pairs: Callable[..., dict[str, Any]]) -> None:
    grey = Side(1, "uint8", 0, 255)
    network = partial(UNet, num_downs=2, width=2)
    method = Pix2Pix(
        generator=network, discriminator=None, objective=nonsaturating(), source_channels=1, target_channels=1
    )
    translator = Translator(Model(method, grey, grey, {"dropout_at_test": False}, 0), torch.device("cpu"))
    with pytest.raises(UserError, match="channels"):
        evaluate(translator, pairs())


def test_the_table_has_a_line_per_pair(tmp_path: Path, pairs: Callable[..., dict[str, Any]]) -> None:
    evaluation = evaluate(negative(), pairs())
    evaluation.write_csv(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == evaluation.names
    assert list(rows[0]) == ["name", "l1", "psnr", "ssim"]
    assert float(rows[3]["psnr"]) == pytest.approx(evaluation.rows[3]["psnr"], abs=1e-5)


def test_the_data_that_a_strangers_model_names_runs_no_code(tmp_path: Path) -> None:
    mark = tmp_path / "code was run"
    (tmp_path / "hubconf.py").write_text(f"import pathlib\ndef payload():\n    pathlib.Path({str(mark)!r}).touch()\n")
    data = {"_target_": "torch.hub.load", "repo_or_dir": str(tmp_path), "model": "payload", "source": "local"}
    with pytest.raises(UserError, match="_target_"):
        evaluate(negative(), {"image_size": 8, "data": data})
    assert not mark.exists()
