"""The hours that are made of what devices did, and what of it is deleted."""

import sqlite3
from pathlib import Path

import pytest

from service.clock import DAY, HOUR
from service.store import device_rollups
from service.store.writer import Store
from tests.conftest import NOW
from tests.running import query
from tests.store.conftest import Devices


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


def test_of_nothing_there_is_no_hour_and_no_oldest_row(store: Store) -> None:
    assert store.write(device_rollups.roll_up) is False
    assert store.write(device_rollups.oldest) is None


def test_the_oldest_row_is_that_of_any_kind(host: Devices, store: Store) -> None:
    for kind, ts in (("battery", NOW + 60), ("interface", NOW + 90), ("disk", NOW + 30), ("sensor", NOW + 120)):
        host.did(kind, "one", ts, *[0.0] * (1 if kind in ("battery", "sensor") else 4))  # type: ignore[arg-type]
    assert store.write(device_rollups.oldest) == NOW + 30
    with store.transaction() as statements:
        statements.run("DELETE FROM disk_usage")
    assert store.write(device_rollups.oldest) == NOW + 60


NOTHING = (0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(("later", "made"), [(299, 0), (300, 1), (301, 1)])
def test_an_hour_is_made_once_a_row_lies_five_minutes_after_it(
    host: Devices, store: Store, later: int, made: int
) -> None:
    host.did("disk", "sda", NOW + 60, *NOTHING)
    host.did("sensor", "cpu", NOW + HOUR + later, 40.0)
    assert host.roll_up() == made
    assert store.write(device_rollups.roll_up) is False
    assert host.progress() == ((NOW + HOUR if made else 0), 0)


def test_hours_without_rows_are_passed_over_and_each_kind_has_its_own(host: Devices, path: Path) -> None:
    host.did("disk", "sda", NOW + HOUR, *NOTHING)
    host.did("sensor", "cpu", NOW + 50 * HOUR + 60, 40.0)
    host.did("disk", "sda", NOW + 90 * HOUR + 60, *NOTHING)
    host.did("disk", "sda", NOW + 92 * HOUR, *NOTHING)
    assert host.roll_up() == 3
    assert query(path, "SELECT ts FROM disk_hours ORDER BY ts") == [(NOW,), (NOW + 90 * HOUR,)]
    assert query(path, "SELECT ts FROM sensor_hours") == [(NOW + 50 * HOUR,)]
    assert host.progress() == (NOW + 91 * HOUR, 0)


def test_where_the_rows_after_the_last_hour_are_gone_there_is_none_to_make(host: Devices, store: Store) -> None:
    host.did("disk", "sda", NOW + 60, *NOTHING)
    host.did("disk", "sda", NOW + 2 * HOUR, *NOTHING)
    assert host.roll_up() == 1
    with store.transaction() as statements:
        statements.run("DELETE FROM disk_usage WHERE ts > ?", (NOW + HOUR,))
    assert store.write(device_rollups.roll_up) is False


@pytest.mark.parametrize(
    ("ts", "covered", "hour"),
    [
        (NOW + HOUR + 14, 30.0, NOW),
        (NOW + HOUR + 14, 29.0, NOW),
        (NOW + HOUR + 15, 30.0, NOW + HOUR),
        (NOW + HOUR, 0.5, NOW),
        (NOW + HOUR, 0.0, NOW + HOUR),
        (NOW + 2 * HOUR + 14, 30.0, NOW + HOUR),
        (NOW + 2 * HOUR + 15, 30.0, NOW + 2 * HOUR),
        # The longest that is looked for ends two hours after the hour.
        (NOW + 3 * HOUR, 4 * HOUR + 2.0, NOW),
        (NOW + 3 * HOUR, 4 * HOUR, NOW + HOUR),
    ],
)
def test_a_row_is_in_the_one_hour_in_which_its_middle_lies(
    host: Devices, path: Path, ts: int, covered: float, hour: int
) -> None:
    host.did("disk", "sda", ts, 512, 0, 1, 0, 1, 1, covered=covered)
    host.did("sensor", "cpu", ts, 40.0, covered=covered)
    host.did("sensor", "cpu", NOW + 9 * HOUR, 40.0)
    host.roll_up()
    covered = max(covered, 0.001)
    assert query(path, "SELECT ts, covered_seconds, read_bytes FROM disk_hours") == [(hour, covered, 512)]
    assert query(path, "SELECT ts, covered_seconds FROM sensor_hours") == [(hour, covered)]


def test_a_row_of_less_than_nine_tenths_of_a_second_says_nothing_of_how_fast_it_was(host: Devices, path: Path) -> None:
    # In sectors a second: 1000, 1000, 10.
    for second, (name, read, covered) in enumerate(
        (("short", 899 * 512, 0.899), ("long", 900 * 512, 0.9), ("short", 300 * 512, 30.0), ("long", 300 * 512, 30.0))
    ):
        host.did("disk", name, NOW + 60 + 30 * second, read, 0, 1, 0, 1, 1, covered=covered)
    host.did("disk", "short", NOW + 2 * HOUR, *NOTHING)
    host.roll_up()
    assert query(path, "SELECT disk, read_bytes, read_bytes_per_second_max FROM disk_hours ORDER BY disk") == [
        ("long", 1200 * 512, 1000 * 512), ("short", 1199 * 512, 10 * 512)
    ]  # fmt: skip


def test_the_state_of_an_hour_is_that_of_the_devices_last_row(host: Devices, path: Path) -> None:
    """The last by its stamp; of two with one stamp, after the clock was set back, that of the later stretch."""
    for stretch, later, link, speed, charge in (
        (1, 600, "down", 10, "full"),
        (2, 300, "dormant", 100, "charging"),
        (2, 600, "up", 1000, "discharging"),
        (3, 300, "testing", 2500, "not charging"),
    ):
        host.did("interface", "eth0", NOW + later, 1, 2, 0, 0, stretch=stretch, state=link, speed_mbit=speed)
        host.did("battery", "BAT0", NOW + later, 50.0, stretch=stretch, state=charge)
    # Others, in the latest stretch, last seen at the same second.
    host.did("interface", "eth1", NOW + 600, 1, 2, 0, 0, stretch=4, state="lowerlayerdown", speed_mbit=40)
    host.did("battery", "BAT1", NOW + 600, 50.0, stretch=4, state="unknown")
    host.did("battery", "BAT1", NOW + 2 * HOUR, 50.0, stretch=4, state="charging")
    host.roll_up()
    links = "SELECT interface, covered_seconds, received_bytes, sent_bytes, state, speed_mbit FROM interface_hours"
    assert query(path, f"{links} ORDER BY interface") == [
        ("eth0", 120.0, 4, 8, "up", 1000), ("eth1", 30.0, 1, 2, "lowerlayerdown", 40)
    ]  # fmt: skip
    assert query(path, "SELECT battery, status FROM battery_hours ORDER BY battery") == [
        ("BAT0", "discharging"), ("BAT1", "unknown")
    ]  # fmt: skip


def test_an_hour_of_a_battery_is_its_average_by_time_and_its_least_and_greatest(host: Devices, path: Path) -> None:
    for ts, percent, covered in ((60, 10.0, 30.0), (90, None, 30.0), (180, 70.0, 90.0), (240, 40.0, 60.0)):
        host.did("battery", "BAT0", NOW + ts, percent, covered=covered, state="charging")
    host.did("battery", "BAT0", NOW + 2 * HOUR, 50.0)
    host.roll_up()
    # (10 x 30 + 70 x 90 + 40 x 60) / 180
    columns = "ts, covered_seconds, percent, percent_min, percent_max"
    assert query(path, f"SELECT {columns} FROM battery_hours") == [(NOW, 180.0, 50.0, 10.0, 70.0)]


def test_the_twenty_virtual_ones_that_moved_most_in_both_directions_are_kept(host: Devices, path: Path) -> None:
    for number in range(19):
        host.did("interface", f"veth{number}", NOW + 60, 500, 500, 0, 0, is_virtual=True)
    host.did("interface", "received", NOW + 60, 100, 3, 0, 0, is_virtual=True)
    host.did("interface", "sent", NOW + 60, 2, 102, 0, 0, is_virtual=True)
    host.did("interface", "failing", NOW + 60, 90, 9, 10**6, 0, is_virtual=True)
    host.did("interface", "eth0", NOW + 2 * HOUR, 0, 0, 0, 0)
    host.roll_up()
    kept = {name for (name,) in query(path, "SELECT interface FROM interface_hours")}
    assert kept == {"sent", *(f"veth{number}" for number in range(19))}


def test_an_hour_is_of_the_rows_whose_first_count_is_known(host: Devices, path: Path) -> None:
    host.did("interface", "sends", NOW + 60, None, 5, 0, 0)
    host.did("interface", "receives", NOW + 60, 7, None, 0, 0)
    host.did("interface", "sends", NOW + 2 * HOUR, 0, 0, 0, 0)
    host.roll_up()
    columns = "interface, covered_seconds, received_bytes, sent_bytes"
    assert query(path, f"SELECT {columns} FROM interface_hours") == [("receives", 30.0, 7, None)]


def test_an_hour_whose_rows_are_gone_stays_as_it_is_and_the_one_after_it_is_made_again(
    host: Devices, path: Path
) -> None:
    hours = "SELECT ts, read_bytes FROM disk_hours ORDER BY ts"
    for hour in range(3):
        host.did("disk", "sda", NOW + hour * HOUR + 600, 512, 0, 1, 0, 1, 1)
    assert host.roll_up() == 2
    host.prune(NOW + HOUR)
    assert host.progress() == (NOW + 2 * HOUR, NOW + HOUR)
    host.did("disk", "sda", NOW + 900, 1024, 0, 1, 0, 1, 1)
    host.did("disk", "sda", NOW + HOUR + 900, 1024, 0, 1, 0, 1, 1)
    assert host.roll_up() == 2
    assert query(path, hours) == [(NOW, 512), (NOW + HOUR, 1536)]


def rows_left(path: Path) -> list[int]:
    """Hours after NOW at which rows end."""
    return [(ts - NOW) // HOUR for (ts,) in query(path, "SELECT ts FROM disks ORDER BY ts")]


def test_rows_are_deleted_to_the_end_of_the_hour_with_the_first_one_too_many(
    host: Devices, store: Store, path: Path
) -> None:
    """Each row ends 600 s after the hour: at hours 0, 0, 1, 1, 2, 3 and 9."""
    for hour in (0, 1):
        host.did("disk", "sdb", NOW + hour * HOUR + 600, *NOTHING)
    for hour in (0, 1, 2, 3, 9):
        host.did("disk", "sda", NOW + hour * HOUR + 600, *NOTHING)
    assert host.roll_up() == 4
    until = NOW + 5 * HOUR

    def prune(most: int) -> bool:
        return store.write(lambda statements: device_rollups.prune(statements, until, 0, most))

    assert prune(1) is True
    assert rows_left(path) == [1, 1, 2, 3, 9]
    assert host.progress() == (NOW + 4 * HOUR, NOW + HOUR)
    assert prune(2) is True
    assert rows_left(path) == [3, 9]
    assert host.progress() == (NOW + 4 * HOUR, NOW + 3 * HOUR)
    assert prune(1) is False
    assert rows_left(path) == [9]
    assert host.progress() == (NOW + 4 * HOUR, NOW + 4 * HOUR)


def test_as_many_rows_as_go_at_once_go_in_one_step_with_the_one_that_ends_at_the_limit(
    host: Devices, path: Path
) -> None:
    for ts in (NOW + 60, NOW + HOUR, NOW + HOUR + 1, NOW + 9 * HOUR):
        host.did("disk", "sda", ts, *NOTHING, covered=1.0)
    host.roll_up()
    assert host.prune(NOW + HOUR + 3599, most=2) == 1
    assert query(path, "SELECT ts FROM disks ORDER BY ts") == [(NOW + HOUR + 1,), (NOW + 9 * HOUR,)]
    assert host.progress()[1] == NOW + HOUR


def test_from_when_on_rows_are_whole_moves_only_on_and_only_where_some_went(host: Devices, path: Path) -> None:
    host.did("disk", "sda", NOW + 2 * HOUR + 60, *NOTHING)
    host.did("disk", "sda", NOW + 4 * HOUR + 60, *NOTHING)
    host.roll_up()
    host.prune(NOW + 2 * HOUR)
    assert host.progress() == (NOW + 3 * HOUR, 0)
    host.prune(NOW + 3 * HOUR)
    assert host.progress() == (NOW + 3 * HOUR, NOW + 3 * HOUR)
    # A row of before comes late, and goes.
    host.did("disk", "sda", NOW + 60, *NOTHING)
    host.roll_up()
    host.prune(NOW + HOUR)
    assert query(path, "SELECT ts FROM disks") == [(NOW + 4 * HOUR + 60,)]
    assert host.progress()[1] == NOW + 3 * HOUR


def test_hours_before_the_limit_go_and_those_from_it_on_stay(host: Devices, path: Path) -> None:
    for hour in range(4):
        host.did("disk", "sda", NOW + hour * HOUR + 60, *NOTHING)
        host.did("sensor", "cpu", NOW + hour * HOUR + 60, 40.0)
    host.did("disk", "sdb", NOW + 2 * HOUR + 60, *NOTHING)
    host.did("disk", "sda", NOW + 5 * HOUR, *NOTHING)
    host.roll_up()
    host.prune(0, hours_before=NOW + 2 * HOUR)
    assert query(path, "SELECT disk, ts FROM disk_hours ORDER BY disk, ts") == [
        ("sda", NOW + 2 * HOUR), ("sda", NOW + 3 * HOUR), ("sdb", NOW + 2 * HOUR)
    ]  # fmt: skip
    assert query(path, "SELECT ts FROM sensor_hours ORDER BY ts") == [(NOW + 2 * HOUR,), (NOW + 3 * HOUR,)]


def test_a_device_is_forgotten_two_days_after_it_was_last_seen_where_no_hour_of_it_is_kept(
    host: Devices, path: Path
) -> None:
    limit = NOW + 10 * DAY
    host.did("disk", "kept", limit - 5 * DAY, *NOTHING)
    for name, ts in (("gone", limit - 2 * DAY - 1), ("stays", limit - 2 * DAY), ("new", limit + 60)):
        host.did("disk", name, ts, *[None] * 6)
    host.did("disk", "kept", limit + 2 * HOUR, *NOTHING)
    host.roll_up()
    # That it was seen again is noted as well.
    assert query(path, "SELECT disk FROM disk_hours") == [("kept",)]
    host.prune(limit + 30)
    assert query(path, "SELECT name FROM device ORDER BY name") == [("kept",), ("new",), ("stays",)]


def test_a_device_that_was_last_seen_long_ago_is_known_as_long_as_an_hour_of_it_is(host: Devices, path: Path) -> None:
    host.did("sensor", "cpu", NOW + 60, 40.0)
    host.did("disk", "sda", NOW + 20 * DAY, *NOTHING)
    host.did("disk", "sda", NOW + 20 * DAY + 2 * HOUR, *NOTHING)
    host.roll_up()
    host.prune(NOW + 20 * DAY)
    assert query(path, "SELECT name FROM device ORDER BY name") == [("cpu",), ("sda",)]
    host.prune(NOW + 20 * DAY, hours_before=NOW + HOUR)
    assert query(path, "SELECT name FROM device") == [("sda",)]
