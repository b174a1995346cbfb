"""A log that a killed daemon left: it stays beside its own database, and is set aside from any other."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.errors import StartFailed
from service.store import database
from service.store.writer import Store
from service.upkeep import leftover
from tests.conftest import NOW, Fill


@pytest.fixture
def killed(store: Store, path: Path, fill: Fill, tmp_path: Path) -> Path:
    """What a kill leaves of a history: a database and a log with most of its samples."""
    fill(NOW, 300, cpu_percent=1.0)
    left = tmp_path / "killed" / path.name
    left.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", f"{left}{suffix}")
    return left


def _samples(path: Path) -> int:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return int(connection.execute("SELECT count(*) FROM sample").fetchone()[0])


def _replace(path: Path, mode: str = "delete", page_bytes: int = 1024) -> None:
    """Put another database there, sound and with ten rows more than the killed one has."""
    other = path.with_name("other.db")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM INTO ?", (str(other),))
    with closing(sqlite3.connect(other, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size={page_bytes}")
        connection.execute("VACUUM")
        connection.execute("INSERT INTO sample (ts, stretch_id, covered_ms) SELECT ts + 5000, 1, 5000 FROM sample")
        connection.execute(f"PRAGMA journal_mode={mode}")
    other.replace(path)


@pytest.mark.parametrize("is_touched", [False, True])
def test_a_log_of_its_own_stays_also_where_the_file_changed_after_it(killed: Path, is_touched: bool) -> None:
    log = Path(f"{killed}-wal")
    # The kernel stamps files by a clock of a few milliseconds.
    while is_touched and killed.stat().st_ctime_ns <= log.stat().st_ctime_ns:
        os.utime(killed)
    assert leftover.set_log_aside(killed, NOW) is None
    assert _samples(killed) == 300


@pytest.mark.parametrize(("mode", "page_bytes", "why"), [("delete", 1024, "has none"), ("wal", 4096, "other pages")])
def test_a_log_of_another_database_is_set_aside_and_the_file_stays_as_it_is(
    killed: Path, mode: str, page_bytes: int, why: str
) -> None:
    log = Path(f"{killed}-wal").read_bytes()
    _replace(killed, mode, page_bytes)
    Path(f"{killed}-wal").write_bytes(log)
    file = killed.read_bytes()
    reported = leftover.set_log_aside(killed, NOW)
    assert reported is not None
    assert why in reported
    (kept,) = killed.parent.glob(f"quarantine/*/{killed.name}-wal")
    assert kept.read_bytes() == log
    assert killed.read_bytes() == file
    assert _samples(killed) == 600


def test_a_file_of_somebody_else_and_its_log_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (a)")
        connection.commit()
    Path(f"{path}-wal").write_bytes(bytes(1000))
    assert leftover.set_log_aside(path, NOW) is None
    assert leftover.set_log_aside(tmp_path / "none.db", NOW) is None
    assert Path(f"{path}-wal").stat().st_size == 1000


def _verdicts(monkeypatch: pytest.MonkeyPatch, with_log: bool, without_log: bool) -> None:
    """Whether SQLite finds the file sound with its log, and without."""

    def check(_: Path, alone: bool = False) -> list[str]:
        return [] if (without_log if alone else with_log) else ["row 1 missing"]

    monkeypatch.setattr(database, "quick_check", check)


def _touch_after_its_log(path: Path) -> None:
    while path.stat().st_ctime_ns <= Path(f"{path}-wal").stat().st_ctime_ns:
        os.utime(path)


@pytest.mark.parametrize(
    ("with_log", "without_log", "is_kept"), [(True, True, True), (False, False, True), (False, True, False)]
)
def test_where_the_file_changed_after_its_log_the_log_goes_only_if_it_alone_does_the_damage(
    killed: Path, monkeypatch: pytest.MonkeyPatch, with_log: bool, without_log: bool, is_kept: bool
) -> None:
    _touch_after_its_log(killed)
    _verdicts(monkeypatch, with_log, without_log)
    reported = leftover.set_log_aside(killed, NOW)
    assert (reported is None) == Path(f"{killed}-wal").exists() == is_kept
    assert killed.exists()


def test_where_the_file_has_not_changed_since_the_log_is_not_even_checked(
    killed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(f"{killed}-wal").write_bytes(Path(f"{killed}-wal").read_bytes())
    while Path(f"{killed}-wal").stat().st_ctime_ns <= killed.stat().st_ctime_ns:
        os.utime(f"{killed}-wal")
    _verdicts(monkeypatch, with_log=False, without_log=True)
    assert leftover.set_log_aside(killed, NOW) is None


@pytest.mark.parametrize(("without_log", "is_kept"), [(True, False), (False, True)])
def test_of_a_damaged_database_the_log_goes_where_the_file_is_sound_without_it(
    killed: Path, monkeypatch: pytest.MonkeyPatch, without_log: bool, is_kept: bool
) -> None:
    _verdicts(monkeypatch, with_log=False, without_log=without_log)
    reported = leftover.set_damaging_log_aside(killed, NOW)
    assert (reported is None) == Path(f"{killed}-wal").exists() == is_kept
    if reported is not None:
        assert "is damaged, and without which it is sound, is set aside in quarantine/" in reported


@pytest.mark.parametrize(("size", "is_kept"), [(0, True), (32, True), (33, False)])
def test_a_log_of_a_header_alone_has_nothing_to_apply(killed: Path, size: int, is_kept: bool) -> None:
    log = Path(f"{killed}-wal").read_bytes()
    _replace(killed)
    Path(f"{killed}-wal").write_bytes(log[:size])
    assert (leftover.set_log_aside(killed, NOW) is None) == is_kept


def test_what_cannot_be_checked_now_is_left_to_the_start(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> list[str]:
        raise OSError("Input/output error")

    _touch_after_its_log(killed)
    monkeypatch.setattr(database, "quick_check", refuse)
    assert leftover.set_log_aside(killed, NOW) is None
    assert leftover.set_damaging_log_aside(killed, NOW) is None


def test_a_database_whose_header_cannot_be_read_ends_the_start(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError("Input/output error")

    monkeypatch.setattr(database, "header", refuse)
    with pytest.raises(StartFailed, match=r"cannot read .*Input/output error"):
        leftover.set_log_aside(killed, NOW)


def test_pages_of_64_kilobytes_are_one_size_though_the_two_files_write_it_in_two_ways(
    killed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = bytearray(database.header(killed, 100))
    header[16:18] = b"\x00\x01"
    monkeypatch.setattr(database, "header", lambda *_: bytes(header))
    with open(f"{killed}-wal", "r+b") as log:
        log.seek(8)
        log.write((65536).to_bytes(4))
    _verdicts(monkeypatch, with_log=True, without_log=True)
    assert leftover.set_log_aside(killed, NOW) is None


def test_a_log_written_in_the_same_instant_as_its_file_is_its_own(
    killed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _verdicts(monkeypatch, with_log=False, without_log=True)
    monkeypatch.setattr(Path, "stat", lambda *_, **__: SimpleNamespace(st_ctime_ns=1, st_size=999, st_mode=0o100640))
    assert leftover.set_log_aside(killed, NOW) is None
