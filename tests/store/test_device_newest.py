"""Which devices, mounts and services there are, each with the figures of its newest row."""

from functools import partial

import pytest

from service.clock import DAY, HOUR
from service.records import DeviceKind, MountUsage, ServiceUsage
from service.store import device_newest, filesystems
from service.store.device_metrics import KINDS, Kind
from service.store.device_newest import NewestRow
from service.store.reader import History
from service.store.writer import Store
from tests.conftest import NOW, Record
from tests.store.conftest import Devices

KB = 1024


def newest(history: History, kind: Kind, most: int = 100) -> tuple[list[NewestRow], int]:
    with history.view() as view:
        return view.read(partial(device_newest.newest, kind=kind, most=most))


def only(history: History, kind: Kind) -> NewestRow:
    ((row,), left_out) = newest(history, kind)
    assert left_out == 0
    return row


def mounted(store: Store, ts: int, path: str, used_kb: int) -> None:
    usage = MountUsage(path, 1000 * KB, used_kb * KB, (950 - used_kb) * KB, 500, 50)
    store.write(lambda statements: filesystems.insert(statements, ts, [usage], 1))


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_recorded_there_is_none(store: Store, history: History, kind: Kind) -> None:
    assert newest(history, kind) == ([], 0)


def test_a_disk_has_the_figures_of_its_newest_row(host: Devices, history: History) -> None:
    host.did("disk", "sda", NOW + 60, 0, 0, 9, 9, 30_000, 900)
    host.did("disk", "sda", NOW + 100, 20 * 512, 40 * 512, 30, 10, 10_000, 200, covered=40.0, state="up")
    host.did("disk", "sda", NOW, 0, 0, 9, 9, 30_000, 900)
    figures = {
        "read_bytes": 256.0,
        "written_bytes": 512.0,
        "busy_percent": 25.0,
        "read_operations": 0.75,
        "written_operations": 0.25,
        "wait_ms": 5.0,
    }
    assert only(history, "disk") == NewestRow("sda", NOW + 100, 40.0, None, figures)


def test_interfaces_and_batteries_have_a_state_and_sensors_none(host: Devices, history: History) -> None:
    host.did("interface", "eth0", NOW, 600, 300, 30, 60, state="unknown")
    host.did("battery", "BAT0", NOW, 81.4, state="full")
    host.did("sensor", "cpu", NOW, 40.5, state="up")
    moved = {"received_bytes": 20.0, "sent_bytes": 10.0, "errors": 1.0, "drops": 2.0}
    assert only(history, "interface") == NewestRow("eth0", NOW, 30.0, "unknown", moved)
    assert only(history, "battery") == NewestRow("BAT0", NOW, 30.0, "full", {"percent": 81.4})
    assert only(history, "sensor") == NewestRow("cpu", NOW, 30.0, None, {"celsius": 40.5})


def test_what_is_not_known_of_the_newest_row_is_none(host: Devices, history: History) -> None:
    host.did("interface", "eth0", NOW - 30, 600, 300, 30, 60, state="up")
    host.did("interface", "eth0", NOW, None, None, None, None)
    unknown = dict.fromkeys(("received_bytes", "sent_bytes", "errors", "drops"))
    assert only(history, "interface") == NewestRow("eth0", NOW, 30.0, None, unknown)


def test_a_mount_has_its_newest_size_and_usage(store: Store, history: History) -> None:
    mounted(store, NOW, "/srv", 100)
    mounted(store, NOW + 60, "/srv", 190)
    figures = {
        "used_percent": 20.0,
        "used_bytes": 190 * KB,
        "available_bytes": 760 * KB,
        "total_bytes": 1000 * KB,
        "used_inodes": 50,
    }
    assert only(history, "mount") == NewestRow("/srv", NOW + 60, 60.0, None, figures)


def test_a_service_has_the_figures_of_the_newest_capture_in_which_it_may_have_used_nothing(
    record: Record, history: History
) -> None:
    idle = ServiceUsage("a.service", "service", 6.0, 10 * KB, 5 * KB, 5 * KB, 0)
    busy = ServiceUsage("b.service", "service", 60.0, 64 * KB, 30 * KB, 60 * KB, 0)
    record(NOW, 60.0, services=[idle])
    record(NOW + 30, 60.0, services=[busy])
    found, left_out = newest(history, "service")
    # Four CPUs for 30 s are 120 s.
    unused = {"cpu_percent": 0.0, "memory_bytes": None, "read_bytes": None, "written_bytes": None}
    used = {"cpu_percent": 50.0, "memory_bytes": 64 * KB, "read_bytes": 1.0 * KB, "written_bytes": 2.0 * KB}
    assert found == [
        NewestRow("a.service", NOW + 30, 30.0, None, unused),
        NewestRow("b.service", NOW + 30, 30.0, None, used),
    ]
    assert left_out == 0


@pytest.mark.parametrize(("before", "is_there"), [(0, True), (2 * HOUR, True), (2 * HOUR + 1, False)])
@pytest.mark.parametrize("kind", ["disk", "interface", "sensor", "battery"])
def test_what_has_no_row_in_the_two_hours_before_the_newest_of_its_kind_is_not_there(
    host: Devices, history: History, kind: DeviceKind, before: int, is_there: bool
) -> None:
    host.did(kind, "a", NOW - before, 0.0)
    host.did(kind, "b", NOW - 9 * DAY, 0.0)
    host.did(kind, "b", NOW, 0.0)
    # Of another table.
    host.did("interface" if kind == "disk" else "disk", "c", NOW + DAY, 0.0)
    (a, b), _ = newest(history, kind)
    assert (a.name, a.ts, a.covered_seconds, bool(a.figures)) == (
        ("a", NOW - before, 30.0, True) if is_there else ("a", None, None, False)
    )
    assert (b.name, b.ts) == ("b", NOW)


@pytest.mark.parametrize(("before", "is_there"), [(2 * HOUR, True), (2 * HOUR + 1, False)])
def test_a_mount_is_not_there_two_hours_before_the_newest_row_of_any(
    store: Store, history: History, before: int, is_there: bool
) -> None:
    mounted(store, NOW - before, "/old", 100)
    mounted(store, NOW, "/srv", 100)
    (old, srv), _ = newest(history, "mount")
    assert (old.ts, srv.ts) == (NOW - before if is_there else None, NOW)


def test_sensors_and_batteries_are_read_together(host: Devices, history: History) -> None:
    """As they are: one moment, one table."""
    host.did("sensor", "cpu", NOW, 40.0)
    host.did("battery", "BAT0", NOW + 2 * HOUR + 1, 50.0)
    assert only(history, "sensor") == NewestRow("cpu")
    assert only(history, "battery").ts == NOW + 2 * HOUR + 1


def test_devices_whose_rows_are_gone_are_known_by_name(host: Devices, store: Store, history: History) -> None:
    host.did("disk", "sda", NOW, 0, 0, 0, 0, 0, 0)
    with store.transaction() as statements:
        statements.run("DELETE FROM disk_usage")
    assert only(history, "disk") == NewestRow("sda", None, None, None, {})


def test_those_seen_last_come_by_name_and_the_others_are_counted(host: Devices, history: History) -> None:
    for name, days in (("sdc", 3), ("sda", 1), ("sdd", 2), ("sdb", 4)):
        host.did("disk", name, NOW + days * DAY, 0, 0, 0, 0, 0, 0)
    host.did("sensor", "cpu", NOW, 40.0)
    for most, names, left_out in (
        (1, ["sdb"], 3),
        (3, ["sdb", "sdc", "sdd"], 1),
        (4, ["sda", "sdb", "sdc", "sdd"], 0),
        (5, ["sda", "sdb", "sdc", "sdd"], 0),
    ):
        found, more = newest(history, "disk", most)
        assert ([row.name for row in found], more) == (names, left_out)


def test_what_was_read_is_not_changed() -> None:
    with pytest.raises(AttributeError):
        NewestRow("sda").ts = 1  # type: ignore[misc]
    assert not hasattr(NewestRow("sda"), "__dict__")
