"""Looks at who uses the host and how full its file systems are; hands it to the store to keep."""

import logging
from collections import deque
from collections.abc import Sequence
from typing import Protocol

from service.clock import HOUR, Clock
from service.host.mounts import MountWatch
from service.recording.foresight import foresee
from service.records import Capture, MountUsage, ProcessUsage
from service.store import captures, filesystems
from service.store.riders import Rider
from service.store.writer import Store

log = logging.getLogger(__name__)
# So many looks are stored by one commit: at the default interval two minutes of them, file systems included.
LOOKS_AT_ONCE = 6


class Processes(Protocol):
    """What tells who uses the host since it was last asked; None the first time."""

    def look(self) -> list[ProcessUsage] | None: ...


class Cpus(Protocol):
    """What tells the host's own figures: (busy, total) seconds of all CPUs since boot, and how many CPUs there are."""

    def cpu_seconds(self) -> tuple[float, float] | None: ...

    def cpu_count(self) -> int: ...


class Recorder:
    """The jobs beside the samples. Called by the one thread that writes; file systems are told by another.

    The first look rides with the next sample, later ones a few at a time: each commit writes the same pages again, and
    with one for each look a tenth more would be written each day.
    """

    def __init__(self, cpus: Cpus, processes: Processes, mounts: MountWatch, store: Store, clock: Clock) -> None:
        self._cpus, self._processes, self._mounts, self._store, self._clock = cpus, processes, mounts, store, clock
        self._before: tuple[float, tuple[float, float] | None] | None = None
        self._stuck: set[str] = set()
        self._held: deque[Rider] = deque()
        self._has_handed_over = False
        self._foretold = 0
        self._foretold_at: float | None = None

    def look_at_processes(self) -> None:
        """Who used the host since the last look; the first look tells nothing."""
        now, busy = self._clock.now(), self._cpus.cpu_seconds()
        uses = self._processes.look()
        before, self._before = self._before, (now.steady, busy)
        if before is None or uses is None or now.steady <= before[0]:
            return
        covered = now.steady - before[0]
        capacity = covered * self._cpus.cpu_count()
        found = Capture(round(now.wall), covered, capacity, _busy(before[1], busy, capacity), uses)
        self._held.append(lambda statements, stretch_id: captures.insert(statements, found, stretch_id))
        if not self._has_handed_over or len(self._held) >= LOOKS_AT_ONCE:
            self.hand_over()

    def look_at_filesystems(self) -> None:
        """How full each file system is; those that do not answer have no row."""
        if len(self._held) >= LOOKS_AT_ONCE:
            self.hand_over()
        ts = round(self._clock.now().wall)

        def keep(uses: Sequence[MountUsage]) -> None:
            self._held.append(lambda statements, stretch_id: filesystems.insert(statements, ts, uses, stretch_id))

        self._mounts.look(keep)
        self._tell_stuck()

    def _tell_stuck(self) -> None:
        """Log once that a mount does not answer, and once that it does again."""
        stuck = set(self._mounts.stuck)
        for path in sorted(stuck - self._stuck):
            log.warning("%s does not answer; how full it is stays unknown until it does", path)
        for path in sorted(self._stuck - stuck):
            log.info("%s answers again", path)
        self._stuck = stuck

    def hand_over(self) -> None:
        """What is held goes with the next sample, or with the end of the run."""
        self._has_handed_over = True
        while self._held:  # the thread that asks the file systems may add to it
            self._store.ride(self._held.popleft())

    def foresee(self) -> bool:
        """One step, where an hour has passed: tell of the next file system when it will be full, and see what became of
        what was told before.

        :returns: whether there is another.
        """
        now = self._clock.now()
        if self._foretold == 0 and self._foretold_at is not None and now.steady - self._foretold_at < HOUR:
            return False
        done = self._store.write(lambda statements: foresee(statements, self._foretold, int(now.wall)))
        self._foretold, self._foretold_at = done or 0, now.steady
        return done is not None


def _busy(before: tuple[float, float] | None, now: tuple[float, float] | None, capacity: float) -> float | None:
    """The CPU seconds that the host gave, of its capacity; None where a counter went back or cannot be read."""
    if before is None or now is None:
        return None
    busy, total = now[0] - before[0], now[1] - before[1]
    return min(1.0, busy / total) * capacity if total > 0 and busy >= 0 else None
