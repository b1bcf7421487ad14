"""Imports go one way: cli -> config -> {training, conversion, evaluation} -> methods -> {networks, objectives}."""

import ast
from pathlib import Path

import translate

ROOT = Path(translate.__file__).parent
MAY_IMPORT = {
    "errors": set(),
    "files": set(),
    "batch": set(),
    "codes": set(),
    "domains": {"errors"},
    "pixels": set(),
    "memory": set(),
    "signals": set(),
    "model_folder": {"errors"},
    "picture": set(),
    "build": {"errors"},
    "networks": {"errors"},
    "objectives": {"errors", "domains"},
    "methods": {"errors", "batch", "codes", "domains", "networks", "objectives"},
    "model": {"errors", "files", "pixels", "domains", "build", "methods", "model_folder", "networks"},
    "interop": {
        *("errors", "files", "domains", "pixels", "methods", "networks", "model", "model_folder"),
    },
    "opening": {"interop", "model", "model_folder"},
    "data": {"errors", "files", "batch", "domains", "memory", "pixels", "picture"},
    "training": {
        *("errors", "files", "batch", "memory", "pixels", "picture", "signals", "build", "model", "model_folder"),
        *("data", "domains", "evaluation", "methods", "networks", "opening"),
    },
    "conversion": {
        *("errors", "files", "domains", "memory", "pixels", "picture", "methods", "model", "model_folder", "networks"),
        *("__init__", "codes", "data", "opening"),
    },
    "evaluation": {
        *("errors", "files", "batch", "domains", "picture", "pixels", "build", "objectives", "data", "conversion"),
    },
    "report": {"errors", "files", "build", "config", "evaluation", "methods", "model_folder", "training"},
    "run": {"config", "data", "report", "training"},
    "sweeps": {"errors", "files", "signals", "build", "config", "data", "run", "training", "evaluation"},
    "config": {"errors", "build", "training"},
    "cli": {
        *("errors", "build", "config", "signals", "model", "model_folder", "data", "training", "conversion"),
        *("evaluation", "interop", "opening", "listing", "printing", "report", "run", "sweeps"),
    },
    "printing": {"errors", "config", "conversion", "data", "training"},
    "listing": {"build", "config", "model_folder", "objectives", "opening"},
    "__init__": {"config", "conversion", "run", "training"},
    "__main__": {"cli"},
}
ONLY_HERE = {
    "hydra": {"config.py"},
    "omegaconf": {"config.py"},
    "albumentations": {"data/augmentation.py"},
    "lightning_fabric": {"training/fabric.py"},
    "wandb": {"training/log.py"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module)
    return found


def test_every_module_imports_only_what_lies_below_it():
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        rooms = {name.split(".")[1] for name in imports(path) if name.startswith("translate.")}
        assert rooms - {room} <= MAY_IMPORT[room], path


def test_libraries_are_known_to_one_file_alone():
    for path in sorted(ROOT.rglob("*.py")):
        for library in {name.split(".")[0] for name in imports(path)} & ONLY_HERE.keys():
            assert str(path.relative_to(ROOT)) in ONLY_HERE[library]


def test_training_knows_no_concrete_method():
    for path in (ROOT / "training").glob("*.py"):
        named = {name for name in imports(path) if name.startswith("translate.methods.")}
        assert named <= {"translate.methods.method", "translate.methods.step"}
