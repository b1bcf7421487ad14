"""The verdict on a run: when a symptom is called, once, by what name; the signs it is made of; whole runs."""

import json
import math
import random
import sys
from collections import Counter
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import nn

from translate.batch import Pair
from translate.methods.method import Translation, Turn
from translate.training.log import RunLog, read_metrics
from translate.training.loop import move
from translate.training.settings import Wandb
from translate.training.signs import Watch, image_signs
from translate.training.verdict import Diagnosis

FLAT = {"forward_contrast": 0.01}
FINE = {"forward_contrast": 0.9}


def line(step, signs, **others):
    return {"step": step, "signs": signs, "losses": {}, "data_wait": 0.0} | others


def follow(*signs, total_steps=1000, every=20):
    """A diagnosis after lines with these signs, and the steps and names that were called."""
    diagnosis = Diagnosis(total_steps)
    for place, sign in enumerate(signs, 1):
        diagnosis.take(line(every * place, sign))
    return diagnosis, [(warning.step, warning.symptom.name, warning.since) for warning in diagnosis.called]


def test_a_symptom_is_called_once_and_with_the_step_it_was_first_seen_at():
    # Flat from step 100 on: it must last for 5 % of the run.
    _, called = follow(*[FINE] * 4, *[FLAT] * 10)
    assert called == [(160, "flat images", 100)]


def test_what_passes_or_is_usual_at_the_beginning_is_not_called():
    _, called = follow(*[FLAT] * 4, *[FINE] * 10)
    assert called == [], "flat before a tenth of the run"
    _, called = follow(*[FINE] * 10, FLAT, FLAT, FINE, FLAT, FINE)
    assert called == []


def test_it_is_called_again_when_it_came_back_after_a_tenth_of_the_run():
    _, called = follow(*[FLAT] * 8, *[FINE] * 5, *[FLAT] * 8)
    assert [(step, since) for step, _, since in called] == [(100, 20), (340, 280)]
    _, called = follow(*[FLAT] * 8, *[FINE] * 3, *[FLAT] * 8)
    assert len(called) == 1


def test_nothing_is_called_in_the_first_20_steps_but_steps_that_are_too_large():
    assert follow(*[FLAT] * 9, total_steps=30, every=2)[1] == []
    assert follow(*[FLAT] * 10, total_steps=30, every=2)[1] == [(20, "flat images", 2)]
    assert follow(*[{"generator_update": 1.0}] * 2, total_steps=30, every=2)[1] == [(4, "steps too large", 4)]


def test_a_continued_run_gives_the_warnings_of_an_unbroken_one():
    signs = [FINE] * 4 + [FLAT] * 10
    whole, _ = follow(*signs)
    first, _ = follow(*signs[:6])
    assert first.called == []
    continued = Diagnosis(1000)
    continued.go_on(json.loads(json.dumps(first.rows)), [], [])
    for row in whole.rows[6:]:
        continued.take(row)
    assert continued.called == whole.called != []


def noisy(chance, lines, seed=0):
    """Signs that are flat in that share of lines."""
    chances = random.Random(seed)
    return [FLAT if chances.random() < chance else FINE for _ in range(lines)]


def test_a_symptom_of_a_long_run_lasts_though_some_lines_do_not_show_it():
    # 80,000 steps, a line every 50: a twentieth of the run is 80 lines.
    for seed in range(2):
        _, called = follow(*[FINE] * 400, *noisy(0.92, 600, seed), total_steps=80_000, every=50)
        [(step, _, since)] = called
        assert 20_000 < since < 22_000
        assert since + 4_000 <= step < 27_000
        assert follow(*[FINE] * 400, *noisy(0.5, 600, seed), total_steps=80_000, every=50)[1] == []
        assert follow(*[FINE] * 400, *noisy(0.1, 1200, seed), total_steps=80_000, every=50)[1] == []


def test_lines_without_the_sign_count_neither_way():
    lines = [sign for _ in range(10) for sign in (FLAT, {}, {})]
    assert [warning[1:] for warning in follow(*[FINE] * 4, *lines)[1]] == [("flat images", 100)]


def test_it_is_over_at_the_end_though_a_line_shows_it_now_and_then():
    diagnosis, called = follow(*noisy(1.0, 600), *noisy(0.08, 1000), total_steps=80_000, every=50)
    assert len(called) == 1
    assert "there was: flat images" in diagnosis.conclude(80_000, "finished")


def test_more_steps_do_not_change_what_was_called():
    first, called = follow(*[FINE] * 4, *[FLAT] * 6, total_steps=200)
    assert called == [(120, "flat images", 100)]
    longer = Diagnosis(10_000)
    longer.go_on(first.rows, [], [warning.line for warning in first.called])
    for place in range(11, 60):
        assert longer.take(line(20 * place, FLAT)) == []
    assert longer.called == first.called
    assert "flat images (since step 100)" in longer.conclude(1180, "stopped")


def test_a_line_of_a_long_run_takes_no_more_steps_of_python_than_one_of_a_short_run():
    diagnosis, calls = Diagnosis(4_000), Counter()
    signs = FINE | {"forward_l1": 0.1, "forward_checkerboard": 2.0, "generator_gradient": 1.0, "generator_update": 0.01}
    signs |= {"discriminator_real_right": 1.0, "discriminator_fake_right": 1.0}
    for step in range(1, 4_001):
        losses = {"generator_l1": 4_000 / step, "discriminator_real": 0.1}
        row = line(step, signs, losses=losses, data_wait=0.6, images=step, images_per_second=1000.0)
        sys.setprofile(lambda frame, event, argument, step=step: calls.update([step]))
        try:
            diagnosis.take(row)
        finally:
            sys.setprofile(None)
    assert calls[4_000] < 2 * calls[500]


def measured(*values, metric="l1", best=None):
    """Lines of validation.jsonl every 250 steps, of which those at the places `best` were the best so far."""
    return [
        {"step": 250 * place, "is_best": place in (best or ()), "metrics": {metric: value}}
        for place, value in enumerate(values, 1)
    ]


def test_a_good_run_is_told_in_a_sentence():
    diagnosis, _ = follow(*[FINE] * 5)
    diagnosis.measured += measured(0.21, 0.03, 0.034, best=(1, 2))
    assert diagnosis.conclude(1000, "finished") == (
        "The run went well: validation l1 fell from 0.21 to 0.034, best at step 500; no warning."
    )


def test_a_run_that_learned_nothing_is_not_said_to_have_gone_well():
    diagnosis, _ = follow(*[FINE] * 5)
    diagnosis.measured += measured(0.21, 0.2, 0.25, best=(1, 2))
    assert diagnosis.conclude(1000, "finished") == (
        "The run ended worse than it began: validation l1 rose from 0.21 to 0.25, best at step 500; no warning."
    )


def test_a_gain_of_less_than_a_twentieth_or_than_chance_is_hardly_one():
    def told(*rows):
        diagnosis, _ = follow(*[FINE] * 5)
        diagnosis.measured += [{"step": step, "is_best": False} | row for step, row in enumerate(rows)]
        return diagnosis.conclude(1000, "finished").partition(":")[0]

    def distances(there, back, error):
        return {
            "metrics": {"kernel_distance": there, "kernel_distance_back": back},
            "errors": {"kernel_distance": error, "kernel_distance_back": error},
        }

    well, hardly = "The run went well", "The run ended hardly better than it began"
    assert told({"metrics": {"l1": 0.165}}, {"metrics": {"l1": 0.16}}) == hardly
    assert told({"metrics": {"l1": 0.165}}, {"metrics": {"l1": 0.15}}) == well
    assert told({"metrics": {"ssim": 0.5}}, {"metrics": {"ssim": 0.52}}) == hardly
    # The interval of a difference of two values with an error of 1 each is 1.96 * 2 ** 0.5 = 2.77 on both sides.
    assert told(distances(7.0, 5.0, 1.0), distances(4.5, 5.0, 1.0)) == hardly
    assert told(distances(7.0, 5.0, 1.0), distances(4.0, 7.0, 1.0)) == well
    assert told(distances(7.0, 5.0, 1.0), distances(4.0, 8.0, 1.0)) == "The run went well one way, and worse the other"


def test_data_that_looked_wrong_leave_a_doubt_though_later_lines_do_not_show_it():
    unrelated = {"forward_relatedness": 0.01, "forward_l1": 0.3, "forward_l1_of_mean": 0.3}
    related = unrelated | {"forward_relatedness": 0.5}
    diagnosis, called = follow(*[FINE] * 8, *[unrelated] * 8, *[related] * 20)
    assert [name for _, name, _ in called] == ["answers do not depend on the inputs"]
    diagnosis.measured += measured(0.38, 0.3)
    assert diagnosis.conclude(1000, "finished") == (
        "The run ended in doubt: validation l1 fell from 0.38 to 0.3; "
        "there was: answers do not depend on the inputs (since step 180)."
    )


def test_a_grid_is_called_in_long_runs_alone_and_is_no_bad_run():
    grid = [{"forward_checkerboard": 5.0}] * 10
    assert follow(*grid, total_steps=1000, every=100)[1] == []
    diagnosis, called = follow(*grid, total_steps=4000, every=400)
    assert [(step, name) for step, name, _ in called] == [(2000, "checkerboard")]
    diagnosis.measured += measured(0.2, 0.1)
    told = "The run went well but for a flaw: validation l1 fell from 0.2 to 0.1; at its end: checkerboard (since step "
    assert diagnosis.conclude(4000, "finished").startswith(told)


def test_what_came_first_is_told_first():
    diagnosis, _ = follow({"generator_update": 1.0}, {"generator_update": 1.0}, *[FINE] * 8, *[FLAT] * 8)
    assert diagnosis.conclude(1000, "finished") == (
        "The run went badly: earlier: steps too large (since step 40); at its end: flat images (since step 220)."
    )


def test_nothing_is_said_to_be_well_without_evidence():
    diagnosis, _ = follow(FINE)
    assert diagnosis.conclude(1000, "finished") == "The run was too short to judge: no warning."
    diagnosis.measured += measured(0.2, 0.1)
    assert diagnosis.conclude(1000, "finished").startswith("The run was too short to judge: validation l1 fell")
    diagnosis, _ = follow(*[FINE] * 5)
    assert diagnosis.conclude(1000, "finished") == "Nothing was measured that tells how well the run went: no warning."
    diagnosis.measured += measured(0.2)
    assert diagnosis.conclude(1000, "finished") == "The run was too short to judge: no warning."


def test_a_run_that_broke_down_was_not_warned_of_before():
    diagnosis, _ = follow(FINE)
    assert diagnosis.conclude(5, "broke down") == "The run broke down at step 5: no warning before."


def test_a_cycle_that_is_less_exact_is_not_a_worse_run():
    diagnosis, _ = follow(*[FINE] * 5)
    diagnosis.measured += [
        {"step": step, "is_best": False, "metrics": {"cycle_source": cycle, "kernel_distance": distance}}
        for step, cycle, distance in ((10, 0.03, math.nan), (20, 0.03, 40.0), (30, 0.05, 2.0), (40, 0.05, math.inf))
    ]
    told = "The run went well: validation kernel_distance fell from 40 to 2; no warning."
    assert diagnosis.conclude(1000, "finished") == told
    diagnosis, _ = follow(*[FINE] * 5)
    diagnosis.measured += measured(0.3, 0.1, metric="reconstruction")
    assert diagnosis.conclude(1000, "finished").startswith("Nothing was measured that tells")


def test_the_metric_and_the_best_step_are_those_of_the_best_model():
    diagnosis, _ = follow(*[FINE] * 5)
    diagnosis.metric = "psnr"
    diagnosis.measured += measured(20.0, 30.0, 25.0, metric="psnr", best=(1, 2))
    assert diagnosis.conclude(1000, "finished") == (
        "The run went well: validation psnr rose from 20 to 25, best at step 500; no warning."
    )
    diagnosis.metric = "cycle_source"
    assert "validation psnr rose from 20 to 25, best by cycle_source at step 500" in diagnosis.conclude(1000, "stopped")


def test_a_bad_run_names_what_was_wrong_at_its_end_and_before():
    diagnosis, _ = follow(*[FLAT] * 8, *[FINE] * 8)
    diagnosis.measured += measured(0.2, 0.1)
    told = "The run ended well: validation l1 fell from 0.2 to 0.1; there was: flat images (since step 20)."
    assert diagnosis.conclude(1000, "finished") == told
    diagnosis, _ = follow(*[FLAT] * 8)
    assert diagnosis.conclude(1000, "finished") == "The run went badly: at its end: flat images (since step 20)."
    diagnosis.measured += measured(0.2, 0.1)  # what has won the game may still let the other losses fall
    assert diagnosis.conclude(1000, "finished").startswith("The run ended better than it began, but not well: ")
    diagnosis.measured.clear()
    assert diagnosis.conclude(160, "stopped").startswith("Stopped at step 160 of 1,000: at its end: flat images")
    assert diagnosis.conclude(160, "broke down").startswith("The run broke down at step 160: at its end: flat images")


class Game:
    """As much of a method as a watch sees."""

    batch_type = Pair
    players: ClassVar = {"generator": ("generator",), "discriminator": ("discriminator",)}
    generators = ("generator",)

    class adversary:  # noqa: N801
        @staticmethod
        def read_accuracy():
            return {"discriminator": torch.tensor([0.75, 0.5])}


def test_the_watch_reads_weights_judgements_and_the_latest_images():
    network = nn.Linear(1, 1, bias=False)
    network.weight.data.fill_(2.0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    watch = Watch(Game(), average=lambda losses: losses)
    for images in (torch.zeros(64, 3, 32, 32), torch.rand(64, 3, 32, 32)):
        network.weight.grad = torch.full((1, 1), 4.0)
        translation = Translation(images, images, 1 - images)
        with watch.stepping(
            Turn("generator", {}, translations={"forward": translation}, mismatched={"a": torch.tensor(2.0)}), optimizer
        ):
            optimizer.step()
    signs = watch.read()
    # The first step goes from 2 to 2 - 0.1 * 4.
    assert (signs["generator_gradient"], signs["generator_update"]) == pytest.approx((4.0, 0.2))
    assert (signs["discriminator_real_right"], signs["discriminator_fake_right"]) == (0.75, 0.5)
    assert signs["a_mismatched"] == 2.0
    assert signs["forward_relatedness"] == pytest.approx(-1, abs=1e-3), "of the latest 64 images alone"
    assert signs["forward_change"] == 0.0
    assert set(watch.read()) == {"discriminator_real_right", "discriminator_fake_right"}


def test_the_gradient_is_read_before_it_is_clipped_and_pulled():
    network = nn.Linear(1, 1, bias=False)
    network.weight.grad = torch.full((1, 1), 4.0)

    class Pull:
        def pull(self, player):
            network.weight.grad += 100

    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    job = SimpleNamespace(
        restraint=Pull(), optimizers={"generator": optimizer}, settings=SimpleNamespace(gradient_clip=0.5)
    )
    watch, before = Watch(Game(), average=lambda losses: losses), network.weight.item()
    move(job, Turn("generator", {}), watch)
    assert watch.read()["generator_gradient"] == 4
    assert before - network.weight.item() == pytest.approx(0.5, abs=1e-4)


def test_signs_of_images_of_other_channels_leave_out_what_cannot_be_compared():
    source, target = torch.rand(4, 1, 16, 16), torch.rand(4, 3, 16, 16)
    signs = image_signs(source, target, target, is_paired=True)
    assert {"l1", "relatedness", "contrast", "brightness_agreement"} <= set(signs)
    assert not {"change", "shift_of_source"} & set(signs)
    assert signs["l1"] == 0
    assert all(
        math.isfinite(value) for value in image_signs(source[:1], target[:1], target[:1], is_paired=False).values()
    )


def test_a_sick_run_warns_and_does_so_again_when_it_goes_on_from_before(tiny, command, tmp_path):
    words = [*tiny, "steps=6", "log_every=1", "optimizer.lr=0.02", "validation.every=0"]
    ran = command("train", *words)
    assert ran.code == 0
    assert "steps too large, since step 2" in ran.out
    assert "The run went badly" in ran.out
    run = tmp_path / "run"
    rows, warnings = read_metrics(run / "metrics.jsonl"), read_metrics(run / "warnings.jsonl")
    assert {"step": 2, "name": "steps too large", "since": 2}.items() <= warnings[0].items()

    # As a run that was killed after step 6 goes on from its save at step `step`.
    for step in (1, 4):
        settings = {"wandb": Wandb("disabled", None, None), "settings": {}, "is_first": True, "gives_verdict": True}
        with RunLog(run, step=step, total_steps=6, **settings) as log:
            for row in rows[step:]:
                log.metrics(row)
        assert read_metrics(run / "warnings.jsonl") == warnings


def test_the_verdict_can_be_turned_off(tiny, command, tmp_path):
    ran = command("train", *tiny, "steps=2", "log_every=1", "optimizer.lr=0.02", "verdict=false", "validation.every=0")
    assert ran.code == 0
    assert "The run" not in ran.out
    assert "Warning" not in ran.out
    assert "signs" not in read_metrics(tmp_path / "run/metrics.jsonl")[0]
    assert not (tmp_path / "run/warnings.jsonl").exists()
