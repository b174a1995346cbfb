"""What sysstat recorded, by Tidemark's metrics: reads the JSON of sadf, and refuses what is not what it seems."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import msgspec
from msgspec import Struct

from service import clock
from service.importing import sadf
from service.importing.sadf import FileRefused

# 2000-01-01T00:00:00Z. A file of another byte order is read as garbage, in which years and intervals are absurd.
EARLIEST = 946_684_800
LONGEST_SECONDS = clock.DAY
# By which `memused-percent`, which has two decimals, may differ from what it was computed from.
_PERCENT_ERROR = 0.02
# Beyond any host: sysstat makes such a rate of a counter that began anew.
_MOST_BYTES_PER_SECOND = 1e12


@dataclass(frozen=True, slots=True)
class Record:
    """What sysstat stored for start <= t < end: averages, and of counters the bytes a second; what it lacks is absent.

    `seconds`: its interval. `boot`: of the restart just before it, where one lies between it and the record before.
    """

    start: int
    end: int
    seconds: int
    values: Mapping[str, float]
    boot: int | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """One file. `records`: in time order, none of which touches another. `version`: which sysstat recorded it."""

    file: Path
    version: str
    records: Sequence[Record]


# -- the JSON of sadf; man 1 sadf has no schema of it, sysstat's source does (json_stats.c)


class _Stamp(Struct):
    """`tz` in place of `utc` since sysstat 12.7.1."""

    date: str
    time: str
    utc: int | None = None
    tz: str | None = None
    interval: int = 0


class _Cpu(Struct):
    cpu: str
    idle: float | None = None
    iowait: float | None = None


class _Memory(Struct, rename={"used_percent": "memused-percent"}):
    memfree: float | None = None
    avail: float | None = None
    memused: float | None = None
    used_percent: float | None = None
    buffers: float | None = None
    cached: float | None = None
    slab: float | None = None
    swpfree: float | None = None
    swpused: float | None = None


class _Queue(Struct, rename={"threads": "plist-sz", "load_1": "ldavg-1", "load_5": "ldavg-5", "load_15": "ldavg-15"}):
    threads: int | None = None
    load_1: float | None = None
    load_5: float | None = None
    load_15: float | None = None


class _Pressure(Struct):
    some_avg: float | None = None


class _Pressures(Struct, rename={"cpu": "psi-cpu", "memory": "psi-mem", "io": "psi-io"}):
    cpu: _Pressure | None = None
    memory: _Pressure | None = None
    io: _Pressure | None = None


class _Interface(Struct, rename={"received_kb": "rxkB", "sent_kb": "txkB"}):
    received_kb: float | None = None
    sent_kb: float | None = None


class _Network(Struct, rename={"interfaces": "net-dev"}):
    interfaces: list[_Interface] = []


class _Reads(Struct):
    bread: float | None = None


class _Writes(Struct):
    bwrtn: float | None = None


class _Io(Struct, rename={"reads": "io-reads", "writes": "io-writes"}):
    reads: _Reads | None = None
    writes: _Writes | None = None


class _Filesystem(Struct, rename={"free_mb": "MBfsfree", "used_mb": "MBfsused", "not_available_percent": "%ufsused"}):
    mountpoint: str | None = None
    free_mb: float | None = None
    used_mb: float | None = None
    not_available_percent: float | None = None


class _Statistics(Struct, rename={"cpus": "cpu-load", "cpus_by_all": "cpu-load-all"}):
    """`cpus_by_all`: how sysstat 10 called them where all was asked for."""

    timestamp: _Stamp
    cpus: list[_Cpu] = []
    cpus_by_all: list[_Cpu] = []
    memory: _Memory | None = None
    queue: _Queue | None = None
    psi: _Pressures | None = None
    network: _Network | None = None
    io: _Io | None = None
    filesystems: list[_Filesystem] = []


class _Restart(Struct):
    boot: _Stamp | None = None


class _Host(Struct):
    nodename: str
    statistics: list[_Statistics]
    restarts: list[_Restart] = []


class _Hosts(Struct):
    hosts: list[_Host]


class _Output(Struct):
    sysstat: _Hosts


# -- a file


def read(file: Path, host: str, disk_path: str, now: float) -> Past:
    """The records of one file: of sysstat itself, or the output of `sadf -j`.

    `host`: whose it must be. `disk_path`: in the file system whose `disk_percent` is wanted.

    :raises FileRefused: if it cannot be read, or is not what it seems.
    """
    text, version = sadf.written(file)
    try:
        hosts = msgspec.json.decode(text, type=_Output).sysstat.hosts
        if len(hosts) != 1:
            raise ValueError(f"it holds {len(hosts)} hosts, and a history is of one")
        found = hosts[0]
        if found.nodename != host:
            name = found.nodename
            raise ValueError(f"recorded on {name!r}, and this is {host!r}; --host {name} imports it all the same")
        return Past(file, version, list(_records(found, disk_path, now)))
    except (msgspec.DecodeError, RecursionError) as error:
        raise FileRefused(f"{file}: not the whole output of `sadf -j`: {error}") from None
    except ValueError as error:
        raise FileRefused(f"{file}: {error}") from None


def _records(host: _Host, disk_path: str, now: float) -> Iterator[Record]:
    """
    :raises ValueError: if a time is not what it seems.
    """
    boots = sorted(_moment(restart.boot, now) for restart in host.restarts if restart.boot is not None)
    before = 0
    for found in host.statistics:
        end, seconds = _moment(found.timestamp, now), found.timestamp.interval
        if not 1 <= seconds <= LONGEST_SECONDS:
            raise ValueError(f"an interval of {seconds} seconds is none that sysstat records: another byte order?")
        if end <= before:
            raise ValueError(f"its times do not rise at {clock.rfc3339(end)}")
        boot = max((ts for ts in boots if before <= ts < end), default=None)
        # Seconds are rounded, and a clock that was set leaves an interval that begins before the record before it ends.
        yield Record(max(end - seconds, before), end, seconds, _values(found, disk_path), boot)
        before = end


def _moment(stamp: _Stamp, now: float) -> int:
    """
    :raises ValueError: if it is local, no time, or one at which sysstat recorded nothing.
    """
    if stamp.utc != 1 and stamp.tz != "UTC":
        raise ValueError("its times are local, of which an hour a year comes twice; have sadf write UTC (no -t, no -T)")
    try:
        ts = clock.parse_time(f"{stamp.date}T{stamp.time}Z", now)
    except ValueError:
        raise ValueError(f"{stamp.date!r} {stamp.time!r} is no time") from None
    if not EARLIEST <= ts <= now + clock.DAY:
        raise ValueError(f"{clock.rfc3339(ts)} is no time at which sysstat recorded: another byte order?")
    return ts


# -- what each figure becomes


def _values(found: _Statistics, disk_path: str) -> Mapping[str, float]:
    """Without `process_count` (`plist-sz` counts threads) and `cpu_busiest_percent` (only all CPUs are asked for)."""
    values = {
        "cpu_percent": _cpu([*found.cpus, *found.cpus_by_all]),
        "disk_percent": _disk(found.filesystems, disk_path),
        **_of_memory(found.memory or _Memory()),
        **_of_queue(found.queue or _Queue()),
        **_of_pressure(found.psi or _Pressures()),
        **_of_counters(found),
    }
    return {name: value for name, value in values.items() if value is not None}


def _cpu(cpus: Sequence[_Cpu]) -> float | None:
    for cpu in cpus:
        if cpu.cpu == "all" and cpu.idle is not None and cpu.iowait is not None:
            return _share(100 - cpu.idle - cpu.iowait)
    return None


def _share(percent: float | None) -> float | None:
    """None where it is none, beyond what rounding explains."""
    if percent is None or not -_PERCENT_ERROR <= percent <= 100 + _PERCENT_ERROR:
        return None
    return min(100.0, max(0.0, percent))


def _of_memory(memory: _Memory) -> dict[str, float | None]:
    total, available = _total_memory(memory), memory.avail
    used, free = memory.swpused, memory.swpfree
    swap = None if used is None or free is None or used + free <= 0 else 100 * used / (used + free)
    # Old files have 0 for what was not recorded.
    share = 100 * (total - available) / total if total and available else None
    return {"memory_percent": _share(share), "swap_percent": _share(swap)}


def _total_memory(memory: _Memory) -> float | None:
    """What sysstat does not give: rebuilt of its parts, as `memused-percent` shows that they add up to it.

    `memused` is total - free - buffers - cached - slab, in files from before sysstat 11.7.4 total - free.
    """
    if memory.memfree is None or memory.memused is None or memory.used_percent is None:
        return None
    parts = [memory.buffers, memory.cached, memory.slab]
    known = [part for part in parts if part is not None]
    old = memory.memfree + memory.memused
    totals = [old + sum(known), old] if len(known) == len(parts) else [old]
    for total in totals:
        if total > 0 and abs(100 * memory.memused / total - memory.used_percent) <= _PERCENT_ERROR:
            return total
    return None


def _disk(filesystems: Sequence[_Filesystem], disk_path: str) -> float | None:
    """By df's rule, of the file system in which the path lies: `%ufsused` is 100 - 100 x available / total."""
    path, chosen, length = PurePath(disk_path), None, -1
    for found in filesystems:
        mount = PurePath(found.mountpoint or "(none)")
        # Of two at one mount the later is on top.
        if path.is_relative_to(mount) and len(mount.parts) >= length:
            chosen, length = found, len(mount.parts)
    return None if chosen is None else _share_in_use(chosen.free_mb, chosen.used_mb, chosen.not_available_percent)


def _share_in_use(free_mb: float | None, used_mb: float | None, not_available_percent: float | None) -> float | None:
    if free_mb is None or used_mb is None or not_available_percent is None:
        return None
    available_mb = (free_mb + used_mb) * (1 - not_available_percent / 100)
    return _share(100 * used_mb / (used_mb + available_mb)) if used_mb + available_mb > 0 else None


def _of_queue(queue: _Queue) -> dict[str, float | None]:
    """Where there is no thread at all they were not recorded."""
    loads = {"load_1": queue.load_1, "load_5": queue.load_5, "load_15": queue.load_15}
    return {
        name: load if load is not None and load >= 0 and queue.threads != 0 else None for name, load in loads.items()
    }


def _of_pressure(psi: _Pressures) -> dict[str, float | None]:
    """The share of the interval, as Tidemark's own."""
    pressures = {"cpu_pressure": psi.cpu, "memory_pressure": psi.memory, "io_pressure": psi.io}
    return {name: _share(found.some_avg) if found else None for name, found in pressures.items()}


def _of_counters(found: _Statistics) -> dict[str, float | None]:
    """Bytes a second. Interfaces as Tidemark adds them up, lo too; blocks have 512 bytes."""
    interfaces = found.network.interfaces if found.network else []
    io = found.io or _Io()
    return {
        "network_sent_bytes": _rate([interface.sent_kb for interface in interfaces], 1024),
        "network_received_bytes": _rate([interface.received_kb for interface in interfaces], 1024),
        "disk_read_bytes": _rate([io.reads.bread] if io.reads else [], 512),
        "disk_written_bytes": _rate([io.writes.bwrtn] if io.writes else [], 512),
    }


def _rate(parts: Sequence[float | None], unit_bytes: int) -> float | None:
    """None where a part is unknown, or none of this world."""
    known = [part for part in parts if part is not None and part >= 0]
    rate = sum(known) * unit_bytes
    return rate if known and len(known) == len(parts) and rate <= _MOST_BYTES_PER_SECOND else None
