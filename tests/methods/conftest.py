"""Playing a method outside the engine, as plainly as can be."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

FOLDER = Path(os.environ.get("TRANSLATE_PARITY", Path(__file__).parent.parent / "parity")) / "training"


class Recording:
    """A recorded training of a reference implementation: first weights, batches, and the losses of every step."""

    def __init__(self, name: str) -> None:
        self.folder = FOLDER / name
        self.losses = json.loads((self.folder / "losses.json").read_text())["losses"]
        self.batches = load_file(self.folder / "batches.safetensors")

    def load(self, network: torch.nn.Module, file: str) -> None:
        """Give a float64 network its recorded weights."""
        network.load_state_dict(torch.load(self.folder / file, weights_only=True))

    def tensor(self, step: int, name: str) -> torch.Tensor:
        """What was recorded under `name` for a step, in float64."""
        return self.batches[f"step{step}_{name}"].double()


class Player:
    """Steps the players of a method with the reference's Adam; `losses` are those of the last step."""

    def __init__(self, method, lr):
        self.method = method
        self.optimizers = {
            player: torch.optim.Adam(
                [parameter for name in names for parameter in getattr(method, name).parameters()],
                lr=lr,
                betas=(0.5, 0.999),
            )
            for player, names in method.players.items()
        }

    def play(self, batch, step):
        losses = {}
        for turn in self.method.play(batch, step):
            self.optimizers[turn.player].zero_grad()
            sum(turn.losses.values()).backward()
            self.optimizers[turn.player].step()
            if turn.after is not None:
                turn.after()
            losses |= {name: loss.item() for name, loss in turn.losses.items()}
        return losses


@pytest.fixture(scope="session")
def recording():
    return Recording


@pytest.fixture(scope="session")
def player():
    return Player
