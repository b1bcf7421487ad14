"""Pix2Pix: the recorded trajectory of the reference, and what the paper leaves to settings."""

from functools import partial

import pytest
import torch

from translate.batch import Pair
from translate.errors import UserError
from translate.methods.adversary import Adversary, frozen
from translate.methods.pix2pix import Pix2Pix
from translate.methods.step import Step
from translate.networks.patchgan import PatchGAN
from translate.networks.unet import UNet
from translate.objectives.adversarial import nonsaturating, wasserstein
from translate.objectives.penalties import two_sided

PLAIN = partial(Adversary, objective=nonsaturating())
WASSERSTEIN = partial(Adversary, objective=wasserstein(), gradient_penalty=two_sided())


def small(**settings):
    settings = {
        "adversary": PLAIN,
        "source_channels": 2,
        "target_channels": 1,
    } | settings
    return Pix2Pix(
        generator=partial(UNet, num_downs=2, width=2),
        discriminator=partial(PatchGAN, num_layers=1, width=2, norm=settings.pop("norm", "batch")),
        **settings,
    )


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
