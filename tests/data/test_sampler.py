"""The order in which images are drawn."""

import itertools

import pytest

from translate.data.sampler import StreamSampler

Batches = list[list[tuple[int, int]]]


def batches(
    first: int = 0, last: int = 9, *, size: int = 7, batch: int = 3, seed: int = 0, **processes: int
) -> Batches:
    sampler = StreamSampler(size=size, batch_size=batch, first_step=first, last_step=last, seed=seed, **processes)
    drawn = list(sampler)
    assert len(drawn) == len(sampler)
    return drawn


def row(drawn: Batches) -> list[tuple[int, int]]:
    return list(itertools.chain.from_iterable(drawn))


def test_every_epoch_is_a_permutation() -> None:
    drawn = row(batches(last=14))
    assert len(drawn) == 6 * 7
    for epoch in range(6):
        of_epoch = drawn[7 * epoch : 7 * epoch + 7]
        assert {number for number, _ in of_epoch} == {epoch}
        assert sorted(index for _, index in of_epoch) == list(range(7))


def test_epochs_are_shuffled_differently() -> None:
    drawn = row(batches(size=20, batch=20, last=5))
    orders = {tuple(index for _, index in drawn[20 * epoch : 20 * epoch + 20]) for epoch in range(5)}
    assert len(orders) == 5


def test_the_seed_decides_the_order() -> None:
    assert batches(seed=4) == batches(seed=4)
    assert batches(seed=4) != batches(seed=5)


@pytest.mark.parametrize("step", [1, 2, 5, 8])
def test_a_later_start_gives_the_same_tail(step: int) -> None:
    assert batches(first=step) == batches()[step:]


def test_processes_share_the_row_of_one() -> None:
    alone = batches(last=10, batch=3)
    shares = [batches(last=5, batch=3, rank=rank, world_size=2) for rank in range(2)]
    assert [batch for pair in zip(*shares, strict=True) for batch in pair] == alone


def test_a_batch_may_be_larger_than_the_data_set() -> None:
    drawn = batches(size=2, batch=5, last=2)
    assert [len(batch) for batch in drawn] == [5, 5]
    assert [epoch for epoch, _ in row(drawn)] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_one_image_is_enough() -> None:
    assert batches(size=1, batch=1, last=3) == [[(0, 0)], [(1, 0)], [(2, 0)]]


@pytest.mark.parametrize(("first", "last"), [(3, 3), (5, 3)])
def test_nothing_is_left_after_the_last_step(first: int, last: int) -> None:
    assert batches(first=first, last=last) == []
