"""Exponential moving average of the weights that translate, used for samples and the saved model."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from translate.methods.method import Method
from translate.model import NormAtTest, set_test_behaviour


class WeightAverage:
    """Averages of the networks called `names`: w <- decay * w + (1 - decay) * network, after every step.

    The first update copies. Buffers (batch norm statistics) are copied, not averaged.
    """

    def __init__(self, networks: Mapping[str, nn.Module], decay: float) -> None:
        self.averages = {
            name: AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay))  # type: ignore[no-untyped-call]
            for name, network in networks.items()
        }

    def update(self, networks: Mapping[str, nn.Module]) -> None:
        """Take in the networks' present weights."""
        for name, average in self.averages.items():
            average.update_parameters(networks[name])

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The averaged networks by name."""
        return {name: average.module for name, average in self.averages.items()}


@contextmanager
def translating(
    method: Method, networks: Mapping[str, nn.Module], *, norm: NormAtTest, dropout: bool
) -> Iterator[Method]:
    """Lend `method` these `networks` in their test behaviour, and take them back afterwards."""
    trained = {name: getattr(method, name) for name in networks}
    modules = [module for network in networks.values() for module in network.modules()]
    changed = [
        (module, name, getattr(module, name))
        for module in modules
        for name in ("training", "per_image_at_test")  # which a layer in evaluation obeys in training too
        if hasattr(module, name)
    ]
    for name, network in networks.items():
        set_test_behaviour(network, norm=norm, dropout=dropout)
        setattr(method, name, network)
    try:
        yield method
    finally:
        for name, network in trained.items():
            setattr(method, name, network)
        for module, name, value in changed:
            setattr(module, name, value)
