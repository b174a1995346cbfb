"""What each network interface has moved since it appeared, and whether it is up and how fast it may be."""

import os
import re
from collections.abc import Iterable, Mapping

import psutil

from service.host.mounted import printable
from service.host.small import Announce, number_in, text_in
from service.host.source import KeptOpen, kernels_or_psutils, lines_of
from service.records import DeviceReading

# Columns of a line of /proc/net/dev (net_dev(5)).
_COLUMNS = 16
# What comes and goes with containers and virtual machines, by the names that their programs give.
_VIRTUAL = re.compile(r"(veth|cali|lxc|cilium|tap|vnet|ifb|dummy|fw(pr|ln|br)\d|vxlan|azv|eni[0-9a-f]{8})")
# Of more interfaces without hardware, all without hardware are taken for virtual, whatever their names.
MOST_NAMED = 50
# As state and speed are asked of at most so many at once: each question waits for a lock of the kernel.
MOST_ASKED = 32
# As `speed` is where it is not known (SPEED_UNKNOWN).
_MOST_MBIT = 10**8

Link = tuple[str | None, int | None]


class Interfaces:
    """Reads the counters of all interfaces at once."""

    def __init__(self, folder: str = "/sys/class/net") -> None:
        """`folder`: where the kernel lists the interfaces."""
        self._folder = folder
        self._file = KeptOpen(f"{psutil.PROCFS_PATH}/net/dev")
        # A line, and what it was read as: most do nothing from one capture to the next.
        self._by_line: dict[str, tuple[str, DeviceReading]] = {}
        # What stands before the colon, and the name that it is.
        self._names: dict[str, str] = {}
        self._before: Mapping[str, DeviceReading] = {}
        self._virtual: frozenset[str] = frozenset()

    def read(self) -> Mapping[str, DeviceReading]:
        """By the interface's name; empty on a host without any.

        :raises ValueError: if a line is not as the kernel writes it, and psutil knows no better.
        """
        found = kernels_or_psutils(self._read, _read_of_psutil)
        if found.keys() != self._before.keys():
            self._virtual, self._by_line, self._names = self._sort(found), {}, {}
            found = {name: reading._replace(is_virtual=name in self._virtual) for name, reading in found.items()}
        self._before = found
        return found

    def _read(self) -> dict[str, DeviceReading]:
        _, _, *lines = lines_of(self._file.read() or b"")
        known = self._by_line
        self._by_line = {line: known.get(line) or self._parsed(line) for line in lines}
        return dict(self._by_line.values())

    def _parsed(self, line: str) -> tuple[str, DeviceReading]:
        """
        :raises ValueError: if the line has not all of its columns.
        """
        raw, _, rest = line.rpartition(":")
        name, counts = self._names.get(raw) or printable(raw.strip()), rest.split()
        if len(counts) != _COLUMNS or not name or "-" in rest:
            raise ValueError(f"not an interface: {line!r}")
        received, packets, errors, drops, _, _, _, _, sent, sent_packets, sent_errors, sent_drops, *_ = map(int, counts)
        both = errors + sent_errors, drops + sent_drops
        values = (received, sent, *both, sent_errors, sent_drops, packets, sent_packets)
        self._names[raw] = name
        is_virtual, before = name in self._virtual, self._before.get(name)
        # Of virtual ones only when they appear: a question for each of hundreds costs more than to read them all.
        identity = before.identity if is_virtual and before is not None else self._identity(name)
        return name, DeviceReading(values, is_virtual=is_virtual, identity=identity)

    def _identity(self, name: str) -> int | None:
        """The kernel's folder of it: it stays with an interface that is renamed, and is new for a new one."""
        try:
            return os.stat(f"{self._folder}/{name}").st_ino
        except (OSError, ValueError):
            return None

    def _sort(self, names: Iterable[str]) -> frozenset[str]:
        """Those that are virtual."""
        bare = {name for name in names if not os.path.exists(f"{self._folder}/{name}/device")}
        named = {name for name in bare if not _VIRTUAL.match(name)}
        return frozenset(bare if len(named) > MOST_NAMED else bare - named)


def _read_of_psutil() -> dict[str, DeviceReading]:
    return {
        printable(name): DeviceReading(
            (
                *(moved.bytes_recv, moved.bytes_sent, moved.errin + moved.errout, moved.dropin + moved.dropout),
                *(moved.errout, moved.dropout, moved.packets_recv, moved.packets_sent),
            )
        )
        for name, moved in psutil.net_io_counters(pernic=True, nowrap=False).items()
    }


class Links:
    """State and speed of interfaces. Those that are virtual are asked in turn, a few at once."""

    def __init__(self, folder: str = "/sys/class/net") -> None:
        self._folder = folder
        self._found: dict[str, Link] = {}
        self._turn = 0

    def ask(self, interfaces: Mapping[str, DeviceReading], announce: Announce) -> dict[str, Link]:
        """By name, (state, Mbit/s), None for what is not known; of those that are not asked this time as they were.

        `announce`: whether a folder may be asked.
        """
        if not psutil.LINUX:
            return _links_of_psutil()
        names = sorted(interfaces, key=lambda name: interfaces[name].is_virtual)
        first = [name for name in names if not interfaces[name].is_virtual][:MOST_ASKED]
        rest = names[len(first) :]
        at = self._turn % max(1, len(rest))
        turn = (rest[at:] + rest[:at])[: MOST_ASKED - len(first)]
        self._turn = at + len(turn)
        self._found = {name: link for name, link in self._found.items() if name in interfaces}
        asked = [name for name in (*first, *turn) if announce(f"{self._folder}/{name}")]
        self._found.update({name: self._link(name) for name in asked})
        return self._found

    def _link(self, name: str) -> Link:
        folder = f"{self._folder}/{name}"
        state = text_in(f"{folder}/operstate")
        # -1: not known; EINVAL: the interface has none, or is down.
        speed = number_in(f"{folder}/speed")
        is_known = speed is not None and 0 < speed <= _MOST_MBIT
        return state if state in STATES else None, speed if is_known else None


# RFC 2863, as the kernel words it (Documentation/networking/operstates.rst). What the loopback has is `unknown`.
STATES = ("unknown", "notpresent", "down", "lowerlayerdown", "testing", "dormant", "up")


def _links_of_psutil() -> dict[str, Link]:
    return {
        printable(name): ("up" if stats.isup else "down", stats.speed or None)
        for name, stats in psutil.net_if_stats().items()
    }
