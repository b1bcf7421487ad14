"""Curves as SVG: linear and logarithmic, as measured and smoothed; the page's script only adds a cursor."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from translate.report.markup import Html, element, join

WIDTH, HEIGHT = 480, 230
LEFT, RIGHT, TOP, BOTTOM = 64, 452, 10, 200
POINTS = 500
"""Of a curve at most."""
COLORS = 8
WINDOW = 20
"""A smoothed curve is an exponential mean over one part in so many of its points."""

Values = Sequence[float | None]


@dataclass(frozen=True)
class Chart:
    """Some quantities against the step.

    Attributes:
        title: what they are.
        steps: ascending.
        series: by name a value for each step, None where there is none.
        best: a step and value to mark.
        smoothed: whether the curves are noisy.
        group: how many rows each point is the mean of.
    """

    title: str
    steps: Sequence[int]
    series: Mapping[str, Values]
    best: tuple[int, float] | None = None
    smoothed: bool = False
    group: int = 1

    @property
    def data(self) -> dict[str, Any]:
        """What the cursor reads."""
        return {
            "steps": list(self.steps),
            "series": {
                name: [None if value is None else float(f"{value:.6g}") for value in values]
                for name, values in self.series.items()
            },
        }


def make_chart(
    title: str,
    rows: Sequence[tuple[int, Mapping[str, float]]],
    names: Mapping[str, str],
    *,
    best: tuple[int, float] | None = None,
    smoothed: bool = False,
) -> Chart | None:
    """A chart of the values of `names` (key to label) in rows of (step, values); None where there is nothing finite.

    Of more than 500 rows, as many as are needed are averaged into each point, which stands at the last of their steps.
    """
    group = -(-len(rows) // POINTS)
    chunks = [rows[first : first + group] for first in range(0, len(rows), group or 1)]
    series = {}
    for key, label in names.items():
        columns = [[float(row[key]) for _, row in chunk if math.isfinite(row.get(key, math.nan))] for chunk in chunks]
        values = [sum(column) / len(column) if column else None for column in columns]
        if any(value is not None for value in values):
            series[label] = values
    return Chart(title, [chunk[-1][0] for chunk in chunks], series, best, smoothed, group) if series else None


def draw(chart: Chart, number: int) -> Html:
    """A figure: legend, curves, and a line of text for the values under the cursor."""
    legend = [
        element("span", element("i", class_=f"c{place % COLORS}"), name, class_="key")
        for place, name in enumerate(chart.series)
    ]
    notes = f"each point is the mean of {chart.group} lines of the log" if chart.group > 1 else ""
    drawn = [_svg(chart, number, is_log=False)]
    if any(value is not None and value > 0 for values in chart.series.values() for value in values):
        drawn.append(_svg(chart, number, is_log=True))
    return element(
        "figure",
        element("figcaption", element("b", chart.title), " ", *(legend if len(legend) > 1 else ())),
        *drawn,
        element("p", notes, class_="readout", data_rest=notes, aria_live="polite"),
        class_=f"chart{' has-log' * (len(drawn) > 1)}{' noisy' * chart.smoothed}",
    )


def _svg(chart: Chart, number: int, *, is_log: bool) -> Html:
    shown = {
        name: [value if value is not None and (value > 0 or not is_log) else None for value in values]
        for name, values in chart.series.items()
    }
    known = [value for values in shown.values() for value in values if value is not None]
    ticks = log_ticks(min(known), max(known)) if is_log else linear_ticks(min(known), max(known))
    low, high = min(known[0], *known, ticks[0]), max(known[0], *known, ticks[-1])
    scale = math.log10 if is_log else float
    first, last = chart.steps[0], chart.steps[-1]

    def x(step: float) -> float:
        return LEFT + (RIGHT - LEFT) * (step - first) / ((last - first) or 1)

    def y(value: float) -> float:
        part = (scale(value) - scale(low)) / ((scale(high) - scale(low)) or 1)
        return BOTTOM - (BOTTOM - TOP) * part

    parts = []
    for tick in ticks:
        parts.append(element("line", x1=LEFT, x2=RIGHT, y1=f"{y(tick):.1f}", y2=f"{y(tick):.1f}", class_="grid"))
        parts.append(element("text", short(tick), x=LEFT - 6, y=f"{y(tick) + 4:.1f}", text_anchor="end"))
    for count in (4, 6, 8):
        across = [tick for tick in linear_ticks(first, last, count) if first <= tick <= last]
        if len(across) > 2:
            break
    for tick in across:
        parts.append(element("text", short(tick), x=f"{x(tick):.1f}", y=BOTTOM + 20, text_anchor="middle"))
    for place, values in enumerate(shown.values()):
        look = f"c{place % COLORS}"
        parts.append(_curve(chart.steps, values, x, y, f"{look}{' raw' * chart.smoothed}"))
        if chart.smoothed:
            parts.append(_curve(chart.steps, smooth(values), x, y, look))
    if chart.best is not None and (chart.best[1] > 0 or not is_log):
        step, value = chart.best
        parts.append(element("circle", cx=f"{x(step):.1f}", cy=f"{y(value):.1f}", r=5, class_="best"))
    parts.append(element("line", x1=0, x2=0, y1=TOP, y2=BOTTOM, class_="cursor"))
    names = ", ".join(chart.series)
    return element(
        "svg",
        *parts,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        tabindex=0,
        aria_label=f"{chart.title}: {names} against the step, {'logarithmic' if is_log else 'linear'} axis",
        data_chart=number,
        class_="log" if is_log else "linear",
    )


def _curve(steps: Sequence[int], values: Values, x: Any, y: Any, look: str) -> Html:
    points = [(x(step), y(value)) for step, value in zip(steps, values, strict=True) if value is not None]
    if len(points) == 1:
        return element("circle", cx=f"{points[0][0]:.1f}", cy=f"{points[0][1]:.1f}", r=3, class_=f"{look} dot")
    line = "M" + "L".join(f"{across:.1f} {down:.1f}" for across, down in points) if points else ""
    return element("path", d=line, class_=look)


def smooth(values: Values) -> list[float | None]:
    """Exponential means, with the weight of what is missing at the beginning divided out; None stays None."""
    decay = 1 - 1 / max(1, len(values) / WINDOW)
    mean = weight = 0.0
    found: list[float | None] = []
    for value in values:
        if value is None:
            found.append(None)
            continue
        mean, weight = decay * mean + (1 - decay) * value, decay * weight + (1 - decay)
        found.append(mean / weight)
    return found


def linear_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers around a range: about `count` of them, the outer ones at or beyond its ends."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = (low - abs(low) * 0.1, high + abs(high) * 0.1) if low else (-1.0, 1.0)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    unit = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    return [float(f"{place * unit:.12g}") for place in range(math.floor(low / unit), math.ceil(high / unit) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten around a range of positive numbers, at most about six; also twice and five times where few are."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = -(-(last - first) // 6) or 1
    factors = (1, 2, 5) if last - first <= 2 else (1,)
    ticks = [factor * 10.0**power for power in range(first, last + every, every) for factor in factors]
    below = max((tick for tick in ticks if tick <= low), default=ticks[0])
    above = min((tick for tick in ticks if tick >= high), default=ticks[-1])
    return [tick for tick in ticks if below <= tick <= above]


def short(number: float) -> str:
    """As few characters as a tick needs: 0.05, 20k, 1e-06."""
    if abs(number) >= 10_000 and number % 100 == 0:
        return f"{number / 1e6:g}M" if abs(number) >= 1e6 else f"{number / 1e3:g}k"
    return f"{number:.4g}"


def chart_grid(charts: Sequence[Chart], first: int = 0) -> Html:
    """Charts beside one another, numbered from `first`."""
    return element("div", join(*(draw(chart, first + place) for place, chart in enumerate(charts))), class_="charts")
