"""Which step of a training was the best, and when to stop: what a run remembers of its measurements."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from translate.batch import Unpaired
from translate.data.labeled import LabeledItems
from translate.data.source import DataSource, Items
from translate.errors import UserError, check_choice
from translate.evaluation.classifier import MAX_STEPS
from translate.evaluation.distances import LEAST_WITH_ERROR
from translate.evaluation.measures import Options, missing_measures
from translate.evaluation.metrics import BETTER_WHEN_HIGHER
from translate.evaluation.requests import all_requests, share_out, shown
from translate.pixels import Side
from translate.training.examination import (
    CYCLE,
    DISTANCES,
    PAIRED,
    RECOGNIZED,
    RECONSTRUCTION,
    Asked,
    Comparison,
    Examination,
)
from translate.training.prepare import planned_steps
from translate.training.settings import Settings

TELL_NOTHING = (*CYCLE, RECONSTRUCTION)
"""Metrics that no best can be named by: a model that changes nothing is perfect there."""
DEFAULTS = (PAIRED[0], DISTANCES[0])
"""What tells the best where no metric is named, if it is measured: the first of them."""
ANSWERED = (*PAIRED, "ms_ssim", "lpips")
"""What is measured beside true answers, where it can be."""
BACK = "_back"
CACHE_GIB = 0.25
LONG_RUN = 50_000
"""Steps from which on a run has a classifier of domains by default."""


class Validation(nn.Module):
    """A memory of the best measurement, saved for exact resume.

    Args:
        examination: what measures.
        metric: which of its metrics tells the best model; None keeps none.
        patience: measurements without a better one after which training ends; None is never.
        classifier_steps: steps at most of training the judge that the examination has to be given; 0 is none.
    """

    best: Tensor
    best_step: Tensor
    waited: Tensor

    def __init__(
        self,
        examination: Examination,
        *,
        metric: str | None,
        patience: int | None = None,
        classifier_steps: int = 0,
    ) -> None:
        super().__init__()
        self.examination, self.metric, self.patience = examination, metric, patience
        self.classifier_steps = classifier_steps
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


def open_validation(data: DataSource, settings: Settings, *, is_reversible: bool) -> Validation | None:
    """What measures the models of a run on inspected `data`; None where that is off, or no images are held out.

    `is_reversible` says whether its method translates both ways.

    Raises:
        UserError: settings of `validation` that do not go with the data or the method.
    """
    chosen = settings.validation
    for name, least in (("every", 0), ("images", 1), ("patience", 1), ("classifier_steps", 0)):
        value = getattr(chosen, name)
        if value is not None and value < least:
            raise UserError(f"validation.{name}={value} must be at least {least}")
    if chosen.patience is not None and chosen.every == 0:
        raise UserError(
            f"validation.patience={chosen.patience} needs measurements, but validation.every=0 turns them off"
        )
    items = data.items(
        "validation",
        settings.image_size,
        seed=settings.seed,
        augment=False,
        cache_gib=max(CACHE_GIB, data.cache_gib),
    )
    if not len(items):
        for name in ("metric", "patience"):
            if (value := getattr(chosen, name)) is not None and chosen.every != 0:
                raise UserError(
                    f"validation.{name}={value} needs images that are not trained on: a folder called validation, or "
                    "data.validation_fraction=0.1"
                )
        return None
    places, classifier_steps = _spread(items, chosen.images), 0
    if isinstance(items, LabeledItems):
        classifier_steps = _classifier_steps(data, settings)
        examination, missing = _examine_domains(data, items, places, settings, has_judge=classifier_steps > 0)
    else:
        examination, missing = _examine_sides(data, items, places, settings, is_reversible=is_reversible)
    names = examination.names
    metric = chosen.metric or next((name for name in _defaults(examination) if name in names), None)
    pretrained = ("lpips", "kid")
    if chosen.weights is not None and not any(name.startswith(pretrained) for name in names):
        why = dict.fromkeys(reason for name, reason in missing.items() if name.startswith(pretrained))
        raise UserError(f"validation.weights={chosen.weights} is of no use here: {'; '.join(why)}")
    if metric in missing:
        raise UserError(f"validation.metric={metric} cannot be measured here: {missing[metric]}")
    if metric is not None:
        check_choice("validation.metric", metric, names)
    if chosen.patience is not None and metric is None:
        raise UserError(
            f"validation.patience={chosen.patience} needs validation.metric, one of {', '.join(names)}: none of them "
            "is sure to tell the best model"
        )
    if chosen.every == 0:
        return None
    return Validation(examination, metric=metric, patience=chosen.patience, classifier_steps=classifier_steps)


def _spread(items: Items, most: int) -> list[int]:
    """At most so many places of different images, from all over the items."""
    once = list(range(len(items)))
    if isinstance(items, LabeledItems):  # items of two sets show those of one repeatedly
        once = sorted({items.member(place): place for place in reversed(once)}.values())
    count = min(most, len(once))
    return [once[place * len(once) // count] for place in range(count)]


def _defaults(examination: Examination) -> tuple[str, ...]:
    """What tells the best if nobody says what: no distance between sets so small that it is chance."""
    compared = examination.comparisons.get("", ())
    fewest = min((min(len(each.made), len(each.real)) for each in compared), default=0)
    return DEFAULTS if fewest >= LEAST_WITH_ERROR else DEFAULTS[:1]


def more_steps(done: int, steps: int | None, patience: int | None) -> list[str]:
    """The words that make a run go on that ended after `done` of `steps`, and its patience not end it again at once."""
    words = [f"steps={2 * max(done, steps or 0)}"]
    return words if patience is None else [*words, f"validation.patience={2 * patience}"]


def weights_options(settings: Settings) -> Options:
    """Where the weights of LPIPS and Inception lie."""
    folder = settings.validation.weights
    return Options(weights=None if folder is None else Path(folder).expanduser())


def _examine_sides(
    data: DataSource, items: Items, places: Sequence[int], settings: Settings, *, is_reversible: bool
) -> tuple[Examination, dict[str, str]]:
    """What is measured of source and target, and why the rest is not."""
    names, missing = _measurable(ANSWERED, data.target, settings) if data.has_answers else ([], {})
    names += CYCLE * is_reversible
    comparisons = {}
    if data.batch_type is Unpaired:
        # A side with fewer images than the other starts over, and each image counts once.
        first = [
            sorted({place % count: position for position, place in reversed(list(enumerate(places)))}.values())
            for count in items.counts
        ]
        ways = (("", 0, 1), (BACK, 1, 0))[: 1 + is_reversible]
        comparisons = {suffix: [Comparison(into, first[origin], first[into])] for suffix, origin, into in ways}
        if min(map(len, first)) < 2:
            comparisons = {}
            lacking = (
                "it needs at least 2 images of each side: more of them in a folder called validation or a larger "
                "data.validation_fraction, and validation.images of 2 or more"
            )
            missing |= {name + suffix: lacking for name in DISTANCES for suffix, _, _ in ways}
        for suffix, _, into in ways:
            side = data.field_sides[into]
            assert side is not None
            found, why = _measurable(DISTANCES, side, settings)
            names += [name + suffix for name in found] if comparisons else []
            missing = {name + suffix: reason for name, reason in why.items()} | missing
    return Examination(items, places, data.field_sides, names, comparisons=comparisons), missing


def _classifier_steps(data: DataSource, settings: Settings) -> int:
    """A classifier is nothing beside a long run, and more than all else in a short one."""
    chosen = settings.validation.classifier_steps
    return MAX_STEPS * (planned_steps(settings, data) >= LONG_RUN) if chosen is None else chosen


def _examine_domains(
    data: DataSource, items: LabeledItems, places: Sequence[int], settings: Settings, *, has_judge: bool
) -> tuple[Examination, dict[str, str]]:
    """What is measured of labelled images, each translated into one domain that it does not show, and why the rest is
    not."""
    domains = data.domains
    assert domains is not None
    members = [items.member(place) for place in places]
    labels = torch.tensor([member.vector for member in members])
    trained = data.shown("train")
    requests = [request for request in all_requests(domains) if trained[domains.names[request.place]]]
    given = share_out(labels, domains, requests)
    where = {items.member(index).picture: index for index in range(len(items))}
    asked = []
    for member, own, request in zip(members, labels, given, strict=True):
        target = own if request is None else domains.change(own[None], request.text)[0]
        twin = data.twin("validation", member.subject, request.text) if request and request.has_twins else None
        asked.append(Asked(request, target, None if twin is None else where[twin]))
    compared = []
    for request in requests:
        made = [position for position, chosen in enumerate(given) if chosen is request]
        real = shown(labels, domains, request)[0].nonzero().flatten().tolist()
        if min(len(made), len(real)) > 1:
            compared.append(Comparison(0, made, real))
    has_answers = any(each.answer is not None for each in asked)
    names, missing = _measurable(ANSWERED, data.source, settings) if has_answers else ([], {})
    if not has_judge:
        missing[RECOGNIZED] = (
            f"without validation.classifier_steps={MAX_STEPS} runs of less than {LONG_RUN:,} steps have no classifier, "
            "with 0 none has"
        )
    elif any(each.request for each in asked):
        names.append(RECOGNIZED)
    found, why = _measurable(DISTANCES, data.source, settings)
    names += found if compared else []
    missing |= why
    if not compared:
        lacking = "it needs at least 2 translations into a domain and 2 real images of it: more validation.images"
        missing |= dict.fromkeys(DISTANCES, lacking)
    comparisons = {"": compared} if compared else {}
    names.append(RECONSTRUCTION)
    return Examination(items, places, data.field_sides, names, comparisons=comparisons, asked=asked), missing


def _measurable(wanted: Sequence[str], side: Side, settings: Settings) -> tuple[list[str], dict[str, str]]:
    """Those of the wanted metrics that images of a side can have, and why they cannot have the others."""
    why = missing_measures(side, settings.image_size, weights_options(settings), has_answers=True)
    return [name for name in wanted if name not in why], {name: why[name] for name in wanted if name in why}
