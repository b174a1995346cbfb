"""What can still be read of a damaged database, merged into the one in use; nothing that stands there is changed.

1. Read each table of the damaged file by ranges of its key; where SQLite finds fault with a range, halve it.
2. Give its runs and stretches numbers below all that are present (the newest stretch is the one with the greatest
   number), or those of equal rows that are present already: a second salvage adds nothing.
3. Insert what is not there; where samples were lost within a stretch, a new one begins, after a gap for the storage's
   sake; a gap that now has samples in it is shortened to what they leave.
4. Reduce the samples to the minutes that are missing, these to hours and days, and set the progress row accordingly.
5. Insert who used the host and how full its file systems were, under the numbers that names and mounts have here.

All of 2 to 5 is one transaction: killed half-way, nothing happened.
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

from sqlalchemy import Connection

from service import clock
from service.errors import TidemarkError
from service.store import database, schema
from service.store.schema import PAGE_BYTES
from service.store.tiers import DAYS, HOURS, MINUTES, PROGRESS_COLUMNS, SAMPLES, Tier
from service.store.writer import Store

log = logging.getLogger(__name__)

Advance = Callable[[float], object]
Row = Mapping[str, Any]

# Ranges that may fail without giving a row, before the rest of a table is given up: some seconds.
_MOST_FAILURES = 100_000
# Where the damage hides the greatest number of a run or stretch.
_MOST_RUNS = 10_000
_KEYS = {"run": "run_id", "stretch": "stretch_id", "day": "ts", "hour": "ts", "minute": "ts", "sample": "ts"}
_KEYS |= {"process_name": "name_id", "mount": "mount_id"}
_KEYS |= dict.fromkeys(("capture", "process", "capture_hour", "process_hour", "filesystem"), "ts")
# The width of a range that is not halved any more.
_GRAINS = {"day": clock.DAY, "hour": clock.HOUR, "minute": clock.MINUTE}
# Likewise of tables that no tier is made of.
_WIDTHS = {**_GRAINS, "capture_hour": clock.HOUR, "process_hour": clock.HOUR, "filesystem": clock.HOUR}
# What is reduced to what.
_REDUCED = ((SAMPLES, MINUTES), (MINUTES, HOURS), (HOURS, DAYS))
# Longer than any sample stands for (two intervals of an hour); what claims more is not a row of ours.
_MOST_COVERED_MS = {"sample": 7_200_000, "minute": 7_300_000, "hour": 14_400_000, "day": 100_000_000}
# Of which rows are looked for where the mounts cannot be read.
_MOST_MOUNTS = 100
# In place of a name or a mount that could not be read.
_LOST = "(lost)"
# Every bucket is before this: what exists stays.
_KEEP_ALL = 2**62


class NothingSalvaged(TidemarkError):
    """A file of which nothing can be read."""


@dataclass
class Salvaged:
    """Of one table: how many rows were read that are ours, how many of them were new, which keys could not be read,
    and the least and the greatest key that could. `step`: how far apart keys should be; `steps`: and how often they
    are so far apart."""

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


def salvage(source: Path, store: Store, current: Path, advance: Advance) -> dict[str, Salvaged]:
    """Merge what can be read of `source`; `advance` is told the share done since (they add up to one).

    :raises NothingSalvaged: if that is nothing.
    :raises StoreFailed: if the current database cannot be written.
    """
    with _opened(source, current) as connection, store.transaction() as target:
        damaged = _Damaged(connection, lambda share: advance(share / len(_KEYS)))
        _merge(target, store, damaged)
        if not any(salvaged.read for salvaged in damaged.tables.values()):
            raise NothingSalvaged(f"nothing can be read of {source}")
    return damaged.tables


# -- reading what is damaged


@contextmanager
def _opened(source: Path, current: Path) -> Iterator[sqlite3.Connection]:
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


class _Damaged:
    """The rows of a damaged database, and what was found of each table so far."""

    def __init__(self, connection: sqlite3.Connection, advance: Advance) -> None:
        self._connection, self._advance = connection, advance
        self.tables: dict[str, Salvaged] = {}

    def rows(self, table: str, step: float, within: str = "1") -> Iterator[Row]:
        """What can be read of a table, in the order of its key. `within`: what must hold of the rows, in SQL."""
        found = self.tables.setdefault(table, Salvaged(step))
        columns = self._columns(table)
        bounds = self._bounds(table, within) if columns else None
        if bounds is None:
            self._advance(1.0)
            return
        at = columns.index(_KEYS[table])
        for values in self._readable(table, columns, at, bounds, found.lost, within):
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
        self,
        table: str,
        columns: list[str],
        at: int,
        bounds: tuple[int, int],
        lost: list[tuple[int, int]],
        within: str,
    ) -> Iterator[tuple[Any, ...]]:
        """Read a range up to where it fails, and halve what is left of it."""
        key = columns[at]
        query = f"SELECT {', '.join(columns)} FROM {table} WHERE {within} AND {key} BETWEEN ? AND ? ORDER BY {key}"
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
            if last - left < _WIDTHS.get(table, 1) or failures > _MOST_FAILURES:
                self._advance((last - left + 1) / width)
                _lose(lost, left, last)
            else:
                middle = (left + last) // 2
                ranges += [(middle + 1, last), (left, middle)]

    def _bounds(self, table: str, within: str) -> tuple[int, int] | None:
        """The least and the greatest key; where the damage hides one, what the tables read before have."""
        key = _KEYS[table]
        found = [self.tables[name] for name in _GRAINS if name in self.tables]
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


def _is_ours(table: str, row: Row) -> bool:
    """Whether it can be a row that Tidemark wrote: a damaged page may read as anything."""
    for column in schema.metadata.tables[table].columns:
        value = row.get(column.name)
        if not isinstance(value, column.type.python_type) and (value is not None or not column.nullable):
            return False
    if _KEYS[table] != "ts":
        return True
    ts, covered = int(row["ts"]), int(row.get("covered_ms") or 0)
    is_aligned = table == "filesystem" or ts % _WIDTHS.get(table, 1) == 0
    most = _MOST_COVERED_MS.get(table, clock.DAY * 1000)
    return is_aligned and 0 <= ts <= clock.LAST_SECOND and 0 <= covered <= most


# -- merging


def _merge(target: Connection, store: Store, damaged: _Damaged) -> None:
    lowest = min(0, _scalar(target, "SELECT MIN(stretch_id) FROM stretch") or 0)
    newest = _scalar(target, "SELECT MAX(ts) FROM sample")
    runs = sorted(damaged.rows("run", 1.0), key=lambda row: -row["run_id"])
    intervals = [row["interval_seconds"] for row in runs]
    interval = float(max(set(intervals), key=intervals.count)) if intervals else 5.0
    numbers = _Numbers(target, lowest, interval, damaged.tables)
    for row in runs:
        numbers.add_run(row)
    # Downwards, so that the newest has the greatest number also where there is nothing else.
    for row in sorted(damaged.rows("stretch", 1.0), key=lambda row: -row["stretch_id"]):
        numbers.add_stretch(row)
    for table in _GRAINS:
        for row in damaged.rows(table, _GRAINS[table]):
            damaged.tables[table].added += _insert(target, table, row)
    # Present rows win: those of a stretch that is numbered above all that are added here.
    taken = "SELECT 1 FROM sample WHERE ts = ? AND stretch_id >= ?"
    for row in damaged.rows("sample", interval):
        stretch_id = numbers.stretch_of(row)
        if _scalar(target, taken, (row["ts"], lowest)) is None:
            damaged.tables["sample"].added += _insert(target, "sample", {**row, "stretch_id": stretch_id})
    _shorten_gaps(target, lowest, interval)
    _roll_up(target, store, damaged.tables, newest)
    _merge_uses(target, damaged, numbers)


def _merge_uses(target: Connection, damaged: _Damaged, numbers: "_Numbers") -> None:
    """Rows that are here stay; an hour that both have is the one that is here."""
    own = _scalar(target, "SELECT MIN(ts) FROM capture_hour")
    names = _Words(target, damaged, "process_name", "name")
    mounts = _Words(target, damaged, "mount", "path")

    def insert(table: str, step: float, within: str = "1", **here: Callable[[Row], int]) -> None:
        for row in damaged.rows(table, step, within):
            values = {**row, **{column: number(row) for column, number in here.items()}}
            damaged.tables[table].added += _insert(target, table, values)

    insert("capture_hour", clock.HOUR)
    insert("process_hour", clock.HOUR, name_id=names.number)
    insert("capture", 30.0, stretch_id=numbers.known_stretch)
    insert("process", 30.0, stretch_id=numbers.known_stretch, name_id=names.number)
    # By mount, with which their key begins.
    for there in mounts.there or range(1, _MOST_MOUNTS):
        of_one = f"mount_id = {there}"
        insert("filesystem", clock.MINUTE, of_one, stretch_id=numbers.known_stretch, mount_id=mounts.number)
    # The hour in which one history ends and the other begins, and those that were not reduced yet.
    open_hour = f"SELECT MIN((ts - 1) / {clock.HOUR} * {clock.HOUR}) FROM capture"
    missing = _scalar(
        target, f"{open_hour} WHERE (ts - 1) / {clock.HOUR} * {clock.HOUR} NOT IN (SELECT ts FROM capture_hour)"
    )
    for hour in (own, missing):
        if hour is not None:
            target.exec_driver_sql("UPDATE use_progress SET hours_until = MIN(hours_until, ?)", (hour,))


class _Words:
    """The number here of each name or mount there, added where it is not known yet."""

    def __init__(self, target: Connection, damaged: _Damaged, table: str, column: str) -> None:
        self._target, self._table, self._column = target, table, column
        self._key = _KEYS[table]
        self._here: dict[int, int] = {}
        for row in damaged.rows(table, 1.0):
            before = _scalar(target, f"SELECT COUNT(*) FROM {table}") or 0
            self._here[row[self._key]] = self._of(row[column], row.get("last_ts"))
            damaged.tables[table].added += (_scalar(target, f"SELECT COUNT(*) FROM {table}") or 0) - before

    @property
    def there(self) -> list[int]:
        """The numbers that were read."""
        return sorted(self._here)

    def number(self, row: Row) -> int:
        there = row[self._key]
        if there not in self._here:
            self._here[there] = self._of(_LOST, None)
        return self._here[there]

    def _of(self, word: str, last_ts: int | None) -> int:
        row: Row = {self._column: word, **({"last_ts": last_ts or 0} if self._table == "process_name" else {})}
        _insert(self._target, self._table, row)
        known = _scalar(self._target, f"SELECT {self._key} FROM {self._table} WHERE {self._column} = ?", (word,))
        assert known is not None
        return known


class _Numbers:
    """The number here of each run and stretch there: that of an equal one, or one below all that are present."""

    def __init__(self, target: Connection, lowest: int, interval: float, tables: Mapping[str, Salvaged]) -> None:
        self._target, self._interval, self._tables = target, interval, tables
        self._lowest_run = min(0, _scalar(target, "SELECT MIN(run_id) FROM run") or 0)
        self._lowest_stretch = lowest
        self._runs: dict[int | None, int] = {}
        self._stretches: dict[int, int] = {}
        self._run_of: dict[int, int] = {}
        self._reached: dict[int, int] = {}

    def add_run(self, row: Row) -> None:
        same = "SELECT run_id FROM run WHERE started_ts = ? AND boot_id IS ? AND version = ? AND interval_seconds = ?"
        key = tuple(row[name] for name in ("started_ts", "boot_id", "version", "interval_seconds"))
        known = _scalar(self._target, same, key)
        if known is None:
            known = self._lowest_run = self._lowest_run - 1
            self._tables["run"].added += _insert(self._target, "run", {**row, "run_id": known})
        self._runs[row["run_id"]] = known

    def add_stretch(self, row: Row) -> None:
        self._add(row, self._runs.get(row["run_id"]) or self._substitute(row["start_ts"]))

    def _add(self, row: Row, run_id: int) -> None:
        number = row["stretch_id"]
        same = "SELECT stretch_id FROM stretch WHERE start_ts = ? AND run_id = ?"
        known = _scalar(self._target, same, (row["start_ts"], run_id))
        if known is None:
            known = self._lowest_stretch = self._lowest_stretch - 1
            values = {**row, "stretch_id": known, "run_id": run_id}
            self._tables["stretch"].added += _insert(self._target, "stretch", values)
        self._stretches[number], self._run_of[number] = known, run_id

    def stretch_of(self, sample: Row) -> int:
        """Called in time order: where samples of a stretch are missing, a new one begins after a gap."""
        number, start = sample["stretch_id"], round(sample["ts"] - sample["covered_ms"] / 1000)
        reached = self._reached.get(number)
        begun = {"stretch_id": number, "run_id": None, "start_ts": start, "prior_end_ts": reached, "reason": None}
        if number not in self._stretches:
            self.add_stretch(begun)
        elif reached is not None and start - reached > 2 * self._interval:
            self._add({**begun, "reason": "storage"}, self._run_of[number])
        self._reached[number] = sample["ts"]
        return self._stretches[number]

    def known_stretch(self, row: Row) -> int:
        """Of what is stored beside samples, whose stretch may have no sample left."""
        return self._stretches.get(row["stretch_id"], self._lowest_stretch)

    def _substitute(self, started: int) -> int:
        """A run in place of one that could not be read."""
        if None not in self._runs:
            self._runs[None] = self._lowest_run = self._lowest_run - 1
            row = {"run_id": self._lowest_run, "started_ts": started, "clean": 0, "version": "salvaged"}
            _insert(self._target, "run", {**row, "interval_seconds": round(self._interval)})
        return self._runs[None]


def _shorten_gaps(target: Connection, lowest: int, interval: float) -> None:
    """Gaps for the storage's sake end where what is recorded now leaves them; the first stretch of a database that was
    begun anew, which knew of nothing before it, gets one."""
    by_samples = "SELECT MAX(ts) FROM sample WHERE ts < ?"
    # A minute that holds more than the samples that are left of it.
    by_minutes = (
        "SELECT MIN(ts + 60, ?1) FROM minute WHERE ts < ?1 AND ts + 60 > ?2 AND samples > "
        "(SELECT COUNT(*) FROM sample AS s WHERE s.ts >= minute.ts AND s.ts < minute.ts + 60) ORDER BY ts DESC LIMIT 1"
    )
    query = (
        "SELECT stretch_id, start_ts, prior_end_ts FROM stretch WHERE (reason = 'storage' AND prior_end_ts < start_ts) "
        "OR (stretch_id >= ? AND prior_end_ts IS NULL AND reason IS NULL)"
    )
    for number, start, prior_end in target.exec_driver_sql(query, (lowest,)).all():
        begin = prior_end or 0
        until = max(_scalar(target, by_samples, (start,)) or 0, _scalar(target, by_minutes, (start, begin)) or 0)
        if until > begin:
            reason = "storage" if start - until > 2 * interval else None
            update = "UPDATE stretch SET prior_end_ts = ?, reason = ? WHERE stretch_id = ?"
            target.exec_driver_sql(update, (until, reason, number))


def _roll_up(target: Connection, store: Store, tables: Mapping[str, Salvaged], newest: int | None) -> None:
    """Make the buckets that are missing, or that hold fewer samples than there are; what holds more stays.

    `newest`: the stamp of the newest sample that was there before."""
    row = target.exec_driver_sql(f"SELECT {', '.join(PROGRESS_COLUMNS)} FROM progress").one()
    progress = {name: int(value) for name, value in zip(PROGRESS_COLUMNS, row, strict=True)}
    found = [tables[table] for table in ("sample", *_GRAINS)]
    times = [end for salvaged in found for end in (salvaged.first, salvaged.last) if end is not None]
    if times:
        not_rolled_up = _scalar(target, "SELECT MIN(ts) FROM sample WHERE ts >= ?", (progress["minutes_until"],))
        start = min(times) if not_rolled_up is None else min(*times, not_rolled_up)
        start = start // clock.DAY * clock.DAY
        end = max(min(max(times) + clock.MINUTE, newest or max(times)), progress["minutes_until"])
        for source, reduced in _REDUCED:
            end = end // reduced.seconds * reduced.seconds
            counted = "COUNT(*)" if source is SAMPLES else "SUM(samples)"
            _drop_partial(target, reduced, f"SELECT {counted} FROM {source.table}", start, end)
            for first in range(start, end, clock.DAY):
                store.reduce(target, source, reduced, first, min(end, first + clock.DAY), _KEEP_ALL)
            progress[f"{reduced.name}_until"] = max(progress[f"{reduced.name}_until"], end)
    for fine, coarse in (("sample", "minute"), ("minute", "hour")):
        whole_from = _whole_from(target, fine, coarse, tables[fine])
        progress[f"{fine}s_from"] = max(progress[f"{fine}s_from"], whole_from)
    target.exec_driver_sql(
        f"UPDATE progress SET {', '.join(f'{name} = ?' for name in progress)}", tuple(progress.values())
    )


def _drop_partial(target: Connection, tier: Tier, counted: str, start: int, end: int) -> None:
    table, seconds = tier.table, tier.seconds
    target.exec_driver_sql(
        f"DELETE FROM {table} WHERE ts >= ? AND ts < ? AND samples < "
        f"({counted} AS finer WHERE finer.ts >= {table}.ts AND finer.ts < {table}.ts + {seconds})",
        (start, end),
    )


def _whole_from(target: Connection, fine: str, coarse: str, salvaged: Salvaged) -> int:
    """From when on the finer tier has all that there is: after its first row, where the coarser reaches back further,
    and after what could not be read."""
    first = _scalar(target, f"SELECT MIN(ts) FROM {fine}")
    coarse_first = _scalar(target, f"SELECT MIN(ts) FROM {coarse}")
    ends = [last + 1 for _, last in salvaged.lost]
    if first is not None and coarse_first is not None and coarse_first < first // clock.HOUR * clock.HOUR:
        ends.append(-(-first // clock.HOUR) * clock.HOUR)
    return -(-max(ends, default=0) // clock.MINUTE) * clock.MINUTE


def _insert(target: Connection, table: str, row: Row) -> int:
    """1 where it was not there."""
    marks = ", ".join("?" * len(row))
    statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks}) ON CONFLICT DO NOTHING"
    return target.exec_driver_sql(statement, tuple(row.values())).rowcount


def _scalar(target: Connection, statement: str, parameters: tuple[Any, ...] = ()) -> int | None:
    value = target.exec_driver_sql(statement, parameters).scalar()
    return None if value is None else int(value)
