"""The one writer: appends samples, keeps the run table, rolls up, prunes, checkpoints, over the one connection.

Contract: what `append` returned for is on disk (synchronous=FULL) and survives kill -9 and a power cut. Each method is
one bounded transaction, called by one thread at a time. After an error, which is always StoreFailed, nothing of it is
stored, the connection is dropped and the next call opens a new one.
"""

import logging
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from service import clock
from service.errors import StoreFailed, StoreFailureKind
from service.metrics import METRICS
from service.records import Break, Sample
from service.store import schema
from service.store.database import refresh_views, writer_engine
from service.store.schema import encode
from service.store.tiers import (
    DAYS,
    HOURS,
    MINUTES,
    PROGRESS_COLUMNS,
    SAMPLES,
    Execute,
    RollupProgress,
    Row,
    Segment,
    Tier,
    combine,
    reduce,
    rollup_row,
)

log = logging.getLogger(__name__)

# How much one bounded step may touch, so that a tick never waits long for it.
ROLLUP_ROWS = 2000
PRUNE_ROWS = 2000
VACUUM_PAGES = 200
# A write-ahead log beyond it means that somebody holds an old state of the history open; usually it stays below 2 MB.
LOG_ALARM_BYTES = 64 * 10**6

# DO NOTHING: a commit may have reached the disk though it raised; stamp and stretch then say that it is the same.
_INSERT_SAMPLE = (
    f"INSERT INTO sample (ts, stretch_id, covered_ms, {', '.join(map(schema.stored, METRICS))}) "
    f"VALUES ({', '.join('?' * (3 + len(METRICS)))}) ON CONFLICT (ts, stretch_id) DO NOTHING"
)


_SCALES = [(metric.name, metric.scale) for metric in METRICS]
# Writes through `execute` what belongs to a stretch.
Rider = Callable[[Execute, int], object]
Result = TypeVar("Result")
# An hour of looks at the processes and the file systems, while the disk takes nothing.
MOST_RIDERS = 200


class Store:
    """The writing end of one database file, which exists and has the current schema."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = writer_engine(path)
        self._connection: Connection | None = None
        self._run_id: int | None = None
        self._stretch_id = 0
        self._progress: RollupProgress | None = None
        # Counts committed appends: whoever keeps an answer in memory sees by it that there is something new.
        self.version = 0
        self._riders: deque[Rider] = deque(maxlen=MOST_RIDERS)

    # -- transactions

    def open(self) -> None:
        """Connect, and make the views this version's.

        :raises StoreFailed: if the database cannot be written.
        """
        with self.transaction() as connection:
            refresh_views(connection)
            self._load(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All of what is done in it, or nothing.

        :raises StoreFailed: if the database cannot be written.
        """
        try:
            connection = self._connected()
            # IMMEDIATE: a transaction that first reads and then writes would fail at once where another has written.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.exec_driver_sql("COMMIT")
        except BaseException as error:
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> BaseException:
        """Drop the connection, which rolls back (after an I/O error its page cache is not to be trusted either)."""
        self.drop()
        return _classified(error) if isinstance(error, (DBAPIError, sqlite3.Error)) else error

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def drop(self) -> None:
        """Let go of the file, without a checkpoint; the next call opens what then stands at the path."""
        connection, self._connection, self._progress = self._connection, None, None
        if connection is not None:
            connection.invalidate()
            connection.close()

    def _load(self, connection: Connection) -> RollupProgress:
        """What the writer keeps in memory, read afresh after each new connection."""
        self._stretch_id = connection.exec_driver_sql("SELECT COALESCE(MAX(stretch_id), 0) FROM stretch").scalar_one()
        row = connection.exec_driver_sql(f"SELECT {', '.join(PROGRESS_COLUMNS)} FROM progress").one()
        self._progress = RollupProgress(*row)
        return self._progress

    def _current(self, connection: Connection) -> RollupProgress:
        return self._progress or self._load(connection)

    def _advance(self, connection: Connection, **columns: int) -> None:
        assignments = ", ".join(f"{name} = ?" for name in columns)
        connection.exec_driver_sql(f"UPDATE progress SET {assignments}", tuple(columns.values()))

    # -- runs

    def begin_run(
        self, started: int, boot_ts: int | None, boot_id: str | None, version: str, interval_seconds: int
    ) -> Break:
        """Open a run, and tell how the history breaks before it: where it ended, and why.

        A boot between two runs is the reason even after a clean stop: the host's shutdown is what stopped the run.
        """
        with self.transaction() as connection:
            last = connection.exec_driver_sql(
                "SELECT run_id, clean, boot_ts, boot_id FROM run ORDER BY run_id DESC LIMIT 1"
            ).one_or_none()
            end = _last_sample(connection)
            self._run_id = connection.exec_driver_sql(
                "INSERT INTO run (started_ts, boot_ts, boot_id, version, interval_seconds) VALUES (?, ?, ?, ?, ?)",
                (started, boot_ts, boot_id, version, interval_seconds),
            ).lastrowid
        if last is None or end is None:
            return Break(None, None)
        if _rebooted(last.boot_id, boot_id, last.boot_ts, boot_ts):
            return Break(end, "rebooted")
        return Break(end, "stopped" if last.clean else "killed")

    def end_run(self, stopped: int) -> None:
        """Close the run as clean, with what still waits to ride along."""
        with self.transaction() as connection:
            carried = self._carry(connection, self._stretch_id)
            connection.exec_driver_sql(
                "UPDATE run SET stopped_ts = ?, clean = 1 WHERE run_id = ?", (stopped, self._run_id)
            )
        self._carried(carried)

    # -- samples

    def append(self, samples: Sequence[Sample]) -> None:
        """Store samples, in the order in which they were taken: all of them, or none and the error is raised."""
        if len(samples) == 1 and not self._riders and self._is_usual(samples[0]):
            self._append_one(samples[0])
            return
        with self.transaction() as connection:
            is_afresh = self._progress is None
            progress = self._current(connection)
            stretch_id = newest = self._stretch_id
            for sample in samples:
                if sample.begins is not None:
                    begun = self._stretch_of(connection, sample) if is_afresh else None
                    if begun is None:
                        newest += 1
                        self._begin_stretch(connection, newest, sample)
                    stretch_id = newest if begun is None else begun
                connection.exec_driver_sql(_INSERT_SAMPLE, _row(sample, stretch_id))
            carried = self._carry(connection, stretch_id)
            oldest = min(sample.ts for sample in samples)
            stale = oldest < progress.minutes_until
            if stale:
                # The clock was set back into time that is rolled up already: roll it up again from there.
                for tier in (MINUTES, HOURS, DAYS):
                    until = min(progress.until(tier), oldest // tier.seconds * tier.seconds)
                    self._advance(connection, **{f"{tier.name}_until": until})
        self._stretch_id = stretch_id
        self._progress = None if stale else self._progress
        self._carried(carried)
        self.version += 1

    def _is_usual(self, sample: Sample) -> bool:
        """Whether it goes on with the stretch, in time that is not rolled up yet."""
        return sample.begins is None and self._progress is not None and sample.ts >= self._progress.minutes_until

    def _append_one(self, sample: Sample) -> None:
        """The usual tick: one statement, which is a transaction by itself, at a third of the cost."""
        try:
            self._connected().exec_driver_sql(_INSERT_SAMPLE, _row(sample, self._stretch_id))
        except BaseException as error:
            raise self._failed(error) from error
        self.version += 1

    def _stretch_of(self, connection: Connection, sample: Sample) -> int | None:
        """The stretch that this sample has begun already, where its commit raised and reached the disk all the same."""
        begins = sample.begins
        assert begins is not None
        return _scalar(
            connection,
            "SELECT stretch_id FROM sample JOIN stretch USING (stretch_id) "
            "WHERE ts = ? AND run_id = ? AND prior_end_ts IS ? AND reason IS ? AND start_ts = ?",
            (sample.ts, self._run_id, begins.prior_end, begins.reason, _start(sample)),
        )

    def _begin_stretch(self, connection: Connection, stretch_id: int, sample: Sample) -> None:
        begins = sample.begins
        assert begins is not None
        connection.exec_driver_sql(
            "INSERT INTO stretch (stretch_id, run_id, start_ts, prior_end_ts, reason) VALUES (?, ?, ?, ?, ?)",
            (stretch_id, self._run_id, _start(sample), begins.prior_end, begins.reason),
        )

    # -- what is stored beside the samples

    def ride(self, write: Rider) -> None:
        """Have something written in the transaction of the next samples, whose commit is paid anyway. Any thread.

        `write` is given the connection's `execute` and the samples' stretch. What fails by a fault of its own is left
        out; when the disk fails it waits as the samples do, the oldest going first where too much waits.
        """
        self._riders.append(write)

    def _carry(self, connection: Connection, stretch_id: int) -> list[Rider]:
        """Write what rides along."""
        riders = list(self._riders)
        for write in riders:
            connection.exec_driver_sql("SAVEPOINT rider")
            try:
                write(_rows_of(connection), stretch_id)
                connection.exec_driver_sql("RELEASE rider")
            except Exception as error:  # whatever it is: the sample that it rides with is not to be lost for it
                if isinstance(error, (DBAPIError, sqlite3.Error)) and _classified(error).kind != "poison":
                    raise
                log.error("what cannot be stored beside a sample is left out: %s: %s", type(error).__name__, error)
                connection.exec_driver_sql("ROLLBACK TO rider")
        return riders

    def _carried(self, riders: Sequence[Rider]) -> None:
        """They are stored. Others may have come meanwhile, and the oldest gone: what was written goes by identity."""
        done = set(map(id, riders))
        while self._riders and id(self._riders[0]) in done:
            self._riders.popleft()

    def write(self, work: Callable[[Execute], Result]) -> Result:
        """Do bounded work on the tables beside the samples, in one transaction.

        :raises StoreFailed: if the database cannot be written.
        """
        with self.transaction() as connection:
            return work(_rows_of(connection))

    # -- rollups

    def roll_up(self) -> bool:
        """One bounded step: reduce finished minutes, and when none are left finished hours, then finished days.

        A bucket is finished once a sample lies after it. Steps count from what the progress row says, in the same
        transaction, so that doing it twice is the same as once; empty buckets make no row.

        :returns: whether there is more to do.
        """
        with self.transaction() as connection:
            progress = self._current(connection)
            newest = _scalar(connection, "SELECT MAX(ts) FROM sample")
            if newest is None:
                return False
            limit = newest
            for source, target in ((SAMPLES, MINUTES), (MINUTES, HOURS), (HOURS, DAYS)):
                limit = limit // target.seconds * target.seconds
                start = progress.until(target)
                end = _step_end(connection, source, start, limit)
                if end > start:
                    self.reduce(connection, source, target, start, end, keep=progress.whole_from(source))
                    self._advance(connection, **{f"{target.name}_until": end})
                    progress = self._load(connection)
                if end < limit:
                    return True
                limit = progress.until(target)
        return False

    def reduce(self, connection: Connection, source: Tier, target: Tier, start: int, end: int, keep: int) -> None:
        """Write the buckets start <= ts < end of `target` from `source`.

        `keep`: buckets before it have lost rows of the source, and stay as they are if they exist.
        """
        buckets: dict[int, Row] = {}
        combine(reduce(_rows_of(connection), Segment(source, start, end), METRICS, 0, target.seconds), buckets)
        table = schema.metadata.tables[target.table]
        columns = [column.name for column in table.columns]
        insert = f"INTO {target.table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
        for number, row in sorted(buckets.items()):
            ts = number * target.seconds
            verb = "INSERT OR IGNORE" if ts < keep else "INSERT OR REPLACE"
            connection.exec_driver_sql(f"{verb} {insert}", tuple(rollup_row(ts, row)))

    # -- retention

    def prune(self, samples_before: int, minutes_before: int, hours_before: int) -> bool:
        """One bounded step: delete the oldest rows of each tier before its limit, only what has been rolled up.

        :returns: whether there is more to do.
        """
        with self.transaction() as connection:
            progress = self._current(connection)
            samples_before = min(samples_before, progress.hours_until) // clock.HOUR * clock.HOUR
            minutes_before = min(minutes_before, progress.hours_until) // clock.HOUR * clock.HOUR
            more = self._delete(connection, SAMPLES, samples_before, "samples_from", progress.samples_from)
            more |= self._delete(connection, MINUTES, minutes_before, "minutes_from", progress.minutes_from)
            more |= self._delete(connection, HOURS, hours_before, None, 0)
            more |= self._delete(connection, DAYS, hours_before // clock.DAY * clock.DAY, None, 0)
            self._load(connection)
        return more

    def _delete(self, connection: Connection, tier: Tier, before: int, column: str | None, whole_from: int) -> bool:
        end = _step_end(connection, tier, 0, before, PRUNE_ROWS)
        deleted = connection.exec_driver_sql(f"DELETE FROM {tier.table} WHERE ts < ?", (end,)).rowcount
        if column and deleted and end > whole_from:
            # Up to the next whole hour: the hour in which pruning stands is no longer whole in this tier.
            self._advance(connection, **{column: -(-end // clock.HOUR) * clock.HOUR})
        return end < before

    def shrink(self) -> bool:
        """Give free pages back to the file system, a bounded number of them.

        :returns: whether there are more.
        """
        with self.transaction() as connection:
            # The pragma frees one page for each row that is fetched.
            freed = connection.exec_driver_sql(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")
            if freed.returns_rows:
                freed.all()
            return bool(_scalar(connection, "PRAGMA freelist_count"))

    def recorded_since(self, seconds: int) -> int:
        """The start of the newest hour at or after which at least `seconds` were recorded; 0 where fewer ever were.

        Retention counts recorded time, not the clock's: a clock that is wrong by ten years ages nothing.
        """
        with self.transaction() as connection:
            found = _scalar(
                connection,
                "SELECT ts FROM (SELECT ts, SUM(covered_ms) OVER (ORDER BY ts DESC) AS recorded_ms FROM hour) "
                "WHERE recorded_ms >= ? ORDER BY ts DESC LIMIT 1",
                (seconds * 1000,),
            )
        return found or 0

    def used_bytes(self) -> int:
        """Bytes of the database that hold data: the file without its free pages."""
        with self.transaction() as connection:
            pages = [
                _scalar(connection, f"PRAGMA {name}") or 0 for name in ("page_count", "freelist_count", "page_size")
            ]
        return (pages[0] - pages[1]) * pages[2]

    def oldest(self) -> tuple[int | None, int | None, int | None]:
        """The first stamps of samples, minutes and hours."""
        with self.transaction() as connection:
            samples, minutes, hours = (
                _scalar(connection, f"SELECT MIN(ts) FROM {tier.table}") for tier in (SAMPLES, MINUTES, HOURS)
            )
        return samples, minutes, hours

    # -- the file

    def write_again(self, path: Path) -> bool:
        """Write the whole history to `path`, from the open connection whose own file has lost its name.

        :returns: False when there is no connection that still has it.
        :raises StoreFailed: if it cannot be written; the connection stays, with all it has.
        """
        if self._connection is None:
            return False
        temporary = path.with_name(f".{path.name}.part")
        try:
            temporary.unlink(missing_ok=True)
            self._connection.exec_driver_sql("VACUUM INTO ?", (str(temporary),))
            temporary.chmod(0o640)
            _sync(temporary)
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
        """Copy the write-ahead log into the database as far as no reader is in the way; never waits."""
        try:
            _, frames, copied = self._connected().exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)").one()
        except DBAPIError as error:
            raise self._failed(error) from error
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

    def close(self) -> bool:
        """Leave an ordinary single-file database behind, which a read-only account can open.

        :returns: False where a reader outside still holds the file, so that it stays in WAL mode.
        """
        try:
            mode = self._connected().exec_driver_sql("PRAGMA journal_mode=DELETE").scalar()
        except (DBAPIError, sqlite3.Error):
            mode = None
        self.drop()
        self._engine.dispose()
        return mode == "delete"


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


def _classified(error: DBAPIError | sqlite3.Error) -> StoreFailed:
    cause = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(cause, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & 0xFF
    return StoreFailed(_KINDS.get(code, "io"), str(cause))


def _row(sample: Sample, stretch_id: int) -> tuple[int | None, ...]:
    get = sample.values.get
    values = [encode(get(name), scale) for name, scale in _SCALES]
    return (sample.ts, stretch_id, round(sample.covered_seconds * 1000), *values)


def _start(sample: Sample) -> int:
    return round(sample.ts - sample.covered_seconds)


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _rows_of(connection: Connection) -> Execute:
    """Runs a statement with its parameters; no rows from one that gives none."""

    def execute(statement: str, parameters: Any) -> Sequence[Row]:
        done = connection.exec_driver_sql(statement, parameters)
        return done.all() if done.returns_rows else []

    return execute


def _last_sample(connection: Connection) -> int | None:
    """The stamp of the sample that was taken last, which is not the greatest where the clock was set back."""
    return _scalar(
        connection,
        "SELECT ts FROM sample WHERE stretch_id = (SELECT MAX(stretch_id) FROM stretch) ORDER BY ts DESC LIMIT 1",
    )


def _rebooted(old_id: str | None, new_id: str | None, old_ts: int | None, new_ts: int | None) -> bool:
    """Boot ids tell; without them boot times, which may differ by a few seconds within one boot."""
    if old_id and new_id:
        return old_id != new_id
    return old_ts is not None and new_ts is not None and abs(old_ts - new_ts) > clock.MINUTE


def _scalar(connection: Connection, statement: str, parameters: tuple[Any, ...] = ()) -> int | None:
    value = connection.exec_driver_sql(statement, parameters).scalar()
    return None if value is None else int(value)


def _step_end(connection: Connection, tier: Tier, start: int, limit: int, rows: int = ROLLUP_ROWS) -> int:
    """Where a bounded step from `start` ends: at `limit`, or at the minute or hour in which its last row lies."""
    row = _scalar(
        connection,
        f"SELECT ts FROM {tier.table} WHERE ts >= ? AND ts < ? ORDER BY ts LIMIT 1 OFFSET {rows}",
        (start, limit),
    )
    if row is None:
        return limit
    unit = {SAMPLES: clock.MINUTE, MINUTES: clock.HOUR}.get(tier, clock.DAY)
    return max(row // unit * unit, start // unit * unit + unit)
