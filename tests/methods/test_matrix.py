"""Any method with any generator, discriminator and objective: it plays, or it is refused by name."""

import math

import pytest
import torch

from translate.batch import Labeled, Pair, Unpaired
from translate.build import LOCAL
from translate.config import choices, compose_settings
from translate.domains import Domains, LabelSet
from translate.errors import UserError
from translate.methods.adversary import Adversary, critics
from translate.methods.step import Step
from translate.model import assemble
from translate.objectives.divergences import examples
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
    "multiscale": ["discriminator.num_layers=1", "discriminator.num_scales=2"],
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


def play_two_steps(player, *words):
    """Play, and look at what has become of it; UserError for what is refused."""
    tree = compose_settings(
        [*words, "generator.width=2", "discriminator.width=2", f"image_size={SIZE}", "data.root=somewhere"]
    ).tree
    side = Side(3, "uint8", 0, 255)
    is_labelled = tree["method"]["_target_"].endswith("StarGAN")
    torch.manual_seed(0)
    game = assemble(tree, source=side, target=side, domains=DOMAINS if is_labelled else None, allowed=LOCAL)
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
    return losses


@pytest.mark.parametrize("discriminator", ["patchgan", "pixel", "stargan"])
@pytest.mark.parametrize("generator", ["unet_64", "resnet_6blocks", "stargan"])
@pytest.mark.parametrize("method", choices("method"))
def test_any_method_plays_with_any_networks(method, generator, discriminator, player):
    names = {"method": method, "generator": generator, "discriminator": discriminator, "objective": "lsgan"}
    words = [f"{key}={value}" for key, value in names.items()]
    play_two_steps(player, *words, *SMALL[generator], *DISCRIMINATORS[discriminator])


@pytest.mark.parametrize(
    "words",
    [
        ["generator=unet_64"],
        ["generator=resnet_6blocks", "gradient_penalty=r1", "discriminator.norm=none"],
        ["generator=unet_64", "method.n_critic=2", "method.conditional=false"],
    ],
    ids=" ".join,
)
def test_pix2pix_plays_with_a_latent_code(words, player):
    usual = ["method=pix2pix", "generator.latent=2", "method.encoder_width=2", "discriminator.num_layers=1"]
    losses = play_two_steps(player, *usual, *words, *SMALL[words[0].removeprefix("generator=")])
    assert {"generator_kl", "generator_code", "generator_l1"} <= losses.keys()


@pytest.mark.parametrize("objective", choices("objective"))
@pytest.mark.parametrize("method", choices("method"))
def test_any_method_plays_with_any_objective(method, objective, player):
    discriminator = "autoencoder" if objective in ENERGIES else "patchgan"
    words = [f"method={method}", f"objective={objective}", f"discriminator={discriminator}", "discriminator.norm=none"]
    play_two_steps(player, *words, "generator=stargan", *SMALL["stargan"], *DISCRIMINATORS[discriminator])


@pytest.mark.parametrize("divergence", examples(), ids=lambda divergence: divergence.name)
@pytest.mark.parametrize("method", choices("method"))
def test_any_method_plays_with_any_divergence(method, divergence, player):
    parameters = {"alpha": ["objective.alpha=0.5"], "jensen_shannon_weighted": ["objective.pi=0.3"]}
    words = ["objective=fgan", f"objective.divergence={divergence.name}", *parameters.get(divergence.name, [])]
    if divergence.name != "total_variation":  # one of them with the other loss of the generator
        words.append("objective.generator_loss=saddle_point")
    common = ["generator=stargan", *SMALL["stargan"], "discriminator=patchgan", "discriminator.num_layers=1"]
    play_two_steps(player, f"method={method}", *common, "discriminator.norm=none", *words)


@pytest.mark.parametrize("method", choices("method"))
def test_clipped_weights_are_small_after_every_step(method, player, monkeypatch):
    clipped = []
    clip = Adversary.clip

    def watch(self, *discriminators):
        after = clip(self, *discriminators)
        return lambda: (after(), clipped.extend(critics(each) for each in discriminators))

    monkeypatch.setattr(Adversary, "clip", watch)
    words = ["objective=wasserstein_clipped", "discriminator=patchgan", "discriminator.num_layers=1"]
    play_two_steps(player, f"method={method}", "generator=stargan", *SMALL["stargan"], *words)
    weights = [weight for judges in clipped for judge in judges for weight in judge.parameters()]
    assert max(weight.abs().max().item() for weight in weights) == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["objective=ebgan", "discriminator=patchgan"], "the objective is made for energies"),
        (["objective=hinge", "discriminator=autoencoder"], "the objective is made for logits"),
        (["objective=wasserstein"], r"discriminator\.norm=batch does not go with a gradient penalty"),
        (["objective=wasserstein", "gradient_penalty=none"], "needs a critic of bounded slope"),
    ],
)
def test_what_does_not_go_together_is_refused_by_name(words, message, player):
    with pytest.raises(UserError, match=message):
        play_two_steps(player, "method=pix2pix", "generator=stargan", *SMALL["stargan"], *words)


@pytest.mark.parametrize(
    "words",
    [
        *([f"gradient_penalty={name}"] for name in choices("gradient_penalty") if name != "none"),
        ["discriminator.spectral_norm=true"],
        ["method.n_critic=2"],
        ["objective=wasserstein", "gradient_penalty=none", "discriminator.spectral_norm=true"],
        ["stabilizers.label_smoothing=0.1", "stabilizers.label_flipping=0.3", "stabilizers.instance_noise=0.1"],
        ["objective=ebgan", "objective.pulling_away=0.1", "discriminator=autoencoder", "discriminator.code=2"],
        ["discriminator=multiscale", "discriminator.num_scales=2", "discriminator_augmentation=ada"],
        ["gradient_penalty=two_sided", "discriminator=multiscale", "discriminator.num_scales=2"],
        ["gradient_penalty=r1", "discriminator=autoencoder", "discriminator.code=2", "objective=began"],
        ["objective=lsgan", "objective.fake_label=-1", "objective.generator_label=0"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("method", choices("method"))
def test_whatever_steadies_a_game_goes_with_any_method(method, words, player):
    judge = [] if any(word.startswith("discriminator=") for word in words) else ["discriminator=patchgan"]
    objective = [] if any(word.startswith("objective=") for word in words) else ["objective=hinge"]
    common = ["generator=stargan", *SMALL["stargan"], "discriminator.num_layers=1", "discriminator.norm=none"]
    losses = play_two_steps(player, f"method={method}", *judge, *objective, *common, *words)
    assert any("penalty" in name for name in losses) == words[0].startswith("gradient_penalty=")
    assert any("pulling_away" in name for name in losses) == ("objective=ebgan" in words)


@pytest.mark.parametrize("discriminator", ["patchgan", "pixel", "stargan", "multiscale"])
def test_features_of_any_discriminator_of_logits_can_be_matched(discriminator, player):
    words = ["generator=stargan", *SMALL["stargan"], f"discriminator={discriminator}", *DISCRIMINATORS[discriminator]]
    losses = play_two_steps(player, "method=pix2pix", *words, "method.feature_matching_weight=10")
    assert losses["generator_features"] > 0


@pytest.mark.parametrize(
    "words",
    [
        ["generator=stargan", "generator.spectral_norm=true", "discriminator.attention=true", "gradient_penalty=r1"],
        ["generator=unet_64", "generator.equalized=true", "generator.norm=pixel", "discriminator.equalized=true"],
        ["generator=unet_64", "generator.attention=true", "generator.spectral_norm=true"],
        [
            *("generator=resnet_6blocks", "generator.attention=true", "discriminator.minibatch_stddev=true"),
            "stabilizers.orthogonal_weight=1e-4",
        ],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("method", choices("method"))
def test_whatever_steadies_networks_goes_with_any_method(method, words, player):
    common = ["objective=lsgan", "discriminator=patchgan", "discriminator.num_layers=1", "discriminator.norm=none"]
    losses = play_two_steps(player, f"method={method}", *common, *SMALL[words[0].partition("=")[2]], *words)
    paid = {name for name in losses if name.endswith("_orthogonal")}
    both = {"generator_forward_orthogonal", "generator_backward_orthogonal"}
    wanted = both if method == "cyclegan" else {"generator_orthogonal"}
    assert paid == (wanted if "stabilizers.orthogonal_weight=1e-4" in words else set())


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
