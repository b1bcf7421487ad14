"""Signs of how a run is going, gathered while it trains: numbers that cost next to nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from translate.batch import Pair
from translate.methods.method import Method, Translation, Turn
from translate.training.appearance import (
    checkerboard,
    colour_agreement,
    colour_distance,
    colour_noise,
    contrast,
    diversity,
    relatedness,
)
from translate.training.log import Meter

MOST_PIXELS = 16 * 256 * 256
MOST_IMAGES = 64
MOST_WEIGHTS = 2**19


class Watch:
    """Looks at the translations, weights and judgements of training between two readings.

    Signs that stand for images are of up to 64 of them (16 of 256 x 256 pixels), which training made anyway; those of
    weights are of one step per reading. No step waits for the device. It sees what its own process does.

    Args:
        method: the game.
        average: takes the mean of a tensor over all processes.
    """

    def __init__(self, method: Method, *, average: Callable[[Tensor], Tensor]) -> None:
        self.method, self.is_paired = method, method.batch_type is Pair
        self.mismatched = Meter(average)
        self._moves = {
            player for player, names in method.players.items() if any(name in method.generators for name in names)
        }
        self._reset()

    def _reset(self) -> None:
        self.kept: dict[str, list[Translation]] = {}
        self.weights: dict[str, Tensor] = {}

    @contextmanager
    def stepping(self, turn: Turn, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """Wrap the optimiser's step of a turn, and what is done to its gradients before.

        The first one of a player since the last reading gives its `update`, how far weights moved in parts of their
        size, and the `gradient` of a player of generators: of matrices and kernels, but not the very largest.
        """
        self.mismatched.add_losses(turn.mismatched)
        for name, translation in turn.translations.items():
            self._keep(name, translation)
        weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.grad is not None]
        weights = [weight for weight in weights if weight.ndim > 1 and weight.numel() <= MOST_WEIGHTS] or weights[:1]
        if f"{turn.player}_update" in self.weights or not weights:
            yield
            return
        if turn.player in self._moves:
            self.weights[f"{turn.player}_gradient"] = _norm([weight.grad for weight in weights])
        before = [weight.detach().clone() for weight in weights]
        yield
        moved = [weight.detach() - old for weight, old in zip(weights, before, strict=True)]
        self.weights[f"{turn.player}_update"] = _norm(moved) / _norm(before).clamp_min(1e-12)

    def read(self) -> dict[str, float]:
        """The signs by name since the last reading; this waits for the device."""
        found = dict(self.weights)
        for name, accuracy in self.method.adversary.read_accuracy().items():
            found[f"{name}_real_right"], found[f"{name}_fake_right"] = accuracy
        for name, parts in self.kept.items():
            source, output, real = (torch.cat(images).float() for images in zip(*parts, strict=True))
            signs = image_signs(source, output, real, is_paired=self.is_paired)
            found |= {f"{name}_{sign}": value for sign, value in signs.items()}
        values = torch.stack([value.float().cpu() for value in found.values()]).tolist() if found else []
        signs_now = {name: round(value, 6) for name, value in zip(found, values, strict=True)}
        signs_now |= {f"{name}_mismatched": round(loss, 6) for name, loss in self.mismatched.read()["losses"].items()}
        self._reset()
        return signs_now

    def _keep(self, name: str, translation: Translation) -> None:
        kept = self.kept.setdefault(name, [])
        kept.append(Translation(*(images.detach() for images in translation)))
        pixels = translation.output.shape[-1] * translation.output.shape[-2]
        most = max(2, min(MOST_IMAGES, MOST_PIXELS // pixels))
        while len(kept) > 1 and sum(len(part.output) for part in kept[1:]) >= most:
            del kept[0]


@torch.no_grad()
def image_signs(source: Tensor, output: Tensor, real: Tensor, *, is_paired: bool) -> dict[str, Tensor]:
    """What images (B, C, H, W) in [-1, 1] and their translations tell; fewer than 2 of them tell little.

    `real` are images of the kind that `output` should be: the true answers if `is_paired`.
    """
    tiny = 1e-6
    other = real if is_paired else real.roll(1, 0)
    signs = {
        "contrast": contrast(output) / contrast(real).clamp_min(tiny),
        "checkerboard": checkerboard(output) / checkerboard(real).clamp_min(tiny),
        "shift": colour_distance(output, real),
        "shift_noise": colour_noise(output, real),
    }
    is_comparable = source.shape == output.shape
    if is_comparable:
        signs["shift_of_source"] = colour_distance(source, real)
        signs["change"] = (output - source).abs().mean() / (other - source).abs().mean().clamp_min(tiny)
    if is_paired or is_comparable:
        reference = real if is_paired else source
        signs["brightness_agreement"] = colour_agreement(output.mean(1, keepdim=True), reference.mean(1, keepdim=True))
        if output.shape[1] == 3:
            signs["colour_agreement"] = colour_agreement(
                output - output.mean(1, keepdim=True), reference - reference.mean(1, keepdim=True)
            )
    if len(output) > 1:
        signs["diversity"] = diversity(output) / diversity(real).clamp_min(tiny)
        if is_paired:
            signs["l1"] = (output - real).abs().mean() / 2
            signs["l1_of_mean"] = (real.mean(0) - real).abs().mean() / 2
            signs["relatedness"] = relatedness(output, real)
    return signs


def _norm(tensors: list[Tensor | None]) -> Tensor:
    """The norm of all of them as one vector."""
    norms = [torch.linalg.vector_norm(tensor.float()) for tensor in tensors if tensor is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
    return norm
