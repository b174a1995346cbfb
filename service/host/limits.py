"""What a container may use of the machine, and how much of that it uses: by the control group that is its root.

On the machine itself that group has no limit, and nothing is read. Version 2 where it has the controllers
(docs.kernel.org/admin-guide/cgroup-v2.html), else version 1.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from service.clock import steady
from service.records import Reading

_ROOT = Path("/sys/fs/cgroup")
# What container managers leave behind (podman, docker, systemd-nspawn and LXC).
_SIGNS = ("/run/.containerenv", "/.dockerenv", "/run/systemd/container")
# A limit may be changed while the container runs.
_LOOK_EVERY_SECONDS = 60.0
# Version 1 writes no limit as the greatest number of whole pages.
_NO_LIMIT = 2**62
# A share beyond this is none: the limit was lowered, or the counters are not of one moment.
_MOST = 1.1


@dataclass(frozen=True, slots=True)
class Limits:
    """`cpus`: how many CPUs' time may be used; None where there is no limit."""

    cpus: float | None
    memory_bytes: int | None


class Limited:
    """How much of its limits the container uses; nothing where it has none."""

    def __init__(self, root: Path = _ROOT) -> None:
        """`root`: where the control groups are mounted."""
        self._root = root
        self._limits = Limits(None, None)
        self._looked_at: float | None = None

    def read(self) -> Reading:
        """The share of memory, without files that would be given back at once; the CPU time as `limited_cpu`.

        :raises ValueError: if a file does not hold what it should.
        """
        limits = self._known()
        gauges: dict[str, float] = {}
        if limits.memory_bytes:
            share = (_memory_used(self._root) or 0) / limits.memory_bytes
            gauges = {"memory_limit_percent": 100 * min(1.0, share)} if 0 < share <= _MOST else {}
        used = _cpu_used(self._root) if limits.cpus else None
        return Reading(gauges, limited_cpu=None if used is None or not limits.cpus else (used, limits.cpus))

    def _known(self) -> Limits:
        now = steady()
        if self._looked_at is None or now - self._looked_at >= _LOOK_EVERY_SECONDS:
            self._limits, self._looked_at = limits(self._root), now
        return self._limits


def scope() -> Literal["host", "container"]:
    """Whether this program runs in a container, by what their managers leave behind."""
    return "container" if any(map(os.path.exists, _SIGNS)) else "host"


def limits(root: Path = _ROOT) -> Limits:
    """Those of the whole container."""
    return Limits(_cpu_limit(root), _memory_limit(root))


def _cpu_limit(root: Path) -> float | None:
    quotas = [root / "cpu" / f"cpu.cfs_{name}_us" for name in ("quota", "period")]
    quota, period = _words(root / "cpu.max") or map(_word, quotas)
    if quota is None or period is None or quota == "max" or int(quota) <= 0 or int(period) <= 0:
        return None
    return int(quota) / int(period)


def _memory_limit(root: Path) -> int | None:
    limit = _word(root / "memory.max") or _word(root / "memory" / "memory.limit_in_bytes")
    return None if limit is None or limit == "max" or not 0 < int(limit) < _NO_LIMIT else int(limit)


def _memory_used(root: Path) -> int | None:
    """As `docker stats` and Kubernetes count it: what is in use, less files that nobody read lately."""
    for folder, used, idle in (
        (root, "current", "inactive_file"),
        (root / "memory", "usage_in_bytes", "total_inactive_file"),
    ):
        if (bytes_used := _word(folder / f"memory.{used}")) is not None:
            return max(0, int(bytes_used) - int(_field(folder / "memory.stat", idle) or 0))
    return None


def _cpu_used(root: Path) -> float | None:
    """CPU seconds since the container began."""
    microseconds = _field(root / "cpu.stat", "usage_usec")
    if microseconds is not None:
        return int(microseconds) / 1e6
    nanoseconds = _word(root / "cpuacct" / "cpuacct.usage")
    return None if nanoseconds is None else int(nanoseconds) / 1e9


def _field(path: Path, name: str) -> str | None:
    """The number beside a name, in a file of such lines."""
    words = _words(path) or []
    return dict(zip(words[::2], words[1::2], strict=False)).get(name)


def _word(path: Path) -> str | None:
    words = _words(path)
    return words[0] if words else None


def _words(path: Path) -> list[str] | None:
    try:
        return path.read_text(encoding="ascii").split() or None
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
