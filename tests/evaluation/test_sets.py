"""How distances are told."""

from translate.evaluation.sets import distance_text, explain_distances

ROW = {"feature_distance": 20.0, "kernel_distance": 5.0}


def test_a_distance_is_told_with_half_of_its_95_percent_interval() -> None:
    row = ROW | {"kernel_distance_error": 0.5}
    assert distance_text(row, "kernel_distance") == "5 ± 0.98"  # 1.96 standard errors
    assert explain_distances({"model": row}, {})[0] == "± is half of a 95 % interval, told of 10 images and more."
    assert not any("±" in sentence for sentence in explain_distances({"model": ROW}, {}))


def test_distances_of_unequal_sets_are_said_not_to_be_comparable() -> None:
    sets = {"model": ROW, "other real images": ROW}
    (said,) = explain_distances(sets, {"model": 21, "other real images": 50, "real": 50})
    assert said == (
        "The sets are of unequal size, so do not compare their feature_distance: feature_distance falls as sets grow; "
        "where they disagree on few images, believe kernel_distance."
    )
    (said,) = explain_distances(sets, {"model": 50, "other real images": 50, "real": 21})
    assert said.startswith("feature_distance falls as sets grow")
    assert explain_distances({"model": {"kernel_distance": 1.0}}, {}) == []
