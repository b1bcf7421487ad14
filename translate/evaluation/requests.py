"""What translations between domains can be asked for, one change at a time."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from translate.domains import Domains


@dataclass(frozen=True)
class Request:
    """What translations are asked for, and what a label vector must hold at `place` to show it."""

    text: str
    place: int
    value: bool
    has_twins: bool


def all_requests(domains: Domains) -> Iterator[Request]:
    """Every single change: each name of a one-hot set; each attribute added, and taken away if it has no rivals."""
    for text in domains.requests(["all"]):
        is_change = domains.needs_own_labels(text)
        place = domains.names.index(text[1:] if is_change else text)
        yield Request(text, place, not (is_change and text.startswith("-")), has_twins=not is_change)


def known_names(labels: Float[Tensor, "batch width"], domains: Domains) -> Bool[Tensor, "batch names"]:
    """Whether an image's label vector says anything about a name: it does for all names of the sets that are known."""
    counts = labels.new_tensor([len(kept.names) for kept in domains.sets]).long()
    return domains.known(labels).bool().repeat_interleave(counts, dim=1)


def shown(
    labels: Float[Tensor, "batch width"], domains: Domains, request: Request
) -> tuple[Bool[Tensor, " batch"], Bool[Tensor, " batch"]]:
    """Which images show what is asked for, and which do not and so could be translated into it; those of which that is
    not known are neither."""
    is_known = known_names(labels, domains)[:, request.place]
    shows = labels[:, request.place].bool() == request.value
    return is_known & shows, is_known & ~shows


def share_out(
    labels: Float[Tensor, "batch width"], domains: Domains, requests: Sequence[Request]
) -> list[Request | None]:
    """For each image a request that it does not show yet, None where none is left; all about equally often, and so are
    those among images of one kind."""
    waiting = [shown(labels, domains, request)[1].tolist() for request in requests]
    asked: Counter[Request] = Counter()
    asked_of_kind: Counter[tuple[tuple[Request, ...], Request]] = Counter()
    found: list[Request | None] = []
    for image in range(len(labels)):
        kind = tuple(request for request, may in zip(requests, waiting, strict=True) if may[image])
        if not kind:
            found.append(None)
            continue
        chosen = min(kind, key=lambda request: (asked_of_kind[kind, request], asked[request]))
        asked[chosen] += 1
        asked_of_kind[kind, chosen] += 1
        found.append(chosen)
    return found
