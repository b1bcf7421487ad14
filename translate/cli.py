"""The command line: one table from command to function. Heavy imports happen inside the functions."""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer
from rich.console import Console
from rich.table import Table

from translate.errors import DivergenceError, UserError
from translate.printing import (
    conversion_progress,
    print_conversion,
    print_dry_run,
    print_estimate,
    print_inspection,
    print_learning,
    print_settings,
    print_warnings,
    printable,
    progress_bar,
)

if TYPE_CHECKING:
    from signal import Signals

    from translate.config import Composed
    from translate.conversion.torch_engine import TorchEngine
    from translate.evaluation.measures import Options
    from translate.evaluation.report import Report as EvaluationReport
    from translate.evaluation.split import Bar

app = typer.Typer(
    name="translate",
    help="Image-to-image translation: train on folders of images, convert whole folders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
PASS_ON = {"ignore_unknown_options": True, "help_option_names": []}
Words = Annotated[Optional[list[str]], typer.Argument(metavar="KEY=VALUE ...", help="settings", show_default=False)]
ConfigDir = Annotated[
    Optional[Path], typer.Option("--config-dir", help="a folder of your own yaml files, searched beside conf/")
]
Help = Annotated[bool, typer.Option("--help", "-h", help="explain every setting and exit")]
Multirun = Annotated[bool, typer.Option("--multirun", "-m", help="train with every combination of words' values")]
Measured = Annotated[
    Optional[str], typer.Option("--evaluate", metavar="SPLIT", help="with -m: measure every run on that split too")
]
SWEEPING = (
    "-m, --multirun trains with every combination of the values given (objective=lsgan,hinge seed=1,2,3), each run in "
    "a folder of its own in output=FOLDER, and compares them in FOLDER/sweep.csv and FOLDER/sweep.png; --evaluate "
    "SPLIT measures each of them as translate evaluate does; "
)
FROM = ("from", "", "the run, model folder or file of another project's weights to go on from")
GROUPS = {
    "methods": "method",
    "generators": "generator",
    "discriminators": "discriminator",
    "objectives": "objective",
    "penalties": "gradient_penalty",
    "augmentations": "discriminator_augmentation",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "data": "data",
    "recipes": "recipe",
}


@app.command(context_settings=PASS_ON, add_help_option=False)
def train(
    words: Words = None,
    multirun: Multirun = False,
    split: Measured = None,
    config_dir: ConfigDir = None,
    help: Help = False,
) -> None:
    """Train, or continue an interrupted run: the same command goes on where it stopped."""
    words = words or []
    if help:
        print_settings("translate train [-m] data.root=FOLDER [KEY=VALUE ...]", words, config_dir, options=SWEEPING)
        return
    from translate.config import compose_settings

    for word in words:
        if word.startswith("from="):
            raise UserError(f"{word}: to go on from a trained model is translate finetune {word} ...")
    train_as_told(compose_settings, words, config_dir, multirun=multirun, split=split)


def train_as_told(
    compose: "Callable[[list[str], Path | None], Composed]",
    words: list[str],
    config_dir: Path | None,
    *,
    multirun: bool,
    split: str | None,
) -> None:
    """One run, or with `multirun` every combination; `compose` makes a configuration of words."""
    if multirun:
        run_sweep(compose, words, config_dir, split)
        return
    if split is not None:
        raise UserError(f"--evaluate {split} goes with -m; of one run afterwards: translate evaluate RUN")
    run_training(compose(words, config_dir))


def run_sweep(
    compose: "Callable[[list[str], Path | None], Composed]",
    words: list[str],
    config_dir: Path | None,
    split: str | None,
) -> None:
    """Make a sweep, and say what is to be done after it; a signal at any time ends it."""
    from translate.signals import leave_on_signal

    stopped_by, has_failed = None, False
    with leave_on_signal() as stop:
        stopped_by, has_failed = make_sweep(compose, words, config_dir, split)
    stopped_by = stopped_by or stop.signal
    if stopped_by is not None:
        print("Stopped before the end. The same command continues.")
        raise typer.Exit(128 + stopped_by)
    if has_failed:
        print("The same command tries again what failed.")
        raise typer.Exit(1)


def make_sweep(
    compose: "Callable[[list[str], Path | None], Composed]",
    words: list[str],
    config_dir: Path | None,
    split: str | None,
) -> "tuple[Signals | None, bool]":
    """Train with every combination of the values in `words`, measure each on `split` if asked, and compare them.

    Returns the signal that stopped it, if one did, and whether a run failed.
    """
    from translate.config import combine, quoted
    from translate.errors import check_choice
    from translate.evaluation.report import pooled
    from translate.sweeps.plan import Planned, plan, refusals
    from translate.sweeps.report import how_many, print_sweep, tell_others
    from translate.sweeps.run import make_runs
    from translate.sweeps.table import FAILED, read_table

    if split is not None:
        check_choice("--evaluate", split, ("test", "validation", "train"))
    console = Console(highlight=False, markup=False)

    def say(message: str) -> None:
        console.print(message, soft_wrap=True)

    def measure(run: Planned) -> dict[str, float]:
        settings = run.composed.settings
        told = [f"data.root={quoted(root)}" for key, root in settings.data.items() if key == "root"]
        report = measure_model(
            Path(settings.output),
            told,
            split=split,
            accelerator=settings.accelerator,
            config_dir=config_dir,
            judges=folder,  # one for all runs
        )
        return report.evaluation.mean | dict(pooled(report.evaluation))

    folder, planned = plan(combine(words, config_dir), lambda words: compose(words, config_dir))
    say(f"A sweep of {len(planned)} runs in {folder}")
    progress = progress_bar("reading images")
    refused = refusals(planned, progress)
    stopped_by = make_runs(folder, planned, refused, split=split, measure=measure, say=say, progress=progress)
    rows = read_table(folder)
    print_sweep(console, folder, rows, split)
    say(f"{how_many(rows)}.")
    names = {run.name for run in planned}
    options = [*(["--evaluate", split] if split else []), *(["--config-dir", str(config_dir)] if config_dir else [])]
    for line in tell_others(rows, names, folder, options):
        say(line)
    return stopped_by, any(row.outcome.startswith(FAILED) for row in rows if row.name in names)


def run_training(composed: "Composed") -> None:
    """Train as configured, and say how it ended."""
    from translate.run import run

    outcome = run(composed, data_progress=progress_bar("reading images"))
    console = Console(highlight=False, soft_wrap=True, markup=False)
    if outcome.stopped_by is not None:
        saved = f", saved in {outcome.folder}. The same command continues."
        console.print(
            f"Stopped after step {outcome.steps} of {outcome.total_steps}"
            f"{saved if outcome.steps else ': nothing is lost, the same command begins again.'}"
        )
        raise typer.Exit(128 + outcome.stopped_by)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        from translate.model import read_domains
        from translate.model_folder import BEST, LATEST
        from translate.report.write import FILE as REPORT
        from translate.training.log import best_measurement
        from translate.training.validation import more_steps

        folder, best = outcome.folder, best_measurement(outcome.folder)
        to = " --to all" if read_domains(folder / LATEST) else ""
        settings = composed.settings
        longer = more_steps(outcome.steps, settings.steps, settings.validation.patience)
        console.print(f"Finished: {outcome.steps} steps in {folder}.")
        if best is not None:
            metrics = ", ".join(f"{name} {value:.4g}" for name, value in best["metrics"].items())
            console.print(
                f"The best model, of step {best['step']} (validation: {metrics}), is in {folder / BEST}, the last in "
                f"{folder / LATEST}."
            )
        console.print(
            f"Convert a folder with{' the best' * (best is not None)}\n"
            f"  translate convert {shlex.quote(str(folder))} INPUT OUTPUT{to}\n"
            f"or train on with more steps: {' '.join(longer)}\n"
            f"How it went: {folder / REPORT}"
        )


@app.command(context_settings=PASS_ON, add_help_option=False)
def finetune(
    words: Words = None,
    multirun: Multirun = False,
    split: Measured = None,
    config_dir: ConfigDir = None,
    help: Help = False,
) -> None:
    """Go on from a trained model with other images: from=CHECKPOINT data.root=FOLDER, and the settings of train."""
    words = words or []
    if help:
        usage = "translate finetune [-m] from=CHECKPOINT data.root=FOLDER [KEY=VALUE ...]"
        print_settings(usage, words, config_dir, first=[FROM], options=SWEEPING)
        return
    train_as_told(compose_finetuning, words, config_dir, multirun=multirun, split=split)


@app.command(context_settings=PASS_ON, add_help_option=False)
def check(
    words: Words = None,
    no_estimate: Annotated[
        bool, typer.Option("--no-estimate", help="do not try a few training steps to tell time and memory")
    ] = False,
    config_dir: ConfigDir = None,
    help: Help = False,
) -> None:
    """Look at a data set before training: what train would read, what is wrong with it, how long it would take.

    Warnings do not change the exit code, which is 2 when something is wrong.
    """
    words = words or []
    if help:
        print_settings("translate check data.root=FOLDER [--no-estimate] [KEY=VALUE ...]", words, config_dir)
        return
    from translate.config import compose_settings

    is_finetuning = any(word.startswith("from=") for word in words)
    composed = (compose_finetuning if is_finetuning else compose_settings)(words, config_dir)
    from translate.data.preview import write_preview
    from translate.training.finetune import find_origin, preview_learning
    from translate.training.prepare import check_networks, check_settings, look_at_data

    check_settings(composed.settings)
    origin = find_origin(composed.settings, composed.allowed)
    data, inspection = look_at_data(composed.settings, composed.allowed, progress_bar("reading images"), advise=True)
    print_inspection(inspection)
    inspection.raise_problems(most=len(inspection.problems))
    if origin is not None:
        data.know(origin.model.domains)
    check_networks(composed.settings, data, composed.allowed)
    if origin is not None:
        print_learning(*preview_learning(composed.settings, data, origin, composed.allowed))
    picture = Path(composed.settings.output) / "check.png"
    write_preview(picture, data, composed.settings.image_size, seed=composed.settings.seed)
    print_warnings(inspection)
    typer.echo(f"No problems. What the network would see, after augmentation: {picture}")
    if not no_estimate:
        print_estimate(composed.settings, data, composed.allowed)


@app.command()
def convert(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="a run folder, a model folder, an exported .onnx file, or another project's weights (.pth, .ckpt)"
        ),
    ],
    input: Annotated[Path, typer.Argument(help="an image, a video, or a folder of them, searched to its depth")],
    output: Annotated[Path, typer.Argument(help="where results go, in the same tree; a file for one input, if wanted")],
    to: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="DOMAIN", help="domain to translate into, '+smiling -young' for attributes, or all; repeatable"
        ),
    ] = None,
    direction: Annotated[
        Optional[str], typer.Option(help="AtoB or BtoA, for a model that translates both ways; default: as trained")
    ] = None,
    samples: Annotated[
        Optional[int],
        typer.Option(
            help="translations of each image, for a model trained with generator.latent: each with a random code, the "
            "same for every image; several get a folder each",
            min=1,
        ),
    ] = None,
    seed: Annotated[Optional[int], typer.Option(help="of the codes of --samples; default: 0", min=0)] = None,
    format: Annotated[str, typer.Option(help="keep (the input's), png, jpeg, webp or tiff")] = "keep",
    batch_size: Annotated[
        Optional[int],
        typer.Option(help="images of one size run together; default: 1 on the CPU, 8 on a GPU", min=1),
    ] = None,
    resize: Annotated[
        str, typer.Option(help="native: at the image's own size; training: scaled as in training, and back")
    ] = "native",
    tile: Annotated[
        str,
        typer.Option(
            metavar="auto|PIXELS|off",
            help="translate in tiles: where memory does not suffice for the whole image; where it is larger than so "
            "many pixels, in tiles of that size; never",
        ),
    ] = "auto",
    tile_statistics: Annotated[
        Optional[str],
        typer.Option(
            help="what normalisation uses in tiles. exact: measured over the whole image, as without tiles; sampled: "
            "estimated from a sample, for images of very many tiles; default: exact up to 64 tiles, and "
            "always for networks with attention"
        ),
    ] = None,
    backend: Annotated[
        Optional[str],
        typer.Option(
            help="torch, onnxruntime or openvino (extras); default: torch; for an .onnx file openvino if installed"
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="convert everything again, over whatever is in OUTPUT")
    ] = False,
    shard: Annotated[
        Optional[str],
        typer.Option(
            metavar="I/N",
            help="convert part I of N alone (1/N to N/N), for job arrays with one OUTPUT; an input's part depends on "
            "its name alone",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be converted and why, and convert nothing")
    ] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="also write comparison.png: the first 12 images beside their results")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="print a summary in JSON to the standard output, and nothing else there")
    ] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    config_dir: ConfigDir = None,
) -> None:
    """Convert an image, a video or a whole folder with a trained model; the same command goes on where it stopped.

    Exit code 0: all converted; 1: some inputs failed, see OUTPUT/failures.jsonl; 2: wrong usage, or OUTPUT cannot be
    written.
    """
    from translate.conversion.folder import convert_folder, prepare
    from translate.conversion.plan import Shard
    from translate.conversion.translator import load_translator
    from translate.errors import check_choice

    check_choice("--resize", resize, ("native", "training"))
    if tile_statistics is not None:
        check_choice("--tile-statistics", tile_statistics, ("exact", "sampled"))
    if backend is not None:
        check_choice("--backend", backend, ("torch", "onnxruntime", "openvino"))
    if not input.exists():  # loading the model takes seconds
        raise UserError(f"INPUT {input} does not exist: give an image, a video or a folder of them")
    if tile not in ("auto", "off") and not tile.isdecimal():
        raise UserError(f"--tile {tile} is not auto, off, or a number of pixels")
    if seed is not None and samples is None:
        raise UserError(f"--seed {seed} chooses the codes of samples: give --samples too")
    options: dict[str, Any] = {"to": to or [], "format": format, "overwrite": overwrite, "shard": Shard.parse(shard)}
    options |= {"samples": samples, "seed": seed or 0}
    translator = load_translator(
        checkpoint,
        accelerator=accelerator,
        resize=resize,  # type: ignore[arg-type]
        direction=direction,  # type: ignore[arg-type]
        tile=int(tile) if tile.isdecimal() else tile,  # type: ignore[arg-type]
        tile_statistics=tile_statistics,  # type: ignore[arg-type]
        backend=backend,  # type: ignore[arg-type]
        trusted=trust(config_dir),
    )
    if dry_run:
        print_dry_run(prepare(translator, input, output, **options), as_json=json)
        return
    from translate.signals import stop_on_signal

    with stop_on_signal() as request, conversion_progress(plain=not json) as progress:
        report = convert_folder(
            translator,
            input,
            output,
            batch_size=batch_size,
            compare=compare,
            progress=progress,
            stop=lambda: bool(request),
            **options,
        )
    print_conversion(report, output, as_json=json)
    if report.stopped and request.signal is not None:
        raise typer.Exit(128 + request.signal)
    if report.failed:
        raise typer.Exit(1)


@app.command(context_settings={"ignore_unknown_options": True})
def evaluate(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="a run folder, a model folder, or another project's weights (.pth, .ckpt); several are compared, also "
            "as from=[A,B]"
        ),
    ],
    words: Words = None,
    split: Annotated[
        Optional[str], typer.Option(help="test, validation or train; default: test, else validation")
    ] = None,
    direction: Annotated[
        Optional[str], typer.Option(help="AtoB or BtoA, for a model that translates both ways; default: as trained")
    ] = None,
    classifier_steps: Annotated[
        int, typer.Option(help="most steps of training the classifier that judges domains", min=1)
    ] = 1000,
    palette: Annotated[
        Optional[str],
        typer.Option(
            metavar="FILE|N",
            help="the colours of label maps: a text file with one per line, or the N commonest of the training images; "
            "default: all colours of sides that data.labels names, if they are few",
        ),
    ] = None,
    weights: Annotated[
        Optional[Path],
        typer.Option(help="folder of the weights for lpips, fid and kid; default: where torch keeps downloads"),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="print the results in JSON to the standard output, and nothing else there")
    ] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    config_dir: ConfigDir = None,
) -> None:
    """Measure models: beside true answers, by distances between sets of images, by a classifier of domains.

    Several models are compared. Tables of every image, and pictures of the best and the worst, go to each checkpoint.
    """
    from translate.evaluation.measures import Options
    from translate.evaluation.report import print_reports
    from translate.evaluation.split import no_bar

    checkpoints, settings_words = split_checkpoints([checkpoint, *(words or [])])
    reports = [
        measure_model(
            path,
            settings_words,
            split=split,
            direction=direction,
            classifier_steps=classifier_steps,
            accelerator=accelerator,
            config_dir=config_dir,
            options=Options(weights=weights, palette=palette),
            bar=no_bar if json else progress_bar,
        )
        for path in checkpoints
    ]
    print_reports(reports, as_json=json)


def measure_model(
    checkpoint: Path,
    words: list[str],
    *,
    split: str | None,
    direction: str | None = None,
    classifier_steps: int | None = None,
    accelerator: str,
    config_dir: Path | None,
    options: "Options | None" = None,
    bar: "Bar | None" = None,
    judges: Path | None = None,
) -> "EvaluationReport":
    """What a model is worth; its classifier of domains is kept in `judges`, or beside it."""
    from translate.conversion.torch_engine import load_torch_engine
    from translate.evaluation.classifier import MAX_STEPS
    from translate.evaluation.measures import Options
    from translate.evaluation.report import evaluate_model
    from translate.report.write import refresh_report

    engine = load_torch_engine(
        checkpoint,
        accelerator=accelerator,
        direction=direction,  # type: ignore[arg-type]
        trusted=trust(config_dir),
    )
    trained = engine.model.settings
    settings = evaluation_settings(engine, checkpoint, words, config_dir)
    engine.use_settings(settings)
    report = evaluate_model(
        checkpoint,
        engine,
        settings,
        split,
        classifier_steps=classifier_steps or settings.get("validation", {}).get("classifier_steps") or MAX_STEPS,
        options=options or Options(),
        bar=bar or progress_bar,
        trained=trained,
        judges=judges,
    )
    refresh_report(checkpoint)
    return report


@app.command("report")
def write_report_page(
    run: Annotated[Path, typer.Argument(help="a run folder, whether its run has ended or not")],
    open: Annotated[bool, typer.Option("--open", help="show it in the browser")] = False,
) -> None:
    """Write RUN/report.html again: settings, curves, samples, best and worst images, and how to go on, in one file.

    Trainings write it as they end, and evaluate adds what it found.
    """
    from translate.report.write import write_report

    page = write_report(run)
    typer.echo(printable(str(page)))
    if open:
        typer.launch(str(page))


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(help="weights of a generator (.pth, .pt, .ckpt, .safetensors): A to B, or StarGAN's")
    ],
    output: Annotated[Path, typer.Option("--output", metavar="MODEL", help="the model folder to write")],
    back: Annotated[
        Optional[Path], typer.Option(help="the generator from B to A, which makes the model a CycleGAN")
    ] = None,
    domains: Annotated[
        Optional[str], typer.Option(metavar="A,B,...", help="names of StarGAN's domains; default: domain_1, ...")
    ] = None,
    attributes: Annotated[
        bool, typer.Option("--attributes", help="the domains are attributes, of which an image has any number")
    ] = False,
    discriminator: Annotated[
        Optional[Path],
        typer.Option(help="StarGAN's discriminator, which recognises attributes; default: the -D file beside"),
    ] = None,
    image_size: Annotated[
        Optional[int], typer.Option(help="pixels per side in training; default: usual for the network", min=1)
    ] = None,
    dropout: Annotated[
        bool, typer.Option("--dropout", help="the network was trained with dropout, and translates with it")
    ] = False,
    image_channels: Annotated[
        Optional[int], typer.Option(help="channels of StarGAN's images; default: as many as it gives", min=1)
    ] = None,
    part: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="NAME", help="which of several networks in FILE is meant; once more for --back or --discriminator"
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="replace a model that is in MODEL already")] = False,
) -> None:
    """Make a model of another project's weights: of pix2pix, CycleGAN, StarGAN or CUT."""
    from translate.interop.checkpoint import import_reference
    from translate.model_folder import CONFIG, LATEST, WEIGHTS

    for found in (output / CONFIG, output / WEIGHTS, output / LATEST / CONFIG):
        if found.exists() and not (overwrite and found.parent == output):
            remedy = "another folder" if found.parent != output else "another folder, or --overwrite to replace it"
            raise UserError(f"--output {output} holds a model already ({found}): give {remedy}")
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output} is a file: give the folder to write the model into")
    part = part or []
    other = back or discriminator
    if len(part) > (1 if other is None else 2):
        raise UserError(
            f"--part {part[-1]}: there is no file left for it; it is given once for each file, in their order"
        )
    imported = import_reference(
        file,
        back=back,
        discriminator=discriminator,
        domains=None if domains is None else domains.split(","),
        attributes=attributes,
        image_size=image_size,
        dropout=dropout,
        image_channels=image_channels,
        part=part[0] if part else None,
        other_part=part[1] if len(part) > 1 else None,
    )
    from translate import __version__
    from translate.config import complete_settings
    from translate.model import write_model

    model = imported.model
    write_model(
        output,
        imported.tensors,
        settings=complete_settings(model.settings),
        source=model.source,
        target=model.target,
        domains=model.domains,
        steps=model.steps,
        version=__version__,
        lineage=model.lineage,
    )
    console = Console(highlight=False, soft_wrap=True, markup=False)
    for line in imported.report:
        console.print(printable(line))
    to = " --to all" if model.domains else ""
    console.print(
        printable(f"{output}: convert a folder with\n  translate convert {shlex.quote(str(output))} INPUT OUTPUT{to}")
    )


@app.command()
def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="a run folder, a model folder, or another project's weights (.pth, .ckpt)")
    ],
    output: Annotated[Path, typer.Option("--output", help="the file to write, such as model.onnx or latest_net_G.pth")],
    format: Annotated[
        str, typer.Option(help="onnx; or reference: weights by the names that pix2pix, CycleGAN and StarGAN load")
    ] = "onnx",
    direction: Annotated[
        Optional[str], typer.Option(help="AtoB or BtoA, for a model that translates both ways; default: as trained")
    ] = None,
    config_dir: ConfigDir = None,
) -> None:
    """Write a model for other programs: as one ONNX file, compared with the original before it is called done, or as
    weights that the reference implementations load."""
    from translate.errors import check_choice

    check_choice("--format", format, ("onnx", "reference"))
    if format == "reference":
        from translate.conversion.torch_engine import load_torch_engine
        from translate.interop.reference_export import export_reference

        engine = load_torch_engine(
            checkpoint,
            accelerator="cpu",
            direction=direction,  # type: ignore[arg-type]
            trusted=trust(config_dir),
        )
        loads = export_reference(engine.model, output, back=engine.is_reversed)
        typer.echo(printable(f"{output}: {loads}"))
        return
    from translate.conversion.onnx_export import export_onnx
    from translate.opening import open_model

    model = open_model(checkpoint, trusted=trust(config_dir))
    found = export_onnx(model, output, direction=direction)  # type: ignore[arg-type]
    sizes = ", ".join(f"{batch} of {width}x{height}" for batch, height, width in found.sizes)
    Console(highlight=False, soft_wrap=True, markup=False).print(
        f"{output}: differs from the original by at most {found.difference:.1e}, where pixels are in [-1, 1] "
        f"(tried on {sizes}). Convert with it:\n  translate convert {shlex.quote(str(output))} INPUT OUTPUT"
    )


@app.command("list")
def list_choices(
    what: Annotated[Optional[str], typer.Argument(help=f"{', '.join(GROUPS)}; or a run or model folder")] = None,
) -> None:
    """Name what can be chosen: methods, generators, discriminators, objectives, data, recipes, ...

    Of a run or model it says what it is, and what it was made from.
    """
    from translate.config import describe_group

    if what is not None and what not in GROUPS:
        if not Path(what).exists():
            raise UserError(f"{what!r} is not one of {', '.join(GROUPS)}, and no run or model folder either")
        from translate.listing import model_table

        Console(markup=False).print(model_table(Path(what)))
        return
    if what == "objectives":
        from translate.listing import divergence_table, objective_table

        Console().print(objective_table(), divergence_table())
        return
    for title in [what] if what else GROUPS:
        table = Table("name", "what it is", title=f"{GROUPS[title]}=NAME", title_justify="left", expand=True)
        for name, text in describe_group(GROUPS[title]):
            table.add_row(name, text)
        Console().print(table)


def main() -> None:
    """Run the command line; errors meant for the user are printed without a traceback."""
    import errno

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what a terminal cannot show is escaped
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except UserError as error:
        fail(str(error), 2)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        fail(f"{error.filename or 'the output'}: {error.strerror}. What was saved before is untouched", 2)
    except DivergenceError as error:
        fail(str(error), 1)


def compose_finetuning(words: list[str], config_dir: Path | None) -> "Composed":
    """The configuration of `translate finetune`.

    Raises:
        UserError: from= is missing, or the first thing that is wrong.
    """
    from translate.config import complete_settings, continued_outputs, finetune_settings
    from translate.model import read_settings
    from translate.model_folder import find_model, is_reference
    from translate.opening import open_model
    from translate.training.run_folder import began_with

    given = [word.partition("=")[2] for word in words if word.startswith("from=")]
    if not given or not given[-1]:
        raise UserError(
            "from= is missing: give the run, model folder or file of weights to go on from, from=CHECKPOINT"
            + guess_checkpoint(words)
        )
    if "://" in given[-1]:
        raise UserError(f"from={given[-1]} is an address: download it first, and give the file or folder")
    checkpoint = Path(given[-1]).expanduser().absolute()
    others = [word for word in words if not word.startswith("from=")]
    known = checkpoint
    if not checkpoint.exists():  # a run that began with it goes on without it
        known = next((run for run in continued_outputs(others) if began_with(run, checkpoint)), checkpoint)
    if is_reference(known):
        settings = complete_settings(open_model(known).settings)
    else:
        settings = read_settings(find_model(known))
    return finetune_settings(settings, others, config_dir, checkpoint=checkpoint)


def guess_checkpoint(words: list[str]) -> str:
    """What was probably meant as from=, in brackets; nothing if no word looks like it."""
    import difflib

    for word, following in zip(words, [*words[1:], ""], strict=True):
        key, is_setting, value = word.lstrip("-").partition("=")
        if difflib.get_close_matches(key, ["from", "checkpoint", "finetune.checkpoint"], cutoff=0.7):
            return f" (did you mean from={value if is_setting else following}?)"
        if not is_setting and Path(word).exists():
            return f" (did you mean from={word}?)"
    return ""


def trust(config_dir: Path | None) -> tuple[str, ...]:
    """The components of the user's own that a model may name because the user gave their folder."""
    if config_dir is None:
        return ()
    from translate.build import own_targets

    return own_targets(config_dir)


def fail(message: str, code: int) -> None:
    """Print `message` to the standard error and exit."""
    Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(f"error: {message}", style="red")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        os._exit(code)  # else this process would wait for the others, and they for it
    sys.exit(code)


def split_checkpoints(words: list[str]) -> tuple[list[Path], list[str]]:
    """The checkpoints among the words of `translate evaluate`, from=[A,B] or on their own, and the settings.

    A word with = is a setting, unless it stands first or is a folder or file, such as runs/lr=0.1.

    Raises:
        UserError: from= names nothing.
    """
    checkpoints: list[str] = []
    settings = []
    for place, word in enumerate(words):
        if word.startswith("from="):
            named = [name.strip() for name in word.removeprefix("from=").strip("[]").split(",")]
            if not all(named):
                raise UserError(f"{word} names no checkpoint: from=[runs/one,runs/other]")
            checkpoints += named
        elif place == 0 or "=" not in word or (Path(word).exists() and not word.startswith("data")):
            checkpoints.append(word)
        else:
            settings.append(word)
    return [Path(name) for name in dict.fromkeys(checkpoints)], settings


def evaluation_settings(
    engine: "TorchEngine", checkpoint: Path, words: list[str], config_dir: Path | None
) -> dict[str, Any]:
    """The settings of a trained model with `words`, among which `data=NAME` puts another data set in place.

    Letters are drawn into `checkpoint`, wherever its run once drew them.

    Raises:
        UserError: a key or value that does not fit, or a direction that is not the trained one.
    """
    from translate.config import complete_settings, compose_settings, override_tree
    from translate.evaluation.split import MAY_CHANGE
    from translate.model_folder import is_reference

    settings = complete_settings(engine.model.settings) if is_reference(checkpoint) else engine.model.settings
    trained = settings["data"].get("direction")
    if any(word.startswith("data=") for word in words):
        given = [word for word in words if word.startswith(("data=", "data."))]
        sizes = [f"image_size={settings['image_size']}", *(word for word in words if word.startswith("image_size="))]
        data = compose_settings([*given, *sizes], config_dir).tree["data"]
        if trained and "direction" in data and not any(word.startswith("data.direction=") for word in given):
            data["direction"] = trained
        settings = {**settings, "data": data}
        words = [word for word in words if word not in given]
    elif "GlyphData" in settings["data"]["_target_"]:
        settings = {**settings, "data": settings["data"] | {"root": str(checkpoint / "glyphs")}}
    tree = override_tree(settings, words, may_change=MAY_CHANGE).tree
    if engine.model.method.is_reversible and tree["data"].get("direction") != trained:
        raise UserError(
            f"data.direction={tree['data'].get('direction')}, but this model was trained {trained}: leave it out, and "
            "use --direction to choose the way to translate"
        )
    return tree
