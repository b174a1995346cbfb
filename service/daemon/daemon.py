"""The composition root: puts the parts together, starts them and stops them."""

import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import UNSET, UnsetType

import service
from service import config
from service.answers.health import Forwarding, Health
from service.answers.monitor import ResourceMonitor
from service.clock import Clock
from service.config import Setting, Settings
from service.daemon import interrupts, logs
from service.daemon.memory import Memory
from service.daemon.scheduler import Scheduler
from service.daemon.startup import Lock, open_store, read_token, report_close
from service.daemon.systemd import Notifier
from service.errors import AlreadyRunning, StartFailed, StoreFailed, TidemarkError, is_shortage
from service.host.devices import DeviceWatch
from service.host.mounts import MountWatch
from service.host.processes import ProcessWatch
from service.host.read import Host
from service.host.services import ServiceWatch
from service.recording.attention import Attention
from service.recording.captures import CAPTURES_AT_ONCE, Recorder
from service.recording.devices import DeviceRecorder
from service.recording.notes import NoteTaker
from service.recording.retention import Keeper
from service.recording.sampler import Sampler
from service.records import Break, Sample
from service.store import database
from service.store.reader import History
from service.store.writer import Store
from service.upkeep.recovery import Recovery
from service.web.app import create_app
from service.web.server import Server

if TYPE_CHECKING:
    from service.forward.shipper import Shipper

log = logging.getLogger(__name__)

# From SIGTERM to the exit; threads that hang longer (on a dead mount, a frozen disk) are left behind.
STOP_SECONDS = 4.5
# So much longer where the database was removed and is written again: a gigabyte takes some 10 s.
RESCUE_SECONDS = 60
_ENDING = (signal.SIGTERM, signal.SIGINT)
# How often systemd is notified that the daemon is alive: well below the unit's WatchdogSec.
ALIVE_SECONDS = 20
# How often to check whether answers have left much memory behind.
MEMORY_SECONDS = 30
# A tick may come half an interval late (AlignedTrigger), and after two intervals there is a gap.
_LATE_INTERVALS = 1.75
# Answers read the samples for what is not rolled up yet; rolling up five minutes costs little more than one.
_ROLL_UP_SECONDS = 300
FILESYSTEMS_SECONDS = 60
# Files that may be open at once: some 30 are while nobody asks, and each connection is one more.
_LEAST_FILES = 64
# Of a clean stop, for what has not been forwarded yet.
_FORWARD_SECONDS = 1.0
# For so long forwarding may fail before /healthz calls that degraded: a receiver may be restarted.
_FORWARD_FAILS_SECONDS = 600
# How often to check that the database and the lock's file are still those that were opened.
CHECK_FILES_SECONDS = 60
# How often to check whether an hour has passed since the last forecasts: so the first ones come soon after a start.
FORESEE_SECONDS = 60


def run(settings: Settings, rows: Sequence[Setting], clock: Clock, is_open_to_all: bool = False) -> None:
    """Run the daemon until SIGTERM or SIGINT. `rows`: the settings as `config` shows them.

    :raises TidemarkError: if it cannot start or go on; the process ends with the error's exit code.
    """
    # They would end it without a clean stop.
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    try:
        _run(settings, rows, clock, is_open_to_all)
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_shortage(error):
            raise
        raise StartFailed(
            f"the system gives this process no more threads or memory ({str(error) or 'out of memory'}): raise its "
            "limits (TasksMax= and MemoryMax= of the unit, `ulimit -u`, `ulimit -v`)"
        ) from error
    finally:
        # Also where it did not come to a stop: Python takes its handlers back as it exits, and an alarm would then kill
        # the process.
        signal.setitimer(signal.ITIMER_REAL, 0)
        _leave_full_outputs()


def _run(settings: Settings, rows: Sequence[Setting], clock: Clock, is_open_to_all: bool) -> None:
    logs.set_up(settings.log.level, settings.log.format)
    _check_most_files()
    token = read_token(settings, is_open_to_all)
    path = settings.database.resolve()
    os.umask(0o027)
    database.prepare_folder(path)
    with Lock(path, rows) as lock:
        store, episodes = open_store(path, lock.was_there, clock.now().wall)
        lock.hold()
        Daemon(settings, clock, path, lock, store, token, episodes).run()


def _check_most_files() -> None:
    """With fewer a start would fail half way, and what is asked later for reasons that nobody sees."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < _LEAST_FILES:
        raise StartFailed(
            f"this process may open only {most} files at once, and needs {_LEAST_FILES}: raise LimitNOFILE= of the "
            "unit or `ulimit -n`"
        )


def _recorder(settings: Settings, host: Host, store: Store, clock: Clock) -> Recorder:
    count = settings.sampling.processes_count
    return Recorder(
        cpus=host,
        processes=ProcessWatch(count),
        services=ServiceWatch(count),
        mounts=MountWatch(),
        store=store,
        clock=clock,
        attention=Attention(settings.sampling.processes_interval),
        devices=DeviceRecorder(DeviceWatch(clock), store),
        open_files=host.open_files,
        # What devices did is forwarded once it is stored.
        at_once=1 if settings.forward.url and settings.forward.names == "node" else CAPTURES_AT_ONCE,
    )


def _shipper(
    settings: Settings, path: Path, store: Store, clock: Clock, scheduler: Scheduler, memory: Memory
) -> "Shipper":
    """Imported only where it is wanted: it takes 3 MB."""
    from service.forward.destination import destination
    from service.forward.shipper import Shipper

    def commit() -> None:
        scheduler.once(store.write_riders)

    def caught_up() -> None:
        scheduler.once(memory.give_back)

    return Shipper(destination(settings), settings.forward, path, store, clock, commit, scheduler.guard, caught_up)


class Daemon:
    """One running daemon over a database that has the current schema and is locked by us."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        path: Path,
        lock: Lock,
        store: Store,
        token: str | None,
        episodes: Sequence[str] = (),
    ) -> None:
        """`episodes`: what happened to the database as it was opened, for /healthz to report."""
        self._settings, self._clock, self._path, self._store = settings, clock, path, store
        self._interval, self._lock = settings.sampling.interval, lock
        self._history = History(path, pooled=True, waiting=lambda: self._sampler.waiting())
        monitor = ResourceMonitor(self._history, settings, clock, self._version, open_gap_reason="storage")
        app = create_app(monitor, settings, clock, self._health, self._counts, token)
        # Before the run is opened, so that a port in use leaves no trace in the history.
        self._server = Server(app, settings.server.host, settings.server.port)
        self._host = Host(settings.disk_path)
        self._keeper = Keeper.by(settings, store, clock)
        self._recorder = _recorder(settings, self._host, store, clock)
        self._notes = NoteTaker(path, store)
        self._recovery = Recovery(
            path, store, clock, self._keeper.prune, self._begin_anew, self._history, self._give_up, episodes
        )
        before = self._begin_run()
        self._host.go_on_from(store.moved_before)
        self._sampler = self._sampler_after(before)
        self._history_from = before.prior_end
        self._memory = Memory(self._history.forget)
        self._scheduler = Scheduler(clock)
        self._guard = self._scheduler.guard
        self._shipper = (
            _shipper(settings, path, store, clock, self._scheduler, self._memory) if settings.forward.url else None
        )
        self._notifier = Notifier(config.notify_socket())
        self._taken_when_notified = 0
        self._is_late = threading.Semaphore(0)
        self._failure: TidemarkError | None = None
        # While a removed database is written again, at the stop.
        self._is_rescuing = False
        if before.reason in ("killed", "rebooted"):
            self._recovery.examine()

    def _sampler_after(self, before: Break) -> Sampler:
        """The sampler of this run; `before`: how the one before it ended."""
        return Sampler(
            self._host,
            self._store,
            self._clock,
            self._interval,
            before,
            mend=self._recovery.mend,
            watch=self._watch_next,
            follow=self._follow,
        )

    def _follow(self, sample: Sample) -> None:
        """In the end of each tick."""
        self._recorder.follow(sample)
        self._notes.look()

    def run(self) -> None:
        recorder = self._recorder
        threading.Thread(target=self._heed, args=[self._take_signals()], name="signals", daemon=True).start()
        threading.Thread(target=self._stand_in, name="stand-in", daemon=True).start()
        # The daemon outlives its terminal, and SIGHUP reloads nothing: settings need a restart.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._guard("the first capture of the processes", recorder.capture_processes)
        self._guard("the first capture of the file systems", recorder.capture_filesystems)
        self._guard("the first sample", self._sampler.tick)
        self._scheduler.every(self._interval, self._sampler.tick)
        self._scheduler.every(self._settings.sampling.processes_interval, recorder.capture_processes, offset=0.4)
        self._scheduler.every(FILESYSTEMS_SECONDS, recorder.capture_filesystems, offset=0.45)
        self._scheduler.every(FORESEE_SECONDS, recorder.foresee, offset=0.7)
        self._scheduler.every(_ROLL_UP_SECONDS, self._keeper.roll_up, offset=0.3)
        self._scheduler.every(CHECK_FILES_SECONDS, self._check_files, offset=30.4)
        self._scheduler.every(3600, self._keeper.prune, offset=137.3)
        self._scheduler.every(ALIVE_SECONDS, self._notify_alive, offset=0.6)
        self._memory.check()
        self._scheduler.every(MEMORY_SECONDS, self._memory.check, offset=20.8)
        self._scheduler.start()
        if self._shipper is not None:
            self._shipper.start()
        print_text(
            f"Tidemark {service.__version__} at {self._server.address}\n"
            f"  database  {self._path}\n  interval  {self._interval} s"
        )
        self._notifier.notify("READY=1")
        self._server.serve()
        self._stop()

    # -- runs

    def _begin_run(self) -> Break:
        boot = self._host.boot()
        started = round(self._clock.now().wall)
        return self._store.begin_run(started, boot.ts, boot.id, service.__version__, self._interval)

    def _begin_anew(self) -> None:
        """Open a run in the database that has just replaced the one before it."""
        before = self._begin_run()
        self._sampler.begin_anew(before.prior_end if before.prior_end is not None else self._history_from)

    def _check_files(self) -> None:
        if self._holds_lock():
            self._recovery.check_file()
            self._notes.take()

    def _check_path(self) -> None:
        """A file that was removed since the last check of each minute is still open, and can be written again."""
        if self._holds_lock() and self._recovery.is_elsewhere():
            self._is_rescuing = True
            self._notifier.notify(f"EXTEND_TIMEOUT_USEC={RESCUE_SECONDS}000000")
            self._recovery.check_path()

    def _holds_lock(self) -> bool:
        """Whether the files at the path are ours, and not those of another daemon, which ends this one."""
        try:
            self._lock.hold()
        except AlreadyRunning as error:
            self._give_up(error)
            return False
        except TidemarkError as error:
            log.error("%s", error)
        return True

    # -- beside the jobs

    def _watch_next(self, since_sample_seconds: float) -> None:
        """Set an alarm that goes off if the next tick does not come, and then once an interval.

        While ticks come, a timer costs nothing; a thread that watched the clock would cost a twentieth of a tick.
        """
        seconds = _LATE_INTERVALS * self._interval - since_sample_seconds
        signal.setitimer(signal.ITIMER_REAL, seconds, self._interval)

    def _stand_in(self) -> None:
        """Take samples while the thread that writes is stuck in the disk. On its own thread: reading may hang too."""
        while self._is_late.acquire():
            self._guard("standing in", self._sampler.stand_in)

    def _notify_alive(self) -> None:
        """Notify systemd if samples have been taken since the last call. It restarts a daemon that stays silent."""
        taken = self._sampler.counts["taken"]
        if taken != self._taken_when_notified or self._interval > ALIVE_SECONDS:
            self._notifier.notify("WATCHDOG=1")
        self._taken_when_notified = taken

    # -- stopping

    def _take_signals(self) -> int:
        """Make each signal wake `_heed`, through a pipe to which Python writes its number.

        A handler in Python would not do: the kernel may give the signal to another thread, and then the main thread, in
        poll(), is not woken to run the handler.

        :returns: the end of the pipe to read from.
        """
        received, self._wakeup = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(received, True)
        signal.set_wakeup_fd(self._wakeup, warn_on_full_buffer=False)
        for number in (*_ENDING, signal.SIGALRM):
            signal.signal(number, lambda *_: None)
        if interrupts.was_met():
            os.write(self._wakeup, bytes([signal.SIGINT]))
        return received

    def _give_up(self, error: TidemarkError) -> None:
        log.critical("%s", error)
        self._failure = error
        os.write(self._wakeup, bytes([signal.SIGTERM]))

    def _heed(self, received: int) -> None:
        """Act on signals: an alarm is a late tick, others stop the daemon. A stop that hangs (on a frozen disk) is cut
        off, and what waits in the kernel stays there."""
        while (number := os.read(received, 1)[0]) not in _ENDING:
            if number == signal.SIGALRM:
                self._is_late.release()
        self._server.stop()
        threading.Event().wait(STOP_SECONDS)
        for _ in range(RESCUE_SECONDS):
            if self._is_rescuing:
                threading.Event().wait(1)
        log.critical("stopping takes longer than %s s: a disk does not answer; left without it", STOP_SECONDS)
        os._exit(1)

    def _stop(self) -> None:
        self._notifier.notify("STOPPING=1")
        self._scheduler.stop()
        self._guard("the last check of the path", self._check_path)
        self._is_rescuing = False
        if isinstance(self._failure, AlreadyRunning):
            # What lies at the path is the other daemon's; to close the database would remove that one's log.
            self._history.close()
            self._store.drop()
        else:
            self._close()
        self._notifier.close()
        if self._failure is not None:
            raise self._failure
        log.info("stopped")

    def _close(self) -> None:
        """Store what waits and the end of the run, and leave the database as one file."""
        now = self._clock.now()
        self._sampler.flush(now.steady)
        self._recorder.finish()
        self._notes.take()
        if self._shipper is not None:
            self._shipper.finish(_FORWARD_SECONDS, self._write_riders)
        self._recovery.close()
        self._history.close()
        try:
            self._store.end_run(round(now.wall))
        except StoreFailed as failure:
            log.error("the end of this run cannot be stored: %s", failure)
        report_close(self._store.close())

    def _write_riders(self) -> None:
        self._guard("writing what rides", self._store.write_riders)

    # -- what the daemon reports of itself

    def _version(self) -> int:
        """Changes with each new sample, stored or waiting, so that answers kept in memory are known to be old."""
        return self._store.version + self._sampler.counts["taken"] * bool(self._sampler.waiting())

    def _health(self) -> Health:
        """By the age of the newest stored sample: a living thread proves nothing."""
        health = self._sampler.health()
        age = None if health.stored_at is None else self._clock.now().steady - health.stored_at
        failing = age is None or age > 2 * self._interval + 1
        episodes = self._recovery.episodes
        known = health.last_error or (episodes[-1] if episodes else None)
        # Samples may be stored through the writer's connection while no answer can be read any more.
        error = known or (None if failing else self._history.trouble())
        is_degraded = health.spooled > 1 or health.failing or error or self._fails_to_forward()
        return Health(
            status="failing" if failing else "degraded" if is_degraded else "ok",
            newest_sample_age_seconds=None if age is None else round(age, 3),
            interval=self._interval,
            last_error=error,
            database_bytes=size_of(self._path),
            spooled_samples=health.spooled,
            forward=self._forwarding(),
        )

    def _fails_to_forward(self) -> bool:
        return self._shipper is not None and self._shipper.health().failing_seconds > _FORWARD_FAILS_SECONDS

    def _forwarding(self) -> Forwarding | UnsetType:
        """Of the receiver that is set; the rest of the program knows nothing of it."""
        if self._shipper is None:
            return UNSET
        return Forwarding(self._shipper.lag_seconds(), self._shipper.health().last_error)

    def _counts(self) -> dict[str, int]:
        counts = dict(self._sampler.counts)
        renamed = {"taken", "stored", "dropped", "poisoned"}
        own = {f"samples_{name}" if name in renamed else name: number for name, number in counts.items()}
        if self._shipper is not None:
            own |= {f"forward_{name}_samples": number for name, number in self._shipper.counts.items()}
        own |= {"jobs_failed": self._guard.failed, "storage_episodes": len(self._recovery.episodes)}
        return own | self._store.counts


def size_of(path: Path) -> int | None:
    """Bytes of the database and its log on the disk; None where the disk does not say."""
    try:
        log_path = Path(f"{path}-wal")
        return path.stat().st_size + (log_path.stat().st_size if log_path.exists() else 0)
    except OSError:
        return None


def print_text(text: str) -> None:
    """Print to stdout; the daemon goes on if that is closed or full."""
    try:
        print(text, flush=True)
    except (OSError, ValueError, AttributeError):
        log.debug("cannot print to stdout")


def _leave_full_outputs() -> None:
    """Give up what stdout and stderr did not take: Python would try again as it exits, and then exit with 120."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except (OSError, ValueError, AttributeError):
            setattr(sys, name, None)
