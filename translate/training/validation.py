"""How good the model is on held-out images while it trains: which step was the best, and when to stop."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from translate.batch import Labeled
from translate.data.source import DataSource, Items, collate
from translate.errors import UserError, check_choice
from translate.evaluation.metrics import paired_metrics, quantize
from translate.methods.method import Method
from translate.pixels import Side
from translate.training.settings import Settings

PAIRED = ("l1", "psnr", "ssim")
CYCLE = ("cycle_source", "cycle_target")
RECONSTRUCTION = "reconstruction"
BETTER_WHEN_HIGHER = ("psnr", "ssim")
BATCH = 8
CACHE_GIB = 0.25


class Validation(nn.Module):
    """Measures models on the same images of the validation split; a memory of the best, saved for exact resume.

    For pixels in [0, 1], rounded as files are:

    - `l1`, `psnr` and `ssim` of the translations (`paired_metrics`), where the true answers are known;
    - `cycle_source` and `cycle_target` of a method that translates both ways: L1 between images and what they are after
      the cycle (Zhu et al. 2017, equation 2);
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
        mine = self.places[fabric.global_rank :: fabric.world_size]
        sums = torch.zeros(len(self.names))
        for first in range(0, len(mine), BATCH):
            batch = load(collate([self.items[0, place] for place in mine[first : first + BATCH]]))
            measured = self._compare(method, batch)
            sums += torch.stack([measured[name].sum() for name in self.names]).float().cpu()
        total = torch.as_tensor(fabric.all_reduce(sums.to(fabric.device), reduce_op="sum"))
        return dict(zip(self.names, (total / len(self.places)).tolist(), strict=True))

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

    def _compare(self, method: Method, batch: Any) -> dict[str, Tensor]:
        """Every metric of each image: (B,)."""
        if isinstance(batch, Labeled):
            translator = method.translator()
            back = translator(translator(batch.images, batch.targets), batch.labels)
            return {RECONSTRUCTION: self._l1(back, batch.images, 0)}
        measured: dict[str, Tensor] = {}
        translated = method.translate(batch.source)
        if PAIRED[0] in self.names:
            side = self._side(1)
            measured |= paired_metrics(quantize(translated, side), quantize(batch.target, side))
        if CYCLE[0] in self.names:
            source = method.translate_back(translated)
            target = method.translate(method.translate_back(batch.target))
            cycled = self._l1(source, batch.source, 0), self._l1(target, batch.target, 1)
            measured |= dict(zip(CYCLE, cycled, strict=True))
        return measured

    def _l1(self, images: Tensor, wanted: Tensor, place: int) -> Tensor:
        side = self._side(place)
        return (quantize(images, side) - quantize(wanted, side)).abs().flatten(1).mean(1)

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
    metric = chosen.metric or (PAIRED[0] if data.has_answers else None)
    if metric is not None:
        check_choice("validation.metric", metric, names)
    items = data.items(
        "validation",
        settings.image_size,
        seed=settings.seed,
        augment=False,
        cache_gib=max(CACHE_GIB, data.cache_gib),
    )
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
