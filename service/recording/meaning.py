"""What two readings mean: a sample, the time that it stands for, and why there was a gap before it. Pure."""

from collections.abc import Mapping, Sequence
from math import sqrt
from operator import sub
from typing import NamedTuple

from service.clock import Instant
from service.records import Break, CpuSeconds, Reading, Reason, Sample

# Where a busy state fell, so much of the time may be missing for the share to be known: a point of it.
_BUSY_MISSING = 0.01
# In CpuSeconds the busy states stand before idle and iowait.
_BUSY_STATES = _IDLE = CpuSeconds._fields.index("idle")
_IOWAIT = CpuSeconds._fields.index("iowait")
# State -> its metric.
_MODES = {number: f"cpu_{state}_percent" for number, state in enumerate(CpuSeconds._fields) if number != _IDLE}


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
        "cpu_percent": cpu_percent(then, reading, elapsed),
        **_mode_percents(then, reading, elapsed),
        "cpu_busiest_percent": _cpu_busiest_percent(then.seconds_by_cpu, reading.seconds_by_cpu, elapsed),
        **_pressures(then.pressure_us, reading.pressure_us, elapsed),
        **_of_limit(then, reading, elapsed),
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


def cpu_percent(then: Reading, now: Reading, elapsed: float) -> float | None:
    """The busy share of all CPUs in the elapsed seconds; None where it is unknown.

    How much time the CPUs had is known from the number of them in the same reading. While a CPU goes offline or comes
    back, it is not known.
    """
    count = len(now.seconds_by_cpu)
    if len(then.seconds_by_cpu) != count:
        return None
    return _busy_percent(then.cpu_seconds, now.cpu_seconds, elapsed * count)


def _busy_percent(then: CpuSeconds | None, now: CpuSeconds | None, capacity: float) -> float | None:
    """The busy share of the CPU seconds that were to be had (`capacity`); None where the counters cannot be true.

    A state whose counter fell is taken for no time. Where time is missing, the share is that of the capacity: what was
    counted as busy was busy, and what is missing was not, be it idle time that the kernel took back (proc_stat(5)) or
    time in which a CPU was offline. Where a busy state fell, nobody knows what is missing.
    """
    if then is None or now is None:
        return None
    changes: list[float] = list(map(sub, now, then))
    whole = _whole(changes, capacity)
    return None if whole is None else 100 * (_busy(changes) / whole)


def _busy(changes: Sequence[float]) -> float:
    return sum([change for change in changes[:_BUSY_STATES] if change > 0])


def _whole(changes: Sequence[float], capacity: float) -> float | None:
    """The seconds of which the states are shares; None where the counters cannot be true."""
    busy = _busy(changes)
    total = busy + _idle(changes[_BUSY_STATES:], capacity - busy)
    if not 0 < total <= capacity + tolerance(capacity):
        return None
    if min(changes[:_BUSY_STATES]) < 0 and (busy == 0 or total < (1 - _BUSY_MISSING) * capacity):
        return None
    return total if total >= capacity - tolerance(capacity) else capacity


def _mode_percents(then: Reading, now: Reading, elapsed: float) -> dict[str, float | None]:
    """The share of each state but idle in the elapsed seconds, of the same whole as `cpu_percent`, to which the busy
    ones add up; all are None where that is.

    A state whose counter fell is unknown. Where idle fell, iowait may have been idle before (see `_idle`).
    """
    before, after = then.cpu_seconds, now.cpu_seconds
    whole = None
    if before is not None and after is not None and len(then.seconds_by_cpu) == len(now.seconds_by_cpu):
        changes: list[float] = list(map(sub, after, before))
        whole = _whole(changes, elapsed * len(now.seconds_by_cpu))
    if whole is None:
        return dict.fromkeys(_MODES.values())
    known = [100 * (change / whole) if 0 <= change <= whole else None for change in changes]
    if changes[_IDLE] < 0:
        known[_IOWAIT] = None
    return {name: known[state] for state, name in _MODES.items()}


def _idle(changes: Sequence[float], left: float) -> float:
    """Seconds of idle and iowait together, of which about `left` are to be expected.

    While a CPU sleeps the kernel counts all of this sleep as the one or the other, by whether a task of it waits for
    I/O just then (get_idle_time and get_iowait_time, fs/proc/stat.c). When that changes, one of them falls and the
    other leaps by as much: only their sum goes on.
    """
    grown, together = sum([change for change in changes if change > 0]), max(0.0, sum(changes))
    return together if abs(together - left) < abs(grown - left) else grown


def tolerance(seconds: float) -> float:
    """How far the counters of a healthy host may lie from the seconds that passed on the clock.

    Most kernels book a whole tick (1 to 10 ms) to the state that they meet at its end, which for short bursts is a draw
    by lot: its error grows with the root of the time, to 0.05 seconds in one second at 100 ticks a second. Twice that,
    and a twentieth for the moment between the clock and the counters on a busy host.
    Source: docs.kernel.org/admin-guide/cpu-load.html
    """
    return 0.05 * seconds + 0.1 * sqrt(seconds)


def _cpu_busiest_percent(then: Mapping[str, CpuSeconds], now: Mapping[str, CpuSeconds], elapsed: float) -> float | None:
    """The busy share of the CPU whose share is greatest; None where there is none.

    A CPU that was offline for a part of the time has the share of the whole time that it was busy. One whose counters
    leap, because it comes back, is left out.
    """
    shares = [_busy_percent(then[cpu], seconds, elapsed) for cpu, seconds in now.items() if cpu in then]
    return max((share for share in shares if share is not None), default=None)


def _of_limit(then: Reading, now: Reading, elapsed: float) -> dict[str, float | None]:
    """The share of the CPU time that the container was allowed; nothing where it has no limit."""
    if now.limited_cpu is None or then.limited_cpu is None:
        return {}
    used, allowed = now.limited_cpu[0] - then.limited_cpu[0], now.limited_cpu[1] * elapsed
    is_possible = allowed > 0 and 0 <= used <= allowed + tolerance(allowed)
    return {"cpu_limit_percent": 100 * (used / max(used, allowed)) if is_possible else None}


def _pressures(then: Mapping[str, int], now: Mapping[str, int], elapsed: float) -> dict[str, float | None]:
    """Share of the elapsed time in which some task waited, from the totals (docs.kernel.org/accounting/psi.html); None
    where that cannot be."""
    shares: dict[str, float | None] = {}
    for name, total in now.items():
        waited = (total - then[name]) / 1e6 if name in then else -1.0
        is_possible = elapsed > 0 and 0 <= waited <= elapsed + tolerance(elapsed)
        shares[name] = 100 * (waited / max(elapsed, waited)) if is_possible else None
    return shares
