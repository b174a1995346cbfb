"""Rows 27 to 33 and 63: other programs that lock, read long or close the file; many readers; large retention; rollups
over gaps."""

import os
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from service.records import Break, Sample
from service.store.reader import READ_SECONDS, History
from service.store.schema import PAGE_BYTES
from service.store.writer import Store
from tests.conftest import NOW
from tests.faults.kit import USAGE, Site, ask, begin, gaps, minutes_of, old_history, problems, reader, verb
from tests.running import until

LOCKED_SECONDS = 6


def test_a_stranger_that_locks_the_database_delays_samples_and_loses_none(site: Site) -> None:
    site.start(samples=2)
    stranger = sqlite3.connect(site.path, isolation_level=None)
    stranger.execute("BEGIN EXCLUSIVE")
    deadline = time.monotonic() + LOCKED_SECONDS
    while time.monotonic() < deadline:
        status, answer = ask(site.daemon, USAGE)
        assert (status, answer["success"]) == (200, True)
        time.sleep(0.3)
    assert site.health()["spooled_samples"] > 2
    stranger.execute("ROLLBACK")
    stranger.close()
    site.wait_for(LOCKED_SECONDS)
    site.standard_check()
    assert gaps(site.path) == []
    assert site.logged().count("cannot store (busy)") == 1


def test_a_reader_that_stays_keeps_the_log_growing_only_while_it_stays(
    path: Path, store: Store, history: History, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("service.store.file.LOG_ALARM_BYTES", 2000 * PAGE_BYTES)
    log = Path(f"{path}-wal")
    with reader(path) as stranger:
        stranger.execute("BEGIN")
        stranger.execute("SELECT count(*) FROM sample").fetchone()
        _append(store, 0, 3000)
        store.checkpoint()
        grown = log.stat().st_size
        assert "close what has it open" in caplog.text
    caplog.clear()
    store.checkpoint()
    assert caplog.text == "", "the log is as large as before, but nobody holds it open any more"
    _append(store, 3000, 600)
    store.checkpoint()
    _append(store, 3600, 10)
    # The log has been written from its start again and has not grown.
    assert log.stat().st_size <= grown
    assert grown > 3000 * PAGE_BYTES
    assert READ_SECONDS <= 10, "the daemon's own readers are cut off before the log grows far"


def _append(store: Store, first: int, count: int) -> None:
    for i in range(first, first + count):
        store.append([Sample(NOW + 5 * i, 5.0, {"cpu_percent": 1.0}, Break(None, None) if i == 0 else None)])


def test_twenty_readers_at_once_neither_fail_nor_delay_a_sample(site: Site) -> None:
    site.start(samples=3)
    answers: list[tuple[int, float]] = []
    end = time.monotonic() + 5

    def poll() -> None:
        while time.monotonic() < end:
            begun = time.monotonic()
            status, _ = ask(site.daemon, "/api/v1/summary?window=1h")
            answers.append((status, time.monotonic() - begun))

    threads = [threading.Thread(target=poll) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _ in answers} == {200}
    assert max(seconds for _, seconds in answers) < 5
    assert "locked" not in site.logged()
    site.standard_check()
    assert gaps(site.path) == []


def test_a_write_after_a_read_waits_for_a_stranger_instead_of_failing_at_once(path: Path, store: Store) -> None:
    """A transaction that began by reading would be refused whatever the timeout (SQLITE_BUSY_SNAPSHOT)."""
    _append(store, 0, 100)
    stranger = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    stranger.execute("BEGIN IMMEDIATE")
    stranger.execute("UPDATE run SET clean = 0")
    threading.Timer(0.05, stranger.execute, ("COMMIT",)).start()
    store.roll_up()
    stranger.close()
    with reader(path) as connection:
        assert connection.execute("SELECT count(*) FROM minute").fetchone()[0] > 0


@pytest.mark.parametrize("days", [12, pytest.param(73, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_pruning_a_large_history_takes_steps_that_no_tick_waits_long_for(
    path: Path, new_database: Path, days: int
) -> None:
    path.unlink()
    old_history(path.parent / "old" / path.name, new_database, days)
    store = Store(path.parent / "old" / path.name)
    while store.roll_up():
        pass
    steps, more = [], True
    log = Path(f"{path.parent / 'old' / path.name}-wal")
    while more:
        begun = time.monotonic()
        more = store.prune(NOW + (days - 1) * 86400, 0, 0)
        steps.append(time.monotonic() - begun)
    with reader(path.parent / "old" / path.name) as connection:
        (left,) = connection.execute("SELECT count(*) FROM sample").fetchone()
    assert left == 14_400
    assert len(steps) > 60
    assert sorted(steps)[len(steps) // 2] < 0.1
    assert log.stat().st_size < 20 * 2**20
    store.close()
    print(
        f"{len(steps)} steps, median {sorted(steps)[len(steps) // 2] * 1000:.1f} ms, longest {max(steps) * 1000:.0f} ms"
    )


def test_strangers_that_open_and_close_the_database_do_not_cut_the_daemon_off(site: Site, tmp_path: Path) -> None:
    """If the daemon ever opened the file past SQLite, its locks would be lost, and the next stranger would delete the
    log."""
    site.start(samples=2)
    for number in range(3):
        assert verb(site.path, "backup", str(tmp_path / f"{number}.db")).returncode == 0
        stranger = sqlite3.connect(site.path)
        stranger.execute("SELECT count(*) FROM sample").fetchone()
        stranger.close()
        assert Path(f"{site.path}-wal").exists()
        site.wait_for(1)
    site.kill()
    site.start(samples=1)
    site.standard_check()


@pytest.mark.skipif(not Path("/proc/self/fdinfo").exists(), reason="needs Linux's /proc")
def test_no_child_inherits_the_database(site: Site) -> None:
    site.start(samples=2)
    ask(site.daemon, USAGE)
    ours = {}
    folder = Path(f"/proc/{site.daemon.process.pid}")
    for descriptor in (folder / "fd").iterdir():
        target = os.readlink(descriptor)
        if target.startswith(str(site.path)):
            flags = int((folder / "fdinfo" / descriptor.name).read_text().split("flags:\t")[1].split()[0], 8)
            ours[Path(target).name] = bool(flags & os.O_CLOEXEC)
    assert len(ours) >= 3
    assert set(ours.values()) == {True}
    site.standard_check()


# -- row 63


def _content(path: Path) -> list[tuple[object, ...]]:
    with reader(path) as connection:
        return connection.execute("SELECT * FROM minute ORDER BY ts").fetchall() + (
            connection.execute("SELECT * FROM hour ORDER BY ts").fetchall()
        )


def _rolled_up(path: Path) -> None:
    done = verb(path, "prune")
    assert done.returncode == 0, done.stderr


def test_rollups_after_three_days_off_are_the_same_however_often_they_are_killed(
    tmp_path: Path, new_database: Path
) -> None:
    quiet, killed = tmp_path / "quiet" / "tidemark.db", tmp_path / "killed" / "tidemark.db"
    for path in (quiet, killed):
        old_history(path, new_database, days=3)
    with reader(quiet) as connection:
        whole = connection.execute("SELECT count(*), sum(covered_ms) FROM sample").fetchone()
    _rolled_up(quiet)
    for pause in (0.3, 0.35, 0.4, 0.5, 0.6):
        process = begin(killed, "prune")
        time.sleep(pause)
        process.kill()
        process.wait()
    _rolled_up(killed)
    assert _content(killed) == _content(quiet)
    # No sample was pruned before it was reduced: minutes and samples that are not reduced yet make up the whole.
    assert minutes_of(killed) == whole
    assert problems(killed) == []
    with reader(killed) as connection:
        partial = connection.execute("SELECT count(*) FROM hour WHERE samples < 720").fetchone()[0]
        assert connection.execute("SELECT count(*) FROM hour").fetchone()[0] == partial == 71


def test_a_sample_that_comes_late_is_in_its_minute(path: Path, new_database: Path, tmp_path: Path) -> None:
    path = tmp_path / "late" / "tidemark.db"
    old_history(path, new_database, days=1)
    store = Store(path)
    while store.roll_up():
        pass
    before = _content(path)
    store.begin_run(NOW + 80000, None, "boot", "0.1.0", 5)
    store.append([Sample(NOW + 3300, 5.0, {"cpu_percent": 7.0}, Break(NOW + 80000, "clock_step"))])
    while store.roll_up():
        pass
    store.close()
    changed = set(_content(path)) - set(before)
    assert {row[0] for row in changed} == {NOW + 3300, NOW}


@pytest.mark.slow
def test_a_daemon_catches_up_by_itself(site: Site, new_database: Path) -> None:
    old_history(site.path, new_database, days=1)
    site.start(samples=1)
    with reader(site.path) as connection:
        until(lambda: connection.execute("SELECT minutes_until FROM progress").fetchone()[0] > NOW + 80000, 90)
    site.standard_check()
    assert gaps(site.path)
