"""File systems, disks and interfaces arrive as node_exporter calls them, whole over gaps, restarts and resendings."""

from collections.abc import Callable
from random import Random

import pytest

from service.forward import node_devices
from service.forward.node import NODE
from service.forward.status import again
from service.records import Break, Capture, DeviceReading, DeviceUsage, MountUsage, OpenFiles, Sample
from service.store import captures, devices, filesystems
from service.store.writer import Store
from tests.conftest import NOW, FakeClock, Fill, all_processes
from tests.forward.conftest import Drive, Driven
from tests.forward.receiver import Scripted
from tests.forward.told import taken
from tests.running import query

WRITTEN = 'node_disk_written_bytes_total{device="sda"}'
Note = Callable[..., None]


@pytest.fixture
def note(store: Store) -> Note:
    """Store what devices did: `note(ts, 512, 1024)` as bytes that the disk sda wrote in 30 seconds and then read."""

    def note(ts: int, *rows: DeviceUsage, stretch: int = 1) -> None:
        store.write(lambda statements: devices.insert(statements, rows, stretch))

    return note


@pytest.fixture(autouse=True)
def _later(clock: FakeClock, receiver: Scripted) -> None:
    """All of it lies in the past, also by the receiver's clock."""
    clock.wall += 100_000
    receiver.date = None


def disk(ts: int, written: int, read: int = 0, name: str = "sda", covered: float = 30.0) -> DeviceUsage:
    values = (read, written, 1, 2, 15_000, 7)
    return DeviceUsage("disk", name, ts, covered, values, DeviceReading(values))


def interface(ts: int, received: int, sent: int, state: str | None, speed: int | None) -> DeviceUsage:
    values = (received, sent, 5, 7, 1, 3, 8, 9)
    return DeviceUsage("interface", "eth0", ts, 30.0, values, DeviceReading(values, state, speed))


def sensor(ts: int, name: str) -> DeviceUsage:
    return DeviceUsage("sensor", name, ts, 30.0, (38.94,), DeviceReading((38.9,), limits=(81.8, 84.8)))


def pass_on(driven: Driven, fill: Fill, receiver: Scripted) -> None:
    """A minute later what was stored before is sent."""
    last = query(driven.path, "SELECT max(ts) FROM sample")[0][0]
    for start in (last + 5, last + 60):
        fill(start, 10, 5, Break(start - 5, None), load_1=1.0)
        driven.ship()


def values(receiver: Scripted, series: str) -> dict[float, float | str]:
    return taken(receiver).get(series, {})


def test_a_row_is_told_in_the_units_of_node_exporter(
    fill: Fill, note: Note, store: Store, drive: Drive, receiver: Scripted
) -> None:
    driven = drive(forward__names="node")
    fill(NOW - 100, 1)
    driven.ship()
    note(NOW, disk(NOW, 51200, 512), interface(NOW, 1000, 500, "up", 1000))
    note(NOW + 30, disk(NOW + 30, 1024), interface(NOW + 30, 1, 0, "down", None))
    note(NOW, *(sensor(NOW, name) for name in ("nvme0/Composite", "thermal_zone0/acpitz", "odd")))
    usage = MountUsage('/data "x"', 2**30, 2**29, 2**28, 1000, 400, "ext4", "/dev/sda1")
    store.write(lambda statements: filesystems.insert(statements, NOW, [usage], 1))
    fill(NOW - 95, 40)
    driven.ship()
    pass_on(driven, fill, receiver)
    found = taken(receiver)
    assert found[WRITTEN] == {NOW - 30: 0, NOW: 51200, NOW + 30: 52224}
    on_disk = '{device="sda"}'
    assert found[f"node_disk_read_bytes_total{on_disk}"][NOW + 30] == 512
    assert found[f"node_disk_reads_completed_total{on_disk}"][NOW + 30] == 2
    assert found[f"node_disk_writes_completed_total{on_disk}"][NOW + 30] == 4
    assert found[f"node_disk_io_time_seconds_total{on_disk}"][NOW + 30] == 30
    on_eth = '{device="eth0"}'
    assert found[f"node_network_receive_bytes_total{on_eth}"] == {NOW - 30: 0, NOW: 1000, NOW + 30: 1001}
    assert found[f"node_network_transmit_bytes_total{on_eth}"][NOW + 30] == 500
    counted = {"packets": (16, 18), "errs": (8, 2), "drop": (8, 6)}
    for what, (received, sent) in counted.items():
        assert found[f"node_network_receive_{what}_total{on_eth}"] == {
            NOW - 30: 0,
            NOW: received / 2,
            NOW + 30: received,
        }
        assert found[f"node_network_transmit_{what}_total{on_eth}"] == {NOW - 30: 0, NOW: sent / 2, NOW + 30: sent}
    assert found[f"node_network_up{on_eth}"] == {NOW - 30: 1, NOW: 1, NOW + 30: 0}
    assert found[f"node_network_speed_bytes{on_eth}"] == {NOW - 30: 125e6, NOW: 125e6}
    assert found[f"node_disk_io_time_weighted_seconds_total{on_disk}"][NOW + 30] == 0.014
    warm = {name: points for name, points in found.items() if "hwmon" in name}
    assert warm == {
        f'node_hwmon_temp_{what}celsius{{chip="nvme0",sensor="Composite"}}': {NOW - 30: value, NOW: value}
        for what, value in (("", 38.9), ("max_", 81.8), ("crit_", 84.8))
    }
    mounted = '{device="/dev/sda1",fstype="ext4",mountpoint="/data "x""}'
    told = {name.removesuffix(mounted): points for name, points in found.items() if "mountpoint" in name}
    assert told == {
        "node_filesystem_size_bytes": {NOW: 2**30},
        "node_filesystem_free_bytes": {NOW: 2**29},
        "node_filesystem_avail_bytes": {NOW: 2**28},
        "node_filesystem_files": {NOW: 1000},
        "node_filesystem_files_free": {NOW: 600},
        "node_filesystem_readonly": {NOW: 0},
        "node_filesystem_device_error": {NOW: 0},
    }
    assert set(receiver.labels["node_filesystem_files"]) == {
        *("__name__", "device", "fstype", "instance", "job", "mountpoint")
    }


def test_of_what_was_recorded_before_directions_were_none_is_told_and_then_they_count_from_the_next_row(
    fill: Fill, note: Note, drive: Drive, receiver: Scripted
) -> None:
    driven = drive(forward__names="node")
    fill(NOW - 100, 1)
    driven.ship()
    fill(NOW - 95, 40)
    old = DeviceUsage("interface", "eth0", NOW, 30.0, (1000, 500, 5, 7, *(None,) * 4), DeviceReading(()))
    note(NOW, old, interface(NOW + 30, 1, 0, "up", None))
    driven.ship()
    pass_on(driven, fill, receiver)
    assert values(receiver, 'node_network_receive_bytes_total{device="eth0"}') == {
        NOW - 30: 0,
        NOW: 1000,
        NOW + 30: 1001,
    }
    assert values(receiver, 'node_network_receive_errs_total{device="eth0"}') == {NOW + 30: 4}


def test_open_files_are_told_with_their_limit_and_where_there_is_none_as_the_kernel_tells_it(
    fill: Fill, store: Store, drive: Drive, receiver: Scripted
) -> None:
    driven = drive(forward__names="node")
    fill(NOW - 100, 1)
    driven.ship()
    fill(NOW - 95, 40)
    for ts, files in ((NOW, OpenFiles(1149, 2466193)), (NOW + 30, OpenFiles(1200, None)), (NOW + 60, None)):
        capture = Capture(ts, 30.0, 60.0, 1.0, all_processes(), open_files=files)
        store.write(lambda statements, capture=capture: captures.insert(statements, capture, 1))  # type: ignore[misc]
    driven.ship()
    pass_on(driven, fill, receiver)
    assert values(receiver, "node_filefd_allocated") == {NOW - 30: 1149, NOW: 1149, NOW + 30: 1200}
    assert values(receiver, "node_filefd_maximum") == {NOW - 30: 2466193, NOW: 2466193, NOW + 30: float(2**63 - 1)}


def test_over_restarts_and_in_any_portions_a_counter_says_the_same_and_so_it_does_when_it_is_sent_again(
    fill: Fill, note: Note, store: Store, drive: Drive, receiver: Scripted
) -> None:
    random = Random(3)
    written = [random.randrange(10**6) // 512 * 512 for _ in range(40)]
    driven = drive(forward__names="node")
    fill(NOW - 100, 1)
    driven.ship()
    for i, amount in enumerate(written):
        fill(NOW + 30 * i, 6, 5, Break(NOW + 30 * i - 5, None) if i else Break(NOW - 100, None))
        note(NOW + 30 * i, disk(NOW + 30 * i, amount), stretch=2 + i)
        if i % 7 == 3:
            driven.begin()
            driven.ship()
    pass_on(driven, fill, receiver)
    before = values(receiver, WRITTEN)
    assert list(before.values()) == [sum(written[:i]) for i in range(41)]
    target = driven.settings.forward.target
    receiver.bodies.clear()
    store.write(lambda statements: again(statements, target, NOW + 300, NOW + 900, NODE))
    driven.begin()
    pass_on(driven, fill, receiver)
    sent_again = values(receiver, WRITTEN)
    assert 15 <= len(sent_again) <= 25
    assert all(before[ts] == value for ts, value in sent_again.items() if ts in before)
    # What comes after goes on from where it was.
    last = query(driven.path, "SELECT max(ts) FROM sample")[0][0]
    ((stretch,),) = query(driven.path, "SELECT max(stretch_id) FROM stretch")
    note(last, disk(last, 512), stretch=stretch)
    pass_on(driven, fill, receiver)
    assert values(receiver, WRITTEN)[last] == sum(written) + 512


def test_a_crash_or_a_receiver_that_is_away_loses_no_row_and_counts_none_twice(
    fill: Fill, note: Note, drive: Drive, receiver: Scripted
) -> None:
    driven = drive(forward__names="node")
    fill(NOW - 100, 1)
    driven.ship()
    note(NOW, disk(NOW, 512))
    fill(NOW - 95, 40)
    driven.ship()
    fill(NOW + 110, 10, 5, Break(NOW + 105, None))
    driven.shipper._store.ride = lambda _: None  # type: ignore[method-assign]
    for _ in range(3):
        driven.step()
    del driven.shipper._store.ride  # type: ignore[attr-defined]
    driven.begin()
    receiver.script = [500, 503]
    pass_on(driven, fill, receiver)
    assert values(receiver, WRITTEN) == {NOW - 30: 0, NOW: 512}


def test_a_gap_ends_a_series_which_then_goes_on_and_so_does_a_device_that_was_gone(
    fill: Fill, note: Note, store: Store, drive: Drive, receiver: Scripted
) -> None:
    driven = drive(forward__names="node")
    fill(NOW - 100, 1)
    driven.ship()
    fill(NOW - 95, 60)
    note(NOW, disk(NOW, 512), disk(NOW, 512, name="usb"))
    note(NOW + 120, disk(NOW + 30, 512), disk(NOW + 120, 1024, name="usb"))
    fill(NOW + 400, 40, 5, Break(NOW + 200, "stopped"))
    note(NOW + 450, disk(NOW + 450, 2048), stretch=2)
    driven.ship()
    pass_on(driven, fill, receiver)
    assert values(receiver, WRITTEN) == {
        NOW - 30: 0,
        NOW: 512,
        NOW + 30: 1024,
        NOW + 30.001: "stale",
        NOW + 420: 1024,
        NOW + 450: 3072,
    }
    assert values(receiver, WRITTEN.replace("sda", "usb")) == {
        NOW - 30: 0,
        NOW: 512,
        NOW + 0.001: "stale",
        NOW + 90: 512,
        NOW + 120: 1536,
    }


def test_within_a_long_row_there_is_a_point_a_minute_none_older_than_a_default_prometheus_takes(
    fill: Fill, note: Note, drive: Drive, receiver: Scripted
) -> None:
    driven = drive(forward__names="node")
    fill(NOW - 100, 1)
    driven.ship()
    fill(NOW - 95, 800)
    note(NOW + 3600, disk(NOW + 3600, 36 * 10**5 // 512 * 512, covered=3600.0))
    driven.ship()
    pass_on(driven, fill, receiver)
    found = values(receiver, WRITTEN)
    assert list(found) == [NOW + 600 + 60 * i for i in range(51)]
    assert [round(value / 1000) for value in found.values()] == [600 + 60 * i for i in range(51)]  # type: ignore[operator]


def test_only_so_many_are_followed_and_one_that_is_not_seen_any_more_makes_room(
    fill: Fill, note: Note, drive: Drive, receiver: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_devices, "MOST", 2)
    driven = drive(forward__names="node")
    fill(NOW - 100, 1)
    driven.ship()
    fill(NOW - 95, 40)
    note(NOW, *(disk(NOW, 512, name=name) for name in ("a", "b", "c")))
    driven.ship()
    pass_on(driven, fill, receiver)
    assert [name for name in "abc" if values(receiver, WRITTEN.replace("sda", name))] == ["a", "b"]
    begin = NOW + 4 * 3600
    fill(begin, 200, 60, Break(NOW + 300, None))
    ((stretch,),) = query(driven.path, "SELECT max(stretch_id) FROM stretch")
    note(begin + 6000, disk(begin + 6000, 512, name="c"), stretch=stretch)
    driven.ship()
    pass_on(driven, fill, receiver)
    assert values(receiver, WRITTEN.replace("sda", "c")) == {begin + 5970: 0, begin + 6000: 512}
    (state,) = (row[0] for row in query(driven.path, "SELECT counters FROM forward"))
    assert "disk\\ta" not in state


def test_under_tidemarks_names_no_device_is_sent(fill: Fill, note: Note, drive: Drive, receiver: Scripted) -> None:
    driven = drive()
    fill(NOW - 95, 40)
    note(NOW, disk(NOW, 512))
    driven.ship()
    pass_on(driven, fill, receiver)
    assert not [name for name in taken(receiver) if name.startswith("node_")]


def test_a_row_that_is_stored_some_seconds_late_arrives_all_the_same(
    fill: Fill, note: Note, drive: Drive, receiver: Scripted
) -> None:
    driven = drive(forward__names="node")
    fill(NOW - 100, 21)
    driven.ship()
    fill(NOW + 5, 1, 5, Break(NOW, None))
    driven.ship()
    note(NOW - 10, disk(NOW - 10, 512))
    pass_on(driven, fill, receiver)
    assert values(receiver, WRITTEN) == {NOW - 40: 0, NOW - 10: 512}


def test_rows_that_are_held_for_minutes_before_they_are_stored_arrive_all_the_same(
    fill: Fill, note: Note, store: Store, drive: Drive, receiver: Scripted
) -> None:
    driven = drive(forward__names="node")
    fill(NOW - 100, 21)
    driven.ship()
    for ts in range(NOW + 5, NOW + 245, 5):
        store.append([Sample(ts, 5.0, {})])
        if ts % 60 == 0:
            driven.ship()
    for number in range(1, 8):
        note(NOW + 30 * number, disk(NOW + 30 * number, 512))
    pass_on(driven, fill, receiver)
    assert values(receiver, WRITTEN) == {NOW + 30 * number: 512 * number for number in range(8)}


def test_a_short_gap_ends_the_series_of_a_file_system_too(
    fill: Fill, store: Store, drive: Drive, receiver: Scripted
) -> None:
    driven = drive(forward__names="node")
    fill(NOW - 100, 21)
    driven.ship()
    fill(NOW + 200, 20, 5, Break(NOW, "stopped"))
    usage = MountUsage("/data", 2**30, 2**29, 2**28)
    for ts, stretch in ((NOW - 10, 1), (NOW + 200, 2)):
        store.write(lambda statements, at=(ts, stretch): filesystems.insert(statements, at[0], [usage], at[1]))  # type: ignore[misc]
    driven.ship()
    pass_on(driven, fill, receiver)
    name = 'node_filesystem_size_bytes{mountpoint="/data"}'
    assert values(receiver, name) == {NOW - 10: 2**30, NOW - 9.999: "stale", NOW + 200: 2**30}
