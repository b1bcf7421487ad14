"""Measuring a model that translates between domains: does an independent classifier see what was asked for?"""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from translate.batch import Labeled
from translate.conversion.torch_engine import TorchEngine
from translate.data.labeled import LabeledItems, LabeledPicture
from translate.data.loading import Picture
from translate.data.source import DataSource
from translate.domains import Domains
from translate.errors import UserError
from translate.evaluation.bootstrap import Scored, resampled_means
from translate.evaluation.classifier import MAX_STEPS, recall_classifier
from translate.evaluation.measures import Options, choose_measures
from translate.evaluation.metrics import compare, mean_of, quantize, quantized_l1, write_rows
from translate.evaluation.requests import Request, all_requests, shown
from translate.evaluation.split import Bar, no_bar, open_split
from translate.pixels import normalize

BATCH = 8


@dataclass(frozen=True)
class Translation:
    """One translated image.

    Attributes:
        name: the image's name.
        request: what it was translated into.
        recognized: whether the classifier sees that.
        metrics: how near it is to its twin, the true answer; empty without one.
        identity: the same for the input returned unchanged.
        reconstruction: its L1 distance from the image after translating it back (Choi et al. 2018, equation 4).
    """

    name: str
    request: str
    recognized: bool
    metrics: dict[str, float] = field(default_factory=dict)
    identity: dict[str, float] = field(default_factory=dict)
    reconstruction: float | None = None

    @property
    def values(self) -> dict[str, float]:
        """All that was measured of it."""
        back = {} if self.reconstruction is None else {"reconstruction": self.reconstruction}
        return {"recognized": float(self.recognized)} | self.metrics | back


@dataclass(frozen=True)
class DomainEvaluation:
    """What became of every image of a split in every domain that it does not show yet.

    Attributes:
        split: the split measured.
        rows: the translations.
        real: by request, for each real image that shows it, whether the classifier sees that.
        classifier_steps: steps that the classifier was trained.
        unseen: domains that no training image shows, so that no classifier can tell them.
        sets: by request, distances of the translations from the real images that show it.
        set_counts: by request, the `translations` and the `real` images compared.
        notes: what was not measured, and why.
        picture: a translation by its place: the input, the output and, if known, the true answer, (C, H, W) in [0, 1].
    """

    split: str
    rows: list[Translation]
    real: dict[str, list[bool]]
    classifier_steps: int
    unseen: tuple[str, ...] = ()
    sets: dict[str, dict[str, float]] = field(default_factory=dict)
    set_counts: dict[str, dict[str, int]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    picture: Callable[[int], dict[str, Tensor]] | None = None

    @property
    def table(self) -> dict[str, dict[str, float]]:
        """By request: `translations`, `recognized` and `real` (shares), of those with twins the mean `l1`, `psnr` and
        `ssim`, the same with `input` before the name for the input returned unchanged, and `reconstruction`. What is
        not known lacks."""
        return {request: self._summary(request) for request in self.real}

    @property
    def mean(self) -> dict[str, float]:
        """The mean over the requests, each counting alike."""
        return mean_of({name: row[name] for name in row if name != "translations"} for row in self.table.values())

    @property
    def scored(self) -> list[Scored]:
        """The translations; the mean over them is that over the requests, each counting alike."""
        return [Scored(row.name, row.request, row.values) for row in self.rows]

    @property
    def judgement(self) -> list[str]:
        """What recognized the domains, and how far it can be trusted, a sentence each."""
        said = [
            f"Recognized by a ResNet-18 trained for {self.classifier_steps} steps on the training images, which saw "
            "neither the model nor its translations."
        ]
        if self.unseen:
            said.append(f"Not measured, since no training image here shows them: {', '.join(self.unseen)}.")
        if self.mean.get("real", 1) < 0.9:
            said.append("It is often wrong on real images too, so that what it says of translations means little.")
        return said

    @cached_property
    def resampled(self) -> dict[str, np.ndarray]:
        """The means in 1000 resamples of the images."""
        return resampled_means(self.scored)

    def write_csv(self, path: Path) -> None:
        """Write a line per translation."""
        write_rows(
            path,
            [
                {"name": row.name, "domain": row.request} | row.values | {"recognized": int(row.recognized)}
                for row in self.rows
            ],
        )

    def _summary(self, request: str) -> dict[str, float]:
        rows = [row for row in self.rows if row.request == request]
        summary: dict[str, float] = {"translations": len(rows)}
        summary |= mean_of({"recognized": float(row.recognized)} for row in rows)
        summary |= mean_of({"real": float(right)} for right in self.real[request])
        summary |= mean_of(row.metrics for row in rows)
        summary |= {f"input {name}": value for name, value in mean_of(row.identity for row in rows).items()}
        back = [row.reconstruction for row in rows if row.reconstruction is not None]
        return summary | mean_of({"reconstruction": error} for error in back)


def evaluate_domains(
    engine: TorchEngine,
    settings: Mapping[str, Any],
    folder: Path,
    split: str | None = None,
    *,
    classifier_steps: int = MAX_STEPS,
    options: Options | None = None,
    bar: Bar = no_bar,
) -> DomainEvaluation:
    """Translate the images of a split, at the training size, into every domain that they do not show yet.

    An image counts for the domains that its labels say something about. Translations are rounded as files would be
    before a classifier trained on the real training images, kept in `folder`, judges them; where the data set is
    aligned, they are compared with the image of the same subject in that domain. `split` None is test, else
    validation, else train.

    Raises:
        UserError: the data has no labels, has problems, or is of another kind than the model; or the split is empty.
    """
    data, split, items = open_split(engine, settings, split, bar, Labeled)
    assert isinstance(items, LabeledItems)
    domains, side, device = _checked_domains(data, engine), data.source, engine.device
    classifier = recall_classifier(folder, data, settings, device, max_steps=classifier_steps, bar=bar)
    unseen = tuple(name for name, count in data.shown("train").items() if not count)
    requests = [request for request in all_requests(domains) if domains.names[request.place] not in unseen]
    members: dict[LabeledPicture, int] = {}
    for index in range(len(items)):
        members.setdefault(items.member(index), index)  # items of two sets show those of one repeatedly
    places = {member.picture: index for member, index in members.items()}

    def twin_of(member: LabeledPicture, request: Request) -> Picture | None:
        return data.twin(split, member.subject, request.text) if request.has_twins else None

    measures = choose_measures(
        side,
        settings["image_size"],
        options or Options(),
        device,
        has_answers=any(twin_of(member, request) for member in members for request in requests),
    )

    def load(pictures: list[Picture]) -> Tensor:
        images = torch.stack([items[0, places[picture]].images for picture in pictures])
        return normalize(images.to(device), side.low, side.high)

    rows: list[Translation] = []
    made: list[tuple[LabeledPicture, Request]] = []
    real: dict[str, list[bool]] = {request.text: [] for request in requests}
    order = list(members)
    batches = [order[first : first + BATCH] for first in range(0, len(order), BATCH)]
    for batch in bar("translating")(batches, len(batches)):
        images = load([member.picture for member in batch])
        labels = torch.tensor([member.vector for member in batch])
        seen = classifier(images).cpu()
        for request in requests:
            shows, may = shown(labels, domains, request)
            real[request.text] += (seen[shows, request.place] == request.value).tolist()
            measures.add(f"real {request.text}", images[shows.to(device)])
            waiting = may.nonzero().flatten().tolist()
            if not waiting:
                continue
            outputs = engine.translate_tensor(images[waiting], request.text)
            measures.add(f"made {request.text}", outputs)
            back = engine.translate_tensor(outputs, labels=labels[waiting].to(device))
            errors = quantized_l1(back, images[waiting], side).tolist()
            judged = classifier(quantize(outputs, side).mul(2).sub(1)).cpu()
            for index, output, verdict, error in zip(waiting, outputs, judged, errors, strict=True):
                member = batch[index]
                twin = twin_of(member, request)
                metrics, identity = (
                    compare(
                        torch.stack([output, images[index]]), load([twin]).expand(2, -1, -1, -1), side, measures.lpips
                    )
                    if twin
                    else ({}, {})
                )
                recognized = bool(verdict[request.place]) == request.value
                rows.append(Translation(member.name, request.text, recognized, metrics, identity, error))
                made.append((member, request))
    order_of = sorted(range(len(rows)), key=lambda place: list(real).index(rows[place].request))
    rows, made = [rows[place] for place in order_of], [made[place] for place in order_of]
    if not rows:
        raise UserError(f"every image of the split {split!r} shows all domains already: nothing is to be translated")

    def picture(place: int) -> dict[str, Tensor]:
        member, request = made[place]
        image = load([member.picture])
        found = {"input": image, "output": engine.translate_tensor(image, request.text)}
        if twin := twin_of(member, request):
            found["true answer"] = load([twin])
        return {title: quantize(images, side)[0].cpu() for title, images in found.items()}

    sets = {
        request.text: values
        for request in requests
        for values in measures.measure({f"made {request.text}": f"real {request.text}"}).values()
    }
    count = measures.distances[0].count
    set_counts = {text: {"translations": count(f"made {text}"), "real": count(f"real {text}")} for text in sets}
    return DomainEvaluation(split, rows, real, classifier.steps, unseen, sets, set_counts, measures.notes, picture)


def _checked_domains(data: DataSource, engine: TorchEngine) -> Domains:
    """The domains of model and data; UserError when the data is of another kind than what the model was trained on."""
    model = engine.model
    if data.source.channels != model.source.channels:
        raise UserError(
            f"the data's images have {data.source.channels} channels, but the model was trained with "
            f"{model.source.channels}"
        )
    assert model.domains is not None
    assert data.domains is not None
    if data.domains != model.domains:
        raise UserError(
            f"the data's domains are {data.domains.described()}, but the model was trained with "
            f"{model.domains.described()}. {domains_remedy(data.domains.names, model.domains.names)}"
        )
    return model.domains


def domains_remedy(found: Sequence[str], known: Sequence[str]) -> str:
    """What to do about data whose domains are not those that a model knows, in words that can be typed."""
    common = ",".join(name for name in known if name in found)
    others = ", ".join(name for name in found if name not in known)
    if not others:
        return "They are of another kind: data.kind and data.exclusive say what they are"
    renaming = f"where the model has another name for what is {others} here, rename that in the data"
    if "," not in common:
        return f"They share {common or 'none'}: {renaming}"
    return f"To measure those that both have: {shlex.quote(f'data.domains=[{common}]')}; {renaming}"
