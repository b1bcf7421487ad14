"""The ResNet that blurs where it halves and doubles, against facts of CUT's implementation and sums by hand."""

import pytest
import torch

from translate.errors import UserError
from translate.networks.resnet import BlurDown, BlurUp, ResNet


def rows_of(values):
    """An image (1, 1, 4, W) whose rows are all `values`."""
    return torch.tensor(values).expand(1, 1, 4, -1)


def test_it_has_the_names_shapes_and_parameters_of_cut():
    with torch.device("meta"):
        generator = ResNet(in_channels=3, out_channels=3, downsample="blur", upsample="blur", initialization="xavier")
    assert sum(parameter.numel() for parameter in generator.parameters()) == 11_378_179
    state = generator.state_dict()
    assert len(state) == 52
    filters = {name: tuple(tensor.shape) for name, tensor in state.items() if name.endswith("filt")}
    assert filters == {
        "model.7.filt": (128, 1, 3, 3),
        "model.11.filt": (256, 1, 3, 3),
        "model.21.filt": (256, 1, 4, 4),
        "model.25.filt": (128, 1, 4, 4),
    }
    numbers = [1, 4, 8, 22, 26, 30]
    assert [number for number in range(32) if f"model.{number}.weight" in state] == numbers
    assert all(f"model.{number}.bias" in state for number in numbers)
    assert [number for number in range(32) if f"model.{number}.conv_block.5.weight" in state] == list(range(12, 21))
    assert all(tuple(state[f"model.{number}.weight"].shape[2:]) == (3, 3) for number in (4, 8, 22, 26))


def test_halving_blurs_by_a_quarter_a_half_and_a_quarter():
    # The border is reflected: (4 + 2 * 0 + 4) / 4 and (4 + 2 * 8 + 12) / 4.
    assert BlurDown(1)(rows_of([0.0, 4.0, 8.0, 12.0])).tolist() == rows_of([2.0, 8.0])[:, :, :2].tolist()
    turned = BlurDown(1)(rows_of([0.0, 4.0, 8.0, 12.0]).mT)
    assert turned.tolist() == rows_of([2.0, 8.0])[:, :, :2].mT.tolist()


def test_doubling_interpolates_between_neighbours():
    # Three quarters of the nearer pixel and a quarter of the further one; the border is repeated.
    found = BlurUp(1)(rows_of([0.0, 4.0]))
    assert found.tolist() == rows_of([0.0, 1.0, 3.0, 4.0]).repeat(1, 1, 2, 1).tolist()


def test_channels_stay_apart():
    image = torch.stack([torch.zeros(4, 4), torch.ones(4, 4)])[None]
    assert torch.equal(BlurDown(2)(image), image[:, :, :2, :2])
    assert torch.equal(BlurUp(2)(image), torch.stack([torch.zeros(8, 8), torch.ones(8, 8)])[None])


@pytest.mark.parametrize("upsample", ["deconv", "resize", "blur"])
@pytest.mark.parametrize("downsample", ["stride", "blur"])
@pytest.mark.parametrize("num_domains", [0, 2])
def test_it_keeps_sizes_that_are_multiples_of_4(downsample, upsample, num_domains):
    generator = ResNet(
        in_channels=1,
        out_channels=3,
        num_domains=num_domains,
        num_blocks=1,
        width=2,
        downsample=downsample,
        upsample=upsample,
    )
    labels = torch.ones(1, 2) if num_domains else None
    for size in ((8, 8), (12, 20)):
        assert generator(torch.rand(1, 1, *size), labels).shape == (1, 3, *size)


def test_other_ways_to_halve_and_double_are_refused():
    with pytest.raises(UserError, match="downsample='pool' is not one of stride, blur"):
        ResNet(in_channels=1, out_channels=1, downsample="pool")
    with pytest.raises(UserError, match="upsample='bilinear' is not one of deconv, resize, blur"):
        ResNet(in_channels=1, out_channels=1, upsample="bilinear")
