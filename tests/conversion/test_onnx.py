"""Exported models: both engines give what torch gives, the file explains itself, and what cannot be is said."""

import contextlib
import copy
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

import translate
from translate.conversion import onnx_export
from translate.conversion.onnx_engine import METADATA, OnnxEngine, load_onnx
from translate.conversion.onnx_export import Check, export_onnx
from translate.conversion.torch_engine import TorchEngine
from translate.domains import Domains, LabelSet
from translate.errors import UserError
from translate.model import Model, assemble, read_model, write_model
from translate.networks.attention import SelfAttention
from translate.pixels import FULL_RANGE, Side

CPU = torch.device("cpu")
COLOR, SCAN = Side(3, "uint8", 0, 255), Side(1, "uint16", 100, 4100)
HAIR = LabelSet(("dark", "fair", "smiling"), "attributes", (("dark", "fair"),))
DOMAINS = Domains((LabelSet(("summer", "winter"), "one_hot"), HAIR))
UNET = {"_target_": "translate.networks.unet.UNet", "num_downs": 3, "width": 2, "initialization": "kaiming"}
RESNET: dict[str, Any] = {
    "_target_": "translate.networks.resnet.ResNet",
    "num_blocks": 1,
    "width": 2,
    "norm": "batch",
    "upsample": "resize",
    "initialization": "kaiming",
    "spectral_norm": True,
    "attention": True,
}
STARGAN = {"_target_": "translate.networks.stargan.StarGANGenerator", "num_blocks": 1, "width": 2}
BACKENDS = ("onnxruntime", "openvino")


@dataclass
class Exported:
    """A model, its file, and what the export returned and printed."""

    model: Model
    direction: Any
    file: Path
    check: Check
    printed: str

    def torch_engine(self) -> TorchEngine:
        return TorchEngine(self.model, CPU, direction=self.direction)


def make_model(
    folder: Path,
    method: str,
    generator: dict[str, Any],
    source: Side,
    target: Side,
    domains: Domains | None = None,
    **changed: Any,
) -> Model:
    """A model of fresh weights in a folder, read back."""
    name = {"pix2pix": "Pix2Pix", "cyclegan": "CycleGAN", "stargan": "StarGAN"}[method]
    settings = {
        "method": {"_target_": f"translate.methods.{method}.{name}"},
        "generator": generator | {"_partial_": True},
        "discriminator": {"_target_": "translate.networks.patchgan.PatchGAN", "_partial_": True, "width": 2},
        "objective": {"_target_": "translate.objectives.adversarial.lsgan"},
        "norm_at_test": "running",
        "dropout_at_test": False,
        "seed": 0,
        "image_size": 20,
        "data": {"root": "/home/me", "augmentation": {"resize": "stretch"}},
    } | changed
    if method == "cyclegan":
        settings["method"]["identity_weight"] = 0
        settings["data"]["direction"] = "AtoB"
    torch.manual_seed(0)
    built = assemble(settings, source=source, target=target, domains=domains)
    for module in built.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        if isinstance(module, SelfAttention):
            module.gamma.data.fill_(1.0)
    carried = {name: part for name, part in built.state_dict().items() if name.partition(".")[0] in built.translators}
    sides = {"source": source, "target": target, "domains": domains}
    write_model(folder, carried, settings=settings, **sides, steps=7, version="1")
    return read_model(folder)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Exported]:
    """A U-Net from grey scans to colours, a ResNet back to scans by the image's own statistics, or a StarGAN."""
    made: dict[str, Exported] = {}
    plans: dict[str, tuple[tuple[Any, ...], dict[str, Any], Any]] = {
        "unet": (("pix2pix", UNET, SCAN, COLOR), {}, None),
        "resnet": (("cyclegan", RESNET, SCAN, COLOR), {"norm_at_test": "image"}, "BtoA"),
        "stargan": (("stargan", STARGAN, COLOR, COLOR, DOMAINS), {}, None),
    }

    def get(name: str) -> Exported:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            arguments, changed, direction = plans[name]
            model = make_model(folder / "model", *arguments, **changed)
            file, printed = folder / "new" / f"{name}.onnx", io.StringIO()
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                check = export_onnx(model, file, direction=direction)
            made[name] = Exported(model, direction, file, check, printed.getvalue())
        return made[name]

    return get


@pytest.fixture(scope="module")
def engine(exported: Callable[[str], Exported]) -> Callable[[str, str], OnnxEngine]:
    """An exported model on a backend."""
    made: dict[tuple[str, str], OnnxEngine] = {}

    def get(name: str, backend: Any) -> OnnxEngine:
        if (name, backend) not in made:
            made[name, backend] = load_onnx(exported(name).file, backend, threads=1)
        return made[name, backend]

    return get


def draw(dtype: str, *shape: int) -> np.ndarray:
    """Noise over the full range of a pixel type."""
    low, high = FULL_RANGE[dtype]
    values = np.random.default_rng(0).uniform(low, high, shape)
    return values.astype(dtype) if dtype == "float32" else np.rint(values).astype(dtype)


# --- what comes out ---


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("name", "domain"), [("unet", None), ("resnet", None), ("stargan", "winter"), ("stargan", "+dark -smiling")]
)
def test_an_exported_model_gives_what_torch_gives(
    exported: Callable[[str], Exported],
    engine: Callable[[str, str], OnnxEngine],
    name: str,
    domain: str | None,
    backend: str,
) -> None:
    expected, found = exported(name).torch_engine(), engine(name, backend)
    for dtype, tolerance in (("uint8", 1), ("uint16", 5), ("float32", 5e-5)):  # half of 1e-4: [0, 1] is half of [-1, 1]
        for height, width in ((8, 8), (3, 5), (1, 9), (24, 16), (33, 21)):
            images = draw(dtype, 2, height, width, found.info.source.channels)
            labels = found.labels(2, domain)
            if labels is not None:  # torch would look for what +dark -smiling leaves open: nothing
                network = exported(name).model.method.translator()
                assert labels.shape == (2, network.num_domains)
            outputs = found.run(images, domain)
            assert outputs.dtype == dtype
            assert outputs.shape == (2, height, width, found.info.target.channels)
            np.testing.assert_allclose(outputs.astype(float), expected.run(images, domain), rtol=0, atol=tolerance)
            assert outputs.std() > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_image_of_a_batch_is_as_if_it_were_alone(engine: Callable[[str, str], OnnxEngine], backend: str) -> None:
    found = engine("resnet", backend)
    images = draw("uint8", 3, 12, 20, 3)
    alone = np.concatenate([found.run(image[None], None) for image in images])
    assert len(np.unique(alone)) > 10
    np.testing.assert_array_equal(found.run(images, None), alone)


@pytest.mark.parametrize("backend", BACKENDS)
def test_threads_may_share_an_engine(engine: Callable[[str, str], OnnxEngine], backend: str) -> None:
    found = engine("stargan", backend)
    images = [draw("uint8", 1, 8 + 4 * (index % 3), 40, 3) for index in range(24)]
    expected = [found.run(image, "winter") for image in images]
    with ThreadPoolExecutor(4) as pool:
        outputs = list(pool.map(lambda image: found.run(image, "winter"), images))
    assert all(np.array_equal(output, known) for output, known in zip(outputs, expected, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_torch_is_imported(exported: Callable[[str], Exported], backend: str) -> None:
    code = (
        "import sys, numpy; from pathlib import Path; from translate.conversion.onnx_engine import load_onnx\n"
        f"engine = load_onnx(Path({str(exported('stargan').file)!r}), {backend!r}, threads=1)\n"
        "print(engine.run(numpy.zeros((1, 8, 8, 3), numpy.uint8), 'winter').shape)\n"
        f"print([name for name in ('torch', 'onnx', 'cv2', 'hydra') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("(1, 8, 8, 3)\n[]\n", "")


def test_signals_are_heard_when_models_are_gone(exported: Callable[[str], Exported]) -> None:
    code = f"""
import os, pathlib, signal
from translate.conversion.onnx_engine import load_onnx
engines = [load_onnx(pathlib.Path({str(exported("unet").file)!r}), "openvino") for _ in range(2)]
del engines[0], engines[0]
signal.signal(signal.SIGINT, lambda *_: print("heard"))
os.kill(os.getpid(), signal.SIGINT)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "heard\n")


# --- domains ---


def test_label_vectors_say_what_was_asked_for(engine: Callable[[str, str], OnnxEngine]) -> None:
    found = engine("stargan", "onnxruntime")
    vectors = {"winter": [0, 1, 0, 0, 0, 1, 0], "+fair +smiling": [0, 0, 0, 1, 1, 0, 1]}  # names, then the mask
    for domain, vector in vectors.items():
        np.testing.assert_array_equal(found.labels(2, domain), [vector, vector])


def test_attributes_that_only_the_image_shows_have_to_be_named(engine: Callable[[str, str], OnnxEngine]) -> None:
    found = engine("stargan", "onnxruntime")
    with pytest.raises(UserError, match=r"leaves smiling as the image shows it.*'\+dark -smiling'.*--backend torch"):
        found.run(draw("uint8", 1, 8, 8, 3), "+dark")  # fair is named by its rival
    with pytest.raises(UserError, match=r"leaves dark, fair as.*'\+smiling -dark -fair'"):
        found.run(draw("uint8", 1, 8, 8, 3), "smiling")


def test_domains_that_cannot_be_are_refused(engine: Callable[[str, str], OnnxEngine]) -> None:
    image = draw("uint8", 1, 8, 8, 3)
    for domain, words in (
        (None, "several domains: name one of summer, winter, dark"),
        ("autumn", "is not one of the model's domains"),
        ("all", "one domain at a time"),
    ):
        with pytest.raises(UserError, match=words):
            engine("stargan", "onnxruntime").run(image, domain)
    with pytest.raises(UserError, match="'winter' was asked for, but this model translates into one kind"):
        engine("resnet", "onnxruntime").run(image, "winter")


# --- the file ---


def test_the_file_is_checked_on_several_sizes_and_nothing_is_printed(exported: Callable[[str], Exported]) -> None:
    resnet, unet = exported("resnet"), exported("unet")
    assert resnet.check.sizes == ((1, 8, 8), (1, 8, 12), (2, 12, 8), (1, 20, 20))
    assert unet.check.sizes == ((1, 8, 8), (1, 8, 16), (2, 16, 8), (1, 24, 24))
    assert 0 < resnet.check.difference < 1e-4
    assert resnet.printed == unet.printed == ""
    assert [path.name for path in resnet.file.parent.iterdir()] == ["resnet.onnx"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["unet", "resnet", "stargan"])
def test_what_converting_needs_is_in_the_file(
    exported: Callable[[str], Exported], engine: Callable[[str, str], OnnxEngine], name: str, backend: str
) -> None:
    info, original = engine(name, backend).info, exported(name).torch_engine().info
    settings = {key: original.settings[key] for key in ("image_size", "seed", "norm_at_test", "dropout_at_test")}
    direction = {"direction": "AtoB"} if name == "resnet" else {}
    assert info.settings == settings | {"data": {"augmentation": {"resize": "stretch"}} | direction}
    assert replace(info, settings={}, fingerprint="") == replace(original, settings={}, fingerprint="")
    assert engine(name, backend).metadata["fingerprint"] == original.fingerprint
    assert engine(name, backend).metadata["direction"] == exported(name).direction


def test_the_fingerprint_is_that_of_the_file(exported: Callable[[str], Exported], tmp_path: Path) -> None:
    original = exported("resnet").file
    changed = onnx.load(original)
    changed.doc_string = "quantized"
    onnx.save(changed, tmp_path / "changed.onnx")
    prints = {load_onnx(file, "onnxruntime").info.fingerprint for file in (original, tmp_path / "changed.onnx")}
    assert len(prints) == 2


def test_the_file_explains_itself(exported: Callable[[str], Exported]) -> None:
    file = exported("stargan").file
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    image = ["batch", 3, "height", "width"]
    assert shapes == {"image": image, "labels": ["batch", 7], "translation": image}
    notes = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(notes.pop(METADATA))["format_version"] == 1
    assert notes == {
        "description": "image-to-image translation by StarGAN",
        "input image": "float32 (batch, 3, height, width): RGB pixel values from 0 to 255; height and width multiples "
        "of 4 and at least 24",  # for the discriminator's sake
        "input labels": "float32 (batch, 7): summer, winter, dark, fair, smiling; "
        "then 1 for the set that is meant, of 2",
        "output translation": "float32 (batch, 3, height, width): RGB pixel values from 0 to 255",
        "trained": "7 steps",
        "exported by": f"translate {translate.__version__}",
    }
    content = file.read_bytes()
    assert str(Path(translate.__file__).parent).encode() not in content
    assert b"/home/me" not in content


def test_the_graph_takes_and_gives_pixel_values(exported: Callable[[str], Exported]) -> None:
    unet = exported("unet")
    session = onnxruntime.InferenceSession(unet.file, providers=["CPUExecutionProvider"])
    image = np.random.default_rng(0).uniform(100, 4100, (1, 1, 16, 8)).astype(np.float32)
    (output,) = session.run(None, {"image": image})
    with torch.inference_mode():
        expected = unet.model.method.translate(torch.from_numpy((image - 2100) / 2000)).numpy()
    np.testing.assert_allclose(output, (expected + 1) * 127.5, rtol=0, atol=127.5e-4)


# --- what cannot be exported ---


def test_a_file_that_differs_from_torch_is_not_kept(
    exported: Callable[[str], Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resnet = exported("resnet")
    model = make_model(tmp_path / "model", "cyclegan", RESNET, SCAN, COLOR, norm_at_test="image")
    with torch.no_grad():
        model.method.generator_backward.model[1].weight[0, 0, 0, 0] += 0.1
    monkeypatch.setattr(onnx_export, "_save", lambda *arguments: shutil.copy(resnet.file, arguments[-1]))
    file = tmp_path / "out" / "model.onnx"
    with pytest.raises(UserError, match=r"differs from torch by .* on images of 8x8, more than 1e-04: nothing was"):
        export_onnx(model, file, direction="BtoA")
    assert not list(file.parent.iterdir())


def test_a_file_nearer_to_the_exact_result_than_torch_is_kept(
    exported: Callable[[str], Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    info = exported("resnet").torch_engine().info
    pixels = onnx_export.PixelNetwork(exported("resnet").model.method.generator_backward, info.source, info.target)
    double = copy.deepcopy(pixels).double()
    error = 0.0

    def translate_values(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return double(torch.from_numpy(images).double()).numpy() + error

    monkeypatch.setattr(onnx_export, "TOLERANCE", 1e-9)
    exact: Any = SimpleNamespace(info=info, translate_values=translate_values)
    assert 1e-9 < onnx_export._check(exact, pixels).difference < 1e-4
    error = 1.0
    with pytest.raises(UserError, match=r"differs from torch by 5\.0e-04"):  # 1 of the 2000 between 0 and 1
        onnx_export._check(exact, pixels)


def test_dropout_at_test_time_is_refused(tmp_path: Path) -> None:
    for dropout in (0.5, 0.0):
        model = make_model(
            tmp_path / str(dropout), "pix2pix", UNET | {"num_downs": 6, "dropout": dropout}, COLOR, COLOR,
            dropout_at_test=True,
        )  # fmt: skip
        active = [module for module in model.method.modules() if isinstance(module, nn.Dropout)]
        assert bool(active) == (dropout > 0)
    model = make_model(
        tmp_path / "again", "pix2pix", UNET | {"num_downs": 6, "dropout": 0.5}, COLOR, COLOR, dropout_at_test=True
    )
    with pytest.raises(UserError, match=r"dropout_at_test=true.*dropout_at_test=false for training"):
        export_onnx(model, tmp_path / "model.onnx")


def test_a_wrong_name_or_direction_is_refused(exported: Callable[[str], Exported], tmp_path: Path) -> None:
    model = exported("unet").model
    with pytest.raises(UserError, match=r"--output .*model\.pt must be a file that ends in \.onnx"):
        export_onnx(model, tmp_path / "model.pt")
    with pytest.raises(UserError, match="trained AtoB and translates one way alone"):
        export_onnx(model, tmp_path / "model.onnx", direction="BtoA")
    assert not list(tmp_path.iterdir())


def test_a_network_that_cannot_be_traced_is_named(exported: Callable[[str], Exported], tmp_path: Path) -> None:
    class Guessing(nn.Module):
        def forward(self, source: torch.Tensor) -> torch.Tensor:
            return source if source.sum() > 0 else -source

    model = make_model(tmp_path / "model", "pix2pix", UNET, COLOR, COLOR)
    model.method.generator = Guessing()
    with pytest.raises(UserError, match="Guessing cannot be exported to ONNX: "):
        export_onnx(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize(
    ("package", "extra"), [("onnxscript", "onnx"), ("onnxruntime", "onnx"), ("openvino", "openvino")]
)
def test_packages_that_are_missing_are_named(
    exported: Callable[[str], Exported], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, extra: str
) -> None:
    unet = exported("unet")
    monkeypatch.setitem(sys.modules, package, None)
    remedy = rf"pip install 'translate-images\[{extra}\]'"
    if package != "openvino":
        with pytest.raises(UserError, match=remedy):
            export_onnx(unet.model, tmp_path / "model.onnx")
    if package != "onnxscript":
        with pytest.raises(UserError, match=f"the backend {package} needs .*{remedy}"):
            load_onnx(unet.file, package)  # type: ignore[arg-type]


# --- files that are none ---


@pytest.mark.parametrize("backend", BACKENDS)
def test_files_that_are_none_are_named(
    exported: Callable[[str], Exported], tmp_path: Path, backend: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = exported("unet").file.read_bytes()
    identity = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 20]> g (float[1] x) => (float[1] y) {'
                                       "y = Identity(x) }")  # fmt: skip
    cases = {
        "empty.onnx": (b"", "is damaged or no ONNX file: it does not begin as one"),
        "text.onnx": (b"hello", "is damaged or no ONNX file: it does not begin as one"),
        "half.onnx": (whole[: len(whole) // 2], "is damaged or no ONNX file: .*pars"),
        "noise.onnx": (whole[:50] + bytes(range(256)) * 20, "is damaged or no ONNX file: "),
        "foreign.onnx": (identity.SerializeToString(), "was not written by translate export: "),
    }
    for name, (content, words) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=rf"{name} {words}.*translate export CHECKPOINT --output {name}"):
            load_onnx(tmp_path / name, backend)
    assert capfd.readouterr() == ("", "")
    for path, words in ((tmp_path / "none.onnx", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(UserError, match=f"{words}: give an exported .onnx file"):
            load_onnx(path, backend)
    with pytest.raises(UserError, match="backend='tensorrt' is not one of onnxruntime, openvino"):
        load_onnx(tmp_path, "tensorrt")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: "{", "metadata of .* is damaged: JSONDecodeError"),
        (lambda text: "[]", "metadata of .* is damaged: TypeError"),
        (lambda text: text.replace('"format_version": 1', '"format_version": 2'), "format_version=2, this version rea"),
        (lambda text: text.replace('"low"', '"deep"'), "metadata of .* is damaged: TypeError"),
        (lambda text: text.replace('"min_size"', '"max_size"'), "metadata of .* is damaged: KeyError: 'min_size'"),
    ],
)
def test_damaged_metadata_are_named(
    exported: Callable[[str], Exported], tmp_path: Path, change: Callable[[str], str], words: str
) -> None:
    model = onnx.load(exported("unet").file)
    entry = next(entry for entry in model.metadata_props if entry.key == METADATA)
    entry.value = change(entry.value)
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(UserError, match=words):
        load_onnx(tmp_path / "changed.onnx", "onnxruntime")
