"""CPU times of all CPUs since boot."""

import psutil


def cpu_seconds() -> tuple[float, float]:
    """(busy, total) since boot. Guest time is part of user time already (proc(5)), idle = idle + iowait."""
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0)
    busy = times.user + times.system + times.nice if hasattr(times, "nice") else times.user + times.system
    busy += getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0) + getattr(times, "steal", 0.0)
    if not 0 <= busy <= busy + idle < 2.0**63:
        raise ValueError(f"CPU times cannot be {busy} busy, {idle} idle")
    return busy, busy + idle
