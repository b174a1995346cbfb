"""A statement of the user's: what it may do, what it may take, and that the connection is afterwards as it was."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from service import clock
from service.errors import QueryRefused
from service.store.queries import bounded

COUNTED = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {}) SELECT x FROM c"
# More than SQLite's machine does between two looks at the time.
MANY = f"SELECT COUNT(*) FROM ({COUNTED.format(100_000)})"


@pytest.fixture
def driver() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)) as connection:
        connection.execute("CREATE TABLE t (a, b)")
        connection.execute("INSERT INTO t VALUES (1, 'x'), (2, NULL)")
        yield connection


class Now:
    """The steady clock, which only the test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    now = Now()
    monkeypatch.setattr(clock, "steady", lambda: now.seconds)
    return now


def refusal(driver: sqlite3.Connection, statement: str, value_bytes: int = 10**7) -> str:
    with pytest.raises(QueryRefused) as refused, bounded(driver, statement, 5, value_bytes=value_bytes) as (_, rows):
        list(rows)
    return str(refused.value)


def test_the_rows_of_a_statement_come_with_their_columns(driver: sqlite3.Connection) -> None:
    with bounded(driver, "SELECT a, b AS c FROM t ORDER BY a", 5) as (columns, rows):
        assert (columns, list(rows)) == (["a", "c"], [(1, "x"), (2, None)])


def test_a_statement_of_nothing_has_no_columns(driver: sqlite3.Connection) -> None:
    with bounded(driver, "-- nothing", 5) as (columns, rows):
        assert (columns, list(rows)) == ([], [])


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM t",
        "CREATE TEMP TABLE u (x)",
        "ATTACH ':memory:' AS other",
        "PRAGMA user_version = 7",
        "PRAGMA query_only",
        "BEGIN",
    ],
)
def test_what_does_not_only_read_is_refused(driver: sqlite3.Connection, statement: str) -> None:
    assert refusal(driver, statement) == "refused: `sql` only reads the history (SELECT)"


def test_what_is_wrong_is_refused_with_the_reason(driver: sqlite3.Connection) -> None:
    assert refusal(driver, "SELECT nonsense") == "SQL: no such column: nonsense"


@pytest.mark.parametrize("statement", ["PRAGMA table_info(t)", "PRAGMA table_xinfo(t)", "PRAGMA table_list"])
def test_what_tells_the_columns_of_a_table_is_allowed(driver: sqlite3.Connection, statement: str) -> None:
    with bounded(driver, statement, 5) as (_, rows):
        assert list(rows)


def test_values_and_memory_are_bounded(driver: sqlite3.Connection) -> None:
    sizes = "SELECT length(zeroblob({}))"
    with pytest.raises(QueryRefused, match="a value of more than 10 MB"), bounded(driver, sizes.format(10**7 + 1), 5):
        pass
    assert refusal(driver, sizes.format(3_000_001), value_bytes=3_000_000) == "SQL: a value of more than 3 MB"
    with bounded(driver, sizes.format(10**7), 5) as (_, rows):
        assert list(rows) == [(10**7,)]


def test_a_statement_that_runs_past_its_time_is_stopped(driver: sqlite3.Connection, now: Now) -> None:
    driver.create_function("late", 0, lambda: setattr(now, "seconds", 106.0))
    text = "stopped after 5 s; narrow it by ts, or allow more with --seconds"
    assert refusal(driver, f"SELECT late(), ({MANY})") == text
    # It has until then.
    driver.create_function("late", 0, lambda: setattr(now, "seconds", 105.0))
    now.seconds = 100.0
    with bounded(driver, f"SELECT late(), ({MANY})", 5) as (_, rows):
        assert list(rows) == [(None, 100_000)]


def test_rows_that_are_too_few_for_sqlite_to_look_at_the_time_are_stopped_too(
    driver: sqlite3.Connection, now: Now
) -> None:
    with bounded(driver, COUNTED.format(10), 5) as (_, rows):
        assert next(rows) == (1,)
        now.seconds = 106.0
        with pytest.raises(QueryRefused, match="stopped after 5 s"):
            next(rows)


def test_the_connection_is_afterwards_as_it_was(driver: sqlite3.Connection, now: Now) -> None:
    for statement in ("SELECT 1", "SELECT nonsense"):
        try:
            with bounded(driver, statement, 5):
                pass
        except QueryRefused:
            pass
        now.seconds += 100
        assert driver.execute(MANY).fetchall() == [(100_000,)]
        driver.execute("DELETE FROM t")


class GivenUp(threading.Event):
    """Called in place of ending the process."""

    text = ""

    def __call__(self, text: str) -> None:
        self.text = text
        self.set()


def test_a_step_that_sqlite_cannot_break_off_is_given_up(driver: sqlite3.Connection, now: Now) -> None:
    given_up = GivenUp()

    def stuck() -> bool:
        now.seconds = 106.0
        return given_up.wait(10)

    driver.create_function("stuck", 0, stuck)
    with pytest.raises(QueryRefused), bounded(driver, "SELECT stuck()", 5, given_up) as (_, rows):
        list(rows)
    assert given_up.text == "stopped after 5 s; narrow it by ts, or allow more with --seconds"


def test_a_step_that_has_time_left_is_not_given_up(driver: sqlite3.Connection, now: Now) -> None:
    given_up = GivenUp()
    # Longer than a step past its time is waited for.
    driver.create_function("slow", 0, lambda: given_up.wait(1.6))
    with bounded(driver, "SELECT slow()", 5, given_up) as (_, rows):
        assert list(rows) == [(False,)]


@pytest.mark.parametrize("read", [0, 1])
def test_who_waits_between_two_rows_is_not_given_up(driver: sqlite3.Connection, now: Now, read: int) -> None:
    given_up = GivenUp()
    with bounded(driver, COUNTED.format(10), 5, given_up) as (_, rows):
        assert [next(rows) for _ in range(read)] == [(1,)] * read
        now.seconds = 106.0
        assert not given_up.wait(1.6)


def test_what_watches_ends_with_the_statement_and_keeps_no_process_alive(driver: sqlite3.Connection) -> None:
    # One of another test may not have noticed yet that it has ended.
    before = watching()
    with bounded(driver, COUNTED.format(10), 60, GivenUp()):
        (one,) = watching() - before
        assert one.daemon
    one.join(10)
    assert not one.is_alive()
    with bounded(driver, COUNTED.format(10), 60):
        assert watching() <= before


def watching() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "watch"}
