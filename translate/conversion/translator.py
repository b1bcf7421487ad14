"""A trained model as a function of images: any size, any depth, same kind back."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from translate.conversion.engine import ROOMY, Backend, Direction, Engine, OutOfMemoryError, Pixels, TileStatistics
from translate.data.check import fits_channels, match_channels
from translate.data.image import ImageError, read_image
from translate.errors import UserError, check_choice
from translate.pixels import FULL_RANGE, Side

if TYPE_CHECKING:
    from translate.conversion.report import Report

Resize = Literal["native", "training"]
Tile = int | Literal["auto", "off"]
SMALLEST_TILE = 64
LARGEST_TILE = 1024
"""Tiles beyond it gain nothing: their borders are a small part already."""
EXACT_TILES = 64
"""Images of at most so many tiles get exact statistics unless told otherwise."""
MEMORY_SHARE = 0.5
"""Of the free memory, what a network may take; reading, writing and other programs need some too."""


class Translator:
    """Translates images. Made by `translate.load`; may be used from several threads.

    Attributes:
        engine: what runs the network.
        resize: `native` translates at the image's own size; `training` shrinks or enlarges it to the size the model
            was trained at, translates, and resizes the result back.
        tile: `auto` translates images that do not fit into memory in tiles, a number images with a longer side, in
            tiles of so many pixels per side; `off` none.
        tile_statistics: `exact` or `sampled`, see `Engine.run_tiles`; None is exact up to 64 tiles, and for
            networks with attention always.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        resize: Resize = "native",
        tile: Tile = "auto",
        tile_statistics: TileStatistics | None = None,
    ) -> None:
        check_choice("resize", resize, get_args(Resize))
        if tile not in ("auto", "off") and (not isinstance(tile, int) or tile < SMALLEST_TILE):
            raise UserError(f"--tile {tile} is not auto, off, or a number of pixels of at least {SMALLEST_TILE}")
        if tile_statistics is not None:
            check_choice("tile_statistics", tile_statistics, get_args(TileStatistics))
        self.engine = engine
        self.resize: Resize = resize
        self.tile: Tile = tile
        self.tile_statistics: TileStatistics | None = tile_statistics
        self._asked = -math.inf, 0.0

    @property
    def source(self) -> Side:
        """What the images to translate look like."""
        return self.engine.info.source

    @property
    def target(self) -> Side:
        """What they become."""
        return self.engine.info.target

    def with_code(self, code: Any) -> "Translator":
        """The same translator with a code of `latent` numbers, which chooses among several translations of an image.

        Codes are drawn from N(0, 1) in training (`translate.codes.draw_codes` gives those of `--samples`); a
        translator without one takes zeros, the middle.

        Raises:
            UserError: the model takes no code or one of another length, or the backend none.
        """
        translator = copy.copy(self)
        translator.engine = self.engine.with_code(code)
        return translator

    def __call__(self, image: Any, domain: str | None = None, *, code: Any = None) -> Any:
        """Translate one image: numpy (H, W, C) or (H, W) of uint8, uint16 or float32, a path, or a PIL image.

        The result is of the same kind, size and depth (a path gives an array, of the first page). Float values are in
        [0, 1] unless the model was trained on another range. EXIF orientation is applied. `code` is that of
        `with_code`.

        Raises:
            UserError: the image cannot be read or does not suit the model, or the code does not.
        """
        if code is not None:
            return self.with_code(code)(image, domain)
        if isinstance(image, str | Path):
            try:
                return self.translate_array(read_image(Path(image)), domain)
            except ImageError as error:
                raise ImageError(f"{image}: {error}") from error
        if isinstance(image, np.ndarray):
            is_flat = image.ndim == 2
            output = self.translate_array(image[..., None] if is_flat else image, domain)
            return output[..., 0] if is_flat and output.shape[2] == 1 else output
        if hasattr(image, "convert") and hasattr(image, "mode"):
            return _through_pil(image, lambda pixels: self.translate_array(pixels, domain))
        raise UserError(f"cannot translate a {type(image).__name__}: give a numpy array, a path or a PIL image")

    def requests(self, words: str | Sequence[str]) -> list[str]:
        """What the domains asked for are called in the model, `all` spelled out; empty for a model without domains.

        Raises:
            UserError: a domain is missing, unknown, or asked of a model that has none.
        """
        domains = self.engine.info.domains
        words = [words] if isinstance(words, str) else words
        if domains is None:
            if words:
                raise UserError(f"the domain {words[0]!r} was asked for, but this model has no domains")
            return []
        if not words:
            signed = any(labels.kind == "attributes" for labels in domains.sets)
            example = f"+{domains.names[0]}" if signed else domains.names[0]
            raise UserError(
                f"this model translates into several domains: name one, as {example}, or all. "
                f"Its domains are {', '.join(domains.names)}"
            )
        return domains.requests(words)

    def fingerprint(self, domain: str | None) -> str:
        """What changes with the model, where it translates into `domain`; not with the name of a domain."""
        return self.engine.info.fingerprint

    def convert_folder(self, input_path: str | Path, output: str | Path, **options: Any) -> "Report":
        """Convert a folder of images; options and errors as in `translate.conversion.folder.convert_folder`."""
        from translate.conversion.folder import convert_folder

        return convert_folder(self, Path(input_path), Path(output), **options)

    def translate_array(self, image: np.ndarray, domain: str | None = None) -> np.ndarray:
        """Translate (H, W, C); transparency is kept as it is."""
        return self.translate_batch([image], domain)[0]

    def translate_batch(self, images: Sequence[np.ndarray], domain: str | None = None) -> list[np.ndarray]:
        """Translate images (H, W, C) of one size and pixel type; each result is as if it were alone.

        What does not fit into memory together is run one by one, and what does not fit alone in tiles.

        Raises:
            ImageError: an image does not suit the model, or does not fit into memory with `tile` off.
        """
        parts = [self._prepared(image) for image in images]
        height, width = images[0].shape[:2]
        outputs: Sequence[np.ndarray]
        if self.resize == "training":
            size = training_size(self.engine.info.settings, height, width)
            pixels = [_resized(part, *size, labels=self.source.labels) for part, _ in parts]
            outputs = [
                _resized(output, height, width, labels=self.target.labels) for output in self._run(pixels, domain)
            ]
        else:
            outputs = self._run([part for part, _ in parts], domain)
        return [
            output if alpha is None else np.concatenate([output, alpha], axis=2)
            for output, (_, alpha) in zip(outputs, parts, strict=True)
        ]

    def translate_strips(self, source: Pixels, domain: str | None = None) -> Iterator[np.ndarray]:
        """Translate an image (H, W, C) that is never in memory as a whole: strips (rows, W, C) from top to bottom.

        `source` is anything with a shape and a dtype of which slices of rows and columns can be taken. Channels are
        as in `translate_batch`, except that a coloured image is never taken for a grey one.

        Raises:
            ImageError: the image does not suit the model, or the engine does not translate in tiles.
        """
        if self.resize == "training":
            raise ImageError(
                "is too large to be resized in memory: use --resize native, or shrink it with another program"
            )
        if self.tile == "off":
            raise ImageError("is too large to be translated in one piece: use --tile auto")
        prepared = _Prepared(
            source, self._channels(source.shape[2], str(source.dtype)), self.source.channels, self._check_range
        )
        top = 0
        for strip in self._tiles(prepared, domain):
            rows = slice(top, top + len(strip))
            top = rows.stop
            if not prepared.has_alpha or self.target.channels not in (1, 3):
                yield strip
            else:
                yield np.concatenate([strip, source[rows, 0 : source.shape[1]][..., -1:]], axis=2)

    def needs_tiles(self, height: int, width: int) -> bool:
        """Whether an image of this size is translated in tiles."""
        if self.tile == "off":
            return False
        if self.tile != "auto":
            return max(height, width) > self.tile
        free = self._free_memory()
        return height * width * ROOMY > free and self.engine.memory_for(height, width) > free

    def _free_memory(self) -> float:
        """Bytes that a network may take. Asked anew after a second: an answer takes as long as a small image."""
        asked, free = self._asked
        if time.monotonic() > asked + 1:
            free = MEMORY_SHARE * self.engine.free_memory()
            self._asked = time.monotonic(), free
        return free

    def _run(self, images: Sequence[np.ndarray], domain: str | None) -> Sequence[np.ndarray]:
        height, width = images[0].shape[:2]
        if self.needs_tiles(height, width):
            return [self._in_tiles(image, domain) for image in images]
        try:
            return list(self.engine.run(np.stack(images), domain))
        except OutOfMemoryError:
            pass
        if len(images) > 1:
            return [output for image in images for output in self._run([image], domain)]
        if self.tile == "off":
            raise ImageError(f"has {width}x{height} pixels, which do not fit into memory in one piece: use --tile auto")
        return [self._in_tiles(images[0], domain)]

    def _in_tiles(self, image: np.ndarray, domain: str | None) -> np.ndarray:
        """Translate in tiles, from the start again in smaller ones where memory does not suffice."""
        for tile in self._tile_sizes():
            try:
                return np.concatenate(list(self._strips(image, domain, tile)))
            except OutOfMemoryError:
                continue
        raise _too_large()

    def _tiles(self, source: Pixels, domain: str | None) -> Iterator[np.ndarray]:
        """Strips of an image in tiles; once the first is given out, there is no starting again."""
        has_begun = False
        for tile in self._tile_sizes():
            try:
                for strip in self._strips(source, domain, tile):
                    has_begun = True
                    yield strip
                return
            except OutOfMemoryError:
                if has_begun:
                    break
        raise _too_large()

    def _strips(self, source: Pixels, domain: str | None, tile: int) -> Iterator[np.ndarray]:
        height, width = source.shape[:2]
        count = -(-height // tile) * -(-width // tile)
        is_exact = count <= EXACT_TILES or self.engine.tiles_problem("sampled") is not None
        statistics = self.tile_statistics or ("exact" if is_exact else "sampled")
        problem = self.engine.tiles_problem(statistics)
        if problem is not None:
            why = "are more than fit into memory in one piece" if self.tile == "auto" else f"exceed --tile {self.tile}"
            raise ImageError(f"has {width}x{height} pixels, which {why}; {problem}")
        yield from self.engine.run_tiles(source, domain, tile=tile, statistics=statistics)

    def _tile_sizes(self) -> Iterator[int]:
        """Pixels per side of a tile: what was asked for, or what fits into memory; then ever smaller ones."""
        tile = LARGEST_TILE if self.tile in ("auto", "off") else int(self.tile)
        if self.tile == "auto":  # twice the side, for the border
            while tile > SMALLEST_TILE and self.engine.memory_for(2 * tile, 2 * tile) > self._free_memory():
                tile //= 2
        while tile >= SMALLEST_TILE:
            yield tile
            tile //= 2

    def _channels(self, found: int, dtype: str, *, is_grey: bool = False) -> int:
        """The channels of an image that are pixels, in front of its transparency."""
        wanted = self.source.channels
        pixels = found - 1 if found in (2, 4) and wanted != found else found
        if dtype not in FULL_RANGE or not fits_channels(pixels, wanted) or (pixels > wanted and not is_grey):
            remedy = ": convert it to grey first" if (pixels, wanted) == (3, 1) else ""
            raise ImageError(f"has {pixels} channels, but the model translates images of {wanted}{remedy}")
        return pixels

    def _check_range(self, image: np.ndarray) -> None:
        """Raise ImageError for floats that are no numbers, or far outside of what the model knows."""
        if image.dtype != np.float32:
            return
        low, high = self.source.range_for("float32")
        least, most = float(image.min()), float(image.max())
        if not math.isfinite(least) or not math.isfinite(most):
            raise ImageError("has pixels that are NaN or infinite: replace them")
        if least < 2 * low - high or most > 2 * high - low:
            raise ImageError(
                f"has values from {least:g} to {most:g}, but the model knows floats from {low:g} to {high:g}: rescale "
                "the image to them"
            )

    def _prepared(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Pixels as the model takes them, and the transparency that goes around it."""
        dtype = str(image.dtype)
        if dtype not in FULL_RANGE or image.ndim != 3 or not image.size:
            raise ImageError(
                f"has {dtype} pixels of shape {image.shape}; supported are (H, W, C) of {', '.join(FULL_RANGE)}"
            )
        self._check_range(image)
        wanted, colors = self.source.channels, image[..., :3]
        is_grey = wanted == 1 and image.shape[2] in (3, 4) and bool((colors == colors[..., :1]).all())
        count = self._channels(image.shape[2], dtype, is_grey=is_grey)
        alpha = image[..., count:] if count < image.shape[2] and self.target.channels in (1, 3) else None
        pixels = image[..., :1] if is_grey else match_channels(image[..., :count], wanted)
        return pixels, alpha


class _Prepared:
    """An image without its transparency, grey repeated for a model of colours, as slices of it are taken."""

    def __init__(self, image: Pixels, count: int, wanted: int, check: Callable[[np.ndarray], None]) -> None:
        self.image, self.count, self.check = image, count, check
        self.has_alpha = count < image.shape[2]
        self.shape, self.dtype = (*image.shape[:2], wanted), image.dtype

    def __getitem__(self, place: tuple[slice, slice]) -> np.ndarray:
        piece = self.image[place][..., : self.count]
        self.check(piece)
        return match_channels(piece, self.shape[2])


def load_translator(
    checkpoint: Path,
    *,
    accelerator: str = "auto",
    resize: Resize = "native",
    direction: Direction | None = None,
    tile: Tile = "auto",
    tile_statistics: TileStatistics | None = None,
    backend: Backend | None = None,
    trusted: tuple[str, ...] = (),
) -> Translator:
    """See `translate.load`; `trusted` names components of the user's own that the model may be built of."""
    from translate.conversion.load import load_engine

    engine = load_engine(checkpoint, accelerator=accelerator, direction=direction, backend=backend, trusted=trusted)
    translator = Translator(engine, resize=resize, tile=tile, tile_statistics=tile_statistics)
    problem = engine.tiles_problem("exact")
    if isinstance(tile, int) and problem is not None:
        raise UserError(f"--tile {tile}: {problem}")
    return translator


def training_size(settings: Any, height: int, width: int) -> tuple[int, int]:
    """The size to which training would have brought an image: what it saw of it, at the scale it saw it."""
    data = settings["data"]
    augmentation = data.get("augmentation") or data["first"]["augmentation"]
    size, mode = augmentation.get("load_size") or settings["image_size"], augmentation["resize"]
    crop = augmentation.get("center_crop") or max(height, width)
    seen_height, seen_width = min(height, crop), min(width, crop)  # what training brought to that size
    if mode == "stretch":
        return round(height * size / seen_height), round(width * size / seen_width)
    if mode == "keep_aspect":
        scale = size / min(seen_height, seen_width)
        return round(height * scale), round(width * scale)
    return height, width


def _too_large() -> ImageError:
    return ImageError(
        f"needs more memory than there is, even in tiles of {SMALLEST_TILE} pixels: close other programs, or use a "
        "machine with more memory"
    )


def _resized(image: np.ndarray, height: int, width: int, *, labels: bool) -> np.ndarray:
    from translate.data.augmentation import resize_image

    return resize_image(image, height, width, labels=labels)


def _through_pil(image: Any, translate: Callable[[np.ndarray], np.ndarray]) -> Any:
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    is_clear = image.mode in ("PA", "P") and ("transparency" in image.info or image.mode == "PA")
    known = ("L", "LA", "RGB", "RGBA", "I;16", "F")
    mode = image.mode if image.mode in known else "RGBA" if is_clear else "RGB"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    output = translate(pixels[..., None] if pixels.ndim == 2 else pixels)
    try:
        return Image.fromarray(output[..., 0] if output.shape[2] == 1 else output)
    except TypeError as error:
        raise ImageError(
            f"becomes {output.dtype} pixels with {output.shape[2]} channels, which PIL cannot hold: give a numpy array"
        ) from error
