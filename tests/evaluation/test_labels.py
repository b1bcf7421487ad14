"""Scores of label maps, by hand and as torchmetrics computes them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from translate.errors import UserError
from translate.evaluation.labels import choose_palette, count_classes, decode, label_scores, read_palette
from translate.pixels import Side

COLOR = Side(3, "uint8", 0, 255, labels=True)
RED, GREEN, BLUE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
PALETTE = torch.tensor([RED, GREEN, BLUE])


def image(rows: list[list[int]]) -> torch.Tensor:
    """A label map in the palette's colours, (1, 3, H, W)."""
    return PALETTE[torch.tensor(rows)].permute(2, 0, 1)[None]


def test_scores_by_hand() -> None:
    true, given = image([[0, 0, 0], [0, 1, 1]]), image([[0, 0, 0], [1, 1, 0]])
    counts = count_classes(given, true, PALETTE)
    np.testing.assert_array_equal(counts, [[[3, 1, 0], [4, 2, 0], [4, 2, 0]]])
    scores = label_scores(counts)
    assert scores["pixel_accuracy"] == pytest.approx(4 / 6)
    assert scores["class_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)  # no pixel is blue
    assert scores["mean_iou"] == pytest.approx((3 / 5 + 1 / 3) / 2)


def test_scores_are_those_of_torchmetrics() -> None:
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

    generator = torch.Generator().manual_seed(0)
    classes = 6
    palette = torch.rand(classes, 3, generator=generator)
    true, given = (torch.randint(0, classes, (3, 9, 9), generator=generator) for _ in range(2))
    given = torch.where(torch.rand(given.shape, generator=generator) < 0.5, true, given)
    counts = count_classes(palette[given].permute(0, 3, 1, 2), palette[true].permute(0, 3, 1, 2), palette)
    scores = label_scores(counts.sum(0))
    expected = {
        "pixel_accuracy": multiclass_accuracy(given, true, classes, average="micro"),
        "class_accuracy": multiclass_accuracy(given, true, classes, average="macro"),
        "mean_iou": multiclass_jaccard_index(given, true, classes),
    }
    for name, value in expected.items():
        assert scores[name] == pytest.approx(float(value), abs=1e-4)


def test_pixels_are_of_the_nearest_colour() -> None:
    blurred = (image([[0, 1, 2]]) * 0.7 + 0.1).clamp(0, 1)
    assert decode(blurred, PALETTE).tolist() == [[[0, 1, 2]]]


def test_neighbouring_classes_of_16_bits_are_told_apart() -> None:
    palette = (torch.arange(20, dtype=torch.float64) + 32758).div(65535).float()[:, None].expand(-1, 3)
    assert decode(palette.T.view(1, 3, 4, 5), palette).flatten().tolist() == list(range(20))


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_colours_are_counted_over_all_images(channels: int) -> None:
    levels = torch.randint(0, 2, (4, channels, 5, 7), generator=torch.Generator().manual_seed(0)) * 65534 + 1
    images = levels.float() / 65535
    images[:, -1] = images[:, -1].mul(1 / 65535)  # two neighbours of 16 bits
    colors, counts = torch.unique(images.transpose(0, 1).flatten(1).T, dim=0, return_counts=True)
    palette = choose_palette(images, None)
    assert palette is not None
    assert sorted(palette.tolist()) == sorted(colors.tolist())
    wanted = {tuple(color): int(count) for color, count in zip(colors.tolist(), counts, strict=True)}
    found = [wanted[tuple(color)] for color in palette.tolist()]
    assert found == sorted(wanted.values(), reverse=True)


def test_the_palette_is_every_colour_with_the_commonest_first() -> None:
    palette = choose_palette([image([[1, 1, 1]])[0], image([[2, 2, 0]])[0]], None)
    assert palette is not None
    assert [tuple(color) for color in palette.tolist()] == [GREEN, BLUE, RED]


def test_blurred_colours_are_no_palette_until_their_number_is_given() -> None:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 3, (20, 40), generator=generator)
    clear = PALETTE[rows]
    noisy = (clear + (torch.rand(clear.shape, generator=generator) < 0.7) * 0.06 * torch.randn(clear.shape)).clamp(0, 1)
    files = [noisy.permute(2, 0, 1)]
    assert choose_palette(files, None) is None
    found = choose_palette(files, 3)
    assert found is not None
    assert {tuple(color.round().tolist()) for color in found} == {RED, GREEN, BLUE}


def test_a_palette_can_be_a_file(tmp_path: Path) -> None:
    path = tmp_path / "palette.txt"
    path.write_text("255, 0, 0\n\n0 51 255\n")
    torch.testing.assert_close(read_palette(path, COLOR), torch.tensor([[1, 0, 0], [0, 0.2, 1]]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("red\nblue\n", "cannot be read as colours"),
        ("1 2 3\n4 5\n", "cannot be read as colours"),
        ("1 2\n4 5\n", "must hold at least two lines of 3 pixel values"),
        ("1 2 3\n", "must hold at least two lines of 3 pixel values"),
        ("", "must hold at least two lines of 3 pixel values"),
    ],
)
def test_a_file_that_is_no_palette_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "palette.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_palette(tmp_path / "palette.txt", COLOR)


def test_photographs_have_no_palette_however_many_colours_are_asked_for() -> None:
    """Every colour of a cube of 16 steps of 17 levels is equally common: near each chosen one lies none but itself."""
    steps = torch.arange(16) / 15
    photograph = torch.cartesian_prod(steps, steps, steps).T.reshape(3, 64, 64)
    for wanted in (2, 500):
        with pytest.raises(
            UserError, match=rf"--palette {wanted}: the true answers are no label maps .* leave --palette out"
        ):
            choose_palette([photograph], wanted)
    mixed = torch.cat([photograph, torch.zeros(3, 64, 28)], 2)  # 1792 black pixels beside 4096 of the cube
    palette = choose_palette([mixed], 2)
    assert palette is not None
    assert palette[0].tolist() == [0, 0, 0]
