"""The database file and its one writing connection: what an error means, what it leaves, and the file as a whole."""

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from service.errors import StoreFailed, StoreFailureKind
from service.place import CHECKOUT as ROOT
from service.records import Sample
from service.store import file
from service.store.file import failure_of, is_defect
from service.store.schema import PAGE_BYTES
from service.store.statements import Statements
from service.store.writer import Store
from tests.conftest import NOW, Fill
from tests.running import query


def refused(code: int, text: str = "disk I/O error") -> sqlite3.OperationalError:
    """As SQLite refuses, with its extended result code (sqlite.org/rescode.html)."""
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = code
    return error


def fail(store: Store, error: BaseException) -> None:
    """Have a transaction fail after its first write."""

    def work(statements: Statements) -> None:
        statements.run("UPDATE progress SET minutes_until = 7")
        raise error

    store.write(work)


@contextmanager
def stranger_at(path: Path) -> Iterator[sqlite3.Connection]:
    """Another program, which waits for no lock."""
    with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
        yield connection


# -- what an error means


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_BUSY, "busy"),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "busy"),
        (sqlite3.SQLITE_LOCKED, "busy"),
        (sqlite3.SQLITE_PROTOCOL, "busy"),
        (sqlite3.SQLITE_FULL, "full"),
        (sqlite3.SQLITE_CORRUPT, "corrupt"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "corrupt"),
        (sqlite3.SQLITE_NOTADB, "corrupt"),
        (sqlite3.SQLITE_CONSTRAINT_NOTNULL, "poison"),
        (sqlite3.SQLITE_MISMATCH, "poison"),
        (sqlite3.SQLITE_RANGE, "poison"),
        (sqlite3.SQLITE_IOERR_FSYNC, "io"),
        (sqlite3.SQLITE_READONLY, "io"),
        (sqlite3.SQLITE_CANTOPEN, "io"),
    ],
)
def test_what_an_error_means_is_known_by_its_code(code: int, kind: StoreFailureKind) -> None:
    failure = failure_of(refused(code, "its own words"))
    assert failure is not None
    assert (failure.kind, str(failure)) == (kind, "its own words")


def test_what_is_not_sqlites_is_no_failure_of_the_store() -> None:
    assert failure_of(ValueError("database disk image is malformed")) is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError(), True),
        (refused(0), True),
        (refused(sqlite3.SQLITE_ERROR), True),
        (refused(sqlite3.SQLITE_MISUSE), True),
        (refused(sqlite3.SQLITE_BUSY), False),
        (refused(sqlite3.SQLITE_IOERR), False),
        (refused(sqlite3.SQLITE_CONSTRAINT), False),
    ],
)
def test_a_defect_is_what_neither_disk_nor_lock_nor_value_explains(error: Exception, expected: bool) -> None:
    assert is_defect(error) is expected


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "Disk quota exceeded"),
        (errno.EFBIG, "File too large"),
        (errno.EIO, None),
    ],
)
def test_an_io_error_that_the_folder_explains_by_a_lack_of_room_is_one(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int, why: str | None
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwrite", refuse)
    with pytest.raises(StoreFailed) as failed:
        fail(store, refused(sqlite3.SQLITE_IOERR_WRITE))
    assert failed.value.kind == ("full" if why else "io")
    assert str(failed.value) == "disk I/O error" + (f": {why}" if why else "")


def test_an_io_error_where_the_folder_has_room_stays_one(store: Store) -> None:
    with pytest.raises(StoreFailed) as failed:
        fail(store, refused(sqlite3.SQLITE_IOERR_WRITE))
    assert (failed.value.kind, str(failed.value)) == ("io", "disk I/O error")


def test_a_lock_does_not_have_the_folder_tried(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []
    monkeypatch.setattr(os, "pwrite", lambda *given: tried.append(given))
    with pytest.raises(StoreFailed) as failed:
        fail(store, refused(sqlite3.SQLITE_BUSY, "database is locked"))
    assert (failed.value.kind, tried) == ("busy", [])


def test_a_limit_on_the_size_of_files_is_a_full_disk(path: Path) -> None:
    """In a process of its own, whose files may grow a little, beyond what the folder is tried with."""
    done = subprocess.run([sys.executable, "-c", LIMITED, path], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "full: disk I/O error: File too large", done.stderr


BEGUN = """
import resource, sys
from pathlib import Path
from service.records import Break, Sample
from service.store.writer import Store

store = Store(Path(sys.argv[1]))
store.open()
store.begin_run(1_767_607_200, None, None, "0.1.0", 5)
begins = Break(None, None)
"""
LIMITED = f"""{BEGUN}
from service.errors import StoreFailed

resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, resource.RLIM_INFINITY))
try:
    for n in range(10_000):
        store.append([Sample(1_767_607_200 + 5 * n, 5.0, {{}}, None if n else begins)])
except StoreFailed as failure:
    print(f"{{failure.kind}}: {{failure}}")
"""


# -- transactions


def test_a_transaction_has_the_lock_from_its_beginning(store: Store, path: Path) -> None:
    with store.transaction() as statements, stranger_at(path) as stranger:
        assert statements.number("SELECT count(*) FROM sample") == 0
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            stranger.execute("BEGIN IMMEDIATE")


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (refused(sqlite3.SQLITE_FULL), StoreFailed),
        (ValueError("of our own"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_what_fails_within_a_transaction_is_raised_undone_and_holds_no_lock(
    store: Store, path: Path, error: BaseException, raised: type[BaseException]
) -> None:
    with pytest.raises(raised) as failed:
        fail(store, error)
    assert failed.value is error or failed.value.__cause__ is error
    assert query(path, "SELECT minutes_until FROM progress WHERE minutes_until = 7") == []
    with stranger_at(path) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        stranger.execute("ROLLBACK")
    store.write(lambda statements: statements.run("UPDATE progress SET minutes_until = 8"))
    assert query(path, "SELECT minutes_until FROM progress") == [(8,)]


def test_one_statement_that_fails_is_no_other_kind_of_failure(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 1)
    with stranger_at(path) as stranger:
        stranger.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFailed) as failed:
            fill_on(store, 1)
        stranger.execute("ROLLBACK")
    assert (failed.value.kind, str(failed.value)) == ("busy", "database is locked")


def fill_on(store: Store, number: int) -> None:
    store.append([Sample(NOW + 5 * number, 5.0, {})])


# -- the history written again


def test_a_history_without_a_name_is_written_again_whole_and_only_then_gets_the_name(
    store: Store, path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(NOW, 30)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(b"of one that was killed")
    path.unlink()
    synced: list[tuple[int, bool]] = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append((os.fstat(fd).st_ino, path.exists())))
    assert store.write_again(path) is True
    assert synced == [(path.stat().st_ino, False)]
    assert path.stat().st_mode & 0o777 == 0o640
    assert [one.name for one in path.parent.iterdir()] == [path.name]
    assert query(path, "SELECT count(*) FROM samples") == [(30,)]
    fill_on(store, 30)
    assert query(path, "SELECT count(*) FROM samples") == [(31,)]


def test_a_history_is_written_again_where_its_log_has_gone_too(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 3)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink()
    assert store.write_again(path) is True
    assert query(path, "SELECT count(*) FROM samples") == [(3,)]


def test_without_a_connection_nothing_is_written_again(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 3)
    store.drop()
    path.unlink()
    assert store.write_again(path) is False
    assert not path.exists()


def test_what_cannot_be_written_again_is_kept_in_hand(
    store: Store, path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(NOW, 3)
    path.unlink()

    def refuse(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreFailed, match="No space left") as failed:
        store.write_again(path)
    monkeypatch.setattr(os, "fsync", fsync)
    assert failed.value.kind == "io"
    assert not list(path.parent.glob(".*.part"))
    assert store.write_again(path) is True
    assert query(path, "SELECT count(*) FROM samples") == [(3,)]


# -- the log


def frames(path: Path) -> int:
    """Pages in the log (sqlite.org/fileformat2.html#walformat): 32 bytes of header, and 24 before each page."""
    return (Path(f"{path}-wal").stat().st_size - 32) // (PAGE_BYTES + 24)


@pytest.mark.parametrize(("spare", "warns"), [(0, False), (-1, True)])
def test_a_log_that_a_reader_keeps_from_shrinking_is_warned_of_beyond_its_limit(
    store: Store,
    path: Path,
    fill: Fill,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    spare: int,
    warns: bool,
) -> None:
    fill(NOW, 3)
    store.checkpoint()
    with stranger_at(path) as stranger:
        stranger.execute("BEGIN")
        stranger.execute("SELECT count(*) FROM sample").fetchone()
        fill(NOW + 15, 30_000, cpu_percent=1, disk_read_bytes=2**40)
        waiting = frames(path) * PAGE_BYTES
        monkeypatch.setattr(file, "LOG_ALARM_BYTES", waiting + spare)
        store.checkpoint()
    assert (f"grows ({waiting // 10**6} MB): another program reads and does not end" in caplog.text) == warns
    assert waiting > 10**6


def test_a_long_log_that_nobody_holds_is_not_warned_of(
    store: Store, path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fill(NOW, 300)
    monkeypatch.setattr(file, "LOG_ALARM_BYTES", 0)
    store.checkpoint()
    assert caplog.text == ""


def test_the_limit_of_the_log_is_four_times_what_sqlite_leaves_of_it() -> None:
    assert file.LOG_ALARM_BYTES == 64_000_000


def test_after_a_checkpoint_the_file_has_all_by_itself(store: Store, path: Path, fill: Fill) -> None:
    fill(NOW, 300)
    store.checkpoint()
    alone = f"file:{path}?mode=ro&immutable=1"
    with closing(sqlite3.connect(alone, uri=True)) as connection:
        assert connection.execute("SELECT count(*) FROM sample").fetchone() == (300,)


def test_a_log_that_was_removed_is_reported_and_what_comes_next_is_found(
    store: Store, path: Path, fill: Fill, caplog: pytest.LogCaptureFixture
) -> None:
    fill(NOW, 3)
    store.checkpoint()
    assert caplog.text == ""
    Path(f"{path}-wal").unlink()
    store.checkpoint()
    assert "-wal was removed while in use" in caplog.text
    fill_on(store, 3)
    assert query(path, "SELECT count(*) FROM samples") == [(4,)]


# -- how it is left behind


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


CLOSED_ON_A_FULL_DISK = f"""{BEGUN}
store.append([Sample(1_767_607_200 + 5 * n, 5.0, {{}}, None if n else begins) for n in range(3000)])
resource.setrlimit(resource.RLIMIT_FSIZE, (16384, resource.RLIM_INFINITY))
failure = store.close()
print(f"{{failure.kind}}: {{failure}}")
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
