"""What each disk has done since it appeared: bytes, operations, the time in which it was busy, and that of waiting."""

import os

import psutil

from service.host.disks import SECTOR_BYTES, BaseDisks
from service.host.mounted import printable
from service.host.source import KeptOpen, kernels_or_psutils
from service.records import DeviceReading

# Of a line of /proc/diskstats that has all of it (Documentation/admin-guide/iostats.rst).
_COLUMNS = 14
# Readings after which /sys is asked again which devices are disks: an hour of captures.
_SORT_EVERY = 120


class DiskActivity:
    """Of the devices that the totals of all disks are made of (`BaseDisks`): no partition, loop device or RAM disk, and
    no RAID or logical volume, whose bytes are those of its disks."""

    def __init__(self, block: str = "/sys/block") -> None:
        self._file = KeptOpen(f"{psutil.PROCFS_PATH}/diskstats")
        self._disks = BaseDisks(block, _SORT_EVERY)

    def read(self) -> dict[str, DeviceReading]:
        """By the disk's name; empty on a host without disks.

        :raises OSError: if the host lists devices, but not which of them are disks.
        :raises ValueError: if a line is not as the kernel writes it, and psutil knows no better.
        """
        return kernels_or_psutils(self._read, self._read_of_psutil)

    def _read(self) -> dict[str, DeviceReading] | None:
        """None where the kernel has no such file."""
        listing = self._file.read()
        if listing is None:
            return None
        if listing and not listing.endswith(b"\n"):
            raise ValueError("the file is cut short")
        lines = {name: rest for _, _, name, rest in (line.split(None, 3) for line in listing.splitlines())}
        names = {os.fsdecode(name): name for name in lines}
        return {printable(name): _reading(lines[names[name]]) for name in sorted(self._disks.among(names.keys()))}

    def _read_of_psutil(self) -> dict[str, DeviceReading]:
        # nowrap=False: psutil would add 2^32 and more to a counter that was reset.
        found = psutil.disk_io_counters(perdisk=True, nowrap=False)
        names = self._disks.among(found.keys()) if psutil.LINUX else found
        return {printable(name): _reading_of_psutil(found[name]) for name in names}


def _reading(rest: bytes) -> DeviceReading:
    """Of what stands behind the name.

    :raises ValueError: if that is less than a disk has.
    """
    columns = rest.split(None, _COLUMNS - 3)
    if len(columns) < _COLUMNS - 3:
        raise ValueError(f"not a disk: {rest[:80]!r}")
    reads, _, read, read_ms, writes, _, written, write_ms, _, busy_ms = map(int, columns[:10])
    counts = (SECTOR_BYTES * read, SECTOR_BYTES * written, reads, writes, busy_ms, read_ms + write_ms)
    if min(counts) < 0:
        raise ValueError(f"no disk counts below zero: {rest[:80]!r}")
    return DeviceReading(counts)


def _reading_of_psutil(io: object) -> DeviceReading:
    """Where a system does not count a time, it is not known."""
    names = ("read_bytes", "write_bytes", "read_count", "write_count", "busy_time", "read_time", "write_time")
    read, written, reads, writes, busy, read_ms, write_ms = (getattr(io, name, None) for name in names)
    wait = None if read_ms is None or write_ms is None else read_ms + write_ms
    return DeviceReading((read, written, reads, writes, busy, wait))
