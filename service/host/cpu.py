"""CPU times since boot, of all CPUs together."""

from typing import Any

import psutil

from service.records import CpuSeconds, Reading


def all_cpus() -> Reading:
    """The host's own sum, in which CPUs that are offline keep their times: a sum over the CPUs that are online would
    jump whenever one of them goes or comes.

    :raises ValueError: if /proc/stat is empty or cut short.
    """
    try:
        times = psutil.cpu_times()
    except TypeError as error:  # psutil has too few numbers for its tuple
        raise ValueError(f"/proc/stat is cut short: {error}") from error
    return Reading(cpu_seconds=_busy_and_total(times))


def _busy_and_total(times: Any) -> CpuSeconds:
    """Guest time is part of user time already (proc_stat(5)), idle = idle + iowait; `times`: psutil's `scputimes`."""
    idle = times.idle + getattr(times, "iowait", 0.0)
    busy = times.user + times.system + getattr(times, "nice", 0.0)
    busy += getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0) + getattr(times, "steal", 0.0)
    if not 0 <= busy <= busy + idle < 2.0**63:
        raise ValueError(f"CPU times cannot be {busy} busy, {idle} idle")
    return busy, busy + idle
