"""Image-to-image translation: train Pix2Pix, CycleGAN or StarGAN on folders of images, and convert folders."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from translate import interop as interop
    from translate.conversion.translator import Translator
    from translate.training.run import Outcome
else:

    def __getattr__(name: str) -> Any:
        """`translate.interop` without importing it: it takes torch, which most commands do without."""
        if name == "interop":
            return importlib.import_module("translate.interop")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__version__ = "0.1.0"
__all__ = ["__version__", "interop", "load", "train"]


def load(
    checkpoint: str | Path,
    *,
    accelerator: str = "auto",
    direction: Literal["AtoB", "BtoA"] | None = None,
    resize: Literal["native", "training"] = "native",
    tile: int | Literal["auto", "off"] = "auto",
    tile_statistics: Literal["exact", "sampled"] | None = None,
    backend: Literal["torch", "onnxruntime", "openvino"] | None = None,
) -> "Translator":
    """Load a trained model for translation.

    Args:
        checkpoint: a run folder (its latest model), a model folder, a file that `translate export` wrote, or a file of
            another project's weights (.pth, .ckpt) of which everything can be told.
        accelerator: `auto` (a GPU if there is one), `cpu`, `cuda` or `mps`.
        direction: `AtoB` or `BtoA` for a model that translates both ways; None is that of training.
        resize: `native` translates an image at its own size; `training` brings it to the size of training and back.
        tile: pixels per side of the tiles that larger images are translated in; `auto` where memory does not suffice
            for the whole image, `off` never.
        tile_statistics: what normalisation uses in tiles: `exact` those of the whole image, `sampled` an estimate;
            None is exact up to 64 tiles, and for networks with attention always.
        backend: what runs the network; None is torch, and of what is installed the fastest for an exported file.

    Raises:
        UserError: there is no model, it is damaged, does not translate that way, or what is asked for is not there.

    Example:
        >>> import numpy, translate
        >>> translator = translate.load(run_folder, accelerator="cpu")
        >>> photo = numpy.zeros((30, 40, 3), numpy.uint16)
        >>> result = translator(photo)
        >>> result.shape, result.dtype
        ((30, 40, 3), dtype('uint16'))
    """
    from translate.conversion.translator import load_translator

    return load_translator(
        Path(checkpoint),
        accelerator=accelerator,
        direction=direction,
        resize=resize,
        tile=tile,
        tile_statistics=tile_statistics,
        backend=backend,
    )


def train(*words: str, config_dir: str | Path | None = None) -> "Outcome":
    """Train, or continue an interrupted run, as `translate train` does with the same words.

    Ctrl-C finishes the step, saves and returns.

    Args:
        words: settings, `KEY=VALUE` each: `translate.train("data.root=photos", "steps=5000")`.
        config_dir: a folder of your own yaml files, as `--config-dir`.

    Returns:
        Outcome: `folder`, `steps` done, and `stopped_by`, the signal that stopped it before its end, or None.

    Raises:
        UserError: a setting, the data or the run folder does not allow it; everything there before is untouched.
        DivergenceError: a loss or weight became NaN or infinite; the last good model and state are kept.
    """
    from translate.config import compose_settings
    from translate.run import run

    own = None if config_dir is None else Path(config_dir)
    options = [] if own is None else ["--config-dir", str(own)]
    return run(compose_settings(list(words), own), words=["train", *words, *options])
