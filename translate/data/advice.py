"""What a friend would say of a data set in which nothing is wrong: each a sentence of what, why, and what helps."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from translate.data.alignment import Alignment, describe_offset
from translate.data.augmentation import Augmentation
from translate.data.duplicates import find_duplicates
from translate.data.glimpse import Glimpse
from translate.pixels import Side

FEW = 200
"""Training images below which a recipe for few helps."""
ENLARGED = 1.25
OBLONG = 2.05
"""Width over height, or the other way round, beyond which stretching to a square distorts much; streets of 2:1 go."""
UNEQUAL_SIDES = 10.0
"""Photographs and paintings 6:1 train well (Zhu et al. 2017)."""
UNEQUAL_DOMAINS = 5.0
UNEQUAL_EXPOSURE = 0.4
DRAWN = 0.3
"""Share of pixels of one value that drawings have, and photographs have not."""
MOST_MATCHES = 10
SIZES = (64, 128, 256, 512, 1024)


# --- how many ---


def warn_few(counts: Mapping[str, int]) -> list[str]:
    """Too few training images of a kind; `counts` by words such as `pairs`."""
    few = [f"{count} training {what}" for what, count in counts.items() if 0 < count < FEW]
    if not few:
        return []
    return [
        f"There are only {' and '.join(few)}: below about {FEW} networks learn the images by heart instead of what "
        "they have in common. recipe=few_shot is made for that; more augmentation (data.augmentation.rotation, "
        "vertical_flip, quarter_turns, where they make sense) helps too"
    ]


def warn_unequal_sides(counts: Mapping[str, int]) -> list[str]:
    """Sides without pairs of which one has many times as many training images; `counts` by side."""
    (least, few), (most, many) = sorted(counts.items(), key=lambda item: item[1])
    if not 0 < few * UNEQUAL_SIDES <= many:
        return []
    return [
        f"Side {most} has {many} training images and side {least} {few}, {many / few:.0f} times fewer: an epoch shows "
        f"each of those {many / few:.0f} times, until the discriminator knows them by heart. Add images to side "
        f"{least}, or take a part of side {most} alone"
    ]


def warn_unequal_domains(counts: Mapping[str, int], total: int, *, is_one_hot: bool, setting: str) -> list[str]:
    """Domains that few of the `total` training images show, and attributes that nearly all do.

    `setting` chooses the domains. Of attributes, what counts is the rarer of having and not having one.
    """
    if not counts or not total:
        return []
    rarer = counts if is_one_hot else {name: min(count, total - count) for name, count in counts.items()}
    enough = max(counts.values()) / UNEQUAL_DOMAINS if is_one_hot else 0.03 * total
    rare = {name: count for name, count in rarer.items() if count < enough}
    if not rare:
        return []
    named = _name([f"{name!r} ({count})" for name, count in sorted(rare.items(), key=lambda item: item[1])], most=5)
    if is_one_hot:
        most = max(counts, key=lambda name: counts[name])
        beside = f"while {most!r} has {counts[most]}: images are drawn evenly, so that those domains are seldom seen"
        return [f"Few training images show {named}, {beside}. Add images, or leave them out of {setting}"]
    return [
        f"Of {total} training images, few differ from the rest in {named}: hardly anything tells what these look like. "
        f"Add images, or leave them out of {setting}"
    ]


# --- how large ---


def warn_enlarged(glimpses: Sequence[Glimpse], image_size: int, augmentation: Augmentation) -> list[str]:
    """Images that are enlarged a lot to reach image_size."""
    if augmentation.resize == "none" or not glimpses:
        return []
    sides = {glimpse: min(_kept(glimpse, augmentation)) for glimpse in glimpses}
    small = [glimpse for glimpse in glimpses if sides[glimpse] * ENLARGED <= image_size]
    if not small:
        return []
    worst = min(small, key=lambda glimpse: sides[glimpse])
    height, width = _kept(worst, augmentation)
    typical = float(np.percentile(list(sides.values()), 10))
    fitting = [size for size in SIZES if size <= typical * ENLARGED and size < image_size]
    remedy = f"image_size={fitting[-1]} suits them" if fitting else "use larger originals, if there are any"
    if len(small) <= len(glimpses) / 2:
        remedy = "leave them out, if the others suffice"
    times = image_size / min(height, width)
    return [
        f"{len(small)} of {len(glimpses)} images are enlarged to image_size={image_size}, most of all {worst.path} "
        f"({width}x{height}) {times:.1f} times: training takes as long as with sharp images and learns blurred ones; "
        f"{remedy}"
    ]


def warn_oblong(glimpses: Sequence[Glimpse], augmentation: Augmentation) -> list[str]:
    """Oblong images that stretching to a square distorts."""
    if augmentation.resize != "stretch":
        return []
    ratios = {glimpse: max(kept) / min(kept) for glimpse in glimpses for kept in [_kept(glimpse, augmentation)]}
    oblong = sorted((glimpse for glimpse in glimpses if ratios[glimpse] > OBLONG), key=lambda one: -ratios[one])
    if not oblong:
        return []
    return [
        f"{len(oblong)} of {len(glimpses)} images are more than twice as long as wide and are squeezed to a square: "
        f"{_name([f'{one.path} ({one.width}x{one.height})' for one in oblong])}. Shapes are learned distorted; "
        "data.augmentation.resize=keep_aspect crops instead"
    ]


def _kept(glimpse: Glimpse, augmentation: Augmentation) -> tuple[int, int]:
    """Height and width of what is resized."""
    crop = augmentation.center_crop or max(glimpse.height, glimpse.width)
    return min(glimpse.height, crop), min(glimpse.width, crop)


# --- pixel values ---


def warn_values(
    name: str, side: Side, glimpses: Sequence[Glimpse], *, setting: str, labels: str | None = None
) -> list[str]:
    """Pixel values that use a small part of the range the networks see, reach beyond it, or are cut off at the top.

    `name` is words such as `side A`. `setting` is the range's name; `labels` what to type where pixels are classes.
    """
    if not glimpses:
        return []
    lows, highs, darks, lights = np.array([(one.low, one.high, one.dark, one.light) for one in glimpses]).T
    span = side.high - side.low
    low, high = float(darks.min()), float(lights.max())
    if highs.max() - lows.min() <= 1.5 * (high - low):  # no single pixels far from the others
        low, high = float(lows.min()), float(highs.max())
    seen = f"{side.low:g} to {side.high:g}"
    if low < side.low - 0.01 * span or high > side.high + 0.01 * span:
        return [
            f"The pixels of {name} go from {_round(low)} to {_round(high)}, but the networks are told that they go "
            f"from {seen}, and what lies outside cannot come out of them: {setting}={_suggest(side, low, high)}"
        ]
    if high - low < span / 4 and high > low:
        used = f"The pixels of {name} go from {_round(low)} to {_round(high)} alone, of a range of {seen}"
        levels = _median(one.levels for one in glimpses)
        # Of the numbers of classes, an image shows some; a dark photograph has every value.
        if side.dtype == "uint8" and side.channels == 1 and labels and (high == 1 or levels <= 0.8 * high):
            masks = "a mask" if high == 1 else "numbers of classes"
            return [
                f"{used}: that looks like {masks}, which the networks would see as nearly black: "
                f"{setting}={_suggest(side, low, high)} {labels}"
            ]
        return [
            f"{used}: the networks see hardly any contrast, and a loss hardly any difference: "
            f"{setting}={_suggest(side, low, high)}"
        ]
    cut = [one for one in glimpses if one.at_top >= 0.1 and one.levels > 64 and one.high > one.low]
    if side.dtype != "uint8" and len(cut) > len(glimpses) / 4:
        return [
            f"{len(cut)} of {len(glimpses)} images of {name} have a tenth of their pixels or more at their greatest "
            f"value, such as {_name([str(one.path) for one in cut])}: they look cut off (overexposed, or clipped when "
            "they were converted), and what was there cannot be learned. Convert them again, if you have the originals"
        ]
    return []


def warn_blank(name: str, side: Side, glimpses: Sequence[Glimpse]) -> list[str]:
    """Images of one colour and almost black ones, among images that are no label maps or drawings."""
    if side.labels or not glimpses or _median(one.levels for one in glimpses) <= 8:
        return []
    span = side.high - side.low
    blank = [one for one in glimpses if one.light - one.dark < span / 256]
    black = [one for one in glimpses if one not in blank and one.light < side.low + 0.05 * span]
    warnings = []
    if blank:
        warnings.append(
            f"{len(blank)} of {len(glimpses)} images of {name} are blank: {_name([str(one.path) for one in blank])}. "
            "Instance normalization has nothing to divide by in them, and losses can become NaN: leave them out"
        )
    if black:
        warnings.append(
            f"{len(black)} of {len(glimpses)} images of {name} are almost black: "
            f"{_name([str(one.path) for one in black])}. Leave them out unless they are meant to be"
        )
    return warnings


def warn_exposure(groups: Mapping[str, tuple[Side, Sequence[Glimpse]]]) -> list[str]:
    """Kinds of images that are far darker or lighter than the others; left out are label maps, and drawings on a
    background of one colour.

    `groups` is what they are and their images, by words such as `side A`, of images whose range is right.
    """
    brightness = {
        name: _median((one.mean - side.low) / (side.high - side.low) for one in glimpses)
        for name, (side, glimpses) in groups.items()
        if glimpses and not side.labels and _median(one.commonest for one in glimpses) < DRAWN
    }
    warnings = []
    for name, own in brightness.items():
        others = [value for other, value in brightness.items() if other != name]
        rest = float(np.median(others)) if others else own
        if abs(own - rest) < UNEQUAL_EXPOSURE or (len(others) == 1 and own > rest):
            continue
        other = next(other for other in brightness if other != name) if len(others) == 1 else "the others"
        warnings.append(
            f"The images of {name} are far {'darker' if own < rest else 'lighter'} than those of {other} (typical mean "
            f"{own:.0%} of the range beside {rest:.0%}): a discriminator tells them apart by that alone, and "
            "translations change little else. Unless that is what you want to translate, bring them to one exposure"
        )
    return warnings


def _median(numbers: Iterable[float]) -> float:
    """The median, 0 of none."""
    return float(np.median(list(numbers) or [0]))


def _suggest(side: Side, low: float, high: float) -> str:
    """[low, high] to type: whole bits for integers, round numbers for floats."""
    if side.dtype == "float32":
        return f"[{_round(low)},{_round(high)}]"
    if side.dtype == "uint16" and low < high / 2:
        return f"[0,{2 ** int(high).bit_length() - 1}]"
    return f"[{low:g},{high:g}]"


def _round(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


# --- what belongs together ---


def warn_misaligned(alignment: Alignment) -> list[str]:
    """Pairs that do not lie on top of one another."""
    count = len(alignment.offsets)
    common = alignment.common_offset()
    if common is not None:
        return [
            f"Most pairs are shifted: B lies {describe_offset(common)} from where A has the same edges ({count} pairs "
            "looked at). A network that has to guess a shift blurs. Cut both sides to where they overlap; where pairs "
            "cannot be aligned, method=cyclegan data=paired trains without their order"
        ]
    warnings = []
    if strays := alignment.strays():
        named = _name([f"{one.name} ({describe_offset(one)})" for one in strays], most=5)
        warnings.append(
            f"{len(strays)} of {count} pairs look shifted while the others do not, B against A: {named}. Align them, "
            "or leave them out"
        )
    if strangers := alignment.strangers():
        named = _name(strangers, most=5)
        warnings.append(
            f"{len(strangers)} of {count} pairs have no edges in common while the others do: {named}. Look "
            "whether both images show the same"
        )
    return warnings


def warn_leaks(what: str, train: Sequence[Sequence[Glimpse]], held: Sequence[Sequence[Glimpse]]) -> list[str]:
    """Images for validation and testing that are nearly the same as training images.

    Args:
        what: words such as `pairs`.
        train: the training images, one sequence for each image that `what` is made of.
        held: the same of the validation and test images.
    """
    if not train[0] or not held[0]:
        return []
    looks = [[np.stack([one.look for one in column]) for column in columns] for columns in (train, held)]
    matches = find_duplicates(looks[0], looks[1])
    if not matches:
        return []
    named = _name(
        [f"{held[0][j].path} and {train[0][i].path}" for _, i, j in matches], most=MOST_MATCHES, between="\n  "
    )
    return [
        f"{len(matches)} of {len(held[0])} validation and test {what} are nearly the same as training {what}, so that "
        "`evaluate` flatters the model. Keep copies, frames of one video and views of one object in one split (folders "
        f"train, validation and test):\n  {named}"
    ]


def _name(names: Sequence[str], *, most: int = 3, between: str = ", ") -> str:
    """The first few, and how many more."""
    shown = between.join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
