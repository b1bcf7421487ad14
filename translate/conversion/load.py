"""From a checkpoint to what runs it; torch is imported only where it is needed."""

import atexit
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import get_args

from translate.conversion.engine import Backend, Direction, Engine
from translate.errors import UserError, check_choice
from translate.model_folder import find_model, fingerprint_of, is_reference

EXPORTED = "exported"
"""The folder beside a model where what other backends run is kept."""


def load_engine(
    checkpoint: Path,
    *,
    accelerator: str = "auto",
    direction: Direction | None = None,
    backend: Backend | None = None,
    trusted: tuple[str, ...] = (),
) -> Engine:
    """See `translate.load`; `trusted` names components of the user's own that the model may be built of."""
    if backend is not None:
        check_choice("backend", backend, get_args(Backend))
    is_exported = checkpoint.suffix.lower() == ".onnx" and not checkpoint.is_dir()
    if not is_exported and backend in (None, "torch"):
        from translate.conversion.torch_engine import load_torch_engine

        return load_torch_engine(checkpoint, accelerator=accelerator, direction=direction, trusted=trusted)
    from translate.conversion.onnx_engine import default_backend, load_onnx

    if backend == "torch":
        raise UserError(f"--backend torch does not run {checkpoint}: give the run or model folder it was exported from")
    backend = backend or default_backend()
    if accelerator not in ("auto", "cpu"):
        raise UserError(f"--backend {backend} runs on the CPU alone: leave out --accelerator {accelerator}")
    if is_reference(checkpoint):
        raise UserError(
            f"--backend {backend} keeps its file beside a model: translate import {checkpoint} --output MODEL makes one"
        )
    if not is_exported:
        engine = load_onnx(exported_file(checkpoint, direction, trusted), backend)
        # The same model as on torch: what was converted there need not be converted again.
        engine.info = replace(engine.info, fingerprint=engine.metadata["fingerprint"])
        return engine
    engine = load_onnx(checkpoint, backend)
    exported = engine.metadata["direction"] or (None if engine.info.domains else "AtoB")
    if direction not in (None, exported):
        raise UserError(
            f"direction={direction}: {checkpoint} was exported for {exported or 'domains'}; export it again with "
            f"--direction {direction}, or leave the direction out"
        )
    return engine


def exported_file(checkpoint: Path, direction: Direction | None, trusted: tuple[str, ...]) -> Path:
    """The model of a run or model folder as an exported file, made the first time and kept beside the model."""
    folder = find_model(checkpoint)
    name = f"{fingerprint_of(folder)[:16]}-{direction or 'trained'}.onnx"
    kept = folder / EXPORTED / name
    if kept.is_file():
        return kept
    from translate.conversion.onnx_export import export_onnx
    from translate.model import read_model

    model = read_model(folder, trusted=trusted)
    try:
        export_onnx(model, kept, direction=direction)
    except OSError:  # not ours to write into
        folder = Path(tempfile.mkdtemp(prefix="translate-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        kept = folder / name
        export_onnx(model, kept, direction=direction)
    for older in kept.parent.glob(f"*-{direction or 'trained'}.onnx"):
        if older != kept:
            older.unlink(missing_ok=True)
    return kept
