"""The index of SQLite's log (`-shm`), which every connection maps into memory."""

import fcntl
import os
import struct
from contextlib import suppress
from pathlib import Path

# linux/fs.h: `_IOR('f', 1, long)`, `_IOW('f', 2, long)` as 64-bit machines have it, and "do not copy on write".
_GET_FLAGS, _SET_FLAGS, _NO_COPY_ON_WRITE = 0x80086601, 0x40086602, 0x00800000


def prepare(path: Path) -> None:
    """Create the index of the database at `path`, empty, so that its pages are written in place; call it before SQLite
    creates it.

    Where a file system copies on write (btrfs), each first write to a page of a mapped file takes new space, and where
    there is none the kernel ends the process (SIGBUS). The flag can be set only on an empty file. The database and its
    log keep copying, and with it their checksums. Where the flag cannot be had the index is as SQLite would create it.
    """
    with suppress(OSError):
        mode = path.stat().st_mode & 0o777
        # Never over a file that is there: a connection may have it.
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(f"{path}-shm", flags, mode)
        try:
            os.fchmod(descriptor, mode)
            (now,) = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(struct.calcsize("l"))))
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", now | _NO_COPY_ON_WRITE))
        finally:
            os.close(descriptor)
