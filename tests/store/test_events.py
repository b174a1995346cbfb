"""What happened follows from runs, gaps and captures, in the order of time, and each event once."""

from dataclasses import replace
from pathlib import Path

import pytest

from service.clock import DAY, HOUR
from service.records import Break, Sample, ServiceUsage
from service.store import rollups, usage_rollups
from service.store.events import Event
from service.store.reader import History
from service.store.writer import Store
from tests.conftest import NOW, Fill, Record
from tests.running import query

BATCH = ServiceUsage("batch.service", "service", 9.0, 1024, None, None, 2)


def kinds(history: History, start: int = 0, end: int = 2**40) -> list[tuple[int, str]]:
    with history.view() as view:
        return [(event.ts, event.kind) for event in view.events(start, end)]


def test_a_run_is_started_and_stopped_and_its_boot_is_one_of_all_its_runs(store: Store, history: History) -> None:
    store.append([Sample(NOW + 5, 5.0, {})])
    store.end_run(NOW + 100)
    # Two readings of one boot may differ by a little.
    store.begin_run(NOW + 200, NOW - 998, "boot-1", "0.1.0", 5)
    store.end_run(NOW + 300)
    store.begin_run(NOW + 900, NOW + 400, "boot-2", "0.1.0", 5)
    assert kinds(history) == [
        (NOW - 1000, "boot"),
        (NOW, "started"),
        (NOW + 100, "stopped"),
        (NOW + 200, "started"),
        (NOW + 300, "stopped"),
        (NOW + 400, "boot"),
        (NOW + 900, "started"),
    ]


@pytest.mark.parametrize(("boot", "boot_id", "is_new"), [(60, None, False), (61, None, True), (1, "boot-2", True)])
def test_where_a_boot_has_no_name_its_moment_tells_it(
    store: Store, history: History, boot: int, boot_id: str | None, is_new: bool
) -> None:
    store.begin_run(NOW + 200, NOW - 1000 + boot, boot_id, "0.1.0", 5)
    assert ((NOW - 1000 + boot, "boot") in kinds(history)) == is_new


@pytest.mark.parametrize(
    ("reason", "found"),
    [
        ("killed", Event(NOW + 5, "killed", "nothing was recorded for 90 s", 90, None, None)),
        ("suspended", Event(NOW + 5, "suspended", "nothing was recorded for 90 s", 90, None, None)),
        ("storage", None),
        ("overload", None),
    ],
)
def test_a_gap_is_an_event_where_something_happened(
    store: Store, history: History, reason: str, found: Event | None
) -> None:
    store.append([Sample(NOW + 5, 5.0, {}, Break(None, None)), Sample(NOW + 100, 5.0, {}, Break(NOW + 5, reason))])
    with history.view() as view:
        assert view.events(NOW + 1, NOW + DAY) == ([found] if found else [])


@pytest.mark.parametrize("start", [NOW + 10, NOW - 100])
def test_a_kill_that_took_no_time_is_one_all_the_same(store: Store, history: History, start: int) -> None:
    """Also where the clock was set back meanwhile."""
    store.append([Sample(NOW + 5, 5.0, {}, Break(None, None)), Sample(start, 5.0, {}, Break(NOW + 5, "killed"))])
    with history.view() as view:
        (found,) = view.events(NOW + 1, NOW + DAY)
    assert found == Event(NOW + 5, "killed", "nothing was recorded for 0 s", 0, None, None)


@pytest.mark.parametrize("step", [-1800, 7200])
def test_a_clock_that_is_set_says_from_when_to_when(store: Store, history: History, path: Path, step: int) -> None:
    store.append(
        [Sample(NOW + 5, 5.0, {}, Break(None, None)), Sample(NOW + step, 5.0, {}, Break(NOW + 5, "clock_step"))]
    )
    with history.view() as view:
        (found,) = [event for event in view.events(0, 2**40) if event.kind == "clock_step"]
    # A sample's stretch begins with the time that it covers.
    assert (found.ts, found.seconds) == (NOW + step - 5, step - 10)
    times = query(path, f"SELECT strftime('%Y-%m-%dT%H:%M:%SZ', {NOW + 5}, 'unixepoch')")[0][0]
    assert found.detail.startswith(f"the clock was set from {times} to ")


def test_an_oom_kill_has_its_service_also_when_only_its_hour_is_left(
    store: Store, history: History, record: Record
) -> None:
    hour = NOW // HOUR * HOUR + HOUR
    for number in range(5):
        killed = replace(BATCH, name="lost.service", oom_kills=0)
        record(
            hour + HOUR * number + 60, 1.0, services=[replace(BATCH, oom_kills=2 if number in (1, 4) else 0), killed]
        )
    of_captures = [
        Event(
            hour + HOUR * number + 60,
            "oom_kill",
            "the kernel ended 2 of batch.service for lack of memory",
            None,
            "batch.service",
            2,
        )
        for number in (1, 4)
    ]
    with history.view() as view:
        assert view.events(hour, hour + DAY) == of_captures
    while store.write(lambda statements: usage_rollups.roll_up(statements, 5)):
        pass
    with history.view() as view:
        assert view.events(hour, hour + DAY) == of_captures, "the hour does not say it a second time"
    while store.write(lambda statements: usage_rollups.prune(statements, hour + 3 * HOUR, 0, 50)):
        pass
    with history.view() as view:
        found = view.events(hour, hour + DAY)
    assert [(event.ts, event.kills) for event in found] == [(hour + HOUR, 2), (hour + 4 * HOUR + 60, 2)]
    assert "within the hour" in found[0].detail


@pytest.fixture
def killed(fill: Fill, store: Store) -> None:
    """Three hours of samples, with one kill in the second minute and three in the second hour."""
    fill(NOW, 2161, 5, oom_kills=lambda i: 7 + (i >= 15) + 3 * (i >= 1000))
    while store.write(rollups.roll_up):
        pass


def test_kills_of_which_no_service_is_known_are_told_of_the_minute(killed: None, history: History) -> None:
    with history.view() as view:
        found = [event for event in view.events(NOW + 1, NOW + DAY) if event.kind == "oom_kill"]
    words = "for lack of memory within the minute; of which service is not known"
    assert found == [
        Event(NOW + 60, "oom_kill", f"the kernel ended 1 process {words}", None, None, 1),
        Event(NOW + 4980, "oom_kill", f"the kernel ended 3 processes {words}", None, None, 3),
    ]


def test_kills_that_a_service_has_are_not_told_of_the_host_too(killed: None, record: Record, history: History) -> None:
    record(NOW + 90, 1.0, services=[replace(BATCH, oom_kills=1)])
    record(NOW + 5100, 1.0, services=[replace(BATCH, oom_kills=0)])
    with history.view() as view:
        found = [event for event in view.events(NOW + 1, NOW + DAY) if event.kind == "oom_kill"]
    assert [(event.ts, event.service) for event in found] == [(NOW + 90, "batch.service"), (NOW + 4980, None)]


def test_where_the_minutes_are_gone_kills_are_told_of_the_hour(killed: None, store: Store, history: History) -> None:
    store.write(lambda statements: statements.run("DELETE FROM minute WHERE ts < ?", (NOW + 2 * HOUR,)))
    with history.view() as view:
        found = [event for event in view.events(NOW - HOUR, NOW + DAY) if event.kind == "oom_kill"]
    assert [(event.ts, event.kills) for event in found] == [(NOW, 1), (NOW + HOUR, 3)]
    assert "within the hour" in found[0].detail


def test_the_window_is_half_open_and_the_view_is_the_same(store: Store, history: History, path: Path) -> None:
    store.end_run(NOW + 100)
    assert kinds(history, NOW, NOW + 100) == [(NOW, "started")]
    assert kinds(history, NOW + 100, NOW + 101) == [(NOW + 100, "stopped")]
    assert query(path, "SELECT ts, kind FROM events ORDER BY ts") == kinds(history)


def test_what_sysstat_recorded_has_its_boots_alone(store: Store, history: History) -> None:
    store.write(
        lambda statements: statements.run(
            "INSERT INTO run (run_id, started_ts, stopped_ts, clean, boot_ts, version, interval_seconds) "
            "VALUES (-1, ?, ?, 1, ?, 'sysstat 12', 600)",
            (NOW - 9000, NOW - 8000, NOW - 9100),
        )
    )
    assert kinds(history, 0, NOW - 5000) == [(NOW - 9100, "boot")]
