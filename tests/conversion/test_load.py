"""From a checkpoint and a backend to what runs it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import translate
from translate.conversion import load as load_module
from translate.conversion.load import EXPORTED, exported_file, load_engine
from translate.conversion.onnx_export import export_onnx
from translate.errors import UserError

MakeFolder = Callable[..., Path]
Noise = Callable[..., np.ndarray]


def test_a_backend_exports_once_and_gives_what_torch_gives(
    model_folder: MakeFolder, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, image = model_folder(), noise((21, 30, 3))
    expected = translate.load(folder, accelerator="cpu")
    exports: list[Path] = []
    monkeypatch.setattr(
        "translate.conversion.onnx_export.export_onnx",
        lambda model, file, **options: (exports.append(file), export_onnx(model, file, **options)),
    )
    for backend in ("onnxruntime", "openvino"):
        translator = translate.load(folder, backend=backend)  # type: ignore[arg-type]
        assert translator.engine.name == backend
        np.testing.assert_allclose(translator(image).astype(int), expected(image).astype(int), atol=1)
        # What torch converted need not be converted again.
        assert translator.engine.info.fingerprint == expected.engine.info.fingerprint
    assert [file.parent for file in exports] == [folder / EXPORTED]

    (file,) = (folder / EXPORTED).iterdir()
    exported = translate.load(file)
    assert exported.engine.name == "openvino"
    assert exported.engine.info.fingerprint != expected.engine.info.fingerprint  # it may have been changed since
    np.testing.assert_allclose(exported(image).astype(int), expected(image).astype(int), atol=1)
    with pytest.raises(UserError, match=r"--backend torch does not run .*: give the run or model folder"):
        load_engine(file, backend="torch")
    with pytest.raises(UserError, match="openvino runs on the CPU alone: leave out --accelerator cuda"):
        load_engine(file, accelerator="cuda")
    with pytest.raises(UserError, match=r"direction=BtoA: .* was exported for AtoB"):
        load_engine(file, direction="BtoA", backend="onnxruntime")


def test_where_nothing_can_be_kept_beside_the_model_it_is_kept_for_the_run(
    model_folder: MakeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_folder()
    (folder / EXPORTED).write_text("in the way")
    monkeypatch.setattr(load_module.tempfile, "mkdtemp", lambda prefix: str(tmp_path))
    file = exported_file(folder, None, ())
    assert file.parent == tmp_path
    assert file.stat().st_size > 1000


def test_an_unknown_backend_is_refused(model_folder: MakeFolder) -> None:
    with pytest.raises(UserError, match="backend='tensorrt' is not one of torch, onnxruntime, openvino"):
        load_engine(model_folder(), backend="tensorrt")  # type: ignore[arg-type]
