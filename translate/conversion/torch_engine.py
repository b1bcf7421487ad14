"""A trained model on PyTorch: any size, whole or in tiles."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from translate.conversion.engine import (
    ROOMY,
    Backend,
    Direction,
    Engine,
    ModelInfo,
    OutOfMemoryError,
    Pixels,
    TileStatistics,
    reflected,
)
from translate.conversion.inference import prepare_network
from translate.conversion.tiles import Canvas, translate_layerwise, translate_tilewise
from translate.errors import UserError
from translate.methods.method import run_translator
from translate.model import Model
from translate.networks.attention import SelfAttention
from translate.opening import open_model
from translate.pixels import denormalize, normalize

Result = TypeVar("Result")
SKETCHED = 256
"""Pixels per side of the image that memory is estimated for."""
WORKSPACE = 2
"""Times the features of a network are held on the way through it: libraries reorder them. Measured 1.5 to 1.75."""
GLANCE = 512
"""Pixels per side of what attributes are recognised from in an image that is translated in tiles."""
SEEDED = threading.Lock()
"""Held while the random numbers of dropout are drawn: torch has one generator for all threads."""


class TorchEngine(Engine):
    """A model on a device.

    Attributes:
        model: the method and what it was made from.
        device: where it runs.
        network: what translates, as it runs fastest there.
        is_reversed: whether it translates against the direction of training.
        code: (1, latent), what chooses among several translations; None for zeros, and where there is one.
    """

    name: ClassVar[Backend] = "torch"

    def __init__(self, model: Model, device: torch.device, *, direction: Direction | None = None) -> None:
        trained = model.settings["data"].get("direction", "AtoB")
        if direction not in (None, "AtoB", "BtoA"):
            raise UserError(f"direction={direction} is not one of AtoB, BtoA")
        self.is_reversed = direction not in (None, trained)
        if direction is not None and model.domains is not None:
            raise UserError(
                f"direction={direction}: this model translates into domains, in no direction; name a domain"
            )
        if self.is_reversed and not model.method.is_reversible:
            raise UserError(
                f"direction={direction}: this {type(model.method).__name__} model was trained {trained} and translates "
                "one way alone; a CycleGAN translates both"
            )
        self.model, self.device = model, device
        self.default_batch_size = 1 if device.type == "cpu" else 8
        model.method.to(device)
        self._bytes_per_pixel: int | None = None
        self.network = self._prepare()
        self.code: Tensor | None = None
        source, target = (model.target, model.source) if self.is_reversed else (model.source, model.target)
        self.info = ModelInfo(
            source=source,
            target=target,
            domains=model.domains,
            settings=model.settings,
            size_multiple=model.method.size_multiple,
            min_size=model.method.min_size,
            steps=model.steps,
            fingerprint=f"{model.fingerprint}{'-back' * self.is_reversed}",
            latent=int(getattr(model.method.translator(back=self.is_reversed), "latent", 0)),
        )

    def with_code(self, code: Any) -> "TorchEngine":
        values = self.checked_code(code)
        engine = copy.copy(self)
        engine.code = torch.from_numpy(values[None].copy()).to(self.device)
        engine.info = replace(self.info, fingerprint=f"{self.info.fingerprint}-code-{values.tobytes().hex()}")
        return engine

    def use_settings(self, settings: dict[str, Any]) -> None:
        """Translate with other settings than those of training: `norm_at_test`, `dropout_at_test`, `image_size`."""
        self.model = replace(self.model, settings=settings)
        self.info = replace(self.info, settings=settings)
        self.model.apply_test_behaviour()
        self.network = self._prepare()

    def memory_for(self, height: int, width: int) -> int:
        height, width = self.info.padded_size(height, width)
        if self._bytes_per_pixel is None:
            from translate.conversion.peak_memory import peak_bytes

            side = max(SKETCHED // self.info.size_multiple, 2) * self.info.size_multiple
            told: list[Sequence[int] | None] = []
            if self.info.domains is not None or self.info.latent:
                told.append((1, self.info.domains.width) if self.info.domains else None)
            if self.info.latent:
                told.append((1, self.info.latent))
            network = self.model.method.translator(back=self.is_reversed)
            try:
                used = peak_bytes(network, (1, self.info.source.channels, side, side), *told)
                self._bytes_per_pixel = max(WORKSPACE * used // side**2, 1)
            except RuntimeError:  # a network that looks at its pixels to decide what it does
                self._bytes_per_pixel = ROOMY
        return height * width * self._bytes_per_pixel

    def free_memory(self) -> int:
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            return free + torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return super().free_memory()

    def tiles_problem(self, statistics: TileStatistics) -> str | None:
        if statistics == "sampled" and any(isinstance(layer, SelfAttention) for layer in self.network.modules()):
            return (
                "the network's attention sees all of an image, which tiles of their own do not: use --tile-statistics "
                "exact"
            )
        return None

    def run_tiles(
        self, source: Pixels, domain: str | None, *, tile: int, statistics: TileStatistics
    ) -> Iterator[np.ndarray]:
        dtype = str(source.dtype)
        height, width = self.info.padded_size(*source.shape[:2])
        canvas = Canvas(source, height, width, self._normalize, lambda images: self._denormalize(images, dtype)[0])
        with torch.inference_mode():
            labels = self.model.method.labels(self._glance(source), domain)
        turns = count()

        def run(images: Any) -> Any:
            with self._seeded(next(turns)):
                return self._run_network(images, None if labels is None else labels.expand(len(images), -1))

        memory = super().free_memory() // 2
        if statistics == "exact":
            strips = translate_layerwise(run, canvas, tile=tile, device=self.device, memory=memory)
        else:
            multiple, min_size = self.info.size_multiple, self.info.min_size
            strips = translate_tilewise(
                run, canvas, tile=tile, device=self.device, memory=memory, multiple=multiple, min_size=min_size
            )
        while True:
            with torch.inference_mode():
                strip = self._guarded(lambda: next(strips, None))
            if strip is None:
                return
            yield strip

    def _glance(self, source: Pixels) -> Tensor:
        """The image (1, C, H, W) at a size that fits, for what recognises its attributes; one pixel if nothing does."""
        domains = self.info.domains
        if domains is None or all(labels.kind == "one_hot" for labels in domains.sets):
            return self._normalize(source[0:1, 0:1][None])
        step = max(max(source.shape[:2]) // GLANCE, 1)
        rows = [source[top : top + 1, 0 : source.shape[1]][:, ::step] for top in range(0, source.shape[0], step)]
        glance = self._normalize(np.concatenate(rows)[None])
        height, width = glance.shape[2:]
        taken = self.info.padded_size(height, width)
        return reflect(glance, taken[0] - height, taken[1] - width)

    def run(self, pixels: np.ndarray, domain: str | None) -> np.ndarray:
        dtype = str(pixels.dtype)
        output = self.translate_tensor(self._normalize(pixels), domain)
        return self._denormalize(output, dtype)

    def _normalize(self, pixels: np.ndarray) -> Tensor:
        """(B, H, W, C) of the files' type to (B, C, H, W) in [-1, 1] on the device."""
        low, high = self.info.source.range_for(str(pixels.dtype))
        if not pixels.flags.writeable:  # torch warns of arrays that it must not write to
            pixels = pixels.copy()
        return normalize(torch.from_numpy(pixels).permute(0, 3, 1, 2).to(self.device), low, high)

    def _denormalize(self, images: Tensor, dtype: str) -> np.ndarray:
        """(B, C, H, W) in [-1, 1] to (B, H, W, C) of the files' type."""
        return denormalize(images.permute(0, 2, 3, 1), dtype, *self.info.target.range_for(dtype))

    @torch.inference_mode()
    def translate_tensor(self, batch: Tensor, domain: str | None = None, labels: Tensor | None = None) -> Tensor:
        """Translate (B, C, H, W) in [-1, 1] of any size: padded by reflection to what the network takes, and cropped
        back. `labels`, (B, width), say into what, if no domain does.

        Raises:
            OutOfMemoryError: there is not enough memory for these images at once.
        """
        height, width = batch.shape[2:]
        taken = self.info.padded_size(height, width)
        padded = reflect(batch, taken[0] - height, taken[1] - width)
        if not self.model.settings["dropout_at_test"]:
            return self._guarded(lambda: self._translate(padded, domain, labels))[..., :height, :width]
        # One by one from the same seed: an image's result depends neither on its batch nor on chance.
        outputs = []
        for place in range(len(padded)):
            one = slice(place, place + 1)
            own = None if labels is None else labels[one]
            with self._seeded():
                outputs.append(
                    self._guarded(lambda one=one, own=own: self._translate(padded[one], domain, own))  # type: ignore[misc]
                )
        return torch.cat(outputs)[..., :height, :width]

    def _translate(self, images: Tensor, domain: str | None, labels: Tensor | None) -> Tensor:
        if labels is None:
            labels = self.model.method.labels(images, domain)
        output: Tensor = self._run_network(images, labels)
        return output

    def _run_network(self, images: Any, labels: Tensor | None) -> Any:
        code = None if self.code is None else self.code.expand(len(images), -1)
        return run_translator(self.network, images, labels, code)

    def _prepare(self) -> nn.Module:
        return prepare_network(self.model.method.translator(back=self.is_reversed), self.device)

    @contextmanager
    def _seeded(self, turn: int = 0) -> Iterator[None]:
        """Inside, random numbers are the same each time for this turn; the caller's own are not touched."""
        if not self.model.settings["dropout_at_test"]:
            yield
            return
        seed = self.model.settings["seed"] + turn
        devices = [] if self.device.type == "cpu" else [self.device]
        kind = "cuda" if self.device.type == "cpu" else self.device.type
        with SEEDED, torch.random.fork_rng(devices=devices, device_type=kind):
            torch.default_generator.manual_seed(seed)
            if self.device.type == "cuda":
                torch.cuda.manual_seed(seed)
            elif self.device.type == "mps":
                torch.mps.manual_seed(seed)
            yield

    def _guarded(self, function: Callable[[], Result]) -> Result:
        """Call `function`; turn torch's ways of saying that memory is full into OutOfMemoryError."""
        try:
            return function()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
        # Behind the handler, whose traceback would hold on to what fills the memory.
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        raise OutOfMemoryError


def load_torch_engine(
    checkpoint: Path,
    *,
    accelerator: str = "auto",
    direction: Direction | None = None,
    trusted: tuple[str, ...] = (),
) -> TorchEngine:
    """The model that `checkpoint` means, on a device; arguments and errors as of `translate.load`."""
    return TorchEngine(open_model(checkpoint, trusted=trusted), pick_device(accelerator), direction=direction)


def is_out_of_memory(error: Exception) -> bool:
    """Whether torch ran out of memory; most devices say so in words alone."""
    words = ("can't allocate memory", "out of memory", "bad_alloc", "ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(word in str(error) for word in words)


def pick_device(accelerator: str) -> torch.device:
    """The device that `auto`, `cpu`, `cuda` or `mps` means here.

    Raises:
        UserError: an unknown name, or a device that is not there.
    """
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if accelerator == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if available[name]))
    if accelerator not in available:
        raise UserError(f"accelerator={accelerator} is not one of auto, {', '.join(available)}")
    if not available[accelerator]:
        raise UserError(f"accelerator={accelerator} is not available here: use accelerator=cpu")
    return torch.device(accelerator)


def reflect(batch: Tensor, down: int, right: int) -> Tensor:
    """Pad (B, C, H, W) at the bottom and the right by reflection, as often as a small image needs."""
    for dimension, more in ((2, down), (3, right)):
        if more:
            size = batch.shape[dimension]
            places = torch.from_numpy(reflected(np.arange(size + more), size))
            batch = batch.index_select(dimension, places.to(batch.device))
    return batch
