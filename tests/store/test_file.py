"""The database file as a whole: how it is left behind, and why it could not be."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from service.config import ROOT
from service.store.writer import Store
from tests.conftest import NOW, Fill
from tests.running import query


def test_a_clean_stop_leaves_one_ordinary_file(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 1)
    store.end_run(NOW + 1)
    assert store.close() is None
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert query(path, "PRAGMA journal_mode") == [("delete",)]
    assert query(path, "SELECT stopped, clean FROM runs") == [("2026-01-05T10:00:01Z", 1)]


def test_a_close_while_another_program_reads_says_that_it_is_busy(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 1)
    with closing(sqlite3.connect(path)) as stranger:
        stranger.execute("SELECT count(*) FROM sample").fetchone()
        failure = store.close()
    assert failure is not None
    assert failure.kind == "busy"
    assert query(path, "SELECT count(*) FROM samples") == [(1,)]


def test_a_close_that_fails_says_why_and_blames_nobody_else(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 1)
    store.drop()
    path.write_bytes(b"no database" * 1000)
    failure = store.close()
    assert failure is not None
    assert (failure.kind, str(failure)) == ("corrupt", "file is not a database")


def test_a_close_that_the_disk_refuses_says_so(path: Path) -> None:
    """In a process of its own, which may write no file beyond its first pages."""
    done = subprocess.run([sys.executable, "-c", CLOSED_ON_A_FULL_DISK, path], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "io: disk I/O error", done.stderr


CLOSED_ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from service.records import Break, Sample
from service.store.writer import Store

store = Store(Path(sys.argv[1]))
store.open()
store.begin_run(1_767_607_200, None, None, "0.1.0", 5)
begins = Break(None, None)
store.append([Sample(1_767_607_200 + 5 * n, 5.0, {}, None if n else begins) for n in range(3000)])
resource.setrlimit(resource.RLIMIT_FSIZE, (16384, resource.RLIM_INFINITY))
failure = store.close()
print(f"{failure.kind}: {failure}")
"""


def test_after_a_failed_close_the_next_one_leaves_an_ordinary_file(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 3)
    with closing(sqlite3.connect(path)) as stranger:
        stranger.execute("SELECT count(*) FROM sample").fetchone()
        store.close()
    again = Store(path)
    again.open()
    assert again.close() is None
    assert query(path, "SELECT count(*) FROM samples") == [(3,)]
    assert [file.name for file in path.parent.iterdir()] == [path.name]
