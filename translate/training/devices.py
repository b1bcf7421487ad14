"""Devices, precision and processes, and networks and optimisers set up for them."""

import inspect
import logging
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from translate.build import build
from translate.errors import UserError
from translate.methods.method import Method
from translate.training.fabric import DDPStrategy, Fabric
from translate.training.parts import Learning
from translate.training.settings import Settings


def is_first_process() -> bool:
    """Whether this is the only process, or the first of several, as far as the launcher's environment tells."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK", "NODE_RANK", "SLURM_PROCID"))


def count_processes(settings: Settings) -> int:
    """Processes that `make_fabric` launches."""
    devices = settings.devices
    if devices == "auto":
        devices = torch.cuda.device_count() if settings.accelerator in ("auto", "cuda") else 1
    return max(devices, 1) * settings.num_nodes


def make_fabric(settings: Settings) -> Fabric:
    """Devices, precision and processes, launched."""
    precision = {"32": "32-true", "64": "64-true"}.get(settings.precision, settings.precision)
    devices = settings.devices
    if devices == "auto" and settings.accelerator == "cpu":
        devices = 1
    several = torch.cuda.device_count() > 1 if devices == "auto" else devices > 1
    is_distributed = several or settings.num_nodes > 1 or "WORLD_SIZE" in os.environ
    try:
        fabric = Fabric(
            accelerator=settings.accelerator,
            devices=devices,
            num_nodes=settings.num_nodes,
            precision=precision,  # type: ignore[arg-type]
            strategy=distributed_strategy() if is_distributed else "auto",
        )
    except Exception as error:  # Fabric raises many kinds for devices that are not there
        raise UserError(
            f"accelerator={settings.accelerator} devices={settings.devices} precision={settings.precision} cannot be "
            f"used here: {error}. accelerator=cpu devices=1 always can"
        ) from error
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # else every process says that it begins
    fabric.launch()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA needs to be deterministic
    torch.use_deterministic_algorithms(settings.deterministic)
    torch.backends.cudnn.benchmark = not settings.deterministic
    return fabric


class Distributed(DDPStrategy):
    """Processes that share their gradients; a network that is frozen as a whole has none, which PyTorch refuses."""

    def setup_module(self, module: nn.Module) -> nn.Module:  # type: ignore[override]
        learns = any(parameter.requires_grad for parameter in module.parameters())
        return super().setup_module(module) if learns else module


def distributed_strategy() -> Distributed:
    """How several processes share their gradients."""
    # A discriminator runs twice before its backward pass; broadcasting its batch norm buffers between the two fails.
    parameters = inspect.signature(DistributedDataParallel).parameters
    name = "forward_sync_buffers" if "forward_sync_buffers" in parameters else "broadcast_buffers"
    return Distributed(**{name: False})  # type: ignore[arg-type]


def set_up(
    fabric: Fabric,
    method: Method,
    networks: Mapping[str, nn.Module],
    settings: Settings,
    learning: Learning,
    allowed: tuple[str, ...],
) -> dict[str, torch.optim.Optimizer]:
    """Move networks and memories to the device, wrap networks for it, make an optimiser per player of what learns."""
    for name, network in networks.items():
        for key, parameter in network.named_parameters():
            parameter.requires_grad_(f"{name}.{key}" not in learning.frozen)
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    for name, network in networks.items():
        network.to(fabric.device, memory_format=layout)  # type: ignore[call-overload]
        if fabric.world_size > 1 and fabric.device.type == "cuda":
            network = nn.SyncBatchNorm.convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        runs: Any = torch.compile(network) if settings.compile else network
        setattr(method, name, fabric.setup_module(runs))
    for memory in method.memories.values():
        memory.to(fabric.device)
    optimizers: dict[str, Any] = {}
    for player, names in method.players.items():
        by_rate: dict[float, list[nn.Parameter]] = {}
        for name in names:
            for key, parameter in networks[name].named_parameters():
                if parameter.requires_grad:
                    by_rate.setdefault(learning.rate(f"{name}.{key}"), []).append(parameter)
        groups = [{"params": parameters} for parameters in by_rate.values()]
        optimizer: torch.optim.Optimizer = build(settings.optimizer, allowed, params=groups)
        for group, rate in zip(optimizer.param_groups, by_rate, strict=True):
            group["lr"] = group["lr"] * rate
            group.setdefault("initial_lr", group["lr"])
        optimizers[player] = fabric.setup_optimizers(optimizer)
    return optimizers
