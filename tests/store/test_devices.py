"""What devices did: rows, their views, and what is noted of each device."""

from pathlib import Path

import pytest

from service.clock import DAY, HOUR
from service.records import DeviceKind, DeviceReading, DeviceUsage
from service.store import devices
from service.store.writer import Store
from tests.conftest import NOW, all_values
from tests.running import query
from tests.store.conftest import Devices


def test_the_views_have_what_was_moved_and_the_shares_of_the_time(host: Devices, path: Path) -> None:
    host.did("disk", "sda", NOW, 51200, 1024, 3, 1, 15000, 200)
    host.did("interface", "eth0", NOW, 10, 20, 5, 7, 2, 3, 8, 9, state="up", speed_mbit=1000)
    host.did("sensor", "nvme0/Composite", NOW, 38.94, limits=(81.8, 84.8))
    host.did("battery", "BAT0", NOW, 81.0, state="discharging")
    when = (NOW, "2026-01-05T10:00:00Z", 30.0)
    assert query(path, "SELECT * FROM disks") == [(*when, "sda", 51200, 1024, 50.0, 3, 1, 50.0)]
    assert query(path, "SELECT * FROM interfaces") == [(*when, "eth0", 10, 20, 5, 7, "up", 1000, 3, 2, 4, 3, 8, 9)]
    assert query(path, "SELECT * FROM sensors") == [(*when, "nvme0/Composite", 38.9, 81.8, 84.8)]
    assert query(path, "SELECT * FROM batteries") == [(*when, "BAT0", 81.0, "discharging")]


def test_nothing_is_zero_and_unknown_is_null(host: Devices, path: Path) -> None:
    host.did("disk", "sda", NOW, 0, 0, 0, 0, 0, 0)
    host.did("disk", "sdb", NOW, *[None] * 6)
    columns = "read_bytes, written_bytes, busy_percent, read_operations, written_operations, wait_ms"
    rows = query(path, f"SELECT {columns} FROM disks ORDER BY disk")
    # Of no operation there is no wait.
    assert rows == [(0, 0, 0.0, 0, 0, None), (None,) * 6]


def test_a_disk_is_never_busy_for_longer_than_there_was(host: Devices, path: Path) -> None:
    host.did("disk", "sda", NOW, 0, 0, 1, 0, 30_500, 9)
    assert query(path, "SELECT busy_percent FROM disks") == [(100.0,)]


def test_the_same_rows_again_change_nothing(host: Devices, path: Path) -> None:
    for _ in range(2):
        host.did("disk", "sda", NOW, 512, 0, 1, 0, 1, 1)
    assert query(path, "SELECT count(*) FROM disks") == [(1,)]
    assert query(path, "SELECT count(*) FROM device") == [(1,)]


def test_a_state_that_is_none_of_those_known_and_a_count_beyond_sqlites_are_unknown(host: Devices, path: Path) -> None:
    host.did("interface", "eth0", NOW, 2.0**70, float("nan"), 0, 0, state="'; DROP TABLE device; --")
    assert query(path, "SELECT received_bytes, sent_bytes, state FROM interfaces") == [(None, None, None)]


def test_limits_are_as_they_were_last(host: Devices, path: Path) -> None:
    host.did("sensor", "cpu", NOW, 40, limits=(80, None))
    host.did("sensor", "cpu", NOW + 60, 40, limits=(90, 100))
    assert query(path, "SELECT DISTINCT limit_celsius, critical_celsius FROM sensors") == [(90.0, 100.0)]


def test_a_count_is_known_up_to_the_greatest_that_a_device_has(host: Devices, path: Path) -> None:
    greatest = 2**56
    host.did("interface", "eth0", NOW, greatest - 1, greatest, 1 - greatest, -greatest)
    assert query(path, "SELECT received_bytes, sent_bytes, errors, drops FROM interfaces") == [
        (greatest - 1, None, 1 - greatest, None)
    ]


def test_a_row_of_no_time_is_one_of_a_millisecond(host: Devices, path: Path) -> None:
    for name, covered in (("sda", 0.0), ("sdb", 0.0004), ("sdc", 0.001), ("sdd", 0.002)):
        host.did("disk", name, NOW, 0, 0, 0, 0, 0, 0, covered=covered)
    assert query(path, "SELECT disk, covered_seconds FROM disks ORDER BY disk") == [
        ("sda", 0.001), ("sdb", 0.001), ("sdc", 0.001), ("sdd", 0.002)
    ]  # fmt: skip


def test_bytes_of_a_disk_are_whole_sectors_and_a_sensor_shows_tenths(host: Devices, path: Path) -> None:
    host.did("disk", "sda", NOW, 3 * 512 + 255, 5 * 512 + 257, 0, 0, 0, 0)
    host.did("sensor", "cpu", NOW, 41.26, limits=(80.04, 99.96))
    assert query(path, "SELECT read_bytes, written_bytes FROM disks") == [(3 * 512, 6 * 512)]
    assert query(path, "SELECT celsius, limit_celsius, critical_celsius FROM sensors") == [(41.3, 80.0, 100.0)]


def test_of_one_name_there_is_a_device_of_each_kind(host: Devices, path: Path) -> None:
    host.did("disk", "nvme0", NOW, 512, 0, 1, 0, 1, 1)
    host.did("sensor", "nvme0", NOW, 40.0)
    host.did("sensor", "nvme1", NOW, 50.0)
    assert query(path, "SELECT kind, name FROM device ORDER BY kind, name") == [
        ("disk", "nvme0"), ("sensor", "nvme0"), ("sensor", "nvme1")
    ]  # fmt: skip
    assert query(path, "SELECT sensor, celsius FROM sensors ORDER BY sensor") == [("nvme0", 40.0), ("nvme1", 50.0)]


SEEN = "SELECT last_ts, is_virtual FROM device"


def test_that_a_device_still_occurs_is_noted_once_a_day(host: Devices, path: Path) -> None:
    for later, noted in ((0, 0), (DAY - 1, 0), (DAY, DAY), (2 * DAY - 1, DAY), (9 * DAY, 9 * DAY)):
        host.did("sensor", "cpu", NOW + later, 40.0, limits=(80, None))
        assert query(path, SEEN) == [(NOW + noted, 0)]


def test_what_changes_of_a_device_is_noted_at_once_and_it_is_never_seen_earlier_than_it_was(
    host: Devices, path: Path
) -> None:
    host.did("interface", "veth1", NOW, 0, 0, 0, 0)
    host.did("interface", "veth1", NOW - 60, 0, 0, 0, 0, is_virtual=True)
    assert query(path, SEEN) == [(NOW, 1)]
    host.did("interface", "veth1", NOW + 60, 0, 0, 0, 0)
    assert query(path, SEEN) == [(NOW + 60, 0)]


USED: list[tuple[DeviceKind, str, int, tuple[float, ...]]] = [
    ("interface", "eth0", NOW, (1, 0, 0, 0)),
    ("interface", "eth1", NOW, (2, 0, 0, 0)),
    ("battery", "BAT0", NOW + 30, (55.0,)),
    ("interface", "eth0", NOW + 30, (3, 0, 0, 0)),
]


def test_rows_of_several_devices_are_stored_together_each_under_its_own(store: Store, path: Path) -> None:
    rows = [
        DeviceUsage(kind, name, ts, 30.0, all_values(kind, values), DeviceReading(values))
        for kind, name, ts, values in USED
    ]
    store.write(lambda statements: devices.insert(statements, rows, 1))
    assert query(path, "SELECT ts, interface, received_bytes FROM interfaces ORDER BY ts, interface") == [
        (NOW, "eth0", 1), (NOW, "eth1", 2), (NOW + 30, "eth0", 3)
    ]  # fmt: skip
    assert query(path, "SELECT ts, battery, percent FROM batteries") == [(NOW + 30, "BAT0", 55.0)]


@pytest.mark.parametrize(
    ("ts", "covered", "until"),
    [
        # By its middle: a row that ends in the hour after may belong to the hour that is made already.
        (NOW + HOUR, 30.0, NOW),
        (NOW + HOUR + 14, 30.0, NOW),
        (NOW + HOUR + 15, 30.0, NOW + HOUR),
        (NOW + HOUR + 16, 30.0, NOW + HOUR),
        (NOW + HOUR + 1, 0.0, NOW + HOUR),
        (NOW + 1, 1.0, NOW),
        (NOW + 1, 30.0, NOW - HOUR),
        (NOW + 2 * HOUR, 30.0, NOW + HOUR),
    ],
)
def test_a_row_that_comes_late_has_its_hour_made_again(host: Devices, ts: int, covered: float, until: int) -> None:
    host.did("disk", "sda", NOW + 60, 512, 0, 1, 0, 1, 1)
    host.did("disk", "sda", NOW + HOUR + 300, 512, 0, 1, 0, 1, 1)
    host.roll_up()
    assert host.progress() == (NOW + HOUR, 0)
    host.did("disk", "sdb", ts, 512, 0, 1, 0, 1, 1, covered=covered)
    assert host.progress() == (until, 0)


def test_a_row_that_comes_late_is_in_the_hour_in_which_its_middle_lies(host: Devices, path: Path) -> None:
    hours = "SELECT ts, read_bytes FROM disk_hours WHERE disk = 'sdb'"
    host.did("disk", "sda", NOW + 60, 512, 0, 1, 0, 1, 1)
    host.did("disk", "sda", NOW + HOUR + 300, 512, 0, 1, 0, 1, 1)
    host.roll_up()
    host.did("disk", "sdb", NOW + HOUR + 14, 512, 0, 1, 0, 1, 1)
    host.roll_up()
    assert query(path, hours) == [(NOW, 512)]


def test_of_rows_that_come_late_together_the_earliest_says_what_is_made_again(host: Devices, store: Store) -> None:
    for ts in (NOW + 60, NOW + 5 * HOUR):
        host.did("disk", "sda", ts, 0, 0, 0, 0, 0, 0)
    host.did("disk", "sda", NOW + 9 * HOUR, 0, 0, 0, 0, 0, 0)
    host.roll_up()
    values = (512, 0, 1, 0, 1, 1)
    rows = [DeviceUsage("disk", "sda", NOW + hour * HOUR + 600, 30.0, values, DeviceReading(values)) for hour in (3, 2)]
    store.write(lambda statements: devices.insert(statements, rows, 1))
    assert host.progress() == (NOW + 2 * HOUR, 0)
