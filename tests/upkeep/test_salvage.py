"""What can be read of a damaged database comes back into the current one, once, and overwrites nothing there."""

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.records import (
    AllProcesses,
    Break,
    Capture,
    DeviceReading,
    DeviceUsage,
    MountUsage,
    ProcessUsage,
    Sample,
    ServiceName,
)
from service.store import captures, device_rollups, devices, filesystems, usage_rollups
from service.store.schema import PAGE_BYTES
from service.store.statements import Statements
from service.store.writer import Store
from service.upkeep.damaged import Advance, NothingSalvaged, Salvaged
from service.upkeep.salvage import salvage
from tests.conftest import NOW, all_processes
from tests.running import query
from tests.test_cli import Tidemark, failed, tidemark  # noqa: F401 - a fixture

# The damaged history ends here, and the current one begins a little later, amid the same hour.
END = NOW + 6 * 3600 + 1800
BEGIN = END + 60


def sample(ts: int, begins: Break | None = None, cpu: float = 50.0) -> Sample:
    return Sample(ts, 5.0, {"cpu_percent": cpu, "network_sent_bytes": float(ts - NOW) * 100}, begins)


def recorded(path: Path, start: int, end: int, before: Break, run: int = NOW) -> Path:
    """A history of samples each 5 s in start <= ts < end, rolled up."""
    store = Store(path)
    store.open()
    store.begin_run(run, None, "boot", "0.1.0", 5)
    store.append([sample(ts, before if ts == start else None) for ts in range(start, end, 5)])
    while store.roll_up():
        pass
    store.close()
    return path


@pytest.fixture
def damaged(tmp_path: Path, new_database: Path) -> Path:
    """Still sound; a test does the damage."""
    folder = tmp_path / "quarantine"
    folder.mkdir()
    return recorded(Path(shutil.copy(new_database, folder / "tidemark.db")), NOW, END, Break(None, None))


@pytest.fixture
def current(path: Path) -> Path:
    return recorded(path, BEGIN, BEGIN + 5400, Break(None, None), run=BEGIN)


@pytest.fixture
def whole(tmp_path: Path, new_database: Path) -> Path:
    """What the two would be if nothing had happened."""
    folder = tmp_path / "whole"
    folder.mkdir()
    path = Path(shutil.copy(new_database, folder / "tidemark.db"))
    recorded(path, NOW, END, Break(None, None))
    return recorded(path, BEGIN, BEGIN + 5400, Break(END - 5, "storage"), run=BEGIN)


def merged(damaged: Path, current: Path, advance: Advance = lambda share: None) -> dict[str, Salvaged]:
    store = Store(current)
    store.open()
    try:
        return salvage(damaged, store, current, advance)
    finally:
        store.close()


def content(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Everything but the numbers of runs and stretches."""
    columns = "ts, covered_ms, cpu_percent_e2, network_sent_bytes, start_ts"
    return {
        "samples": query(path, f"SELECT {columns} FROM sample JOIN stretch USING (stretch_id) ORDER BY ts"),
        "minutes": query(path, "SELECT * FROM minute ORDER BY ts"),
        "hours": query(path, "SELECT * FROM hour ORDER BY ts"),
        "gaps": query(path, "SELECT * FROM gaps ORDER BY start_ts"),
        "runs": query(path, "SELECT started, stopped, clean, version FROM runs ORDER BY started"),
        "progress": query(path, "SELECT * FROM progress"),
    }


def test_a_history_that_was_set_aside_comes_back_as_if_nothing_had_happened(
    damaged: Path, current: Path, whole: Path
) -> None:
    tables = merged(damaged, current)
    assert content(current) == content(whole)
    assert tables["sample"].known == tables["sample"].read == tables["sample"].added == (END - NOW) // 5
    assert query(current, "PRAGMA integrity_check") == [("ok",)]
    assert query(current, "PRAGMA foreign_key_check") == []


def test_a_second_salvage_adds_nothing(damaged: Path, current: Path) -> None:
    merged(damaged, current)
    before = content(current)
    tables = merged(damaged, current)
    assert sum(found.added for found in tables.values()) == 0
    assert content(current) == before


def test_two_damaged_files_come_back_one_after_the_other(
    damaged: Path, current: Path, new_database: Path, tmp_path: Path
) -> None:
    earlier = Path(shutil.copy(new_database, tmp_path / "earlier.db"))
    recorded(earlier, NOW - 7200, NOW - 3600, Break(None, None), run=NOW - 7200)
    merged(damaged, current)
    merged(earlier, current)
    begins = (
        "SELECT MIN(ts), MAX(ts), start_ts, started_ts FROM sample JOIN stretch USING (stretch_id) "
        "JOIN run USING (run_id) GROUP BY stretch_id ORDER BY ts"
    )
    assert query(current, begins) == [
        (NOW - 7200, NOW - 3605, NOW - 7205, NOW - 7200),
        (NOW, END - 5, NOW - 5, NOW),
        (BEGIN, BEGIN + 5395, BEGIN - 5, BEGIN),
    ]


def test_the_damaged_file_stays_as_it_is(damaged: Path, current: Path) -> None:
    before = damaged.read_bytes()
    merged(damaged, current)
    assert damaged.read_bytes() == before


def test_the_newest_stretch_and_run_stay_the_current_ones(damaged: Path, current: Path) -> None:
    newest = query(current, "SELECT MAX(stretch_id), MAX(run_id) FROM stretch")
    merged(damaged, current)
    assert query(current, "SELECT MAX(stretch_id), MAX(run_id) FROM stretch") == newest
    store = Store(current)
    assert store.begin_run(BEGIN + 6000, None, "boot", "0.1.0", 5).prior_end == BEGIN + 5395
    store.close()


def test_later_rollups_change_nothing(damaged: Path, current: Path) -> None:
    merged(damaged, current)
    before = content(current)
    store = Store(current)
    while store.roll_up():
        pass
    store.close()
    assert content(current) == before


def test_present_rows_win(damaged: Path, path: Path) -> None:
    store = Store(path)
    store.open()
    store.begin_run(NOW, None, "other boot", "0.1.0", 5)
    store.append([sample(END - 100 + 5 * i, Break(None, None) if i == 0 else None, cpu=1.0) for i in range(100)])
    store.close()
    merged(damaged, path)
    assert query(path, f"SELECT DISTINCT cpu_percent FROM samples WHERE ts >= {END - 100}") == [(1.0,)]
    assert query(path, "SELECT count(*), count(DISTINCT ts) FROM sample")[0] == ((END - NOW) // 5 + 80,) * 2


def test_the_gap_that_said_storage_is_shortened(damaged: Path, path: Path) -> None:
    recorded(path, BEGIN, BEGIN + 600, Break(NOW - 5, "storage"), run=BEGIN)
    assert query(path, "SELECT start_ts FROM gaps") == [(NOW - 5,)]
    merged(damaged, path)
    assert query(path, "SELECT start_ts, end_ts, reason FROM gaps") == [(END - 5, BEGIN - 5, "storage")]


def overwrite(path: Path, first_page: int, pages: int) -> None:
    with open(path, "r+b") as file:
        file.seek(first_page * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES * pages)


def leaves(path: Path, table: str) -> list[int]:
    """The pages (from 0) that hold rows of the table."""
    pages = query(path, f"SELECT pageno FROM dbstat WHERE name = '{table}' AND pagetype = 'leaf' ORDER BY path")
    return [page - 1 for (page,) in pages]


def test_without_its_header_a_file_comes_back_whole(damaged: Path, current: Path, whole: Path) -> None:
    with open(damaged, "r+b") as file:
        file.write(b"\xa5" * 100)
    merged(damaged, current)
    assert content(current) == content(whole)
    assert [file.name for file in current.parent.iterdir() if "salvage" in file.name] == []


def test_without_its_first_page_a_file_comes_back_whole(damaged: Path, current: Path, whole: Path) -> None:
    overwrite(damaged, 0, 1)
    merged(damaged, current)
    assert content(current) == content(whole)


def test_of_pages_that_are_destroyed_only_their_rows_are_missing(damaged: Path, current: Path) -> None:
    pages = leaves(damaged, "sample")
    for page in (pages[5], pages[6], pages[40]):
        overwrite(damaged, page, 1)
    tables = merged(damaged, current)
    known, read = tables["sample"].known, tables["sample"].read
    assert known == pytest.approx((END - NOW) // 5, abs=4)
    assert 0 < known - read < 3 * 120
    assert query(current, f"SELECT count(*) FROM sample WHERE ts < {BEGIN}") == [(read,)]
    # The minutes are all there, so nothing of that time is a gap, and the fine answers are read from them.
    assert [reason for (reason,) in query(current, "SELECT reason FROM gaps")] == ["storage"]
    (samples_from,) = query(current, "SELECT samples_from FROM progress")[0]
    assert NOW < samples_from < BEGIN


def test_where_minutes_are_destroyed_too_the_loss_is_a_gap(damaged: Path, current: Path) -> None:
    minutes, pages = leaves(damaged, "minute"), leaves(damaged, "sample")
    (first,) = query(damaged, "SELECT MIN(ts) FROM sample")[0]
    for page in minutes:
        overwrite(damaged, page, 1)
    overwrite(damaged, pages[5], 1)
    tables = merged(damaged, current)
    ((start, end, reason), last) = query(current, "SELECT start_ts, end_ts, reason FROM gaps ORDER BY start_ts")
    assert first < start < end < END
    assert (end - start) / 5 == pytest.approx(tables["sample"].known - tables["sample"].read, abs=2)
    assert (reason, last[2]) == ("storage", "storage")
    # Minutes are made again from the samples.
    assert query(current, f"SELECT count(*) FROM minute WHERE ts < {BEGIN}")[0][0] > 350


@pytest.mark.parametrize("table", ["run", "stretch"])
def test_without_runs_or_stretches_the_samples_come_back(damaged: Path, current: Path, table: str) -> None:
    for page in leaves(damaged, table):
        overwrite(damaged, page, 1)
    tables = merged(damaged, current)
    assert tables["sample"].added == (END - NOW) // 5
    assert query(current, "PRAGMA foreign_key_check") == []
    assert query(current, "PRAGMA integrity_check") == [("ok",)]


def test_what_was_pruned_comes_back_as_the_coarser_rows(damaged: Path, current: Path) -> None:
    store = Store(damaged)
    while store.prune(NOW + 3 * 3600, 0, 0):
        pass
    store.close()
    merged(damaged, current)
    assert query(current, "SELECT MIN(ts) FROM minute") == [(NOW,)]
    assert query(current, "SELECT samples_from FROM progress") == [(NOW + 3 * 3600,)]


@pytest.mark.parametrize("share", [0.3, 0.7, 0.99])
def test_killed_half_way_nothing_has_happened(damaged: Path, current: Path, share: float) -> None:
    before, left = content(current), share

    def advance(done: float) -> None:
        nonlocal left
        left -= done
        if left <= 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        merged(damaged, current, advance)
    assert content(current) == before


def test_of_noise_nothing_comes_back(tmp_path: Path, current: Path) -> None:
    noise = tmp_path / "noise.db"
    noise.write_bytes(b"\xa5" * 4096 * 20)
    before = content(current)
    with pytest.raises(NothingSalvaged, match="nothing can be read"):
        merged(noise, current)
    assert content(current) == before


def test_a_database_of_somebody_else_is_not_salvaged(tmp_path: Path, current: Path) -> None:
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(NothingSalvaged):
        merged(other, current)


def test_the_verb_says_how_much_came_back(tidemark: Tidemark, damaged: Path, current: Path) -> None:  # noqa: F811
    done = tidemark("salvage", str(damaged))
    assert done.code == 0
    assert "known rows came back" in done.out.splitlines()[-1]
    assert f"{(END - NOW) // 5:,}" in done.out


def test_the_verb_fails_in_one_line_where_nothing_can_be_read(
    tidemark: Tidemark,  # noqa: F811
    tmp_path: Path,
    current: Path,
) -> None:
    assert "is not a file" in failed(tidemark("salvage", str(tmp_path / "none.db")), 1)


# -- who used the host, and how full its file systems were


def with_usage(path: Path, start: int, end: int, first_name: str = "web", reduced: bool = True) -> Path:
    """Captures each 30 s and a file system each minute beside the samples; names are numbered as they come."""
    store = Store(path)
    store.open()

    def write(statements: Statements) -> None:
        for ts in range(start, end, 30):
            usages = [ProcessUsage(first_name, 7, ts % 11, 10**8), ProcessUsage("db", 8 + ts % 3, 2.0, ts % 10**6)]
            captures.insert(statements, Capture(ts, 30.0, 120.0, 60.0, all_processes(*usages)), 1)
        for ts in range(start, end, 60):
            filesystems.insert(statements, ts, [MountUsage("/", 10**9, ts % 10**8, 10**8)], 1)

    store.write(write)
    store.close()
    if reduced:
        reduce_usage(path)
    return path


def reduce_usage(path: Path) -> None:
    store = Store(path)
    while store.write(lambda statements: usage_rollups.roll_up(statements, 5)):
        pass
    store.close()


def usage_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    order = {"processes": "ts, pid", "captures": "ts", "process_hours": "ts, name", "filesystems": "ts, mount"}
    return {view: query(path, f"SELECT * FROM {view} ORDER BY {by}") for view, by in order.items()}


@pytest.fixture
def used(damaged: Path, current: Path, whole: Path) -> tuple[Path, Path, Path]:
    """Damaged, current, and what both would be; the same names have other numbers in each."""
    with_usage(damaged, NOW + 30, END)
    with_usage(current, BEGIN + 30, BEGIN + 5400, first_name="other")
    with_usage(with_usage(whole, NOW + 30, END), BEGIN + 30, BEGIN + 5400, first_name="other")
    return damaged, current, whole


def test_who_used_the_host_comes_back_under_the_names_that_are_numbered_here(used: tuple[Path, Path, Path]) -> None:
    damaged, current, whole = used
    merged(damaged, current)
    reduce_usage(current)
    for view, rows in usage_of(whole).items():
        assert usage_of(current)[view] == rows
    before = usage_of(current)
    assert sum(found.added for found in merged(damaged, current).values()) == 0
    assert usage_of(current) == before


def test_hours_that_were_not_reduced_yet_are_reduced_here(damaged: Path, current: Path, whole: Path) -> None:
    with_usage(damaged, NOW + 30, END, reduced=False)
    with_usage(current, BEGIN + 30, BEGIN + 5400)
    with_usage(with_usage(whole, NOW + 30, END), BEGIN + 30, BEGIN + 5400)
    merged(damaged, current)
    reduce_usage(current)
    assert usage_of(current) == usage_of(whole)


@pytest.mark.parametrize(("table", "view"), [("process", "processes"), ("filesystem", "filesystems")])
def test_of_destroyed_pages_only_their_usage_is_missing(used: tuple[Path, Path, Path], table: str, view: str) -> None:
    damaged, current, whole = used
    pages = leaves(damaged, table)
    overwrite(damaged, pages[len(pages) // 2], 1)
    merged(damaged, current)
    kept, known = (query(path, f"SELECT count(*) FROM {view}")[0][0] for path in (current, whole))
    assert known - kept > 0
    assert set(usage_of(current)[view]) <= set(usage_of(whole)[view])
    assert kept > (known // 3 if table == "filesystem" else known - 120)


def test_a_name_that_cannot_be_read_is_lost_and_its_usage_is_not(used: tuple[Path, Path, Path]) -> None:
    damaged, current, whole = used
    for page in leaves(damaged, "process_name"):
        overwrite(damaged, page, 1)
    merged(damaged, current)
    assert query(current, f"SELECT DISTINCT name FROM processes WHERE ts < {BEGIN}") == [("(lost)",)]
    count = "SELECT count(*), sum(cpu_percent) FROM processes"
    assert query(current, count) == query(whole, count)


def test_what_devices_did_comes_back_once_under_the_numbers_that_they_have_here(damaged: Path, current: Path) -> None:
    def did(path: Path, *names: str, ts: int) -> None:
        rows = [
            DeviceUsage("disk", name, ts, 30.0, (512.0 * n, 0, 1, 0, 1, 1), DeviceReading(()))
            for n, name in enumerate(names, 1)
        ]
        store = Store(path)
        store.open()
        store.write(lambda statements: devices.insert(statements, rows, 1))
        while store.write(device_rollups.roll_up):
            pass
        store.close()

    did(damaged, "sdb", "sda", ts=NOW + 600)
    did(damaged, "sdb", ts=NOW + 5 * 3600)
    did(current, "sda", ts=BEGIN + 60)
    for _ in range(2):
        merged(damaged, current)
        assert query(current, "SELECT ts, disk, read_bytes FROM disks ORDER BY ts, disk") == [
            (NOW + 600, "sda", 1024), (NOW + 600, "sdb", 512), (NOW + 5 * 3600, "sdb", 512), (BEGIN + 60, "sda", 512)
        ]  # fmt: skip
        hours = query(current, "SELECT ts, disk, read_bytes FROM disk_hours ORDER BY disk")
        assert hours == [(NOW, "sda", 1024), (NOW, "sdb", 512)]
    assert query(current, "SELECT count(*) FROM device") == [(2,)]


def test_the_service_of_a_process_comes_back_with_it_and_that_of_none_stays_unknown(
    damaged: Path, current: Path
) -> None:
    web, alone = all_processes(ProcessUsage("web", 7, 3.0, 10**8), ProcessUsage("alone", 8, 2.0, 10**8)).names
    processes = AllProcesses(2, 2 * 10**8, [replace(web, service=ServiceName("web.service", "service")), alone], [])
    capture = Capture(NOW + 30, 30.0, 120.0, 60.0, processes)
    store = Store(damaged)
    store.write(lambda statements: captures.insert(statements, capture, 1))
    store.close()
    merged(damaged, current)
    found = "SELECT name, service FROM process_names ORDER BY name"
    assert query(current, found) == [("alone", None), ("web", "web.service")]


def test_it_says_which_names_and_mounts_are_new_here(used: tuple[Path, Path, Path]) -> None:
    """`db` and `/` are known here, `web` is not."""
    damaged, current, _ = used
    tables = merged(damaged, current)
    assert (tables["process_name"].read, tables["process_name"].added) == (2, 1)
    assert (tables["mount"].read, tables["mount"].added) == (1, 0)


# -- where the two histories meet


def test_into_an_empty_history_all_of_it_comes_back(damaged: Path, path: Path) -> None:
    before = content(damaged)
    merged(damaged, path)
    assert content(path) == before


def test_a_hole_that_is_no_longer_than_two_intervals_is_no_gap(damaged: Path, path: Path) -> None:
    recorded(path, END + 5, END + 600, Break(NOW - 5, "storage"), run=END)
    merged(damaged, path)
    assert query(path, "SELECT * FROM gaps") == []


def test_a_last_minute_of_a_day_that_was_not_reduced_yet_is_reduced(path: Path, new_database: Path) -> None:
    midnight = NOW + 14 * 3600
    recorded(path, midnight - 600, midnight - 55, Break(None, None))
    store = Store(path)
    store.begin_run(midnight + 7200, None, "boot", "0.1.0", 5)
    store.append([sample(midnight + 7200 + 5 * i, Break(None, None) if i == 0 else None) for i in range(100)])
    store.close()
    other = Path(shutil.copy(new_database, path.with_name("other.db")))
    merged(recorded(other, midnight + 1200, midnight + 3600, Break(None, None)), path)
    assert query(path, f"SELECT ts, samples FROM minute WHERE ts >= {midnight - 120} LIMIT 2") == [
        (midnight - 120, 12),
        (midnight - 60, 1),
    ]
