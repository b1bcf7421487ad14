"""A trained model as a function of images: any size, any depth, same kind back."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from translate.data.check import fits_channels, match_channels
from translate.data.image import ImageError, read_image
from translate.errors import UserError
from translate.methods.method import refuse_domain
from translate.model import Model, find_model, read_model
from translate.pixels import FULL_RANGE, denormalize, normalize

if TYPE_CHECKING:
    from translate.conversion.folder import Report

Resize = Literal["native", "training"]
Direction = Literal["AtoB", "BtoA"]


class Translator:
    """Translates images. Made by `translate.load`.

    Attributes:
        model: the method and what it was made from.
        source: what the images to translate look like.
        target: what they become.
        device: where it runs.
        resize: `native` translates at the image's own size; `training` shrinks or enlarges it to the size the model
            was trained at, translates, and resizes the result back.
    """

    def __init__(
        self, model: Model, device: torch.device, *, resize: Resize = "native", direction: Direction | None = None
    ) -> None:
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
        self.model = model
        self.source, self.target = (model.target, model.source) if self.is_reversed else (model.source, model.target)
        self.device = device
        self.resize: Resize = resize
        model.method.to(device)

    def __call__(self, image: Any, domain: str | None = None) -> Any:
        """Translate one image: numpy (H, W, C) or (H, W) of uint8, uint16 or float32, a path, or a PIL image.

        The result is of the same kind, size and depth (a path gives an array). Float values are in [0, 1] unless the
        model was trained on another range.

        Raises:
            UserError: the image cannot be read or does not suit the model.
        """
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

    def use_settings(self, settings: dict[str, Any]) -> None:
        """Translate with other settings than those of training: `norm_at_test`, `dropout_at_test`, `image_size`."""
        self.model = replace(self.model, settings=settings)
        self.model.apply_test_behaviour()

    def requests(self, words: str | Sequence[str]) -> list[str]:
        """What the domains asked for are called in the model, `all` spelled out; empty for a model without domains.

        Raises:
            UserError: a domain is missing, unknown, or asked of a model that has none.
        """
        domains = self.model.domains
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

    def convert_folder(self, input_path: str | Path, output: str | Path, **options: Any) -> "Report":
        """Convert a folder of images; options and errors as in `translate.conversion.folder.convert_folder`."""
        from translate.conversion.folder import convert_folder

        return convert_folder(self, Path(input_path), Path(output), **options)

    def translate_array(self, image: np.ndarray, domain: str | None = None) -> np.ndarray:
        """Translate (H, W, C); transparency of RGBA pixels is kept as it is."""
        return self.translate_batch([image], domain)[0]

    def translate_batch(self, images: Sequence[np.ndarray], domain: str | None = None) -> list[np.ndarray]:
        """Translate images (H, W, C) of one size and pixel type in one pass; each result is as if it were alone.

        Raises:
            ImageError: an image does not suit the model.
        """
        parts = [self._split_alpha(image) for image in images]
        dtype = str(images[0].dtype)
        source, target = self.source, self.target
        low, high = source.range_for(dtype)
        pixels = np.stack([part for part, _ in parts]).transpose(0, 3, 1, 2)
        batch = normalize(torch.from_numpy(np.ascontiguousarray(pixels)).to(self.device), low, high)
        output = self.translate_tensor(batch, domain)
        low, high = target.range_for(dtype)
        arrays = denormalize(output, dtype, low, high).transpose(0, 2, 3, 1)  # (B, H, W, C)
        return [
            array if alpha is None else np.concatenate([array, alpha], axis=2)
            for array, (_, alpha) in zip(arrays, parts, strict=True)
        ]

    @torch.inference_mode()
    def translate_tensor(self, batch: Tensor, domain: str | None = None) -> Tensor:
        """Translate (B, C, H, W) in [-1, 1] of any size: padded by reflection to what the network takes, and cropped
        back."""
        height, width = batch.shape[2:]
        if self.resize == "training":
            batch = _resize(batch, *self._training_size(height, width), labels=self.source.labels)
        return _resize(self._run(batch, domain), height, width, labels=self.target.labels)

    def _run(self, batch: Tensor, domain: str | None) -> Tensor:
        method = self.model.method

        def translate(images: Tensor) -> Tensor:
            if not self.is_reversed:
                return method.translate(images, domain)
            refuse_domain(domain)
            return method.translate_back(images)

        height, width = batch.shape[2:]
        down, right = (max(-side % method.size_multiple, method.min_size - side) for side in (height, width))
        padded = reflect(batch, down, right)
        if not self.model.settings["dropout_at_test"]:
            output = translate(padded)
        else:
            # One by one from the same seed: an image's result depends neither on its batch nor on chance.
            outputs = []
            with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
                for image in torch.split(padded, 1):
                    torch.manual_seed(self.model.settings["seed"])
                    outputs.append(translate(image))
            output = torch.cat(outputs)
        return output[..., :height, :width]

    def _training_size(self, height: int, width: int) -> tuple[int, int]:
        data = self.model.settings["data"]
        augmentation = data.get("augmentation") or data["first"]["augmentation"]
        size, mode = augmentation.get("load_size") or self.model.settings["image_size"], augmentation["resize"]
        crop = augmentation.get("center_crop") or max(height, width)
        seen_height, seen_width = min(height, crop), min(width, crop)  # what training brought to that size
        if mode == "stretch":
            return round(height * size / seen_height), round(width * size / seen_width)
        if mode == "keep_aspect":
            scale = size / min(seen_height, seen_width)
            return round(height * scale), round(width * scale)
        return height, width

    def _split_alpha(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Pixels as the model takes them, and the transparency that goes around it."""
        wanted = self.source.channels
        dtype = str(image.dtype)
        if dtype not in FULL_RANGE or image.ndim != 3 or not image.size:
            raise ImageError(
                f"has {dtype} pixels of shape {image.shape}; supported are (H, W, C) of {', '.join(FULL_RANGE)}"
            )
        alpha = image[..., 3:] if image.shape[2] == 4 and wanted != 4 else None
        pixels = image if alpha is None else image[..., :3]
        found = pixels.shape[2]
        is_grey = found == 3 and bool((pixels == pixels[..., :1]).all())
        if not fits_channels(found, wanted) or (found == 3 and wanted == 1 and not is_grey):
            remedy = ": convert it to grey first" if (found, wanted) == (3, 1) else ""
            raise ImageError(f"has {found} channels, but the model translates images of {wanted}{remedy}")
        pixels = pixels[..., :1] if is_grey and wanted == 1 else match_channels(pixels, wanted)
        return pixels, alpha if self.target.channels == 3 else None


def load_translator(
    checkpoint: Path,
    *,
    accelerator: str = "auto",
    resize: Resize = "native",
    direction: Direction | None = None,
    trusted: tuple[str, ...] = (),
) -> Translator:
    """See `translate.load`; `trusted` names components of the user's own that the model may be built of."""
    model = read_model(find_model(checkpoint), trusted=trusted)
    return Translator(model, pick_device(accelerator), resize=resize, direction=direction)


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
    while down or right:
        height, width = batch.shape[2:]
        now_down, now_right = min(down, height - 1), min(right, width - 1)
        if (down and not now_down) or (right and not now_right):  # one pixel has nothing to reflect
            return pad(batch, (0, right, 0, down), mode="replicate")
        batch = pad(batch, (0, now_right, 0, now_down), mode="reflect")
        down, right = down - now_down, right - now_right
    return batch


def _resize(batch: Tensor, height: int, width: int, *, labels: bool) -> Tensor:
    if batch.shape[2:] == (height, width):
        return batch
    if labels:
        return torch.nn.functional.interpolate(batch, (height, width), mode="nearest-exact")
    return torch.nn.functional.interpolate(
        batch, (height, width), mode="bicubic", antialias=True, align_corners=False
    ).clamp(-1, 1)


def _through_pil(image: Any, translate: Callable[[np.ndarray], np.ndarray]) -> Any:
    from PIL import Image

    mode = image.mode if image.mode in ("L", "RGB", "RGBA", "I;16", "F") else "RGB"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    output = translate(pixels[..., None] if pixels.ndim == 2 else pixels)
    try:
        return Image.fromarray(output[..., 0] if output.shape[2] == 1 else output)
    except TypeError as error:
        raise ImageError(
            f"becomes {output.dtype} pixels with {output.shape[2]} channels, which PIL cannot hold: give a numpy array"
        ) from error
