"""One training run: from settings to a finished run folder."""

import atexit
import inspect
import logging
import math
import multiprocessing
import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from translate import __version__
from translate.build import LOCAL, build, resolve
from translate.data.check import Inspection
from translate.data.image import write_image
from translate.data.sampler import StreamSampler
from translate.data.source import DataSource, Items, Progress, collate
from translate.domains import Domains
from translate.errors import DivergenceError, UserError
from translate.methods.method import Method
from translate.methods.step import Step
from translate.model import Lineage, assemble, read_domains, read_lineage, write_model
from translate.model_folder import BEST, LATEST
from translate.picture import tensor_grid
from translate.pixels import Side
from translate.signals import ignore_signals, stop_on_signal
from translate.training.average import WeightAverage
from translate.training.begin import Beginning, Origin, begin, describe_domains, describe_origin, read_origin
from translate.training.checkpoint import model_tensors, read_progress, restore_state, save_state
from translate.training.curves import draw_curves
from translate.training.log import RunLog, check_wandb
from translate.training.loop import Job, fit, require_finite
from translate.training.parts import Learning, choose_learning, learning_table
from translate.training.restraint import Restraint
from translate.training.run_folder import make_room, open_run, write_config
from translate.training.seed import seed_everything
from translate.training.settings import Finetune, Settings
from translate.training.validation import open_validation

WARMUP = 200
"""Steps at most in which a new discriminator learns alone, unless told otherwise."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the steps done, and the signal that stopped it (None when it ran to its end)."""

    folder: Path
    steps: int
    total_steps: int
    stopped_by: signal.Signals | None


def train(
    settings: Settings,
    tree: Mapping[str, Any],
    *,
    allowed: tuple[str, ...] = LOCAL,
    data_progress: Progress | None = None,
) -> Outcome:
    """Start or continue the run in `settings.output`; the same call on a finished run returns at once.

    `tree` is the same configuration as plain values, as it is saved in the run. `data_progress` may show how far the
    inspection of the data is.

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
    is_first = fabric.global_rank == 0
    continues = fabric.broadcast(progress is not None)

    seed_everything(settings.seed)
    method = make_method(settings, data, allowed)
    learning = what_learns(method, settings)
    items = data.items(
        "train", settings.image_size, seed=settings.seed, augment=True, cache_gib=_cache_share(fabric, data)
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
            folder, step=step, total_steps=total_steps, wandb=settings.wandb, settings=tree, is_first=is_first
        ) as log,
        stop_on_signal() as stop,
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

        try:
            steps = fit(job, log, stop, save=save, show=show, keep=keep)
            if validation is not None and validation.is_over:
                log.say(
                    f"Ended at step {steps}: {validation.metric} has not become better since step "
                    f"{int(validation.best_step)} (validation.patience={validation.patience})"
                )
        except DivergenceError as error:
            log.say(str(error))
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
    return Outcome(folder, steps, total_steps, stop.signal if steps < total_steps else None)


def is_first_process() -> bool:
    """Whether this is the only process, or the first of several, as far as the launcher's environment tells."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def check_settings(settings: Settings) -> None:
    """Raise UserError for numbers that no run can have."""
    for name in ("image_size", "batch_size", "num_nodes", "log_every", "sample_every", "sample_images", "save_every"):
        if getattr(settings, name) < 1:
            raise UserError(f"{name}={getattr(settings, name)} must be at least 1")
    if (settings.steps is None) == (settings.epochs is None):
        raise UserError(
            f"steps={settings.steps} and epochs={settings.epochs}: give one of them and set the other to null"
        )
    for name in ("steps", "epochs"):
        value = getattr(settings, name)
        if value is not None and value <= 0:
            raise UserError(f"{name}={value} must be more than 0")
    if settings.devices != "auto" and settings.devices < 1:
        raise UserError(f"devices={settings.devices} must be at least 1, or auto")
    if settings.seed < 0:
        raise UserError(f"seed={settings.seed} must be 0 or more")
    if not 0 <= settings.average_decay < 1:
        raise UserError(f"average_decay={settings.average_decay} is outside 0 to 1; 0 is off, 0.999 is usual")
    checkpoint = settings.finetune.checkpoint
    if checkpoint is not None and Path(checkpoint).resolve().is_relative_to(Path(settings.output).resolve()):
        raise UserError(f"output={settings.output} is where from={checkpoint} lies: give another output=FOLDER")


def look_at_data(
    settings: Settings, allowed: tuple[str, ...], progress: Progress | None, *, advise: bool = False
) -> tuple[DataSource, Inspection]:
    """The data set, arranged for the method, and what was found in it, with warnings if it should `advise`.

    Raises:
        UserError: it cannot give what the method trains on, or there is nothing to look at.
    """
    data: DataSource = build(settings.data, allowed)
    data.arrange(method_type(settings, allowed).batch_type)
    return data, data.inspect(settings.image_size, progress, advise=advise)


def method_type(settings: Settings, allowed: tuple[str, ...]) -> type[Method]:
    """The class of the method."""
    method = resolve(settings.method["_target_"], allowed)
    assert isinstance(method, type)
    assert issubclass(method, Method)
    return method


def find_origin(settings: Settings, allowed: tuple[str, ...]) -> Origin | None:
    """The trained model to begin with, if `finetune.checkpoint` names one.

    Raises:
        UserError: there is none, or settings of `finetune` that go with one alone.
    """
    finetune = settings.finetune
    if finetune.checkpoint is None:
        given = [f"finetune.{key}" for key, value in vars(finetune).items() if value != getattr(Finetune(), key)]
        if given:
            raise UserError(
                f"{', '.join(given)}: there is no trained model to go on from. Give it, with the same settings: "
                "translate finetune from=CHECKPOINT"
            )
        return None
    if finetune.warmup is not None and finetune.warmup < 0:
        raise UserError(f"finetune.warmup={finetune.warmup} must be at least 0")
    if finetune.distance_weight < 0:
        raise UserError(f"finetune.distance_weight={finetune.distance_weight} must be at least 0")
    trusted = tuple(name for name in allowed if name not in LOCAL)  # a stranger's checkpoint may name less than we
    origin = read_origin(Path(finetune.checkpoint), trusted=trusted, discriminator=finetune.keep_discriminator)
    trained, wanted = (data.get("direction") for data in (origin.model.settings["data"], settings.data))
    if origin.model.method.is_reversible and None not in (trained, wanted) and trained != wanted:
        raise UserError(
            f"data.direction={wanted}, but from={finetune.checkpoint} was trained {trained}, and its networks of the "
            f"two ways would be swapped: use data.direction={trained}; it translates both ways (convert --direction)"
        )
    return origin


def make_method(settings: Settings, data: DataSource, allowed: tuple[str, ...]) -> Method:
    """The method for the images of a data set, with fresh weights. Errors as `assemble`."""
    return assemble(
        settings_tree(settings), source=data.source, target=data.target, domains=data.domains, allowed=allowed
    )


def take_over(
    method: Method,
    origin: Origin,
    settings: Settings,
    data: DataSource,
    learning: Learning,
    total_steps: int,
    allowed: tuple[str, ...],
) -> Beginning:
    """Put the weights of a trained model into a method.

    A new discriminator learns alone for 200 steps at first, a tenth of the run at most; a generator that is new as well
    learns beside it.

    Raises:
        UserError: they do not fit.
    """

    def build_for(source: Side, target: Side, domains: Domains | None) -> Method:
        return assemble(settings_tree(settings), source=source, target=target, domains=domains, allowed=allowed)

    beginning = begin(
        method,
        origin,
        build_for,
        source=data.source,
        target=data.target,
        domains=data.domains,
        channels=settings.finetune.channels,
        fresh=learning.fresh,
    )
    beginning.lines[:0] = describe_origin(origin, settings)
    beginning.lines += describe_domains(origin.model.domains, data.shown("train"))
    is_new = bool(beginning.fresh) and not any(name in method.generators for name in beginning.fresh)
    usual = min(WARMUP, total_steps // 10) if is_new else 0
    beginning.warmup = usual if settings.finetune.warmup is None else settings.finetune.warmup
    if beginning.warmup:
        some = "s" * (len(method.generators) > 1)
        waiting, new = f"generator{some} wait{'' if some else 's'}", "new " * bool(beginning.fresh)
        beginning.lines.append(f"the {waiting} {beginning.warmup} steps for the {new}discriminator{some}")
    return beginning


def what_learns(method: Method, settings: Settings) -> Learning:
    """Which parts of the networks learn. Errors as `choose_learning`."""
    return choose_learning(
        method.networks,
        method.generators,
        method.players,
        fresh=settings.finetune.fresh,
        freeze=settings.finetune.freeze,
        freeze_norm=settings.finetune.freeze_norm,
        rates=settings.finetune.rates,
    )


def preview_learning(
    settings: Settings, data: DataSource, origin: Origin, allowed: tuple[str, ...]
) -> tuple[list[str], list[tuple[str, int, str]]]:
    """What a fine-tuning would take over from a model, a line each, and what would learn, as `learning_table`.

    Raises:
        UserError: the model does not fit.
    """
    method = make_method(settings, data, allowed)
    learning = what_learns(method, settings)
    beginning = take_over(method, origin, settings, data, learning, planned_steps(settings, data), allowed)
    return beginning.lines, learning_table(method.networks, learning)


def hold_back(
    method: Method, networks: Mapping[str, nn.Module], settings: Settings, learning: Learning, beginning: Beginning
) -> Restraint:
    """What holds a fine-tuned model near to what it began as."""
    fresh = {f"{name}.{key}" for name in beginning.fresh for key, _ in networks[name].named_parameters()}
    return Restraint(
        networks,
        method.generators,
        method.players,
        fresh=fresh | learning.fresh,
        warmup=beginning.warmup,
        distance_weight=settings.finetune.distance_weight,
        fixed=learning.fixed,
    )


def check_networks(settings: Settings, data: DataSource, allowed: tuple[str, ...]) -> None:
    """Raise UserError when the method cannot be built for this data or cannot take its images, or nothing could learn;
    costs no memory."""
    check_warmup(settings, data)
    with torch.device("meta"):
        method = make_method(settings, data, allowed)
        check_size(settings, method)
        play_once(settings, data, method)
        what_learns(method, settings)


def check_warmup(settings: Settings, data: DataSource) -> None:
    """Raise UserError when a fine-tuning would end before its generators move."""
    warmup = settings.finetune.warmup
    if warmup is not None and settings.finetune.checkpoint is not None:
        total_steps = planned_steps(settings, data)
        if warmup >= total_steps:
            raise UserError(
                f"finetune.warmup={warmup}: for so many steps no generator moves, and the run has {total_steps}: use "
                "fewer, or more steps="
            )


def play_once(settings: Settings, data: DataSource, method: Method) -> None:
    """Raise UserError when the networks refuse images of `image_size`; the method must be on the meta device."""
    count, size = settings.batch_size, settings.image_size
    width = data.domains.width if data.domains else 0
    batch = [
        torch.zeros(count, width) if side is None else torch.zeros(count, side.channels, size, size)
        for side in data.field_sides
    ]
    try:
        for _ in method.play(data.batch_type(*batch), Step()):
            pass
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"image_size={settings.image_size} does not suit the networks: {error}") from error
    except RuntimeError:  # a method of the user's own may need values, which are not there
        return


def check_size(settings: Settings, method: Method) -> None:
    """Raise UserError when the networks cannot take images of `image_size`."""
    size, multiple = settings.image_size, method.size_multiple
    if size % multiple:
        nearest = max(multiple, round(size / multiple) * multiple)
        raise UserError(
            f"image_size={size} does not suit the generator, which takes multiples of {multiple}: use "
            f"image_size={nearest} or a generator with fewer downsamplings (translate list generators)"
        )
    smallest = max(int(getattr(network, "min_size", 1)) for network in method.networks.values())
    if size < smallest:
        raise UserError(
            f"image_size={size} is too small for the networks, which need {smallest}: use a larger image_size, "
            "fewer discriminator.num_layers, or discriminator=pixel"
        )


def count_steps(settings: Settings, images: int, world_size: int) -> int:
    """Steps of the whole run: as given, or enough for the epochs given."""
    if settings.steps is not None:
        return settings.steps
    assert settings.epochs is not None
    return math.ceil(settings.epochs * images / (settings.batch_size * world_size))


def planned_steps(settings: Settings, data: DataSource) -> int:
    """Steps of the whole run, before its processes are launched; `data` has been inspected."""
    items = data.items("train", settings.image_size, seed=settings.seed, augment=True)
    return count_steps(settings, len(items), count_processes(settings))


def count_processes(settings: Settings) -> int:
    """Processes that `make_fabric` launches."""
    devices = settings.devices
    if devices == "auto":
        devices = torch.cuda.device_count() if settings.accelerator in ("auto", "cuda") else 1
    return max(devices, 1) * settings.num_nodes


def make_fabric(settings: Settings) -> Fabric:
    """Devices, precision and processes, launched."""
    precision = {"32": "32-true", "64": "64-true"}.get(settings.precision, settings.precision)
    devices = settings.devices
    if devices == "auto" and settings.accelerator == "cpu":
        devices = 1
    several = torch.cuda.device_count() > 1 if devices == "auto" else devices > 1
    is_distributed = several or settings.num_nodes > 1 or "WORLD_SIZE" in os.environ
    try:
        fabric = Fabric(
            accelerator=settings.accelerator,
            devices=devices,
            num_nodes=settings.num_nodes,
            precision=precision,  # type: ignore[arg-type]
            strategy=distributed_strategy() if is_distributed else "auto",
        )
    except Exception as error:  # Fabric raises many kinds for devices that are not there
        raise UserError(
            f"accelerator={settings.accelerator} devices={settings.devices} precision={settings.precision} cannot be "
            f"used here: {error}. accelerator=cpu devices=1 always can"
        ) from error
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # else every process says that it begins
    fabric.launch()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA needs to be deterministic
    torch.use_deterministic_algorithms(settings.deterministic)
    torch.backends.cudnn.benchmark = not settings.deterministic
    return fabric


class Distributed(DDPStrategy):
    """Processes that share their gradients; a network that is frozen as a whole has none, which PyTorch refuses."""

    def setup_module(self, module: nn.Module) -> nn.Module:  # type: ignore[override]
        learns = any(parameter.requires_grad for parameter in module.parameters())
        return super().setup_module(module) if learns else module


def distributed_strategy() -> Distributed:
    """How several processes share their gradients."""
    # A discriminator runs twice before its backward pass; broadcasting its batch norm buffers between the two fails.
    parameters = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in parameters else "broadcast_buffers"
    return Distributed(**{name: False})  # type: ignore[arg-type]


def set_up(
    fabric: Fabric,
    method: Method,
    networks: Mapping[str, nn.Module],
    settings: Settings,
    learning: Learning,
    allowed: tuple[str, ...],
) -> dict[str, torch.optim.Optimizer]:
    """Move networks and memories to the device, wrap networks for it, make an optimiser per player of what learns."""
    for name, network in networks.items():
        for key, parameter in network.named_parameters():
            parameter.requires_grad_(f"{name}.{key}" not in learning.frozen)
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    for name, network in networks.items():
        network.to(fabric.device, memory_format=layout)  # type: ignore[call-overload]
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        runs: Any = torch.compile(network) if settings.compile else network
        setattr(method, name, fabric.setup_module(runs))
    for memory in method.memories.values():
        memory.to(fabric.device)
    optimizers: dict[str, Any] = {}
    for player, names in method.players.items():
        by_rate: dict[float, list[nn.Parameter]] = {}
        for name in names:
            for key, parameter in networks[name].named_parameters():
                if parameter.requires_grad:
                    by_rate.setdefault(learning.rate(f"{name}.{key}"), []).append(parameter)
        groups = [{"params": parameters} for parameters in by_rate.values()]
        optimizer: torch.optim.Optimizer = build(settings.optimizer, allowed, params=groups)
        for group, rate in zip(optimizer.param_groups, by_rate, strict=True):
            group["lr"] = group["lr"] * rate
            group.setdefault("initial_lr", group["lr"])
        optimizers[player] = fabric.setup_optimizers(optimizer)
    return optimizers


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


def describe(
    fabric: Fabric,
    inspection: Inspection,
    networks: Mapping[str, nn.Module],
    step: int,
    total_steps: int,
    folder: Path,
) -> str:
    """The first line of a run."""
    sizes = ", ".join(
        f"{name} {sum(parameter.numel() for parameter in network.parameters()):,}" for name, network in networks.items()
    )
    counts = ", ".join(f"{count} {what}" for what, count in inspection.counts.items())
    what = f"continuing {folder} from step {step}" if step else f"training {folder}"
    return f"{what} to step {total_steps} on {fabric.world_size} x {fabric.device.type} ({counts}; parameters: {sizes})"


def settings_tree(settings: Settings) -> dict[str, Any]:
    """The components of `settings` that make a method."""
    names = ("method", "generator", "discriminator", "objective", "gradient_penalty", "discriminator_augmentation")
    return {name: getattr(settings, name) for name in names} | {"stabilizers": vars(settings.stabilizers)}


def _cache_share(fabric: Fabric, data: DataSource) -> float:
    return data.cache_gib / (max(worker_count(fabric, data), 1) * fabric.world_size)
