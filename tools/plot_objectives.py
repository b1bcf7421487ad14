"""Draw translate/objectives/*.png: every loss and its gradient against the logit; and print the page's tables.

python tools/plot_objectives.py
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import torch
from torch import Tensor

from translate import objectives
from translate.build import LOCAL, build, resolve
from translate.config import described_components
from translate.objectives.adversarial import AdversarialObjective
from translate.objectives.catalogue import entry
from translate.objectives.divergences import EXAMPLE_PARAMETERS, examples
from translate.objectives.fgan import fgan

matplotlib.use("Agg")
from matplotlib import pyplot

FOLDER = Path(objectives.__file__).parent
STYLES = {
    "real": {"color": "#92c5de", "linewidth": 4},  # where the generator's loss is the same, both are seen
    "fake": {"color": "#b2182b", "linewidth": 1.5},
    "generator": {"color": "#1b3a1b", "linewidth": 1.5, "linestyle": "--"},
}
Loss = Callable[[Tensor], Tensor]


def values_and_gradients(loss: Loss, logits: Tensor) -> tuple[Tensor, Tensor]:
    """A loss of each logit alone, and its gradient there."""
    logits = logits.clone().requires_grad_()
    values = torch.stack([loss(logit) for logit in logits])
    (gradients,) = torch.autograd.grad(values.sum(), logits)
    return values.detach(), gradients


def draw(named: Sequence[tuple[str, AdversarialObjective]], path: Path) -> None:
    """A column of two plots for each objective: the losses above, their gradients below."""
    columns = 4
    rows = 2 * -(-len(named) // columns)
    figure, axes = pyplot.subplots(rows, columns, figsize=(3.2 * columns, 2.3 * rows), layout="constrained")
    for axis in axes.flat:
        axis.set_visible(False)
    for place, (name, objective) in enumerate(named):
        row, column = 2 * (place // columns), place % columns
        is_energy = objective.judges_by == "energy"
        logits = torch.linspace(0 if is_energy else -4, 4 if not is_energy else 2, 161, dtype=torch.float64)
        for player, loss in (("real", objective.real), ("fake", objective.fake), ("generator", objective.generator)):
            for shift, curve in enumerate(values_and_gradients(loss, logits)):
                axis = axes[row + shift, column]
                axis.set_visible(True)
                axis.plot(logits, curve, label=player, **STYLES[player])
        for shift, what in enumerate(("loss", "gradient")):
            axis = axes[row + shift, column]
            axis.set_title(f"{name}: {what}", fontsize=9)
            axis.set_ylim(*((-4, 6) if shift == 0 else (-4, 4)))
            axis.axhline(0, color="0.8", linewidth=0.8, zorder=0)
            if objective.middle is not None:
                axis.axvline(objective.middle, color="0.8", linewidth=0.8, zorder=0)
            axis.set_xlabel("energy" if is_energy else "logit", fontsize=8)
            axis.tick_params(labelsize=7)
    axes[0, 0].legend(fontsize=7)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def main() -> None:
    """Draw both pictures and print both tables."""
    named = []
    print("| `objective=` | paper | real | fake | generator | needs of the discriminator |\n|---|---|---|---|---|---|")
    for name, component in described_components("objective").items():
        objective = build(component, LOCAL)
        row = entry(name, resolve(component["_target_"], LOCAL), objective)
        print(f"| `{name}` | {row.paper} | {' | '.join(f'`{loss}`' for loss in row.losses)} | {row.needs} |")
        if name not in ("fgan", "wasserstein_clipped"):  # drawn apart; the same as wasserstein
            named.append((name, objective))
    print("\n| `objective.divergence=` | f(u), u = p/q | domain of T | T where p = q |\n|---|---|---|---|")
    divergences = []
    for each in examples():
        low, high = (f"{end:.3g}" for end in each.domain)
        print(f"| `{each.name}` | `{each.formula}` | ({low}, {high}) | {each.threshold + 0:.3g} |")
        parameters = EXAMPLE_PARAMETERS.get(each.name, {})
        title = ", ".join([each.name, *(f"{key} = {value}" for key, value in parameters.items())])
        told: dict[str, Any] = {"divergence": each.name, **parameters}
        divergences.append((title, fgan(**told)))
    draw(named, FOLDER / "losses.png")
    draw(divergences, FOLDER / "divergences.png")


if __name__ == "__main__":
    main()
