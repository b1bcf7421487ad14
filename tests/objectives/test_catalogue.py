"""The table of objectives."""

from pathlib import Path

import pytest

from translate.build import LOCAL, build, resolve
from translate.config import choices, described_components
from translate.objectives import catalogue
from translate.objectives.divergences import examples

PAGE = Path(catalogue.__file__).parent / "README.md"


def entry(name):
    component = described_components("objective")[name]
    return catalogue.entry(name, resolve(component["_target_"], LOCAL), build(component, LOCAL))


def test_an_entry_is_what_the_docstring_begins_with():
    assert entry("hinge") == catalogue.Entry(
        "hinge",
        "Hinge, Lim and Ye 2017, Zhang et al. 2019, equation 4",
        ("max(0, 1 - D)", "max(0, 1 + D)", "-D"),
        "logits",
    )


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("nonsaturating", "logits"),
        ("began", "energies: discriminator=autoencoder"),
        (
            "wasserstein",
            "logits of bounded slope: a gradient penalty such as gradient_penalty=two_sided (not with ",
        ),
        ("wasserstein_clipped", "logits; weights are clipped to 0.01, so no discriminator.spectral_norm"),
    ],
)
def test_what_an_objective_needs_of_the_discriminator(name, needs):
    assert entry(name).needs.startswith(needs)


def test_the_command_lists_every_objective_and_divergence(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = command("list", "objectives").out
    for name in choices("objective"):
        losses = entry(name).losses
        assert f" {name} " in out
        assert all(
            f"{player}: {loss}" in out for player, loss in zip(("real", "fake", "generator"), losses, strict=True)
        )
    assert all(f" {each.name} " in out and each.formula in out for each in examples())


def test_the_page_has_every_objective_and_divergence():
    page = PAGE.read_text()
    for name in choices("objective"):
        row = entry(name)
        assert f"| `{name}` | {row.paper} | {' | '.join(f'`{loss}`' for loss in row.losses)} | {row.needs} |" in page
    for each in examples():
        assert f"| `{each.name}` | `{each.formula}` |" in page
