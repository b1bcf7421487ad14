"""The schedule that follows a game's own measure of convergence."""

import pytest
import torch

from translate.errors import UserError
from translate.training.checkpoint import read_state
from translate.training.plateau import Plateau


def observe(plateau, *measures):
    """The rate after each reading, 10 steps apart."""
    rates = []
    for place, measure in enumerate(measures, start=1):
        plateau.observe(10 * place, {"discriminator_convergence": measure, "discriminator_balance": 9.0})
        rates.append(plateau(10 * place, 1000))
    return rates


def test_the_rate_halves_where_the_measure_stalls():
    plateau = Plateau(factor=0.5, patience=20, smoothing=0.0)
    # Lowest at step 20; 20 steps later it falls, and 20 steps after that again.
    assert observe(plateau, 3.0, 2.0, 2.5, 2.0, 2.0, 2.1) == [1, 1, 1, 0.5, 0.5, 0.25]


def test_the_measure_is_smoothed_and_of_all_discriminators():
    plateau = Plateau(smoothing=0.75)
    plateau.observe(1, {"discriminator_source_convergence": 1.0, "discriminator_target_convergence": 3.0})
    plateau.observe(2, {"discriminator_source_convergence": 3.0, "discriminator_target_convergence": 5.0})
    assert plateau.measure.item() == pytest.approx(0.75 * 2 + 0.25 * 4)


def test_it_goes_on_from_what_it_remembers():
    first, second = Plateau(patience=20), Plateau(patience=20)
    observe(first, 2.0, 2.0)
    second.load_state_dict(first.state_dict())
    for step in (30, 40):
        for plateau in (first, second):
            plateau.observe(step, {"discriminator_convergence": 2.0})
    assert first(0, 1) == second(0, 1) == 0.5
    assert all(torch.equal(one, other) for one, other in zip(first.buffers(), second.buffers(), strict=True))


@pytest.mark.parametrize("wrong", [{"factor": 1.0}, {"patience": 0}, {"smoothing": 1.0}])
def test_values_outside_their_range_are_refused(wrong):
    with pytest.raises(UserError, match=rf"schedule\.{next(iter(wrong))}="):
        Plateau(**wrong)


def test_it_needs_a_game_that_measures_its_convergence(tiny, command):
    ran = command("train", *tiny, "schedule=plateau", "steps=1")
    assert ran.code == 2
    assert "schedule=plateau follows a measure of convergence that objective=began alone has" in ran.err


def test_a_run_of_began_follows_it_and_goes_on_exactly(tiny, command, tmp_path):
    usual = [word for word in tiny if not word.startswith("discriminator=")]
    words = [*usual, "objective=began", "discriminator.code=2", "schedule.patience=2", "log_every=2", "save_every=3"]
    words += ["schedule.smoothing=0.0", "optimizer.lr=0.01"]
    assert command("train", *words, "steps=8", f"output={tmp_path / 'whole'}").code == 0
    assert command("train", *words, "steps=3", f"output={tmp_path / 'parts'}").code == 0
    assert command("train", *words, "steps=8", f"output={tmp_path / 'parts'}").code == 0
    whole, parts = (read_state(tmp_path / name)["memories"]["schedule"] for name in ("whole", "parts"))
    assert whole["lowest_step"] > 0
    assert {name: value.item() for name, value in whole.items()} == {
        name: value.item() for name, value in parts.items()
    }
