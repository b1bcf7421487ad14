"""Objectives on energies, at energies whose losses can be worked out by hand."""

import pytest
import torch

from translate.errors import UserError
from translate.objectives.energy import Balance, began, ebgan, pulling_away_term

ENERGIES = torch.tensor([0.25, 1.5])


def test_ebgan_losses_are_those_worked_out_by_hand():
    objective = ebgan(margin=1.0)
    assert objective.real(ENERGIES).item() == pytest.approx(0.875)
    assert objective.fake(ENERGIES).item() == pytest.approx(0.75 / 2)  # 1 - 0.25, and nothing above the margin
    assert objective.generator(ENERGIES).item() == pytest.approx(0.875)
    assert objective.judges_by == "energy"


def test_began_losses_are_those_worked_out_by_hand():
    objective = began()
    losses = [loss(ENERGIES).item() for loss in (objective.real, objective.fake, objective.generator)]
    assert losses == pytest.approx([0.875, -0.875, 0.875])


def test_the_balance_follows_the_papers_control():
    balance = Balance(diversity=0.5, balance_rate=0.1)
    balance.update(torch.tensor(2.0), torch.tensor(0.4))  # surplus 0.6
    assert balance.weight.item() == pytest.approx(0.06)
    assert balance.measure.item() == pytest.approx(2.6)
    balance.update(torch.tensor(1.0), torch.tensor(0.9))  # surplus -0.4
    assert balance.weight.item() == pytest.approx(0.02)
    assert balance.measure.item() == pytest.approx(1.4)
    balance.update(torch.tensor(1.0), torch.tensor(9.0))
    assert balance.weight.item() == 0
    balance.update(torch.tensor(100.0), torch.tensor(0.0))
    assert balance.weight.item() == 1


def test_the_pulling_away_term_is_the_mean_squared_cosine_between_different_codes():
    codes = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]])  # cosines 0, 1/sqrt 2, 1/sqrt 2
    assert pulling_away_term(codes).item() == pytest.approx((0 + 0.5 + 0.5) / 3)
    assert pulling_away_term(torch.ones(4, 2)).item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ebgan(margin=0.0), r"objective\.margin=0\.0 must be more than 0"),
        (lambda: ebgan(pulling_away=-1.0), r"objective\.pulling_away=-1\.0 must be at least 0"),
        (lambda: began(diversity=0.0), r"objective\.diversity=0\.0 is outside 0 to 1"),
        (lambda: began(balance_rate=0.0), r"objective\.balance_rate=0\.0 must be more than 0"),
    ],
)
def test_values_without_sense_are_refused(make, message):
    with pytest.raises(UserError, match=message):
        make()
