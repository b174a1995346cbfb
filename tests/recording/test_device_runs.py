"""What devices did, of readings: a row when something was done, one for all the time in which nothing was."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.clock import Instant
from service.recording.device_runs import CHATTER_BYTES, LOUD_BYTES, MOST_ROWS, MOST_VIRTUAL_ROWS, Runs, runs_of
from service.records import DeviceKind, DeviceReading, DeviceUsage
from tests.conftest import NOW


class Course:
    """Readings half a minute apart; `rows` are what came of them."""

    def __init__(self, kind: DeviceKind = "disk", start: int = NOW) -> None:
        self.runs: Runs = runs_of(kind)
        self.start, self.seconds = start, 0
        self.rows: list[DeviceUsage] = []
        self.newest: list[DeviceUsage] = []

    def see(self, devices: Mapping[str, DeviceReading], after: int = 30) -> None:
        self.seconds += after
        at = Instant(float(self.start + self.seconds), 1000.0 + self.seconds, 0.0)
        self.newest = self.runs.add(at, devices)
        self.rows += self.newest

    def finish(self) -> None:
        self.rows += self.runs.finish()

    def of(self, name: str) -> list[tuple[int, float, float | None]]:
        """(seconds since the first reading, covered, first value) of each row of one device."""
        return [
            (row.ts - self.start - 30, row.covered_seconds, row.values[0])
            for row in sorted(self.rows, key=lambda row: row.ts)
            if row.name == name
        ]


def moved(count: int | None, state: str | None = "up", **more: object) -> DeviceReading:
    return DeviceReading((count, 0, 0, 0, 0, 0), state, **more)  # type: ignore[arg-type]


def both(received: int, sent: int) -> DeviceReading:
    return DeviceReading((received, sent, 0, 0, 0, 0), "up")


def test_a_device_counts_from_its_first_reading() -> None:
    course = Course()
    course.see({"eth0": moved(10**9)})
    course.see({"eth0": moved(10**9 + 5)})
    assert course.of("eth0") == [(30, 30.0, 5)]


def test_one_that_does_nothing_has_one_row_for_all_that_time_and_it_comes_before_what_it_does_next() -> None:
    course = Course()
    for count in (7, 7, 7, 7, 9):
        course.see({"eth0": moved(count)})
    assert course.of("eth0") == [(90, 90.0, 0), (120, 30.0, 2)]


def test_the_row_of_nothing_comes_after_five_minutes() -> None:
    course = Course()
    for _ in range(12):
        course.see({"eth0": moved(7)})
    assert course.of("eth0") == [(300, 300.0, 0)]


def test_a_counter_that_fell_is_unknown_for_that_time_and_counts_from_there() -> None:
    course = Course()
    for count in (100, 100, 3, 8):
        course.see({"eth0": moved(count)})
    assert course.of("eth0") == [(30, 30.0, 0), (60, 30.0, None), (90, 30.0, 5)]


def test_another_device_of_the_same_name_counts_from_its_own_first_reading() -> None:
    course = Course()
    course.see({"wan": moved(100, identity=1)})
    course.see({"wan": moved(10**12, identity=2)})
    course.see({"wan": moved(10**12 + 1, identity=2)})
    assert course.of("wan") == [(60, 30.0, 1)]


def test_one_that_is_renamed_goes_on_under_its_new_name() -> None:
    course = Course()
    course.see({"eth0": moved(100, identity=1)})
    course.see({"eth0": moved(130, identity=1)})
    course.see({"wan": moved(170, identity=1)})
    assert course.of("eth0") == [(30, 30.0, 30)]
    assert course.of("wan") == [(60, 30.0, 40)]


def test_one_that_goes_has_its_last_row_and_no_more_and_may_come_again() -> None:
    course = Course()
    for devices in ({"usb": moved(5)}, {"usb": moved(5)}, {}, {}, {"usb": moved(900)}, {"usb": moved(901)}):
        course.see(devices)
    assert course.of("usb") == [(30, 30.0, 0), (150, 30.0, 1)]


def test_time_in_which_a_kind_could_not_be_read_is_of_the_row_after_it() -> None:
    course = Course()
    course.see({"eth0": moved(0)})
    course.see({"eth0": moved(50)}, after=120)
    assert course.of("eth0") == [(120, 120.0, 50)]


def test_a_change_of_state_ends_a_row() -> None:
    course = Course()
    for state in ("up", "up", "down", "down"):
        course.see({"eth0": moved(0, state)})
    course.finish()
    assert [(row.covered_seconds, row.reading.state) for row in course.rows] == [(30.0, "up"), (60.0, "down")]


def test_rows_end_with_the_hour() -> None:
    course = Course(start=NOW + 3600 - 110)
    for _ in range(5):
        course.see({"eth0": moved(0), "veth1": moved(0, is_virtual=True)})
    assert {(row.name, row.ts - NOW - 3600, row.covered_seconds) for row in course.rows} == {
        ("eth0", 10, 90.0),
        ("veth1", 10, 90.0),
    }


def test_of_a_virtual_one_a_little_waits_and_much_does_not() -> None:
    course = Course()
    for count in (0, 900, 1000, 1000 + LOUD_BYTES, 1001 + LOUD_BYTES):
        course.see({"veth1": moved(count, is_virtual=True)})
    assert course.of("veth1") == [(90, 90.0, 1000 + LOUD_BYTES)]


def test_chatter_on_an_interface_waits_like_nothing_and_an_error_does_not() -> None:
    course = Course("interface")
    for count, errors in ((0, 0), (700, 0), (1400, 0), (1400 + 2 * CHATTER_BYTES, 0), (2800 + 2 * CHATTER_BYTES, 1)):
        course.see({"eth0": DeviceReading((count, 0, errors, 0), "up")})
    assert course.of("eth0") == [(60, 60.0, 1400), (90, 30.0, 2 * CHATTER_BYTES), (120, 30.0, 1400)]


def test_packets_alone_are_chatter() -> None:
    course = Course("interface")
    for packets in (0, 9, 30):
        course.see({"eth0": DeviceReading((packets, 0, 0, 0, 0, 0, packets, packets), "up")})
    assert course.rows == []


def test_up_to_sixteen_kib_are_chatter_in_either_direction() -> None:
    course = Course("interface")
    course.see({name: both(0, 0) for name in ("quiet", "loud", "sends")})
    course.see({"quiet": both(8192, 8192), "loud": both(8192, 8193), "sends": both(0, 16_385)})
    assert {row.name for row in course.rows} == {"loud", "sends"}


def test_a_virtual_one_that_loses_its_link_ends_a_row_though_it_moves_little() -> None:
    course = Course("interface")
    for state in ("up", "up", "down"):
        course.see({"veth1": moved(5, state, is_virtual=True)})
    assert [(row.covered_seconds, row.reading.state) for row in course.rows] == [(30.0, "up")]


def test_of_more_than_are_written_at_once_those_that_moved_most_in_both_directions_come_first() -> None:
    course = Course()
    devices = {f"sd{number:03}": (number, 1000 - 2 * number) for number in range(MOST_ROWS + 5)}
    course.see({name: both(10**6, 10**6) for name in devices})
    course.see({name: both(10**6 + read, 10**6 + written) for name, (read, written) in devices.items()})
    assert {row.name for row in course.newest} == {f"sd{number:03}" for number in range(MOST_ROWS)}


def test_what_is_not_known_is_not_zero() -> None:
    course = Course()
    for count in (None, 5, 6, None):
        course.see({"eth0": moved(count)})
    course.finish()
    assert [value for _, _, value in course.of("eth0")] == [None, 1, None]


def test_of_hundreds_of_busy_ones_a_few_rows_are_written_at_once_and_none_of_the_bytes_is_lost() -> None:
    course = Course()
    names = [f"veth{number}" for number in range(300)]
    for capture in range(61):
        course.see({name: moved(capture * 2 * LOUD_BYTES, is_virtual=True) for name in names})
        assert len(course.newest) == (MOST_VIRTUAL_ROWS if capture else 0)
    course.finish()
    for name in names:
        assert sum(value or 0 for _, _, value in course.of(name)) == 60 * 2 * LOUD_BYTES
        assert sum(covered for _, covered, _ in course.of(name)) == 1800


def test_real_ones_come_before_virtual_ones() -> None:
    course = Course()
    for count in (0, 1):
        devices = {f"veth{n}": moved(count * 10 * LOUD_BYTES, is_virtual=True) for n in range(100)}
        course.see({**devices, **{f"eth{n}": moved(count) for n in range(MOST_ROWS)}})
    assert {row.name[:3] for row in course.newest} == {"eth"}
    assert len(course.newest) == MOST_ROWS


def test_hundreds_that_vanish_at_once_are_written_a_few_at_a_time() -> None:
    course = Course()
    for _ in range(2):
        course.see({f"veth{n}": moved(0, is_virtual=True) for n in range(300)})
    for _ in range(6):
        course.see({})
        assert len(course.newest) == MOST_ROWS
    assert len({row.name for row in course.rows}) == 300


COUNTS = st.lists(st.integers(0, 5) | st.sampled_from([0, LOUD_BYTES]), min_size=2, max_size=40)


@given(COUNTS, st.booleans(), st.integers(NOW - 600, NOW + 600))
def test_rows_hold_all_that_was_moved_and_all_of_the_time_once(steps: list[int], virtual: bool, start: int) -> None:
    course = Course(start=start)
    total = 0
    for step in steps:
        total += step
        course.see({"x": moved(total, is_virtual=virtual)})
    course.finish()
    rows = course.of("x")
    assert sum(value or 0 for _, _, value in rows) == total - steps[0]
    ends = [0.0, *(end for end, _, _ in rows)]
    assert [end - covered for end, covered, _ in rows] == ends[:-1]
    assert ends[-1] == 30 * (len(steps) - 1)


# -- sensors


def shows(celsius: float, state: str | None = None) -> DeviceReading:
    return DeviceReading((celsius,), state)


def test_a_sensor_has_a_row_when_it_changes_with_what_it_showed_until_then() -> None:
    course = Course("sensor")
    for celsius in (40, 40, 40.2, 45, 45):
        course.see({"cpu": shows(celsius)}, after=60)
    course.finish()
    rows = [(row.covered_seconds, row.values[0]) for row in course.rows]
    assert rows == [(120.0, pytest.approx(40.1)), (120.0, pytest.approx(45.0))]


def test_a_sensor_that_stays_the_same_has_a_row_in_five_minutes() -> None:
    course = Course("sensor")
    for _ in range(11):
        course.see({"cpu": shows(40)}, after=60)
    assert [(row.covered_seconds, row.values) for row in course.rows] == [(300.0, (40.0,)), (300.0, (40.0,))]


def test_the_same_reading_again_counts_once_and_an_old_one_says_nothing_of_the_time_since() -> None:
    course = Course("sensor")
    course.see({"cpu": shows(40)}, after=60)
    course.see({"cpu": shows(40)}, after=60)
    course.see({"cpu": shows(90)}, after=0)
    course.see({"cpu": shows(40)}, after=600)
    course.finish()
    assert [(row.covered_seconds, row.values) for row in course.rows] == [(60.0, (40.0,))]


def test_a_battery_that_begins_to_charge_begins_a_row() -> None:
    course = Course("battery")
    for percent, state in ((50, "discharging"), (50, "discharging"), (50, "charging"), (50, "charging")):
        course.see({"BAT0": shows(percent, state)}, after=60)
    course.finish()
    assert [(row.covered_seconds, row.reading.state) for row in course.rows] == [(60, "discharging"), (120, "charging")]


def test_of_virtual_ones_those_come_first_that_moved_most_in_both_directions() -> None:
    """Since their first reading, whatever they had counted before."""
    course, count = Course(), MOST_VIRTUAL_ROWS + 1
    before = {f"veth{n}": 10**9 * n for n in range(count)}
    course.see({name: DeviceReading((0, sent, 0, 0, 0, 0), "up", is_virtual=True) for name, sent in before.items()})
    course.see(
        {
            name: DeviceReading((0, sent + (1 + count - n) * LOUD_BYTES, 0, 0, 0, 0), "up", is_virtual=True)
            for n, (name, sent) in enumerate(before.items())
        }
    )
    assert {row.name for row in course.newest} == set(list(before)[:MOST_VIRTUAL_ROWS])
