"""What is stored beside the samples: no sample fails for it, and none of it is lost without a word."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from service.errors import StoreFailed
from service.records import Break, Sample
from service.store.riders import MOST_RIDERS
from service.store.statements import Statements
from service.store.writer import Store
from tests.conftest import NOW, Fill
from tests.running import query


def noted(statements: Statements, stretch_id: int) -> None:
    statements.run("INSERT INTO mount (path) VALUES ('/noted')")


def refused(statements: Statements, stretch_id: int) -> None:
    statements.run("INSERT INTO filesystem (mount_id) VALUES (1)")


def defective(statements: Statements, stretch_id: int) -> None:
    raise KeyError("cpu_seconds")


def test_beyond_the_most_that_may_wait_each_loss_is_counted_and_the_episode_is_logged_once(
    store: Store, fill: Fill, caplog: pytest.LogCaptureFixture
) -> None:
    for lost in (10, 3):
        caplog.clear()
        for _ in range(MOST_RIDERS + lost):
            store.ride(noted_nowhere)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "the oldest are lost" in caplog.text
        fill(NOW, 1)
    assert store.counts["captures_dropped"] == 13


def noted_nowhere(statements: Statements, stretch_id: int) -> None:
    """Writes nothing."""


def test_what_waits_while_the_disk_fails_is_no_more_than_the_most_and_stays_in_its_order(
    store: Store, path: Path
) -> None:
    written: list[int] = []
    for number in range(MOST_RIDERS):
        store.ride(lambda statements, stretch, number=number: written.append(number))
    with closing(sqlite3.connect(path)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            with pytest.raises(StoreFailed):
                store.append([Sample(NOW, 5.0, {})])
            store.ride(lambda statements, stretch: written.append(-1))
    store.append([Sample(NOW, 5.0, {})])
    assert written == [*range(2, MOST_RIDERS), -1, -1]
    assert store.counts["captures_dropped"] == 2


def test_a_defect_is_logged_with_its_stack_and_counted_and_the_rest_is_stored(
    store: Store, fill: Fill, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.ride(defective)
    store.ride(noted)
    fill(NOW, 1)
    (record,) = caplog.records
    assert "a defect in Tidemark" in record.getMessage()
    assert record.exc_info is not None
    assert "in defective" in caplog.text
    assert (store.counts["captures_defective"], store.counts["captures_poisoned"]) == (1, 0)
    assert query(path, "SELECT path FROM mount") == [("/noted",)]
    assert query(path, "SELECT count(*) FROM samples") == [(1,)]


def too_large(statements: Statements, stretch_id: int) -> None:
    """As on a full disk."""
    statements.run("PRAGMA max_page_count = 1")
    statements.run("INSERT INTO mount (path) VALUES (hex(zeroblob(99999)))")


@pytest.mark.parametrize(
    ("statement", "parameters"),
    [("SELECT * FROM no_such_table", ()), ("INSERT INTO mount (path) VALUES (?)", ([],))],
    ids=["wrong", "no value of SQLite's"],
)
def test_a_statement_that_is_wrong_is_a_defect_and_harms_no_sample(
    store: Store, fill: Fill, path: Path, statement: str, parameters: tuple[object, ...]
) -> None:
    store.ride(lambda statements, stretch_id: statements.run(statement, parameters))
    fill(NOW, 1)
    assert store.counts["captures_defective"] == 1
    assert query(path, "SELECT count(*) FROM samples") == [(1,)]


def test_what_the_database_takes_for_invalid_is_counted_and_no_defect(
    store: Store, fill: Fill, caplog: pytest.LogCaptureFixture
) -> None:
    store.ride(refused)
    fill(NOW, 1)
    (record,) = caplog.records
    assert record.exc_info is None
    assert (store.counts["captures_defective"], store.counts["captures_poisoned"]) == (0, 1)


def test_what_waits_outlives_a_commit_that_fails_and_goes_before_what_came_meanwhile(store: Store, path: Path) -> None:
    written: list[str] = []

    def fails_at_the_commit_once(statements: Statements, stretch_id: int) -> None:
        written.append("first")
        if len(written) == 1:
            store.ride(lambda statements, stretch_id: written.append("second"))
            statements.run("PRAGMA defer_foreign_keys = ON")
            statements.run("INSERT INTO stretch (stretch_id, run_id, start_ts) VALUES (-9, -9, 0)")

    store.ride(fails_at_the_commit_once)
    with pytest.raises(StoreFailed):
        store.append([Sample(NOW, 5.0, {})])
    assert query(path, "SELECT count(*) FROM samples") == [(0,)]
    store.append([Sample(NOW, 5.0, {})])
    assert written == ["first", "first", "second"]


def test_what_is_left_out_is_not_tried_again_when_its_transaction_fails_later(
    store: Store, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.ride(defective)
    store.ride(too_large)
    with pytest.raises(StoreFailed):
        store.append([Sample(NOW, 5.0, {})])
    with pytest.raises(StoreFailed):
        store.append([Sample(NOW, 5.0, {})])
    assert store.counts["captures_defective"] == 1
    assert caplog.text.count("a defect in Tidemark") == 1


def test_an_hour_of_captures_waits(store: Store) -> None:
    """One each 30 s of processes, and one a minute of file systems, make 180."""
    for _ in range(200):
        store.ride(noted_nowhere)
    assert store.counts["captures_dropped"] == 0
    store.ride(noted_nowhere)
    assert store.counts["captures_dropped"] == 1


def test_what_failed_leaves_nothing_of_itself_and_what_came_before_and_after_it_is_stored(
    store: Store, fill: Fill, path: Path
) -> None:
    def half(statements: Statements, stretch_id: int) -> None:
        statements.run("INSERT INTO mount (path) VALUES ('/half')")
        refused(statements, stretch_id)

    store.ride(lambda statements, _: statements.run("INSERT INTO mount (path) VALUES ('/before')"))
    store.ride(half)
    store.ride(noted)
    fill(NOW, 1)
    assert query(path, "SELECT path FROM mount ORDER BY path") == [("/before",), ("/noted",)]


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT])
def test_where_the_disk_fails_a_rider_the_samples_fail_with_it_and_it_waits(
    store: Store, path: Path, code: int
) -> None:
    def fails(statements: Statements, stretch_id: int) -> None:
        error = sqlite3.OperationalError("no")
        error.sqlite_errorcode = code
        tries.append(stretch_id)
        if len(tries) == 1:
            raise error

    tries: list[int] = []
    store.ride(fails)
    with pytest.raises(StoreFailed):
        store.append([Sample(NOW, 5.0, {}, Break(None, None))])
    assert query(path, "SELECT count(*) FROM samples") == [(0,)]
    store.append([Sample(NOW, 5.0, {}, Break(None, None))])
    assert (tries, query(path, "SELECT count(*) FROM samples")) == ([1, 1], [(1,)])
    assert store.counts == {"captures_dropped": 0, "captures_poisoned": 0, "captures_defective": 0}
