"""The command line: one table from command to function. Heavy imports happen inside the functions."""

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from translate.errors import DivergenceError, UserError

if TYPE_CHECKING:
    from translate.conversion.folder import Report
    from translate.conversion.translator import Translator
    from translate.data.check import Inspection
    from translate.evaluation.domains import DomainEvaluation
    from translate.evaluation.pairs import PairEvaluation

Item = TypeVar("Item")
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
GROUPS = {
    "methods": "method",
    "generators": "generator",
    "discriminators": "discriminator",
    "objectives": "objective",
    "optimizers": "optimizer",
    "schedules": "schedule",
    "data": "data",
    "recipes": "recipe",
}


@app.command(context_settings=PASS_ON, add_help_option=False)
def train(words: Words = None, config_dir: ConfigDir = None, help: Help = False) -> None:
    """Train, or continue an interrupted run: the same command goes on where it stopped."""
    words = words or []
    if help:
        print_settings("translate train data.root=FOLDER [KEY=VALUE ...]", words, config_dir)
        return
    from translate.config import compose_settings

    composed = compose_settings(words, config_dir)
    from translate.training.run import train as run

    outcome = run(
        composed.settings, composed.tree, allowed=composed.allowed, data_progress=progress_bar("reading images")
    )
    console = Console(highlight=False, soft_wrap=True, markup=False)
    if outcome.stopped_by is not None:
        console.print(
            f"Stopped after step {outcome.steps} of {outcome.total_steps}, saved in {outcome.folder}. "
            "The same command continues."
        )
        raise typer.Exit(128 + outcome.stopped_by)
    if os.environ.get("LOCAL_RANK", "0") == "0":
        from translate.model import read_domains

        to = " --to all" if read_domains(outcome.folder / "model") else ""
        console.print(
            f"Finished: {outcome.steps} steps in {outcome.folder}. Convert a folder with\n"
            f"  translate convert {shlex.quote(str(outcome.folder))} INPUT OUTPUT{to}\n"
            f"or train on with more steps: steps={outcome.steps * 2}"
        )


@app.command(context_settings=PASS_ON, add_help_option=False)
def check(words: Words = None, config_dir: ConfigDir = None, help: Help = False) -> None:
    """Look at a data set before training: what train would read, and what is wrong with it."""
    words = words or []
    if help:
        print_settings("translate check data.root=FOLDER [KEY=VALUE ...]", words, config_dir)
        return
    from translate.config import compose_settings

    composed = compose_settings(words, config_dir)
    from translate.data.preview import write_preview
    from translate.training.run import check_networks, check_settings, look_at_data

    check_settings(composed.settings)
    data, inspection = look_at_data(composed.settings, composed.allowed, progress_bar("reading images"))
    print_inspection(inspection)
    inspection.raise_problems(most=len(inspection.problems))
    check_networks(composed.settings, data, composed.allowed)
    picture = Path(composed.settings.output) / "check.png"
    write_preview(picture, data, composed.settings.image_size, seed=composed.settings.seed)
    typer.echo(f"No problems. What the network would see, after augmentation: {picture}")


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="a run folder or a model folder")],
    input: Annotated[Path, typer.Argument(help="an image or a folder of images")],
    output: Annotated[Path, typer.Argument(help="where the converted images go, in the same tree")],
    to: Annotated[
        Optional[list[str]],
        typer.Option(
            metavar="DOMAIN", help="domain to translate into, '+smiling -young' for attributes, or all; repeatable"
        ),
    ] = None,
    direction: Annotated[
        Optional[str], typer.Option(help="AtoB or BtoA, for a model that translates both ways; default: as trained")
    ] = None,
    format: Annotated[str, typer.Option(help="keep, png, jpeg, webp or tiff")] = "keep",
    batch_size: Annotated[Optional[int], typer.Option(help="images of one size run together", min=1)] = None,
    resize: Annotated[
        str, typer.Option(help="native: at the image's own size; training: scaled as in training")
    ] = "native",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="convert again what is in OUTPUT already")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what would be converted, and convert nothing")
    ] = False,
    compare: Annotated[bool, typer.Option("--compare", help="also write comparison.png: input and output")] = False,
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    config_dir: ConfigDir = None,
) -> None:
    """Convert an image or a whole folder with a trained model."""
    from translate.conversion.folder import convert_folder, plan
    from translate.conversion.translator import load_translator

    if resize not in ("native", "training"):
        raise UserError(f"--resize {resize} is not one of native, training")
    trusted = trust(config_dir)
    translator = load_translator(
        checkpoint,
        accelerator=accelerator,
        resize=resize,  # type: ignore[arg-type]
        direction=direction,  # type: ignore[arg-type]
        trusted=trusted,
    )
    domains, channels = translator.requests(to or []), translator.target.channels
    tasks = plan(input, output, format=format, channels=channels, domains=domains)  # type: ignore[arg-type]
    if dry_run:
        waiting = [task for task in tasks if overwrite or not task.output.exists()]
        for task in waiting:
            typer.echo(f"{task.input} -> {task.output}")
        typer.echo(f"{len(waiting)} to convert, {len(tasks) - len(waiting)} in OUTPUT already")
        return
    with conversion_progress(len(tasks)) as progress:
        report = convert_folder(
            translator,
            input,
            output,
            to=domains,
            format=format,  # type: ignore[arg-type]
            batch_size=batch_size,
            overwrite=overwrite,
            compare=compare,
            progress=progress,
        )
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(
        f"{len(report.converted)} converted, {len(report.skipped)} skipped, {len(report.failures)} failed: {output}"
    )
    if report.skipped:
        console.print(
            "Skipped images were in OUTPUT already, whatever model, domain or direction made them; --overwrite "
            "converts them again."
        )
    if report.comparison:
        console.print(f"Before and after: {report.comparison}")
    for failed, reason in report.failures[:20]:
        console.print(f"  {failed}: {reason}")
    if report.failures:
        raise typer.Exit(1)


@app.command(context_settings={"ignore_unknown_options": True})
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="a run folder or a model folder")],
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
    accelerator: Annotated[str, typer.Option(help="auto, cpu, cuda or mps")] = "auto",
    config_dir: ConfigDir = None,
) -> None:
    """Measure a model: L1, PSNR, SSIM on pairs; for domains, whether a classifier sees what was asked for."""
    from translate.conversion.translator import load_translator
    from translate.evaluation.domains import evaluate_domains
    from translate.evaluation.pairs import evaluate_pairs

    translator = load_translator(
        checkpoint,
        accelerator=accelerator,
        direction=direction,  # type: ignore[arg-type]
        trusted=trust(config_dir),
    )
    settings = evaluation_settings(translator, checkpoint, words or [], config_dir)
    translator.use_settings(settings)
    if translator.model.domains is None:
        pairs = evaluate_pairs(translator, settings, split, bar=progress_bar)
        path = checkpoint / f"evaluation_{pairs.split}{f'_{direction}' * translator.is_reversed}.csv"
        pairs.write_csv(path)
        print_pairs(pairs)
    else:
        domains = evaluate_domains(
            translator, settings, checkpoint, split, classifier_steps=classifier_steps, bar=progress_bar
        )
        path = checkpoint / f"evaluation_{domains.split}.csv"
        domains.write_csv(path)
        print_domains(domains)
    typer.echo(f"per image: {path}")


@app.command("list")
def list_choices(what: Annotated[Optional[str], typer.Argument(help=", ".join(GROUPS))] = None) -> None:
    """Name what can be chosen: methods, generators, discriminators, objectives, data, recipes, ..."""
    from translate.config import describe_group

    if what is not None and what not in GROUPS:
        raise UserError(f"{what!r} is not one of {', '.join(GROUPS)}")
    for title in [what] if what else GROUPS:
        table = Table("name", "what it is", title=f"{GROUPS[title]}=NAME", title_justify="left", expand=True)
        for name, text in describe_group(GROUPS[title]):
            table.add_row(name, text)
        Console().print(table)


def main() -> None:
    """Run the command line; errors meant for the user are printed without a traceback."""
    import errno

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


def trust(config_dir: Path | None) -> tuple[str, ...]:
    """The components of the user's own that a model may name because the user gave their folder."""
    if config_dir is None:
        return ()
    from translate.config import own_targets

    return own_targets(config_dir)


def fail(message: str, code: int) -> None:
    """Print `message` to the standard error and exit."""
    Console(stderr=True, highlight=False, soft_wrap=True, markup=False).print(f"error: {message}", style="red")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        os._exit(code)  # else this process would wait for the others, and they for it
    sys.exit(code)


def print_settings(usage: str, words: list[str], config_dir: Path | None) -> None:
    """Every setting with its default and meaning, under the components that `words` choose."""
    from translate.config import choices, explain_settings, groups

    console = Console()
    console.print(f"Usage: {usage}", markup=False)
    table = Table("component", "choices", title="Components", title_justify="left", expand=True)
    for group in groups(config_dir):
        table.add_row(f"{group}=", ", ".join(choices(group, config_dir)))
    console.print(table)
    table = Table(title="Settings", title_justify="left", expand=True)
    table.add_column("setting", overflow="fold", width=34)
    table.add_column("default", overflow="fold", max_width=12)
    table.add_column("meaning", overflow="fold")
    for key, default, meaning in explain_settings(words, config_dir):
        table.add_row(key, default, meaning)
    console.print(table)
    console.print(
        "Options: --config-dir FOLDER of your own yaml files; --help. Give components before --help to see theirs."
    )


def print_inspection(inspection: "Inspection") -> None:
    """What was found in a data set."""
    table = Table("what", "found")
    for what, count in inspection.counts.items():
        table.add_row(what, str(count))
    for name, side in inspection.sides.items():
        if side is not None:
            kind = "label map, " if side.labels else ""
            table.add_row(
                f"side {name}" if len(inspection.sides) > 1 else name,
                f"{kind}{side.channels} channels, {side.dtype}, range {side.low:g} to {side.high:g}",
            )
    for (height, width), count in inspection.sizes.most_common(5):
        table.add_row("size", f"{width}x{height}: {count}")
    Console().print(table)


def evaluation_settings(
    translator: "Translator", checkpoint: Path, words: list[str], config_dir: Path | None
) -> dict[str, Any]:
    """The settings of a trained model with `words`, among which `data=NAME` puts another data set in place.

    Letters are drawn into `checkpoint`, wherever its run once drew them.

    Raises:
        UserError: a key or value that does not fit, or a direction that is not the trained one.
    """
    from translate.config import compose_settings, override_tree
    from translate.evaluation.split import MAY_CHANGE

    settings = translator.model.settings
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
    if translator.model.method.is_reversible and tree["data"].get("direction") != trained:
        raise UserError(
            f"data.direction={tree['data'].get('direction')}, but this model was trained {trained}: leave it out, and "
            "use --direction to choose the way to translate"
        )
    return tree


def print_pairs(evaluation: "PairEvaluation") -> None:
    """Mean metrics on pairs."""
    table = Table("", *evaluation.mean, title=f"{len(evaluation.rows)} pairs of the {evaluation.split} split")
    table.add_row("model", *(f"{value:.4f}" for value in evaluation.mean.values()))
    if evaluation.identity:
        table.add_row("input unchanged", *(f"{value:.4f}" for value in evaluation.identity.values()))
    Console().print(table)


def print_domains(evaluation: "DomainEvaluation") -> None:
    """A row per domain and their mean, and what judged them."""
    from rich.markup import escape

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
        table = Table("domain", *metrics, title="beside the true images; input: returned unchanged")
        for name, row in [*rows, ("mean", evaluation.mean)]:
            table.add_row(name, *(f"{row[metric]:.4f}" if metric in row else "-" for metric in metrics))
        Console().print(table)
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(
        f"Recognized by a ResNet-18 trained for {evaluation.classifier_steps} steps on the training images, which saw "
        "neither the model nor its translations."
    )
    if evaluation.mean.get("real", 1) < 0.9:
        console.print("It is often wrong on real images too, so that what it says of translations means little.")


def progress_bar(what: str) -> Callable[[Iterable[Item], int], Iterable[Item]]:
    """A wrapper around an iteration that shows how far it is, on a terminal."""

    def wrap(items: Iterable[Item], length: int) -> Iterable[Item]:
        from rich.progress import track

        return track(items, what, total=length, transient=True, disable=not sys.stdout.isatty())

    return wrap


@contextmanager
def conversion_progress(total: int) -> Iterator[Callable[["Report"], None]]:
    """A progress bar over a conversion, on a terminal."""
    from rich.progress import Progress

    with Progress(disable=not sys.stdout.isatty(), transient=True) as progress:
        task = progress.add_task("converting", total=total)

        def advance(report: Any) -> None:
            progress.update(task, completed=len(report.converted) + len(report.skipped) + len(report.failures))

        yield advance
