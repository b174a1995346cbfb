"""Who used the host: captures add up, their hours say the same, and answer where captures are gone."""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.clock import DAY, HOUR
from service.records import AllProcesses, Capture, NameUsage, OpenFiles, ProcessUsage, ServiceName, ServiceUsage
from service.store import captures, old_captures, usage_rollups, usages
from service.store.reader import History
from service.store.statements import Statements
from service.store.usages import MOST_PIDS, By, Grain, Key, Usage, UsageBucket, UserUsage
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

    def __call__(self, start: int, end: int, key: Key = "cpu", count: int = 10, by: By = "name") -> Usage:
        return self.store.write(lambda statements: usages.usage(statements, start, end, key, count, by))

    def course(
        self, start: int, step: int, count: int, key: Key = "cpu", grain: Grain = "day", top: int = 6
    ) -> tuple[list[str], dict[int, UsageBucket]]:
        return self.store.write(
            lambda statements: usages.course(statements, start, step, count, "name", key, grain, top)
        )

    def merge(self, before: int) -> bool:
        while self.store.write(lambda statements: old_captures.merge(statements, before, 5)):
            pass
        return self.store.write(lambda statements: old_captures.merge(statements, before, 5))

    def shares(self, start: int, end: int) -> dict[str, float]:
        return {name.name: name.cpu_seconds for name in self(start, end, count=1000).users}

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


@pytest.mark.parametrize(
    ("start", "end", "span"),
    [
        (10, 11, (0, 30)),  # a second within one
        (10, 70, (0, 90)),
        (29, 31, (0, 30)),  # its middle is the end of the first
        (29, 60, (30, 60)),  # one second of the first only touches it
        (28, 60, (0, 60)),
        (90, 120, None),
    ],
)
def test_a_window_is_held_by_the_captures_that_hold_more_of_it_than_a_second_or_its_middle(
    record: Record, usage: Ask, start: int, end: int, span: tuple[int, int] | None
) -> None:
    for number in range(1, 4):
        record(NOW + 30 * number, 1.0)
    found = usage.store.write(lambda statements: usages.captures_at(statements, NOW + start, NOW + end))
    assert found == (None if span is None else (NOW + span[0], NOW + span[1]))


def test_of_processes_that_used_as_much_the_one_of_more_memory_comes_first(record: Record, usage: Ask) -> None:
    record(NOW + 30, 10.0, ("web", 1, 2, 10 * MB), ("web", 2, 2, 1 * MB))
    record(NOW + 60, 10.0, ("web", 1, 2, 10 * MB), ("web", 2, 2, 30 * MB))
    assert usage(NOW, NOW + 60).users[0].pids == [2, 1]


@pytest.mark.parametrize("seconds", [1, 30, 1800, 3600])
def test_captures_are_as_far_apart_as_each_covers(record: Record, usage: Ask, seconds: int) -> None:
    for number in range(1, 4):
        record(NOW + seconds * number, 1.0, covered=seconds)
    spacing = usage.store.write(lambda statements: usages.spacing(statements, NOW, NOW + DAY))
    assert spacing == seconds


def test_within_a_long_capture_buckets_are_as_wide_as_it(record: Record, usage: Ask) -> None:
    record(NOW + 300, 1.0, covered=300)
    for end in (NOW + 160, NOW + 300):
        assert usage.store.write(lambda statements, end=end: usages.spacing(statements, NOW + 100, end)) == 300


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


def test_a_capture_that_ends_at_the_whole_hour_is_of_the_hour_before(record: Record, usage: Ask, path: Path) -> None:
    for ts in (NOW + HOUR, NOW + 3 * HOUR - 1, NOW + 3 * HOUR + 1, NOW + 5 * HOUR):
        record(ts, 1.0, ("job", 1, 1, 0), covered=2)
    usage.roll_up()
    assert query(path, "SELECT ts, cpu_seconds FROM process_hours ORDER BY ts") == [
        (NOW, 1.0),
        (NOW + 2 * HOUR, 1.0),
        (NOW + 3 * HOUR, 1.0),
        (NOW + 4 * HOUR, 1.0),
    ]


def test_reducing_twice_is_the_same_as_once(record: Record, usage: Ask, path: Path) -> None:
    for number in range(1, 130):
        record(NOW + 30 * number, 40.0, ("web", 1, 7, MB))
    usage.roll_up()
    once = query(path, "SELECT * FROM process_hour JOIN capture_hour USING (ts)")
    usage.store.write(lambda statements: statements.run("UPDATE use_progress SET hours_until = 0"))
    usage.roll_up()
    assert query(path, "SELECT * FROM process_hour JOIN capture_hour USING (ts)") == once != []


def test_an_hour_that_is_reduced_again_holds_what_came_meanwhile(record: Record, usage: Ask, path: Path) -> None:
    record(NOW + 30, 10.0, ("web", 1, 7, MB))
    record(NOW + HOUR + 30, 10.0)
    usage.roll_up()
    record(NOW + 60, 20.0, ("web", 1, 5, MB))
    usage.store.write(lambda statements: statements.run("UPDATE use_progress SET hours_until = 0"))
    usage.roll_up()
    assert query(path, f"SELECT covered_ms, busy_ms FROM capture_hour WHERE ts = {NOW}") == [(60_000, 30_000)]
    assert query(path, f"SELECT cpu_ms FROM process_hour WHERE ts = {NOW}") == [(12_000,)]


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


def test_with_a_capture_all_that_belongs_to_it_is_deleted(record: Record, usage: Ask, path: Path) -> None:
    for number in range(1, 5):
        record(NOW + HOUR * number, 1.0, ("web", 1, 2, MB), services=[BACKUP])
    usage.roll_up()
    usage.prune(NOW + 2 * HOUR)
    for table in ("capture", "process", "service_usage"):
        assert query(path, f"SELECT MIN(ts) FROM {table}") == [(NOW + 3 * HOUR,)]


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


@pytest.mark.parametrize(("later", "hour"), [(14, NOW), (15, NOW + HOUR)])
def test_a_capture_alone_in_its_hour_counts_there_though_it_ends_in_the_next(
    record: Record, usage: Ask, later: int, hour: int
) -> None:
    record(NOW + HOUR + later, 40.0, ("web", 1, 7, MB))
    record(NOW + 3 * HOUR, 40.0, ("web", 1, 5, MB))
    usage.roll_up()
    usage.prune(NOW + 2 * HOUR)
    assert usage.shares(hour, hour + HOUR) == {"web": 7}
    assert usage.shares(NOW, NOW + 2 * HOUR) == {"web": 7}


def test_a_capture_that_comes_late_counts_in_the_hour_in_which_its_middle_lies(record: Record, usage: Ask) -> None:
    record(NOW + 60, 40.0, ("web", 1, 7, MB))
    record(NOW + 2 * HOUR, 40.0, ("web", 1, 5, MB))
    usage.roll_up()
    # The clock was set back.
    record(NOW + HOUR + 14, 40.0, ("late", 2, 1, MB))
    usage.roll_up()
    assert usage.shares(NOW, NOW + HOUR) == {"web": 7, "late": 1}


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


# Given here they stand in place of those of the profile: on a busy machine making examples may take long.
_SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
# In the second part a dozen others used more.
_BUSY = [(f"busy {pid}", pid, 9.0, 1) for pid in range(2, 14)]
_OF_MANY = [(220, [("job", 1, 8.0, 1)]), (887, [("job", 1, 8.0, 1), *_BUSY])]


@settings(deadline=None, max_examples=20, suppress_health_check=_SUPPRESSED)
@given(st.lists(st.tuples(st.integers(1, 7200), rows), min_size=1, max_size=12), st.integers(0, 7000))
@example(_OF_MANY, 369)
def test_parts_add_up_to_the_whole_before_and_after_they_are_reduced(
    new_database: Path, tmp_path: Path, taken: list[tuple[int, list[tuple[str, int, float, int]]]], cut: int
) -> None:
    path = tmp_path / "property.db"
    path.write_bytes(new_database.read_bytes())
    # Closed also where it fails: what is left of it would spoil the next example.
    with closing(Store(path)) as store:
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


# -- names whole, children, services


def test_a_name_is_stored_whole_beside_the_few_of_its_processes_that_are_kept(store: Store, path: Path) -> None:
    workers = [ProcessUsage("pool", pid, 1.0, 10 * 1024) for pid in (11, 12)]
    pool = NameUsage(
        "pool", 40, 40.0, 400 * 1024, children_cpu_seconds=4.0, pid=11, service=ServiceName("pool.service", "service")
    )
    usages = AllProcesses(process_count=60, memory_bytes=900 * 1024, names=[pool], processes=workers)
    store.write(lambda statements: captures.insert(statements, Capture(NOW + 30, 30, 120, 60.0, usages), 1))
    columns = "name, process_count, cpu_percent, children_cpu_percent, memory_bytes, service"
    assert query(path, f"SELECT {columns} FROM process_names") == [
        ("pool", 40, pytest.approx(100 / 3), pytest.approx(10 / 3), 400 * 1024, "pool.service")
    ]
    assert query(path, "SELECT name, pid, memory_bytes FROM processes ORDER BY pid") == [
        ("pool", 11, 10 * 1024),
        ("pool", 12, 10 * 1024),
    ]
    assert query(path, "SELECT process_count, memory_bytes, unattributed_cpu_percent FROM captures") == [
        (60, 900 * 1024, pytest.approx(100 * 20 / 120))
    ]


def test_a_name_counts_whole_in_a_window_with_its_processes_and_what_its_children_used(
    store: Store, usage: Ask
) -> None:
    for number in (1, 2):
        pool = NameUsage("pool", 30 + number, 40.0, number * MB, children_cpu_seconds=4.0, pid=11)
        usages = AllProcesses(60, 900 * MB, [pool], [ProcessUsage("pool", 10 + number, 1.0, 1024)])
        capture = Capture(NOW + 30 * number, 30, 120, 60.0, usages)
        store.write(lambda statements, capture=capture: captures.insert(statements, capture, 1))  # type: ignore[misc]
    whole = UserUsage("pool", [12, 11], 80.0, 2 * MB // 1024 * 1024, 32, 8.0)
    (found,) = usage(NOW, NOW + 60).users
    assert found == replace(whole, pids=found.pids)
    assert set(found.pids) == {11, 12}
    end_hour(store)
    usage.roll_up()
    (again,) = usage(NOW, NOW + HOUR).users
    assert again == replace(whole, pids=again.pids)


def end_hour(store: Store) -> None:
    """An empty capture at the end of the hour."""
    later = Capture(NOW + HOUR, 30, 120, None, all_processes())
    store.write(lambda statements: captures.insert(statements, later, 1))


BACKUP = ServiceUsage("backup.service", "service", 9.0, 3 * MB, 5 * MB, 7 * MB, 0)
BOX = ServiceUsage("docker:0123456789ab", "container", 3.0, None, None, None, 1)


def test_services_are_stored_and_what_is_not_known_of_them_is_null(record: Record, path: Path) -> None:
    record(NOW + 30, 60.0, services=[BACKUP, BOX])
    columns = "service, kind, cpu_percent, memory_bytes, read_bytes, written_bytes, oom_kills"
    assert query(path, f"SELECT {columns} FROM services ORDER BY service") == [
        ("backup.service", "service", 7.5, *(size * MB // 1024 * 1024 for size in (3, 5, 7)), 0),
        ("docker:0123456789ab", "container", 2.5, None, None, None, 1),
    ]


def test_services_add_up_over_a_window_and_over_their_hours_and_days(
    record: Record, usage: Ask, store: Store, path: Path
) -> None:
    day = NOW // DAY * DAY + DAY
    for number in range(1, 2 * 24 * 12 + 1):
        record(day + 300 * number, 60.0, services=[BACKUP, BOX], covered=300)
    asked = (day + HOUR // 2, day + 2 * DAY)
    before = usage(*asked, by="service")
    usage.roll_up()
    assert query(path, "SELECT COUNT(*) FROM service_day") == [(2 * 2,)]
    usage.prune(day + 2 * DAY - HOUR)
    after = usage(*asked, by="service")
    assert [(user.name, user.memory_bytes) for user in after.users] == [
        ("backup.service", 3 * MB // 1024 * 1024),
        ("docker:0123456789ab", None),
    ]
    # The captures of its first half hour are gone, so that the window begins with the next whole hour.
    assert after.users[0].cpu_seconds == before.users[0].cpu_seconds - 6 * 9.0
    assert query(path, "SELECT SUM(oom_kills), SUM(read_bytes) FROM service_hours") == [
        (2 * 24 * 12, 2 * 24 * 12 * (5 * MB // 1024 * 1024))
    ]


def test_a_capture_of_before_names_were_kept_counts_by_the_processes_that_it_has(
    record: Record, usage: Ask, store: Store, path: Path
) -> None:
    record(NOW + 30, 60.0, ("web", 1, 10, 1 * MB), ("db", 3, 5, 1 * MB))
    rows = "INSERT INTO process (ts, stretch_id, pid, name_id, cpu_ms, memory_kb) VALUES (?, 1, ?, 1, ?, 100)"
    capture = (
        "INSERT INTO capture (ts, stretch_id, covered_ms, capacity_ms, busy_ms) VALUES (?, 1, 30000, 120000, 60000)"
    )

    def write(statements: Statements) -> None:
        statements.run(capture, (NOW + 60,))
        for pid in (7, 8):
            statements.run(rows, (NOW + 60, pid, 2000))

    store.write(write)
    web = next(user for user in usage(NOW, NOW + 60).users if user.name == "web")
    assert (web.cpu_seconds, set(web.pids)) == (14, {1, 7, 8})
    assert query(path, f"SELECT COUNT(*), SUM(cpu_percent) FROM process_names WHERE ts = {NOW + 60}") == [
        (2, pytest.approx(100 * 4 / 120))
    ]
    assert query(path, f"SELECT unattributed_cpu_percent FROM captures WHERE ts = {NOW + 60}") == [
        (pytest.approx(100 * 56 / 120),)
    ]
    end_hour(store)
    usage.roll_up()
    assert usage.shares(NOW, NOW + HOUR) == {"web": 14, "db": 5}


# -- days


def test_days_say_what_their_hours_say_and_are_made_again_after_the_clock_was_set_back(
    record: Record, usage: Ask, path: Path
) -> None:
    day = NOW // DAY * DAY + DAY
    for number in range(1, 3 * 24 * 4 + 1):
        record(day + 900 * number, 400.0, ("web", 1, number % 7, MB * (number % 5)), covered=900)
    whole = usage(day, day + 3 * DAY)
    usage.roll_up()
    assert query(path, "SELECT COUNT(*) FROM process_day") == [(3,)]
    again = usage(day, day + 3 * DAY)
    assert (again.covered_seconds, again.cpu_percent) == (whole.covered_seconds, whole.cpu_percent)
    assert [replace(user, pids=[]) for user in again.users] == [replace(user, pids=[]) for user in whole.users]
    record(day + 450, 40.0, ("web", 1, 1000, MB), covered=30)
    usage.roll_up()
    assert usage.shares(day, day + 3 * DAY) == {"web": whole.users[0].cpu_seconds + 1000}


def test_an_hour_is_not_deleted_before_its_day_is_made_of_it(record: Record, usage: Ask, path: Path) -> None:
    day = NOW // DAY * DAY + DAY
    for hour in range(30):
        record(day + HOUR * hour + 30, 40.0, ("web", 1, 1, MB))
    usage.roll_up()
    usage.prune(day + 2 * DAY, hours_before=day + 30 * HOUR)
    assert query(path, "SELECT MIN(ts) FROM process_hour") == [(day + DAY,)]
    assert usage.shares(day, day + DAY) == {}


# -- over time


def test_over_time_the_parts_of_each_bucket_are_those_of_its_window(record: Record, usage: Ask) -> None:
    for number in range(1, 4 * 120 + 1):
        uses = [("web", 1, number % 7, MB), ("job", 2, number % 11, 5 * MB), ("rare", 3, float(number % 97 == 0), 0)]
        record(NOW + 30 * number, 40.0, *uses)
    for grain, step in (("capture", 600), ("hour", HOUR)):
        names, buckets = usage.course(NOW, step, 4 * HOUR // step, grain=grain, top=2)
        assert names == ["job", "web"]
        for place, bucket in buckets.items():
            shares = usage.shares(NOW + step * place, NOW + step * (place + 1))
            assert bucket.amounts[1:] == [1000 * shares.get(name, 0) for name in names]
            assert bucket.amounts[0] == 1000 * sum(shares.values())
            assert (bucket.covered_seconds, bucket.busy_seconds) == (step, 40.0 * step / 30)
        usage.roll_up()


def test_over_time_memory_is_the_average_in_which_an_absent_name_is_nothing(record: Record, usage: Ask) -> None:
    for number in range(1, 121):
        record(NOW + 30 * number, 40.0, *([("web", 1, 1, 60 * MB)] if number > 60 else []))
    record(NOW + HOUR + 30, 0.0)
    for _ in range(2):
        names, buckets = usage.course(NOW, HOUR, 1, key="memory", grain="hour", top=3)
        assert names == ["web"]
        assert buckets[0].amounts[1] * 1.024 / HOUR == pytest.approx(30 * MB, rel=0.001)
        assert buckets[0].memory_bytes == pytest.approx(30 * MB, rel=0.001)
        usage.roll_up()


# -- old captures


def test_a_bucket_of_an_hour_and_of_captures_has_the_average_memory_of_both(record: Record, usage: Ask) -> None:
    for number, kilobytes in enumerate((100, 100, 400), 1):
        record(NOW + 1800 * number, 1.0, ("web", 1, 1, kilobytes * 1024), covered=1800)
    usage.roll_up()
    _, buckets = usage.course(NOW, 2 * HOUR, 1)
    assert usage.store.write(lambda s: s.number("SELECT hours_until FROM use_progress")) == NOW + HOUR
    assert buckets[0].memory_bytes == pytest.approx(200 * 1024)
    assert (buckets[0].covered_seconds, buckets[0].capacity_seconds, buckets[0].busy_seconds) == (5400, 4 * 5400, 3)


def test_old_captures_of_five_minutes_become_one_that_says_the_same(
    record: Record, usage: Ask, store: Store, path: Path
) -> None:
    for number in range(1, 241):
        uses = [("web", 1, 2, MB), ("web", 2, 1, 2 * MB), ("job", 100 + number, 3, number * 1024)]
        record(NOW + 30 * number, 40.0, *uses, services=[BACKUP])
    usage.roll_up()
    before = usage(NOW, NOW + HOUR), usage(NOW + 600, NOW + 1200), usage(NOW, NOW + HOUR, by="service")
    assert usage.merge(NOW + HOUR) is False
    assert query(path, f"SELECT COUNT(*), MIN(covered_seconds) FROM captures WHERE ts <= {NOW + HOUR}") == [(12, 300)]
    assert query(path, f"SELECT COUNT(*) FROM captures WHERE ts > {NOW + HOUR}") == [(120,)]
    after = usage(NOW, NOW + HOUR), usage(NOW + 600, NOW + 1200), usage(NOW, NOW + HOUR, by="service")
    for one, other in zip(before, after, strict=True):
        assert replace(one, users=[]) == replace(other, users=[])
        assert [replace(user, pids=[]) for user in one.users] == [replace(user, pids=[]) for user in other.users]
    first = f"FROM {{}} WHERE ts = {NOW + 300} AND name = 'job'"
    assert query(path, f"SELECT process_count, memory_bytes {first.format('process_names')}") == [(1, 10 * 1024)]
    # Of the single processes of names that have several, those five that used most: both of web, and these.
    assert query(path, f"SELECT pid {first.format('processes')} ORDER BY pid") == [(108,), (109,), (110,)]
    assert query(path, "SELECT COUNT(*) FROM processes WHERE pid <= 0") == [(0,)]
    usage.store.write(lambda statements: statements.run("UPDATE use_progress SET hours_until = 0"))
    usage.roll_up()
    again = usage(NOW, NOW + HOUR)
    assert [replace(user, pids=[]) for user in again.users] == [replace(user, pids=[]) for user in after[0].users]


def test_of_merged_captures_the_most_open_files_and_the_last_limit_are_kept(usage: Ask, path: Path) -> None:
    counted = [OpenFiles(900, 1000), OpenFiles(100, 2000), None, OpenFiles(400, None)]
    for number, files in enumerate([*counted, *[None] * 240], 1):
        found = Capture(NOW + 30 * number, 30, 120, 40.0, all_processes(), open_files=files)
        usage.store.write(lambda statements, found=found: captures.insert(statements, found, 1))  # type: ignore[misc]
    each = f"SELECT open_files, open_files_limit FROM captures WHERE ts <= {NOW + 600} ORDER BY ts"
    assert query(path, each)[:4] == [(900, 1000), (100, 2000), (None, None), (400, None)]
    usage.roll_up()
    usage.merge(NOW + HOUR)
    assert query(path, each) == [(900, None), (None, None)]


def test_merging_goes_on_hour_by_hour_and_knows_how_far_it_has_come(record: Record, usage: Ask, path: Path) -> None:
    for number in range(1, 3 * 120 + 2):
        record(NOW + 30 * number, 40.0, ("web", 1, 2, MB))
    usage.roll_up()
    until = []
    for _ in range(3):
        more = usage.store.write(lambda statements: old_captures.merge(statements, NOW + 2 * HOUR + 5, 5))
        until.append((more, query(path, "SELECT merged_until FROM use_progress")[0][0]))
    assert until == [(True, NOW + HOUR), (False, NOW + 2 * HOUR), (False, NOW + 2 * HOUR)]
    assert query(path, f"SELECT COUNT(*) FROM captures WHERE ts <= {NOW + 2 * HOUR}") == [(24,)]


def test_captures_that_are_not_reduced_or_are_young_are_not_merged(record: Record, usage: Ask, path: Path) -> None:
    for number in range(1, 130):
        record(NOW + 30 * number, 40.0, ("web", 1, 2, MB))
    usage.merge(NOW + DAY)
    assert query(path, "SELECT COUNT(*) FROM captures") == [(129,)]
    usage.roll_up()
    usage.merge(NOW + HOUR - 1)
    assert query(path, "SELECT COUNT(*) FROM captures") == [(129,)]
    usage.merge(NOW + HOUR)
    assert query(path, "SELECT COUNT(*) FROM captures") == [(12 + 9,)]


def test_captures_of_two_stretches_stay_apart(store: Store, record: Record, usage: Ask, path: Path) -> None:
    for number in range(1, 122):
        record(NOW + 30 * number, 40.0, ("web", 1, 2, MB))
        other = Capture(NOW + 30 * number, 30, 120, 40.0, all_processes(a_usage("web", 1)))
        store.write(lambda statements, other=other: captures.insert(statements, other, 2))  # type: ignore[misc]
    usage.roll_up()
    usage.merge(NOW + HOUR)
    assert query(path, f"SELECT stretch_id, SUM(cpu_ms) FROM process WHERE ts <= {NOW + HOUR} GROUP BY 1") == [
        (1, 240_000),
        (2, 120_000),
    ]
