"""Every error that Tidemark raises on purpose: one root, each with its exit code and its HTTP status."""

import errno
from typing import Literal


class TidemarkError(Exception):
    """An error that the user can act on; its text is one line that says what is wrong and what to do."""

    exit_code = 1
    status = 500


class BadParameter(TidemarkError):
    """A parameter of a request or a verb has a bad value; the text names it, its value and what it takes."""

    exit_code = 2
    status = 400


class BadSetting(TidemarkError):
    """A setting is unknown, malformed or unsafe."""

    exit_code = 78


class ForeignDatabase(TidemarkError):
    """The file at the database's path is not one of Tidemark's."""

    exit_code = 78


class NewerDatabase(TidemarkError):
    """A newer Tidemark wrote the database; this one must not touch it."""

    exit_code = 76


class AlreadyRunning(TidemarkError):
    """Another daemon has the database."""

    exit_code = 75


class CannotCreate(TidemarkError):
    """The database, or the folder that holds it, cannot be created."""

    exit_code = 73


class StartFailed(TidemarkError):
    """Something outside the program keeps it from starting: the disk, the port."""

    exit_code = 74


class HistoryUnreadable(TidemarkError):
    """The stored history cannot be read now; the log has the cause, the text does not."""


class QueryRefused(TidemarkError):
    """A statement given to `sql` is wrong, would write, or runs for too long."""

    status = 400


class PackageMissing(TidemarkError):
    """A verb needs a package that the others do without; the text says how to get it."""


class CannotInstall(TidemarkError):
    """The service cannot be installed or removed here, or something of that name is not ours."""


class NoteFailed(TidemarkError):
    """A note cannot be left beside the database."""


class StoreFailed(TidemarkError):
    """The writer could not store; the text is SQLite's own, and `kind` decides what recovery does.

    `busy`: another program holds a lock. `full`: there is no space. `io`: the disk or the file refuses. `corrupt`:
    SQLite calls the file damaged, which may also be a failure of the disk. `poison`: no table takes the row.
    """

    exit_code = 74

    def __init__(self, kind: "StoreFailureKind", text: str) -> None:
        super().__init__(text)
        self.kind = kind


StoreFailureKind = Literal["busy", "full", "io", "corrupt", "poison"]


def is_shortage(error: BaseException) -> bool:
    """Whether the system refused a thread, a process, a file or memory, so that no code of ours is at fault."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_shortage(part) for part in error.exceptions)
    if isinstance(error, OSError):
        return error.errno in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
    return isinstance(error, MemoryError) or str(error) == "can't start new thread"
