"""Copies the history out by `export` and `backup`, and back by `restore`: each whole or not at all."""

import glob
import json
import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from service.errors import TidemarkError
from service.store import database, durable
from service.store.reader import History
from service.store.tiers import Tier
from service.upkeep import openmetrics, recovery, tables

log = logging.getLogger(__name__)

Advance = Callable[[float], object]


class CopyFailed(TidemarkError):
    """A copy could not be made; nothing of it is left."""


def export(history: History, tier: Tier, start: int, end: int, form: str, out: Path | None, progress: Advance) -> int:
    """Write the rows of one tier in start <= ts < end, in time order, to a file, a device or a FIFO, or to stdout.

    A regular file is replaced once all rows are written; before that, an older one stays as it is.

    `form`: `csv` or `jsonl`. `progress` is called with the seconds of history that were done since its last call.

    :returns: the number of rows written.
    :raises CopyFailed: if the file cannot be written.
    """
    written = 0
    with _destination(out) as file:
        for columns, rows, done in _pieces(history, tier, start, end):
            if form == "jsonl":
                for row in tables.as_dicts(columns, rows):
                    file.write(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n")
            else:
                tables.write_csv(columns, rows, file, header=written == 0)
            written += len(rows)
            progress(done)
    return written


def export_openmetrics(
    history: History, start: int, end: int, labels: Mapping[str, str], out: Path | None, progress: Advance
) -> int:
    """Write the samples of start <= ts < end as `openmetrics.write` does, to where `export` would.

    :returns: the number of points written.
    :raises CopyFailed: if the file cannot be written.
    """
    with _destination(out) as file:
        return openmetrics.write(history, start, end, labels, file, progress)


def _pieces(history: History, tier: Tier, start: int, end: int) -> Iterator[tuple[list[str], Any, float]]:
    """(columns, rows, seconds of history) of each piece, read in a transaction of its own, so that the daemon's log can
    shrink between two."""
    is_first = True
    while start < end:
        with history.view() as view:
            columns, rows, following = view.rows(tier, start, end)
        if rows or is_first:
            yield columns, rows, following - start
        start, is_first = following, False


@contextmanager
def _destination(out: Path | None) -> Iterator[IO[str]]:
    if out is None:
        yield sys.stdout
    elif out.exists() and not out.is_file():
        with _through(out) as file:
            yield file
    else:
        # The target of a symlink is replaced, and the link stays.
        target = Path(os.path.realpath(out))
        with replacing(target) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
            os.chmod(temporary, 0o640)
            yield file
            file.flush()
            os.fsync(file.fileno())


def check_is_not_own(path: Path, out: Path) -> None:
    """An export is a new file in the place of the old one: over the database it would end the history.

    :raises CopyFailed: if `out` is the database at `path`, or a file that belongs to it.
    """
    own = {os.path.realpath(f"{path}{suffix}") for suffix in ("", "-wal", "-shm", "-journal", ".lock", ".ballast")}
    if os.path.realpath(out) in own:
        raise CopyFailed(f"{out} belongs to the history itself; name another file")


def is_stdout(out: Path) -> bool:
    """Whether the path leads to where stdout goes, like /dev/stdout: opened a second time, a file that stdout is
    redirected to would be written from its beginning by both."""
    try:
        return os.path.samestat(out.stat(), os.fstat(1))
    except OSError:
        return False


@contextmanager
def _through(out: Path) -> Iterator[IO[str]]:
    """A device or a FIFO, which stays what it is.

    :raises CopyFailed: if it takes no more.
    """
    try:
        with open(out, "w", encoding="utf-8", newline="") as file:
            yield file
    except OSError as error:
        raise CopyFailed(f"cannot write {out}: {error.strerror or error}") from None


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A temporary name beside `target` to write to: it replaces `target` if all goes well and is removed otherwise.

    :raises CopyFailed: if the disk refuses.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        _sweep(target)
        yield temporary
        os.replace(temporary, target)
        durable.sync(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise CopyFailed(f"cannot write {target}: {getattr(error, 'strerror', None) or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(target: Path) -> None:
    """Remove the unfinished copies that killed writers of the same target have left."""
    for part in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        pid = part.name.removesuffix(".part").rpartition(".")[2]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            part.unlink(missing_ok=True)
        except (PermissionError, ValueError, OverflowError):
            log.debug("%s belongs to somebody else and stays", part)


def backup(path: Path, target: Path) -> int:
    """Make a copy of the database, also while the daemon writes, and verify it.

    :returns: its size in bytes.
    :raises CopyFailed: if the target exists, cannot be written, or does not pass its integrity check.
    """
    if os.path.lexists(target):
        raise CopyFailed(f"{target} exists; choose another name, or remove it first")
    with replacing(target) as temporary:
        database.copy_into(path, temporary)
        os.chmod(temporary, 0o640)
        _verify(temporary)
        durable.sync(temporary)
    return target.stat().st_size


def restore(path: Path, source: Path, now: float) -> tuple[int, Path | None]:
    """Put a copy of `source`, which stays as it is, where the database stands, while the lock is held.

    What stands there is moved, with its log, to a folder in replaced/: applied to the copy that log would damage it.

    :returns: the size in bytes, and the folder with what stood there.
    :raises TidemarkError: if `source` is damaged, newer, or none of ours, or the disk refuses; nothing has changed.
    """
    _check_source(path, source)
    aside = None
    with replacing(path) as temporary:
        database.copy_into(source, temporary)
        _verify(temporary)
        _belong_like(path if path.exists() else path.parent, temporary)
        durable.sync(temporary)
        if any(Path(f"{path}{suffix}").exists() for suffix in ("", "-wal", "-shm", "-journal")):
            aside = recovery.set_aside(path, f"replaced by {source}", now, folder_name="replaced")
    return path.stat().st_size, aside


def _check_source(path: Path, source: Path) -> None:
    if not source.is_file():
        raise CopyFailed(f"{source} is not a file")
    if path.exists() and source.samefile(path):
        raise CopyFailed(f"{source} is the database itself; name a copy that `backup` made")
    if database.revision(source) is None:
        raise CopyFailed(f"{source} holds no history")
    _verify(source)


def _belong_like(other: Path, copy: Path) -> None:
    """The mode of a database; where root restores, the owner that the daemon needs."""
    os.chmod(copy, 0o640)
    if os.geteuid() == 0:
        found = other.stat()
        os.chown(copy, found.st_uid, found.st_gid)


def _verify(copy: Path) -> None:
    history = History(copy)
    try:
        with history.view(seconds=3600) as view:
            problems = view.problems()
    finally:
        history.close()
    if problems:
        raise CopyFailed(f"the copy is not sound, so it is not used: {problems[0]}")
