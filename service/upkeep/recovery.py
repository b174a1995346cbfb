"""Recovers when the store fails or its file changes while in use: one rule for each cause; nothing is ever deleted.

The rules run on the thread that writes. Reading the whole file, to distinguish a sick disk from a sick database, may
take long: it has a thread of its own, and the next tick finds its verdict.
"""

import json
import logging
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from service.clock import DAY, Clock, rfc3339
from service.errors import StartFailed, StoreFailed, TidemarkError
from service.store import database, durable

log = logging.getLogger(__name__)

# Enough for the write-ahead log of a pruning step and its checkpoint.
BALLAST_BYTES = 8 * 2**20
# More than a file system compresses at once (btrfs 128 KB, ZFS by default too), so that repeating this piece does not
# make the file smaller; if all of it were random, the sample of that second would show 3 % of a CPU more.
_PIECE_BYTES = 2**18
# The most databases that are set aside: a machine that damages more is sick, and each may be as large as the history.
MOST_SET_ASIDE = 5
# How long after the first check the second one comes: a disk that recovers has recovered by then.
SECOND_CHECK_SECONDS = 2.0

# SQLite asks whether to go on a thousand times a second, but not in the midst of a read.
CANCEL_SECONDS = 1.0

Verdict = Literal["sound", "unreadable", "corrupt"]


class Writer(Protocol):
    """What recovery needs of the store."""

    def drop(self) -> None: ...

    def write_again(self, path: Path) -> bool: ...

    def checkpoint(self) -> None: ...


class Readers(Protocol):
    """What recovery needs of the readers."""

    def forget(self) -> None: ...

    def was_damaged(self) -> bool: ...


class Ballast:
    """A file that takes up space while there is plenty, and is removed on a full disk so that pruning can work."""

    def __init__(self, database_path: Path) -> None:
        self._path = Path(f"{database_path}.ballast")

    def hold(self) -> None:
        """Write the file if the disk has more than four times its size to spare.

        Its bytes are written in full and cannot be compressed, so that they do take up space. If writing fails, there
        is no ballast until the next try.
        """
        # Not Path.exists, which raises where the folder may not be looked into.
        if os.path.exists(self._path) or self._free() < 4 * BALLAST_BYTES:
            return
        try:
            with open(os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o640), "wb") as file:
                piece = os.urandom(_PIECE_BYTES)
                for _ in range(BALLAST_BYTES // _PIECE_BYTES):
                    file.write(piece)
                os.fsync(file.fileno())
        except OSError as error:
            log.debug("no ballast: %s", error)
            self.release()

    def release(self) -> bool:
        """Remove the file; whether there was one."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def release_if_needed(self) -> None:
        """Remove the file if the disk is full: called before the first write, so that the daemon can start."""
        if self._free() < BALLAST_BYTES // 8:
            self.release()

    def _free(self) -> int:
        try:
            disk = os.statvfs(self._path.parent)
        except OSError:
            return 0
        return disk.f_bavail * disk.f_frsize


class Examination:
    """Checks the whole database file, on a thread of its own; `verdict` is None until it is done."""

    def __init__(self, path: Path, pause_seconds: float = SECOND_CHECK_SECONDS) -> None:
        self._path, self._pause_seconds = path, pause_seconds
        self.verdict: Verdict | None = None
        self.found = ""
        self._is_cancelled = False
        # Held while the check has a connection.
        self._connected = threading.Lock()
        threading.Thread(target=self._examine, name="examination", daemon=True).start()

    def cancel(self) -> None:
        """Return when it has no connection any more: one that is open keeps the database in WAL mode."""
        self._is_cancelled = True
        # A disk that hangs holds the check for longer; the stop does not wait for it.
        if self._connected.acquire(timeout=CANCEL_SECONDS):
            self._connected.release()

    def _examine(self) -> None:
        verdict = self._check()
        if verdict == "corrupt":
            # A passing error of the disk gives the same result (SQLite turns EIO into "malformed"), so check again
            # before there is a verdict.
            threading.Event().wait(self._pause_seconds)
            verdict = self._check()
        self.verdict = verdict

    def _check(self) -> Verdict:
        try:
            database.read_through(self._path)
            with self._connected:
                if self._is_cancelled:
                    return "unreadable"
                problems = database.quick_check(self._path, is_cancelled=lambda: self._is_cancelled)
        except (OSError, MemoryError) as error:
            self.found = str(error) or "out of memory"
            return "unreadable"
        self.found = "; ".join(problems[:3])
        return "corrupt" if problems else "sound"


class Recovery:
    """Acts on the store's failures. Only the thread that writes calls its methods."""

    def __init__(
        self,
        path: Path,
        store: Writer,
        clock_: Clock,
        make_room: Callable[[], object],
        begin_anew: Callable[[], None],
        readers: Readers,
        give_up: Callable[[TidemarkError], None],
        episodes: Sequence[str] = (),
    ) -> None:
        """`make_room`: prune what is due. `begin_anew`: open a run in the file that now stands at the path.
        `give_up`: end the daemon. `episodes`: those of the start, for /healthz to report."""
        self._path, self._store, self._clock = path, store, clock_
        self._make_room, self._begin_anew, self._readers = make_room, begin_anew, readers
        self._give_up = give_up
        self._ballast = Ballast(path)
        self._examination: Examination | None = None
        self._examined_at = clock_.now().steady
        self._identity = database.identity(path)
        self.episodes = list(episodes)

    def mend(self, failure: StoreFailed) -> bool:
        """Do what the kind of failure calls for; whether to try storing again at once."""
        try:
            if self.is_elsewhere():
                return self._follow_path()
            if failure.kind == "full":
                return self._give_room(failure)
            if failure.kind == "corrupt":
                return self._suspect()
        except StartFailed as error:
            self._give_up(error)
        except TidemarkError as error:
            # The file at the path must not be written to: samples wait until somebody has put it right.
            log.debug("not mended: %s", error)
        return False

    def examine(self) -> None:
        """Start an examination of the whole file, as after a kill."""
        self._examined_at, self._examination = self._clock.now().steady, Examination(self._path)

    def close(self) -> None:
        """Break off an examination that is under way: after it no connection is open here."""
        if self._examination is not None:
            self._examination.cancel()

    def check_file(self) -> None:
        """Once a minute: hold the ballast, and act if the path has another file, the log is gone, or an examination is
        under way; start one if a reader met damage or the last one was a day ago."""
        self._ballast.hold()
        if not self.check_path() and not os.path.exists(f"{self._path}-wal"):
            self._store.checkpoint()
        if self._examination is not None:
            self.mend(StoreFailed("corrupt", "under examination"))
        elif self._readers.was_damaged() or self._clock.now().steady - self._examined_at > DAY:
            self.examine()

    def check_path(self) -> bool:
        """Act if the path has another file than the one that was opened, or none; whether it was so."""
        is_elsewhere = self.is_elsewhere()
        if is_elsewhere:
            self.mend(StoreFailed("io", "the file is not the one that was opened"))
        return is_elsewhere

    # -- full

    def _give_room(self, failure: StoreFailed) -> bool:
        if self._ballast.release():
            self._report(f"the disk is full ({failure}): the ballast is given back, and what is due for pruning goes")
        try:
            self._make_room()
        except StoreFailed as failure:
            log.debug("cannot make room: %s", failure)
        return True

    # -- corrupt

    def _suspect(self) -> bool:
        """Examine the whole file before believing that it is damaged; meanwhile samples wait."""
        if self._examination is None:
            self._store.drop()
            self._examination = Examination(self._path)
            return False
        verdict = self._examination.verdict
        if verdict is None:
            return False
        found, self._examination = self._examination.found, None
        if verdict == "corrupt":
            return self._set_aside(found)
        if verdict == "unreadable":
            log.error("the database cannot be read through, so it stays where it is: %s", found)
        return verdict == "sound"

    def _set_aside(self, found: str) -> bool:
        self._store.drop()
        self._report(set_aside_corrupt(self._path, found, self._clock.now().wall))
        return self._open_new()

    # -- removed, renamed, replaced

    def is_elsewhere(self) -> bool:
        """Whether the path no longer leads to the store's file."""
        try:
            return database.identity(self._path) != self._identity
        except OSError:
            # A sick disk that gives no answer: go on with the file that is open.
            return False

    def _follow_path(self) -> bool:
        """If the file was removed or renamed, it is still open: write the history to the path again. If another file
        was put in its place (a backup, say), go on in that one."""
        if database.identity(self._path) is not None:
            self._leave_log("a log beside a database that was replaced")
            self._store.drop()
            self._report(f"{self._path.name} was replaced while in use; the history goes on in the new one")
            return self._open_new()
        database.prepare_folder(self._path)
        if not self._write_again():
            self._leave_log("a log beside a database that was removed")
            self._store.drop()
            self._report(f"{self._path.name} was removed while in use; a new one begins")
            return self._open_new()
        durable.sync(self._path.parent)
        self._report(f"{self._path.name} was removed or renamed while in use; the history is written there again")
        self._readers.forget()
        self._identity = database.identity(self._path)
        return True

    def _write_again(self) -> bool:
        """
        :raises StoreFailed: if it cannot be written now; the history stays open without a name.
        """
        try:
            return self._store.write_again(self._path)
        except StoreFailed as failure:
            log.error(
                "%s was removed or renamed while in use, and cannot be written again yet: %s", self._path, failure
            )
            raise

    def _leave_log(self, why: str) -> None:
        """Set the log aside: it does not belong to the file that stands there now, and would damage it."""
        if any(Path(f"{self._path}{suffix}").exists() for suffix in ("-wal", "-shm")):
            set_aside(self._path, why, self._clock.now().wall, ("-wal", "-shm"))

    def _open_new(self) -> bool:
        self._readers.forget()
        database.migrate(self._path)
        self._identity = database.identity(self._path)
        self._begin_anew()
        return True

    def _report(self, text: str) -> None:
        log.error("%s", text)
        self.episodes.append(episode(text, self._clock.now().wall))


def episode(text: str, now: float) -> str:
    """What happened, with its time, as /healthz reports it."""
    return f"{rfc3339(now)} {text}"


def set_aside_corrupt(path: Path, found: str, now: float) -> str:
    """Move a damaged database out of the way; what to report of it, without the path, which /healthz must not show.

    :raises StartFailed: if there are too many already, or the disk refuses.
    """
    folder = set_aside(path, found, now)
    log.error("found in the database: %s", found)
    return f"the database is corrupt; it is set aside in quarantine/{folder.name}, a new one begins"


def set_aside(
    path: Path,
    found: str,
    now: float,
    parts: tuple[str, ...] = ("", "-wal", "-shm", "-journal"),
    folder_name: str = "quarantine",
) -> Path:
    """Move a database with its log into a folder in quarantine/, beside a file that says why; the folder.

    `folder_name`: another one than quarantine/ takes any number.

    :raises StartFailed: if there are too many already, or the disk refuses.
    """
    shelf = path.parent / folder_name
    try:
        shelf.mkdir(mode=0o750, exist_ok=True)
        number = len(list(shelf.iterdir()))
        if folder_name == "quarantine" and number >= MOST_SET_ASIDE:
            raise StartFailed(
                f"{path} is corrupt, and {shelf} holds {number} such files: check the disk, then move them away"
            )
        folder = shelf / f"{rfc3339(now).replace(':', '')}-{number + 1}"
        folder.mkdir(mode=0o750)
        reason = {"database": str(path), "found": found, "set_aside": rfc3339(now)}
        (folder / "reason.json").write_text(json.dumps(reason) + "\n", encoding="utf-8")
        for suffix in parts:
            part = Path(f"{path}{suffix}")
            if part.exists():
                part.rename(folder / part.name)
        durable.sync(folder, path.parent)
    except OSError as error:
        raise StartFailed(f"{path} cannot be set aside: {error}") from None
    return folder
