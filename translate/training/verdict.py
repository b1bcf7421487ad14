"""The verdict on a run: warnings while it trains, and one sentence at its end."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from translate.evaluation.metrics import BETTER_WHEN_HIGHER
from translate.training.symptoms import SYMPTOMS, History, Row, Seen, Symptom
from translate.training.validation import KERNEL, PAIRED, TELL_NOTHING

AWAY = 0.1
"""Share of the run for which a symptom must be away before it can be called again."""
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
    """A symptom from when it was first seen."""

    since: int
    last: int
    lines: int = 1
    absent: int = 0
    is_called: bool = False


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

    def go_on(self, rows: Iterable[Row], measured: Iterable[Row]) -> None:
        """Take in the lines of a run that is continued."""
        lines = [(row["step"], 0, row) for row in rows] + [(row["step"], 1, row) for row in measured]
        for _, kind, row in sorted(lines, key=lambda line: line[:2]):
            if kind:
                self.measured.append(row)
            else:
                self.take(row)

    def take(self, row: Row) -> list[Finding]:
        """Take in a line of metrics.jsonl; the warnings to give now.

        A symptom is called once it has lasted; again, if it was away for a tenth of the run and came back.
        """
        self.rows.append(row)
        history = History(self.rows, self.measured, self.total_steps)
        warnings = []
        for symptom in SYMPTOMS:
            seen = symptom.find(history)
            episode = self._episodes.get(symptom.name)
            lasting = symptom.lasts * self.total_steps
            if seen is None:
                if episode is not None:
                    episode.absent += 1
                    is_away = episode.absent > 1 and row["step"] - episode.last >= AWAY * self.total_steps
                    if is_away or not episode.is_called:
                        del self._episodes[symptom.name]
                continue
            if episode is None:
                episode = self._episodes[symptom.name] = _Episode(row["step"], row["step"])
            else:
                episode.last, episode.absent, episode.lines = row["step"], 0, episode.lines + 1
            has_lasted = not lasting or (episode.lines > 1 and row["step"] - episode.since >= lasting)
            is_time = row["step"] >= symptom.steps and history.share >= symptom.after
            if has_lasted and is_time and not episode.is_called:
                episode.is_called = True
                warnings.append(Finding(row["step"], symptom, episode.since, seen))
        self.called += warnings
        return warnings

    def conclude(self, step: int, ending: Ending) -> str:
        """How the run went, in a sentence; well only if a metric that tells became better, and at no symptom."""
        metric, values = self._telling()
        present = [name for name, episode in self._episodes.items() if episode.is_called]
        past = [name for name in dict.fromkeys(each.symptom.name for each in self.called) if name not in present]
        if ending == "broke down":
            said = f"The run broke down at step {step:,}"
        elif ending == "stopped":
            said = f"Stopped at step {step:,} of {self.total_steps:,}"
        elif present:
            said = "The run went badly"
        elif len(self.rows) < 2 or len(self.measured) == 1:
            said = "The run was too short to judge"
        elif metric is None:
            said = "Nothing was measured that tells how well the run went"
        elif _gain(metric, values) <= 0:
            said = "The run ended no better than it began"
        else:
            said = "The run went well" if not past else "The run ended well"
        parts = self._progress(metric, values)
        if present:
            since = {each.symptom.name: each.since for each in self.called}
            parts.append("at its end: " + ", ".join(f"{name} (since step {since[name]:,})" for name in present))
        if past:
            parts.append(f"{'earlier' if present else 'there was'}: {', '.join(past)}")
        return f"{said}: {'; '.join(parts + ['no warning'] * (not self.called))}."

    def _telling(self) -> tuple[str | None, dict[int, float]]:
        """The metric that tells most, and its finite values by step; None where none was measured twice."""
        for name in dict.fromkeys((self.metric, PAIRED[0], KERNEL[0], *PAIRED, *KERNEL)):
            if name is not None and name not in TELL_NOTHING:
                values = {row["step"]: row["metrics"].get(name, math.nan) for row in self.measured}
                values = {step: value for step, value in values.items() if math.isfinite(value)}
                if len(values) > 1:
                    return name, values
        return None, {}

    def _progress(self, metric: str | None, values: dict[int, float]) -> list[str]:
        """What became of a metric, and which step the best model is of."""
        parts = []
        if metric is not None:
            first, *_, last = values.values()
            verb = "fell" if last < first else "rose" if last > first else "went"
            parts.append(f"validation {metric} {verb} from {first:.3g} to {last:.3g}")
        best = next((row["step"] for row in reversed(self.measured) if row["is_best"]), None)
        if best is not None:
            by = "" if self.metric in (None, metric) else f" by {self.metric}"
            parts.append(f"best{by} at step {best:,}")
        return [", ".join(parts)] * bool(parts)


def _gain(metric: str, values: dict[int, float]) -> float:
    """How much better the last value is than the first."""
    first, *_, last = values.values()
    return last - first if metric in BETTER_WHEN_HIGHER else first - last
