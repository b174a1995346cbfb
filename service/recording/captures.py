"""Captures who uses the host and how full its file systems are, and has both stored with the samples."""

import logging
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from service.clock import HOUR, Clock
from service.host.mounts import MOST_FILE_SYSTEMS, MountWatch
from service.recording.foresight import foresee
from service.recording.meaning import cpu_percent
from service.records import Capture, MountUsage, ProcessUsage, Reading
from service.store import captures, filesystems
from service.store.riders import Rider
from service.store.writer import Store

log = logging.getLogger(__name__)
# So many captures are stored by one commit: at the default interval those of two minutes, file systems included.
CAPTURES_AT_ONCE = 6


class Processes(Protocol):
    """Who used the host since the capture before; None the first time."""

    def capture(self) -> list[ProcessUsage] | None: ...


class Cpus(Protocol):
    """The host's own figures: what its CPUs have counted, and so how many there are; empty where unknown."""

    def cpus(self) -> Reading: ...


class Recorder:
    """The jobs beside the samples. Called by the one thread that writes; another one asks the file systems.

    The first capture is stored with the next sample, later ones a few at a time: each commit writes the same pages
    again, and a commit for each capture would write a tenth more each day.
    """

    def __init__(self, cpus: Cpus, processes: Processes, mounts: MountWatch, store: Store, clock: Clock) -> None:
        self._cpus, self._processes, self._mounts, self._store, self._clock = cpus, processes, mounts, store, clock
        self._before: tuple[float, Reading] | None = None
        self._cpu_count = 0
        self._stuck: set[str] = set()
        self._has_left_out = False
        self._held: deque[Rider] = deque()
        self._has_handed_over = False
        self._forecast_mount = 0
        self._forecast_at: float | None = None

    def capture_processes(self) -> None:
        """Who used the host since the capture before; of the first one nothing is stored, nor while the number of CPUs
        has never been read."""
        now, cpus = self._clock.now(), self._cpus.cpus()
        usages = self._processes.capture()
        before, self._before = self._before, (now.steady, cpus)
        self._cpu_count = len(cpus.seconds_by_cpu) or self._cpu_count
        if before is None or usages is None or now.steady <= before[0] or not self._cpu_count:
            return
        covered = now.steady - before[0]
        busy_percent = cpu_percent(before[1], cpus, covered)
        capacity = covered * self._cpu_count
        capture = Capture(
            ts=round(now.wall),
            covered_seconds=covered,
            capacity_seconds=capacity,
            busy_seconds=None if busy_percent is None else busy_percent / 100 * capacity,
            usages=usages,
        )
        self._held.append(lambda statements, stretch_id: captures.insert(statements, capture, stretch_id))
        if not self._has_handed_over or len(self._held) >= CAPTURES_AT_ONCE:
            self.hand_over()

    def capture_filesystems(self) -> None:
        """How full each file system is; one that does not answer has no row."""
        if len(self._held) >= CAPTURES_AT_ONCE:
            self.hand_over()
        ts = round(self._clock.now().wall)

        def keep(usages: Sequence[MountUsage]) -> None:
            self._held.append(lambda statements, stretch_id: filesystems.insert(statements, ts, usages, stretch_id))

        self._mounts.capture(keep)
        self._log_stuck()
        self._log_left_out()

    def _log_stuck(self) -> None:
        """Once when a mount does not answer, and once when it does again."""
        stuck = set(self._mounts.stuck)
        for path in sorted(stuck - self._stuck):
            log.warning("%s does not answer; how full it is stays unknown until it does", path)
        for path in sorted(self._stuck - stuck):
            log.info("%s answers again", path)
        self._stuck = stuck

    def _log_left_out(self) -> None:
        """Once when there are more file systems than are recorded, and once when there are not any more."""
        left_out = self._mounts.left_out
        if left_out and not self._has_left_out:
            log.warning(
                "%d of %d file systems are not recorded, only the %d with the least room",
                left_out,
                left_out + MOST_FILE_SYSTEMS,
                MOST_FILE_SYSTEMS,
            )
        elif self._has_left_out and not left_out:
            log.info("all file systems are recorded again")
        self._has_left_out = left_out > 0

    def hand_over(self) -> None:
        """What is held is stored with the next sample, or at the end of the run."""
        self._has_handed_over = True
        while self._held:  # the thread that asks the file systems may add to it
            self._store.ride(self._held.popleft())

    def foresee(self) -> bool:
        """Where an hour has passed, forecast when the next file system will be full, and score its earlier forecasts:
        one file system a step.

        :returns: whether there is another.
        """
        now = self._clock.now()
        if self._forecast_mount == 0 and self._forecast_at is not None and now.steady - self._forecast_at < HOUR:
            return False
        mount = self._store.write(lambda statements: foresee(statements, self._forecast_mount, int(now.wall)))
        self._forecast_mount, self._forecast_at = mount or 0, now.steady
        return mount is not None
