"""Makes sure of what the daemon needs before it runs: the lock, a current database of ours, a safe address."""

import errno
import fcntl
import logging
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from service import clock, config
from service.address import is_loopback
from service.config import Setting, Settings
from service.daemon import running
from service.errors import AlreadyRunning, BadSetting, CannotCreate, StartFailed, StoreFailed, TidemarkError
from service.store import database, index, space
from service.store.database import CorruptDatabase
from service.store.reader import History
from service.store.writer import Store
from service.upkeep import leftover, recovery

log = logging.getLogger(__name__)


class Lock:
    """Keeps a second daemon off the database: by a lock on a file beside it, which stays when the lock is given back,
    and by one on the database itself, which also holds under another name of it, or where that file is removed.

    If the file beside it was there before, so was a database of ours: a file that now stands there and cannot be read
    is then a damaged history, not the file of somebody else.
    """

    def __init__(self, path: Path, settings: Iterable[Setting] = ()) -> None:
        """`settings`: which the daemon uses, for the verb `config`.

        :raises AlreadyRunning: if another daemon holds it, naming its pid.
        :raises CannotCreate: if the lock's file cannot be created or locked.
        """
        self._path, self._file = path, Path(f"{path}.lock")
        self.was_there = self._file.exists()
        self._settings = running.line(settings)
        self._descriptor = _locked(self._file, path)
        self._database: int | None = None
        try:
            self._hold_database()
        except BaseException:
            os.close(self._descriptor)
            raise

    def __enter__(self) -> "Lock":
        self._write_pid()
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in (self._descriptor, self._database):
            if descriptor is not None:
                os.close(descriptor)

    def hold(self) -> None:
        """Lock the files that stand at the paths now, where they are not those locked before. Call it once the
        database exists, and then now and again: a lock on a file that has lost its name keeps nobody off.

        :raises AlreadyRunning: if another daemon was faster.
        :raises CannotCreate: if the lock's file cannot be created or locked.
        """
        if not _stands_at(self._file, self._descriptor):
            database.prepare_folder(self._path)
            lost, self._descriptor = self._descriptor, _locked(self._file, self._path)
            os.close(lost)
            self._write_pid()
            log.warning("%s was removed or replaced while in use; it is there and locked again", self._file)
        self._hold_database()

    def _write_pid(self) -> None:
        try:
            os.truncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n{self._settings}".encode(), 0)
        except OSError as error:
            # On a full disk: the lock still holds, but a second daemon cannot name this one's pid.
            log.warning("cannot write the pid into the lock's file: %s", error)

    def _hold_database(self) -> None:
        """SQLite's own locks (fcntl) and this one (flock) do not meet. But to close the file would drop SQLite's, so it
        stays open: as long as the lock, or until another file stands at the path."""
        if self._database is not None and _stands_at(self._path, self._database):
            return
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            log.debug("no lock on the database itself: %s", error)
            return
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)  # no database of anybody: opening it says so
            return
        _flock(descriptor, self._path, "unknown")
        lost, self._database = self._database, descriptor
        if lost is not None:
            os.close(lost)
        names = os.fstat(descriptor).st_nlink
        if names > 1:
            log.warning(
                "%s has %d names (hard links): open it under this one only, because the log is found beside it; "
                "remove the others",
                self._path,
                names,
            )


def _locked(file: Path, path: Path) -> int:
    """The lock's file, open and locked. Not through a link, whose target would be emptied for the pid."""
    try:
        descriptor = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    except OSError as error:
        why = (
            "it is a symbolic link; remove it"
            if error.errno == errno.ELOOP
            else f"{error.strerror}; set storage.path elsewhere"
        )
        raise CannotCreate(f"cannot create {file}: {why}") from None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise CannotCreate(f"cannot lock {file}: it is not a file of its own; remove it")
    pid = os.pread(descriptor, 32, 0).partition(b"\n")[0].decode(errors="replace").strip()
    _flock(descriptor, path, pid or "unknown")
    return descriptor


def _flock(descriptor: int, path: Path, pid: str) -> None:
    """Lock it, or close it and raise. `pid`: of the daemon that may have it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning(f"another Tidemark (pid {pid}) has {path}; stop it, or set another storage.path") from None
    except OSError as error:
        os.close(descriptor)
        raise CannotCreate(f"cannot lock {path}: {error.strerror}; put storage.path on a local disk") from None


def _stands_at(path: Path, descriptor: int) -> bool:
    """Whether the path still leads to the open file; also where the disk does not say."""
    try:
        return os.path.samestat(path.stat(follow_symlinks=False), os.fstat(descriptor))
    except FileNotFoundError:
        return False
    except OSError:
        return True


def open_store(path: Path, was_ours: bool, now: float) -> tuple[Store, list[str]]:
    """The store over the database at `path`, and the episodes that /healthz is to report.

    The database is created, brought up to date, or set aside and begun anew if it is damaged. `was_ours`: a damaged
    file there is a history of ours. Call it before the first thread and the first connection.

    :raises TidemarkError: if the file is foreign or newer, or cannot be created or written.
    """
    recovery.Ballast(path).release_if_needed()
    if was_ours:
        index.prepare(path)
    what = leftover.set_log_aside(path, now)
    try:
        if was_ours and _is_bare_log(path):
            raise CorruptDatabase(f"{path} is empty or gone, its write-ahead log is not")
        store = _opened(path)
    except CorruptDatabase as error:
        if not was_ours:
            raise
        what = _mended(path, str(error), now)
        store = _opened(path)
    if what is None:
        return store, []
    log.error("%s", what)
    return store, [recovery.episode(what, now)]


def _mended(path: Path, found: str, now: float) -> str:
    """Set aside what is damaged: the log alone, if the database is sound without it; what to report of it.

    :raises StartFailed: if nothing is, and the disk only refuses to be read now.
    """
    if _is_bare_log(path):
        return recovery.set_aside_corrupt(path, found, now)
    if not _is_damaged(path):
        raise StartFailed(f"cannot read {path} now: {found}")
    return leftover.set_damaging_log_aside(path, now) or recovery.set_aside_corrupt(path, found, now)


def _is_bare_log(path: Path) -> bool:
    """Whether there is a log with committed samples but no database; SQLite would delete such a log."""
    log_path = Path(f"{path}-wal")
    has_log = log_path.exists() and log_path.stat().st_size > 0
    return has_log and not (path.exists() and path.stat().st_size > 0)


def _is_damaged(path: Path) -> bool:
    """Checks twice, so that a passing error of the disk is not taken for damage."""
    if not database.is_corrupt(path):
        return False
    threading.Event().wait(recovery.SECOND_CHECK_SECONDS)
    return database.is_corrupt(path)


def _opened(path: Path) -> Store:
    if not database.is_current(path):
        in_child(lambda: database.migrate(path))
    store = Store(path)
    try:
        store.open()
    except StoreFailed as failure:
        if failure.kind == "full" and recovery.Ballast(path).release():
            return _opened(path)
        if failure.kind == "corrupt" and database.is_corrupt(path):
            raise CorruptDatabase(f"{path}: {failure}") from None
        why = None if "full" in str(failure) else space.lack(path.parent)
        raise StoreFailed(failure.kind, f"cannot write {path}: {failure}" + (f"; {why}" if why else "")) from None
    return store


def in_child(work: Callable[[], object]) -> None:
    """Do the work in a forked child, so that what it imports (Alembic: 6 MB) does not stay in the daemon's memory.

    Call it before the first thread and the first connection. If the child fails, it prints why.

    :raises SystemExit: if the child fails, with the child's exit code.
    """
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except TidemarkError as error:
            print(f"tidemark: {error}", file=sys.stderr)
            code = error.exit_code
        except Exception as error:  # noqa: BLE001 - the child's last door: else the start would end without a word
            text = " ".join(str(error).split())
            print(f"tidemark: a defect in Tidemark: {type(error).__name__}: {text}", file=sys.stderr)
        finally:
            # The child must end here even if stderr is closed.
            with suppress(OSError, ValueError, AttributeError):
                sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise SystemExit(code if code > 0 else 74)


@contextmanager
def held_store(settings: Settings) -> Iterator[Store]:
    """The store for a verb that writes, locked against a daemon.

    :raises AlreadyRunning: if a daemon has the database.
    """
    path = settings.database.resolve()
    History(path).check_readable()
    with Lock(path):
        if what := leftover.set_log_aside(path, clock.wall()):
            log.error("%s", what)
        store = _opened(path)
        try:
            yield store
        finally:
            report_close(store.close())


def report_close(failure: StoreFailed | None) -> None:
    """Log why the database could not be left as an ordinary single file, if so."""
    if failure is None:
        return
    if failure.kind == "busy":
        log.info("another program has the database open; it stays in WAL mode until that one closes")
    else:
        log.error("the database stays in WAL mode, which only an account that may write it can open: %s", failure)


def read_token(settings: Settings, is_open_to_all: bool = False) -> str | None:
    """The token that requests must carry; None where none is needed. `is_open_to_all`: --insecure-no-auth was given.

    :raises BadSetting: if the address needs a token and none is set, or its file is unreadable, too short or readable
        by others.
    """
    name = settings.token_file
    if name is None:
        if not is_open_to_all and not is_loopback(settings.server.host):
            raise BadSetting(
                f"server.host = {settings.server.host!r} can be reached from elsewhere: set server.token_file, "
                "listen on 127.0.0.1, or say --insecure-no-auth"
            )
        return None
    token = config.read_secret("server.token_file", name)
    if len(token) < 16:
        raise BadSetting(f"server.token_file = {name} holds fewer than 16 characters: put a long random token in it")
    return token
