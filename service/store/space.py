"""Whether there is space to write: a full disk, a quota and a limit on the size of files are one kind of failure."""

import errno
import os
import tempfile
from pathlib import Path

from service.store.schema import PAGE_BYTES

# More than a commit writes, and the file system's rounding, and the index of the log (32 KB at a time).
_PROBE_BYTES = 65536


def lack(folder: Path, size: int = 0) -> str | None:
    """Why the folder does not take a file of `size` bytes that grows by a page; None where it does, or where something
    else is wrong. SQLite reports these as `disk I/O error`, and Python does not give its errno."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            os.pwrite(probe.fileno(), bytes(_PROBE_BYTES), 0)
            os.pwrite(probe.fileno(), bytes(PAGE_BYTES), size)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return "the disk is full"
        if error.errno in (errno.EDQUOT, errno.EFBIG):
            return os.strerror(error.errno)
    return None
