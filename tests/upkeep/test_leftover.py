"""A log that a killed daemon left: it stays beside its own database, and is set aside from any other."""

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

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
