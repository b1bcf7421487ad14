"""Batches for training: in which processes they are loaded, and which are looked at."""

import atexit
import multiprocessing
import os
import signal
from typing import Any

from torch.utils.data import DataLoader

from translate.data.sampler import StreamSampler
from translate.data.source import DataSource, Items, collate
from translate.signals import ignore_signals
from translate.training.fabric import Fabric
from translate.training.settings import Settings


def make_loader(
    fabric: Fabric, data: DataSource, items: Items, settings: Settings, step: int, total_steps: int
) -> DataLoader[Any]:
    """Batches from `step` on, loaded in worker processes where that helps."""
    sampler = StreamSampler(
        size=len(items),
        batch_size=settings.batch_size,
        first_step=step,
        last_step=total_steps,
        seed=settings.seed,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )
    workers = worker_count(fabric, data)
    if workers:
        atexit.register(kill_workers)
    return DataLoader(
        items,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=fabric.device.type == "cuda",
        prefetch_factor=4 if workers else None,
        worker_init_fn=start_worker,
    )


def worker_count(fabric: Fabric, data: DataSource) -> int:
    """Loading processes: as configured; else one on a CPU, where the network wants the cores, and up to 8 for a GPU."""
    if data.workers is not None:
        return data.workers
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 1 if fabric.device.type == "cpu" else max(1, min(8, cores // fabric.world_size))


def start_worker(worker: int) -> None:
    """Prepare a loading process: one thread of its own, deaf to the signals that only the main process answers."""
    import cv2

    cv2.setNumThreads(0)
    ignore_signals()


def kill_workers() -> None:
    """At the end of the program: loading processes ignore the SIGTERM that would end them, see `start_worker`."""
    if hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # PyTorch's own handler would complain about each
    for process in multiprocessing.active_children():
        process.kill()


def sample_batch(data: DataSource, settings: Settings) -> Any:
    """The first images of the validation split (else test, else train), without augmentation."""
    splits = (
        data.items(split, settings.image_size, seed=settings.seed, augment=False)
        for split in ("validation", "test", "train")
    )
    items = next(items for items in splits if len(items))
    return collate([items[0, index] for index in range(min(settings.sample_images, len(items)))])


def cache_share(fabric: Fabric, data: DataSource) -> float:
    """The part of the memory for images, in GiB, that each loading process gets."""
    return data.cache_gib / (max(worker_count(fabric, data), 1) * fabric.world_size)
