"""What `translate evaluate` says: tables for a terminal, and one object for JSON."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from translate.batch import Labeled, Pair
from translate.conversion.torch_engine import TorchEngine
from translate.evaluation.bootstrap import enough_images, interval
from translate.evaluation.domains import DomainEvaluation, evaluate_domains
from translate.evaluation.extremes import write_extremes
from translate.evaluation.measures import Options
from translate.evaluation.metrics import BETTER_WHEN_HIGHER, mean_of
from translate.evaluation.pairs import MODEL, UNCHANGED, PairEvaluation, evaluate_pairs, evaluate_unpaired
from translate.evaluation.sets import (
    distance_names,
    distance_text,
    explain_distances,
    limits_text,
    set_label,
    set_title,
)
from translate.evaluation.split import Bar, choose_kind
from translate.files import write_text

Evaluation = PairEvaluation | DomainEvaluation
Limits = tuple[float, float] | tuple[None, None]
"""Of a 95 % interval; None for one of too few images."""
UNSEEN = frozenset(
    {
        "augmentation",
        "cache_gib",
        "direction",
        "partner",
        "split_seed",
        "test_fraction",
        "validation_fraction",
        "workers",
    }
)
"""Settings of data that change no image measured, or only which: the names tell that."""
CHOOSING = frozenset({"split_seed", "test_fraction", "validation_fraction"})
"""Those that say which."""


@dataclass(frozen=True)
class Report:
    """A model's evaluation and the files that tell of it; `steps` that the model was trained, `extremes` as of
    `write_extremes`, `measured_on` as of `describe_images`, `other_data` as of `name_other_data`."""

    checkpoint: str
    steps: int
    evaluation: Evaluation
    per_image: Path
    summary: Path
    picture: Path | None
    extremes: Sequence[Mapping[str, Any]] = ()
    measured_on: Mapping[str, Any] = field(default_factory=dict)
    other_data: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON: `metrics` by name with `value`, and `low` and `high` of their 95 % intervals, null for too few
        images; `other_data` is null for the data that the model was trained on."""
        found = self.evaluation
        metrics = {
            name: {"value": value, "low": low, "high": high} for name, (value, (low, high)) in means_of(found).items()
        }
        told: dict[str, Any] = {
            "checkpoint": self.checkpoint,
            "steps": self.steps,
            "split": found.split,
            "other_data": self.other_data or None,
            "measured_on": dict(self.measured_on),
            "images": len({row.name for row in found.scored}),
            "metrics": metrics,
            "distances": found.sets,
            "set_counts": found.set_counts,
            "notes": list(found.notes),
            "per_image": str(self.per_image),
            "picture": None if self.picture is None else str(self.picture),
            "extremes": list(self.extremes),
        }
        if isinstance(found, DomainEvaluation):
            return told | {"domains": found.table, "mean": found.mean, "judgement": found.judgement}
        return told | {"input_unchanged": found.identity}


def evaluate_model(
    checkpoint: Path,
    engine: TorchEngine,
    settings: Mapping[str, Any],
    split: str | None,
    *,
    classifier_steps: int,
    options: Options,
    bar: Bar,
    trained: Mapping[str, Any] | None = None,
    judges: Path | None = None,
) -> Report:
    """Measure a model on what its data has, and write the files that tell of it into the checkpoint's folder.

    Those of other data than the `trained` settings have (None: than these) get names of their own. A classifier of
    domains is kept there too, or in the folder `judges`.

    Raises:
        UserError: the data is not what the model can be measured on.
    """
    kind = choose_kind(engine, settings)
    folder = checkpoint if checkpoint.is_dir() else checkpoint.with_name(f"{checkpoint.stem}_evaluation")
    folder.mkdir(exist_ok=True)
    evaluation: Evaluation
    if kind is Labeled:
        evaluation = evaluate_domains(
            engine, settings, judges or folder, split, classifier_steps=classifier_steps, options=options, bar=bar
        )
    else:
        measure = evaluate_pairs if kind is Pair else evaluate_unpaired
        evaluation = measure(engine, settings, split, options=options, bar=bar)
    back = engine.is_reversed * ("_BtoA" if settings["data"].get("direction", "AtoB") == "AtoB" else "_AtoB")
    other = name_other_data(trained or settings, settings)
    name = f"evaluation_{evaluation.split}{back}{'_' * bool(other)}{other}"
    measured_on = describe_images(settings, evaluation.split, is_reversed=engine.is_reversed)
    return write_report(
        checkpoint, engine.model.steps, evaluation, folder, name, measured_on=measured_on, other_data=other
    )


def describe_images(settings: Mapping[str, Any], split: str, *, is_reversed: bool) -> dict[str, Any]:
    """What images of one name have to share to be the same: data, split, size, and the direction they are translated
    in."""
    data = settings["data"]
    told = {name: value for name, value in describe_data(settings).items() if name.removeprefix("data.") not in UNSEEN}
    is_forth = (data.get("direction", "AtoB") == "AtoB") != is_reversed
    direction = "AtoB" if is_forth else "BtoA"
    return told | {"split": split, "direction": direction}


def describe_data(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting of data that changes what is measured, and the size of its images."""
    data = settings["data"]
    told = {f"data.{name}": value for name, value in data.items() if name not in UNSEEN - CHOOSING}
    if "root" in data:
        told["data.root"] = str(Path(str(data["root"])).expanduser().resolve())
    return told | {"image_size": settings["image_size"]}


def name_other_data(trained: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """What names the data of `settings` if those that a model was `trained` with have other data: its folder, or the
    settings that differ, and a hash of them all. Empty where they are the same. Drawn letters are the same anywhere."""
    known, told = describe_data(trained), describe_data(settings)
    differs = [name for name in told if name == "data._target_" or name in known]
    differs = [name for name in differs if told[name] != known.get(name)]
    if "GlyphData" in str(told.get("data._target_")):
        differs = [name for name in differs if name != "data.root"]
    if not differs:
        return ""
    is_elsewhere = "data.root" in told and {"data._target_", "data.root"} & set(differs)
    label = Path(told["data.root"]).name if is_elsewhere else "+".join(name.removeprefix("data.") for name in differs)
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9.+=-]', '_', label)[:40]}-{digest[:8]}"


def print_reports(reports: Sequence[Report], *, as_json: bool) -> None:
    """What was found of one model, or of several beside one another."""
    if as_json and len(reports) == 1:
        print(json.dumps(reports[0].as_dict()))
    elif as_json:
        difference = {
            name: {"value": value, "low": low, "high": high}
            for name, (value, (low, high)) in paired_difference(reports).items()
        }
        print(json.dumps({"models": [report.as_dict() for report in reports], "difference": difference}))
    elif len(reports) == 1:
        print_report(reports[0])
    else:
        print_comparison(reports)


def write_report(
    checkpoint: Path,
    steps: int,
    evaluation: Evaluation,
    folder: Path,
    name: str,
    *,
    measured_on: Mapping[str, Any],
    other_data: str,
) -> Report:
    """Write NAME.csv, a line per image; NAME.png, the best and the worst, also each alone in the folder NAME; and
    NAME.json, all that is said of them."""
    table, summary, picture = (folder / f"{name}.{suffix}" for suffix in ("csv", "json", "png"))
    evaluation.write_csv(table)
    assert evaluation.picture is not None
    extremes = write_extremes(picture, evaluation.scored, evaluation.picture)
    report = Report(
        checkpoint=str(checkpoint),
        steps=steps,
        evaluation=evaluation,
        per_image=table,
        summary=summary,
        picture=picture if extremes else None,
        extremes=extremes,
        measured_on=measured_on,
        other_data=other_data,
    )
    write_text(summary, json.dumps(report.as_dict(), indent=1) + "\n")
    return report


def means_of(evaluation: Evaluation) -> dict[str, tuple[float, Limits]]:
    """Every metric's mean and its 95 % interval over resampled images."""
    enough = enough_images(evaluation.scored)
    return {
        name: (value, interval(evaluation.resampled[name]) if name in enough else (None, None))
        for name, value in evaluation.mean.items()
        if name in evaluation.resampled
    }


def print_report(report: Report) -> None:
    """One model: its metrics, the distances of its images, and what was not measured."""
    evaluation = report.evaluation
    if isinstance(evaluation, DomainEvaluation):
        print_domains(evaluation)
    else:
        print_sides(evaluation)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for note in evaluation.notes:
        console.print(f"Not measured: {note}.")
    if report.other_data:
        told = ", ".join(f"{name}={value}" for name, value in report.measured_on.items() if value is not None)
        console.print(f"Measured on other data than the model was trained with: {told}.")
    console.print(f"per image: {report.per_image}")
    if report.picture is not None:
        console.print(f"best and worst: {report.picture}")


def print_sides(evaluation: PairEvaluation) -> None:
    """Mean metrics of pairs, or of images without pairs."""
    what = "pairs" if evaluation.has_answers else "images"
    title = f"{len(evaluation.rows)} {what} of the {evaluation.split} split"
    means = means_of(evaluation)
    if means:
        unchanged = evaluation.identity or {}
        table = Table("", MODEL, "95 % interval", UNCHANGED, title=title)
        for name, (value, (low, high)) in means.items():
            beside = f"{unchanged[name]:.4f}" if name in unchanged else "-"
            table.add_row(name, f"{value:.4f}", limits_text(low, high), beside)
        Console().print(table)
    if not means:
        Console(highlight=False).print(title)
    print_sets(evaluation.sets, set_title(evaluation.set_counts, of_domains=False), evaluation.set_counts)


def print_sets(sets: Mapping[str, Mapping[str, float]], title: str, counts: Mapping[str, object]) -> None:
    """Distances of sets of images, a row each, with what is known of their number; those with a standard error with
    their 95 % interval."""
    names = distance_names(sets)
    if not names:
        return
    table = Table("", *names, title=title)
    for name, row in sets.items():
        label = escape(set_label(name, counts))
        table.add_row(label, *(distance_text(row, key) if key in row else "-" for key in names))
    Console().print(table)
    for sentence in explain_distances(sets, counts):
        Console(highlight=False, soft_wrap=True, markup=False).print(sentence)


def print_domains(evaluation: DomainEvaluation) -> None:
    """A row per domain and their mean, and what judged them."""
    shares = ["recognized", "real"]
    metrics = [name for name in evaluation.mean if name not in shares]
    rows = [(escape(request), row) for request, row in evaluation.table.items()]
    table = Table("domain", "translations", "recognized", "real images recognized")
    table.title = f"translations of the {evaluation.split} split"
    for name, row in [*rows, ("mean", evaluation.mean)]:
        cells = [f"{row[share]:.1%}" if share in row else "-" for share in shares]
        table.add_row(name, f"{row['translations']:.0f}" if "translations" in row else "", *cells)
    Console().print(table)
    if metrics:
        unchanged = "; input: returned unchanged" * any(metric.startswith("input ") for metric in metrics)
        table = Table("domain", *metrics, title=f"means over the translations{unchanged}")
        for name, row in [*rows, ("mean", evaluation.mean)]:
            table.add_row(name, *(f"{row[metric]:.4f}" if metric in row else "-" for metric in metrics))
        Console().print(table)
    print_sets(evaluation.sets, set_title(evaluation.set_counts, of_domains=True), evaluation.set_counts)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for name, (value, (low, high)) in means_of(evaluation).items():
        console.print(f"mean {name}: {value:.4f}, 95 % interval: {limits_text(low, high)}")
    for sentence in evaluation.judgement:
        console.print(sentence)


def print_comparison(reports: Sequence[Report]) -> None:
    """Several models beside one another, and of two on the same images the difference."""
    console = Console(highlight=False, soft_wrap=True, markup=False)
    means = [means_of(report.evaluation) for report in reports]
    names = list(dict.fromkeys(name for row in means for name in row))
    if names:
        splits = " and ".join(dict.fromkeys(report.evaluation.split for report in reports))
        table = Table("", "checkpoint", "mean", "95 % interval", title=f"means on the {splits} split")
        for name in names:
            measured = [(report, row[name]) for report, row in zip(reports, means, strict=True) if name in row]
            for place, (report, (value, (low, high))) in enumerate(measured):
                limits = limits_text(low, high)
                table.add_row("" if place else name, escape(report.checkpoint), f"{value:.4f}", limits)
            table.add_section()
        Console().print(table)
    overall = {report.checkpoint: pooled(report.evaluation) for report in reports}
    counts = {report.checkpoint: report.evaluation.set_counts.get(MODEL) for report in reports}
    print_sets({name: row for name, row in overall.items() if row}, "distance from the real images", counts)
    difference = paired_difference(reports)
    if difference:
        console.print(f"{reports[1].checkpoint} minus {reports[0].checkpoint}, on the same images:")
        table = Table("", "difference", "95 % interval", "")
        for name, (value, (low, high)) in difference.items():
            table.add_row(name, f"{value:+.4f}", limits_text(low, high, sign="+"), better_one(name, low, high))
        Console().print(table)
    elif len(reports) == 2:
        apart = told_apart(*reports)
        why = f" ({', '.join(apart)} {'differs' if len(apart) == 1 else 'differ'})" if apart else ""
        console.print(f"No difference image by image: the two were not measured on the same images{why}.")
    for note in dict.fromkeys(note for report in reports for note in report.evaluation.notes):
        console.print(f"Not measured: {note}.")
    for report in reports:
        console.print(f"per image: {report.per_image}")
        if report.picture is not None:
            console.print(f"best and worst: {report.picture}")


def paired_difference(reports: Sequence[Report]) -> dict[str, tuple[float, Limits]]:
    """Of two models measured on the same images: by metric, the second's mean minus the first's, and its 95 % interval.

    Both means are of the same resamples, so that what makes an image hard for both cancels.
    """
    if len(reports) != 2:
        return {}
    one, other = (report.evaluation for report in reports)
    if told_apart(*reports) or [(row.name, row.group) for row in one.scored] != [
        (row.name, row.group) for row in other.scored
    ]:
        return {}
    enough = enough_images(one.scored)
    return {
        name: (
            other.mean[name] - one.mean[name],
            interval(other.resampled[name] - values) if name in enough else (None, None),
        )
        for name, values in one.resampled.items()
        if name in other.resampled and name in one.mean and name in other.mean
    }


def told_apart(one: Report, other: Report) -> list[str]:
    """What differs between the images that two models were measured on, beside their names."""
    names = dict.fromkeys([*one.measured_on, *other.measured_on])
    return [name for name in names if one.measured_on.get(name) != other.measured_on.get(name)]


def better_one(name: str, low: float | None, high: float | None) -> str:
    """Which of two models a difference speaks for."""
    if low is None or high is None:
        return "too few images to tell"
    if low <= 0 <= high:
        return "could be chance"
    return "the second is better" if (low > 0) == (name in BETTER_WHEN_HIGHER) else "the first is better"


def pooled(evaluation: Evaluation) -> Mapping[str, float]:
    """The distances of a model's images; of domains their mean, without an error."""
    if isinstance(evaluation, PairEvaluation):
        return evaluation.sets.get(MODEL, {})
    names = distance_names(evaluation.sets)
    return mean_of({name: row[name] for name in names if name in row} for row in evaluation.sets.values())
