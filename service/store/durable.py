"""Makes files and folders safe from a power cut: of a folder, the names that it holds."""

import os
from pathlib import Path


def sync(*paths: Path) -> None:
    """Return when the disk has all of these files and folders (fsync(2)).

    :raises OSError: if the disk refuses.
    """
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
