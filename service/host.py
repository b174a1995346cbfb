"""What the host is doing now: one collector a source; alone touches psutil and /proc.

A collector returns raw readings (gauges as they are, counters and times as totals since boot); what they mean over a
tick is the sampler's. Each fails alone: what it could not read is absent, and its error is told.
"""

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import psutil

from service.clock import steady
from service.metrics import METRICS

# What broken, missing or nonsensical sources have been seen to raise through psutil.
_READ_ERRORS = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RuntimeError,
    ArithmeticError,
    NotImplementedError,
    NameError,
    AssertionError,
    EOFError,
    MemoryError,
    psutil.Error,
)

# What a reading may be at most: a share is 0 to 100, and no count passes what the kernel counts in.
_MOST = {metric.name: 100.0 if metric.unit == "percent" else 2.0**63 for metric in METRICS}

# The inode number of the first PID namespace (PROC_PID_INIT_INO, include/linux/proc_ns.h).
_FIRST_PID_NAMESPACE = "pid:[4026531836]"
# How often the count by link number is held against a listing of /proc.
_CALIBRATE_EVERY = 720
# How often the use of the disk is asked for, and how long the first sample waits for it, in seconds.
_DISK_SECONDS = 5.0
_FIRST_DISK_SECONDS = 0.5
# Ticks between two looks at a host that had no swap.
_WITHOUT_SWAP_SKIP = 60


_Number = TypeVar("_Number", int, float)


@dataclass(frozen=True, slots=True)
class Reading:
    """Raw readings of one moment.

    `gauges`: metric name -> value, ready to store. `counters`: metric name -> bytes since boot.
    `cpu_seconds`: (busy, total) of all CPUs since boot. `pressure_us`: metric name -> microseconds since boot.
    `errors`: collector -> what it raised; its readings are absent.
    """

    gauges: dict[str, float] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    cpu_seconds: tuple[float, float] | None = None
    pressure_us: dict[str, int] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Boot:
    """When the host booted (unix seconds, by its present clock) and the kernel's id of that boot, if it has one."""

    ts: int | None
    id: str | None


class Host:
    """Reads this host. Holds open what it reads every tick."""

    def __init__(self, disk_path: str) -> None:
        self._disk_use = DiskUse(disk_path)
        self._pressure = {name: _Reread(f"/proc/pressure/{name}") for name in ("cpu", "memory", "io")}
        self._processes, self._swap, self._disks = ProcessCounter(), Swap(), Disks()

    def boot(self) -> Boot:
        try:
            ts: int | None = round(psutil.boot_time())
        except _READ_ERRORS:
            ts = None
        try:
            with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
                return Boot(ts, file.read().strip() or None)
        except (OSError, ValueError):
            return Boot(ts, None)

    def cpu_seconds(self) -> tuple[float, float] | None:
        """(busy, total) seconds of all CPUs since boot; None where they cannot be read."""
        try:
            return _cpu_seconds()
        except _READ_ERRORS:
            return None

    def cpu_count(self) -> int:
        """CPUs that are online."""
        return psutil.cpu_count() or 1

    def read(self) -> Reading:
        """Everything once; a collector that fails leaves its part out and its error in `errors`."""
        cpu: list[tuple[float, float]] = []
        reading = Reading()
        collectors: Mapping[str, Callable[[], object]] = {
            "cpu": lambda: cpu.append(_cpu_seconds()),
            "memory": lambda: reading.gauges.update(_possible(_memory())),
            "swap": lambda: reading.gauges.update(_possible(self._swap.read())),
            "disk": lambda: reading.gauges.update(_possible(self._disk_use.read())),
            "load": lambda: reading.gauges.update(_possible(_load())),
            "processes": lambda: reading.gauges.update(_possible({"process_count": self._processes.count()})),
            "network": lambda: reading.counters.update(_possible(_network())),
            "disk_io": lambda: reading.counters.update(_possible(self._disks.read())),
            "pressure": lambda: reading.pressure_us.update(self._pressure_totals()),
        }
        for name, collect in collectors.items():
            try:
                collect()
            except _READ_ERRORS as error:
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


def _possible(values: dict[str, _Number]) -> dict[str, _Number]:
    """The values, unless one cannot be: it is then left out and told, never clamped to what would look true.

    Nothing is known of how fast a network may be, so a counter is only held to its range; its rate is analysis.

    :raises ValueError: if one is negative, no number, or more than there can be.
    """
    for name, value in values.items():
        if not 0 <= value <= _MOST[name]:  # also for NaN
            raise ValueError(f"{name} cannot be {value}")
    return values


class _Reread:
    """A small /proc file, kept open because opening costs more than reading; None where the kernel has none."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._descriptor: int | None = None

    def read(self) -> bytes | None:
        try:
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            return os.pread(self._descriptor, 4096, 0)
        except OSError as error:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None
            # ENOENT: an older kernel. EOPNOTSUPP: built in, switched off (psi=0).
            if isinstance(error, FileNotFoundError) or error.errno == 95:
                return None
            raise


class Swap:
    """Swap use. A host without swap is asked again only now and then: the question costs as much as all of CPU."""

    def __init__(self) -> None:
        self._skip = 0

    def read(self) -> dict[str, float]:
        """Empty without swap."""
        if self._skip:
            self._skip -= 1
            return {}
        swap = psutil.swap_memory()
        if not swap.total:
            self._skip = _WITHOUT_SWAP_SKIP
            return {}
        return {"swap_percent": 100 * swap.used / swap.total}


class Disks:
    """Bytes read and written by whole disks; their partitions would count twice.

    psutil's own sum looks up each device in /sys at each call; which names are whole disks is kept here instead.
    """

    def __init__(self) -> None:
        self._is_whole: dict[str, bool] = {}

    def read(self) -> dict[str, int]:
        """Empty on a host without disks."""
        disks = psutil.disk_io_counters(perdisk=True, nowrap=False)
        whole = [counters for name, counters in disks.items() if self._counts(name)]
        if not whole:
            return {}
        return {
            "disk_read_bytes": sum(disk.read_bytes for disk in whole),
            "disk_written_bytes": sum(disk.write_bytes for disk in whole),
        }

    def _counts(self, name: str) -> bool:
        """By psutil's rule: what has a folder of its own in /sys/block (slashes written `!`); off Linux, everything."""
        if name not in self._is_whole:
            block = "/sys/block"
            self._is_whole[name] = not os.path.isdir(block) or os.path.exists(f"{block}/{name.replace('/', '!')}")
        return self._is_whole[name]


class DiskUse:
    """How full one file system is, asked every few seconds by a thread of its own: on a dead mount the question hangs,
    and then it hangs there alone."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._answer: tuple[dict[str, float] | Exception, float] | None = None
        self._first = threading.Event()
        self._thread: threading.Thread | None = None

    def read(self) -> dict[str, float]:
        """The newest answer.

        :raises TimeoutError: if the file system has not answered for three periods.
        """
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._ask, name="disk use", daemon=True)
            self._thread.start()
            self._first.wait(_FIRST_DISK_SECONDS)
        if self._answer is None or steady() - self._answer[1] > 3 * _DISK_SECONDS:
            raise TimeoutError(f"{self._path} does not answer")
        use, _ = self._answer
        if isinstance(use, Exception):
            raise use
        return use

    def _ask(self) -> None:
        pause = threading.Event()
        while True:
            try:
                use: dict[str, float] | Exception = _disk(self._path)
            except _READ_ERRORS as error:
                use = error
            self._answer = (use, steady())
            self._first.set()
            pause.wait(_DISK_SECONDS)


class ProcessCounter:
    """Counts processes without looking at each.

    The link count of /proc is the number of its folders: those of the processes and a few others. It counts every PID
    namespace and those that are hidden from us, so it serves only in the first one, where we see all, and only while it
    agrees with a listing now and then.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._others: int | None = None

    def count(self) -> int:
        """
        :raises RuntimeError: if there is none, not even this one: /proc is not what it should be.
        """
        if self._calls % _CALIBRATE_EVERY == 0:
            self._others = self._calibrate()
        self._calls += 1
        count = os.stat("/proc").st_nlink - self._others if self._others is not None else len(psutil.pids())
        if count < 1:
            self._calls = 0
            raise RuntimeError("/proc lists no process")
        return count

    def _calibrate(self) -> int | None:
        """How many links of /proc are no process; None where that cannot be told."""
        try:
            # Where /proc hides the processes of others (hidepid), it hides the first one too.
            if os.readlink("/proc/self/ns/pid") != _FIRST_PID_NAMESPACE or not os.path.exists("/proc/1"):
                return None
            for _ in range(3):
                before = os.stat("/proc").st_nlink
                listed = len(psutil.pids())
                if before == os.stat("/proc").st_nlink:
                    return before - listed
        except OSError:
            return None
        return None


def _cpu_seconds() -> tuple[float, float]:
    """(busy, total) since boot. Guest time is part of user time already (proc(5)), idle = idle + iowait."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    busy = times.user + times.system + times.nice if hasattr(times, "nice") else times.user + times.system
    busy += getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0) + getattr(times, "steal", 0.0)
    if not 0 <= busy <= busy + idle < 2.0**63:
        raise ValueError(f"CPU times cannot be {busy} busy, {idle} idle")
    return busy, busy + idle


def _memory() -> dict[str, float]:
    memory = psutil.virtual_memory()
    return {"memory_percent": 100 * (memory.total - memory.available) / memory.total}


def _disk(path: str) -> dict[str, float]:
    """By df's rule: what is used, of what is used or free to everyone (coreutils df.c)."""
    usage = psutil.disk_usage(path)
    return {"disk_percent": 100 * usage.used / (usage.used + usage.free)} if usage.used + usage.free else {}


def _load() -> dict[str, float]:
    return dict(zip(("load_1", "load_5", "load_15"), psutil.getloadavg(), strict=True))


def _network() -> dict[str, int]:
    # nowrap=False: psutil would add 2^32 and more to a counter that was reset.
    counters = psutil.net_io_counters(nowrap=False)
    if counters is None:
        return {}
    return {"network_sent_bytes": counters.bytes_sent, "network_received_bytes": counters.bytes_recv}
