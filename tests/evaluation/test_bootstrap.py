"""Intervals of means by resampling images."""

import numpy as np
import pytest

from translate.evaluation.bootstrap import FEWEST, Scored, draw_counts, enough_images, interval, resampled_means


def test_every_resample_draws_as_many_images_as_there_are() -> None:
    counts = draw_counts(7)
    assert counts.shape == (1000, 7)
    assert (counts.sum(1) == 7).all()
    assert counts.mean(0) == pytest.approx(np.ones(7), abs=0.15)
    np.testing.assert_array_equal(counts, draw_counts(7))


def test_the_interval_is_that_of_the_standard_error() -> None:
    values = np.random.default_rng(1).normal(3, 2, 400)
    means = resampled_means([Scored(str(place), "", {"l1": value}) for place, value in enumerate(values)])["l1"]
    low, high = interval(means)
    error = values.std() / 400**0.5
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.03)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.03)


def test_a_constant_has_an_interval_of_no_width() -> None:
    rows = [Scored(name, "", {"l1": 0.25}) for name in "abc"]
    assert interval(resampled_means(rows)["l1"]) == (0.25, 0.25)


def test_rows_of_one_image_are_drawn_together_and_groups_count_alike() -> None:
    # Whichever images are drawn, each brings 1 in the one group and 3 in the other: 2 on the mean over groups.
    rows = [Scored(name, group, {"l1": value}) for name in "abcd" for group, value in (("red", 1.0), ("blue", 3.0))]
    np.testing.assert_allclose(resampled_means(rows)["l1"], 2)


def test_a_metric_of_some_images_is_averaged_over_these() -> None:
    rows = [Scored("a", "", {"l1": 0.5}), Scored("b", "", {"l1": 0.5, "twin": 4.0}), Scored("c", "", {"twin": 4.0})]
    means = resampled_means(rows)
    drawn = draw_counts(3)
    np.testing.assert_allclose(means["l1"][drawn[:, :2].sum(1) > 0], 0.5)
    np.testing.assert_allclose(means["twin"][drawn[:, 1:].sum(1) > 0], 4)


def test_a_resample_without_an_image_that_has_the_metric_is_left_out_of_the_interval() -> None:
    rows = [Scored("a", "", {"l1": 0.5}), Scored("b", "", {})]
    assert interval(resampled_means(rows)["l1"]) == (0.5, 0.5)


def test_an_interval_is_told_of_enough_different_images() -> None:
    rows = [Scored(f"{place}", "", {"l1": 0.5} | ({"twin": 1.0} if place else {})) for place in range(10)]
    assert enough_images(rows) == {"l1"}
    assert enough_images([Scored("a", str(place), {"l1": 0.5}) for place in range(10)]) == set()  # one, ten times


@pytest.mark.parametrize(("count", "share"), [(3, 0.75), (FEWEST, 0.90)])
def test_the_interval_of_few_normal_values_holds_their_mean_less_often_than_it_says(count: int, share: float) -> None:
    values = np.random.default_rng(0).normal(0, 1, (2000, count))
    low, high = np.percentile(values @ draw_counts(count).T / count, [2.5, 97.5], axis=1)
    assert np.mean((low < 0) & (high > 0)) == pytest.approx(share, abs=0.03)
