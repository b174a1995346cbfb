"""Where imported records lie in the history: minutes as steps, runs and gaps, own time, twice the same, any order."""

import json
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from service.answers.monitor import ResourceMonitor
from service.clock import DAY, HOUR, MINUTE, Clock, rfc3339
from service.daemon.startup import Lock
from service.importing.steps import reduced
from service.importing.sysstat import Record
from service.metrics import BY_NAME
from service.records import Break, Sample
from service.store.reader import History
from service.store.writer import Store
from tests.conftest import NOW, FakeClock, Fill, client_for, settings_for
from tests.importing.conftest import HOST, ImportSar, Rows, Sar
from tests.running import query

PAST = NOW - 30 * DAY


def roll_all_up(store: Store) -> None:
    while store.roll_up():
        pass


def every(count: int, start: int = PAST, interval: int = 600) -> list[int]:
    """Where each of `count` records ends that follow each other from `start` on."""
    return [start + (number + 1) * interval for number in range(count)]


def everything(rows: Rows) -> list[Any]:
    return [rows(f"SELECT * FROM {table} ORDER BY ts") for table in ("minute", "hour", "day")] + rows(
        "SELECT start_ts, prior_end_ts, reason, started_ts, stopped_ts, boot_ts, version, interval_seconds "
        "FROM stretch JOIN run USING (run_id) ORDER BY 1"
    )


# -- minutes, hours, days


def test_a_record_is_a_step_over_its_minutes(sar: Sar, import_sar: ImportSar, rows: Rows) -> None:
    assert import_sar(sar([PAST + 150, PAST + 300], interval=150)).code == 0
    assert rows("SELECT ts, covered_seconds, samples, cpu_percent, cpu_percent_min, cpu_percent_max FROM minutes") == [
        (PAST, 60.0, 0, 25.0, 25.0, 25.0),
        (PAST + 60, 60.0, 0, 25.0, 25.0, 25.0),
        (PAST + 120, 60.0, 1, 25.0, 25.0, 25.0),
        (PAST + 180, 60.0, 0, 25.0, 25.0, 25.0),
        (PAST + 240, 60.0, 1, 25.0, 25.0, 25.0),
    ]


def test_short_records_are_averaged_into_their_minute(sar: Sar, import_sar: ImportSar, rows: Rows) -> None:
    ends = [(PAST + 15, 15, {}), (PAST + 60, 45, {"cpu-load": [{"cpu": "all", "idle": 5.0, "iowait": 0.0}]})]
    assert import_sar(sar(ends)).code == 0
    assert rows("SELECT samples, covered_seconds, cpu_percent, cpu_percent_min, cpu_percent_max FROM minutes") == [
        (2, 60.0, 77.5, 25.0, 95.0)
    ]


def test_what_only_a_part_of_a_minute_knows_is_weighted_by_that_part(
    sar: Sar, import_sar: ImportSar, rows: Rows
) -> None:
    assert import_sar(sar([(PAST + 20, 20, {"cpu-load": []}), (PAST + 60, 40, {}), (PAST + 120, 60, {})])).code == 0
    assert rows("SELECT cpu_percent, covered_seconds FROM hours") == [(25.0, 120.0)]
    assert rows("SELECT json_extract(partial, '$.cpu_percent') FROM minute") == [(40_000,), (None,)]


@given(
    st.lists(st.tuples(st.integers(0, 200), st.integers(1, 4000), st.floats(0, 1e9)), min_size=1, max_size=8),
    st.sampled_from([MINUTE, HOUR]),
)
def test_the_parts_of_records_add_up_to_them(found: list[tuple[int, int, float]], step: int) -> None:
    records, at = [], PAST
    for hole, seconds, rate in found:
        start, at = at + hole, at + hole + seconds
        records.append(Record(start, at, seconds, {"disk_read_bytes": rate, "cpu_percent": rate % 100}))
    reduced_rows = list(reduced(records, step))
    assert [row[0] for row in reduced_rows] == sorted({row[0] for row in reduced_rows})
    assert sum(row[1] for row in reduced_rows) == len(records)
    assert sum(row[2] for row in reduced_rows) == 1000 * sum(seconds for _, seconds, _ in found)
    assert all(0 < row[2] <= step * 1000 for row in reduced_rows)
    moved = sum(value for row in reduced_rows for value in row[3 + 4 * 11 : 4 + 4 * 11] if value is not None)
    assert moved == sum(round(rate * seconds) for _, seconds, rate in found)


def test_hours_and_days_are_the_minutes_together(sar: Sar, import_sar: ImportSar, rows: Rows) -> None:
    start = PAST // DAY * DAY
    assert import_sar(sar(every(300, start, 577), 577)).code == 0
    for table, seconds in (("hour", HOUR), ("day", DAY)):
        assert rows(f"SELECT ts, samples, covered_ms, disk_read_bytes_increase, cpu_percent_e2 FROM {table}") == rows(
            f"SELECT ts / {seconds} * {seconds}, SUM(samples), SUM(covered_ms), SUM(disk_read_bytes_increase), 2500 "
            f"FROM minute WHERE ts < (SELECT MAX(ts) + {seconds} FROM {table}) GROUP BY 1"
        )
    assert rows("SELECT COUNT(*) FROM hour") == [(49,)]
    assert rows("SELECT COUNT(*) FROM day") == [(2,)]


def test_an_average_of_more_than_two_hours_makes_hours_and_no_minutes(
    sar: Sar, import_sar: ImportSar, rows: Rows
) -> None:
    done = import_sar(sar([(PAST + 600, 600, {}), (PAST + 4 * HOUR, 4 * HOUR - 600, {}), PAST + 4 * HOUR + 600]))
    assert done.out.startswith(f"imported 20 minutes and 4 hours of {HOST}, ")
    assert rows("SELECT ts, covered_seconds, disk_read_bytes_increase FROM hours") == [
        *((PAST + hour * HOUR, 3600.0, 3600 * 1024) for hour in range(4)),
        (PAST + 4 * HOUR, 600.0, 600 * 1024),
    ]
    assert rows("SELECT COUNT(*) FROM minutes") == [(20,)]


def test_an_hour_that_came_without_minutes_goes_on_with_what_comes_later(
    sar: Sar, import_sar: ImportSar, rows: Rows
) -> None:
    long, after = (PAST + 3 * HOUR + 600, 3 * HOUR + 600, {}), (PAST + 3 * HOUR + 1800, 600, {})
    assert import_sar(sar([long])).code == 0
    assert import_sar(sar([after])).code == 0
    assert rows("SELECT covered_seconds, disk_read_bytes_increase FROM hours ORDER BY ts DESC LIMIT 1") == [
        (1200.0, 1200 * 1024)
    ]


# -- runs and gaps


def test_a_restart_and_a_long_time_without_records_are_gaps(sar: Sar, import_sar: ImportSar, rows: Rows) -> None:
    ends = [*every(3), *every(2, PAST + 3000), *every(2, PAST + 9000)]
    assert import_sar(sar(ends, boots=[PAST + 2900])).code == 0
    assert rows("SELECT start_ts - ?1, end_ts - ?1, reason FROM gaps ORDER BY 1".replace("?1", str(PAST))) == [
        (1800, 3000, "rebooted"),
        (4200, 9000, "stopped"),
    ]
    assert rows("SELECT run_id, clean, boot_time, version, interval FROM runs ORDER BY started") == [
        (-1, 1, None, "sysstat", 600),
        (-2, 1, rfc3339(PAST + 2900), "sysstat", 600),
        (-3, 1, rfc3339(PAST + 2900), "sysstat", 600),
    ]


def test_between_the_files_of_two_days_an_interval_is_missing_which_is_no_gap(
    sar: Sar, import_sar: ImportSar, rows: Rows
) -> None:
    assert import_sar(sar(every(3)), sar(every(3, PAST + 2400))).code == 0
    assert rows("SELECT COUNT(*) FROM gaps") == [(0,)]
    assert rows("SELECT start_ts, prior_end_ts, reason FROM stretch ORDER BY start_ts") == [
        (PAST, None, None),
        (PAST + 2400, PAST + 1800, None),
    ]


# -- twice, in any order


def test_the_same_file_twice_changes_nothing(sar: Sar, import_sar: ImportSar, rows: Rows) -> None:
    file = sar([*every(6), *every(3, PAST + 9000)], boots=[PAST + 8000])
    assert import_sar(file).code == 0
    before = everything(rows)
    done = import_sar(file, file)
    assert (done.code, done.out.splitlines()) == (
        0,
        [f"imported nothing new of {HOST}, from 2 files of sysstat", "skipped 18 that were imported before"],
    )
    assert everything(rows) == before


def test_the_order_of_files_does_not_matter(
    sar: Sar, import_sar: ImportSar, new_database: Path, tmp_path: Path
) -> None:
    files = [sar(every(5)), sar(every(5, PAST + 3600), boots=[PAST + 3500]), sar(every(4, PAST + 10 * HOUR))]
    found = []
    for number, order in enumerate(permutations(files)):
        database = tmp_path / f"{number}.db"
        database.write_bytes(new_database.read_bytes())
        assert import_sar(*order, database=database).code == 0
        found.append(everything(lambda statement, at=database: query(at, statement)))
    assert all(other == found[0] for other in found)


def test_a_file_that_has_grown_brings_what_is_new(sar: Sar, import_sar: ImportSar, rows: Rows) -> None:
    assert import_sar(sar(every(3))).code == 0
    assert import_sar(sar(every(6))).out.splitlines()[1] == "skipped 3 that were imported before"
    assert rows("SELECT SUM(covered_seconds), SUM(samples) FROM minutes") == [(3600.0, 6)]
    assert rows("SELECT COUNT(*) FROM gaps") == [(0,)]


def test_a_minute_that_exists_stays(sar: Sar, import_sar: ImportSar, rows: Rows) -> None:
    assert import_sar(sar([PAST + 630], interval=630)).code == 0
    idle = {"cpu-load": [{"cpu": "all", "idle": 100.0, "iowait": 0.0}]}
    assert import_sar(sar([(PAST + 1230, 600, idle)])).code == 0
    assert rows(f"SELECT covered_seconds, cpu_percent FROM minutes WHERE ts IN ({PAST + 600}, {PAST + 660})") == [
        (30.0, 25.0),
        (60.0, 0.0),
    ]


def test_of_a_record_that_lies_around_imported_time_both_sides_are_new(
    sar: Sar, import_sar: ImportSar, rows: Rows
) -> None:
    idle = {"cpu-load": [{"cpu": "all", "idle": 100.0, "iowait": 0.0}]}
    assert import_sar(sar([PAST + 2400], interval=600)).code == 0
    assert import_sar(sar([(PAST + 3600, 3600, idle)])).out.startswith("imported 50 minutes")
    assert rows(
        "SELECT (ts - ?1) / 600, COUNT(*), AVG(cpu_percent) FROM minutes GROUP BY 1".replace("?1", str(PAST))
    ) == [(part, 10, 25.0 if part == 3 else 0.0) for part in range(6)]
    assert rows("SELECT SUM(covered_seconds) FROM hours") == [(3600.0,)]
    assert rows("SELECT COUNT(*) FROM gaps") == [(0,)]


def test_an_interval_that_a_set_clock_has_made_too_long_counts_no_time_twice(
    sar: Sar, import_sar: ImportSar, rows: Rows
) -> None:
    assert import_sar(sar([PAST + 600, PAST + 900], interval=600)).code == 0
    assert rows("SELECT SUM(covered_seconds), SUM(disk_read_bytes_increase) FROM minutes") == [(900.0, 900 * 1024)]


# -- beside Tidemark's own


@pytest.fixture
def own(fill: Fill, store: Store) -> int:
    """Own samples of two hours from twenty past on, rolled up; returns where their first hour begins."""
    fill(NOW + 1200, 1440, cpu_percent=50, disk_read_bytes=lambda i: i * 5000)
    roll_all_up(store)
    store.close()
    return NOW


def test_only_time_before_the_first_own_hour_is_imported(own: int, sar: Sar, import_sar: ImportSar, rows: Rows) -> None:
    before = rows(f"SELECT * FROM minute WHERE ts >= {own}")
    done = import_sar(sar(every(12, own - HOUR)))
    assert done.out.splitlines() == [
        f"imported 60 minutes of {HOST}, {rfc3339(own - HOUR)} to {rfc3339(own)}, from 1 file of sysstat",
        "skipped 6 that Tidemark recorded itself",
    ]
    assert rows(f"SELECT * FROM minute WHERE ts >= {own}") == before
    assert rows("SELECT start_ts, end_ts, reason FROM gaps") == [(own, own + 1195, "stopped")]
    assert rows("SELECT MAX(stretch_id), MIN(stretch_id) FROM stretch") == [(1, -1)]


def test_minutes_stand_in_for_the_samples_of_before(
    own: int, sar: Sar, import_sar: ImportSar, history: History, settings: Any, clock: FakeClock
) -> None:
    assert import_sar(sar(every(12, own - 2 * HOUR))).code == 0
    with history.view() as view:
        cpu = [BY_NAME["cpu_percent"], BY_NAME["disk_read_bytes"]]
        fine = view.buckets(own - 600, own + 1260, 60, cpu, 1)
    assert fine.averages("cpu_percent") == [25.0] * 10 + [None] * 20 + [50.0]
    assert fine.averages("disk_read_bytes") == [1024.0] * 10 + [None] * 20 + [1000.0]


def test_rolling_up_goes_on_after_an_import(own: int, sar: Sar, import_sar: ImportSar, path: Path, rows: Rows) -> None:
    assert import_sar(sar(every(12, own - 2 * HOUR))).code == 0
    before = everything(rows)[:2]
    store = Store(path)
    store.open()
    roll_all_up(store)
    store.close()
    assert everything(rows)[:2] == before


def test_own_time_that_is_not_rolled_up_yet_begins_with_its_hour_too(
    fill: Fill, store: Store, sar: Sar, import_sar: ImportSar, path: Path, rows: Rows
) -> None:
    """Nor does rolling it up change what was imported, hours without minutes among it."""
    fill(NOW + 1200, 1440, cpu_percent=50)
    store.close()
    done = import_sar(sar([(NOW - HOUR + 600, 3 * HOUR, {}), *every(11, NOW - HOUR + 600)]))
    assert done.out.splitlines()[1:] == ["skipped 6 that Tidemark recorded itself"]
    before = rows(f"SELECT * FROM hour WHERE ts < {NOW}")
    assert len(before) == 4
    store = Store(path)
    store.open()
    roll_all_up(store)
    store.close()
    assert rows(f"SELECT * FROM hour WHERE ts < {NOW}") == before
    assert rows(f"SELECT cpu_percent FROM hours WHERE ts = {NOW}") == [(50.0,)]


def test_the_day_in_which_own_time_begins_is_both_together(
    fill: Fill, store: Store, sar: Sar, import_sar: ImportSar, rows: Rows
) -> None:
    fill(NOW, 2 * 24 * 60, 60, cpu_percent=50)
    roll_all_up(store)
    store.close()
    assert import_sar(sar(every(12, NOW - 2 * HOUR))).code == 0
    day = NOW // DAY * DAY
    assert rows(f"SELECT covered_ms, cpu_percent_e2 FROM day WHERE ts = {day}") == [
        (16 * HOUR * 1000, round((2 * 2500 + 14 * 5000) / 16))
    ]


def test_of_time_whose_own_minutes_are_pruned_only_hours_are_written(
    own: int, sar: Sar, import_sar: ImportSar, path: Path, rows: Rows
) -> None:
    store = Store(path)
    store.open()
    store.prune(NOW + 2 * HOUR, NOW + 2 * HOUR, 0)
    store.close()
    assert import_sar(sar(every(12, own - 2 * HOUR))).out.startswith(f"imported 2 hours of {HOST}, ")
    assert rows(f"SELECT COUNT(*) FROM minutes WHERE ts < {own}") == [(0,)]
    assert rows(f"SELECT ts - {own}, covered_seconds FROM hours WHERE ts < {own}") == [(-7200, 3600.0), (-3600, 3600.0)]


def test_the_first_start_after_an_import_begins_with_a_gap(
    sar: Sar, import_sar: ImportSar, path: Path, rows: Rows
) -> None:
    assert import_sar(sar(every(6))).code == 0
    store = Store(path)
    store.open()
    begins = store.begin_run(NOW, None, "boot-1", "0.1.0", 5)
    store.close()
    assert begins == Break(PAST + 3600, "stopped")


def test_the_boot_of_the_latest_import_decides_why_the_first_start_begins_with_a_gap(
    sar: Sar, import_sar: ImportSar, path: Path
) -> None:
    assert import_sar(sar(every(3, PAST - DAY), boots=[PAST - DAY - 60])).code == 0
    assert import_sar(sar(every(3), boots=[PAST - 60])).code == 0
    store = Store(path)
    store.open()
    begins = store.begin_run(NOW, PAST - 60, "boot-1", "0.1.0", 5)
    store.close()
    assert begins == Break(PAST + 1800, "stopped")


def test_the_reason_of_a_gap_that_was_reported_stays(sar: Sar, import_sar: ImportSar, path: Path, rows: Rows) -> None:
    assert import_sar(sar(every(6), boots=[PAST - 100])).code == 0
    store = Store(path)
    store.open()
    begins = store.begin_run(NOW, NOW - 60, "boot-1", "0.1.0", 5)
    store.append([Sample(NOW, 5.0, {"cpu_percent": 1.0}, begins)])
    store.close()
    gap = [(PAST + 3600, NOW - 5, "rebooted")]
    assert rows("SELECT start_ts, end_ts, reason FROM gaps") == gap
    assert import_sar(sar(every(6, PAST - 2 * HOUR))).code == 0
    assert gap[0] in rows("SELECT start_ts, end_ts, reason FROM gaps")


def test_own_time_stays_own_when_its_samples_and_minutes_are_pruned(
    own: int, sar: Sar, import_sar: ImportSar, path: Path, rows: Rows
) -> None:
    assert import_sar(sar(every(12, own - 2 * HOUR))).code == 0
    store = Store(path)
    store.open()
    while store.prune(NOW + 2 * HOUR, NOW + 2 * HOUR, 0):
        pass
    store.close()
    assert rows("SELECT COUNT(*) FROM samples WHERE ts < (SELECT MAX(ts) FROM hours)") == [(0,)]
    assert import_sar(sar(every(12, own - HOUR))).out.splitlines()[1:] == [
        "skipped 6 that Tidemark recorded itself",
        "skipped 6 that were imported before",
    ]


def test_an_import_may_come_before_the_first_start(sar: Sar, import_sar: ImportSar, tmp_path: Path) -> None:
    database = tmp_path / "new" / "tidemark.db"
    assert import_sar(sar(every(3)), "--dry-run", database=database).code == 1
    assert not database.exists()
    assert import_sar(sar(every(3)), database=database).out.startswith("imported 30 minutes")


def test_what_is_ahead_of_the_clock_is_left_out(sar: Sar, import_sar: ImportSar, rows: Rows) -> None:
    now = int(Clock().now().wall)
    done = import_sar(sar([now - 600, now, now + 600]))
    assert done.out.splitlines()[1] == "skipped 1 that are ahead of the clock"
    assert rows("SELECT SUM(covered_seconds) FROM minutes") == [(1200.0,)]


# -- the verb


def test_a_dry_run_says_the_same_and_changes_nothing(sar: Sar, import_sar: ImportSar, rows: Rows) -> None:
    file = sar(every(6))
    before = everything(rows)
    tried = import_sar(file, "--dry-run")
    assert everything(rows) == before
    assert tried.out == import_sar(file).out.replace("imported", "would import")


def test_json_has_each_file(sar: Sar, import_sar: ImportSar, tmp_path: Path) -> None:
    (tmp_path / "not").write_text("{}")
    done = import_sar(sar(every(6)), tmp_path / "not", "--json")
    answer = json.loads(done.out)
    assert done.code == 1
    assert [(file["minutes"], file["start"], file["end"], file["records"]) for file in answer["files"]] == [
        (60, rfc3339(PAST), rfc3339(PAST + HOUR), 6),
        (0, None, None, 0),
    ]
    assert answer["files"][1]["error"] in done.err


def test_while_a_daemon_has_the_database_nothing_is_imported(sar: Sar, import_sar: ImportSar, path: Path) -> None:
    with Lock(path) as lock:
        lock.hold()
        done = import_sar(sar(every(3)))
    assert done.code == 75
    assert done.err.count("\n") == 1


def test_series_summary_and_the_page_answer_from_an_import_alone(
    sar: Sar, import_sar: ImportSar, path: Path, clock: FakeClock
) -> None:
    assert import_sar(sar(every(144 * 28, NOW - 28 * DAY))).code == 0
    history = History(path)
    settings = settings_for(path)
    client: FlaskClient = client_for(ResourceMonitor(history, settings, clock), settings, clock)
    for span in (HOUR, DAY, 28 * DAY):
        end = NOW - (NOW % HOUR)
        series = client.get(f"/api/v1/series?metric=cpu_percent&start={end - span}&end={end}").get_json()
        assert set(series["series"]["cpu_percent"]["average"]) == {25.0}, span
        summary = client.get(f"/api/v1/summary?start={end - span}&end={end}").get_json()
        assert (summary["coverage"], summary["metrics"]["cpu_percent"]["average"]) == (1.0, 25.0)
    with client.get("/") as page:
        assert page.status_code == 200
    history.close()
