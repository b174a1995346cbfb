"""Puts the parts together and owns their start and stop; the composition root."""

import logging
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path

import service
from service import config
from service.answers.health import Health
from service.answers.monitor import ResourceMonitor
from service.clock import Clock
from service.config import Settings
from service.daemon import interrupts, logs
from service.daemon.scheduler import Scheduler
from service.daemon.startup import Lock, open_store, read_token, report_close
from service.daemon.systemd import Notifier
from service.errors import StoreFailed, TidemarkError
from service.host.mounts import MountWatch
from service.host.processes import ProcessWatch
from service.host.read import Host
from service.recording.captures import Recorder
from service.recording.retention import Keeper
from service.recording.sampler import Sampler
from service.records import Break
from service.store import database
from service.store.reader import History
from service.store.writer import Store
from service.upkeep.recovery import Recovery
from service.web.app import create_app
from service.web.server import Server

log = logging.getLogger(__name__)

# SIGTERM to exit; what hangs longer (a dead mount, a frozen disk) is left behind.
STOP_SECONDS = 4.5
_ENDING = (signal.SIGTERM, signal.SIGINT)
# Well below the unit's WatchdogSec.
_ALIVE_SECONDS = 20
# A tick may come half an interval late (AlignedTrigger), and after two intervals there is a gap.
_LATE_INTERVALS = 1.75
# Answers take from the samples what is not rolled up yet; five minutes at once cost little more than one.
_ROLL_UP_SECONDS = 300
_FILESYSTEMS_SECONDS = 60
# How often it is seen whether an hour has passed since file systems were foretold: also soon after a start.
_FORESEE_SECONDS = 60


def run(settings: Settings, clock: Clock, is_open_to_all: bool = False) -> None:
    """The daemon, until SIGTERM or SIGINT.

    :raises TidemarkError: if it cannot start or go on; its exit code is the contract's.
    """
    logs.set_up(settings.log.level, settings.log.format)
    token = read_token(settings, is_open_to_all)
    path = settings.database.resolve()
    os.umask(0o027)
    database.prepare_folder(path)
    with Lock(path) as lock:
        store, episodes = open_store(path, lock.was_there, clock.now().wall)
        Daemon(settings, clock, path, store, token, episodes).run()


class Daemon:
    """One running daemon over a database that is current and ours alone."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        path: Path,
        store: Store,
        token: str | None,
        episodes: Sequence[str] = (),
    ) -> None:
        """`episodes`: what of opening the store /healthz is to tell."""
        self._settings, self._clock, self._path, self._store = settings, clock, path, store
        self._interval = settings.sampling.interval
        self._history = History(path, pooled=True, waiting=lambda: self._sampler.waiting())
        monitor = ResourceMonitor(self._history, settings, clock, self._version, open_gap_reason="storage")
        app = create_app(monitor, settings, clock, self._health, self._counts, token)
        # Before the run is opened: a port that cannot be had leaves no trace in the history.
        self._server = Server(app, settings.server.host, settings.server.port)
        self._host = Host(settings.sampling.disk_path)
        count = settings.sampling.processes_count
        self._keeper = Keeper(store, clock, settings.retention, settings.storage.max_size, count)
        self._recorder = Recorder(
            cpus=self._host, processes=ProcessWatch(count), mounts=MountWatch(), store=store, clock=clock
        )
        self._recovery = Recovery(
            path, store, clock, self._keeper.prune, self._begin_anew, self._history, self._give_up, episodes
        )
        before = self._begin_run()
        self._sampler = Sampler(
            self._host, store, clock, self._interval, before, mend=self._recovery.mend, watch=self._watch_next
        )
        self._history_from = before.prior_end
        self._scheduler = Scheduler(clock)
        self._guard = self._scheduler.guard
        self._notifier = Notifier(config.notify_socket())
        self._taken_when_told = 0
        self._is_late = threading.Semaphore(0)
        self._failure: TidemarkError | None = None
        if before.reason in ("killed", "rebooted"):
            self._recovery.examine()

    def run(self) -> None:
        recorder = self._recorder
        threading.Thread(target=self._heed, args=[self._take_signals()], name="signals", daemon=True).start()
        threading.Thread(target=self._stand_in, name="stand-in", daemon=True).start()
        # A terminal that goes away is no reason to stop, and there is nothing to read again: settings need a restart.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self._guard("the first capture of the processes", recorder.capture_processes)
        self._guard("the first capture of the file systems", recorder.capture_filesystems)
        self._guard("the first sample", self._sampler.tick)
        self._scheduler.every(self._interval, self._sampler.tick)
        self._scheduler.every(self._settings.sampling.processes_interval, recorder.capture_processes, offset=0.4)
        self._scheduler.every(_FILESYSTEMS_SECONDS, recorder.capture_filesystems, offset=0.45)
        self._scheduler.every(_FORESEE_SECONDS, recorder.foresee, offset=0.7)
        self._scheduler.every(_ROLL_UP_SECONDS, self._keeper.roll_up, offset=0.3)
        self._scheduler.every(60, self._recovery.look, offset=30.4)
        self._scheduler.every(3600, self._keeper.prune, offset=137.3)
        self._scheduler.every(_ALIVE_SECONDS, self._tell_alive, offset=0.6)
        self._scheduler.start()
        tell(
            f"Tidemark {service.__version__} at {self._server.address}\n"
            f"  database  {self._path}\n  interval  {self._interval} s"
        )
        self._notifier.tell("READY=1")
        self._server.serve()
        self._stop()

    # -- runs

    def _begin_run(self) -> Break:
        boot = self._host.boot()
        started = round(self._clock.now().wall)
        return self._store.begin_run(started, boot.ts, boot.id, service.__version__, self._interval)

    def _begin_anew(self) -> None:
        """In a database that has just taken the place of the one before it."""
        before = self._begin_run()
        self._sampler.begin_anew(before.prior_end if before.prior_end is not None else self._history_from)

    # -- beside the jobs

    def _watch_next(self) -> None:
        """Have an alarm go off where the next tick does not come, and then once an interval: while all is well a timer
        costs nothing, and a thread that looked at the clock a twentieth of a tick."""
        signal.setitimer(signal.ITIMER_REAL, _LATE_INTERVALS * self._interval, self._interval)

    def _stand_in(self) -> None:
        """Samples while the thread that writes is stuck in the disk. Has its own thread: reading may be stuck too."""
        while self._is_late.acquire():
            self._guard("standing in", self._sampler.stand_in)

    def _tell_alive(self) -> None:
        """From the thread that samples, and only while it does: else systemd hears nothing and starts us again."""
        taken = self._sampler.counts["taken"]
        if taken != self._taken_when_told or self._interval > _ALIVE_SECONDS:
            self._notifier.tell("WATCHDOG=1")
        self._taken_when_told = taken

    # -- stopping

    def _take_signals(self) -> int:
        """Have signals wake `_heed`.

        :returns: where Python writes the number of each, whichever thread the kernel gives it to. Of two at once
            another thread may take both, and then the main one, in poll(), is not woken to run a handler of Python's.
        """
        heard, self._told = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(heard, True)
        signal.set_wakeup_fd(self._told, warn_on_full_buffer=False)
        for number in (*_ENDING, signal.SIGALRM):
            signal.signal(number, lambda *_: None)
        if interrupts.was_met():
            os.write(self._told, bytes([signal.SIGINT]))
        return heard

    def _give_up(self, error: TidemarkError) -> None:
        log.critical("%s", error)
        self._failure = error
        os.write(self._told, bytes([signal.SIGTERM]))

    def _heed(self, heard: int) -> None:
        """Stop when told to, and cut off a stop that hangs; what waits in the kernel (a frozen disk) stays there."""
        while (number := os.read(heard, 1)[0]) not in _ENDING:
            if number == signal.SIGALRM:
                self._is_late.release()
        self._server.stop()
        threading.Event().wait(STOP_SECONDS)
        log.critical("stopping takes longer than %s s: a disk does not answer; what waits is left", STOP_SECONDS)
        os._exit(1)

    def _stop(self) -> None:
        self._notifier.tell("STOPPING=1")
        self._scheduler.stop()
        now = self._clock.now()
        self._sampler.flush(now.steady)
        self._recorder.hand_over()
        self._history.close()
        try:
            self._store.end_run(round(now.wall))
        except StoreFailed as failure:
            log.error("the end of this run cannot be stored: %s", failure)
        report_close(self._store.close())
        self._notifier.close()
        if self._failure is not None:
            raise self._failure
        log.info("stopped")

    # -- what is told of the daemon itself

    def _version(self) -> int:
        """Changes whenever there is a sample that an answer has not seen, be it stored or waiting."""
        return self._store.version + self._sampler.counts["taken"] * bool(self._sampler.waiting())

    def _health(self) -> Health:
        """By the age of the newest stored sample, not by whether a thread is alive."""
        health = self._sampler.health()
        age = None if health.stored_at is None else self._clock.now().steady - health.stored_at
        failing = age is None or age > 2 * self._interval + 1
        episodes = self._recovery.episodes
        is_degraded = health.spooled > 1 or health.failing or health.last_error or episodes
        return Health(
            status="failing" if failing else "degraded" if is_degraded else "ok",
            newest_sample_age_seconds=None if age is None else round(age, 3),
            interval=self._interval,
            last_error=health.last_error or (episodes[-1] if episodes else None),
            database_bytes=size_of(self._path),
            spooled_samples=health.spooled,
        )

    def _counts(self) -> dict[str, int]:
        counts = dict(self._sampler.counts)
        renamed = {"taken", "stored", "dropped", "poisoned"}
        own = {f"samples_{name}" if name in renamed else name: number for name, number in counts.items()}
        own |= {"jobs_failed": self._guard.failed, "storage_episodes": len(self._recovery.episodes)}
        return own | self._store.counts


def size_of(path: Path) -> int | None:
    """Bytes of the database and its log on disk."""
    try:
        log_path = Path(f"{path}-wal")
        return path.stat().st_size + (log_path.stat().st_size if log_path.exists() else 0)
    except OSError:
        return None


def tell(text: str) -> None:
    """Print for whoever started us; a closed or full stdout is no reason to stop."""
    try:
        print(text, flush=True)
    except (OSError, ValueError, AttributeError):
        log.debug("stdout takes nothing")
