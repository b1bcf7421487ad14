"""The layout of label vectors, and what a request for domains makes of one."""

import json

import pytest
import torch

from translate.domains import Domains, LabelSet
from translate.errors import UserError

OBJECTS = LabelSet(("bottle", "clock", "knife"), "one_hot")
HAIR = LabelSet(("Black", "Blond", "Young", "Male"), "attributes", (("Black", "Blond"),))
ODD = LabelSet(("old", "-old", "no -beard", "a, b", "a"), "attributes")


def domains(*sets):
    return Domains(sets)


def changed(known, labels, request):
    """The vector as a list, after the request is spelled as the model does."""
    (spelled,) = known.requests([request])
    return known.change(torch.tensor([labels], dtype=torch.float32), spelled)[0].tolist()


# --- layout ---


def test_one_set_has_no_mask():
    known = domains(OBJECTS)
    assert (known.width, known.names, known.slices) == (3, ("bottle", "clock", "knife"), (slice(0, 3),))
    assert known.vector(0, [0, 1, 0]) == (0, 1, 0)
    assert known.known(torch.zeros(2, 3)).tolist() == [[1], [1]]


def test_two_sets_are_followed_by_a_mask():
    known = domains(OBJECTS, HAIR)
    assert (known.width, known.slices) == (9, (slice(0, 3), slice(3, 7)))
    assert known.vector(0, [0, 1, 0]) == (0, 1, 0, 0, 0, 0, 0, 1, 0)
    assert known.vector(1, [1, 0, 0, 1]) == (0, 0, 0, 1, 0, 0, 1, 0, 1)
    labels = torch.tensor([known.vector(1, [1, 0, 0, 1]), known.vector(0, [0, 1, 0])])
    assert known.known(labels).tolist() == [[0, 1], [1, 0]]


def test_a_vector_has_a_value_for_every_name_of_its_set():
    with pytest.raises(AssertionError):
        domains(OBJECTS, HAIR).vector(0, [1, 0, 0, 0])


def test_domains_survive_json():
    known = domains(OBJECTS, HAIR)
    assert Domains.from_dict(json.loads(json.dumps(known.as_dict()))) == known


@pytest.mark.parametrize("saved", [{}, {"sets": 5}, {"sets": [5]}, {"sets": [{"names": ["a"], "kind": "one_hot"}]}])
def test_what_is_no_description_of_domains_is_refused(saved):
    with pytest.raises((KeyError, TypeError)):
        Domains.from_dict(saved)


# --- domains of a model and of further images ---


@pytest.mark.parametrize(
    ("known", "own", "expected"),
    [
        ([["a", "b"]], [["c"]], [["a", "b", "c"]]),  # a further domain
        ([["a", "b"]], [["b", "c"], ["d"]], [["a", "b", "c"], ["d"]]),  # a further set
        ([["a", "b"]], [["d"], ["b", "c"]], [["a", "b", "c"], ["d"]]),
        ([["a"], ["b"]], [["b"], ["c"]], [["a"], ["b"], ["c"]]),
        ([["a"]], [["x"], ["y"], ["z"]], [["a", "x"], ["y"], ["z"]]),
        ([["a"], ["b"]], [["c"]], [["a", "c"], ["b"]]),
    ],
)
@pytest.mark.parametrize("kind", ["one_hot", "attributes"])
def test_sets_that_share_a_name_belong_together_whatever_their_order(known, own, expected, kind):
    known, own, expected = (
        domains(*(LabelSet(tuple(names), kind) for names in sets)) for sets in (known, own, expected)
    )
    assert known.union(own) == expected
    assert known.union(expected) == expected
    for index, labels in enumerate(own.sets):  # a label vector stays what it is
        lifted = expected.lift(own.vector(index, [1, *[0] * (len(labels.names) - 1)]), own)
        shown = [name for name, value in zip(expected.names, lifted, strict=False) if value]
        assert shown == [labels.names[0]]


def test_a_name_in_two_sets_is_refused():
    known = domains(LabelSet(("a", "b"), "one_hot"), LabelSet(("c",), "attributes"))
    with pytest.raises(UserError, match=r"^c would be in two label sets: the model's are a, b \(one_hot\); c \(attrib"):
        known.union(domains(LabelSet(("a", "c"), "one_hot")))


def test_a_model_imported_without_its_kind_is_named():
    with pytest.raises(
        UserError, match=r"use data\.kind=one_hot, or import the model with translate import --attributes"
    ):
        domains(OBJECTS).union(domains(HAIR))


def test_attributes_without_a_label_are_unsaid():
    young, male = (LabelSet((name,), "attributes") for name in ("Young", "Male"))
    assert domains(HAIR).unsaid(domains(young)) == ["Black", "Blond", "Male"]
    assert domains(HAIR).unsaid(domains(HAIR)) == []
    assert domains(OBJECTS).unsaid(domains(LabelSet(("clock",), "one_hot"))) == []  # a clock is no bottle
    assert domains(young, male).unsaid(domains(male)) == []  # a mask says that the other set is not known


# --- requests ---


@pytest.mark.parametrize(
    ("sets", "words", "expected"),
    [
        ((OBJECTS,), ["clock", "bottle"], ["clock", "bottle"]),
        ((OBJECTS,), ["+clock", "CLOCK", "clock"], ["clock"]),
        ((OBJECTS,), ["all"], ["bottle", "clock", "knife"]),
        ((HAIR,), ["Young"], ["+Young"]),
        ((HAIR,), ["+young -male", "+Young,-Male", "young, -Male"], ["+Young -Male"]),
        ((HAIR,), ["+ Young", "Young Young"], ["+Young"]),
        ((HAIR,), ["all"], ["+Black", "+Blond", "+Young", "+Male", "-Young", "-Male"]),
        ((OBJECTS, HAIR), ["knife", "-Male"], ["knife", "-Male"]),
        ((LabelSet(("Black Hair", "Young"), "attributes"),), ["+black hair -young"], ["+Black Hair -Young"]),
        ((LabelSet(("all", "none"), "one_hot"),), ["all"], ["all"]),
        ((ODD,), ["-old"], ["+-old"]),
        ((ODD,), ["no -beard", "a, b", "+a, b", "-a"], ["+no -beard", "+a, b", "-a"]),
    ],
)
def test_requests_are_spelled_as_the_model_does(sets, words, expected):
    assert domains(*sets).requests(words) == expected


@pytest.mark.parametrize("name", [*OBJECTS.names, *HAIR.names])
def test_requests_belong_to_a_set(name):
    known = domains(OBJECTS, HAIR)
    (request,) = known.requests([name])
    assert known.set_of(request) == (name in HAIR.names)
    assert known.needs_own_labels(request) == (name in HAIR.names)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("Yuong", r"'Yuong' is not one of the model's domains \(did you mean Young\?\): bottle, .*, or all"),
        ("x", "'x' is not one of the model's domains: bottle"),
        ("+", "'' is not one of"),
        (" ", "is empty; it is one of bottle, clock"),
        ("+Young +clock", "mixes names of several label sets"),
        ("-clock", "exactly one of bottle, clock, knife; name that one alone"),
        ("clock, knife", "exactly one of bottle, clock, knife;"),
        ("+Young -Young", "contradicts itself: Young"),
        ("+Black +Blond", "contradicts itself: Black"),
    ],
)
def test_requests_that_cannot_be_met_say_why(word, message):
    with pytest.raises(UserError, match=message):
        domains(OBJECTS, HAIR).requests([word])


# --- label vectors to translate into ---


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ("+Young", [1, 0, 1, 1]),
        ("-Male", [1, 0, 0, 0]),
        ("+Blond", [0, 1, 0, 1]),
        ("-Black", [0, 0, 0, 1]),
        ("+Young -Male", [1, 0, 1, 0]),
        ("-Black +Blond", [0, 1, 0, 1]),
        ("+Male", [1, 0, 0, 1]),
    ],
)
def test_a_request_changes_the_attributes_it_names_and_their_rivals(request_, expected):
    assert changed(domains(HAIR), [1, 0, 0, 1], request_) == expected


def test_a_one_hot_request_replaces_the_domain():
    assert changed(domains(OBJECTS), [1, 0, 0], "knife") == [0, 0, 1]


def test_a_request_sets_the_mask_of_its_own_set():
    known = domains(OBJECTS, HAIR)
    of_objects, of_hair = known.vector(0, [1, 0, 0]), known.vector(1, [1, 0, 0, 1])
    assert changed(known, of_objects, "clock") == [0, 1, 0, 0, 0, 0, 0, 1, 0]
    assert changed(known, of_hair, "clock") == [0, 1, 0, 0, 0, 0, 0, 1, 0]
    assert changed(known, of_hair, "+Young") == [0, 0, 0, 1, 0, 1, 1, 0, 1]
    assert changed(known, of_objects, "+Young") == [0, 0, 0, 0, 0, 1, 0, 0, 1]


def test_names_with_signs_and_spaces_can_be_changed():
    known = domains(ODD)
    assert changed(known, [1, 0, 0, 0, 0], "no -beard") == [1, 0, 1, 0, 0]
    assert changed(known, [1, 0, 0, 0, 0], "-old") == [1, 1, 0, 0, 0]
    assert changed(known, [0, 0, 0, 1, 1], "-a, b") == [0, 0, 0, 0, 1]


def test_own_labels_are_not_written_to():
    known, labels = domains(HAIR), torch.tensor([[1.0, 0, 0, 1]])
    known.change(labels, "+Blond")
    known.variants(labels)
    assert labels.tolist() == [[1, 0, 0, 1]]


def test_variants_set_a_domain_or_flip_a_free_attribute():
    known = domains(OBJECTS, HAIR)
    labels = torch.tensor([known.vector(1, [1, 0, 0, 1])])
    assert {name: vector[0].tolist() for name, vector in known.variants(labels).items()} == {
        "bottle": [1, 0, 0, 0, 0, 0, 0, 1, 0],
        "clock": [0, 1, 0, 0, 0, 0, 0, 1, 0],
        "knife": [0, 0, 1, 0, 0, 0, 0, 1, 0],
        "Black": [0, 0, 0, 1, 0, 0, 1, 0, 1],
        "Blond": [0, 0, 0, 0, 1, 0, 1, 0, 1],
        "Young": [0, 0, 0, 1, 0, 1, 1, 0, 1],
        "Male": [0, 0, 0, 1, 0, 0, 0, 0, 1],
    }


def test_each_image_of_a_batch_keeps_its_own_attributes():
    labels = torch.tensor([[1.0, 0, 0, 1], [0, 1, 1, 0]])
    assert domains(HAIR).variants(labels)["Young"].tolist() == [[1, 0, 1, 1], [0, 1, 0, 0]]
    assert domains(HAIR).change(labels, "-Male").tolist() == [[1, 0, 0, 0], [0, 1, 1, 0]]
