"""What a sick run shows: each symptom is a function of what has been logged, giving the numbers it saw, or None."""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

Row = Mapping[str, Any]
Seen = dict[str, float]


@dataclass
class History:
    """What a run has logged so far; every line is looked at once, however many there are.

    Attributes:
        rows: the lines of metrics.jsonl, with their `signs`; at least one. It may grow.
        measured: the lines of validation.jsonl. It may grow.
        total_steps: steps the run is to do.
    """

    rows: Sequence[Row]
    measured: Sequence[Row]
    total_steps: int
    _taken: int = 0
    _waited: float = 0.0
    _begun: dict[str, list[float]] = field(default_factory=dict)
    _latest: dict[str, list[float]] = field(default_factory=dict)
    _rows_with: dict[str, list[Row]] = field(default_factory=lambda: {"losses": [], "checkerboard": []})
    _errors: list[float] = field(default_factory=list)
    _measured_taken: int = 0

    @property
    def signs(self) -> Mapping[str, float]:
        """The latest ones."""
        signs: Mapping[str, float] = self.rows[-1].get("signs", {})
        return signs

    @property
    def share(self) -> float:
        """The share of the run that is done."""
        return float(self.rows[-1]["step"] / self.total_steps)

    @property
    def waited(self) -> float:
        """Seconds spent waiting for images."""
        self._take_in()
        return self._waited

    def begun(self, sign: str) -> list[float]:
        """The first readings of a sign by its full name, 4 at most."""
        self._take_in()
        return self._begun.get(sign, [])

    def latest(self, sign: str) -> list[float]:
        """The last readings of a sign by its full name, 2 at most."""
        self._take_in()
        return self._latest.get(sign, [])

    def earlier(self, share: float, what: str) -> Row | None:
        """The line from before so large a share of the run, or more; None where there is none yet.

        Only lines count that have what is asked for: `losses` of generators, or a `checkerboard`.
        """
        self._take_in()
        rows = self._rows_with[what]
        place = bisect_right(rows, self.rows[-1]["step"] - share * self.total_steps, key=lambda row: row["step"])
        return rows[place - 1] if place else None

    def errors(self) -> list[float]:
        """The finite L1 of every measurement."""
        for row in self.measured[self._measured_taken :]:
            error = row["metrics"].get("l1", math.nan)
            self._errors += [error] * math.isfinite(error)
        self._measured_taken = len(self.measured)
        return self._errors

    def of(self, sign: str) -> dict[str, float]:
        """The latest values of a sign, by what comes before its name: a player or a direction."""
        ending = f"_{sign}"
        return {name[: -len(ending)]: value for name, value in self.signs.items() if name.endswith(ending)}

    def _take_in(self) -> None:
        for place in range(self._taken, len(self.rows)):
            row = self.rows[place]
            for name, value in row.get("signs", {}).items():
                if name.endswith("_gradient") and len(begun := self._begun.setdefault(name, [])) < 4:
                    begun.append(value)
                elif name.endswith("_update"):
                    self._latest[name] = [*self._latest.get(name, [])[-1:], value]
            for what, has in (("losses", _has_generator_losses(row)), ("checkerboard", _has_checkerboard(row))):
                self._rows_with[what] += [row] * has
            if row["data_wait"]:
                images = row["images"] - (self.rows[place - 1]["images"] if place else 0)
                self._waited += row["data_wait"] * images / row["images_per_second"]
        self._taken = len(self.rows)


def _has(sign: str) -> Callable[[Row], bool]:
    """Whether a line has a sign, of whichever player or direction."""
    ending = f"_{sign}"

    def has(row: Row) -> bool:
        for name in row.get("signs", ()):  # noqa: SIM110 - several times as fast as `any`
            if name.endswith(ending):
                return True
        return False

    return has


_has_checkerboard = _has("checkerboard")


def _has_generator_losses(row: Row) -> bool:
    return any(not name.startswith("discriminator") for name in row["losses"])


@dataclass(frozen=True)
class Symptom:
    """Something that goes wrong, by name.

    Attributes:
        name: what it is called.
        find: the numbers that show it now, or None.
        text: what is said of them.
        advice: what usually helps.
        after: share of the run before which it is nothing to worry about.
        lasts: share of the run for which it must be seen, in 80 % of the lines that can show it and in two at
            least; 0 is at once.
        steps: steps before which networks have not learned anything that could go wrong so.
        can_show: whether a line can show it: there is no sign of a generator where it had no turn.
        is_of_data: whether it tells of the data, which are as they were when it is no longer seen.
        is_flaw: whether images with it may be good otherwise.
    """

    name: str
    find: Callable[[History], Seen | None]
    text: str
    advice: str
    after: float = 0.0
    lasts: float = 0.05
    steps: int = 20
    can_show: Callable[[Row], bool] = lambda row: True
    is_of_data: bool = False
    is_flaw: bool = False


def steps_too_large(history: History) -> Seen | None:
    """Steps that change the weights of a player by more than 5 % of their size: geometric mean of two readings.

    Adam's first step changes fresh weights by 1 % at a learning rate of 0.0002 (their deviation is 0.02), and later
    ones by less; 0.1 % is usual.
    """
    readings = {player: history.latest(f"{player}_update") for player in history.of("update")}
    means = {player: math.sqrt(values[0] * values[1]) for player, values in readings.items() if len(values) > 1}
    return _beyond(means, "update", lambda mean: mean > 0.05)


def discriminator_won(history: History) -> Seen | None:
    """A discriminator right about 99 % of real and of generated images, while what generators minimise hardly falls.

    A discriminator that is ahead for a while is usual at the beginning; then the other losses fall. They hardly fall if
    they are above 85 % of what they were a tenth of the run before.
    """
    right, fake = history.of("real_right"), history.of("fake_right")
    worst = {name: min(right[name], fake[name]) for name in right}
    earlier = history.earlier(0.1, "losses")
    if earlier is None or not _has_generator_losses(history.rows[-1]):
        return None
    before, now = _generator_losses(earlier), _generator_losses(history.rows[-1])
    if now < 0.85 * before:
        return None
    return _beyond(worst, "right", lambda share: share >= 0.99, before=before, now=now)


def gradient_vanished(history: History) -> Seen | None:
    """A generator's gradient below a thousandth of what it was at the beginning (the median of its first three)."""
    readings = {player: history.begun(f"{player}_gradient") for player in history.of("gradient")}
    begun = {player: median(values[:3]) for player, values in readings.items() if len(values) > 3}
    now = history.of("gradient")
    parts = {player: now[player] / value for player, value in begun.items() if value}
    return _beyond(parts, "part", lambda part: part < 0.001)


def flat(history: History) -> Seen | None:
    """Outputs with less than a tenth of the contrast within real images."""
    return _beyond(history.of("contrast"), "contrast", lambda part: part < 0.1)


def collapsed(history: History) -> Seen | None:
    """Outputs that differ from one another by less than 5 % of what real images do, but are not flat."""
    if flat(history) or unrelated_answers(history):
        return None
    return _beyond(history.of("diversity"), "diversity", lambda part: part < 0.05)


def unchanged(history: History) -> Seen | None:
    """Outputs that differ from their inputs by less than a tenth of what the true answers do.

    Without true answers it is 3 % of how much images of the two kinds differ, and only in the second half of a run: a
    cycle begins with little change.
    """
    if history.of("relatedness"):
        return _beyond(history.of("change"), "change", lambda part: part < 0.1)
    return _beyond(history.of("change"), "change", lambda part: part < 0.03) if history.share > 0.5 else None


def inverted(history: History) -> Seen | None:
    """Brightness or colour of outputs against that of the true answers, or of the inputs: correlated by less than -0.3.

    Of inputs it counts only if to leave them as they are would be as near to the colours of real images: then the data
    do not ask for it.
    """
    found = {
        name: min(value, history.of("brightness_agreement").get(name, value))
        for name, value in (history.of("brightness_agreement") | history.of("colour_agreement")).items()
    }
    if not history.of("relatedness"):
        shift, of_source, noise = (history.of(sign) for sign in ("shift", "shift_of_source", "shift_noise"))
        found = {
            name: value
            for name, value in found.items()
            if name in of_source and of_source[name] < shift[name] + 2 * noise[name] + 0.05
        }
    return _beyond(found, "correlation", lambda correlation: correlation < -0.3)


def shifted(history: History) -> Seen | None:
    """Colours of outputs as a whole further than 0.3 (pixels in [-1, 1]) from those of real images, beyond chance.

    An output as near as the input is, or nearer, is on its way.
    """
    shift, noise, of_source = (history.of(sign) for sign in ("shift", "shift_noise", "shift_of_source"))
    beyond = {
        name: value - 3 * noise[name] for name, value in shift.items() if value > of_source.get(name, 0.0) + noise[name]
    }
    return _beyond(beyond, "shift", lambda distance: distance > 0.3)


def checkered(history: History) -> Seen | None:
    """Outputs with three times the spectral energy at periods of 2 and 4 pixels, and more than 70 % of what it was.

    It is compared with neighbouring frequencies, and with a fifth of the run before: every upsampling network begins
    with a grid and most unlearn it.
    """
    earlier = history.earlier(0.2, "checkerboard")
    if earlier is None:
        return None
    before = earlier.get("signs", {})
    found = {
        name: value
        for name, value in history.of("checkerboard").items()
        if value > 0.7 * before.get(f"{name}_checkerboard", 0.0)
    }
    return _beyond(found, "times", lambda times: times > 3)


def memorised(history: History) -> Seen | None:
    """Validation L1 10 % worse than it was three measurements ago or before, and twice that of training images."""
    train = history.signs.get("forward_l1")
    values = history.errors() if train is not None else []
    if train is None or len(values) < 4 or values[-1] <= 2 * train:
        return None
    best = min(values)
    is_worse = min(values[-3:]) > 1.1 * best
    return {"best": best, "now": values[-1], "train": train} if is_worse else None


def unrelated_answers(history: History) -> Seen | None:
    """Outputs whose differences are not those of their answers: a correlation below 0.05.

    A generator that can learn nothing from its input does so, once it has learned what answers have in common: when its
    L1 distance is within 1.5 times that of answers from their mean.
    """
    found = {
        name: value
        for name, value in history.of("relatedness").items()
        if history.signs[f"{name}_l1"] < 1.5 * history.signs[f"{name}_l1_of_mean"]
    }
    return _beyond(found, "correlation", lambda correlation: abs(correlation) < 0.05)


def unrelated_labels(history: History) -> Seen | None:
    """A loss that would be the same (98 %) if every image had the label of another one."""
    losses = history.rows[-1]["losses"]
    parts = {
        name: losses[name] / loss for name, loss in history.of("mismatched").items() if losses.get(name) and loss > 0
    }
    return _beyond(parts, "part", lambda part: part > 0.98)


def starved(history: History) -> Seen | None:
    """More than half of the time spent waiting for images, and half a minute in all: nobody minds a few seconds."""
    share = history.rows[-1]["data_wait"]
    if share <= 0.5:
        return None
    return {"share": share, "waited": round(history.waited)} if history.waited > 30 else None


def _generator_losses(row: Row) -> float:
    return float(sum(value for name, value in row["losses"].items() if not name.startswith("discriminator")))


def _beyond(values: Mapping[str, float], number: str, is_bad: Callable[[float], bool], **others: float) -> Seen | None:
    """The first bad value, as a number of that name; None if none is bad."""
    bad = next((value for value in values.values() if is_bad(value)), None)
    return None if bad is None else {number: round(bad, 4)} | {name: round(value, 4) for name, value in others.items()}


SYMPTOMS = (
    Symptom(
        "steps too large",
        steps_too_large,
        "a step changes weights by {update:.0%} of their size; 0.1 % to 1 % is usual",
        "a lower learning rate (optimizer.lr=0.0002), and a new run: weights this large stay slow",
        lasts=0.0,
        steps=0,
    ),
    Symptom(
        "the discriminator has won",
        discriminator_won,
        "it is right about {right:.1%} of images, and what the generators minimise hardly falls any more ({before:.4g} "
        "a tenth of the run before, {now:.4g} now)",
        "fewer steps of the discriminator (a smaller method.n_critic, if it is above 1), "
        "discriminator.spectral_norm=true, gradient_penalty=r1, "
        "stabilizers.label_smoothing=0.1, or with few images discriminator_augmentation=diffaugment",
        can_show=_has_generator_losses,
    ),
    Symptom(
        "the generator's gradient has vanished",
        gradient_vanished,
        "it is {part:.2%} of what it was at the beginning",
        "objective=lsgan or objective=nonsaturating, a smaller discriminator.width, a lower optimizer.lr",
        can_show=_has("gradient"),
    ),
    Symptom(
        "flat images",
        flat,
        "outputs have {contrast:.1%} of the contrast of real images",
        "a lower optimizer.lr, generator.norm=instance, and images that are not flat themselves: translate check",
        after=0.1,
        can_show=_has("contrast"),
    ),
    Symptom(
        "mode collapse",
        collapsed,
        "outputs differ from one another by {diversity:.1%} of what real images do",
        "discriminator.spectral_norm=true, gradient_penalty=r1, a lower optimizer.lr, or a larger batch_size",
        after=0.1,
        can_show=_has("diversity"),
    ),
    Symptom(
        "the output equals the input",
        unchanged,
        "outputs differ from their inputs by {change:.1%} of what the two kinds of images do",
        "a smaller weight on staying alike (of CycleGAN method.identity_weight and the cycle weights, of StarGAN "
        "method.reconstruction_weight), and two sides that do differ: translate check",
        after=0.1,
        can_show=_has("change"),
    ),
    Symptom(
        "colours inverted",
        inverted,
        "outputs are correlated with what they should look like by {correlation:.2f}",
        "of CycleGAN method.identity_weight=0.5 or more where it is lower, another seed, or a lower optimizer.lr; "
        "nothing where the task asks for it (film negatives, T1 to T2)",
        after=0.05,
        can_show=_has("brightness_agreement"),
    ),
    Symptom(
        "colours shifted",
        shifted,
        "colours of outputs are {shift:.2f} away from those of real images (of 2 from black to white)",
        "a lower optimizer.lr, average_decay=0.999, of CycleGAN method.identity_weight=0.5 or more where it is lower",
        after=0.25,
        lasts=0.1,
        can_show=_has("shift"),
    ),
    Symptom(
        "checkerboard",
        checkered,
        "the grid of upsampling is {times:.1f} times as strong in outputs as in real images",
        "generator.upsample=resize, or more steps",
        after=0.5,
        lasts=0.1,
        steps=2000,
        can_show=_has_checkerboard,
        is_flaw=True,
    ),
    Symptom(
        "memorised training images",
        memorised,
        "validation L1 was {best:.4f} and is {now:.4f}, that of training images {train:.4f}",
        "more images, stronger data.augmentation, discriminator_augmentation=diffaugment, or validation.patience=3; "
        "the best model is kept",
        lasts=0.0,
    ),
    Symptom(
        "answers do not depend on the inputs",
        unrelated_answers,
        "what differs between outputs has nothing to do with what differs between their answers (correlation "
        "{correlation:.2f})",
        "see whether the pairs are right (translate check draws some): names that do not match, a sorted and an "
        "unsorted folder",
        after=0.15,
        steps=60,
        can_show=_has("relatedness"),
        is_of_data=True,
    ),
    Symptom(
        "labels do not depend on the images",
        unrelated_labels,
        "with the labels of other images their loss would be the same ({part:.1%})",
        "see whether the labels are right (translate check draws some images); if they are, more steps, or a "
        "discriminator that sees more (discriminator.width)",
        after=0.15,
        steps=150,
        can_show=_has("mismatched"),
        is_of_data=True,
    ),
    Symptom(
        "data starvation",
        starved,
        "{share:.0%} of the time is spent waiting for images, {waited:,.0f} seconds until now",
        "more loading processes (data.workers), data.cache_gib where images fit into memory, smaller files",
    ),
)
