"""Orthogonal regularisation: the filters of a layer are kept apart. Brock et al. 2019 (BigGAN), section 3.1."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def orthogonal_penalty(network: nn.Module) -> Float[Tensor, ""]:
    """The sum over convolutions and linear layers of ||W^T W * (1 - I)||_F^2, with a filter in each column of W.

    Equation 3 with beta = 1: what two filters have in common costs, their lengths do not. At full precision.
    """
    weights = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    return torch.stack([_overlap(_filters(layer)) for layer in weights]).sum()


def _filters(layer: nn.Conv2d | nn.ConvTranspose2d | nn.Linear) -> Float[Tensor, "filters values"]:
    weight = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
    return weight.flatten(1)


def _overlap(filters: Tensor) -> Tensor:
    with torch.autocast(filters.device.type, enabled=False):
        products = filters @ filters.T
        return (products - products.diagonal().diag()).square().sum()
