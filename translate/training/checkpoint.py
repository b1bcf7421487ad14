"""The heavy training state: everything that exact resume needs, in one file that is replaced atomically."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from translate.errors import UserError
from translate.files import write_atomically
from translate.model_folder import STATE as STATE
from translate.training.average import WeightAverage

VERSION = 2
PARTS = frozenset(
    {"step", "total_steps", "fingerprint", "length", "networks", "optimizers", "average", "memories", "world_size"}
)
ANEW = "delete it to train from the start, or use another output="
"""What helps whoever cannot continue a run."""


def save_state(
    folder: Path,
    *,
    step: int,
    total_steps: int,
    networks: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    average: WeightAverage | None,
    memories: Mapping[str, nn.Module],
    world_size: int,
    fingerprint: str,
    length: tuple[int | None, float | None],
) -> None:
    """Write the state after `step` steps. Random draws need no place in it: each is a function of (seed, rank, step).

    `memories` are the method's, by name. `fingerprint` tells which data it was trained on, `length` the steps and
    epochs that were asked for.

    Raises:
        OSError: the disk is full; the state written before is still there.
    """
    state = {
        "version": VERSION,
        "step": step,
        "total_steps": total_steps,
        "fingerprint": fingerprint,
        "length": length,
        "networks": {name: network.state_dict() for name, network in networks.items()},
        "optimizers": {player: optimizer.state_dict() for player, optimizer in optimizers.items()},
        "average": {name: module.state_dict() for name, module in average.averages.items()} if average else {},
        "memories": {name: memory.state_dict() for name, memory in memories.items()},
        "world_size": world_size,
    }
    path = folder / STATE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda partial: torch.save(state, partial))


def read_state(folder: Path, *, mapped: bool = False, remedy: str = ANEW) -> dict[str, Any] | None:
    """The state in a run folder; None when there is none. Tensors that are `mapped` are read once they are used.

    Raises:
        UserError: the file is damaged or of another version; the message ends with the `remedy`.
    """
    path = folder / STATE
    if not path.is_file():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # torch raises many kinds on damaged files; all mean the same to the user
        raise UserError(f"{path} is damaged ({error}): {remedy}") from error
    version = state.get("version") if isinstance(state, dict) else None
    if version != VERSION:
        raise UserError(f"{path} has version {version}, this program reads {VERSION}: {remedy}")
    missing = sorted(PARTS - state.keys())
    if missing:
        raise UserError(f"{path} is damaged (it lacks {', '.join(missing)}): {remedy}")
    return dict(state)


@dataclass(frozen=True)
class Progress:
    """How far a saved run is: steps done, steps to do, and the (steps, epochs) that were asked for."""

    step: int
    total_steps: int
    length: tuple[int | None, float | None]


def read_progress(folder: Path) -> Progress | None:
    """How far the run in a folder is; None when there is no state. Errors as `read_state`."""
    state = read_state(folder, mapped=True)
    return Progress(state["step"], state["total_steps"], tuple(state["length"])) if state else None


def restore_state(
    folder: Path,
    *,
    networks: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    average: WeightAverage | None,
    memories: Mapping[str, nn.Module],
    world_size: int,
    fingerprint: str,
) -> int:
    """Put the state in a run folder into the networks, optimisers, averages and memories.

    Returns its step.

    Raises:
        UserError: it was trained on other data, or by another number of processes.
    """
    state = read_state(folder)
    assert state is not None
    if state["world_size"] != world_size:
        raise UserError(
            f"output={folder} holds a run of {state['world_size']} processes (devices), this one has {world_size}, "
            "which would be other batches: use as many, or train anew with another output= or resume=never"
        )
    if state["fingerprint"] != fingerprint:
        raise UserError(
            f"output={folder} holds a run on other images: some were added, removed, renamed or changed in channels or "
            "pixel type since. Bring them back to continue it, or train anew with another output= or resume=never"
        )
    for name, network in networks.items():
        network.load_state_dict(state["networks"][name])
    for player, optimizer in optimizers.items():
        optimizer.load_state_dict(state["optimizers"][player])
    if average is not None:
        for name, module in average.averages.items():
            module.load_state_dict(state["average"][name])
    for name, memory in memories.items():
        if name in state["memories"]:  # validation may have been off until now
            memory.load_state_dict(state["memories"][name])
    return int(state["step"])


def model_tensors(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The weights of a light model: `{network}.{name}` for the networks that translate."""
    return {f"{name}.{key}": value for name, network in networks.items() for key, value in network.state_dict().items()}
