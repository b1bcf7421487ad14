"""Two sets of labelled images in turn, with the labels of both in one vector."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from translate.build import LOCAL, build
from translate.data.augmentation import DomainAugmentation
from translate.data.joint import JointData
from translate.data.labeled import LabeledData
from translate.errors import UserError

Draw = Callable[..., np.ndarray]


def labeled(root: Path, **options: Any) -> LabeledData:
    settings = {"resize": "none", "horizontal_flip": 0.0}
    fractions = {"validation_fraction": 0.0, "test_fraction": 0.0}
    return LabeledData(root=str(root), augmentation=DomainAugmentation(**settings), **(fractions | options))


def joint(root: Path, first: dict[str, Any] | None = None, second: dict[str, Any] | None = None) -> JointData:
    return JointData(
        first=labeled(root / "objects", **(first or {})), second=labeled(root / "faces" / "t.csv", **(second or {}))
    )


def draw_sets(draw: Draw, root: Path, *, objects: Any = (12, 12, 3), faces: Any = (12, 12, 3)) -> dict[str, np.ndarray]:
    """Five objects of two domains, and two faces with attributes."""
    images = {name: draw(root / "objects" / f"{name}.png", objects) for name in ("a/0", "a/1", "a/2", "b/0", "b/1")}
    images |= {name: draw(root / "faces" / f"{name}.png", faces) for name in ("f0", "f1")}
    (root / "faces" / "t.csv").write_text("image,Young,Male\nf0.png,1,1\nf1.png,0,0\n")
    return images


# The order of a vector: a, b, Young, Male, objects known, faces known.
A, B = (1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 1, 0)
YOUNG_MAN, OLD_WOMAN = (0, 0, 1, 1, 0, 1), (0, 0, 0, 0, 0, 1)


def test_both_sets_take_turns(draw: Draw, tmp_path: Path) -> None:
    images = draw_sets(draw, tmp_path)
    data = joint(tmp_path)
    data.inspect(12).raise_problems()
    items = data.items("train", 12, seed=0, augment=True)
    assert len(items) == 10
    expected = ["a/0", "f0", "a/1", "f1", "a/2", "f0", "b/0", "f1", "b/1", "f0"]
    vectors = {"a": A, "b": B, "f0": YOUNG_MAN, "f1": OLD_WOMAN}
    for index, name in enumerate(expected):
        np.testing.assert_array_equal(items[0, index].images, images[name].transpose(2, 0, 1))
        assert tuple(items[0, index].labels.tolist()) == vectors[name.split("/")[0]]


def test_targets_stay_within_their_own_set(draw: Draw, tmp_path: Path) -> None:
    draw_sets(draw, tmp_path)
    data = joint(tmp_path)
    data.inspect(12).raise_problems()
    items = data.items("train", 12, seed=0, augment=True)
    drawn = [Counter(tuple(items[epoch, start].targets.tolist()) for epoch in range(200)) for start in (0, 1)]
    assert [set(counter) for counter in drawn] == [{A, B}, {YOUNG_MAN, OLD_WOMAN}]
    np.testing.assert_allclose([drawn[0][A] / 200, drawn[1][OLD_WOMAN] / 200], [3 / 5, 1 / 2], atol=0.12)


def test_splits_counts_and_domains_are_those_of_both(draw: Draw, tmp_path: Path) -> None:
    draw_sets(draw, tmp_path)
    data = joint(tmp_path)
    inspection = data.inspect(12)
    assert inspection.counts == {
        "train images": 7,
        "validation images": 0,
        "test images": 0,
        "train a": 3,
        "train b": 2,
        "train Young": 1,
        "train Male": 1,
    }
    assert dict(inspection.sizes) == {(12, 12): 7}
    assert [labels.kind for labels in data.domains.sets] == ["one_hot", "attributes"]
    vectors = [A, A, A, B, B, YOUNG_MAN, OLD_WOMAN]
    assert [member.vector for member in data.splits["train"]] == vectors
    assert data.source == data.target == data.sets[0].source


def test_a_set_without_images_in_a_split_is_left_out_of_it(draw: Draw, tmp_path: Path) -> None:
    draw_sets(draw, tmp_path)
    data = joint(tmp_path, {"test_fraction": 0.4})
    data.inspect(12).raise_problems()
    items = data.items("test", 12, seed=0, augment=False)
    assert {tuple(items[0, index].labels.tolist()) for index in range(len(items))} == {A}
    assert len(data.items("validation", 12, seed=0, augment=False)) == 0


def test_twins_are_known_to_the_set_that_has_them(draw: Draw, tmp_path: Path) -> None:
    draw_sets(draw, tmp_path)
    data = joint(tmp_path, {"aligned": True})
    data.inspect(12).raise_problems()
    twin = data.twin("train", "1", "b")
    assert twin is not None
    assert twin.path == tmp_path / "objects" / "b" / "1.png"
    assert data.twin("train", "f0", "Young") is None


def test_the_preview_shows_the_domains_of_both(draw: Draw, tmp_path: Path) -> None:
    images = draw_sets(draw, tmp_path)
    data = joint(tmp_path)
    data.inspect(12).raise_problems()
    columns = data.preview(data.items("train", 12, seed=0, augment=False), 2)
    assert list(columns) == ["a", "b", "Young", "Male"]
    face = torch.from_numpy(images["f0"].transpose(2, 0, 1)).float() / 127.5 - 1
    torch.testing.assert_close(columns["Male"], torch.stack([face, face]))


def test_the_fingerprint_follows_both_sets(draw: Draw, tmp_path: Path) -> None:
    draw_sets(draw, tmp_path)

    def fingerprint(**options: Any) -> str:
        data = joint(tmp_path, **options)
        data.inspect(12).raise_problems()
        return data.fingerprint()

    plain = fingerprint()
    assert fingerprint() == plain
    others = [
        fingerprint(first={"test_fraction": 0.3}),
        fingerprint(second={"domains": ["Male"]}),
        fingerprint(second={"domains": ["Male", "Young"]}),
    ]
    assert len({plain, *others}) == 4


def test_each_set_has_its_own_augmentation(draw: Draw, tmp_path: Path) -> None:
    images = draw_sets(draw, tmp_path, faces=(20, 20, 3))
    data = joint(tmp_path)
    data.sets[1].augmentation = DomainAugmentation(center_crop=14, resize="none")
    data.inspect(12).raise_problems()
    items = data.items("train", 12, seed=0, augment=False, cache_gib=1.0)
    for _ in range(2):
        np.testing.assert_array_equal(items[0, 0].images, images["a/0"].transpose(2, 0, 1))
        np.testing.assert_array_equal(items[0, 1].images, images["f0"][4:16, 4:16].transpose(2, 0, 1))
    for (loader, members), shape in zip(items.parts, [(12, 12, 3), (14, 14, 3)], strict=True):
        assert loader.prepare(members[0].picture.read()).shape == shape


# --- what does not go together ---


def test_a_name_in_both_sets(draw: Draw, tmp_path: Path) -> None:
    draw_sets(draw, tmp_path)
    (tmp_path / "faces" / "t.csv").write_text("image,Young,a\nf0.png,1,1\nf1.png,0,0\n")
    with pytest.raises(UserError, match=r"both data.first.root=.*objects and data.second.root=.*t.csv know a: rename"):
        joint(tmp_path).inspect(12)
    joint(tmp_path, second={"domains": ["Young"]}).inspect(12).raise_problems()


def test_grey_images_with_coloured_ones(draw: Draw, tmp_path: Path) -> None:
    draw_sets(draw, tmp_path, faces=(12, 12, 1))
    (problem,) = joint(tmp_path).inspect(12).problems
    table = tmp_path / "faces" / "t.csv"
    assert problem.startswith(f"{table}: the images have 1 channels, but those in {tmp_path / 'objects'} have 3: ")
    assert problem.endswith("set data.second.channels=3")
    joint(tmp_path, second={"channels": 3}).inspect(12).raise_problems()


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        ({"second": {"value_range": [0, 100]}}, "values from 0 to 100, .* from 0 to 255: set data.second.value_range="),
        ({"first": {"channels": 1}}, "set data.first.channels=3"),
    ],
)
def test_images_that_differ(draw: Draw, tmp_path: Path, options: dict[str, Any], remedy: str) -> None:
    draw_sets(draw, tmp_path)
    with pytest.raises(UserError, match=remedy):
        joint(tmp_path, **options).inspect(12).raise_problems()


def test_pixel_types_that_differ(draw: Draw, noise: Draw, tmp_path: Path) -> None:
    draw_sets(draw, tmp_path)
    for name in ("f0", "f1"):
        draw(tmp_path / "faces" / f"{name}.png", image=noise((12, 12, 3), "uint16"))
    with pytest.raises(UserError, match=r"uint16 pixels, but those in .* have uint8: convert one of them"):
        joint(tmp_path).inspect(12).raise_problems()


def test_problems_of_both_sets_are_told_with_their_settings(draw: Draw, tmp_path: Path) -> None:
    draw_sets(draw, tmp_path)
    (tmp_path / "objects" / "a" / "broken.png").write_bytes(b"")
    (tmp_path / "faces" / "t.csv").write_text("image,Young,Male\nf0.png,1,1\nf1.png,0,1\n")
    first, second = joint(tmp_path).inspect(12).problems
    assert first == f"{tmp_path / 'objects' / 'a' / 'broken.png'}: is empty"
    assert "every training image shows 'Male'" in second
    assert second.endswith("leave it out of data.second.domains")
    with pytest.raises(UserError, match=r"data.second.domains names 'Mael'"):
        joint(tmp_path, second={"domains": ["Mael"]}).inspect(12)


def test_it_is_built_from_nested_nodes(draw: Draw, tmp_path: Path) -> None:
    draw_sets(draw, tmp_path)

    def node(root: Path) -> dict[str, Any]:
        augmentation = {"_target_": "translate.data.augmentation.DomainAugmentation", "center_crop": 10}
        return {"_target_": "translate.data.labeled.LabeledData", "root": str(root), "augmentation": augmentation}

    data = build(
        {
            "_target_": "translate.data.joint.JointData",
            "first": node(tmp_path / "objects"),
            "second": node(tmp_path / "faces" / "t.csv"),
            "workers": 3,
            "cache_gib": 0.5,
        },
        LOCAL,
    )
    data.inspect(12).raise_problems()
    assert (data.workers, data.cache_gib, data.domains.width) == (3, 0.5, 6)
