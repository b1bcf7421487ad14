"""The best model that a run keeps, the end that patience puts to it, and what it measures of every kind of data."""

import csv
import json
import math
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file

from translate.config import compose_settings
from translate.training.examination import CYCLE, PAIRED, RECOGNIZED, RECONSTRUCTION, Examination
from translate.training.log import read_metrics
from translate.training.prepare import look_at_data
from translate.training.validation import Validation, open_validation

KERNEL = ("kernel_distance", "kernel_distance_back")


def validation(**options: Any) -> Validation:
    return Validation(Examination(None, (), (), PAIRED), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("l1", [0.3, 0.2, 0.2, 0.25], [True, True, False, False]),
        ("psnr", [20.0, 21.0, 21.0, 25.0], [True, True, False, True]),
        ("l1", [math.nan, 0.5, math.nan, 0.4], [False, True, False, True]),
    ],
)
def test_the_best_is_what_its_metric_says(metric: str, values: list[float], best: list[bool]) -> None:
    validated = validation(metric=metric)
    assert [validated.remember({metric: value}, step) for step, value in enumerate(values, start=1)] == best
    assert int(validated.best_step) == max(step for step, is_best in enumerate(best, start=1) if is_best)


def test_patience_counts_measurements_since_the_best() -> None:
    validated = validation(metric="l1", patience=2)
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
    assert "train on with more steps: steps=200 validation.patience=4\n" in done.out
    again = train("steps=100", *words)
    assert again.code == 0
    assert "Finished: 6 steps" in again.out
    assert [row["step"] for row in rows(tmp_path / "run")] == [2, 4, 6]
    more = train("steps=200", *words)
    assert "Finished: 10 steps" in more.out
    assert [row["step"] for row in rows(tmp_path / "run")] == [2, 4, 6, 8, 10]


@pytest.mark.parametrize(
    ("method", "names"),
    [("pix2pix", [*PAIRED]), ("cyclegan", [*CYCLE, *KERNEL]), ("stargan", [KERNEL[0], RECONSTRUCTION])],
)
def test_every_method_is_measured(command, tiny_for, tmp_path: Path, method: str, names: list[str]) -> None:
    done = command("train", *tiny_for(method), "steps=2", "data.validation_fraction=0.3")
    assert done.code == 0, done.err
    (row,) = rows(tmp_path / "run")
    assert list(row["metrics"]) == names
    assert all(math.isfinite(value) for value in row["metrics"].values())
    # Without true answers the kernel distance tells the best, but not of 2 images or so.
    assert row["is_best"] == (tmp_path / "run" / "best").exists() == (method == "pix2pix")


@pytest.mark.parametrize(("share", "is_kept"), [("0.4", False), ("0.8", True)])
def test_a_distance_chooses_the_best_of_four_images_or_more(tiny_for, share: str, is_kept: bool) -> None:
    composed = compose_settings([*tiny_for("cyclegan"), f"data.validation_fraction={share}"])
    data, _ = look_at_data(composed.settings, composed.allowed, None)
    opened = open_validation(data, composed.settings, is_reversible=True)
    assert opened is not None
    (compared,) = opened.examination.comparisons[""]
    assert (min(len(compared.made), len(compared.real)) >= 4) == is_kept
    assert opened.metric == ("kernel_distance" if is_kept else None)


def test_each_image_counts_once_though_the_smaller_of_two_sets_starts_over(command, domains, tmp_path: Path) -> None:
    few = tmp_path / "few"
    for name in ("sad", "happy"):
        (few / name).mkdir(parents=True)
        for place, image in enumerate(sorted((domains / "dark").glob("*.png"))[:4]):
            shutil.copy(image, few / name / f"{place}.png")
    words = ["method=stargan", "data=domains_joint", f"data.first.root={domains}", f"data.second.root={few}", "steps=1"]
    fractions = ["data.first.validation_fraction=0.9", "data.second.validation_fraction=0.5"]
    composed = compose_settings([*words, "image_size=16", "discriminator.num_layers=2", *fractions])
    data, _ = look_at_data(composed.settings, composed.allowed, None)
    opened = open_validation(data, composed.settings, is_reversible=False)
    assert opened is not None
    items = data.items("validation", 16, seed=0, augment=False)
    measured = [items.member(place).picture for place in opened.examination.places]
    assert len(measured) == len(set(measured)) < len(items)


def test_translations_between_domains_are_judged_by_a_classifier_trained_once(command, tiny_for, tmp_path) -> None:
    words = [*tiny_for("stargan"), "validation.classifier_steps=1", "data.validation_fraction=0.3"]
    assert command("train", *words, "steps=1", "precision=64", f"output={tmp_path / 'exact'}").code == 0
    done = command("train", *words, "steps=2", "validation.every=1")
    assert done.code == 0, done.err
    assert done.out.count("training the classifier that judges translations, once") == 1
    for row in rows(tmp_path / "run"):
        assert list(row["metrics"]) == [RECOGNIZED, KERNEL[0], RECONSTRUCTION]
        assert 0 <= row["metrics"][RECOGNIZED] <= 1
    classifier = tmp_path / "run" / "classifier.safetensors"
    before = classifier.stat().st_mtime_ns
    more = command("train", *words, "steps=3")
    assert "training the classifier" not in more.out
    checked = command("evaluate", tmp_path / "run", "--split", "validation", "--classifier-steps", "1")
    assert checked.code == 0, checked.err
    assert classifier.stat().st_mtime_ns == before
    # It leaves chance as it was: the same weights as without.
    other = tmp_path / "other"
    assert command("train", *words, "validation.every=0", "steps=3", f"output={other}").code == 0
    first, second = (load_file(run / "model" / "model.safetensors") for run in (tmp_path / "run", other))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_classifier_is_for_long_runs_or_for_those_that_ask_for_it(tiny_for) -> None:
    def steps(*words: str) -> int:
        composed = compose_settings([*tiny_for("stargan"), "data.validation_fraction=0.3", *words])
        data, _ = look_at_data(composed.settings, composed.allowed, None)
        opened = open_validation(data, composed.settings, is_reversible=False)
        assert opened is not None
        assert (RECOGNIZED in opened.examination.names) == bool(opened.classifier_steps)
        return opened.classifier_steps

    assert [steps("steps=49999"), steps("steps=50000")] == [0, 1000]
    assert steps("steps=2", "validation.classifier_steps=7") == 7
    assert steps("steps=50000", "validation.classifier_steps=0") == 0


def test_a_signal_during_the_training_of_the_classifier_ends_the_run_at_once(
    command, tiny_for, tmp_path, monkeypatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr("translate.training.run.recall_classifier", interrupted)
    words = [*tiny_for("stargan"), "data.validation_fraction=0.3", "steps=2"]
    done = command("train", *words, "validation.classifier_steps=1")
    assert done.code == 128 + signal.SIGTERM
    assert "Stopped after step 0 of 2: nothing is lost, the same command begins again." in done.out
    monkeypatch.undo()
    assert command("train", *words).code == 0


def test_domains_that_show_the_same_things_are_true_answers(command, tiny_for, tmp_path) -> None:
    done = command("train", *tiny_for("stargan"), "data.aligned=true", "data.validation_fraction=0.4", "steps=1")
    assert done.code == 0, done.err
    (row,) = rows(tmp_path / "run")
    assert list(row["metrics"]) == [*PAIRED, KERNEL[0], RECONSTRUCTION]
    assert row["is_best"]


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
        (
            "pix2pix",
            ["validation.metric=fid", "data.validation_fraction=0.3"],
            "validation.metric='fid' is not one of l1, psnr, ssim",
        ),
        (
            "cyclegan",
            ["validation.metric=l1", "data.validation_fraction=0.3"],
            "validation.metric='l1' is not one of cycle_source, cycle_target",
        ),
        (
            "cyclegan",
            ["validation.metric=kernel_distance", "validation.images=1", "data.validation_fraction=0.3"],
            "validation.metric=kernel_distance cannot be measured here: it needs at least 2 images of each side",
        ),
        (
            "cyclegan",
            ["validation.patience=3", "validation.images=1", "data.validation_fraction=0.3"],
            "needs validation.metric, one of cycle_source, cycle_target",
        ),
        (
            "pix2pix",
            ["validation.metric=ms_ssim", "data.validation_fraction=0.3"],
            "ms_ssim needs images of 176 pixels or more; these have 16",
        ),
        (
            "stargan",
            ["validation.metric=recognized", "data.validation_fraction=0.3"],
            "without validation.classifier_steps=1000 runs of less than 50,000 steps have no classifier",
        ),
        ("stargan", ["validation.weights=nowhere", "data.validation_fraction=0.3"], "nowhere is no folder of weights"),
        (
            "cyclegan",
            ["validation.weights=.", "data.validation_fraction=0.4"],
            "validation.weights=. is of no use here: fid and kid need Inception's weights",
        ),
        ("stargan", ["validation.classifier_steps=-1"], "validation.classifier_steps=-1 must be at least 0"),
        (
            "cyclegan",
            ["validation.metric=kernel_distance", "data.validation_fraction=0"],
            "validation.metric=kernel_distance needs images that are not trained on",
        ),
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
