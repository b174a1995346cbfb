"""Instructions that a daemon executes in user space, counted by callgrind: a busy machine changes nothing of them.

Both daemons run under valgrind at the same time, and count only while they are told to, so that what the host does
meanwhile is the same for both. What the kernel does for them is not counted; `against` measures that in seconds.
"""

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import USAGE, Bench, Client, Running, free_port, served
from benchmarks.running import CAPTURE_SECONDS

_REQUESTS = 20
# Of one request.
_TRIES = 30
# Between two captures: these seconds after one, for so many seconds.
_AFTER_CAPTURE, _TICKS = 3.5, 12
# Around a capture, which may itself take more than a second here.
_AROUND_CAPTURE = 7


class Spent(NamedTuple):
    """What a daemon executed for one of each."""

    tick: float
    capture: float
    request: float


@dataclass
class _Side:
    """A daemon under callgrind, which writes what it counted into files that begin with `counts`."""

    daemon: Running
    counts: Path
    dumps: int = 0

    def ticks(self) -> int:
        with closing(sqlite3.connect(f"file:{self.daemon.database}?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM samples").fetchone()[0])

    def tell(self, *order: str) -> None:
        command = ["callgrind_control", *order, str(self.daemon.pid)]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    def counted(self) -> int:
        """What was counted since counting began or was asked for."""
        self.tell("--dump")
        self.dumps += 1
        text = Path(f"{self.counts}.{self.dumps}").read_text(encoding="utf-8", errors="replace")
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("totals:"))


def can_count() -> bool:
    return all(shutil.which(name) for name in ("valgrind", "callgrind_control"))


def spent(bench: Bench, roots: Sequence[Path]) -> list[Spent]:
    """What the daemon of each checkout executes at an interval of 1 s over a new database.

    :raises RuntimeError: if one does not start.
    """
    with ExitStack() as stack:
        sides = [stack.enter_context(_counting(bench, root)) for root in roots]
        _ask(sides, 2)  # what the first request imports is no request's
        _sleep_until(_AFTER_CAPTURE)
        ticks = [counted / count for counted, count in _window(sides, lambda: time.sleep(_TICKS))]
        _sleep_until(-_AROUND_CAPTURE / 2)
        around = _window(sides, lambda: time.sleep(_AROUND_CAPTURE))
        asked = _window(sides, lambda: _ask(sides, _REQUESTS))
        captures = _beyond_ticks(around, ticks)
        requests = [more / _REQUESTS for more in _beyond_ticks(asked, ticks)]
        return [Spent(*of) for of in zip(ticks, captures, requests, strict=True)]


def _window(sides: Sequence[_Side], work: Callable[[], None]) -> list[tuple[int, int]]:
    """What each executed while this worked, and how many ticks were in it."""
    before = [side.ticks() for side in sides]
    for side in sides:
        side.tell("--instr=on")
    work()
    found = [(side.counted(), side.ticks() - there) for side, there in zip(sides, before, strict=True)]
    for side in sides:
        side.tell("--instr=off")
    return found


def _beyond_ticks(found: Sequence[tuple[int, int]], ticks: Sequence[float]) -> list[float]:
    return [counted - count * tick for (counted, count), tick in zip(found, ticks, strict=True)]


def _ask(sides: Sequence[_Side], times: int) -> None:
    for side in sides:
        client = Client(side.daemon.port)
        for _ in range(times):
            _get(client)
        client.close()


def _get(client: Client) -> None:
    """Under valgrind on a busy machine a daemon may say, for a while, that its disk does not answer."""
    for _ in range(_TRIES):
        try:
            client.get(USAGE)
        except RuntimeError:
            time.sleep(1)
        else:
            return
    client.get(USAGE)


@contextmanager
def _counting(bench: Bench, root: Path) -> Iterator[_Side]:
    database = bench.new()
    counts = database.with_suffix(".counts")
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={counts}"]
    command += [sys.executable, "-OO", str(root / "manage.py"), "--database", str(database)]
    command += ["run", "--port", str(free_port()), "--interval", "1"]
    with served(bench, command, database, root) as running:
        yield _Side(running, counts)


def _sleep_until(second: float) -> None:
    """Until so long after the next capture; before it, if negative."""
    time.sleep((second - time.time()) % CAPTURE_SECONDS)
