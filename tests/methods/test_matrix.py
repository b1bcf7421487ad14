"""Any method with any generator, discriminator and objective: it plays, or it is refused by name."""

import math

import pytest
import torch

from translate.batch import Labeled, Pair, Unpaired
from translate.build import LOCAL
from translate.config import choices, compose_settings
from translate.domains import Domains, LabelSet
from translate.errors import UserError
from translate.methods.step import Step
from translate.model import assemble
from translate.pixels import Side

SIZE = 16
DOMAINS = Domains((LabelSet(("cat", "dog"), "one_hot"),))
LABELS = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
SMALL = {
    "unet_64": ["generator.num_downs=3"],
    "resnet_6blocks": ["generator.num_blocks=1"],
    "stargan": ["generator.num_blocks=1"],
    "patchgan": ["discriminator.num_layers=1"],
    "pixel": [],
    "autoencoder": ["discriminator.num_layers=1", "discriminator.code=2"],
}
ENERGIES = ("ebgan", "began")
DISCRIMINATORS = SMALL | {"stargan": ["discriminator.num_layers=2"]}


def images():
    return torch.rand(2, 3, SIZE, SIZE) * 2 - 1


def batch(batch_type):
    return {
        Pair: lambda: Pair(images(), images()),
        Unpaired: lambda: Unpaired(images(), images()),
        Labeled: lambda: Labeled(images(), LABELS, LABELS.flip(0)),
    }[batch_type]()


@pytest.mark.parametrize("objective", choices("objective"))
@pytest.mark.parametrize("discriminator", ["patchgan", "pixel", "stargan", "autoencoder"])
@pytest.mark.parametrize("generator", ["unet_64", "resnet_6blocks", "stargan"])
@pytest.mark.parametrize("method", choices("method"))
def test_it_plays_two_steps_or_is_refused_by_name(method, generator, discriminator, objective, player):
    words = [f"{key}={value}" for key, value in locals().items() if key != "player"]
    words += [*SMALL[generator], *DISCRIMINATORS[discriminator], "generator.width=2", "discriminator.width=2"]
    tree = compose_settings([*words, f"image_size={SIZE}", "data.root=somewhere"]).tree
    side = Side(3, "uint8", 0, 255)

    def build():
        is_labelled = tree["method"]["_target_"].endswith("StarGAN")
        return assemble(tree, source=side, target=side, domains=DOMAINS if is_labelled else None, allowed=LOCAL)

    refusals = []
    if (objective in ENERGIES) != (discriminator == "autoencoder"):
        refusals.append("the objective is made for ")
    if objective == "wasserstein" and tree["discriminator"].get("norm") == "batch":
        refusals.append(r"discriminator\.norm=batch does not go with a gradient penalty")
    if refusals:
        with pytest.raises(UserError, match="|".join(refusals)):
            build()
        return
    torch.manual_seed(0)
    game = build()
    before = {
        name: [parameter.clone() for parameter in network.parameters()] for name, network in game.networks.items()
    }
    playing = player(game, lr=1e-3)
    losses = {}
    for number in (3, 4):  # StarGAN's generator moves in every fifth step
        losses |= playing.play(batch(game.batch_type), Step(number))
    assert all(map(math.isfinite, losses.values()))
    for name, network in game.networks.items():
        assert any(not torch.equal(old, new) for old, new in zip(before[name], network.parameters(), strict=True)), name
    with torch.no_grad():
        columns = game.eval().show(batch(game.batch_type))
    assert {column.shape for column in columns.values()} == {(2, 3, SIZE, SIZE)}


@pytest.mark.parametrize(
    ("method", "data", "message"),
    [
        ("pix2pix", "unpaired", "the method trains on pairs of aligned images (data=paired), but the data set gives"),
        ("pix2pix", "domains", "the method trains on pairs of aligned images (data=paired), but the data set gives"),
        ("cyclegan", "domains", "the method trains on images of two kinds (data=unpaired)"),
        ("stargan", "paired", "the method trains on images labelled with their domain (data=domains)"),
    ],
)
def test_data_that_a_method_cannot_play_on_is_refused_by_name(method, data, message, command, tmp_path):
    ran = command("train", f"method={method}", f"data={data}", f"data.root={tmp_path}", f"output={tmp_path / 'run'}")
    assert ran.code == 2
    assert message in ran.err
