"""The words: every metric (name, unit, kind, help); schema, host, answers and docs follow this one list."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Metric:
    """A named quantity.

    `label`: what people read in its place. `chart`: the title of the chart that it is drawn on, with its neighbours.
    `scale`: stored integer = round(value x scale), so that a percentage keeps two decimals in two bytes.
    `minimum_change`: the change over an hour below which no trend word but `stable` is said, in units.
    `is_optional`: a host may have no such thing, and then nothing is shown in its place.
    """

    name: str
    unit: Literal["percent", "processes", "bytes"]
    kind: Literal["gauge", "counter"]
    label: str
    chart: str
    help: str
    scale: int = 1
    minimum_change: float = 0.0
    is_optional: bool = False

    @property
    def is_counter(self) -> bool:
        return self.kind == "counter"

    @property
    def shown_unit(self) -> str:
        """The unit in which answers give it: counters come as rates."""
        return "bytes per second" if self.is_counter else self.unit

    @property
    def exposed_name(self) -> str:
        """Its name in /metrics, and where it is forwarded to: base units in the name, ratios for percentages, `_total`
        for counters (prometheus.io/docs/practices/naming)."""
        if self.unit == "percent":
            return f"tidemark_{self.name.removesuffix('_percent')}_ratio"
        # `_count` is for histograms and summaries alone.
        if self.name == "process_count":
            return "tidemark_processes"
        return f"tidemark_{self.name}_total" if self.is_counter else f"tidemark_{self.name}"


def _share(name: str, label: str, chart: str, minimum_change: float, help: str, is_optional: bool = False) -> Metric:
    return Metric(name, "percent", "gauge", label, chart, help, 100, minimum_change, is_optional)


def _load(minutes: int, word: str) -> Metric:
    help = f"Load average over {word} minute{'' if minutes == 1 else 's'}"
    return Metric(f"load_{minutes}", "processes", "gauge", f"Load, {minutes} min", "Load", help, 100, 0.5)


def _bytes(name: str, label: str, chart: str, help: str) -> Metric:
    return Metric(name, "bytes", "counter", label, chart, help, 1, 1e5)


_WAITING = "Share of the covered seconds in which some task waited for {} (Linux PSI)"

# The minimum changes of cpu, memory and disk are the contract's. The others follow the nearest of the three:
# swap like memory, pressure like cpu; a load of half a process and five processes are what a person would notice.
METRICS: tuple[Metric, ...] = (
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

BY_NAME: Mapping[str, Metric] = {metric.name: metric for metric in METRICS}
GAUGES: tuple[Metric, ...] = tuple(metric for metric in METRICS if not metric.is_counter)
COUNTERS: tuple[Metric, ...] = tuple(metric for metric in METRICS if metric.is_counter)


def exposed_value(metric: Metric, value: float) -> float:
    """In base units, with as many digits as are stored: dividing by 100 would make 0.5085999999999999 of 50.86."""
    return round(value / 100, 6) if metric.unit == "percent" else value
