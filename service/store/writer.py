"""The one writer: appends samples, keeps the run table, and does what else changes the history, over one connection.

Contract: what `append` returned for is on disk (synchronous=FULL) and survives kill -9 and a power cut. Each method is
one bounded transaction, called by one thread at a time. After an error, which is always StoreFailed, nothing of it is
stored, the connection is dropped and the next call opens a new one.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

from service import clock
from service.errors import StoreFailed
from service.metrics import COUNTERS, METRICS
from service.records import Break, Sample
from service.store import rollups, schema
from service.store.database import refresh_views
from service.store.file import WriterFile
from service.store.riders import Rider, Riders
from service.store.schema import encode
from service.store.statements import Statements
from service.store.tiers import RollupProgress, progress_of

# DO NOTHING: a commit may have reached the disk though it raised; stamp and stretch then say that it is the same.
_INSERT_SAMPLE = (
    f"INSERT INTO sample (ts, stretch_id, covered_ms, {', '.join(map(schema.stored, METRICS))}) "
    f"VALUES ({', '.join('?' * (3 + len(METRICS)))}) ON CONFLICT (ts, stretch_id) DO NOTHING"
)
# Of which the totals are read that the counters go on from: a bound for what a start reads.
_LAST_SAMPLES = 1000
_SCALES = [(metric.name, metric.scale) for metric in METRICS]
Result = TypeVar("Result")


class Store:
    """The writing end of one database file, which exists and has the current schema."""

    def __init__(self, path: Path) -> None:
        self._file = WriterFile(path)
        self._riders = Riders()
        self._run_id: int | None = None
        self._stretch_id = 0
        # As read by the statements beside it: through another connection it may be another.
        self._progress: RollupProgress | None = None
        self._read_by: Statements | None = None
        # Counts committed appends: whoever keeps an answer in memory sees by it that there is something new.
        self.version = 0
        # Counter -> its total when the runs of this boot before this one ended; without those that are unknown.
        self.moved_before: Mapping[str, int] = {}

    # -- transactions

    def open(self) -> None:
        """Connect, and make the views this version's.

        :raises StoreFailed: if the database cannot be written.
        """
        with self.transaction() as statements:
            refresh_views(statements)
            self._load(statements)

    def transaction(self) -> AbstractContextManager[Statements]:
        """All of what is done in it, or nothing.

        :raises StoreFailed: if the database cannot be written.
        """
        return self._file.transaction()

    def write(self, work: Callable[[Statements], Result]) -> Result:
        """Do bounded work on the tables beside the samples, in one transaction.

        :raises StoreFailed: if the database cannot be written.
        """
        with self.transaction() as statements:
            return work(statements)

    def _load(self, statements: Statements) -> RollupProgress:
        """What the writer keeps in memory, read afresh after each new connection."""
        self._stretch_id = statements.number("SELECT MAX(stretch_id) FROM stretch") or 0
        progress = self._progress = progress_of(statements)
        self._read_by = statements
        return progress

    def _known(self) -> RollupProgress | None:
        """The progress in memory; None where it was read through a connection that is dropped, or does not hold."""
        return self._progress if self._read_by is self._file.statements else None

    # -- runs

    def begin_run(
        self, started: int, boot_ts: int | None, boot_id: str | None, version: str, interval_seconds: int
    ) -> Break:
        """Open a run; returns how the history breaks before it: where it ended, and why.

        A boot between two runs is the reason even after a clean stop: the host's shutdown is what stopped the run.
        """
        with self.transaction() as statements:
            last = statements.row(
                # Of runs that were imported, whose numbers are negative, the latest.
                "SELECT clean, boot_ts, boot_id FROM run ORDER BY MAX(run_id, 0) DESC, started_ts DESC LIMIT 1"
            )
            end = _last_sample(statements) or _last_import(statements)
            self.moved_before = _moved_before(statements, boot_ts, boot_id)
            self._run_id = statements.number(
                "INSERT INTO run (started_ts, boot_ts, boot_id, version, interval_seconds) "
                "VALUES (?, ?, ?, ?, ?) RETURNING run_id",
                (started, boot_ts, boot_id, version, interval_seconds),
            )
        if last is None or end is None:
            return Break(None, None)
        was_clean, last_boot_ts, last_boot_id = last
        if is_other_boot(last_boot_id, boot_id, last_boot_ts, boot_ts):
            return Break(end, "rebooted")
        return Break(end, "stopped" if was_clean else "killed")

    def end_run(self, stopped: int) -> None:
        """Close the run as clean, with what still waits to ride along."""
        with self._riders.taken() as riders, self.transaction() as statements:
            self._riders.write(riders, statements, self._stretch_id)
            statements.run("UPDATE run SET stopped_ts = ?, clean = 1 WHERE run_id = ?", (stopped, self._run_id))

    # -- samples

    def append(self, samples: Sequence[Sample]) -> None:
        """Store samples, in the order in which they were taken: all of them, or none and the error is raised."""
        if len(samples) == 1 and not self._riders and self._is_usual(samples[0]):
            # The usual tick: one statement and no more.
            self._file.run_alone(_INSERT_SAMPLE, _row(samples[0], self._stretch_id))
        else:
            with self._riders.taken() as riders, self.transaction() as statements:
                stretch_id, holds = self._insert(statements, samples)
                self._riders.write(riders, statements, stretch_id)
            self._stretch_id = stretch_id
            self._progress = self._progress if holds else None
        self.version += 1

    def _is_usual(self, sample: Sample) -> bool:
        """Whether it goes on with the stretch, in time that is not rolled up yet."""
        progress = self._known()
        return sample.begins is None and progress is not None and sample.ts >= progress.minutes_until

    def _insert(self, statements: Statements, samples: Sequence[Sample]) -> tuple[int, bool]:
        """Store the samples; returns the stretch of the last, and whether the progress in memory still holds."""
        known = self._known()
        progress = known or self._load(statements)
        stretch_id = newest = self._stretch_id
        for sample in samples:
            if sample.begins is not None:
                # What was stored through another connection may have reached the disk though it raised.
                begun = self._stretch_of(statements, sample, sample.begins) if known is None else None
                if begun is None:
                    newest += 1
                    self._begin_stretch(statements, newest, sample, sample.begins)
                stretch_id = newest if begun is None else begun
            statements.run(_INSERT_SAMPLE, _row(sample, stretch_id))
        oldest = min(sample.ts for sample in samples)
        holds = oldest >= progress.minutes_until
        if not holds:
            # The clock was set back into time that is rolled up already.
            rollups.begin_again_from(statements, oldest)
        return stretch_id, holds

    def _stretch_of(self, statements: Statements, sample: Sample, begins: Break) -> int | None:
        """The stretch that this sample has begun already, where its commit raised and reached the disk all the same."""
        return statements.number(
            "SELECT stretch_id FROM sample JOIN stretch USING (stretch_id) "
            "WHERE ts = ? AND run_id = ? AND prior_end_ts IS ? AND reason IS ? AND start_ts = ?",
            (sample.ts, self._run_id, begins.prior_end, begins.reason, _start(sample)),
        )

    def _begin_stretch(self, statements: Statements, stretch_id: int, sample: Sample, begins: Break) -> None:
        statements.run(
            "INSERT INTO stretch (stretch_id, run_id, start_ts, prior_end_ts, reason) VALUES (?, ?, ?, ?, ?)",
            (stretch_id, self._run_id, _start(sample), begins.prior_end, begins.reason),
        )

    # -- what is stored beside the samples

    def ride(self, write: Rider) -> None:
        """Have something written in the transaction of the next samples, whose commit is paid anyway. Any thread.

        `write` is given the statements and the samples' stretch. What fails by a fault of its own is left out; when
        the disk fails it waits as the samples do, the oldest going first where too much waits.
        """
        self._riders.add(write)

    def write_riders(self) -> None:
        """Store what waits to ride along, without a sample, for who cannot wait for the next one.

        :raises StoreFailed: if the database cannot be written; it goes on waiting.
        """
        if self._riders:
            with self._riders.taken() as riders, self.transaction() as statements:
                self._riders.write(riders, statements, self._stretch_id)

    @property
    def counts(self) -> dict[str, int]:
        """Of what rode with the samples since the start: how many were lost, by why."""
        return {f"captures_{name}": number for name, number in self._riders.counts.items()}

    # -- the history made smaller

    def roll_up(self) -> bool:
        """One bounded step; see `rollups.roll_up`."""
        with self.transaction() as statements:
            more = rollups.roll_up(statements)
            self._load(statements)
        return more

    def prune(self, samples_before: int, minutes_before: int, hours_before: int) -> bool:
        """One bounded step; see `rollups.prune`."""
        with self.transaction() as statements:
            more = rollups.prune(statements, samples_before, minutes_before, hours_before)
            self._load(statements)
        return more

    def shrink(self) -> bool:
        """One bounded step; see `rollups.shrink`."""
        return self.write(rollups.shrink)

    def recorded_since(self, seconds: int) -> int:
        """See `rollups.recorded_since`."""
        return self.write(lambda statements: rollups.recorded_since(statements, seconds))

    def used_bytes(self) -> int:
        """See `rollups.used_bytes`."""
        return self.write(rollups.used_bytes)

    def oldest(self) -> tuple[int | None, int | None, int | None]:
        """The first stamps of samples, minutes and hours."""
        return self.write(rollups.oldest)

    # -- the file

    def drop(self) -> None:
        """Let go of the file, without a checkpoint; the next call opens what then stands at the path."""
        self._file.drop()

    def write_again(self, path: Path) -> bool:
        """See `WriterFile.write_again`."""
        return self._file.write_again(path)

    def checkpoint(self) -> None:
        """See `WriterFile.checkpoint`."""
        self._file.checkpoint()

    def close(self) -> StoreFailed | None:
        """See `WriterFile.close`."""
        return self._file.close()


def _row(sample: Sample, stretch_id: int) -> tuple[int | None, ...]:
    get = sample.values.get
    values = [encode(get(name), scale) for name, scale in _SCALES]
    return (sample.ts, stretch_id, round(sample.covered_seconds * 1000), *values)


def _start(sample: Sample) -> int:
    return round(sample.ts - sample.covered_seconds)


def _last_sample(statements: Statements) -> int | None:
    """The stamp of the sample that was taken last, which is not the greatest where the clock was set back."""
    return statements.number(
        "SELECT ts FROM sample WHERE stretch_id = (SELECT MAX(stretch_id) FROM stretch) ORDER BY ts DESC LIMIT 1"
    )


def _last_import(statements: Statements) -> int | None:
    """Where a past ends that was imported before the first sample."""
    return statements.number("SELECT MAX(stopped_ts) FROM run WHERE run_id < 0 AND NOT EXISTS (SELECT 1 FROM sample)")


def _moved_before(statements: Statements, boot_ts: int | None, boot_id: str | None) -> dict[str, int]:
    """The greatest of the last totals that were stored in this boot: the very last may lack one that could not be read.
    Empty where it is not known which samples are of this boot."""
    is_of_boot, boot = ("boot_id = ?", boot_id) if boot_id else (f"abs(boot_ts - ?) <= {clock.MINUTE}", boot_ts)
    other = statements.number(
        f"SELECT MAX(stretch_id) FROM stretch JOIN run USING (run_id) WHERE NOT ifnull({is_of_boot}, 0)", (boot,)
    )
    if (statements.number("SELECT MAX(stretch_id) FROM stretch") or 0) <= (other or 0):
        return {}
    totals = statements.row(
        f"SELECT {', '.join(f'MAX({schema.stored(counter)})' for counter in COUNTERS)} "
        f"FROM (SELECT * FROM sample WHERE stretch_id > ? ORDER BY ts DESC LIMIT {_LAST_SAMPLES})",
        (other or 0,),
    )
    found = zip(COUNTERS, totals or (), strict=True)
    return {counter.name: total for counter, total in found if total is not None}


def is_other_boot(old_id: str | None, new_id: str | None, old_ts: int | None, new_ts: int | None) -> bool:
    """By the kernel's boot id, else by the time of the boot, which may differ by seconds within one boot."""
    if old_id and new_id:
        return old_id != new_id
    return old_ts is not None and new_ts is not None and abs(old_ts - new_ts) > clock.MINUTE
