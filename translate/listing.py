"""The tables of `translate list` that take more than a look at the configuration tree: objectives, and a model."""

from pathlib import Path

from rich.table import Table

from translate.build import LOCAL, build, resolve
from translate.config import described_components
from translate.model_folder import find_model, is_reference
from translate.objectives.catalogue import entry
from translate.objectives.divergences import examples
from translate.opening import open_model


def objective_table() -> Table:
    """What the adversarial objectives minimise, and what they need."""
    table = Table(title="objective=NAME", show_lines=True)
    table.add_column("name", no_wrap=True)  # what is typed is never cut
    for head in ("paper", "minimised", "needs of the discriminator"):
        table.add_column(head, overflow="fold")
    for name, component in described_components("objective").items():
        row = entry(name, resolve(component["_target_"], LOCAL), build(component, LOCAL))
        losses = zip(("real", "fake", "generator"), row.losses, strict=True)
        table.add_row(row.name, row.paper, "\n".join(f"{player}: {loss}" for player, loss in losses), row.needs)
    return table


def divergence_table() -> Table:
    """The f-divergences between the densities p of real and q of generated images."""
    title = "objective=fgan objective.divergence=NAME"
    table = Table(title=title)
    table.add_column("name", no_wrap=True)
    for head in ("f(u), u = p/q", "domain of T", "T where p = q"):
        table.add_column(head, overflow="fold")
    for each in examples():
        low, high = each.domain
        table.add_row(each.name, each.formula, f"({low:.3g}, {high:.3g})", f"{each.threshold + 0:.3g}")
    return table


def model_table(checkpoint: Path) -> Table:
    """What a model is, and what it was made from.

    Raises:
        UserError: there is none.
    """
    model = open_model(checkpoint)
    table = Table("", str(checkpoint if is_reference(checkpoint) else find_model(checkpoint)), show_header=True)
    table.add_row("method", type(model.method).__name__)
    network = model.method.translator()
    size = sum(parameter.numel() for parameter in network.parameters())
    table.add_row("generator", f"{type(network).__name__}, {size:,} parameters")
    if latent := getattr(network, "latent", 0):
        table.add_row("latent code", f"{latent} numbers: convert --samples")
    for name, side in (("source", model.source), ("target", model.target)):
        table.add_row(name, f"{side.channels} channels, {side.dtype}, range {side.low:g} to {side.high:g}")
    if model.domains is not None:
        table.add_row("domains", ", ".join(model.domains.names))
    table.add_row("steps", f"{model.steps:,}")
    for origin in model.lineage:
        steps = "" if origin.get("steps") is None else f", {origin['steps']:,} steps"
        digest = "" if origin.get("sha256") is None else f", sha256 {str(origin['sha256'])[:12]}"
        table.add_row(str(origin.get("kind", "")), f"{origin.get('source', 'not said')}{steps}{digest}")
    return table
