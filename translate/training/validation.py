"""How good the model is on held-out images while it trains: which step was the best, and when to stop."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from translate.batch import Labeled, Unpaired
from translate.data.source import DataSource, Items, collate
from translate.errors import UserError, check_choice
from translate.evaluation.distances import RandomFilters, kernel_distance, standardize
from translate.evaluation.metrics import BETTER_WHEN_HIGHER, paired_metrics, quantize, quantized_l1
from translate.methods.method import Method
from translate.pixels import Side
from translate.training.fabric import Fabric
from translate.training.settings import Settings

PAIRED = ("l1", "psnr", "ssim")
CYCLE = ("cycle_source", "cycle_target")
RECONSTRUCTION = "reconstruction"
KERNEL = ("kernel_distance", "kernel_distance_back")
"""Of translations from the real images of the target side, and of those translated back from the source side's."""
TELL_NOTHING = (*CYCLE, RECONSTRUCTION)
"""Metrics that no best can be named by: a model that changes nothing is perfect there."""
BATCH = 8
CACHE_GIB = 0.25


class Validation(nn.Module):
    """Measures models on the same images of the validation split; a memory of the best, saved for exact resume.

    For pixels in [0, 1], rounded as files are:

    - `l1`, `psnr` and `ssim` of the translations (`paired_metrics`), where the true answers are known;
    - `cycle_source` and `cycle_target` of a method that translates both ways: L1 between images and what they are after
      the cycle (Zhu et al. 2017, equation 2);
    - `kernel_distance` and `kernel_distance_back` of unpaired images: between the translations and the real images of
      the target side, and the other way round, in features of colour and texture (`translate.evaluation.distances`);
    - `reconstruction` of labelled images: L1 between them and their translation into another domain and back (Choi et
      al. 2018, equation 4).

    Args:
        items: the images, without augmentation.
        sides: what each field of an item looks like; None for a field that is no image.
        names: what is measured.
        metric: which of them tells the best model; None keeps none.
        count: images to measure at most, spread over the items.
        patience: measurements without a better one after which training ends; None is never.
    """

    best: Tensor
    best_step: Tensor
    waited: Tensor

    def __init__(
        self,
        items: Items,
        sides: Sequence[Side | None],
        names: Sequence[str],
        *,
        metric: str | None,
        count: int,
        patience: int | None,
    ) -> None:
        super().__init__()
        self.items, self.sides, self.names, self.metric, self.patience = items, tuple(sides), names, metric, patience
        count = min(count, len(items))
        self.places = [place * len(items) // count for place in range(count)]
        self.averaged = [name for name in names if name not in KERNEL]
        self.filters = [RandomFilters(channels=side.channels) for side in sides if side] if KERNEL[0] in names else []
        self.register_buffer("best", torch.tensor(0.0, dtype=torch.float64))
        self.register_buffer("best_step", torch.tensor(0))
        self.register_buffer("waited", torch.tensor(0))

    @property
    def is_over(self) -> bool:
        """Whether so many measurements were no better that training is to end."""
        return self.patience is not None and int(self.waited) >= self.patience

    def go_on(self) -> None:
        """Forget how long it has waited, if that ended the run: the user asked for more steps."""
        if self.is_over:
            self.waited.zero_()

    @torch.no_grad()
    def measure(self, method: Method, fabric: Fabric, load: Callable[[Any], Any]) -> dict[str, float]:
        """The mean of every metric over the images, which several processes share among them.

        `method` must be as it is when it translates; `load` makes of a batch what a method takes.
        """
        mine = range(len(self.places))[fabric.global_rank :: fabric.world_size]
        sums = torch.zeros(len(self.averaged))
        # Of translations into the source and the target side, and of real images; rows of other processes stay 0.
        made, real = ([torch.zeros(len(self.places), kind.num_features) for kind in self.filters] for _ in range(2))
        for first in range(0, len(mine), BATCH):
            own = list(mine[first : first + BATCH])
            batch = load(collate([self.items[0, self.places[place]] for place in own]))
            measured, translated = self._compare(method, batch)
            if self.averaged:
                sums += torch.stack([measured[name].sum() for name in self.averaged]).float().cpu()
            for side, filters in enumerate(self.filters):
                real[side][own] = self._features(filters, batch[side], side)
                outputs = translated[side]
                if outputs is not None:
                    made[side][own] = self._features(filters, outputs, side)

        def total(parts: Tensor) -> Tensor:
            return torch.as_tensor(fabric.all_reduce(parts.to(fabric.device), reduce_op="sum")).cpu()

        values = dict(zip(self.averaged, (total(sums) / len(self.places)).tolist(), strict=True))
        for name, side in zip(KERNEL, (1, 0), strict=True):
            if name in self.names:
                wanted = total(real[side])[self._first_seen(side)]
                found = total(made[side])[self._first_seen(1 - side)]
                values[name] = kernel_distance(standardize(found, wanted), standardize(wanted, wanted))
        return values

    def remember(self, values: Mapping[str, float], step: int) -> bool:
        """Take in a measurement; whether it is the best so far."""
        if self.metric is None:
            return False
        value, best = values[self.metric], float(self.best)
        is_better = value > best if self.metric in BETTER_WHEN_HIGHER else value < best
        if is_better or (not self.best_step and not math.isnan(value)):
            self.best.fill_(value)
            self.best_step.fill_(step)
            self.waited.zero_()
            return True
        self.waited += 1
        return False

    def _compare(self, method: Method, batch: Any) -> tuple[dict[str, Tensor], tuple[Tensor | None, Tensor | None]]:
        """Every metric of each image, (B,), and the translations into the source and the target side."""
        if isinstance(batch, Labeled):
            translator = method.translator()
            back = translator(translator(batch.images, batch.targets), batch.labels)
            return {RECONSTRUCTION: self._l1(back, batch.images, 0)}, (None, None)
        measured: dict[str, Tensor] = {}
        translated, returned = method.translate(batch.source), None
        if PAIRED[0] in self.names:
            side = self._side(1)
            measured |= paired_metrics(quantize(translated, side), quantize(batch.target, side))
        if CYCLE[0] in self.names:
            returned = method.translate_back(batch.target)
            source, target = method.translate_back(translated), method.translate(returned)
            cycled = self._l1(source, batch.source, 0), self._l1(target, batch.target, 1)
            measured |= dict(zip(CYCLE, cycled, strict=True))
        return measured, (returned, translated)

    def _features(self, filters: RandomFilters, images: Tensor, place: int) -> Tensor:
        features: Tensor = filters.to(images.device)(quantize(images, self._side(place)))
        return features.cpu()

    def _first_seen(self, side: int) -> list[int]:
        """Where each image of a side is seen first: one with fewer images than the other starts over."""
        count = self.items.counts[side]
        seen = {place % count: position for position, place in reversed(list(enumerate(self.places)))}
        return sorted(seen.values())

    def _l1(self, images: Tensor, wanted: Tensor, place: int) -> Tensor:
        return quantized_l1(images, wanted, self._side(place))

    def _side(self, place: int) -> Side:
        side = self.sides[place]
        assert side is not None
        return side


def open_validation(data: DataSource, settings: Settings, *, is_reversible: bool) -> Validation | None:
    """What measures the models of a run on inspected `data`; None where that is off, or no images are held out.

    `is_reversible` says whether its method translates both ways.

    Raises:
        UserError: settings of `validation` that do not go with the data or the method.
    """
    chosen = settings.validation
    for name, least in (("every", 0), ("images", 1), ("patience", 1)):
        value = getattr(chosen, name)
        if value is not None and value < least:
            raise UserError(f"validation.{name}={value} must be at least {least}")
    names = [*PAIRED * data.has_answers, *CYCLE * is_reversible]
    if data.batch_type is Labeled:
        names = [RECONSTRUCTION]
    items = data.items(
        "validation",
        settings.image_size,
        seed=settings.seed,
        augment=False,
        cache_gib=max(CACHE_GIB, data.cache_gib),
    )
    metric = chosen.metric or (PAIRED[0] if data.has_answers else None)
    if data.batch_type is Unpaired:
        kernel = KERNEL if is_reversible else KERNEL[:1]
        if not len(items) or min(chosen.images, *items.counts) > 1:
            names += kernel
        elif metric in kernel:
            raise UserError(
                f"validation.metric={metric} needs at least 2 images of each side: more of them in a folder called "
                "validation or a larger data.validation_fraction, and validation.images of 2 or more"
            )
    if metric is not None:
        check_choice("validation.metric", metric, names)
    if chosen.patience is not None:
        wanting = f"validation.patience={chosen.patience} needs "
        if chosen.every == 0:
            raise UserError(f"{wanting}measurements, but validation.every=0 turns them off")
        if not len(items):
            raise UserError(
                f"{wanting}images that are not trained on: a folder called validation, or data.validation_fraction=0.1"
            )
        if metric is None:
            raise UserError(
                f"{wanting}validation.metric, one of {', '.join(names)}: without true answers none of them is sure to "
                "tell the best model, so none is the default"
            )
    if chosen.every == 0 or not names or not len(items):
        return None
    return Validation(items, data.field_sides, names, metric=metric, count=chosen.images, patience=chosen.patience)
