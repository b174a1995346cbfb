"""What runs when: one APScheduler, whose one thread runs every job; alone touches APScheduler.

APScheduler 3 keeps time by the wall clock: set back an hour, an interval job would sleep that hour; set forward, it
would list every run it missed. So jobs fire on the wall clock's multiples of their interval through a trigger that
knows no backlog, and whenever the wall clock has moved against the steady one, each job is armed anew.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from service.clock import Clock

log = logging.getLogger(__name__)

# The wall clock is believed to have been stepped when it moved this far against the boot clock; slewing (at most
# 0.5 ms a second under NTP) stays below it between two looks.
STEP_SECONDS = 0.5
# Never sleep longer than this, so that a step is seen soon.
_LONGEST_SLEEP_SECONDS = 5.0
# Between two steps of a longer job: what fell due meanwhile goes first.
_SOON = timedelta(milliseconds=50)
# A failure that repeats is told once and then this often while it lasts.
_TELL_EVERY_SECONDS = 60.0


class AlignedTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires at the wall clock's multiples of an interval (plus an offset), never for those that have passed."""

    def __init__(self, seconds: int, offset: float = 0.0) -> None:
        self.seconds, self.offset = seconds, offset

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """The next multiple; one that is less than half an interval away is left out after a first or late run, so
        that no sample stands for a moment too short to measure."""
        passed = now.timestamp() - self.offset
        following = (passed // self.seconds + 1) * self.seconds
        if following - passed < self.seconds / 2:
            following += self.seconds
        return datetime.fromtimestamp(following + self.offset, UTC)


class _StepAware(BackgroundScheduler):  # type: ignore[misc]
    """A BackgroundScheduler that notices steps of the wall clock. Overrides a private method: APScheduler is pinned."""

    clock: Clock
    guard: "Guard"
    unfinished: set[str]
    _offset: float | None = None

    def _process_jobs(self) -> float:
        """An error in here would end APScheduler's thread, and all that runs on it, without a word."""
        wait = self.guard("scheduling", self._run_due)
        return wait if isinstance(wait, float) else 1.0

    def _run_due(self) -> float:
        now = self.clock.now()
        offset = now.wall - now.boot
        if self._offset is not None and abs(offset - self._offset) > STEP_SECONDS:
            log.warning("the wall clock was stepped by %+.1f s", offset - self._offset)
            for job in self.get_jobs():
                job.modify(next_run_time=datetime.now(UTC))
        self._offset = offset
        wait: float | None = super()._process_jobs()
        while self.unfinished:
            self.modify_job(self.unfinished.pop(), next_run_time=datetime.now(UTC) + _SOON)
            wait = _SOON.total_seconds()
        return _LONGEST_SLEEP_SECONDS if wait is None else min(wait, _LONGEST_SLEEP_SECONDS)


class Guard:
    """The one broad except: whatever the work runs into is counted and told, and the next time comes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[str, tuple[str, float]] = {}
        self.failed = 0

    def __call__(self, name: str, work: Callable[[], object]) -> object:
        """What the work returns; None where it failed."""
        try:
            return work()
        except BaseException as error:  # noqa: BLE001 - the edge of every job; SystemExit too: no library may end us
            self.failed += 1
            self._tell(name, error)
            return None

    def _tell(self, name: str, error: BaseException) -> None:
        """With its stack when it is new, then once a minute while it is of the same kind."""
        kind, now = type(error).__name__, self._clock.now().steady
        known, since = self._told.get(name, ("", 0.0))
        if kind != known or now - since >= _TELL_EVERY_SECONDS:
            self._told[name] = (kind, now)
            log.error("%s failed (%s: %s); it runs again at its next time", name, kind, error, exc_info=kind != known)


class Scheduler:
    """Runs jobs one at a time, on one thread, in the order in which they fall due.

    That thread is the scheduler's own (APScheduler's DebugExecutor): handing each tick to a pool would wake a second
    thread, a tenth of what a tick costs, and gain nothing where one thread is all there may be.
    """

    def __init__(self, clock: Clock) -> None:
        # APScheduler says at INFO what every job does; its warnings are ours to count.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self._scheduler = _StepAware(
            timezone=UTC,
            executors={"default": DebugExecutor()},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 1},
        )
        self._scheduler.clock = clock
        self._scheduler.unfinished = set()
        self.guard = self._scheduler.guard = Guard(clock)

    def every(self, seconds: int, job: Callable[[], object], offset: float = 0.0) -> None:
        """Run `job` at each multiple of `seconds` plus `offset` of the wall clock.

        An error in it is logged and counted, and the next run comes. A job that returns True has more to do and runs
        again soon, after whatever is due.
        """
        name = f"{getattr(job, '__qualname__', 'job')} every {seconds} s at +{offset:g} s"
        self._scheduler.add_job(self._run, AlignedTrigger(seconds, offset), args=[job, name], id=name)

    def start(self) -> None:
        self._scheduler.start()

    def stop(self) -> None:
        """Stop, after the job that is running."""
        self._scheduler.shutdown(wait=True)

    def _run(self, job: Callable[[], object], name: str) -> None:
        if self.guard(name, job) is True:
            self._scheduler.unfinished.add(name)
