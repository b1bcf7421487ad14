"""Beginning with the weights of a trained model: what fits is the same, the rest is made to fit by stated rules."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from translate.domains import Domains, LabelSet
from translate.errors import UserError
from translate.methods.method import Method
from translate.model import Model, assemble
from translate.pixels import Side
from translate.training.begin import Beginning, Origin, begin, describe_domains

UNET = {"_target_": "translate.networks.unet.UNet", "num_downs": 2, "width": 2}
RESNET = {"_target_": "translate.networks.resnet.ResNet", "num_blocks": 1, "width": 2}
STARGAN = {"_target_": "translate.networks.stargan.StarGANGenerator", "num_blocks": 1, "width": 2}
PATCHGAN = {"_target_": "translate.networks.patchgan.PatchGAN", "num_layers": 1, "width": 2, "norm": "instance"}
NAMES = {"pix2pix": "Pix2Pix", "cyclegan": "CycleGAN", "stargan": "StarGAN"}


def domains(*names: str, kind: Any = "one_hot") -> Domains:
    return Domains((LabelSet(names, kind),))


def make(
    method: str,
    generator: dict[str, Any],
    source: int = 3,
    target: int = 3,
    known: Domains | None = None,
    *,
    seed: int = 0,
    **changed: Any,
) -> Method:
    """A method with weights of its own, biases and all."""
    settings = {
        "method": {"_target_": f"translate.methods.{method}.{NAMES[method]}"},
        "generator": generator | {"_partial_": True},
        "discriminator": PATCHGAN | {"_partial_": True},
        "objective": {"_target_": "translate.objectives.adversarial.lsgan"},
    }
    settings["method"] |= changed
    torch.manual_seed(seed)
    built = assemble(settings, source=side(source), target=side(target), domains=known)
    with torch.no_grad():
        for tensor in built.state_dict().values():
            if tensor.is_floating_point():
                tensor.normal_().abs_()
    return built


def side(channels: int) -> Side:
    return Side(channels, "uint8", 0, 255)


def origin_of(
    method: Method, source: int = 3, target: int = 3, known: Domains | None = None, *, whole: bool = True
) -> Origin:
    """A checkpoint of a method, with its discriminators if it is `whole`."""
    others = {name: network.state_dict() for name, network in method.networks.items() if name not in method.generators}
    model = Model(method, side(source), side(target), known, {}, 7)
    return Origin(Path("old"), model, others if whole else {})


@pytest.fixture
def take_over() -> Callable[..., tuple[Method, Beginning]]:
    """A method of other weights that has begun with those of an origin."""

    def run(
        origin: Origin,
        method: str,
        generator: dict[str, Any],
        source: int = 3,
        target: int = 3,
        known: Domains | None = None,
        *,
        channels: Any = "average",
        fresh: frozenset[str] = frozenset(),
        **changed: Any,
    ) -> tuple[Method, Beginning]:
        built = make(method, generator, source, target, known, seed=1, **changed)

        def build(source: Side, target: Side, known: Domains | None) -> Method:
            return make(method, generator, source.channels, target.channels, known, **changed)

        sides = {"source": side(source), "target": side(target)}
        return built, begin(built, origin, build, **sides, domains=known, channels=channels, fresh=fresh)

    return run


def images(channels: int = 3) -> Tensor:
    return torch.rand(2, channels, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1


def weight(method: Method, name: str) -> Tensor:
    found = method.state_dict()[name]
    assert isinstance(found, Tensor)
    return found


# --- what fits ---


@pytest.mark.parametrize(("method", "generator"), [("pix2pix", UNET), ("pix2pix", RESNET), ("cyclegan", RESNET)])
def test_every_tensor_of_an_equal_model_is_the_same(take_over, method: str, generator: dict[str, Any]) -> None:
    old = make(method, generator)
    new, beginning = take_over(origin_of(old), method, generator)
    assert {name: bool(torch.equal(tensor, weight(new, name))) for name, tensor in old.state_dict().items()} == (
        dict.fromkeys(old.state_dict(), True)
    )
    assert beginning.fresh == []
    assert [line.partition(":")[0] for line in beginning.lines] == list(old.networks)


def test_a_discriminator_that_is_not_there_is_new(take_over) -> None:
    new, beginning = take_over(origin_of(make("pix2pix", UNET), whole=False), "pix2pix", UNET)
    assert beginning.fresh == ["discriminator"]
    assert beginning.lines[1] == "discriminator: new; there is none in the checkpoint"
    untouched = make("pix2pix", UNET, seed=1)
    for name, tensor in untouched.discriminator.state_dict().items():
        assert torch.equal(tensor, weight(new, f"discriminator.{name}"))


def test_counters_of_batch_norm_may_be_missing(take_over) -> None:
    old = make("pix2pix", UNET)
    origin = origin_of(old)
    plain = old.generator.state_dict()
    assert any(name.endswith("num_batches_tracked") for name in plain)
    for name in [name for name in plain if name.endswith("num_batches_tracked")]:
        del plain[name]
    old.generator.state_dict = lambda: plain
    new, _ = take_over(origin, "pix2pix", UNET)
    assert torch.equal(new.generator.eval()(images()), old.generator.eval()(images()))


def test_one_direction_of_a_cyclegan_begins_with_a_generator_alone(take_over) -> None:
    old = make("pix2pix", RESNET)
    new, beginning = take_over(origin_of(old, whole=False), "cyclegan", RESNET)
    assert torch.equal(new.generator_forward(images()), old.generator(images()))
    assert beginning.fresh == ["generator_backward", "discriminator_target", "discriminator_source"]


# --- channels ---


def test_images_of_equal_channels_look_as_before_after_averaging(take_over) -> None:
    old = make("pix2pix", UNET)
    new, beginning = take_over(origin_of(old), "pix2pix", UNET, 5, 3)
    grey = images(1)
    torch.testing.assert_close(
        new.generator.eval()(grey.expand(-1, 5, -1, -1)), old.generator.eval()(grey.expand(-1, 3, -1, -1))
    )
    assert "  model.model.0.weight: (2, 3, 4, 4) made (2, 5, 4, 4)" in beginning.lines


@pytest.mark.parametrize(
    ("channels", "old_count", "new_count", "expected"),
    [
        ("average", 3, 1, [[0, 1, 2]]),  # times 1 / 1: the sum
        ("average", 2, 4, [[0, 1]] * 4),
        ("copy", 3, 4, [[0], [1], [2], [0]]),
        ("copy", 3, 2, [[0], [1]]),
    ],
)
def test_weights_for_other_input_channels(take_over, channels, old_count, new_count, expected) -> None:
    old = make("pix2pix", RESNET, old_count)
    new, _ = take_over(origin_of(old, old_count), "pix2pix", RESNET, new_count, channels=channels)
    before, after = (weight(method, "generator.model.1.weight") for method in (old, new))
    for place, rows in enumerate(expected):
        summed = sum(before[:, row] for row in rows)
        times = sum(row == rows for row in expected)  # several copies share what one channel did
        share = 1 / new_count if channels == "average" else 1 / times
        torch.testing.assert_close(after[:, place], summed * share)


@pytest.mark.parametrize(("channels", "expected"), [("average", [0, 1, 2]), ("copy", [0])])
def test_weights_for_other_output_channels(take_over, channels: str, expected: list[int]) -> None:
    old = make("pix2pix", RESNET)
    new, _ = take_over(origin_of(old), "pix2pix", RESNET, 3, 1, channels=channels)
    for name in ("weight", "bias"):
        before = weight(old, f"generator.model.18.{name}")
        torch.testing.assert_close(weight(new, f"generator.model.18.{name}")[0], before[expected].mean(0))


def test_fresh_channels_are_drawn_and_all_else_is_kept(take_over) -> None:
    old = make("pix2pix", RESNET)
    new, _ = take_over(origin_of(old), "pix2pix", RESNET, 4, channels="fresh")
    untouched = make("pix2pix", RESNET, 4, seed=1)
    name = "generator.model.1.weight"
    assert torch.equal(weight(new, name), weight(untouched, name))
    name = "generator.model.4.weight"
    assert torch.equal(weight(new, name), weight(old, name))


def test_a_discriminator_keeps_source_and_target_apart(take_over) -> None:
    old = make("pix2pix", RESNET, 1, 3)
    new, _ = take_over(origin_of(old, 1, 3), "pix2pix", RESNET, 2, 3)
    before, after = (weight(method, "discriminator.model.0.weight") for method in (old, new))
    torch.testing.assert_close(after[:, :2], before[:, :1].expand(-1, 2, -1, -1) / 2)
    assert torch.equal(after[:, 2:], before[:, 1:])


# --- domains ---


@pytest.mark.parametrize("generator", [STARGAN, RESNET | {"norm": "instance"}])
def test_old_domains_give_the_old_images_whatever_is_added_and_in_whatever_order(take_over, generator) -> None:
    before, after = domains("b", "d"), domains("a", "d", "c", "b")
    old = make("stargan", generator, known=before)
    new, beginning = take_over(origin_of(old, known=before), "stargan", generator, known=after)
    for name in before.names:
        assert torch.equal(new.translate(images(), name), old.translate(images(), name))
    assert beginning.fresh == []


def test_a_new_domain_begins_between_the_old_ones_and_its_class_anew(take_over) -> None:
    before, after = domains("a", "b"), domains("a", "b", "new")
    old = make("stargan", STARGAN, known=before)
    new, _ = take_over(origin_of(old, known=before), "stargan", STARGAN, known=after)
    known = weight(old, "generator.main.0.weight")[:, 3:]
    torch.testing.assert_close(weight(new, "generator.main.0.weight")[:, 5], known.mean(1))
    untouched = make("stargan", STARGAN, known=after, seed=1)
    for name in ("discriminator.domain_head.weight", "discriminator.domain_head.bias"):
        assert torch.equal(weight(new, name)[:2], weight(old, name))
        assert torch.equal(weight(new, name)[2], weight(untouched, name)[2])


@pytest.mark.parametrize("generator", [STARGAN, RESNET | {"norm": "instance"}])
@pytest.mark.parametrize("count", [1, 2])
def test_old_domains_give_the_old_images_beside_a_further_label_set(take_over, generator, count: int) -> None:
    sets = [LabelSet(names, "one_hot") for names in (("a", "b"), ("c", "d"), ("e",))]
    before, after = Domains(tuple(sets[:count])), Domains(tuple(sets[: count + 1]))
    old = make("stargan", generator, known=before)
    new, _ = take_over(origin_of(old, known=before), "stargan", generator, known=after)
    for name in before.names:
        assert torch.equal(new.translate(images(), name), old.translate(images(), name))


def test_a_new_domain_begins_between_domains_without_their_mask(take_over) -> None:
    before = Domains((LabelSet(("a", "b"), "one_hot"), LabelSet(("c",), "one_hot")))
    after = Domains((LabelSet(("a", "b"), "one_hot"), LabelSet(("c", "new"), "one_hot")))
    old = make("stargan", STARGAN, known=before)
    new, _ = take_over(origin_of(old, known=before), "stargan", STARGAN, known=after)
    known = weight(old, "generator.main.0.weight")[:, 3:6]
    torch.testing.assert_close(weight(new, "generator.main.0.weight")[:, 6], known.mean(1))


def test_what_becomes_of_domains_is_said() -> None:
    shown = {"dark": 0, "light": 2, "blue": 3}
    assert describe_domains(domains("dark", "light"), shown) == [
        "domains kept: dark, light",
        "domains new: blue",
        "domains without images here: dark",
    ]
    assert describe_domains(None, {}) == []


def test_changes_are_said_in_the_order_of_the_network(take_over) -> None:
    before, after = domains("a", "b"), domains("a", "b", "c")
    generator = RESNET | {"norm": "instance"}
    old = make("stargan", generator, known=before)
    new, beginning = take_over(origin_of(old, known=before), "stargan", generator, known=after)
    names = [line.partition(":")[0].strip() for line in beginning.lines if " made " in line]
    assert len(names) > 6
    assert names == [name for network in new.networks.values() for name in network.state_dict() if name in names]


# --- what begins anew ---


def test_a_fresh_part_keeps_its_first_weights_and_statistics_and_all_else_is_taken_over(take_over) -> None:
    old = make("pix2pix", UNET | {"num_downs": 3})
    parts = {"generator.model.model.1.model.5.weight", "generator.model.model.1.model.6.weight"}  # decoder_2
    parts |= {"generator.model.model.1.model.6.bias"}
    fresh = frozenset(parts | {name for name in old.state_dict() if name.startswith("discriminator")})
    new, beginning = take_over(origin_of(old), "pix2pix", UNET | {"num_downs": 3}, fresh=fresh)
    untouched = make("pix2pix", UNET | {"num_downs": 3}, seed=1)
    parts |= {f"generator.model.model.1.model.6.{name}" for name in ("running_mean", "running_var")}
    for name in old.state_dict():
        if not name.endswith("num_batches_tracked"):
            expected = untouched if name in parts or name.startswith("discriminator") else old
            assert torch.equal(weight(new, name), weight(expected, name)), name
    count = len(old.generator.state_dict()) - 6
    assert beginning.lines == [
        f"generator: {count} tensors taken over",
        "  generator.decoder_2: new; finetune.fresh",
        "discriminator: new; finetune.fresh names all of it",
    ]
    assert beginning.fresh == ["discriminator"]


# --- what does not fit ---


@pytest.mark.parametrize(
    ("method", "generator", "words"),
    [
        ("pix2pix", UNET | {"width": 4}, r"does not fit the generator: model.*has the shape .* Leave out generator="),
        ("pix2pix", UNET | {"num_downs": 3}, "does not fit the generator: .* is missing"),
        ("pix2pix", RESNET, "does not fit the generator: .*; and .* more"),
        ("cyclegan", RESNET, "does not fit the generator_forward: "),
    ],
)
def test_another_architecture_is_refused(take_over, method: str, generator: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        take_over(origin_of(make("pix2pix", UNET)), method, generator)


def test_another_method_is_refused_with_the_networks_there_are(take_over) -> None:
    known = domains("a", "b")
    old = make("stargan", STARGAN, known=known)
    old.generators = old.translators = ("painter",)
    old.painter = nn.Identity()
    with pytest.raises(UserError, match=r"from=old has no generator: it is a StarGAN model with painter\. Leave"):
        take_over(origin_of(old, known=known, whole=False), "stargan", STARGAN, known=known)


def test_a_discriminator_of_other_settings_is_new_and_says_why(take_over) -> None:
    origin = origin_of(make("pix2pix", UNET))
    del origin.others["discriminator"]["model.0.bias"]
    _, beginning = take_over(origin, "pix2pix", UNET)
    assert beginning.lines[-1] == "discriminator: new; model.0.bias is missing"
