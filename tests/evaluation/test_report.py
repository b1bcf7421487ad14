"""Comparing reports: only images that are the same have a difference."""

from pathlib import Path
from typing import Any

import pytest

from translate.evaluation.pairs import PairEvaluation
from translate.evaluation.report import Report, describe_images, paired_difference, print_reports


def report(l1: float, settings: dict[str, Any], *, is_reversed: bool = False) -> Report:
    evaluation = PairEvaluation("test", ["1.png", "2.png"], [{"l1": l1}, {"l1": l1}], None)
    measured_on = describe_images(settings, "test", is_reversed=is_reversed)
    return Report("run", 1, evaluation, Path("a.csv"), Path("a.json"), None, measured_on=measured_on)


def settings(**changed: Any) -> dict[str, Any]:
    data = {"root": "photos", "direction": "AtoB", "workers": 2, "augmentation": "none"}
    return {"image_size": 64, "data": data} | changed


def test_models_of_the_same_images_have_a_difference() -> None:
    here = settings(data={"root": str(Path("photos").resolve()), "direction": "BtoA", "workers": 0})
    found = paired_difference([report(0.25, settings()), report(0.5, here, is_reversed=True)])
    assert found == {"l1": (0.25, (0.25, 0.25))}


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
