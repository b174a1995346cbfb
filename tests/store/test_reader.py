import math
import sqlite3
import threading
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
from service.store.reader import Buckets, Gap, History, Probe
from service.store.tiers import SAMPLES
from service.store.writer import Store
from tests.conftest import NOW, Fill, Record
from tests.running import query, until

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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
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


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
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
