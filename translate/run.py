"""A training with its page: what the command line, sweeps and Python begin a run by."""

from collections.abc import Sequence
from pathlib import Path

from translate.config import Composed
from translate.data.source import Progress
from translate.report.write import refresh_report
from translate.training.devices import is_first_process
from translate.training.run import Outcome, train


def run(
    composed: Composed,
    *,
    words: Sequence[str] | None = None,
    data_progress: Progress | None = None,
    judges: Path | None = None,
) -> Outcome:
    """`translate.training.run.train` as `composed` says; its report.html is written however it ends.

    Raises:
        UserError, DivergenceError: as `train`.
    """
    try:
        return train(
            composed.settings,
            composed.tree,
            allowed=composed.allowed,
            words=words,
            data_progress=data_progress,
            judges=judges,
        )
    finally:
        if is_first_process():
            refresh_report(Path(composed.settings.output))
