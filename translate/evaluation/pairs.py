"""Measuring a model that translates one side into the other, where the true answer is known and where it is not."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

from translate.batch import Pair, Unpaired
from translate.conversion.engine import Direction
from translate.conversion.torch_engine import TorchEngine
from translate.data.paired import PairItems
from translate.data.source import DataSource, Items, collate
from translate.data.unpaired import UnpairedItems
from translate.errors import UserError
from translate.evaluation.bootstrap import Scored, draw_counts, resampled_means
from translate.evaluation.labels import SAMPLED, choose_palette, count_classes, label_scores, read_palette
from translate.evaluation.measures import Measures, Options, choose_measures
from translate.evaluation.metrics import compare, mean_of, quantize, quantized_l1, write_rows
from translate.evaluation.split import Bar, no_bar, open_split
from translate.pixels import normalize

Item = TypeVar("Item")
BATCH = 8
MODEL, REAL, UNCHANGED, OTHERS = "model", "real", "input unchanged", "other real images"


@dataclass(frozen=True)
class PairEvaluation:
    """Metrics per image and the same for the input returned unchanged, where channels allow the comparison.

    Attributes:
        split: the split measured.
        names: the images' names.
        rows: one mapping of metric to value per image.
        identity: mean metrics of the identity baseline, or None.
        has_answers: whether the images are pairs.
        sets: distances from the real images of the target side, of the model's images, of the input unchanged, and of
            as many other real images, of the training split.
        set_counts: images of each of these sets, and the real ones.
        classes: of pairs whose target is a label map, the pixels of each class as of `count_classes`, or None.
        notes: what was not measured, and why.
        picture: an image by its place: what was translated and what became of it, by title, (C, H, W) in [0, 1].
    """

    split: str
    names: list[str]
    rows: list[dict[str, float]]
    identity: dict[str, float] | None
    has_answers: bool = True
    sets: dict[str, dict[str, float]] = field(default_factory=dict)
    set_counts: dict[str, int] = field(default_factory=dict)
    classes: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    picture: Callable[[int], dict[str, Tensor]] | None = None

    @cached_property
    def mean(self) -> dict[str, float]:
        """The mean of every metric; label scores are of all pixels together."""
        return mean_of(self.rows) | ({} if self.classes is None else scores_of(self.classes))

    @property
    def scored(self) -> list[Scored]:
        """The rows, each an image of its own."""
        return [Scored(name, "", row) for name, row in zip(self.names, self.rows, strict=True)]

    @cached_property
    def resampled(self) -> dict[str, np.ndarray]:
        """`mean` in 1000 resamples of the images."""
        if self.classes is None:
            return resampled_means(self.scored)
        drawn = np.tensordot(draw_counts(len(self.classes)).astype(float), self.classes, 1)
        return resampled_means(self.scored) | label_scores(drawn)

    def write_csv(self, path: Path) -> None:
        """Write a line per image."""
        write_rows(path, [{"name": name, **row} for name, row in zip(self.names, self.rows, strict=True)])


def evaluate_pairs(
    engine: TorchEngine,
    settings: Mapping[str, Any],
    split: str | None = None,
    *,
    options: Options | None = None,
    bar: Bar = no_bar,
) -> PairEvaluation:
    """Translate a split at the training size and compare with the targets, both rounded to their files' depth.

    Images are resized as in training, without augmentation. Source and target change roles for an engine that
    translates back. `split` None is test, else validation, else train.

    Raises:
        UserError: the data has no pairs, has problems, or is of another kind than the model; or the split is empty.
    """
    data, split, items = open_split(engine, settings, split, bar, Pair)
    assert isinstance(items, PairItems)
    run = _Run(engine, settings, data, split, items, options or Options(), bar)
    palette = run.choose_palette()
    rows: list[dict[str, float]] = []
    identity: list[dict[str, float]] = []
    classes, unchanged = [], []
    side, lpips = run.sides[1], run.measures.lpips
    for source, target in run.batches():
        output = run.translate(source)
        rows += compare(output, target, side, lpips)
        if run.back is not None:
            add_column(rows, "cycle_source", run.cycle(source, output))
            add_column(rows, "cycle_target", run.cycle_back(target))
        if source.shape == target.shape:
            identity += compare(source, target, side, lpips)
            if palette is not None:
                unchanged.append(count_classes(quantize(source, side), quantize(target, side), palette))
        if palette is not None:
            classes.append(count_classes(quantize(output, side), quantize(target, side), palette))
            for name, values in label_scores(classes[-1]).items():
                add_column(rows, name, values)
    names = [pair.name for pair in items.pairs]
    return PairEvaluation(
        split,
        names,
        rows,
        mean_of(identity) | (scores_of(np.concatenate(unchanged)) if unchanged else {}) if identity else None,
        sets=run.distances(),
        set_counts={name: run.measures.distances[0].count(name) for name in (MODEL, UNCHANGED, OTHERS, REAL)},
        classes=np.concatenate(classes) if classes else None,
        notes=(*run.measures.notes, *run.notes),
        picture=lambda place: run.picture(place, "true answer"),
    )


def evaluate_unpaired(
    engine: TorchEngine,
    settings: Mapping[str, Any],
    split: str | None = None,
    *,
    options: Options | None = None,
    bar: Bar = no_bar,
) -> PairEvaluation:
    """The same where nobody knows the true answers: distances between sets, and the error after a cycle, of a model
    that translates both ways.

    Raises:
        UserError: as `evaluate_pairs`.
    """
    data, split, items = open_split(engine, settings, split, bar, Unpaired)
    assert isinstance(items, UnpairedItems)
    run = _Run(engine, settings, data, split, items, options or Options(), bar)
    if run.sides[1].labels or run.options.palette is not None:
        run.notes.append("pixel_accuracy, class_accuracy and mean_iou need true answers: data=paired data.root=FOLDER")
    rows: tuple[list[dict[str, float]], ...] = ([], [])
    for source, target in run.batches():
        if len(source):
            output = run.translate(source)
            rows[0].extend({} for _ in source)
            if run.back is not None:
                add_column(rows[0], "cycle_source", run.cycle(source, output))
        if len(target) and run.back is not None:
            rows[1].extend({} for _ in target)
            add_column(rows[1], "cycle_target", run.cycle_back(target))
    sides = list(zip("AB", items.pictures, strict=True))
    if items.is_reversed != engine.is_reversed:
        sides.reverse()
    names = [
        f"{letter}/{picture.name}"
        for (letter, pictures), measured in zip(sides, rows, strict=True)
        for picture in pictures[: len(measured)]
    ]
    return PairEvaluation(
        split,
        names,
        rows[0] + rows[1],
        None,
        has_answers=False,
        sets=run.distances(),
        set_counts={name: run.measures.distances[0].count(name) for name in (MODEL, UNCHANGED, OTHERS, REAL)},
        notes=(*run.measures.notes, *run.notes),
        picture=lambda place: run.picture(place, None),
    )


def scores_of(classes: np.ndarray) -> dict[str, float]:
    """The label scores of all pixels together, of counts (images, 3, classes)."""
    return {name: float(score) for name, score in label_scores(classes.sum(0)).items()}


def add_column(rows: list[dict[str, float]], name: str, values: Tensor | np.ndarray) -> None:
    """Put a value into each of the last rows."""
    for row, value in zip(rows[-len(values) :], values, strict=True):
        row[name] = float(value)


class _Run:
    """A split as an engine is measured on it; the sets of images it collects on the way.

    Attributes:
        sides: of what is translated, and of what it becomes.
        counts: different images of the two.
        back: what translates back, for a model that does.
        measures: what can be measured of translations.
        notes: what else could not be measured.
    """

    def __init__(
        self,
        engine: TorchEngine,
        settings: Mapping[str, Any],
        data: DataSource,
        split: str,
        items: Items,
        options: Options,
        bar: Bar,
    ) -> None:
        self.engine, self.data, self.items, self.options, self.bar = engine, data, items, options, bar
        self.size: int = settings["image_size"]
        self.training = data.items("train", self.size, seed=0, augment=False) if split != "train" else None
        self.sides = self._ordered(data.source, data.target)
        self.counts = self._ordered(*items.counts)
        for name, side, wanted in zip(
            ("source", "target"), self.sides, (engine.info.source, engine.info.target), strict=True
        ):
            if side.channels != wanted.channels:
                raise UserError(
                    f"the data's {name} has {side.channels} channels, but the model was trained with {wanted.channels}"
                )
        self.back: TorchEngine | None = None
        if engine.model.method.is_reversible:
            trained: Direction = engine.model.settings["data"].get("direction", "AtoB")
            other: Direction = "BtoA" if trained == "AtoB" else "AtoB"
            self.back = TorchEngine(engine.model, engine.device, direction=trained if engine.is_reversed else other)
        self.measures: Measures = choose_measures(
            self.sides[1], self.size, options, engine.device, has_answers=isinstance(items, PairItems)
        )
        self.notes: list[str] = []

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Sources and targets in [-1, 1], each image once: one of the two ends before the other where it has fewer."""
        starts = range(0, len(self.items), BATCH)
        for first in self.bar("translating")(starts, len(starts)):
            images = self._load(self.items, range(first, min(first + BATCH, len(self.items))))
            source, target = (field[: max(count - first, 0)] for field, count in zip(images, self.counts, strict=True))
            self.measures.add(REAL, target)
            if self.sides[0].channels == self.sides[1].channels:
                self.measures.add(UNCHANGED, source)
            yield source, target

    def translate(self, source: Tensor) -> Tensor:
        """Translate a batch, and remember what became of it."""
        output = self.engine.translate_tensor(source.to(self.engine.device)).cpu()
        self.measures.add(MODEL, output)
        return output

    def cycle(self, images: Tensor, output: Tensor) -> Tensor:
        """Each image's L1 distance from what its translation becomes on the way back: (B,)."""
        assert self.back is not None
        there = output.to(self.engine.device)
        side = self.sides[0]
        return quantized_l1(self.back.translate_tensor(there).cpu(), images, side)

    def cycle_back(self, images: Tensor) -> Tensor:
        """The same for images of the target side: (B,)."""
        assert self.back is not None
        there = self.back.translate_tensor(images.to(self.engine.device))
        return quantized_l1(self.engine.translate_tensor(there).cpu(), images, self.sides[1])

    def distances(self) -> dict[str, dict[str, float]]:
        """Of the images collected, and of as many others of the training split."""
        if self.training is not None and len(self.training):
            available = self._ordered(*self.training.counts)[1]
            count = min(self.counts[1], available)
            for _, target in self._spread(self.training, count, available):
                self.measures.add(OTHERS, target)
        return self.measures.measure(dict.fromkeys((MODEL, UNCHANGED, OTHERS), REAL))

    def choose_palette(self) -> Tensor | None:
        """The colours of the classes where targets are label maps, else None.

        Raises:
            UserError: what --palette says is no palette, or the true answers are no label maps.
        """
        side, given = self.sides[1], self.options.palette
        if given is None and not side.labels:
            if self.engine.info.target.labels:
                self.notes.append(
                    "pixel_accuracy, class_accuracy and mean_iou: the model makes label maps, but nothing says that "
                    "the true answers here are some: data.labels=A or B names that side, or --palette N takes its N "
                    "commonest colours"
                )
            return None
        if given is not None and not given.isdecimal():
            return read_palette(Path(given), side)
        if given is not None and int(given) < 2:
            raise UserError(f"--palette {given}: label images have at least 2 classes")
        items = self.training if self.training is not None and len(self.training) else self.items
        available = self._ordered(*items.counts)[1]
        targets = (
            quantize(image, side)
            for _, batch in self._spread(items, min(SAMPLED, available), available)
            for image in batch
        )
        palette = choose_palette(targets, None if given is None else int(given))
        if palette is None:
            self.notes.append(
                "the label images hold more than 256 colours (compressed as JPEG?), so no score by class: --palette N "
                "takes their N commonest colours, --palette FILE those in a file"
            )
        return palette

    def picture(self, place: int, answer: str | None) -> dict[str, Tensor]:
        """What was translated, what became of it, and the true answer or the way back."""
        is_source = place < self.counts[0]
        place -= 0 if is_source else self.counts[0]
        source, target = self._load(self.items, [place])
        engine, back = (self.engine, self.back) if is_source else (self.back, self.engine)
        assert engine is not None
        sides = self.sides if is_source else self.sides[::-1]
        images = source if is_source else target
        output = engine.translate_tensor(images.to(engine.device))
        shown = {"input": quantize(images, sides[0])[0], "output": quantize(output, sides[1])[0].cpu()}
        if answer is not None:
            return shown | {answer: quantize(target, sides[1])[0]}
        if back is not None:
            shown["and back"] = quantize(back.translate_tensor(output), sides[0])[0].cpu()
        return shown

    def _spread(self, items: Items, count: int, available: int) -> Iterator[tuple[Tensor, Tensor]]:
        """So many of the first items, in batches, evenly spread."""
        places = [place * available // count for place in range(count)]
        for first in range(0, count, BATCH):
            yield self._load(items, places[first : first + BATCH])

    def _load(self, items: Items, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        batch = collate([items[0, place] for place in places])
        source, target = (
            normalize(images, side.low, side.high)
            for images, side in zip(self._ordered(*batch), self.sides, strict=True)
        )
        return source, target

    def _ordered(self, source: Item, target: Item) -> tuple[Item, Item]:
        """As the engine translates them."""
        return (target, source) if self.engine.is_reversed else (source, target)
