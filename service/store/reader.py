"""The reading end of the history: newest sample, buckets, gaps, runs, plain SQL; opens the file `mode=ro` only."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

from service import clock
from service.errors import HistoryUnreadable
from service.metrics import METRICS, Metric
from service.place import COMMAND
from service.records import Reason, Sample
from service.store import apart, queries, usages, walk
from service.store.database import is_damage, reader_engine, reading, revision
from service.store.events import Event, events
from service.store.notes import Note, waiting
from service.store.ranks import Ranking
from service.store.sample_ranks import Largest, RecentSamples
from service.store.schema import average_scale, natural, stored
from service.store.statements import Row, Statements
from service.store.tiers import (
    LEADING,
    PER_METRIC,
    ReducedRow,
    RollupProgress,
    Tier,
    combine,
    plan,
    progress_of,
    reduce,
    reduce_samples,
)
from service.store.user_spans import UserSpans, user_spans

# An answer of the daemon is cut off after this long, so that no reader keeps the write-ahead log from shrinking.
READ_SECONDS = 10.0
_STEPS_BETWEEN_CHECKS = 10_000
# A disk that has not answered for this long is stuck: short of the two seconds in which a client gets an answer.
_PROBE_SECONDS = 1.5
# For so long it is not asked again whether the history can be read, however many ask for /healthz.
_TROUBLE_SECONDS = 1.0
# Rows of one piece of an export: one short read transaction, a few MB of memory.
ROWS_AT_ONCE = 5000
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Newest:
    """The sample taken last, in natural units, and the run that took it."""

    ts: int
    covered_seconds: float
    values: Mapping[str, float | None]
    interval_seconds: int
    stopped_ts: int | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Time start <= ts < end for which nothing was recorded."""

    start: int
    end: int
    reason: Reason


class Buckets:
    """A window reduced to evenly spaced buckets; bucket i is start + i*step <= ts < start + (i+1)*step.

    Averages are weighted by covered seconds. A counter is given as its rate in bytes a second. None stands where
    nothing was recorded.
    """

    def __init__(self, start: int, step: int, count: int, metrics: Sequence[Metric]) -> None:
        self.start, self.step, self.count = start, step, count
        self._metrics = {metric.name: (LEADING + PER_METRIC * i, metric) for i, metric in enumerate(metrics)}
        self._rows: dict[int, ReducedRow] = {}

    def add(self, rows: Iterable[ReducedRow]) -> None:
        combine(rows, into=self._rows)

    def averages(self, name: str) -> list[float | None]:
        at, metric = self._metrics[name]
        factor = 1000.0 if metric.is_counter else 1.0 / average_scale(metric)
        return [
            row[at] * factor / row[at + 1] if row and row[at] is not None and row[at + 1] else None
            for row in self._each()
        ]

    def weights(self, name: str) -> list[float]:
        """Seconds in which the metric was known, per bucket."""
        at, _ = self._metrics[name]
        return [(row[at + 1] or 0) / 1000 if row else 0.0 for row in self._each()]

    def minima(self, name: str) -> list[float | None]:
        return self._extremes(name, 2)

    def maxima(self, name: str) -> list[float | None]:
        return self._extremes(name, 3)

    def _extremes(self, name: str, offset: int) -> list[float | None]:
        at, metric = self._metrics[name]
        scale = 1 if metric.is_counter else metric.scale
        return [row[at + offset] / scale if row and row[at + offset] is not None else None for row in self._each()]

    @property
    def covered_seconds(self) -> float:
        return float(sum(row[2] for row in self._rows.values())) / 1000

    @property
    def samples(self) -> int:
        return sum(row[1] for row in self._rows.values())

    def _each(self) -> Iterator[ReducedRow | None]:
        return (self._rows.get(number) for number in range(self.count))


class View:
    """The history as of one moment: every method reads in the same transaction."""

    def __init__(self, statements: Statements, recent: RecentSamples, waiting: Sequence[Sample] = ()) -> None:
        """`waiting`: samples taken but not stored yet, oldest first; they count as if they were."""
        self._statements = statements
        self._recent = recent
        self._waiting = waiting

    def progress(self) -> RollupProgress:
        return progress_of(self._statements)

    def newest(self) -> Newest | None:
        """The sample taken last: of the newest stretch, whatever the clock said."""
        stored_last = self._newest_stored()
        if not self._waiting:
            return stored_last
        last = self._waiting[-1]
        values = {metric.name: last.values.get(metric.name) for metric in METRICS}
        return Newest(last.ts, last.covered_seconds, values, stored_last.interval_seconds if stored_last else 1, None)

    def _newest_stored(self) -> Newest | None:
        columns = ", ".join(f"s.{stored(metric)}" for metric in METRICS)
        row = self._statements.row(
            f"SELECT s.ts, s.covered_ms, r.interval_seconds, r.stopped_ts, {columns} FROM stretch t "
            "JOIN sample s ON s.stretch_id = t.stretch_id JOIN run r ON r.run_id = t.run_id "
            "WHERE t.stretch_id = (SELECT MAX(stretch_id) FROM stretch) AND s.ts >= t.start_ts "
            "ORDER BY s.ts DESC LIMIT 1"
        )
        if row is None:
            return None
        values = {
            metric.name: value if value is None or metric.scale == 1 else value / metric.scale
            for metric, value in zip(METRICS, row[4:], strict=True)
        }
        return Newest(row[0], row[1] / 1000, values, row[2], row[3])

    def settled(self, before: int) -> tuple[Any, ...] | None:
        """What stays equal as long as everything recorded before that second stays as it is; None where it may change
        at any time. Within a stretch stamps only rise, so what comes to lie before the newest sample begins a stretch.
        """
        newest = None if self._waiting else self._newest_stored()
        if newest is None or newest.ts < before:
            return None
        stretch_id = self._statements.number("SELECT MAX(stretch_id) FROM stretch")
        # Another database that has taken this one's place has another run.
        run = self._statements.row("SELECT run_id, started_ts FROM run ORDER BY run_id DESC LIMIT 1")
        return self.progress(), stretch_id, run

    def oldest(self) -> int | None:
        """The first second of which anything is recorded."""
        return self._statements.number(
            "SELECT MIN(ts) FROM (SELECT MIN(ts) AS ts FROM sample UNION ALL SELECT MIN(ts) FROM minute "
            "UNION ALL SELECT MIN(ts) FROM hour)"
        )

    def interval(self, start: int, end: int) -> int:
        """The longest interval between samples that was set during start <= ts < end, in seconds."""
        longest = self._statements.number(
            "SELECT MAX(interval_seconds) FROM run WHERE started_ts < ? AND run_id >= "
            "COALESCE((SELECT MAX(run_id) FROM run WHERE started_ts <= ?), 0)",
            (end, start),
        )
        return longest or 1

    def buckets(self, start: int, end: int, step: int, metrics: Sequence[Metric], grain: int) -> Buckets:
        """The window start <= ts < end in buckets of `step` seconds, read from tiers no coarser than `grain` seconds
        where these still have it."""
        buckets = Buckets(start, step, -(-(end - start) // step), metrics)
        for segment in plan(start, end, grain, self.progress()):
            buckets.add(reduce(self._statements, segment, metrics, origin=start, step=step))
        if self._waiting:
            buckets.add(reduce_samples(self._not_stored(), metrics, start, end, origin=start, step=step))
        return buckets

    def largest(
        self, metrics: Sequence[Metric], start: int, end: int, step: int, grain: int, count: int
    ) -> dict[str, Largest]:
        """Of each metric the `count` largest averages among the buckets of `buckets`; with `step` 1 among the rows."""
        waiting = {metric.name: self._waiting_rows(metric, start, end, step) for metric in metrics}
        if not any(waiting.values()):
            waiting = {}
        return self._ranking(start, end, step, grain).largest(metrics, count, waiting)

    def highest(self, metric: Metric, start: int, end: int, step: int, grain: int) -> int | None:
        """Where the first bucket begins that has the greatest maximum of those of `buckets`; None where nothing is
        known."""
        ranking = self._ranking(start, end, step, grain)
        number = ranking.highest(metric, self._waiting_rows(metric, start, end, step))
        return None if number is None else start + number * step

    def _ranking(self, start: int, end: int, step: int, grain: int) -> Ranking:
        return Ranking(self._statements, self._recent, plan(start, end, grain, self.progress()), start, step)

    def _waiting_rows(self, metric: Metric, start: int, end: int, step: int) -> list[ReducedRow]:
        if not self._waiting:
            return []
        return reduce_samples(self._not_stored(), [metric], start, end, origin=start, step=step)

    def _not_stored(self) -> list[Sample]:
        """Of the waiting samples those that this transaction does not see: one may have been stored meanwhile."""
        first, last = min(s.ts for s in self._waiting), max(s.ts for s in self._waiting)
        rows = self._statements.rows("SELECT ts FROM sample WHERE ts >= ? AND ts <= ?", (first, last))
        seen = {ts for (ts,) in rows}
        return [sample for sample in self._waiting if sample.ts not in seen]

    def rows(self, tier: Tier, start: int, end: int) -> tuple[list[str], Sequence[Row], int]:
        """The first few thousand rows of a tier's public view in start <= ts < end, in time order.

        :returns: the columns, the rows, and where the next rows begin (`end` when there are no more).
        """
        first = self._statements.number(f"SELECT MIN(ts) FROM {tier.name} WHERE ts >= ? AND ts < ?", (start, end))
        begin = end if first is None else first
        stop = min(end, begin + ROWS_AT_ONCE * tier.seconds)
        query = f"SELECT * FROM {tier.name} WHERE ts >= ? AND ts < ? ORDER BY ts"
        columns, rows = self._statements.table(query, (begin, stop))
        return columns, rows, stop

    def course(self, metric: Metric | None, start: int, end: int) -> Sequence[Row]:
        """(stamp, value, boot) of the first few thousand samples in start <= ts < end in which the metric is known.

        In time order, in natural units; of samples of one second the one taken last. Without a metric the value is the
        stamp itself. `boot`: when the host booted, None where unknown.
        """
        column = stored(metric) if metric else "ts"
        value = natural(column, metric.scale if metric else 1)
        return self._statements.rows(
            f"SELECT ts, {value}, boot_ts, MAX(stretch_id) FROM sample CROSS JOIN stretch USING (stretch_id) "
            f"CROSS JOIN run USING (run_id) WHERE ts >= ? AND ts < ? AND {column} IS NOT NULL "
            f"GROUP BY ts ORDER BY ts LIMIT {ROWS_AT_ONCE}",
            (start, end),
        )

    def gaps(self, start: int, end: int) -> list[Gap]:
        """The gaps that touch start <= ts < end, in time order, whole."""
        rows = self._statements.rows(
            "SELECT start_ts, end_ts, reason FROM gaps WHERE end_ts > ? AND start_ts < ? ORDER BY start_ts, end_ts",
            (start, end),
        )
        return [Gap(start, end, reason) for start, end, reason in rows]

    def events(self, start: int, end: int, waiting: Sequence[Note] = ()) -> list[Event]:
        """What happened during start <= ts < end, in time order; `waiting`: see `History.waiting_notes`."""
        return events(self._statements, start, end, waiting)

    def usage(self, start: int, end: int, key: usages.Key, count: int, by: usages.By = "name") -> usages.Usage:
        """Who used the host during start <= t < end: the `count` users with most of `key`."""
        return usages.usage(self._statements, start, end, key, count, by)

    def user_spans(
        self, by: usages.By, names: Sequence[str], start: int, step: int, count: int
    ) -> Mapping[str, UserSpans]:
        """What each of these used in `count` spans of `step` seconds from `start` on; see `user_spans.user_spans`."""
        return user_spans(self._statements, by, names, start, step, count)

    def captures_at(self, start: int, end: int) -> tuple[int, int] | None:
        """The span start < t <= end of the captures that hold that time; None where there are none."""
        return usages.captures_at(self._statements, start, end)

    def usage_course(
        self, start: int, step: int, count: int, by: usages.By, key: usages.Key, grain: usages.Grain, top: int
    ) -> tuple[list[str], dict[int, usages.UsageBucket]]:
        """Who used the host in each of `count` buckets of `step` seconds from `start` on: the `top` users, most first,
        and the buckets that have a capture, by their number."""
        return usages.course(self._statements, start, step, count, by, key, grain, top)

    def capture_spacing(self, start: int, end: int) -> int | None:
        """How many seconds apart the newest captures of a window are; None where those at its start are gone."""
        return usages.spacing(self._statements, start, end)

    def read(self, work: Callable[[Statements], Result]) -> Result:
        """What a room of the store reads, as of the same moment."""
        return work(self._statements)

    def step_at(self, ts: int) -> walk.Step | None:
        """The capture, or the hour where captures are gone, that holds the second before `ts`."""
        return walk.at(self._statements, ts)

    def step_after(self, ts: int) -> walk.Step | None:
        """The first capture that ends after `ts`."""
        return walk.after(self._statements, ts)

    def step_before(self, ts: int) -> walk.Step | None:
        """The last capture that has ended by `ts`."""
        return walk.before(self._statements, ts)

    def step_using(self, text: str, by: usages.By, ts: int, is_later: bool) -> walk.Step | None:
        """The next capture after `ts`, or the last before, in which a user whose name holds the text used CPU."""
        return walk.using(self._statements, text, by, ts, is_later)

    def select(self, statement: str) -> list[dict[str, Any]]:
        """The rows of one SELECT on the public views."""
        columns, rows = self._statements.table(statement)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def table_bytes(self) -> dict[str, int] | None:
        """Bytes of each table; None where this SQLite was built without dbstat."""
        try:
            rows = self._statements.rows("SELECT name, SUM(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC")
        except OperationalError:
            return None
        return {name: int(size) for name, size in rows}

    def problems(self) -> list[str]:
        """What SQLite's own integrity check says; empty when the file is sound."""
        found = [text for (text,) in self._statements.rows("PRAGMA integrity_check(20)")]
        return [] if found == ["ok"] else found


class Probe:
    """One thread that reads before the others do, to find out whether the disk answers at all.

    On a frozen file system even a reader waits for ever (it marks in the index of the log what it reads), and each
    would hold one of the server's threads. The thread is made once: one made while memory is short may never start.
    """

    def __init__(self, work: Callable[[], None]) -> None:
        self._work, self._thread = work, threading.Thread(target=self._run, name="probe", daemon=True)
        self._asked, self._back, self._ends = threading.Event(), threading.Event(), False
        self._back.set()
        self._lock = threading.Lock()

    def comes_back(self) -> bool:
        """Whether the work is done within a moment; at once False while it is still stuck from before."""
        with self._lock:
            if not self._back.is_set():
                return False
            if self._thread.ident is None:
                self._thread.start()
            self._back.clear()
            self._asked.set()
            return self._back.wait(_PROBE_SECONDS)

    def end(self) -> None:
        self._ends = True
        self._asked.set()

    def _run(self) -> None:
        while self._asked.wait() and not self._ends:
            self._asked.clear()
            try:
                self._work()
            finally:
                self._back.set()


class History:
    """The history of one database file, for reading only."""

    def __init__(self, path: Path, pooled: bool = False, waiting: Callable[[], Sequence[Sample]] = lambda: ()) -> None:
        """`pooled`: keep connections open between answers. `waiting`: samples that could not be stored yet."""
        self._path, self._waiting = path, waiting
        self._engine = reader_engine(path, pooled)
        self._probe = Probe(self._try_to_read) if pooled else None
        self._recent = RecentSamples()
        self._met_damage = False
        # When `trouble` was last found out, and what it was.
        self._tried: tuple[float, str | None] = (-_TROUBLE_SECONDS, None)

    def check_readable(self) -> None:
        """
        :raises HistoryUnreadable: if there is no history yet.
        :raises TidemarkError: if the file is foreign or newer.
        """
        if revision(self._path) is None:
            raise HistoryUnreadable(f"no history at {self._path} yet; `{COMMAND} run` starts one")

    @contextmanager
    def view(self, seconds: float = READ_SECONDS) -> Iterator[View]:
        """
        :raises HistoryUnreadable: if the database cannot be read within `seconds`, or at once while the disk is stuck.
        """
        waiting = self._waiting()
        if self._probe is not None and not self._probe.comes_back():
            raise HistoryUnreadable("the disk with the history does not answer; samples wait in memory")
        try:
            with reading(self._engine) as connection:
                driver = connection.connection.driver_connection
                assert isinstance(driver, sqlite3.Connection)
                deadline = clock.steady() + seconds
                driver.set_progress_handler(lambda: clock.steady() > deadline, _STEPS_BETWEEN_CHECKS)
                try:
                    yield View(Statements(connection), self._recent, waiting)
                finally:
                    driver.set_progress_handler(None, 0)
        except HistoryUnreadable as error:
            self._met_damage |= is_damage(error.__cause__)
            raise

    def waiting_notes(self) -> Sequence[Note]:
        """Notes that are not taken in yet; none while the disk is stuck.

        Ask before a view is opened, which then has what is taken in meanwhile.
        """
        if self._probe is not None and not self._probe.comes_back():
            return ()
        return waiting(self._path).notes

    def trouble(self) -> str | None:
        """Why the history cannot be read; None where it can. One short read a second at most, to find out."""
        since, found = self._tried
        if clock.steady() - since >= _TROUBLE_SECONDS:
            found = self._trouble_now()
            self._tried = clock.steady(), found
        return found

    def _trouble_now(self) -> str | None:
        try:
            with self.view(_PROBE_SECONDS) as view:
                view.oldest()
        except HistoryUnreadable as error:
            return f"{error} ({error.__cause__.orig})" if isinstance(error.__cause__, DBAPIError) else str(error)
        # Connections that are open outlive a right that is taken away, and the next one cannot be opened. Asked without
        # opening the file: to close it would drop the locks that SQLite has on it.
        if not os.access(self._path, os.R_OK):
            return "the database may not be read by this account any more, or is gone"
        return None

    def was_damaged(self) -> bool:
        """Whether a reader has met what looks like damage since this was last asked; only reading the whole file
        distinguishes that from a disk that stumbled."""
        met, self._met_damage = self._met_damage, False
        return met

    def query(
        self, statement: str, seconds: float, give_up: Callable[[str], None] | None = None
    ) -> AbstractContextManager[tuple[list[str], Iterator[tuple[Any, ...]]]]:
        """Column names and rows of one statement of the user's; see `queries.query`."""
        return queries.query(self._engine, statement, seconds, give_up)

    def ask_apart(self, statement: str, seconds: float) -> apart.Table:
        """The first rows of one statement of the user's, asked in a process of its own; see `apart.ask`."""
        return apart.ask(self._path, statement, seconds)

    def _try_to_read(self) -> None:
        with suppress(HistoryUnreadable, SQLAlchemyError, MemoryError), reading(self._engine) as connection:
            Statements(connection).number("SELECT MAX(ts) FROM sample")

    def forget(self) -> None:
        """Close the connections to the file that stood at the path, and let go of what is kept of it; the next answer
        opens the one that stands there."""
        self._recent.forget()
        self._engine.dispose()

    def close(self) -> None:
        if self._probe is not None:
            self._probe.end()
        self._engine.dispose()
