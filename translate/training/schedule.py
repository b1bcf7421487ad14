"""Learning-rate schedules: the factor on the learning rate as a function of the step and the number of steps."""

from math import cos, pi

from translate.errors import UserError


def linear(step: int, total_steps: int, *, constant: float = 0.5) -> float:
    """1 for the first `constant` share of training, then linearly towards 0, which it would reach one step later.

    With 0.5 the schedule of the CycleGAN paper (section 4): as many epochs constant as decaying.
    """
    first = constant * total_steps
    return 1.0 if step < first else 1.0 - (step - first) / (total_steps - first)


def cosine(step: int, total_steps: int) -> float:
    """Half a cosine from 1 to 0. Loshchilov and Hutter 2017, equation 5, without restarts."""
    return 0.5 * (1 + cos(pi * step / total_steps))


def stargan_reference(step: int, total_steps: int, *, constant: float = 0.5, every: int = 1000) -> float:
    """The decay of the StarGAN reference implementation, which is nearly constant.

    After the first `constant` share, every `every` steps the rate falls by (learning rate / remaining steps): once for
    many steps, where the paper's linear decay to 0 has one such decrease for each step.

    Raises:
        UserError: `every` is below 1.
    """
    if every < 1:
        raise UserError(f"schedule.every={every} must be at least 1")
    first = constant * total_steps
    return 1.0 if step < first else 1.0 - (step - first) // every / (total_steps - first)


def constant(step: int, total_steps: int) -> float:
    """Always 1."""
    return 1.0
