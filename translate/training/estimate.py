"""What a run would take: a few real training steps with its settings, on its device, of which nothing is kept."""

import copy
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import psutil
import torch

from translate.data.source import DataSource, Items
from translate.errors import UserError
from translate.memory import available_memory
from translate.signals import StopRequest
from translate.training.average import WeightAverage
from translate.training.devices import count_processes, make_fabric, set_up
from translate.training.fabric import Fabric
from translate.training.loading import make_loader, sample_batch, worker_count
from translate.training.loop import Job, fit
from translate.training.prepare import count_steps, make_method, what_learns
from translate.training.seed import seed_everything
from translate.training.settings import Settings

NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")
LOADING_SECONDS = 3.0
MOST_LOADED = 64
STARVED = 1.1
"""Loading may take so many times the time of a step before training counts as waiting for it."""


@dataclass(frozen=True)
class Estimate:
    """What was measured on one device.

    Attributes:
        device: the kind of device: `cpu`, `cuda`, `mps`.
        devices: how many of them the run uses.
        batch_size: images per step and device.
        steps: steps of the whole run.
        step_seconds: one step, without loading.
        loading_seconds: loading a batch in one process.
        workers: processes that load.
        peak_bytes: the most memory of the device that was used; of the process, where that is the CPU.
        total_bytes: the memory there is for it.
    """

    device: str
    devices: int
    batch_size: int
    steps: int
    step_seconds: float
    loading_seconds: float
    workers: int
    peak_bytes: int
    total_bytes: int

    @property
    def batch_seconds(self) -> float:
        """Seconds between two batches from all loading processes."""
        return self.loading_seconds / max(self.workers, 1)

    @property
    def is_starved(self) -> bool:
        """Whether the device waits for images."""
        return self.batch_seconds > STARVED * self.step_seconds

    @property
    def hours(self) -> float:
        """The whole run, without samples and saving."""
        together = max(self.step_seconds, self.batch_seconds)
        alone = self.step_seconds + self.loading_seconds
        return self.steps * (together if self.workers else alone) / 3600

    def describe(self) -> list[str]:
        """Sentences to print."""
        several = f" on each of {self.devices}" * (self.devices > 1)
        processes = f"{self.workers} process{'es' * (self.workers > 1)}" if self.workers else "the training process"
        if not self.workers:
            waits = f"{self.loading_seconds / (self.step_seconds + self.loading_seconds):.0%} of the time goes there"
        elif self.is_starved:
            waits = (
                "training waits for that. More data.workers, data.cache_gib where the images fit into memory, or files "
                "of about image_size help"
            )
        else:
            waits = "training does not wait for that"
        return [
            f"A step of batch_size={self.batch_size}{several} takes {_seconds(self.step_seconds)} on {self.device}; "
            f"{self.steps:,} steps take about {_duration(self.hours)}.",
            f"Peak memory {self.peak_bytes / 2**30:.1f} of {self.total_bytes / 2**30:.1f} GiB.",
            f"Loading a batch in {processes} takes {_seconds(self.batch_seconds)}: {waits}.",
        ]


class Stopwatch:
    """Stands in for the log of a run: notes when each step is done, and writes nothing."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.times: list[float] = []

    def advance(self, step: int) -> None:
        """Note when the device has finished a step."""
        if self.device.type in ("cuda", "mps"):
            getattr(torch, self.device.type).synchronize()
        self.times.append(time.perf_counter())

    def metrics(self, row: Mapping[str, Any]) -> None:
        """Nothing: the losses of a few steps say little."""

    def validation(self, step: int, values: Mapping[str, float], errors: Mapping[str, float], *, is_best: bool) -> None:
        """Nothing: the model is not measured."""


def estimate(settings: Settings, data: DataSource, allowed: tuple[str, ...]) -> Estimate:
    """Train a few steps and measure them, but for the first, which prepares much; `data` has been inspected.

    Of several devices, one is measured, alone.

    Raises:
        UserError: the device is not there, or its memory does not suffice.
        DivergenceError: a loss is not finite from the start.
    """
    world_size = count_processes(settings)
    fabric = make_fabric(replace(settings, devices=1, num_nodes=1))
    items = data.items("train", settings.image_size, seed=settings.seed, augment=True)
    if fabric.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    try:
        step_seconds = _time_steps(settings, data, items, fabric, allowed)
    except RuntimeError as error:  # torch.OutOfMemoryError is one; on the CPU the text alone tells
        if not any(words in str(error) for words in NO_MEMORY):
            raise
        raise UserError(
            f"the memory does not suffice for batch_size={settings.batch_size} and image_size={settings.image_size}: "
            "lower one of them, generator.width or discriminator.width"
        ) from error
    return Estimate(
        device=fabric.device.type,
        devices=world_size,
        batch_size=settings.batch_size,
        steps=count_steps(settings, len(items), world_size),
        step_seconds=step_seconds,
        loading_seconds=settings.batch_size * _time_loading(items),
        workers=worker_count(fabric, data),
        peak_bytes=_peak_bytes(fabric.device),
        total_bytes=_total_bytes(fabric.device),
    )


def _time_steps(settings: Settings, data: DataSource, items: Items, fabric: Fabric, allowed: tuple[str, ...]) -> float:
    """Seconds per step, of images that have been loaded before."""
    seed_everything(settings.seed)
    method = make_method(settings, data, allowed)
    networks = method.networks
    optimizers = set_up(fabric, method, networks, settings, what_learns(method, settings), allowed)
    average = None
    if settings.average_decay:
        average = WeightAverage({name: networks[name] for name in method.translators}, settings.average_decay)
    # Of so many steps, each player moves in one at least (StarGAN).
    steps = 1 + max(2, int(getattr(method, "n_critic", 1)))
    here = copy.copy(data)
    here.workers = 0
    stopwatch = Stopwatch(fabric.device)
    job = Job(
        fabric=fabric,
        method=method,
        networks=networks,
        optimizers=optimizers,
        average=average,
        restraint=None,
        validation=None,
        loader=list(make_loader(fabric, here, items, settings, 0, steps)),
        sides=data.field_sides,
        sample=sample_batch(data, settings),
        schedule=lambda step, total_steps: 1.0,
        settings=replace(settings, log_every=sys.maxsize, sample_every=sys.maxsize, save_every=sys.maxsize),
        epoch_size=len(items),
        step=0,
        total_steps=steps,
    )
    fit(job, stopwatch, StopRequest(), save=lambda step: None, show=lambda step, columns: None, keep=lambda step: None)
    return (stopwatch.times[-1] - stopwatch.times[0]) / (steps - 1)


def _time_loading(items: Items) -> float:
    """Seconds to load an image, or what else an item is, in one process."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)  # as in loading processes
    try:
        items[0, 0]  # imports what loading needs
        started, count = time.perf_counter(), 0
        while count < min(len(items), MOST_LOADED) and time.perf_counter() - started < LOADING_SECONDS:
            items[0, count]
            count += 1
        return (time.perf_counter() - started) / count
    finally:
        cv2.setNumThreads(threads)


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved())
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _total_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info()[1])
    if device.type == "mps":
        return int(torch.mps.recommended_max_memory())
    return available_memory() + int(psutil.Process().memory_info().rss)


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 10 else f"{seconds:.2f} s" if seconds >= 0.1 else f"{seconds * 1000:.1f} ms"


def _duration(hours: float) -> str:
    if hours >= 48:
        return f"{hours / 24:.1f} days"
    if hours >= 1:
        return f"{hours:.1f} hours"
    return f"{hours * 60:.0f} minutes" if hours * 60 >= 1.5 else "a minute"
