"""Translating in tiles as users meet it: the image in one piece, memory that runs out, chance, threads."""

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from translate.conversion.engine import Engine, ModelInfo, OutOfMemoryError, Pixels, TileStatistics
from translate.conversion.peak_memory import peak_bytes
from translate.conversion.torch_engine import SKETCHED, WORKSPACE, TorchEngine
from translate.conversion.translator import MEMORY_SHARE, Tile, Translator
from translate.data.image import ImageError
from translate.errors import UserError
from translate.methods.adversary import Adversary
from translate.methods.cyclegan import CycleGAN
from translate.methods.method import Method, Turn
from translate.methods.step import Step
from translate.model import Model
from translate.networks.resnet import ResNet
from translate.objectives.adversarial import lsgan
from translate.pixels import Side

Make = Callable[..., Translator]
Noise = Callable[..., np.ndarray]
CPU = torch.device("cpu")
COLOR = Side(3, "uint8", 0, 255)
RESNET = {
    "_target_": "translate.networks.resnet.ResNet",
    "_partial_": True,
    "num_blocks": 1,
    "width": 2,
    "initialization": "kaiming",
}
UNET = {"_target_": "translate.networks.unet.UNet", "_partial_": True, "num_downs": 4, "width": 2}
DROPPING = {"generator": RESNET | {"dropout": 0.5}, "dropout_at_test": True}


def tiled(translator: Translator, tile: Tile = 64, **options: Any) -> Translator:
    """The same model in tiles."""
    return Translator(translator.engine, tile=tile, **options)


def in_one_piece(translator: Translator) -> Translator:
    return Translator(translator.engine, tile="off")


def assert_close(found: np.ndarray, expected: np.ndarray, levels: int) -> None:
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    assert expected.astype(float).std() > 5 * levels
    assert np.abs(found.astype(int) - expected.astype(int)).max() <= levels


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of tiles of all images that are translated in tiles from now on."""
    calls: list[int] = []
    original = TorchEngine.run_tiles

    def run_tiles(self: TorchEngine, source: Pixels, domain: str | None, *, tile: int, statistics: Any) -> Any:
        calls.append(tile)
        return original(self, source, domain, tile=tile, statistics=statistics)

    monkeypatch.setattr(TorchEngine, "run_tiles", run_tiles)
    return calls


# --- the same as in one piece ---


@pytest.mark.parametrize(("dtype", "levels"), [("uint8", 1), ("uint16", 257)])
@pytest.mark.parametrize(
    "options",
    [
        {"generator": RESNET},
        {"generator": UNET | {"initialization": "kaiming"}, "norm_at_test": "image"},
        {"generator": RESNET | {"norm": "batch", "upsample": "resize"}},
    ],
)
def test_tiles_give_the_image_in_one_piece(
    translator: Make, noise: Noise, counted: list[int], options: dict[str, Any], dtype: str, levels: int
) -> None:
    model, image = translator(**options), noise((90, 131, 3), dtype)
    expected = in_one_piece(model)(image)
    assert counted == []
    assert_close(tiled(model)(image), expected, levels)
    assert counted == [64]
    np.testing.assert_array_equal(tiled(model, 131)(image), expected)
    assert counted == [64]


def test_sampled_tiles_of_a_network_without_statistics_give_the_image_in_one_piece(
    translator: Make, noise: Noise
) -> None:
    model, image = translator(generator=RESNET | {"norm": "batch"}), noise((90, 131, 3))
    assert_close(tiled(model, tile_statistics="sampled")(image), in_one_piece(model)(image), 1)


def test_floats_in_tiles_are_those_of_one_piece(translator: Make, noise: Noise) -> None:
    model, image = translator(generator=RESNET), noise((90, 81, 3), "float32")
    found = tiled(model)(image)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, in_one_piece(model)(image), atol=1e-4)


@pytest.mark.parametrize("size", [(1, 150), (130, 1), (2, 131)])
def test_thin_images_in_tiles_are_those_of_one_piece(translator: Make, noise: Noise, size: tuple[int, int]) -> None:
    model, image = translator(generator=RESNET | {"norm": "batch"}), noise((*size, 3))
    assert_close(tiled(model)(image), in_one_piece(model)(image), 1)


def test_transparency_goes_around_tiles(translator: Make, noise: Noise) -> None:
    model, image = tiled(translator(generator=RESNET)), noise((70, 90, 4))
    output = model(image)
    np.testing.assert_array_equal(output[..., 3], image[..., 3])
    np.testing.assert_array_equal(output[..., :3], model(image[..., :3]))
    strips = list(model.translate_strips(image))
    assert len(strips) == 2
    np.testing.assert_array_equal(np.concatenate(strips), output)


def test_grey_is_repeated_for_a_colour_model_in_tiles(translator: Make, noise: Noise) -> None:
    model, image = tiled(translator(generator=RESNET)), noise((70, 90, 2))
    output = model(image)
    expected = model(np.repeat(image[..., :1], 3, axis=2))
    np.testing.assert_array_equal(output[..., :3], expected)
    np.testing.assert_array_equal(output[..., 3], image[..., 1])
    np.testing.assert_array_equal(np.concatenate(list(model.translate_strips(image))), output)
    np.testing.assert_array_equal(np.concatenate(list(model.translate_strips(image[..., :1]))), expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_strips_are_the_rows_of_the_image(translator: Make, noise: Noise, channels: int) -> None:
    model, image = tiled(translator(generator=UNET)), noise((150, 70, channels))
    strips = list(model.translate_strips(image))
    assert [len(strip) for strip in strips] == [64, 64, 22]
    np.testing.assert_array_equal(np.concatenate(strips), model.translate_batch([image])[0])


def test_an_image_in_a_file_that_may_not_be_written_to_is_translated(
    translator: Make, noise: Noise, tmp_path: Path
) -> None:
    model, image = tiled(translator(generator=RESNET)), noise((70, 90, 3))
    np.save(tmp_path / "image.npy", image)
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    np.testing.assert_array_equal(np.concatenate(list(model.translate_strips(mapped))), model(image))
    frozen = image.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(model(frozen), model(image))


def test_images_of_a_batch_are_translated_in_tiles_one_by_one(translator: Make, noise: Noise) -> None:
    model, images = tiled(translator(generator=RESNET)), [noise((70, 90, 3)) for _ in range(3)]
    for output, image in zip(model.translate_batch(images), images, strict=True):
        np.testing.assert_array_equal(output, model(image))


def test_the_way_back_works_in_tiles(noise: Noise) -> None:
    torch.manual_seed(0)
    depth = Side(1, "uint16", 1000, 2000)
    method = CycleGAN(
        generator=partial(ResNet, num_blocks=1, width=2, initialization="kaiming"),
        discriminator=lambda **_: nn.Identity(),
        adversary=partial(Adversary, objective=lsgan()),
        source_channels=3,
        target_channels=1,
        identity_weight=0,
    ).eval()
    model = Model(method, COLOR, depth, None, {"dropout_at_test": False, "seed": 0, "data": {}}, 0)
    for direction, image in (("AtoB", noise((80, 70, 3))), ("BtoA", noise((80, 70, 1), "uint16") // 66 + 1000)):
        engine = TorchEngine(model, CPU, direction=direction)  # type: ignore[arg-type]
        expected = Translator(engine, tile="off")(image)
        assert expected.shape == (80, 70, 1 if direction == "AtoB" else 3)
        assert_close(Translator(engine, tile=64)(image), expected, 1 if image.dtype == np.uint8 else 257)


@pytest.mark.parametrize("statistics", ["exact", "sampled"])
def test_tiles_are_translated_into_the_domain_asked_for(
    labeled: Make, noise: Noise, statistics: TileStatistics
) -> None:
    model, image = tiled(labeled("red", "green", "blue"), tile_statistics=statistics), noise((90, 70, 3))
    for place, domain in enumerate(("red", "green", "blue")):
        expected = 255 - image
        expected[..., place] = image[..., place]
        np.testing.assert_array_equal(model(image, domain=domain), expected)


@pytest.mark.parametrize("size", [(90, 70), (1, 70), (70, 2000)])
def test_attributes_that_are_not_named_are_seen_in_the_whole_image(
    labeled: Make, noise: Noise, size: tuple[int, int]
) -> None:
    model = tiled(labeled("smiling", "young", "hat", kind="attributes"))
    image = noise((*size, 3)) // 4
    image[:, size[1] // 4 :, 2] += 190  # most of the third colour is bright, though not the first tile's
    expected = np.stack([image[..., 0], 255 - image[..., 1], image[..., 2]], axis=2)
    np.testing.assert_array_equal(model(image, domain="+smiling"), expected)


def test_a_missing_domain_is_said_for_tiles_too(labeled: Make, noise: Noise) -> None:
    model = tiled(labeled("red", "green", "blue"))
    with pytest.raises(UserError, match="name one of red, green, blue"):
        model(noise((90, 70, 3)))


# --- when tiles are used ---


def test_tiles_are_used_from_the_size_on_that_does_not_fit(
    translator: Make, noise: Noise, counted: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, image = translator(generator=UNET).engine, noise((100, 90, 3))
    needed = engine.memory_for(100, 90)
    assert needed == engine.memory_for(112, 96)  # of the padded image
    for free, expected in ((needed / MEMORY_SHARE, []), (needed / MEMORY_SHARE - 10, [64])):
        monkeypatch.setattr(engine, "free_memory", lambda free=free: free)
        for tile in ("auto", "off"):
            counted.clear()
            model = Translator(engine, tile=tile)
            assert model(image).shape == (100, 90, 3)
            assert counted == (expected if tile == "auto" else [])
            assert model.needs_tiles(100, 90) == bool(counted)


def test_tiles_are_as_large_as_memory_allows(translator: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = translator(generator=RESNET).engine
    for free, tile in (
        (engine.memory_for(512, 512), 256),
        (engine.memory_for(512, 512) - 1, 128),
        (0, 64),
        (2**40, 1024),
    ):
        monkeypatch.setattr(engine, "free_memory", lambda free=free: free / MEMORY_SHARE)
        assert next(Translator(engine)._tile_sizes()) == tile


@pytest.mark.parametrize(("options", "message"), [({"tile": "off"}, "--tile auto"), ({"resize": "training"}, "native")])
def test_strips_are_refused_where_the_image_has_to_be_in_memory(
    translator: Make, noise: Noise, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        next(Translator(translator().engine, **options).translate_strips(noise((70, 70, 3))))


# --- when memory runs out ---


class Tight(Engine):
    """Turns images into their negative, and holds so many pixels at once and tiles of such a size."""

    name = "torch"

    def __init__(self, pixels: int, tile: int, *, strips: int = 1000) -> None:
        self.info = ModelInfo(COLOR, COLOR, None, {}, 1, 1, 0, "")
        self.pixels, self.tile, self.strips = pixels, tile, strips
        self.calls: list[str] = []

    def run(self, pixels: np.ndarray, domain: str | None) -> np.ndarray:
        self.calls.append(f"{len(pixels)} images")
        if pixels[..., 0].size > self.pixels:
            raise OutOfMemoryError
        return 255 - pixels

    def free_memory(self) -> int:
        return 2**40

    def tiles_problem(self, statistics: TileStatistics) -> str | None:
        return None

    def run_tiles(
        self, source: Pixels, domain: str | None, *, tile: int, statistics: TileStatistics
    ) -> Iterator[np.ndarray]:
        self.calls.append(f"{statistics} tiles of {tile}")
        if tile > self.tile:
            raise OutOfMemoryError
        for place, top in enumerate(range(0, source.shape[0], tile)):
            if place == self.strips:
                raise OutOfMemoryError
            yield 255 - source[top : top + tile, 0 : source.shape[1]]


def test_what_does_not_fit_together_is_run_alone_and_what_does_not_fit_alone_in_smaller_and_smaller_tiles(
    noise: Noise,
) -> None:
    images = [noise((100, 80, 3)) for _ in range(2)]
    halving = [f"exact tiles of {tile}" for tile in (1024, 512, 256)]
    for pixels, calls in (
        (16000, ["2 images"]),
        (15999, ["2 images", "1 images", "1 images"]),
        (7999, ["2 images", *2 * ["1 images", *halving]]),
    ):
        engine = Tight(pixels, 256)
        for output, image in zip(Translator(engine).translate_batch(images), images, strict=True):
            np.testing.assert_array_equal(output, 255 - image)
        assert engine.calls == calls


def test_memory_that_does_not_suffice_for_the_smallest_tiles_is_said(noise: Noise) -> None:
    engine = Tight(0, 63)
    with pytest.raises(ImageError, match=r"needs more memory than there is, even in tiles of 64 pixels: close other"):
        Translator(engine)(noise((100, 80, 3)))
    assert engine.calls == ["1 images", *[f"exact tiles of {tile}" for tile in (1024, 512, 256, 128, 64)]]


def test_memory_that_runs_out_on_the_way_is_said(noise: Noise) -> None:
    strips = Translator(Tight(0, 64, strips=1), tile=64).translate_strips(noise((100, 80, 3)))
    assert next(strips).shape == (64, 80, 3)
    with pytest.raises(ImageError, match="needs more memory than there is"):
        next(strips)


def test_an_image_that_does_not_fit_is_said_with_tiles_off(noise: Noise) -> None:
    with pytest.raises(
        ImageError, match="has 80x100 pixels, which do not fit into memory in one piece: use --tile auto"
    ):
        Translator(Tight(0, 64), tile="off")(noise((100, 80, 3)))


@pytest.mark.parametrize(("side", "statistics"), [(8 * 64, "exact"), (8 * 64 + 1, "sampled")])
def test_images_of_many_tiles_get_sampled_statistics(noise: Noise, side: int, statistics: str) -> None:
    engine, image = Tight(0, 64), np.zeros((side, 8 * 64, 3), np.uint8)
    assert Translator(engine, tile=64)(image).min() == 255
    assert engine.calls == [f"{statistics} tiles of 64"]
    Translator(engine, tile=64, tile_statistics="exact")(image)
    assert engine.calls[1:] == ["exact tiles of 64"]


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] . DefaultCPUAllocator: can't allocate memory: you tried to ..."
        ),
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("std::bad_alloc"),
    ],
)
def test_every_way_to_say_that_memory_is_full_is_understood(
    translator: Make, noise: Noise, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = translator(generator=RESNET)

    def fail(_: Any) -> Any:
        raise error

    engine: Any = model.engine
    monkeypatch.setattr(engine.network, "forward", fail)
    with pytest.raises(ImageError, match="do not fit into memory"):
        in_one_piece(model)(noise((70, 70, 3)))
    with pytest.raises(ImageError, match="needs more memory than there is, even in tiles of 64 pixels"):
        model(noise((70, 70, 3)))


def test_another_error_is_not_taken_for_full_memory(
    translator: Make, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = translator(generator=RESNET)

    def fail(_: Any) -> Any:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(model.engine.network, "forward", fail)
    for each in (model, tiled(model)):
        with pytest.raises(RuntimeError, match="mat1"):
            each(noise((70, 70, 3)))


def test_what_filled_the_memory_is_let_go_before_the_next_try(
    translator: Make, noise: Noise, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = translator(generator=RESNET)
    held: list[Any] = []

    def fail(images: Any) -> Any:
        features = torch.zeros(10)
        assert all(reference() is None for reference in held)
        held.append(weakref.ref(features))
        raise RuntimeError("can't allocate memory")

    monkeypatch.setattr(model.engine.network, "forward", fail)
    gc.disable()
    try:
        with pytest.raises(ImageError):
            model(noise((70, 70, 3)))
    finally:
        gc.enable()
    assert len(held) == 6  # once in one piece, in tiles of 1024, 512, 256, 128 and 64


SCRIPT = """
import resource
import sys
from pathlib import Path

import numpy as np
import torch

from translate.conversion import tiles
from translate.conversion.torch_engine import TorchEngine
from translate.conversion.translator import Translator
from translate.errors import UserError
from translate.model import read_model

tiles.sample_statistics = lambda *_: []  # batch norm needs none
torch.set_num_threads(1)
engine = TorchEngine(read_model(Path(sys.argv[1])), torch.device("cpu"))
engine.memory_for = lambda height, width: 0  # to be wrong
image = np.random.default_rng(0).integers(0, 256, (1000, 700, 3), np.uint8)
expected = Translator(engine, tile="off")(image)
Translator(engine, tile=64, tile_statistics="sampled")(image[:100, :100])
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
# Two maps of 16 channels at full size, a layer's input and output, and nothing else.
resource.setrlimit(resource.RLIMIT_AS, (used + 4 * 16 * 1000 * 700 * 2,) * 2)
try:
    Translator(engine, tile="off")(image)
except UserError as error:
    print(error)
found = Translator(engine, tile="auto", tile_statistics="sampled")(image)
print("largest difference", np.abs(found.astype(int) - expected.astype(int)).max())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of memory")
def test_a_process_whose_memory_is_full_translates_in_tiles(model_folder: Callable[..., Path]) -> None:
    folder = model_folder(generator=RESNET | {"width": 16, "norm": "batch", "num_blocks": 0})
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    assert ran.returncode == 0, ran.stderr
    said, difference = ran.stdout.splitlines()
    assert "has 700x1000 pixels, which do not fit into memory in one piece" in said
    assert difference in ("largest difference 0", "largest difference 1")


# --- chance ---


@pytest.mark.parametrize("statistics", ["exact", "sampled"])
def test_what_is_dropped_in_tiles_is_the_same_each_time(
    translator: Make, noise: Noise, statistics: TileStatistics
) -> None:
    model = tiled(translator(**DROPPING), tile_statistics=statistics)
    image = noise((90, 70, 3))
    first = model(image)
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    np.testing.assert_array_equal(model(image), first)
    assert torch.equal(torch.random.get_rng_state(), before)
    without = tiled(translator(generator=DROPPING["generator"]), tile_statistics=statistics)(image)
    assert np.abs(without.astype(int) - first).max() > 10


def test_strips_that_nobody_waits_for_leave_the_callers_random_numbers_alone(translator: Make, noise: Noise) -> None:
    before = torch.random.get_rng_state()
    strips = tiled(translator(**DROPPING)).translate_strips(noise((90, 70, 3)))
    before = torch.random.get_rng_state()
    next(strips)
    assert not torch.is_inference_mode_enabled()
    strips.close()  # type: ignore[attr-defined]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_tiles_do_not_all_drop_the_same_features(translator: Make) -> None:
    """Of an image of one colour, a network shows what is dropped and nothing else."""
    model = tiled(
        translator(generator=RESNET | {"dropout": 0.5, "norm": "none"}, dropout_at_test=True), tile_statistics="sampled"
    )
    image = np.full((320, 64, 3), 90, np.uint8)
    output = model(image).astype(int)
    # The same numbers drawn for each tile would repeat the same picture in each.
    assert not np.array_equal(output[70:120], output[134:184])


# --- threads ---


@pytest.mark.parametrize("options", [{"generator": RESNET}, DROPPING])
@pytest.mark.parametrize("tile", ["off", 64])
def test_several_threads_get_the_results_of_one(
    translator: Make, noise: Noise, options: dict[str, Any], tile: Tile
) -> None:
    model = tiled(translator(**options), tile)
    images = [noise((60 + 7 * place, 90 - 5 * place, 3)) for place in range(8)]
    expected = [model(image) for image in images]
    before = torch.random.get_rng_state()
    with ThreadPoolExecutor(4) as threads:
        for output, one in zip(threads.map(model, images), expected, strict=True):
            np.testing.assert_array_equal(output, one)
    assert torch.equal(torch.random.get_rng_state(), before)


class Own(Method):
    """A method of the user's own whose network is a single convolution and calls `seen` with what it is given."""

    players: ClassVar = {}
    translators = ("generator",)

    def __init__(self, seen: Callable[[Tensor], None]) -> None:
        super().__init__()
        self.generator, self.seen = nn.Conv2d(3, 3, 3, padding=1), seen
        self.generator.register_forward_pre_hook(lambda _, arguments: seen(arguments[0]))

    def play(self, batch: Any, step: Step) -> Iterator[Turn]:
        raise NotImplementedError

    def translator(self, *, back: bool = False) -> nn.Module:
        return self.generator

    def show(self, batch: Any) -> dict[str, Tensor]:
        raise NotImplementedError


def test_one_thread_may_translate_while_another_asks_for_the_memory(noise: Noise) -> None:
    image, outputs = noise((20, 20, 3)), []

    def seen(features: Tensor) -> None:
        if features.is_meta:
            thread = Thread(target=lambda: outputs.append(engine.run(image[None], None)))
            thread.start()
            thread.join()

    settings = {"dropout_at_test": False, "seed": 0, "data": {}}
    engine = TorchEngine(Model(Own(seen).eval(), COLOR, COLOR, None, settings, 0), CPU)
    expected = engine.run(image[None], None)
    assert engine.memory_for(100, 100) > 0
    np.testing.assert_array_equal(outputs, [expected])


# --- how much memory ---


def test_the_peak_of_two_convolutions_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 3, 1))
    # The caller holds the image; the second convolution reads 2 channels of 8 x 8 floats and writes 3.
    assert peak_bytes(network, (1, 1, 8, 8)) == 4 * 64 * (1 + 2 + 3)
    assert peak_bytes(network, (5, 1, 8, 8)) == 5 * 4 * 64 * (1 + 2 + 3)
    # The first output is gone when the third is made.
    assert peak_bytes(nn.Sequential(*network, nn.Conv2d(3, 1, 1)), (1, 1, 8, 8)) == 4 * 64 * (1 + 2 + 3)
    assert peak_bytes(nn.Sequential(*network, nn.Conv2d(3, 4, 1)), (1, 1, 8, 8)) == 4 * 64 * (1 + 3 + 4)


def test_the_peak_counts_what_is_held_for_later_and_no_memory_twice() -> None:
    class Skip(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            first = image.expand(1, 1, 8, 8).flatten(2).view(1, 1, 8, 8)  # the same memory
            second = pad(first, (0, 8)).relu_()  # twice as wide
            third = second[..., ::2] + first
            return torch.cat([third, first], 1)

    # image, its border, their sum, both together
    assert peak_bytes(Skip(), (1, 1, 8, 8)) == 4 * 64 * (1 + 2 + 1 + 2)


def test_nothing_is_computed_and_no_weight_is_touched_for_the_peak() -> None:
    network = nn.Conv2d(1, 1, 1)
    weight = network.weight
    assert peak_bytes(network, (1, 1, 10**6, 10**6)) == 2 * 4 * 10**12
    assert network.weight is weight
    assert weight.device == CPU


def test_memory_is_estimated_by_the_pixel_of_the_padded_image(translator: Make) -> None:
    engine: Any = translator(generator=UNET).engine
    peak = peak_bytes(engine.model.method.generator, (1, 3, SKETCHED, SKETCHED))
    assert engine.memory_for(1, 1) == engine.memory_for(16, 16) == 256 * (WORKSPACE * peak // SKETCHED**2)
    assert engine.memory_for(160, 320) == 200 * engine.memory_for(16, 16)
