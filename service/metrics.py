"""The words: every metric (name, unit, kind, help); schema, host, answers and docs follow this one list."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

KIB = 1024
Unit = Literal[
    "percent", "processes", "bytes", "CPUs", "faults", "kills", "switches", "forks", "connections", "segments"
]


@dataclass(frozen=True, slots=True)
class Metric:
    """A named quantity.

    `label`: what people read in its place. `chart`: the title of the chart that it is drawn on, with its neighbours.
    `scale`: stored integer = round(value x scale), so that a percentage keeps two decimals in two bytes; gauges of
    bytes are stored in the kernel's own KiB.
    `minimum_change`: the change over an hour below which no trend word but `stable` is said, and between two windows
    below which it has not changed, in units; 0: only others say that it did.
    `is_optional`: a host may have no such thing, and then nothing is shown in its place.
    """

    name: str
    unit: Unit
    kind: Literal["gauge", "counter"]
    label: str
    chart: str
    help: str
    scale: float = 1
    minimum_change: float = 0.0
    is_optional: bool = False

    @property
    def is_counter(self) -> bool:
        return self.kind == "counter"

    @property
    def shown_unit(self) -> str:
        """The unit in which answers give it: counters come as rates."""
        return f"{self.unit} per second" if self.is_counter else self.unit

    @property
    def exposed_name(self) -> str:
        """Its name in /metrics, and where it is forwarded to: base units in the name, ratios for percentages, `_total`
        for counters (prometheus.io/docs/practices/naming)."""
        if self.unit == "percent":
            return f"tidemark_{self.name.removesuffix('_percent')}_ratio"
        # `_count` is for histograms and summaries alone.
        if self.name in ("process_count", "cpu_count"):
            return f"tidemark_{self.unit.lower()}"
        return f"tidemark_{self.name}_total" if self.is_counter else f"tidemark_{self.name}"


def _share(name: str, label: str, chart: str, minimum_change: float, help: str, is_optional: bool = False) -> Metric:
    return Metric(name, "percent", "gauge", label, chart, help, 100, minimum_change, is_optional)


def _load(minutes: int, word: str) -> Metric:
    help = f"Load average over {word} minute{'' if minutes == 1 else 's'}"
    return Metric(f"load_{minutes}", "processes", "gauge", f"Load, {minutes} min", "Load", help, 100, 0.5)


def _bytes(name: str, label: str, chart: str, help: str) -> Metric:
    return Metric(name, "bytes", "counter", label, chart, help, 1, 1e5)


def _mode(name: str, label: str, help: str, minimum_change: float = 5) -> Metric:
    help = f"Share of the time of all CPUs {help}"
    return Metric(f"cpu_{name}_percent", "percent", "gauge", label, "CPU modes", help, 100, minimum_change, True)


def _limit(name: str, label: str, help: str) -> Metric:
    return Metric(f"{name}_limit_percent", "percent", "gauge", label, "Of the limit", help, 100, 5, True)


def _size(name: str, label: str, chart: str, help: str, minimum_change: float = 0) -> Metric:
    return Metric(name, "bytes", "gauge", label, chart, help, 1 / KIB, minimum_change, True)


def _count(
    name: str, unit: Unit, kind: Literal["gauge", "counter"], label: str, chart: str, minimum_change: float, help: str
) -> Metric:
    return Metric(name, unit, kind, label, chart, help, 1, minimum_change, True)


_MEMORY_CHART = "Memory in bytes"
_WAITING = "Share of the covered seconds in which some task waited for {} (Linux PSI)"

# What is asked first: of these there are trend words, percentiles, a line of `status` and a tile of the page.
# The minimum changes of cpu, memory and disk are the contract's. The others follow the nearest of the three:
# swap like memory, pressure like cpu; a load of half a process and five processes are what a person would notice.
HEADLINES: tuple[Metric, ...] = (
    _share("cpu_percent", "CPU", "CPU", 5, "Busy share of all CPUs over the covered seconds (idle = idle + iowait)"),
    _share(
        "cpu_busiest_percent", "Busiest CPU", "CPU", 5, "Busy share of the busiest single CPU over the covered seconds"
    ),
    _share(
        "memory_percent", "Memory", "Memory", 2, "Share of memory that is not available: (total - available) / total"
    ),
    _share("swap_percent", "Swap", "Memory", 2, "Used share of swap; null without swap", is_optional=True),
    _share(
        "disk_percent", "Disk", "Disk space", 0.5, "Used share of the file system at sampling.disk_path, by df's rule"
    ),
    _load(1, "one"),
    _load(5, "five"),
    _load(15, "fifteen"),
    Metric("process_count", "processes", "gauge", "Processes", "Processes", "Number of processes", 1, 5),
    _bytes("network_sent_bytes", "Network out", "Network", "Bytes sent since boot, all interfaces"),
    _bytes("network_received_bytes", "Network in", "Network", "Bytes received since boot, all interfaces"),
    _bytes("disk_read_bytes", "Disk read", "Disk I/O", "Bytes read since boot, all disks"),
    _bytes("disk_written_bytes", "Disk written", "Disk I/O", "Bytes written since boot, all disks"),
    _share("cpu_pressure", "Waiting for CPU", "Waiting for", 5, _WAITING.format("a CPU"), is_optional=True),
    _share("memory_pressure", "Waiting for memory", "Waiting for", 5, _WAITING.format("memory"), is_optional=True),
    _share("io_pressure", "Waiting for I/O", "Waiting for", 5, _WAITING.format("I/O"), is_optional=True),
)

# What says why: of which modes the CPU time was, what memory held, and what the kernel counted meanwhile. Those without
# a least change would say again what a headline, or the events, say: user time, memory in bytes, OOM kills. The least
# changes of counts are what a person would notice, well above what an idle machine does by itself.
DETAILS: tuple[Metric, ...] = (
    _mode("user", "User", "that programs used, their guests too", 0),
    _mode("nice", "Nice", "that programs of low priority used"),
    _mode("system", "System", "that the kernel used for programs"),
    _mode("irq", "Interrupts", "used to answer interrupts"),
    _mode("softirq", "Soft interrupts", "used for what interrupts left to do"),
    _mode("iowait", "Waiting for I/O", "in which a CPU was idle while a task of it waited for I/O; not busy time"),
    _mode("steal", "Steal", "that the hypervisor gave to others"),
    _limit("cpu", "CPU", "CPU time of the container, of what its limit allows"),
    _limit("memory", "Memory", "Memory of the container, of what its limit allows"),
    _count("cpu_count", "CPUs", "gauge", "CPUs", "CPUs", 1, "CPUs that are online"),
    _size("memory_total_bytes", "Total", _MEMORY_CHART, "Memory of the host", 1e8),
    _size("memory_available_bytes", "Available", _MEMORY_CHART, "What programs can still have without swapping"),
    _size("memory_free_bytes", "Free", _MEMORY_CHART, "Memory that nothing uses"),
    _size("memory_buffers_bytes", "Buffers", _MEMORY_CHART, "Raw blocks of disks that are kept in memory"),
    _size("memory_cached_bytes", "Cached", _MEMORY_CHART, "Files that are kept in memory, and shared memory"),
    _size("memory_dirty_bytes", "Dirty", _MEMORY_CHART, "Memory that waits to be written to a disk", 1e8),
    _size("swap_total_bytes", "Swap total", "Swap in bytes", "Swap of the host; 0 without swap"),
    _size("swap_free_bytes", "Swap free", "Swap in bytes", "Swap that nothing uses"),
    _bytes("swap_in_bytes", "Swapped in", "Swapping", "Bytes read from swap since boot"),
    _bytes("swap_out_bytes", "Swapped out", "Swapping", "Bytes written to swap since boot"),
    _count("major_faults", "faults", "counter", "Major faults", "Major faults", 20,
           "Faults since boot that read a disk"),
    _count("oom_kills", "kills", "counter", "OOM kills", "OOM kills", 0,
           "Processes killed for want of memory since boot"),
    _count("context_switches", "switches", "counter", "Context switches", "Context switches", 2000,
           "Context switches since boot"),
    _count("forks", "forks", "counter", "Forks", "Forks", 10, "Processes and threads begun since boot"),
    _count("processes_running", "processes", "gauge", "Running", "Runnable", 2, "Tasks that run or could run"),
    _count("processes_blocked", "processes", "gauge", "Blocked", "Runnable", 1, "Tasks that wait for a disk"),
    _count("tcp_established", "connections", "gauge", "TCP connections", "TCP connections", 20,
           "Established TCP connections"),
    _count("tcp_retransmits", "segments", "counter", "TCP retransmits", "TCP retransmits", 1,
           "TCP segments sent again since boot"),
)  # fmt: skip
METRICS: tuple[Metric, ...] = (*HEADLINES, *DETAILS)

BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}
GAUGES: tuple[Metric, ...] = tuple(metric for metric in METRICS if not metric.is_counter)
COUNTERS: tuple[Metric, ...] = tuple(metric for metric in METRICS if metric.is_counter)


def exposed_value(metric: Metric, value: float) -> float:
    """In base units, with as many digits as are stored: dividing by 100 would make 0.5085999999999999 of 50.86."""
    return round(value / 100, 6) if metric.unit == "percent" else value
