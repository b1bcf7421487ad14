"""What runs a trained network: PyTorch, or an exported file on onnxruntime or OpenVINO. Imports none of them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from translate.domains import Domains
from translate.errors import UserError
from translate.pixels import Side

Backend = Literal["torch", "onnxruntime", "openvino"]
Direction = Literal["AtoB", "BtoA"]
TileStatistics = Literal["exact", "sampled"]


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model besides its networks: enough to prepare images for it.

    Attributes:
        source: what the images to translate look like.
        target: what they become.
        domains: what it translates into, for a model of several domains.
        settings: those of its training.
        size_multiple: height and width that the network takes are multiples of this,
        min_size: and at least this.
        steps: how long it was trained.
        fingerprint: changes with the weights, the configuration, the direction and the code.
        latent: numbers of the code that chooses among several translations of an image; 0 where there is one.
    """

    source: Side
    target: Side
    domains: Domains | None
    settings: Mapping[str, Any]
    size_multiple: int
    min_size: int
    steps: int
    fingerprint: str
    latent: int = 0

    def padded_size(self, height: int, width: int) -> tuple[int, int]:
        """The size that the network takes for an image of this one."""
        multiple, least = self.size_multiple, self.min_size
        return max(-(-height // multiple) * multiple, least), max(-(-width // multiple) * multiple, least)


ROOMY = 4096
"""Bytes per pixel that no generator needs: whether smaller images fit is not looked at closely."""


class Pixels(Protocol):
    """An image (H, W, C) that may lie in a file: slices of rows and columns are read when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, place: tuple[slice, slice]) -> np.ndarray: ...


def reflected(places: np.ndarray, size: int) -> np.ndarray:
    """Where in [0, size) places beyond its ends are found by reflection, as often as needed; one pixel is repeated."""
    if size == 1:
        return np.zeros_like(places)
    period = 2 * (size - 1)
    places = np.abs(places) % period
    found: np.ndarray = np.minimum(places, period - places)
    return found


class OutOfMemoryError(Exception):
    """The images do not fit into the device's memory at once."""


class Engine(ABC):
    """A trained network as a function of arrays.

    Attributes:
        info: what is known of the model.
        name: what runs it.
        default_batch_size: images of one size that are best run together.
    """

    info: ModelInfo
    name: ClassVar[Backend]
    default_batch_size: int = 1

    @abstractmethod
    def run(self, pixels: np.ndarray, domain: str | None) -> np.ndarray:
        """Translate (B, H, W, C) of uint8, uint16 or float32 into (B, H, W, target channels) of the same type.

        Any height and width: padded by reflection to what the network takes, and cropped back. The values of integer
        types are clipped to the target's range.

        Raises:
            OutOfMemoryError: there is not enough memory for these images at once.
            UserError: a domain is missing, unknown, or cannot be had.
        """

    def with_code(self, code: Any) -> "Engine":
        """The same engine, translating with a code of `latent` numbers instead of zeros.

        Raises:
            UserError: the model takes no code, or one of another length; or this engine gives it none.
        """
        self.checked_code(code)
        raise UserError(
            f"--backend {self.name} runs an exported file, whose code is zeros: for other translations use --backend "
            "torch with the run or model folder"
        )

    def checked_code(self, code: Any) -> np.ndarray:
        """A code as float32. Errors as of `with_code`."""
        latent, values = self.info.latent, np.asarray(code, np.float32)
        if not latent:
            raise UserError(
                "this model makes one translation of an image, no samples to choose from: for several, train with "
                "method=pix2pix generator.latent=8"
            )
        if values.shape != (latent,) or not np.isfinite(values).all():
            raise UserError(f"a code of this model is {latent} finite numbers, not an array of shape {values.shape}")
        return values

    def memory_for(self, height: int, width: int) -> int:
        """Bytes that `run` needs for one image of this size, about; 0 where nothing is known."""
        return 0

    def free_memory(self) -> int:
        """Bytes that `run` may use now."""
        from translate.memory import available_memory

        return available_memory()

    def tiles_problem(self, statistics: TileStatistics) -> str | None:
        """Why this engine cannot translate in tiles, with the remedy; None if it can."""
        return f"--backend {self.name} translates no tiles: use --backend torch"

    def run_tiles(
        self, source: Pixels, domain: str | None, *, tile: int, statistics: TileStatistics
    ) -> Iterator[np.ndarray]:
        """Translate an image (H, W, C) in tiles of about `tile` pixels per side: (rows, W, C) from top to bottom.

        `exact` measures what normalisation needs over the whole image; `sampled` estimates it from some of the tiles.
        Memory is bounded by the tile, not by the image.

        Raises:
            OutOfMemoryError: there is not enough memory for tiles of this size.
            UserError: see `tiles_problem`.
        """
        raise UserError(str(self.tiles_problem(statistics)))
