"""What discriminators see: each change checked by hand, gradients through it, and a strength that follows r_t."""

import functools
import json
import math

import pytest
import torch
from safetensors.torch import load_file

from translate.batch import Labeled, Pair, Unpaired
from translate.build import LOCAL
from translate.config import choices, compose_settings, to_settings
from translate.domains import Domains, LabelSet
from translate.errors import UserError
from translate.methods.augmentation import (
    AdaptiveAugmentation,
    DiscriminatorAugmentation,
    brighten,
    contrast,
    cover,
    saturate,
    shift,
    warp,
)
from translate.methods.step import Step
from translate.model import assemble, read_model
from translate.objectives.adversarial import hinge, lsgan, nonsaturating
from translate.pixels import Side
from translate.training.checkpoint import read_state

EVERY = {"color": True, "translation": True, "cutout": True, "geometry": True}
NONE = dict.fromkeys(EVERY, False)


def numbers(*shape):
    """1, 2, 3, ... in this shape: no two pixels are equal."""
    return torch.arange(1.0, math.prod(shape) + 1).view(shape)


def still(count=1):
    return {"side": torch.ones(count), "scale": torch.ones(count), "angle": torch.zeros(count)}


def test_brightness_adds_a_constant_to_each_image():
    changed = brighten(numbers(2, 1, 1, 2), torch.tensor([0.5, -1.0]))
    assert changed.tolist() == [[[[1.5, 2.5]]], [[[2.0, 3.0]]]]


def test_contrast_is_about_the_mean_of_each_image():
    changed = contrast(torch.tensor([[[[0.0, 4.0]]], [[[1.0, 3.0]]]]), torch.tensor([0.5, 2.0]))
    assert changed.tolist() == [[[[1.0, 3.0]]], [[[0.0, 4.0]]]]


def test_saturation_is_about_the_grey_of_each_pixel_and_leaves_grey_alone():
    color = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1)  # its grey is 3
    assert saturate(color, torch.tensor([2.0])).flatten().tolist() == [-1.0, 1.0, 9.0]
    assert saturate(color, torch.tensor([0.0])).flatten().tolist() == [3.0, 3.0, 3.0]
    for grey in (numbers(1, 1, 2, 2), numbers(1, 1, 2, 2).repeat(1, 4, 1, 1)):
        assert torch.equal(saturate(grey, torch.tensor([1.7])), grey)


def test_translation_moves_whole_pixels_and_fills_with_zero():
    image = numbers(1, 1, 3, 3).repeat(2, 2, 1, 1)
    moved = shift(image, down=torch.tensor([1, 0]), right=torch.tensor([-1, 2]))
    for channel in (0, 1):
        assert moved[0, channel].tolist() == [[0, 0, 0], [2, 3, 0], [5, 6, 0]]
        assert moved[1, channel].tolist() == [[0, 0, 1], [0, 0, 4], [0, 0, 7]]


def test_cutout_covers_a_rectangle_as_far_as_it_lies_inside():
    ones = torch.ones(2, 3, 4, 6)
    covered = cover(
        ones, center=(torch.tensor([2, 0]), torch.tensor([3, 6])), extent=(torch.tensor([2, 2]), torch.tensor([3, 3]))
    )
    assert covered[0, 1].tolist() == [[1] * 6, [1, 1, 0, 0, 0, 1], [1, 1, 0, 0, 0, 1], [1] * 6]
    assert covered[1, 1].tolist() == [[1, 1, 1, 1, 1, 0], *[[1] * 6] * 3]


@pytest.mark.parametrize("shape", [(1, 1, 3, 3), (1, 5, 2, 4)])
def test_geometry_mirrors_turns_and_enlarges_about_the_centre(shape):
    image = numbers(*shape)
    mirrored = warp(image, **still() | {"side": torch.tensor([-1.0])})
    torch.testing.assert_close(mirrored, image.flip(3))
    half = warp(image, **still() | {"angle": torch.tensor([180.0])})
    torch.testing.assert_close(half, image.flip(2, 3), atol=1e-4, rtol=0)
    # Twice as large, a pixel lies between those a quarter of a pixel around its place.
    larger = warp(torch.tensor([[[[0.0, 4.0, 8.0, 12.0]]]]), **still() | {"scale": torch.tensor([2.0])})
    torch.testing.assert_close(larger, torch.tensor([[[[3.0, 5.0, 7.0, 9.0]]]]))


def test_turning_is_counter_clockwise_and_mirroring_comes_before_it():
    image = numbers(1, 2, 3, 3)
    quarter = still() | {"angle": torch.tensor([90.0])}
    torch.testing.assert_close(warp(image, **quarter), image.rot90(1, (2, 3)), atol=1e-4, rtol=0)
    both = warp(image, **quarter | {"side": torch.tensor([-1.0])})
    torch.testing.assert_close(both, image.flip(3).rot90(1, (2, 3)), atol=1e-4, rtol=0)


def test_a_turn_keeps_the_proportions_of_images_that_are_not_square():
    image = torch.zeros(1, 1, 5, 9)
    image[..., 2, 4:7] = 1.0  # a line of 3 pixels from the centre to the right
    turned = warp(image, **still() | {"angle": torch.tensor([90.0])})
    expected = torch.zeros(1, 1, 5, 9)
    expected[..., :3, 4] = 1.0  # from the centre upwards
    torch.testing.assert_close(turned, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("group", EVERY)
@pytest.mark.parametrize("channels", [(1,), (2, 1)])
def test_gradients_flow_through_every_operation(group, channels):
    augmentation = DiscriminatorAugmentation(**NONE | {group: True})
    images = [torch.rand(2, count, 4, 6, dtype=torch.float64, requires_grad=True) for count in channels]

    def see(*images):
        torch.manual_seed(3)
        return augmentation(*images)

    assert not torch.equal(see(*images), torch.cat(images, 1))
    assert torch.autograd.gradcheck(see, images)


@pytest.mark.parametrize("group", ["translation", "cutout", "geometry"])
def test_source_and_output_move_together(group):
    torch.manual_seed(0)
    image = torch.rand(8, 2, 16, 16)
    seen = DiscriminatorAugmentation(**NONE | {group: True})(image, image)
    assert seen.shape == (8, 4, 16, 16)
    assert torch.equal(seen[:, :2], seen[:, 2:])
    changed = [not torch.equal(one, other) for one, other in zip(seen[:, :2], image, strict=True)]
    assert sum(changed) > 4
    assert len({one.sum().item() for one in seen}) == 8  # each image of a batch in its own way


def test_source_and_output_change_colour_apart_and_within_their_range():
    torch.manual_seed(0)
    black, colored = torch.zeros(400, 3, 1, 1), torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1).repeat(400, 1, 1, 1)
    seen = DiscriminatorAugmentation(**NONE | {"color": True})(black, colored)
    for first in (0, 3):  # the mean is moved by brightness alone: U(-0.5, 0.5)
        brightness = seen[:, first : first + 3].mean((1, 2, 3))
        assert -0.5 <= brightness.min() < -0.45
        assert 0.45 < brightness.max() <= 0.5
    distances = (seen[:, 5] - seen[:, 3]) / 2  # saturation U(0, 2) times contrast U(0.5, 1.5)
    assert 0 <= distances.min() < 0.1
    assert 2 < distances.max() <= 3
    correlation = torch.corrcoef(torch.stack([seen[:, 0], seen[:, 4]]).flatten(1))[0, 1]
    assert abs(correlation) < 0.15


def test_translation_reaches_an_eighth_and_cutout_covers_a_quarter_at_most():
    torch.manual_seed(0)
    ones = torch.ones(500, 1, 16, 16)
    moved = DiscriminatorAugmentation(**NONE | {"translation": True})(ones)
    uncovered = {(256 - int(one.sum())) for one in moved}
    assert uncovered == {256 - (16 - down) * (16 - right) for down in range(3) for right in range(3)}
    covered = 256 - DiscriminatorAugmentation(**NONE | {"cutout": True})(ones).sum((1, 2, 3))
    assert covered.max() == 64
    assert covered.min() >= 16


@pytest.mark.parametrize("probability", [0.0, 0.25, 1.0])
def test_the_probability_is_the_share_of_images_that_are_changed(probability):
    torch.manual_seed(0)
    augmentation = DiscriminatorAugmentation(**NONE | {"cutout": True}, probability=probability)
    share = (augmentation(torch.ones(2000, 1, 2, 2)).amin((1, 2, 3)) == 0).float().mean().item()
    assert share == pytest.approx(probability, abs=0.03)


def test_at_probability_0_nothing_changes_and_nothing_is_drawn():
    augmentation = DiscriminatorAugmentation(**EVERY, probability=0.0)
    before = torch.get_rng_state()
    images = [torch.linspace(-1, 1, 2 * 3 * 8 * 8).view(2, 3, 8, 8), torch.ones(2, 1, 8, 8)]
    assert torch.equal(augmentation(*images), torch.cat(images, 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_an_adaptive_probability_of_0_changes_no_bit():
    torch.manual_seed(0)
    images = [torch.rand(16, 3, 8, 8) * 2 - 1, torch.rand(16, 1, 8, 8) * 2 - 1]
    assert torch.equal(AdaptiveAugmentation(**EVERY)(*images), torch.cat(images, 1))


def adaptive(**settings):
    """One that moves by 2 images * 3 steps / 60 = 0.1 every 3 steps."""
    return AdaptiveAugmentation(**{"interval": 3, "images_to_full": 60, "max_probability": 0.25} | settings)


def test_the_probability_follows_the_sign_of_real_logits_as_in_the_paper():
    augmentation = adaptive()
    augmentation.attach(nonsaturating())
    sure, torn = torch.full((2, 1, 2, 2), 3.0), torch.tensor([1.0, 1.0, 1.0, -9.0]).view(1, 1, 2, 2).repeat(2, 1, 1, 1)
    seen = []
    for step, logits in enumerate([sure] * 9 + [torn] * 9 + [-sure] * 4):
        augmentation.watch(logits, Step(step))
        seen.append((round(augmentation.probability.item(), 4), round(augmentation.real_sign.item(), 4)))
    # Of the torn ones three in four are positive: r_t = 0.75 - 0.25 = 0.5, below the target of 0.6.
    ups = [(0.0, 0.0)] * 3 + [(0.1, 1.0)] * 3 + [(0.2, 1.0)] * 3
    downs = [(0.25, 1.0)] * 3 + [(0.15, 0.5)] * 3 + [(0.05, 0.5)] * 3 + [(0.0, 0.5)] * 3 + [(0.0, -1.0)]
    assert seen == ups + downs
    assert adaptive(target=0.4).signals().keys() == {"augmentation_probability", "real_sign"}


def test_several_discriminators_are_watched_as_one():
    augmentation = adaptive()
    for step in range(4):
        for logits in (torch.ones(2, 1), torch.tensor([[1.0], [-1.0]])):  # r_t 1 and 0
            augmentation.watch(logits, Step(step))
    assert augmentation.real_sign.item() == 0.5
    assert augmentation.probability.item() == 0.0


@pytest.mark.parametrize(("objective", "middle"), [(nonsaturating(), 0.0), (hinge(), 0.0), (lsgan(), 0.5)])
def test_the_sign_is_counted_from_the_middle_between_real_and_fake(objective, middle):
    for logit, expected in ((middle + 0.1, 1.0), (middle - 0.1, -1.0)):
        augmentation = adaptive()
        augmentation.attach(objective)
        for step in range(4):
            augmentation.watch(torch.full((2, 1), logit), Step(step))
        assert augmentation.real_sign.item() == expected
    assert objective.real(torch.tensor(middle)) == objective.fake(torch.tensor(middle))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"probability": 1.5}, r"probability=1.5 is outside 0 to 1"),
        ({"target": 1.0}, r"target=1.0 must lie between -1 and 1"),
        ({"interval": 0}, r"interval=0 must be at least 1"),
        ({"images_to_full": 0}, r"images_to_full=0 must be at least 1"),
        ({"probability": 0.5, "max_probability": 0.4}, r"max_probability=0.4 must be .*\.probability=0.5"),
        (NONE, r"none of color, translation, cutout, geometry: switch one on"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(settings, message):
    with pytest.raises(UserError, match=message):
        AdaptiveAugmentation(**settings)


# In methods

SIZE = 16
DOMAINS = Domains((LabelSet(("cat", "dog"), "one_hot"),))
SMALL = [
    *("generator=unet_64", "generator.num_downs=3", "generator.width=2", "data.root=somewhere"),
    *("discriminator=patchgan", "discriminator.num_layers=1", "discriminator.width=2", f"image_size={SIZE}"),
]


@functools.cache
def compose(*words):
    return compose_settings([*words, *SMALL]).tree


def build(tree, channels=3):
    side = Side(channels, "uint8", 0, 255)
    domains = DOMAINS if tree["method"]["_target_"].endswith("StarGAN") else None
    return assemble(tree, source=side, target=side, domains=domains, allowed=LOCAL)


def game(method, augmentation=None, channels=3):
    played = build(compose(f"method={method}", "objective=hinge"), channels)
    assert played.adversary.augmentation is None
    played.adversary.augmentation = augmentation
    return played


def batch(batch_type, channels=3):
    one, other = (torch.rand(2, channels, SIZE, SIZE) * 2 - 1 for _ in range(2))
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    return Labeled(one, labels, labels.flip(0)) if batch_type is Labeled else batch_type(one, other)


class Watching(torch.nn.Module):
    """Notes what a discriminator was shown."""

    def __init__(self, discriminator):
        super().__init__()
        self.discriminator = discriminator
        self.shown = []

    def forward(self, images):
        self.shown.append(images.detach().clone())
        return self.discriminator(images)


@pytest.mark.parametrize(("name", "channels"), [("diffaugment", 1), ("ada", 5)])
@pytest.mark.parametrize("method", choices("method"))
def test_every_method_plays_with_every_augmentation(method, name, channels, player):
    torch.manual_seed(0)
    tree = compose(f"method={method}", "objective=hinge")
    augmentation = compose(f"discriminator_augmentation={name}")["discriminator_augmentation"] | {"probability": 0.5}
    augmentation |= {"interval": 1} if name == "ada" else {}
    played = build(tree | {"discriminator_augmentation": augmentation}, channels)
    assert "adversary" in played.memories
    assert "adversary" not in played.networks
    before = {part: [each.clone() for each in network.parameters()] for part, network in played.networks.items()}
    playing = player(played, lr=1e-3)
    for number in (3, 4):  # StarGAN's generator moves in every fifth step
        losses = playing.play(batch(played.batch_type, channels), Step(number))
        assert all(map(math.isfinite, losses.values()))
    for part, network in played.networks.items():
        assert any(not torch.equal(old, new) for old, new in zip(before[part], network.parameters(), strict=True)), part
    assert (played.adversary.augmentation.probability.item() != 0.5) == (name == "ada")


@pytest.mark.parametrize(
    ("method", "discriminators"),
    [
        ("pix2pix", ["discriminator"]),
        ("cyclegan", ["discriminator_target", "discriminator_source"]),
        ("stargan", ["discriminator"]),
    ],
)
def test_a_discriminator_sees_nothing_unchanged_in_either_turn(method, discriminators):
    torch.manual_seed(0)
    augmented, plain = game(method, DiscriminatorAugmentation()), game(method)
    plain.load_state_dict({key: value for key, value in augmented.state_dict().items() if "augment" not in key})
    for each in (augmented, plain):
        for name in discriminators:
            setattr(each, name, Watching(getattr(each, name)))
    shared = batch(plain.batch_type)
    for each in (augmented, plain):
        for _ in each.play(shared, Step(4)):
            pass
    for name in discriminators:
        seen, unchanged = getattr(augmented, name).shown, getattr(plain, name).shown
        assert [each.shape for each in seen] == [each.shape for each in unchanged]
        assert len(seen) >= 2
        for one, other in zip(torch.cat(seen), torch.cat(unchanged), strict=True):
            assert not torch.equal(one, other)


def test_the_history_of_cyclegan_keeps_images_as_they_were_generated():
    torch.manual_seed(0)
    played, images = game("cyclegan", DiscriminatorAugmentation()), batch(Unpaired)
    expected = played.generator_forward(images.source)
    for _ in played.play(images, Step()):
        pass
    torch.testing.assert_close(played.history_target.images, expected.detach())


def test_real_and_generated_images_of_a_pair_are_changed_apart():
    torch.manual_seed(0)
    played = game("pix2pix", DiscriminatorAugmentation())
    played.generator.forward = lambda source: images.target  # a perfect generator
    played.discriminator = Watching(played.discriminator)
    images = batch(Pair)
    next(played.play(images, Step()))
    real, fake = torch.cat(played.discriminator.shown).chunk(2)
    assert not torch.equal(real, fake)


@pytest.mark.parametrize("method", ["pix2pix", "stargan"])
def test_ada_is_refused_with_wasserstein_and_diffaugment_is_not(method):
    words = [f"method={method}", "objective=wasserstein", "discriminator.norm=instance"]
    message = r"discriminator_augmentation=ada follows the sign .* objective=wasserstein: use .*=diffaugment, or"
    with pytest.raises(UserError, match=message):
        build(compose(*words, "discriminator_augmentation=ada"))
    played = build(compose(*words, "discriminator_augmentation=diffaugment"))
    turn = next(played.play(batch(played.batch_type), Step()))
    assert turn.losses["discriminator_penalty"] > 0


def test_all_processes_hold_the_probability_that_their_joint_images_ask_for():
    torch.manual_seed(0)
    others = torch.full((2, 1, 4, 4), -5.0)  # what another process makes of its real images
    played = game("pix2pix", AdaptiveAugmentation(interval=1, probability=0.4))
    for number in (0, 1):
        step = Step(number, world_size=2, all_gather=lambda own: torch.stack([own.abs() + 1, others.expand_as(own)]))
        played.adversary.augmentation.watch(torch.ones(2, 1, 4, 4), step)
    assert played.adversary.augmentation.real_sign.item() == 0.0
    assert played.adversary.augmentation.probability.item() == pytest.approx(0.4 - 4 / 500_000, abs=1e-7)


# In the engine

FAST = [  # with this target the probability rises in any case, by 0.25
    *("discriminator_augmentation.interval=2", "discriminator_augmentation.images_to_full=16"),
    *("discriminator_augmentation.target=-0.99", "log_every=1"),
]


def test_an_interrupted_run_with_ada_ends_with_the_weights_and_the_probability_of_an_unbroken_one(
    tiny, command, tmp_path
):
    words = [*tiny, "discriminator_augmentation=ada", *FAST, "schedule=constant"]
    for steps in (3, 7):
        assert command("train", *words, f"steps={steps}").code == 0
    whole = tmp_path / "whole"
    assert command("train", *words, "steps=7", f"output={whole}").code == 0
    first, second = read_state(tmp_path / "run"), read_state(whole)
    kept = first["memories"]["adversary"]
    names = ("probability", "signs", "watched", "adjusted_at", "real_sign")
    assert kept.keys() == {f"augmentation.{name}" for name in names}
    assert all(torch.equal(value, second["memories"]["adversary"][key]) for key, value in kept.items())
    for name, tensors in first["networks"].items():
        assert all(torch.equal(value, second["networks"][name][key]) for key, value in tensors.items())
    logged = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert [row["augmentation_probability"] for row in logged] == [0, 0, 0.25, 0.25, 0.5, 0.5, 0.75]
    assert kept["augmentation.probability"] == 0.75
    assert all(-1 <= row["real_sign"] <= 1 for row in logged)
    assert not any("augmentation" in name for name in load_file(whole / "model" / "model.safetensors"))
    # Translating knows nothing of it, whatever another version of the toolkit called it.
    config = json.loads((whole / "model" / "config.json").read_text())
    config["settings"]["discriminator_augmentation"] = {"_target_": "translate.methods.augmentation.OfTheFuture"}
    (whole / "model" / "config.json").write_text(json.dumps(config))
    assert [name for name, _ in read_model(whole / "model").method.named_children()] == ["generator"]


def test_settings_and_models_from_before_there_was_augmentation_are_read():
    tree = compose("method=pix2pix", "objective=hinge")
    old = {key: value for key, value in tree.items() if key != "discriminator_augmentation"}
    assert to_settings(old).discriminator_augmentation is None
    assert build(old).adversary.augmentation is None


def test_a_run_from_before_there_was_augmentation_goes_on(tiny, command, tmp_path):
    assert command("train", *tiny, "steps=1").code == 0
    config = tmp_path / "run" / "config.yaml"
    lines = config.read_text().splitlines()
    assert "discriminator_augmentation: null" in lines
    config.write_text("\n".join(line for line in lines if line != "discriminator_augmentation: null"))
    assert command("train", *tiny, "steps=2").code == 0


def test_the_choices_are_listed(command):
    out = command("list", "augmentations").out
    assert "discriminator_augmentation=NAME" in out
    assert all(name in out for name in ("none", "diffaugment", "ada"))
