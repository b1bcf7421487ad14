"""What holds a fine-tuned model near to what it began as."""

from collections.abc import Container, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn


class Restraint(nn.Module):
    """A memory of how training began, saved for exact resume.

    Args:
        networks: all networks by name, with the weights that training begins with.
        generators: those of them that are held.
        players: player -> the names of its networks.
        fresh: parameters of generators, each as `network.name`, that began anew: nothing pulls them back.
        warmup: steps in which the players of generators do not move, so that a new discriminator does not mislead them.
        distance_weight: weight of the squared distance of their weights from the first ones (L2-SP, Li et al. 2018,
            equation 2 with alpha = 2 * distance_weight); 0 is off.
        fixed: normalisation layers whose statistics stay, each as `network.name`.
    """

    warmup: Tensor

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        generators: Sequence[str],
        players: Mapping[str, Sequence[str]],
        *,
        fresh: Container[str],
        warmup: int,
        distance_weight: float,
        fixed: Iterable[str],
    ) -> None:
        super().__init__()
        self.register_buffer("warmup", torch.tensor(warmup))
        self.distance_weight = distance_weight
        # In a list they are no child modules.
        self._fixed = [networks[name].get_submodule(path) for name, _, path in (each.partition(".") for each in fixed)]
        self._last = 0
        self._held: dict[str, list[nn.Parameter]] = {}
        self._pulled: dict[str, list[bool]] = {}
        for player, names in players.items():
            if any(name in generators for name in names):
                held = {
                    f"{name}.{key}": parameter
                    for name in names
                    for key, parameter in networks[name].named_parameters()
                    if parameter.requires_grad and distance_weight
                }
                self._held[player] = list(held.values())
                # Saved, since a run that goes on no longer knows what was fresh.
                self.register_buffer(f"{player}_pulled", torch.tensor([name not in fresh for name in held]).bool())
                for place, parameter in enumerate(self._held[player]):
                    self.register_buffer(f"{player}_{place}", parameter.detach().clone())

    def prepare(self) -> None:
        """Begin, once networks are in training mode: layers whose statistics stay go into evaluation."""
        self._last = int(self.warmup)
        self._pulled = {player: getattr(self, f"{player}_pulled").tolist() for player in self._held}
        for layer in self._fixed:
            layer.eval()

    def waits(self, player: str, step: int) -> bool:
        """Whether a player does not move yet."""
        return player in self._held and step < self._last

    def pull(self, player: str) -> None:
        """Add the gradient of the squared distance to the gradients of a player's weights."""
        for place, parameter in enumerate(self._held.get(player, ())):
            if parameter.grad is not None and self._pulled[player][place]:
                start: Tensor = getattr(self, f"{player}_{place}")
                parameter.grad.add_(parameter.detach() - start, alpha=2 * self.distance_weight)
