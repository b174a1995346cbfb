"""One tick: read the host, make a sample of it, store it; what cannot be stored waits."""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from service.clock import Clock
from service.errors import StoreFailed, is_shortage
from service.recording.meaning import Observation, first_sample, next_sample
from service.recording.spool import Spool
from service.records import Break, Reading, Sample

log = logging.getLogger(__name__)

# Errors of the store are logged at most once a minute, also where every other try succeeds (a disk that is just full).
_LOG_EVERY_SECONDS = 60.0
# Samples of one transaction, when many have waited.
_AT_ONCE = 500


class Source(Protocol):
    def read(self) -> Reading: ...


class Sink(Protocol):
    def append(self, samples: list[Sample]) -> None: ...


@dataclass(frozen=True, slots=True)
class Health:
    """How sampling is going. `stored_at`: when the newest stored sample was taken, by the steady clock."""

    stored_at: float | None
    spooled: int
    last_error: str | None
    failing: tuple[str, ...]


class Taken(NamedTuple):
    """A sample, and of what it was made."""

    sample: Sample
    made_of: Observation


class Sampler:
    """Takes samples and gets them stored.

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
        watch: Callable[[float], None] = lambda _: None,
        follow: Callable[[Sample], None] = lambda _: None,
    ) -> None:
        """`before`: how the history broke off before this run. `mend`: answers a failure of the store, and says whether
        it is worth trying again at once. `watch`: is called at each tick with the seconds since the newest sample, and
        sees to it that `stand_in` is called when the next tick does not come. `follow`: is called in the end of each
        tick with its sample."""
        self._host, self._store, self._clock, self._interval = host, store, clock, interval_seconds
        self._before, self._mend, self._watch, self._follow = before, mend, watch, follow
        self._last: Observation | None = None
        self._taken_at: float | None = None
        # When those that wait were taken, by the steady clock, under their stamps.
        self._waiting_since: dict[int, float] = {}
        self._stood_in = False
        self._spool = Spool(interval_seconds)
        self._failing: dict[str, str] = {}
        self._store_error: str | None = None
        self._stored_at: float | None = None
        self._logged_at: float | None = None
        self._is_logged = False
        # From the start, so that a rate over them is known before the first of each.
        self.counts: Counter[str] = Counter(taken=0, stored=0, dropped=0, poisoned=0, store_errors=0)
        # Held while a sample is taken.
        self._lock = threading.Lock()

    def tick(self) -> None:
        """Take one sample and store it, with those that wait from earlier ticks.

        :raises ExceptionGroup: in the end, if a source had a defect.
        """
        self._watch(0.0)
        with self._lock:
            # One that stood in for this tick just now serves: what follows it so soon is too short to measure.
            if self._stood_in and self._has_just_taken():
                taken = None
                self._watch(self._since_taken())
            else:
                taken = self._take()
        self.flush(taken.made_of.at.steady if taken else self._clock.now().steady)
        if taken is not None:
            self._follow(taken.sample)
            _raise_defects(taken.made_of.reading)

    def stand_in(self) -> None:
        """Take a sample in place of the thread that writes, which is late: it is stuck in the store, or has no time.

        :raises ExceptionGroup: in the end, if a source had a defect.
        """
        # Held: that thread is just taking a sample, and the host is slow to read.
        if not self._lock.acquire(blocking=False):
            return
        try:
            if self._has_just_taken():
                return
            self._stood_in = True
            taken = self._take()
        finally:
            self._lock.release()
        _raise_defects(taken.made_of.reading)

    def _has_just_taken(self) -> bool:
        """Whether another sample now would cover too little to measure, or have the stamp of the newest one."""
        if self._taken_at is None or self._last is None:
            return False
        is_same_second = round(self._clock.now().wall) == round(self._last.at.wall)
        return is_same_second or self._since_taken() < 0.5 * self._interval

    def _since_taken(self) -> float:
        """Seconds since the newest sample; 0 before the first."""
        return 0.0 if self._taken_at is None else self._clock.now().steady - self._taken_at

    def _take(self) -> Taken:
        """Read the host and make a sample, which waits to be stored. Called with the lock held."""
        now = Observation(self._clock.now(), self._host.read())
        self._log_sources(now.reading)
        last, self._last = self._last, now
        sample = (
            first_sample(now, self._interval, self._before) if last is None else next_sample(last, now, self._interval)
        )
        self._waiting_since[sample.ts] = now.at.steady
        if self._spool.add(sample):
            self.counts["dropped"] += 1
            self._waiting_since.pop(next(iter(self._waiting_since)), None)
        self._taken_at = self._clock.now().steady
        self.counts["taken"] += 1
        return Taken(sample, now)

    def flush(self, steady: float) -> None:
        """Store what waits, oldest first; what cannot be stored goes on waiting. `steady`: now, by the steady clock.

        What comes meanwhile is left to the next tick: on a disk slower than the interval there would always be more,
        and no other job would get its turn.
        """
        failure = self._store_waiting()
        if failure is not None and self._is_worth_another_try(failure, steady):
            failure = self._store_waiting()
        if failure is None:
            self._is_storing()

    def _store_waiting(self) -> StoreFailed | None:
        left = len(self._spool)
        try:
            while left > 0 and (batch := self._spool.oldest(min(left, _AT_ONCE))):
                self._store.append(batch)
                self._stored(batch)
                left -= len(batch)
        except StoreFailed as failure:
            return failure
        return None

    def _is_worth_another_try(self, failure: StoreFailed, steady: float) -> bool:
        """Log a failure and have it mended; whether to try again at once."""
        self._log_store_error(failure, steady)
        return self._leave_out_poison() if failure.kind == "poison" else self._mend(failure)

    def _leave_out_poison(self) -> bool:
        """Store one by one, and let go of the sample that the store does not take; False when something else fails."""
        while batch := self._spool.oldest(1):
            try:
                self._store.append(batch)
            except StoreFailed as failure:
                if failure.kind != "poison":
                    return False
                self.counts["poisoned"] += 1
                log.error("a sample that cannot be stored is left out: %s", failure)
            self._stored(batch)
        return True

    def _stored(self, batch: list[Sample]) -> None:
        self._spool.remove(batch)
        self.counts["stored"] += len(batch)
        for sample in batch:
            self._stored_at = self._waiting_since.pop(sample.ts, self._stored_at)
        log.debug("stored %d samples, the last of %d", len(batch), batch[-1].ts)

    def _is_storing(self) -> None:
        if self._is_logged:
            log.info("storing again")
        self._store_error, self._is_logged = None, False
        # While samples were added by the stand-in, the rest of them is still known to wait.
        self._stood_in = len(self._spool) > 0

    def begin_anew(self, prior_end: int | None) -> None:
        """What was stored has been set aside: the history goes on after a gap that the storage made."""
        self._spool.begin_anew(prior_end)

    def waiting(self) -> list[Sample]:
        """The samples that could not be stored, oldest first; empty while all is well, also in the midst of a tick."""
        if self._store_error is None and not self._stood_in:
            return []
        return self._spool.oldest()

    def health(self) -> Health:
        error = self._store_error or next(iter(list(self._failing.values())), None)
        return Health(self._stored_at, len(self._spool), error, tuple(self._failing))

    # -- logging

    def _log_sources(self, reading: Reading) -> None:
        """Log a source once when it begins to fail, and once when it is back."""
        errors = reading.errors
        if not errors and not self._failing:
            return
        for name, error in errors.items():
            self.counts[f"failed_{name}"] += 1
            if name not in self._failing:
                log.warning(
                    "cannot read %s: %s: %s; storing nothing for it until it is back", name, type(error).__name__, error
                )
        for name in set(self._failing) - set(errors):
            log.info("reading %s again", name)
        self._failing = {name: f"cannot read {name}: {type(error).__name__}" for name, error in errors.items()}

    def _log_store_error(self, failure: StoreFailed, steady: float) -> None:
        self._store_error = f"cannot store: {failure}"
        self.counts["store_errors"] += 1
        if self._logged_at is None or steady - self._logged_at >= _LOG_EVERY_SECONDS:
            self._logged_at, self._is_logged = steady, True
            log.error("cannot store (%s): %s; %d samples wait in memory", failure.kind, failure, len(self._spool))


def _raise_defects(reading: Reading) -> None:
    """Only after the sample has been taken, so that a defect in one source costs that source alone. It goes to the
    guard of the job, which counts it and logs it with its stack."""
    defects = {
        name: result.error
        for name, result in reading.sources.items()
        if result.error and result.is_defect and not is_shortage(result.error)
    }
    if defects:
        raise ExceptionGroup(f"a defect in Tidemark: cannot read {', '.join(defects)}", list(defects.values()))
