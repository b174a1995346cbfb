"""Every error that Tidemark raises on purpose: one root, each with its exit code and its HTTP status."""

from typing import Literal


class TidemarkError(Exception):
    """An error that the user can act on; its text is one line that says what is wrong and what to do."""

    exit_code = 1
    status = 500


class BadParameter(TidemarkError):
    """A parameter of a request or a verb that cannot be meant; the text names it, its value and what it takes."""

    exit_code = 2
    status = 400


class BadSetting(TidemarkError):
    """A setting that is unknown, malformed or unsafe."""

    exit_code = 78


class ForeignDatabase(TidemarkError):
    """A file that stands where the database should be, and is not one of Tidemark's."""

    exit_code = 78


class NewerDatabase(TidemarkError):
    """A database that a newer Tidemark wrote; this one must not touch it."""

    exit_code = 76


class AlreadyRunning(TidemarkError):
    """Another daemon holds this database."""

    exit_code = 75


class CannotCreate(TidemarkError):
    """The database, or the folder it lives in, cannot be created."""

    exit_code = 73


class StartFailed(TidemarkError):
    """Something outside the program refused at start: the disk, the port."""

    exit_code = 74


class HistoryUnreadable(TidemarkError):
    """The stored history cannot be read now; the cause is in the log, not in the text."""


class QueryRefused(TidemarkError):
    """A statement given to `sql` that is wrong, would write, or runs for too long."""


class StoreFailed(TidemarkError):
    """The writer could not store; `kind` says which rule mends it. The text is SQLite's own.

    `busy`: somebody holds a lock. `full`: no space. `io`: the disk or the file refuses. `corrupt`: what was read is
    no sound database, or could not be read. `poison`: a row that no table takes.
    """

    exit_code = 74

    def __init__(self, kind: "StoreFailureKind", text: str) -> None:
        super().__init__(text)
        self.kind = kind


StoreFailureKind = Literal["busy", "full", "io", "corrupt", "poison"]
