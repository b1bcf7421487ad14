"""Finding a model folder and telling one from another, without what it takes to read one."""

import hashlib
from pathlib import Path

from translate.errors import UserError

WEIGHTS = "model.safetensors"
LATEST, BEST = "model", "best"
"""The model folders in a run folder."""
STATE = Path("state") / "training.pt"
"""In a run folder, what goes on from there needs."""
CONFIG = "config.json"
REFERENCE_FILES = (".pth", ".pt", ".ckpt", ".safetensors")
"""How files of weights end that other programs write."""


def fingerprint_of(folder: Path) -> str:
    """A digest of the weights and configuration in a model folder."""
    digest = hashlib.sha256()
    for name in (WEIGHTS, CONFIG):
        with (folder / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def is_reference(checkpoint: Path) -> bool:
    """Whether `checkpoint` means a file of weights that another program wrote, by its name."""
    return checkpoint.suffix.lower() in REFERENCE_FILES and not checkpoint.is_dir()


def find_model(checkpoint: Path) -> Path:
    """The model folder that `checkpoint` means: itself, or the best model of a run folder, else its latest.

    Raises:
        UserError: there is none.
    """
    if not checkpoint.exists():
        raise UserError(f"CHECKPOINT {checkpoint} does not exist: give a run folder or a model folder")
    if checkpoint.is_file():
        raise UserError(
            f"CHECKPOINT {checkpoint} is a file, and none of weights ({', '.join(REFERENCE_FILES)}) or of a network "
            "(.onnx): give a run folder or a model folder"
        )
    for folder in (checkpoint, checkpoint / BEST, checkpoint / LATEST):
        if (folder / CONFIG).is_file() and (folder / WEIGHTS).is_file():
            return folder
    raise UserError(
        f"CHECKPOINT {checkpoint} holds no model: a run folder has {LATEST}/{WEIGHTS} once it has saved for the first "
        f"time, a model folder has {WEIGHTS} and {CONFIG}"
    )
