"""Time the toolkit against a yardstick: python tools/benchmark.py [KEY=VALUE ...] [--steps N] [--repeats N] ...

The words are those of `translate train` and change our side alone; `--help` names the options. Both sides take turns
in one process, a few steps (or one pass over the files) each, so that a noisy machine hits them alike. Reported are
medians over the repeats, also of the ratio.

One training step: `translate.training.loop.fit` itself on a drawn uint8 batch, against the plain eager float32 loop of
the method's reference, written out below, on equal networks and a batch that is float in [-1, 1] already.

The data pipeline, on one core: items of `PairItems` (read, resize, crop, flip; uint8), against PIL and torchvision
doing the same work on the same files, up to normalised float tensors as the reference's loader makes them.
"""

import argparse
import gc
import json
import os
import platform
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss
from torchvision import transforms
from torchvision.transforms import functional

from translate.batch import BatchType, Labeled, Pair, Unpaired
from translate.build import build, resolve
from translate.cli import fail
from translate.config import Composed, choices, compose_settings
from translate.data.augmentation import Augmentation
from translate.data.image import write_image
from translate.data.paired import PairedData
from translate.domains import Domains, LabelSet
from translate.errors import UserError
from translate.methods.method import Method
from translate.methods.step import Step
from translate.model import assemble
from translate.pixels import Side, normalize
from translate.signals import StopRequest
from translate.training import loop
from translate.training.average import WeightAverage
from translate.training.devices import make_fabric, set_up
from translate.training.log import RunLog
from translate.training.prepare import check_settings, check_size, settings_tree, what_learns
from translate.training.seed import seed_everything
from translate.training.settings import Settings

SIDE = Side(3, "uint8", 0, 255)
DOMAINS = Domains((LabelSet(tuple("abcde"), "attributes"),))
IMAGES = 64
PHASES = ("data", "forward", "backward", "optimizer", "other")
Times = dict[str, list[tuple[float, float]]]


def plain_pix2pix(
    networks: dict[str, nn.Module], settings: Settings, batch: Pair, device: torch.device
) -> Callable[[], list[Tensor]]:
    """The step of the pix2pix reference as people write it; it returns the losses unread."""
    generator, discriminator = networks["generator"].to(device), networks["discriminator"].to(device)
    generator_adam = torch.optim.Adam(generator.parameters(), lr=0.0002, betas=(0.5, 0.999))
    discriminator_adam = torch.optim.Adam(discriminator.parameters(), lr=0.0002, betas=(0.5, 0.999))
    floats = [normalize(images, SIDE.low, SIDE.high) for images in batch]

    def judge(source: Tensor, image: Tensor, is_real: bool) -> Tensor:
        logits = discriminator(torch.cat([source, image], 1) if settings.method["conditional"] else image)
        return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(is_real)))

    def step() -> list[Tensor]:
        source, target = (images.to(device) for images in floats)
        fake = generator(source)
        discriminator.requires_grad_(True)
        discriminator_adam.zero_grad()
        loss_fake = judge(source, fake.detach(), False)
        loss_real = judge(source, target, True)
        torch.autograd.backward(0.5 * (loss_real + loss_fake))
        discriminator_adam.step()
        discriminator.requires_grad_(False)
        generator_adam.zero_grad()
        loss_adversarial = judge(source, fake, True)
        loss_l1 = settings.method["l1_weight"] * l1_loss(fake, target)
        torch.autograd.backward(loss_adversarial + loss_l1)
        generator_adam.step()
        return [loss_fake, loss_real, loss_adversarial, loss_l1]

    return step


def plain_cyclegan(
    networks: dict[str, nn.Module], settings: Settings, batch: Unpaired, device: torch.device
) -> Callable[[], list[Tensor]]:
    """The step of the CycleGAN reference as people write it; it returns the losses unread."""
    there, back, judge_target, judge_source = (network.to(device) for network in networks.values())
    generator_adam = torch.optim.Adam([*there.parameters(), *back.parameters()], lr=0.0002, betas=(0.5, 0.999))
    discriminators = [judge_target, judge_source]
    judges = [parameter for judge in discriminators for parameter in judge.parameters()]
    discriminator_adam = torch.optim.Adam(judges, lr=0.0002, betas=(0.5, 0.999))
    floats = [normalize(images, SIDE.low, SIDE.high) for images in batch]
    identity = settings.method["identity_weight"]
    stores: dict[int, list[Tensor]] = {0: [], 1: []}

    def recall(side: int, images: Tensor) -> Tensor:
        returned = []
        for image in images.detach().unsqueeze(1):
            if len(stores[side]) < settings.method["history_size"]:
                stores[side].append(image)
                returned.append(image)
            elif random.random() > 0.5:
                place = random.randrange(len(stores[side]))
                returned.append(stores[side][place])
                stores[side][place] = image
            else:
                returned.append(image)
        return torch.cat(returned)

    def least_squares(logits: Tensor, is_real: bool) -> Tensor:
        return mse_loss(logits, torch.full_like(logits, float(is_real)))

    def step() -> list[Tensor]:
        source, target = (images.to(device) for images in floats)
        fake_target, fake_source = there(source), back(target)
        for judge in discriminators:
            judge.requires_grad_(False)
        generator_adam.zero_grad()
        losses = [
            least_squares(judge_target(fake_target), True),
            least_squares(judge_source(fake_source), True),
            settings.method["cycle_weight_source"] * l1_loss(back(fake_target), source),
            settings.method["cycle_weight_target"] * l1_loss(there(fake_source), target),
        ]
        if identity:
            losses.append(identity * settings.method["cycle_weight_target"] * l1_loss(there(target), target))
            losses.append(identity * settings.method["cycle_weight_source"] * l1_loss(back(source), source))
        torch.autograd.backward(torch.stack(losses).sum())
        generator_adam.step()
        for judge in discriminators:
            judge.requires_grad_(True)
        discriminator_adam.zero_grad()
        sides = ((judge_target, target, fake_target), (judge_source, source, fake_source))
        for side, (judge, real, fake) in enumerate(sides):
            loss = least_squares(judge(real), True) + least_squares(judge(recall(side, fake)), False)
            torch.autograd.backward(0.5 * loss)
            losses.append(loss)
        discriminator_adam.step()
        return losses

    return step


def plain_stargan(
    networks: dict[str, nn.Module], settings: Settings, batch: Labeled, device: torch.device
) -> Callable[[], list[Tensor]]:
    """The step of the StarGAN reference in its order of work; it returns the losses unread."""
    generator, discriminator = networks["generator"].to(device), networks["discriminator"].to(device)
    generator_adam = torch.optim.Adam(generator.parameters(), lr=0.0001, betas=(0.5, 0.999))
    discriminator_adam = torch.optim.Adam(discriminator.parameters(), lr=0.0001, betas=(0.5, 0.999))
    floats = [normalize(batch.images, SIDE.low, SIDE.high), batch.labels, batch.targets]
    number = 0

    def classify(logits: Tensor, labels: Tensor) -> Tensor:
        return binary_cross_entropy_with_logits(logits, labels, reduction="sum") / len(logits)

    def step() -> list[Tensor]:
        nonlocal number
        number += 1
        images, labels, targets = (values.to(device) for values in floats)
        logits, domains = discriminator(images)
        losses = [-logits.mean(), classify(domains, labels)]
        fake = generator(images, targets)
        losses.append(discriminator(fake.detach())[0].mean())
        alpha = torch.rand(len(images), 1, 1, 1, device=device)
        between = (alpha * images + (1 - alpha) * fake.detach()).requires_grad_(True)
        logits = discriminator(between)[0]
        (gradient,) = torch.autograd.grad(logits, between, torch.ones_like(logits), create_graph=True)
        losses.append(10 * (gradient.flatten(1).square().sum(1).sqrt() - 1).square().mean())
        generator_adam.zero_grad()
        discriminator_adam.zero_grad()
        torch.autograd.backward(torch.stack(losses).sum())
        discriminator_adam.step()
        if number % settings.method["n_critic"] == 0:
            fake = generator(images, targets)
            logits, domains = discriminator(fake)
            turn = [-logits.mean(), classify(domains, targets), 10 * l1_loss(generator(fake, labels), images)]
            generator_adam.zero_grad()
            discriminator_adam.zero_grad()
            torch.autograd.backward(torch.stack(turn).sum())
            generator_adam.step()
            losses += turn
        return losses

    return step


YARDSTICKS: dict[tuple[str, str], Callable[..., Callable[[], list[Tensor]]]] = {
    ("translate.methods.pix2pix.Pix2Pix", "translate.objectives.adversarial.nonsaturating"): plain_pix2pix,
    ("translate.methods.cyclegan.CycleGAN", "translate.objectives.adversarial.lsgan"): plain_cyclegan,
    ("translate.methods.stargan.StarGAN", "translate.objectives.adversarial.wasserstein"): plain_stargan,
}
"""(target of the method, target of the objective) -> what makes the plain step."""


def drawn_batch(batch_type: BatchType, size: int, image_size: int) -> Any:
    """Random images and labels as a data set hands them to the engine."""

    def images() -> Tensor:
        return torch.randint(256, (size, SIDE.channels, image_size, image_size), dtype=torch.uint8)

    def labels() -> Tensor:
        return torch.randint(2, (size, DOMAINS.width)).float()

    if batch_type is Labeled:
        return Labeled(images(), labels(), labels())
    return Pair(images(), images()) if batch_type is Pair else Unpaired(images(), images())


def time_method(composed: Composed, steps: int, repeats: int) -> dict[str, Any]:
    """Our step and the plain one: times, peak memory, shares of the phases; nothing where there is no yardstick.

    Raises:
        UserError: settings that no run can have, or several devices.
    """
    settings = replace(composed.settings, log_every=steps, sample_every=sys.maxsize, save_every=sys.maxsize)
    make_plain_step = YARDSTICKS.get((settings.method["_target_"], settings.objective["_target_"]))
    if make_plain_step is None:
        return {}
    check_settings(settings)
    if settings.devices != 1 or settings.num_nodes != 1:
        raise UserError(
            f"devices={settings.devices} num_nodes={settings.num_nodes}: one device is timed, use 1 of each"
        )
    fabric = make_fabric(settings)
    device = fabric.device
    reset_peak_memory(device)
    method = fresh_method(composed)
    check_size(settings, method)
    n_critic = getattr(method, "n_critic", 1)
    if steps % n_critic:
        raise UserError(f"--steps {steps} must be a multiple of method.n_critic={n_critic}, so that repeats are alike")
    batch = drawn_batch(method.batch_type, settings.batch_size, settings.image_size)
    our_batch = type(batch)(*(values.pin_memory() for values in batch)) if device.type == "cuda" else batch
    networks = method.networks
    optimizers = set_up(fabric, method, networks, settings, what_learns(method, settings), composed.allowed)
    average = None
    if settings.average_decay:
        average = WeightAverage({name: networks[name] for name in method.translators}, settings.average_decay)
    times: Times = {"ours": [], "yardstick": []}
    result: dict[str, Any] = {"device": device.type}

    def batches() -> Iterator[Any]:
        """What the engine trains on; each step of it ends where the next batch is asked for."""
        yield from [our_batch] * (2 * n_critic)  # allocates, chooses algorithms, and needs the most memory
        result["peak_memory_mib"] = peak_memory(device)
        plain_step = make_plain_step(fresh_method(composed).networks, settings, batch, device)
        for repeat in range(1 + repeats):
            started = now(device)
            yield from [our_batch] * steps
            ours = since(started, device, steps)
            started = now(device)
            for _ in range(steps):
                losses = plain_step()
            [loss.item() for loss in losses]  # as the engine reads its own every log_every=steps
            plain = since(started, device, steps)
            if repeat:  # the first warms up
                times["ours"].append(ours)
                times["yardstick"].append(plain)
        started = now(device)
        with phase_clock(job) as seconds:
            yield from [our_batch] * steps
        total = since(started, device, 1)[0]
        seconds["other"] = total - sum(seconds.values())
        result["shares"] = {phase: value / total for phase, value in seconds.items()}
        yield our_batch  # the last step of a run also draws samples

    job = loop.Job(
        fabric=fabric,
        method=method,
        networks=networks,
        optimizers=optimizers,
        average=average,
        restraint=None,
        validation=None,
        loader=batches(),
        sides=(SIDE, None, None) if method.batch_type is Labeled else (SIDE, SIDE),
        sample=batch,
        schedule=build(settings.schedule, composed.allowed),
        settings=settings,
        epoch_size=1,
        step=0,
        total_steps=(repeats + 2) * steps + 2 * n_critic + 1,
    )
    log = RunLog(
        Path(),
        step=0,
        total_steps=job.total_steps,
        wandb=settings.wandb,
        settings={},
        is_first=False,
        gives_verdict=False,
    )
    loop.fit(job, log, StopRequest(), save=lambda step: None, show=lambda step, columns: None, keep=lambda step: None)
    return result | compare(times, settings.batch_size)


def fresh_method(composed: Composed) -> Method:
    """The method on the CPU, with the same weights every time."""
    seed_everything(composed.settings.seed)
    tree = settings_tree(composed.settings)
    target = resolve(composed.settings.method["_target_"], composed.allowed)
    domains = DOMAINS if getattr(target, "batch_type", None) is Labeled else None
    return assemble(tree, source=SIDE, target=SIDE, domains=domains, allowed=composed.allowed)


@contextmanager
def phase_clock(job: loop.Job) -> Iterator[dict[str, float]]:
    """Wall seconds that the engine spends in each phase meanwhile; waits for the device around every call."""
    seconds = dict.fromkeys(PHASES, 0.0)

    def timed(phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            started = now(job.fabric.device)
            result = function(*arguments, **options)
            seconds[phase] += since(started, job.fabric.device, 1)[0]
            return result

        return call

    def play(batch: Any, step: Step) -> Iterator[Any]:
        turns = type(job.method).play(job.method, batch, step)
        return iter(timed("forward", lambda: next(turns, None)), None)

    hooked: list[tuple[str, Any, str]] = [("data", loop, "to_networks"), ("backward", job.fabric, "backward")]
    hooked += [("optimizer", each, name) for each in job.optimizers.values() for name in ("zero_grad", "step")]
    with ExitStack() as hooks:
        hooks.enter_context(patch.object(job.method, "play", play))
        for phase, owner, name in hooked:
            hooks.enter_context(patch.object(owner, name, timed(phase, getattr(owner, name))))
        yield seconds


def time_data(images: Path, image_size: int, repeats: int) -> dict[str, Any]:
    """Our pipeline and that of PIL and torchvision, from here on with one thread.

    Raises:
        UserError: `images` holds no readable pairs side by side.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    data = PairedData(
        root=str(images), augmentation=Augmentation(), layout="side_by_side", validation_fraction=0, test_fraction=0
    )
    data.inspect(image_size).raise_problems()
    ours = data.items("train", image_size, seed=0, augment=True)
    cached = data.items("train", image_size, seed=0, augment=True, cache_gib=16)
    paths = [pair.a for pair in data.splits["train"][:IMAGES]]
    load_size = Augmentation().loaded_size(image_size)
    resize = transforms.Resize([load_size, load_size], transforms.InterpolationMode.BICUBIC)
    to_float = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)])

    def plain(epoch: int, index: int) -> list[Tensor]:
        both = Image.open(paths[index]).convert("RGB")
        middle = both.width // 2
        top, left = (random.randint(0, load_size - image_size) for _ in range(2))
        is_flipped = random.random() < 0.5
        tensors = []
        for box in ((0, 0, middle, both.height), (middle, 0, both.width, both.height)):
            image = functional.crop(resize(both.crop(box)), top, left, image_size, image_size)
            tensors.append(to_float(functional.hflip(image) if is_flipped else image))
        return tensors

    pipelines: dict[str, Callable[[int, int], object]] = {
        "ours": lambda epoch, index: ours[epoch, index],
        "ours, normalised too": lambda epoch, index: [normalize(image, 0, 255) for image in ours[epoch, index]],
        "ours, cached": lambda epoch, index: cached[epoch, index],
        "yardstick": plain,
    }
    times: Times = {name: [] for name in pipelines}
    for epoch in range(1 + repeats):
        for name, load in pipelines.items():
            started = now()
            for index in range(len(paths)):
                load(epoch, index)
            if epoch:  # the first pass fills the caches, ours and the system's
                times[name].append(since(started, None, len(paths)))
    return compare(times, 1)


def draw_pairs(folder: Path) -> None:
    """Pairs of 256 pixels that compress like photos: smooth colours, shapes and a little grain, as JPEG."""
    generator = np.random.default_rng(0)
    for number in range(IMAGES):
        image = np.full((256, 512, 3), 128, np.float32)
        for cells, strength in ((4, 90), (16, 40), (64, 20), (256, 6)):
            noise = generator.uniform(-strength, strength, (cells, 2 * cells, 3)).astype(np.float32)
            image += cv2.resize(noise, (512, 256), interpolation=cv2.INTER_CUBIC)
        for _ in range(12):
            x, y, width, height, angle = generator.integers(1, (512, 256, 60, 60, 180)).tolist()
            cv2.ellipse(image, (x, y), (width, height), angle, 0, 360, generator.uniform(40, 215, 3).tolist(), -1)
        write_image(folder / f"{number:02d}.jpg", image.clip(0, 255).astype(np.uint8), quality=90)


def now(device: torch.device | None = None) -> tuple[float, float]:
    """Wall and CPU clock, once the device has done what it was told."""
    if device is not None and device.type != "cpu":
        torch.accelerator.synchronize(device)
    return time.perf_counter(), time.process_time()


def since(started: tuple[float, float], device: torch.device | None, count: int) -> tuple[float, float]:
    """Wall and CPU seconds since `started`, for each of `count`."""
    wall, cpu = now(device)
    return (wall - started[0]) / count, (cpu - started[1]) / count


def compare(times: Times, images: int) -> dict[str, Any]:
    """Medians for each side of what `images` images took; `speedup` is the yardstick's time over its own."""
    result: dict[str, Any] = {}
    for side, rows in times.items():
        result[side] = {"repeats": rows}
        for column, clock in enumerate(("wall", "cpu")):
            seconds = [row[column] for row in rows]
            ratios = [plain[column] / row[column] for plain, row in zip(times["yardstick"], rows, strict=True)]
            median = statistics.median(seconds)
            result[side][clock] = {
                "seconds": median,
                "images_per_second": images / median,
                "speedup": statistics.median(ratios),
            }
    return result


def reset_peak_memory(device: torch.device) -> None:
    """Forget what earlier methods needed, where the system can."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):  # Linux alone
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory(device: torch.device) -> float:
    """The most memory so far in MiB: allocated on a CUDA device, else of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def hardware(threads: int, device: str) -> str:
    """What the numbers were taken on, in one line."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    model = models[0] if models else platform.processor() or platform.machine()
    name = torch.cuda.get_device_name() if device == "cuda" else device
    return f"{model}, {os.cpu_count()} cores, {threads} threads, torch {torch.__version__}, device {name}"


def step_tables(results: dict[str, dict[str, Any]]) -> list[Table]:
    """The times of one step, and where ours goes."""
    times = Table("method", "way", "wall ms", "CPU ms", "images/s", "speedup", "peak MiB", title="One training step")
    shares = Table("method", *PHASES, title="Shares of our step")
    for method, result in results.items():
        if not result:
            times.add_row(method, "no yardstick", end_section=True)
            continue
        times.add_row(method, "ours", *_cells(result["ours"], "wall"), f"{result['peak_memory_mib']:.0f}")
        times.add_row("", "yardstick", *_cells(result["yardstick"], "wall"), end_section=True)
        shares.add_row(method, *(f"{result['shares'][phase]:.1%}" for phase in PHASES))
    return [times, shares]


def data_table(result: dict[str, Any]) -> Table:
    """The times of one training pair; speed by the CPU clock, which other processes disturb less."""
    table = Table("way", "wall ms", "CPU ms", "pairs/s per core", "speedup", title="The data pipeline, one pair")
    for way, row in result.items():
        table.add_row(way, *_cells(row, "cpu"))
    return table


def _cells(row: dict[str, Any], clock: str) -> list[str]:
    milliseconds = [f"{row[each]['seconds'] * 1000:.2f}" for each in ("wall", "cpu")]
    return [*milliseconds, f"{row[clock]['images_per_second']:.2f}", f"{row[clock]['speedup']:.2f}"]


def compose_methods(words: list[str], methods: list[str] | None) -> dict[str, Composed]:
    """The configuration of every method asked for: by `methods`, else by method= among the words, else all."""
    chosen = methods or [word.removeprefix("method=") for word in words if word.startswith("method=")]
    rest = [word for word in words if not word.startswith("method=")]
    if not any(word.startswith("data") for word in rest):
        rest = ["data=glyphs", *rest]  # needs no folder; it is not read
    return {name: compose_settings([f"method={name}", *rest]) for name in chosen or choices("method")}


def run(options: argparse.Namespace) -> None:
    """Time what was asked for, print it, and write it to the JSON file.

    Raises:
        UserError: an option or a word that does not fit.
    """
    for name in ("steps", "repeats"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} {getattr(options, name)} must be at least 1")
    if options.json is not None and not options.json.resolve().parent.is_dir():
        raise UserError(f"--json {options.json}: its folder does not exist")
    composed = compose_methods(options.words, options.methods)
    console = Console(highlight=False)
    threads, device = torch.get_num_threads(), "cpu"
    report: dict[str, Any] = {"words": options.words, "steps": options.steps, "repeats": options.repeats}
    if options.part in ("step", "all"):
        results = {name: time_method(each, options.steps, options.repeats) for name, each in composed.items()}
        device = next((result["device"] for result in results.values() if result), device)
        console.print(*step_tables(results), sep="\n")
        report["step"] = results
    if options.part in ("data", "all"):
        image_size = next(iter(composed.values())).settings.image_size
        with tempfile.TemporaryDirectory() as folder:
            if options.images is None:
                draw_pairs(Path(folder))
            report["data"] = time_data(options.images or Path(folder), image_size, options.repeats)
        console.print(data_table(report["data"]))
    report["hardware"] = hardware(threads, device)
    console.print(report["hardware"], soft_wrap=True)
    if options.json is not None:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Read the command line; errors meant for the user are printed without a traceback."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="KEY=VALUE", help="settings, as for `translate train`")
    parser.add_argument("--steps", type=int, default=5, help="steps of each side per repeat (5)")
    parser.add_argument("--repeats", type=int, default=7, help="how often the sides take turns (7)")
    parser.add_argument("--part", choices=("step", "data", "all"), default="all", help="what to time (all)")
    parser.add_argument("--methods", type=lambda names: names.split(","), help="NAME,NAME: methods to time (all)")
    parser.add_argument("--images", type=Path, help=f"pairs side by side, {IMAGES} are read (default: drawn ones)")
    parser.add_argument("--json", type=Path, help="file to write every number to")
    try:
        run(parser.parse_intermixed_args())
    except UserError as error:
        fail(str(error), 2)


if __name__ == "__main__":
    main()
