"""What this machine is: its name, its CPUs and memory, its kernel and system, and when it was booted."""

import os
import platform
from dataclasses import dataclass
from typing import Literal

import psutil

from service.host.limits import Limits, limits, scope
from service.host.source import READ_ERRORS


@dataclass(frozen=True, slots=True)
class Machine:
    """`booted`: unix seconds. None for what cannot be read."""

    name: str
    cpus: int | None
    memory_bytes: int | None
    kernel: str
    os: str
    booted: int | None
    scope: Literal["host", "container"]
    limits: Limits


def machine() -> Machine:
    return Machine(
        name=os.uname().nodename,
        cpus=psutil.cpu_count(),
        memory_bytes=_memory_bytes(),
        kernel=platform.release(),
        os=_system(),
        booted=_booted(),
        scope=scope(),
        limits=_limits(),
    )


def _memory_bytes() -> int | None:
    try:
        return int(psutil.virtual_memory().total)
    except (*READ_ERRORS, RuntimeError):
        return None


def _limits() -> Limits:
    try:
        return limits()
    except READ_ERRORS:
        return Limits(None, None)


def _booted() -> int | None:
    try:
        return round(psutil.boot_time())
    except (*READ_ERRORS, RuntimeError):  # RuntimeError: a /proc/stat without btime
        return None


def _system() -> str:
    """Like Debian GNU/Linux 12 (bookworm); Linux where no file says more."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, ValueError, KeyError):
        return platform.system()
