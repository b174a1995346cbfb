"""What rooms hand to each other: readings, samples, captures, mounts, forecasts; plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

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
    """What one process used between two captures: CPU seconds, and its resident memory at the second.

    `children_cpu_seconds`: of `cpu_seconds` the part of children that lived and died between the two.
    """

    name: str
    pid: int
    cpu_seconds: float
    memory_bytes: int
    children_cpu_seconds: float = 0.0


class ServiceName(NamedTuple):
    """A service or container, under the name by which its owner knows it."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class NameUsage:
    """What all processes of one name used between two captures, like `ProcessUsage`; memory is their sum, in which what
    they share counts with each. `pid`: the one that used most. `service`: in which that one runs, None where unknown.
    """

    name: str
    process_count: int
    cpu_seconds: float
    memory_bytes: int
    children_cpu_seconds: float
    pid: int
    service: ServiceName | None = None


@dataclass(frozen=True, slots=True)
class AllProcesses:
    """What the host's processes used between two captures.

    `process_count`, `memory_bytes`: of all of them. `names`: those that matter, each whole. `processes`: the largest
    single ones, each of a name in `names`.
    """

    process_count: int
    memory_bytes: int
    names: Sequence[NameUsage]
    processes: Sequence[ProcessUsage]


@dataclass(frozen=True, slots=True)
class ServiceUsage:
    """What a service or container used between two captures, by the kernel's count of its control group, which counts
    the processes that ended too. What its controllers do not give is None.
    """

    name: str
    kind: str
    cpu_seconds: float
    memory_bytes: int | None
    read_bytes: int | None
    written_bytes: int | None
    oom_kills: int | None


class OpenFiles(NamedTuple):
    """Files that all processes have open, and how many the kernel allows; None: no limit to speak of."""

    opened: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class Capture:
    """Who used the machine since the capture before.

    `ts`: unix seconds. `covered_seconds`: the time since the capture before. `capacity_seconds`: what all CPUs could
    have given in it. `busy_seconds`: what they gave, by the host's own figure; None where that is unknown.
    What neither names nor services used of `busy_seconds` is unattributed.
    """

    ts: int
    covered_seconds: float
    capacity_seconds: float
    busy_seconds: float | None
    processes: AllProcesses
    services: Sequence[ServiceUsage] = ()
    open_files: OpenFiles | None = None


@dataclass(frozen=True, slots=True)
class MountsListed:
    """The paths at which anything is mounted, by the kernel's list: also what does not answer, or is read-only.

    `before`: at the look before; None at the first one of a run. `most`: how many file systems are recorded."""

    now: frozenset[str]
    before: frozenset[str] | None
    most: int


@dataclass(frozen=True, slots=True)
class MountUsage:
    """How full one mounted file system is. `available_bytes`: what anyone but root may still fill (df's Avail). Inodes
    are None where the file system makes them as it needs them."""

    path: str
    total_bytes: int
    used_bytes: int
    available_bytes: int
    total_inodes: int | None = None
    used_inodes: int | None = None
    fstype: str | None = None
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Forecast:
    """When the bytes used of a file system reach a level, as forecast at `made` (all unix seconds).

    `is_full`: at that level it is full; otherwise the level is some days' growth away, so that the forecast can soon be
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


# Named tuples, because a tick makes twenty of them: a dataclass that is frozen takes three times as long.
class CpuSeconds(NamedTuple):
    """Seconds since boot in each state (proc_stat(5)); guest time is part of user time, and of nice."""

    user: float = 0.0
    nice: float = 0.0
    system: float = 0.0
    irq: float = 0.0
    softirq: float = 0.0
    steal: float = 0.0
    idle: float = 0.0
    iowait: float = 0.0


_NONE: Mapping[str, Any] = MappingProxyType({})


class SourceResult(NamedTuple):
    """How the reading of one source went: how long it took, and what it raised; None where it was read.

    `is_defect`: the error is none that a host can cause; this program or a library is wrong.
    """

    seconds: float
    error: Exception | None = None
    is_defect: bool = False


class Reading(NamedTuple):
    """Raw readings of one moment: of all sources, or the part that one of them gives.

    `gauges`: metric name -> value, ready to store. `counters`: metric name -> bytes since boot.
    `cpu_seconds`: of all CPUs. `seconds_by_cpu`: of each CPU that is online, by what identifies it; the number of CPUs
    is the number of these.
    `pressure_us`: metric name -> microseconds since boot.
    `limited_cpu`: of a container with a limit the CPU seconds that it has used, and how many CPUs it may use.
    `sources`: source -> how reading it went; the readings of one that raised are absent.
    """

    gauges: Mapping[str, float] = _NONE
    counters: Mapping[str, int] = _NONE
    cpu_seconds: CpuSeconds | None = None
    seconds_by_cpu: Mapping[str, CpuSeconds] = _NONE
    pressure_us: Mapping[str, int] = _NONE
    limited_cpu: tuple[float, float] | None = None
    sources: Mapping[str, SourceResult] = _NONE

    @property
    def errors(self) -> dict[str, Exception]:
        """Of each source that failed, what it raised."""
        return {name: result.error for name, result in self.sources.items() if result.error is not None}


# -- devices

DeviceKind = Literal["disk", "interface", "sensor", "battery"]


class DeviceReading(NamedTuple):
    """One device at one moment.

    `values`: of a disk and an interface its totals since it appeared, in the order of `DEVICE_VALUES`; of a sensor and
    a battery what it shows. None where the host does not give it. `state`: of an interface `up` and the like, of a
    battery `charging` and the like. `limits`: from which on a sensor is hot, and too hot. `is_virtual`: one of the many
    that come and go with containers. `identity`: what another device that takes over the name does not have.
    """

    values: tuple[float | None, ...]
    state: str | None = None
    speed_mbit: int | None = None
    limits: tuple[float | None, float | None] = (None, None)
    is_virtual: bool = False
    identity: int | None = None


# What is read of each kind of device. Bytes, operations, packets, errors and drops are counted; `busy_ms` is the time
# in which a disk had something to do, `wait_ms` that of all its operations together; `errors` and `drops` are those of
# both directions.
DEVICE_VALUES: Mapping[DeviceKind, tuple[str, ...]] = {
    "disk": ("read_bytes", "written_bytes", "read_operations", "written_operations", "busy_ms", "wait_ms"),
    "interface": (
        *("received_bytes", "sent_bytes", "errors", "drops"),
        *("sent_errors", "sent_drops", "received_packets", "sent_packets"),
    ),
    "sensor": ("celsius",),
    "battery": ("percent",),
}


@dataclass(frozen=True, slots=True)
class DeviceUsage:
    """What one device did in the `covered_seconds` before `ts` (unix seconds): what it counted in them, or its average.
    In them it was as `reading` says; the values there are not what is meant."""

    kind: DeviceKind
    name: str
    ts: int
    covered_seconds: float
    values: tuple[float | None, ...]
    reading: DeviceReading
