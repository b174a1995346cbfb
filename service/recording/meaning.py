"""What two readings mean: a sample, the time that it stands for, and why there was a gap before it. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from service.clock import Instant
from service.records import Break, CpuSeconds, Reading, Reason, Sample


class Observation(NamedTuple):
    """What was read, and when."""

    at: Instant
    reading: Reading


def first_sample(now: Observation, interval_seconds: int, before: Break) -> Sample:
    """The first one of a run stands for no time, and has no shares of time.

    `before`: how the history broke off. It has a reason only where at least one sample was missed.
    """
    ts = round(now.at.wall)
    end = before.prior_end
    has_missed = end is not None and ts - end > 2 * interval_seconds
    return Sample(ts, 0.0, _as_read(now.reading), before if has_missed else Break(end, None))


def next_sample(before: Observation, now: Observation, interval_seconds: int) -> Sample:
    """One that follows another of the same run.

    CPU and pressure are shares of the whole steady time since the reading before, also after a gap: no other figure is
    known. After a gap the sample stands for one interval, and the rest of that time is the gap.
    """
    elapsed = now.at.steady - before.at.steady
    then, reading = before.reading, now.reading
    values = {
        **_as_read(reading),
        "cpu_percent": _cpu_percent(then.cpu_seconds, reading.cpu_seconds),
        "cpu_busiest_percent": _cpu_busiest_percent(then.seconds_by_cpu, reading.seconds_by_cpu, elapsed),
        **_pressures(then.pressure_us, reading.pressure_us, elapsed),
    }
    covered = elapsed if elapsed <= 2 * interval_seconds else float(interval_seconds)
    return Sample(round(now.at.wall), covered, values, _break(before.at, now.at, interval_seconds))


def _as_read(reading: Reading) -> dict[str, float | None]:
    return {**reading.gauges, **reading.counters}


def _break(before: Instant, now: Instant, interval_seconds: int) -> Break | None:
    """None where the sample follows the one before it; else why it does not.

    A gap is more than two intervals of wall time. Its reason is what made most of it: the host was suspended (the boot
    clock went further than the steady one), the clock was stepped (the wall clock went further than the boot clock), or
    the tick came late.
    """
    last_ts = round(before.wall)
    if round(now.wall) <= last_ts:
        return Break(last_ts, "clock_step" if now.wall < before.wall else None)
    if now.wall - before.wall <= 2 * interval_seconds:
        return None
    late = now.steady - before.steady
    asleep = now.boot - before.boot - late
    stepped = now.wall - before.wall - late - asleep
    parts: list[tuple[float, Reason]] = [(late, "overload"), (asleep, "suspended"), (stepped, "clock_step")]
    return Break(last_ts, max(parts, key=lambda part: part[0])[1])


def _cpu_percent(then: CpuSeconds | None, now: CpuSeconds | None) -> float | None:
    """The busy share of the time between; None where a counter went back or nothing was counted."""
    if then is None or now is None:
        return None
    busy, total = now[0] - then[0], now[1] - then[1]
    # idle and iowait may step back a little (proc(5)), so that busy can come out above total.
    return min(100.0, 100 * busy / total) if total > 0 and busy >= 0 else None


def _cpu_busiest_percent(then: Mapping[str, CpuSeconds], now: Mapping[str, CpuSeconds], elapsed: float) -> float | None:
    """The busy share of the CPU whose share is greatest; None where there is none.

    A CPU that was offline for a part of the time counts less than the others, and its share would be of a moment: below
    half it is left out. `elapsed` bounds what is half: the idle time of a CPU that comes back may leap by hours.
    """
    both = {cpu: (then[cpu], seconds) for cpu, seconds in now.items() if cpu in then}
    totals = {cpu: after[1] - before[1] for cpu, (before, after) in both.items()}
    least = min(elapsed, max(totals.values(), default=0.0)) / 2
    shares = [_cpu_percent(*both[cpu]) for cpu, total in totals.items() if total >= least]
    return max((share for share in shares if share is not None), default=None)


def _pressures(then: Mapping[str, int], now: Mapping[str, int], elapsed: float) -> dict[str, float | None]:
    """Share of the elapsed time in which some task waited, from the totals (docs.kernel.org/accounting/psi.html)."""
    shares: dict[str, float | None] = {}
    for name, total in now.items():
        waited = (total - then[name]) / 1e6 if name in then else -1.0
        shares[name] = min(100.0, 100 * waited / elapsed) if waited >= 0 and elapsed > 0 else None
    return shares
