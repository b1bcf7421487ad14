"""Reading a model folder: the model comes back, damage is named, and nothing foreign is ever run."""

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from translate.conversion.torch_engine import TorchEngine
from translate.conversion.translator import Translator
from translate.errors import UserError
from translate.model import read_model, write_model
from translate.model_folder import CONFIG, WEIGHTS, find_model
from translate.pixels import Side

MakeFolder = Callable[..., Path]


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change config.json."""
    path = folder / CONFIG
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))
    return folder


# --- what comes back ---


def test_the_model_comes_back(model_folder: MakeFolder, settings: dict[str, Any]) -> None:
    source, target = Side(1, "uint16", 0, 4095), Side(2, "float32", -1000, 1000, labels=True)
    folder = model_folder(source, target)
    model = read_model(folder)
    assert (model.source, model.target, model.settings, model.steps) == (source, target, settings, 7)
    assert not any(module.training for module in model.method.generator.modules())
    assert not any(parameter.requires_grad for parameter in model.method.parameters())
    found = model.method.state_dict()
    stored = load_file(folder / WEIGHTS)
    assert found.keys() == stored.keys()
    assert all(torch.equal(found[name], stored[name]) for name in stored)


def test_what_a_model_was_made_from_comes_back(model_folder: MakeFolder) -> None:
    folder = model_folder()
    assert json.loads((folder / CONFIG).read_text())["lineage"] == []  # it was trained from the start
    made_from = [{"source": "net_G.pth", "kind": "import", "steps": None}, {"source": "runs/a", "steps": 500}]
    assert read_model(edit(folder, lambda config: config.update(lineage=made_from))).lineage == made_from
    assert read_model(edit(folder, lambda config: config.pop("lineage"))).lineage == []


def test_equal_weights_make_equal_files(tmp_path: Path) -> None:
    side, tensors = Side(1, "uint8", 0, 255), {"generator.a": torch.ones(2), "generator.b": torch.zeros(3)}
    for place in map(str, range(8)):
        write_model(
            tmp_path / place,
            tensors,
            settings={},
            source=side,
            target=side,
            domains=None,
            steps=7,
            version="0",
        )
    assert len({(tmp_path / str(place) / WEIGHTS).read_bytes() for place in range(8)}) == 1


def test_no_part_of_the_discriminator_is_needed(model_folder: MakeFolder) -> None:
    assert {name.partition(".")[0] for name in load_file(model_folder() / WEIGHTS)} == {"generator"}


def test_a_model_trained_in_double_precision_translates(model_folder: MakeFolder) -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    outputs = [
        Translator(TorchEngine(read_model(model_folder(double=double)), torch.device("cpu")))(image).astype(int)
        for double in (False, True)
    ]
    np.testing.assert_allclose(outputs[1], outputs[0], atol=1)


def test_dropout_at_test_leaves_the_rest_in_evaluation_mode(model_folder: MakeFolder, settings: dict[str, Any]) -> None:
    generator = settings["generator"] | {"num_downs": 6, "dropout": 0.5}
    model = read_model(model_folder(generator=generator, dropout_at_test=True))
    assert {type(module).__name__ for module in model.method.generator.modules() if module.training} == {"Dropout"}


# --- finding ---


def test_a_model_is_found_in_its_folder_and_in_its_run(model_folder: MakeFolder) -> None:
    folder = model_folder()
    assert find_model(folder) == folder
    assert find_model(folder.parent) == folder


@pytest.mark.parametrize("missing", [CONFIG, WEIGHTS])
def test_half_a_model_is_none(model_folder: MakeFolder, missing: str) -> None:
    folder = model_folder()
    (folder / missing).unlink()
    with pytest.raises(UserError, match=r"CHECKPOINT .* holds no model: a run folder has model/model\.safetensors"):
        find_model(folder)


def test_a_checkpoint_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"CHECKPOINT .*nowhere does not exist"):
        find_model(tmp_path / "nowhere")


# --- damage ---


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_cut_off_weights_are_damaged(model_folder: MakeFolder, keep: int) -> None:
    folder = model_folder()
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:keep])
    with pytest.raises(UserError, match=r"model\.safetensors is damaged or no safetensors file"):
        read_model(folder)


def test_foreign_weights_are_damaged(model_folder: MakeFolder) -> None:
    folder = model_folder()
    torch.save({"weight": torch.zeros(3)}, folder / WEIGHTS)
    with pytest.raises(UserError, match=r"model\.safetensors is damaged or no safetensors file"):
        read_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda generator: generator.update(width=4), "size mismatch", id="width"),
        pytest.param(lambda generator: generator.update(num_downs=4), "Missing key", id="depth"),
        pytest.param(lambda generator: generator.update(num_downs=2), "Unexpected key", id="less depth"),
        pytest.param(lambda generator: generator.update(norm="none"), "Unexpected key", id="norm"),
    ],
)
def test_weights_of_another_network_do_not_fit(
    model_folder: MakeFolder, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    folder = edit(model_folder(), lambda config: change(config["settings"]["generator"]))
    with pytest.raises(UserError, match=rf"(?s)model\.safetensors does not fit .*config\.json.*{message}"):
        read_model(folder)


def test_steps_that_are_no_number_are_no_crash(model_folder: MakeFolder) -> None:
    folder = model_folder()
    save_file(load_file(folder / WEIGHTS), folder / WEIGHTS, metadata={"steps": "many"})
    with pytest.raises(UserError, match=r"model\.safetensors"):
        read_model(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cannot be read"),
        (b'{"format": "translate-mod', "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"[1, 2]", "is no configuration of a translate-model"),
        (b'{"architectures": ["BertModel"]}', "is no configuration of a translate-model: it was written by another"),
    ],
)
def test_a_configuration_that_is_none(model_folder: MakeFolder, content: bytes, message: str) -> None:
    folder = model_folder()
    (folder / CONFIG).write_bytes(content)
    with pytest.raises(UserError, match=rf"config\.json {message}"):
        read_model(folder)


def test_a_newer_format_asks_for_a_newer_version(model_folder: MakeFolder) -> None:
    folder = edit(model_folder(), lambda config: config.update(format_version=2, translate_version="3.1"))
    with pytest.raises(UserError, match=r"has format_version=2, this version reads 1: use translate 3\.1 or later"):
        read_model(folder)


@pytest.mark.parametrize("key", ["source", "target", "settings"])
def test_missing_parts_are_named(model_folder: MakeFolder, key: str) -> None:
    folder = edit(model_folder(), lambda config: config.pop(key))
    with pytest.raises(UserError, match=rf"config\.json is damaged: it lacks {key}"):
        read_model(folder)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda config: config["source"].pop("channels"), id="side without channels"),
        pytest.param(lambda config: config["source"].update(depth=3), id="side with more"),
        pytest.param(lambda config: config.update(target="RGB"), id="side of another kind"),
        pytest.param(lambda config: config["target"].update(dtype="int7"), id="unknown pixel type"),
        pytest.param(lambda config: config["source"].update(channels="three"), id="channels as text"),
        pytest.param(lambda config: config.update(settings=[]), id="settings of another kind"),
        pytest.param(lambda config: config.update(lineage=["net_G.pth"]), id="lineage of another kind"),
        pytest.param(lambda config: config["settings"].pop("method"), id="no method"),
        pytest.param(lambda config: config["settings"].pop("generator"), id="no generator"),
        pytest.param(lambda config: config["settings"].update(generator=None), id="generator null"),
        pytest.param(lambda config: config["settings"]["generator"].pop("_target_"), id="no target"),
        pytest.param(lambda config: config["settings"]["generator"].update(_target_=3), id="target of another kind"),
        pytest.param(lambda config: config["settings"]["generator"].pop("_partial_"), id="not partial"),
        pytest.param(lambda config: config["settings"]["generator"].update(width="wide"), id="width as text"),
        pytest.param(lambda config: config["settings"]["generator"].update(width=-1), id="negative width"),
        pytest.param(lambda config: config["settings"]["generator"].update(wings=2), id="unknown setting"),
        pytest.param(lambda config: config["settings"].pop("norm_at_test"), id="no norm_at_test"),
        pytest.param(lambda config: config["settings"].pop("dropout_at_test"), id="no dropout_at_test"),
        pytest.param(
            lambda config: config["settings"].update(method=config["settings"]["objective"]),
            id="method of another kind",
        ),
    ],
)
def test_other_damage_is_a_user_error(model_folder: MakeFolder, change: Callable[[dict[str, Any]], object]) -> None:
    folder = edit(model_folder(), change)
    with pytest.raises(UserError):
        read_model(folder)


# --- strangers ---


class Payload:
    """Unpickling it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that appears when a stranger's code has been run: by unpickling stranger.pt, importing
    stranger_module.py, or as a torch hub folder."""
    mark = tmp_path / "code was run"
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "stranger_module", raising=False)
    (tmp_path / "stranger_module.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\n")
    torch.save(Payload(mark), tmp_path / "stranger.pt")
    (tmp_path / "hubconf.py").write_text(
        f"import pathlib\ndef payload(**_):\n    pathlib.Path({str(mark)!r}).touch()\n"
    )
    return mark


def hostile_nodes(folder: Path, mark: Path) -> dict[str, dict[str, Any]]:
    """What a stranger could write in the place of a component."""
    hub = {"_target_": "torch.hub.load", "repo_or_dir": str(folder), "model": "payload", "source": "local"}
    unpickle = {"_target_": "torch.load", "f": str(folder / "stranger.pt"), "weights_only": False}
    system = {"command": f"touch '{mark}'"}
    evaluate = {"_target_": "translate.evaluation.evaluate.evaluate", "translator": None}
    return {
        "os.system": {"_target_": "os.system"} | system,
        "a module inside": {"_target_": "translate.files.os.system"} | system,
        "a module of the package": {"_target_": "translate.os.system"} | system,
        "empty parts": {"_target_": "translate..os.system"} | system,
        "a module of theirs": {"_target_": "stranger_module.Payload"},
        "torch.hub": hub,
        "torch inside": hub | {"_target_": "translate.model.torch.hub.load"},
        "unpickling": unpickle,
        "nested": {"_target_": "translate.objectives.adversarial.wasserstein", "weight_clip": unpickle},
        "evaluate a hub": evaluate | {"settings": {"image_size": 8, "data": hub}},
        "evaluate a pickle": evaluate | {"settings": {"image_size": 8, "data": unpickle}},
        "the name resolver": {"_target_": "translate.build.resolve", "target": "os.system", "allowed": ""},
        "the command line": {"_target_": "translate.cli.main"},
        "drawing letters": {"_target_": "translate.data.glyphs.draw_dataset", "root": str(mark)},
        "private": {"_target_": "translate.model._read_weights", "path": str(mark)},
    }


@pytest.mark.parametrize("component", ["method", "generator"])
@pytest.mark.parametrize("hostile", hostile_nodes(Path(), Path()))
def test_a_strangers_model_runs_no_code(
    model_folder: MakeFolder, tmp_path: Path, mark: Path, hostile: str, component: str
) -> None:
    node = hostile_nodes(tmp_path, mark)[hostile]
    folder = edit(model_folder(), lambda config: config["settings"].update({component: node}))
    with pytest.raises(UserError, match="_target_"):
        read_model(folder)
    assert not mark.exists()


def test_the_payloads_would_run_if_they_were_called(tmp_path: Path, mark: Path) -> None:
    torch.load(tmp_path / "stranger.pt", weights_only=False)
    assert mark.exists()
    mark.unlink()
    torch.hub.load(str(tmp_path), "payload", source="local")
    assert mark.exists()
    mark.unlink()
    importlib.import_module("stranger_module")
    assert mark.exists()
