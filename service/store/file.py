"""The database file and the one connection that writes to it: transactions, checkpoint, rewrite, close."""

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from service.errors import StoreFailed, StoreFailureKind
from service.store import durable, schema, space
from service.store.database import code_of, writer_engine
from service.store.statements import Statements

log = logging.getLogger(__name__)

# A write-ahead log beyond it means that somebody holds an old state of the history open; usually it stays below 2 MB.
LOG_ALARM_BYTES = 64 * 10**6

# By SQLite's primary result code (sqlite.org/rescode.html), never by class or text: SQLite says of a failed read on a
# sound file that it is malformed, and Python gives one class to a lock and to a full disk.
_KINDS: dict[int, StoreFailureKind] = {
    sqlite3.SQLITE_BUSY: "busy",
    sqlite3.SQLITE_LOCKED: "busy",
    sqlite3.SQLITE_PROTOCOL: "busy",
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_CORRUPT: "corrupt",
    sqlite3.SQLITE_NOTADB: "corrupt",
    sqlite3.SQLITE_CONSTRAINT: "poison",
    sqlite3.SQLITE_MISMATCH: "poison",
    sqlite3.SQLITE_RANGE: "poison",
}


def failure_of(error: BaseException) -> StoreFailed | None:
    """What an error of SQLite means for the store; None where the error is not SQLite's."""
    if not isinstance(error, (DBAPIError, sqlite3.Error)):
        return None
    return StoreFailed(_KINDS.get(code_of(error), "io"), str(getattr(error, "orig", error)))


def is_defect(error: Exception) -> bool:
    """Whether our own code is at fault, and neither the disk, nor a lock, nor a value: also where SQLite does not
    understand a statement, or Python refuses to hand it over."""
    of_sqlite = isinstance(error, (DBAPIError, sqlite3.Error))
    return not of_sqlite or code_of(error) in (0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE)


class WriterFile:
    """The one connection that writes. After any error it is dropped, and the next call opens a new one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = writer_engine(path)
        self._connection: Connection | None = None
        # Those of the present connection, by which its owner sees that it is still the same one.
        self.statements: Statements | None = None

    # -- the connection

    def run_alone(self, sql: str, parameters: tuple[Any, ...]) -> None:
        """Run one statement, which is a transaction by itself, at a third of the cost.

        :raises StoreFailed: if the database cannot be written.
        """
        try:
            self._connected().run(sql, parameters)
        except BaseException as error:
            failure = self._dropped_by(error)
            if failure is None:
                raise
            raise failure from error

    @contextmanager
    def transaction(self) -> Iterator[Statements]:
        """All of what is done in it, or nothing.

        :raises StoreFailed: if the database cannot be written.
        """
        with self._dropped_on_error():
            statements = self._connected()
            # IMMEDIATE: a transaction that first reads and then writes would fail at once where another has written.
            statements.run("BEGIN IMMEDIATE")
            yield statements
            statements.run("COMMIT")

    @contextmanager
    def _dropped_on_error(self) -> Iterator[None]:
        """Drop the connection, which rolls back (after an I/O error its page cache is not to be trusted either)."""
        try:
            yield
        except BaseException as error:
            failure = self._dropped_by(error)
            if failure is None:
                raise
            raise failure from error

    def _dropped_by(self, error: BaseException) -> StoreFailed | None:
        """Drop the connection; what the error means, None where it is not SQLite's."""
        # Before the connection goes: where it is the only one, the log goes with it.
        size = self._size()
        self.drop()
        failure = failure_of(error)
        return failure and (self._no_room(failure, size) or failure)

    def _size(self) -> int:
        """Of the larger one of the file and its log; 0 where neither is there, or the disk does not say."""
        sizes = [0]
        for suffix in ("", "-wal"):
            with suppress(OSError):
                sizes.append(os.stat(f"{self._path}{suffix}").st_size)
        return max(sizes)

    def _no_room(self, failure: StoreFailed, size: int) -> StoreFailed | None:
        """What SQLite calls an I/O error though it is a lack of space. `size`: of the file that could not grow."""
        why = space.lack(self._path.parent, size) if failure.kind == "io" else None
        return StoreFailed("full", f"{failure}: {why}") if why else None

    def _connected(self) -> Statements:
        if self.statements is None:
            self._connection = self._engine.connect()
            self.statements = Statements(self._connection)
        return self.statements

    def drop(self) -> None:
        """Let go of the file, without a checkpoint; the next call opens what then stands at the path."""
        connection, self._connection, self.statements = self._connection, None, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    # -- the file

    def write_again(self, path: Path) -> bool:
        """Write the whole history to `path`, from the open connection whose own file has lost its name.

        :returns: False when there is no connection that still has it.
        :raises StoreFailed: if it cannot be written; the connection stays, with all it has.
        """
        if self.statements is None:
            return False
        temporary = path.with_name(f".{path.name}.part")
        try:
            temporary.unlink(missing_ok=True)
            self.statements.run("VACUUM INTO ?", (str(temporary),))
            temporary.chmod(0o640)
            durable.sync(temporary)
        except (DBAPIError, OSError) as error:
            with suppress(OSError):
                temporary.unlink()
            raise StoreFailed("io", str(getattr(error, "orig", error))) from error
        # The log that still stands there is of the file without a name, and all in the copy: to the copy, whose pages
        # are other ones, it would be a stranger's.
        self.drop()
        for suffix in ("-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        temporary.rename(path)
        return True

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the database as far as no reader is in the way; never waits.

        :raises StoreFailed: if the disk refuses.
        """
        with self._dropped_on_error():
            ((_, frames, copied),) = self._connected().rows("PRAGMA wal_checkpoint(PASSIVE)")
        if frames > copied and frames * schema.PAGE_BYTES > LOG_ALARM_BYTES:
            megabytes = frames * schema.PAGE_BYTES // 10**6
            log.warning(
                "%s-wal grows (%d MB): another program reads and does not end; close what has it open",
                self._path,
                megabytes,
            )
        if frames == copied and not Path(f"{self._path}-wal").exists():
            # Removed under us: commits would go on without an error into a file that nobody finds after a crash.
            log.error("%s-wal was removed while in use; nothing is lost, a new one begins", self._path)
            self.drop()

    def close(self) -> StoreFailed | None:
        """Leave an ordinary single-file database behind, which a read-only account can open.

        :returns: None when that is done; else why the file stays in WAL mode, of kind `busy` where another program
            has it open. It is not raised: what is stored is safe either way, and an error that is on its way out of
            the caller must not be hidden by it.
        """
        try:
            ((mode,),) = self._connected().rows("PRAGMA journal_mode=DELETE")
        except (DBAPIError, sqlite3.Error) as error:
            return failure_of(error)
        finally:
            self.drop()
            self._engine.dispose()
        return None if mode == "delete" else StoreFailed("io", f"SQLite leaves it in journal mode {mode}")
