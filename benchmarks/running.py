"""What the daemon costs while nobody asks: a tick, what it writes, memory, and its start."""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from benchmarks.generate import INTERVAL, ROOT
from benchmarks.harness import (
    USAGE,
    Bench,
    Client,
    Figure,
    count_samples,
    cpu_ms,
    daemon,
    free_port,
    memory_mib,
    stop,
    until_fraction,
    written_bytes,
)

MINUTES_A_DAY = 1440
# sampling.processes_interval
CAPTURE_SECONDS = 30
# The bar of a capture is set for this many.
PROCESSES = 300


class Second(NamedTuple):
    """What the daemon spent in the second that ended at `ts`.7. Ticks fire at .0; a rollup fires at .3 of the first
    second of a minute."""

    ts: int
    cpu_ms: float
    written_bytes: int


def tick(bench: Bench) -> Iterator[Figure]:
    """CPU of the whole process per tick at an interval of 1 s, over a full history."""
    with daemon(bench, bench.year(), interval=1) as running:
        # By then the work of the start is done: rolling up what came before, taking the ballast (at half a minute).
        time.sleep(3 if bench.quick else 92 - time.time() % 60)
        stored = count_samples(running.database)
        seconds = seconds_of(running.pid, 20 if bench.quick else 60)
        stored = count_samples(running.database) - stored
    if abs(stored - len(seconds)) > 1:
        print(f"note: {stored} samples in {len(seconds)} s", file=sys.stderr)
    # Captures of processes and file systems have a bar of their own: `capture`.
    seconds = [second for second in seconds if second.ts % CAPTURE_SECONDS]
    yield Figure("tick: CPU of the process, mean", statistics.mean(second.cpu_ms for second in seconds), "ms", 1.5)
    yield Figure("tick: CPU of the process, median", statistics.median(second.cpu_ms for second in seconds), "ms", 1.5)


def capture(bench: Bench) -> Iterator[Figure]:
    """CPU of a capture of 300 processes and of storing it, beyond that of the ticks, over a full history."""
    others = max(0, PROCESSES - len(list(Path("/proc").glob("[0-9]*"))))
    sleepers = [subprocess.Popen(["sleep", "600"]) for _ in range(others)]
    try:
        with daemon(bench, bench.year(), interval=1) as running:
            time.sleep(CAPTURE_SECONDS + 5 - time.time() % CAPTURE_SECONDS)
            seconds = seconds_of(running.pid, (1 if bench.quick else 5) * CAPTURE_SECONDS)
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()
    usual = statistics.median(second.cpu_ms for second in seconds)
    # It is stored with the tick of the second after.
    costs = [a.cpu_ms + b.cpu_ms - 2 * usual for a, b in pairwise(seconds) if a.ts % CAPTURE_SECONDS == 0]
    yield Figure(f"a capture of {PROCESSES} processes: CPU beyond the ticks'", statistics.median(costs), "ms", 20)


def minute(bench: Bench) -> Iterator[Figure]:
    """What five minutes at the default interval cost: rolling up against sampling, and the bytes written.

    Bytes are the kernel's write_bytes, which counts pages made dirty. The database is new, because on file systems with
    large folios (ext4 since Linux 6.16) one changed page of a file that was read counts as many.
    """
    minutes = 5  # the daemon rolls up once in each
    with daemon(bench, bench.new()) as running:
        time.sleep(115.5 - time.time() % 60)  # past the end of a minute, in which the start's own writing ends
        seconds = seconds_of(running.pid, 60 * minutes)
    at_end = [second.cpu_ms for second in seconds if second.ts % 300 == 0]
    at_tick = [second.cpu_ms for second in seconds if second.ts % INTERVAL == 0 and second.ts % 60]
    # The first second of each minute also has captures of processes and file systems.
    at_minute = [second.cpu_ms for second in seconds if second.ts % 60 == 0 and second.ts % 300]
    rolling_up = statistics.median(at_end) - statistics.median(at_minute)
    yield Figure("tick at 5 s: CPU of the process, median", statistics.median(at_tick), "ms")
    yield Figure("rolling up five minutes: CPU beyond a tick's", rolling_up, "ms")
    yield Figure("rolling up and checkpoint, of sampling", rolling_up / (60 * statistics.median(at_tick)), "ratio", 0.1)
    written = sum(second.written_bytes for second in seconds) / minutes
    yield Figure("written: a minute", written / 1024, "KiB")
    yield Figure("written: a day", written * MINUTES_A_DAY / 1e6, "MB", 200)


def seconds_of(pid: int, count: int) -> list[Second]:
    """What the process spends in each of so many seconds from now on."""
    until_fraction(0.7)
    cpu, written = cpu_ms(pid), written_bytes(pid)
    seconds = []
    for _ in range(count):
        time.sleep(0.1)
        until_fraction(0.7)
        cpu_now, written_now = cpu_ms(pid), written_bytes(pid)
        seconds.append(Second(int(time.time()), cpu_now - cpu, written_now - written))
        cpu, written = cpu_now, written_now
    return seconds


def memory(bench: Bench) -> Iterator[Figure]:
    """USS over a full history after 200 and 1,000 requests of the endpoint; with --long after ten minutes of them."""
    with daemon(bench, bench.year()) as running:
        client = Client(running.port)
        _ask(client, 200)
        early = memory_mib(running.pid)
        _ask(client, 800)
        late = memory_mib(running.pid)
        yield Figure("memory: USS after 1,000 requests", late[0], "MiB", 42)
        yield Figure("memory: USS, Python's own files all counted", late[1], "MiB", 42)
        yield Figure("memory: growth from 200 to 1,000 requests", late[0] - early[0], "MiB", 0.5)
        if bench.long:
            end = time.time() + 600
            while time.time() < end:
                _ask(client, 1)
                time.sleep(1)
            yield Figure("memory: USS after 10 minutes", memory_mib(running.pid)[0], "MiB", 42)
            yield Figure("memory: growth in 10 minutes", memory_mib(running.pid)[0] - late[0], "MiB")
        series = "series?metric=cpu_percent&start=-90d&points=600"
        for path in ("summary?window=30d", series, "peaks", "processes?start=-5y", "insights", "openapi.json"):
            client.get(f"/api/v1/{path}")
        yield Figure("memory: USS after the history's answers too", memory_mib(running.pid)[0], "MiB", 45)
        client.get("/metrics")
        yield Figure("memory: USS after /metrics too", memory_mib(running.pid)[0], "MiB")
        client.close()


def _ask(client: Client, times: int) -> None:
    for _ in range(times):
        client.get(USAGE)


def start(bench: Bench) -> Iterator[Figure]:
    """Wall time from `python3 manage.py run` to the first right answer, including the change to .venv's interpreter."""
    histories = {
        "30 days": bench.history("month", sample_days=7, minute_days=30, hour_days=30),
        "30 days of samples": bench.history("samples", sample_days=30, minute_days=30, hour_days=30),
        "five years": bench.year(),
    }
    for name, database in histories.items():
        took = [_start_once(str(database)) for _ in range(3 if bench.quick else 7)]
        yield Figure(f"start: first right answer after {name}", statistics.median(took), "s", 1.0)


def _start_once(database: str) -> float:
    """Seconds. As from a user's shell, the base interpreter starts manage.py, which changes to .venv."""
    port = free_port()
    base: str = getattr(sys, "_base_executable", sys.executable)
    command = [base, str(ROOT / "manage.py"), "--database", database, "run", "--port", str(port)]
    begun, began_at = time.perf_counter(), int(time.time())
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    try:
        while True:
            client = Client(port)
            try:
                body = client.get(USAGE)
                break
            except (OSError, RuntimeError):
                if process.poll() is not None or time.perf_counter() - begun > 30:
                    raise
                time.sleep(0.002)
            finally:
                client.close()
        took = time.perf_counter() - begun
    finally:
        stop(process)
    _must_be_of(body, began_at)
    return took


def _must_be_of(body: bytes, began_at: int) -> None:
    import json
    from datetime import datetime

    answer = json.loads(body)
    taken = datetime.fromisoformat(answer["timestamp"]).timestamp()
    if answer["success"] is not True or taken < began_at - 1:
        raise RuntimeError(f"not a right answer: {body!r}")
