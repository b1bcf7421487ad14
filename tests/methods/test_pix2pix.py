"""Pix2Pix: the recorded trajectory of the reference, and what the paper leaves to settings."""

from functools import partial

import pytest
import torch

from translate.batch import Pair
from translate.errors import UserError
from translate.methods.adversary import Adversary, frozen
from translate.methods.pix2pix import Pix2Pix
from translate.methods.step import Step
from translate.networks.autoencoder import Autoencoder
from translate.networks.multiscale import MultiscaleDiscriminator
from translate.networks.patchgan import PatchGAN
from translate.networks.unet import UNet
from translate.objectives.adversarial import nonsaturating, wasserstein
from translate.objectives.energy import ebgan
from translate.objectives.penalties import two_sided

PLAIN = partial(Adversary, objective=nonsaturating())
WASSERSTEIN = partial(Adversary, objective=wasserstein(), gradient_penalty=two_sided())


def small(**settings):
    settings = {
        "adversary": PLAIN,
        "source_channels": 2,
        "target_channels": 1,
    } | settings
    judge = partial(PatchGAN, num_layers=1, width=2, norm=settings.pop("norm", "batch"))
    return Pix2Pix(generator=partial(UNet, num_downs=2, width=2), **{"discriminator": judge} | settings)


def batch(size=8):
    return Pair(torch.rand(2, 2, size, size) * 2 - 1, torch.rand(2, 1, size, size) * 2 - 1)


def test_every_loss_of_every_step_is_the_recorded_one(recording, player):
    recorded = recording("pix2pix_vanilla")
    method = Pix2Pix(
        generator=partial(UNet, num_downs=7, width=4),
        discriminator=partial(PatchGAN, width=4),
        adversary=PLAIN,
        source_channels=3,
        target_channels=3,
    ).double()
    recorded.load(method.generator, "initial_net_G.pth")
    recorded.load(method.discriminator, "initial_net_D.pth")
    playing = player(method, lr=2e-4)
    for step, expected in enumerate(recorded.losses):
        losses = playing.play(Pair(recorded.tensor(step, "A"), recorded.tensor(step, "B")), Step(step))
        assert losses["generator_adversarial"] == pytest.approx(expected["G_GAN"], abs=1e-8)
        assert losses["generator_l1"] == pytest.approx(expected["G_L1"], abs=1e-8)
        # The reference logs the discriminator's losses before halving their sum.
        assert 2 * losses["discriminator_real"] == pytest.approx(expected["D_real"], abs=1e-8)
        assert 2 * losses["discriminator_fake"] == pytest.approx(expected["D_fake"], abs=1e-8)
    assert step == 1


def test_each_turn_gives_gradients_to_its_player_alone():
    method = small()
    for turn in method.play(batch(), Step()):
        method.zero_grad(set_to_none=True)
        sum(turn.losses.values()).backward()
        for name, network in method.named_children():
            has_gradient = all(parameter.grad is not None for parameter in network.parameters())
            has_none = all(parameter.grad is None for parameter in network.parameters())
            assert has_gradient if name == turn.player else has_none


@pytest.mark.parametrize(("conditional", "channels"), [(True, 3), (False, 1)])
def test_the_discriminator_sees_the_source_when_conditional(conditional, channels):
    method = small(conditional=conditional)
    assert method.discriminator.model[0].in_channels == channels
    assert [turn.player for turn in method.play(batch(), Step())] == ["discriminator", "generator"]


def test_the_discriminator_may_move_several_times_for_each_move_of_the_generator():
    method = small(n_critic=3)
    turns = [[turn.player for turn in method.play(batch(), Step(number))] for number in range(6)]
    assert turns == [["discriminator"], ["discriminator"], ["discriminator", "generator"]] * 2
    with pytest.raises(UserError, match=r"method\.n_critic=0 must be at least 1"):
        small(n_critic=0)


def test_l1_is_weighted():
    torch.manual_seed(0)
    method, images = small(l1_weight=3.0), batch()
    expected = 3 * (method.generator(images.source) - images.target).abs().mean()
    turns = list(method.play(images, Step()))
    torch.testing.assert_close(turns[1].losses["generator_l1"], expected)


def count_passes(method, step=0):
    """How often each layer of the discriminator that sees an image is run in a step."""
    passes = []
    for layer in method.discriminator.modules():
        if isinstance(layer, torch.nn.Conv2d) and layer.in_channels == 3:
            layer.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    list(method.play(batch(16), Step(step)))
    return passes


MULTISCALE = partial(MultiscaleDiscriminator, num_scales=2, num_layers=1, width=2, norm="instance")


@pytest.mark.parametrize("conditional", [True, False])
def test_features_are_matched_of_the_source_with_the_target_and_with_the_output(conditional):
    torch.manual_seed(0)
    method = small(feature_matching_weight=10.0, discriminator=MULTISCALE, conditional=conditional)
    images = batch(16)
    with torch.no_grad():
        fake = method.generator(images.source)
        seen = [torch.cat([images.source, each], 1) if conditional else each for each in (images.target, fake)]
        real_features, fake_features = map(method.discriminator.features, seen)
    assert len(real_features) == 4
    each = [(one - other).abs().mean() for one, other in zip(real_features, fake_features, strict=True)]
    found = list(method.play(images, Step()))[1].losses["generator_features"]
    torch.testing.assert_close(found, 10 * sum(each) / 4)


def test_matched_features_move_the_generator_alone():
    method = small(feature_matching_weight=1.0)
    _, turn = method.play(batch(), Step())
    turn.losses["generator_features"].backward()
    assert all(parameter.grad is not None for parameter in method.generator.parameters())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in method.discriminator.parameters())


def test_the_discriminator_looks_no_oftener_than_needed():
    assert count_passes(small(norm="instance")) == [True, True]  # real and fake at once; the generator's turn
    assert count_passes(small(norm="instance", feature_matching_weight=1.0)) == [True, True, False, True]
    assert count_passes(small(norm="instance", feature_matching_weight=1.0, n_critic=2)) == [True]


def test_the_perceptual_loss_is_weighted_and_no_part_of_the_method():
    method = small(perceptual_weight=3.0, perceptual_weights="unread")
    layers = torch.nn.Conv2d(3, 1, 1).requires_grad_(False), torch.nn.ReLU()
    method.perceptual.network = torch.nn.Sequential(*layers)
    images = batch(16)
    turns = list(method.play(images, Step()))
    expected = 3 * method.perceptual(method.generator(images.source), images.target)
    torch.testing.assert_close(turns[1].losses["generator_perceptual"], expected)
    assert expected > 0
    assert list(method.networks) == ["generator", "discriminator"]
    assert not any("perceptual" in name for name in method.state_dict())
    assert not any("perceptual" in name for name in method.memories)


def test_missing_weights_are_found_before_the_first_move(tmp_path):
    method = small(perceptual_weight=1.0, perceptual_weights=str(tmp_path / "vgg.pth"), n_critic=5)
    method.translate(torch.zeros(1, 2, 8, 8))  # which needs none
    with pytest.raises(UserError, match=r"method\.perceptual_weights=.*vgg\.pth cannot be read"):
        next(method.play(batch(), Step()))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"feature_matching_weight": -1.0}, r"method\.feature_matching_weight=-1\.0 must be at least 0"),
        ({"perceptual_weight": -1.0}, r"method\.perceptual_weight=-1\.0 must be at least 0"),
        ({"perceptual_weight": 1.0}, r"needs VGG19's weights: give method\.perceptual_weights=FILE"),
        (
            {"perceptual_weight": 1.0, "perceptual_weights": "download", "target_channels": 4},
            r"3 channels, or 1 as grey, not the 4 of the target",
        ),
        (
            {
                "feature_matching_weight": 10.0,
                "discriminator": partial(Autoencoder, num_layers=1, width=2, code=2),
                "adversary": partial(Adversary, objective=ebgan()),
            },
            r"method\.feature_matching_weight=10\.0 .* Autoencoder gives no features: use discriminator=multiscale",
        ),
    ],
)
def test_losses_without_sense_are_refused_by_name(settings, message):
    with pytest.raises(UserError, match=message):
        small(**settings)


def test_wasserstein_really_adds_its_penalty():
    turns = list(small(adversary=WASSERSTEIN, norm="instance").play(batch(), Step()))
    assert turns[0].losses["discriminator_penalty"] > 0
    assert "discriminator_penalty" not in next(small().play(batch(), Step())).losses


def test_a_penalty_refuses_batch_norm():
    with pytest.raises(UserError, match=r"discriminator\.norm=batch does not go with a gradient penalty"):
        small(adversary=WASSERSTEIN)


def test_a_domain_or_the_way_back_is_refused():
    method = small()
    with pytest.raises(UserError, match="'zebra' was asked for, but this model translates into one kind"):
        method.translate(torch.zeros(1, 2, 8, 8), "zebra")
    with pytest.raises(UserError, match="a Pix2Pix model translates one way alone"):
        method.translate_back(torch.zeros(1, 1, 8, 8))


def test_frozen_gives_back_only_what_it_took():
    network = torch.nn.Linear(2, 2)
    network.bias.requires_grad_(False)
    with frozen(network):
        assert not network.weight.requires_grad
    assert network.weight.requires_grad
    assert not network.bias.requires_grad
