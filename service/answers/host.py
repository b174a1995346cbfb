"""Host: which machine this is, and since when it is recorded."""

from typing import Literal

from service import __version__
from service.answers.answer import Answer
from service.answers.moments import Moment
from service.host.machine import Machine


class Host(Answer, frozen=True):
    """`booted` and `recording_since` are None where that is not known; so are what the machine does not tell.

    `first_capture`: when it is known at the latest who used the machine first; None where nothing is recorded.
    `scope`: what this program sees around it. `cpu_limit`: how many CPUs' time a container may use; None without limit.
    """

    name: str
    cpus: int | None
    memory_bytes: int | None
    kernel: str
    os: str
    booted: Moment | None
    recording_since: Moment | None
    first_capture: Moment | None
    version: str
    scope: Literal["host", "container"]
    cpu_limit: float | None
    memory_limit_bytes: int | None


def host(machine: Machine, name: str, oldest: int | None, capture_seconds: int) -> Host:
    """`name`: what to call it, empty for its own name; `oldest`: unix seconds of the oldest row; `capture_seconds`: how
    long after it the first capture is stored at the latest."""
    return Host(
        name=name or machine.name,
        cpus=machine.cpus,
        memory_bytes=machine.memory_bytes,
        kernel=machine.kernel,
        os=machine.os,
        booted=None if machine.booted is None else Moment(machine.booted),
        recording_since=None if oldest is None else Moment(oldest),
        first_capture=None if oldest is None else Moment(oldest + capture_seconds),
        version=__version__,
        scope=machine.scope,
        cpu_limit=machine.limits.cpus,
        memory_limit_bytes=machine.limits.memory_bytes,
    )
