"""The cgroups of version 2 and their counters, read from the top down and no further than something moved.

docs.kernel.org/admin-guide/cgroup-v2.html: `cpu.stat`, `io.stat` and `memory.events` count what ever ran in a cgroup
and beneath it, the dead too; so where a parent did not move, nothing beneath it did. Any account may read them.
"""

import errno
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import nlargest, nsmallest
from itertools import chain

from service.host.disks import BaseDevices
from service.host.units import ROOT, Unit, unit_in

# What used less since it was last a row waits until it is as much: a millisecond each of a thousand is no news. So
# where less is left of a parent than this, and it has more children than a few, no more of them are read.
LEAST_CPU_US = 10_000
_FEW = 32
# The same of several captures; once it is as much, all children are read, so that what is left is the parent's own.
_MOST_WAITS_US = 100_000
# Cgroups that are known by themselves; what more there are belongs to what they lie in. At 10 microseconds each.
_MOST_GROUPS = 4_000
# Files of bytes, as many of events, and as many of memory, that one capture reads, at 10 microseconds each: of 100
# cgroups each time, of more in turn.
_MOST_FILES = 100
# A parent is read a moment before its children, which may have used more by then: the next time it is less by that.
# More is no such moment. The root also counts by ticks what the others count to the nanosecond, and bytes when they
# arrive, which the others count when they leave.
_SKEW_US = 100_000
_SKEW_BYTES = 16 * 2**20
# What is not there any more, not for this account, or not for this cgroup (a threaded one has no memory of its own).
_ABSENT = frozenset(
    (errno.ENOENT, errno.ENODEV, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.EOPNOTSUPP)
)

Bytes = tuple[int, int]


class Group:
    """One cgroup as it was last read.

    Its counters start at 0, because it is first read when it is new, or in the first capture, of which nothing is kept;
    those that are None have not been read, and what they are the first time is where they start. `usage_us`: the CPU
    that was given to rows; `seen_us`: what its parent takes for its use. `*_at`: the number of the capture.
    """

    # fmt: off
    __slots__ = (
        "bytes", "bytes_at", "carry_us", "children", "delta_us", "events_at", "folder", "inode", "is_cut", "memory",
        "memory_at", "moved_at", "oom_kills", "own_memory", "parent", "path", "seen_us", "unit", "usage_us",
        "waits_us",
    )
    # fmt: on

    def __init__(self, unit: Unit, path: str, inode: int, parent: "Group | None") -> None:
        self.unit, self.path, self.inode, self.parent = unit, path, inode, parent
        self.folder = path.rpartition("/")[2]
        self.children: dict[str, Group] = {}
        # Some below are not known by themselves, so that one which turns up later need not be new.
        self.is_cut = False
        self.usage_us = self.seen_us = self.delta_us = self.carry_us = self.waits_us = 0
        self.bytes: Bytes | None = None
        self.oom_kills: int | None = 0
        self.memory: int | None = None
        self.own_memory: int | None = None
        self.moved_at = self.bytes_at = self.events_at = self.memory_at = -1

    def beneath(self) -> "Iterator[Group]":
        """It and all that are known below it."""
        yield self
        for child in self.children.values():
            yield from child.beneath()

    def start_late(self) -> None:
        """What it used until now is its parent's: it was not known by itself, but was there."""
        self.is_cut, self.oom_kills = True, None
        self.usage_us = self.seen_us = _usage_us(f"{self.path}/cpu.stat") or 0

    def of_unit(self) -> "Group":
        """The cgroup after which it is named: itself, or one above where it is a plain folder of a service."""
        group = self
        while group.parent is not None and group.parent.unit.name == group.unit.name:
            group = group.parent
        return group


@dataclass(slots=True)
class Row:
    """What was used under one name since the capture before."""

    group: Group
    cpu_us: int = 0
    bytes: Bytes | None = None
    oom_kills: int | None = None


class Tree:
    """All cgroups that are known, as of the newest capture."""

    def __init__(self, base: str, devices: str) -> None:
        """`base`: where the cgroups of version 2 are mounted; `devices`: where block devices are, by number."""
        self.top = Group(ROOT, base, 0, None)
        self._disks = BaseDevices(devices)
        self._captures = 0
        self._size = 1
        self._files = 0
        self._root_bytes: Bytes = (0, 0)
        self._has_bytes = self._has_memory = False
        self._rows: dict[str, Row] = {}

    @property
    def is_cut(self) -> bool:
        """There may be more cgroups than are known by themselves."""
        return self._size >= _MOST_GROUPS

    def known(self, path: str) -> Unit:
        """The unit of the deepest folder of a path that is known by itself."""
        group = self.top
        for folder in filter(None, path.split("/")):
            if folder not in group.children:
                break
            group = group.children[folder]
        return group.unit

    def measure(self) -> dict[str, Row]:
        """By name, what was used since the last time."""
        self._captures += 1
        self._rows = {}
        enabled = controllers(self.top.path)
        self._has_bytes, self._has_memory = "io" in enabled, "memory" in enabled
        self._measure_cpu()
        if self._has_bytes:
            self._count_bytes()
        if self._has_memory:
            self._files = _MOST_FILES
            self._oom_kills(self.top, None)
        return self._rows

    # CPU.

    def _measure_cpu(self) -> None:
        """The root had no `cpu.stat` before Linux 5.8: then nobody knows what is left to it."""
        usage = _root_usage_us(f"{self.top.path}/cpu.stat")
        if usage is None:
            self._walk_below(self.top, None)
            return
        if usage < self.top.usage_us:
            self._start_again(self.top)
        self._walk(self.top, usage)

    def _walk(self, group: Group, usage: int) -> None:
        """Gives what it and all beneath it used to rows: its children's to them, the rest to its own.

        Children are read until less is left than is news: then nobody knows whose that is, and it waits.
        """
        rest = usage - group.usage_us
        if not group.unit.is_whole:
            rest = self._walk_below(group, rest)
        group.usage_us = usage - group.waits_us
        self._own(group, rest - group.waits_us)

    def _own(self, group: Group, cpu_us: int) -> None:
        cpu_us += group.carry_us
        group.carry_us = max(cpu_us, -_SKEW_US) if cpu_us < 0 else 0
        if cpu_us > 0:
            self._row(group).cpu_us += cpu_us

    def _walk_below(self, group: Group, rest: int | None) -> int:
        """What is left of `rest` without its children; they are all read where that is None."""
        waited, group.waits_us = group.waits_us, 0
        directory = _open_folders(group.path)
        if directory is None:
            for child in group.children.values():
                self._forget(child)
            group.children, group.is_cut = {}, False
            return rest or 0
        try:
            group.children = self._children(group, directory)
            may_stop = rest is not None and len(group.children) > _FEW and self._captures > 1
            for child in sorted(group.children.values(), key=_activity):
                if rest is not None and may_stop and child.moved_at >= 0 and _is_little(rest, waited):
                    group.waits_us = max(0, rest)
                    break
                used = self._seen(child, directory)
                rest = None if rest is None else rest - used
        finally:
            os.close(directory)
        return rest or 0

    def _seen(self, child: Group, directory: int) -> int:
        """What it used since it was last seen; it is walked when that is news, or may be its children's."""
        usage = _usage_us(f"{child.folder}/cpu.stat", directory)
        if usage is None:
            if child.parent is not None:
                del child.parent.children[child.folder]
            self._forget(child)
            return 0
        if usage < child.seen_us:
            self._start_again(child)
        used = usage - child.seen_us
        child.seen_us = usage
        if used or child.moved_at < 0:
            child.delta_us, child.moved_at = used, self._captures
        if usage - child.usage_us >= (LEAST_CPU_US if self._captures > 1 else 1):
            self._walk(child, usage)
        return used

    def _children(self, group: Group, directory: int) -> dict[str, Group]:
        """Those that are there now, as they were last read, or new."""
        before, folders = group.children, _folders(directory)
        now = {
            folder: before[folder] for folder, inode in folders if folder in before and before[folder].inode == inode
        }
        # The ended first, so that there is room.
        for folder, child in before.items():
            if folder not in now:
                self._forget(child)
        was_cut, group.is_cut = group.is_cut, False
        if len(now) < len(folders):
            for folder, inode in folders:
                if folder not in now and not self.is_cut:
                    now[folder] = self._new(group, folder, inode, was_cut)
            group.is_cut = len(now) < len(folders)
        return now

    def _new(self, parent: Group, folder: str, inode: int, is_late: bool) -> Group:
        self._size += 1
        group = Group(unit_in(parent.unit, folder), f"{parent.path}/{folder}", inode, parent)
        if is_late:
            group.start_late()
        elif self._captures > 1 and self._has_bytes and (parent is self.top or parent.bytes is not None):
            group.bytes = (0, 0)
        return group

    def _forget(self, group: Group) -> None:
        """What it used and was no news is its parent's now."""
        for gone in group.beneath():
            self._size -= 1
            if group.parent is not None:
                group.parent.carry_us += gone.seen_us - gone.usage_us + max(0, gone.carry_us)

    def _start_again(self, group: Group) -> None:
        """It was made anew under the same name."""
        for child in group.children.values():
            self._forget(child)
        fresh = Group(group.unit, group.path, group.inode, group.parent)
        for slot in Group.__slots__:
            setattr(group, slot, getattr(fresh, slot))
        group.bytes = (0, 0) if self._has_bytes else None

    def _row(self, group: Group) -> Row:
        row = self._rows.get(group.unit.name)
        if row is None:
            row = self._rows[group.unit.name] = Row(group.of_unit())
        return row

    # Bytes of disks.

    def _count_bytes(self) -> None:
        """The root's are counted elsewhere than all others', so that they are no bound for its children's."""
        self._files = _MOST_FILES
        before, self.top.bytes = self.top.bytes, self._bytes(self.top)
        below: Bytes = (0, 0)
        for child in self._in_turn(self.top):
            if self._files <= 0:
                break
            below = plus(below, self._moved(child, None))
        if before is not None and self.top.bytes is not None:
            rest = plus(minus(minus(self.top.bytes, before), below), self._root_bytes)
            self._root_bytes = (max(min(rest[0], 0), -_SKEW_BYTES), max(min(rest[1], 0), -_SKEW_BYTES))
            self._add_bytes(self.top, (max(rest[0], 0), max(rest[1], 0)))

    def _moved(self, group: Group, most: Bytes | None) -> Bytes:
        """Bytes read and written by it and all beneath it, and no more than `most`, what its parent has left: what it
        moved in a capture that did not read it was counted as its parent's."""
        self._files -= 1
        before, now = group.bytes, self._bytes(group)
        group.bytes, group.bytes_at = now, self._captures
        if now is None:
            return 0, 0
        moved = (0, 0) if before is None else minus(now, before)
        if most is not None:
            moved = min(moved[0], most[0]), min(moved[1], most[1])
        moved = max(moved[0], 0), max(moved[1], 0)
        rest = moved
        for child in self._in_turn(group) if before is None or any(moved) else ():
            if self._files <= 0 or not (before is None or any(rest)):
                break
            rest = minus(rest, self._moved(child, rest))
        self._add_bytes(group, rest)
        return moved

    def _in_turn(self, group: Group) -> list[Group]:
        """Those first that used most CPU, then those that were not read for longest."""
        now = self._captures
        return sorted(
            group.children.values(),
            key=lambda child: (-child.delta_us if child.moved_at == now else 0, child.bytes_at),
        )

    def _add_bytes(self, group: Group, moved: Bytes) -> None:
        if any(moved):
            row = self._row(group)
            row.bytes = plus(row.bytes or (0, 0), moved)

    def _bytes(self, group: Group) -> Bytes | None:
        """None where the controller is off. Devices that stand on disks would count again what the disks moved."""
        stat = read(f"{group.path}/io.stat", 65_536)
        if stat is None:
            return None
        total: Bytes = (0, 0)
        for line in stat.decode("ascii", "replace").splitlines():
            number, _, rest = line.partition(" ")
            if "rbytes=" in rest and self._disks.is_base(number):
                fields = dict(field.partition("=")[::2] for field in rest.split())
                total = plus(total, (int(fields["rbytes"]), int(fields["wbytes"])))
        return total

    # OOM kills and memory.

    def _oom_kills(self, group: Group, most: int | None) -> int:
        """OOM kills in it and all beneath it, and no more than `most`, what its parent has left."""
        self._files -= 1
        before, now = group.oom_kills, _oom_kills(group)
        if now is None:
            if group.parent is None:
                for child in self._of_events(group):
                    self._oom_kills(child, None)
            return 0
        group.oom_kills, group.events_at = now, self._captures
        killed = 0 if before is None else max(0, now - before if most is None else min(now - before, most))
        if killed and not group.unit.is_whole:
            # It may have a child that is not known yet, because the two used little CPU.
            self._walk(group, group.seen_us)
        rest = killed
        for child in self._of_events(group) if killed else ():
            rest -= self._oom_kills(child, rest)
        if rest:
            row = self._row(group)
            row.oom_kills = (row.oom_kills or 0) + rest
        return killed

    def _of_events(self, group: Group) -> list[Group]:
        """Those first that used CPU, as what is killed has done, then those that were not read for longest."""
        now = self._captures
        children = group.children.values()
        return nsmallest(max(self._files, 0), children, key=lambda child: (child.moved_at != now, child.events_at))

    def memory(self, wanted: Iterable[Group], count: int) -> dict[str, tuple[Group, int]]:
        """By name, bytes of memory without what lies below under a name of its own: of those that are wanted and of the
        `count` largest as of now, of others as last read."""
        if not self._has_memory:
            return {}
        self._files = _MOST_FILES
        groups = list(self.top.beneath())
        largest = nlargest(2 * count, groups, key=lambda group: group.own_memory or 0)
        for group in chain(wanted, largest, nsmallest(_MOST_FILES, groups, key=lambda group: group.memory_at)):
            if self._files > 0 and group.memory_at != self._captures:
                self._files -= 1
                group.memory, group.memory_at = _memory(group), self._captures
        return self._memory_by_name(groups)

    def _memory_by_name(self, groups: list[Group]) -> dict[str, tuple[Group, int]]:
        sums: dict[str, tuple[Group, int]] = {}
        unknown = set()
        for group in groups:
            group.own_memory = _own_memory(group)
            name = group.unit.name
            if group.own_memory is not None:
                first, size = sums.get(name) or (group.of_unit(), 0)
                sums[name] = first, size + group.own_memory
            elif group.memory is not None or group.memory_at == -1:
                unknown.add(name)
        return {name: size for name, size in sums.items() if name not in unknown}


def controllers(base: str) -> list[str]:
    """What the cgroups below count besides CPU."""
    return (read(f"{base}/cgroup.subtree_control") or b"").decode("ascii", "replace").split()


def plus(a: Bytes, b: Bytes) -> Bytes:
    return a[0] + b[0], a[1] + b[1]


def minus(a: Bytes, b: Bytes) -> Bytes:
    return a[0] - b[0], a[1] - b[1]


def read(path: str, most: int = 1024, directory: int | None = None) -> bytes | None:
    """The first bytes of a file, whose path may begin in an open directory; None where it is gone or may not be read.

    :raises OSError: if that is not why it cannot be read.
    """
    try:
        file = os.open(path, os.O_RDONLY, dir_fd=directory)
        try:
            return os.read(file, most)
        finally:
            os.close(file)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def _open_folders(path: str) -> int | None:
    """Opens a directory that holds folders; None where it holds none: it has two links, and one for each."""
    try:
        return None if os.stat(path).st_nlink == 2 else os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        if error.errno in _ABSENT:
            return None
        raise


def _folders(directory: int) -> list[tuple[str, int]]:
    """Name and inode of each cgroup in it."""
    with os.scandir(directory) as entries:
        return [(entry.name, entry.inode()) for entry in entries if entry.is_dir(follow_symlinks=False)]


def _is_little(rest_us: int, waited_us: int) -> bool:
    return rest_us - waited_us < LEAST_CPU_US and rest_us < _MOST_WAITS_US


def _activity(group: Group) -> int:
    """New ones first, then those that moved last, of these first those that moved most: one number, to sort fast."""
    return -sys.maxsize if group.moved_at < 0 else -(group.moved_at << 50) - group.delta_us


def _usage_us(path: str, directory: int | None = None) -> int | None:
    """The first line is `usage_usec N`."""
    stat = read(path, 40, directory)
    return int(stat[11 : stat.index(b"\n")]) if stat is not None and stat.startswith(b"usage_usec ") else None


def _root_usage_us(path: str) -> int | None:
    """`usage_usec` of the root may hold time stolen from the host (`root_cgroup_cputime` in kernel/cgroup/rstat.c)."""
    fields = (read(path) or b"").split()
    return int(fields[3]) + int(fields[5]) if fields[:1] == [b"usage_usec"] else None


def _oom_kills(group: Group) -> int | None:
    _, found, rest = (read(f"{group.path}/memory.events") or b"").partition(b"oom_kill ")
    return int(rest.split(None, 1)[0]) if found else None


def _memory(group: Group) -> int | None:
    size = read(f"{group.path}/memory.current")
    return None if size is None else int(size)


def _own_memory(group: Group) -> int | None:
    """Without its children's; None while one of them has not been read."""
    if group.memory is None:
        return None
    below = 0
    for child in group.children.values():
        if child.memory_at == -1:
            return None
        below += child.memory or 0
    return max(0, group.memory - below)
