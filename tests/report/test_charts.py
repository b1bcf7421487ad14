"""Curves as SVG."""

import re

from translate.report.charts import BOTTOM, LEFT, RIGHT, TOP, draw, linear_ticks, log_ticks, make_chart, smooth


def test_ticks_are_round_and_around_the_range() -> None:
    assert linear_ticks(0.13, 0.37) == [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4]
    assert linear_ticks(0, 0) == [-1.0, -0.5, 0.0, 0.5, 1.0]
    assert log_ticks(0.02, 30) == [0.01, 0.1, 1, 10, 100]
    assert log_ticks(0.3, 0.6) == [0.2, 0.5, 1.0]


def test_a_short_run_has_steps_to_read_off() -> None:
    chart = make_chart("loss", [(5, {"a": 1.0}), (90, {"a": 2.0})], {"a": "A"})
    assert chart is not None
    assert re.findall(r'text-anchor="middle">(\d+)<', draw(chart, 0).split("</svg>")[0]) == ["20", "40", "60", "80"]


def test_smoothing_is_a_mean_that_begins_at_the_first_value() -> None:
    assert smooth([4.0] * 100 + [None]) == [4.0] * 100 + [None]
    first, second, *_ = smooth([0.0, 1.0, *[0.0] * 38])  # half of 40 / 20 = 2 points: weights 1/2 and 1/4
    assert (first, second) == (0.0, 0.5 / 0.75)


def test_curves_lie_where_their_values_are() -> None:
    chart = make_chart("loss", [(0, {"a": 1.0}), (50, {"a": float("nan")}), (100, {"a": 100.0})], {"a": "A"})
    assert chart is not None
    assert chart.series == {"A": [1.0, None, 100.0]}
    linear, log = re.findall(r'<path d="(M[^"]*)"', draw(chart, 0))
    height = BOTTOM - TOP
    assert linear == f"M{LEFT:.1f} {BOTTOM - height / 100:.1f}L{RIGHT:.1f} {TOP:.1f}"
    assert log == f"M{LEFT:.1f} {BOTTOM:.1f}L{RIGHT:.1f} {TOP:.1f}"


def test_what_is_never_positive_has_no_logarithm() -> None:
    chart = make_chart("loss", [(1, {"a": -1.0}), (2, {"a": 0.0})], {"a": "a"})
    assert chart is not None
    assert draw(chart, 0).count("<svg") == 1
    assert make_chart("loss", [(1, {})], {"a": "a"}) is None


def test_long_logs_are_averaged() -> None:
    chart = make_chart("loss", [(step, {"a": float(step)}) for step in range(1, 1001)], {"a": "a"})
    assert chart is not None
    assert chart.steps[:2] == [2, 4]
    assert chart.series["a"][:2] == [1.5, 3.5]
