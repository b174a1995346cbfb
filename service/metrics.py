"""The words: every metric (name, unit, kind, help); schema, host, answers and docs follow this one list."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """A named quantity.

    `scale`: stored integer = round(value x scale), so that a percentage keeps two decimals in two bytes.
    `minimum_change`: the change over an hour below which no trend word but `stable` is said, in units.
    """

    name: str
    unit: Literal["percent", "processes", "bytes"]
    kind: Literal["gauge", "counter"]
    help: str
    scale: int = 1
    minimum_change: float = 0.0

    @property
    def is_counter(self) -> bool:
        return self.kind == "counter"

    @property
    def shown_unit(self) -> str:
        """The unit in which answers give it: counters come as rates."""
        return "bytes per second" if self.is_counter else self.unit


def _percent(name: str, help: str, minimum_change: float) -> Metric:
    return Metric(name, "percent", "gauge", help, 100, minimum_change)


# The minimum changes of cpu, memory and disk are the contract's. The others follow the nearest of the three:
# swap like memory, pressure like cpu; a load of half a process and five processes are what a person would notice.
METRICS: tuple[Metric, ...] = (
    _percent("cpu_percent", "Busy share of all CPUs over the covered seconds (idle = idle + iowait)", 5),
    _percent("memory_percent", "Share of memory that is not available: (total - available) / total", 2),
    _percent("swap_percent", "Used share of swap; null without swap", 2),
    _percent("disk_percent", "Used share of the file system at sampling.disk_path, by df's rule", 0.5),
    Metric("load_1", "processes", "gauge", "Load average over one minute", 100, 0.5),
    Metric("load_5", "processes", "gauge", "Load average over five minutes", 100, 0.5),
    Metric("load_15", "processes", "gauge", "Load average over fifteen minutes", 100, 0.5),
    Metric("process_count", "processes", "gauge", "Number of processes", 1, 5),
    Metric("network_sent_bytes", "bytes", "counter", "Bytes sent since boot, all interfaces", 1, 1e5),
    Metric("network_received_bytes", "bytes", "counter", "Bytes received since boot, all interfaces", 1, 1e5),
    Metric("disk_read_bytes", "bytes", "counter", "Bytes read since boot, all disks", 1, 1e5),
    Metric("disk_written_bytes", "bytes", "counter", "Bytes written since boot, all disks", 1, 1e5),
    _percent("cpu_pressure", "Share of the covered seconds in which some task waited for a CPU (Linux PSI)", 5),
    _percent("memory_pressure", "Share of the covered seconds in which some task waited for memory (Linux PSI)", 5),
    _percent("io_pressure", "Share of the covered seconds in which some task waited for I/O (Linux PSI)", 5),
)
BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}
GAUGES: tuple[Metric, ...] = tuple(metric for metric in METRICS if not metric.is_counter)
COUNTERS: tuple[Metric, ...] = tuple(metric for metric in METRICS if metric.is_counter)
