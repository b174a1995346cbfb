import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData, create_engine

from service.config import ROOT
from service.errors import CannotCreate, ForeignDatabase, NewerDatabase, StartFailed
from service.store import database, schema
from service.store.writer import Store


def test_the_revisions_known_are_those_in_the_migrations_folder() -> None:
    scripts = ScriptDirectory(str(ROOT / "migrations"))
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(database.revisions())


def test_the_migrated_schema_is_the_one_the_code_describes(path: Path) -> None:
    found = MetaData()
    found.reflect(create_engine(f"sqlite:///{path}"))
    tables = {name: table for name, table in found.tables.items() if name != "alembic_version"}
    # In any order: a column that came later is the last one, and no statement relies on the order of the file.
    assert {n: {c.name for c in t.columns} for n, t in tables.items()} == {
        n: {c.name for c in t.columns} for n, t in schema.metadata.tables.items()
    }
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
    ("engine_of", "expected"), [(database.writer_engine, WRITER), (database.reader_engine, READER)]
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
