"""What runs when: one APScheduler, driven by one thread that runs every job; alone touches APScheduler.

APScheduler 3 keeps time by the wall clock: if that is set back an hour, an interval job sleeps for that hour; if it is
set forward, APScheduler lists every run that was missed. So jobs fire on the wall clock's multiples of their interval
through a trigger that keeps no backlog, and each job is armed anew whenever the wall clock has moved against the
steady one.
"""

import logging
import math
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from apscheduler.executors.debug import DebugExecutor
from apscheduler.job import Job
from apscheduler.schedulers.base import BaseScheduler
from apscheduler.triggers.base import BaseTrigger

from service.clock import Clock, Instant
from service.errors import is_shortage

log = logging.getLogger(__name__)

# The wall clock counts as stepped when it has moved this far against the boot clock since the last check; slewing (at
# most 0.5 ms a second under NTP) stays below it.
STEP_SECONDS = 0.5
# Never sleep longer than this, so that a step is noticed soon.
_LONGEST_SLEEP_SECONDS = 5.0
# How long a job that has more to do waits between two of its steps; what fell due meanwhile goes first.
_SOON_SECONDS = 0.05
# A failure that repeats is logged once and then this often while it lasts.
_LOG_AGAIN_SECONDS = 60.0


class AlignedTrigger(BaseTrigger):  # type: ignore[misc]
    """Fires at the wall clock's multiples of an interval (plus an offset), never for those that have passed."""

    def __init__(self, seconds: int, offset: float = 0.0) -> None:
        self.seconds, self.offset = seconds, offset

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        """The next multiple that is at least half an interval away: after a first or a late run a nearer one is left
        out, so that no sample covers a time too short to measure."""
        passed = now.timestamp() - self.offset
        following = (passed // self.seconds + 1) * self.seconds
        if following - passed < self.seconds / 2:
            following += self.seconds
        return datetime.fromtimestamp(following + self.offset, UTC)


class Guard:
    """Logs and counts whatever a job raises, so that the next run still comes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._logged: dict[str, tuple[str, float]] = {}
        self.failed = 0

    def __call__(self, name: str, work: Callable[[], object]) -> object:
        """What the work returns; None where it failed."""
        try:
            return work()
        except BaseException as error:  # noqa: BLE001 - the edge of every job; SystemExit too: no library may end us
            self.failed += 1
            self._log(name, error)
            return None

    def _log(self, name: str, error: BaseException) -> None:
        """Once a minute while errors of the same kind go on; the first time with its stack, if it is a defect."""
        kind, now = type(error).__name__, self._clock.now().steady
        known, since = self._logged.get(name, ("", 0.0))
        if kind != known or now - since >= _LOG_AGAIN_SECONDS:
            self._logged[name] = (kind, now)
            has_stack = kind != known and not is_shortage(error)
            log.error("%s failed (%s: %s); it runs again at its next time", name, kind, error, exc_info=has_stack)


class _Jobs(BaseScheduler):  # type: ignore[misc]
    """APScheduler without a thread of its own, and with a shorter way to what is due.

    Its own way (`_process_jobs`) serves stores, executors, listeners and backlogs of any kind: 250 microseconds a tick
    with cold caches, an eighth of all. Here jobs are in memory, run on the thread that asks, and have no backlog; so a
    list of them in order of their times does.
    """

    def __init__(self) -> None:
        # By default APScheduler would start a pool of threads.
        super().__init__(timezone=UTC, executors={"default": DebugExecutor()})
        # Held until the thread is to wake: threading.Event does the same in Python, at several times the cost.
        self._bell = threading.Lock()
        self._bell.acquire()
        # What `_is_changed` announces is read anew, so that what changes meanwhile is not missed.
        self._is_changed = True
        self._due: list[_Due] = []

    def wakeup(self) -> None:
        """APScheduler calls it whenever a job is added or armed anew."""
        self._is_changed = True
        with suppress(RuntimeError):  # it rings already
            self._bell.release()

    def sleep(self, seconds: float) -> None:
        """Until that has passed or something has changed."""
        self._bell.acquire(timeout=seconds)

    def shutdown(self, wait: bool = True) -> None:
        super().shutdown(wait)

    def run_due(self, now: float) -> float | None:
        """Run what is due at `now`, in the order of its times; when the next one is due, None where there is none. Unix
        seconds."""
        if self._is_changed:
            self._is_changed = False
            self._due = [_Due(job.next_run_time.timestamp(), job.id, job) for job in self.get_jobs()]
        due, at = self._due, datetime.fromtimestamp(now, UTC)
        due.sort()
        for place, (time, name, job) in enumerate(due):
            if time > now:
                break
            following = job.trigger.get_next_fire_time(job.next_run_time, at)
            if following is None:
                # Removed before it runs, so that one that is added meanwhile stays.
                self.remove_job(name)
                self._is_changed = True
            else:
                job.next_run_time = following
            due[place] = _Due(math.inf if following is None else following.timestamp(), name, job)
            job.func(*job.args)
        return min(due).time if due else None


class _Due(NamedTuple):
    """When a job is due (unix seconds); those of one time run in the order of their names."""

    time: float
    name: str
    job: Job


class Scheduler:
    """Runs jobs one at a time, on one thread, in the order in which they fall due.

    The jobs run on the thread that waits for them: handing each tick to a pool would wake
    a second thread, which costs a tenth of a tick and gains nothing where only one job may run at a time.
    """

    def __init__(self, clock: Clock) -> None:
        # APScheduler logs at INFO what every job does; its warnings are ours to count.
        logging.getLogger("apscheduler").setLevel(logging.ERROR)
        self.guard = Guard(clock)
        self._clock = clock
        self._wall_ahead: float | None = None
        self._unfinished: set[str] = set()
        self._jobs = _Jobs()
        self._jobs.start()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._loop, name="scheduler", daemon=True)

    def every(self, seconds: int, job: Callable[[], object], offset: float = 0.0) -> None:
        """Run `job` at each multiple of `seconds` plus `offset` of the wall clock.

        An error in it is logged and counted, and the next run comes. A job that returns True has more to do and runs
        again soon, after whatever is due.
        """
        name = f"{getattr(job, '__qualname__', 'job')} every {seconds} s at +{offset:g} s"
        self._jobs.add_job(self._run, AlignedTrigger(seconds, offset), args=[job, name], id=name)

    def once(self, job: Callable[[], object]) -> None:
        """Run `job` as soon as no other one runs. Any thread."""
        name = getattr(job, "__qualname__", "job")
        self._jobs.add_job(self.guard, args=[name, job], id=name, replace_existing=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Stop, after the job that is running."""
        self._is_stopping = True
        self._jobs.wakeup()
        self._thread.join()
        self._jobs.shutdown()

    def run_due(self) -> float:
        """Run what is due now, as the thread does again and again; seconds until it should be called again.

        An error in here would end the thread, and with it every job, so it is guarded like a job.
        """
        wait = self.guard("scheduling", self._run_due)
        return wait if isinstance(wait, float) else 1.0

    def _loop(self) -> None:
        wait = 0.0
        while True:
            self._jobs.sleep(wait)
            if self._is_stopping:
                return
            wait = self.run_due()

    def _run_due(self) -> float:
        now = self._clock.now()
        self._heed_step(now)
        due = self._jobs.run_due(now.wall)
        while self._unfinished:
            due = self._clock.now().wall + _SOON_SECONDS
            self._arm(self._unfinished.pop(), due)
        wait = _LONGEST_SLEEP_SECONDS if due is None else due - self._clock.now().wall
        return min(max(wait, 0.0), _LONGEST_SLEEP_SECONDS)

    def _heed_step(self, now: Instant) -> None:
        """Make every job due now if the wall clock was stepped since the last call."""
        before, self._wall_ahead = self._wall_ahead, now.wall - now.boot
        if before is not None and abs(self._wall_ahead - before) > STEP_SECONDS:
            log.warning("the wall clock was stepped by %+.1f s", self._wall_ahead - before)
            for job in self._jobs.get_jobs():
                self._arm(job.id, now.wall)

    def _arm(self, name: str, time: float) -> None:
        """Let the job run at that time, in unix seconds."""
        self._jobs.modify_job(name, next_run_time=datetime.fromtimestamp(time, UTC))

    def _run(self, job: Callable[[], object], name: str) -> None:
        if self.guard(name, job) is True:
            self._unfinished.add(name)
