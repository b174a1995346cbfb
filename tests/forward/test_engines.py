"""What real engines have after forwarding is what SQL says."""

import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from benchmarks.generate import generate
from service.forward.destination import destination
from service.forward.encode import block
from service.forward.points import NOTHING_SENT, Points, Series
from service.forward.send import Sender
from service.forward.status import again
from service.metrics import METRICS
from service.records import Break
from service.store.forwards import Piece, Stretch
from service.store.writer import Store
from tests.conftest import FakeClock, Fill, Start, settings_for
from tests.forward.conftest import Begin, Driven
from tests.forward.engines import ENGINES, Engine
from tests.running import ROOT, command, environment, query, until

ONES = (1,) * len(METRICS)


@pytest.fixture
def present(clock: FakeClock) -> int:
    """A whole minute an hour ago: engines go by the real time."""
    clock.wall = float(int(time.time()))
    return int(time.time()) // 60 * 60 - 3600


def shipped(path: Path, store: Store, clock: FakeClock, engine: Engine, **options: object) -> Driven:
    given = {"forward__url": engine.write_url, "forward__backfill": "all", "forward__instance": "host", **options}
    driven = Driven(settings_for(path, **given), path, store, clock)
    driven.ship(400)
    driven.shipper.close()
    engine.flush()
    return driven


@pytest.mark.parametrize("name", ENGINES)
def test_of_a_generated_day_every_series_has_the_samples_of_sql(
    name: str, begin: Begin, tmp_path: Path, clock: FakeClock
) -> None:
    path, now = tmp_path / "day.db", int(time.time()) - 300
    generate(path, end_ts=now, sample_days=1, minute_days=1, hour_days=1)
    clock.wall = now + 10.0
    store = Store(path)
    store.open()
    engine = begin(name)
    driven = shipped(path, store, clock, engine)
    store.close()
    (row,) = query(path, "SELECT sent, refused, skipped FROM forwards")
    assert row == (query(path, "SELECT count(*) FROM samples")[0][0], 0, 0)
    count, total = query(path, "SELECT count(DISTINCT ts), sum(DISTINCT ts) FROM samples")[0]
    stamps = "tidemark_sample_timestamp_seconds[2d]"
    # What a receiver has taken may be searched a moment later.
    until(lambda: engine.value(f"count_over_time({stamps})", now + 1) == count)
    assert engine.value(f"sum_over_time({stamps})", now + 1) == total
    for metric in METRICS:
        # A boot adds the zero at which a counter began.
        boots = query(
            path, "SELECT count(DISTINCT boot_id) - 1 FROM run WHERE started_ts > (SELECT min(ts) FROM sample)"
        )
        stored = query(path, f"SELECT count(DISTINCT ts) FROM samples WHERE {metric.name} IS NOT NULL")[0][0]
        found = engine.value(f"count_over_time({metric.exposed_name}[2d])", now + 1) or 0
        assert stored <= found <= stored + (boots[0][0] + 1) * metric.is_counter
    assert driven.shipper.counts["sent"] == row[0]


@pytest.mark.parametrize("name", ENGINES)
def test_in_a_gap_nothing_is_answered_and_a_vanished_interface_and_a_boot_count_right(
    name: str, begin: Begin, path: Path, store: Store, clock: FakeClock, fill: Fill, present: int
) -> None:
    gb = 10**9
    # 1 TB falls by a tenth as an interface goes; a megabyte a second is moved throughout.
    fall = [1000 * gb + 5_000_000 * i - (100 * gb if i >= 60 else 0) for i in range(120)]
    fill(present, 120, network_sent_bytes=lambda i: fall[i], cpu_percent=50.0, load_1=1.0)
    end = present + 119 * 5
    store.end_run(end)
    boot = end + 300
    store.begin_run(boot + 20, boot, "boot-2", "0.1.0", 5)
    # After the boot it soon exceeds what it was before.
    after = boot + 30
    fill(
        after,
        120,
        begins=Break(end, "rebooted"),
        network_sent_bytes=lambda i: 2000 * gb + 5_000_000 * i,
        cpu_percent=50.0,
    )
    engine = begin(name)
    shipped(path, store, clock, engine)
    last = after + 119 * 5
    assert engine.value("tidemark_cpu_ratio", end) == 0.5
    assert engine.value("tidemark_cpu_ratio", end + 60) is None
    assert engine.value("tidemark_cpu_ratio", after) == 0.5
    first_half = engine.value("increase(tidemark_network_sent_bytes_total[590s])", end)
    assert first_half == pytest.approx(590_000_000, rel=0.01)
    # Not known any more after the boot: it is stale, and so is what was not read.
    assert engine.value("tidemark_load_1", last) is None
    moved = engine.value(f"increase(tidemark_network_sent_bytes_total[{last - present + 5}s])", last)
    assert moved == pytest.approx(2000 * gb + 119 * 10_000_000, rel=0.01)


def test_what_a_default_prometheus_refuses_is_delivered_again_once_that_is_put_right(
    begin: Begin, path: Path, store: Store, clock: FakeClock, fill: Fill, present: int
) -> None:
    engine = begin("prometheus", out_of_order="0s")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM forward")
    fill(present + 3600 - 10, 1)
    live = shipped(path, store, clock, engine)
    assert live.row()["sent"] == 1
    # A day ago, in a head that is of now.
    fill(present - 86_400, 1000, begins=Break(present - 90_000, "clock_step"))
    driven = shipped(path, store, clock, engine)
    assert driven.row()["refused"] == 1000
    engine.stop()
    engine.allow("30d")
    engine.start()
    store.close()
    given = {"TIDEMARK_FORWARD_URL": engine.write_url, "TIDEMARK_FORWARD_INSTANCE": "host"}
    verb = command(path, "forward", "--again", str(present - 86_400))
    done = subprocess.run(verb, cwd=ROOT, env=environment(**given), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "1,001 samples are sent again when the daemon runs\n"), done.stderr
    store.open()
    shipped(path, store, clock, engine)
    assert engine.value("count_over_time(tidemark_sample_timestamp_seconds[2d])", time.time()) == 1001
    verb = command(path, "forward", "--verify", "--json", "--start", "-2d")
    done = subprocess.run(verb, cwd=ROOT, env=environment(**given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "days", [0.2, pytest.param(7, marks=[pytest.mark.slow, pytest.mark.timeout(900)])], ids=["hours", "a-week"]
)
def test_a_backlog_into_a_default_prometheus_that_others_write_to_is_refused_whole_and_then_delivered(
    days: float, begin: Begin, tmp_path: Path, clock: FakeClock
) -> None:
    path, now = tmp_path / "backlog.db", int(time.time())
    generate(path, end_ts=now - 7200, sample_days=days, minute_days=days, hour_days=days)
    clock.wall = float(now)
    engine = begin("prometheus", out_of_order="0s")
    settings = settings_for(path, forward__url=engine.write_url, forward__instance="another")
    sender, live = Sender(destination(settings)), Piece(Stretch(1, now, None, None, None, None, 5), [(now, *ONES)])
    body = Series("another", {}).body(Points(NOTHING_SENT).add([live]).points)
    assert sender.write(block(body)).verdict == "taken"
    sender.close()
    store = Store(path)
    store.open()
    try:
        refused = shipped(path, store, clock, engine).row()
        count, total = query(path, "SELECT count(*), sum(ts) FROM samples")[0]
        assert (refused["refused"], refused["sent"], refused["skipped"]) == (count, 0, 0)
        assert "out of bounds" in refused["last_error"]
        engine.stop()
        engine.allow("30d")
        engine.start()
        store.write(lambda statements: again(statements, engine.write_url, 0, None))
        sent = shipped(path, store, clock, engine).row()
        assert (sent["refused"], sent["sent"]) == (count, count)
    finally:
        store.close()
    stamps = 'tidemark_sample_timestamp_seconds{instance="host"}[9d]'
    assert engine.value(f"count_over_time({stamps})", now) == count
    assert engine.value(f"sum_over_time({stamps})", now) == total


@pytest.mark.parametrize("name", ENGINES)
def test_killed_again_and_again_while_it_catches_up_nothing_is_missing_and_nothing_comes_twice(
    name: str, begin: Begin, start: Start, tmp_path: Path
) -> None:
    path, now = tmp_path / "data" / "tidemark.db", int(time.time())
    path.parent.mkdir()
    generate(path, end_ts=now - 60, sample_days=1, minute_days=1, hour_days=1)
    engine = begin(name)
    random, kills = Random(1), 10
    given = {
        "TIDEMARK_FORWARD_URL": engine.write_url,
        "TIDEMARK_FORWARD_BACKFILL": "all",
        "TIDEMARK_FORWARD_EVERY": "1",
        "TIDEMARK_FORWARD_INSTANCE": "host",
    }
    for _ in range(kills):
        daemon = start(path=path, **given)
        time.sleep(1 + 2 * random.random())
        daemon.kill()
    engine.stop()
    daemon = start(path=path, **given)
    time.sleep(3)
    engine.start()
    until(lambda: query(path, "SELECT waiting_samples FROM forwards")[0][0] < 5)
    assert daemon.stop() == 0
    engine.flush()
    assert query(path, "SELECT waiting_samples, refused, skipped FROM forwards") == [(0, 0, 0)]
    assert query(path, "SELECT resent FROM forwards")[0][0] <= kills + 1
    count, total, last = query(path, "SELECT count(DISTINCT ts), sum(DISTINCT ts), max(ts) FROM samples")[0]
    stamps = "tidemark_sample_timestamp_seconds[2d]"
    assert engine.value(f"count_over_time({stamps})", last + 1) == count
    assert engine.value(f"sum_over_time({stamps})", last + 1) == total
