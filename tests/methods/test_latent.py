"""Pix2Pix with a latent code: BicycleGAN's losses by hand, whom they move, and what is refused."""

from functools import partial

import pytest
import torch
from torch import nn

from translate.batch import Pair
from translate.codes import draw_codes
from translate.domains import Domains, LabelSet
from translate.errors import UserError
from translate.methods.adversary import Adversary
from translate.methods.cyclegan import CycleGAN
from translate.methods.pix2pix import Pix2Pix, code_divergence
from translate.methods.stargan import StarGAN
from translate.methods.step import Step
from translate.networks.patchgan import PatchGAN
from translate.networks.unet import UNet
from translate.objectives.adversarial import lsgan

PARTS = {
    "discriminator": partial(PatchGAN, num_layers=1, width=2),
    "adversary": partial(Adversary, objective=lsgan()),
    "source_channels": 2,
    "target_channels": 2,
}


def small(latent=3, **settings):
    torch.manual_seed(0)
    generator = partial(UNet, num_downs=2, width=2, latent=latent)
    return Pix2Pix(generator=generator, encoder_width=1, **PARTS, **settings)


def batch():
    return Pair(*(torch.rand(2, 2, 16, 16) * 2 - 1 for _ in range(2)))


class Repeating(nn.Module):
    """Makes of a source what is a constant image of its code's first number, and reads it again, off by a quarter."""

    latent = 1

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, source, code=None):
        return self.weight * code[:, :, None, None].expand(-1, 2, *source.shape[2:])


class Reading(nn.Module):
    """Says that the code is a quarter more than the mean of an image, with variance 1."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, images):
        mean = self.weight * images.mean((1, 2, 3))[:, None] + 0.25
        return mean, torch.zeros_like(mean)


def test_the_divergence_is_that_of_normal_distributions():
    mean, log_variance = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 2.0], [0.0, 0.0]])
    # 1/2 (mean^2 + variance - 1 - log variance): 1/2 and (e^2 - 3) / 2 of the first image, nothing of the second
    expected = (0.5 + (torch.e**2 - 3) / 2) / 2
    assert code_divergence(mean, log_variance).item() == pytest.approx(expected, rel=1e-6)


def test_every_loss_is_what_it_is_by_hand():
    method = small(latent_weight=2.0, kl_weight=3.0, l1_weight=10.0)
    method.generator, method.code_encoder = Repeating(), Reading()
    method.latent = 1
    step, again = Step(4, seed=5), Step(4, seed=5)
    target = torch.full((2, 2, 16, 16), 0.5)
    turns = list(method.play(Pair(torch.zeros(2, 2, 16, 16), target), step))
    noise = again.normal(2, 1)
    losses = {name: value.item() for name, value in turns[1].losses.items()}
    assert losses["generator_code"] == pytest.approx(2 * 0.25, abs=1e-6)  # whatever was drawn
    assert losses["generator_kl"] == pytest.approx(3 * 0.75**2 / 2, abs=1e-6)
    assert losses["generator_l1"] == pytest.approx(10 * (0.75 + noise - 0.5).abs().mean().item(), abs=1e-5)


def test_both_fakes_are_judged_beside_every_pair():
    method, seen = small(), []
    judge = method.discriminator.forward
    method.discriminator.forward = lambda images: seen.append(images) or judge(images)
    images = batch()
    list(method.play(images, Step()))
    # Batch norm: real ones and fakes one after the other, for the codes of targets and for drawn ones; then the
    # generator's turn.
    assert len(seen) == 6
    pairs, encoded, pairs_again, drawn = seen[:4]
    torch.testing.assert_close(pairs, torch.cat(images, 1))
    torch.testing.assert_close(pairs_again, pairs)
    assert all(torch.equal(fakes[:, :2], images.source) for fakes in (encoded, drawn))
    assert not torch.equal(encoded[:, 2:], drawn[:, 2:])
    torch.testing.assert_close(seen[4:], [encoded, drawn])


def test_the_recovered_code_moves_the_generator_alone():
    method = small()
    losses = [turn.losses for turn in method.play(batch(), Step())][1]
    for name, moves_encoder in (("generator_code", False), ("generator_l1", True), ("generator_kl", True)):
        method.zero_grad(set_to_none=True)
        losses[name].backward(retain_graph=True)
        gradients = [parameter.grad for parameter in method.code_encoder.parameters()]
        found = any(gradient is not None and bool(gradient.any()) for gradient in gradients)
        assert found == moves_encoder, name
    losses["generator_code"].backward()
    assert all(parameter.grad is not None for parameter in method.generator.parameters())
    assert method.players == {"discriminator": ("discriminator",), "generator": ("generator", "code_encoder")}


def test_without_a_code_nothing_is_drawn_and_nothing_is_added():
    method, step = small(latent=0), Step(7)
    turns = list(method.play(batch(), step))
    assert list(turns[1].losses) == ["generator_adversarial", "generator_l1"]
    assert torch.equal(step.draws(3), Step(7).draws(3))
    assert list(method.networks) == ["generator", "discriminator"]
    assert method.players["generator"] == ("generator",)
    assert list(method.show(batch())) == ["source", "output", "target"]


def test_the_sample_grid_shows_the_middle_and_three_codes_that_convert_draws_too():
    method, images = small().eval(), batch()
    with torch.no_grad():
        columns = method.show(images)
        assert list(columns) == ["source", "output", "sample 1", "sample 2", "sample 3", "target"]
        torch.testing.assert_close(columns["output"], method.translate(images.source))
        code = torch.from_numpy(draw_codes(2, 3)[1]).expand(2, -1)
        torch.testing.assert_close(columns["sample 2"], method.generator(images.source, code=code))


def test_fewer_codes_are_the_first_of_more():
    assert (draw_codes(2, 3, seed=4) == draw_codes(5, 3, seed=4)[:2]).all()
    assert (draw_codes(2, 3, seed=4) != draw_codes(2, 3, seed=5)).all()


def test_normal_draws_do_not_depend_on_the_number_of_processes():
    whole = Step(3, seed=1).normal(4, 2)
    shares = [Step(3, seed=1, rank=rank, world_size=2).normal(2, 2) for rank in range(2)]
    assert torch.equal(torch.cat(shares), whole)
    many = Step().normal(10_000, 1)
    assert many.mean().abs() < 0.05
    assert many.std().item() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize(
    ("method", "more"), [(CycleGAN, {}), (StarGAN, {"domains": Domains((LabelSet(("a", "b"), "one_hot"),))})]
)
def test_methods_without_true_answers_refuse_a_code(method, more):
    generator = partial(UNet, num_downs=2, width=1, latent=8)
    with pytest.raises(UserError, match=rf"generator\.latent=8: {method.__name__} learns one translation of an image"):
        method(generator=generator, **PARTS, **more)
