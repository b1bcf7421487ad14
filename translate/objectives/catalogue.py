"""The table of the adversarial objectives: what each minimises, where it comes from, what it needs."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass

from translate.objectives.adversarial import BOUNDED_SLOPES, AdversarialObjective

LINE = re.compile(r"(?P<paper>.+?): real (?P<real>.+), fake (?P<fake>.+), generator (?P<generator>.+)\.")
"""What the first line of an objective's docstring looks like."""


@dataclass(frozen=True)
class Entry:
    """An objective to be read.

    Attributes:
        name: what it is typed as.
        paper: what it is called, where it was published, and the equation there.
        losses: what is minimised on real images, on generated ones, and by the generator.
        needs: what it needs of the discriminator.
    """

    name: str
    paper: str
    losses: tuple[str, str, str]
    needs: str


def entry(name: str, make: Callable[..., AdversarialObjective], objective: AdversarialObjective) -> Entry:
    """The entry of an objective that `make` made."""
    found = LINE.fullmatch((inspect.getdoc(make) or "").partition("\n")[0])
    assert found is not None, f"the docstring of {make} does not begin as LINE says"
    return Entry(name, found["paper"], (found["real"], found["fake"], found["generator"]), needs(objective))


def needs(objective: AdversarialObjective) -> str:
    """What an objective needs of the discriminator."""
    if objective.judges_by == "energy":
        return "energies: discriminator=autoencoder"
    if objective.weight_clip is not None:
        return f"logits; weights are clipped to {objective.weight_clip}, so no discriminator.spectral_norm"
    if objective.needs_bounded_slopes:
        return f"logits of bounded slope: {BOUNDED_SLOPES}"
    return "logits"
