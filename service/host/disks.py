"""Disks: bytes moved since boot, and how full one file system is."""

import os
import re
import threading
from collections.abc import Collection, Mapping, Set

import psutil

from service.clock import steady
from service.host.source import KeptOpen, kernels_or_psutils, lines_of, possible
from service.host.totals import Moved, Totals
from service.records import Reading

# How often the file system is asked how full it is, and how long the first sample waits for its answer, in seconds.
_DISK_SECONDS = 5.0
_FIRST_DISK_SECONDS = 0.5


# Devices that stand on memory, a file or other devices, also where the kernel lists no `slaves` of theirs. An nbd or a
# ublk may stand on something else, but nothing says on what. emcpower, VxDMP, cas: PowerPath, Veritas, Open CAS.
_VIRTUAL = re.compile(
    r"(loop|zloop|ram|zram|nullb|md_?d?|dm-|zd|drbd|bcache|nbd|ublkb|VxDMP)\d+|cas\d+-\d+|emcpower[a-z]+"
)
# A namespace of NVMe and one path to it, which the kernel counts both and does not link.
_NVME_PATH = re.compile(r"(nvme\d+)c\d+(n\d+)")
# Columns of a line of /proc/diskstats: of a partition before 2.6.25, of a disk, of a disk that counts discards (4.18).
_PARTITION_COLUMNS, _DISK_COLUMNS, _DISCARD_COLUMNS = 7, 14, 18
# What changes in its lines while the devices are the same.
_NUMBERS = b"0123456789 "
# Of a sector there, whatever the disk's own are.
SECTOR_BYTES = 512
# Readings after which /sys is asked again which devices are disks.
_SORT_EVERY = 720


class BaseDisks:
    """Which block devices are disks: those that stand on no other block device."""

    def __init__(self, block: str = "/sys/block", sort_every: int = _SORT_EVERY) -> None:
        """`block`: where the kernel lists the whole devices, each with its `slaves`, on which it stands. `sort_every`:
        after so many questions it is looked there again."""
        self._block, self._every = block, sort_every
        self._sorted: tuple[Set[str], Collection[str]] | None = None
        self._asked = 0

    def among(self, names: Set[str]) -> Collection[str]:
        """Those of the names that are disks. Kept while the names are the same: to look in /sys costs more than to
        read the counters.

        :raises OSError: if the host lists devices, but not which of them are disks.
        """
        if self._sorted is None or self._sorted[0] != names or self._asked % self._every == 0:
            self._sorted = frozenset(names), self._sort(names)
        self._asked += 1
        return self._sorted[1]

    def _sort(self, names: Set[str]) -> list[str]:
        listed = {name.replace("!", "/") for name in os.listdir(self._block)}
        whole = names & listed
        if names and not whole:
            raise FileNotFoundError(f"{self._block} lists none of the host's disks")
        paths = {"".join(path.groups()) for name in whole if (path := _NVME_PATH.fullmatch(name))}
        return [name for name in whole - paths if not _VIRTUAL.fullmatch(name) and not self._slaves(name)]

    def _slaves(self, name: str) -> list[str]:
        """
        :raises OSError: if they cannot be listed.
        """
        folder = f"{self._block}/{name.replace('/', '!')}"
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"{folder} is listed and cannot be opened")
        try:
            return os.listdir(f"{folder}/slaves")
        except FileNotFoundError:
            return []


class Disks:
    """Bytes read and written by the disks themselves: the devices that stand on no other block device.

    A partition, a RAID or a logical volume would count again what its disks have moved.
    """

    def __init__(self, block: str = "/sys/block") -> None:
        """`block`: see `BaseDisks`."""
        self._disks = BaseDisks(block)
        self._file = KeptOpen(f"{psutil.PROCFS_PATH}/diskstats")
        self._listed: _Listed | None = None
        self._totals = Totals("disk_read_bytes", "disk_written_bytes")

    def go_on_from(self, counters: Mapping[str, int]) -> None:
        """See `Totals.go_on_from`."""
        self._totals.go_on_from(counters)

    def read(self) -> Reading:
        """Empty on a host without disks.

        :raises OSError: if the host lists devices, but not which of them are disks.
        """
        return self._totals.add(kernels_or_psutils(self._moved, self._moved_of_psutil))

    def _moved(self) -> dict[str, Moved] | None:
        """None where the kernel has no such file."""
        listing = self._file.read()
        if not listing:
            return None if listing is None else {}
        try:
            if self._listed is not None and self._listed.still_of(listing):
                return self._moved_in(listing, self._listed)
        except ValueError:
            pass  # a disk is not where it was
        self._listed = _Listed(listing)
        return self._moved_in(listing, self._listed)

    def _moved_in(self, listing: bytes, listed: "_Listed") -> dict[str, Moved]:
        """
        :raises ValueError: if a disk has no line that begins as it did.
        """
        disks = self._disks.among(listed.beginnings.keys())
        return {name: _moved_by(listing, listed.beginnings[name]) for name in disks}

    def _moved_of_psutil(self) -> dict[str, Moved]:
        devices = psutil.disk_io_counters(perdisk=True, nowrap=False)
        disks = self._disks.among(devices.keys()) if psutil.LINUX else devices
        return {name: (devices[name].read_bytes, devices[name].write_bytes) for name in disks}


class _Listed:
    """Which devices /proc/diskstats lists. Most are no disks, and their lines are not taken apart again."""

    def __init__(self, listing: bytes) -> None:
        """
        :raises ValueError: if a line is not as the kernel writes it.
        """
        self._outline = listing.translate(None, _NUMBERS)
        # Device -> how its line begins, up to the space behind its name.
        self.beginnings = dict(map(_beginning, lines_of(listing)))

    def still_of(self, listing: bytes) -> bool:
        """Whether it lists the same devices: as many, of names that are the same but for their numbers. Those of a disk
        are compared when its line is looked for."""
        return listing.translate(None, _NUMBERS) == self._outline


def _beginning(line: str) -> tuple[str, bytes]:
    """
    :raises ValueError: if it has other columns than since Linux 2.6 (Documentation/admin-guide/iostats.rst).
    """
    columns = line.split()
    if not (len(columns) in (_PARTITION_COLUMNS, _DISK_COLUMNS) or len(columns) >= _DISCARD_COLUMNS):
        raise ValueError(f"not a device: {line!r}")
    name = columns[2]
    return name, os.fsencode(line[: line.index(f" {name} ") + len(name) + 2])


def _moved_by(listing: bytes, beginning: bytes) -> Moved:
    """Bytes that a disk has read and written."""
    at = listing.index(beginning)
    columns = listing[at : listing.index(b"\n", at)].split(None, 10)
    return SECTOR_BYTES * int(columns[5]), SECTOR_BYTES * int(columns[9])


class BaseDevices:
    """Which block devices stand on no other one, by their numbers; what one is, is asked once."""

    def __init__(self, devices: str = "/sys/dev/block") -> None:
        """`devices`: where the kernel links each device under its numbers."""
        self._devices = devices
        self._known: dict[str, bool] = {}

    def is_base(self, numbers: str) -> bool:
        """`numbers`: `8:0`. A device that cannot be found counts for nothing."""
        if numbers not in self._known:
            self._known[numbers] = self._is_base(f"{self._devices}/{numbers}")
        return self._known[numbers]

    def _is_base(self, link: str) -> bool:
        try:
            name = os.path.basename(os.readlink(link)).replace("!", "/")
            slaves = os.listdir(f"{link}/slaves") if os.path.isdir(f"{link}/slaves") else []
        except OSError:
            return False
        return not (_VIRTUAL.fullmatch(name) or _NVME_PATH.fullmatch(name) or slaves)


class DiskUsage:
    """How full one file system is. A thread of its own asks every few seconds: on a dead mount the question hangs, and
    only that thread with it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._answer: tuple[Reading | Exception, float] | None = None
        self._first = threading.Event()
        self._thread: threading.Thread | None = None

    def read(self) -> Reading:
        """The newest answer.

        :raises TimeoutError: if the file system has not answered for three periods.
        :raises Exception: whatever the thread met when it last asked.
        """
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._ask, name="disk usage", daemon=True)
            self._thread.start()
            self._first.wait(_FIRST_DISK_SECONDS)
        if self._answer is None or steady() - self._answer[1] > 3 * _DISK_SECONDS:
            raise TimeoutError(f"{self._path} does not answer")
        answer, _ = self._answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _ask(self) -> None:
        # To wait in vain for a lock costs a quarter of what threading.Event does.
        never = threading.Lock()
        never.acquire()
        while True:
            try:
                answer: Reading | Exception = disk_usage(self._path)
            except Exception as error:  # noqa: BLE001 - raised again by read(), sorted with those of other sources
                answer = error
            self._answer = (answer, steady())
            self._first.set()
            never.acquire(timeout=_DISK_SECONDS)


def disk_usage(path: str) -> Reading:
    """By df's rule: what is used, of what is used or free to everyone (coreutils df.c). Empty where that is nothing."""
    usage = psutil.disk_usage(path)
    usable = usage.used + usage.free
    return Reading(gauges=possible({"disk_percent": 100 * usage.used / usable})) if usable else Reading()
