"""Errors that are meant for the person at the keyboard: the command line prints their message without a traceback."""

from collections.abc import Sequence


class UserError(ValueError):
    """Something the user asked for cannot be done. The message names the setting, its value and the remedy.

    The command line exits with code 2.
    """


class DivergenceError(RuntimeError):
    """Training broke down: a loss or a weight became NaN or infinite. The message names it and what usually helps.

    The command line exits with code 1. `step` tells when.
    """

    def __init__(self, message: str, *, step: int | None = None) -> None:
        super().__init__(message)
        self.step = step


def check_choice(setting: str, value: str, choices: Sequence[str]) -> None:
    """Raise UserError for a setting that is not one of its choices."""
    if value not in choices:
        raise UserError(f"{setting}={value!r} is not one of {', '.join(choices)}")
