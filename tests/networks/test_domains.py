"""What generators make of labels, and how discriminators that work at any size tell domains apart."""

import pytest
import torch
from torch import nn

from translate.errors import UserError
from translate.networks.layers import ConditionalNorm, norm_layer
from translate.networks.patchgan import PatchGAN, PixelDiscriminator
from translate.networks.resnet import ResNet
from translate.networks.stargan import StarGANGenerator
from translate.networks.unet import UNet

for_resnet_and_unet = pytest.mark.parametrize(
    "make",
    [
        lambda **settings: ResNet(in_channels=3, out_channels=2, num_blocks=2, width=4, **settings),
        lambda **settings: UNet(in_channels=3, out_channels=2, num_downs=4, width=4, **settings),
    ],
    ids=["resnet", "unet"],
)


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (nn.Identity(), [[22.0, 42.0], [32.0, 62.0]]),
        (nn.InstanceNorm2d(1, eps=0.0), [[1.0, 3.0], [0.5, 3.5]]),  # normalised: -1 and 1
    ],
)
def test_conditional_norm_scales_and_shifts_by_the_labels(norm, expected):
    layer = ConditionalNorm(norm, 1, 2)
    with torch.no_grad():
        layer.scale.copy_(torch.tensor([[0.0], [1.0]]))
        layer.shift.copy_(torch.tensor([[2.0], [3.0]]))
    features = torch.tensor([20.0, 40.0]).expand(2, 1, 1, 2)
    labels = torch.tensor([[1.0, 0.0], [0.25, 0.5]])  # scales 0 and 0.5, shifts 2 and 2
    assert layer(features, labels).flatten(1).tolist() == expected


def test_conditional_norm_starts_with_domains_far_apart_around_the_plain_norm():
    torch.manual_seed(0)
    layer = norm_layer("instance", 10_000, 2)
    assert layer.scale.std().item() == pytest.approx(0.2, rel=0.02)
    assert layer.shift.std().item() == pytest.approx(0.5, rel=0.02)
    assert isinstance(layer.norm, nn.InstanceNorm2d)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@for_resnet_and_unet
def test_labels_change_the_output_everywhere_even_of_a_constant_image(make, norm):
    generator = make(num_domains=3, norm=norm, initialization="kaiming").double()
    source = torch.full((3, 3, 128, 128), 0.5, dtype=torch.float64)
    output = generator(source, torch.eye(3, dtype=torch.float64))
    inside = output[:, :, 56:72, 56:72]
    for one, other in ((0, 1), (1, 2), (2, 0)):
        assert (inside[one] - inside[other]).abs().mean() > 0.01


@for_resnet_and_unet
def test_each_image_of_a_batch_is_translated_by_its_own_labels(make):
    generator = make(num_domains=2, norm="instance").double()
    source = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    labels = torch.eye(2, dtype=torch.float64)
    together = generator(source, labels)
    for index in range(2):
        torch.testing.assert_close(together[index : index + 1], generator(source[[index]], labels[[index]]))
    assert (together - generator(source, labels.flip(0))).abs().mean() > 0.01


@pytest.mark.parametrize("norm", ["batch", "none"])
@for_resnet_and_unet
def test_gradients_reach_every_scale_and_shift(make, norm):
    generator = make(num_domains=2, norm=norm, initialization="kaiming")
    generator(torch.randn(2, 3, 32, 32), torch.eye(2)).square().mean().backward()
    layers = [module for module in generator.modules() if isinstance(module, ConditionalNorm)]
    assert len(layers) == (9 if isinstance(generator, ResNet) else 5)
    for layer in layers:
        for weight in (layer.scale, layer.shift):
            assert (weight.grad.abs().sum(1) > 0).all()


@for_resnet_and_unet
def test_zero_labels_are_the_generator_without_domains(make):
    torch.manual_seed(0)
    plain = make(norm="batch").double()
    conditioned = make(norm="batch", num_domains=2).double()
    weights = conditioned.state_dict()
    for name in plain.state_dict():
        place, _, kind = name.rpartition(".")
        weights[name if name in weights else f"{place}.norm.{kind}"] = plain.state_dict()[name]
    conditioned.load_state_dict(weights)
    source = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(conditioned(source, torch.zeros(2, 2, dtype=torch.float64)), plain(source))


@pytest.mark.parametrize(
    "generator",
    [
        ResNet(in_channels=1, out_channels=1, num_domains=3, num_blocks=1, width=1),
        UNet(in_channels=1, out_channels=1, num_domains=3, num_downs=2, width=1),
        StarGANGenerator(in_channels=1, out_channels=1, num_domains=3, num_blocks=1, width=1),
    ],
    ids=lambda generator: type(generator).__name__,
)
def test_labels_that_are_missing_or_of_another_shape_are_refused(generator):
    source = torch.zeros(2, 1, 8, 8)
    with pytest.raises(UserError, match=r"3 domains: 2 images need labels of shape \(2, 3\), and none were given"):
        generator(source)
    for shape in ((2, 2), (1, 3)):
        with pytest.raises(UserError, match=rf"labels of shape \({shape[0]}, {shape[1]}\) were given"):
            generator(source, torch.zeros(shape))


@pytest.mark.parametrize(
    "generator",
    [
        ResNet(in_channels=1, out_channels=1, num_blocks=1, width=1),
        UNet(in_channels=1, out_channels=1, num_downs=2, width=1),
        StarGANGenerator(in_channels=1, out_channels=1, num_blocks=1, width=1),
    ],
    ids=lambda generator: type(generator).__name__,
)
def test_a_generator_without_domains_takes_no_labels(generator):
    with pytest.raises(AssertionError):
        generator(torch.zeros(2, 1, 8, 8), torch.zeros(2, 3))


@pytest.mark.parametrize("size", [32, 48])
def test_patchgan_averages_the_domain_logits_of_all_patches(size):
    discriminator = PatchGAN(in_channels=1, num_domains=2, num_layers=1, width=1, norm="none")
    for module in discriminator.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1 / 16)
    with torch.no_grad():
        discriminator.domain_head.weight[1] = 2 / 16
        discriminator.domain_head.bias[1] = 10.0
    logits, domain_logits = discriminator(torch.ones(3, 1, size, size))
    assert logits.shape == (3, 1, size // 2 - 2, size // 2 - 2)
    assert domain_logits.shape == (3, 2)
    # The logit's weights are the first domain's, so the domain logit is the mean of the logits; the second doubles it.
    mean = logits.mean((1, 2, 3))
    torch.testing.assert_close(domain_logits[:, 0], mean)
    torch.testing.assert_close(domain_logits[:, 1], 2 * mean + 10)
    assert logits[0, 0, size // 4, size // 4] == 2  # two widths of 1 are summed before; the borders see less
    assert 1 < mean[0] < 2


@pytest.mark.parametrize("size", [1, 4])
def test_pixel_discriminator_averages_the_domain_logits_of_all_pixels(size):
    discriminator = PixelDiscriminator(in_channels=1, num_domains=3, width=1, norm="none")
    for module in discriminator.net:
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 1.0)
    with torch.no_grad():
        discriminator.domain_head.weight.copy_(torch.tensor([1.0, 2.0, 3.0])[:, None, None, None].expand(3, 2, 1, 1))
        discriminator.domain_head.bias.copy_(torch.tensor([0.0, 0.0, 0.5]))
    image = torch.arange(float(size * size)).view(1, 1, size, size)
    logits, domain_logits = discriminator(image)
    torch.testing.assert_close(logits, 2 * image)
    mean = (size * size - 1) / 2
    torch.testing.assert_close(domain_logits, torch.tensor([[2 * mean, 4 * mean, 6 * mean + 0.5]]))


@pytest.mark.parametrize(
    "make",
    [
        lambda **settings: PatchGAN(in_channels=3, width=2, **settings),
        lambda **settings: PixelDiscriminator(in_channels=3, width=2, **settings),
    ],
    ids=["patchgan", "pixel"],
)
def test_a_domain_head_leaves_the_other_logits_alone(make):
    judge, plain = make(num_domains=4).eval(), make().eval()
    weights = judge.state_dict()
    heads = {name for name in weights if name.startswith("domain_head")}
    plain.load_state_dict({name: weight for name, weight in weights.items() if name not in heads})
    images = torch.randn(2, 3, 48, 32)
    logits, domain_logits = judge(images)
    torch.testing.assert_close(logits, plain(images))
    domain_logits.square().sum().backward()
    assert next(judge.parameters()).grad.abs().max() > 0
