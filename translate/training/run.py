"""One training run: from settings to a finished run folder."""

import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from translate import __version__
from translate.build import LOCAL, build
from translate.data.check import Inspection
from translate.data.image import write_image
from translate.data.source import Progress
from translate.errors import DivergenceError, UserError
from translate.evaluation.classifier import recall_classifier
from translate.evaluation.split import no_bar
from translate.model import Lineage, read_domains, read_lineage, write_model
from translate.model_folder import BEST, LATEST
from translate.picture import tensor_grid
from translate.signals import leave_on_signal, stop_on_signal
from translate.training.average import WeightAverage
from translate.training.begin import Beginning
from translate.training.checkpoint import model_tensors, read_progress, restore_state, save_state
from translate.training.curves import draw_curves
from translate.training.devices import is_first_process, make_fabric, set_up
from translate.training.examination import RECOGNIZED
from translate.training.fabric import Fabric
from translate.training.finetune import find_origin, hold_back, take_over
from translate.training.history import environment, recorded
from translate.training.loading import cache_share, make_loader, sample_batch
from translate.training.log import RunLog, check_wandb
from translate.training.loop import Job, agreed, fit, require_finite
from translate.training.parts import learning_table
from translate.training.plateau import Plateau
from translate.training.prepare import (
    check_networks,
    check_settings,
    count_steps,
    look_at_data,
    make_method,
    method_type,
    what_learns,
)
from translate.training.run_folder import make_room, open_run, write_config
from translate.training.seed import seed_everything
from translate.training.settings import Settings
from translate.training.validation import open_validation, weights_options


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the steps done, and the signal that came meanwhile, if any."""

    folder: Path
    steps: int
    total_steps: int
    received: signal.Signals | None

    @property
    def stopped_by(self) -> signal.Signals | None:
        """The signal that stopped it; None when it ran to its end."""
        return self.received if self.steps < self.total_steps else None


def train(
    settings: Settings,
    tree: Mapping[str, Any],
    *,
    allowed: tuple[str, ...] = LOCAL,
    words: Sequence[str] | None = None,
    data_progress: Progress | None = None,
    judges: Path | None = None,
) -> Outcome:
    """Start or continue the run in `settings.output`; the same call on a finished run returns at once.

    `tree` is the same configuration as plain values, as it is saved in the run. `words` are what `translate` would be
    told to do the same; None is what it was told, if it is what runs. `data_progress` may show how far the inspection
    of the data is. A classifier that judges translations between domains is kept in the folder `judges` (default: that
    of the run).

    Raises:
        UserError: a setting, the data or the run folder does not allow it; everything there before is untouched.
        DivergenceError: a loss or weight became NaN or infinite; the last good model and state are kept.
    """
    check_settings(settings)
    folder = Path(settings.output)
    # All that can be refused is refused here, before other processes are launched and could wait for this one.
    earlier = open_run(folder, tree, resume=settings.resume)
    progress = read_progress(folder) if earlier else None
    length = settings.steps, settings.epochs
    if progress and progress.length == length and progress.step >= progress.total_steps:
        return Outcome(folder, progress.step, progress.total_steps, None)
    schedule = build(settings.schedule, allowed)
    schedule(0, 1)  # settings that it refuses are refused now
    if is_first_process():
        check_wandb(settings.wandb)
    origin = None if progress else find_origin(settings, allowed)
    data, inspection = look_at_data(settings, allowed, data_progress if is_first_process() else None)
    inspection.raise_problems()
    lineage: Lineage = ()
    if settings.finetune.checkpoint is not None:  # of a run that goes on, its own model knows what it began with
        data.know(origin.model.domains if origin else read_domains(folder / LATEST))
        lineage = origin.lineage if origin else read_lineage(folder / LATEST)
    check_networks(settings, data, allowed)
    validation = open_validation(data, settings, is_reversible=method_type(settings, allowed).is_reversible)
    fabric = make_fabric(settings)
    if validation is not None:
        validation.examination.set_up(settings.image_size, fabric.device, weights_options(settings))
    is_first = fabric.global_rank == 0
    continues = fabric.broadcast(progress is not None)

    seed_everything(settings.seed)
    method = make_method(settings, data, allowed)
    learning = what_learns(method, settings)
    items = data.items(
        "train", settings.image_size, seed=settings.seed, augment=True, cache_gib=cache_share(fabric, data)
    )
    total_steps = count_steps(settings, len(items), fabric.world_size)
    beginning = Beginning()
    if origin:
        beginning = take_over(method, origin, settings, data, learning, total_steps, allowed)
        parts = learning_table(method.networks, learning)
        beginning.lines += [f"  {part}: {how}" for part, _, how in parts if how != "learns"]
    networks = method.networks
    optimizers = set_up(fabric, method, networks, settings, learning, allowed)
    memories = method.memories
    if isinstance(schedule, Plateau):
        memories["schedule"] = schedule
    restraint = None
    if settings.finetune.checkpoint is not None:
        restraint = hold_back(method, networks, settings, learning, beginning).to(fabric.device)
        memories["restraint"] = restraint
    if validation is not None:
        memories["validation"] = validation
    average = None
    if settings.average_decay:
        average = WeightAverage({name: networks[name] for name in method.translators}, settings.average_decay)
    saved: dict[str, Any] = {
        "networks": networks,
        "optimizers": optimizers,
        "average": average,
        "memories": memories,
        "world_size": fabric.world_size,
        "fingerprint": data.fingerprint(),
    }
    step = restore_state(folder, **saved) if continues else 0
    if step >= total_steps:
        return Outcome(folder, step, total_steps, None)
    if validation is not None:
        validation.go_on()
    job = Job(
        fabric=fabric,
        method=method,
        networks=networks,
        optimizers=optimizers,
        average=average,
        restraint=restraint,
        validation=validation,
        loader=make_loader(fabric, data, items, settings, step, total_steps),
        sides=data.field_sides,
        sample=sample_batch(data, settings),
        schedule=schedule,
        settings=settings,
        epoch_size=len(items),
        step=step,
        total_steps=total_steps,
    )

    def write(name: str, step: int) -> None:
        require_finite(step, networks=networks)
        if is_first:
            write_model(
                folder / name,
                model_tensors(job.translators),
                settings=tree,
                source=data.source,
                target=data.target,
                domains=data.domains,
                steps=step,
                version=__version__,
                lineage=lineage,
            )

    def save(step: int) -> None:
        write(LATEST, step)  # first: whatever step the state names, its model has been written
        if is_first:
            is_over = validation is not None and validation.is_over
            end = step if is_over else total_steps
            save_state(folder, step=step, total_steps=end, length=length, **saved)
        fabric.barrier()

    def keep(step: int) -> None:
        write(BEST, step)

    moved = None
    if not continues:
        fabric.barrier()  # the others have read their samples, which may be letters drawn in the folder,
        moved = make_room(folder, resume=settings.resume) if is_first else None
        fabric.barrier()  # and read more when these are back
    if is_first:
        for leftover in folder.rglob(".*.partial-*"):  # of a process that was killed while it saved
            leftover.unlink(missing_ok=True)
        write_config(folder, tree)
        (folder / "samples").mkdir(exist_ok=True)
    with (
        RunLog(
            folder,
            step=step,
            total_steps=total_steps,
            wandb=settings.wandb,
            settings=tree,
            is_first=is_first,
            gives_verdict=settings.verdict,
            metric=None if validation is None else validation.metric,
        ) as log,
        stop_on_signal() as stop,
        recorded(
            folder,
            environment(fabric.device, fabric.world_size, words)
            | {"total_steps": total_steps, "images": inspection.counts, "parameters": count_parameters(networks)},
            step=lambda: job.step,
            stopped=lambda: stop.signal is not None and job.step < total_steps,
            verdict=lambda: log.verdict,
            is_first=is_first,
        ),
    ):
        if moved is not None:
            log.say(f"moved the run that was in {folder} to {moved}")
        log.say(describe(fabric, inspection, networks, step, total_steps, folder))
        for line in beginning.lines:
            log.say(line)

        def show(step: int, columns: Mapping[str, torch.Tensor]) -> None:
            if is_first:
                picture = tensor_grid(columns)
                write_image(folder / "samples" / f"step_{step:07d}.png", picture)
                log.picture("samples", picture, step)

        def tell(what: str) -> Callable[[Iterable[Any], int], Iterable[Any]]:
            log.say(f"{what} that judges translations, once")
            return no_bar(what)

        if validation is not None and RECOGNIZED in validation.examination.names:
            recall = partial(
                recall_classifier, judges or folder, data, tree, fabric.device, max_steps=validation.classifier_steps
            )
            with leave_on_signal():
                if is_first:
                    validation.examination.judge = recall(bar=tell)
            if agreed(fabric, 0, bool(stop)):  # the others wait here, and read what the first has saved
                log.conclude(step, "stopped")
                return Outcome(folder, step, total_steps, stop.signal)
            if not is_first:
                validation.examination.judge = recall()
        log.start_clock()
        try:
            steps = fit(job, log, stop, save=save, show=show, keep=keep)
            if validation is not None and validation.is_over:
                log.say(
                    f"Ended at step {steps}: {validation.metric} has not become better since step "
                    f"{int(validation.best_step)} (validation.patience={validation.patience})"
                )
            log.conclude(steps, "stopped" if steps < total_steps and stop.signal is not None else "finished")
        except DivergenceError as error:
            log.say(str(error))
            log.conclude(job.step, "broke down")
            raise
        except UserError:  # an image that has gone bad: keep what was learned until then
            if job.step > step and fabric.world_size == 1:  # several processes are not at the same step
                save(job.step)
            raise
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"the device ran out of memory with batch_size={settings.batch_size} and image_size="
                f"{settings.image_size}: lower one of them, generator.width or discriminator.width, in another output="
            ) from error
        if is_first:
            draw_curves(folder)
    return Outcome(folder, steps, total_steps, stop.signal)


def describe(
    fabric: Fabric,
    inspection: Inspection,
    networks: Mapping[str, nn.Module],
    step: int,
    total_steps: int,
    folder: Path,
) -> str:
    """The first line of a run."""
    sizes = ", ".join(f"{name} {count:,}" for name, count in count_parameters(networks).items())
    counts = ", ".join(f"{count} {what}" for what, count in inspection.counts.items())
    what = f"continuing {folder} from step {step}" if step else f"training {folder}"
    return f"{what} to step {total_steps} on {fabric.world_size} x {fabric.device.type} ({counts}; parameters: {sizes})"


def count_parameters(networks: Mapping[str, nn.Module]) -> dict[str, int]:
    """Parameters of each network."""
    return {name: sum(parameter.numel() for parameter in network.parameters()) for name, network in networks.items()}
