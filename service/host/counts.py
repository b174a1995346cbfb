"""How many processes there are, and the load average."""

import os

import psutil

from service.host.source import KeptOpen, possible
from service.records import OpenFiles, Reading

# The inode number of the first PID namespace (PROC_PID_INIT_INO, include/linux/proc_ns.h).
_FIRST_PID_NAMESPACE = "pid:[4026531836]"
# Where nothing limits them, the kernel says 2^63 - 1, and most systems have it so.
NO_LIMIT = 2**56
# After so many counts by the link number, /proc is listed again to check it.
_CALIBRATE_EVERY = 720


class ProcessCounter:
    """Counts processes without listing them.

    The link count of /proc is the number of its folders: those of the processes and a few others. It includes processes
    of other PID namespaces and those that are hidden from us, so it is used only in the first namespace, where we see
    all of them, and is compared with a listing now and then.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._others: int | None = None

    def read(self) -> Reading:
        return Reading(gauges=possible({"process_count": self.count()}))

    def count(self) -> int:
        """
        :raises ValueError: if there is none, not even this one: /proc is not what it should be.
        """
        if self._calls % _CALIBRATE_EVERY == 0:
            self._others = self._calibrate()
        self._calls += 1
        count = os.stat("/proc").st_nlink - self._others if self._others is not None else len(psutil.pids())
        if count < 1:
            self._calls = 0
            raise ValueError("/proc lists no process")
        return count

    def _calibrate(self) -> int | None:
        """How many links of /proc are no process; None where that is unknown."""
        try:
            # Where /proc hides the processes of others (hidepid), it hides the first one too.
            if os.readlink("/proc/self/ns/pid") != _FIRST_PID_NAMESPACE or not os.path.exists("/proc/1"):
                return None
            for _ in range(3):
                before = os.stat("/proc").st_nlink
                listed = len(psutil.pids())
                if before == os.stat("/proc").st_nlink:
                    return before - listed
        except OSError:
            return None
        return None


class OpenFileCounter:
    """Files that are open in the whole host (/proc/sys/fs/file-nr, proc_sys_fs(5))."""

    def __init__(self, path: str = "/proc/sys/fs/file-nr") -> None:
        self._file = KeptOpen(path, b"\n")

    def read(self) -> OpenFiles | None:
        """None where the kernel has no such file.

        :raises ValueError: if it is not three numbers.
        """
        text = self._file.read()
        if text is None:
            return None
        opened, _, limit = map(int, text.split())
        return OpenFiles(opened, limit if limit < NO_LIMIT else None)


class Load:
    """The load average (proc_loadavg(5)).

    From the file, not from getloadavg(3), which asks the kernel by sysinfo(2): in a container whose /proc shows the
    load of the container (lxcfs), that one is of the whole host.
    """

    def __init__(self, path: str = "/proc/loadavg") -> None:
        self._file = KeptOpen(path, b"\n")

    def read(self) -> Reading:
        """
        :raises ValueError: if the file does not begin with three numbers.
        """
        text = self._file.read()
        loads = psutil.getloadavg() if text is None else [float(part) for part in text.split()[:3]]
        return Reading(gauges=possible(dict(zip(("load_1", "load_5", "load_15"), loads, strict=True))))
