"""What the daemon that runs over a database uses, for the verb `config`: the second line of the lock's file."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from service.config import Setting


def line(settings: Iterable[Setting]) -> str:
    """The settings in force, on one line."""
    return json.dumps({each.key: each.value for each in settings}) + "\n"


def settings_of(path: Path) -> dict[str, Any] | None:
    """Key -> value of the settings that the daemon over this database uses; None where none runs, or where this account
    may not see it."""
    try:
        descriptor = os.open(f"{path}.lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with open(descriptor, "rb") as file:
        pid, _, found = file.read(65536).partition(b"\n")
        if not _is_held(pid, descriptor):
            return None
    try:
        values = json.loads(found)
    except ValueError:  # an older version writes only its pid
        return None
    return values if isinstance(values, dict) and values else None  # a verb that holds the lock names none


def _is_held(pid: bytes, descriptor: int) -> bool:
    """Whether that process holds the lock (proc_locks(5)). Trying the lock would keep off a daemon that starts now."""
    try:
        locks = Path("/proc/locks").read_bytes().splitlines()
    except OSError:
        return False
    inode = b":%d" % os.fstat(descriptor).st_ino
    held = (fields for fields in map(bytes.split, locks) if len(fields) > 5 and fields[1] == b"FLOCK")
    return any(fields[4] == pid.strip() and fields[5].endswith(inode) for fields in held)
