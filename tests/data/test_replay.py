"""Images of old domains beside those of new ones: one label set, seen equally often, turned into one another."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from translate.data.augmentation import DomainAugmentation
from translate.data.joint import JointData
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


# --- what is not said ---


def attributes(folder: Path, *names: str) -> LabeledData:
    """Images of which a CSV file says for each of some attributes whether they show it; the last half shows all."""
    lines = [f"image,{','.join(names)}"]
    lines += [f"dark/image {index}.png{f',{index // 3}' * len(names)}" for index in range(6)]
    path = folder / f"{'_'.join(names)}.csv"
    path.write_text("\n".join(lines))
    fractions = {"validation_fraction": 0.0, "test_fraction": 0.0}
    return LabeledData(root=str(path), augmentation=AUGMENTATION, kind="attributes", **fractions)


@pytest.mark.parametrize(
    ("own", "replayed", "message"),
    [
        (["Glasses"], ["Male", "Young"], "with Male, Young do not say whether they show Glasses"),
        (["Glasses", "Male"], ["Male"], "with Male do not say whether they show Glasses"),
        (["Male"], ["Glasses", "Male"], "with Male do not say whether they show Glasses"),
    ],
)
def test_attributes_that_images_are_not_labelled_with_are_refused(
    domains: Path, own: list[str], replayed: list[str], message: str
) -> None:
    data, data.replay = attributes(domains, *own), attributes(domains, *replayed).root
    with pytest.raises(UserError, match=message + r".*label them .* too, or .* data=domains_joint"):
        data.inspect(16)


def test_attributes_that_all_images_are_labelled_with_are_replayed(domains: Path) -> None:
    data, data.replay = attributes(domains, "Male", "Young"), attributes(domains, "Young", "Male").root
    data.inspect(16).raise_problems()
    data.know(Domains((LabelSet(("Young", "Male"), "attributes"),)))
    assert Counter(member.vector for member in data.splits["train"]) == {(1.0, 1.0): 6, (0.0, 0.0): 6}


def test_attributes_of_the_model_that_images_are_not_labelled_with_are_refused(domains: Path) -> None:
    data = attributes(domains, "Glasses")
    data.inspect(16).raise_problems()
    with pytest.raises(UserError, match="labelled with Glasses do not say whether they show Male, as others"):
        data.know(Domains((LabelSet(("Male", "Glasses"), "attributes"),)))


def test_new_attributes_beside_images_of_the_old_ones_are_a_set_of_their_own(domains: Path) -> None:
    data = JointData(first=attributes(domains, "Glasses"), second=attributes(domains, "Male", "Young"))
    data.inspect(16).raise_problems()
    data.know(Domains((LabelSet(("Male", "Young"), "attributes"),)))
    assert [labels.names for labels in data.domains.sets] == [("Male", "Young"), ("Glasses",)]
    counts = Counter(member.vector for member in data.splits["train"])
    assert counts == {(0, 0, 1, 0, 1): 3, (0, 0, 0, 0, 1): 3, (1, 1, 0, 1, 0): 3, (0, 0, 0, 1, 0): 3}


def test_domains_that_nobody_named_are_not_added_to(data: LabeledData) -> None:
    with pytest.raises(
        UserError, match=r"are called domain_1, domain_2, .* translate import FILE --domains A,B,\.\.\."
    ):
        data.know(Domains((LabelSet(("domain_1", "domain_2"), "one_hot"),)))
    assert data.domains.names == ("blue", "dark", "light")
    data.know(Domains((LabelSet(("blue", "domain_1"), "one_hot"),)))  # somebody called it that
    assert data.domains.names == ("blue", "domain_1", "dark", "light")


# --- advice ---


def test_advice_is_about_the_new_images(domains: Path, tmp_path: Path) -> None:
    (tmp_path / "fresh").mkdir()
    for name, count in (("blue", 1), ("green", 3)):
        shutil.copytree(domains / "dark", tmp_path / "fresh" / name)
        for index in range(count, 6):
            (tmp_path / "fresh" / name / f"image {index}.png").unlink()
    options = {"augmentation": AUGMENTATION, "validation_fraction": 0.0, "test_fraction": 0.0}
    data = LabeledData(root=str(tmp_path / "fresh"), replay=str(domains), **options)
    warnings = data.inspect(16, advise=True).warnings
    assert any(f"only 4 training images in {tmp_path / 'fresh'}" in warning for warning in warnings)
    assert not any("Few training images show" in warning for warning in warnings)  # 1 of 3, not 1 of 6


def test_one_domain_alone_is_told_of_replay(tmp_path: Path, domains: Path) -> None:
    (domains / "light").rename(tmp_path / "elsewhere")
    data = LabeledData(root=str(domains), augmentation=AUGMENTATION)
    (problem,) = data.inspect(16).problems
    assert "'dark' alone" in problem
    assert "data.replay=FOLDER" in problem
