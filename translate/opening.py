"""Opening a model, whoever wrote it."""

from pathlib import Path

from translate.model import Model, read_model
from translate.model_folder import find_model, is_reference


def open_model(checkpoint: Path, *, trusted: tuple[str, ...] = (), folded: bool = True) -> Model:
    """The model in a run or model folder, or the one that a file of another project's weights makes.

    Its weights are `folded` as by `read_model`.

    Raises:
        UserError: there is none, it is damaged, or what it is cannot be told from the file alone.
    """
    if is_reference(checkpoint):
        from translate.interop.checkpoint import read_reference

        return read_reference(checkpoint)
    return read_model(find_model(checkpoint), trusted=trusted, folded=folded)
