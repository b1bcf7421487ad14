"""StarGAN's networks, against facts of the reference implementation."""

import pytest
import torch
from torch import nn

from translate.errors import UserError
from translate.networks.stargan import StarGANDiscriminator, StarGANGenerator


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(("num_domains", "parameters"), [(5, 8_430_528), (8, 8_439_936), (15, 8_461_888)])
def test_generator_has_the_reference_parameters(num_domains, parameters):
    with torch.device("meta"):
        generator = StarGANGenerator(in_channels=3, out_channels=3, num_domains=num_domains)
    assert count(generator) == parameters
    assert len(generator.state_dict()) == 103


@pytest.mark.parametrize(
    ("image_size", "num_domains", "parameters", "side"),
    [(128, 5, 44_762_048, 2), (128, 8, 44_786_624, 2), (256, 5, 44_884_928, 4)],
)
def test_discriminator_has_the_reference_parameters_and_map(image_size, num_domains, parameters, side):
    with torch.device("meta"):
        discriminator = StarGANDiscriminator(in_channels=3, num_domains=num_domains, image_size=image_size)
        logits, domain_logits = discriminator(torch.empty(2, 3, image_size, image_size))
    assert count(discriminator) == parameters
    assert logits.shape == (2, 1, side, side)
    assert domain_logits.shape == (2, num_domains)


def test_networks_start_from_the_draws_of_pytorch():
    torch.manual_seed(0)
    network = StarGANGenerator(in_channels=3, out_channels=3, num_domains=2, num_blocks=1, width=16)
    # U(-b, b) with b = 1 / sqrt(fan in): the third convolution has 32 * 4 * 4 inputs.
    assert network.main[6].weight.std().item() == pytest.approx((1 / 512 / 3) ** 0.5, rel=0.02)
    assert network.main[6].weight.abs().max().item() <= 512**-0.5
    for name, tensor in network.state_dict().items():
        if "running_mean" in name or name.endswith("bias"):
            assert tensor.abs().max() == 0


def test_without_domains_the_networks_suit_methods_that_have_none():
    generator = StarGANGenerator(in_channels=1, out_channels=2, num_blocks=1, width=2)
    assert generator(torch.zeros(1, 1, 12, 20)).shape == (1, 2, 12, 20)
    discriminator = StarGANDiscriminator(in_channels=2, width=1, num_layers=2, image_size=16)
    assert discriminator(torch.zeros(3, 2, 8, 12)).shape == (3, 1, 2, 3)
    assert not [name for name in discriminator.state_dict() if name.startswith("conv2")]


def test_networks_work_at_their_least_size_and_not_below():
    generator = StarGANGenerator(in_channels=1, out_channels=1, num_blocks=1, width=1)
    size = generator.min_size
    assert generator(torch.zeros(1, 1, size, size)).shape == (1, 1, size, size)
    with pytest.raises(ValueError, match="more than 1 spatial element"):
        generator(torch.zeros(1, 1, size - 4, size - 4))
    discriminator = StarGANDiscriminator(in_channels=1, width=1, num_layers=3, image_size=8)
    size = discriminator.min_size
    assert discriminator(torch.zeros(1, 1, size, size)).shape == (1, 1, 1, 1)
    with pytest.raises(RuntimeError):
        discriminator(torch.zeros(1, 1, size - 1, size - 1))


def test_labels_are_channels_after_those_of_the_image():
    generator = StarGANGenerator(in_channels=1, out_channels=1, num_domains=2, num_blocks=1, width=4).double()
    plain = StarGANGenerator(in_channels=3, out_channels=1, num_blocks=1, width=4).double()
    plain.load_state_dict(generator.state_dict())
    source = torch.rand(2, 1, 8, 12, dtype=torch.float64)
    labels = torch.tensor([[1.0, 0.0], [0.25, 0.5]], dtype=torch.float64)
    tiled = torch.cat([source, torch.ones_like(source), torch.zeros_like(source)], 1)
    tiled[1, 1] = 0.25
    tiled[1, 2] = 0.5
    torch.testing.assert_close(generator(source, labels), plain(tiled))
    assert (generator(source, labels.flip(0)) - plain(tiled)).abs().max() > 0.01


def test_training_leaves_the_running_statistics_alone_and_evaluation_does_not_use_them():
    generator = StarGANGenerator(in_channels=1, out_channels=1, num_domains=2, num_blocks=1, width=4)
    for name, buffer in generator.named_buffers():
        buffer.fill_(3 if "running" in name else 7)
    source, labels = torch.rand(2, 1, 16, 16), torch.eye(2)
    optimizer = torch.optim.SGD(generator.parameters(), lr=0.1)
    before = generator(source, labels).detach()
    for _ in range(2):
        optimizer.zero_grad()
        generator(source, labels).square().mean().backward()
        optimizer.step()
    buffers = dict(generator.named_buffers())
    assert len(buffers) == 3 * 7
    for name, buffer in buffers.items():
        assert (buffer == (3 if "running" in name else 7)).all(), name
    trained = generator(source, labels)
    assert (trained - before).abs().max() > 1e-3
    assert trained.equal(generator.eval()(source, labels))


def test_domain_logits_are_a_convolution_over_the_whole_last_map():
    discriminator = StarGANDiscriminator(in_channels=1, num_domains=2, image_size=16, width=1, num_layers=2)
    discriminator.main = nn.AvgPool2d(4)
    with torch.no_grad():
        discriminator.conv2 = nn.Conv2d(1, 2, 4, bias=False)
        discriminator.conv2.weight[0] = 1.0
        discriminator.conv2.weight[1] = torch.eye(4)
    image = torch.arange(16.0).view(1, 1, 4, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    discriminator.conv1 = nn.Conv2d(1, 1, 1)
    assert discriminator(image)[1].tolist() == [[120.0, 0.0 + 5.0 + 10.0 + 15.0]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"image_size": 96},
            r"discriminator\.num_layers=6 .* image_size=96 .* use discriminator\.num_layers=5 or image_size=128",
        ),
        ({"image_size": 257}, r"use image_size=320"),
        ({"num_layers": 0}, r"discriminator\.num_layers=0"),
    ],
)
def test_sizes_that_the_discriminator_cannot_halve_are_named_with_those_it_can(settings, message):
    with pytest.raises(UserError, match=message):
        StarGANDiscriminator(in_channels=3, num_domains=1, **settings)


def test_a_discriminator_with_domains_refuses_other_sizes_than_its_own():
    discriminator = StarGANDiscriminator(in_channels=1, num_domains=2, image_size=16, width=1, num_layers=2)
    with pytest.raises(UserError, match=r"image_size=16 .* not of 16x32"):
        discriminator(torch.zeros(1, 1, 16, 32))
