"""The images to measure a model on."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from translate.batch import DESCRIBED, BatchType, Labeled, Pair, Unpaired
from translate.build import build, resolve
from translate.conversion.torch_engine import TorchEngine
from translate.data.source import DataSource, Items
from translate.errors import UserError, check_choice

SPLITS = ("test", "validation", "train")
TRUSTED_DATA = ("translate.data.",)
MAY_CHANGE = ("data.", "image_size", "norm_at_test", "dropout_at_test", "seed")
"""Settings that a trained model can be measured with other values of."""

Bar = Callable[[str], Callable[[Iterable[Any], int], Iterable[Any]]]
"""Given what is being done, wraps an iterable of a known length to show how far it is."""


def no_bar(what: str) -> Callable[[Iterable[Any], int], Iterable[Any]]:
    """A `Bar` that shows nothing."""
    return lambda items, length: items


def choose_kind(engine: TorchEngine, settings: Mapping[str, Any]) -> BatchType:
    """The kind of images to measure a model on: labelled ones for a model of domains, else pairs if it can be.

    Raises:
        UserError: the data set gives none that this model can be measured on.
    """
    given = _component(settings).batch_types
    wanted = (Pair, Unpaired) if engine.model.domains is None else (Labeled,)
    for kind in wanted:
        if kind in given:
            return kind
    raise _unsuitable(wanted[0], given)


def open_split(
    engine: TorchEngine, settings: Mapping[str, Any], split: str | None, bar: Bar, wanted: BatchType
) -> tuple[DataSource, str, Items]:
    """The data set arranged for the kind of batches `wanted`, the name of the split, and its items, resized as in
    training and without augmentation. `split` None is test, else validation, else train.

    Raises:
        UserError: the data cannot give such images, has problems, or the split is empty.
    """
    if split is not None:
        check_choice("--split", split, SPLITS)
    component = _component(settings)
    if wanted not in component.batch_types:
        raise _unsuitable(wanted, component.batch_types)
    data: DataSource = build(settings["data"], TRUSTED_DATA)
    data.arrange(wanted)
    size = settings["image_size"]
    data.inspect(size, bar("reading images")).raise_problems()
    known = engine.model.domains
    if known is not None and data.domains is not None and set(data.domains.names) <= set(known.names):
        data.know(known)  # it may know more than this data shows, or in another order
    found = {name: items for name in SPLITS if len(items := data.items(name, size, seed=0, augment=False))}
    split = split or next(iter(found))
    if split not in found:
        what = "pairs" if wanted is Pair else "images"
        raise UserError(f"the split {split!r} has no {what}; those that have are {', '.join(reversed(found))}")
    return data, split, found[split]


def _component(settings: Mapping[str, Any]) -> type[DataSource]:
    """The class of the data set; the settings may have come with a stranger's model."""
    component = resolve(settings["data"]["_target_"], TRUSTED_DATA)
    if not (isinstance(component, type) and issubclass(component, DataSource)):
        raise UserError(f"data._target_={settings['data']['_target_']!r} is no data set")
    return component


def _unsuitable(wanted: BatchType, given: tuple[BatchType, ...]) -> UserError:
    kinds = " or ".join(DESCRIBED[kind] for kind in given)
    why = "labels" if wanted is Labeled else "true answers to compare its translations with: pairs of aligned images"
    remedy = "data=domains" if wanted is Labeled else "data=paired"
    return UserError(
        f"measuring this model needs {why}, but its data set gives {kinds}. If you have such images, name them: "
        f"translate evaluate CHECKPOINT {remedy} data.root=FOLDER. To look at translations instead: translate "
        "convert CHECKPOINT INPUT OUTPUT --compare"
    )
