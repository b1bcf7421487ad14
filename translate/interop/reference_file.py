"""Reading files of weights that other programs wrote. Only tensors are taken, and nothing in a file is ever run."""

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from translate.errors import UserError
from translate.model_folder import LATEST, REFERENCE_FILES, STATE, WEIGHTS

WRAPPERS = re.compile(r"(?:(?<=\.)|^)(?:module|_orig_mod)\.")
"""What DataParallel, DistributedDataParallel and torch.compile put into names."""
BODIES = ("model", "main", "net")
"""What the known networks call the layers they consist of."""
OLD_FORMAT = pickle.dumps(torch.serialization.MAGIC_NUMBER, protocol=2)
"""What a file of torch.save begins with that is no zip archive."""
DEEPEST = 4
"""Dictionaries inside one another that weights are looked for in."""
TOP = "top"
"""What a network is called that is inside no dictionary with a name."""
REMEDY = "in the program that wrote it, save the weights alone: torch.save(network.state_dict(), FILE)"


def read_tensors(path: Path, *, part: str | None = None) -> dict[str, Tensor]:
    """The named tensors of a network in a file of torch.save (.pth, .pt, .ckpt) or safetensors, on the CPU.

    A dictionary inside dictionaries, as training programs save several things together, is found where it is the only
    one with weights. What DataParallel and torch.compile put into names is taken out.

    Args:
        path: the file.
        part: which of several networks in it is meant.

    Raises:
        UserError: there is no such file, it is damaged, holds no named tensors, or several networks and `part` is none
            of them.
    """
    parts = _name_parts(list(_parts(path, _load(path))))
    if not parts:
        raise UserError(f"{path} holds no weights by name: {REMEDY}")
    if part is None and len(parts) == 1:
        (tensors,) = parts.values()
        return tensors
    names = ", ".join(f"{name} ({len(tensors)} tensors)" for name, tensors in parts.items())
    if part is None:
        raise UserError(
            f"{path} holds several networks: {names}. Choose one with translate import ... --part NAME, in Python "
            "load_reference(..., part=NAME)"
        )
    if part not in parts:
        raise UserError(f"part={part}: {path} holds {names}" + ", alone: leave it out" * (len(parts) == 1))
    return parts[part]


def _load(path: Path) -> Mapping[Any, Any]:
    if not path.exists():
        raise UserError(f"{path} does not exist: give a file of weights ({', '.join(REFERENCE_FILES)})")
    if path.is_dir():
        raise UserError(f"{path} is a folder: give a file of weights ({', '.join(REFERENCE_FILES)})")
    if (place := path.absolute()).parts[-2:] == STATE.parts and (run := place.parent.parent / LATEST).is_dir():
        raise UserError(f"{path} is part of the run {run.parent}: give the folder")
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        raise UserError(f"{path} is empty: copy or download it again")
    if start.lstrip().startswith((b"<", b"version https://git-lfs")):
        what = "a web page" if start.lstrip().startswith(b"<") else "a Git LFS pointer"
        raise UserError(f"{path} is {what} in the place of weights: download the file itself")
    loaded = _load_safetensors(path) if path.suffix.lower() == ".safetensors" else _load_pickle(path, start)
    if not isinstance(loaded, Mapping):
        raise UserError(f"{path} holds a {type(loaded).__name__}, no weights by name: {REMEDY}")
    if _is_optimizer(loaded):
        raise UserError(
            f"{path} holds the state of an optimiser, no network: give the file of the generator's weights, which is "
            "called something like latest_net_G.pth or 200000-G.ckpt"
        )
    return loaded


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            if path.name == WEIGHTS and "steps" in (file.metadata() or {}):
                raise UserError(f"{path} is a part of the model folder {path.parent}: give the folder")
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} is truncated, damaged or no safetensors file: copy or download it again") from error


def _load_pickle(path: Path, start: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused below in words of our own
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in any way
        message = str(error)
        foreign = re.search(r"GLOBAL ([\w.]+)", message) if isinstance(error, pickle.UnpicklingError) else None
        if foreign:
            raise UserError(
                f"{path} holds more than weights: loading it would run {foreign[1]}, which is never done. It may be a "
                f"whole pickled network or an attack; {REMEDY}"
            ) from error
        if "TorchScript" in message:
            raise UserError(f"{path} is a TorchScript program, no file of weights: {REMEDY}") from error
        if start.startswith(b"\x80") and not start.startswith(OLD_FORMAT):
            raise UserError(f"{path} is a pickle of Python objects, which is never run: {REMEDY}") from error
        if start.startswith((b"PK", b"\x80")):
            raise UserError(f"{path} is truncated or damaged: copy or download it again") from error
        raise UserError(
            f"{path} is no file of weights: torch.save did not write it, and no safetensors file is called so"
        ) from error


def _parts(
    path: Path, value: Mapping[Any, Any], place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    """Where in nested dictionaries weights by name are, and they."""
    if _is_optimizer(value):
        return
    tensors = {name: each.detach() for name, each in value.items() if isinstance(name, str) and _is_dense(each)}
    if any(tensor.dim() > 1 for tensor in tensors.values()):
        for name, network in _networks(_unwrapped(path, tensors)).items():
            yield (*place, name) if name else place, network
    for name, inner in value.items():
        if isinstance(inner, Mapping) and len(place) < DEEPEST:
            yield from _parts(path, inner, (*place, str(name)))


def _is_dense(value: Any) -> bool:
    return torch.is_tensor(value) and value.layout == torch.strided and not value.is_quantized


def _is_optimizer(value: Mapping[Any, Any]) -> bool:
    return {"state", "param_groups"} <= value.keys()


def _unwrapped(path: Path, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = WRAPPERS.sub("", name)
        if plain in found:
            raise UserError(f"{path} holds {plain} twice, with and without what wraps networks: save one of them")
        found[plain] = tensor
    return found


def _networks(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The networks in one dictionary whose names begin with theirs (`netG.model.1.weight`); else all of it, unnamed."""
    split = [(*name.partition(".")[::2], tensor) for name, tensor in tensors.items()]
    names = {first for first, rest, _ in split if first not in BODIES and rest.partition(".")[0] in BODIES}
    if not names:
        return {"": dict(tensors)}
    found: dict[str, dict[str, Tensor]] = {name: {} for name in sorted(names)}
    for first, rest, tensor in split:
        if first in names:
            found[first][rest] = tensor
    return found


def _name_parts(parts: list[tuple[tuple[str, ...], dict[str, Tensor]]]) -> dict[str, dict[str, Tensor]]:
    """Parts by the last word of their place, or by all of it where two end in the same."""
    last = [place[-1] if place else TOP for place, _ in parts]
    return {
        name if last.count(name) == 1 else ".".join(place) or TOP: tensors
        for name, (place, tensors) in zip(last, parts, strict=True)
    }
