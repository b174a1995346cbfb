"""Disks: bytes moved since boot, and how full one file system is."""

import os
import threading

import psutil

from service.clock import steady
from service.host.source import possible
from service.records import Reading

# How often the file system is asked how full it is, and how long the first sample waits for its answer, in seconds.
_DISK_SECONDS = 5.0
_FIRST_DISK_SECONDS = 0.5


class Disks:
    """Bytes read and written by whole disks; their partitions would count twice.

    psutil's own sum looks up each device in /sys at each call; which names are whole disks is kept here instead.
    """

    def __init__(self) -> None:
        self._is_whole: dict[str, bool] = {}

    def read(self) -> Reading:
        """Empty on a host without disks."""
        disks = psutil.disk_io_counters(perdisk=True, nowrap=False)
        whole = [counters for name, counters in disks.items() if self._counts(name)]
        if not whole:
            return Reading()
        moved = {
            "disk_read_bytes": sum(disk.read_bytes for disk in whole),
            "disk_written_bytes": sum(disk.write_bytes for disk in whole),
        }
        return Reading(counters=possible(moved))

    def _counts(self, name: str) -> bool:
        """By psutil's rule: what has a folder of its own in /sys/block (slashes written `!`); off Linux, everything."""
        if name not in self._is_whole:
            block = "/sys/block"
            self._is_whole[name] = not os.path.isdir(block) or os.path.exists(f"{block}/{name.replace('/', '!')}")
        return self._is_whole[name]


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
        pause = threading.Event()
        while True:
            try:
                answer: Reading | Exception = disk_usage(self._path)
            except Exception as error:  # noqa: BLE001 - raised again by read(), sorted with those of other sources
                answer = error
            self._answer = (answer, steady())
            self._first.set()
            pause.wait(_DISK_SECONDS)


def disk_usage(path: str) -> Reading:
    """By df's rule: what is used, of what is used or free to everyone (coreutils df.c). Empty where that is nothing."""
    usage = psutil.disk_usage(path)
    usable = usage.used + usage.free
    return Reading(gauges=possible({"disk_percent": 100 * usage.used / usable})) if usable else Reading()
