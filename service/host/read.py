"""Asks every source once; a source that fails leaves its part out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import psutil

from service.clock import steady
from service.host.counts import Load, OpenFileCounter, ProcessCounter
from service.host.cpu import Cpus
from service.host.disks import Disks, DiskUsage
from service.host.limits import Limited
from service.host.memory import Memory, Paging
from service.host.network import Network, Tcp
from service.host.pressure import Pressure
from service.host.source import READ_ERRORS
from service.records import CpuSeconds, OpenFiles, Reading, SourceResult


@dataclass(frozen=True, slots=True)
class Boot:
    """When the host booted (unix seconds, by its present clock) and the kernel's id of that boot, if it has one."""

    ts: int | None
    id: str | None


class Host:
    """Reads this host. Holds open what it reads every tick."""

    def __init__(self, disk_path: str) -> None:
        """`disk_path`: in the file system whose `disk_percent` is read."""
        self._network, self._disks = Network(), Disks()
        cpus, memory = Cpus(), Memory()
        self._open_files = OpenFileCounter()
        self._sources: Mapping[str, Callable[[], Reading]] = {
            "cpu": cpus.all,
            "each_cpu": cpus.each,
            "activity": cpus.activity,
            "memory": memory.memory,
            "swap": memory.swap,
            "paging": Paging().read,
            "disk": DiskUsage(disk_path).read,
            "load": Load().read,
            "processes": ProcessCounter().read,
            "network": self._network.read,
            "tcp": Tcp().read,
            "disk_io": self._disks.read,
            "pressure": Pressure().read,
            "limits": Limited().read,
        }

    def go_on_from(self, counters: Mapping[str, int]) -> None:
        """See `Totals.go_on_from`; before the first `read`."""
        self._network.go_on_from(counters)
        self._disks.go_on_from(counters)

    def read(self) -> Reading:
        """Every source once, and how that went for each."""
        parts: list[Reading] = []
        results: dict[str, SourceResult] = {}
        since = steady()
        for name, read in self._sources.items():
            error: Exception | None = None
            try:
                parts.append(read())
            except Exception as raised:  # noqa: BLE001 - a defect costs its own source alone; the sampler passes it on
                error = raised
            until = steady()
            results[name] = SourceResult(until - since, error, _is_defect(error))
            since = until
        return _together(parts, results)

    def boot(self) -> Boot:
        try:
            ts: int | None = round(psutil.boot_time())
        except (*READ_ERRORS, RuntimeError):  # RuntimeError: a /proc/stat without btime
            ts = None
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                return Boot(ts, file.read().strip() or None)
        except (OSError, ValueError):
            return Boot(ts, None)

    def open_files(self) -> OpenFiles | None:
        """None where they cannot be counted."""
        try:
            return self._open_files.read()
        except READ_ERRORS:
            return None

    def cpus(self) -> Reading:
        """The times of all CPUs and of each one, as in `read`; empty where they cannot be read."""
        try:
            return _together([self._sources["cpu"](), self._sources["each_cpu"]()], {})
        except READ_ERRORS:
            return Reading()


def _is_defect(error: Exception | None) -> bool:
    return error is not None and not isinstance(error, READ_ERRORS)


def _together(parts: Iterable[Reading], results: Mapping[str, SourceResult]) -> Reading:
    gauges: dict[str, float] = {}
    counters: dict[str, int] = {}
    cpu_seconds: CpuSeconds | None = None
    seconds_by_cpu: dict[str, CpuSeconds] = {}
    pressure_us: dict[str, int] = {}
    limited_cpu: tuple[float, float] | None = None
    for part in parts:
        # Asked before, because most have but one of these, and to add nothing costs more than to ask.
        if part.gauges:
            gauges.update(part.gauges)
        if part.counters:
            counters.update(part.counters)
        cpu_seconds = part.cpu_seconds or cpu_seconds
        limited_cpu = part.limited_cpu or limited_cpu
        if part.seconds_by_cpu:
            seconds_by_cpu.update(part.seconds_by_cpu)
        if part.pressure_us:
            pressure_us.update(part.pressure_us)
    return Reading(gauges, counters, cpu_seconds, seconds_by_cpu, pressure_us, limited_cpu, results)
