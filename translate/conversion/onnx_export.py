"""Export to ONNX: one file that onnxruntime, OpenVINO and others run without this toolkit and without torch.

Inputs and output, all float32:

- `image` (batch, channels, height, width): pixel values as the source's files hold them, such as 0 to 255, RGB. Height
  and width are multiples of `size_multiple` and at least `min_size`.
- `labels` (batch, width), for a model of several domains: the label vectors to translate into.
- `translation` (batch, channels, height, width): pixel values of the target, clipped to its range, not rounded.

The file's metadata hold, for people, `description`, `input image`, `input labels`, `output translation`, `trained` and
`exported by`; and for programs under `translate` a JSON object:

- `format_version`: 1. `translate_version`: what wrote it.
- `source`, `target`: `channels`, `dtype` of the files, `low` and `high` (the pixel values that mean black and white),
  `labels` (whether pixels are class labels).
- `domains`: null, or the `sets` with `names`, `kind` and `exclusive`, in the order of the label vector; with several
  sets a mask of one number per set follows the names.
- `size_multiple`, `min_size`; `bytes_per_pixel` that running takes, about; `direction` (AtoB, BtoA or null); `steps` of
  training; `fingerprint` of the model.
- `latent`: numbers of the code that the network takes in torch; in the file it is zeros, the middle.
- `settings`: those of training that translating reads.
"""

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import translate
from translate.conversion.engine import Direction, ModelInfo
from translate.conversion.onnx_engine import (
    FORMAT_VERSION,
    IMAGE,
    LABELS,
    METADATA,
    TRANSLATION,
    OnnxEngine,
    load_onnx,
    missing,
)
from translate.conversion.torch_engine import SKETCHED, TorchEngine
from translate.errors import UserError
from translate.files import write_atomically
from translate.model import Model
from translate.pixels import Side

TOLERANCE = 1e-4
"""How far the file may be from torch, where images are in [-1, 1]."""

LARGEST = 2**31 - 2**20
"""Bytes of weights that fit into one file with all else: the format ends at 2 GiB."""


@dataclass(frozen=True)
class Check:
    """How an exported file compares with the network it was made from.

    Attributes:
        sizes: (batch, height, width) of the random images it was tried on.
        difference: the largest one between both outputs, where images are in [-1, 1]; above 1e-4 only where torch is
            further than that from its own result in double precision, and the file is nearer.
    """

    sizes: tuple[tuple[int, int, int], ...]
    difference: float


class PixelNetwork(nn.Module):
    """A network that maps [-1, 1] to [-1, 1], between the pixel values of two sides."""

    def __init__(self, network: nn.Module, source: Side, target: Side) -> None:
        super().__init__()
        self.network, self.source, self.target = network, source, target

    def forward(self, image: Tensor, labels: Tensor | None = None) -> Tensor:
        source = image.sub(self.source.low).mul(2 / (self.source.high - self.source.low)).sub(1)
        output: Tensor = self.network(source) if labels is None else self.network(source, labels)
        low, high = self.target.low, self.target.high
        return output.add(1).mul((high - low) / 2).add(low).clamp(low, high)


def export_onnx(model: Model, file: Path, *, direction: Direction | None = None) -> Check:
    """Write the network that translates to `file`, once what was written gives what torch gives.

    Any batch, height and width can be run. The statistics of normalisation are those of `norm_at_test`. Of a model of
    attributes the discriminator stays behind: whoever runs the file names every attribute.

    Args:
        model: a model as `read_model` gives it, on the CPU.
        file: ends in .onnx; replaced if it exists. Its folder is made.
        direction: `AtoB` or `BtoA` for a model that translates both ways; None is that of training.

    Raises:
        UserError: packages are missing; the model does not translate that way, draws dropout at random, is too large
            or cannot be exported; or what was written differs from torch by more than 1e-4 of [-1, 1] (or, where it is
            more, than torch differs from itself in double precision).
        OSError: the file cannot be written.
    """
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ModuleNotFoundError as error:
        raise missing("onnx", "the export to ONNX") from error
    if file.suffix.lower() != ".onnx" or file.is_dir():
        raise UserError(f"--output {file} must be a file that ends in .onnx")
    engine = TorchEngine(model, torch.device("cpu"), direction=direction)
    network = model.method.translator(back=engine.is_reversed)
    if any(isinstance(module, nn.Dropout) and module.training and module.p for module in network.modules()):
        raise UserError(
            "this model draws dropout when it translates (dropout_at_test=true), and a file cannot draw the same: set "
            'dropout_at_test=false for training, or "dropout_at_test": false in the config.json of a copy of the model'
        )
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if size > LARGEST:
        raise UserError(f"the network has {size / 2**30:.1f} GiB of weights, and one ONNX file holds at most 2")
    info = engine.info
    pixels = PixelNetwork(network, info.source, info.target).eval()
    metadata = _metadata(engine, None if model.domains else direction or _trained(model))
    found: list[Check] = []

    def write(partial: Path) -> None:
        _save(pixels, info, metadata, partial)
        found.append(_check(load_onnx(partial, "onnxruntime"), pixels))

    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, write)
    return found[0]


def _trained(model: Model) -> str | None:
    direction: str | None = model.settings["data"].get("direction")
    return direction


def _save(pixels: PixelNetwork, info: ModelInfo, metadata: dict[str, str], file: Path) -> None:
    """Write `pixels` for every batch, height and width that suits the network."""
    multiple, channels = info.size_multiple, info.source.channels
    batch = torch.export.Dim("batch", min=1)
    rows, columns = (torch.export.Dim(name, min=info.min_size // multiple) for name in ("rows", "columns"))
    sides = {2: rows, 3: columns} if multiple == 1 else {2: multiple * rows, 3: multiple * columns}
    blocks = max(info.min_size // multiple, 2)  # a length of 1 would be taken for a constant
    images = [torch.zeros(2, channels, blocks * multiple, (blocks + 1) * multiple)]
    shapes: list[dict[int, Any]] = [{0: batch, **sides}]
    names = [IMAGE]
    if info.domains is not None:
        images.append(torch.zeros(2, info.domains.width))
        shapes.append({0: batch})
        names.append(LABELS)
    from onnx_ir import Shape
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    try:
        with _silence(), torch.no_grad():
            # Strict: it follows the Python of `forward`, lengths of tensors too, without making constants of them.
            traced = torch.export.export(pixels, tuple(images), dynamic_shapes=tuple(shapes), strict=True)
            program = torch.onnx.export(
                traced, dynamo=True, input_names=names, output_names=[TRANSLATION], verbose=False, external_data=False
            )
    except Exception as error:  # the exporter's own errors have no class in common
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UserError(f"{type(pixels.network).__name__} cannot be exported to ONNX: {reason}") from error
    assert program is not None
    onnx_model = program.model
    ClearMetadataAndDocStringPass()(onnx_model)  # on every node: folders of this machine
    for node in onnx_model.graph:
        for value in node.outputs:
            value.shape = None  # in symbols that say nothing, and follow from those of the inputs
    for value, channel_count in zip(
        (*onnx_model.graph.inputs[:1], *onnx_model.graph.outputs), (channels, info.target.channels), strict=True
    ):
        value.shape = Shape(["batch", channel_count, "height", "width"])
    for value in onnx_model.graph.inputs[1:]:
        value.shape = Shape(["batch", images[1].shape[1]])
    onnx_model.metadata_props.update(metadata)
    program.save(file, external_data=False)


def _metadata(engine: TorchEngine, direction: str | None) -> dict[str, str]:
    """What the head of this module says is in the file."""
    info, method = engine.info, type(engine.model.method).__name__
    settings, data = info.settings, info.settings["data"]
    read = {name: settings[name] for name in ("image_size", "seed", "norm_at_test", "dropout_at_test")}
    first = {"first": {"augmentation": data["first"]["augmentation"]}} if "first" in data else {}
    read["data"] = {name: data[name] for name in ("direction", "augmentation") if name in data} | first
    block = {
        "format_version": FORMAT_VERSION,
        "translate_version": translate.__version__,
        "source": info.source.as_dict(),
        "target": info.target.as_dict(),
        "domains": info.domains.as_dict() if info.domains else None,
        "size_multiple": info.size_multiple,
        "min_size": info.min_size,
        "bytes_per_pixel": engine.memory_for(SKETCHED, SKETCHED) // SKETCHED**2,
        "direction": direction,
        "steps": info.steps,
        "fingerprint": info.fingerprint,
        "latent": info.latent,
        "settings": read,
    }
    sides = f"height and width multiples of {info.size_multiple} and at least {info.min_size}"
    metadata = {
        METADATA: json.dumps(block),
        "description": f"image-to-image translation by {method}" + (f", {direction}" if direction else ""),
        f"input {IMAGE}": f"{_pixels(info.source)}; {sides}",
        f"output {TRANSLATION}": _pixels(info.target),
        "trained": f"{info.steps} steps",
        "exported by": f"translate {translate.__version__}",
    }
    if info.domains is not None:
        metadata[f"input {LABELS}"] = f"float32 (batch, {info.domains.width}): {', '.join(info.domains.names)}" + (
            f"; then 1 for the set that is meant, of {len(info.domains.sets)}" if len(info.domains.sets) > 1 else ""
        )
    return metadata


def _pixels(side: Side) -> str:
    colors = {1: "grey", 3: "RGB"}.get(side.channels, f"{side.channels} channels")
    return f"float32 (batch, {side.channels}, height, width): {colors} pixel values from {side.low:g} to {side.high:g}"


def _check(exported: OnnxEngine, pixels: PixelNetwork) -> Check:
    """Run the file and the network on random images: the smallest, an oblong, a batch, the size of training.

    Raises:
        UserError: they differ by more than `TOLERANCE`, and not because torch rounds.
    """
    info, random = exported.info, np.random.default_rng(0)
    least, more = info.min_size, info.min_size + info.size_multiple
    trained = max(-(-info.settings["image_size"] // info.size_multiple) * info.size_multiple, least)
    sizes = tuple(dict.fromkeys([(1, least, least), (1, least, more), (2, more, least), (1, trained, trained)]))

    def gap(first: np.ndarray, second: np.ndarray) -> float:
        return float(np.abs(first - second).max()) * 2 / (info.target.high - info.target.low)

    worst = 0.0
    for batch, height, width in sizes:
        shape = (batch, info.source.channels, height, width)
        inputs = [random.uniform(info.source.low, info.source.high, shape).astype(np.float32)]
        if info.domains is not None:
            inputs.append(random.integers(0, 2, (batch, info.domains.width)).astype(np.float32))
        expected, found = _run(pixels, inputs, torch.float32), exported.translate_values(*inputs)
        difference = gap(found, expected)
        if not difference <= TOLERANCE:
            # Norms over the few pixels of small images enlarge what torch rounds: the file may be the nearer one.
            exact = _run(copy.deepcopy(pixels).double(), inputs, torch.float64)
            if not gap(found, exact) <= max(TOLERANCE, gap(expected, exact)):
                raise UserError(
                    f"the exported file differs from torch by {difference:.1e} of [-1, 1] on images of "
                    f"{height}x{width}, more than {TOLERANCE:.0e}: nothing was written"
                )
        worst = max(worst, difference)
    return Check(sizes, worst)


@torch.inference_mode()
def _run(pixels: PixelNetwork, inputs: list[np.ndarray], dtype: torch.dtype) -> np.ndarray:
    output: np.ndarray = pixels(*(torch.from_numpy(values).to(dtype) for values in inputs)).numpy()
    return output


@contextmanager
def _silence() -> Iterator[None]:
    """Keep back the exporter's warnings, which are about its own code."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
