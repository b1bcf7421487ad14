"""Measuring a model on a data set whose true answer is known."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from translate.conversion.torch_engine import TorchEngine
from translate.data.image import write_image
from translate.errors import UserError
from translate.evaluation.bootstrap import draw_counts
from translate.evaluation.pairs import PairEvaluation, evaluate_pairs
from translate.methods.method import Method, Turn
from translate.model import Model
from translate.pixels import Side

COLOR = Side(3, "uint8", 0, 255)
GREY = Side(1, "uint8", 0, 255)
SETTINGS = {"dropout_at_test": False, "data": {}}


class Negative(Method):
    """Turns every pixel into its negative."""

    players: ClassVar = {}
    translators = ()
    size_multiple = 1

    def play(self, batch: Any, step: Any) -> Iterator[Turn]:
        raise NotImplementedError

    def translator(self, *, back: bool = False) -> nn.Module:
        return self

    def forward(self, source: Tensor) -> Tensor:
        return -source

    def show(self, batch: Any) -> dict[str, Tensor]:
        raise NotImplementedError


class BothWays(Negative):
    """There every image is black; another network leads back."""

    is_reversible = True

    def __init__(self, back: nn.Module) -> None:
        super().__init__()
        self.back = back

    def translator(self, *, back: bool = False) -> nn.Module:
        return self.back if back else self

    def forward(self, source: Tensor) -> Tensor:
        return torch.full_like(source, -1)


def translator_of(method: Method, source: Side = COLOR, target: Side = COLOR, **options: Any) -> TorchEngine:
    return TorchEngine(Model(method, source, target, None, SETTINGS, 0), torch.device("cpu"), **options)


def negative() -> TorchEngine:
    return translator_of(Negative())


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
    evaluation = evaluate_pairs(negative(), pairs())
    assert evaluation.split == "test"
    assert evaluation.names == [f"{index:02}" for index in range(11)]
    assert len(evaluation.rows) == 11
    assert evaluation.mean == pytest.approx({"l1": 0, "psnr": 100, "ssim": 1}, abs=1e-5)


def test_the_input_unchanged_is_measured_beside(
    pairs: Callable[..., dict[str, Any]], sources: list[np.ndarray]
) -> None:
    identity = evaluate_pairs(negative(), pairs()).identity
    differences = [np.abs(255 - 2 * image.astype(float)) / 255 for image in sources]
    assert identity is not None
    assert identity["l1"] == pytest.approx(np.mean(differences), abs=1e-5)
    psnr = [10 * np.log10(1 / (difference**2).mean()) for difference in differences]
    assert identity["psnr"] == pytest.approx(np.mean(psnr), abs=1e-4)


def test_images_are_resized_as_in_training_but_not_augmented(pairs: Callable[..., dict[str, Any]]) -> None:
    settings = pairs(size=8)
    assert evaluate_pairs(negative(), settings).rows == evaluate_pairs(negative(), settings).rows
    assert evaluate_pairs(negative(), settings).mean["l1"] == pytest.approx(0, abs=1 / 255)


def test_without_a_comparable_input_there_is_no_baseline(pairs: Callable[..., dict[str, Any]]) -> None:
    class Repeating(Negative):
        def forward(self, source: Tensor) -> Tensor:
            return -source.expand(-1, 3, -1, -1)

    evaluation = evaluate_pairs(translator_of(Repeating(), GREY, COLOR), pairs(channels_a=1))
    assert evaluation.identity is None
    assert 0 < evaluation.mean["l1"] < 0.5


@pytest.mark.parametrize(("direction", "l1"), [("AtoB", "mean of B"), ("BtoA", 0)])
def test_translating_back_compares_with_the_source(
    pairs: Callable[..., dict[str, Any]], sources: list[np.ndarray], direction: str, l1: float | str
) -> None:
    expected = np.mean([255 - image.astype(float) for image in sources]) / 255 if l1 else 0
    evaluation = evaluate_pairs(translator_of(BothWays(Negative()), direction=direction), pairs())
    assert evaluation.mean["l1"] == pytest.approx(expected, abs=1e-5)


def test_translating_back_takes_images_of_the_target_side(pairs: Callable[..., dict[str, Any]]) -> None:
    class ToGrey(nn.Module):
        def forward(self, target: Tensor) -> Tensor:
            return -target.mean(1, keepdim=True)

    translator = translator_of(BothWays(ToGrey()), GREY, COLOR, direction="BtoA")
    assert evaluate_pairs(translator, pairs(channels_a=1)).mean["l1"] < 0.15  # luminance is no plain mean
    with pytest.raises(UserError, match="the data's target has 3 channels, but the model was trained with 1"):
        evaluate_pairs(translator, pairs())


@pytest.mark.parametrize(("split", "chosen"), [("test", "test"), ("val", "validation")])
def test_the_split_is_test_or_else_validation(pairs: Callable[..., dict[str, Any]], split: str, chosen: str) -> None:
    assert evaluate_pairs(negative(), pairs(split)).split == chosen


def test_a_split_can_be_named(pairs: Callable[..., dict[str, Any]]) -> None:
    assert evaluate_pairs(negative(), pairs(), "train").names == ["only"]


def test_a_split_without_pairs_names_those_that_have_some(pairs: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(UserError, match=r"the split 'validation' has no pairs; those that have are train, test"):
        evaluate_pairs(negative(), pairs(), "validation")


def test_what_is_no_split_is_refused_with_the_choices(pairs: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(UserError, match="--split='tets' is not one of test, validation, train"):
        evaluate_pairs(negative(), pairs(), "tets")


def test_problems_in_the_data_are_said(tmp_path: Path, pairs: Callable[..., dict[str, Any]]) -> None:
    settings = pairs()
    (tmp_path / "test" / "03.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"the data has 1 problem:\n.*03\.png: is empty"):
        evaluate_pairs(negative(), settings)


def test_data_without_true_answers_names_what_can_be_done() -> None:
    data = {"_target_": "translate.data.unpaired.UnpairedData", "root": "nowhere"}
    with pytest.raises(UserError) as caught:
        evaluate_pairs(negative(), {"image_size": 8, "data": data})
    assert str(caught.value) == (
        "measuring this model needs true answers to compare its translations with: pairs of aligned images, but its "
        "data set gives images of two kinds (data=unpaired). If you have such images, name them: translate evaluate "
        "CHECKPOINT data=paired data.root=FOLDER. To look at translations instead: translate convert CHECKPOINT INPUT "
        "OUTPUT --compare"
    )


def test_data_of_another_kind_than_the_model_was_trained_on_is_refused(pairs: Callable[..., dict[str, Any]]) -> None:
    with pytest.raises(UserError, match="the data's source has 3 channels, but the model was trained with 1"):
        evaluate_pairs(translator_of(Negative(), GREY, GREY), pairs())


def test_the_table_has_a_line_per_pair(tmp_path: Path, pairs: Callable[..., dict[str, Any]]) -> None:
    evaluation = evaluate_pairs(negative(), pairs())
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
        evaluate_pairs(negative(), {"image_size": 8, "data": data})
    assert not mark.exists()


def test_only_data_sets_of_the_toolkit_are_built() -> None:
    data = {"_target_": "translate.data.image.write_image"}
    with pytest.raises(UserError, match=r"data._target_='translate.data.image.write_image' is no data set"):
        evaluate_pairs(negative(), {"image_size": 8, "data": data})


def test_label_scores_are_resampled_by_images() -> None:
    # Of 4 pixels each, one image has all right and one has none: whichever are drawn, the share of the first is right.
    counts = np.array([[[1, 3], [1, 3], [1, 3]], [[0, 0], [1, 3], [3, 1]]], float)
    evaluation = PairEvaluation("test", ["a", "b"], [{}, {}], None, classes=counts)
    drawn = draw_counts(2)
    np.testing.assert_allclose(evaluation.resampled["pixel_accuracy"], drawn[:, 0] / 2)
    assert evaluation.mean["pixel_accuracy"] == 0.5
