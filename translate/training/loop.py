"""The training loop: one function that reads downward."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from translate.errors import DivergenceError, UserError
from translate.methods.method import Method, Turn
from translate.methods.step import Step
from translate.pixels import Side, normalize
from translate.signals import StopRequest
from translate.training.average import WeightAverage, translating
from translate.training.examination import Measured
from translate.training.fabric import Fabric
from translate.training.log import Log, Meter
from translate.training.plateau import Plateau
from translate.training.restraint import Restraint
from translate.training.seed import seed_everything
from translate.training.settings import Settings
from translate.training.signs import Watch
from translate.training.validation import Validation


@dataclass
class Job:
    """What `fit` trains: a method set up on its devices, and everything around it.

    Attributes:
        fabric: devices, precision and processes.
        method: the game; its networks are wrapped for their device.
        networks: the bare networks by name, as they are saved.
        optimizers: one per player, set up by Fabric.
        average: averaged weights, or None.
        restraint: what holds a fine-tuned model back, or None.
        validation: what measures the model on held-out images, or None.
        loader: batches from `step` on to `total_steps`.
        sides: what each field of a batch looks like; None for a field that is no image.
        sample: a fixed batch to look at.
        schedule: factor on the learning rate from (step, total steps).
        settings: the configuration.
        epoch_size: items that make an epoch.
        step: steps already done; `fit` counts on.
        total_steps: steps to reach.
    """

    fabric: Fabric
    method: Method
    networks: Mapping[str, nn.Module]
    optimizers: Mapping[str, torch.optim.Optimizer]
    average: WeightAverage | None
    restraint: Restraint | None
    validation: Validation | None
    loader: Iterable[Any]
    sides: tuple[Side | None, ...]
    sample: Any
    schedule: Callable[[int, int], float]
    settings: Settings
    epoch_size: int
    step: int
    total_steps: int

    @property
    def translators(self) -> dict[str, nn.Module]:
        """The networks that samples and the saved model use: averaged, if an average is kept."""
        if self.average is not None:
            return self.average.networks
        return {name: self.networks[name] for name in self.method.translators}


def fit(
    job: Job,
    log: Log,
    stop: StopRequest,
    *,
    save: Callable[[int], None],
    show: Callable[[int, Mapping[str, torch.Tensor]], None],
    keep: Callable[[int], None],
) -> int:
    """Train to the last step, or to the first one after which `stop` is set; returns the steps done.

    It ends too where the patience of the validation does. `save(step)` writes the model and the state, `show(step,
    columns)` the sample grid, `keep(step)` the best model. Losses stay on the device between two log intervals, so no
    step waits for it.

    Raises:
        DivergenceError: at the next reading of the losses; nothing is saved after it.
    """
    settings, fabric, method = job.settings, job.fabric, job.method
    base_rates = {player: [group["initial_lr"] for group in opt.param_groups] for player, opt in job.optimizers.items()}
    meter = Meter(average=lambda losses: torch.as_tensor(fabric.all_reduce(losses)))
    watch = Watch(method, average=meter.average) if settings.verdict else None
    step = job.step

    def all_gather(tensor: torch.Tensor) -> torch.Tensor:
        return tensor[None] if fabric.world_size == 1 else torch.as_tensor(fabric.all_gather(tensor))

    method.train()
    if job.restraint is not None:
        job.restraint.prepare()
    for batch, waited in timed(job.loader):
        seed_everything(settings.seed, fabric.global_rank, step)
        factor = job.schedule(step, job.total_steps)
        waiting: list[Turn] = []
        now = Step(step, settings.seed, fabric.global_rank, fabric.world_size, all_gather)
        for turn in method.play(to_networks(fabric, batch, job.sides, settings), now):
            if job.restraint is not None and job.restraint.waits(turn.player, step):
                meter.add_losses(turn.losses)
                continue
            optimizer = job.optimizers[turn.player]
            for group, rate in zip(optimizer.param_groups, base_rates[turn.player], strict=True):
                group["lr"] = rate * factor
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(torch.stack(list(turn.losses.values())).sum())
            meter.add_losses(turn.losses)
            if settings.updates == "alternating":
                move(job, turn, watch)
            else:
                waiting.append(turn)
        for turn in waiting:
            move(job, turn, watch)
        if job.average is not None:
            job.average.update(job.networks)

        step = job.step = step + 1
        meter.add_images(len(batch[0]) * fabric.world_size, waited)
        log.advance(step)
        is_last = step == job.total_steps or agreed(fabric, step, bool(stop))
        validation = job.validation if step == job.total_steps or step % measure_every(settings) == 0 else None
        if is_last or validation is not None or step % settings.save_every == 0 or step % settings.log_every == 0:
            require_finite(step, meter.losses())
        if is_last or step % settings.log_every == 0:
            images = step * settings.batch_size * fabric.world_size
            epoch = round(images / job.epoch_size, 3)
            row = {"step": step, "images": images, "epoch": epoch, "learning_rate_factor": factor} | meter.read()
            signals = {name: float(value) for name, value in method.signals().items()}
            row |= {name: round(value, 6) for name, value in signals.items()}
            log.metrics(row if watch is None else row | {"signs": watch.read()})
            # Not where a run is merely interrupted: it goes on as one that was not.
            if isinstance(job.schedule, Plateau) and step % settings.log_every == 0:
                job.schedule.observe(step, signals)
        if validation is not None:
            measured = measure(job, validation)
            is_best = validation.remember(measured.values, step)
            log.validation(step, measured.values, measured.errors, is_best=is_best)
            if is_best:
                keep(step)
            is_last = is_last or validation.is_over
        if is_last or step % settings.save_every == 0:
            save(step)
        if is_last or step % settings.sample_every == 0:
            show(step, sample_columns(job))
        if is_last:
            break
    return step


def move(job: Job, turn: Turn, watch: Watch | None) -> None:
    """Step a player, whose gradients are there."""
    optimizer = job.optimizers[turn.player]
    with watch.stepping(turn, optimizer) if watch is not None else nullcontext():  # it reads the gradients as they are
        if job.restraint is not None:
            job.restraint.pull(turn.player)
        if job.settings.gradient_clip is not None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            torch.nn.utils.clip_grad_norm_(parameters, job.settings.gradient_clip)
        optimizer.step()
    if turn.after is not None:
        turn.after()


def timed(loader: Iterable[Any]) -> Iterator[tuple[Any, float]]:
    """Batches and the seconds that each was waited for."""
    batches = iter(loader)
    while True:
        started = time.perf_counter()
        try:
            batch = next(batches, None)
        except UserError as error:  # a loading process wraps the message in its traceback
            raise UserError(str(error).strip().splitlines()[-1].rpartition("Error: ")[2]) from None
        if batch is None:
            return
        yield batch, time.perf_counter() - started


def to_networks(fabric: Fabric, batch: Any, sides: tuple[Side | None, ...], settings: Settings) -> Any:
    """Move a batch to the device as it was stored, and bring its images to [-1, 1] there."""
    dtype = torch.float64 if settings.precision == "64" else torch.float32
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    moved = fabric.to_device(batch)
    return type(batch)(
        *(
            values.to(dtype)
            if side is None
            else normalize(values, side.low, side.high).to(dtype=dtype, memory_format=layout)
            for values, side in zip(moved, sides, strict=True)
        )
    )


def sample_columns(job: Job) -> dict[str, torch.Tensor]:
    """What the present model makes of the fixed sample batch."""
    batch = to_networks(job.fabric, job.sample, job.sides, job.settings)
    with torch.no_grad(), present_model(job) as method:
        return method.show(batch)


def measure(job: Job, validation: Validation) -> Measured:
    """How good the present model is on the held-out images."""
    with present_model(job) as method:
        return validation.examination.measure(
            method, job.fabric, lambda batch: to_networks(job.fabric, batch, job.sides, job.settings)
        )


def present_model(job: Job) -> AbstractContextManager[Method]:
    """The method for as long as it translates, with the networks that would be saved now."""
    settings = job.settings
    return translating(job.method, job.translators, norm=settings.norm_at_test, dropout=settings.dropout_at_test)


def measure_every(settings: Settings) -> int:
    """Steps between two measurements of a validation that is on."""
    return settings.validation.every or settings.save_every


def agreed(fabric: Fabric, step: int, stop: bool) -> bool:
    """Whether any process was asked to stop, so that all stop after the same step.

    Several processes ask one another every 10 steps alone, since the answer has to be waited for.
    """
    if fabric.world_size == 1:
        return stop
    if step % 10:
        return False
    flag = torch.tensor(float(stop), device=fabric.device)
    total = fabric.all_reduce(flag, reduce_op="sum")
    return bool(torch.as_tensor(total) > 0)


def require_finite(
    step: int, losses: Mapping[str, float] | None = None, networks: Mapping[str, nn.Module] | None = None
) -> None:
    """Raise DivergenceError naming the loss or network that holds a NaN or an infinity."""
    names = [name for name, value in (losses or {}).items() if not math.isfinite(value)]
    for name, network in (networks or {}).items():
        if not all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters()):
            names.append(f"weights of the {name}")
    if names:
        raise DivergenceError(
            f"{', '.join(names)} became NaN or infinite by step {step}. The last good model is kept. Usual cures: "
            "a lower learning rate (optimizer.lr), gradient_clip=1, precision=32, and images that are not flat",
            step=step,
        )
