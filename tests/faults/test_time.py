"""Time: wrong clocks, stopped processes, zones and slow collectors leave a history that is whole and honest."""

import itertools
import time
from datetime import datetime
from pathlib import Path

import pytest

from service.records import Break, Sample
from service.store.writer import Store
from tests.conftest import Start
from tests.faults.kit import verb
from tests.faults.kit_host import is_well, longest_covered, spoilt, stopped
from tests.running import WallClock, query, until


def test_a_host_that_boots_in_1970_and_learns_the_time_keeps_both_parts(start: Start, wall_clock: WallClock) -> None:
    wall_clock.shift(-(int(time.time()) - 100_000))
    daemon = start(**wall_clock.environment)
    daemon.wait_for_samples(4)
    assert query(daemon.path, "SELECT max(ts) FROM samples")[0][0] < 200_000
    wall_clock.shift(0)
    until(lambda: query(daemon.path, "SELECT max(ts) FROM samples")[0][0] > 10**9)
    daemon.wait_for_samples(2)
    assert query(daemon.path, "SELECT reason FROM gaps") == [("clock_step",)]
    assert query(daemon.path, "SELECT count(*) FROM samples WHERE covered_seconds < 0 OR covered_seconds > 2") == [(0,)]
    assert daemon.get("/healthz")["status"] == "ok"
    is_well(daemon)
    assert daemon.stop() == 0


def test_a_clock_ten_years_ahead_lets_nothing_be_pruned(path: Path, wall_clock: WallClock) -> None:
    store = Store(path)
    store.open()
    first = int(time.time()) // 3600 * 3600 - 5 * 3600
    store.begin_run(first, first - 1000, "boot", "0.1.0", 5)
    taken = [Sample(first + 5 * i, 5.0, {"cpu_percent": 1.0}, None) for i in range(1, 3600)]
    store.append([Sample(first, 5.0, {}, Break(None, None)), *taken])
    while store.roll_up():
        pass
    store.close()
    before = query(path, "SELECT count(*), min(ts), max(ts) FROM samples")
    wall_clock.shift(10 * 365 * 86400)
    pruned = verb(path, "prune", **wall_clock.environment)
    assert pruned.returncode == 0, pruned.stderr
    assert query(path, "SELECT count(*), min(ts), max(ts) FROM samples") == before


def test_a_clock_set_back_again_and_again_by_a_second_loses_no_sample(start: Start, wall_clock: WallClock) -> None:
    daemon = start(**wall_clock.environment)
    for back in range(1, 6):
        daemon.wait_for_samples(1)
        wall_clock.shift(-back)
    daemon.wait_for_samples(2)
    assert daemon.stop() == 0
    rows, stamps = query(daemon.path, "SELECT count(*), count(DISTINCT ts) FROM samples")[0]
    assert rows > stamps, "the test has to have met a stamp twice"
    # Each sample has a row of its own: a step back causes no error and replaces no row.
    assert longest_covered(daemon) <= 2.0
    assert query(daemon.path, "SELECT count(*) FROM samples WHERE covered_seconds < 0") == [(0,)]


def test_a_stopped_process_leaves_one_gap_and_no_burst(start: Start) -> None:
    daemon = start()
    daemon.wait_for_samples(3)
    with stopped(daemon.process.pid):
        time.sleep(5)
    before, since = daemon.samples(), time.monotonic()
    daemon.wait_for_samples(3)
    time.sleep(0.5)
    assert daemon.samples() - before <= time.monotonic() - since + 2
    gaps = query(daemon.path, "SELECT reason, end_ts - start_ts FROM gaps")
    assert [reason for reason, _ in gaps] == ["overload"]
    assert 3 <= gaps[0][1] <= 8
    # The sample after the gap covers one interval, and its CPU share all the time that passed: none is beyond 100.
    assert longest_covered(daemon) <= 2.0
    assert query(daemon.path, "SELECT count(*) FROM samples WHERE cpu_percent > 100") == [(0,)]
    is_well(daemon)


# The moments at which London's clocks go forward and back.
@pytest.mark.parametrize("moment", ["2026-03-29T01:00:00+00:00", "2026-10-25T01:00:00+00:00"])
def test_when_the_local_clock_changes_nothing_happens_to_the_history(
    start: Start, wall_clock: WallClock, moment: str
) -> None:
    change = int(datetime.fromisoformat(moment).timestamp())
    # Long enough before it for a start on a busy machine.
    wall_clock.shift(change - 10 - int(time.time()))
    daemon = start(**wall_clock.environment, TZ="Europe/London", TIDEMARK_ANALYSIS_TIMEZONE="Europe/London")
    until(lambda: daemon.samples() > 0 and query(daemon.path, "SELECT max(ts) FROM samples")[0][0] > change + 2)
    stamps = [ts for (ts,) in query(daemon.path, "SELECT ts FROM samples ORDER BY ts")]
    assert stamps[0] < change
    assert {b - a for a, b in itertools.pairwise(stamps)} <= {1, 2}  # the second tick is up to one and a half away
    assert query(daemon.path, "SELECT count(*) FROM gaps") == [(0,)]
    shown = daemon.get("/api/process/resource-usage")["timestamp"]
    assert shown[-6:] == ("+01:00" if "-03-" in moment else "+00:00")
    assert daemon.stop() == 0
    assert all(line[19:24] in ("+0000", "+0100") for line in daemon.errors.read_text().splitlines())


SLOW = """
import time, psutil
from pathlib import Path
real = psutil.virtual_memory
def slow():
    if Path({flag!r}).exists():
        time.sleep(2.5)
    return real()
psutil.virtual_memory = slow
psutil.LINUX = False
"""


def test_a_collector_slower_than_the_interval_skips_ticks_and_queues_none(start: Start, tmp_path: Path) -> None:
    flag = tmp_path / "slow"
    daemon = start(**spoilt(tmp_path, SLOW.format(flag=str(flag))))
    daemon.wait_for_samples(2)
    flag.touch()
    before = daemon.samples()
    time.sleep(6)
    assert 1 <= daemon.samples() - before <= 4
    flag.unlink()
    daemon.wait_for_samples(2)
    healed, since = daemon.samples(), time.monotonic()
    time.sleep(2.5)
    assert daemon.samples() - healed <= time.monotonic() - since + 1
    assert {reason for (reason,) in query(daemon.path, "SELECT DISTINCT reason FROM gaps")} <= {"overload"}
    assert query(daemon.path, "SELECT count(*) FROM gaps")[0][0] >= 1
    is_well(daemon)
