"""One statement of the user's, which may only read, within bounds of time and memory."""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from service import clock
from service.errors import QueryRefused

if TYPE_CHECKING:  # a process that asks one statement for the page does without it
    from sqlalchemy import Engine

# What a statement given to `sql` may do. Attaching, writing to files and changing anything are not in it.
_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_ALLOWED_PRAGMAS = {"table_info", "table_xinfo", "table_list"}
# The most that a value of the statement, and all of SQLite meanwhile, may take: a statement could ask for all the
# memory of the host in one step.
_VALUE_BYTES, _HEAP_BYTES = 10 * 10**6, 500 * 10**6
# Of SQLite's virtual machine: about a millisecond, unless a step calls a function on a large value.
_STEPS_BETWEEN_CHECKS = 10_000
# So long after the deadline a step that SQLite cannot break off (printf of 900 MB) is given up.
_STUCK_SECONDS = 1.0


class _Watch:
    """Whether a step of SQLite outlasts the deadline; what waits between two steps, such as a pager, does not count."""

    def __init__(self, seconds: float, give_up: Callable[[str], None] | None) -> None:
        self.deadline, self._seconds, self._give_up = clock.steady() + seconds, seconds, give_up
        self._is_stepping, self._ended = False, threading.Event()

    def is_over(self) -> bool:
        return clock.steady() > self.deadline

    def rows(self, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """
        :raises QueryRefused: once it is past the deadline: few large rows are too few steps for SQLite to notice.
        """
        remaining = iter(rows)
        while True:
            self._is_stepping = True
            row = next(remaining, None)
            self._is_stepping = False
            if row is None:
                return
            if self.is_over():
                raise QueryRefused(_too_long(self._seconds))
            yield row

    def execute(self, driver: sqlite3.Connection, statement: str) -> sqlite3.Cursor:
        self._is_stepping = True
        if self._give_up is not None:
            threading.Thread(target=self._run, name="watch", daemon=True).start()
        cursor = driver.execute(statement)
        self._is_stepping = False
        return cursor

    def end(self) -> None:
        self._ended.set()

    def _run(self) -> None:
        assert self._give_up is not None
        stuck = 0.0
        while not self._ended.wait(_STUCK_SECONDS / 4):
            stuck = stuck + _STUCK_SECONDS / 4 if self._is_stepping and self.is_over() else 0.0
            if stuck >= _STUCK_SECONDS:
                self._give_up(_too_long(self._seconds))
                return


@contextmanager
def query(
    engine: "Engine", statement: str, seconds: float, give_up: Callable[[str], None] | None = None
) -> Iterator[tuple[list[str], Iterator[tuple[Any, ...]]]]:
    """Column names and rows of the statement, for at most `seconds`.

    `give_up`: called in a thread, with what to report, where SQLite cannot break the statement off; ends the
    process.

    :raises QueryRefused: if it is wrong, would write, or takes too long; also while the rows are fetched.
    """
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        with bounded(driver, statement, seconds, give_up) as found:
            yield found


@contextmanager
def bounded(
    driver: sqlite3.Connection,
    statement: str,
    seconds: float,
    give_up: Callable[[str], None] | None = None,
    value_bytes: int = _VALUE_BYTES,
    heap_bytes: int = _HEAP_BYTES,
) -> Iterator[tuple[list[str], Iterator[tuple[Any, ...]]]]:
    """The same over one connection. `value_bytes`: the most of one value; `heap_bytes`: of all that SQLite of this
    process takes from now on."""
    watch = _Watch(seconds, give_up)
    driver.execute(f"PRAGMA hard_heap_limit={heap_bytes}")
    driver.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, value_bytes)
    driver.set_authorizer(_authorize)
    driver.set_progress_handler(watch.is_over, _STEPS_BETWEEN_CHECKS)
    try:
        cursor = watch.execute(driver, statement)
        yield [column[0] for column in cursor.description or ()], watch.rows(cursor)
    except MemoryError:
        raise QueryRefused(f"it takes more than {heap_bytes // 10**6} MB of memory; narrow it by ts") from None
    except (sqlite3.Error, sqlite3.Warning) as error:
        raise QueryRefused(_refusal(error, seconds, value_bytes)) from None
    finally:
        watch.end()
        driver.set_authorizer(None)
        driver.set_progress_handler(None, 0)


def _authorize(action: int, first: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_PRAGMA:
        return sqlite3.SQLITE_OK if first in _ALLOWED_PRAGMAS else sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _refusal(error: Exception, seconds: float, value_bytes: int) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_INTERRUPT:
        return _too_long(seconds)
    if code == sqlite3.SQLITE_TOOBIG:
        return f"SQL: a value of more than {value_bytes // 10**6} MB"
    if code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY):
        return "refused: `sql` only reads the history (SELECT)"
    return f"SQL: {error}"


def _too_long(seconds: float) -> str:
    return f"stopped after {seconds:g} s; narrow it by ts, or allow more with --seconds"
