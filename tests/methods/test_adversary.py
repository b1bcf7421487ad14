"""What an adversary makes of images: labels, noise, balance and clipping, and what does not go together."""

from functools import partial

import pytest
import torch
from torch import nn

from translate.errors import UserError
from translate.methods.adversary import Adversary
from translate.methods.augmentation import AdaptiveAugmentation
from translate.methods.step import Step
from translate.networks.autoencoder import Autoencoder
from translate.networks.multiscale import MultiscaleDiscriminator
from translate.networks.patchgan import PatchGAN
from translate.objectives.adversarial import hinge, lsgan, wasserstein
from translate.objectives.energy import began, ebgan
from translate.objectives.penalties import dragan, r1, r2, two_sided

PATCHGAN = PatchGAN(in_channels=1, num_layers=1, width=2, norm="none")
AUTOENCODER = Autoencoder(in_channels=1, num_layers=1, width=2, code=2)


class Mean(nn.Module):
    """Judges an image by its mean."""

    def forward(self, images):
        return images.mean((1, 2, 3))


class Energy(Mean):
    judges_by = "energy"

    def encode(self, images):
        return images.flatten(1)


class TwoScales(nn.Module):
    """Judges an image by its four pixels, and by half of their mean."""

    def forward(self, images):
        return [images, images.mean((1, 2, 3)) / 2]


def grey(*values):
    return (torch.stack([torch.full((1, 2, 2), value) for value in values]),)


def losses_of(adversary, real, fake, *, judge=None, step=0, weight=1.0):
    losses, domains = adversary.discriminator_losses("d", judge or Mean(), real, fake, Step(step), weight=weight)
    assert domains is None
    return {name: loss.item() for name, loss in losses.items()}


def multiscale(**settings):
    return MultiscaleDiscriminator(**{"in_channels": 1, "num_scales": 2, "num_layers": 1, "width": 2} | settings)


@pytest.fixture
def plain():
    return partial(Adversary, {"d": Mean()}, objective=lsgan())


def test_both_losses_are_the_objectives_and_are_weighted(plain):
    losses = losses_of(plain(), grey(0.5, 1.0), grey(0.0, 2.0), weight=0.5)
    assert losses == pytest.approx({"d_real": 0.5 * 0.25 / 2, "d_fake": 0.5 * 4 / 2})


def test_images_that_belong_together_are_seen_as_one(plain):
    shown = plain().shown((torch.zeros(2, 3, 4, 4), torch.ones(2, 1, 4, 4)), Step())
    assert shown.shape == (2, 4, 4, 4)
    assert shown.mean((0, 2, 3)).tolist() == [0, 0, 0, 1]


def test_smoothing_gives_real_images_a_share_of_the_other_loss(plain):
    losses = losses_of(plain(label_smoothing=0.1), grey(1.0, 1.0), grey(0.0, 0.0))
    assert losses == pytest.approx({"d_real": 0.1, "d_fake": 0})
    # The best answer to a real image is then 1 - 0.1.
    scores = [losses_of(plain(label_smoothing=0.1), grey(value), grey(0.0))["d_real"] for value in (0.85, 0.9, 0.95)]
    assert min(scores) == scores[1]


def test_flipping_tells_the_opposite_of_as_many_images_as_it_says(plain):
    count = 2000
    losses = losses_of(plain(label_flipping=0.25), grey(*[1.0] * count), grey(*[0.0] * count))
    # Each flipped image costs 1, all others nothing.
    assert losses["d_real"] == pytest.approx(0.25, abs=0.03)
    assert losses["d_fake"] == pytest.approx(0.25, abs=0.03)
    assert losses["d_real"] != losses["d_fake"]
    for step in range(20):  # with one image, none or all are flipped
        assert losses_of(plain(label_flipping=0.4), grey(1.0), grey(0.0), step=step)["d_real"] in (0, 1)


def test_instance_noise_falls_to_nothing(plain):
    adversary = plain(instance_noise=0.2, instance_noise_steps=100)
    images = (torch.zeros(4, 1, 64, 64),)
    for step, expected in ((0, 0.2), (50, 0.1), (100, 0.0), (200, 0.0)):
        assert adversary.shown(images, Step(step)).std().item() == pytest.approx(expected, rel=0.05)
    assert plain(instance_noise=0.2).shown(images, Step(10**6)).std().item() == pytest.approx(0.2, rel=0.05)


def test_losses_of_several_scales_are_their_mean(plain):
    losses = losses_of(plain(), grey(0.5, 1.0), grey(0.0, 2.0), judge=TwoScales())
    of_real = (0.25 / 2, (0.75**2 + 0.5**2) / 2)
    of_fake = (4 / 2, 1 / 2)
    assert losses == pytest.approx({"d_real": sum(of_real) / 2, "d_fake": sum(of_fake) / 2})
    found, domains = plain().generator_losses("g", TwoScales(), grey(0.0, 2.0), Step())
    assert domains is None
    assert found["g_adversarial"].item() == pytest.approx((1 + (1 + 0) / 2) / 2)
    smoothed = losses_of(plain(label_smoothing=0.1), grey(1.0), grey(0.0), judge=TwoScales())
    assert smoothed["d_real"] == pytest.approx(0.9 * (0 + 0.25) / 2 + 0.1 * (1 + 0.25) / 2)


def test_an_image_is_flipped_for_all_scales_or_for_none(plain):
    for step in range(10):
        losses = losses_of(plain(label_flipping=0.4), grey(1.0), grey(0.0), judge=TwoScales(), step=step)
        assert losses["d_real"] in (pytest.approx(0.125), pytest.approx(0.625))  # (0 + 1/4) / 2, (1 + 1/4) / 2


def test_the_sign_of_real_images_is_the_mean_of_the_scales():
    augmentation = AdaptiveAugmentation(interval=1)
    adversary = Adversary({"d": TwoScales()}, objective=lsgan(), augmentation=augmentation)
    images = (torch.tensor([0.9, 0.9, 0.9, -0.3]).view(1, 1, 2, 2),)  # minus a half: + + + -, and half of 0.6 is -
    for step in (1, 2):
        losses_of(adversary, images, images, judge=TwoScales(), step=step)
    assert augmentation.real_sign.item() == pytest.approx((0.5 - 1) / 2)


def test_a_penalty_is_the_mean_of_what_each_scale_pays_for_what_it_sees():
    judge, images = multiscale(norm="none"), torch.randn(2, 1, 16, 16)
    penalty = r1()
    adversary = Adversary({"d": judge}, objective=lsgan(), gradient_penalty=penalty)
    paid = losses_of(adversary, (images,), (torch.randn(2, 1, 16, 16),), judge=judge)["d_penalty"]
    each = [penalty(alone, seen, seen, torch.zeros(2)).item() for alone, seen in judge.looks(images)]
    assert each[0] != pytest.approx(each[1])
    assert paid == pytest.approx(sum(each) / 2)


def test_nothing_of_several_scales_learns_in_the_generators_turn(plain):
    judge, images = multiscale(), torch.randn(2, 1, 16, 16, requires_grad=True)
    losses, _ = plain().generator_losses("g", judge, (images,), Step())
    losses["g_adversarial"].backward()
    assert images.grad.abs().sum() > 0
    assert all(parameter.grad is None and parameter.requires_grad for parameter in judge.parameters())


def test_a_lazy_penalty_is_there_in_its_steps_alone():
    adversary = Adversary({"d": PATCHGAN}, objective=lsgan(), gradient_penalty=r1(every=3))
    images = (torch.randn(2, 1, 8, 8),)
    has = ["d_penalty" in losses_of(adversary, images, images, judge=PATCHGAN, step=step) for step in range(4)]
    assert has == [True, False, False, True]


def test_weights_are_clipped_once_the_player_has_moved():
    judge = nn.Linear(2, 2)
    nn.init.constant_(judge.weight, -3.0)
    nn.init.constant_(judge.bias, 0.005)
    clip = Adversary({"d": judge}, objective=wasserstein(weight_clip=0.01)).clip(judge)
    clip()
    assert judge.weight.flatten().tolist() == pytest.approx([-0.01] * 4)
    assert judge.bias.tolist() == pytest.approx([0.005] * 2)
    assert Adversary({"d": judge}, objective=hinge()).clip(judge) is None


def test_the_balance_weighs_generated_images_and_each_discriminator_has_its_own():
    adversary = Adversary({"d": Energy(), "e": Energy()}, objective=began(diversity=0.5, balance_rate=0.1))
    first = losses_of(adversary, grey(2.0), grey(0.5), judge=Energy())
    assert first == pytest.approx({"d_real": 2, "d_fake": 0})  # k begins at 0
    second = losses_of(adversary, grey(2.0), grey(0.5), judge=Energy())
    assert second == pytest.approx({"d_real": 2, "d_fake": -0.05 * 0.5})  # k = 0.1 * (0.5 * 2 - 0.5)
    signals = {name: value.item() for name, value in adversary.signals().items()}
    assert signals == pytest.approx({"d_balance": 0.1, "d_convergence": 2.5, "e_balance": 0, "e_convergence": 0})
    assert "balances.d.weight" in adversary.state_dict()


def test_the_pulling_away_term_is_the_generators():
    adversary = Adversary({"d": Energy()}, objective=ebgan(pulling_away=0.1))
    losses, _ = adversary.generator_losses("g", Energy(), grey(0.5, 1.0), Step())
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        {"g_adversarial": 0.75, "g_pulling_away": 0.1}
    )


@pytest.mark.parametrize(
    ("discriminator", "settings", "message"),
    [
        (PATCHGAN, {"objective": ebgan()}, r"made for energies .*\(discriminator=autoencoder\), but PatchGAN gives"),
        (AUTOENCODER, {"objective": hinge()}, r"made for logits, .* but Autoencoder gives energies"),
        (
            PATCHGAN,
            {"objective": wasserstein()},
            r"needs a critic of bounded slope: a gradient penalty such as",
        ),
        (
            PatchGAN(in_channels=1, num_layers=1, width=2, norm="none", spectral_norm=True),
            {"objective": wasserstein(weight_clip=0.01)},
            r"weight_clip=0\.01 clips weights that discriminator\.spectral_norm=true scales again",
        ),
        (
            PatchGAN(in_channels=1, num_layers=1, width=2, norm="none", equalized=True),
            {"objective": wasserstein(weight_clip=0.01)},
            r"weight_clip=0\.01 clips weights that discriminator\.equalized=true scales again",
        ),
        (
            PatchGAN(in_channels=1, num_layers=1, width=2, norm="none", equalized=True),
            {"objective": wasserstein()},
            r"needs a critic of bounded slope",
        ),
        (
            PatchGAN(in_channels=1, num_layers=1, width=2, norm="none", minibatch_stddev=True),
            {"objective": hinge(), "gradient_penalty": r1()},
            r"minibatch_stddev=true does not go with a gradient penalty, .*: use discriminator\.minibatch_stddev=false",
        ),
        (PATCHGAN, {"objective": hinge(), "orthogonal_weight": -1.0}, r"orthogonal_weight=-1\.0 must be at least 0"),
        (
            PatchGAN(in_channels=1, num_layers=1, width=2),
            {"objective": hinge(), "gradient_penalty": r1()},
            r"discriminator\.norm=batch does not go with a gradient penalty",
        ),
        (
            multiscale(),
            {"objective": hinge(), "gradient_penalty": r1()},
            r"discriminator\.norm=batch does not go with a gradient penalty",
        ),
        (multiscale(), {"objective": ebgan()}, r"made for energies .* but MultiscaleDiscriminator gives logits"),
        (
            multiscale(norm="none", spectral_norm=True),
            {"objective": wasserstein(weight_clip=0.01)},
            r"discriminator\.spectral_norm=true scales again",
        ),
        (
            PATCHGAN,
            {"objective": wasserstein(weight_clip=1.0), "label_smoothing": 0.1},
            r"stabilizers\.label_smoothing=0\.1 needs an objective whose logits say real or fake",
        ),
        (PATCHGAN, {"objective": hinge(), "label_flipping": 0.5}, r"label_flipping=0\.5 is outside 0 to 0\.5"),
        (PATCHGAN, {"objective": hinge(), "instance_noise": -1.0}, r"instance_noise=-1\.0 must be at least 0"),
        (
            PATCHGAN,
            {"objective": hinge(), "instance_noise": 0.1, "instance_noise_steps": 0},
            r"instance_noise_steps=0 must be at least 1",
        ),
        (PATCHGAN, {"objective": hinge(), "instance_noise_steps": 5}, r"instance_noise_steps=5 does nothing without"),
        (
            PatchGAN(in_channels=1, num_layers=1, width=2, norm="instance", spectral_norm=True),
            {"objective": wasserstein()},
            r"needs a critic of bounded slope",  # the norm undoes what bounds it
        ),
        (
            PatchGAN(in_channels=1, num_layers=1, width=2, norm="none"),
            {"objective": wasserstein(), "gradient_penalty": r2()},
            r"needs a critic of bounded slope",
        ),
        (
            PatchGAN(in_channels=1, num_layers=1, width=2, norm="none"),
            {"objective": wasserstein(weight_clip=0.01), "gradient_penalty": two_sided()},
            r"weight_clip=0\.01 keeps slopes far below those that a gradient penalty asks for",
        ),
        (
            Autoencoder(in_channels=1, num_layers=1, width=2, code=2, norm="none"),
            {"objective": ebgan(), "gradient_penalty": dragan()},
            r"wants slopes of 1, which a critic's logits should have, and energies should not",
        ),
    ],
)
def test_combinations_without_sense_are_refused_by_name(discriminator, settings, message):
    with pytest.raises(UserError, match=message):
        Adversary({"d": discriminator}, **settings)


def test_generators_pay_for_filters_that_have_something_in_common(plain):
    layer = nn.Conv2d(2, 2, 1)
    layer.weight.data = torch.tensor([[3.0, 0.0], [1.0, 2.0]]).view(2, 2, 1, 1)
    losses = plain(orthogonal_weight=0.5).weight_losses({"generator": layer, "other": nn.Sequential(layer, layer)})
    assert {name: loss.item() for name, loss in losses.items()} == {
        "generator_orthogonal": 0.5 * 2 * 3**2,
        "other_orthogonal": 0.5 * 2 * 3**2,
    }
    assert plain().weight_losses({"generator": layer}) == {}


def test_real_and_generated_images_are_judged_apart_where_a_batch_shows_how_varied_it_is(plain):
    torch.manual_seed(0)
    judge = PatchGAN(in_channels=1, num_layers=1, width=2, norm="none", minibatch_stddev=True, gain=1)
    real, fake = torch.randn(2, 1, 8, 8), torch.zeros(2, 1, 8, 8)
    losses = losses_of(plain(), (real,), (fake,), judge=judge)
    assert losses == pytest.approx(
        {"d_real": (judge(real) - 1).square().mean().item(), "d_fake": judge(fake).square().mean().item()}
    )


@pytest.mark.parametrize("judge_options", [{"attention": True}, {"attention": True, "equalized": True}])
def test_a_gradient_penalty_differentiates_attention_twice(judge_options):
    torch.manual_seed(0)
    judge = PatchGAN(in_channels=1, num_layers=1, width=8, norm="none", gain=1, **judge_options)
    judge.stages["attention"][0].gamma.data.fill_(1.0)
    adversary = Adversary({"d": judge}, objective=lsgan(), gradient_penalty=r1())
    losses, _ = adversary.discriminator_losses(
        "d", judge, (torch.randn(2, 1, 8, 8),), (torch.randn(2, 1, 8, 8),), Step()
    )
    losses["d_penalty"].backward()
    slopes = [p.grad.abs().max() for p in judge.stages["attention"][0].parameters()]
    assert len(slopes) == 5
    assert min(slopes) > 0


@pytest.mark.parametrize("settings", [{"weight_clip": 0.01}, {}])
def test_wasserstein_goes_with_clipping_or_with_spectral_normalisation(settings):
    judge = PatchGAN(in_channels=1, num_layers=1, width=2, norm="none", spectral_norm=not settings)
    Adversary({"d": judge}, objective=wasserstein(**settings))
