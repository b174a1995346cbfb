"""What people note: a file beside the database for each, until the one writer has it in the history, then a row.

A note's file is complete from the moment it has its name, and its name has the key of its row: a writer that is killed
between the row and the end of the file finds both at its next start, and the row is there once.
"""

import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from service.errors import BadParameter, NoteFailed
from service.store import durable
from service.store.statements import Statements

MOST_LETTERS = 500
# UTF-8 takes four bytes for a letter at most.
_MOST_BYTES = 4 * MOST_LETTERS
# What waits is taken in so many at a time, and no more files than that are looked at.
MOST_AT_ONCE = 200
_PRUNE_ROWS = 2000
_NAME = re.compile(r"(\d{1,12})-([0-7][0-9a-f]{15})\.note", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Note:
    """`note_id`: a number drawn at random; with `ts` the key."""

    ts: int
    note_id: int
    text: str

    @property
    def file_name(self) -> str:
        return f"{self.ts}-{self.note_id:016x}.note"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Notes that wait in their files, oldest first; files that are called like a note and hold none, with why; and
    whether there may be more."""

    notes: Sequence[Note]
    refused: Sequence[tuple[Path, str]]
    is_cut: bool


def note(text: str, ts: int) -> Note:
    """
    :raises BadParameter: if the text is not one line of printable letters.
    """
    text = text.strip(" ")
    if not 0 < len(text) <= MOST_LETTERS or not text.isprintable():
        raise BadParameter(f"TEXT: takes one line of 1 to {MOST_LETTERS} letters, without control characters")
    return Note(ts, int.from_bytes(os.urandom(8), "big") >> 1, text)


def folder_of(database: Path) -> Path:
    return Path(f"{database}-notes")


def leave(database: Path, new: Note) -> None:
    """Leave a note where the writer takes it in; the disk has it when this returns.

    As root for the account that the database belongs to, which is to remove the file.

    :raises NoteFailed: if this account may not write there, or the disk refuses.
    """
    folder = folder_of(database)
    temporary = folder / f".{new.file_name}.part"
    try:
        owner = os.stat(database)
        _make(folder, owner)
        _write(temporary, new.text.encode(), owner)
        temporary.rename(folder / new.file_name)
        durable.sync(folder)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise NoteFailed(
            f"cannot write to {folder}: {error.strerror}; note it from the account that the database belongs to, or "
            "let this one write to that folder"
        ) from None


def _make(folder: Path, owner: os.stat_result) -> None:
    """The folder, where it is not there; with its name on the disk."""
    try:
        folder.mkdir(mode=0o750)
    except FileExistsError:
        return
    _give(folder, owner)
    durable.sync(folder.parent)


def _write(file: Path, text: bytes, owner: os.stat_result) -> None:
    """Readable for the group, whatever the umask: where another account may write to the folder, the writer is that."""
    descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    try:
        os.fchmod(descriptor, 0o640)
        _give(descriptor, owner)
        if os.write(descriptor, text) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give(file: Path | int, owner: os.stat_result) -> None:
    if os.geteuid() == 0:
        os.chown(file, owner.st_uid, owner.st_gid)


def waiting(database: Path) -> Waiting:
    """What waits beside the database; nothing where this account may not see it."""
    notes: list[Note] = []
    refused: list[tuple[Path, str]] = []
    try:
        with os.scandir(folder_of(database)) as entries:
            found = [Path(entry.path) for entry in islice(_of_notes(entries), MOST_AT_ONCE)]
    except OSError:
        found = []
    for file in found:
        try:
            notes.append(_read(file))
        except FileNotFoundError:
            continue  # taken in meanwhile
        except (OSError, ValueError, BadParameter) as error:
            refused.append((file, str(getattr(error, "strerror", None) or error)))
    return Waiting(sorted(notes), refused, len(found) == MOST_AT_ONCE)


def _of_notes(entries: "Iterator[os.DirEntry[str]]") -> "Iterator[os.DirEntry[str]]":
    return (entry for entry in entries if _NAME.fullmatch(entry.name))


def _read(file: Path) -> Note:
    """Whoever may write to the folder may put anything there: a link, a FIFO, a file without an end.

    :raises OSError: if it cannot be read.
    :raises ValueError: if it is no text of a note.
    :raises BadParameter: likewise.
    """
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a file")
        text = os.read(descriptor, _MOST_BYTES + 1).decode()
    finally:
        os.close(descriptor)
    named = _NAME.fullmatch(file.name)
    assert named
    return Note(int(named[1]), int(named[2], 16), note(text, 0).text)


# -- in the history


def insert(statements: Statements, notes: Sequence[Note]) -> None:
    """Those that are there already stay as they are."""
    rows = [(new.ts, new.note_id, new.text) for new in notes]
    statements.run_each("INSERT INTO note (ts, note_id, text) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", rows)


def prune(statements: Statements, before: int) -> bool:
    """One bounded step: they are kept as long as hours are.

    :returns: whether there is more to do.
    """
    oldest = f"SELECT ts, note_id FROM note WHERE ts < ? ORDER BY ts LIMIT {_PRUNE_ROWS}"
    return statements.run(f"DELETE FROM note WHERE (ts, note_id) IN ({oldest})", (before,)) == _PRUNE_ROWS


def not_stored(statements: Statements, notes: Sequence[Note]) -> list[Note]:
    """Of notes that waited those that the history does not have: they may have been taken in meanwhile."""
    has = "SELECT 1 FROM note WHERE ts = ? AND note_id = ?"
    return [new for new in notes if statements.number(has, (new.ts, new.note_id)) is None]
