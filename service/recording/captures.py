"""Captures who uses the host and how full its file systems are, and has both stored with the samples."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from service.clock import HOUR, Clock
from service.host.mounts import MOST_FILE_SYSTEMS, MountWatch
from service.recording.attention import Attention
from service.recording.devices import DeviceRecorder
from service.recording.foresight import foresee
from service.recording.meaning import cpu_percent
from service.records import AllProcesses, Capture, MountUsage, OpenFiles, Reading, Sample, ServiceName, ServiceUsage
from service.store import captures, filesystems
from service.store.riders import Rider
from service.store.writer import Store

log = logging.getLogger(__name__)
# So many captures are stored by one commit: at the default interval those of two minutes, file systems included.
CAPTURES_AT_ONCE = 6
# What covers less is mostly the rounding of the kernel's clock ticks.
LEAST_SECONDS = 0.9


class Processes(Protocol):
    """What the host's processes used since the capture before; None the first time."""

    def capture(self, busy_seconds: float | None = None) -> AllProcesses | None: ...


class Services(Protocol):
    """What its services and containers used since the capture before; None the first time, and where that is unknown.
    `is_cut`: there are more than are captured. `service_of`: in which one a process runs. Either may raise OSError."""

    @property
    def is_cut(self) -> bool: ...

    def capture(self) -> list[ServiceUsage] | None: ...

    def service_of(self, pid: int) -> ServiceName | None: ...


class Cpus(Protocol):
    """The host's own figures: what its CPUs have counted, and so how many there are; empty where unknown."""

    def cpus(self) -> Reading: ...


class Recorder:
    """The jobs beside the samples. Called by the one thread that writes; another one asks the file systems.

    The first capture is stored with the next sample, later ones a few at a time: each commit writes the same pages
    again, and a commit for each capture would write a tenth more each day.
    """

    def __init__(
        self,
        cpus: Cpus,
        processes: Processes,
        services: Services,
        mounts: MountWatch,
        store: Store,
        clock: Clock,
        attention: Attention,
        devices: DeviceRecorder | None = None,
        at_once: int = CAPTURES_AT_ONCE,
        open_files: Callable[[], OpenFiles | None] = lambda: None,
    ) -> None:
        """`devices`: None where they are not recorded. `at_once`: captures that one commit stores. `open_files`: of the
        host, None where unknown."""
        self._devices, self._at_once, self._open_files = devices, at_once, open_files
        self._cpus, self._processes, self._services, self._mounts = cpus, processes, services, mounts
        self._store, self._clock, self._attention = store, clock, attention
        self._before: tuple[float, Reading] | None = None
        self._cpu_count = 0
        self._stuck: set[str] = set()
        self._has_left_out = self._is_cut = self._has_failed = False
        self._held: deque[Rider] = deque()
        self._has_handed_over = False
        self._forecast_mount = 0
        self._forecast_at: float | None = None

    def follow(self, sample: Sample) -> None:
        """After each sample: where it is unusual, a capture at once, and not only when the next one is due."""
        now = self._clock.now().steady
        if self._before is not None and self._attention.wants_capture(
            sample.values, sample.covered_seconds, now, self._before[0]
        ):
            self._capture()

    def capture_processes(self) -> None:
        """The regular capture; left out where one was taken just now."""
        if self._before is None or self._clock.now().steady - self._before[0] >= LEAST_SECONDS:
            self._capture()

    def _capture(self) -> None:
        """Who used the host since the capture before; of the first one nothing is stored, nor while the number of CPUs
        has never been read."""
        now, cpus = self._clock.now(), self._cpus.cpus()
        before, self._before = self._before, (now.steady, cpus)
        self._cpu_count = len(cpus.seconds_by_cpu) or self._cpu_count
        covered = 0.0 if before is None else now.steady - before[0]
        busy_percent = None if before is None or covered <= 0 else cpu_percent(before[1], cpus, covered)
        capacity = covered * self._cpu_count
        busy = None if busy_percent is None else busy_percent / 100 * capacity
        processes, services = self._processes.capture(busy), self._capture_services()
        if self._devices is not None:
            self._devices.capture()
        if processes is None or not capacity:
            return
        capture = Capture(
            ts=round(now.wall),
            covered_seconds=covered,
            capacity_seconds=capacity,
            busy_seconds=busy,
            processes=self._with_services(processes),
            services=services,
            open_files=self._open_files(),
        )
        self._held.append(lambda statements, stretch_id: captures.insert(statements, capture, stretch_id))
        if not self._has_handed_over or len(self._held) >= self._at_once:
            self.hand_over()

    def _capture_services(self) -> Sequence[ServiceUsage]:
        """Empty where they cannot be read: what the processes used is known all the same."""
        try:
            found = self._services.capture() or ()
        except OSError as error:
            if not self._has_failed:
                log.warning("cannot read the control groups: %s; storing no services until it is possible", error)
            self._has_failed = True
            return ()
        if self._has_failed:
            log.info("reading the control groups again")
        self._has_failed = False
        self._log_cut()
        return found

    def _log_cut(self) -> None:
        """Once when there are more control groups than are captured by themselves."""
        if self._services.is_cut and not self._is_cut:
            log.warning("there are more control groups than are recorded; what the rest uses is counted above them")
        self._is_cut = self._services.is_cut

    def _with_services(self, processes: AllProcesses) -> AllProcesses:
        """Each name with the service of its largest process."""
        names = [replace(usage, service=self._service_of(usage.pid)) for usage in processes.names]
        return replace(processes, names=names)

    def _service_of(self, pid: int) -> ServiceName | None:
        try:
            return self._services.service_of(pid)
        except OSError:  # unknown, like that of a process that has ended meanwhile
            return None

    def capture_filesystems(self) -> None:
        """How full each file system is; one that does not answer has no row."""
        if len(self._held) >= self._at_once:
            self.hand_over()
        ts = round(self._clock.now().wall)

        def keep(usages: Sequence[MountUsage]) -> None:
            listed = self._mounts.listed
            self._held.append(
                lambda statements, stretch_id: filesystems.insert(statements, ts, usages, stretch_id, listed)
            )

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
        """What is held is stored with the next sample."""
        self._has_handed_over = True
        while self._held:  # the thread that asks the file systems may add to it
            self._store.ride(self._held.popleft())
        if self._devices is not None:
            self._devices.hand_over()

    def finish(self) -> None:
        """At the end of the run, also what was to be stored later."""
        if self._devices is not None:
            self._devices.finish()
        self.hand_over()

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
