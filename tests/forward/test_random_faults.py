"""Whatever happens between the daemon and a real engine, the engine has in the end what SQL says.

No engine is killed: what VictoriaMetrics has acknowledged and not yet written is lost with it, which no sender can know
(`forward --again` sends it again).
"""

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from benchmarks.generate import generate
from tests.conftest import Start
from tests.forward.conftest import Begin
from tests.forward.engines import ENGINES, Engine
from tests.forward.spoiler import SPOILT, Spoiler
from tests.running import ROOT, Running, command, environment, query, until


def settings(url: str) -> dict[str, str]:
    names = {"URL": url, "BACKFILL": "all", "EVERY": "1", "INSTANCE": "host"}
    return {f"TIDEMARK_FORWARD_{name}": value for name, value in names.items()}


def with_half_a_day(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "tidemark.db"
    path.parent.mkdir()
    generate(path, end_ts=int(time.time()) - 60, sample_days=0.5, minute_days=1, hour_days=1)
    return path


def nothing_waits(path: Path) -> bool:
    return bool(query(path, "SELECT waiting_samples FROM forwards")[0][0] < 5)


def has_what_sql_says(engine: Engine, path: Path) -> None:
    engine.flush()
    assert query(path, "SELECT waiting_samples, refused, skipped FROM forwards") == [(0, 0, 0)]
    count, total, last = query(path, "SELECT count(DISTINCT ts), sum(DISTINCT ts), max(ts) FROM samples")[0]
    stamps = "tidemark_sample_timestamp_seconds[2d]"
    assert engine.value(f"count_over_time({stamps})", last + 1) == count
    assert engine.value(f"sum_over_time({stamps})", last + 1) == total


@contextlib.contextmanager
def spoiling(engine: Engine) -> Iterator[Spoiler]:
    spoiler = Spoiler(engine.port)
    try:
        yield spoiler
    finally:
        spoiler.close()


@pytest.mark.parametrize("name", ENGINES)
def test_a_receiver_that_is_away_for_a_while_half_way_gets_all_and_is_asked_ever_less_often(
    name: str, begin: Begin, start: Start, tmp_path: Path
) -> None:
    path, engine = with_half_a_day(tmp_path), begin(name)
    with spoiling(engine) as spoiler:
        daemon = start(path=path, **settings(spoiler.url))
        until(lambda: query(path, "SELECT sent FROM forwards") > [(2000,)])
        spoiler.mode = "refuse"
        engine.stop()
        spoiler.tries.clear()
        time.sleep(12)
        # What was kept open is tried anew at once.
        between = [later - earlier for earlier, later in zip(spoiler.tries, spoiler.tries[1:], strict=False)]
        waits = [seconds for seconds in between if seconds > 0.5]
        assert len(waits) >= 2
        assert waits == sorted(waits)
        engine.start()
        spoiler.mode = "well"
        until(lambda: nothing_waits(path))
        assert daemon.stop() == 0
        has_what_sql_says(engine, path)


FAULTS = ("kill", "stop", "away", "hang", *SPOILT)


def spoil(what: str, seconds: float, spoiler: Spoiler, engine: Engine, daemon: Running) -> None:
    """Do something that may happen."""
    if what == "kill":
        daemon.kill()
    elif what == "stop":
        assert daemon.stop() == 0
    elif what == "away":
        engine.stop()
        time.sleep(seconds)
        engine.start()
    elif what == "hang":
        engine.signal(signal.SIGSTOP)
        time.sleep(seconds)
        engine.signal(signal.SIGCONT)
    else:
        spoiler.mode = next(mode for mode in SPOILT if mode == what)
        time.sleep(seconds)
        spoiler.mode = "well"


@pytest.mark.parametrize(
    "seconds", [20, pytest.param(3600, marks=[pytest.mark.slow, pytest.mark.timeout(4000)])], ids=["short", "an-hour"]
)
@pytest.mark.parametrize("name", ENGINES)
def test_through_random_faults_the_counts_stay_equal(
    name: str, seconds: int, begin: Begin, start: Start, tmp_path: Path
) -> None:
    path, engine, random = with_half_a_day(tmp_path), begin(name), Random(f"{name} {seconds}")
    with spoiling(engine) as spoiler:
        daemon, done = start(path=path, **settings(spoiler.url)), 0
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            # All of them, in another order each time.
            for what in random.sample(FAULTS, len(FAULTS)):
                time.sleep(2 * random.random())
                spoil(what, 4 * random.random(), spoiler, engine, daemon)
                done += 1
                if what in ("kill", "stop"):
                    daemon = start(path=path, **settings(spoiler.url))
        # A new life does not sit out the waits of the old one.
        daemon.kill()
        daemon = start(path=path, **settings(spoiler.url))
        until(lambda: nothing_waits(path), 120)
        assert daemon.stop() == 0
        has_what_sql_says(engine, path)
        assert query(path, "SELECT resent FROM forwards")[0][0] <= done + 1
        print(f"{name}: {done} faults, {query(path, 'SELECT sent, resent FROM forwards')}")
    verify = command(
        path, "forward", "--verify", "--json", "--start", "-1d", "--query-url", f"{engine.url}/api/v1/query"
    )
    proof = subprocess.run(
        verify, cwd=ROOT, env=environment(**settings(spoiler.url)), capture_output=True, text=True, check=False
    )
    assert proof.returncode == 0, proof.stdout + proof.stderr
    assert json.loads(proof.stdout)
