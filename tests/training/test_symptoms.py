"""Every symptom on a case made for it, and on its healthy counterpart."""

import pytest

from translate.training.symptoms import (
    SYMPTOMS,
    History,
    checkered,
    collapsed,
    discriminator_won,
    flat,
    gradient_vanished,
    inverted,
    memorised,
    shifted,
    starved,
    steps_too_large,
    unchanged,
    unrelated_answers,
    unrelated_labels,
)


def rows(*signs, losses=(), data_wait=0.0):
    """Lines of metrics.jsonl every 10 steps."""
    losses = [*losses, *[{}] * (len(signs) - len(losses))]
    return [
        {
            "step": 10 * place,
            "signs": sign,
            "losses": loss,
            "data_wait": data_wait,
            "images": 40 * place,
            "images_per_second": 2,
        }
        for place, (sign, loss) in enumerate(zip(signs, losses, strict=True), 1)
    ]


def seen(find, *signs, total_steps=100, measured=(), **others):
    measured = [{"step": 10 * place, "metrics": {"l1": value}} for place, value in enumerate(measured, 1)]
    return find(History(rows(*signs, **others), measured, total_steps))


def test_steps_are_too_large_by_the_geometric_mean_of_two_readings():
    assert seen(steps_too_large, {"generator_update": 0.5}) is None
    found = seen(steps_too_large, {"generator_update": 0.9}, {"generator_update": 0.1})
    assert found == {"update": 0.3}
    assert seen(steps_too_large, {"generator_update": 0.01}, {"generator_update": 0.02}) is None


def test_a_discriminator_has_won_only_while_the_generator_no_longer_falls():
    signs = {"discriminator_real_right": 1.0, "discriminator_fake_right": 0.995}
    flat_losses = [{"discriminator_real": 0.1, "generator_l1": 30.0}, {"discriminator_real": 0.0, "generator_l1": 29.0}]
    assert seen(discriminator_won, signs, signs, losses=flat_losses) == {"right": 0.995, "before": 30.0, "now": 29.0}
    assert seen(discriminator_won, signs, signs, losses=[{"generator_l1": 30.0}, {"generator_l1": 20.0}]) is None
    even = {"discriminator_real_right": 0.7, "discriminator_fake_right": 1.0}
    assert seen(discriminator_won, even, even, losses=flat_losses) is None
    assert seen(discriminator_won, {}, {}, losses=flat_losses) is None, "objectives without a middle tell nothing"


def test_a_gradient_has_vanished_beside_its_own_beginning():
    begun = [{"generator_gradient": value} for value in (40.0, 50.0, 60.0)]
    assert seen(gradient_vanished, *begun, {"generator_gradient": 0.01}) == {"part": 0.0002}
    assert seen(gradient_vanished, *begun, {"generator_gradient": 1.0}) is None


def test_lines_without_a_turn_of_the_generator_are_passed_over():
    gone = {"generator_gradient": 0.01}
    begun = [{"generator_gradient": value} for value in (40.0, 50.0, 60.0)]
    assert seen(gradient_vanished, {}, {}, {}, *begun, {}, gone) == {"part": 0.0002}
    assert seen(gradient_vanished, {}, {}, {}, *begun[:2], gone) is None, "of three readings there is no fourth"
    step = {"generator_update": 0.3}
    assert seen(steps_too_large, step, {}, step) == {"update": 0.3}
    signs = {"discriminator_real_right": 1.0, "discriminator_fake_right": 1.0}
    played = {"generator_l1": 30.0}
    assert seen(discriminator_won, signs, signs, losses=[{}, played]) is None
    assert seen(discriminator_won, signs, signs, signs, losses=[played, {}, {}]) is None
    assert seen(discriminator_won, signs, signs, signs, losses=[played, {}, played])["before"] == 30
    grid = {"forward_checkerboard": 8.0}
    assert seen(checkered, {}, {}, {}, {}, grid) is None


def test_flat_outputs_are_not_also_called_a_collapse():
    assert seen(flat, {"forward_contrast": 0.03}) == {"contrast": 0.03}
    assert seen(flat, {"forward_contrast": 0.3}) is None
    assert seen(collapsed, {"forward_contrast": 0.03, "forward_diversity": 0.0}) is None
    assert seen(collapsed, {"forward_contrast": 0.9, "forward_diversity": 0.02}) == {"diversity": 0.02}
    assert seen(collapsed, {"forward_contrast": 0.9, "forward_diversity": 0.5}) is None


def test_unchanged_outputs_are_allowed_for_half_of_a_run_without_answers():
    paired = {"forward_change": 0.05, "forward_relatedness": 0.5}
    assert seen(unchanged, paired) == {"change": 0.05}
    assert seen(unchanged, {"forward_change": 0.01}) is None
    assert seen(unchanged, {"forward_change": 0.01}, total_steps=12) == {"change": 0.01}
    assert seen(unchanged, {"forward_change": 0.05}, total_steps=12) is None


SIDES = {"forward_shift": 0.1, "forward_shift_noise": 0.02, "forward_shift_of_source": 0.1}


def test_colours_are_inverted_where_the_data_do_not_ask_for_it():
    signs = {"forward_brightness_agreement": 0.9, "forward_colour_agreement": -0.8}
    assert seen(inverted, SIDES | signs) == {"correlation": -0.8}
    asked_for = SIDES | signs | {"forward_shift_of_source": 0.9}
    assert seen(inverted, asked_for) is None
    of_other_channels = {name: value for name, value in (SIDES | signs).items() if "shift_of_source" not in name}
    assert seen(inverted, of_other_channels) is None
    assert seen(inverted, SIDES | {"forward_brightness_agreement": 0.9, "forward_colour_agreement": 0.4}) is None
    assert seen(inverted, {"forward_brightness_agreement": -0.9, "forward_relatedness": 0.5}) == {"correlation": -0.9}


def test_colours_are_shifted_beyond_chance_and_beyond_where_the_input_was():
    assert seen(shifted, SIDES | {"forward_shift": 0.6}) == {"shift": 0.54}
    assert seen(shifted, SIDES | {"forward_shift": 0.2}) is None
    assert seen(shifted, SIDES | {"forward_shift": 0.6, "forward_shift_noise": 0.15}) is None
    assert seen(shifted, SIDES | {"forward_shift": 0.6, "forward_shift_of_source": 0.7}) is None


def test_a_checkerboard_is_three_times_that_of_real_images_and_stays():
    assert seen(checkered, {"forward_checkerboard": 9.0}, {}, {"forward_checkerboard": 8.0}) == {"times": 8.0}
    assert seen(checkered, {"forward_checkerboard": 20.0}, {}, {"forward_checkerboard": 8.0}) is None
    assert seen(checkered, {"forward_checkerboard": 1.5}, {}, {"forward_checkerboard": 1.5}) is None


def test_memorised_images_are_much_better_than_those_that_get_worse():
    signs = {"forward_l1": 0.05}
    assert seen(memorised, signs, measured=[0.2, 0.15, 0.17, 0.18, 0.19]) == {"best": 0.15, "now": 0.19, "train": 0.05}
    assert seen(memorised, signs, measured=[0.2, 0.15, 0.17, 0.14, 0.19]) is None, "it was at its best a moment ago"
    assert seen(memorised, {"forward_l1": 0.15}, measured=[0.2, 0.15, 0.17, 0.18, 0.19]) is None


def test_answers_are_unrelated_once_outputs_are_as_near_as_the_mean():
    signs = {"forward_relatedness": 0.01, "forward_l1": 0.1, "forward_l1_of_mean": 0.1}
    assert seen(unrelated_answers, signs) == {"correlation": 0.01}
    assert seen(collapsed, signs | {"forward_diversity": 0.01, "forward_contrast": 1.0}) is None
    assert seen(unrelated_answers, signs | {"forward_l1": 0.16}) is None, "it has not learned anything yet"
    assert seen(unrelated_answers, signs | {"forward_relatedness": 0.3}) is None


def test_labels_are_unrelated_where_those_of_other_images_would_do():
    signs = {"discriminator_domain_mismatched": 1.39}
    assert seen(unrelated_labels, signs, losses=[{"discriminator_domain": 1.38}]) == {"part": 0.9928}
    assert seen(unrelated_labels, signs, losses=[{"discriminator_domain": 0.9}]) is None


def test_data_starve_a_run_that_waits_for_most_of_its_time():
    # 10 steps of 4 images at 2 images per second: 20 seconds per line, of which 14 were waited for.
    assert seen(starved, {}, {}, data_wait=0.7) is None, "28 seconds"
    assert seen(starved, {}, {}, {}, data_wait=0.7) == {"share": 0.7, "waited": 42}
    assert seen(starved, {}, {}, {}, data_wait=0.3) is None


@pytest.mark.parametrize("symptom", SYMPTOMS, ids=lambda symptom: symptom.name)
def test_a_run_without_signs_is_called_nothing(symptom):
    assert symptom.find(History([{"step": 1, "losses": {"a": 1.0}, "data_wait": 0.0}], [], 10)) is None
