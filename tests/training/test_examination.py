"""What a model makes of held-out images, in numbers that can be checked by hand."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from translate.batch import Labeled, Unpaired
from translate.data.source import Items
from translate.domains import Domains, LabelSet
from translate.evaluation.classifier import Classifier
from translate.evaluation.distances import (
    Distances,
    RandomFilters,
    frechet_distance,
    kernel_distance_and_error,
    standardize,
)
from translate.evaluation.measures import Measures
from translate.evaluation.requests import all_requests
from translate.methods.method import Method, Turn
from translate.pixels import Side, normalize
from translate.training.examination import (
    CYCLE,
    PAIRED,
    RECOGNIZED,
    RECONSTRUCTION,
    Asked,
    Comparison,
    Examination,
    Measured,
)

GREY = Side(1, "uint8", 0, 255)
SIDES = (GREY, GREY)
CPU = torch.device("cpu")
DOMAINS = Domains((LabelSet(("dark", "light"), "one_hot"),))
DARK, LIGHT = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])


class Steps(nn.Module):
    """Adds steps of a 255th to pixels in [-1, 1]: those given, or labelled 1 into dark and 4 into light."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        steps = self.steps if labels is None else (labels @ torch.tensor([1.0, 4.0])).view(-1, 1, 1, 1)
        return images + steps * 2 / 255


class Shift(Method):
    """Makes images three steps brighter there, and one darker on the way back."""

    players: ClassVar = {}
    translators = ()
    is_reversible = True

    def play(self, batch: Any, step: Any) -> Iterator[Turn]:
        return iter(())

    def translator(self, *, back: bool = False) -> nn.Module:
        return Steps(-1 if back else 3)

    def show(self, batch: Any) -> dict[str, Tensor]:
        return {}


class Grey(Items):
    """Grey images, item k of brightness 10 * k on the source side, and 10 * k + 5 on the target side."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.read: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, position: tuple[int, int]) -> Unpaired:
        _, index = position
        self.read.append(index)
        images = [torch.full((1, 12, 12), 10 * index + more, dtype=torch.uint8) for more in (0, 5)]
        return Unpaired(*images)


class LabeledGrey(Grey):
    """The same, dark and light by turns; to be translated into the other."""

    def __getitem__(self, position: tuple[int, int]) -> Labeled:  # type: ignore[override]
        _, index = position
        image = torch.full((1, 12, 12), 10 * index, dtype=torch.uint8)
        return Labeled(image, *((LIGHT, DARK) if index % 2 else (DARK, LIGHT)))


class Brightness(nn.Module):
    """Takes images for light from 31 of 255 on."""

    def forward(self, images: Tensor) -> Tensor:
        brightness = (images + 1).mean((1, 2, 3)) / 2
        return torch.stack([torch.full_like(brightness, 30.5 / 255), brightness], 1)


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    return Fabric(accelerator="cpu", devices=1)


def examine(items: Items, names: Sequence[str], fabric: Fabric, places: Sequence[int] = (), **more: Any) -> Measured:
    """What is measured of `Shift`; of the images at all places if none are given."""
    sides = (GREY, None, None) if isinstance(items, LabeledGrey) else SIDES
    judge = more.pop("judge", None)
    examination = Examination(items, places or range(len(items)), sides, names, **more)
    examination.set_up(12, CPU)
    examination.judge = judge

    def load(batch: Any) -> Any:
        fields = zip(batch, sides, strict=True)
        return type(batch)(*(field if side is None else normalize(field, 0, 255) for field, side in fields))

    measured = examination.measure(Shift(), fabric, load)
    again = examination.measure(Shift(), fabric, load)  # features of real images are kept
    assert again == measured
    return measured


def distance(made: Sequence[int], real: Sequence[int]) -> tuple[float, float]:
    """The kernel distance of images of these brightnesses, and its standard error."""
    filters = RandomFilters(channels=1)
    one, other = (
        filters(torch.stack([torch.full((1, 12, 12), value / 255) for value in values])) for values in (made, real)
    )
    return kernel_distance_and_error(standardize(one, other), standardize(other, other))


def test_translations_are_compared_with_the_true_answers(fabric: Fabric) -> None:
    found, errors = examine(Grey(20), PAIRED, fabric)  # more than two batches
    # Every output is 10 k + 3 where 10 k + 5 is true: 2 of 255 steps off.
    assert found["l1"] == pytest.approx(2 / 255, rel=1e-5)
    assert found["psnr"] == pytest.approx(20 * math.log10(255 / 2), rel=1e-5)
    assert 0 < found["ssim"] <= 1
    assert not errors


def test_a_cycle_is_compared_with_its_begin(fabric: Fabric) -> None:
    found, _ = examine(Grey(3), CYCLE, fabric)
    assert found == {name: pytest.approx(2 / 255, rel=1e-5) for name in CYCLE}


def test_sets_are_compared_with_their_standard_errors(fabric: Fabric) -> None:
    source, target = [10 * k for k in range(20)], [10 * k + 5 for k in range(5)]
    names = ("kernel_distance", "kernel_distance_back")
    comparisons = {"": [Comparison(1, range(20), range(5))], "_back": [Comparison(0, range(5), range(20))]}
    found, errors = examine(Grey(20), names, fabric, comparisons=comparisons)
    there = distance([value + 3 for value in source], target)
    back = distance([value - 1 for value in target], source)
    assert [found[name] for name in names] == pytest.approx([there[0], back[0]], rel=1e-3)
    assert [errors[name] for name in names] == pytest.approx([there[1], back[1]], rel=1e-3)


def asked(count: int, answers: int = 0) -> list[Asked]:
    """Each image into the other domain; of the first ones the neighbour shows the answer."""
    requests = list(all_requests(DOMAINS))
    return [
        Asked(requests[1 - k % 2], DARK if k % 2 else LIGHT, (k - 1 if k % 2 else k + 1) if k < answers else None)
        for k in range(count)
    ]


def test_a_reconstruction_goes_by_the_labels(fabric: Fabric) -> None:
    # One step into dark and four into light, or the other way round: five.
    found, _ = examine(LabeledGrey(3), [RECONSTRUCTION], fabric, asked=asked(3))
    assert found == {RECONSTRUCTION: pytest.approx(5 / 255, rel=1e-5)}


def test_a_judge_says_how_many_translations_show_what_was_asked_for(fabric: Fabric) -> None:
    # 4, 24 and 44 are to be light, which from 31 on one is; 11, 31 and 51 to be dark.
    judge = Classifier(Brightness(), DOMAINS, steps=1)
    found, _ = examine(LabeledGrey(6), [RECOGNIZED], fabric, asked=asked(6), judge=judge)
    assert found[RECOGNIZED] == pytest.approx(2 / 6)
    nothing_left = [Asked(None, LIGHT, None), *asked(6)[1:]]
    found, _ = examine(LabeledGrey(6), [RECOGNIZED], fabric, asked=nothing_left, judge=judge)
    assert found[RECOGNIZED] == pytest.approx(2 / 5)


def test_only_translations_with_true_answers_are_compared_with_them(fabric: Fabric) -> None:
    # 4 where 10 is true, 11 where 0 is, 24 where 30 is; of the others nobody knows.
    found, _ = examine(LabeledGrey(6), PAIRED, fabric, asked=asked(6, answers=3))
    assert found["l1"] == pytest.approx((6 + 11 + 6) / 3 / 255, rel=1e-5)


def test_distances_of_domains_count_alike(fabric: Fabric) -> None:
    even, odd = list(range(0, 8, 2)), list(range(1, 8, 2))
    compared = {"": [Comparison(0, even, odd), Comparison(0, odd, even)]}
    found, errors = examine(LabeledGrey(8), ["kernel_distance"], fabric, asked=asked(8), comparisons=compared)
    light = distance([10 * k + 4 for k in even], [10 * k for k in odd])
    dark = distance([10 * k + 1 for k in odd], [10 * k for k in even])
    assert found["kernel_distance"] == pytest.approx((light[0] + dark[0]) / 2, rel=1e-3)
    assert errors["kernel_distance"] == pytest.approx(math.hypot(light[1], dark[1]) / 2, rel=1e-3)


def test_the_images_measured_are_always_the_same(fabric: Fabric) -> None:
    items = Grey(10)
    examine(items, ["l1", "psnr", "ssim"], fabric, places=[0, 2, 5, 7])
    assert items.read == [0, 2, 5, 7] * 2


def test_features_of_the_inception_network_are_compared_too_where_there_are_any(
    fabric: Fabric, monkeypatch: pytest.MonkeyPatch
) -> None:
    def choose(side: Side, *_: Any, **__: Any) -> Measures:
        filters = RandomFilters(channels=1)
        kinds = (("feature_distance", "kernel_distance"), True), (("fid", "kid"), False)
        return Measures(
            side, None, tuple(Distances(filters, names, relative=relative) for names, relative in kinds), ()
        )

    monkeypatch.setattr("translate.training.examination.choose_measures", choose)
    names = ("kernel_distance", "kid", "fid")
    found, errors = examine(Grey(6), names, fabric, comparisons={"": [Comparison(1, range(6), range(6))]})
    made, real = (
        RandomFilters(channels=1)(torch.stack([torch.full((1, 12, 12), (10 * k + more) / 255) for k in range(6)]))
        for more in (3, 5)
    )
    assert list(found) == list(names)
    assert (found["kid"], errors["kid"]) == pytest.approx(kernel_distance_and_error(made, real), rel=1e-3)
    assert found["fid"] == pytest.approx(frechet_distance(made, real), rel=1e-3, abs=1e-6)
    assert "fid" not in errors
