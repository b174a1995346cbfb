"""Writes a history as the daemon would have left it: `python benchmarks/generate.py FILE [--days 7 ...]`.

Samples every 5 s for the newest days, minutes before them, hours before those; stretches, runs and gaps for every
reason across all of it. Rows of a tier are invented where there are no finer rows; else the Store rolls the finer ones
up. The same arguments give the same history: a host of four CPUs with days, weekends and a disk that fills.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sqlalchemy import Connection, Table

import service
from benchmarks.generate_devices import insert_devices
from benchmarks.generate_usage import KEPT, insert_forecasts, insert_usage
from service.clock import DAY, HOUR, MINUTE
from service.metrics import COUNTERS, GAUGES, METRICS, Metric
from service.records import Reason
from service.store import database, device_rollups, old_captures, schema, usage_rollups
from service.store.schema import encode
from service.store.writer import Store

ROOT = Path(__file__).resolve().parent.parent
INTERVAL = 5
# The shortest stretch in seconds, so that each has samples.
LEAST_STRETCH = 600
# Of rows of devices; before these there are hours.
DEVICE_DAYS = 2
# Rows that one statement inserts.
BATCH = 5000

# (why a stretch ends, how often in a hundred, how many seconds are then missing); None: a restart without a gap.
ENDS: tuple[tuple[Reason | None, int, int], ...] = (
    ("stopped", 25, 20 * MINUTE),
    ("killed", 15, MINUTE),
    ("rebooted", 15, 3 * MINUTE),
    ("suspended", 15, 2 * HOUR),
    ("overload", 10, 30),
    ("storage", 5, 5 * MINUTE),
    ("clock_step", 5, 15 * MINUTE),
    (None, 10, 0),
)
# After these the run of the daemon goes on.
WITHIN_A_RUN = {"suspended", "overload", "storage", "clock_step"}


@dataclass(frozen=True, slots=True)
class Stretch:
    """Samples at start, start + INTERVAL, ..., end; `reason` and `prior_end` are those of the gap before it."""

    number: int
    run: int
    boot: int
    start: int
    end: int
    prior_end: int | None
    reason: Reason | None
    begins_run: bool


def generate(
    path: Path,
    *,
    end_ts: int,
    sample_days: float = 7,
    minute_days: float = 90,
    hour_days: float = 5 * 365.25,
    process_days: float = 30,
    seed: int = 1,
) -> None:
    """Write a new database at `path` whose last sample is at `end_ts` (rounded down to the interval).

    Who used the host is in captures for `process_days`, as far as there are minutes, and by the hour before that. A
    coarser tier always goes back at least as far as the finer ones.

    :raises FileExistsError: if there is something at `path`.
    """
    if path.exists():
        raise FileExistsError(path)
    end = end_ts // INTERVAL * INTERVAL
    samples_from = _whole_hour(end - sample_days * DAY)
    minutes_from = min(samples_from, _whole_hour(end - minute_days * DAY))
    hours_from = min(minutes_from, _whole_hour(end - hour_days * DAY))
    stretches = list(_stretches(Random(seed), hours_from, end))
    host = Machine(Random(seed + 1))
    database.migrate(path)
    engine = database.writer_engine(path)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        _insert(connection, schema.run, _runs(stretches))
        _insert(connection, schema.stretch, _stretch_rows(stretches))
        hours = _rollups(host, stretches, hours_from, minutes_from, HOUR)
        _insert(connection, schema.hour, hours, _ROLLUP_COLUMNS)
        minutes = _rollups(host, stretches, minutes_from, samples_from, MINUTE)
        _insert(connection, schema.minute, minutes, _ROLLUP_COLUMNS)
        _insert(connection, schema.sample, _samples(host, stretches, samples_from))
        # A tier is whole from 0 on until something of it has been pruned.
        connection.exec_driver_sql(
            "UPDATE progress SET minutes_until = ?, hours_until = ?, samples_from = ?, minutes_from = ?",
            (
                samples_from,
                minutes_from,
                samples_from if hours_from < samples_from else 0,
                minutes_from if hours_from < minutes_from else 0,
            ),
        )
        connection.exec_driver_sql("COMMIT")
    _roll_up(path)
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        captures_from = max(minutes_from, _whole_hour(end - process_days * DAY))
        insert_usage(connection, captures_from, hours_from, end, seed)
        devices_from = max(captures_from, _whole_hour(end - DEVICE_DAYS * DAY))
        insert_devices(connection, devices_from, hours_from, end, seed)
        connection.exec_driver_sql("COMMIT")
    engine.dispose()
    _roll_up(path, end, samples_from)


def _whole_hour(ts: float) -> int:
    return int(ts) // HOUR * HOUR


def _roll_up(path: Path, forecasts_until: int | None = None, samples_from: int = 0) -> None:
    store = Store(path)
    store.open()
    while (
        store.roll_up()
        or store.write(lambda statements: usage_rollups.roll_up(statements, KEPT))
        or store.write(device_rollups.roll_up)
    ):
        pass
    while store.write(lambda statements: old_captures.merge(statements, samples_from, KEPT)) or store.shrink():
        pass
    if forecasts_until is not None:
        insert_forecasts(store, forecasts_until)
    store.close()


def _insert(connection: Connection, table: Table, rows: Iterable[Sequence[object]], names: Sequence[str] = ()) -> None:
    """`names`: the columns of the rows; all of the table's if left out."""
    names = names or [column.name for column in table.columns]
    statement = f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
    remaining = iter(rows)
    while batch := [tuple(row) for row in islice(remaining, BATCH)]:
        connection.exec_driver_sql(statement, batch)


# -- stretches, runs, gaps


def _stretches(random: Random, first: int, end: int) -> Iterator[Stretch]:
    """A few stretches even in a day, and about one in twelve days over years."""
    usual = min(12 * DAY, max(2 * HOUR, (end - first) / 8))
    number, run, boot = 1, 1, 1
    start, prior_end = -(-first // INTERVAL) * INTERVAL, None
    reason: Reason | None = None
    begins_run = True
    while True:
        stop = (start + LEAST_STRETCH + int(random.expovariate(1 / usual))) // INTERVAL * INTERVAL
        next_reason, _, missing = random.choices(ENDS, [share for _, share, _ in ENDS])[0]
        following = stop + 2 * INTERVAL + int(missing * random.uniform(0.5, 2)) // INTERVAL * INTERVAL
        is_last = following + LEAST_STRETCH > end
        yield Stretch(number, run, boot, start, end if is_last else stop, prior_end, reason, begins_run)
        if is_last:
            return
        start, prior_end, reason = following, stop, next_reason
        begins_run = reason not in WITHIN_A_RUN
        number, run, boot = number + 1, run + begins_run, boot + (reason == "rebooted")


def _runs(stretches: Sequence[Stretch]) -> Iterator[tuple[object, ...]]:
    """Rows of the runs: the last one was stopped cleanly, and one that was killed has no end."""
    for stretch, following in _with_following(each for each in stretches if each.begins_run):
        stopped = following.prior_end if following else stretches[-1].end
        clean = following is None or following.reason != "killed"
        boot = next(each for each in stretches if each.boot == stretch.boot)
        booted, boot_id = boot.start - MINUTE, f"boot-{stretch.boot}"
        ended = stopped if clean else None
        yield stretch.run, stretch.start, ended, int(clean), booted, boot_id, service.__version__, INTERVAL


def _with_following(stretches: Iterable[Stretch]) -> Iterator[tuple[Stretch, Stretch | None]]:
    every = list(stretches)
    return zip(every, [*every[1:], None], strict=True)


def _stretch_rows(stretches: Iterable[Stretch]) -> Iterator[tuple[object, ...]]:
    for each in stretches:
        # The first sample of a run covers no time; the first one of a later stretch covers an interval.
        start = each.start if each.begins_run else each.start - INTERVAL
        yield each.number, each.run, start, each.prior_end, each.reason


# -- what the host did

MEMORY_BYTES, _SWAP_BYTES = 8_255_242_240.0, 4.0 * 2**30


class Machine:
    """A host's gauges and rates at one moment; noise, bursts and loads go on from one call to the next."""

    def __init__(self, random: Random) -> None:
        self._gauss, self._random = random.gauss, random.random
        self._noise = self._load_5 = self._load_15 = 0.0
        self._burst = 0.0

    def at(self, ts: int, seconds: int) -> dict[str, float]:
        """Metric name -> value in natural units; a counter has its bytes a second. `seconds` since the last call."""
        keeps = 0.98 if seconds == INTERVAL else 0.85
        noise = self._noise = keeps * self._noise + self._gauss(0.0, 1.2 if seconds == INTERVAL else 3.0)
        if self._random() < seconds / HOUR / 4:
            self._burst = (40 + 30 * self._random()) * min(1.0, 300 / seconds)  # it lasts some minutes
        else:
            self._burst *= keeps if seconds == INTERVAL else 0.3
        angle = 2 * math.pi * (ts % DAY) / DAY
        working = 0.4 if (ts // DAY + 3) % 7 >= 5 else 1.0
        daily = working * (1 - math.cos(angle))
        cpu = min(100.0, max(0.3, 6 + 14 * daily + noise + self._burst))
        load = 0.04 * cpu + 0.02 * abs(noise)
        self._load_5 += (load - self._load_5) * min(1.0, seconds / 300)
        self._load_15 += (load - self._load_15) * min(1.0, seconds / 900)
        memory = 42 + 6 * daily + 0.1 * noise + 3 * math.sin(ts / (9 * DAY))
        waiting = max(0.0, cpu - 55)
        swap = max(0.0, 0.3 * (memory - 45))
        return {
            **self._modes(cpu, waiting),
            **self._memory(memory, swap, noise),
            **self._activity(cpu, load, waiting),
            "cpu_percent": cpu,
            "cpu_busiest_percent": min(100.0, 1.6 * cpu + 4),
            "memory_percent": memory,
            "swap_percent": swap,
            "disk_percent": 35 + 30 * (ts % (40 * DAY)) / (40 * DAY) + 0.01 * noise,
            "load_1": load,
            "load_5": self._load_5,
            "load_15": self._load_15,
            "process_count": float(int(170 + 12 * daily + noise)),
            "network_sent_bytes": 900 + 400 * cpu * (1 + self._random()),
            "network_received_bytes": 1500 + 1100 * cpu * (1 + self._random()),
            "disk_read_bytes": max(0.0, 200 * noise + 5000 * waiting),
            "disk_written_bytes": 6000 + 900 * cpu * self._random(),
            "cpu_pressure": 0.02 * cpu + 0.9 * waiting,
            "memory_pressure": 0.05 * waiting,
            "io_pressure": 0.01 * cpu + 0.1 * waiting * self._random(),
        }

    def _modes(self, cpu: float, waiting: float) -> dict[str, float]:
        """Of a host of its own: no hypervisor takes time from it, and nothing is niced."""
        return {
            "cpu_user_percent": 0.71 * cpu,
            "cpu_nice_percent": 0.0,
            "cpu_system_percent": 0.26 * cpu,
            "cpu_irq_percent": 0.0,
            "cpu_softirq_percent": 0.03 * cpu,
            "cpu_iowait_percent": 0.1 * waiting + 0.2 * self._random(),
            "cpu_steal_percent": 0.0,
        }

    def _memory(self, memory: float, swap: float, noise: float) -> dict[str, float]:
        available = MEMORY_BYTES * (1 - memory / 100)
        cached = 0.7 * available
        return {
            "memory_total_bytes": MEMORY_BYTES,
            "memory_available_bytes": available,
            "memory_free_bytes": 0.2 * available + 2**20 * noise,
            "memory_buffers_bytes": 0.02 * MEMORY_BYTES + 2**16 * noise,
            "memory_cached_bytes": cached,
            "memory_dirty_bytes": 2**20 * (1 + 8 * self._random()),
            "swap_total_bytes": _SWAP_BYTES,
            "swap_free_bytes": _SWAP_BYTES * (1 - swap / 100),
        }

    def _activity(self, cpu: float, load: float, waiting: float) -> dict[str, float]:
        return {
            "cpu_count": 4.0,
            "processes_running": 1.0 + int(load),
            "processes_blocked": float(int(waiting / 20)),
            "tcp_established": 40.0 + int(cpu),
            "swap_in_bytes": 4096 * waiting,
            "swap_out_bytes": 8192 * waiting,
            "major_faults": 0.1 + waiting,
            "oom_kills": 0.0,
            "context_switches": 900 + 120 * cpu,
            "forks": 1 + 0.2 * cpu,
            "tcp_retransmits": 0.02 * self._random(),
        }


# (column, metric, part, scale) of each column of a rollup that a metric fills.
_ROLLUP = [
    *((schema.stored_average(gauge), gauge, "", schema.average_scale(gauge)) for gauge in GAUGES),
    *((schema.stored(gauge, part), gauge, part, gauge.scale) for gauge in GAUGES for part in ("_min", "_max")),
    *((schema.stored(each, part), each, part, each.scale) for each in COUNTERS for part in ("_increase", "_rate_max")),
]
_ROLLUP_COLUMNS = ["ts", "samples", "covered_ms", *(name for name, *_ in _ROLLUP)]
# Metrics that hardly change within a minute or an hour.
_STEADY = {"memory_percent", "swap_percent", "disk_percent", "load_15", "process_count", "tcp_established"}
_STEADY |= {gauge.name for gauge in GAUGES if gauge.unit == "bytes"}
_CONSTANT = {"memory_total_bytes", "swap_total_bytes", "cpu_count"}
_METRICS = [(metric.name, metric.scale) for metric in METRICS]
# Metrics that the sampler knows only from the second sample of a run on.
_FROM_PAIRS = ("cpu_percent", "cpu_pressure", "memory_pressure", "io_pressure")


def _samples(host: Machine, stretches: Iterable[Stretch], first: int) -> Iterator[list[int | None]]:
    """Counters grow from one sample to the next and begin anew at a boot."""
    totals: dict[str, float] = {}
    boot = 0
    for stretch in stretches:
        if stretch.end < first:
            continue
        if stretch.boot != boot:
            boot, totals = stretch.boot, {counter.name: 1e7 for counter in COUNTERS}
        for ts in range(max(stretch.start, first), stretch.end + 1, INTERVAL):
            values: dict[str, float | None] = {**host.at(ts, INTERVAL)}
            for name, total in totals.items():
                totals[name] = values[name] = total + INTERVAL * (values.get(name) or 0.0)
            covered = INTERVAL * 1000
            if ts == stretch.start and stretch.begins_run:
                covered = 0
                values.update(dict.fromkeys(_FROM_PAIRS))
            yield [ts, stretch.number, covered, *(encode(values.get(name), scale) for name, scale in _METRICS)]


def _rollups(
    host: Machine, stretches: Iterable[Stretch], first: int, end: int, width: int
) -> Iterator[list[int | None]]:
    """Rows for the buckets first <= ts < end of `width` seconds in which there are samples."""
    gauss = Random(first).gauss
    for ts, samples in sorted(_samples_by_bucket(stretches, first, end, width).items()):
        values, spread = host.at(ts, width), 0.1 + 0.3 * abs(gauss(0.0, 1.0))
        seconds = samples * INTERVAL
        parts = (_part(values.get(metric.name), metric, part, spread, seconds) for _, metric, part, _ in _ROLLUP)
        row: list[int | None] = [ts, samples, seconds * 1000]
        row += [encode(value, scale) for value, (*_, scale) in zip(parts, _ROLLUP, strict=True)]
        yield row


def _part(value: float | None, metric: Metric, part: str, spread: float, seconds: int) -> float | None:
    """The value of a column, from a gauge's average or a counter's rate; extremes differ from it by `spread`."""
    if value is None or not part:
        return value
    apart = 0.0 if metric.name in _CONSTANT else 0.01 if metric.name in _STEADY else spread
    if part == "_increase":
        return value * seconds
    if part == "_min":
        return value * max(0.1, 1 - apart)
    most = value * (1 + (3 * apart if part == "_rate_max" else apart))
    return min(100.0, most) if metric.unit == "percent" else most


def _samples_by_bucket(stretches: Iterable[Stretch], first: int, end: int, width: int) -> dict[int, int]:
    """Bucket start -> how many samples lie in it."""
    found: dict[int, int] = {}
    for stretch in stretches:
        start, stop = max(stretch.start, first), min(stretch.end + INTERVAL, end)
        for bucket in range(start // width * width, stop, width):
            count = len(range(max(start, bucket), min(stop, bucket + width), INTERVAL))
            if count:
                found[bucket] = found.get(bucket, 0) + count
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="a database that does not exist yet")
    parser.add_argument("--days", type=float, default=7, help="days of samples (7)")
    parser.add_argument("--minute-days", type=float, default=90, help="days of minutes (90)")
    parser.add_argument("--hour-days", type=float, default=5 * 365.25, help="days of hours (five years)")
    parser.add_argument("--process-days", type=float, default=30, help="days of captures of the processes (30)")
    parser.add_argument("--end", type=int, default=int(time.time()), help="unix seconds of the last sample (now)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    generate(
        given.file,
        end_ts=given.end,
        sample_days=given.days,
        minute_days=given.minute_days,
        hour_days=given.hour_days,
        process_days=given.process_days,
        seed=given.seed,
    )


if __name__ == "__main__":
    main()
