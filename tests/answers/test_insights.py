"""Findings: each is found where it holds, kept silent where it does not, and proven by the SQL that comes with it."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from service.analysis import recurrence
from service.answers import insights
from service.answers.monitor import ResourceMonitor
from service.clock import DAY, HOUR, MINUTE
from service.metrics import BY_NAME
from service.records import Break
from service.store import schema
from service.store.reader import History
from service.store.schema import encode
from service.store.writer import Store
from tests.conftest import NOW, FakeClock, Fill, Record, settings_for
from tests.running import query

GB = 10**9
MB = 10**6


class Past:
    """Writes what the rules ask for, up to NOW."""

    def __init__(self, store: Store, record: Record, fill: Fill) -> None:
        self.store, self.record, self.fill = store, record, fill

    def rows(self, table: str, rows: Any) -> None:
        def write(execute: Any) -> None:
            for row in rows:
                names = ", ".join(row)
                execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))

        self.store.write(write)

    def tier(self, table: str, stamps: Any, **gauges: Callable[[int], float]) -> None:
        """Rollup rows at the stamps, as far apart as the tier's buckets; a gauge's extremes are its average."""
        seconds = HOUR if table == "hour" else MINUTE
        rows = []
        for ts in stamps:
            row: dict[str, Any] = {"ts": ts, "samples": seconds // 5, "covered_ms": seconds * 1000}
            for name, value in gauges.items():
                metric = BY_NAME[name]
                row[schema.stored_average(metric)] = round(value(ts) * 100)
                row[schema.stored(metric, "_min")] = row[schema.stored(metric, "_max")] = encode(
                    value(ts), metric.scale
                )
            rows.append(row)
        self.rows(table, rows)

    def hours(self, days: int, **gauges: Callable[[int], float]) -> None:
        self.tier("hour", range(NOW - days * DAY, NOW, HOUR), **gauges)

    def minutes(self, count: int, **gauges: Callable[[int], float]) -> None:
        self.tier("minute", range(NOW - count * MINUTE, NOW, MINUTE), **gauges)

    def cpus(self) -> None:
        """The host has four."""
        self.record(NOW - 30, 1.0)

    def grows(self, name: str, pid: int, looks: int, memory: Callable[[int], float]) -> None:
        for number in range(looks):
            self.record(NOW - 30 * (looks - number), 1.0, (name, pid, 0.1, int(memory(number))))

    def mount(self, used: int, available: int, path: str = "/srv") -> None:
        self.rows("mount", [{"mount_id": 1, "path": path}])
        self.mount_is(used, available)

    def mount_is(self, used: int, available: int) -> None:
        sizes = {"total_kb": (used + available) * MB, "used_kb": used * MB, "available_kb": available * MB}
        self.rows("filesystem", [{"mount_id": 1, "ts": NOW - 60, "stretch_id": 1, **sizes}])

    def foretold(self, days: float, made: int = NOW - 600, latest: float | None = 30, path: str = "/srv") -> None:
        self.rows("mount", [{"mount_id": 1, "path": path}])
        told = {"earliest_ts": NOW + int(days * DAY), "middle_ts": NOW + int((days + 1) * DAY)}
        told["latest_ts"] = None if latest is None else NOW + int((days + latest) * DAY)  # type: ignore[assignment]
        sizes = {"level_kb": 10**8, "growth_kb_per_day": 10**6, "watched_until": made}
        self.rows("forecast", [{"mount_id": 1, "made_ts": made, "is_full": 1, **sizes, **told}])

    def gaps(self, count: int, reason: str) -> None:
        for number in range(count):
            end = NOW - DAY + number * HOUR
            self.fill(end, 2, begins=Break(end - 600, reason))  # type: ignore[arg-type]

    def killed(self, count: int) -> None:
        for number in range(count + 1):
            self.store.begin_run(NOW - DAY + number * HOUR, None, "boot-1", "0.1.0", 5)


@pytest.fixture
def past(store: Store, record: Record, fill: Fill) -> Past:
    return Past(store, record, fill)


def daily(low: float, high: float, hour: int = 3, seed: int = 1) -> Callable[[int], float]:
    """Low with some noise, and high in one hour of each day."""
    random = Random(seed)
    return lambda ts: (high if ts // HOUR % 24 == hour else low) + random.uniform(0, 3)


def steady(value: float) -> Callable[[int], float]:
    return lambda ts: value


def _unusual(past: Past) -> None:
    random = Random(3)
    past.hours(20, cpu_percent=lambda ts: 90.0 if ts == NOW - 5 * HOUR else 20 + random.uniform(0, 2))


# What makes each finding: its code, severity, and what its title or detail must name.
FOUND: dict[str, tuple[Callable[[Past], Any], str, str, str]] = {
    "filling in a month": (lambda p: p.foretold(20), "disk_filling", "info", "/srv is full in about 21 days"),
    "filling in a week": (lambda p: p.foretold(5), "disk_filling", "warning", "1.0 GB a day"),
    "filling today": (lambda p: p.foretold(0.3), "disk_filling", "critical", "full between 2026-01-05T17"),
    "filling until who knows": (
        lambda p: p.foretold(5, latest=None), "disk_filling", "warning", "later than can be told",
    ),
    "almost full": (lambda p: p.mount(98, 2), "disk_full", "warning", "/srv is 98.0 % full"),
    "full": (lambda p: p.mount(100, 0), "disk_full", "critical", "/srv is 100.0 % full"),
    "a leak": (
        lambda p: p.grows("leaky", 7, 10, lambda n: (20 + 25 * n) * MB),
        "memory_growing", "warning", "leaky grew by 225.0 MB",
    ),
    "a leak that has ended": (
        lambda p: (p.grows("leaky", 7, 10, lambda n: (20 + 25 * n) * MB), p.record(NOW, 1.0)),
        "memory_growing", "info", "has ended",
    ),
    "a leak over days": (
        lambda p: _leak_over_days(p, rises=True), "memory_growing", "warning", "daemon holds more memory each day",
    ),
    "short of memory": (
        lambda p: p.minutes(20, memory_percent=steady(96), memory_pressure=steady(12), swap_percent=steady(50)),
        "memory_pressure", "warning", "20 minutes",
    ),
    "short of memory without PSI": (
        lambda p: p.minutes(20, memory_percent=steady(97)), "memory_pressure", "warning", "97 %",
    ),
    "saturated": (
        lambda p: (
            p.minutes(40, cpu_percent=steady(97), load_1=steady(12), cpu_pressure=steady(60)),
            [p.record(NOW - 60 * n, 118.0, ("cruncher", 1, 100.0, MB), ("other", 2, 5.0, MB)) for n in range(1, 40)],
        ),
        "cpu_saturated", "warning", "cruncher",
    ),
    "waiting for disks": (
        lambda p: p.minutes(40, io_pressure=steady(55)), "io_pressure", "warning", "40 minutes",
    ),
    "too large": (
        lambda p: (p.cpus(), p.hours(29, cpu_percent=steady(5), memory_percent=steady(20))),
        "oversized", "info", "1 of its 4 CPUs and 25 % of its memory",
    ),
    "a nightly job": (
        lambda p: (p.hours(15, cpu_percent=daily(10, 70)), _nightly(p)), "recurring_peak", "info", "backup used most",
    ),
    "an unusual hour": (_unusual, "unusual_hour", "info", "CPU was at 90 % in the hour from 2026-01-05T05:00:00Z"),
    "killed again and again": (lambda p: p.gaps(3, "killed"), "gaps_recurring", "warning", "3 gaps in 7 days"),
    "too busy to be sampled": (lambda p: p.gaps(5, "overload"), "gaps_recurring", "warning", "too busy"),
    "restarts without a gap": (lambda p: p.killed(3), "restarts_recurring", "warning", "4 times"),
}  # fmt: skip


def _nightly(past: Past) -> None:
    past.rows(
        "process_name", [{"name_id": n, "name": name, "last_ts": NOW} for n, name in ((90, "backup"), (91, "web"))]
    )
    hours = [ts for ts in range(NOW - 15 * DAY, NOW, HOUR) if ts // HOUR % 24 == 3]
    past.rows(
        "capture_hour", [{"ts": t, "covered_ms": 1, "capacity_ms": 4, "known_ms": 4, "busy_ms": 1} for t in hours]
    )
    for name_id, cpu in ((90, 9000), (91, 100)):
        rows = [{"ts": ts, "name_id": name_id, "cpu_ms": cpu, "memory_kb": 1, "pids": "[]"} for ts in hours]
        past.rows("process_hour", rows)


def _leak_over_days(past: Past, rises: bool) -> None:
    first = NOW // DAY * DAY - insights.DAYS_RISING * DAY
    hours = range(first, NOW // DAY * DAY, HOUR)
    past.rows("process_name", [{"name_id": 90, "name": "daemon", "last_ts": NOW}])
    past.rows(
        "capture_hour", [{"ts": t, "covered_ms": 1, "capacity_ms": 4, "known_ms": 4, "busy_ms": 1} for t in hours]
    )
    for ts in hours:
        grown = (ts - first) // DAY * 60_000 if rises else 300_000 * ((ts - first) // DAY % 2)
        row = {"ts": ts, "name_id": 90, "cpu_ms": 1, "memory_kb": 400_000 + grown + ts // HOUR % 24 * 100, "pids": "[]"}
        past.rows("process_hour", [row])


# What looks like one and is none, or too thin to say.
SILENT: dict[str, Callable[[Past], Any]] = {
    "nothing at all": lambda p: None,
    "a quiet day": lambda p: (
        p.minutes(1440, cpu_percent=steady(3), memory_percent=steady(40), load_1=steady(0.1)), p.cpus()
    ),
    "filling, but far away": lambda p: p.foretold(31),
    "a forecast of a daemon that is down": lambda p: p.foretold(3, made=NOW - 3 * HOUR),
    "a large disk with room": lambda p: p.mount(9800, 200),
    "growth too short": lambda p: p.grows("young", 7, 7, lambda n: (20 + 50 * n) * MB),
    "growth too small": lambda p: p.grows("small", 7, 20, lambda n: (100 + 4 * n) * MB),
    "growth at the start, then none": lambda p: p.grows("server", 7, 60, lambda n: min(20 + 30 * n, 620) * MB),
    "growth in a few large steps": lambda p: p.grows("cache", 7, 60, lambda n: (100 + n // 10 * 100) * MB),
    "growth by less than half": lambda p: p.grows("heavy", 7, 20, lambda n: (1000 + 10 * n) * MB),
    "growth of little in all, after a dip": lambda p: p.grows(
        "dip", 7, 60, lambda n: (100 if n == 0 else 10 + 2.5 * n) * MB
    ),
    "growth that was given back at last": lambda p: p.grows(
        "at last", 7, 60, lambda n: (540 if n == 59 else 20 + 10 * n) * MB
    ),
    "growth that came back": lambda p: p.grows("job", 7, 20, lambda n: (20 + 50 * min(n, 20 - n)) * MB),
    "ups and downs": lambda p: p.grows("gc", 7, 60, lambda n: (200 + 10 * n - 150 * (n % 3 == 0)) * MB),
    "many of one name that come and go": lambda p: [p.grows("cc", n, 3, lambda k: 400 * MB * k) for n in range(5)],
    "memory that swings from day to day": lambda p: _leak_over_days(p, rises=False),
    "a few minutes without memory": lambda p: p.minutes(9, memory_percent=steady(99), memory_pressure=steady(50)),
    "busy, but nothing waits": lambda p: (
        p.minutes(600, cpu_percent=steady(99), load_1=steady(3), cpu_pressure=steady(2)), p.cpus()
    ),
    "some waiting for disks": lambda p: p.minutes(29, io_pressure=steady(90)),
    "a quiet fortnight": lambda p: (p.cpus(), p.hours(15, cpu_percent=steady(5), memory_percent=steady(20))),
    "a month well used": lambda p: (p.cpus(), p.hours(29, cpu_percent=steady(60), memory_percent=steady(70))),
    "three nights of a job": lambda p: p.hours(3, cpu_percent=daily(10, 70)),
    "a job of no height": lambda p: p.hours(15, cpu_percent=daily(10, 16)),
    "a noisy fortnight": lambda p: p.hours(15, cpu_percent=lambda ts: Random(ts).uniform(0, 60)),
    "two kills": lambda p: p.gaps(2, "killed"),
    "stops on purpose": lambda p: p.gaps(9, "stopped"),
    "nights asleep": lambda p: p.gaps(9, "suspended"),
}  # fmt: skip


def proven(path: Path, finding: dict[str, Any]) -> None:
    """The SQL, run as anyone would at a prompt, gives the numbers of the finding."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    cursor = connection.execute(finding["sql"])
    columns = [column[0] for column in cursor.description]
    (row,) = cursor.fetchall()
    connection.close()
    given = dict(zip(columns, row, strict=True))
    assert {key: given[key] for key in finding["evidence"]} == finding["evidence"]
    assert all(value is None or isinstance(value, (int, float)) for value in finding["evidence"].values())
    assert finding["evidence"]


@pytest.mark.parametrize("case", FOUND)
def test_what_holds_is_found_named_and_proven_by_its_sql(
    past: Past, monitor: ResourceMonitor, path: Path, case: str
) -> None:
    happen, code, severity, named = FOUND[case]
    happen(past)
    found = [finding for finding in monitor.insights()["insights"] if finding["code"] == code]
    assert [finding["severity"] for finding in found] == [severity]
    assert named in found[0]["title"] + found[0]["detail"]
    for finding in monitor.insights()["insights"]:
        proven(path, finding)


@pytest.mark.parametrize("case", SILENT)
def test_where_the_evidence_is_thin_there_is_nothing_to_report(past: Past, monitor: ResourceMonitor, case: str) -> None:
    SILENT[case](past)
    assert [finding["title"] for finding in monitor.insights()["insights"]] == []


def test_every_rule_has_a_case_in_which_it_speaks() -> None:
    spoken = {rule for rule in insights.RULES if any(code in rule.__name__ for _, code, *_ in FOUND.values())}
    aliases = {insights.memory_growing_for_days, insights.gaps, insights.restarts}
    assert spoken | aliases == set(insights.RULES)


@pytest.mark.parametrize("name", ["o'brien", "<b>x</b>", "a\nb", '"; DROP TABLE sample; --', "\x1b[31m", "日本"])
def test_hostile_names_are_only_text_in_words_and_in_sql(
    past: Past, monitor: ResourceMonitor, path: Path, name: str
) -> None:
    past.grows(name, 7, 10, lambda n: (20 + 25 * n) * MB)
    past.foretold(3, path=f"/{name}")
    growing, filling = sorted(monitor.insights()["insights"], key=lambda finding: finding["code"], reverse=True)
    assert name in growing["title"]
    assert f"/{name}" in filling["title"]
    proven(path, growing)
    proven(path, filling)


def test_of_a_file_system_the_newest_forecast_is_told(past: Past, monitor: ResourceMonitor, path: Path) -> None:
    past.foretold(20)
    past.store.write(
        lambda execute: execute(
            "INSERT INTO forecast SELECT mount_id, made_ts - 3600, is_full, level_kb, "
            "growth_kb_per_day, earliest_ts - 9 * 86400, middle_ts, latest_ts, reached_ts, watched_until FROM forecast",
            (),
        )
    )
    (finding,) = monitor.insights()["insights"]
    assert finding["evidence"]["made_ts"] == NOW - 600


def test_the_most_severe_comes_first(past: Past, monitor: ResourceMonitor) -> None:
    past.cpus()
    past.hours(29, cpu_percent=steady(5), memory_percent=steady(20))
    past.minutes(40, io_pressure=steady(55))
    past.foretold(20)
    past.mount_is(100, 0)
    assert [f["severity"] for f in monitor.insights()["insights"]] == ["critical", "warning", "info", "info"]


def test_they_are_computed_once_a_minute(past: Past, monitor: ResourceMonitor, monkeypatch: pytest.MonkeyPatch) -> None:
    steady_clock = [1000.0]
    monkeypatch.setattr("service.answers.monitor.clock.steady", lambda: steady_clock[0])
    assert monitor.insights() == {"insights": []}
    past.foretold(3)
    steady_clock[0] += 59
    assert monitor.insights() == {"insights": []}
    steady_clock[0] += 2
    assert len(monitor.insights()["insights"]) == 1


def test_hours_of_the_day_are_those_of_the_zone(past: Past, path: Path, clock: FakeClock) -> None:
    past.hours(15, cpu_percent=daily(10, 70, hour=3))
    history = History(path)
    berlin = ResourceMonitor(history, settings_for(path, analysis__timezone="Europe/Berlin"), clock)
    (finding,) = berlin.insights()["insights"]
    history.close()
    assert "at about 04:00" in finding["title"]
    proven(path, finding)


def test_a_peak_that_comes_back_has_the_numbers_that_were_judged_also_where_hours_are_missing(
    past: Past, monitor: ResourceMonitor, path: Path
) -> None:
    random = Random(5)
    stamps = [
        ts
        for ts in range(NOW - 20 * DAY, NOW, HOUR)
        if random.random() < 0.8 and not NOW - 9 * DAY < ts < NOW - 8 * DAY
    ]
    values = daily(10, 70)
    by_hour = {ts: round(values(ts), 2) for ts in stamps}
    past.tier("hour", stamps, cpu_percent=by_hour.__getitem__)
    judged = recurrence.daily_peak([by_hour.get(ts) for ts in range(stamps[0], NOW, HOUR)], stamps[0] // HOUR % 24, 10)
    (finding,) = [f for f in monitor.insights()["insights"] if f["code"] == "recurring_peak"]
    assert judged is not None
    assert judged.days < 19
    told = finding["evidence"]
    assert (told["hour"], told["days_on"], told["days"]) == (judged.hour, judged.days_on, judged.days)


@pytest.fixture
def scored(past: Past) -> Callable[..., None]:
    past.mount(50, 50)

    def foretold(made: int, earliest: int, latest: int | None, reached: int | None) -> None:
        row = {"mount_id": 1, "made_ts": NOW + made, "is_full": 1, "level_kb": 1, "growth_kb_per_day": 1}
        row |= {"earliest_ts": NOW + earliest, "middle_ts": NOW + earliest, "watched_until": NOW}
        row |= {"latest_ts": None if latest is None else NOW + latest}  # type: ignore[dict-item]
        row |= {"reached_ts": None if reached is None else NOW + reached}  # type: ignore[dict-item]
        past.rows("forecast", [row])

    return foretold


def test_the_score_counts_what_has_come_due(scored: Callable[..., None], monitor: ResourceMonitor, path: Path) -> None:
    scored(-900, -800, -600, -700)  # held
    scored(-901, -800, -600, -850)  # earlier
    scored(-902, -800, -600, -500)  # later
    scored(-903, -800, -600, None)  # not yet, so later
    scored(-904, -800, 600, -700)  # not due, though it was reached: else what comes early would count more
    scored(-905, -800, None, None)
    score = monitor.forecast_score()
    assert {key: score[key] for key in ("made", "due", "held", "earlier", "later", "nominal")} == {
        "made": 6, "due": 4, "held": 1, "earlier": 1, "later": 2, "nominal": 0.8
    }  # fmt: skip
    assert query(path, score["sql"]) == [(6, 4, 1, 1, 2)]
