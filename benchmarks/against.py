"""What this checkout costs against another commit: two daemons in turn, of which one stands still, and their ratios."""

import io
import os
import signal
import statistics
import subprocess
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.generate import ROOT
from benchmarks.harness import USAGE, Bench, Client, Running, cpu_ms, daemon, memory_mib
from benchmarks.instructions import can_count, spent
from benchmarks.running import CAPTURE_SECONDS, seconds_of

# The most that a figure may be of that of the other commit; a ratio beyond it is measured again before it counts.
BAR = 1.25
_REQUESTS = 50
# After it has stood still: the late tick, the one that stands in for it, the gap that they store.
_SETTLE_SECONDS = 3.0


class Ratio(NamedTuple):
    """One row of the table. `there`: of the other commit. `here`: of this checkout."""

    name: str
    unit: str
    there: float
    here: float

    @property
    def value(self) -> float:
        return self.here / self.there

    @property
    def is_over(self) -> bool:
        return self.value > BAR


@dataclass
class _Side:
    """One of the two daemons, and what it has spent in each of its seconds and for each bundle of requests."""

    daemon: Running
    cpu_ms: list[float] = field(default_factory=list)
    written_bytes: list[float] = field(default_factory=list)
    request_ms: list[float] = field(default_factory=list)


def compare(bench: Bench, commit: str) -> Iterator[Ratio]:
    """Both at an interval of 1 s over new databases; the quick way counts instructions, where valgrind is.

    :raises RuntimeError: if there is no such commit, or a daemon of it does not start.
    """
    there_is = bench.folder / f"{commit.replace('/', '-')}-{bench.new().stem}"
    check_out(commit, there_is)
    yield from _executed(bench, there_is) if bench.quick and can_count() else _timed(bench, there_is)


def _executed(bench: Bench, there_is: Path) -> Iterator[Ratio]:
    there, here = spent(bench, [there_is, ROOT])
    for name, other, ours in zip(there._fields, there, here, strict=True):
        yield Ratio(f"a {name}: instructions in user space", "M", other / 1e6, ours / 1e6)


def _timed(bench: Bench, there_is: Path) -> Iterator[Ratio]:
    """Each ratio is of medians over the same minutes, so that it holds also where the machine is busy; the figures
    themselves hold only within one run. Seconds with captures are left out."""
    with daemon(bench, bench.new(), 1, there_is) as there, daemon(bench, bench.new(), 1) as here:
        sides = _Side(there), _Side(here)
        turns = 2 if bench.quick else 8
        for turn in range(turns):
            # The order changes, so that what grows with time is no side's.
            for ours, other in (sides, sides[::-1]) if turn % 2 else (sides[::-1], sides):
                with _standing_still(other.daemon):
                    _measure(ours, 12 if bench.quick else 20)
        yield from _ratios(*sides)


def check_out(commit: str, folder: Path) -> None:
    """The files of a commit, without touching the repository.

    :raises RuntimeError: if there is no such commit.
    """
    done = subprocess.run(["git", "archive", "--format=tar", commit], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(f"no commit {commit}: {done.stderr.decode(errors='replace').strip()}")
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        archive.extractall(folder)


@contextmanager
def _standing_still(other: Running) -> Iterator[None]:
    os.kill(other.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(other.pid, signal.SIGCONT)


def _measure(side: _Side, count: int) -> None:
    time.sleep(_SETTLE_SECONDS)
    for second in seconds_of(side.daemon.pid, count):
        if second.ts % CAPTURE_SECONDS:
            side.cpu_ms.append(second.cpu_ms)
            side.written_bytes.append(second.written_bytes)
    client = Client(side.daemon.port)
    before = cpu_ms(side.daemon.pid)
    for _ in range(_REQUESTS):
        client.get(USAGE)
    side.request_ms.append((cpu_ms(side.daemon.pid) - before) / _REQUESTS)
    client.close()


def _ratios(there: _Side, here: _Side) -> Iterator[Ratio]:
    def ratio(name: str, unit: str, of: str) -> Ratio:
        values: tuple[Sequence[float], Sequence[float]] = getattr(there, of), getattr(here, of)
        return Ratio(name, unit, *map(statistics.median, values))

    yield ratio("tick: CPU of the process", "ms", "cpu_ms")
    yield ratio("tick: written", "bytes", "written_bytes")
    yield ratio("a request of the endpoint: CPU of the process", "ms", "request_ms")
    yield Ratio("memory: USS", "MiB", memory_mib(there.daemon.pid)[0], memory_mib(here.daemon.pid)[0])
