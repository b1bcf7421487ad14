"""What a run measures on held-out images, the best model that it keeps, and the end that patience puts to it."""

import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
import yaml
from lightning_fabric import Fabric
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from translate.batch import Labeled, Unpaired
from translate.data.source import Items
from translate.evaluation.distances import RandomFilters, kernel_distance, standardize
from translate.methods.method import Method, Turn
from translate.pixels import Side, normalize
from translate.training.log import read_metrics
from translate.training.validation import CYCLE, KERNEL, PAIRED, RECONSTRUCTION, Validation

GREY = Side(1, "uint8", 0, 255)
SIDES = (GREY, GREY)


class Steps(nn.Module):
    """Adds steps of a 255th to pixels in [-1, 1]; labelled, as many as the first label says times that."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        times = 1 if labels is None else labels[:, 0].view(-1, 1, 1, 1)
        return images + self.steps * times * 2 / 255


class Shift(Method):
    """Makes images three steps brighter there, and one darker on the way back."""

    players: ClassVar = {}
    translators = ()
    is_reversible = True

    def play(self, batch: Any, step: Any) -> Iterator[Turn]:
        return iter(())

    def translator(self, *, back: bool = False) -> nn.Module:
        return Steps(-1 if back else 3)

    def show(self, batch: Any) -> dict[str, Tensor]:
        return {}


class Grey(Items):
    """Grey images, item k of brightness 10 * k on the source side, and 10 * k + 5 on the target side."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, position: tuple[int, int]) -> Unpaired:
        _, index = position
        self.read.append(index)
        images = [torch.full((1, 12, 12), 10 * index + more, dtype=torch.uint8) for more in (0, 5)]
        return Unpaired(*images)


class LabeledGrey(Grey):
    """The same with a label of k steps and a target of one."""

    def __getitem__(self, position: tuple[int, int]) -> Labeled:  # type: ignore[override]
        _, index = position
        image = torch.full((1, 12, 12), 10 * index, dtype=torch.uint8)
        return Labeled(image, torch.tensor([float(index)]), torch.tensor([1.0]))


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def validation(items: Items, *names: str, metric: str | None = None, count: int = 64, **options: Any) -> Validation:
    sides = (GREY, None, None) if isinstance(items, LabeledGrey) else SIDES
    return Validation(items, sides, names, metric=metric, count=count, **({"patience": None} | options))


def measure(validated: Validation, fabric: Fabric) -> dict[str, float]:
    def load(batch: Any) -> Any:
        sides = (GREY, None, None) if isinstance(batch, Labeled) else SIDES
        return type(batch)(
            *(field if side is None else normalize(field, 0, 255) for field, side in zip(batch, sides, strict=True))
        )

    return validated.measure(Shift(), fabric, load)


# --- measuring ---


def test_translations_are_compared_with_the_true_answers(fabric: Fabric) -> None:
    found = measure(validation(Grey(20), *PAIRED), fabric)  # more than two batches
    # Every output is 10 k + 3 where 10 k + 5 is true: 2 of 255 steps off.
    assert found["l1"] == pytest.approx(2 / 255, rel=1e-5)
    assert found["psnr"] == pytest.approx(20 * math.log10(255 / 2), rel=1e-5)
    assert 0 < found["ssim"] <= 1


def test_a_cycle_is_compared_with_its_begin(fabric: Fabric) -> None:
    found = measure(validation(Grey(3), *CYCLE), fabric)
    assert found == {name: pytest.approx(2 / 255, rel=1e-5) for name in CYCLE}


def test_sets_are_compared_image_by_image_and_each_image_once(fabric: Fabric) -> None:
    class Few(Grey):
        """The target side has 5 images, which start over."""

        counts = (20, 5)

        def __getitem__(self, position: tuple[int, int]) -> Unpaired:
            _, index = position
            return Unpaired(super().__getitem__(position).source, super().__getitem__((0, index % 5)).target)

    found = measure(validation(Few(20), *CYCLE, *KERNEL), fabric)
    filters = RandomFilters(channels=1)

    def features(*values: int) -> Tensor:
        return filters(torch.stack([torch.full((1, 12, 12), value / 255) for value in values]))

    def distance(made: Tensor, real: Tensor) -> float:
        return kernel_distance(standardize(made, real), standardize(real, real))

    source, target = range(0, 200, 10), range(5, 55, 10)
    there = distance(features(*(value + 3 for value in source)), features(*target))
    back = distance(features(*(value - 1 for value in target)), features(*source))
    assert found["kernel_distance"] == pytest.approx(there, rel=1e-3)
    assert found["kernel_distance_back"] == pytest.approx(back, rel=1e-3)


def test_a_reconstruction_goes_by_the_labels(fabric: Fabric) -> None:
    # The translation adds 3 steps and the way back 3 more per step of the own label 0, 1, 2: 3, 6 and 9 steps.
    found = measure(validation(LabeledGrey(3), RECONSTRUCTION), fabric)
    assert found == {RECONSTRUCTION: pytest.approx(6 / 255, rel=1e-5)}


def test_the_images_measured_are_spread_and_always_the_same(fabric: Fabric) -> None:
    items = Grey(10)
    validated = validation(items, "l1", count=4)
    measure(validated, fabric)
    measure(validated, fabric)
    assert items.read == [0, 2, 5, 7] * 2


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("l1", [0.3, 0.2, 0.2, 0.25], [True, True, False, False]),
        ("psnr", [20.0, 21.0, 21.0, 25.0], [True, True, False, True]),
        ("l1", [math.nan, 0.5, math.nan, 0.4], [False, True, False, True]),
    ],
)
def test_the_best_is_what_its_metric_says(metric: str, values: list[float], best: list[bool]) -> None:
    validated = validation(Grey(1), *PAIRED, metric=metric)
    assert [validated.remember({metric: value}, step) for step, value in enumerate(values, start=1)] == best
    assert int(validated.best_step) == max(step for step, is_best in enumerate(best, start=1) if is_best)


def test_patience_counts_measurements_since_the_best() -> None:
    validated = validation(Grey(1), *PAIRED, metric="l1", patience=2)
    over = []
    for step, value in enumerate([0.5, 0.6, 0.4, 0.4, 0.5], start=1):
        validated.remember({"l1": value}, step)
        over.append(validated.is_over)
    assert over == [False, False, False, False, True]
    validated.go_on()
    assert not validated.is_over
    assert float(validated.best) == pytest.approx(0.4)


# --- runs ---


@pytest.fixture
def train(command: Callable[..., Any], tiny: list[str]) -> Callable[..., Any]:
    def run(*words: str) -> Any:
        return command("train", *tiny, "data.validation_fraction=0.3", "schedule=constant", *words)

    return run


def rows(run: Path) -> list[dict[str, Any]]:
    return read_metrics(run / "validation.jsonl")


def steps_of(model: Path) -> int:
    with safe_open(model / "model.safetensors", framework="pt") as file:
        return int(file.metadata()["steps"])


def test_the_best_model_is_kept_and_used_and_measures_as_evaluation_does(train, command, tmp_path: Path) -> None:
    # The rate is so high that later models are worse.
    done = train("steps=12", "validation.every=2", "save_every=100", "optimizer.lr=0.02", "average_decay=0.3")
    assert done.code == 0, done.err
    run = tmp_path / "run"
    measured = rows(run)
    assert [row["step"] for row in measured] == [2, 4, 6, 8, 10, 12]
    best = min(measured, key=lambda row: row["metrics"]["l1"])
    assert [row for row in measured if row["is_best"]][-1] == best
    assert (steps_of(run / "best"), steps_of(run / "model")) == (best["step"], 12)
    assert f"The best model, of step {best['step']} (validation: l1" in done.out
    assert command("list", run).out.count(f"{best['step']}") > 0

    for checkpoint, row in ((run, best), (run / "best", best), (run / "model", measured[-1])):
        assert command("evaluate", checkpoint, "--split", "validation").code == 0
        folder = checkpoint
        with (folder / "evaluation_validation.csv").open() as file:
            found = list(csv.DictReader(file))
        assert len(found) == 3
        for name, value in row["metrics"].items():
            assert sum(float(line[name]) for line in found) / 3 == pytest.approx(value, rel=1e-4), (checkpoint, name)


def test_measuring_changes_nothing_in_training(train, tmp_path: Path) -> None:
    assert train("steps=5", "validation.every=1", "generator.dropout=0.5").code == 0
    assert train("steps=5", "validation.every=0", "generator.dropout=0.5", f"output={tmp_path / 'other'}").code == 0
    first, second = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("run", "other"))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert not (tmp_path / "other" / "best").exists()
    assert not (tmp_path / "other" / "validation.jsonl").exists()


def test_a_run_that_goes_on_measures_as_an_unbroken_one(train, tmp_path: Path) -> None:
    words = ("validation.every=2", "optimizer.lr=0.02", "save_every=100")
    whole = tmp_path / "whole"
    assert train("steps=8", *words, f"output={whole}").code == 0
    assert train("steps=4", *words).code == 0
    # As if it had been killed two steps after its last save.
    with (tmp_path / "run" / "validation.jsonl").open("a") as file:
        file.write(json.dumps({"step": 6, "is_best": True, "metrics": {"l1": 0.0}}) + "\n")
    assert train("steps=8", *words).code == 0
    assert rows(tmp_path / "run") == rows(whole)
    first, second = (load_file(run / "best" / "model.safetensors") for run in (tmp_path / "run", whole))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_patience_ends_a_run_for_good_unless_more_steps_are_asked_for(train, tmp_path: Path) -> None:
    # Nothing moves, but for the running statistics of batch norm, so nothing becomes better.
    words = ("validation.every=2", "validation.patience=2", "optimizer.lr=0", "generator.norm=none")
    done = train("steps=100", *words)
    assert done.code == 0, done.err
    assert "Ended at step 6: l1 has not become better since step 2 (validation.patience=2)" in done.out
    assert "Finished: 6 steps" in done.out
    again = train("steps=100", *words)
    assert again.code == 0
    assert "Finished: 6 steps" in again.out
    assert [row["step"] for row in rows(tmp_path / "run")] == [2, 4, 6]
    more = train("steps=200", *words)
    assert "Finished: 10 steps" in more.out
    assert [row["step"] for row in rows(tmp_path / "run")] == [2, 4, 6, 8, 10]


@pytest.mark.parametrize(
    ("method", "names"),
    [("pix2pix", [*PAIRED]), ("cyclegan", [*CYCLE, *KERNEL]), ("stargan", [RECONSTRUCTION])],
)
def test_every_method_is_measured(command, tiny_for, tmp_path: Path, method: str, names: list[str]) -> None:
    done = command("train", *tiny_for(method), "steps=2", "data.validation_fraction=0.3")
    assert done.code == 0, done.err
    (row,) = rows(tmp_path / "run")
    assert list(row["metrics"]) == names
    assert all(math.isfinite(value) for value in row["metrics"].values())
    # Without true answers nothing says which model is the best.
    assert (tmp_path / "run" / "best").exists() == (method == "pix2pix")


def test_pairs_that_are_trained_on_as_if_they_were_none_are_true_answers(command, tiny_for, pairs, tmp_path) -> None:
    words = [word for word in tiny_for("cyclegan") if not word.startswith("data")]
    done = command(
        "train",
        *words,
        "data=paired",
        f"data.root={pairs}",
        "data.workers=0",
        "steps=1",
        "data.validation_fraction=0.4",
    )
    assert done.code == 0, done.err
    (row,) = rows(tmp_path / "run")
    assert list(row["metrics"]) == [*PAIRED, *CYCLE, *KERNEL]


@pytest.mark.parametrize(
    ("method", "words", "message"),
    [
        ("pix2pix", ["validation.images=0"], "validation.images=0 must be at least 1"),
        ("pix2pix", ["validation.every=-1"], "validation.every=-1 must be at least 0"),
        ("pix2pix", ["validation.patience=0"], "validation.patience=0 must be at least 1"),
        ("pix2pix", ["validation.metric=fid"], "validation.metric='fid' is not one of l1, psnr, ssim"),
        ("cyclegan", ["validation.metric=l1"], "validation.metric='l1' is not one of cycle_source, cycle_target"),
        (
            "cyclegan",
            ["validation.metric=kernel_distance", "validation.images=1", "data.validation_fraction=0.3"],
            "validation.metric=kernel_distance needs at least 2 images of each side",
        ),
        ("cyclegan", ["validation.patience=3"], "needs validation.metric, one of cycle_source, cycle_target"),
        (
            "pix2pix",
            ["validation.patience=3", "data.validation_fraction=0"],
            "needs images that are not trained on: a folder called validation, or data.validation_fraction=0.1",
        ),
        ("pix2pix", ["validation.patience=3", "validation.every=0"], "validation.every=0 turns them off"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    command, tiny_for, tmp_path: Path, method: str, words: list[str], message: str
) -> None:
    done = command("train", *tiny_for(method), "steps=1", *words)
    assert done.code == 2
    assert message in done.err
    assert not (tmp_path / "run").exists()


def test_a_run_from_before_there_was_validation_goes_on(train, tmp_path: Path) -> None:
    assert train("steps=1", "validation.every=0").code == 0
    config = tmp_path / "run" / "config.yaml"
    tree = yaml.safe_load(config.read_text())
    for key in ("validation", "stabilizers", "gradient_penalty"):
        del tree[key]
    for component, key in (("generator", "latent"), ("discriminator", "attention"), ("method", "perceptual_weight")):
        del tree[component][key]
    config.write_text(yaml.safe_dump(tree))
    assert train("steps=2").code == 0
    assert [row["step"] for row in rows(tmp_path / "run")] == [2]
    refused = train("steps=3", "stabilizers.label_smoothing=0.1", "generator.latent=2")
    assert refused.code == 2
    assert "stabilizers.label_smoothing was 0.0, now 0.1" in refused.err
    assert "generator.latent was 0, now 2" in refused.err
