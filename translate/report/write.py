"""Writing the report of a run into its folder."""

import sys
from pathlib import Path

from translate.files import write_text
from translate.report.facts import evaluations_in, read_run
from translate.report.page import Page
from translate.training.history import HISTORY
from translate.training.log import METRICS, VALIDATION, WARNINGS
from translate.training.run_folder import CONFIG

FILE = "report.html"


def write_report(folder: Path) -> Path:
    """Write report.html from what lies in a run folder now, whether the run has ended or not; returns its path.

    Raises:
        UserError: it is no run folder.
        OSError: the disk is full or the folder cannot be written.
    """
    path = folder / FILE
    write_text(path, Page(read_run(folder)).html())
    return path


def refresh_report(folder: Path) -> None:
    """The same where something has changed since; what goes wrong is one line on the standard error, and no more."""
    if not (folder / CONFIG).is_file() or _is_current(folder):
        return
    try:
        write_report(folder)
    except Exception as error:  # a page about a run is a guest in it: whatever goes wrong in it, the run stands
        print(f"{folder / FILE} could not be written: {error}", file=sys.stderr)


def _is_current(folder: Path) -> bool:
    page = folder / FILE
    sources = [folder / name for name in (CONFIG, METRICS, VALIDATION, WARNINGS, HISTORY)]
    sources += evaluations_in(folder)
    newest = max(path.stat().st_mtime_ns for path in sources if path.is_file())
    return page.is_file() and page.stat().st_mtime_ns >= newest
