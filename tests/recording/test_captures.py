"""The jobs beside the samples: what they see rides with the next sample, and none of it can do a sample harm."""

import logging
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.clock import HOUR
from service.errors import StoreFailed
from service.host.mounts import Keep, MountWatch
from service.recording.attention import Attention
from service.recording.captures import Recorder
from service.recording.foresight import forecasts
from service.records import (
    AllProcesses,
    CpuSeconds,
    MountUsage,
    ProcessUsage,
    Reading,
    Sample,
    ServiceName,
    ServiceUsage,
)
from service.store.filesystems import Course
from service.store.riders import MOST_RIDERS
from service.store.statements import Statements
from service.store.writer import Store
from tests.conftest import NOW, FakeClock, Fill, all_processes
from tests.running import query


class FakeCpus:
    """Two CPUs."""

    seconds: CpuSeconds | None = CpuSeconds(user=100.0, idle=900.0)
    count = 2

    def cpus(self) -> Reading:
        return Reading(
            cpu_seconds=self.seconds,
            seconds_by_cpu={str(number): CpuSeconds() for number in range(self.count)},
        )


class FakeProcesses:
    usages: list[ProcessUsage] | None = None
    busy_seconds: float | None = None

    def capture(self, busy_seconds: float | None = None) -> AllProcesses | None:
        self.busy_seconds = busy_seconds
        return None if self.usages is None else all_processes(*self.usages)


class FakeServices:
    usages: list[ServiceUsage] | None = None
    is_cut = is_broken = False

    def capture(self) -> list[ServiceUsage] | None:
        if self.is_broken:
            raise OSError(24, "Too many open files")
        return self.usages

    def service_of(self, pid: int) -> ServiceName | None:
        if self.is_broken:
            raise OSError(24, "Too many open files")
        return {7: ServiceName("web.service", "service")}.get(pid)


class FakeMounts(MountWatch):
    def capture(self, keep: Keep) -> None:
        keep([MountUsage("/", 1000 * 1024, 400 * 1024, 550 * 1024)])


@pytest.fixture
def cpus() -> FakeCpus:
    return FakeCpus()


@pytest.fixture
def seen() -> FakeProcesses:
    return FakeProcesses()


@pytest.fixture
def recorder(cpus: FakeCpus, seen: FakeProcesses, store: Store, clock: FakeClock) -> Recorder:
    return Recorder(cpus, seen, FakeServices(), FakeMounts(), store, clock, Attention(30))


def capture_twice(recorder: Recorder, cpus: FakeCpus, seen: FakeProcesses, clock: FakeClock) -> None:
    recorder.capture_processes()
    clock.pass_seconds(30)
    seen.usages, cpus.seconds = [ProcessUsage("web", 7, 6.0, 4096)], CpuSeconds(user=130.0, idle=930.0)
    recorder.capture_processes()


def test_a_capture_is_stored_with_the_next_sample_and_the_hosts_own_figure(
    recorder: Recorder, cpus: FakeCpus, seen: FakeProcesses, clock: FakeClock, fill: Fill, path: Path
) -> None:
    capture_twice(recorder, cpus, seen, clock)
    assert query(path, "SELECT count(*) FROM captures") == [(0,)]
    fill(NOW + 30, 1)
    assert query(path, "SELECT ts, covered_seconds, cpus, cpu_percent, unattributed_cpu_percent FROM captures") == [
        (NOW + 30, 30.0, 2, 50.0, 40.0)
    ]
    assert query(path, "SELECT name, pid, cpu_percent FROM processes") == [("web", 7, 10.0)]


def test_where_each_is_wanted_at_once_each_capture_is_stored_with_the_sample_after_it(
    cpus: FakeCpus, seen: FakeProcesses, store: Store, clock: FakeClock, fill: Fill, path: Path
) -> None:
    recorder = Recorder(cpus, seen, FakeServices(), FakeMounts(), store, clock, Attention(30), at_once=1)
    fill(NOW, 1)
    recorder.capture_processes()
    seen.usages, stored = [], []
    for number in range(1, 4):
        clock.pass_seconds(30)
        recorder.capture_processes()
        store.append([Sample(NOW + 30 * number, 30.0, {}, None)])
        stored.append(query(path, "SELECT count(*) FROM captures")[0][0])
    assert stored == [1, 2, 3]


def test_later_captures_are_stored_a_few_at_a_time_and_all_when_the_run_ends(
    recorder: Recorder,
    cpus: FakeCpus,
    seen: FakeProcesses,
    store: Store,
    clock: FakeClock,
    fill: Fill,
    path: Path,
) -> None:
    fill(NOW, 1)
    recorder.capture_processes()
    seen.usages, stored = [], []
    for number in range(1, 11):
        clock.pass_seconds(30)
        recorder.capture_processes()
        store.append([Sample(NOW + 30 * number, 30.0, {}, None)])
        stored.append(query(path, "SELECT count(*) FROM captures")[0][0])
    assert stored == [1, 1, 1, 1, 1, 1, 7, 7, 7, 7]
    recorder.hand_over()
    store.end_run(NOW + 301)
    assert query(path, "SELECT count(*) FROM captures") == [(10,)]


@pytest.mark.parametrize(
    "before",
    [
        None,
        CpuSeconds(user=200.0, idle=900.0),
        CpuSeconds(user=130.0, idle=930.0),
        CpuSeconds(user=10.0, idle=900.0),
        CpuSeconds(user=100.0, idle=400.0),
    ],
    ids=["unread", "went back", "stood still", "leapt", "idle time leapt"],
)
def test_where_the_hosts_figure_is_unknown_it_stays_unknown(
    recorder: Recorder,
    cpus: FakeCpus,
    seen: FakeProcesses,
    clock: FakeClock,
    fill: Fill,
    path: Path,
    before: CpuSeconds | None,
) -> None:
    cpus.seconds = before
    capture_twice(recorder, cpus, seen, clock)
    fill(NOW + 30, 1)
    assert query(path, "SELECT cpu_percent, unattributed_cpu_percent FROM captures") == [(None, None)]


def test_while_the_number_of_cpus_is_unknown_the_last_known_one_stands_and_without_any_nothing_is_stored(
    recorder: Recorder, cpus: FakeCpus, seen: FakeProcesses, clock: FakeClock, fill: Fill, path: Path
) -> None:
    cpus.count = 0
    capture_twice(recorder, cpus, seen, clock)
    for cpus.count in (2, 0):
        clock.pass_seconds(30)
        recorder.capture_processes()
    recorder.hand_over()
    fill(NOW + 90, 1)
    assert query(path, "SELECT ts, cpus FROM captures") == [(NOW + 60, 2), (NOW + 90, 2)]


def test_iowait_that_falls_makes_a_capture_no_busier(
    recorder: Recorder, cpus: FakeCpus, seen: FakeProcesses, clock: FakeClock, fill: Fill, path: Path
) -> None:
    """The figures of the issue: two CPUs, 10 % busy; the kernel takes back more iowait than it booked."""
    cpus.seconds = CpuSeconds(user=100.0, idle=900.0, iowait=70.0)
    recorder.capture_processes()
    clock.pass_seconds(2)
    seen.usages, cpus.seconds = [], CpuSeconds(user=100.4, idle=901.8, iowait=69.3)
    recorder.capture_processes()
    fill(NOW + 2, 1)
    assert query(path, "SELECT cpu_percent FROM captures") == [(10.0,)]


def test_a_suspended_hour_does_not_thin_out_what_was_used(
    recorder: Recorder, cpus: FakeCpus, seen: FakeProcesses, clock: FakeClock, fill: Fill, path: Path
) -> None:
    recorder.capture_processes()
    clock.suspend(HOUR)
    capture_twice(recorder, cpus, seen, clock)
    fill(NOW + HOUR + 30, 1)
    assert query(path, "SELECT ts, covered_seconds FROM captures") == [(NOW + HOUR + 30, 30.0)]


def test_file_systems_are_stored_with_the_next_sample(recorder: Recorder, fill: Fill, path: Path) -> None:
    recorder.capture_filesystems()
    recorder.hand_over()
    fill(NOW, 1)
    assert query(path, "SELECT ts, mount, used_bytes FROM filesystems") == [(NOW, "/", 400 * 1024)]


def test_a_mount_that_does_not_answer_is_logged_once_and_once_that_it_is_back(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for stuck in (["/nfs"], ["/nfs"], []):
        monkeypatch.setattr(FakeMounts, "stuck", stuck)
        recorder.capture_filesystems()
    assert [record.getMessage() for record in caplog.records] == [
        "/nfs does not answer; how full it is stays unknown until it does",
        "/nfs answers again",
    ]


def test_file_systems_that_are_too_many_are_logged_once_with_their_number(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for left_out in (0, 1, 8, 0, 0):
        monkeypatch.setattr(FakeMounts, "left_out", left_out, raising=False)
        recorder.capture_filesystems()
    assert [record.getMessage() for record in caplog.records] == [
        "1 of 101 file systems are not recorded, only the 100 with the least room",
        "all file systems are recorded again",
    ]


def test_file_systems_do_not_wait_for_captures_of_processes(recorder: Recorder, fill: Fill, path: Path) -> None:
    for number in range(7):
        recorder.capture_filesystems()
        fill(NOW + 60 * number, 1)
    assert query(path, "SELECT count(*) FROM mount") == [(1,)]


def test_what_waits_is_stored_when_the_run_ends(recorder: Recorder, store: Store, fill: Fill, path: Path) -> None:
    fill(NOW, 1)
    recorder.capture_filesystems()
    recorder.hand_over()
    store.end_run(NOW + 5)
    assert query(path, "SELECT count(*) FROM filesystems") == [(1,)]


@pytest.mark.parametrize(
    "fault",
    [
        lambda statements, stretch: statements.run("INSERT INTO filesystem (mount_id) VALUES (1)"),
        lambda statements, stretch: statements.run("INSERT INTO mount (path) VALUES (?)", ("\ud800",)),
        lambda statements, stretch: statements.run("INSERT INTO mount (mount_id, path) VALUES (?, 'x')", (2**70,)),
        lambda statements, stretch: 1 / 0,
    ],
    ids=["constraint", "no text", "too large", "defect"],
)
def test_what_cannot_be_stored_beside_a_sample_is_left_out_and_the_sample_is_not(
    store: Store, fill: Fill, recorder: Recorder, path: Path, fault: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store.ride(fault)
    recorder.capture_filesystems()
    recorder.hand_over()
    fill(NOW, 1, cpu_percent=1)
    assert query(path, "SELECT count(*) FROM samples") == query(path, "SELECT count(*) FROM filesystems") == [(1,)]
    assert "left out" in caplog.text
    fill(NOW + 5, 1, cpu_percent=1)
    assert query(path, "SELECT count(*) FROM samples") == [(2,)]


def test_while_the_disk_takes_nothing_it_waits_and_then_all_is_stored_once(
    recorder: Recorder, store: Store, path: Path
) -> None:
    recorder.capture_filesystems()
    recorder.hand_over()
    blocker = sqlite3.connect(path)
    blocker.execute("BEGIN IMMEDIATE")
    sample = Sample(NOW, 5.0, {"cpu_percent": 1.0}, None)
    for _ in range(2):
        with pytest.raises(StoreFailed):
            store.append([sample])
    blocker.close()
    store.append([sample])
    store.append([Sample(NOW + 5, 5.0, {}, None)])
    assert query(path, "SELECT count(*) FROM filesystems") == [(1,)]


def test_what_waits_is_bounded_and_the_oldest_goes_first(store: Store, fill: Fill) -> None:
    written: list[int] = []
    for number in range(MOST_RIDERS + 10):
        store.ride(lambda statements, stretch, number=number: written.append(number))
    fill(NOW, 1)
    assert written == list(range(10, MOST_RIDERS + 10))
    fill(NOW + 5, 1)
    assert len(written) == MOST_RIDERS  # once


def test_what_waits_rides_with_any_sample_and_not_only_the_first_of_a_stretch(
    recorder: Recorder, store: Store, fill: Fill, path: Path
) -> None:
    fill(NOW, 1)
    recorder.capture_filesystems()
    recorder.hand_over()
    store.append([Sample(NOW + 5, 5.0, {}, None)])
    assert query(path, "SELECT count(*) FROM filesystems") == [(1,)]


def test_of_what_fails_half_way_nothing_is_stored(store: Store, fill: Fill, path: Path) -> None:
    def half(statements: Statements, stretch: int) -> None:
        statements.run("INSERT INTO mount (path) VALUES ('/half')")
        raise ValueError

    store.ride(half)
    fill(NOW, 1)
    assert query(path, "SELECT * FROM mount") == []


def course(growth: float, days: int = 20) -> Course:
    used: list[float | None] = [1e9 + growth * hour / 24 + 1e6 * (hour * 7919 % 13) for hour in range(24 * days)]
    return Course(1, "/srv", NOW, used, int(1e9 + growth * (days + 5)))


def test_a_file_system_that_fills_up_is_forecast_with_a_near_level_to_score_by() -> None:
    full, near = forecasts(course(growth=1e8))
    assert full.is_full
    assert not near.is_full
    for made, days in ((full, 5), (near, 3)):
        assert made.latest is not None
        assert made.earliest <= made.middle <= made.latest
        assert abs((made.middle - NOW) / 86400 - days) < 0.5
    assert near.level_bytes < full.level_bytes


def test_the_near_level_is_one_three_and_seven_days_of_growth_away_in_turn() -> None:
    whole = course(growth=1e8)
    hours = [replace(whole, last_ts=NOW + n * 3600, full_bytes=whole.full_bytes + 10**9) for n in range(3)]
    nears = [(hour.last_ts, forecasts(hour)[1]) for hour in hours]
    assert [round((near.middle - ts) / 86400) for ts, near in nears] == [3, 7, 1]


def test_what_the_own_forecasts_missed_widens_those_far_ahead() -> None:
    (full, _), (wider, _) = forecasts(course(growth=1e8)), forecasts(course(growth=1e8), factor=2.0)
    assert wider.middle == full.middle
    assert wider.earliest < full.earliest
    assert full.latest is not None
    assert wider.latest is not None
    assert wider.latest > full.latest


def test_one_that_does_not_grow_has_no_forecast() -> None:
    assert forecasts(course(growth=0)) == []


def test_each_file_system_is_forecast_in_a_step_of_its_own(
    recorder: Recorder, store: Store, clock: FakeClock, path: Path
) -> None:
    rows = [
        (
            mount,
            NOW - 20 * 86400 + 3600 * hour,
            1,
            1000_000,
            100_000 + 1000 * hour + hour * 7919 % 13,
            850_000 - 1000 * hour,
        )
        for mount in (1, 2)
        for hour in range(480)
    ]
    store.write(lambda statements: [statements.run("INSERT INTO mount (path) VALUES (?)", (f"/{n}",)) for n in (1, 2)])
    insert = "INSERT INTO filesystem VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)"
    store.write(lambda statements: [statements.run(insert, row) for row in rows])
    clock.wall = NOW - 3500
    assert [recorder.foresee() for _ in range(3)] == [True, True, False]
    assert query(path, "SELECT mount, count(*) FROM forecasts GROUP BY mount") == [("/1", 2), ("/2", 2)]
    clock.pass_seconds(3500)
    assert not recorder.foresee()
    clock.pass_seconds(100)
    store.write(lambda statements: statements.run(insert, (1, int(clock.wall), 1, 1000000, 6, 3)))
    assert recorder.foresee()  # from the first again


def test_more_control_groups_than_are_recorded_are_logged_once(
    cpus: FakeCpus, seen: FakeProcesses, store: Store, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    services = FakeServices()
    recorder = Recorder(cpus, seen, services, FakeMounts(), store, clock, Attention(30))
    logged = []
    for services.is_cut in (False, True, True, False, True):
        recorder.capture_processes()
        clock.pass_seconds(30)
        logged.append(sum("more control groups" in record.message for record in caplog.records))
    assert logged == [0, 1, 1, 1, 2]


def test_control_groups_that_cannot_be_read_cost_no_process_its_capture(
    cpus: FakeCpus,
    seen: FakeProcesses,
    store: Store,
    clock: FakeClock,
    fill: Fill,
    path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    services = FakeServices()
    recorder = Recorder(cpus, seen, services, FakeMounts(), store, clock, Attention(30))
    services.is_broken = True
    capture_twice(recorder, cpus, seen, clock)
    fill(NOW + 30, 1)
    assert query(path, "SELECT name, service FROM process_names") == [("web", None)]
    assert sum("cannot read the control groups" in record.message for record in caplog.records) == 1
    caplog.set_level(logging.INFO)
    for services.is_broken in (True, False, False, False):
        clock.pass_seconds(30)
        recorder.capture_processes()
    said = [record.message.partition(":")[0] for record in caplog.records if "the control groups" in record.message]
    assert said == ["cannot read the control groups", "reading the control groups again"]


@pytest.mark.parametrize("is_wanted", [True, False])
def test_after_an_unusual_sample_a_capture_is_taken_at_once(
    cpus: FakeCpus, seen: FakeProcesses, store: Store, clock: FakeClock, path: Path, fill: Fill, is_wanted: bool
) -> None:
    asked: list[tuple[float, float, float]] = []

    class Always(Attention):
        def wants_capture(self, values: object, covered_seconds: float, now: float, captured_at: float) -> bool:
            asked.append((covered_seconds, now, captured_at))
            return is_wanted

    recorder = Recorder(cpus, seen, FakeServices(), FakeMounts(), store, clock, Always(30))
    sample = Sample(NOW + 5, 5.0, {"cpu_percent": 99.0})
    recorder.follow(sample)
    assert asked == [], "before the first capture there is nothing to compare with"
    recorder.capture_processes()
    begun = clock.now().steady
    clock.pass_seconds(5)
    seen.usages, cpus.seconds = [ProcessUsage("web", 7, 2.0, 4096)], CpuSeconds(user=105.0, idle=905.0)
    recorder.follow(sample)
    assert asked == [(5.0, begun + 5, begun)]
    fill(NOW + 5, 1)
    assert query(path, "SELECT count(*) FROM captures") == [(int(is_wanted),)]
