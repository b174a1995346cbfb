"""What rooms hand to each other: readings, samples, captures, mounts, forecasts; plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

# (busy, total) seconds since boot.
CpuSeconds = tuple[float, float]
Reason = Literal["stopped", "killed", "rebooted", "suspended", "storage", "clock_step", "overload"]


@dataclass(frozen=True, slots=True)
class Break:
    """Why a sample does not follow the one before it: a new stretch of the history begins.

    `prior_end`: unix seconds at which the stretch before ended; None for the first ever.
    `reason`: None where nothing was missed (a restart within two intervals, say).
    """

    prior_end: int | None
    reason: Reason | None


@dataclass(frozen=True, slots=True)
class Sample:
    """All metrics read at one tick, in natural units; a metric that could not be read is absent or None.

    `ts`: unix seconds of the tick. `covered_seconds`: the time it stands for, before `ts`.
    `begins`: set on the first sample of a stretch; within a stretch `ts` strictly increases.
    """

    ts: int
    covered_seconds: float
    values: Mapping[str, float | None]
    begins: Break | None = None


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """What one process used between two captures: CPU seconds, and its resident memory at the second."""

    name: str
    pid: int
    cpu_seconds: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Capture:
    """Who used the machine since the capture before.

    `ts`: unix seconds. `covered_seconds`: the time since the capture before. `capacity_seconds`: what all CPUs could
    have given in it. `busy_seconds`: what they gave, by the host's own figure; None where that is unknown.
    `usages`: of the processes that used most CPU or memory, not of all: the rest of `busy_seconds` is unattributed.
    """

    ts: int
    covered_seconds: float
    capacity_seconds: float
    busy_seconds: float | None
    usages: Sequence[ProcessUsage]


@dataclass(frozen=True, slots=True)
class MountUsage:
    """How full one mounted file system is. `available_bytes`: what anyone but root may still fill (df's Avail)."""

    path: str
    total_bytes: int
    used_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """When the bytes used of a file system reach a level, as forecast at `made` (all unix seconds).

    `is_full`: at that level it is full; otherwise the level is one day's growth away, so that the forecast can soon be
    scored. `latest` is None where no upper bound can be given.
    """

    made: int
    mount: str
    is_full: bool
    level_bytes: int
    growth_bytes_per_day: int
    earliest: int
    middle: int
    latest: int | None


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
