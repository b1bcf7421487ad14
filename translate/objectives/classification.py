"""What a domain classifier minimises."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from translate.domains import Domains


def domain_loss(
    logits: Float[Tensor, "batch names"], labels: Float[Tensor, "batch width"], domains: Domains
) -> Float[Tensor, ""]:
    """Classification loss of domain logits, averaged over the images. Choi et al. 2018, equations 2 and 3.

    Cross-entropy for domains that exclude one another; for attributes the binary cross-entropy, summed over the
    attributes. With several label sets an image counts in those alone that are known for it (section 3.3).
    """
    losses = []
    for kept, part in zip(domains.sets, domains.slices, strict=True):
        if kept.kind == "one_hot":
            losses.append(cross_entropy(logits[:, part], labels[:, part].argmax(1), reduction="none"))
        else:
            each = binary_cross_entropy_with_logits(logits[:, part], labels[:, part], reduction="none")
            losses.append(each.sum(1))
    return (torch.stack(losses, 1) * domains.known(labels)).sum(1).mean()
