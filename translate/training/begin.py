"""Beginning with the weights of a trained model: what fits is taken over, what is new is said."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from translate.domains import Domains
from translate.errors import UserError
from translate.methods.method import Method
from translate.model import Lineage, Model, NoDraws
from translate.networks.parametrized import settle
from translate.opening import open_model
from translate.pixels import Side
from translate.training.checkpoint import read_state
from translate.training.parts import Names, parts_of
from translate.training.settings import Settings

Channels = Literal["average", "copy", "fresh"]
Build = Callable[[Side, Side, Domains | None], Method]
"""Builds the method for images like two sides, and for domains."""
Shapes = dict[str, dict[str, torch.Size]]
Role = Literal["input", "output", "other"]
"""What an axis of a tensor is: of the features that a convolution reads, of those it makes, or neither."""
ALIKE = {"generator": ("generator_forward", "generator_backward"), "generator_forward": ("generator",)}
"""Networks that may begin with the weights of another one, where their own are not there, tried in this order."""
COUNTER = "num_batches_tracked"
SPECTRAL = ("._u", "._v")
"""The vectors that follow the largest singular value of a weight."""
MASK = "\0"
"""What the label of an entry begins with that is no domain's, but says which label set is known."""
NAMED = 6
"""Tensors that are named one by one."""


@dataclass(frozen=True)
class Origin:
    """A trained model to begin with.

    Attributes:
        checkpoint: what it was read from.
        model: its networks that translate, and what is known of it.
        others: the tensors of the networks that are no generators, by network, where a run kept them.
        keeps_discriminator: whether more than its generators is wanted.
    """

    checkpoint: Path
    model: Model
    others: Mapping[str, Mapping[str, Tensor]]
    keeps_discriminator: bool = True

    @property
    def lineage(self) -> Lineage:
        """What a model that begins with it was made from."""
        made: dict[str, str | float | None] = {
            "kind": "finetune",
            "source": str(self.checkpoint),
            "sha256": self.model.fingerprint,
            "steps": self.model.steps,
        }
        return [*self.model.lineage, made]

    def tensors(self, network: str) -> Mapping[str, Tensor] | None:
        """The tensors to begin a network with; None if there are none."""
        method = self.model.method
        usual = method.translators if self.keeps_discriminator else method.generators
        known = {name: getattr(method, name).state_dict() for name in usual}
        known |= self.others  # a discriminator as it was trained, not as it recognises attributes: averaged
        names = (network, *ALIKE.get(network, ()))
        return next((known[name] for name in names if name in known), None)


@dataclass
class Beginning:
    """What became of each network.

    Attributes:
        lines: what was taken over and what is new, a line each.
        fresh: networks that begin anew.
        warmup: steps in which the generators wait for a discriminator.
    """

    lines: list[str] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    warmup: int = 0


def read_origin(checkpoint: Path, *, trusted: tuple[str, ...] = (), discriminator: bool = True) -> Origin:
    """Read a trained model to begin with; without `discriminator` only its generators.

    Raises:
        UserError: there is none, or it is damaged.
    """
    model = open_model(checkpoint, trusted=trusted, folded=False)
    remedy = "finetune.keep_discriminator=false goes on without it, with a new discriminator"
    state = read_state(checkpoint, mapped=True, remedy=remedy) if discriminator and checkpoint.is_dir() else None
    networks = state["networks"] if state else {}
    others = {name: tensors for name, tensors in networks.items() if name not in model.method.generators}
    return Origin(checkpoint, model, others, discriminator)


def begin(
    method: Method,
    origin: Origin,
    build: Build,
    *,
    source: Side,
    target: Side,
    domains: Domains | None,
    channels: Channels,
    fresh: Names = frozenset(),
) -> Beginning:
    """Put the weights of `origin` into the networks of `method`, which was built for two sides and domains.

    Where the numbers of channels or the domains differ, what depends on them is made to fit: of channels as `channels`
    says; domains keep their weights by name, and a new one begins as the mean of the others. `build` builds the method
    for other images and domains. Parameters that are `fresh` keep the values of `method`, and so do the statistics of
    their layers; a network of which all are is new.

    Raises:
        UserError: a generator has weights of another architecture, or there are none for it.
    """
    beginning = Beginning(lines=list(origin.model.report))
    fitting = _Fitting(build, origin.model, source, target, domains, channels)
    for name, network in method.networks.items():
        tensors, is_generator = origin.tensors(name), name in method.generators
        if tensors is None and is_generator and not name.endswith("backward"):
            raise UserError(
                f"from={origin.checkpoint} has no {name}: it is a {type(origin.model.method).__name__} model with "
                f"{', '.join(origin.model.method.generators)}. Leave out method= to go on with its own method"
            )
        drawn = _drawn(name, network, fresh)
        changes: list[str] = []
        if all(f"{name}.{key}" in fresh for key, _ in network.named_parameters()):
            tensors, problems = None, ["finetune.fresh names all of it"]
        elif tensors is not None:
            problems = fitting.load(name, network, tensors, changes)
        elif origin.keeps_discriminator or is_generator:
            problems = ["there is none in the checkpoint"]
        else:
            problems = ["finetune.keep_discriminator=false"]
        if tensors is not None and problems and is_generator:
            raise UserError(
                f"from={origin.checkpoint} does not fit the {name}: {_some(problems)}. Leave out generator= and its "
                "settings to keep those of the checkpoint"
            )
        if problems:
            beginning.fresh.append(name)
            beginning.lines.append(f"{name}: new; {_some(problems)}")
        else:
            network.load_state_dict(drawn, strict=False)
            beginning.lines += [f"{name}: {len((tensors or {}).keys() - drawn)} tensors taken over", *changes]
            parts = parts_of({name: network}).items()
            beginning.lines += [f"  {part}: new; finetune.fresh" for part, names in parts if names & fresh]
    return beginning


def _drawn(name: str, network: nn.Module, fresh: Names) -> dict[str, Tensor]:
    """A copy of the parameters of a network that are `fresh`, and of the statistics beside them."""
    layers = {parameter.rpartition(".")[0] for parameter in fresh}
    parameters = {key for key, _ in network.named_parameters()}
    return {
        key: tensor.clone()
        for key, tensor in network.state_dict().items()
        if f"{name}.{key}" in fresh or (key not in parameters and _is_inside(f"{name}.{key}", layers))
    }


def _is_inside(key: str, layers: set[str]) -> bool:
    """Whether a tensor is one of these layers, or of what computes their weights."""
    return any(key.startswith(f"{layer}.") for layer in layers)


def describe_origin(origin: Origin, settings: Settings) -> list[str]:
    """What a model is that training begins with, in a line, with what these settings say otherwise in brackets; and
    in another line how the steps differ from those it was trained in, where they do."""
    old, new = origin.model.settings, vars(settings)

    def told(value: Any, here: Any) -> str:
        return f"{value}" if here in (None, value) else f"{value} (here {here})"

    what = [told(*(_component(tree[name]) for tree in (old, new))) for name in ("method", "generator")]
    if direction := old["data"].get("direction"):
        what.append(told(direction, new["data"].get("direction")))
    what.append(f"{told(old['image_size'], settings.image_size)} pixels")
    steps = {
        "batch_size": (old.get("batch_size"), settings.batch_size),
        "optimizer.lr": (old.get("optimizer", {}).get("lr"), settings.optimizer.get("lr")),
    }
    changed = [f"{key}={here} (was {value})" for key, (value, here) in steps.items() if value not in (None, here)]
    return [
        f"from the checkpoint: {', '.join(what)}",
        *([f"other than in it: {', '.join(changed)}"] if changed else []),
    ]


def _component(node: Mapping[str, Any]) -> str:
    return str(node["_target_"]).rpartition(".")[2]


def describe_domains(known: Domains | None, shown: Mapping[str, int]) -> list[str]:
    """What becomes of the domains of a model that is trained on with images of which `shown` many show each: a line
    each for those kept, those new, and those without images."""
    kept = () if known is None else known.names
    found = {
        "kept": kept,
        "new": [name for name in shown if name not in kept],
        "without images here": [name for name, count in shown.items() if not count],
    }
    return [f"domains {what}: {', '.join(names)}" for what, names in found.items() if names]


class _Fitting:
    """How tensors depend on channels and domains, found by building the method with one more of each."""

    def __init__(
        self, build: Build, model: Model, source: Side, target: Side, domains: Domains | None, channels: Channels
    ) -> None:
        self.channels = channels
        self.counts = {
            "source": (model.source.channels, source.channels),
            "target": (model.target.channels, target.channels),
        }
        self.domains = model.domains, domains

        def shapes(source: Side, target: Side, domains: Domains | None) -> Shapes:
            with torch.device("meta"), NoDraws():
                networks = build(source, target, domains).networks
            return {
                name: {key: tensor.shape for key, tensor in network.state_dict().items()}
                for name, network in networks.items()
            }

        wider_source, wider_target = (replace(side, channels=side.channels + 1) for side in (source, target))
        try:
            self.grown = {
                "source": shapes(wider_source, target, domains),
                "target": shapes(source, wider_target, domains),
            }
        except UserError:  # both sides have to be alike
            self.grown = {"source": shapes(wider_source, wider_target, domains)}
        if domains is not None:
            first, *others = domains.sets
            longer = replace(first, names=(*first.names, "\0"))
            self.grown["domains"] = shapes(source, target, Domains((longer, *others)))

    def load(self, name: str, network: nn.Module, tensors: Mapping[str, Tensor], changes: list[str]) -> list[str]:
        """Put tensors into a network, and add what was made to fit to `changes`; or return what does not fit."""
        state = {key: value for key, value in network.state_dict().items() if not key.endswith(COUNTER)}
        given = {key: value for key, value in tensors.items() if not key.endswith(COUNTER)}
        problems = [f"{key} is missing" for key in state if key not in given]
        problems += [f"{key} is left over" for key in given if key not in state]
        fitted: dict[str, Tensor] = {}
        for key in (key for key in state if key in given):
            old, new = given[key], state[key]
            value = self._fit(name, key, network, old.to(new), new)
            if value is None and key.endswith(SPECTRAL):  # found anew, of the new weights
                fitted[key] = new
            elif value is None:
                problems.append(f"{key} has the shape {tuple(old.shape)}, not {tuple(new.shape)}")
            else:
                fitted[key] = value
                if old.shape != new.shape:
                    changes.append(f"  {key}: {tuple(old.shape)} made {tuple(new.shape)}")
        if not problems:
            counters = {key: value for key, value in tensors.items() if key.endswith(COUNTER)}
            network.load_state_dict(fitted | counters, strict=False)
            if changes:
                settle(network)
        return problems

    def _fit(self, name: str, key: str, network: nn.Module, old: Tensor, new: Tensor) -> Tensor | None:
        """A tensor as the network takes it, what is fresh in it from `new`; None if it does not fit."""
        if old.dim() != new.dim():
            return None
        is_fresh = torch.zeros(new.shape, dtype=torch.bool, device=new.device)
        for axis, size in enumerate(new.shape):
            causes = [cause for cause, grown in self.grown.items() if grown[name][key][axis] != size]
            mixing = self._mixing(causes, old.shape[axis], size, _role(network, key, axis))
            if mixing is None:
                return None
            is_fresh |= mixing.isnan().any(1).to(new.device).view(-1, *[1] * (new.dim() - axis - 1))
            if causes:
                old = torch.tensordot(old, mixing.nan_to_num(0).to(old), ([axis], [1])).movedim(-1, axis)
        return torch.where(is_fresh, new, old)

    def _mixing(self, causes: Sequence[str], old: int, new: int, role: Role) -> Tensor | None:
        """The matrix (new, old) that makes the entries of an axis from the old ones, NaN in rows that begin anew; None
        if the sizes do not fit. What depends on the source comes first, then what on the target, then on the domains.
        """
        blocks = [self._channels(*self.counts[cause], role) for cause in causes if cause != "domains"]
        old, new = old - sum(block.shape[1] for block in blocks), new - sum(len(block) for block in blocks)
        if "domains" not in causes:
            return _diagonal(*blocks, torch.eye(new)) if old == new >= 0 else None
        known, wanted = self._labels(self.domains[0], old), self._labels(self.domains[1], new)
        if known is None or wanted is None:
            return None
        return _diagonal(*blocks, _by_name(known, wanted, is_fresh=role == "output"))

    def _channels(self, old: int, new: int, role: Role) -> Tensor:
        """The matrix (new, old) from old channels of images to new ones."""
        if old == new:
            return torch.eye(old)
        if self.channels == "fresh":
            return torch.full((new, old), torch.nan)
        if self.channels == "average":  # images with equal channels look as before
            return torch.full((new, old), 1 / (new if role == "input" else old))
        copies = torch.eye(old).repeat(-(-new // old), 1)[:new]
        return copies / copies.sum(0).clamp(min=1) if role == "input" else copies

    @staticmethod
    def _labels(domains: Domains | None, size: int) -> list[str] | None:
        """What the entries of an axis of this size mean: names of domains, and the mask if there is one."""
        names = [] if domains is None else list(domains.names)
        masks = [] if domains is None else [f"{MASK}{place}" for place in range(domains.width - len(names))]
        return next((labels for labels in (names, names + masks) if len(labels) == size), None)


def _diagonal(*blocks: Tensor) -> Tensor:
    matrix: Tensor = torch.block_diag(*blocks)  # type: ignore[no-untyped-call]
    return matrix


def _by_name(known: Sequence[str], wanted: Sequence[str], *, is_fresh: bool) -> Tensor:
    """The matrix (wanted, known) that keeps what is called the same. Other domains begin anew, or as the mean of those
    known; a mask that is new does nothing at first, so that what is kept gives the same images with it."""
    is_domain = torch.tensor([not name.startswith(MASK) for name in known])
    mean = torch.full((len(known),), torch.nan) if is_fresh or not known else is_domain / is_domain.sum()
    mixing = mean.repeat(len(wanted), 1)
    for row, name in enumerate(wanted):
        if name in known:
            mixing[row] = 0
            mixing[row, known.index(name)] = 1
        elif name.startswith(MASK):
            mixing[row] = 0
    return mixing


def _role(network: nn.Module, key: str, axis: int) -> Role:
    layer_name, _, kind = key.partition(".parametrizations.")
    layer = network.get_submodule(layer_name if kind else key.rpartition(".")[0])
    if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
        return "other"
    input_axis = 0 if isinstance(layer, nn.ConvTranspose2d) else 1
    return "input" if key.endswith(("weight", "weight.original")) and axis == input_axis else "output"


def _some(problems: Sequence[str]) -> str:
    """The first problems, and how many more there are."""
    more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    return "; ".join(problems[:NAMED]) + more
