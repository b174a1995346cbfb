"""What a cgroup is, by the folders of its path: a service, a session, a container. Pure: it reads nothing.

The folders are named by systemd (systemd.slice(5), "Control Group APIs and Delegation"), by container runtimes with
their two drivers (systemd: `docker-ID.scope`; cgroupfs: `docker/ID`), by the kubelet, LXC and libvirt; beneath
a folder that an account has been given, by that account. So a name is never trusted to be short, or to be text.
"""

import re
from functools import lru_cache
from typing import Literal, NamedTuple

Kind = Literal["service", "scope", "session", "slice", "container", "vm", "cgroup", "root"]

# A folder has 255 bytes at most; a name that is made of several has no more than that in characters.
_LONGEST = 255
# What lies deeper belongs to the folder above: systemd's own deepest are eight, of a service in a user's session.
DEEPEST = 16

_PREFIXES = {
    "docker": "docker",
    "libpod": "podman",
    "cri-containerd": "containerd",
    "containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "crio",
}
# The folder above, where the driver names a container by nothing but its id: of containerd, the namespace.
_ABOVE = {
    "docker": "docker",
    "moby": "docker",
    "libpod_parent": "podman",
    "default": "containerd",
    "k8s.io": "containerd",
    "nerdctl": "containerd",
}
# `docker-ID.scope`, `crio-ID`; `system.slice:docker:ID` is runc's name for a path of systemd's form under cgroupfs.
_CONTAINER = re.compile(rf"(?:.*:)?({'|'.join(_PREFIXES)})[-:]([0-9a-f]{{12}})[0-9a-f]{{52}}(?:\.scope)?", re.DOTALL)
_BARE_ID = re.compile(r"([0-9a-f]{12})[0-9a-f]{52}")
_LXC = re.compile(r"lxc\.payload\.(.+)", re.DOTALL)
_NSPAWN = re.compile(r"systemd-nspawn@(.+)\.service", re.DOTALL)
# The number counts the starts of a machine; without it the name stays the same after the next start.
_LIBVIRT = re.compile(r"machine-(qemu|lxc)\\x2d\d+\\x2d(.+)\.scope|(qemu|lxc)-\d+-(.+)\.libvirt-\w+", re.DOTALL)
_MACHINE = re.compile(r"machine-(.+)\.scope", re.DOTALL)
_SESSION = re.compile(r"session-c?\d+\.scope")
_USER = re.compile(r"(user-\d+)\.slice")


class Unit(NamedTuple):
    """What one folder is. A folder below a service that is no unit itself has the name and kind of the unit above.

    `path`: from the root cgroup, as the file system has it; empty for the root. `within`: the service or scope that it
    is or lies below, so that what an account names below its own does not pass for another's; empty where there is
    none. `depth`: the number of folders.
    """

    name: str
    kind: Kind
    path: str = ""
    within: str = ""
    depth: int = 0

    @property
    def is_whole(self) -> bool:
        """Everything beneath is its own, however it is named: a container or machine may run a systemd of its own."""
        return self.kind in ("container", "vm") or self.depth == DEEPEST


ROOT = Unit("/", "root")


def unit_in(parent: Unit, folder: str) -> Unit:
    """`folder`: its name as Python decodes names of files, so that any byte is possible."""
    text = folder if folder.isascii() else folder.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    above = parent.path.rpartition("/")[2]
    path, depth = f"{parent.path}/{folder}", parent.depth + 1
    if (named := _container(text, above, parent.path) or _machine(text, above)) is not None:
        return Unit(_bounded(named[0]), named[1], path, parent.within, depth)
    if (kind := _systemd(text)) is None:
        return _plain(parent, path, depth)
    user = _USER.fullmatch(above) if kind == "scope" and not parent.within and _SESSION.fullmatch(text) else None
    if user is not None:
        kind, text = "session", f"{user[1]}/{text}"
    name = _bounded(f"{parent.within}/{text}" if parent.within else text)
    return Unit(name, kind, path, parent.within if kind == "slice" else name, depth)


@lru_cache(maxsize=4096)
def unit_at(path: str) -> Unit:
    """Of a path like that of /proc/PID/cgroup; the root's where it is "/"."""
    unit = ROOT
    for folder in path.split("/"):
        if folder and not unit.is_whole:
            unit = unit_in(unit, folder)
    return unit


def _plain(parent: Unit, path: str, depth: int) -> Unit:
    if parent.within:
        return Unit(parent.name, parent.kind, path, parent.within, depth)
    return Unit(_bounded(path.encode("utf-8", "surrogateescape").decode("utf-8", "replace")), "cgroup", path, "", depth)


def _systemd(text: str) -> Kind | None:
    """What mounts, swaps and sockets run (mount.nfs, say) has a cgroup like that of a service."""
    if text.endswith((".service", ".mount", ".swap", ".socket")):
        return "service"
    if text.endswith(".scope"):
        return "scope"
    return "slice" if text.endswith(".slice") else None


def _container(text: str, above: str, path: str) -> tuple[str, Kind] | None:
    if (found := _CONTAINER.fullmatch(text)) is not None:
        return f"{_PREFIXES[found[1]]}:{found[2]}", "container"
    if (bare := _BARE_ID.fullmatch(text)) is not None:
        runtime = "kubernetes" if "/kubepods" in path else _ABOVE.get(above, "container")
        return f"{runtime}:{bare[1]}", "container"
    if (lxc := _LXC.fullmatch(text)) is not None:
        return f"lxc:{lxc[1]}", "container"
    return (f"lxc:{text}", "container") if above in ("lxc", "lxc.payload") else None


def _machine(text: str, above: str) -> tuple[str, Kind] | None:
    if (nspawn := _NSPAWN.fullmatch(text)) is not None:
        return f"nspawn:{nspawn[1]}", "container"
    if (libvirt := _LIBVIRT.fullmatch(text)) is not None:
        kind: Kind = "vm" if (libvirt[1] or libvirt[3]) == "qemu" else "container"
        return f"libvirt:{libvirt[2] or libvirt[4]}", kind
    if above == "machine.slice" and (machine := _MACHINE.fullmatch(text)) is not None:
        return f"machine:{machine[1]}", "container"
    # Proxmox: the scope of a virtual machine is its number.
    return (f"qemu:{text[:-6]}", "vm") if above == "qemu.slice" and text.endswith(".scope") else None


def _bounded(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
