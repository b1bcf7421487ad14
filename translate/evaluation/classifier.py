"""A classifier that judges translations between domains, independent of the model that it judges.

It is trained on real images alone and shares nothing with the model's discriminator, as in Choi et al. 2018, section
5.2.
"""

import hashlib
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from translate.data.sampler import StreamSampler
from translate.data.source import DataSource, collate
from translate.domains import Domains
from translate.evaluation.requests import known_names
from translate.evaluation.split import Bar, no_bar
from translate.files import write_atomically
from translate.objectives.classification import domain_loss
from translate.pixels import normalize

FILE = "classifier.safetensors"
MAX_STEPS = 1000
SEED = 0
BATCH = 32
WINDOW = 20
ENOUGH = 0.99
CACHE_GIB = 1.0
"""Images are seen again and again, and decoding them anew takes as long as a step."""


@dataclass(frozen=True)
class Classifier:
    """A trained network and the steps of its training."""

    network: nn.Module
    domains: Domains
    steps: int

    @torch.inference_mode()
    def __call__(self, images: Float[Tensor, "batch channels height width"]) -> Bool[Tensor, "batch names"]:
        """Which domains it sees in images in [-1, 1]: the likeliest of a one-hot set, all likely attributes."""
        return self.domains.recognized(self.network(images))


def train_classifier(
    data: DataSource,
    image_size: int,
    device: torch.device,
    *,
    max_steps: int = MAX_STEPS,
    bar: Bar = no_bar,
) -> Classifier:
    """Train a ResNet-18 on the augmented training images of inspected data; the same images, the same classifier.

    It ends once all labels of 99 % of the images in the last 20 batches were right, or after `max_steps`.
    """
    domains, side = data.domains, data.source
    assert domains is not None
    items = data.items("train", image_size, seed=SEED, augment=True, cache_gib=max(data.cache_gib, CACHE_GIB))
    sampler = StreamSampler(
        size=len(items), batch_size=min(BATCH, len(items)), first_step=0, last_step=max_steps, seed=SEED
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SEED)
        network = make_network(side.channels, domains).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    recent: deque[float] = deque(maxlen=WINDOW)
    steps = 0
    for positions in bar("training the classifier")(sampler, max_steps):
        images, labels, _ = (field.to(device) for field in collate([items[position] for position in positions]))
        logits = network(normalize(images, side.low, side.high))
        optimizer.zero_grad()
        torch.autograd.backward(domain_loss(logits, labels, domains))
        optimizer.step()
        steps += 1
        recent.append(float(is_right(logits, labels, domains).float().mean()))
        if len(recent) == WINDOW and sum(recent) >= ENOUGH * WINDOW:
            break
    return Classifier(network.eval().requires_grad_(False), domains, steps)


def recall_classifier(
    folder: Path,
    data: DataSource,
    settings: Mapping[str, Any],
    device: torch.device,
    *,
    max_steps: int = MAX_STEPS,
    bar: Bar = no_bar,
) -> Classifier:
    """The classifier saved in `folder`, if it was trained on these images in this way; else a new one, saved there.

    `settings` are what `data` was built from, with the `image_size`. The seed of a run makes no other judge.
    """
    size = settings["image_size"]
    seen = {name: value for name, value in settings["data"].items() if name not in ("workers", "cache_gib")}
    if "root" in seen:
        seen["root"] = str(Path(seen["root"]).expanduser().resolve())
    described = json.dumps([data.fingerprint(), seen], sort_keys=True)
    key = {
        "format": "translate-classifier",
        "data": hashlib.sha256(described.encode()).hexdigest(),
        "image_size": str(size),
        "max_steps": str(max_steps),
    }
    found = _read(folder / FILE, key, data, device)
    if found is not None:
        return found
    made = train_classifier(data, size, device, max_steps=max_steps, bar=bar)
    tensors = {name: tensor.cpu().contiguous() for name, tensor in made.network.state_dict().items()}
    metadata = key | {"steps": str(made.steps)}
    write_atomically(folder / FILE, lambda partial: save_file(tensors, partial, metadata=metadata))
    return made


def make_network(channels: int, domains: Domains) -> nn.Module:
    """A ResNet-18 with random weights: images (B, channels, H, W) to one logit per domain.

    Its norm is that of groups (Wu & He 2018): after a training as short as this one the running averages of batch norm
    would lag behind the weights.
    """
    from torchvision.models import resnet18

    network: nn.Module = resnet18(num_classes=len(domains.names), norm_layer=partial(nn.GroupNorm, 32))
    if channels != 3:
        network.conv1 = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return network


def is_right(
    logits: Float[Tensor, "batch names"], labels: Float[Tensor, "batch width"], domains: Domains
) -> Bool[Tensor, " batch"]:
    """Whether logits speak for all that is known of an image, and for no other domain of those sets."""
    wrong = domains.recognized(logits) != labels[:, : len(domains.names)].bool()
    return ~(wrong & known_names(labels, domains)).any(1)


def _read(path: Path, key: Mapping[str, str], data: DataSource, device: torch.device) -> Classifier | None:
    """The saved classifier; None if there is none, it is damaged, or `key` is not what it was trained as."""
    assert data.domains is not None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if any(metadata.get(name) != value for name, value in key.items()):
                return None
            steps = int(metadata["steps"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        with torch.device("meta"):  # draws no weights: they come from the file
            network = make_network(data.source.channels, data.domains)
        network.load_state_dict(tensors, assign=True)
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError):
        return None
    return Classifier(network.to(device).eval().requires_grad_(False), data.domains, steps)
