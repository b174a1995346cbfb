"""How many processes there are, and the load average."""

import os

import psutil

# The inode number of the first PID namespace (PROC_PID_INIT_INO, include/linux/proc_ns.h).
_FIRST_PID_NAMESPACE = "pid:[4026531836]"
# How often the count by link number is held against a listing of /proc.
_CALIBRATE_EVERY = 720


class ProcessCounter:
    """Counts processes without looking at each.

    The link count of /proc is the number of its folders: those of the processes and a few others. It counts every PID
    namespace and those that are hidden from us, so it serves only in the first one, where we see all, and only while it
    agrees with a listing now and then.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._others: int | None = None

    def count(self) -> int:
        """
        :raises RuntimeError: if there is none, not even this one: /proc is not what it should be.
        """
        if self._calls % _CALIBRATE_EVERY == 0:
            self._others = self._calibrate()
        self._calls += 1
        count = os.stat("/proc").st_nlink - self._others if self._others is not None else len(psutil.pids())
        if count < 1:
            self._calls = 0
            raise RuntimeError("/proc lists no process")
        return count

    def _calibrate(self) -> int | None:
        """How many links of /proc are no process; None where that cannot be told."""
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


def load() -> dict[str, float]:
    return dict(zip(("load_1", "load_5", "load_15"), psutil.getloadavg(), strict=True))
