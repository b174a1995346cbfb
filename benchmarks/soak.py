"""Months in an hour: a million ticks of the real sampler, store and keeper on a clock that the soak moves.

`python3 -m benchmarks.soak [TICKS]` polls the application meanwhile and prints, after each twentieth of the ticks, what
must stay flat: memory, threads, descriptors, the log. The database may grow until retention limits it.
"""

import math
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from service.answers.health import Health  # noqa: E402
from service.answers.monitor import ResourceMonitor  # noqa: E402
from service.clock import Clock, Instant  # noqa: E402
from service.config import load  # noqa: E402
from service.recording.retention import Keeper  # noqa: E402
from service.recording.sampler import Sampler  # noqa: E402
from service.records import Reading  # noqa: E402
from service.store import database  # noqa: E402 - found only from here on
from service.store.reader import History  # noqa: E402
from service.store.writer import Store  # noqa: E402
from service.web.app import create_app  # noqa: E402

TICKS = 1_000_000
# A whole hour in 2026.
_START = 1_767_607_200
_POLL_EVERY = 200
_QUESTIONS = (
    "/api/process/resource-usage",
    "/api/v1/summary?window=24h",
    "/api/v1/gaps?start=-7d",
    "/healthz",
    "/api/v1/peaks?window=24h",
    "/api/v1/nowhere",
)


class TurnedClock(Clock):
    def __init__(self) -> None:
        self.seconds = 0

    def now(self) -> Instant:
        return Instant(_START + self.seconds, 1000.0 + self.seconds, 1000.0 + self.seconds)


@dataclass
class WavingHost:
    """Reads a daily wave of load; the soak counts `ticks`."""

    interval: int
    ticks: int = 0

    def read(self) -> Reading:
        at = self.ticks * self.interval
        share = 0.5 + 0.4 * math.sin(at / 86400 * 2 * math.pi)
        gauges = {"memory_percent": 40 + 20 * share, "disk_percent": 50.0, "load_1": 4 * share, "process_count": 200.0}
        counters = {"network_sent_bytes": float(at * 1000), "disk_written_bytes": float(at * 500)}
        return Reading(gauges, counters, (share * at, float(at)))


@dataclass(frozen=True)
class Figures:
    samples_stored: int
    failed_answers: int
    rss_bytes: int
    threads: int
    descriptors: int
    log_bytes: int
    database_bytes: int


@dataclass
class Soak:
    """The daemon's parts without its process; the soak runs the jobs in the scheduler's order."""

    path: Path
    interval: int = 5
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        database.migrate(self.path)
        settings = load(environment={}, options={"storage.path": str(self.path), **self.options})[0]
        self._clock, self._host = TurnedClock(), WavingHost(self.interval)
        self._store = Store(self.path)
        self._store.open()
        before = self._store.begin_run(_START, None, "boot", "soak", self.interval)
        self._keeper = Keeper(self._store, self._clock, settings.retention, settings.storage.max_size)
        self._sampler = Sampler(self._host, self._store, self._clock, self.interval, before)
        self._history = History(self.path, pooled=True, waiting=self._sampler.waiting)
        monitor = ResourceMonitor(self._history, settings, self._clock, lambda: self._store.version)
        app = create_app(monitor, settings, self._clock, self._health, lambda: dict(self._sampler.counts), None)
        self._client = app.test_client()
        self._failed = 0

    def _health(self) -> Health:
        health = self._sampler.health()
        return Health(
            status="ok",
            newest_sample_age_seconds=0.0,
            interval=self.interval,
            last_error=health.last_error,
            database_bytes=0,
            spooled_samples=health.spooled,
        )

    def run(self, ticks: int) -> None:
        for _ in range(ticks):
            self._host.ticks += 1
            self._clock.seconds += self.interval
            self._sampler.tick()
            if self._clock.seconds % 60 < self.interval:
                self._finish(self._keeper.roll_up)
            if self._clock.seconds % 3600 < self.interval:
                self._finish(self._keeper.prune)
            if self._host.ticks % _POLL_EVERY == 0:
                self._ask(_QUESTIONS[self._host.ticks // _POLL_EVERY % len(_QUESTIONS)])

    def _finish(self, job: Any) -> None:
        while job():
            pass

    def _ask(self, question: str) -> None:
        answer = self._client.get(question, headers={"Host": "127.0.0.1"})
        answer.get_data()
        answer.close()
        self._failed += answer.status_code != (404 if question.endswith("nowhere") else 200)

    def measure(self) -> Figures:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
        log = Path(f"{self.path}-wal")
        return Figures(
            samples_stored=self._sampler.counts["stored"],
            failed_answers=self._failed,
            rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
            threads=int(status["Threads"]),
            descriptors=len(os.listdir("/proc/self/fd")),
            log_bytes=log.stat().st_size if log.exists() else 0,
            database_bytes=self.path.stat().st_size,
        )

    def close(self) -> None:
        self._history.close()
        self._store.close()


def main(ticks: int) -> int:
    """Run and print; 1 if memory grew by more than 1 MB for each 100,000 ticks after the third twentieth, or an answer
    failed."""
    from service.terminal import layout

    rows = []
    with tempfile.TemporaryDirectory() as folder, layout.progress("soaking", ticks) as progress:
        # A database of at most 60 MB, so that age and size both prune.
        options = {"storage.max_size": "60MB", "retention.minutes": "20d"}
        soak = Soak(Path(folder) / "tidemark.db", options=options)
        for _ in range(20):
            begun = time.monotonic()
            soak.run(ticks // 20)
            progress(ticks // 20)
            found = soak.measure()
            rows.append((found, ticks // 20 / (time.monotonic() - begun)))
        soak.close()
    names = ("ticks", "RSS MB", "threads", "fds", "log MB", "database MB", "failed", "ticks/s")
    table = [
        (f.samples_stored, f.rss_bytes / 1e6, f.threads, f.descriptors, f.log_bytes / 1e6, f.database_bytes / 1e6,
         f.failed_answers, round(rate))
        for f, rate in rows
    ]  # fmt: skip
    layout.table(names, table, right=range(len(names)))
    first, last = rows[2][0], rows[-1][0]
    grown = (last.rss_bytes - first.rss_bytes) / max(1, last.samples_stored - first.samples_stored) * 100_000
    print(f"\nmemory: {grown / 1e6:+.2f} MB for each 100,000 ticks; {last.failed_answers} failed answers")
    return int(grown > 1e6 or last.failed_answers > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else TICKS))
