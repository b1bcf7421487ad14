"""The domains of a multi-domain model: their names, how a label vector is laid out, what a request makes of one."""

import difflib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from translate.errors import UserError

if TYPE_CHECKING:  # exported models are run without torch
    import numpy as np
    from jaxtyping import Bool, Float
    from torch import Tensor

    Labels = TypeVar("Labels", Float[Tensor, "batch width"], np.ndarray)

Kind = Literal["one_hot", "attributes"]


@dataclass(frozen=True)
class LabelSet:
    """Names that one source of labels knows.

    Attributes:
        names: the domains, in the order of the label vector.
        kind: `one_hot`, an image shows exactly one; or `attributes`, any number of them.
        exclusive: groups of attributes of which an image has at most one, such as hair colours.
    """

    names: tuple[str, ...]
    kind: Kind
    exclusive: tuple[tuple[str, ...], ...] = ()

    def rivals(self, name: str) -> list[int]:
        """The places of the other members of the exclusive groups that `name` is in."""
        others = {other for group in self.exclusive if name in group for other in group} - {name}
        return [self.names.index(other) for other in sorted(others)]


@dataclass(frozen=True)
class Domains:
    """All label sets of a model and the layout of its label vectors.

    A vector holds one number per name, set after set. With several sets a mask follows, one number per set, that says
    which of them is known for the image; the names of the others are 0 (Choi et al. 2018, section 3.3, equation 7).
    """

    sets: tuple[LabelSet, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all sets."""
        return tuple(name for labels in self.sets for name in labels.names)

    @property
    def width(self) -> int:
        """Length of a label vector: the names, and the mask where there are several sets."""
        return len(self.names) + (len(self.sets) if len(self.sets) > 1 else 0)

    @cached_property
    def slices(self) -> tuple[slice, ...]:
        """Where each set's names lie in the vector."""
        ends = [sum(len(labels.names) for labels in self.sets[: index + 1]) for index in range(len(self.sets))]
        return tuple(slice(end - len(labels.names), end) for end, labels in zip(ends, self.sets, strict=True))

    def union(self, other: "Domains") -> "Domains":
        """These domains and those of `other` that are not among them, behind the others of their set.

        A set of `other` belongs to the one here that shares a name with it, or else to the one of the same place, if
        no other set does; or else it is a further one.

        Raises:
            UserError: sets that belong together differ in kind, or a name would be in two sets.
        """
        sets = list(self.sets)
        for index, labels in zip(self._places(other), other.sets, strict=True):
            if index == len(sets):
                sets.append(labels)
                continue
            known = sets[index]
            if known.kind != labels.kind:
                imported = ", or import the model with translate import --attributes" * (known.kind == "one_hot")
                raise UserError(
                    f"the domains {', '.join(labels.names)} are of kind {labels.kind}, but the model's "
                    f"{', '.join(known.names)} are {known.kind}: use data.kind={known.kind}{imported}"
                )
            names = tuple(dict.fromkeys(known.names + labels.names))
            sets[index] = LabelSet(names, known.kind, tuple(dict.fromkeys(known.exclusive + labels.exclusive)))
        united = Domains(tuple(sets))
        twice = sorted({name for name in united.names if united.names.count(name) > 1})
        if twice:
            raise UserError(
                f"{', '.join(twice)} would be in two label sets: the model's are {self.described()}, the images' "
                f"{other.described()}. Rename that folder or column, or leave it out of data.domains"
            )
        return united

    def described(self) -> str:
        """The names and kinds of the sets, in words."""
        return "; ".join(f"{', '.join(labels.names)} ({labels.kind})" for labels in self.sets)

    def lift(self, vector: Sequence[float], other: "Domains") -> tuple[float, ...]:
        """The label vector here, of a union with `other`, for one of `other`."""
        known = dict(zip(other.names, vector, strict=False))
        place = 0 if len(other.sets) == 1 else list(vector[len(other.names) :]).index(1.0)
        index = self._places(other)[place]
        return self.vector(index, [known.get(name, 0.0) for name in self.sets[index].names])

    def unsaid(self, other: "Domains") -> list[str]:
        """The names here, in a union with `other`, of which the labels of `other` leave open whether an image shows
        them: attributes it does not have beside others that it has. Who shows one of one-hot domains shows no other."""
        return [
            name
            for index, labels in zip(self._places(other), other.sets, strict=True)
            for name in self.sets[index].names
            if labels.kind == "attributes" and name not in labels.names
        ]

    def _places(self, other: "Domains") -> list[int]:
        """The set here that each set of `other` belongs to; those beyond the last are further ones."""
        shared = [
            next((index for index, known in enumerate(self.sets) if set(known.names) & set(labels.names)), None)
            for labels in other.sets
        ]
        free = set(range(len(self.sets))) - set(shared)
        further = itertools.count(len(self.sets))
        return [
            index if index is not None else place if place in free else next(further)
            for place, index in enumerate(shared)
        ]

    def vector(self, index: int, values: Sequence[float]) -> tuple[float, ...]:
        """The label vector of an image of which set `index` says `values`, one per name of that set."""
        assert len(values) == len(self.sets[index].names)
        filled = [0.0] * self.width
        filled[self.slices[index]] = values
        if len(self.sets) > 1:
            filled[len(self.names) + index] = 1.0
        return tuple(filled)

    def known(self, labels: "Float[Tensor, 'batch width']") -> "Float[Tensor, 'batch sets']":
        """1 where a set's labels are known for an image, else 0."""
        if len(self.sets) == 1:
            return labels.new_ones(len(labels), 1)
        return labels[:, len(self.names) :]

    def requests(self, words: Sequence[str]) -> list[str]:
        """What people ask for, spelled as the model does: a name, `+name -name` for attributes, or `all`.

        Raises:
            UserError: a name that the model does not know (the choices are listed), a sign where there is nothing to
                add to, names of several sets in one request, or names that contradict each other.
        """
        found: list[str] = []
        for word in words:
            found += self._all() if word == "all" and word not in self.names else [self._canonical(word)]
        return list(dict.fromkeys(found))

    def set_of(self, request: str) -> int:
        """The index of the set that a request (as `requests` spells it) belongs to."""
        name = request if request in self.names else self._terms(request)[0][1]
        return next(index for index, labels in enumerate(self.sets) if name in labels.names)

    def needs_own_labels(self, request: str) -> bool:
        """Whether the result of a request depends on what the image shows already: it changes some attributes."""
        return self.sets[self.set_of(request)].kind == "attributes"

    def change(self, labels: "Labels", request: str) -> "Labels":
        """The label vectors (B, width) to translate into, for images of which `labels` are the own ones."""
        index = self.set_of(request)
        kept, part = self.sets[index], self.slices[index]
        changed = labels * 0
        if len(self.sets) > 1:
            changed[:, len(self.names) + index] = 1
        if kept.kind == "one_hot":
            changed[:, part.start + kept.names.index(request)] = 1
            return changed
        changed[:, part] = labels[:, part]
        for sign, name in self._terms(request):
            changed[:, part.start + kept.names.index(name)] = float(sign == "+")
            if sign == "+":
                changed[:, [part.start + place for place in kept.rivals(name)]] = 0
        return changed

    def recognized(self, logits: "Float[Tensor, 'batch names']") -> "Bool[Tensor, 'batch names']":
        """The names that domain logits speak for: the likeliest of a one-hot set, of attributes every positive one.

        Of an exclusive group it is at most one, the likeliest.
        """
        from torch.nn.functional import one_hot

        found = logits > 0
        for kept, part in zip(self.sets, self.slices, strict=True):
            if kept.kind == "one_hot":
                found[:, part] = one_hot(logits[:, part].argmax(1), len(kept.names)).bool()
            for group in kept.exclusive:
                members = [part.start + kept.names.index(name) for name in group]
                found[:, members] &= one_hot(logits[:, members].argmax(1), len(members)).bool()
        return found

    def variants(self, labels: "Float[Tensor, 'batch width']") -> "dict[str, Float[Tensor, 'batch width']]":
        """By name, the label vectors that differ from the own `labels` in it: set, or of a free attribute flipped."""
        found = {}
        for kept, part in zip(self.sets, self.slices, strict=True):
            for place, name in enumerate(kept.names):
                is_free = kept.kind == "attributes" and not kept.rivals(name)
                changed = self.change(labels, name if kept.kind == "one_hot" else f"+{name}")
                if is_free:
                    changed[:, part.start + place] = 1 - labels[:, part.start + place]
                found[name] = changed
        return found

    def as_dict(self) -> dict[str, Any]:
        """For a model's config.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "Domains":
        """The inverse of `as_dict`; KeyError, TypeError or ValueError where the data is none of it."""
        known = cls(
            tuple(
                LabelSet(tuple(one["names"]), one["kind"], tuple(tuple(group) for group in one["exclusive"]))
                for one in saved["sets"]
            )
        )
        if any(isinstance(one["names"], str) for one in saved["sets"]):
            raise TypeError("the names of a set of domains are a list")
        if not known.names or not all(isinstance(name, str) and name for name in known.names):
            raise ValueError(f"names of domains {known.names}")
        if len(set(known.names)) < len(known.names):
            raise ValueError(f"a domain twice among {known.names}")
        for labels in known.sets:
            strangers = {name for group in labels.exclusive for name in group} - set(labels.names)
            if labels.kind not in get_args(Kind) or not labels.names or strangers:
                raise ValueError(f"a set of domains {labels}")
        return known

    def _all(self) -> list[str]:
        requests: list[str] = []
        for labels in self.sets:
            if labels.kind == "one_hot":
                requests += labels.names
            else:
                requests += [f"+{name}" for name in labels.names]
                requests += [f"-{name}" for name in labels.names if not labels.rivals(name)]
        return requests

    def _canonical(self, word: str) -> str:
        signed = list(dict.fromkeys(self._signed(part) for part in self._split(word)))
        if not signed:
            raise UserError(f"the domain {word!r} is empty; it is one of {', '.join(self.names)}, or all")
        sets = {self.set_of(part) for part in signed}
        if len(sets) > 1:
            raise UserError(f"{word!r} mixes names of several label sets: ask for them one at a time")
        asked = self.sets[sets.pop()]
        if asked.kind == "one_hot":
            if len(signed) > 1 or signed[0].startswith("-"):
                raise UserError(
                    f"{word!r}: an image shows exactly one of {', '.join(asked.names)}; name that one alone"
                )
            return signed[0][1:]
        added = [part[1:] for part in signed if part[0] == "+"]
        clashing = [name for name in added if f"-{name}" in signed]
        clashing += [name for name in added if any(asked.names[rival] in added for rival in asked.rivals(name))]
        if clashing:
            raise UserError(f"{word!r} contradicts itself: {clashing[0]} cannot be had together with the rest of it")
        return " ".join(signed)

    def _terms(self, request: str) -> list[tuple[str, str]]:
        """The signs and names of a request for attributes, as `requests` spells it."""
        return self._term.findall(request)

    @cached_property
    def _term(self) -> re.Pattern[str]:
        # The longest name first: one name may begin with another.
        names = "|".join(re.escape(name) for name in sorted(self.names, key=len, reverse=True))
        return re.compile(rf"([+-])({names})(?=\s|$)")

    def _split(self, word: str) -> list[str]:
        """The parts of a request, signed or not; a name that holds spaces, commas or signs is found whole."""
        if self._match(word) or self._match(word.lstrip("+-").strip()):
            return [word]
        parts = [part for piece in word.split(",") for part in _parts(piece.strip()) if part]
        return [
            piece for part in parts for piece in ([part] if self._match(part.lstrip("+-").strip()) else part.split())
        ]

    def _signed(self, part: str) -> str:
        is_signed = part[:1] in ("+", "-") and not self._match(part)
        sign, name = (part[0], part[1:]) if is_signed else ("+", part)
        found = self._match(name.strip())
        if found is None:
            near = difflib.get_close_matches(name.strip(), self.names, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise UserError(f"{name!r} is not one of the model's domains{hint}: {', '.join(self.names)}, or all")
        return sign + found

    def _match(self, name: str) -> str | None:
        if name in self.names:
            return name
        return next((known for known in self.names if known.lower() == name.lower()), None)


def numbered(count: int) -> tuple[str, ...]:
    """What domains are called whose names nobody knows."""
    return tuple(f"domain_{place}" for place in range(1, count + 1))


def _parts(request: str) -> list[str]:
    """`+a -b c` as `+a`, `-b c`: names may hold spaces, so a sign begins the next one."""
    return re.split(r"\s+(?=[+-])", request)
