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


def explain_distances(sets: Mapping[str, Mapping[str, float]], counts: Mapping[str, object]) -> list[str]:
    """What is to be known of the distances told: what ± means, and which of them may be compared; a sentence each."""
    names = distance_names(sets)
    said = []
    if any(f"{name}_error" in row for name in names for row in sets.values()):
        said.append(f"± is half of a 95 % interval, told of {FEWEST} images and more.")
    biased = " and ".join(name for name in names if name in ("feature_distance", "fid"))
    unbiased = " and ".join(name for name in names if name in ("kernel_distance", "kid"))
    if biased and unbiased:
        sizes = [counts[name] for name in sets if name in counts]
        unequal = f"The sets are of unequal size, so do not compare their {biased}: " if sizes[1:] != sizes[:-1] else ""
        why = f"{biased} fall{'s' * (' and ' not in biased)} as sets grow"
        said.append(f"{unequal}{why}; where they disagree on few images, believe {unbiased}.")
    return said


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
