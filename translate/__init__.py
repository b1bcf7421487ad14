"""Image-to-image translation: train Pix2Pix, CycleGAN or StarGAN on folders of images, and convert folders."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from translate.conversion.translator import Translator

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(
    checkpoint: str | Path, *, accelerator: str = "auto", direction: Literal["AtoB", "BtoA"] | None = None
) -> "Translator":
    """Load a run folder or a model folder for translation.

    Args:
        checkpoint: a run folder (its latest model) or a model folder.
        accelerator: `auto` (a GPU if there is one), `cpu`, `cuda` or `mps`.
        direction: `AtoB` or `BtoA` for a model that translates both ways; None is that of training.

    Raises:
        UserError: there is no model, it is damaged, does not translate that way, or the accelerator is not there.
    """
    from translate.conversion.translator import load_translator

    return load_translator(Path(checkpoint), accelerator=accelerator, direction=direction)
