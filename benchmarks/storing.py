"""What the history takes on disk, and what it costs to keep it small: rolling up, pruning, catching up."""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from benchmarks.generate import INTERVAL
from benchmarks.harness import MIB, Bench, Figure
from service.clock import DAY, HOUR, Clock, Instant
from service.host.read import Host
from service.recording.sampler import Sampler
from service.store import database
from service.store.reader import History
from service.store.writer import Store


def at_rest(bench: Bench) -> Iterator[Figure]:
    """Bytes of each table of a history that the default retention has filled."""
    path = bench.year()
    history = History(path)
    with closing(history), history.view() as view:
        tables = view.table_bytes()
    with closing(history), history.query("SELECT COUNT(*) FROM samples", 60) as (_, rows):
        samples = int(next(rows)[0])
    if tables is None:
        yield Figure("at rest: whole file, this SQLite has no dbstat", path.stat().st_size / MIB, "MiB")
        return
    yield Figure("at rest: a sample", tables["sample"] / samples, "bytes", 90)
    for name in ("sample", "minute", "hour"):
        yield Figure(f"at rest: table {name}", tables[name] / MIB, "MiB")
    yield Figure("at rest: whole file", path.stat().st_size / MIB, "MiB")


class _Hurried(Clock):
    """A clock that moves only when it is made to."""

    def __init__(self, wall: float) -> None:
        self._wall = self._steady = wall

    def now(self) -> Instant:
        return Instant(self._wall, self._steady, self._steady)

    def pass_seconds(self, seconds: float) -> None:
        self._wall, self._steady = self._wall + seconds, self._steady + seconds


def rolling_up(bench: Bench) -> Iterator[Figure]:
    """CPU of rolling up (with the checkpoint) against that of sampling, over two hours at 5 s without the waiting.

    Both run warm here, from which sampling gains more (0.35 ms a tick instead of 1.4), so the bar is on the daemon, in
    `minute`.
    """
    path = bench.new()
    database.migrate(path)
    store = Store(path)
    store.open()
    clock = _Hurried(time.time() // HOUR * HOUR)
    before = store.begin_run(round(clock.now().wall), None, None, "0", INTERVAL)
    sampler = Sampler(Host("/"), store, clock, INTERVAL, before)
    sampling, rolling, checkpoints = [], [], []
    for minute in range(62 if bench.quick else 122):
        ticks = rolled = 0.0
        for _ in range(60 // INTERVAL):
            clock.pass_seconds(INTERVAL)
            ticks += _cpu_ms(sampler.tick)
        while True:
            begun = time.thread_time()
            more = store.roll_up()
            rolled += 1000 * (time.thread_time() - begun)
            if not more:
                break
        if minute:
            sampling.append(ticks)
            rolling.append(rolled)
            checkpoints.append(_cpu_ms(store.checkpoint))
    store.close()
    yield Figure("sampling a minute (12 ticks, warm)", statistics.mean(sampling), "ms")
    yield Figure("rolling up a minute", statistics.mean(rolling), "ms")
    yield Figure("checkpoint of a minute", statistics.mean(checkpoints), "ms")
    yield Figure("rolling up, of sampling, both warm", sum(rolling) / sum(sampling), "ratio")


def _cpu_ms(work: Callable[[], object]) -> float:
    begun = time.thread_time()
    work()
    return 1000 * (time.thread_time() - begun)


def keeping_small(bench: Bench) -> Iterator[Figure]:
    """The longest single step of pruning a day and of catching up three days: a tick may have to wait that long."""
    longest_prune, prunes, longest_shrink, longest_rollup, rollups = [], 0, [], [], 0
    for _ in range(1 if bench.quick else 3):
        path = bench.history("eight", sample_days=8, minute_days=91, hour_days=91)
        steps = _prune_a_day(path)
        longest_prune.append(max(steps))
        prunes = len(steps)
        longest_shrink.append(max(_steps(path, Store.shrink)))
        steps = _catch_up(path, 3 * DAY)
        longest_rollup.append(max(steps))
        rollups = len(steps)
    yield Figure(f"pruning a day: longest of {prunes} steps", statistics.median(longest_prune), "ms wall", 50)
    yield Figure("giving pages back: longest step", statistics.median(longest_shrink), "ms wall", 50)
    yield Figure(f"catching up 3 days: longest of {rollups} steps", statistics.median(longest_rollup), "ms wall", 50)


def _steps(path: Path, step: Callable[[Store], bool]) -> list[float]:
    """Wall milliseconds of each step of a store until there is no more to do."""
    store = Store(path)
    store.open()
    took, more = [], True
    while more:
        begun = time.perf_counter()
        more = step(store)
        took.append(1000 * (time.perf_counter() - begun))
    store.close()
    return took


def _prune_a_day(path: Path) -> list[float]:
    now = time.time()
    return _steps(path, lambda store: store.prune(int(now - 7 * DAY), int(now - 90 * DAY), int(now - 1826 * DAY)))


def _catch_up(path: Path, seconds: int) -> list[float]:
    """Wall milliseconds of each step of rolling up again from so long ago, as after days in which it failed."""
    engine = database.writer_engine(path)
    since = (int(time.time()) - seconds) // HOUR * HOUR
    with engine.connect() as connection:
        connection.exec_driver_sql("UPDATE progress SET minutes_until = ?, hours_until = ?", (since, since))
    engine.dispose()
    return _steps(path, Store.roll_up)
