"""What a model makes of held-out images while it trains, in numbers."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from translate.batch import Labeled
from translate.data.source import Items, collate
from translate.evaluation.classifier import Classifier
from translate.evaluation.measures import Measures, Options, choose_measures
from translate.evaluation.metrics import compare, mean_of, quantize, quantized_l1
from translate.evaluation.requests import Request
from translate.methods.method import Method
from translate.pixels import Side
from translate.training.fabric import Fabric

PAIRED = ("l1", "psnr", "ssim")
CYCLE = ("cycle_source", "cycle_target")
RECOGNIZED = "recognized"
RECONSTRUCTION = "reconstruction"
DISTANCES = ("kernel_distance", "kid", "fid")
BATCH = 8


class Asked(NamedTuple):
    """What an image is to be translated into (None: nothing is left for it), the label vector of that, and the item
    that shows it, if one does."""

    request: Request | None
    target: Tensor
    answer: int | None


class Comparison(NamedTuple):
    """Translations into a side and real images of it, by their positions among what is measured."""

    side: int
    made: Sequence[int]
    real: Sequence[int]


class Measured(NamedTuple):
    """The value of every metric, and the standard error of those that compare sets of images."""

    values: dict[str, float]
    errors: dict[str, float]


class Examination:
    """Measures models on the same images each time. For pixels in [0, 1], rounded as files are:

    - `l1`, `psnr`, `ssim`, and where they can be `ms_ssim` and `lpips`, of translations whose true answers are known
      (`translate.evaluation.metrics.compare`);
    - `cycle_source` and `cycle_target` of a method that translates both ways: L1 between images and what they are after
      the cycle (Zhu et al. 2017, equation 2);
    - `kernel_distance`, and with Inception's weights `kid` and `fid`, of images that are no pairs: between translations
      and the real images of the target side (`translate.evaluation.distances`), with `_back` the other way round; of
      labelled images the mean over the domains of that between translations into one and real images of it;
    - `recognized` of labelled images: the share of the translations in which a classifier sees what was asked for;
    - `reconstruction` of labelled images: L1 between them and their translation into another domain and back (Choi et
      al. 2018, equation 4).

    Args:
        items: the images, without augmentation.
        places: those to measure.
        sides: what each field of an item looks like; None for a field that is no image.
        names: what is measured.
        comparisons: the sets whose distances are measured, by what follows the metric's name; the mean over them.
        asked: what each labelled image is to be translated into.
    """

    def __init__(
        self,
        items: Items,
        places: Sequence[int],
        sides: Sequence[Side | None],
        names: Sequence[str],
        *,
        comparisons: Mapping[str, Sequence[Comparison]] | None = None,
        asked: Sequence[Asked] = (),
    ) -> None:
        self.items, self.places, self.sides, self.names = items, places, sides, names
        self.comparisons, self.asked = comparisons or {}, asked
        self.measures: dict[int, Measures] = {}
        self.judge: Classifier | None = None
        self._real: dict[tuple[int, int], Tensor] = {}

    def set_up(self, size: int, device: torch.device, options: Options | None = None) -> None:
        """Load what measures images of `size` pixels; call it once, before `measure`. A judge is set besides.

        Raises:
            UserError: weights that are damaged.
        """
        self.measures = {
            place: choose_measures(
                side,
                size,
                options or Options(),
                device,
                has_answers=PAIRED[0] in self.names,
                has_sets=place in self._compared,
            )
            for place, side in enumerate(self.sides)
            if side is not None and place in {*self._compared, self._translated}
        }

    @torch.no_grad()
    def measure(self, method: Method, fabric: Fabric, load: Callable[[Any], Any]) -> Measured:
        """Every metric over the images, which several processes share among them.

        `method` must be as it is when it translates; `load` makes of a batch what a method takes.
        """
        mine = range(len(self.places))[fabric.global_rank :: fabric.world_size]
        rows: list[dict[str, float]] = []
        made, real = self._no_features(), self._no_features()
        for first in range(0, len(mine), BATCH):
            own = list(mine[first : first + BATCH])
            batch = load(collate([self.items[0, self.places[position]] for position in own]))
            found, outputs = self._translate(method, batch, own, load)
            rows += found
            for side, images in outputs.items():
                self._take_features(made, side, own, images)
                if not self._real:  # they are the same each time
                    self._take_features(real, side, own, batch[side])

        def total(parts: Tensor) -> Tensor:
            return torch.as_tensor(fabric.all_reduce(parts.to(fabric.device), reduce_op="sum")).cpu()

        values: dict[str, float] = {}
        for name in self.names:
            if not name.startswith(DISTANCES):
                own_values = [row[name] for row in rows if name in row]
                whole, count = total(torch.tensor([sum(own_values), float(len(own_values))])).tolist()
                values[name] = whole / count
        self._real = self._real or {key: total(features) for key, features in real.items()}
        made = {key: total(features) for key, features in made.items()}
        errors: dict[str, float] = {}
        for suffix, compared in self.comparisons.items():
            between = self._distances(compared, made)
            values |= {name + suffix: value for name, value in between.values.items()}
            errors |= {name + suffix: error for name, error in between.errors.items() if name + suffix in self.names}
        return Measured({name: values[name] for name in self.names}, errors)

    def _translate(
        self, method: Method, batch: Any, own: Sequence[int], load: Callable[[Any], Any]
    ) -> tuple[list[dict[str, float]], dict[int, Tensor]]:
        """The metrics of each image, and the translations into each side whose distance is measured."""
        rows: list[dict[str, float]] = [{} for _ in own]

        def note(name: str, values: Tensor) -> None:
            for row, value in zip(rows, values.tolist(), strict=True):
                row[name] = value

        if isinstance(batch, Labeled):
            asked = [self.asked[position] for position in own]
            translator = method.translator()
            translated = translator(batch.images, torch.stack([each.target for each in asked]).to(batch.labels))
            note(RECONSTRUCTION, self._l1(translator(translated, batch.labels), batch.images, 0))
            if self.judge is not None:
                seen = self.judge(quantize(translated, self._side(0)).mul(2).sub(1).float()).cpu()
                for row, found, each in zip(rows, seen, asked, strict=True):
                    if each.request is not None:
                        row[RECOGNIZED] = float(bool(found[each.request.place]) == each.request.value)
            known = {place: each.answer for place, each in enumerate(asked) if each.answer is not None}
            if known:
                answers = load(collate([self.items[0, answer] for answer in known.values()])).images
                for place, row in zip(known, self._compare(translated[list(known)], answers), strict=True):
                    rows[place] |= row
            return rows, {0: translated}
        translated, returned = method.translate(batch.source), None
        if PAIRED[0] in self.names:
            for row, found in zip(rows, self._compare(translated, batch.target), strict=True):
                row |= found
        if method.is_reversible:
            returned = method.translate_back(batch.target)
            note(CYCLE[0], self._l1(method.translate_back(translated), batch.source, 0))
            note(CYCLE[1], self._l1(method.translate(returned), batch.target, 1))
        return rows, {1: translated} if returned is None else {0: returned, 1: translated}

    def _no_features(self) -> dict[tuple[int, int], Tensor]:
        """By side and kind, a row for each of the images; those that other processes measure stay 0."""
        return {
            (side, kind): torch.zeros(len(self.places), distances.num_features)
            for side in self._compared
            for kind, distances in enumerate(self.measures[side].distances)
        }

    def _take_features(
        self, features: dict[tuple[int, int], Tensor], side: int, own: Sequence[int], images: Tensor
    ) -> None:
        for kind, distances in enumerate(self.measures[side].distances if side in self._compared else ()):
            features[side, kind][own] = distances.features(quantize(images, self._side(side)))

    def _distances(self, compared: Sequence[Comparison], made: Mapping[tuple[int, int], Tensor]) -> Measured:
        """The mean over the comparisons of every distance, and its standard error if all have one."""
        rows = [
            {
                name: value
                for kind, distances in enumerate(self.measures[side].distances)
                for name, value in distances.between(made[side, kind][into], self._real[side, kind][real]).items()
            }
            for side, into, real in compared
        ]
        values = mean_of(rows)
        errors = {
            name: math.hypot(*(row[f"{name}_error"] for row in rows)) / len(rows)
            for name in values
            if all(f"{name}_error" in row for row in rows)
        }
        return Measured(values, errors)

    def _compare(self, outputs: Tensor, targets: Tensor) -> list[dict[str, float]]:
        """Beside the true answers, of the side that is translated into."""
        return compare(outputs, targets, self._side(self._translated), self.measures[self._translated].lpips)

    @property
    def _translated(self) -> int:
        """The side that is translated into: the last that holds images."""
        return max(place for place, side in enumerate(self.sides) if side is not None)

    @property
    def _compared(self) -> set[int]:
        """The sides of which sets are compared."""
        return {comparison.side for compared in self.comparisons.values() for comparison in compared}

    def _l1(self, images: Tensor, wanted: Tensor, place: int) -> Tensor:
        return quantized_l1(images, wanted, self._side(place))

    def _side(self, place: int) -> Side:
        side = self.sides[place]
        assert side is not None
        return side
