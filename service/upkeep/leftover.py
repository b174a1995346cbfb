"""Decides whether a write-ahead log that a killed daemon left belongs to the database file beside it.

SQLite applies whatever `-wal` it finds: the two files have no number in common that it could compare. A backup copied
over the database of a killed daemon would so be overwritten, page by page, by the history it was to replace.
"""

from pathlib import Path

from service.errors import StartFailed
from service.store import database, schema
from service.upkeep.recovery import set_aside

# sqlite.org/fileformat2.html: "The Database Header" and "The WAL File Format".
_HEADER_BYTES = 100
_LOG_HEADER_BYTES = 32
_ROLLBACK_MODE = 1


def set_log_aside(path: Path, now: float) -> str | None:
    """Move the log aside if it is of another database; what to report of it, else None.

    Call it with the lock held, before the first connection that may write.

    :raises StartFailed: if the database cannot be read, the log cannot be moved, or too much is set aside already.
    """
    why = _why_foreign(path)
    return None if why is None else _moved(path, why, now)


def set_damaging_log_aside(path: Path, now: float) -> str | None:
    """The same for a database that is damaged as it stands, and sound without its log."""
    if not _has_log(path) or not _is_sound(path, without_log=True):
        return None
    return _moved(path, "a log with which the database is damaged, and without which it is sound", now)


def _moved(path: Path, why: str, now: float) -> str:
    folder = set_aside(path, why, now, ("-wal", "-shm"))
    return f"{why}, is set aside in quarantine/{folder.name}; the database is kept"


def _why_foreign(path: Path) -> str | None:
    """None where the log belongs to the file, or is left to SQLite, or the file is not one of Tidemark's.

    Two signs are certain: the file is in rollback mode, which SQLite enters only after it has removed the log (so is
    every backup, and every file after a clean stop); or their pages differ in size. Else a file that has not changed
    since the log's last write is the log's own. One that has (by a checkpoint just before the kill, or because a copy
    was put there since) is checked whole, with its log and without.
    """
    if not _has_log(path) or not path.exists():
        return None
    try:
        header = database.header(path, _HEADER_BYTES)
    except OSError as error:
        raise StartFailed(f"cannot read {path}: {error}") from None
    if len(header) < _HEADER_BYTES or int.from_bytes(header[68:72]) != schema.APPLICATION_ID:
        return None
    if header[18] == _ROLLBACK_MODE:
        return "a log beside a database that has none"
    with open(f"{path}-wal", "rb") as log:
        log_header = log.read(_LOG_HEADER_BYTES)
    # A size of 65536 is stored as 1 in the two bytes of the file.
    if int.from_bytes(header[16:18]) % 65535 != int.from_bytes(log_header[8:12]) % 65535:
        return "a log of a database with other pages"
    if path.stat().st_ctime_ns <= Path(f"{path}-wal").stat().st_ctime_ns:
        return None
    if _is_sound(path) or not _is_sound(path, without_log=True):
        return None
    return "a log with which the database is damaged, and without which it is sound"


def _has_log(path: Path) -> bool:
    """Whether there is a log with anything in it."""
    try:
        return Path(f"{path}-wal").stat().st_size > _LOG_HEADER_BYTES
    except FileNotFoundError:
        return False


def _is_sound(path: Path, without_log: bool = False) -> bool:
    try:
        return not database.quick_check(path, without_log)
    except OSError:
        return False
