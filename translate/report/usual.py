"""Which settings of a run are not the usual ones."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from translate.config import conf_directory, flatten, groups

REFERENCE = re.compile(r"\$\{([\w.]+)\}")
BY_RUN = ("output", "resume")


def describe_settings(tree: Mapping[str, Any]) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """Settings as (key, value, usual value) that differ from those of the same components and method as they come, and
    (key, value) of all others. A component is one setting, by the name of the file that is most like it."""
    usual, names = usual_settings(tree)
    known = dict(flatten(usual))
    changed = [(group, name, "") for group, name in names.items()]
    others = []
    for key, value in flatten(tree):
        default = known.get(key, ...)
        if isinstance(default, str) and (found := REFERENCE.fullmatch(default)):
            default = dict(flatten(tree)).get(found[1], ...)
        if default is ... or (value != default and str(value) != str(default)):
            changed.append((key, show(value), "" if default in (..., "???") else show(default)))
        else:
            others.append((key, show(value)))
    return [row for row in changed if row[0] not in BY_RUN], others


def usual_settings(tree: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """conf/train.yaml with the components in `tree`, as their files and that of the method say; the files' names."""
    conf = conf_directory()
    usual = {key: value for key, value in _read(conf / "train.yaml").items() if key != "defaults"}
    names = {}
    overlay: dict[str, Any] = {}
    for group in groups():
        given = tree.get(group)
        if not isinstance(given, Mapping):
            usual.setdefault(group, None)
            continue
        flat = dict(flatten(given))
        presets = [
            (sum(flat.get(key) != value for key, value in flatten(found)), name, found, whole)
            for name, found, whole in _presets(conf / group, group)
            if found.get("_target_") == given.get("_target_")
        ]
        if presets:
            _, names[group], usual[group], whole = min(presets, key=lambda preset: preset[:2])
            if group == "method":
                overlay = {key: value for key, value in whole.items() if key not in ("defaults", "method")}
    return _merged(usual, overlay), names


def show(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")


def _presets(folder: Path, group: str) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for path in sorted(folder.glob("*.yaml")):
        whole = _read(path)
        component = whole if "_target_" in whole else whole.get(group)
        if isinstance(component, dict):
            yield path.stem, component, whole


def _merged(usual: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """`usual` with what `overlay` says of settings that it has."""
    merged = dict(usual)
    for key, value in overlay.items():
        old = usual.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            merged[key] = _merged(old, value)
        elif key in usual:
            merged[key] = value
    return merged


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return found
