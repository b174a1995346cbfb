"""Small files of /sys that hold one word or one number; what cannot be read is unknown."""

import os
from collections.abc import Callable

from service.host.mounted import printable

# Called with each folder before it is read, so that one that never answers is known; False: it is not to be read.
Announce = Callable[[str], bool]
_MOST_BYTES = 256
# Of a name that is stored.
_MOST_LETTERS = 64


def text_in(path: str) -> str | None:
    """What it holds, without blanks around it, as text that can be stored; None where that is nothing, or unknown."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            raw = os.read(descriptor, _MOST_BYTES)
        finally:
            os.close(descriptor)
    except (OSError, ValueError):
        # EINVAL, ENODATA, EIO: the driver does not know. ValueError: a name with a null byte.
        return None
    return printable(os.fsdecode(raw.split(b"\0")[0].strip()))[:_MOST_LETTERS] or None


def number_in(path: str) -> int | None:
    """None where it holds no whole number."""
    text = text_in(path)
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def listed(folder: str) -> list[str]:
    """The names in a folder, in order; empty where there is none."""
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
