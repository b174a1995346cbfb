"""What services and containers use, by the kernel's own count of their control groups (cgroup v2).

The kernel counts in a group what its processes used that have ended, too, and in each group all that is below it. A
group that uses something and is gone at the next capture leaves its usage with the one above it. Everything is read
without root; of what an ordinary account may not read, nothing is known.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from heapq import nlargest
from typing import NamedTuple

from service.host.cgroups import ROOT, Group, group_of, nearest
from service.host.disks import BaseDevices
from service.records import ServiceName, ServiceUsage

# Groups that are visited at a capture; what is below belongs to the ones above.
MOST_GROUPS = 4000
# Rows of a capture: those with most CPU time.
MOST_ROWS = 40
# What used less is listed for its memory only: one tick of the kernel's clock.
LEAST_SECONDS = 0.01
# Of groups that are not among those that used most, so many are asked at each capture for memory and bytes.
_TURNS = 64
_BYTES = 1 << 16
_DEPTH = 16
Path = tuple[str, ...]


class _Node(NamedTuple):
    """A group at one moment. `inode`: another one is another group of the same name. `children`: the groups below it
    that have rows of their own, however deep."""

    inode: int
    usage_us: int
    group: Group
    children: tuple[Path, ...]


_Nodes = Mapping[Path, _Node]


@dataclass(slots=True)
class _More:
    """What is not asked of every group at every capture: bytes and kills since its beginning, and its memory."""

    inode: int
    memory: int | None = None
    read: int | None = None
    written: int | None = None
    kills: int | None = None


class ServiceWatch:
    """Captures the control groups. Called by one thread."""

    def __init__(self, count: int, root: str = "/sys/fs/cgroup") -> None:
        """`count`: how many are kept for their memory alone."""
        self._count = count
        self._root = next((path for path in (root, f"{root}/unified") if _is_v2(path)), None)
        controllers = _text_or_none(f"{self._root}/cgroup.controllers") or ""
        self._has_memory, self._has_io = "memory" in controllers.split(), "io" in controllers.split()
        self._devices = BaseDevices()
        self._before: dict[Path, _Node] | None = None
        self._more: dict[Path, _More] = {}
        self._large: set[Path] = set()
        self._turn = 0
        self._visited = 0

    @property
    def is_known(self) -> bool:
        """Whether there is a cgroup v2 to read."""
        return self._root is not None

    @property
    def left_out(self) -> bool:
        """Whether there are more groups than are visited."""
        return self._visited >= MOST_GROUPS

    def capture(self) -> list[ServiceUsage] | None:
        """What each used since the capture before, most CPU first; None the first time and without cgroup v2.

        A group that has begun since then counts from its beginning.
        """
        if self._root is None:
            return None
        before, now = self._before, dict[Path, _Node]()
        self._visited = 0
        try:
            self._visit((), self._root, os.stat(self._root).st_ino, before or {}, now)
        except OSError:
            return None
        self._before = now
        if before is None:
            self._more = {path: self._ask(path, node) for path, node in now.items()}
            self._large = self._largest()
            return None
        used = {path: _used(path, now, before) for path in now}
        return sorted(self._rows(now, used), key=lambda row: (-row.cpu_seconds, row.name))

    def service_of(self, pid: int) -> ServiceName | None:
        """The service or container in which a process runs; None where it is in none, or unknown."""
        if self._root is None:
            return None
        try:
            lines = _text(f"/proc/{pid}/cgroup").splitlines()
        except OSError:
            return None
        path = next((line[3:] for line in lines if line.startswith("0::/")), "/")
        if path.startswith("/.."):
            return None
        group = nearest([part for part in path.split("/") if part])
        return None if group is ROOT else ServiceName(_shown(group.name), group.kind)

    # -- the tree

    def _visit(self, path: Path, folder: str, inode: int, before: _Nodes, now: dict[Path, _Node]) -> None:
        """
        :raises OSError: if the group has vanished.
        """
        self._visited += 1
        usage = _usage_us(folder)
        then = before.get(path)
        is_same = then is not None and then.inode == inode
        if then is not None and is_same and then.usage_us == usage:
            # Nothing below it has used anything either.
            _keep(path, before, now)
            return
        group = then.group if then is not None and is_same else group_of(path) or ROOT
        children: tuple[Path, ...] = ()
        # The kernel counts a group's folder as linked by each group in it.
        if not group.is_whole and len(path) < _DEPTH and os.stat(folder).st_nlink > 2:
            children = tuple(self._below(path, folder, before, now))
        now[path] = _Node(inode, usage, group, children)

    def _below(self, path: Path, folder: str, before: _Nodes, now: dict[Path, _Node]) -> Iterator[Path]:
        """The groups below that have rows of their own; those that are a part of this one are looked through."""
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.inode()) for entry in entries if entry.is_dir()]
        for name, inode in found:
            if self._visited >= MOST_GROUPS:
                return
            child, place = (*path, name), f"{folder}/{name}"
            try:
                if child in before or group_of(child) is not None:
                    self._visit(child, place, inode, before, now)
                    yield child
                elif os.stat(place).st_nlink > 2 and len(child) < _DEPTH:
                    self._visited += 1
                    yield from list(self._below(child, place, before, now))
            except OSError:
                continue

    def _folder(self, path: Path) -> str:
        return "/".join((self._root or "", *path))

    # -- rows

    def _rows(self, now: _Nodes, used: Mapping[Path, float]) -> Iterator[ServiceUsage]:
        asked = set(nlargest(MOST_ROWS, used, lambda path: used[path])) | (self._large & now.keys())
        asked |= set(self._next_turn(list(now)))
        before, after = self._more, {path: self._ask(path, now[path]) for path in asked}
        self._more = {path: more for path, more in before.items() if path in now} | after
        self._large = self._largest()
        kept = nlargest(MOST_ROWS, asked, lambda path: used[path])
        rows: dict[str, ServiceUsage] = {}
        for path in {*kept, *(self._large & asked)}:
            row = self._row(path, now, used[path], before)
            if (
                row.cpu_seconds >= LEAST_SECONDS
                or row.read_bytes
                or row.written_bytes
                or row.oom_kills
                or (path in self._large)
            ):
                rows[row.name] = _both(rows[row.name], row) if row.name in rows else row
        yield from rows.values()

    def _next_turn(self, paths: list[Path]) -> list[Path]:
        begin, self._turn = self._turn, self._turn + _TURNS
        if self._turn >= len(paths):
            self._turn = 0
        return paths[begin : begin + _TURNS]

    def _largest(self) -> set[Path]:
        """Those that hold most memory, which of a group above others is the sum of theirs."""
        parents = {path[:depth] for path in self._more for depth in range(len(path))}
        sized = {path: more.memory for path, more in self._more.items() if more.memory and path not in parents}
        return set(nlargest(self._count, sized, lambda path: sized[path]))

    def _row(self, path: Path, now: _Nodes, cpu_seconds: float, before: Mapping[Path, _More]) -> ServiceUsage:
        group = now[path].group
        children, more = now[path].children, self._more[path]
        moved = [_since(self._more[one], before.get(one)) for one in (path, *children) if one in self._more]
        is_whole = len(moved) == 1 + len(children)
        own = [_less(column) if is_whole else None for column in zip(*moved, strict=True)]
        below = [self._more[child].memory if child in self._more else None for child in children]
        memory = _less([more.memory, *below])
        return ServiceUsage(
            name=_shown(group.name),
            kind=group.kind,
            cpu_seconds=cpu_seconds,
            memory_bytes=memory,
            read_bytes=own[0],
            written_bytes=own[1],
            oom_kills=own[2],
        )

    def _ask(self, path: Path, node: _Node) -> _More:
        folder = self._folder(path)
        read, written = self._moved(_text_or_none(f"{folder}/io.stat") if self._has_io else None)
        memory = _text_or_none(f"{folder}/memory.current") if self._has_memory else None
        kills = _field(_text_or_none(f"{folder}/memory.events"), "oom_kill") if self._has_memory else None
        return _More(node.inode, None if memory is None else int(memory), read, written, kills)

    def _moved(self, text: str | None) -> tuple[int | None, int | None]:
        """Bytes read and written on the devices that stand on no other one: the kernel counts both."""
        if text is None:
            return None, None
        read = written = 0
        for line in text.splitlines():
            device, *fields = line.split()
            if fields and self._devices.is_base(device):
                moved = dict(field.partition("=")[::2] for field in fields)
                read, written = read + int(moved.get("rbytes", 0)), written + int(moved.get("wbytes", 0))
        return read, written


def _shown(name: str) -> str:
    """Without the bytes that are no text."""
    return name.encode("utf-8", "replace").decode()


def _keep(path: Path, before: _Nodes, now: dict[Path, _Node]) -> None:
    """A group in which nothing has happened, with all below it."""
    now[path] = before[path]
    for child in before[path].children:
        if child in before:
            _keep(child, before, now)


def _used(path: Path, now: _Nodes, before: _Nodes) -> float:
    """CPU seconds of a group since then, without those of the groups below it that have rows of their own."""
    own = _grown(path, now, before) - sum(_grown(child, now, before) for child in now[path].children if child in now)
    return max(0, own) / 1e6


def _grown(path: Path, now: _Nodes, before: _Nodes) -> int:
    node, then = now[path], before.get(path)
    is_same = then is not None and then.inode == node.inode and then.usage_us <= node.usage_us
    return node.usage_us - (then.usage_us if is_same and then is not None else 0)


def _since(now: _More, before: _More | None) -> tuple[int | None, int | None, int | None]:
    """Bytes read and written, and kills, since it was last asked; of a group that is new, since its beginning."""
    then = before if before is not None and before.inode == now.inode else _More(now.inode, 0, 0, 0, 0)
    return (_gain(now.read, then.read), _gain(now.written, then.written), _gain(now.kills, then.kills))


def _gain(now: int | None, then: int | None) -> int | None:
    return None if now is None or then is None else max(0, now - then)


def _less(values: "list[int | None] | tuple[int | None, ...]") -> int | None:
    """The first without the others; None where one is not known."""
    known = [value for value in values if value is not None]
    return max(0, known[0] - sum(known[1:])) if known and len(known) == len(values) else None


def _both(one: ServiceUsage, other: ServiceUsage) -> ServiceUsage:
    """Two groups of one name."""
    amounts = ("memory_bytes", "read_bytes", "written_bytes", "oom_kills")
    sums = {name: _sum(getattr(one, name), getattr(other, name)) for name in amounts}
    return ServiceUsage(one.name, one.kind, one.cpu_seconds + other.cpu_seconds, **sums)


def _sum(one: int | None, other: int | None) -> int | None:
    return one if other is None else other if one is None else one + other


# -- files


def _is_v2(path: str) -> bool:
    return os.path.isfile(f"{path}/cgroup.controllers")


def _text(path: str) -> str:
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, _BYTES).decode("ascii", "replace")
    finally:
        os.close(file)


def _text_or_none(path: str) -> str | None:
    try:
        return _text(path)
    except OSError:
        return None


def _field(text: str | None, name: str) -> int | None:
    for line in (text or "").splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return None


def _usage_us(folder: str) -> int:
    """`usage_usec`, the first line of `cpu.stat` (Documentation/admin-guide/cgroup-v2.rst).

    :raises OSError: if it is not there: what cannot be counted is no group of ours.
    """
    file = os.open(f"{folder}/cpu.stat", os.O_RDONLY)
    try:
        name, usage = os.read(file, 64).split(None, 2)[:2]
    except ValueError:
        raise FileNotFoundError(f"{folder}/cpu.stat is empty") from None
    finally:
        os.close(file)
    if name != b"usage_usec":
        raise FileNotFoundError(f"{folder}/cpu.stat has no usage_usec")
    return int(usage)
