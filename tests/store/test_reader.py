import math
import os
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import clock
from service.clock import HOUR, MINUTE
from service.errors import ForeignDatabase, HistoryUnreadable, QueryRefused
from service.metrics import BY_NAME, METRICS
from service.records import Break, Sample
from service.store import database, reader, schema
from service.store.notes import leave, note
from service.store.reader import Buckets, Gap, History, Probe, View
from service.store.sample_ranks import RecentSamples
from service.store.statements import Parameters, Row, Statements
from service.store.tiers import MINUTES, SAMPLES
from service.store.writer import Store
from tests.conftest import NOW, Fill, Record
from tests.running import query, until

# Given here they stand in place of those of the profile: on a busy machine making examples may take long.
_SUPPRESSED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
CPU, SENT = BY_NAME["cpu_percent"], BY_NAME["network_sent_bytes"]


def reduced(history: History, start: int, end: int, step: int, grain: int) -> Buckets:
    with history.view() as view:
        return view.buckets(start, end, step, [CPU, SENT], grain)


def roll_up_all(store: Store) -> None:
    while store.roll_up():
        pass


@st.composite
def samples(draw: st.DrawFn) -> list[Sample]:
    """A few hours of samples with gaps, unknown values, resets and clocks set back."""
    ts, taken = NOW + draw(st.integers(0, 4000)), []
    for _ in range(draw(st.integers(1, 60))):
        jump = draw(st.sampled_from([5, 5, 5, 5, 10, 59, 60, 700, 3600, -1800]))
        begins = Break(ts, "overload") if jump not in (5, 10) or not taken else None
        ts += jump
        known = {"cpu_percent": draw(st.none() | st.integers(0, 10000).map(lambda n: n / 100))}
        known["network_sent_bytes"] = draw(st.integers(0, 10**9))
        covered = draw(st.integers(0, 10_000)) / 1000
        taken.append(Sample(ts, covered, known, begins))
    return taken


@settings(suppress_health_check=_SUPPRESSED, max_examples=25, deadline=None)
@given(samples())
def test_all_samples_are_all_minutes_are_all_hours(tmp_path: Path, taken: list[Sample]) -> None:
    path = tmp_path / "property.db"
    path.unlink(missing_ok=True)
    database.migrate(path)
    store = Store(path)
    store.open()
    store.begin_run(NOW, None, None, "0.1.0", 5)
    for sample in taken:
        store.append([sample])
    last = max(sample.ts for sample in taken)
    store.append([Sample(last // HOUR * HOUR + HOUR, 0.0, {}, Break(last, "stopped"))])
    roll_up_all(store)
    start, end = min(s.ts for s in taken) // HOUR * HOUR, last // HOUR * HOUR + HOUR
    by_tier = [reduced(History(path), start, end, end - start, grain) for grain in (1, MINUTE, HOUR)]
    store.close()
    assert_same(by_tier)


def test_a_bucket_says_how_long_each_metric_was_known(store: Store, history: History) -> None:
    known = [Sample(NOW, 5.0, {"cpu_percent": 10, "network_sent_bytes": 100}, Break(None, None))]
    known += [Sample(NOW + 5, 5.0, {"cpu_percent": 40}), Sample(NOW + 10, 4.0, {"network_sent_bytes": 300})]
    known += [Sample(NOW + 14, 4.0, {"cpu_percent": 20, "network_sent_bytes": 380})]
    store.append(known)
    buckets = reduced(history, NOW, NOW + 120, 60, 1)
    assert buckets.weights("cpu_percent") == [14.0, 0.0]
    assert buckets.weights("network_sent_bytes") == [4.0, 0.0]
    assert (buckets.covered_seconds, buckets.samples) == (18.0, 4)
    assert (buckets.minima("cpu_percent"), buckets.maxima("cpu_percent")) == ([10.0, None], [40.0, None])
    assert buckets.averages("cpu_percent")[0] == pytest.approx((10 * 5 + 40 * 5 + 20 * 4) / 14)
    assert buckets.averages("network_sent_bytes") == buckets.maxima("network_sent_bytes") == [20.0, None]


def assert_same(reductions: list[Buckets]) -> None:
    first = reductions[0]
    for other in reductions[1:]:
        assert (other.samples, other.covered_seconds) == (first.samples, first.covered_seconds)
        assert other.weights("cpu_percent") == first.weights("cpu_percent")
        for name in ("cpu_percent", "network_sent_bytes"):
            assert other.minima(name) == first.minima(name)
            assert other.maxima(name) == first.maxima(name)
        a, b = first.averages("cpu_percent")[0], other.averages("cpu_percent")[0]
        # Each rounding to stored integers may be half a hundredth off.
        assert (a is None) == (b is None)
        assert a is None or math.isclose(a, b, abs_tol=0.0101)  # type: ignore[arg-type]
        assert first.averages("network_sent_bytes") == other.averages("network_sent_bytes")


@settings(suppress_health_check=_SUPPRESSED, max_examples=15, deadline=None)
@given(samples(), st.integers(1, 900))
def test_minimum_average_maximum_stand_in_that_order_in_every_bucket(
    tmp_path: Path, taken: list[Sample], step: int
) -> None:
    path = tmp_path / "property.db"
    path.unlink(missing_ok=True)
    database.migrate(path)
    store = Store(path)
    store.open()
    store.begin_run(NOW, None, None, "0.1.0", 5)
    store.append(taken)
    roll_up_all(store)
    start, end = min(s.ts for s in taken), max(s.ts for s in taken) + 1
    buckets = reduced(History(path), start, end, step, MINUTE)
    store.close()
    for low, average, high in zip(
        buckets.minima("cpu_percent"), buckets.averages("cpu_percent"), buckets.maxima("cpu_percent"), strict=True
    ):
        if low is not None and average is not None and high is not None:
            assert low - 0.0051 <= average <= high + 0.0051


def test_the_unfinished_minute_and_hour_count_once(store: Store, history: History, fill: Fill) -> None:
    fill(NOW, 750, cpu_percent=lambda i: i % 7)
    before = reduced(history, NOW, NOW + 4000, 4000, 1)
    roll_up_all(store)
    after = reduced(history, NOW, NOW + 4000, 4000, HOUR)
    assert before.samples == after.samples == 750
    assert after.averages("cpu_percent")[0] == pytest.approx(before.averages("cpu_percent")[0], abs=0.01)


def test_rates_are_null_after_a_reset_and_after_a_gap(history: History, fill: Fill) -> None:
    fill(NOW, 3, network_sent_bytes=lambda i: [100, 600, 50][i])
    fill(NOW + 60, 2, begins=Break(NOW + 10, "killed"), network_sent_bytes=lambda i: 10**9 + i * 50)
    rates = reduced(history, NOW, NOW + 70, 5, 1).averages("network_sent_bytes")
    assert [rate for rate in rates if rate is not None] == [100.0, 10.0]
    assert (rates[1], rates[13]) == (100.0, 10.0)


def test_a_window_without_records_is_all_null(history: History, fill: Fill) -> None:
    fill(NOW, 3, cpu_percent=5)
    assert reduced(history, NOW - 3000, NOW, 300, 1).averages("cpu_percent") == [None] * 10


def test_where_samples_are_pruned_minutes_answer(store: Store, history: History, fill: Fill) -> None:
    fill(NOW, 1500, cpu_percent=lambda i: i % 50)
    roll_up_all(store)
    whole = reduced(history, NOW, NOW + 7500, 7500, 1)
    while store.prune(NOW + HOUR, 0, 0):
        pass
    pruned = reduced(history, NOW, NOW + 7500, 7500, 1)
    assert pruned.samples == whole.samples
    assert pruned.maxima("cpu_percent") == whole.maxima("cpu_percent")


def test_the_newest_sample_is_the_one_taken_last_whatever_the_clock_said(history: History, fill: Fill) -> None:
    fill(NOW, 3, cpu_percent=1)
    fill(NOW - 3600, 2, begins=Break(NOW + 10, "clock_step"), cpu_percent=2, process_count=77)
    with history.view() as view:
        newest = view.newest()
    assert newest is not None
    assert (newest.ts, newest.values["cpu_percent"], newest.values["process_count"]) == (NOW - 3595, 2.0, 77)
    assert newest.values["swap_percent"] is None


def test_an_empty_history_has_no_newest_sample_and_no_oldest(store: Store, history: History) -> None:
    del store
    with history.view() as view:
        assert view.newest() is None
        assert view.oldest() is None


def test_gaps_that_touch_the_window_come_whole(history: History, fill: Fill) -> None:
    fill(NOW, 2)
    fill(NOW + 500, 2, begins=Break(NOW + 5, "suspended"))
    with history.view() as view:
        assert view.gaps(NOW + 100, NOW + 101) == [Gap(NOW + 5, NOW + 495, "suspended")]
        assert view.gaps(NOW + 495, NOW + 600) == []


def test_rows_come_in_pieces_that_join_without_seam(
    history: History, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.store.reader.ROWS_AT_ONCE", 70)
    fill(NOW, 40)
    fill(NOW + 100_000, 40, begins=Break(NOW, "stopped"))
    found: list[Any] = []
    start = 0
    with history.view() as view:
        while start < NOW + 10**6:
            _, rows, start = view.rows(SAMPLES, start, NOW + 10**6)
            found += [row[0] for row in rows]
    assert found == [NOW + i * 5 for i in range(40)] + [NOW + 100_000 + i * 5 for i in range(40)]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM sample",
        "CREATE TABLE t (a)",
        "ATTACH 'other.db' AS other",
        "VACUUM INTO 'copy.db'",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA user_version = 7",
        "BEGIN IMMEDIATE",
        "SELECT load_extension('x')",
        "SELECT 1; DELETE FROM sample",
        "SELECT nonsense",
        "",
    ],
)
def test_sql_only_reads(history: History, fill: Fill, statement: str, tmp_path: Path) -> None:
    fill(NOW, 3)
    before = sorted(file.name for file in tmp_path.iterdir())
    if statement:
        with pytest.raises(QueryRefused), history.query(statement, 5) as (_, rows):
            list(rows)
    with history.query("SELECT count(*) FROM samples", 5) as (_, rows):
        assert list(rows) == [(3,)]
    assert sorted(file.name for file in tmp_path.iterdir()) == before


def test_sql_is_stopped_when_its_time_is_up(history: History) -> None:
    endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"
    with pytest.raises(QueryRefused, match="stopped after"), history.query(endless, 0.2) as (_, rows):
        list(rows)


def test_a_missing_history_is_reported_and_not_created(tmp_path: Path) -> None:
    history = History(tmp_path / "none.db")
    with pytest.raises(HistoryUnreadable, match="run"):
        history.check_readable()
    with pytest.raises(HistoryUnreadable), history.view():
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "x.db").execute("CREATE TABLE t (a)").connection.close()
    with pytest.raises(ForeignDatabase):
        History(tmp_path / "x.db").check_readable()


def test_the_integrity_check_finds_a_spoilt_page(store: Store, path: Path, history: History, fill: Fill) -> None:
    fill(NOW, 2000, **{metric.name: 3 for metric in METRICS})
    store.close()
    with open(path, "r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 2000)
    assert _is_found_damaged(history)


def _is_found_damaged(history: History) -> bool:
    """Which bytes are spoilt decides whether SQLite lists what is wrong or refuses to read on."""
    try:
        with history.view() as view:
            return view.problems() != []
    except HistoryUnreadable:
        return True


def test_trouble_says_why_nothing_can_be_read_and_ends_with_it(
    history: History, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_TROUBLE_SECONDS", 0.0)
    assert history.trouble() is None
    path.rename(path.with_suffix(".away"))
    text = "the history cannot be read; `check` and the log say why (unable to open database file)"
    assert history.trouble() == text
    path.with_suffix(".away").rename(path)
    assert history.trouble() is None


def test_trouble_is_told_before_the_next_connection_meets_it(
    path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(NOW, 1)
    monkeypatch.setattr(reader, "_TROUBLE_SECONDS", 0.0)
    history = History(path, pooled=True)
    assert history.trouble() is None
    # Its connection stays open, like those of a daemon whose file gets another mode.
    path.rename(path.with_suffix(".away"))
    assert history.trouble() == "the database may not be read by this account any more, or is gone"
    path.with_suffix(".away").rename(path)
    assert history.trouble() is None
    history.close()


def test_many_who_ask_for_health_read_once_a_second(
    store: Store, path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(NOW, 1)
    now, views = [1000.0], []
    monkeypatch.setattr(clock, "steady", lambda: now[0])
    history = History(path)
    view = history.view
    monkeypatch.setattr(history, "view", lambda seconds: views.append(seconds) or view(seconds))
    assert [history.trouble() for _ in range(20)] == [None] * 20
    assert len(views) == 1
    path.rename(path.with_suffix(".away"))
    history.forget()
    assert history.trouble() is None
    now[0] += 1.0
    assert "cannot be read" in str(history.trouble())
    assert len(views) == 2


def test_a_bucket_in_which_a_metric_is_unknown_weighs_nothing(history: History, fill: Fill) -> None:
    fill(NOW, 12, cpu_percent=None)
    fill(NOW + 60, 12, cpu_percent=5.0)
    assert reduced(history, NOW, NOW + 180, 60, 1).weights("cpu_percent") == [0.0, 60.0, 0.0]


def test_a_course_begins_with_its_start_and_ends_before_its_end(history: History, fill: Fill) -> None:
    fill(NOW, 4, cpu_percent=7.5)
    with history.view() as view:
        found = [tuple(row)[:2] for row in view.course(CPU, NOW + 5, NOW + 15)]
        assert found == [(NOW + 5, 7.5), (NOW + 10, 7.5)]
        assert [row[1] for row in view.course(None, NOW + 5, NOW + 15)] == [NOW + 5, NOW + 10]


def test_the_captures_of_a_moment_are_those_that_hold_it(history: History, record: Record) -> None:
    for number in (1, 2, 3):
        record(NOW + 30 * number, 30.0, ("job", 1, 1.0, 0))
    with history.view() as view:
        assert view.captures_at(NOW + 40, NOW + 41) == (NOW + 30, NOW + 60)
        assert view.captures_at(NOW + 500, NOW + 501) is None


def test_each_table_has_its_bytes(history: History, path: Path, fill: Fill) -> None:
    if not query(path, "SELECT 1 FROM pragma_module_list WHERE name = 'dbstat'"):
        pytest.skip("this SQLite was built without dbstat")
    fill(NOW, 1000)
    with history.view() as view:
        found = view.table_bytes()
    assert found is not None
    pages = query(path, "SELECT page_count FROM pragma_page_count")[0][0]
    assert found["sample"] > found["run"] > 0
    assert sum(found.values()) <= pages * schema.PAGE_BYTES


def test_the_interval_of_a_window_is_the_longest_that_was_set_in_it(store: Store, history: History) -> None:
    store.begin_run(NOW + 1000, None, None, "0.1.0", 60)
    store.begin_run(NOW + 2000, None, None, "0.1.0", 2)
    with history.view() as view:
        windows = [(0, 900), (0, 1000), (0, 1001), (999, 1001), (1000, 2100), (2000, 2100), (-50, 10)]
        assert [view.interval(NOW + start, NOW + end) for start, end in windows] == [5, 5, 60, 60, 60, 2, 5]
        assert view.interval(NOW - 50, NOW - 10) == 1, "none was set yet"


def test_a_probe_says_whether_its_work_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_PROBE_SECONDS", 0.2)
    goes, done = threading.Event(), []
    probe = Probe(lambda: done.append(goes.wait()))
    try:
        assert not probe.comes_back()
        assert not probe.comes_back(), "it is still stuck, and not asked again"
        goes.set()
        until(lambda: done == [True])
        until(probe.comes_back)
        assert probe.comes_back()
        assert len(done) >= 3
    finally:
        goes.set()
        probe.end()


def test_a_sample_that_waits_is_the_newest_also_where_none_is_stored(
    store: Store, path: Path, history: History
) -> None:
    waits = Sample(NOW + 7, 5.0, {"cpu_percent": 12.5}, None)
    with History(path, waiting=lambda: [waits]).view() as view:
        newest = view.newest()
    assert newest is not None
    assert (newest.ts, newest.covered_seconds, newest.values["cpu_percent"]) == (NOW + 7, 5.0, 12.5)
    assert (newest.interval_seconds, newest.stopped_ts) == (1, None)


def test_who_used_the_machine_is_read_in_every_way(history: History, record: Record) -> None:
    for number in (1, 2, 3):
        record(NOW + 30 * number, 60.0, ("job", 1, 15.0 * number, 1000))
    with history.view() as view:
        (user,) = view.usage(NOW, NOW + 90, "cpu", 5).users
        assert (user.name, user.cpu_seconds) == ("job", 90.0)
        assert view.usage(NOW, NOW + 90, "cpu", 0).users == []
        assert view.capture_spacing(NOW, NOW + 90) == 30
        names, buckets = view.usage_course(NOW, 30, 3, "name", "cpu", "captures", 5)
        assert (names, sorted(buckets)) == (["job"], [0, 1, 2])
        spans = view.user_spans("name", ["job"], NOW, 30, 3)
        assert [spans["job"].cpu_percent[number] for number in range(3)] == [12.5, 25.0, 37.5]
        steps = [view.step_at(NOW + 45), view.step_after(NOW + 45), view.step_before(NOW + 45)]
        assert [step and step.end for step in steps] == [NOW + 60, NOW + 60, NOW + 30]
        found = view.step_using("jo", "name", NOW + 30, True)
        assert found is not None
        assert found.end == NOW + 60


def test_while_the_disk_does_not_answer_nothing_is_read(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "_PROBE_SECONDS", 0.2)
    goes = threading.Event()
    history = History(path, pooled=True)
    read = history._try_to_read
    history._probe = Probe(lambda: goes.wait() and read())
    try:
        with pytest.raises(HistoryUnreadable, match="does not answer"), history.view():
            pass
        assert history.waiting_notes() == ()
        assert "does not answer" in (history.trouble() or "")
        goes.set()
        until(history._probe.comes_back)
        with history.view() as view:
            assert view.oldest() is None
    finally:
        goes.set()
        history.close()


def test_the_last_bucket_of_a_window_may_be_a_part(history: History, fill: Fill) -> None:
    fill(NOW, 60, cpu_percent=lambda i: i)
    for end, count in ((120, 2), (121, 3), (179, 3), (180, 3)):
        averages = reduced(history, NOW, NOW + end, 60, 1).averages("cpu_percent")
        assert len(averages) == count
        assert averages[:2] == [5.5, 17.5]
    assert reduced(history, NOW, NOW + 126, 60, 1).averages("cpu_percent") == [5.5, 17.5, 24.5]


def test_of_the_newest_sample_each_value_is_in_its_unit(store: Store, history: History, fill: Fill) -> None:
    """The last of the newest stretch, with the interval of its run and when that stopped."""
    values = {"cpu_percent": 12.34, "process_count": 7, "memory_total_bytes": 3 * 1024, "load_1": 0.5}
    fill(NOW, 3, cpu_percent=90)
    store.begin_run(NOW + 60, None, None, "0.1.0", 7)
    store.append([Sample(NOW + 70, 4.2, {}, Break(NOW + 15, "stopped")), Sample(NOW + 77, 6.3, values)])
    with history.view() as view:
        newest = view.newest()
        assert newest is not None
        assert {name: value for name, value in newest.values.items() if value is not None} == values
        assert set(newest.values) == {metric.name for metric in METRICS}
        assert (newest.ts, newest.covered_seconds) == (NOW + 77, 6.3)
        assert (newest.interval_seconds, newest.stopped_ts) == (7, None)
    store.end_run(NOW + 80)
    with history.view() as view:
        newest = view.newest()
    assert newest is not None
    assert newest.stopped_ts == NOW + 80


def test_what_waits_has_the_interval_of_what_is_stored(path: Path, fill: Fill) -> None:
    fill(NOW, 3, cpu_percent=90)
    waiting = [Sample(NOW + 15, 5.0, {"cpu_percent": 1.0}), Sample(NOW + 20, 4.5, {"cpu_percent": 2.0})]
    with History(path, waiting=lambda: waiting).view() as view:
        newest = view.newest()
    assert newest is not None
    assert (newest.ts, newest.covered_seconds, newest.interval_seconds) == (NOW + 20, 4.5, 5)
    assert (newest.values["cpu_percent"], newest.values["load_1"]) == (2.0, None)


def settled(history: History, before: int) -> tuple[Any, ...] | None:
    with history.view() as view:
        return view.settled(before)


def test_what_lies_before_the_newest_sample_is_settled_until_something_begins(
    store: Store, path: Path, history: History, fill: Fill
) -> None:
    assert settled(history, NOW) is None
    fill(NOW, 3)
    first = settled(history, NOW + 10)
    assert first is not None
    assert settled(history, NOW + 9) == first
    assert settled(history, NOW + 11) is None
    store.append([Sample(NOW + 15, 5.0, {})])
    assert settled(history, NOW + 10) == first
    with History(path, waiting=lambda: [Sample(NOW + 20, 5.0, {})]).view() as view:
        assert view.settled(NOW + 10) is None
    found = [first]
    fill(NOW + 60, 3, begins=Break(NOW + 20, "stopped"))
    found.append(settled(history, NOW + 10))
    store.begin_run(NOW + 100, None, None, "0.1.0", 5)
    found.append(settled(history, NOW + 10))
    store.append([Sample(NOW + 4000, 5.0, {}, Break(NOW + 75, "stopped"))])
    found.append(settled(history, NOW + 10))
    roll_up_all(store)
    found.append(settled(history, NOW + 10))
    assert len(set(found)) == 5


def test_the_oldest_second_is_that_of_the_tier_that_goes_back_furthest(
    store: Store, history: History, fill: Fill
) -> None:
    fill(NOW, 1500)
    found = []
    for samples_before, minutes_before in ((0, 0), (NOW + HOUR, 0), (NOW + HOUR, NOW + HOUR)):
        roll_up_all(store)
        while store.prune(samples_before, minutes_before, 0):
            pass
        with history.view() as view:
            found.append(view.oldest())
    assert found == [NOW, NOW, NOW]
    store.write(lambda statements: statements.run("DELETE FROM hour"))
    with history.view() as view:
        assert view.oldest() == NOW + HOUR


def test_what_waits_counts_once_though_it_was_stored_meanwhile(path: Path, fill: Fill) -> None:
    """Also the first and the last of them, in buckets and among the largest; those of other seconds count, too."""
    taken = fill(NOW, 6, cpu_percent=lambda i: 10 * i, network_sent_bytes=lambda i: 1000 * i)
    more = [Sample(NOW + 30, 5.0, {"cpu_percent": 60.0}), Sample(NOW + 35, 5.0, {"cpu_percent": 20.0})]
    for waiting in (taken[3:], [*taken[3:], *more], more, [taken[4]], taken[4:]):
        history = History(path, waiting=lambda waiting=waiting: waiting)
        expected = [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, *([60.0, 20.0] if more[0] in waiting else [])]
        with history.view() as view:
            found = view.buckets(NOW, NOW + 60, 60, [CPU], 1)
            assert found.samples == len(expected)
            assert found.averages("cpu_percent") == [pytest.approx(sum(expected) / len(expected))]
            largest = view.largest([CPU], NOW, NOW + 60, 1, 1, 99)["cpu_percent"]
            assert list(largest.averages) == sorted(expected, reverse=True)
            assert view.highest(CPU, NOW, NOW + 60, 1, 1) == NOW + 5 * expected.index(max(expected))
            assert view.highest(CPU, NOW, NOW + 60, 10, 1) == NOW + 5 * expected.index(max(expected)) // 10 * 10
            assert view.highest(CPU, NOW - 60, NOW, 1, 1) is None
        history.close()


def test_rows_begin_with_the_start_and_end_before_the_end(store: Store, history: History, fill: Fill) -> None:
    fill(NOW, 4, cpu_percent=lambda i: i)
    fill(NOW + 4000, 1, begins=Break(NOW + 20, "stopped"))
    roll_up_all(store)
    with history.view() as view:
        columns, rows, stop = view.rows(SAMPLES, NOW + 5, NOW + 15)
        assert [row[columns.index("ts")] for row in rows] == [NOW + 5, NOW + 10]
        assert [row[columns.index("cpu_percent")] for row in rows] == [1.0, 2.0]
        assert stop == NOW + 15
        _, rows, stop = view.rows(SAMPLES, NOW + 1000, NOW + 2000)
        assert (list(rows), stop) == ([], NOW + 2000)
        _, rows, stop = view.rows(MINUTES, NOW, NOW + 10**6)
        assert (rows[0][0], stop) == (NOW, NOW + 5000 * MINUTE)
        assert view.rows(SAMPLES, NOW, NOW + 10**6)[2] == NOW + 5000


def test_of_two_samples_of_one_second_a_course_has_the_one_taken_last(history: History, fill: Fill) -> None:
    fill(NOW, 3, cpu_percent=[1.5, None, 2.5].__getitem__)
    fill(NOW + 10, 2, begins=Break(NOW + 15, "clock_step"), cpu_percent=[7.5, 8.5].__getitem__)
    with history.view() as view:
        found = [tuple(row)[:3] for row in view.course(CPU, NOW, NOW + 60)]
    assert found == [(NOW, 1.5, NOW - 1000), (NOW + 10, 7.5, NOW - 1000), (NOW + 15, 8.5, NOW - 1000)]


def test_gaps_that_only_meet_a_window_are_not_in_it(history: History, fill: Fill) -> None:
    fill(NOW, 2)
    fill(NOW + 500, 2, begins=Break(NOW + 5, "suspended"))
    fill(NOW + 900, 2, begins=Break(NOW + 505, "stopped"))
    first, second = Gap(NOW + 5, NOW + 495, "suspended"), Gap(NOW + 505, NOW + 895, "stopped")
    windows = {(0, 5): [], (0, 6): [first], (494, 495): [first], (495, 505): [], (494, 506): [first, second]}
    with history.view() as view:
        assert {(a, b): view.gaps(NOW + a, NOW + b) for a, b in windows} == windows


def test_plain_sql_and_what_a_room_reads_are_of_the_same_view(history: History, fill: Fill) -> None:
    fill(NOW, 2, cpu_percent=7)
    with history.view() as view:
        assert view.select("SELECT ts, cpu_percent FROM samples ORDER BY ts DESC") == [
            {"ts": NOW + 5, "cpu_percent": 7.0},
            {"ts": NOW, "cpu_percent": 7.0},
        ]
        assert view.read(lambda statements: statements.number("SELECT COUNT(*) FROM sample")) == 2
        assert view.problems() == []
        sizes = view.table_bytes()
    if sizes is not None:
        assert list(sizes.values()) == sorted(sizes.values(), reverse=True)
        assert len(set(sizes.values())) > 1


ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT COUNT(*) FROM c"


def test_a_view_that_takes_too_long_is_stopped_and_the_next_has_its_own_time(path: Path, store: Store) -> None:
    del store
    history = History(path, pooled=True)
    started = time.monotonic()
    with pytest.raises(HistoryUnreadable), history.view(0.2) as view:
        view.select(ENDLESS)
    assert 0.2 <= time.monotonic() - started < 8
    assert not history.was_damaged(), "that is no damage"
    long = (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 300000) SELECT COUNT(*) AS n FROM c"
    )
    with history.view() as view:
        assert view.select(long) == [{"n": 300_000}]
    history.close()


def test_a_reader_that_meets_damage_says_so_once(path: Path, history: History, fill: Fill, store: Store) -> None:
    fill(NOW, 10)
    store.close()
    assert not history.was_damaged()
    path.write_bytes(b"no database at all" * 1000)
    assert "file is not a database" in (history.trouble() or "")
    assert history.was_damaged()
    assert not history.was_damaged()


def test_a_history_that_is_forgotten_or_closed_lets_go_of_its_file(path: Path, store: Store, fill: Fill) -> None:
    """A connection that stays open between answers would read the old file for ever."""
    fill(NOW, 3, cpu_percent=7)
    # While another connection has the file open, SQLite keeps its descriptors, which the locks hang on.
    store.close()
    history = History(path, pooled=True)

    def is_open() -> bool:
        return str(path) in [os.readlink(link) for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]

    for let_go in (history.forget, history.close):
        with history.view() as view:
            assert list(view.largest([CPU], NOW, NOW + 60, 1, 1, 9)["cpu_percent"].averages) == [7.0] * 3
        assert history._recent._kept is not None
        assert is_open()
        let_go()
        assert not is_open()
        assert history._recent._kept is None or let_go == history.close
    assert history._probe is not None
    history._probe._thread.join(10)
    assert not history._probe._thread.is_alive()


def test_only_a_history_that_keeps_connections_asks_with_a_thread_of_its_own(path: Path, history: History) -> None:
    """It does not keep the program from ending, where the disk has not answered it."""
    assert history._probe is None
    pooled = History(path, pooled=True)
    assert pooled._probe is not None
    assert pooled._probe._thread.daemon
    assert not pooled._probe._thread.is_alive(), "not before it is needed"
    pooled.close()


def test_a_probe_whose_work_fails_comes_back_and_asks_again_only_when_it_is_asked() -> None:
    done: list[int] = []
    probe = Probe(lambda: done.append(len(done)))
    assert [probe.comes_back() for _ in range(3)] == [True] * 3
    time.sleep(0.05)
    assert done == [0, 1, 2]
    probe.end()
    probe._thread.join(10)
    assert not probe._thread.is_alive()
    assert done == [0, 1, 2]


def test_a_statement_of_the_users_is_asked_apart(path: Path, history: History, fill: Fill) -> None:
    fill(NOW, 3, cpu_percent=7)
    table = history.ask_apart("SELECT COUNT(*) AS n FROM samples", 20)
    assert (table.columns, [tuple(row) for row in table.rows]) == (["n"], [(3,)])


def test_notes_that_wait_are_told(path: Path, history: History, store: Store) -> None:
    del store
    assert list(history.waiting_notes()) == []
    left = note("a new disk", NOW)
    leave(path, left)
    assert list(history.waiting_notes()) == [left]
    pooled = History(path, pooled=True)
    assert list(pooled.waiting_notes()) == [left]
    pooled.close()


class Watched(Statements):
    """Keeps all rows that it gave."""

    def rows(self, sql: str, parameters: Parameters = ()) -> Sequence[Row]:
        found = super().rows(sql, parameters)
        self.given = [*vars(self).get("given", []), *found]
        return found


def test_of_what_is_stored_only_the_time_of_what_waits_is_compared_with_it(history: History, fill: Fill) -> None:
    """Not each sample that there is: of two days that would be tens of thousands."""
    taken = fill(NOW, 60, cpu_percent=5)
    with history.view() as view:
        watched = Watched(view._statements._connection)
        View(watched, RecentSamples(), taken[20:23]).buckets(NOW, NOW, 60, [CPU], 1)
    stamps = [row[0] for row in watched.given if len(row) == 1]
    assert stamps == [sample.ts for sample in taken[20:23]]
