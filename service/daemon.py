"""Puts the parts together: owns start and stop, the lock, logging; the composition root."""

import fcntl
import json
import logging
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import service
from service import database
from service.clock import Clock, rfc3339
from service.config import Settings
from service.errors import AlreadyRunning, BadSetting, CannotCreate, TidemarkError
from service.history import History
from service.host import Host
from service.monitor import ResourceMonitor
from service.retention import Keeper
from service.sampler import Sampler
from service.scheduler import Scheduler
from service.store import Store
from service.web.app import create_app
from service.web.server import Server, is_loopback

log = logging.getLogger(__name__)

# SIGTERM to exit; what hangs longer (a dead mount, a frozen disk) is left behind.
STOP_SECONDS = 4.5


def run(settings: Settings, clock: Clock) -> None:
    """The daemon, until SIGTERM or SIGINT.

    :raises TidemarkError: if it cannot start; its exit code is the contract's.
    """
    set_up_logging(settings)
    token = read_token(settings)
    path = settings.database.resolve()
    database.prepare_folder(path)
    with lock(path):
        if not database.is_current(path):
            in_child(lambda: database.migrate(path))
        Daemon(settings, clock, path, token).run()


@contextmanager
def held_store(settings: Settings) -> Iterator[Store]:
    """The writing end for a verb, while no daemon has the database.

    :raises AlreadyRunning: if one has.
    """
    path = settings.database.resolve()
    History(path).check_readable()
    with lock(path):
        if not database.is_current(path):
            database.migrate(path)
        store = Store(path)
        store.open()
        try:
            yield store
        finally:
            store.close()


class Daemon:
    """One running daemon over a database that exists, is current and is ours alone."""

    def __init__(self, settings: Settings, clock: Clock, path: Path, token: str | None) -> None:
        self._settings, self._clock, self._path = settings, clock, path
        self._interval = settings.sampling.interval
        self._store = Store(path)
        self._store.open()
        history = History(path, pooled=True)
        monitor = ResourceMonitor(history, settings, clock, lambda: self._store.version, open_gap_reason="storage")
        app = create_app(monitor, settings, clock, self._health, self._counts, token)
        self._server = Server(app, settings.server.host, settings.server.port)
        self._host = Host(settings.sampling.disk_path)
        self._sampler = self._begin_run()
        self._keeper = Keeper(self._store, clock, settings.retention, settings.storage.max_size)
        self._scheduler = Scheduler(clock)
        self._history = history

    def _begin_run(self) -> Sampler:
        boot = self._host.boot()
        started = round(self._clock.now().wall)
        before = self._store.begin_run(started, boot.ts, boot.id, service.__version__, self._interval)
        return Sampler(self._host, self._store, self._clock, self._interval, before)

    def run(self) -> None:
        self._sampler.tick()
        self._scheduler.every(self._interval, self._sampler.tick)
        self._scheduler.every(60, self._keeper.roll_up, offset=0.3)
        self._scheduler.every(3600, self._keeper.prune, offset=137.3)
        self._scheduler.start()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        tell(
            f"Tidemark {service.__version__} at {self._server.address}\n"
            f"  database  {self._path}\n  interval  {self._interval} s"
        )
        self._server.serve()
        self._stop()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        # A second signal changes nothing; what hangs is cut off by the timer.
        timer = threading.Timer(STOP_SECONDS, os._exit, (1,))
        timer.daemon = True
        timer.start()
        self._server.stop()

    def _stop(self) -> None:
        self._scheduler.stop()
        now = self._clock.now()
        self._sampler.flush(now.steady)
        self._history.close()
        self._store.end_run(round(now.wall))
        if not self._store.close():
            log.info("another program has the database open; it stays in WAL mode until that one closes")
        log.info("stopped")

    # -- what is told of the daemon itself

    def _health(self) -> tuple[dict[str, Any], int]:
        """By the age of the newest stored sample, not by whether a thread is alive."""
        health = self._sampler.health()
        age = None if health.stored_at is None else self._clock.now().steady - health.stored_at
        failing = age is None or age > 2 * self._interval + 1
        status = "failing" if failing else "degraded" if health.spooled or health.failing else "ok"
        answer = {
            "status": status,
            "newest_sample_age_seconds": None if age is None else round(age, 3),
            "interval": self._interval,
            "last_error": health.last_error,
            "database_bytes": size_of(self._path),
            "spooled_samples": health.spooled,
        }
        return answer, 503 if failing else 200

    def _counts(self) -> dict[str, int]:
        own = {"jobs_failed": self._scheduler.failed}
        return {
            f"samples_{name}" if name in ("stored", "dropped") else name: n for name, n in self._sampler.counts.items()
        } | own


def size_of(path: Path) -> int | None:
    """Bytes of the database and its log on disk."""
    try:
        log_path = Path(f"{path}-wal")
        return path.stat().st_size + (log_path.stat().st_size if log_path.exists() else 0)
    except OSError:
        return None


class lock:
    """Holds the database against a second daemon. The file beside it stays: a lock is held, not a file's existence.

    :raises AlreadyRunning: naming the pid that holds it.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(f"{path}.lock")
        self._database = path

    def __enter__(self) -> None:
        try:
            self._descriptor = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise CannotCreate(f"cannot create {self._path}: {error.strerror}; set storage.path elsewhere") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.read(self._descriptor, 32).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise AlreadyRunning(
                f"another Tidemark (pid {pid or 'unknown'}) has {self._database}; stop it, or set another storage.path"
            ) from None
        os.truncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def in_child(work: Callable[[], object]) -> None:
    """Do the work in a forked child, so that what it imports (Alembic: 6 MB) does not stay with the daemon.

    Only before the first thread and the first connection. A child that fails says why and ends the start.
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
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code:
        raise SystemExit(code if code > 0 else 74)


def read_token(settings: Settings) -> str | None:
    """The token that requests must bear; None for none.

    :raises BadSetting: if it is missing where the address needs one, unreadable, too short or readable by others.
    """
    name = settings.server.token_file
    if not name:
        if not is_loopback(settings.server.host):
            raise BadSetting(
                f"server.host = {settings.server.host!r} can be reached from elsewhere: set server.token_file, "
                "or listen on 127.0.0.1"
            )
        return None
    try:
        with open(name, encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"server.token_file = {name!r} cannot be read: {error}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise BadSetting(f"server.token_file = {name!r} can be read by others: chmod 600 it")
    if len(token) < 16:
        raise BadSetting(f"server.token_file = {name!r} holds fewer than 16 characters: put a long random token in it")
    return token


def tell(text: str) -> None:
    """Print for whoever started us; a closed or full stdout is no reason to stop."""
    try:
        print(text, flush=True)
    except OSError:
        log.debug("stdout takes nothing")


def set_up_logging(settings: Settings) -> None:
    """One handler to stderr; a full or closed stderr is no reason to stop."""
    logging.raiseExceptions = False
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if settings.log.format == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log.level)


class _TextFormatter(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
