"""Models that translate both ways: which way is meant, and that everything on the way is of the right side."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import translate
from translate.conversion.torch_engine import TorchEngine
from translate.conversion.translator import Translator
from translate.data.image import ImageError, read_image, write_image
from translate.errors import UserError
from translate.model import assemble, read_model
from translate.model_folder import CONFIG, WEIGHTS
from translate.pixels import Side, denormalize, normalize
from translate.training.checkpoint import read_state

Make = Callable[..., Translator]
Run = Callable[..., Any]
COLOR = Side(3, "uint8", 0, 255)
DEPTH = Side(1, "uint16", 1000, 2000)


# --- which way ---


@pytest.mark.parametrize(
    ("trained", "direction", "is_reversed"),
    [
        ("AtoB", None, False),
        ("AtoB", "AtoB", False),
        ("AtoB", "BtoA", True),
        ("BtoA", None, False),
        ("BtoA", "BtoA", False),
        ("BtoA", "AtoB", True),
        (None, None, False),
        (None, "AtoB", False),
        (None, "BtoA", True),
    ],
)
def test_the_trained_way_is_the_default(
    both_ways: Make, trained: str | None, direction: str | None, is_reversed: bool
) -> None:
    # The source of training is COLOR whatever its letter.
    model = both_ways(COLOR, DEPTH, trained=trained, direction=direction)
    assert model.engine.is_reversed == is_reversed
    assert (model.source, model.target) == ((DEPTH, COLOR) if is_reversed else (COLOR, DEPTH))
    image = np.full((4, 5, 1 if is_reversed else 3), 30, np.uint8)
    # The way there is the mean of the colours, the way back the negative in every colour.
    expected = np.full((4, 5, 3), 225) if is_reversed else np.full((4, 5, 1), 30)
    np.testing.assert_array_equal(model(image), expected)


@pytest.mark.parametrize("word", ["atob", "BtoC", "", "backward"])
def test_another_word_is_no_direction(both_ways: Make, word: str) -> None:
    with pytest.raises(UserError, match=f"direction={word} is not one of AtoB, BtoA"):
        both_ways(COLOR, DEPTH, direction=word)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_neither_way_has_domains(both_ways: Make, tmp_path: Path, direction: str) -> None:
    model = both_ways(COLOR, COLOR, direction=direction)
    write_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(UserError, match="the domain 'night' was asked for, but this model translates into one kind"):
        model(np.zeros((4, 4, 3), np.uint8), domain="night")
    with pytest.raises(UserError, match="the domain 'night' was asked for, but this model has no domains"):
        model.convert_folder(tmp_path / "a.png", tmp_path / "out", to="night")


def test_a_pix2pix_goes_one_way(negative: Make) -> None:
    for trained, other in (("AtoB", "BtoA"), ("BtoA", "AtoB")):
        model = negative(data={"direction": trained}).engine.model
        assert not TorchEngine(model, torch.device("cpu"), direction=trained).is_reversed  # type: ignore[arg-type]
        with pytest.raises(UserError, match=f"direction={other}: .* was trained {trained} and translates one way"):
            TorchEngine(model, torch.device("cpu"), direction=other)  # type: ignore[arg-type]


# --- sides ---


def test_there_from_colour_to_depth(both_ways: Make) -> None:
    model = both_ways(COLOR, DEPTH, direction="AtoB")
    image = np.array([[[0, 0, 0], [10, 20, 60], [255, 255, 255]]], np.uint8)
    assert model(image).tolist() == [[[0], [30], [255]]]
    # 16 bits are of the full range on the side of 8 bits, and of the own range on their own side.
    deep = np.array([[[0] * 3, [13107] * 3, [65535] * 3]], np.uint16)
    assert model(deep).tolist() == [[[1000], [1200], [2000]]]
    assert model(deep).dtype == np.uint16


def test_back_from_depth_to_colour(both_ways: Make) -> None:
    model = both_ways(COLOR, DEPTH, direction="BtoA")
    found = model(np.array([[1000, 1200, 2000]], np.uint16))
    assert found.dtype == np.uint16
    assert found.tolist() == [[[65535] * 3, [52428] * 3, [0] * 3]]
    assert model(np.array([[0, 30, 255]], np.uint8)).tolist() == [[[255] * 3, [225] * 3, [0] * 3]]


def test_images_of_the_other_side_are_refused(both_ways: Make) -> None:
    colorful = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    with pytest.raises(ImageError, match="has 3 channels, but the model translates images of 1: convert it to grey"):
        both_ways(COLOR, DEPTH, direction="BtoA")(colorful)
    with pytest.raises(ImageError, match="has 5 channels, but the model translates images of 3"):
        both_ways(COLOR, Side(2, "uint8", 0, 255), direction="AtoB")(np.zeros((2, 2, 5), np.uint8))
    two = both_ways(COLOR, Side(2, "uint8", 0, 255), direction="BtoA")(colorful[..., :2])
    assert two.shape == (2, 2, 3)


def test_transparency_is_kept(both_ways: Make) -> None:
    image = np.full((2, 2, 4), 30, np.uint8)
    image[..., 3] = 77
    assert both_ways(COLOR, DEPTH, direction="AtoB")(image)[0, 0].tolist() == [30, 77]
    assert both_ways(COLOR, DEPTH, direction="BtoA")(image[..., 2:])[0, 0].tolist() == [225, 225, 225, 77]
    back = both_ways(COLOR, DEPTH, direction="BtoA")(image)
    assert back[0, 0].tolist() == [225, 225, 225, 77]


@pytest.mark.parametrize(
    ("direction", "name", "written"),
    [
        ("AtoB", "a.ppm", "a.pgm"),
        ("AtoB", "a.pgm", "a.pgm"),
        ("AtoB", "a.bmp", "a.bmp"),
        ("BtoA", "a.pgm", "a.ppm"),
        ("BtoA", "a.png", "a.png"),
    ],
)
def test_files_are_of_the_channels_of_the_right_side(
    both_ways: Make, tmp_path: Path, output: Path, direction: str, name: str, written: str
) -> None:
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / name, np.full((8, 8, 1 if name.endswith("pgm") else 3), 30, np.uint8))
    report = both_ways(COLOR, DEPTH, direction=direction).convert_folder(tmp_path / "in", output)
    assert report.converted == 1
    found = read_image(output / written)
    assert found.shape == (8, 8, 1 if direction == "AtoB" else 3)
    assert np.unique(found).tolist() == [30 if direction == "AtoB" else 225]


def test_there_and_back_from_files(both_ways: Make, tmp_path: Path, output: Path) -> None:
    image = np.full((6, 8, 3), 30, np.uint8)
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "a.png", image)
    both_ways(COLOR, DEPTH).convert_folder(tmp_path / "in", output)
    both_ways(COLOR, DEPTH, direction="BtoA").convert_folder(output, tmp_path / "back")
    np.testing.assert_array_equal(read_image(tmp_path / "back" / "a.png"), 255 - image)


# --- the command line and model folders ---


@pytest.fixture
def trained(command: Run, tiny_for: Callable[[str], list[str]], tmp_path: Path) -> Callable[..., Path]:
    """A CycleGAN run of one step between colour and grey images."""

    def make(*words: str) -> Path:
        grey = ["data.channels_b=1", "method.identity_weight=0"]
        done = command("train", *tiny_for("cyclegan"), *grey, "steps=1", *words)
        assert done.code == 0, done.err
        return tmp_path / "run"

    return make


def by_networks(run: Path, name: str, image: np.ndarray) -> np.ndarray:
    """What a network as training left it, rebuilt from the state that resume reads, makes of an image."""
    state, config = read_state(run), json.loads((run / "model" / CONFIG).read_text())
    assert state is not None
    source, target = Side(**config["source"]), Side(**config["target"])
    network = assemble(config["settings"], source=source, target=target, domains=None).networks[name].eval()
    network.load_state_dict(state["networks"][name])
    with torch.no_grad():
        output = network(normalize(torch.from_numpy(image).permute(2, 0, 1)[None], 0, 255))
    pixels: np.ndarray = denormalize(output, "uint8", 0, 255)[0].transpose(1, 2, 0)
    return pixels


@pytest.mark.parametrize("trained_way", ["AtoB", "BtoA"])
def test_a_trained_model_translates_both_ways_bit_for_bit(
    trained: Callable[..., Path], command: Run, tmp_path: Path, trained_way: str
) -> None:
    run = trained(f"data.direction={trained_way}")
    state = read_state(run)
    assert state is not None
    stored = load_file(run / "model" / WEIGHTS)
    translators = ("generator_forward", "generator_backward")
    expected = {f"{name}.{key}": tensor for name in translators for key, tensor in state["networks"][name].items()}
    assert stored.keys() == expected.keys()
    assert all(torch.equal(stored[name], expected[name]) for name in stored)
    assert json.loads((run / "model" / CONFIG).read_text())["domains"] is None
    model = read_model(run / "model")
    assert list(model.method.networks) == list(translators)
    assert (model.source.channels, model.target.channels) == ((3, 1) if trained_way == "AtoB" else (1, 3))

    generator = np.random.default_rng(0)
    for way, channels in (("AtoB", 3), ("BtoA", 1)):
        image = generator.integers(0, 256, (16, 24, channels), np.uint8)
        write_image(tmp_path / "one.png", image)
        words = [] if way == trained_way else ["--direction", way]
        ran = command("convert", run, tmp_path / "one.png", tmp_path / way, *words)
        assert ran.code == 0, ran.err
        found = read_image(tmp_path / way / "one.png")
        assert found.shape == (16, 24, 4 - channels)
        network = "generator_forward" if way == trained_way else "generator_backward"
        np.testing.assert_array_equal(found, by_networks(run, network, image))
        assert len(np.unique(found)) > 3
        loaded = translate.load(run, accelerator="cpu", direction=way)  # type: ignore[arg-type]
        np.testing.assert_array_equal(loaded(image), found)


def test_a_wrong_word_is_said_before_anything_is_written(
    trained: Callable[..., Path], command: Run, unpaired: Path, output: Path
) -> None:
    run = trained()
    ran = command("convert", run, unpaired, output, "--direction", "backward")
    assert ran.code == 2
    assert "direction=backward is not one of AtoB, BtoA" in ran.err
    assert not output.exists()
    with pytest.raises(UserError, match="direction=backward is not one of AtoB, BtoA"):
        translate.load(run, direction="backward")  # type: ignore[arg-type]


def test_a_dry_run_names_the_files_of_the_other_way(
    trained: Callable[..., Path], command: Run, tmp_path: Path, output: Path
) -> None:
    run = trained()
    (tmp_path / "in").mkdir()
    write_image(tmp_path / "in" / "a.pgm", np.zeros((16, 16, 1), np.uint8))
    for words, name in (([], "a.pgm"), (["--direction", "BtoA"], "a.ppm")):
        ran = command("convert", run, tmp_path / "in", output, "--dry-run", *words)
        assert ran.out.splitlines()[0] == f"{tmp_path / 'in' / 'a.pgm'} -> {output / name}"
    assert not output.exists()
