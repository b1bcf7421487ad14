"""From a component's configuration (`_target_` and keyword arguments) to the object. Knows no Hydra.

A configuration that came with a checkpoint is data from a stranger: `build` resolves only names below the
prefixes it is given, never calls anything else, and so never runs code that the file brought along.
"""

import functools
import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from translate.errors import UserError

TRUSTED = ("translate.methods.", "translate.networks.", "translate.objectives.")
"""What a configuration from a checkpoint may name."""

LOCAL = ("translate.", "torch.")
"""What the toolkit's own configuration tree may name."""


def resolve(target: str, allowed: tuple[str, ...] = TRUSTED) -> Callable[..., Any]:
    """The class or function called `target`, a dotted name below one of `allowed`.

    Raises:
        UserError: the name is not below `allowed`, does not exist, or is no public class or function defined there.
    """
    if not isinstance(target, str) or not target.startswith(allowed):
        raise UserError(
            f"_target_={target!r} may not be built from this configuration: only {', '.join(allowed)} names are"
        )
    module_name, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"_target_={target!r} does not exist: {error}") from error
    home = f"{getattr(found, '__module__', None)}.{getattr(found, '__qualname__', None)}"
    if name.startswith("_") or not callable(found) or not home.startswith(allowed):
        raise UserError(f"_target_={target!r} is not a component that can be built")
    return found  # type: ignore[no-any-return]


def build(node: Mapping[str, Any], allowed: tuple[str, ...] = TRUSTED, /, **derived: Any) -> Any:
    """Build what `node` describes; `derived` are arguments that follow from the data and are not configured.

    With `_partial_: true` the result is a function that still takes the arguments a network derives from
    the data (its channels), so a method can build as many as it needs. Nested nodes are built first.

    Raises:
        UserError: an argument the component does not have (the choices are listed), or a name not allowed.
    """
    component = resolve(node["_target_"], allowed)
    arguments = {key: value for key, value in node.items() if key not in ("_target_", "_partial_")}
    check_names(component, arguments, node["_target_"])
    arguments = {
        key: build(value, allowed) if isinstance(value, Mapping) and "_target_" in value else value
        for key, value in arguments.items()
    }
    arguments |= derived
    return functools.partial(component, **arguments) if node.get("_partial_") else component(**arguments)


def check_names(component: Callable[..., Any], arguments: Mapping[str, Any], label: str) -> None:
    """Raise UserError when `arguments` has a name that `component` does not take."""
    parameters = inspect.signature(component).parameters
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in arguments:
        if name not in parameters:
            raise UserError(f"{label} has no setting {name!r}; it has {', '.join(parameters)}")


def own_targets(own: Path | None) -> tuple[str, ...]:
    """What the yaml files of the user's own folder name with `_target_`: it may be built because the user chose it."""
    if own is None:
        return ()
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(own.rglob("*.yaml")))
    return tuple(re.findall(r"""^\s*_target_:\s*["']?([\w.]+)""", text, re.MULTILINE))
