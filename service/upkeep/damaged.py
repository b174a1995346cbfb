"""What can still be read of a damaged database, table by table, without changing anything that stands there.

Each table is read by ranges of its key; where SQLite finds fault with a range, the rest of it is halved.
"""

import logging
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from service import clock
from service.errors import TidemarkError
from service.store import database, device_schema, schema
from service.store.schema import PAGE_BYTES

log = logging.getLogger(__name__)

# Called with the share done since the last call; all shares add up to one.
Advance = Callable[[float], object]
# The columns of one row, by name.
Values = Mapping[str, Any]

# Ranges that may fail without giving a row, before the rest of a table is given up: some seconds.
_MOST_FAILURES = 100_000
# Where the damage hides the greatest number of a run or stretch.
_MOST_RUNS = 10_000
KEYS = {"run": "run_id", "stretch": "stretch_id", "day": "ts", "hour": "ts", "minute": "ts", "sample": "ts"}
KEYS |= {"process_name": "name_id", "service": "service_id", "mount": "mount_id"}
KEYS |= dict.fromkeys(("capture", "process", "service_usage", "filesystem", "note", "mount_event"), "ts")
# Their days are made again of them.
KEYS |= dict.fromkeys(("capture_hour", "process_hour", "service_hour"), "ts")
KEYS |= {"device": "device_id", **dict.fromkeys((*device_schema.HOURS, *device_schema.ROWS), "ts")}
# The width of a range that is not halved any more.
GRAINS = {"day": clock.DAY, "hour": clock.HOUR, "minute": clock.MINUTE}
# Likewise of tables that no tier is made of.
_WIDTHS = {
    **GRAINS,
    "capture_hour": clock.HOUR,
    "process_hour": clock.HOUR,
    "service_hour": clock.HOUR,
    "filesystem": clock.HOUR,
    **dict.fromkeys(device_schema.HOURS, clock.HOUR),
    "note": clock.HOUR,
    "mount_event": clock.HOUR,
}
# Longer than any sample stands for (two intervals of an hour); what claims more is not a row of ours.
_MOST_COVERED_MS = {"sample": 7_200_000, "minute": 7_300_000, "hour": 14_400_000, "day": 100_000_000}


class NothingSalvaged(TidemarkError):
    """A file of which nothing can be read."""


@dataclass
class Salvaged:
    """Of one table: how many rows of ours were read, how many of them were new, which ranges of keys could not be
    read, and the least and the greatest key that could.

    `step`: how far apart keys should be. `steps`: distance between two keys -> how often it occurred."""

    step: float
    read: int = 0
    added: int = 0
    first: int | None = None
    last: int | None = None
    steps: Counter[int] = field(default_factory=Counter)
    lost: list[tuple[int, int]] = field(default_factory=list)

    @property
    def known(self) -> int:
        """Rows read, and as many more as the ranges that could not be read would hold, where rows are as far apart."""
        step = self.steps.most_common(1)[0][0] if self.steps else self.step
        return self.read + sum(max(1, round((last - first + 1) / step)) for first, last in self.lost)

    def count(self, key: int) -> None:
        self.read += 1
        if self.last is not None and key > self.last:
            self.steps[key - self.last] += 1
        self.first = key if self.first is None else min(self.first, key)
        self.last = key if self.last is None else max(self.last, key)


@contextmanager
def opened(source: Path, current: Path) -> Iterator[sqlite3.Connection]:
    """The damaged file with its log; or without, where the log is what is damaged; or a copy of it whose first page is
    that of the database in use, which is the same in all of one schema."""
    if not source.is_file():
        raise NothingSalvaged(f"{source} is not a file")
    for how in ("mode=ro", "mode=ro&immutable=1"):
        connection = _connect(source, how)
        if connection is not None:
            with closing(connection):
                yield connection
            return
    copy = current.with_name(f".{current.name}.salvage")
    try:
        for first in _first_pages(current, copy):
            _copy_with_first_page(source, first, copy)
            connection = _connect(copy, "mode=ro&immutable=1")
            if connection is not None:
                with closing(connection):
                    yield connection
                return
    finally:
        copy.unlink(missing_ok=True)
    raise NothingSalvaged(f"nothing can be read of {source}")


def _connect(path: Path, how: str) -> sqlite3.Connection | None:
    """None where not even the list of the tables can be read."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, isolation_level=None)
    try:
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("PRAGMA mmap_size=0")
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sample'").fetchone():
            return connection
    except sqlite3.DatabaseError as error:
        log.debug("%s (%s): %s", path, how, error)
    connection.close()
    return None


def _first_pages(current: Path, copy: Path) -> Iterator[bytes]:
    """As `migrate` made it, and as a backup has it, whose tables begin at other pages."""
    # By a child: opened here, the file would lose SQLite's locks.
    yield subprocess.run(["head", "-c", str(PAGE_BYTES), "--", current], stdout=subprocess.PIPE, check=False).stdout
    copy.unlink(missing_ok=True)
    database.copy_into(current, copy)
    yield copy.read_bytes()[:PAGE_BYTES]


def _copy_with_first_page(source: Path, first: bytes, copy: Path) -> None:
    # The number of pages is at 28, that of free ones, of which there are none, at 36 (sqlite.org/fileformat2.html).
    head = first[:28] + (source.stat().st_size // PAGE_BYTES).to_bytes(4, "big") + bytes(8) + first[40:]
    with open(copy, "wb") as file, open(source, "rb") as damaged:
        file.write(head)
        damaged.seek(len(head))
        shutil.copyfileobj(damaged, file)


class Damaged:
    """The rows of a damaged database, and what was found of each table so far."""

    def __init__(self, connection: sqlite3.Connection, advance: Advance) -> None:
        self._connection, self._advance = connection, advance
        self.tables: dict[str, Salvaged] = {}

    def rows(self, table: str, step: float, within: str = "1") -> Iterator[Values]:
        """What can be read of a table, in the order of its key. `within`: what must hold of the rows, in SQL."""
        found = self.tables.setdefault(table, Salvaged(step))
        columns = self._columns(table)
        bounds = self._bounds(table, within) if columns else None
        if bounds is None:
            self._advance(1.0)
            return
        key = KEYS[table]
        query = f"SELECT {', '.join(columns)} FROM {table} WHERE {within} AND {key} BETWEEN ? AND ? ORDER BY {key}"
        at = columns.index(key)
        for values in self._readable(query, at, bounds, found.lost, least_width=_WIDTHS.get(table, 1)):
            row = dict(zip(columns, values, strict=True))
            if _is_ours(table, row):
                found.count(values[at])
                yield row

    def _columns(self, table: str) -> list[str]:
        try:
            present = {row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")}
        except sqlite3.DatabaseError:
            present = set()
        return [column.name for column in schema.metadata.tables[table].columns if column.name in present]

    def _readable(
        self, query: str, at: int, bounds: tuple[int, int], lost: list[tuple[int, int]], least_width: int
    ) -> Iterator[tuple[Any, ...]]:
        """Read a range up to where it fails, and halve what is left of it.

        `query`: gives the rows of a range of the key, in its order. `at`: the column in which the key stands. `lost`:
        takes the ranges that cannot be read. `least_width`: of a range that is not halved any more.
        """
        width, failures, ranges = bounds[1] - bounds[0] + 1, 0, [bounds]
        while ranges:
            first, last = ranges.pop()
            left = first
            try:
                for values in self._connection.execute(query, (first, last)):
                    left = values[at] + 1 if isinstance(values[at], int) else left
                    yield values
                left = last + 1
            except sqlite3.DatabaseError:
                failures += left == first
            self._advance((min(left, last + 1) - first) / width)
            if left > last:
                continue
            if last - left < least_width or failures > _MOST_FAILURES:
                self._advance((last - left + 1) / width)
                _lose(lost, left, last)
            else:
                middle = (left + last) // 2
                ranges += [(middle + 1, last), (left, middle)]

    def _bounds(self, table: str, within: str) -> tuple[int, int] | None:
        """The least and the greatest key; where the damage hides one, what the tables read before have."""
        key = KEYS[table]
        found = [self.tables[name] for name in GRAINS if name in self.tables]
        hints = [end for salvaged in found for end in (salvaged.first, salvaged.last) if end is not None]
        ends = []
        for direction in ("ASC", "DESC"):
            try:
                query = f"SELECT {key} FROM {table} WHERE {within} ORDER BY 1 {direction} LIMIT 1"
                row = self._connection.execute(query).fetchone()
                if row is None:
                    return None
                ends.append(row[0])
            except sqlite3.DatabaseError:
                if key != "ts":
                    ends.append(0 if direction == "ASC" else _MOST_RUNS)
                elif hints:
                    # What came after the last of these was not rolled up yet.
                    ends.append(min(hints) if direction == "ASC" else max(hints) + 2 * clock.HOUR)
        if len(ends) < 2 or not all(isinstance(end, int) for end in ends) or ends[0] > ends[1]:
            return None
        most = clock.LAST_SECOND if key == "ts" else _MOST_RUNS
        return max(ends[0], -most), min(ends[1], most)


def _lose(lost: list[tuple[int, int]], first: int, last: int) -> None:
    """Add a range; neighbours become one."""
    if lost and lost[-1][1] + 1 >= first:
        lost[-1] = (lost[-1][0], last)
    else:
        lost.append((first, last))


def _is_ours(table: str, row: Values) -> bool:
    """Whether it can be a row that Tidemark wrote: a damaged page may read as anything."""
    for column in schema.metadata.tables[table].columns:
        value = row.get(column.name)
        if not isinstance(value, column.type.python_type) and (value is not None or not column.nullable):
            return False
    if KEYS[table] != "ts":
        return True
    ts, covered = int(row["ts"]), int(row.get("covered_ms") or 0)
    is_aligned = table in ("filesystem", "note", "mount_event") or ts % _WIDTHS.get(table, 1) == 0
    most = _MOST_COVERED_MS.get(table, clock.DAY * 1000)
    return is_aligned and 0 <= ts <= clock.LAST_SECOND and 0 <= covered <= most
