"""The verdict on a run: warnings while it trains, and one sentence at its end."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from translate.evaluation.bootstrap import SURE
from translate.evaluation.metrics import BETTER_WHEN_HIGHER
from translate.training.symptoms import SYMPTOMS, History, Row, Seen, Symptom
from translate.training.validation import BACK, DEFAULTS, TELL_NOTHING

AWAY = 0.1
"""Share of the run for which a symptom must be away before it can be called again."""
WELL = "The run went well"
HARDLY = 0.05
"""Share of a metric's first value by which it must have changed."""
LASTING = 0.8
"""Share of lines that show a symptom that lasts."""
Ending = Literal["finished", "stopped", "broke down"]


@dataclass(frozen=True)
class Finding:
    """A symptom that has lasted.

    Attributes:
        step: when it was called.
        symptom: what it is.
        since: the step at which it was first seen.
        seen: the numbers that show it.
    """

    step: int
    symptom: Symptom
    since: int
    seen: Seen

    @property
    def text(self) -> str:
        """What a user reads."""
        symptom = self.symptom
        return (
            f"Warning at step {self.step:,}: {symptom.name}, since step {self.since:,}: "
            f"{symptom.text.format(**self.seen)}. Usual help: {symptom.advice}"
        )

    @property
    def line(self) -> dict[str, Any]:
        """A line of warnings.jsonl."""
        return {
            "step": self.step,
            "name": self.symptom.name,
            "since": self.since,
            "seen": self.seen,
            "advice": self.symptom.advice,
        }


@dataclass
class _Episode:
    """A symptom from when it was first seen; `last` is when most lines around showed it."""

    since: int
    last: int
    absent: int = 0
    is_called: bool = False
    window: deque[tuple[int, bool]] = field(default_factory=deque)
    seen: int = 0

    def take(self, step: int, is_seen: bool, span: float) -> float:
        """Take in a line that can show it; the share of the lines of the last `span` steps that do."""
        self.window.append((step, is_seen))
        self.seen += is_seen
        while self.window[0][0] < step - span:
            self.seen -= self.window.popleft()[1]
        share = self.seen / len(self.window)
        if is_seen and share >= 0.5:
            self.last, self.absent = step, 0
        self.absent += not is_seen
        return share


@dataclass
class Diagnosis:
    """Follows a run by what it logs; the same lines, in the same order, always give the same warnings.

    Args:
        total_steps: steps the run is to do.
        metric: of the validation, which tells the best model; None where nothing does.
    """

    total_steps: int
    metric: str | None = None
    rows: list[Row] = field(default_factory=list)
    measured: list[Row] = field(default_factory=list)
    called: list[Finding] = field(default_factory=list)
    _episodes: dict[str, _Episode] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._history = History(self.rows, self.measured, self.total_steps)

    def go_on(self, rows: Iterable[Row], measured: Iterable[Row], warnings: Iterable[Row] = ()) -> None:
        """Take in the lines of a run that is continued; what was called stands, whatever the number of steps now is."""
        symptoms = {symptom.name: symptom for symptom in SYMPTOMS}
        kinds = (rows, measured, warnings)
        lines = [(line["step"], kind, line) for kind, lines in enumerate(kinds) for line in lines]
        for step, kind, line in sorted(lines, key=lambda line: line[:2]):
            if kind == 0:
                self._follow(line)
            elif kind == 1:
                self.measured.append(line)
            elif line["name"] in symptoms:
                self.called.append(Finding(step, symptoms[line["name"]], line["since"], line["seen"]))
                self._episodes.setdefault(line["name"], _Episode(line["since"], step)).is_called = True

    def take(self, row: Row) -> list[Finding]:
        """Take in a line of metrics.jsonl; the warnings to give now.

        A symptom is called once it has lasted; again, if it was away for a tenth of the run and came back.
        """
        warnings = self._follow(row)
        for warning in warnings:
            self._episodes[warning.symptom.name].is_called = True
        self.called += warnings
        return warnings

    def _follow(self, row: Row) -> list[Finding]:
        """Take in a line; what has lasted and is not called yet."""
        self.rows.append(row)
        step, found = row["step"], []
        for symptom in SYMPTOMS:
            if not symptom.can_show(row):
                continue
            seen = symptom.find(self._history)
            episode = self._episodes.get(symptom.name)
            if episode is None:
                if seen is None:
                    continue
                episode = self._episodes[symptom.name] = _Episode(step, step)
            span = symptom.lasts * self.total_steps
            share = episode.take(step, seen is not None, span)
            is_away = episode.absent > 1 and step - episode.last >= AWAY * self.total_steps
            if is_away or (share < LASTING and not episode.is_called):
                del self._episodes[symptom.name]
                continue
            has_lasted = not span or (step - episode.since >= max(span, 1) and share >= LASTING)
            is_time = step >= symptom.steps and self._history.share >= symptom.after
            if seen is not None and has_lasted and is_time and not episode.is_called:
                found.append(Finding(step, symptom, episode.since, seen))
        return found

    def conclude(self, step: int, ending: Ending) -> str:
        """How the run went, in a sentence: well only if a metric that tells became clearly better, without symptoms."""
        metric, rows = telling(self.measured, self.metric)
        judged = None if metric is None else _judge(metric, rows)
        present = [name for name, episode in self._episodes.items() if episode.is_called]
        past = [each.symptom for each in self.called if each.symptom.name not in present]
        if ending == "broke down":
            said = f"The run broke down at step {step:,}"
        elif ending == "stopped":
            said = f"Stopped at step {step:,} of {self.total_steps:,}"
        elif any(not each.symptom.is_flaw for each in self.called if each.symptom.name in present):
            said = "The run ended better than it began, but not well" if judged == WELL else "The run went badly"
        elif any(symptom.is_of_data for symptom in past):
            said = "The run ended in doubt"  # what is learned by heart hides what is wrong with the data
        elif len(self.rows) < 2 or len(self.measured) == 1:
            said = "The run was too short to judge"
        elif judged is None:
            said = "Nothing was measured that tells how well the run went"
        elif judged == WELL and present:
            said = "The run went well but for a flaw"
        elif judged == WELL and past:
            said = "The run ended well"
        else:
            said = judged
        since = {each.symptom.name: each.since for each in reversed(self.called)}
        told = {
            "earlier" if present else "there was": dict.fromkeys(symptom.name for symptom in past),
            "at its end": present,
        }
        parts = self._progress(metric, rows)
        for when, names in told.items():
            if names:
                parts.append(f"{when}: " + ", ".join(f"{name} (since step {since[name]:,})" for name in names))
        unwarned = "no warning before" if ending == "broke down" else "no warning"
        return f"{said}: {'; '.join(parts + [unwarned] * (not self.called))}."

    def _progress(self, metric: str | None, rows: Sequence[Row]) -> list[str]:
        """What became of a metric, and which step the best model is of."""
        parts = []
        for name in (metric, f"{metric}{BACK}"):
            if rows and name in rows[0]["metrics"]:
                first, last = (row["metrics"][name] for row in (rows[0], rows[-1]))
                verb = "fell" if last < first else "rose" if last > first else "went"
                parts.append(f"{'validation ' * (name == metric)}{name} {verb} from {first:.3g} to {last:.3g}")
        best = next((row["step"] for row in reversed(self.measured) if row["is_best"]), None)
        if best is not None:
            by = "" if self.metric in (None, metric) else f" by {self.metric}"
            parts.append(f"best{by} at step {best:,}")
        return [", ".join(parts)] * bool(parts)


def telling(measured: Sequence[Row], metric: str | None) -> tuple[str | None, list[Row]]:
    """The metric that tells most of how a run went, and the measurements that have it; None where none was taken twice.

    `measured` are lines of validation.jsonl; `metric` is what chose the best model, if anything did.
    """
    for name in dict.fromkeys((metric, *DEFAULTS, *(name for row in measured for name in row["metrics"]))):
        if name is not None and name not in TELL_NOTHING:
            rows = [row for row in measured if math.isfinite(row["metrics"].get(name, math.nan))]
            if len(rows) > 1:
                return name, rows
    return None, []


def _judge(metric: str, rows: Sequence[Row]) -> str:
    """How the last measurement compares with the first one, both ways if it was measured both ways."""
    gain = _clear_gain(metric, rows)
    back = _clear_gain(f"{metric}{BACK}", rows)
    if gain < 0:
        return "The run ended worse than it began"
    if gain == 0:
        return "The run ended hardly better than it began"
    return "The run went well one way, and worse the other" if back < 0 else WELL


def _clear_gain(metric: str, rows: Sequence[Row]) -> int:
    """Whether the last value is better than the first (1) or worse (-1); 0 for less than a twentieth, or for what may
    be chance by the standard errors."""
    (first, last), errors = (
        [row.get(kind, {}).get(metric, 0.0) for row in (rows[0], rows[-1])] for kind in ("metrics", "errors")
    )
    if not math.isfinite(last):
        return -1
    gain = last - first if metric in BETTER_WHEN_HIGHER else first - last
    least = max(HARDLY * abs(first), SURE * math.hypot(*errors))
    return 0 if abs(gain) <= least else int(math.copysign(1, gain))
