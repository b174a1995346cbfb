"""Counters over devices that come and go."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.host.totals import Moved, Totals
from service.records import Reading


@pytest.fixture
def totals() -> Totals:
    return Totals("network_sent_bytes", "network_received_bytes")


def sent(totals: Totals, **devices: int) -> int:
    return totals.add({name: (count, 0) for name, count in devices.items()}).counters["network_sent_bytes"]


def test_they_begin_as_the_sum_of_all_devices(totals: Totals) -> None:
    found = totals.add({"lo": (5, 7), "eth0": (10, 20)})
    assert found == Reading(counters={"network_sent_bytes": 15, "network_received_bytes": 27})


@pytest.mark.parametrize(("known", "first"), [(10, 15), (15, 15), (900, 900)])
def test_they_go_on_from_what_is_known_of_this_boot_where_that_is_more(totals: Totals, known: int, first: int) -> None:
    """More: an interface that had moved 900 left while nobody read."""
    totals.go_on_from({"network_sent_bytes": known})
    assert [sent(totals, lo=5, eth0=10), sent(totals, lo=5, eth0=17)] == [first, first + 7]


def test_a_device_that_leaves_takes_nothing_along(totals: Totals) -> None:
    """The figures of the issue: `lo` moves 60 MB a second while a veth that has moved 25 MB leaves."""
    assert [sent(totals, lo=0, veth=25), sent(totals, lo=60), sent(totals, lo=120)] == [25, 85, 145]


def test_a_device_that_appears_counts_from_its_first_reading(totals: Totals) -> None:
    assert [sent(totals, lo=100), sent(totals, lo=100, veth=25), sent(totals, lo=100, veth=35)] == [100, 100, 110]


def test_a_device_that_was_gone_counts_from_its_first_reading_again(totals: Totals) -> None:
    assert [sent(totals, lo=1, veth=25), sent(totals, lo=1), sent(totals, lo=1, veth=90)] == [26, 26, 26]


def test_a_counter_that_fell_counts_from_there(totals: Totals) -> None:
    assert [sent(totals, eth0=2**32 - 10), sent(totals, eth0=5), sent(totals, eth0=8)] == [2**32 - 10] * 2 + [2**32 - 7]


def test_without_devices_there_is_no_counter_and_afterwards_it_goes_on(totals: Totals) -> None:
    assert totals.add({}) == Reading()
    assert sent(totals, lo=50) == 50
    assert totals.add({}) == Reading()
    assert [sent(totals, lo=80), sent(totals, lo=81)] == [50, 51]


@pytest.mark.parametrize("impossible", [-1, 2**64, math.nan, math.inf])
def test_what_cannot_be_is_an_error_and_changes_nothing(totals: Totals, impossible: int) -> None:
    sent(totals, eth0=10, lo=10)
    with pytest.raises(ValueError, match="lo cannot have moved"):
        totals.add({"eth0": (90, 0), "lo": (0, impossible)})
    assert sent(totals, eth0=15, lo=10) == 25


devices = st.dictionaries(st.sampled_from("abc"), st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)))


@given(st.lists(devices, min_size=2, max_size=8))
def test_they_never_fall_whatever_comes_and_goes(readings: list[dict[str, Moved]]) -> None:
    totals = Totals("disk_read_bytes", "disk_written_bytes")
    found = [counters for reading in readings if (counters := totals.add(reading).counters)]
    for name in ("disk_read_bytes", "disk_written_bytes"):
        assert [counters[name] for counters in found] == sorted(counters[name] for counters in found)
