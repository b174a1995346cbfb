"""Who used the host: captures add up, their hours say the same, and answer where captures are gone."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.clock import DAY, HOUR
from service.records import Capture, ProcessUsage
from service.store import captures, usage_rollups, usages
from service.store.reader import History
from service.store.usages import MOST_PIDS, Usage
from service.store.writer import Store
from tests.conftest import NOW, FakeClock, Record, all_processes
from tests.running import query

MB = 10**6


@pytest.fixture
def usage(store: Store) -> "Ask":
    return Ask(store)


class Ask:
    def __init__(self, store: Store) -> None:
        self.store = store

    def __call__(self, start: int, end: int, key: str = "cpu", count: int = 10) -> Usage:
        return self.store.write(lambda statements: usages.usage(statements, start, end, key, count))

    def shares(self, start: int, end: int) -> dict[str, float]:
        return {name.name: name.cpu_seconds for name in self(start, end).users}

    def roll_up(self, count: int = 5) -> None:
        while self.store.write(lambda statements: usage_rollups.roll_up(statements, count)):
            pass

    def prune(self, captures_before: int, hours_before: int = 0) -> None:
        while self.store.write(lambda statements: usage_rollups.prune(statements, captures_before, hours_before, 50)):
            pass


def test_the_processes_of_one_name_add_up_and_memory_is_the_most_at_one_moment(record: Record, usage: Ask) -> None:
    record(NOW + 30, 60.0, ("web", 1, 10, 100 * 1024), ("web", 2, 20, 200 * 1024), ("db", 3, 5, 1024))
    record(NOW + 60, 60.0, ("web", 2, 8, 250 * 1024), ("db", 3, 6, 4096))
    found = usage(NOW, NOW + 60)
    assert (found.covered_seconds, found.capacity_seconds, found.cpu_percent) == (60, 240, 50)
    assert [(n.name, n.pids, n.cpu_seconds, n.memory_bytes) for n in found.users] == [
        ("web", [2, 1], 38, 300 * 1024),
        ("db", [3], 11, 4096),
    ]


def test_they_come_by_cpu_or_by_memory_and_no_more_than_asked_for(record: Record, usage: Ask) -> None:
    record(NOW + 30, 60.0, ("small", 1, 10, 1 * MB), ("large", 2, 1, 90 * MB), ("middle", 3, 5, 5 * MB))
    assert [name.name for name in usage(NOW, NOW + 60).users] == ["small", "middle", "large"]
    assert [name.name for name in usage(NOW, NOW + 60, "memory", 2).users] == ["large", "middle"]


def test_a_capture_belongs_to_the_window_in_which_its_middle_lies(record: Record, usage: Ask) -> None:
    for number in range(1, 5):
        record(NOW + 30 * number, 1.0, ("job", 1, number, 0))
    assert usage.shares(NOW, NOW + 60) == {"job": 1 + 2}
    assert usage.shares(NOW + 60, NOW + 120) == {"job": 3 + 4}


def test_nothing_recorded_is_unknown_and_not_zero(usage: Ask) -> None:
    assert usage(NOW, NOW + 60) == Usage(0, 0, None, [])


def test_the_hosts_figure_is_over_the_captures_in_which_it_is_known(record: Record, usage: Ask) -> None:
    record(NOW + 30, 60.0)
    record(NOW + 60, None)
    assert usage(NOW, NOW + 60).cpu_percent == 50


def test_hours_say_what_their_captures_say(record: Record, usage: Ask) -> None:
    for number in range(1, 3 * 120 + 2):
        record(NOW + 30 * number, 40.0, ("web", 1, 7, number * 1024), ("job", 2 + number % 3, number % 11, 5 * MB))
    before = [usage(NOW + start, NOW + end) for start, end in ((0, 3 * HOUR), (600, 2 * HOUR + 90), (HOUR, 2 * HOUR))]
    usage.roll_up()
    assert usage.store.write(lambda s: s.number("SELECT hours_until FROM use_progress")) == NOW + 3 * HOUR
    after = [usage(NOW + start, NOW + end) for start, end in ((0, 3 * HOUR), (600, 2 * HOUR + 90), (HOUR, 2 * HOUR))]
    for first, again in zip(before, after, strict=True):
        assert (first.covered_seconds, first.cpu_percent) == (again.covered_seconds, again.cpu_percent)
        assert [(n.name, n.cpu_seconds, n.memory_bytes) for n in first.users] == [
            (n.name, n.cpu_seconds, n.memory_bytes) for n in again.users
        ]
        assert [set(n.pids) for n in first.users] == [set(n.pids) for n in again.users]


def test_the_hour_that_is_going_on_is_not_reduced_yet(record: Record, usage: Ask, path: Path) -> None:
    record(NOW + HOUR - 30, 1.0, ("job", 1, 1, 0))
    usage.roll_up()
    assert query(path, "SELECT count(*) FROM process_hours") == [(0,)]
    record(NOW + HOUR, 1.0, ("job", 1, 1, 0))
    usage.roll_up()
    assert query(path, "SELECT ts, name, cpu_seconds FROM process_hours") == [(NOW, "job", 2.0)]


def test_reducing_twice_is_the_same_as_once(record: Record, usage: Ask, path: Path) -> None:
    for number in range(1, 130):
        record(NOW + 30 * number, 40.0, ("web", 1, 7, MB))
    usage.roll_up()
    once = query(path, "SELECT * FROM process_hour JOIN capture_hour USING (ts)")
    usage.store.write(lambda statements: statements.run("UPDATE use_progress SET hours_until = 0"))
    usage.roll_up()
    assert query(path, "SELECT * FROM process_hour JOIN capture_hour USING (ts)") == once != []


def test_of_an_hour_the_names_that_used_most_are_kept(record: Record, usage: Ask) -> None:
    record(NOW + 30, 90.0, *((f"p{n}", n, float(n), (100 - n) * MB) for n in range(1, 21)))
    record(NOW + HOUR, 0.0)
    usage.roll_up(count=2)
    assert set(usage.shares(NOW, NOW + HOUR)) == {"p20", "p19", "p18", "p17", "p1", "p2"}


def test_where_captures_are_gone_the_hours_still_answer(record: Record, usage: Ask, path: Path) -> None:
    for number in range(1, 3 * 120 + 2):
        record(NOW + 30 * number, 40.0, ("web", number % 7, 7, MB))
    usage.roll_up()
    whole = usage(NOW, NOW + 3 * HOUR)
    usage.prune(NOW + 2 * HOUR)
    for view in ("captures", "processes"):
        assert query(path, f"SELECT min(ts) FROM {view}") == [(NOW + 2 * HOUR + 30,)]
    again = usage(NOW, NOW + 3 * HOUR)
    assert (again.cpu_percent, again.users[0].cpu_seconds) == (whole.cpu_percent, whole.users[0].cpu_seconds)
    # Part of an hour is answered from whole ones: those that begin in it.
    assert usage.shares(NOW + 60, NOW + HOUR + 60) == {"web": 7 * 120}


def test_captures_that_are_not_reduced_are_not_deleted(record: Record, usage: Ask, path: Path) -> None:
    record(NOW + 30, 40.0, ("web", 1, 7, MB))
    usage.prune(NOW + DAY)
    assert query(path, "SELECT count(*) FROM processes") == [(1,)]


def test_a_name_goes_once_nothing_is_kept_of_it_and_no_sooner(record: Record, usage: Ask, path: Path) -> None:
    record(NOW + 30, 40.0, ("old", 1, 7, MB))
    record(NOW + 5 * DAY, 40.0, ("new", 1, 7, MB))
    usage.roll_up()
    usage.prune(NOW + 5 * DAY)
    names = "SELECT name FROM process_name ORDER BY name"
    assert query(path, names) == [("new",), ("old",)]
    usage.prune(NOW + 5 * DAY, hours_before=NOW + DAY)
    assert query(path, names) == [("new",)]


def test_a_name_that_stays_in_use_stays(record: Record, usage: Ask, path: Path) -> None:
    for day in range(6):
        record(NOW + day * DAY + 30, 40.0, ("daily", 1, 7, MB))
    usage.roll_up()
    usage.prune(NOW + 5 * DAY, hours_before=NOW + 5 * DAY)
    assert query(path, "SELECT name FROM processes") == [("daily",)]


def test_after_the_clock_was_set_back_the_hour_is_reduced_again(record: Record, usage: Ask, store: Store) -> None:
    record(NOW + 30, 40.0, ("web", 1, 7, MB))
    record(NOW + HOUR, 0.0)
    usage.roll_up()
    again = Capture(NOW + 30, 30, 120, 40.0, all_processes(a_usage("web", 9)))
    store.write(lambda statements: captures.insert(statements, again, 2))
    usage.roll_up()
    assert usage.shares(NOW, NOW + HOUR) == {"web": 16}


def test_an_hour_whose_captures_are_gone_is_not_reduced_from_what_comes_after(record: Record, usage: Ask) -> None:
    for number in range(1, 3 * 120 + 2):
        record(NOW + 30 * number, 40.0, ("web", 1, 7, MB))
    usage.roll_up()
    usage.prune(NOW + 2 * HOUR)
    record(NOW + 60, 40.0, ("late", 2, 1, MB))  # the clock was set back
    usage.roll_up()
    assert usage.shares(NOW, NOW + HOUR) == {"web": 7 * 120}


def a_usage(name: str, cpu_seconds: float) -> ProcessUsage:
    return ProcessUsage(name, 1, cpu_seconds, MB)


def test_the_same_capture_stored_twice_counts_once(record: Record, usage: Ask) -> None:
    for _ in range(2):
        record(NOW + 30, 40.0, ("web", 1, 7, MB))
    assert usage.shares(NOW, NOW + 60) == {"web": 7}


def test_a_name_keeps_a_few_dozen_processes_and_not_a_storm(record: Record, usage: Ask, path: Path) -> None:
    record(NOW + 30, 40.0, *(("fork", pid, 1.0, MB) for pid in range(1, 90)))
    (name,) = usage(NOW, NOW + 60).users
    assert (len(name.pids), name.cpu_seconds) == (MOST_PIDS, 89)
    record(NOW + HOUR, 0.0)
    usage.roll_up()
    assert len(json.loads(query(path, "SELECT pids FROM process_hour")[0][0])) == MOST_PIDS


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=15)
rows = st.lists(st.tuples(names, st.integers(1, 9), st.floats(0, 30), st.integers(0, 2**40)), max_size=8)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 7200), rows), min_size=1, max_size=12), st.integers(0, 7000), st.data())
def test_parts_add_up_to_the_whole_before_and_after_they_are_reduced(
    new_database: Path,
    tmp_path: Path,
    taken: list[tuple[int, list[tuple[str, int, float, int]]]],
    cut: int,
    data: object,
) -> None:
    path = tmp_path / "property.db"
    path.write_bytes(new_database.read_bytes())
    store = Store(path)
    store.open()
    ask = Ask(store)
    for offset, used in taken:
        unique = {row[1]: ProcessUsage(*row) for row in used}
        found = Capture(NOW + offset, 10, 20, 5.0, all_processes(*unique.values()))
        store.write(lambda statements, found=found: captures.insert(statements, found, 1))  # type: ignore[misc]
    for _ in range(2):
        whole, parts = (
            ask.shares(NOW - 60, NOW + 3 * HOUR),
            [ask.shares(NOW - 60, NOW + cut), ask.shares(NOW + cut, NOW + 3 * HOUR)],
        )
        for name, seconds in whole.items():
            assert sum(part.get(name, 0) for part in parts) == pytest.approx(seconds, abs=0.01)
        ask.roll_up(count=100)
    store.close()


def test_the_views_give_it_in_sql(record: Record, usage: Ask, history: History, clock: FakeClock) -> None:
    record(NOW + 30, 60.0, ("o'web\n", 7, 12, 4096))
    record(NOW + HOUR, 0.0)
    usage.roll_up()
    with history.view() as view:
        assert view.select(f"SELECT * FROM processes WHERE ts = {NOW + 30}") == [
            {
                "ts": NOW + 30,
                "time": "2026-01-05T10:00:30Z",
                "covered_seconds": 30.0,
                "name": "o'web\n",
                "pid": 7,
                "cpu_percent": 10.0,
                "memory_bytes": 4096,
            }
        ]
        (row,) = view.select(f"SELECT * FROM captures WHERE ts = {NOW + 30}")
        assert (row["cpus"], row["cpu_percent"], row["unattributed_cpu_percent"]) == (4, 50, 40)
        (row,) = view.select("SELECT * FROM process_hours")
        assert (row["ts"], row["name"], row["cpu_seconds"], row["memory_bytes"]) == (NOW, "o'web\n", 12, 4096)
