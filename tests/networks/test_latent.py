"""Generators that take a code, and the encoder that reads codes from images."""

import pytest
import torch

from translate.errors import UserError
from translate.networks.encoder import CodeEncoder
from translate.networks.layers import ConditionalNorm, condition
from translate.networks.resnet import ResNet
from translate.networks.unet import UNet

for_resnet_and_unet = pytest.mark.parametrize(
    "make",
    [
        lambda **settings: ResNet(in_channels=3, out_channels=2, num_blocks=1, width=4, **settings),
        lambda **settings: UNet(in_channels=3, out_channels=2, num_downs=3, width=4, **settings),
    ],
    ids=["resnet", "unet"],
)


@for_resnet_and_unet
def test_a_generator_without_a_code_is_what_it_was(make):
    torch.manual_seed(0)
    before = make()
    drawn = torch.rand(1)
    torch.manual_seed(0)
    now = make(latent=0)
    assert torch.rand(1) == drawn
    assert before.state_dict().keys() == now.state_dict().keys()
    assert not any(isinstance(module, ConditionalNorm) for module in now.modules())


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@for_resnet_and_unet
def test_a_code_changes_the_output_and_no_code_is_that_of_zeros(make, norm):
    generator = make(latent=2, norm=norm, initialization="kaiming").double()
    source = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    middle = generator(source)
    torch.testing.assert_close(generator(source, code=source.new_zeros(2, 2)), middle)
    assert (generator(source, code=source.new_ones(2, 2)) - middle).abs().mean() > 0.01


@for_resnet_and_unet
def test_each_image_of_a_batch_has_a_code_of_its_own_beside_its_labels(make):
    generator = make(latent=2, num_domains=3, norm="instance").double()
    source = torch.randn(2, 3, 16, 16, dtype=torch.float64)
    labels, code = torch.eye(3, dtype=torch.float64)[:2], torch.randn(2, 2, dtype=torch.float64)
    together = generator(source, labels, code)
    for index in range(2):
        alone = generator(source[[index]], labels[[index]], code[[index]])
        torch.testing.assert_close(together[index : index + 1], alone)
    torch.testing.assert_close(generator(source, labels), generator(source, labels, torch.zeros_like(code)))


def test_layers_are_told_the_labels_and_behind_them_the_code():
    source, labels, code = torch.zeros(1, 1, 2, 2), torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0]])
    told = condition(source, labels, code, num_domains=2, latent=1)
    assert told is not None
    assert told.tolist() == [[1, 2, 3]]
    told = condition(source, labels, None, num_domains=2, latent=1)
    assert told is not None
    assert told.tolist() == [[1, 2, 0]]
    assert condition(source, None, None, num_domains=0, latent=1) is None


def test_codes_that_do_not_fit_are_refused_by_name():
    source = torch.zeros(2, 3, 16, 16)
    with pytest.raises(UserError, match=r"takes codes of shape \(2, 4\), and one of shape \(2, 3\) was given"):
        UNet(in_channels=3, out_channels=3, num_downs=2, width=1, latent=4)(source, code=torch.zeros(2, 3))
    with pytest.raises(UserError, match="takes no code"):
        UNet(in_channels=3, out_channels=3, num_downs=2, width=1)(source, code=torch.zeros(2, 3))
    with pytest.raises(UserError, match=r"generator\.latent=-1 must be at least 0"):
        ResNet(in_channels=3, out_channels=3, latent=-1)


def test_the_encoder_gives_two_numbers_for_each_of_a_code_at_any_size():
    encoder = CodeEncoder(in_channels=3, latent=5, width=1)
    for size in (encoder.min_size, 40):
        mean, log_variance = encoder(torch.zeros(2, 3, size, size))
        assert mean.shape == log_variance.shape == (2, 5)
    assert list(encoder.stages) == ["layer_1", "layer_2", "layer_3", "layer_4", "head"]


def test_the_encoder_sees_colours():
    torch.manual_seed(0)
    mean, _ = CodeEncoder(in_channels=3, latent=5, width=4)(
        torch.tensor([0.0, 1.0])[:, None, None, None].expand(2, 3, 16, 16)
    )
    assert (mean[0] - mean[1]).abs().mean() > 0.01
