"""A model exported by `translate export`, run by onnxruntime or OpenVINO. Imports no torch."""

import hashlib
import json
import os
import threading
from abc import abstractmethod
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from translate.conversion.engine import Backend, Engine, ModelInfo, OutOfMemoryError, reflected
from translate.domains import Domains
from translate.errors import UserError, check_choice
from translate.pixels import FULL_RANGE, Side

OnnxBackend = Literal["onnxruntime", "openvino"]
IMAGE, LABELS, TRANSLATION = "image", "labels", "translation"
"""The names of the file's inputs and of its output."""

METADATA = "translate"
"""The key of the file's metadata that holds what `metadata_of` gives, as JSON."""

FORMAT_VERSION = 1
FULL = ("bad_alloc", "bad allocation", "Failed to allocate", "not enough memory", "Cannot allocate memory")
"""How the two say that memory ran out."""


class OnnxEngine(Engine):
    """An exported file, made by `load_onnx`. Safe to call from several threads.

    Attributes:
        metadata: what the file says of itself, as `metadata_of` writes it.
    """

    def __init__(self, file: Path, threads: int | None) -> None:
        text = self._load(file, threads)
        if text is None:
            raise UserError(
                f"{file} was not written by translate export: what its pixel values and its sizes must be is not "
                f"known. {_remedy(file)}"
            )
        try:
            self.metadata: dict[str, Any] = json.loads(text)
            version = self.metadata["format_version"]
            if version != FORMAT_VERSION:
                raise UserError(
                    f"{file} has format_version={version}, this version reads {FORMAT_VERSION}: use translate "
                    f"{self.metadata.get('translate_version')} or later, or export again"
                )
            saved = self.metadata
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            self.info = ModelInfo(
                source=Side(**saved["source"]),
                target=Side(**saved["target"]),
                domains=Domains.from_dict(saved["domains"]) if saved["domains"] else None,
                settings=saved["settings"],
                size_multiple=int(saved["size_multiple"]),
                min_size=int(saved["min_size"]),
                steps=int(saved["steps"]),
                fingerprint=digest,  # the direction and all else are in the file
                latent=int(saved.get("latent", 0)),
            )
            if min(self.info.size_multiple, self.info.min_size, int(saved["bytes_per_pixel"])) < 1:
                raise ValueError("a size below 1")
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, UserError):
                raise
            raise UserError(
                f"the metadata of {file} is damaged: {type(error).__name__}: {error}. {_remedy(file)}"
            ) from error

    def memory_for(self, height: int, width: int) -> int:
        return height * width * int(self.metadata["bytes_per_pixel"])

    @abstractmethod
    def _load(self, file: Path, threads: int | None) -> str | None:
        """Load `file`; return its metadata under the key `METADATA`, None if it has none."""

    @abstractmethod
    def _translate(self, inputs: list[np.ndarray]) -> np.ndarray:
        """Run the file on its inputs, in their order."""

    def run(self, pixels: np.ndarray, domain: str | None) -> np.ndarray:
        try:
            return self._run(pixels, domain)
        except MemoryError:
            pass
        raise OutOfMemoryError  # outside the handler, whose traceback would hold on to what filled the memory

    def _run(self, pixels: np.ndarray, domain: str | None) -> np.ndarray:
        source, target, dtype = self.info.source, self.info.target, str(pixels.dtype)
        batch, height, width, _ = pixels.shape
        labels = self.labels(batch, domain)
        values = pixels.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        _rescale(values, source.range_for(dtype), (source.low, source.high))
        padded = self.info.padded_size(height, width)
        if padded != (height, width):
            rows, columns = (reflected(np.arange(p), side) for p, side in zip(padded, (height, width), strict=True))
            values = values[:, :, rows[:, None], columns]
        output = self.translate_values(values, labels)[..., :height, :width]
        low, high = target.range_for(dtype)
        _rescale(output, (target.low, target.high), (low, high))
        if dtype != "float32":
            full_low, full_high = FULL_RANGE[dtype]
            np.clip(output, max(low, full_low), min(high, full_high), out=output)
            output = np.rint(output, out=output).astype(dtype)
        return np.ascontiguousarray(output.transpose(0, 2, 3, 1))

    def translate_values(self, images: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Run the file as it is: pixel values (B, C, H, W) of the source, and label vectors (B, width) if it has any,
        to pixel values of the target, all float32. Height and width suit the network already.

        Raises:
            OutOfMemoryError: there is not enough memory for these images at once.
        """
        try:
            return self._translate([images] if labels is None else [images, labels])
        except Exception as error:  # onnxruntime's own errors have no class in common
            if not any(words in str(error) for words in FULL):
                raise
        raise OutOfMemoryError

    def labels(self, batch: int, domain: str | None) -> np.ndarray | None:
        """The label vectors (batch, width) that mean `domain`; None for a model without domains.

        Raises:
            UserError: a domain is missing, unknown, given to a model that has none, or depends on what else an image
                shows, which the discriminator of the full model recognizes.
        """
        domains = self.info.domains
        if domains is None:
            if domain is not None:
                raise UserError(
                    f"the domain {domain!r} was asked for, but this model translates into one kind of image alone"
                )
            return None
        choices = ", ".join(domains.names)
        if domain is None:
            raise UserError(f"this model translates into several domains: name one of {choices}")
        requests = domains.requests([domain])
        if len(requests) > 1:
            raise UserError(f"an image is translated into one domain at a time, not {domain!r}: name one of {choices}")
        nothing, everything = domains.change(
            np.stack([np.zeros(domains.width, np.float32), np.ones(domains.width, np.float32)]), requests[0]
        )
        kept = [domains.names[place] for place in np.flatnonzero(nothing != everything)]
        if kept:
            example = " ".join([requests[0], *(f"-{name}" for name in kept)])
            raise UserError(
                f"{domain!r} leaves {', '.join(kept)} as the image shows it, and an exported file cannot see that: say "
                f"of each whether it is to be there, as {example!r}, or use the model folder with --backend torch"
            )
        return np.repeat(nothing[None], batch, axis=0)


class OnnxruntimeEngine(OnnxEngine):
    """On onnxruntime's CPU provider."""

    name: ClassVar[Backend] = "onnxruntime"

    def _load(self, file: Path, threads: int | None) -> str | None:
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise missing("onnx", "the backend onnxruntime") from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 4  # what goes wrong is raised too
        # Threads that wait busily take the processor from those that read and write images.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise _unreadable(file, error) from error
        self._names = [value.name for value in self._session.get_inputs()]
        text: str | None = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        return text

    def _translate(self, inputs: list[np.ndarray]) -> np.ndarray:
        output: np.ndarray = self._session.run(None, dict(zip(self._names, inputs, strict=True)))[0]
        return output


class OpenVinoEngine(OnnxEngine):
    """On OpenVINO's CPU device, in float32."""

    name: ClassVar[Backend] = "openvino"

    def _load(self, file: Path, threads: int | None) -> str | None:
        try:
            import openvino
        except ModuleNotFoundError as error:
            raise missing("openvino", "the backend openvino") from error
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        core = _core_of(openvino)
        try:
            model = core.read_model(file)
            self._model = core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise _unreadable(file, error) from error
        self._running = threading.Lock()
        place = ["framework", METADATA]
        return str(model.get_rt_info(place).astype(str)) if model.has_rt_info(place) else None

    def _translate(self, inputs: list[np.ndarray]) -> np.ndarray:
        with self._running:  # one at a time, as its memory is several times that of the images
            # Out of memory, OpenVINO says nothing and leaves the output as it was: in a new request, empty.
            output: np.ndarray = self._model.create_infer_request().infer(inputs, share_inputs=True)[0]
        if output.shape[2:] != inputs[0].shape[2:]:
            raise OutOfMemoryError
        return output


def load_onnx(file: Path, backend: OnnxBackend, *, threads: int | None = None) -> OnnxEngine:
    """Load a file that `translate export` wrote; `threads` bounds the processors it uses, as OMP_NUM_THREADS does.

    Raises:
        UserError: no such file, one that is damaged or comes from elsewhere, or a backend that is not installed.
    """
    if threads is None and os.environ.get("OMP_NUM_THREADS", "").isdecimal():  # neither backend asks for it
        threads = int(os.environ["OMP_NUM_THREADS"]) or None
    engines: dict[str, type[OnnxEngine]] = {engine.name: engine for engine in (OnnxruntimeEngine, OpenVinoEngine)}
    check_choice("backend", backend, tuple(engines))
    if not file.is_file():
        raise UserError(f"{file} {'is a folder' if file.is_dir() else 'does not exist'}: give an exported .onnx file")
    with file.open("rb") as content:
        if content.read(1) != b"\x08":  # the version, with which every ONNX file begins
            raise _unreadable(file, "it does not begin as one")
    return engines[backend](file, threads)


def default_backend() -> OnnxBackend:
    """What runs an exported file if nothing is asked for: the faster of the two if it is installed."""
    return "openvino" if find_spec("openvino") else "onnxruntime"


def missing(extra: str, what: str) -> UserError:
    """The error for a package of an extra that is not installed."""
    return UserError(f"{what} needs packages that are not installed: pip install 'translate-images[{extra}]'")


@cache
def _core_of(openvino: Any) -> Any:
    """The one core of the process: when several are given up, OpenVINO frees the stack on which signals are handled."""
    return openvino.Core()


def _rescale(values: np.ndarray, old: tuple[float, float], new: tuple[float, float]) -> None:
    """Map the range `old` linearly to `new`, in place."""
    if old != new:
        values -= old[0]
        values *= (new[1] - new[0]) / (old[1] - old[0])
        values += new[0]


def _unreadable(file: Path, error: Exception | str) -> UserError:
    reason = next(iter(str(error).strip().splitlines()[-1:]), type(error).__name__)
    return UserError(f"{file} is damaged or no ONNX file: {reason}. {_remedy(file)}")


def _remedy(file: Path) -> str:
    return f"Export it (again) with translate export CHECKPOINT --output {file.name} --format onnx"
