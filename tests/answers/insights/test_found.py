"""Findings: each is found where it holds, not found where it does not, and proven by the SQL that comes with it."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from service.answers.insights import devices, disks, load, memory, network, record, rhythm
from service.answers.insights.found import RULES
from service.answers.insights.memory import DAILY_GROWTH_DAYS, is_growing_for_days
from service.answers.insights.rules import Rule, unit_of
from service.answers.monitor import ResourceMonitor
from service.clock import HOUR
from tests.answers.insights.past import MB, Past, daily, found_in, proven, steady
from tests.conftest import NOW


def _unusual(past: Past) -> None:
    random = Random(3)
    past.hours(20, cpu_percent=lambda ts: 90.0 if ts == NOW - 5 * HOUR else 20 + random.uniform(0, 2))


# What makes each finding: its rule, its severity, and what its title or detail must name.
FOUND: dict[str, tuple[Callable[[Past], Any], Rule, str, str]] = {
    "filling in a month": (lambda p: p.foretold(20), disks.disk_filling, "info", "/srv is full in about 21 days"),
    "filling in a week": (lambda p: p.foretold(5), disks.disk_filling, "warning", "1.0 GB a day"),
    "filling today": (lambda p: p.foretold(0.3), disks.disk_filling, "critical", "full between 2026-01-05T17"),
    "filling until who knows": (
        lambda p: p.foretold(5, latest=None), disks.disk_filling, "warning", "a time too far ahead to say",
    ),
    "almost full": (lambda p: p.mount(98, 2), disks.disk_full, "warning", "/srv is 98.0 % full"),
    "full": (lambda p: p.mount(100, 0), disks.disk_full, "critical", "/srv is 100.0 % full"),
    "a leak": (
        lambda p: p.grows("leaky", 7, 10, lambda n: (20 + 25 * n) * MB),
        memory.memory_growing, "warning", "leaky grew by 225.0 MB",
    ),
    "a leak that has ended": (
        lambda p: (p.grows("leaky", 7, 10, lambda n: (20 + 25 * n) * MB), p.record(NOW, 1.0)),
        memory.memory_growing, "info", "has ended",
    ),
    "a leak over days": (
        lambda p: p.leak_over_days(rises=True),
        memory.memory_growing_for_days, "warning", "daemon holds more memory each day",
    ),
    "short of memory": (
        lambda p: p.minutes(20, memory_percent=steady(96), memory_pressure=steady(12), swap_percent=steady(50)),
        memory.memory_pressure, "warning", "20 minutes",
    ),
    "short of memory without PSI": (
        lambda p: p.minutes(20, memory_percent=steady(97)), memory.memory_pressure, "warning", "97 %",
    ),
    "saturated": (
        lambda p: (
            p.minutes(40, cpu_percent=steady(97), load_1=steady(12), cpu_pressure=steady(60)),
            [p.record(NOW - 60 * n, 118.0, ("cruncher", 1, 100.0, MB), ("other", 2, 5.0, MB)) for n in range(1, 40)],
        ),
        load.cpu_saturated, "warning", "cruncher",
    ),
    "waiting for disks": (
        lambda p: p.minutes(40, io_pressure=steady(55)), load.io_pressure, "warning", "40 minutes",
    ),
    "stolen by the hypervisor": (
        lambda p: p.minutes(30, cpu_steal_percent=steady(5)), load.cpu_stolen, "warning", "your hypervisor, not you",
    ),
    "short of memory, with how much unknown": (
        lambda p: p.minutes(10, memory_pressure=steady(10)), memory.memory_pressure, "warning", "up to 10 %",
    ),
    "a storm of swapping": (
        lambda p: p.minutes(10, memory_pressure=steady(10), swap_in_bytes=steady(6e7), swap_out_bytes=steady(6e7)),
        memory.swap_storm, "warning", "600.0 MB were swapped out",
    ),
    "a storm of swapping without PSI": (
        lambda p: p.minutes(
            10, swap_in_bytes=steady(6e7), swap_out_bytes=steady(6e7), major_faults=steady(6000)
        ),
        memory.swap_storm, "warning", "10 minutes",
    ),
    "a service killed for memory": (
        lambda p: p.uses(1, "db.service", oom_kills=1), memory.oom_killed, "warning", "a process of db.service",
    ),
    "something killed for memory": (
        lambda p: p.minutes(1, oom_kills=steady(2)), memory.oom_killed, "warning", "ended 2 processes for lack",
    ),
    "a slow disk": (
        lambda p: (p.disk(60, 95, 20), p.uses(60, "backup.service", written_bytes=10 * MB)),
        devices.disk_busy, "warning", "backup.service wrote most in the last of them, 600.0 MB",
    ),
    "a disk that hangs": (lambda p: p.disk(60, 100, None), devices.disk_busy, "warning", "no operation ended"),
    "a bad cable": (
        lambda p: p.errors(34, 33, 33), devices.interface_errors, "warning", "eth0 had 100 packets with errors",
    ),
    "a warm disk": (lambda p: p.sensor(75, limit=80), devices.sensor_hot, "warning", "nvme0/Composite was near"),
    "a disk that is too hot": (lambda p: p.sensor(86, limit=80, critical=85), devices.sensor_hot, "critical", "86 °C"),
    "segments sent again": (
        lambda p: p.hours(8, tcp_retransmits=lambda ts: 3600 if ts >= NOW - 2 * HOUR else 1200),
        network.tcp_retransmits, "warning", "7200 TCP segments",
    ),
    "too large": (
        lambda p: (p.cpus(), p.hours(29, cpu_percent=steady(5), memory_percent=steady(20))),
        rhythm.oversized, "info", "1 of its 4 CPUs and 25 % of its memory",
    ),
    "a nightly job": (
        lambda p: (p.hours(15, cpu_percent=daily(10, 70)), p.nightly()),
        rhythm.recurring_peak, "info", "backup used most CPU time",
    ),
    "an unusual hour": (_unusual, rhythm.unusual_hour, "info", "CPU was at 90 % in the hour from 2026-01-05T05:00:00Z"),
    "killed again and again": (lambda p: p.gaps(3, "killed"), record.gaps_recurring, "warning", "3 gaps in 7 days"),
    "too busy to be sampled": (lambda p: p.gaps(5, "overload"), record.gaps_recurring, "warning", "too busy"),
    "restarts without a gap": (lambda p: p.killed(3), record.restarts_recurring, "warning", "4 times"),
}  # fmt: skip

# What looks like a finding and is none, or is too thin to be one.
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
    "memory that swings from day to day": lambda p: p.leak_over_days(rises=False),
    "a few minutes without memory": lambda p: p.minutes(9, memory_percent=steady(99), memory_pressure=steady(50)),
    "busy, but nothing waits": lambda p: (
        p.minutes(600, cpu_percent=steady(99), load_1=steady(3), cpu_pressure=steady(2)), p.cpus()
    ),
    "some waiting for disks": lambda p: p.minutes(29, io_pressure=steady(90)),
    "half an hour of steal, less a minute": lambda p: p.minutes(29, cpu_steal_percent=steady(50)),
    "a little steal all day": lambda p: p.minutes(1440, cpu_steal_percent=steady(4.9)),
    "swapping out, and nothing comes back": lambda p: p.minutes(
        60, major_faults=steady(9000), swap_in_bytes=steady(5.9e7), swap_out_bytes=steady(9e8)
    ),
    "swapping that nothing waits for": lambda p: p.minutes(
        60, memory_pressure=steady(9.9), swap_in_bytes=steady(6e7), swap_out_bytes=steady(6e7), major_faults=steady(9e4)
    ),
    "a short storm of swapping": lambda p: p.minutes(
        9, memory_pressure=steady(60), swap_in_bytes=steady(6e7), swap_out_bytes=steady(6e7)
    ),
    "services of which none was killed": lambda p: p.uses(10, "db.service", oom_kills=0),
    "a busy disk that has room": lambda p: p.disk(600, 100, 19),
    "a slow disk that is idle": lambda p: p.disk(600, 94, 500),
    "a slow disk for a while": lambda p: p.disk(59, 100, 500),
    "errors in two hours": lambda p: p.errors(50, 0, 9000),
    "few errors": lambda p: p.errors(33, 33, 33),
    "a disk with no limit": lambda p: p.sensor(95),
    "a disk with five degrees left": lambda p: p.sensor(74.5, limit=80),
    "a disk that is warm for a while": lambda p: p.sensor(90, limit=80, count=9),
    "a sensor that shows the same all day": lambda p: p.sensor(90, limit=80, low=90),
    "as many sent again as ever": lambda p: p.hours(8, tcp_retransmits=lambda ts: 9000),
    "fewer than three times as many sent again": lambda p: p.hours(
        8, tcp_retransmits=lambda ts: 3600 if ts >= NOW - 2 * HOUR else 1201
    ),
    "one hour of segments sent again": lambda p: p.hours(
        8, tcp_retransmits=lambda ts: 90000 if ts >= NOW - HOUR else 10
    ),
    "few segments sent again": lambda p: p.hours(8, tcp_retransmits=lambda ts: 3599 if ts >= NOW - 5 * HOUR else 0),
    "segments sent again in a history that is young": lambda p: p.hours(
        5, tcp_retransmits=lambda ts: 90000 if ts >= NOW - 5 * HOUR else 10
    ),
    "a quiet fortnight": lambda p: (p.cpus(), p.hours(15, cpu_percent=steady(5), memory_percent=steady(20))),
    "a month well used": lambda p: (p.cpus(), p.hours(29, cpu_percent=steady(60), memory_percent=steady(70))),
    "three nights of a job": lambda p: p.hours(3, cpu_percent=daily(10, 70)),
    "a job of no height": lambda p: p.hours(15, cpu_percent=daily(10, 16)),
    "a noisy fortnight": lambda p: p.hours(15, cpu_percent=lambda ts: Random(ts).uniform(0, 60)),
    "two kills": lambda p: p.gaps(2, "killed"),
    "stops on purpose": lambda p: p.gaps(9, "stopped"),
    "nights asleep": lambda p: p.gaps(9, "suspended"),
}  # fmt: skip


# Of what a finding names the device.
DEVICE_KINDS: dict[Rule, str] = {
    devices.disk_busy: "disk",
    devices.interface_errors: "interface",
    devices.sensor_hot: "sensor",
}


@pytest.mark.parametrize("case", FOUND)
def test_what_holds_is_found_named_and_proven_by_its_sql(past: Past, path: Path, case: str) -> None:
    happen, rule, severity, named = FOUND[case]
    happen(past)
    (found,) = found_in(path, rule)
    assert (found.code, found.severity) == (rule.__name__.removesuffix("_for_days"), severity)
    assert named in found.title + found.detail
    kind, _, name = (found.device or "").partition(":")
    assert kind == DEVICE_KINDS.get(rule, "")
    assert name in found.title
    for finding in found_in(path):
        proven(path, finding)


@pytest.mark.parametrize("case", FOUND)
def test_every_number_of_the_evidence_has_its_unit_in_its_key(past: Past, path: Path, case: str) -> None:
    happen, rule, *_ = FOUND[case]
    happen(past)
    assert [key for found in found_in(path, rule) for key in found.evidence if unit_of(key) == "number"] == []


@pytest.mark.parametrize("case", SILENT)
def test_where_the_evidence_is_thin_there_is_nothing_to_report(past: Past, path: Path, case: str) -> None:
    SILENT[case](past)
    assert [finding.title for finding in found_in(path)] == []


def test_every_rule_has_a_case_in_which_it_finds_something() -> None:
    assert {rule for _, rule, *_ in FOUND.values()} == set(RULES)


@pytest.mark.parametrize(
    "name", ["o'brien", "<b>x</b>", "a\nb", '"; DROP TABLE sample; --', "\x1b[31m", "日本", "\u202eb'"]
)
def test_hostile_names_are_only_text_in_words_and_in_sql(past: Past, path: Path, name: str) -> None:
    past.grows(name, 7, 10, lambda n: (20 + 25 * n) * MB)
    past.foretold(3, path=f"/{name}")
    growing, filling = sorted(found_in(path), key=lambda finding: finding.code, reverse=True)
    assert name in growing.title
    assert f"/{name}" in filling.title
    proven(path, growing)
    proven(path, filling)
    assert (growing.sql + filling.sql).replace("\n", "").isprintable()


def test_the_most_severe_comes_first(past: Past, path: Path) -> None:
    past.cpus()
    past.hours(29, cpu_percent=steady(5), memory_percent=steady(20))
    past.minutes(40, io_pressure=steady(55))
    past.foretold(20)
    past.mount_is(100, 0)
    assert [finding.severity for finding in found_in(path)] == ["critical", "warning", "info", "info"]


def test_they_are_computed_once_a_minute(past: Past, monitor: ResourceMonitor, monkeypatch: pytest.MonkeyPatch) -> None:
    steady_clock = [1000.0]
    monkeypatch.setattr("service.answers.monitor.clock.steady", lambda: steady_clock[0])
    assert monitor.insights().insights == []
    past.foretold(3)
    steady_clock[0] += 59
    assert monitor.insights().insights == []
    steady_clock[0] += 2
    assert len(monitor.insights().insights) == 1


def test_memory_that_differs_from_day_to_day_by_chance_is_hardly_ever_said_to_grow() -> None:
    random = Random(8)

    def is_said() -> bool:
        days = [10**8 * random.lognormvariate(2, 1) for _ in range(DAILY_GROWTH_DAYS)]
        rising = sum(b > a for a, b in pairwise(days))
        return is_growing_for_days(
            {
                "days": len(days),
                "rising_days": rising,
                "growth_bytes": days[-1] - days[0],
                "first_bytes": days[0],
                "last_bytes": days[-1],
            }
        )

    assert sum(is_said() for _ in range(60_000)) <= 3
