"""How means and distances between sets of images are told, on a terminal and on a page."""

from collections.abc import Mapping

from translate.evaluation.bootstrap import FEWEST, SURE


def limits_text(low: float | None, high: float | None, *, sign: str = "") -> str:
    """An interval; of a mean of too few images, that it has none."""
    return f"under {FEWEST} images" if low is None or high is None else f"{low:{sign}.4f} to {high:{sign}.4f}"


def distance_text(row: Mapping[str, float], name: str) -> str:
    """A distance and, where its standard error is known, how far the 95 % interval reaches."""
    error = row.get(f"{name}_error")
    return f"{row[name]:.4g}" if error is None else f"{row[name]:.4g} ± {SURE * error:.2g}"


def distance_names(sets: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The distances in rows, without their errors."""
    return [name for name in dict.fromkeys(key for row in sets.values() for key in row) if not name.endswith("_error")]


def set_title(counts: Mapping[str, object], *, of_domains: bool) -> str:
    """What sets are compared with; `counts` are the `set_counts` of an evaluation."""
    if of_domains:
        return "distance of the translations from the real images of the domain"
    return f"distance from the {counts.get('real', '')} real images of the target side".replace("  ", " ")


def set_label(name: str, counts: Mapping[str, object]) -> str:
    """A set with how many images it has, as far as `counts` knows."""
    count = counts.get(name)
    if isinstance(count, Mapping):
        return f"{name}, {count['translations']} translations, {count['real']} real images"
    return name if count is None else f"{name}, {count} images"
