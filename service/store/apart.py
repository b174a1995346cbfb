"""One statement of the user's, asked in a process of its own, so that what it takes and does stays out of the daemon's.

SQLite's limit of memory is of a whole process, where the writer would meet it too; and a step that SQLite cannot break
off ends with the process alone. This file is also what that process runs: `python -m service.store.apart`.
"""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from service.errors import QueryRefused
from service.place import IMPORTED_FROM
from service.store.queries import bounded

MOST_ROWS = 1000
# Of one value, of all of SQLite, and of the answer.
_VALUE_BYTES, _HEAP_BYTES, _ANSWER_BYTES = 10**6, 48 * 10**6, 4 * 10**6
# So long the process may take beyond the statement, to start and to answer.
_SLACK_SECONDS = 10.0
_REFUSED = 3

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Table:
    """`is_cut`: there were more rows than MOST_ROWS, or more than fit an answer."""

    columns: list[str]
    rows: list[list[Cell]]
    is_cut: bool


def ask(path: Path, statement: str, seconds: float) -> Table:
    """The first rows of the statement, for at most `seconds`.

    :raises QueryRefused: if it is wrong, would write, takes too long or too much.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-m", "service.store.apart", str(path), str(seconds)],
            input=statement.encode("utf-8", "replace"),
            capture_output=True,
            cwd=IMPORTED_FROM,
            env={},
            timeout=seconds + _SLACK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise QueryRefused(f"stopped after {seconds:g} s; narrow it by ts") from None
    if done.returncode == _REFUSED:
        raise QueryRefused(done.stdout.decode())
    if done.returncode:
        raise QueryRefused("the statement ended its process; narrow it by ts")
    return msgspec.json.decode(done.stdout, type=Table)


def main() -> None:
    """Read a statement from stdin, write its table, or why it is refused."""
    path, seconds = Path(sys.argv[1]), float(sys.argv[2])
    with suppress(OSError):  # a unit may forbid it
        os.nice(10)
    try:
        answer = msgspec.json.encode(_table(path, sys.stdin.buffer.read().decode(), seconds))
    except QueryRefused as error:
        _refuse(str(error))
    sys.stdout.buffer.write(answer)


def _refuse(why: str) -> None:
    sys.stdout.write(why.replace(", or allow more with --seconds", ""))
    sys.stdout.flush()
    os._exit(_REFUSED)


def _table(path: Path, statement: str, seconds: float) -> Table:
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)) as driver:
        # What it sorts stays in memory, which is bounded, and does not fill a disk.
        driver.execute("PRAGMA temp_store=MEMORY")
        driver.execute("PRAGMA busy_timeout=2000")
        rows: list[list[Cell]] = []
        size, is_cut = 0, False
        with bounded(driver, statement, seconds, _refuse, _VALUE_BYTES, _HEAP_BYTES) as (columns, found):
            for row in found:
                cells = [_cell(value) for value in row]
                size += sum(len(cell) if isinstance(cell, str) else 20 for cell in cells)
                is_cut = len(rows) >= MOST_ROWS or size > _ANSWER_BYTES
                if is_cut:
                    break
                rows.append(cells)
        return Table(columns, rows, is_cut)


def _cell(value: Any) -> Cell:
    return value.hex() if isinstance(value, bytes) else value


if __name__ == "__main__":
    main()
