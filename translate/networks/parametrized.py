"""Weights that are computed from others in every pass: divided by their spectral norm, or scaled at run time."""

from math import prod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, register_parametrization, remove_parametrizations

from translate.errors import UserError
from translate.networks.layers import Initialization, initialize, normalize_spectrally

Scaling = Literal["spectral_norm", "equalized"]
ITERATIONS = 15
"""Power iterations that find the largest singular value of weights never seen before, as PyTorch begins with."""


class Equalized(nn.Module):
    """weight * sqrt(2 / fan_in), with weights drawn from N(0, 1): the equalised learning rate.

    Karras et al. 2018 (ProGAN), section 4.1. The scale is a buffer: weights made to fit other channels keep theirs.

    Args:
        fan_in: numbers that an output of the layer is the sum of.
    """

    def __init__(self, fan_in: float) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor((2 / fan_in) ** 0.5))
        self.scale: Tensor

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale


def draw_weights(
    network: nn.Module,
    owner: Literal["generator", "discriminator"],
    *,
    initialization: Initialization,
    gain: float,
    spectral_norm: bool,
    equalized: bool,
) -> None:
    """Draw the first weights of a network and say how they are scaled in every pass. `owner` names the settings.

    Raises:
        UserError: both ways of scaling, or `equalized` with an `initialization` other than normal.
    """
    if spectral_norm and equalized:
        raise UserError(
            f"{owner}.equalized=true scales weights that {owner}.spectral_norm=true scales again: use one of the two"
        )
    if equalized and initialization != "normal":
        raise UserError(
            f"{owner}.initialization={initialization} does not go with {owner}.equalized=true, which draws from "
            f"N(0, 1): use {owner}.initialization=normal"
        )
    initialize(network, initialization, gain)
    if spectral_norm:
        normalize_spectrally(network)
    if equalized:
        equalize(network)


def equalize(network: nn.Module) -> None:
    """Draw the weights of every convolution from N(0, 1), and scale them at run time; see `Equalized`."""
    for module in list(network.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight)
            register_parametrization(module, "weight", Equalized(_fan_in(module)))


def _fan_in(layer: nn.Conv2d | nn.ConvTranspose2d) -> float:
    """The numbers that an output is the sum of; of a transposed convolution on average."""
    seen = layer.in_channels // layer.groups * prod(layer.kernel_size)
    return seen / prod(layer.stride) if isinstance(layer, nn.ConvTranspose2d) else seen


def scaling_of(network: nn.Module) -> Scaling | None:
    """How the weights of a network are scaled in every pass; None if they are what they are."""
    kinds = {
        type(module.parametrizations["weight"][0])  # type: ignore[index]
        for module in network.modules()
        if is_parametrized(module, "weight")
    }
    if not kinds:
        return None
    return "equalized" if Equalized in kinds else "spectral_norm"


def settle(network: nn.Module) -> None:
    """Find the spectral norms of weights that have been put in the place of others; the network is in training mode."""
    for module in network.modules():
        if is_parametrized(module, "weight"):
            for _ in range(ITERATIONS):
                _ = module.weight


def fold(network: nn.Module) -> None:
    """Turn weights that are computed in every pass into plain ones, under their usual names: for translating alone.

    Not of a deep copy beside its original: PyTorch gives both the same classes, and takes them away from both.
    """
    for module in list(network.modules()):
        if is_parametrized(module, "weight"):
            module.parametrizations.eval()  # type: ignore[union-attr]  # the spectral norm stays as it is
            remove_parametrizations(module, "weight")
