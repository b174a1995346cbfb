"""A statement in a process of its own: what it answers, and what bounds it."""

import os
import signal
import threading
from pathlib import Path

import pytest

from service.errors import QueryRefused
from service.store import apart
from tests.conftest import NOW, Fill
from tests.running import until


def test_the_rows_of_a_statement_come_with_their_columns(path: Path, fill: Fill) -> None:
    fill(NOW, 2)
    found = apart.ask(path, "SELECT ts % 10 AS rest, NULL, x'00ff', 'ü' FROM samples ORDER BY ts", 5)
    assert found.columns == ["rest", "NULL", "x'00ff'", "'ü'"]
    assert [row[1:] for row in found.rows] == [[None, "00ff", "ü"]] * 2
    assert not found.is_cut


def test_what_would_write_or_is_wrong_is_refused_with_the_reason(path: Path, fill: Fill) -> None:
    fill(NOW, 1)
    for statement, reason in (
        ("DELETE FROM sample", "refused: `sql` only reads the history"),
        ("ATTACH '/etc/passwd' AS x", "refused"),
        ("SELECT * FROM nowhere", "no such table: nowhere"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
    ):
        with pytest.raises(QueryRefused, match=reason):
            apart.ask(path, statement, 5)
    assert apart.ask(path, "SELECT COUNT(*) FROM samples", 5).rows == [[1]]


@pytest.mark.parametrize(
    ("seconds", "statement", "reason"),
    [
        (0.5, "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT COUNT(*) FROM c", "after 0.5 s"),
        (5, "SELECT length(zeroblob(1000001))", "more than 1 MB"),
        (
            5,
            "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 400) "
            "SELECT * FROM (SELECT x, randomblob(400000) AS y FROM c ORDER BY y)",
            "more than 48 MB",
        ),
    ],
)
def test_time_and_memory_are_bounded(path: Path, fill: Fill, seconds: float, statement: str, reason: str) -> None:
    fill(NOW, 1)
    with pytest.raises(QueryRefused, match=reason):
        apart.ask(path, statement, seconds)


def test_more_rows_than_an_answer_holds_are_cut(path: Path, fill: Fill) -> None:
    fill(NOW, 1)
    many = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {}) SELECT x FROM c"
    whole, cut = (apart.ask(path, many.format(count), 5) for count in (1000, 1001))
    assert (len(whole.rows), whole.is_cut) == (1000, False)
    assert (len(cut.rows), cut.is_cut) == (1000, True)


def test_a_few_rows_that_are_too_long_for_an_answer_are_cut(path: Path, fill: Fill) -> None:
    fill(NOW, 1)
    many = (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT {}) SELECT printf('%.900000c', x) FROM c"
    )
    found = [apart.ask(path, many.format(count), 5) for count in (4, 5)]
    assert [(len(table.rows), table.is_cut) for table in found] == [(4, False), (4, True)]


def process_of(path: Path) -> int | None:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_text().split("\0")
        except OSError:  # it has ended
            continue
        if {"service.store.apart", str(path)} <= set(words):
            return int(folder.name)
    return None


def test_where_its_process_is_killed_that_is_said(path: Path, fill: Fill) -> None:
    """As the kernel does where memory runs out."""
    fill(NOW, 1)
    refused: list[str] = []

    def ask() -> None:
        try:
            apart.ask(path, "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT MAX(x) FROM c", 60)
        except QueryRefused as error:
            refused.append(str(error))

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: process_of(path) is not None)
    found = process_of(path)
    assert found is not None
    os.kill(found, signal.SIGKILL)
    asking.join()
    assert refused == ["the statement ended its process; narrow it by ts"]
