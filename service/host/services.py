"""Services and containers: what each used of CPU, memory and disks between two captures, by the cgroups of version 2.

A cgroup counts all that ever ran in it and beneath it, the dead too, so that a service of a thousand short processes is
whole here. Only what any account may read is read (docs.kernel.org/admin-guide/cgroup-v2.html); nothing is asked over a
socket.
"""

import os
from heapq import nlargest
from typing import Literal

from service.host.cgroups import LEAST_CPU_US, Row, Tree, controllers, plus, read
from service.host.units import unit_at
from service.records import ServiceName, ServiceUsage

Hierarchy = Literal["v2", "hybrid", "v1", "none"]

# Rows for their CPU or bytes; what others used is counted as that of what they lie in.
_MOST_ROWS = 40


def hierarchy(root: str = "/sys/fs/cgroup") -> Hierarchy:
    """Which cgroups this host has: of version 2; of version 1 with those of 2 beside them ("hybrid"); of 1 alone."""
    if os.path.exists(f"{root}/cgroup.controllers"):
        return "v2"
    if os.path.exists(f"{root}/unified/cgroup.controllers"):
        return "hybrid"
    return "v1" if os.path.isdir(root) and os.listdir(root) else "none"


def uncounted(root: str = "/sys/fs/cgroup") -> list[str]:
    """What the cgroups of version 2 do not count."""
    base = _base(root)
    enabled = [] if base is None else controllers(base)
    return [what for controller, what in (("memory", "memory"), ("io", "bytes")) if controller not in enabled]


def _base(root: str) -> str | None:
    """Where the cgroups of version 2 are."""
    return {"v2": root, "hybrid": f"{root}/unified"}.get(hierarchy(root))


class ServiceWatch:
    """Captures all cgroups and keeps those that used anything, and the largest.

    What a parent used without its children, and what children used that have ended, is stored under the parent's name:
    nothing is lost, nothing counted twice.
    """

    def __init__(self, count: int, root: str = "/sys/fs/cgroup", devices: str = "/sys/dev/block") -> None:
        """`count`: how many are kept by memory. `root`: where cgroups are mounted. `devices`: where block devices are,
        by number."""
        self._count, self._root, self._devices = count, root, devices
        self._tree: Tree | None = None

    @property
    def is_cut(self) -> bool:
        """There may be more cgroups than are captured by themselves (4,000)."""
        return self._tree is not None and self._tree.is_cut

    def capture(self) -> list[ServiceUsage] | None:
        """What was used since the capture before, most CPU first; None the first time, and without cgroup version 2.

        At most 40 for their CPU or bytes, all with an OOM kill, and the largest. One that was made since then counts
        from its start, also one that was made anew under its name.

        :raises OSError: if they cannot be read; the next capture is then the first again.
        """
        # A capture that fails leaves nothing that is half counted.
        tree, self._tree = self._tree, None
        base = _base(self._root)
        if base is None:
            return None
        if tree is None or tree.top.path != base:
            tree = Tree(base, self._devices)
            tree.measure()
            tree.memory((), self._count)
            usages = None
        else:
            usages = self._usages(tree)
        self._tree = tree
        return usages

    def service_of(self, pid: int) -> ServiceName | None:
        """What a process runs in, named as in a capture; None where that is unknown, and in the root."""
        if self._tree is None or (lines := read(f"/proc/{pid}/cgroup", 65_536)) is None:
            return None
        _, found, rest = (b"\n" + lines).rpartition(b"\n0::/")
        # A dead cgroup, which only dead processes are in, is marked; one outside of this namespace begins with "..".
        path = os.fsdecode(rest.partition(b"\n")[0]).removesuffix(" (deleted)")
        if not found or not path or path.startswith(".."):
            return None
        unit = self._tree.known(path) if self._tree.is_cut else unit_at(path)
        return None if unit.kind == "root" else ServiceName(unit.name, unit.kind)

    def _usages(self, tree: Tree) -> list[ServiceUsage]:
        kept = _kept(tree.measure())
        memory = tree.memory([row.group for row in kept.values()], self._count)
        for name in nlargest(self._count, memory, key=lambda name: memory[name][1]):
            kept.setdefault(name, Row(memory[name][0]))
        usages = [_usage(name, row, memory[name][1] if name in memory else None) for name, row in kept.items()]
        return sorted(usages, key=lambda usage: (-usage.cpu_seconds, -(usage.memory_bytes or 0), usage.name))


def _usage(name: str, row: Row, memory: int | None) -> ServiceUsage:
    """What was not read, because what it lies in did not move, is 0 where it is counted at all."""
    group = row.group
    read_, written = row.bytes or ((0, 0) if group.bytes is not None else (None, None))
    kills = row.oom_kills if row.oom_kills is not None or group.memory is None else 0
    return ServiceUsage(name, group.unit.kind, row.cpu_us / 1e6, memory, read_, written, kills)


def _kept(rows: dict[str, Row]) -> dict[str, Row]:
    """Those that are news. What others used waits with them until it is, or is counted as that of what they lie in."""
    news = {}
    for name, row in rows.items():
        if row.cpu_us >= LEAST_CPU_US or any(row.bytes or ()) or row.oom_kills:
            news[name] = row
        else:
            row.group.carry_us += row.cpu_us
    ranked = sorted(news.items(), key=_rank)
    kept = {name: row for place, (name, row) in enumerate(ranked) if place < _MOST_ROWS or row.oom_kills}
    for name, row in ranked:
        if name not in kept:
            _give(row, kept)
    return kept


def _rank(item: tuple[str, Row]) -> tuple[int, int, int]:
    row = item[1]
    return -(row.oom_kills or 0), -row.cpu_us, -sum(row.bytes or ())


def _give(row: Row, kept: dict[str, Row]) -> None:
    """To the nearest above it that is kept, or else to the root."""
    group = row.group
    while group.parent is not None and group.unit.name not in kept:
        group = group.parent
    above = kept.setdefault(group.unit.name, Row(group))
    above.cpu_us += row.cpu_us
    if row.bytes is not None:
        above.bytes = plus(above.bytes or (0, 0), row.bytes)
