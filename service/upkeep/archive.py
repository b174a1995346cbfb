"""Copies of the history: `export` to CSV or JSON lines, `backup` to a database file; each whole or not at all."""

import glob
import json
import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from service.errors import TidemarkError
from service.store import database
from service.store.reader import History
from service.store.tiers import Tier
from service.upkeep import tables

log = logging.getLogger(__name__)

Advance = Callable[[float], object]


class CopyFailed(TidemarkError):
    """A copy that could not be made; nothing is left of it."""


def export(history: History, tier: Tier, start: int, end: int, form: str, out: Path | None, progress: Advance) -> int:
    """Write the rows of one tier in start <= ts < end, in time order, to a file or stdout.

    `form`: `csv` or `jsonl`. `progress`: called with the seconds of history done since the last call.

    :returns: how many rows were written.
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


def _pieces(history: History, tier: Tier, start: int, end: int) -> Iterator[tuple[list[str], Any, float]]:
    """Piece by piece, each in a read transaction of its own, so that the daemon's log can shrink meanwhile."""
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
        return
    with replacing(out) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        os.chmod(temporary, 0o640)
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A name beside `target` to write to, which takes its place when all went well and is removed otherwise.

    :raises CopyFailed: if the disk refuses.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        _sweep(target)
        yield temporary
        os.replace(temporary, target)
        _sync_folder(target.parent)
    except (OSError, sqlite3.Error) as error:
        raise CopyFailed(f"cannot write {target}: {getattr(error, 'strerror', None) or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(target: Path) -> None:
    """Remove what killed writers of the same target have left half done."""
    for part in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        pid = part.name.removesuffix(".part").rpartition(".")[2]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            part.unlink(missing_ok=True)
        except (PermissionError, ValueError, OverflowError):
            log.debug("%s is somebody else's, and stays", part)


def backup(path: Path, target: Path) -> int:
    """A verified copy of the database, made while the daemon may be writing.

    :returns: its size in bytes.
    :raises CopyFailed: if the target exists, cannot be written, or does not pass its integrity check.
    """
    if target.exists():
        raise CopyFailed(f"{target} exists; choose another name, or remove it first")
    with replacing(target) as temporary:
        database.copy_into(path, temporary)
        os.chmod(temporary, 0o640)
        _verify(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
    return target.stat().st_size


def _verify(copy: Path) -> None:
    history = History(copy)
    try:
        with history.view(seconds=3600) as view:
            problems = view.problems()
    finally:
        history.close()
    if problems:
        raise CopyFailed(f"the copy is not sound, so it was not kept: {problems[0]}")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
