"""Measuring a model on the pairs of a split: the true answer is known."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from translate.conversion.torch_engine import TorchEngine
from translate.data.paired import PairItems
from translate.data.source import collate
from translate.errors import UserError
from translate.evaluation.metrics import compare, mean_of, write_rows
from translate.evaluation.split import Bar, no_bar, open_split
from translate.pixels import normalize

BATCH = 8


@dataclass(frozen=True)
class PairEvaluation:
    """Metrics per image and the same for the input returned unchanged, where channels allow the comparison.

    Attributes:
        split: the split measured.
        names: the pairs' names.
        rows: one mapping of metric to value per pair.
        identity: mean metrics of the identity baseline, or None.
    """

    split: str
    names: list[str]
    rows: list[dict[str, float]]
    identity: dict[str, float] | None

    @property
    def mean(self) -> dict[str, float]:
        """The mean of every metric."""
        return mean_of(self.rows)

    def write_csv(self, path: Path) -> None:
        """Write a line per pair."""
        write_rows(path, [{"name": name, **row} for name, row in zip(self.names, self.rows, strict=True)])


def evaluate_pairs(
    engine: TorchEngine, settings: Mapping[str, Any], split: str | None = None, *, bar: Bar = no_bar
) -> PairEvaluation:
    """Translate a split at the training size and compare with the targets, both rounded to their files' depth.

    Images are resized as in training, without augmentation. Source and target change roles for an engine that
    translates back. `split` None is test, else validation, else train.

    Raises:
        UserError: the data has no pairs, has problems, or is of another kind than the model; or the split is empty.
    """
    data, split, items = open_split(engine, settings, split, bar)
    assert isinstance(items, PairItems)
    sides = (data.target, data.source) if engine.is_reversed else (data.source, data.target)
    for name, side, wanted in zip(("source", "target"), sides, (engine.info.source, engine.info.target), strict=True):
        if side.channels != wanted.channels:
            raise UserError(
                f"the data's {name} has {side.channels} channels, but the model was trained with {wanted.channels}"
            )
    rows: list[dict[str, float]] = []
    identity: list[dict[str, float]] = []
    starts = range(0, len(items), BATCH)
    for first in bar("translating")(starts, len(starts)):
        batch = collate([items[0, index] for index in range(first, min(first + BATCH, len(items)))])
        ordered = (batch.target, batch.source) if engine.is_reversed else batch
        source, target = (normalize(images, side.low, side.high) for images, side in zip(ordered, sides, strict=True))
        output = engine.translate_tensor(source.to(engine.device)).cpu()
        rows += compare(output, target, sides[1])
        if source.shape == target.shape:
            identity += compare(source, target, sides[1])
    return PairEvaluation(split, [pair.name for pair in items.pairs], rows, mean_of(identity) if identity else None)
