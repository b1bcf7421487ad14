"""What is asked for of images of domains when each is translated once."""

from collections import Counter

import torch

from translate.domains import Domains, LabelSet
from translate.evaluation.requests import all_requests, share_out, shown

STYLES = Domains((LabelSet(("oil", "ink", "chalk"), "one_hot"),))


def test_every_image_is_asked_for_something_else_and_every_domain_equally_often() -> None:
    labels = torch.eye(3).repeat_interleave(2, 0)  # two of each
    given = share_out(labels, STYLES, list(all_requests(STYLES)))
    assert [request.text for request in given if request] == ["ink", "chalk", "oil", "chalk", "oil", "ink"]


def test_of_many_attributes_all_are_asked_for() -> None:
    names = tuple(f"a{place}" for place in range(12))
    many = Domains((LabelSet(names, "attributes"),))
    labels = (torch.rand(72, 12, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    given = Counter(request.text for request in share_out(labels, many, list(all_requests(many))) if request)
    assert len(given) == 24
    assert set(given.values()) <= {2, 3, 4}


def test_an_image_that_shows_all_that_can_be_asked_for_is_asked_for_nothing() -> None:
    (oil, *_) = all_requests(STYLES)
    assert share_out(torch.eye(3), STYLES, [oil]) == [None, oil, oil]


def test_attributes_are_added_and_taken_away_by_what_an_image_has() -> None:
    face = Domains((LabelSet(("hat", "smile"), "attributes"),))
    requests = {request.text: request for request in all_requests(face)}
    assert list(requests) == ["+hat", "+smile", "-hat", "-smile"]
    labels = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]])
    shows, may = shown(labels, face, requests["-hat"])
    assert (shows.tolist(), may.tolist()) == ([False, True, False], [True, False, True])
    given = [request.text for request in share_out(labels, face, list(requests.values())) if request]
    assert given == ["+smile", "+hat", "-hat"]


def test_images_of_another_label_set_are_not_asked_for_what_is_not_known_of_them() -> None:
    sets = Domains((LabelSet(("young",), "attributes"), LabelSet(("happy", "sad"), "one_hot")))
    known_young, known_sad = sets.vector(0, (1.0,)), sets.vector(1, (0.0, 1.0))
    given = share_out(torch.tensor([known_young, known_sad]), sets, list(all_requests(sets)))
    assert [request.text for request in given if request] == ["-young", "happy"]
