"""The parts of networks by name: which of them learn, and at what rate."""

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from translate.errors import UserError
from translate.networks.layers import ConditionalNorm

Names = frozenset[str]
"""Parameters or layers, each as `network.name`."""


@dataclass(frozen=True)
class Learning:
    """What learns in which way.

    Attributes:
        fresh: parameters that begin anew.
        frozen: parameters that stay as they are.
        rates: factors on the learning rate that are not 1, by parameter.
        fixed: normalisation layers whose statistics stay too, by name: preparing for several GPUs puts others in place.
    """

    fresh: Names
    frozen: Names
    rates: Mapping[str, float]
    fixed: Names

    def rate(self, parameter: str) -> float:
        """The factor on a parameter's learning rate; 0 if it is frozen."""
        return 0.0 if parameter in self.frozen else self.rates.get(parameter, 1.0)


def choose_learning(
    networks: Mapping[str, nn.Module],
    generators: Sequence[str],
    players: Mapping[str, Sequence[str]],
    *,
    fresh: Sequence[str],
    freeze: Sequence[str],
    freeze_norm: bool,
    rates: Mapping[str, float],
    discriminator_rate: float = 1.0,
) -> Learning:
    """What learns of networks as the settings `finetune.fresh`, `freeze`, `freeze_norm` and `rates` say; see `select`.

    The norms of what is fresh are not frozen. Players called discriminator have `discriminator_rate` as a factor
    besides (two time scales, Heusel et al. 2017). `players` have the networks that each of them moves.

    Raises:
        UserError: a word that names no part, a part that is both fresh and frozen, no norm to freeze, a rate that is
            none, or a player without anything to learn.
    """
    new = select("finetune.fresh", fresh, networks, generators)
    frozen = set(select("finetune.freeze", freeze, networks, generators))
    both = [part for part, names in parts_of(networks).items() if names & new & frozen]
    if both:
        raise UserError(
            f"finetune.fresh={list(fresh)} and finetune.freeze={list(freeze)} both name {', '.join(both)}: new weights "
            "have to learn"
        )
    norms = _norms(networks, generators) if freeze_norm else {}
    norms = {name: parameters for name, parameters in norms.items() if not parameters & new}
    if freeze_norm and not norms:
        raise UserError(
            f"finetune.freeze_norm=true: no normalisation of {', '.join(generators)} learns or keeps statistics; leave "
            "it out"
        )
    frozen.update(*norms.values())
    for names in players.values():
        if all(f"{name}.{key}" in frozen for name in names for key, _ in networks[name].named_parameters()):
            raise UserError(f"finetune.freeze={list(freeze)} leaves nothing of {', '.join(names)} to learn")
    factors: dict[str, float] = {}
    for word, rate in rates.items():
        if not rate > 0:
            raise UserError(f"finetune.rates.{word}={rate} must be more than 0; finetune.freeze=[{word}] lets it stay")
        factors |= dict.fromkeys(select("finetune.rates", [word], networks, generators), rate)
    for player, names in players.items():
        if player.startswith("discriminator") and discriminator_rate != 1:
            for parameter in (f"{name}.{key}" for name in names for key, _ in networks[name].named_parameters()):
                factors[parameter] = factors.get(parameter, 1.0) * discriminator_rate
    return Learning(new, frozenset(frozen), factors, frozenset(norms))


def _norms(networks: Mapping[str, nn.Module], names: Iterable[str]) -> dict[str, Names]:
    """The normalisation layers with a state in the networks called `names`, with the parameters of each."""
    return {
        f"{name}.{path}": frozenset(f"{name}.{path}.{key}" for key, _ in layer.named_parameters(recurse=False))
        for name in names
        for path, layer in networks[name].named_modules()
        if isinstance(layer, nn.modules.batchnorm._NormBase | nn.GroupNorm | ConditionalNorm) and layer.state_dict()
    }


def learning_table(networks: Mapping[str, nn.Module], learning: Learning) -> list[tuple[str, int, str]]:
    """(part, parameters, how they learn) of every part, in order."""
    sizes = {
        f"{name}.{key}": parameter.numel()
        for name, network in networks.items()
        for key, parameter in network.named_parameters()
    }
    rows = []
    for part, names in parts_of(networks).items():
        shares: Counter[float] = Counter()
        for name in names:
            shares[learning.rate(name)] += sizes[name]
        how = [f"{size:,} {_how(rate)}" if len(shares) > 1 else _how(rate) for rate, size in sorted(shares.items())]
        rows.append((part, sum(shares.values()), ", ".join(how)))
    return rows


def _how(rate: float) -> str:
    return {0.0: "frozen", 1.0: "learns"}.get(rate, f"learns at {rate:g} of the rate")


def parts_of(networks: Mapping[str, nn.Module]) -> dict[str, Names]:
    """The parts of networks, as `network.stage`, with the parameters in each; see the `stages` of a network.

    What a network without stages has are its parameters, each a part of its own.
    """
    parts: dict[str, Names] = {}
    for network_name, network in networks.items():
        names = {id(parameter): f"{network_name}.{name}" for name, parameter in network.named_parameters()}
        stages: Mapping[str, Iterable[nn.Module]] = getattr(network, "stages", {})
        for stage, layers in stages.items():
            found = frozenset(names[id(parameter)] for layer in layers for parameter in layer.parameters())
            if found:
                parts[f"{network_name}.{stage}"] = found
        if not stages:
            parts |= {name: frozenset({name}) for name in names.values()}
    return parts


def select(setting: str, words: Iterable[str], networks: Mapping[str, nn.Module], usual: Iterable[str]) -> Names:
    """The parameters that words name.

    A word is a part such as `generator.encoder_1`, the beginning of several (`generator.encoder`, `generator`), or a
    pattern (`*.block_?`, `discriminator.layer_[12]`: within a list that is typed, such brackets need quotes). Without a
    network's name it is of the networks called `usual`, those that translate; `discriminator` alone means every
    discriminator, `generator` every generator.

    Raises:
        UserError: a word that names nothing; `setting` is the key that it stands in.
    """
    parts = parts_of(networks)
    chosen: set[str] = set()
    for word in words:
        head, _, rest = word.partition(".")
        owners = [name for name in networks if _begins(name, head)]
        patterns = [f"{name}.{rest}" if rest else name for name in owners] or [f"{name}.{word}" for name in usual]
        found = {name for part, names in parts.items() for name in names if any(_begins(part, p) for p in patterns)}
        if not found:
            short = sorted({part.partition(".")[2].rpartition("_")[0] or part for part in parts})
            near = difflib.get_close_matches(word, [*parts, *networks, *short], n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise UserError(f"{setting}: no part is called {word!r}{hint}; the parts are {_listed(parts)}")
        chosen |= found
    return frozenset(chosen)


def _begins(name: str, pattern: str) -> bool:
    """Whether a name is what a pattern means, or begins with it up to an underscore or a dot."""
    return any(fnmatchcase(name, pattern + end) for end in ("", "_*", ".*"))


def _listed(parts: Iterable[str]) -> str:
    """The names of parts, those that differ in a number alone put together: `generator.block_1 to 9`."""
    last: dict[str, str] = {}
    for part in parts:
        stem, _, number = part.rpartition("_")
        last |= {stem: f"_1 to {number}" if number != "1" else "_1"} if number.isdecimal() else {part: ""}
    return ", ".join(stem + numbers for stem, numbers in last.items())
