"""Comparing reports: only images that are the same have a difference."""

from pathlib import Path
from typing import Any

import pytest

from translate.evaluation.pairs import PairEvaluation
from translate.evaluation.report import (
    Report,
    describe_images,
    name_other_data,
    paired_difference,
    print_reports,
)


def report(l1: float, settings: dict[str, Any], *, is_reversed: bool = False, images: int = 10) -> Report:
    names = [f"{place}.png" for place in range(images)]
    evaluation = PairEvaluation("test", names, [{"l1": l1} for _ in names], None)
    measured_on = describe_images(settings, "test", is_reversed=is_reversed)
    return Report("run", 1, evaluation, Path("a.csv"), Path("a.json"), None, measured_on=measured_on)


def settings(**changed: Any) -> dict[str, Any]:
    data = {"root": "photos", "direction": "AtoB", "workers": 2, "augmentation": "none"}
    return {"image_size": 64, "data": data} | changed


def test_models_of_the_same_images_have_a_difference() -> None:
    here = settings(data={"root": str(Path("photos").resolve()), "direction": "BtoA", "workers": 0})
    found = paired_difference([report(0.25, settings()), report(0.5, here, is_reversed=True)])
    assert found == {"l1": (0.25, (0.25, 0.25))}


@pytest.mark.parametrize(("images", "said"), [(9, "too few images to tell"), (10, "the first is better")])
def test_few_images_tell_no_difference(images: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    reports = [report(l1, settings(), images=images) for l1 in (0.25, 0.5)]
    limits = (None, None) if images < 10 else (0.25, 0.25)
    assert paired_difference(reports) == {"l1": (0.25, limits)}
    assert reports[0].as_dict()["metrics"]["l1"]["low"] == (None if images < 10 else 0.25)
    print_reports(reports, as_json=False)
    out = capsys.readouterr().out
    assert said in out
    assert out.count("under 10 images") == (3 if images < 10 else 0)  # of each and of the difference


@pytest.mark.parametrize(
    ("other", "is_reversed", "differs"),
    [
        (settings(image_size=128), False, "image_size"),
        (settings(data={"root": "others"}), False, "data.root"),
        (settings(), True, "direction"),
    ],
)
def test_other_images_of_the_same_names_have_no_difference(
    other: dict[str, Any], is_reversed: bool, differs: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reports = [report(0.25, settings()), report(0.5, other, is_reversed=is_reversed)]
    assert paired_difference(reports) == {}
    print_reports(reports, as_json=False)
    assert f"not measured on the same images ({differs} differs)" in capsys.readouterr().out


@pytest.mark.parametrize(
    "own",
    [
        settings(),
        settings(data={"root": str(Path("photos").resolve()), "direction": "AtoB", "workers": 0}),
        settings(data={"root": "photos", "direction": "AtoB", "augmentation": "flips"}),
    ],
)
def test_the_data_of_the_training_has_no_name_of_its_own(own: dict[str, Any]) -> None:
    assert name_other_data(settings(), own) == ""


def test_other_data_is_named_by_its_folder_or_by_what_differs_and_each_is_unique() -> None:
    others = [
        settings(data={"root": "else/my faces"}),
        settings(data={"root": "other/my faces"}),
        settings(data={"root": "photos", "_target_": "translate.data.paired.PairedData"}),
        settings(image_size=128),
        settings(image_size=256),
    ]
    names = [name_other_data(settings(), other) for other in others]
    labels = [name.rpartition("-")[0] for name in names]
    assert labels == ["my_faces", "my_faces", "photos", "image_size", "image_size"]
    assert len(set(names)) == 5
    assert name_other_data({"image_size": 64, "data": {"augmentation": {}}}, settings()) == ""  # one that names none


def test_weights_without_data_of_their_own_have_other_data() -> None:
    named = settings(data={"root": "faces", "_target_": "translate.data.paired.PairedData"})
    assert name_other_data({"image_size": 64, "data": {}}, named).startswith("faces-")


def test_letters_are_the_same_wherever_they_are_drawn() -> None:
    letters = [{"_target_": "translate.data.glyph_data.GlyphData", "root": root, "style_a": "regular"} for root in "ab"]
    one, other = (settings(data=data) for data in letters)
    assert name_other_data(one, other) == ""
    assert name_other_data(one, settings(data=letters[1] | {"style_a": "bold"})).startswith("style_a-")
