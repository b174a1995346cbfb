"""Asks every source once; a source that fails leaves its part out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import psutil

from service.host.counts import ProcessCounter, load
from service.host.cpu import cpu_seconds
from service.host.disks import Disks, DiskUsage
from service.host.memory import Swap, memory
from service.host.network import network
from service.host.source import READ_ERRORS, KeptOpen, possible
from service.records import Reading


@dataclass(frozen=True, slots=True)
class Boot:
    """When the host booted (unix seconds, by its present clock) and the kernel's id of that boot, if it has one."""

    ts: int | None
    id: str | None


class Host:
    """Reads this host. Holds open what it reads every tick."""

    def __init__(self, disk_path: str) -> None:
        self._disk_use = DiskUsage(disk_path)
        self._pressure = {name: KeptOpen(f"/proc/pressure/{name}") for name in ("cpu", "memory", "io")}
        self._processes, self._swap, self._disks = ProcessCounter(), Swap(), Disks()

    def boot(self) -> Boot:
        try:
            ts: int | None = round(psutil.boot_time())
        except READ_ERRORS:
            ts = None
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                return Boot(ts, file.read().strip() or None)
        except (OSError, ValueError):
            return Boot(ts, None)

    def cpu_seconds(self) -> tuple[float, float] | None:
        """(busy, total) seconds of all CPUs since boot; None where they cannot be read."""
        try:
            return cpu_seconds()
        except READ_ERRORS:
            return None

    def cpu_count(self) -> int:
        """CPUs that are online."""
        return psutil.cpu_count() or 1

    def read(self) -> Reading:
        """Everything once; a collector that fails leaves its part out and its error in `errors`."""
        cpu: list[tuple[float, float]] = []
        reading = Reading()
        collectors: Mapping[str, Callable[[], object]] = {
            "cpu": lambda: cpu.append(cpu_seconds()),
            "memory": lambda: reading.gauges.update(possible(memory())),
            "swap": lambda: reading.gauges.update(possible(self._swap.read())),
            "disk": lambda: reading.gauges.update(possible(self._disk_use.read())),
            "load": lambda: reading.gauges.update(possible(load())),
            "processes": lambda: reading.gauges.update(possible({"process_count": self._processes.count()})),
            "network": lambda: reading.counters.update(possible(network())),
            "disk_io": lambda: reading.counters.update(possible(self._disks.read())),
            "pressure": lambda: reading.pressure_us.update(self._pressure_totals()),
        }
        for name, collect in collectors.items():
            try:
                collect()
            except READ_ERRORS as error:
                reading.errors[name] = error
        return Reading(reading.gauges, reading.counters, cpu[0] if cpu else None, reading.pressure_us, reading.errors)

    def _pressure_totals(self) -> dict[str, int]:
        """Empty where the kernel has no PSI, which is no error. Format: docs.kernel.org/accounting/psi.html."""
        totals = {}
        for name, source in self._pressure.items():
            text = source.read()
            if text is not None:
                some = text.split(b"\n", 1)[0]
                totals[f"{name}_pressure"] = int(some.rsplit(b"total=", 1)[1])
        return totals
