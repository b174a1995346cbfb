import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, Table, create_engine

from service.errors import CannotCreate, ForeignDatabase, HistoryUnreadable, NewerDatabase, StartFailed
from service.place import CHECKOUT as ROOT
from service.records import Break, Sample
from service.store import database, schema
from service.store.writer import Store
from tests.conftest import NOW
from tests.running import query


def test_the_revisions_known_are_those_in_the_migrations_folder() -> None:
    scripts = ScriptDirectory(str(ROOT / "migrations"))
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(database.revisions())


def described(tables: dict[str, Table]) -> dict[str, set[tuple[str, bool, bool]]]:
    """Of each table the columns, with whether they are of its key and may be NULL."""
    return {name: {(c.name, c.primary_key, bool(c.nullable)) for c in table.columns} for name, table in tables.items()}


def indexes(tables: dict[str, Table]) -> set[tuple[str, str | None, tuple[str, ...]]]:
    """Table, name and columns of each."""
    return {
        (name, str(index.name), tuple(column.name for column in index.columns))
        for name, table in tables.items()
        for index in table.indexes
    }


def test_the_migrated_schema_is_the_one_the_code_describes(path: Path) -> None:
    found = MetaData()
    found.reflect(create_engine(f"sqlite:///{path}"))
    tables = {name: table for name, table in found.tables.items() if name != "alembic_version"}
    # In any order: a column that came later is the last one, and no statement relies on the order of the file.
    assert described(tables) == described(dict(schema.metadata.tables))
    assert indexes(tables) == indexes(dict(schema.metadata.tables))
    assert [c.name for c in tables["sample"].primary_key] == ["ts", "stretch_id"]


def test_a_new_database_is_marked_as_ours_and_can_shrink(path: Path) -> None:
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA application_id").fetchone()[0] == schema.APPLICATION_ID
    assert connection.execute("PRAGMA auto_vacuum").fetchone()[0] == 2
    assert connection.execute("PRAGMA page_size").fetchone()[0] == schema.PAGE_BYTES
    connection.close()


def test_a_new_database_is_for_owner_and_group_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tidemark.db"
    database.prepare_folder(path)
    database.migrate(path)
    assert stat.S_IMODE(path.stat().st_mode) & 0o027 == 0
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o027 == 0


def test_migrating_twice_is_migrating_once(path: Path) -> None:
    assert database.migrate(path) == []
    assert database.is_current(path)


def test_a_newer_database_is_refused_and_stays_byte_for_byte(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(NewerDatabase, match="9999"):
        database.migrate(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_somebody_elses_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    with pytest.raises(ForeignDatabase, match="not a Tidemark database"):
        database.migrate(path)


def test_a_file_that_is_no_database_is_refused_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("dear diary, " * 1000)
    with pytest.raises(ForeignDatabase):
        database.migrate(path)
    assert path.read_text().startswith("dear diary")


@pytest.mark.parametrize("size", [0, None])
def test_a_missing_and_an_empty_file_are_new_databases(tmp_path: Path, size: int | None) -> None:
    path = tmp_path / "tidemark.db"
    if size is not None:
        path.touch()
    assert database.revision(path) is None
    assert database.migrate(path) == list(database.revisions())


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CannotCreate, match="file"):
        database.prepare_folder(tmp_path / "file" / "deeper" / "tidemark.db")


def test_views_that_differ_from_this_version_are_made_anew(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript("DROP VIEW samples; CREATE VIEW samples AS SELECT 1 AS nonsense")
    connection.close()
    store = Store(path)
    store.open()
    store.close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT * FROM samples").description[0][0] == "ts"
    connection.close()


def test_a_reader_can_neither_write_nor_checkpoint(path: Path) -> None:
    with database.reader_engine(path).connect() as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("DELETE FROM sample")


def test_a_path_with_signs_that_mean_something_in_a_uri_is_that_path(tmp_path: Path) -> None:
    path = tmp_path / "a?b#c%20d.db"
    database.migrate(path)
    assert path.exists()
    assert database.is_current(path)


KILLED_WITHIN = """
import os, sys
from pathlib import Path
from typing import Any
from service.store import database
from sqlalchemy import Engine, event

seen = []
@event.listens_for(Engine, "before_cursor_execute")
def count(conn, cursor, statement, *rest):
    seen.append(statement)
    if len(seen) == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
database.migrate(Path(sys.argv[1]))
"""


@pytest.mark.parametrize("statement", [1, 3, 6, 9, 12])
def test_a_creation_killed_within_is_undone_and_done_again_at_the_next_start(tmp_path: Path, statement: int) -> None:
    path = tmp_path / "tidemark.db"
    killed = subprocess.run([sys.executable, "-c", KILLED_WITHIN, path, str(statement)], cwd=ROOT, check=False)
    assert killed.returncode == -9
    assert database.revision(path) is None
    database.migrate(path)
    assert database.is_current(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_cannot_be_read_is_reported(path: Path) -> None:
    path.chmod(0)
    with pytest.raises(StartFailed, match="cannot read"):
        database.revision(path)


# What PRAGMA gives back: synchronous 2 is FULL, temp_store 2 is MEMORY, journal_mode is said by itself.
WRITER = {
    "busy_timeout": 250,
    "synchronous": 2,
    "journal_mode": "wal",
    "wal_autocheckpoint": 1000,
    "journal_size_limit": 16 * 2**20,
    "foreign_keys": 1,
    "cache_size": -2048,
    "temp_store": 2,
    "trusted_schema": 0,
    "cell_size_check": 1,
    "secure_delete": 0,
    "mmap_size": 0,
}
READER = {
    "busy_timeout": 2000,
    "query_only": 1,
    "cache_size": -1024,
    "temp_store": 2,
    "trusted_schema": 0,
    "mmap_size": 0,
}


@pytest.mark.parametrize(
    ("engine_of", "expected"),
    [
        (database.writer_engine, WRITER),
        (database.reader_engine, READER),
        (lambda path: database.reader_engine(path, pooled=True), READER),
    ],
    ids=["writer", "reader", "pooled reader"],
)
def test_each_connection_has_every_pragma_that_it_relies_on(
    path: Path, engine_of: Callable[[Path], Engine], expected: dict[str, int | str]
) -> None:
    engine = engine_of(path)
    with engine.connect() as connection:
        found = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in expected}
    engine.dispose()
    assert found == expected


def test_a_migration_has_the_lock_before_it_reads_what_is_missing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else another that writes between its reading and its writing would end it."""
    upgrade, locked = command.upgrade, []

    def watched(*given: Any) -> None:
        stranger = sqlite3.connect(path, timeout=0, isolation_level=None)
        try:
            stranger.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            locked.append(str(error))
        finally:
            stranger.close()
        upgrade(*given)

    monkeypatch.setattr(command, "upgrade", watched)
    database.migrate(path)
    assert locked == ["database is locked"]


def test_of_pooled_readers_two_are_kept_and_ten_are_had_at_once(path: Path) -> None:
    engine = database.reader_engine(path, pooled=True)
    connections = [engine.connect() for _ in range(10)]
    for connection in connections:
        connection.close()
    assert engine.pool.checkedin() == 2  # type: ignore[attr-defined]
    engine.dispose()


def test_a_file_system_that_refuses_the_write_ahead_log_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without memory that processes share, as on a network file system.
    monkeypatch.setattr(database, "_uri", lambda path, mode: f"file:{path}?vfs=unix-dotfile&mode={mode}")
    with pytest.raises(sqlite3.OperationalError, match=r"refuses SQLite's WAL mode \(delete\); put storage.path"):
        database.writer_engine(path).raw_connection()


def test_what_is_read_at_once_is_of_one_moment(path: Path, store: Store) -> None:
    engine = database.reader_engine(path)
    count = "SELECT count(*) FROM sample"
    with database.reading(engine) as connection:
        assert connection.exec_driver_sql(count).scalar() == 0
        store.append([Sample(NOW, 5.0, {}, Break(None, None))])
        assert connection.exec_driver_sql(count).scalar() == 0
    with database.reading(engine) as connection:
        assert connection.exec_driver_sql(count).scalar() == 1


@pytest.mark.parametrize("statement", ["SELECT 1", "SELECT * FROM nothing"])
def test_a_history_that_cannot_be_read_is_an_error_of_ours(path: Path, statement: str) -> None:
    engine = database.reader_engine(path)
    if statement == "SELECT 1":
        path.unlink()
    with pytest.raises(HistoryUnreadable, match="cannot be read"), database.reading(engine) as connection:
        connection.exec_driver_sql(statement)


# -- damage


def spoil(path: Path) -> None:
    """Write over the page of a small table, as a bad disk does."""
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'run'").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * schema.PAGE_BYTES)
        file.write(b"\xff" * schema.PAGE_BYTES)


def test_a_sound_file_has_no_faults_and_is_not_corrupt(path: Path) -> None:
    assert database.quick_check(path) == []
    assert database.quick_check(path, without_log=True) == []
    assert not database.is_corrupt(path)


def test_a_file_of_which_a_page_cannot_be_made_sense_of_is_corrupt(path: Path) -> None:
    spoil(path)
    assert database.quick_check(path) == ["database disk image is malformed"]
    assert database.is_corrupt(path)


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("dear diary, " * 1000)
    assert database.quick_check(path) == ["file is not a database"]
    assert database.is_corrupt(path)


def test_what_cannot_be_opened_is_not_known_to_be_damaged(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="unable to open"):
        database.quick_check(tmp_path / "nothing")
    assert not database.is_corrupt(tmp_path / "nothing")


def test_a_check_that_is_cancelled_says_nothing_of_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_STEPS_BETWEEN_QUESTIONS", 1)
    with pytest.raises(OSError, match="interrupted"):
        database.quick_check(path, is_cancelled=lambda: True)


def test_a_check_without_the_log_is_of_the_file_alone(path: Path) -> None:
    """The damage is in the file, and the log holds the page whole."""
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA journal_mode=WAL")
    writer.execute("PRAGMA wal_autocheckpoint=0")
    writer.execute("INSERT INTO run (started_ts, version, interval_seconds) VALUES (1, 'x', 5)")
    assert database.quick_check(path) == []
    spoil(path)
    assert database.quick_check(path, without_log=True) != []
    assert database.quick_check(path) == []
    writer.close()


def test_the_pages_and_the_header_of_a_file_that_is_gone_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nothing"):
        database.read_through(tmp_path / "nothing")
    with pytest.raises(OSError, match="nothing"):
        database.header(tmp_path / "nothing", 16)


def test_the_header_is_the_first_bytes(path: Path) -> None:
    assert database.header(path, 16) == b"SQLite format 3\0"


# -- what stands at the path


def test_a_file_is_known_by_device_and_inode(path: Path) -> None:
    found = path.stat()
    assert database.identity(path) == (found.st_dev, found.st_ino)
    assert database.identity(path / "below a file") is None
    path.unlink()
    assert database.identity(path) is None


def test_a_copy_is_whole_while_the_daemon_writes(path: Path, store: Store, tmp_path: Path) -> None:
    store.append([Sample(NOW, 5.0, {"cpu_percent": 12}, Break(None, None))])
    database.copy_into(path, tmp_path / "copy.db")
    assert query(tmp_path / "copy.db", "SELECT ts, cpu_percent FROM samples") == [(NOW, 12.0)]
    assert database.is_current(tmp_path / "copy.db")


def test_a_change_that_was_broken_off_is_taken_back_before_the_file_is_read(path: Path, tmp_path: Path) -> None:
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("PRAGMA cache_size=1")
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE alembic_version SET version_num = 'half'")
    writer.execute("CREATE TABLE much AS SELECT randomblob(900000)")
    broken_off = tmp_path / "broken.db"
    shutil.copy(path, broken_off)
    shutil.copy(f"{path}-journal", f"{broken_off}-journal")
    writer.execute("ROLLBACK")
    writer.close()
    assert database.revision(broken_off) == database.revisions()[-1]


def test_a_table_of_ours_without_a_revision_is_a_database_half_made(tmp_path: Path) -> None:
    path = tmp_path / "half.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id={schema.APPLICATION_ID}")
        connection.execute("CREATE TABLE sample (ts)")
    assert database.revision(path) is None


def test_an_empty_database_is_new_and_one_with_a_mark_of_another_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")
        assert database.revision(path) is None
        connection.execute("PRAGMA application_id=7")
    with pytest.raises(ForeignDatabase):
        database.revision(path)


def test_a_folder_where_a_database_cannot_be_made_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotCreate, match="cannot create"):
        database.migrate(tmp_path / "nowhere" / "tidemark.db")
