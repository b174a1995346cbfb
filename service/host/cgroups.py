"""What a control group stands for: a service, a session, a container; by its path alone.

The names follow systemd.unit(5), systemd.slice(5) and what docker, podman, containerd, CRI-O and Kubernetes call
theirs, with either of their drivers (systemd, cgroupfs).
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

_ID = r"([0-9a-f]{12})[0-9a-f]{52}"
# docker-<id>.scope, libpod-<id>.scope, cri-containerd-<id>.scope, crio-<id>, <anything>:cri-containerd:<id>, <id>.
_CONTAINER = re.compile(
    rf"(?:.*?[:-])??(?:(docker|libpod|cri-containerd|nerdctl|crio|podman|buildah)[:-])?{_ID}(\.scope)?"
)
_CONMON = re.compile(r"(libpod|crio)-conmon-")
_RUNTIMES = {"libpod": "podman", "cri-containerd": "containerd", "nerdctl": "containerd"}
# Where the name of a container says nothing of its runtime, a folder above it does.
_FOLDERS = (("docker", "docker"), ("libpod", "podman"), ("kubepods", "kubernetes"), ("crio", "crio"))
_LXC = re.compile(r"lxc\.payload\.(.+)|lxc/(.+)")
_MANAGER = re.compile(r"user@\d+\.service")
_UNIT = re.compile(r".+\.(service|scope|slice|socket|mount|swap)")


class Group(NamedTuple):
    """`is_whole`: whatever is below it belongs to it."""

    name: str
    kind: str
    is_whole: bool = False


ROOT = Group("/", "root")


def group_of(path: Sequence[str]) -> Group | None:
    """What the group at a path, from the root down, stands for; None where it belongs to the one above it.

    Kinds: `service`, `scope`, `session`, `slice`, `container`, `vm`, `cgroup` (any other folder), `root`.
    """
    if not path:
        return ROOT
    return _container(path) or _unit(path) or _folder(path)


def nearest(path: Sequence[str]) -> Group:
    """The group to which what runs at that path belongs."""
    found = ROOT
    for depth in range(1, len(path) + 1):
        found = group_of(path[:depth]) or found
        if found.is_whole:
            break
    return found


def _container(path: Sequence[str]) -> Group | None:
    name = path[-1]
    lxc = _LXC.fullmatch(name) or _LXC.fullmatch("/".join(path[-2:]))
    if lxc:
        return Group(f"lxc:{lxc.group(1) or lxc.group(2)}", "container", is_whole=True)
    if name.startswith("systemd-nspawn@"):
        return Group(name, "container", is_whole=True)
    if name.startswith("machine-") and name.endswith(".scope"):
        return Group(name, "vm" if name.startswith("machine-qemu") else "container", is_whole=True)
    found = None if _CONMON.match(name) else _CONTAINER.fullmatch(name)
    if found is None:
        return None
    runtime = found.group(1) or _runtime(path)
    return Group(f"{_RUNTIMES.get(runtime, runtime)}:{found.group(2)}", "container", is_whole=True)


def _runtime(path: Sequence[str]) -> str:
    above = "/".join(path[:-1])
    return next((runtime for word, runtime in _FOLDERS if word in above), "container")


def _unit(path: Sequence[str]) -> Group | None:
    """Units of a user's own manager stand below it, and may have the names of the system's."""
    name = path[-1]
    unit = _UNIT.fullmatch(name)
    if unit is None:
        return None
    manager = next((part for part in path[:-1] if _MANAGER.fullmatch(part)), None)
    if manager is not None:
        name = f"{manager}/{name}"
    elif name.startswith("session-") and name.endswith(".scope") and len(path) > 1:
        return Group(f"{path[-2].removesuffix('.slice')}/{name}", "session")
    kind = unit.group(1)
    return Group(name, kind if kind in ("service", "scope", "slice") else "service")


def _folder(path: Sequence[str]) -> Group | None:
    """A folder that is no unit, unless it is a part of one: services divide themselves as they like."""
    for depth in range(1, len(path)):
        above = path[depth - 1]
        if _UNIT.fullmatch(above) and not above.endswith(".slice"):
            return None
    return Group("/" + "/".join(path), "cgroup")
