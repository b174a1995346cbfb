"""The database file: is it ours and how old, engines that open it safely, the schema brought up to date.

Exactly one connection in the whole system writes and checkpoints (sqlite.org/wal.html, "the WAL-reset bug"); every
other opens `mode=ro`. A plain open() of the file would drop SQLite's locks, so nothing here or elsewhere does that.
"""

import logging
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, Pool, QueuePool

from service import place
from service.errors import CannotCreate, ForeignDatabase, HistoryUnreadable, NewerDatabase, StartFailed
from service.store import index, schema, space
from service.store.statements import Statements

# busy_timeout comes first: the pragmas after it may meet a lock. A foreign writer must not hold up the tick, so the
# writer gives up soon and its samples wait in memory. Debian builds secure_delete=ON, which would write zeros on
# every delete; mmap_size=0 because a disk error under a map is a SIGBUS.
WRITER_PRAGMAS = (
    "busy_timeout=250",
    "synchronous=FULL",
    "wal_autocheckpoint=1000",
    "journal_size_limit=16777216",
    "foreign_keys=ON",
    "cache_size=-2048",
    "temp_store=MEMORY",
    "trusted_schema=OFF",
    "cell_size_check=ON",
    "secure_delete=OFF",
    "mmap_size=0",
)
_READER_PRAGMAS = (
    "busy_timeout=2000",
    "query_only=ON",
    "cache_size=-1024",
    "temp_store=MEMORY",
    "trusted_schema=OFF",
    "mmap_size=0",
)

# Of SQLite's virtual machine: about a millisecond.
_STEPS_BETWEEN_QUESTIONS = 10_000


def _uri(path: Path, **parameters: str) -> str:
    # As bytes: a path need not be UTF-8.
    return f"file:{quote(os.fsencode(path))}?" + "&".join(f"{name}={value}" for name, value in parameters.items())


def _engine(
    connect: Callable[[], sqlite3.Connection], begin: str, pool: type[Pool] = NullPool, **options: Any
) -> Engine:
    """An engine whose transactions are real: Python's sqlite3 would otherwise begin late and commit DDL early."""
    engine = create_engine("sqlite://", creator=connect, poolclass=pool, **options)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.connection.driver_connection.execute(begin)  # type: ignore[union-attr]

    return engine


def _connect(uri: str, pragmas: tuple[str, ...]) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    try:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def writer_engine(path: Path) -> Engine:
    """The engine of the one writing connection; the file exists and is up to date."""

    def connect() -> sqlite3.Connection:
        index.prepare(path)
        connection = _connect(_uri(path, mode="rw"), WRITER_PRAGMAS)
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            connection.close()
            raise sqlite3.OperationalError(
                f"{path}: this file system refuses SQLite's WAL mode ({mode}); put storage.path on a local disk"
            )
        return connection

    # The store says itself where a transaction begins and ends; its usual tick is one statement without either.
    return create_engine("sqlite://", creator=connect, poolclass=NullPool, isolation_level="AUTOCOMMIT")


def reader_engine(path: Path, pooled: bool = False) -> Engine:
    """An engine that can neither write nor checkpoint, for any account that may read the file."""

    def connect() -> sqlite3.Connection:
        return _connect(_uri(path, mode="ro"), _READER_PRAGMAS)

    if pooled:
        return _engine(connect, "BEGIN", QueuePool, pool_size=2, max_overflow=8)
    return _engine(connect, "BEGIN")


def copy_into(path: Path, target: Path) -> None:
    """A consistent copy as of this moment, while the daemon writes; `target` does not exist yet.

    :raises sqlite3.Error: if it cannot be read or written.
    """
    # Without query_only, which takes VACUUM INTO for a write; mode=ro still keeps it off the source.
    connection = _connect(_uri(path, mode="ro"), ("busy_timeout=2000", "temp_store=MEMORY"))
    try:
        connection.execute("VACUUM INTO ?", (_uri(target, mode="rwc"),))
    finally:
        connection.close()


def identity(path: Path) -> tuple[int, int] | None:
    """Which file stands at the path (device, inode); None where none does.

    :raises OSError: if the disk does not say, which is not the same.
    """
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def read_through(path: Path) -> None:
    """Read the whole file by its pages through SQLite, which a plain open() would rob of its locks.

    :raises OSError: if the disk refuses a page.
    """
    # A child of its own may open the file as it likes: locks belong to a process.
    done = subprocess.run(["cat", "--", path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace").strip() or f"cannot read {path}")


def header(path: Path, count: int) -> bytes:
    """The first bytes of the file, fewer where it is shorter.

    :raises OSError: if the disk refuses them.
    """
    # By a child, like `read_through`.
    done = subprocess.run(["head", "-c", str(count), "--", path], capture_output=True, check=False)
    if done.returncode:
        raise OSError(done.stderr.decode(errors="replace").strip() or f"cannot read {path}")
    return done.stdout


def quick_check(path: Path, without_log: bool = False, is_cancelled: Callable[[], bool] = lambda: False) -> list[str]:
    """What SQLite finds wrong with the file; empty when it is sound.

    `without_log`: of the file by itself, as if it had no write-ahead log; nobody may write to it meanwhile.
    `is_cancelled` is asked every few milliseconds.

    :raises OSError: if it cannot be opened, or is cancelled.
    """
    how = {"mode": "ro"} | ({"immutable": "1"} if without_log else {})
    try:
        connection = _connect(_uri(path, **how), _READER_PRAGMAS)
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return [str(error)]
        raise OSError(str(error)) from None
    try:
        connection.set_progress_handler(is_cancelled, _STEPS_BETWEEN_QUESTIONS)
        found = [row[0] for row in connection.execute("PRAGMA quick_check(20)")]
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return [str(error)]
        raise OSError(str(error)) from None
    finally:
        connection.close()
    return [] if found == ["ok"] else found


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection in one read transaction: everything read through it is of one moment.

    :raises HistoryUnreadable: if the database cannot be read.
    """
    try:
        with engine.connect() as connection, connection.begin():
            yield connection
    except (DBAPIError, sqlite3.Error) as error:
        raise HistoryUnreadable("the history cannot be read; `check` and the log say why") from error


def code_of(error: BaseException | None) -> int:
    """SQLite's primary result code (sqlite.org/rescode.html); 0 where the error is not SQLite's."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return getattr(cause, "sqlite_errorcode", 0) & 0xFF


def is_damage(error: BaseException | None) -> bool:
    """Whether SQLite says that the file is damaged (by code; it says the same of some failures of the disk)."""
    return code_of(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def revision(path: Path) -> str | None:
    """The schema revision of the file; None where there is no file, or an empty one, or one half created.

    Reads only: a file of a newer version or of somebody else stays as it is, byte for byte. But a change that a kill
    or a power cut broke off is taken back first, as by any program that opens the file, else it would look damaged.

    :raises ForeignDatabase: if the file is not one of Tidemark's.
    :raises NewerDatabase: if a newer version wrote it.
    :raises StartFailed: if it cannot be read.
    """
    try:
        if path.stat().st_size == 0:
            return None
        # Without a -wal the file is whole as it stands, and reading it as immutable leaves no -shm beside it.
        how = {"mode": "ro"} if Path(f"{path}-wal").exists() else {"mode": "ro", "immutable": "1"}
        if Path(f"{path}-journal").exists():
            how = {"mode": "rw"}
        connection = sqlite3.connect(_uri(path, **how), uri=True)
    except FileNotFoundError:
        return None
    except (OSError, sqlite3.Error) as error:
        raise StartFailed(f"cannot read {path}: {error}") from None
    try:
        return _revision(path, connection)
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            raise CorruptDatabase(f"{path} is not a Tidemark database, or a damaged one: {error}") from None
        why = space.lack(path.parent)  # even reading needs some, for the index of the log
        raise StartFailed(f"cannot read {path}: {error}" + (f"; {why}" if why else "")) from None
    finally:
        connection.close()


class CorruptDatabase(ForeignDatabase):
    """A file that SQLite cannot make sense of: a damaged history, or no database at all."""


def is_corrupt(path: Path) -> bool:
    """Whether the file itself is damaged, and not only unreadable now: the disk gives every page of it, and SQLite
    finds fault with them twice."""
    try:
        read_through(path)
        return bool(quick_check(path) and quick_check(path))
    except OSError:
        return False


def _revision(path: Path, connection: sqlite3.Connection) -> str | None:
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if application_id != schema.APPLICATION_ID:
        if application_id == 0 and not tables:
            return None
        raise _foreign(path)
    if "alembic_version" not in tables:
        return None
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if found is not None and found[0] not in revisions():
        raise NewerDatabase(
            f"{path} has schema {found[0]}, written by a newer Tidemark; this one knows up to {revisions()[-1]}: "
            "install that version, or start with another storage.path"
        )
    return str(found[0]) if found else None


def _foreign(path: Path) -> ForeignDatabase:
    return ForeignDatabase(f"{path} is not a Tidemark database; move it away or set another storage.path")


@cache
def revisions() -> tuple[str, ...]:
    """Every revision, oldest first: the numbers that the files of migrations/versions begin with, so that Alembic is
    imported only when one is missing."""
    names = (script.name for script in (place.MIGRATIONS / "versions").glob("[0-9]*_*.py"))
    return tuple(sorted(name.partition("_")[0] for name in names))


def is_current(path: Path) -> bool:
    return revision(path) == revisions()[-1]


def prepare_folder(path: Path) -> None:
    """Make the database's folder, readable by owner and group only.

    :raises CannotCreate: if that fails.
    """
    try:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotCreate(
            f"cannot create the folder {path.parent}: {error.strerror}; set storage.path elsewhere"
        ) from None


def migrate(path: Path) -> list[str]:
    """Create the database, or bring its schema up to date, in one transaction: killed half-way, nothing happened.

    :returns: the revisions applied, oldest first.
    :raises CannotCreate: if a new file cannot be made.
    :raises StartFailed: if an old one cannot be changed.
    """
    before = revision(path)
    is_new = before is None
    try:
        engine = _engine(lambda: _connect_for_migration(path), "BEGIN IMMEDIATE")
        with engine.begin() as connection:
            _upgrade(connection)
            connection.exec_driver_sql(f"PRAGMA application_id={schema.APPLICATION_ID}")
            refresh_views(Statements(connection))
    except (DBAPIError, sqlite3.Error, OSError) as error:
        failure = CannotCreate if is_new else StartFailed
        cause = getattr(error, "orig", None) or error
        raise failure(f"cannot {'create' if is_new else 'upgrade'} {path}: {cause}") from error
    return [known for known in revisions() if is_new or known > str(before)]


def _connect_for_migration(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o640)) if not path.exists() else None
    connection = _connect(_uri(path, mode="rw"), ("busy_timeout=5000", "synchronous=FULL", "secure_delete=OFF"))
    if connection.execute("PRAGMA page_count").fetchone()[0] == 0:
        # Comes first: auto_vacuum settles it.
        connection.execute(f"PRAGMA page_size={schema.PAGE_BYTES}")
        # Takes effect only before the first table, and lets pruning give pages back without a full VACUUM.
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    return connection


def _upgrade(connection: Connection) -> None:
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(place.MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def refresh_views(statements: Statements) -> None:
    """Make the public views what this version says they are."""
    rows = statements.rows("SELECT name, sql FROM sqlite_master WHERE type = 'view'")
    present = {row[0]: row[1] for row in rows}
    for name, select in schema.views().items():
        create = f"CREATE VIEW {name} AS {select}"
        if present.get(name) != create:
            statements.run(f"DROP VIEW IF EXISTS {name}")
            statements.run(create)
