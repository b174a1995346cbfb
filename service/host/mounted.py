"""Which file systems are mounted and can fill up, and where. Reads the kernel's list; asks no file system anything."""

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

import psutil

# Not real: images that are full from the start, and what only shows the files of other file systems.
_UNREAL_TYPES = frozenset({"squashfs", "iso9660", "erofs", "cramfs", "romfs", "udf", "overlay"})
# Programs that serve an image by FUSE. Not all of them mount it read-only.
_IMAGE_SERVERS = frozenset(
    {"squashfuse", "squashfuse_ll", "snapfuse", "erofsfuse", "fuseiso", "dwarfs", "mount-zip", "rar2fs", "ratarmount"}
    | {"cvmfs2", "fuse-archive", "archivemount"}
)
# Programs that by FUSE only show the files of another file system, whose room is then theirs: a rootless container has
# one each.
_SHOWING_OTHERS = frozenset({"fuse-overlayfs", "unionfs", "unionfs-fuse", "bindfs", "portal"})
# File systems that no block device stands behind, and that are real all the same.
_REAL_WITHOUT_DEVICE = ("nfs", "cifs", "smb3", "9p", "virtiofs", "ceph", "zfs", "fuse.")
# Each subvolume has an st_dev of its own, which mountinfo does not give.
_TYPES_WITH_SUBVOLUMES = frozenset({"btrfs", "bcachefs"})
# How the kernel marks what can no longer be written; ext4 (since Linux 6.13) uses the second after an error.
_READ_ONLY = frozenset({"ro", "emergency_ro"})


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system that can fill up, and the paths at which it is mounted, shortest first. `st_dev`: what stat() of
    these paths must give; None where that is not known. `source`: the device or server that it is mounted from."""

    st_dev: int | None
    paths: tuple[str, ...]
    # These describe it, and do not distinguish it.
    fstype: str | None = field(default=None, compare=False)
    source: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of the kernel's list. `device` distinguishes file systems; `options` are those of the file system, not
    of this mount of it: a service that systemd protects (ProtectSystem=) has every mount read-only, and the file
    systems fill up all the same."""

    device: str
    path: str
    fstype: str
    source: str
    options: frozenset[str]

    @property
    def is_read_only(self) -> bool:
        return bool(self.options & _READ_ONLY)

    @property
    def st_dev(self) -> int | None:
        if self.fstype in _TYPES_WITH_SUBVOLUMES or not re.fullmatch(r"\d+:\d+", self.device):
            return None
        major, minor = self.device.split(":")
        return os.makedev(int(major), int(minor))


def file_systems() -> list[FileSystem]:
    """All that can fill up, in the order of their shortest paths.

    :raises OSError: if the kernel's list cannot be read.
    """
    return that_fill_up(_mounts(), device_types())


def paths() -> Iterator[str]:
    """Where anything at all is mounted: also what is read-only now, and so cannot fill up.

    :raises OSError: if the kernel's list cannot be read.
    """
    return (mount.path for mount in _mounts())


def that_fill_up(mounts: Iterable[Mount], on_devices: Collection[str]) -> list[FileSystem]:
    """The real file systems that can be written, each once. Left out are paths below an autofs mount."""
    mounts = list(mounts)
    expiring = [mount.path for mount in mounts if _expires(mount)]
    of_device: dict[str, list[Mount]] = {}
    for mount in mounts:
        if _can_fill_up(mount, on_devices) and not any(_is_below(mount.path, path) for path in expiring):
            of_device.setdefault(mount.device, []).append(mount)
    found = [
        FileSystem(
            st_dev=same[0].st_dev,
            paths=tuple(sorted({mount.path for mount in same}, key=lambda path: (len(path), path))),
            fstype=same[0].fstype,
            source=same[0].source,
        )
        for same in of_device.values()
    ]
    return sorted(found, key=lambda one: one.paths)


def _expires(mount: Mount) -> bool:
    """Whether autofs unmounts what is below once nobody has come by for a time. Asking would be coming by."""
    return mount.fstype == "autofs" and "timeout=0" not in mount.options


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(top.rstrip("/") + "/")


def _can_fill_up(mount: Mount, on_devices: Collection[str]) -> bool:
    # The root is real also where it is a container's overlay.
    is_candidate = mount.path == "/" or is_real(mount.fstype, on_devices)
    return is_candidate and not mount.is_read_only and not _is_served(mount)


def _is_served(mount: Mount) -> bool:
    """Whether a program serves what cannot fill up by itself."""
    server = mount.source if mount.fstype == "fuse" else mount.fstype.removeprefix("fuse.")
    return os.path.basename(server) in _IMAGE_SERVERS | _SHOWING_OTHERS or server.endswith(".AppImage")


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


def _mounts() -> Iterable[Mount]:
    """From /proc, where it cannot be read from psutil, which has no device numbers: the source stands for them."""
    try:
        with open("/proc/self/mountinfo", "rb") as file:
            return list(parsed(file.read()))
    except OSError:
        return [
            Mount(
                device=partition.device if partition.device.startswith("/dev/") else partition.mountpoint,
                path=partition.mountpoint,
                fstype=partition.fstype,
                source=partition.device,
                options=frozenset(partition.opts.split(",")),
            )
            for partition in psutil.disk_partitions(all=True)
        ]


def parsed(mountinfo: bytes) -> Iterator[Mount]:
    """The lines of /proc/PID/mountinfo (proc_pid_mountinfo(5))::

    36 35 98:0 /root /path rw,noatime master:1 - ext3 /dev/root rw,errors=continue
    """
    for line in mountinfo.split(b"\n"):
        before, found, after = line.partition(b" - ")
        own, of_file_system = before.split(b" "), after.split(b" ")
        if found and len(own) >= 6 and len(of_file_system) >= 3:
            yield Mount(
                device=own[2].decode("ascii"),
                path=_text(own[4]),
                fstype=_text(of_file_system[0]),
                source=_text(of_file_system[1]),
                options=frozenset(_text(of_file_system[-1]).split(",")),
            )


def _text(field: bytes) -> str:
    """Blanks, line ends and backslashes are written there as three octal digits."""
    return os.fsdecode(re.sub(rb"\\([0-7]{3})", lambda escape: bytes([int(escape[1], 8) & 255]), field))


def printable(path: str) -> str:
    r"""The path as text that can be stored and printed: bytes that are no UTF-8 as `\xff`.

    No two paths become the same: where there are such bytes, or a name looks as if there were, its backslashes are
    doubled.
    """
    raw = os.fsencode(path)
    if not re.search(rb"\\x[89a-f]", raw):
        try:
            return raw.decode()
        except UnicodeDecodeError:
            pass
    return raw.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
