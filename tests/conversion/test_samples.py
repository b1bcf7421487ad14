"""Several translations of one image: `--samples`, codes in Python, tiles, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from translate.codes import draw_codes
from translate.conversion.onnx_engine import OnnxEngine
from translate.conversion.samples import Sampler
from translate.conversion.translator import Translator
from translate.data.image import read_image, write_image
from translate.errors import UserError

Make = Callable[..., Translator]
UNET = {
    "_target_": "translate.networks.unet.UNet",
    "_partial_": True,
    "num_downs": 3,
    "width": 2,
    "latent": 4,
    "initialization": "kaiming",
}
RESNET = {"_target_": "translate.networks.resnet.ResNet", "_partial_": True, "num_blocks": 1, "width": 2, "latent": 4}


@pytest.fixture
def several(translator: Make) -> Translator:
    """A translator with a code of 4 numbers."""
    return translator(generator=UNET)


@pytest.fixture
def two_images(source: Path, noise: Callable[..., np.ndarray]) -> Path:
    """A folder with a.png and deep/b.png."""
    for name in ("a.png", "deep/b.png"):
        (source / name).parent.mkdir(exist_ok=True)
        write_image(source / name, noise())
    return source


def tree(folder: Path) -> dict[str, np.ndarray]:
    """Every image below a folder."""
    return {path.relative_to(folder).as_posix(): read_image(path) for path in sorted(folder.rglob("*.png"))}


def test_every_image_gets_a_folder_per_sample_and_all_share_its_code(
    several: Translator, two_images: Path, output: Path
) -> None:
    report = several.convert_folder(two_images, output, samples=3, seed=7, compare=True)
    assert (report.converted, report.failed) == (6, 0)
    found = tree(output)
    assert found.pop("comparison.png").any()
    assert list(found) == [f"sample_{place}/{name}" for place in (1, 2, 3) for name in ("a.png", "deep/b.png")]
    for place, code in enumerate(draw_codes(3, 4, seed=7), start=1):
        for name in ("a.png", "deep/b.png"):
            expected = several(two_images / name, code=code)
            np.testing.assert_array_equal(found[f"sample_{place}/{name}"], expected)
    for name in ("a.png", "deep/b.png"):
        assert len({found[f"sample_{place}/{name}"].tobytes() for place in (1, 2, 3)}) == 3


def test_the_same_command_goes_on_and_another_seed_begins_again(
    several: Translator, two_images: Path, output: Path
) -> None:
    assert several.convert_folder(two_images, output, samples=2).converted == 4
    first = tree(output)
    again = several.convert_folder(two_images, output, samples=3)
    assert (again.converted, again.skipped, again.replaced) == (2, 4, 0)
    other = several.convert_folder(two_images, output, samples=2, seed=1)
    assert (other.converted, other.skipped, other.replaced) == (4, 0, 4)
    assert all((image != first[name]).any() for name, image in tree(output).items() if name in first)
    assert several.convert_folder(two_images, output, samples=3, shard="1/1").converted == 4
    assert all((image == first[name]).all() for name, image in tree(output).items() if name in first)


def test_one_sample_takes_the_place_of_the_translation(several: Translator, two_images: Path, output: Path) -> None:
    several.convert_folder(two_images / "a.png", output / "new.png", samples=1, seed=3)
    expected = several(two_images / "a.png", code=draw_codes(1, 4, seed=3)[0])
    np.testing.assert_array_equal(read_image(output / "new.png"), expected)
    with pytest.raises(UserError, match=r"new\.png is one image, but 2 samples were asked for: give a folder"):
        several.convert_folder(two_images / "a.png", output / "more" / "new.png", samples=2)


def test_no_code_is_that_of_zeros(several: Translator, noise: Callable[..., np.ndarray]) -> None:
    image = noise()
    np.testing.assert_array_equal(several(image), several(image, code=np.zeros(4)))
    assert (several(image) != several(image, code=[1, 0, 0, 0])).any()


@pytest.mark.parametrize("generator", [UNET, RESNET | {"initialization": "kaiming"}])
@pytest.mark.parametrize("statistics", ["exact", "sampled"])
def test_tiles_translate_with_the_code(
    translator: Make, noise: Callable[..., np.ndarray], generator: dict[str, Any], statistics: Any
) -> None:
    generator = generator | {"norm": "instance" if statistics == "exact" else "none"}
    whole, image = translator(generator=generator), noise((90, 131, 3))
    tiled = Translator(whole.engine, tile=64, tile_statistics=statistics)
    code = draw_codes(1, 4)[0]
    found, expected = (each(image, code=code).astype(int) for each in (tiled, whole))
    assert np.abs(found - expected).max() <= 1
    assert np.abs(found - whole(image)).mean() > 1


def test_memory_counts_what_a_code_takes(translator: Make) -> None:
    with_code = translator(generator=RESNET).engine.memory_for(64, 64)
    assert with_code >= translator(generator=RESNET | {"latent": 0}).engine.memory_for(64, 64) > 0


def test_codes_that_do_not_fit_are_refused(several: Translator, translator: Make, two_images: Path) -> None:
    for code in ([1, 2, 3], [[1, 2, 3, 4]], [1, 2, 3, np.nan]):
        with pytest.raises(UserError, match="a code of this model is 4 finite numbers"):
            several(two_images / "a.png", code=code)
    with pytest.raises(UserError, match=r"--samples 0 is not at least 1"):
        Sampler(several, 0)
    with pytest.raises(UserError, match=r"--seed -1 is not at least 0"):
        Sampler(several, 1, -1)
    with pytest.raises(UserError, match=r"makes one translation of an image.*method=pix2pix generator\.latent=8"):
        translator().convert_folder(two_images, two_images.parent / "out", samples=2)


def test_an_exported_file_translates_with_zeros_and_says_so(several: Translator) -> None:
    engine = type("Exported", (OnnxEngine,), {"name": "onnxruntime", "_load": None, "_translate": None})
    exported = engine.__new__(engine)
    exported.info = several.engine.info
    with pytest.raises(UserError, match="--backend onnxruntime runs an exported file, whose code is zeros"):
        Sampler(Translator(exported), 2)


def test_the_command_line_asks_for_samples(
    model_folder: Callable[..., Path], command: Callable[..., Any], two_images: Path, output: Path
) -> None:
    model = model_folder(generator=UNET)
    usual = ("convert", model, two_images, output, "--samples", 2, "--seed", 5, "--accelerator", "cpu")
    planned = command(*usual, "--dry-run", "--json")
    assert json.loads(planned.out)["to_convert"] == 4
    assert command(*usual).code == 0
    assert len(tree(output)) == 4
    assert "0 to convert" in command(*usual, "--dry-run").out
    refused = command(*usual[:4], "--seed", 5)
    assert refused.code == 2
    assert "--seed 5 chooses the codes of samples: give --samples too" in refused.err
