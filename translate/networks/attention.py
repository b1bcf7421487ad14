"""Self-attention: every place of a feature map looks at all others. Zhang et al. 2019 (SAGAN), section 3."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import handle_torch_function, has_torch_function_unary

REDUCTION = 8
"""Features per feature that is compared (k in the paper)."""


class SelfAttention(nn.Module):
    """x + gamma * v(attention), with gamma learned from 0, so that it begins as if it were not there.

    A place sees the others' h(x) in shares of softmax(f(x_i) . g(x_j)) over i; f, g, h and v are 1x1 convolutions, to
    an eighth of the channels and back (equations 1 to 3).

    Args:
        channels: features.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(channels // REDUCTION, 1)
        self.key, self.query, self.value = (nn.Conv2d(channels, inner, 1, bias=False) for _ in "fgh")
        self.output = nn.Conv2d(inner, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Float[Tensor, "batch channels height width"]) -> Tensor:
        seen = attend(self.query(features), self.key(features), self.value(features))
        output: Tensor = features + self.output(seen) * self.gamma
        return output


def attend(
    query: Float[Tensor, "batch inner height width"],
    key: Float[Tensor, "batch inner rows columns"],
    value: Float[Tensor, "batch channels rows columns"],
) -> Float[Tensor, "batch channels height width"]:
    """For every place of `query` the mean of `value` over all places, in shares of softmax(query . key)."""
    if has_torch_function_unary(query):  # tiles look at all of the others
        attended: Tensor = handle_torch_function(attend, (query,), query, key, value)
        return attended
    height, width = query.shape[2:]
    queries, keys, values = (each.flatten(2).mT[:, None] for each in (query, key, value))  # (B, 1, H * W, C)
    seen = scaled_dot_product_attention(queries, keys, values, scale=1.0)
    return seen[:, 0].mT.reshape(len(query), -1, height, width)
