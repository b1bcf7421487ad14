"""How far a mean over images might lie elsewhere with other images of the same kind: the bootstrap (Efron 1979)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
SURE = 1.96
"""Standard errors on both sides of a value that hold 95 % of a normal distribution."""
FEWEST = 10
"""Images that an interval is told of. Fewer show too little of the spread: of normal values, what is called 95 % holds
the true mean in 90 % of all cases with 10 images, and in 75 % with 3."""


@dataclass(frozen=True)
class Scored:
    """What was measured on one image.

    Attributes:
        name: the image; rows of one name are drawn together.
        group: the mean is taken in every group, and over the groups.
        values: metric to value.
    """

    name: str
    group: str
    values: Mapping[str, float]


def enough_images(rows: Sequence[Scored]) -> set[str]:
    """The metrics that so many different images have that an interval can be told of their mean."""
    names: dict[str, set[str]] = {}
    for row in rows:
        for metric in row.values:
            names.setdefault(metric, set()).add(row.name)
    return {metric for metric, found in names.items() if len(found) >= FEWEST}


def draw_counts(count: int) -> np.ndarray:
    """How often each of `count` images is drawn, with replacement, in 1000 resamples: (1000, count).

    The same for every model, so that the differences of two are those on the same images.
    """
    return np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES)


def resampled_means(rows: Sequence[Scored]) -> dict[str, np.ndarray]:
    """The mean of every metric in each resample of the images: (1000,) each.

    A resample in which a group has no image with a metric leaves out that group; NaN if no group has one.
    """
    names = {name: place for place, name in enumerate(dict.fromkeys(row.name for row in rows))}
    counts = draw_counts(len(names))
    means: dict[str, np.ndarray] = {}
    for metric in dict.fromkeys(key for row in rows for key in row.values):
        of_groups = []
        measured = [row for row in rows if metric in row.values]
        for group in dict.fromkeys(row.group for row in measured):
            own = [row for row in measured if row.group == group]
            drawn = counts[:, [names[row.name] for row in own]]
            with np.errstate(invalid="ignore"):
                of_groups.append(drawn @ np.array([row.values[metric] for row in own]) / drawn.sum(1))
        grouped = np.array(of_groups)
        known = ~np.isnan(grouped)
        with np.errstate(invalid="ignore"):
            means[metric] = np.where(known, grouped, 0).sum(0) / known.sum(0)
    return means


def interval(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of resampled values."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)
