"""The one writer: what an append promises, what the runs say, and why a stretch begins."""

import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from service.clock import HOUR
from service.errors import StoreFailed
from service.metrics import METRICS
from service.records import Break, Sample
from service.store import rollups
from service.store.file import is_defect
from service.store.schema import encode
from service.store.writer import Store
from tests.conftest import NOW, Fill
from tests.running import query


def test_a_stored_sample_reads_back_in_natural_units(store: Store, path: Path) -> None:
    store.append([Sample(NOW, 5.0, {"cpu_percent": 12.34, "load_1": 1.5, "disk_read_bytes": 2**40}, Break(None, None))])
    assert query(
        path, "SELECT ts, covered_seconds, cpu_percent, load_1, disk_read_bytes, swap_percent FROM samples"
    ) == [(NOW, 5.0, 12.34, 1.5, 2**40, None)]


def test_every_metric_of_the_list_has_its_column(store: Store, path: Path) -> None:
    unit = {m.name: 7 if m.scale >= 1 else 7 * 1024 for m in METRICS}
    store.append([Sample(NOW, 5.0, unit, Break(None, None))])
    found = query(path, f"SELECT {', '.join(m.name for m in METRICS)} FROM samples")
    assert found == [tuple(unit.values())]
    types = query(path, f"SELECT {', '.join(f'typeof({m.name})' for m in METRICS)} FROM samples")
    assert types == [tuple("real" if m.scale > 1 else "integer" for m in METRICS)]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 2.0**70, None])
def test_what_is_no_number_that_fits_is_unknown(value: float | None) -> None:
    assert encode(value, 100) is None


def test_a_stamp_that_comes_twice_is_two_samples(store: Store, path: Path) -> None:
    store.append([Sample(NOW, 5.0, {"cpu_percent": 1}, Break(None, None))])
    store.append([Sample(NOW, 5.0, {"cpu_percent": 2}, Break(NOW, "clock_step"))])
    assert query(path, "SELECT ts, cpu_percent FROM samples ORDER BY cpu_percent") == [(NOW, 1.0), (NOW, 2.0)]


def test_storing_the_same_sample_again_changes_nothing(store: Store, path: Path, fill: Fill) -> None:
    samples = fill(NOW, 3)
    store.append([samples[2]])
    store.append(samples[1:])
    assert query(path, "SELECT count(*) FROM samples") == [(3,)]


def test_all_of_an_append_is_stored_or_none(store: Store, path: Path) -> None:
    broken = Sample(None, 5.0, {})  # type: ignore[arg-type]
    with pytest.raises(StoreFailed):
        store.append([Sample(NOW, 5.0, {}, Break(None, None)), broken])
    assert query(path, "SELECT (SELECT count(*) FROM sample), (SELECT count(*) FROM stretch)") == [(0, 0)]


def test_after_an_error_the_next_append_goes_on(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 2)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreFailed):
        store.append([Sample(NOW + 10, 5.0, {})])
    blocker.execute("ROLLBACK")
    blocker.close()
    store.append([Sample(NOW + 10, 5.0, {})])
    assert query(path, "SELECT count(DISTINCT stretch_id), count(*) FROM sample") == [(1, 3)]


def test_after_the_file_was_replaced_a_sample_is_stored_in_time_that_is_not_rolled_up_there(
    store: Store, path: Path, new_database: Path, fill: Fill
) -> None:
    """What the writer keeps in memory belongs to a connection: in the file that stands there now it is another."""
    fill(NOW, 3)
    store.drop()
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    other = Store(Path(shutil.copy(new_database, path)))
    other.open()
    other.begin_run(NOW, None, "boot-1", "0.1.0", 5)
    other.append([Sample(NOW + 5 * n, 5.0, {}, None if n else Break(None, None)) for n in range(40)])
    assert not other.roll_up()
    other.close()
    store.append([Sample(NOW + 30, 5.0, {})])
    assert query(path, "SELECT minutes_until FROM progress") == [(NOW,)]


def test_the_usual_tick_is_one_statement(store: Store, fill: Fill) -> None:
    """A transaction around it would cost three times as much."""
    fill(NOW, 2)
    ran: list[str] = []

    def note(*given: object) -> None:
        ran.append(str(given[2]))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        store.append([Sample(NOW + 10, 5.0, {})])
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert [statement.split()[0] for statement in ran] == ["INSERT"]


def test_the_version_changes_with_each_stored_sample(store: Store) -> None:
    before = store.version
    store.append([Sample(NOW, 5.0, {}, Break(None, None))])
    store.append([Sample(NOW + 5, 5.0, {})])
    assert store.version == before + 2


@pytest.mark.parametrize(
    ("clean", "boot_id", "reason"),
    [
        (True, "boot-1", "stopped"),
        (False, "boot-1", "killed"),
        (False, "boot-2", "rebooted"),
        (True, "boot-2", "rebooted"),
    ],
)
def test_a_new_run_says_why_the_last_one_ended(
    store: Store, path: Path, fill: Fill, clean: bool, boot_id: str, reason: str
) -> None:
    fill(NOW, 3)
    if clean:
        store.end_run(NOW + 10)
    store.close()
    following = Store(path)
    following.open()
    assert following.begin_run(NOW + 99, NOW, boot_id, "0.1.0", 5) == Break(NOW + 10, reason)  # type: ignore[arg-type]
    following.close()


def test_the_break_before_a_run_begins_at_the_sample_that_was_taken_last(store: Store, path: Path, fill: Fill) -> None:
    """Not at the latest, where the clock was set back."""
    fill(NOW + 500, 3)
    fill(NOW, 3, begins=Break(NOW + 510, "clock_step"))
    assert store.begin_run(NOW + 20, NOW - 1000, "boot-1", "0.1.0", 5) == Break(NOW + 10, "killed")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [(NOW, NOW + 60, "killed"), (NOW, NOW - 60, "killed"), (NOW, NOW + 61, "rebooted"), (NOW, None, "killed")],
)
def test_without_boot_ids_a_reboot_is_known_by_more_than_a_minute(
    path: Path, old: int, new: int | None, reason: str
) -> None:
    store = Store(path)
    store.open()
    store.begin_run(NOW, old, None, "0.1.0", 5)
    store.append([Sample(NOW, 5.0, {}, Break(None, None))])
    assert store.begin_run(NOW + 99, new, None, "0.1.0", 5).reason == reason
    store.close()


def moved_before(path: Path, boot_ts: int | None, boot_id: str | None) -> Mapping[str, int]:
    """What a run that begins in that boot knows of the runs before it."""
    store = Store(path)
    store.open()
    store.begin_run(NOW + 99, boot_ts, boot_id, "0.1.0", 5)
    store.close()
    return store.moved_before


@pytest.mark.parametrize(
    ("boot_ts", "boot_id", "is_same"),
    [
        (NOW - 1000, "boot-1", True),
        (NOW - 5, "boot-1", True),  # the clock was stepped
        (NOW - 1000, "boot-2", False),
        (None, None, False),
    ],
)
def test_a_new_run_knows_what_was_moved_in_its_boot(
    store: Store, path: Path, boot_ts: int | None, boot_id: str | None, is_same: bool
) -> None:
    """Of the last samples, not only of the very last, which may lack what could not be read."""
    store.append([Sample(NOW, 5.0, {"disk_read_bytes": 70, "network_sent_bytes": 5}, Break(None, None))])
    store.append([Sample(NOW + 5, 5.0, {"network_sent_bytes": 8})])
    store.close()
    known = {"disk_read_bytes": 70, "network_sent_bytes": 8} if is_same else {}
    assert moved_before(path, boot_ts, boot_id) == known


@pytest.mark.parametrize(("boot_ts", "is_same"), [(NOW - 960, True), (NOW - 939, False), (None, False)])
def test_without_boot_ids_a_boot_is_known_by_its_time(path: Path, boot_ts: int | None, is_same: bool) -> None:
    store = Store(path)
    store.open()
    store.begin_run(NOW, NOW - 1000, None, "0.1.0", 5)
    store.append([Sample(NOW, 5.0, {"disk_read_bytes": 70}, Break(None, None))])
    store.close()
    assert moved_before(path, boot_ts, None) == ({"disk_read_bytes": 70} if is_same else {})


def test_what_was_moved_in_a_boot_before_the_last_one_is_not_of_this_boot(store: Store, path: Path) -> None:
    store.append([Sample(NOW, 5.0, {"disk_read_bytes": 70}, Break(None, None))])
    store.close()
    assert moved_before(path, None, "boot-2") == {}
    assert moved_before(path, None, "boot-1") == {"disk_read_bytes": 70}


def test_the_first_run_has_nothing_before_it(path: Path) -> None:
    store = Store(path)
    store.open()
    assert store.begin_run(NOW, None, None, "0.1.0", 5) == Break(None, None)
    store.close()


def test_gaps_follow_from_the_stretches(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 3)
    fill(NOW + 100, 2, begins=Break(NOW + 10, "overload"))
    assert query(path, "SELECT * FROM gaps") == [
        (NOW + 10, NOW + 95, "2026-01-05T10:00:10Z", "2026-01-05T10:01:35Z", "overload")
    ]


@pytest.mark.parametrize(("seconds", "until"), [(0, 120), (-1, 60)], ids=["on the border", "before it"])
def test_a_sample_before_the_border_of_what_is_rolled_up_has_its_minute_rolled_up_again(
    store: Store, path: Path, fill: Fill, seconds: int, until: int
) -> None:
    fill(NOW, 25)
    while store.roll_up():
        pass
    assert query(path, "SELECT minutes_until FROM progress") == [(NOW + 120,)]
    store.append([Sample(NOW + 120 + seconds, 5.0, {}, Break(NOW + 120, "clock_step"))])
    assert query(path, "SELECT minutes_until FROM progress") == [(NOW + until,)]
    store.append([Sample(NOW + 120, 5.0, {})])
    assert query(path, "SELECT minutes_until FROM progress") == [(NOW + until,)]


def test_a_tick_without_a_break_one_second_before_the_border_has_its_minute_rolled_up_again(
    store: Store, path: Path, fill: Fill
) -> None:
    fill(NOW, 25)
    while store.roll_up():
        pass
    store.append([Sample(NOW + 119, 5.0, {})])
    assert query(path, "SELECT minutes_until FROM progress") == [(NOW + 60,)]


def test_a_transaction_keeps_other_writers_off_from_its_first_statement_on(store: Store, path: Path) -> None:
    stranger = sqlite3.connect(path, isolation_level=None, timeout=0)
    with store.transaction() as statements:
        statements.number("SELECT max(ts) FROM sample")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            stranger.execute("BEGIN IMMEDIATE")
    stranger.execute("BEGIN IMMEDIATE")
    stranger.close()


def test_the_history_that_is_written_again_is_on_the_disk_before_it_has_its_name(
    store: Store, path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(NOW, 3)
    path.unlink()
    synced: list[tuple[int, bool]] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append((os.fstat(fd).st_ino, path.exists())), fsync(fd)))
    assert store.write_again(path)
    assert (path.stat().st_ino, False) in synced


def test_the_history_that_is_written_again_stands_without_the_log_of_the_file_before(
    store: Store, path: Path, fill: Fill
) -> None:
    fill(NOW, 3)
    path.unlink()
    assert store.write_again(path)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert query(path, "SELECT count(*) FROM samples") == [(3,)]


def test_without_an_open_connection_nothing_is_written_again(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 3)
    store.drop()
    path.unlink()
    assert store.write_again(path) is False
    assert not path.exists()


def test_after_its_log_was_removed_while_in_use_the_next_sample_is_in_a_new_one(
    store: Store, path: Path, fill: Fill
) -> None:
    fill(NOW, 3)
    Path(f"{path}-wal").unlink()
    store.checkpoint()
    store.append([Sample(NOW + 15, 5.0, {})])
    assert Path(f"{path}-wal").exists()
    assert query(path, "SELECT count(*) FROM samples") == [(4,)]


def test_a_defect_is_what_neither_the_disk_nor_a_value_is_to_blame_for(path: Path) -> None:
    def raised(statement: str) -> sqlite3.Error:
        with closing(sqlite3.connect(path)) as connection, pytest.raises(sqlite3.Error) as found:
            connection.execute(statement)
        return found.value

    assert is_defect(TypeError())
    assert is_defect(raised("SELEKT 1"))
    assert not is_defect(raised("INSERT INTO sample (ts) VALUES (NULL)"))


def test_what_rides_is_written_with_the_next_samples_and_knows_their_stretch(
    store: Store, path: Path, fill: Fill
) -> None:
    fill(NOW, 2)
    fill(NOW + 100, 2, begins=Break(NOW + 5, "overload"))
    stretches: list[int] = []
    store.ride(lambda statements, stretch_id: stretches.append(stretch_id))
    assert stretches == []
    store.append([Sample(NOW + 110, 5.0, {})])
    store.append([Sample(NOW + 115, 5.0, {})])
    assert [(stretch,) for stretch in stretches] == query(path, "SELECT MAX(stretch_id) FROM stretch")


def test_pruning_says_whether_there_is_more_to_do(store: Store, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "PRUNE_ROWS", 700)
    fill(NOW, 3 * 720)
    while store.roll_up():
        pass
    steps = [store.prune(NOW + 2 * HOUR, 0, 0)]
    while steps[-1]:
        steps.append(store.prune(NOW + 2 * HOUR, 0, 0))
    assert len(steps) > 1
    assert store.oldest()[0] == NOW + 2 * HOUR


def test_where_another_reads_the_close_reports_that_the_log_stays(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 2)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sample").fetchall()
        failure = store.close()
    assert failure is not None
    assert failure.kind == "busy"
