"""What devices did: rows, their views, hours made of them, and what of them is deleted."""

import sqlite3
from pathlib import Path

import pytest

from service.clock import DAY, HOUR
from service.records import DeviceKind, DeviceReading, DeviceUsage
from service.store import device_rollups, devices
from service.store.writer import Store
from tests.conftest import NOW, all_values
from tests.running import query


class Devices:
    """Stores rows of one device each."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def did(
        self, kind: DeviceKind, name: str, ts: int, *values: float | None, covered: float = 30.0, **more: object
    ) -> None:
        reading = DeviceReading(values, **more)  # type: ignore[arg-type]
        row = DeviceUsage(kind, name, ts, covered, all_values(kind, values), reading)
        self.store.write(lambda statements: devices.insert(statements, [row], 1))

    def roll_up(self) -> None:
        while self.store.write(device_rollups.roll_up):
            pass

    def prune(self, rows_before: int, hours_before: int = 0, most: int = 4000) -> int:
        """How many steps it took."""
        steps = 1
        while self.store.write(lambda s: device_rollups.prune(s, rows_before, hours_before, most)):
            steps += 1
        return steps


@pytest.fixture
def host(store: Store) -> Devices:
    return Devices(store)


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


def hour_of(host: Devices) -> None:
    """An hour of one disk and one sensor, and what comes after it."""
    for minute in range(1, 61):
        busy = 60_000 if minute == 30 else 6_000
        host.did("disk", "sda", NOW + 60 * minute, 51200, 512 * minute, 10, 10, busy, 40, covered=60.0)
        host.did("sensor", "cpu", NOW + 60 * minute, 40.0 if minute <= 45 else 60.0, covered=60.0)
    host.did("interface", "eth0", NOW + 60, 5, 5, 0, 0, covered=60.0, state="up", speed_mbit=100)
    host.did("interface", "eth0", NOW + 120, None, None, None, None, covered=60.0, state="down")
    host.did("disk", "sda", NOW + HOUR + 600, 0, 0, 0, 0, 0, 0, covered=600.0)


def test_an_hour_holds_the_sums_the_averages_and_the_fastest_row(host: Devices, path: Path) -> None:
    hour_of(host)
    host.roll_up()
    assert query(path, "SELECT * FROM disk_hours") == [
        (NOW, "2026-01-05T10:00:00Z", 3600.0, "sda", 60 * 51200, 512 * 1830, pytest.approx(100 * 414 / 3600),
         600, 600, 2.0, pytest.approx(853, abs=512), 512, 100.0)
    ]  # fmt: skip
    assert query(path, "SELECT ts, covered_seconds, celsius, celsius_min, celsius_max FROM sensor_hours") == [
        (NOW, 3600.0, 45.0, 40.0, 60.0)
    ]
    # The time in which it was known, and the state in which it was then.
    columns = "covered_seconds, received_bytes, state, speed_mbit"
    assert query(path, f"SELECT {columns} FROM interface_hours") == [(60.0, 5, "up", 100)]


DIRECTIONS = "errors, drops, received_errors, sent_errors, received_drops, sent_drops, received_packets, sent_packets"


def test_an_hour_has_its_errors_and_drops_by_direction(host: Devices, path: Path) -> None:
    for minute in (1, 2):
        host.did("interface", "eth0", NOW + 60 * minute, 10, 20, 5, 7, 2, 3, 8, 9)
    host.did("interface", "eth0", NOW + HOUR + 600, 0, 0, 0, 0)
    host.roll_up()
    assert query(path, f"SELECT {DIRECTIONS} FROM interface_hours") == [(10, 14, 6, 4, 8, 6, 16, 18)]


def test_what_was_recorded_before_directions_were_keeps_its_sums_and_an_hour_with_some_of_it_has_no_parts(
    host: Devices, path: Path
) -> None:
    host.did("interface", "eth0", NOW + 60, 10, 20, 5, 7, None, None, None, None)
    host.did("interface", "eth0", NOW + 120, 10, 20, 1, 1, 1, 1, 8, 9)
    host.did("interface", "eth0", NOW + HOUR + 600, 0, 0, 0, 0)
    host.roll_up()
    assert query(path, f"SELECT {DIRECTIONS} FROM interfaces LIMIT 1") == [(5, 7, *(None,) * 6)]
    assert query(path, f"SELECT {DIRECTIONS} FROM interface_hours") == [(6, 8, *(None,) * 6)]


def test_reducing_again_is_the_same_as_once_and_a_late_row_is_counted(host: Devices, path: Path) -> None:
    hour_of(host)
    host.roll_up()
    before = query(path, "SELECT * FROM disk_hours")
    host.did("disk", "sdb", NOW + 90, 512, 0, 1, 0, 1, 1)
    host.roll_up()
    assert query(path, "SELECT * FROM disk_hours WHERE disk = 'sda'") == before
    assert query(path, "SELECT read_bytes FROM disk_hours WHERE disk = 'sdb'") == [(512,)]


def test_an_hour_is_not_reduced_before_it_is_over(host: Devices, path: Path) -> None:
    host.did("disk", "sda", NOW + 60, 512, 0, 1, 0, 1, 1)
    host.did("disk", "sda", NOW + HOUR + 30, 512, 0, 1, 0, 1, 1)
    host.roll_up()
    assert query(path, "SELECT count(*) FROM disk_hours") == [(0,)]


def test_a_row_that_ends_in_the_next_hour_belongs_to_that_in_which_its_middle_lies(host: Devices, path: Path) -> None:
    host.did("disk", "sda", NOW + HOUR + 10, 512, 0, 1, 0, 1, 1, covered=30.0)
    host.did("disk", "sda", NOW + HOUR + 600, 512, 0, 1, 0, 1, 1, covered=590.0)
    host.did("disk", "sda", NOW + 2 * HOUR + 600, 0, 0, 0, 0, 0, 0)
    host.roll_up()
    assert query(path, "SELECT ts, covered_seconds FROM disk_hours ORDER BY ts") == [(NOW, 30.0), (NOW + HOUR, 590.0)]


def test_a_row_that_comes_late_is_in_the_hour_in_which_its_middle_lies(host: Devices, path: Path) -> None:
    host.did("disk", "sda", NOW + 60, 512, 0, 1, 0, 1, 1)
    host.did("disk", "sda", NOW + HOUR + 300, 512, 0, 1, 0, 1, 1)
    host.roll_up()
    host.did("disk", "sdb", NOW + HOUR + 14, 512, 0, 1, 0, 1, 1)
    host.roll_up()
    assert query(path, "SELECT ts, read_bytes FROM disk_hours WHERE disk = 'sdb'") == [(NOW, 512)]


def test_of_hundreds_of_veths_an_hour_keeps_those_that_moved_most_and_every_real_one(host: Devices, path: Path) -> None:
    for number in range(300):
        host.did("interface", f"veth{number}", NOW + 60, number, 0, 0, 0, is_virtual=True)
    for number in range(30):
        host.did("interface", f"eth{number}", NOW + 60, 0, 0, 0, 0)
    host.did("interface", "eth0", NOW + HOUR + 600, 0, 0, 0, 0)
    host.roll_up()
    kept = {name for (name,) in query(path, "SELECT interface FROM interface_hours")}
    most = range(300 - device_rollups.MOST_VIRTUAL, 300)
    assert kept == {f"eth{number}" for number in range(30)} | {f"veth{number}" for number in most}


def test_rows_go_once_they_are_reduced_hours_stay_and_names_without_any_go(host: Devices, path: Path) -> None:
    hour_of(host)
    host.did("interface", "veth1", NOW + 60, 0, 0, 0, 0, is_virtual=True)
    for hours in (0, 2):
        host.did("disk", "sda", NOW + 9 * DAY + hours * HOUR, 0, 0, 0, 0, 0, 0)
    host.prune(NOW + 9 * DAY)
    assert query(path, "SELECT count(*) FROM disks") == [(63,)]  # not reduced yet
    host.roll_up()
    assert host.prune(NOW + 8 * DAY, most=10) == 2
    assert query(path, "SELECT count(*) FROM disks") == [(2,)]
    assert query(path, "SELECT count(*) FROM disk_hours") == [(3,)]
    host.prune(NOW + 8 * DAY, hours_before=NOW + HOUR)
    assert query(path, "SELECT count(*) FROM disk_hours") == [(2,)]
    assert query(path, "SELECT name FROM device ORDER BY name") == [("sda",)]


def test_reducing_and_deleting_search_by_the_keys(host: Devices, path: Path) -> None:
    hour_of(host)
    connection = sqlite3.connect(path)
    for statement in (
        "SELECT * FROM disks WHERE ts >= 1 AND ts < 2",
        "DELETE FROM disk_hour WHERE (device_id, ts) IN (SELECT device_id, 1 FROM device)",
        "SELECT * FROM disk_hours WHERE ts >= 1 AND ts < 2",
    ):
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        assert not [step for step in plan if step.startswith("SCAN disk")], plan
    connection.close()
