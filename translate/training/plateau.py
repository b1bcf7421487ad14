"""A learning rate that falls whenever the game's own measure of convergence no longer does."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from translate.errors import UserError

MEASURE = "_convergence"
"""How the names of the measures end among the signals of a method."""


class Plateau(nn.Module):
    """A schedule that multiplies its rate by `factor` when the measure of convergence stalls. A memory.

    As Berthelot et al. 2017 (BEGAN), section 3.4 for the measure and 4.1 for its use. The measure is the mean of those
    of all discriminators, smoothed over the last readings, of which there is one per log interval.

    Args:
        factor: what the rate is multiplied by, between 0 and 1.
        patience: steps without a new lowest measure after which the rate falls.
        smoothing: share of what was read before in the smoothed measure, from 0 to below 1.

    Raises:
        UserError: a value outside its range.
    """

    rate: Tensor
    measure: Tensor
    lowest: Tensor
    lowest_step: Tensor

    def __init__(self, *, factor: float = 0.5, patience: int = 3000, smoothing: float = 0.9) -> None:
        super().__init__()
        if not 0 < factor < 1:
            raise UserError(f"schedule.factor={factor} must be between 0 and 1")
        if patience < 1:
            raise UserError(f"schedule.patience={patience} must be at least 1")
        if not 0 <= smoothing < 1:
            raise UserError(f"schedule.smoothing={smoothing} is outside 0 to 1; 0 does not smooth")
        self.factor, self.patience, self.smoothing = factor, patience, smoothing
        self.register_buffer("rate", torch.tensor(1.0, dtype=torch.float64))
        self.register_buffer("measure", torch.tensor(torch.nan, dtype=torch.float64))
        self.register_buffer("lowest", torch.tensor(torch.inf, dtype=torch.float64))
        self.register_buffer("lowest_step", torch.tensor(0))

    def forward(self, step: int, total_steps: int) -> float:
        """The factor on the learning rate."""
        return float(self.rate)

    def check(self, signals: Mapping[str, object]) -> None:
        """Raise UserError for a method whose signals have no measure of convergence."""
        if not any(name.endswith(MEASURE) for name in signals):
            raise UserError(
                "schedule=plateau follows a measure of convergence that objective=began alone has: use it, or "
                "schedule=linear"
            )

    def observe(self, step: int, signals: Mapping[str, float]) -> None:
        """Take in the signals of a step."""
        measures = [value for name, value in signals.items() if name.endswith(MEASURE)]
        measure = sum(measures) / len(measures)
        before = measure if bool(self.measure.isnan()) else float(self.measure)
        self.measure.fill_(self.smoothing * before + (1 - self.smoothing) * measure)
        if self.measure < self.lowest:
            self.lowest.copy_(self.measure)
            self.lowest_step.fill_(step)
        elif step - int(self.lowest_step) >= self.patience:
            self.rate.mul_(self.factor)
            self.lowest_step.fill_(step)
