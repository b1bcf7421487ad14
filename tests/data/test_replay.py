"""Images of old domains beside those of new ones: one label set, seen equally often, turned into one another."""

from collections import Counter
from pathlib import Path

import pytest

from translate.data.augmentation import DomainAugmentation
from translate.data.labeled import LabeledData
from translate.domains import Domains, LabelSet
from translate.errors import UserError

AUGMENTATION = DomainAugmentation(resize="stretch")


@pytest.fixture
def data(domains: Path, tmp_path: Path) -> LabeledData:
    """One new domain with 2 training images, and the old domains dark and light with 6 each."""
    (tmp_path / "fresh" / "blue").mkdir(parents=True)
    for index in range(2):
        (tmp_path / "fresh" / "blue" / f"{index}.png").symlink_to(domains / "dark" / f"image {index}.png")
    found = LabeledData(
        root=str(tmp_path / "fresh"),
        replay=str(domains),
        augmentation=AUGMENTATION,
        validation_fraction=0,
        test_fraction=0,
        kind="one_hot",
    )
    found.inspect(16).raise_problems()
    return found


def test_old_and_new_domains_make_one_label_set(data: LabeledData) -> None:
    assert data.domains == Domains((LabelSet(("blue", "dark", "light"), "one_hot"),))
    counts = Counter(member.vector for member in data.splits["train"])
    assert counts == {(1.0, 0.0, 0.0): 2, (0.0, 1.0, 0.0): 6, (0.0, 0.0, 1.0): 6}


def test_new_images_are_seen_as_often_as_old_ones_and_become_either(data: LabeledData) -> None:
    items = data.items("train", 16, seed=0, augment=True)
    drawn = [items[epoch, index] for epoch in range(20) for index in range(len(items))]
    assert len(items) == 24
    new = [item for item in drawn if item.labels[0] == 1]
    assert len(new) == len(drawn) / 2
    for some in (new, [item for item in drawn if item.labels[0] == 0]):
        assert sum(float(item.targets[0]) for item in some) / len(some) == pytest.approx(0.5, abs=0.1)
        assert sum(float(item.targets[1]) for item in some) / len(some) == pytest.approx(0.25, abs=0.1)


def test_domains_of_a_trained_model_keep_their_places(data: LabeledData) -> None:
    data.know(Domains((LabelSet(("light", "dark"), "one_hot"),)))
    assert data.domains.names == ("light", "dark", "blue")
    counts = Counter(member.vector for member in data.splits["train"])
    assert counts == {(0.0, 0.0, 1.0): 2, (0.0, 1.0, 0.0): 6, (1.0, 0.0, 0.0): 6}
    items = data.items("train", 16, seed=0, augment=False)
    assert items[0, 0].labels.tolist() == [0, 0, 1]


def test_labels_of_another_kind_are_refused(data: LabeledData) -> None:
    with pytest.raises(
        UserError, match=r"are of kind one_hot, but the model.s old are attributes: use data\.kind=attri"
    ):
        data.know(Domains((LabelSet(("old",), "attributes"),)))


def test_a_folder_to_replay_that_is_not_there_is_named(domains: Path) -> None:
    data = LabeledData(root=str(domains), replay="nowhere", augmentation=AUGMENTATION)
    with pytest.raises(UserError, match=r"data\.replay=nowhere does not exist"):
        data.inspect(16)


def test_vectors_of_two_label_sets_are_lifted_with_their_mask() -> None:
    own = Domains((LabelSet(("c",), "attributes"), LabelSet(("b", "x"), "one_hot")))
    known = Domains((LabelSet(("a", "b"), "one_hot"), LabelSet(("c",), "attributes")))
    both = known.union(own)
    assert both.names == ("a", "b", "x", "c")
    assert both.lift((0, 0, 1, 0, 1), own) == (0, 0, 1, 0, 1, 0)  # of the second set: x; mask: the first set here
    assert both.lift((1, 0, 0, 1, 0), own) == (0, 0, 0, 1, 0, 1)
