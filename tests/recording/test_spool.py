"""Samples that wait: in order, within the limit, and with a gap where one was dropped."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.recording.spool import MOST_SAMPLES, Spool
from service.records import Break, Sample
from tests.conftest import NOW

HOUR = 3600
# A day of samples an hour apart.
LIMIT = 24


def sample(number: int, begins: Break | None = None) -> Sample:
    return Sample(NOW + number * HOUR, float(HOUR), {}, begins)


@pytest.fixture
def spool() -> Spool:
    return Spool(HOUR)


def fill(spool: Spool, count: int, begin: int = 0) -> list[Sample]:
    samples = [sample(number) for number in range(begin, begin + count)]
    for one in samples:
        spool.add(one)
    return samples


def test_samples_wait_in_the_order_in_which_they_were_taken_until_they_are_removed(spool: Spool) -> None:
    samples = fill(spool, 3)
    assert spool.oldest(2) == samples[:2]
    assert (spool.oldest(), len(spool)) == (samples, 3)
    spool.remove(samples[:2])
    assert spool.oldest() == samples[2:]


def test_a_day_of_samples_waits_but_never_more_than_memory_allows(spool: Spool) -> None:
    fill(spool, 3 * LIMIT)
    assert len(spool) == LIMIT
    short = Spool(1)
    for number in range(MOST_SAMPLES + 1):
        short.add(sample(number))
    assert len(short) == MOST_SAMPLES


def test_a_full_spool_drops_the_oldest_and_the_gap_begins_where_the_dropped_one_began(spool: Spool) -> None:
    assert [spool.add(one) for one in map(sample, range(LIMIT))] == [False] * LIMIT
    assert spool.add(sample(LIMIT))
    first, *rest = spool.oldest()
    assert first == replace(sample(1), begins=Break(NOW - HOUR, "storage"))
    assert rest == [sample(number) for number in range(2, LIMIT + 1)]


@given(st.integers(1, 100))
def test_the_gap_of_all_that_was_dropped_begins_where_the_first_of_them_did(dropped: int) -> None:
    spool = Spool(HOUR)
    spool.add(sample(0, Break(NOW - 7, "killed")))
    fill(spool, LIMIT - 1 + dropped, begin=1)
    assert spool.oldest(1)[0] == replace(sample(dropped), begins=Break(NOW - 7, "storage"))
    assert [one.begins for one in spool.oldest()[1:]] == [None] * (LIMIT - 1)


def test_what_was_stored_while_the_oldest_was_dropped_is_not_stored_again(spool: Spool) -> None:
    being_stored = fill(spool, LIMIT)
    spool.add(sample(LIMIT))  # drops the first, and makes the second begin a stretch
    spool.remove(being_stored)
    assert spool.oldest() == [sample(LIMIT)]


def test_two_equal_samples_are_two(spool: Spool) -> None:
    for _ in range(2):
        spool.add(sample(0))
    spool.remove(spool.oldest(1))
    assert spool.oldest() == [sample(0)]


def test_after_the_history_was_set_aside_the_first_that_waits_follows_a_gap(spool: Spool) -> None:
    fill(spool, 2)
    spool.begin_anew(NOW - 60)
    assert spool.oldest() == [replace(sample(0), begins=Break(NOW - 60, "storage")), sample(1)]


def test_where_none_waits_it_is_the_next_one_that_follows_the_gap(spool: Spool) -> None:
    spool.begin_anew(NOW - 60)
    fill(spool, 2)
    assert spool.oldest() == [replace(sample(0), begins=Break(NOW - 60, "storage")), sample(1)]
