"""The history under node_exporter's names, as far as that is true of what is stored.

What node_exporter reads as seconds since boot is stored as a share of the time that a sample covers: added up, these
shares are a counter too, from the boot or the first sample of it on. It is kept in whole units of 100 ns, so that it is
the same whether it is added up at once or batch by batch. Of all CPUs only the sum is stored: so there is one series a
mode, with `cpu="all"`, and none that claims to be a CPU.
"""

import os
from collections.abc import Sequence

from service.forward.lines import Columns, Line, Naming, line
from service.metrics import BY_NAME, METRICS
from service.store.forwards import Piece

# Hundredths of a percent x milliseconds.
_UNITS_A_SECOND = 10_000_000
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PLACE = {metric.name: number for number, metric in enumerate(METRICS)}
_WHOLE_E2 = 10_000

# node_exporter's name -> the metric that it is, in the same unit.
SAME = {
    "node_load1": "load_1",
    "node_load5": "load_5",
    "node_load15": "load_15",
    "node_memory_MemTotal_bytes": "memory_total_bytes",
    "node_memory_MemAvailable_bytes": "memory_available_bytes",
    "node_memory_MemFree_bytes": "memory_free_bytes",
    "node_memory_Buffers_bytes": "memory_buffers_bytes",
    "node_memory_Cached_bytes": "memory_cached_bytes",
    "node_memory_Dirty_bytes": "memory_dirty_bytes",
    "node_memory_SwapTotal_bytes": "swap_total_bytes",
    "node_memory_SwapFree_bytes": "swap_free_bytes",
    "node_procs_running": "processes_running",
    "node_procs_blocked": "processes_blocked",
    "node_context_switches_total": "context_switches",
    "node_forks_total": "forks",
    "node_vmstat_pgmajfault": "major_faults",
    "node_vmstat_oom_kill": "oom_kills",
    "node_netstat_Tcp_CurrEstab": "tcp_established",
    "node_netstat_Tcp_RetransSegs": "tcp_retransmits",
}
# That count pages, not bytes.
PAGES = {"node_vmstat_pswpin": "swap_in_bytes", "node_vmstat_pswpout": "swap_out_bytes"}
WAITING = {
    "node_pressure_cpu_waiting_seconds_total": "cpu_pressure",
    "node_pressure_memory_waiting_seconds_total": "memory_pressure",
    "node_pressure_io_waiting_seconds_total": "io_pressure",
}
MODES = ("user", "nice", "system", "irq", "softirq", "iowait", "steal", "idle")
CPU_SECONDS = "node_cpu_seconds_total"
# How many there are cannot be counted by a label.
CPUS = BY_NAME["cpu_count"].exposed_name


def _lines() -> tuple[Line, ...]:
    lines = [_same(name, metric) for name, metric in SAME.items()]
    lines += [line(name, _PAGE_BYTES, metric) for name, metric in PAGES.items()]
    lines += [line(name, _UNITS_A_SECOND, name, is_sum=True) for name in WAITING]
    for mode in MODES:
        lines.append(
            line(
                CPU_SECONDS, _UNITS_A_SECOND, f"{CPU_SECONDS} {mode}", is_sum=True, labels={"cpu": "all", "mode": mode}
            )
        )
    uname = os.uname()
    said = {"sysname": uname.sysname, "nodename": uname.nodename, "machine": uname.machine}
    return (
        *lines,
        line(CPUS, 1),
        line("node_time_seconds", 1),
        line("node_boot_time_seconds", 1),
        line("node_uname_info", 1, labels=said),
    )


def _same(name: str, stored: str) -> Line:
    metric = BY_NAME[stored]
    return line(name, metric.scale, metric.name if metric.is_counter else None)


def _columns(piece: Piece) -> Columns:
    stamps, *stored, covered = zip(*piece.rows, strict=True)
    yield from (stored[_PLACE[metric]] for metric in (*SAME.values(), *PAGES.values()))
    for metric in WAITING.values():
        yield [None if share is None else share * ms for share, ms in zip(stored[_PLACE[metric]], covered, strict=True)]
    cpus = stored[_PLACE["cpu_count"]]
    capacity = [None if count is None else count * ms for count, ms in zip(cpus, covered, strict=True)]
    for mode in MODES[:-1]:
        yield _spent(stored[_PLACE[f"cpu_{mode}_percent"]], capacity)
    yield _spent(_idle(stored[_PLACE["cpu_percent"]], stored[_PLACE["cpu_iowait_percent"]]), capacity)
    yield from (cpus, stamps, [piece.stretch.boot_ts] * len(stamps), [1] * len(stamps))


def _spent(shares: Sequence[int | None], capacity: Sequence[int | None]) -> list[int | None]:
    """The time of a mode, of what all CPUs could have given in each sample."""
    return [
        None if share is None or whole is None else share * whole for share, whole in zip(shares, capacity, strict=True)
    ]


def _idle(busy: Sequence[int | None], iowait: Sequence[int | None]) -> list[int | None]:
    """What was neither busy nor spent waiting for I/O; where the kernel did not tell the two apart, all was idle."""
    return [
        None if used is None else max(0, _WHOLE_E2 - used - (waited or 0))
        for used, waited in zip(busy, iowait, strict=True)
    ]


NODE = Naming(_lines(), _columns, is_covered=True)
