"""Measuring a model on the images of a split whose true answer is known."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from translate.build import build, resolve
from translate.conversion.translator import Translator
from translate.data.paired import PairedData, collate
from translate.errors import UserError
from translate.evaluation.metrics import paired_metrics
from translate.files import write_text
from translate.pixels import Side, normalize

BATCH = 8
TRUSTED_DATA = ("translate.data.",)
MAY_CHANGE = ("data.", "image_size", "norm_at_test", "dropout_at_test", "seed")
"""Settings that a trained model can be measured with other values of."""


@dataclass(frozen=True)
class Evaluation:
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
        return _mean(self.rows)

    def write_csv(self, path: Path) -> None:
        """Write a line per pair."""
        text = io.StringIO()
        writer = csv.DictWriter(text, ["name", *self.rows[0]], lineterminator="\n")
        writer.writeheader()
        for name, row in zip(self.names, self.rows, strict=True):
            writer.writerow({"name": name} | {metric: f"{value:.6f}" for metric, value in row.items()})
        write_text(path, text.getvalue())


def evaluate(translator: Translator, settings: Mapping[str, Any], split: str | None = None) -> Evaluation:
    """Translate a split at the training size and compare with the targets, both rounded to their files' depth.

    Images are resized as in training, without augmentation. `split` None is test, or validation without one.

    Raises:
        UserError: the data has problems, or the split is empty.
    """
    # The settings may have come with a stranger's model.
    component = resolve(settings["data"]["_target_"], TRUSTED_DATA)
    if not (isinstance(component, type) and issubclass(component, PairedData)):
        raise UserError(f"data._target_={settings['data']['_target_']!r} is no data set of pairs")
    data: PairedData = build(settings["data"], TRUSTED_DATA)
    size = settings["image_size"]
    data.inspect(size).raise_problems()
    split = split or next((name for name in ("test", "validation") if data.splits[name]), "train")
    if split not in data.splits or not data.splits[split]:
        filled = [name for name, pairs in data.splits.items() if pairs]
        raise UserError(f"the split {split!r} has no pairs; those that have are {', '.join(filled)}")
    for name, side, wanted in (
        ("source", data.source, translator.model.source),
        ("target", data.target, translator.model.target),
    ):
        if side.channels != wanted.channels:
            raise UserError(
                f"the data's {name} has {side.channels} channels, but the model was trained with {wanted.channels}"
            )
    dataset = data.dataset(split, size, seed=0, augment=False)
    rows: list[dict[str, float]] = []
    identity: list[dict[str, float]] = []
    for first in range(0, len(dataset), BATCH):
        batch = collate([dataset[0, index] for index in range(first, min(first + BATCH, len(dataset)))])
        source, target = (
            normalize(images, side.low, side.high)
            for images, side in zip(batch, (data.source, data.target), strict=True)
        )
        output = translator.translate_tensor(source.to(translator.device)).cpu()
        rows += _rows(quantize(output, data.target), quantize(target, data.target))
        if source.shape == target.shape:
            identity += _rows(quantize(source, data.target), quantize(target, data.target))
    names = [pair.name for pair in data.splits[split]]
    return Evaluation(split, names, rows, _mean(identity) if identity else None)


def quantize(images: torch.Tensor, side: Side) -> torch.Tensor:
    """From [-1, 1] to [0, 1] with the steps that the files of `side` have."""
    images = images.clamp(-1, 1).add(1).div(2)
    if side.dtype == "float32":
        return images
    steps = side.high - side.low
    return images.mul(steps).round().div(steps)


def _rows(outputs: torch.Tensor, targets: torch.Tensor) -> list[dict[str, float]]:
    metrics = paired_metrics(outputs, targets)
    return [{name: float(values[index]) for name, values in metrics.items()} for index in range(len(outputs))]


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
