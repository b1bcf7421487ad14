"""Which measures there are: by the size of the images, their channels, and the weights that lie on the disk."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from translate.errors import UserError
from translate.evaluation.measures import Options, choose_measures
from translate.evaluation.metrics import compare
from translate.evaluation.pretrained import ALEXNET, INCEPTION, load_lpips
from translate.pixels import Side

CPU = torch.device("cpu")
COLOR = Side(3, "float32", 0, 1)


def random_images(size: int, seed: int) -> torch.Tensor:
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture
def empty_cache(tmp_path: Path) -> Iterator[Path]:
    """torch's cache as a folder where nothing was downloaded yet."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path))
    yield tmp_path / "checkpoints"
    torch.hub.set_dir(before)


@pytest.fixture
def alexnet(empty_cache: Path) -> Path:
    """A file of the convolutions of AlexNet, with random weights."""
    generator = torch.Generator().manual_seed(0)
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    weights = {
        f"features.{place}.weight": torch.randn(shape, generator=generator) / 30 for place, shape in shapes.items()
    }
    weights |= {f"features.{place}.bias": torch.zeros(shape[0]) for place, shape in shapes.items()}
    empty_cache.mkdir()
    torch.save(weights, empty_cache / ALEXNET)
    return empty_cache / ALEXNET


def test_what_is_missing_is_said_and_nothing_is_downloaded(empty_cache: Path) -> None:
    measures = choose_measures(COLOR, 64, Options(), CPU, has_answers=True)
    assert measures.lpips is None
    assert [distances.names for distances in measures.distances] == [("feature_distance", "kernel_distance")]
    size, lpips, inception = measures.notes
    assert size == "ms_ssim needs images of 176 pixels or more; these have 64"
    assert ALEXNET in lpips
    assert "--weights" in lpips
    assert INCEPTION in inception
    assert not empty_cache.exists()


def test_what_needs_true_answers_is_not_missed_without_them(empty_cache: Path) -> None:
    measures = choose_measures(COLOR, 64, Options(), CPU, has_answers=False)
    assert len(measures.notes) == 1
    assert "fid and kid" in measures.notes[0]


def test_images_of_many_channels_have_no_measure_of_colours(empty_cache: Path) -> None:
    measures = choose_measures(Side(5, "uint16", 0, 1000), 256, Options(), CPU, has_answers=True)
    assert measures.notes == ("lpips, fid and kid are for grey and coloured images; these have 5 channels",)


def test_a_folder_of_weights_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere is no folder of weights: name the one that holds"):
        choose_measures(COLOR, 64, Options(weights=tmp_path / "nowhere"), CPU, has_answers=True)


def test_lpips_is_that_of_torchmetrics(alexnet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchmetrics.functional.image import learned_perceptual_image_patch_similarity
    from torchvision.models import alexnet as make

    def with_weights(net: str, pretrained: bool = False) -> nn.Sequential:
        with torch.device("meta"):
            network = make()
        network.load_state_dict(torch.load(alexnet), assign=True, strict=False)
        return network.features

    monkeypatch.setattr("torchmetrics.functional.image.lpips._get_tv_model_features", with_weights)
    measures = choose_measures(COLOR, 64, Options(weights=alexnet.parent), CPU, has_answers=True)
    assert measures.lpips is not None
    outputs, targets = random_images(64, 1), random_images(64, 2)
    expected = learned_perceptual_image_patch_similarity(outputs, targets, reduction="none")
    rows = compare(outputs, targets, COLOR, measures.lpips)
    assert [row["lpips"] for row in rows] == pytest.approx(expected.flatten().tolist(), abs=1e-4)
    assert rows[0]["lpips"] > 0
    grey = Side(1, "float32", 0, 1)
    of_grey = compare(outputs[:, :1], targets[:, :1], grey, measures.lpips)
    repeated = [images[:, :1].expand(-1, 3, -1, -1) for images in (outputs, targets)]
    expected = learned_perceptual_image_patch_similarity(*repeated, reduction="none")
    assert [row["lpips"] for row in of_grey] == pytest.approx(expected.flatten().tolist(), abs=1e-4)


def test_a_damaged_file_of_weights_is_named(empty_cache: Path) -> None:
    empty_cache.mkdir()
    (empty_cache / ALEXNET).write_bytes(b"no weights")
    with pytest.raises(UserError, match=f"{ALEXNET} holds no weights of AlexNet"):
        load_lpips(empty_cache / ALEXNET, CPU)


def test_ms_ssim_of_large_images_is_that_of_torchmetrics() -> None:
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as ms_ssim

    targets = random_images(176, 1)
    outputs = (targets + 0.2 * random_images(176, 2)).clamp(-1, 1)
    found = compare(outputs, targets, COLOR)
    for place, row in enumerate(found):
        one = slice(place, place + 1)
        expected = ms_ssim(outputs[one] / 2 + 0.5, targets[one] / 2 + 0.5, data_range=1.0)
        assert row["ms_ssim"] == pytest.approx(float(expected), abs=1e-4)
    assert "ms_ssim" not in compare(outputs[..., :175], targets[..., :175], COLOR)[0]
