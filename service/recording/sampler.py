"""One tick: read the host, stamp it, store it; what could not be stored waits in memory with its own time."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from service.clock import DAY, Clock, Instant
from service.errors import StoreFailed
from service.records import Break, Reading, Reason, Sample

log = logging.getLogger(__name__)

# A day of samples, at most this many: some 20 MB of memory (a sample takes about 1 KB in Python).
SPOOL_SAMPLES = 20_000
# Errors of the store are logged at most once a minute, also where every other try succeeds (a disk that is just full).
_LOG_EVERY_SECONDS = 60.0
# Samples of one transaction when many have waited.
_AT_ONCE = 500


class Source(Protocol):
    def read(self) -> Reading: ...


class Sink(Protocol):
    def append(self, samples: list[Sample]) -> None: ...


@dataclass(frozen=True, slots=True)
class Health:
    """How sampling is going. `stored_at`: steady clock of the last tick after which everything was stored."""

    stored_at: float | None
    spooled: int
    last_error: str | None
    failing: tuple[str, ...]


class Sampler:
    """Turns readings into samples and gets them stored.

    `tick` and `flush` are called by the one thread that writes, `stand_in` by one other, the rest by any.
    """

    def __init__(
        self,
        host: Source,
        store: Sink,
        clock: Clock,
        interval_seconds: int,
        before: Break,
        mend: Callable[[StoreFailed], bool] = lambda _: False,
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        """`before`: how the history breaks before the first sample of this run. `mend`: answers a failure of the store,
        and says whether it is worth trying again at once. `watch`: told of each tick; sees to it that `stand_in` is
        called when the next does not come."""
        self._host, self._store, self._clock, self._interval = host, store, clock, interval_seconds
        self._before, self._mend, self._watch = before, mend, watch
        self._last: tuple[Instant, Reading] | None = None
        self._last_ts: int | None = before.prior_end
        self._spool: deque[Sample] = deque()
        self._spool_limit = min(DAY // interval_seconds, SPOOL_SAMPLES)
        self._failing: dict[str, str] = {}
        self._store_error: str | None = None
        self._stored_at: float | None = None
        self._stood_in = False
        self._taken_at: float | None = None
        self._forced: Break | None = None
        self._logged_at: float | None = None
        self._is_told = False
        # From the start, so that a rate over them is known before the first of each.
        self.counts: Counter[str] = Counter(taken=0, stored=0, dropped=0, poisoned=0, store_errors=0)
        # Held while a sample is taken and while the spool changes; never while the store is at work.
        self._lock = threading.Lock()

    def tick(self) -> None:
        """Take one sample and store it, with those that wait from earlier ticks."""
        self._watch()
        with self._lock:
            # One that stood in for this tick just now serves: what follows it so soon is too short to measure.
            is_taken = self._stood_in and self._has_just_taken()
            steady = self._clock.now().steady if is_taken else self._take()
        self.flush(steady)

    def stand_in(self) -> None:
        """Take a sample in place of the thread that writes, which is late: it is stuck in the store, or has no time."""
        # Held: that one is just taking a sample, and the host is slow to read.
        if self._lock.acquire(blocking=False):
            try:
                if not self._has_just_taken():
                    self._stood_in = True
                    self._take()
            finally:
                self._lock.release()

    def _has_just_taken(self) -> bool:
        return self._taken_at is not None and self._clock.now().steady - self._taken_at < 0.5 * self._interval

    def _take(self) -> float:
        """Read the host; the sample waits to be stored. Returns the steady clock's seconds of it. Called with the lock
        held."""
        now = self._clock.now()
        reading = self._host.read()
        self._tell_failures(reading)
        sample = self._sample(now, reading)
        if self._forced is not None:
            sample, self._forced = replace(sample, begins=self._forced), None
        self._spool_up(sample)
        self._last = (now, reading)
        self._taken_at = self._clock.now().steady
        self.counts["taken"] += 1
        return now.steady

    def flush(self, steady: float) -> None:
        """Store what waits, oldest first; what cannot be stored goes on waiting."""
        failure = self._store_all()
        if failure is not None and self._answer(failure, steady):
            failure = self._store_all()
        if failure is None:
            self._all_is_stored(steady)

    def _store_all(self) -> StoreFailed | None:
        try:
            while batch := self._batch(_AT_ONCE):
                self._store.append(batch)
                self._stored(batch)
        except StoreFailed as failure:
            return failure
        return None

    def _answer(self, failure: StoreFailed, steady: float) -> bool:
        """Tell a failure and have it mended; whether it is worth trying again at once."""
        self._tell_store_error(failure, steady)
        return self._leave_out_poison() if failure.kind == "poison" else self._mend(failure)

    def _leave_out_poison(self) -> bool:
        """Store one by one, and let go of the sample that the store does not take; False when something else fails."""
        while batch := self._batch(1):
            try:
                self._store.append(batch)
            except StoreFailed as failure:
                if failure.kind != "poison":
                    return False
                self.counts["poisoned"] += 1
                log.error("a sample that cannot be stored is left out: %s", failure)
            self._stored(batch)
        return True

    def _batch(self, most: int) -> list[Sample]:
        with self._lock:
            return list(islice(self._spool, most))

    def _stored(self, batch: list[Sample]) -> None:
        """The spool may have dropped its oldest meanwhile; what was stored goes by identity."""
        with self._lock:
            done = set(map(id, batch))
            while self._spool and id(self._spool[0]) in done:
                self._spool.popleft()
        self.counts["stored"] += len(batch)
        log.debug("stored %d samples, the last of %d", len(batch), batch[-1].ts)

    def _all_is_stored(self, steady: float) -> None:
        if self._is_told:
            log.info("storing again; nothing waits any more")
        self._store_error, self._is_told, self._stored_at, self._stood_in = None, False, steady, False

    def begin_anew(self, prior_end: int | None) -> None:
        """What was stored has been set aside: the history goes on after a hole for the storage's sake."""
        with self._lock:
            self._forced = Break(prior_end, "storage")
            if self._spool:
                self._spool[0], self._forced = replace(self._spool[0], begins=self._forced), None

    def waiting(self) -> list[Sample]:
        """The samples that could not be stored, oldest first; empty while all is well, also in the midst of a tick."""
        if self._store_error is None and not self._stood_in:
            return []
        with self._lock:
            return list(self._spool)

    def health(self) -> Health:
        error = self._store_error or next(iter(list(self._failing.values())), None)
        return Health(self._stored_at, len(self._spool), error, tuple(self._failing))

    # -- what a reading means

    def _sample(self, now: Instant, reading: Reading) -> Sample:
        """
        CPU and pressure are shares of the whole steady time since the previous tick, also after a hole: that is the
        only honest figure there is. The sample then stands for one interval, and the rest of the hole is the gap.
        """
        ts = round(now.wall)
        values: dict[str, float | None] = {**reading.gauges, **reading.counters}
        if self._last is None:
            return Sample(ts, 0.0, values, self._first_break(ts))
        before, then = self._last
        elapsed = now.steady - before.steady
        values["cpu_percent"] = _cpu_percent(then, reading)
        values.update(_pressures(then, reading, elapsed))
        covered = elapsed if elapsed <= 2 * self._interval else float(self._interval)
        return Sample(ts, covered, values, self._break(before, now, ts))

    def _first_break(self, ts: int) -> Break:
        """The break before the run, without a reason where no sample was missed."""
        end = self._before.prior_end
        missed = end is not None and ts - end > 2 * self._interval
        return self._before if missed else Break(end, None)

    def _break(self, before: Instant, now: Instant, ts: int) -> Break | None:
        """None where the sample follows the one before it; else why it does not.

        A hole is more than two intervals of wall time. Its reason is what made most of it: the host was suspended
        (boot clock ahead of steady), the clock was stepped (wall ahead of boot), or the tick came late.
        """
        assert self._last_ts is not None
        if ts <= self._last_ts:
            return Break(self._last_ts, "clock_step" if now.wall < before.wall else None)
        if now.wall - before.wall <= 2 * self._interval:
            return None
        late = now.steady - before.steady
        asleep = now.boot - before.boot - late
        stepped = now.wall - before.wall - late - asleep
        parts: list[tuple[float, Reason]] = [(late, "overload"), (asleep, "suspended"), (stepped, "clock_step")]
        return Break(self._last_ts, max(parts, key=lambda part: part[0])[1])

    # -- waiting samples

    def _spool_up(self, sample: Sample) -> None:
        self._spool.append(sample)
        self._last_ts = sample.ts
        if len(self._spool) > self._spool_limit:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        """Make room; the hole begins where the first dropped sample's stretch ended and says `storage`."""
        dropped = self._spool.popleft()
        first = self._spool.popleft()
        end = dropped.begins.prior_end if dropped.begins else round(dropped.ts - dropped.covered_seconds)
        self._spool.appendleft(replace(first, begins=Break(end, "storage")))
        self.counts["dropped"] += 1

    # -- telling

    def _tell_failures(self, reading: Reading) -> None:
        """Log a collector once when it begins to fail, and once when it is back."""
        for name, error in reading.errors.items():
            self.counts[f"failed_{name}"] += 1
            if name not in self._failing:
                log.warning(
                    "cannot read %s: %s: %s; storing nothing for it until it is back", name, type(error).__name__, error
                )
        for name in set(self._failing) - set(reading.errors):
            log.info("reading %s again", name)
        self._failing = {name: f"cannot read {name}: {type(error).__name__}" for name, error in reading.errors.items()}

    def _tell_store_error(self, failure: StoreFailed, steady: float) -> None:
        self._store_error = f"cannot store: {failure}"
        self.counts["store_errors"] += 1
        if self._logged_at is None or steady - self._logged_at >= _LOG_EVERY_SECONDS:
            self._logged_at, self._is_told = steady, True
            log.error("cannot store (%s): %s; %d samples wait in memory", failure.kind, failure, len(self._spool))


def _cpu_percent(then: Reading, now: Reading) -> float | None:
    """Busy share of all CPUs between two readings; None where a counter went back or nothing was counted."""
    if then.cpu_seconds is None or now.cpu_seconds is None:
        return None
    busy = now.cpu_seconds[0] - then.cpu_seconds[0]
    total = now.cpu_seconds[1] - then.cpu_seconds[1]
    # idle and iowait may step back a little (proc(5)), so that busy can come out above total.
    return min(100.0, 100 * busy / total) if total > 0 and busy >= 0 else None


def _pressures(then: Reading, now: Reading, elapsed: float) -> dict[str, float | None]:
    """Share of the elapsed time in which some task waited, from the totals (docs.kernel.org/accounting/psi.html)."""
    shares: dict[str, float | None] = {}
    for name, total in now.pressure_us.items():
        waited = (total - then.pressure_us[name]) / 1e6 if name in then.pressure_us else -1.0
        shares[name] = min(100.0, 100 * waited / elapsed) if waited >= 0 and elapsed > 0 else None
    return shares
