"""How full the host's file systems are. A thread asks them, because a dead mount keeps whoever asks it."""

import os
import threading
from collections.abc import Callable, Collection, Sequence

import psutil

from service.records import MountUsage

# More mounts than this are those of containers; the first by path are asked.
MOST_MOUNTS = 50
# Not real: images that are full from the start, and what only shows the files of other file systems.
_UNREAL_TYPES = frozenset({"squashfs", "iso9660", "erofs", "cramfs", "udf", "overlay"})
# File systems that no block device stands behind, and that are real all the same.
_REAL_WITHOUT_DEVICE = ("nfs", "cifs", "smb3", "9p", "virtiofs", "ceph", "zfs", "fuse.")

Keep = Callable[[Sequence[MountUsage]], None]


class MountWatch:
    """Asks every real mount how full it is, each time by one thread.

    A dead mount keeps the thread that asked it, and is not asked again until it answers; the others are asked by the
    next one. So there are at most as many stuck threads as dead mounts.
    """

    def __init__(self, ask: Callable[[str], MountUsage | None] | None = None) -> None:
        """`ask`: gives the usage of the mount at a path; None where it has none."""
        self._ask = ask or usage_at
        self._round: _Round | None = None
        self._stuck: dict[str, _Round] = {}

    def capture(self, keep: Keep) -> None:
        """Have all mounts asked. `keep` is given their usages by the thread; where that is stuck, those that it has by
        the next capture."""
        last = self._round
        if last is not None and (path := last.abandon()) is not None:
            self._stuck[path] = last
        self._stuck = {path: stuck for path, stuck in self._stuck.items() if stuck.thread.is_alive()}
        self._round = _Round([path for path in mounted_paths() if path not in self._stuck], self._ask, keep)
        self._round.thread.start()

    @property
    def stuck(self) -> list[str]:
        """The mounts that do not answer."""
        return sorted(self._stuck)


class _Round:
    """One time of asking all mounts."""

    def __init__(self, paths: Sequence[str], ask: Callable[[str], MountUsage | None], keep: Keep) -> None:
        self._paths, self._ask, self._keep = paths, ask, keep
        self._found: list[MountUsage] = []
        self._asking: str | None = None
        self._is_over = False
        self._lock = threading.Lock()
        self.thread = threading.Thread(target=self._run, name="file systems", daemon=True)

    def abandon(self) -> str | None:
        """End it; the mount that it is stuck at, None where it has ended by itself."""
        with self._lock:
            if self._is_over:
                return None
            self._finish()
            return self._asking

    def _run(self) -> None:
        for path in self._paths:
            self._asking = path
            try:
                usage = self._ask(path)
            except (OSError, ValueError, OverflowError):
                usage = None  # unmounted meanwhile, or denied: no row, as for whatever is unknown
            with self._lock:
                if self._is_over:
                    return
                if usage is not None:
                    self._found.append(usage)
        with self._lock:
            if not self._is_over:
                self._finish()

    def _finish(self) -> None:
        self._is_over = True
        if self._found:
            self._keep(self._found)


def mounted_paths() -> list[str]:
    """Of each real file system the shortest path at which it is mounted."""
    shortest: dict[str, str] = {}
    on_devices = device_types()
    for partition in psutil.disk_partitions(all=True):
        path = partition.mountpoint
        # The root is real also where it is a container's overlay.
        if path == "/" or is_real(partition.fstype, on_devices):
            key = partition.device if partition.device.startswith("/dev/") else path
            shortest[key] = min(shortest.get(key, path), path, key=len)
    return sorted(shortest.values())[:MOST_MOUNTS]


def is_real(fstype: str, on_devices: Collection[str]) -> bool:
    if fstype in _UNREAL_TYPES:
        return False
    return fstype.startswith(_REAL_WITHOUT_DEVICE) or fstype == "fuse" or fstype in on_devices


def device_types() -> Collection[str]:
    """The types that stand on a block device, by the kernel's list (proc_filesystems(5)); elsewhere by psutil's."""
    try:
        with open("/proc/filesystems", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return {partition.fstype for partition in psutil.disk_partitions(all=False)}
    return {line.strip() for line in lines if not line.startswith("nodev")}


def usage_at(path: str) -> MountUsage | None:
    """None for what holds nothing and for a single file that is mounted."""
    if not os.path.isdir(path):
        return None
    usage = psutil.disk_usage(path)
    shown = path.encode("utf-8", "replace").decode()
    return MountUsage(shown, usage.total, usage.used, usage.free) if usage.total > 0 else None
