"""The schema of a training configuration: every key of conf/train.yaml, with its type."""

from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal

Component = dict[str, Any]


@dataclass(frozen=True)
class Wandb:
    """Weights & Biases; see conf/train.yaml."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    mode: Literal["offline", "online", "disabled"] | None
    project: str | None
    name: str | None


@dataclass(frozen=True)
class Finetune:
    """How training goes on from a trained model; see conf/train.yaml."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    checkpoint: str | None = None
    keep_discriminator: bool = True
    warmup: int | None = None
    fresh: list[str] = field(default_factory=list)
    freeze: list[str] = field(default_factory=list)
    freeze_norm: bool = False
    rates: dict[str, float] = field(default_factory=dict)
    channels: Literal["average", "copy", "fresh"] = "average"
    distance_weight: float = 0.0


@dataclass(frozen=True)
class ValidationSettings:
    """How a model is measured while it trains; see conf/train.yaml."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    every: int | None = None
    images: int = 64
    metric: str | None = None
    patience: int | None = None
    weights: str | None = None
    classifier_steps: int | None = None


@dataclass(frozen=True)
class Stabilizers:
    """What steadies the game between the players; see conf/train.yaml."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    label_smoothing: float = 0.0
    label_flipping: float = 0.0
    instance_noise: float = 0.0
    instance_noise_steps: int | None = None
    orthogonal_weight: float = 0.0


@dataclass(frozen=True)
class Settings:
    """A resolved configuration. What each key means stands beside it in conf/train.yaml."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    method: Component
    generator: Component
    discriminator: Component
    objective: Component
    optimizer: Component
    schedule: Component
    data: Component
    image_size: int
    batch_size: int
    steps: int | None
    epochs: float | None
    seed: int
    deterministic: bool
    output: str
    resume: Literal["auto", "never"]
    accelerator: Literal["auto", "cpu", "cuda", "mps"]
    devices: int | Literal["auto"]
    num_nodes: int
    precision: Literal["32", "bf16-mixed", "64"]
    compile: bool
    channels_last: bool
    average_decay: float
    gradient_clip: float | None
    norm_at_test: Literal["running", "image"]
    dropout_at_test: bool
    log_every: int
    sample_every: int
    sample_images: int
    save_every: int
    wandb: Wandb
    # Runs of earlier versions have no such keys.
    updates: Literal["alternating", "simultaneous"] = "alternating"
    discriminator_rate: float = 1.0
    verdict: bool = True
    gradient_penalty: Component | None = None
    discriminator_augmentation: Component | None = None
    stabilizers: Stabilizers = field(default_factory=Stabilizers)
    finetune: Finetune = field(default_factory=Finetune)
    validation: ValidationSettings = field(default_factory=ValidationSettings)


def defaults() -> dict[str, Any]:
    """The settings that have a value where a configuration does not name them, with it."""
    plain = {setting.name: setting.default for setting in fields(Settings) if setting.default is not MISSING}
    return plain | {
        setting.name: asdict(make()) for setting in fields(Settings) if (make := setting.default_factory) is not MISSING
    }
