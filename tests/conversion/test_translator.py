"""A model as a function of images: any size, depth and kind in, the same size, depth and kind out."""

import doctest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

import translate
from translate import load
from translate.conversion.torch_engine import TorchEngine, pick_device, reflect
from translate.conversion.translator import Translator
from translate.data.image import ImageError, write_image
from translate.errors import UserError
from translate.model import read_model
from translate.networks.attention import SelfAttention
from translate.pixels import Side, denormalize, normalize

Make = Callable[..., Translator]
Noise = Callable[..., np.ndarray]
GREY = Side(1, "uint8", 0, 255)
COLOR = Side(3, "uint8", 0, 255)
RESNET = {"_target_": "translate.networks.resnet.ResNet", "_partial_": True, "num_blocks": 1, "width": 2, "gain": 0.5}
SIZES = [(1, 1), (1, 50), (3, 200), (200, 3), (4, 4), (8, 8), (9, 15), (17, 33)]


# --- sizes ---


def test_attention_sees_all_of_a_large_image_whatever_the_number_of_tiles(
    translator: Make, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, image = translator(generator=RESNET | {"attention": True}), noise((100, 130, 3))
    for layer in model.engine.model.method.modules():  # type: ignore[attr-defined]
        if isinstance(layer, SelfAttention):
            layer.gamma.fill_(5.0)
    whole = model(image).astype(int)
    monkeypatch.setattr("translate.conversion.translator.EXACT_TILES", 1)
    model.tile = 64
    assert np.abs(model(image).astype(int) - whole).max() <= 1
    assert whole.std() > 5
    model.tile_statistics = "sampled"
    with pytest.raises(ImageError, match=r"attention sees all of an image.*: use --tile-statistics exact"):
        model(image)


@pytest.mark.parametrize("size", SIZES)
def test_every_size_comes_back(translator: Make, noise: Noise, size: tuple[int, int]) -> None:
    output = translator()(noise((*size, 3)))
    assert output.shape == (*size, 3)
    assert output.dtype == np.uint8


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("size", SIZES)
def test_every_size_comes_back_from_a_resnet(translator: Make, noise: Noise, size: tuple[int, int], norm: str) -> None:
    model = translator(generator=RESNET | {"norm": norm}, norm_at_test="image")
    assert model(noise((*size, 3))).shape == (*size, 3)


def test_the_result_is_that_of_the_network_on_a_reflected_border(translator: Make, noise: Noise) -> None:
    model, image = translator(), noise((11, 14, 3))
    batch = normalize(torch.from_numpy(image).permute(2, 0, 1)[None], 0, 255)
    with torch.no_grad():
        output = model.engine.model.method.generator(pad(batch, (0, 2, 0, 5), mode="reflect"))[..., :11, :14]
    expected = denormalize(output, "uint8", 0, 255)[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(model(image), expected)
    assert expected.std() > 10


@pytest.mark.parametrize("options", [{}, {"norm_at_test": "image"}, {"generator": RESNET}])
def test_a_batch_gives_what_its_images_give_alone(translator: Make, noise: Noise, options: dict[str, Any]) -> None:
    model = translator(**options)
    images = [noise((11, 14, 3)) for _ in range(3)] + [np.full((11, 14, 3), 200, np.uint8)]
    for together, image in zip(model.translate_batch(images), images, strict=True):
        np.testing.assert_allclose(together.astype(int), model(image), atol=1)


# --- reflect ---


@pytest.mark.parametrize(
    ("image", "down", "right", "expected"),
    [
        ([[1, 2, 3]], 0, 0, [[1, 2, 3]]),
        ([[1, 2, 3]], 0, 2, [[1, 2, 3, 2, 1]]),
        ([[1, 2, 3]], 0, 5, [[1, 2, 3, 2, 1, 2, 3, 2]]),
        ([[1], [2]], 4, 0, [[1], [2], [1], [2], [1], [2]]),
        ([[1, 2], [3, 4]], 1, 1, [[1, 2, 1], [3, 4, 3], [1, 2, 1]]),
        ([[5]], 2, 1, [[5, 5], [5, 5], [5, 5]]),
    ],
)
def test_reflection_by_hand(image: list[list[int]], down: int, right: int, expected: list[list[int]]) -> None:
    batch = torch.tensor(image, dtype=torch.float32)[None, None]
    assert reflect(batch, down, right)[0, 0].tolist() == expected


# --- kinds of images ---


@pytest.mark.parametrize(("dtype", "white"), [("uint8", 255), ("uint16", 65535), ("float32", 1)])
@pytest.mark.parametrize("source", [COLOR, Side(3, "uint16", 0, 65535), Side(3, "float32", 0, 1)])
def test_every_depth_is_kept_whatever_the_training(
    negative: Make, noise: Noise, source: Side, dtype: str, white: float
) -> None:
    image = noise((5, 7, 3), dtype)
    output = negative(source)(image)
    assert output.dtype == dtype
    np.testing.assert_allclose(output, white - image, atol=1e-6 if dtype == "float32" else 0)


def test_the_ranges_of_training_hold_for_its_own_pixel_type(negative: Make) -> None:
    model = negative(Side(1, "uint16", 0, 4000), Side(1, "uint16", 1000, 2000))
    image = np.array([[0, 1000, 4000]], np.uint16)
    assert model(image).tolist() == [[2000, 1750, 1000]]
    assert model(np.array([[0, 55, 255]], np.uint8)).tolist() == [[255, 200, 0]]


def test_arrays_without_a_channel_axis(negative: Make, noise: Noise) -> None:
    image = noise((5, 7))
    np.testing.assert_array_equal(negative(GREY)(image), 255 - image)
    np.testing.assert_array_equal(negative(COLOR)(image), np.repeat(255 - image[..., None], 3, axis=2))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_transparency_goes_around_the_model(negative: Make, noise: Noise, dtype: str) -> None:
    image = noise((5, 7, 4), dtype)
    output = negative()(image)
    assert output.shape == image.shape
    np.testing.assert_array_equal(output[..., 3], image[..., 3])
    assert not np.array_equal(output[..., :3], image[..., :3])


def test_a_fourth_channel_that_was_trained_is_no_transparency(negative: Make, noise: Noise) -> None:
    image = noise((5, 7, 4))
    np.testing.assert_array_equal(negative(Side(4, "uint8", 0, 255))(image), 255 - image)


def test_transparency_has_no_place_beside_other_channels(negative: Make, noise: Noise) -> None:
    assert negative(COLOR, Side(2, "uint8", 0, 255))(noise((5, 7, 4))).shape == (5, 7, 2)


def test_grey_is_repeated_for_a_colour_model(negative: Make, noise: Noise) -> None:
    image = noise((5, 7, 1))
    np.testing.assert_array_equal(negative()(image), np.repeat(255 - image, 3, axis=2))


def test_colour_that_is_grey_suits_a_grey_model(negative: Make, noise: Noise) -> None:
    image = noise((5, 7, 1))
    np.testing.assert_array_equal(negative(GREY)(np.repeat(image, 3, axis=2)), 255 - image)


@pytest.mark.parametrize(
    ("source", "channels", "message"),
    [
        (COLOR, 5, "has 5 channels, but the model translates images of 3"),
        (GREY, 3, "has 3 channels, but the model translates images of 1"),
        (Side(5, "uint8", 0, 255), 3, "has 3 channels, but the model translates images of 5"),
    ],
)
def test_wrong_channels_are_refused(negative: Make, noise: Noise, source: Side, channels: int, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        negative(source)(noise((5, 7, channels)))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((5, 7, 3)), "has float64 pixels"),
        (np.zeros((5, 7, 3), bool), "has bool pixels"),
        (np.zeros((1, 5, 7, 3), np.uint8), r"of shape \(1, 5, 7, 3\)"),
        (np.zeros((0, 7, 3), np.uint8), r"of shape \(0, 7, 3\)"),
        (np.zeros(3, np.uint8), r"of shape \(3,\)"),
        ([[1, 2]], "cannot translate a list: give a numpy array, a path or a PIL image"),
    ],
)
def test_what_is_no_image_is_refused(negative: Make, image: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        negative()(image)


@pytest.mark.parametrize("as_type", [str, Path])
def test_a_path_gives_an_array(negative: Make, noise: Noise, tmp_path: Path, as_type: Callable[..., Any]) -> None:
    image = noise((5, 7, 3), "uint16")
    write_image(tmp_path / "image.png", image)
    np.testing.assert_array_equal(negative()(as_type(tmp_path / "image.png")), 65535 - image)


def test_a_missing_path_is_a_user_error(negative: Make, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be opened: No such file"):
        negative()(tmp_path / "missing.png")


# --- PIL ---


@pytest.mark.parametrize(("mode", "side"), [("L", GREY), ("RGB", COLOR), ("RGBA", COLOR), ("I;16", GREY), ("F", GREY)])
def test_pil_images_keep_their_mode(negative: Make, noise: Noise, mode: str, side: Side) -> None:
    channels, dtype = {"L": (1, "uint8"), "RGB": (3, "uint8"), "RGBA": (4, "uint8"), "I;16": (1, "uint16")}.get(
        mode, (1, "float32")
    )
    image = noise((5, 7, channels), dtype)
    output = negative(side)(Image.fromarray(image[..., 0] if channels == 1 else image))
    assert output.mode == mode
    assert output.size == (7, 5)
    np.testing.assert_array_equal(np.asarray(output).reshape(5, 7, -1), negative(side)(image))


def test_pil_palettes_become_colour(negative: Make, noise: Noise) -> None:
    image = Image.fromarray(noise((5, 7, 3))).quantize(4)
    output = negative()(image)
    assert output.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(output), 255 - np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("dtype", "target"), [("uint16", COLOR), ("float32", COLOR), ("uint8", Side(5, "uint8", 0, 255))]
)
def test_what_pil_cannot_hold_is_a_user_error(negative: Make, noise: Noise, dtype: str, target: Side) -> None:
    with pytest.raises(UserError):
        negative(GREY, target)(Image.fromarray(noise((5, 7), dtype)))


# --- behaviour at test time ---


def test_image_norm_is_the_network_in_training_mode_one_by_one(translator: Make) -> None:
    batch = torch.rand(3, 3, 16, 16) * 2 - 1
    per_image = translator(norm_at_test="image").engine.translate_tensor(batch)
    network = translator().engine.model.method.generator.train()
    with torch.no_grad():
        expected = torch.cat([network(image[None]) for image in batch])
    torch.testing.assert_close(per_image, expected, rtol=0, atol=1e-5)
    assert (translator(norm_at_test="running").engine.translate_tensor(batch) - per_image).abs().max() > 0.01


def test_dropout_at_test_is_on_but_neither_chance_nor_the_batch_matters(translator: Make) -> None:
    options = {"generator": RESNET | {"norm": "batch", "dropout": 0.5}}
    batch = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    dropping = translator(**options, dropout_at_test=True)
    first = dropping.engine.translate_tensor(batch)
    torch.testing.assert_close(dropping.engine.translate_tensor(batch), first, rtol=0, atol=0)
    alone = torch.cat([dropping.engine.translate_tensor(image[None]) for image in batch])
    torch.testing.assert_close(alone, first, rtol=0, atol=1e-6)
    assert (translator(**options).engine.translate_tensor(batch) - first).abs().max() > 0.01


def test_the_seed_decides_what_is_dropped(translator: Make) -> None:
    batch = torch.ones(1, 3, 16, 16)
    options = {"generator": RESNET | {"norm": "batch", "dropout": 0.5}, "dropout_at_test": True}
    outputs = [translator(**options, seed=seed).engine.translate_tensor(batch) for seed in (1, 2)]
    assert (outputs[0] - outputs[1]).abs().max() > 0.001


def test_translating_leaves_the_callers_random_numbers_alone(translator: Make) -> None:
    model = translator(generator=RESNET | {"dropout": 0.5}, dropout_at_test=True)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model.engine.translate_tensor(torch.ones(1, 3, 8, 8))
    assert torch.equal(torch.rand(3), expected)


# --- at the size of training ---


def sizes_seen(model: Translator) -> list[Tensor]:
    """What the network is given from now on."""
    seen: list[Tensor] = []
    model.engine.network.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    return seen


@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [
        ("stretch", (20, 40), (16, 16)),
        ("stretch", (3, 200), (16, 16)),
        ("keep_aspect", (20, 40), (16, 32)),
        ("keep_aspect", (8, 4), (32, 16)),
        ("none", (20, 40), (24, 40)),
    ],
)
def test_resize_training(
    translator: Make, noise: Noise, mode: str, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    model = translator(resize="training", data={"augmentation": {"resize": mode}})
    seen = sizes_seen(model)
    assert model(noise((*size, 3))).shape == (*size, 3)
    assert [image.shape[2:] for image in seen] == [expected]


def test_resize_training_knows_what_was_cut_off_before_resizing(translator: Make, noise: Noise) -> None:
    # Of 30x20 pixels training saw the middle 10x10, brought to 16x16: 48x32 is that scale.
    augmentation = {"resize": "stretch", "center_crop": 10}
    for data in ({"augmentation": augmentation}, {"first": {"augmentation": augmentation}}):
        model = translator(resize="training", data=data)
        seen = sizes_seen(model)
        assert model(noise((30, 20, 3))).shape == (30, 20, 3)
        assert [image.shape[2:] for image in seen] == [(48, 32)]


def test_an_image_of_the_training_size_is_not_resized(translator: Make, noise: Noise) -> None:
    image = noise((16, 16, 3))
    np.testing.assert_array_equal(translator(resize="training")(image), translator()(image))


def test_labels_are_not_blended_on_their_way_to_the_training_size(translator: Make) -> None:
    model = translator(Side(3, "uint8", 0, 255, labels=True), COLOR, resize="training")
    seen = sizes_seen(model)
    model(np.random.default_rng(0).choice([0, 255], (23, 31, 3)).astype(np.uint8))
    assert seen[0].unique().tolist() == [-1, 1]


# --- loading ---


def test_load_takes_a_model_or_a_run_folder(model_folder: Callable[..., Path], noise: Noise) -> None:
    folder, image = model_folder(), noise((8, 8, 3))
    expected = Translator(TorchEngine(read_model(folder), torch.device("cpu")))(image)
    np.testing.assert_array_equal(load(folder, accelerator="cpu")(image), expected)
    np.testing.assert_array_equal(load(str(folder.parent), accelerator="cpu")(image), expected)


def test_devices_are_picked_by_name() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(UserError, match="accelerator=tpu is not one of auto, cpu, cuda, mps"):
        pick_device("tpu")


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="has what is asked for")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="accelerator=mps is not available here: use accelerator=cpu"):
        pick_device("mps")


def test_the_example_of_the_documentation_runs(model_folder: Callable[..., Path]) -> None:
    found = doctest.testmod(translate, extraglobs={"run_folder": model_folder()})
    assert (found.failed, found.attempted) == (0, 5)
