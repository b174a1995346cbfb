"""The daemon as a process: started, asked, killed, started again."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from service.place import CHECKOUT as ROOT
from service.store import database
from tests.conftest import Start
from tests.faults.kit_host import spoilt
from tests.running import RUN, WallClock, command, count, environment, query, until


def test_it_samples_answers_and_stops_cleanly(start: Start) -> None:
    daemon = start()
    answer = daemon.get("/api/process/resource-usage")
    assert answer["success"] is True
    daemon.wait_for_samples(2)
    assert daemon.get("/healthz")["status"] == "ok"
    assert daemon.get("/api/process/resource-usage")["current_usage"]["cpu_percent"] is not None
    assert daemon.stop() == 0
    assert sorted(file.name for file in daemon.path.parent.iterdir()) == ["tidemark.db", "tidemark.db.lock"]


def test_a_start_that_fails_leaves_no_alarm_behind_that_would_kill_it_as_it_exits() -> None:
    code = """
import signal
import service.daemon.daemon as d
def fail(*_):
    signal.setitimer(signal.ITIMER_REAL, 1000)
    raise RuntimeError("can't start new thread")
d._run = fail
try:
    d.run(None, [], None)
except d.StartFailed:
    print(signal.getitimer(signal.ITIMER_REAL))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(0.0, 0.0)\n", "")


def test_it_records_who_uses_the_host_and_how_full_it_is_and_forecasts_that(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "data" / "tidemark.db"
    path.parent.mkdir()
    begin = int(time.time()) // 3600 * 3600 - 20 * 86400
    database.migrate(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO mount (mount_id, path) VALUES (1, '/srv')")
        rows = [
            (1, begin + 3600 * n, 1, 10**6, 10**5 + 1000 * n + 7919 * n % 13, 850_000 - 1000 * n)
            for n in range(20 * 24 + 1)
        ]
        connection.executemany("INSERT INTO filesystem VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)", rows)
    code = "import service.daemon.daemon as d\nd.FORESEE_SECONDS = 1\n"
    daemon = start(path=path, **spoilt(tmp_path, code), TIDEMARK_SAMPLING_PROCESSES_INTERVAL="1")
    until(lambda: query(path, "SELECT count(*) FROM forecasts")[0][0] == 2)
    until(lambda: query(path, "SELECT count(*) FROM processes")[0][0] > 0)
    until(lambda: query(path, "SELECT count(*) FROM filesystems WHERE mount = '/'")[0][0] > 0)
    assert query(path, "SELECT DISTINCT mount FROM forecasts") == [("/srv",)]
    assert daemon.get("/api/v1/processes")["processes"] != []


def test_metrics_can_be_scraped_from_the_real_daemon(start: Start) -> None:
    daemon = start()
    daemon.wait_for_samples(1)
    with urllib.request.urlopen(daemon.url + "/metrics", timeout=20) as answer:
        text = answer.read().decode()
    assert "tidemark_memory_ratio" in text
    assert daemon.get("/healthz")["status"] == "ok"


def test_its_first_lines_say_address_database_and_interval(start: Start) -> None:
    daemon = start()
    assert daemon.process.stdout is not None
    printed = daemon.process.stdout.readline() + daemon.process.stdout.readline()
    assert daemon.url.startswith("http://127.0.0.1:")
    assert str(daemon.path) in printed
    assert "1 s" in printed


def test_after_kill_9_nothing_is_missing_and_the_gap_says_so(start: Start) -> None:
    daemon = start()
    daemon.wait_for_samples(3)
    before = daemon.samples()
    daemon.kill()
    time.sleep(3)
    again = start()
    again.wait_for_samples(1)
    assert again.samples() > before
    assert [gap["reason"] for gap in again.get("/api/v1/gaps?start=-1h")["gaps"]] == ["killed"]
    assert again.stop() == 0


def test_a_clean_stop_leaves_a_gap_that_says_stopped(start: Start) -> None:
    daemon = start()
    daemon.wait_for_samples(1)
    assert daemon.stop(signal.SIGINT) == 0
    time.sleep(3)
    again = start()
    assert [gap["reason"] for gap in again.get("/api/v1/gaps?start=-1h")["gaps"]] == ["stopped"]


@pytest.mark.parametrize("alias", ["same", "symlink"])
def test_a_second_daemon_is_refused_naming_the_first(start: Start, tmp_path: Path, alias: str) -> None:
    first = start()
    path = first.path
    if alias == "symlink":
        path = tmp_path / "other.db"
        path.symlink_to(first.path)
    second = start(path=path)
    assert second.process.wait(20) == 75
    assert f"pid {first.process.pid}" in second.errors.read_text()
    assert first.get("/healthz")["status"] == "ok"


def test_a_stop_answers_what_is_in_flight_and_takes_nothing_new(start: Start) -> None:
    daemon = start()
    daemon.wait_for_samples(1)
    daemon.process.send_signal(signal.SIGTERM)
    daemon.process.send_signal(signal.SIGTERM)
    assert daemon.process.wait(20) == 0
    with pytest.raises(urllib.error.URLError):
        daemon.get("/healthz")


def test_a_port_in_use_is_one_line_and_74(start: Start, tmp_path: Path) -> None:
    first = start()
    second = start("--port", first.url.rsplit(":", 1)[1], path=tmp_path / "second" / "tidemark.db")
    assert second.process.wait(20) == 74
    assert second.errors.read_text().count("\n") == 1
    assert "cannot listen" in second.errors.read_text()


def test_a_folder_that_cannot_be_made_is_one_line_and_73(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    daemon = subprocess.run(
        command(tmp_path / "file" / "x" / "t.db", "run"),
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert daemon.returncode == 73
    assert daemon.stderr.count("\n") == 1


def test_an_address_that_others_reach_needs_a_token(start: Start) -> None:
    daemon = start("--host", "0.0.0.0")
    assert daemon.process.wait(20) == 78
    assert "token" in daemon.errors.read_text()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_stdout_does_not_stop_it(tmp_path: Path, unbuffered: str) -> None:
    path = tmp_path / "tidemark.db"
    variables = environment(PYTHONUNBUFFERED=unbuffered)
    with open("/dev/full", "w") as full:
        process = subprocess.Popen(command(path, *RUN), cwd=ROOT, env=variables, stdout=full, stderr=full)
        until(lambda: path.exists() and count(path) >= 3)
        process.terminate()
        assert process.wait(20) == 0


@pytest.mark.parametrize("step", [-3600, 7200, 10 * 365 * 86400])
def test_it_goes_on_when_the_wall_clock_is_stepped(start: Start, wall_clock: WallClock, step: int) -> None:
    daemon = start(**wall_clock.environment)
    daemon.wait_for_samples(3)
    wall_clock.shift(step)
    daemon.wait_for_samples(5)
    assert daemon.get("/healthz")["status"] == "ok"
    reasons = [reason for (reason,) in query(daemon.path, "SELECT reason FROM stretch ORDER BY stretch_id")]
    covered = [seconds for (seconds,) in query(daemon.path, "SELECT covered_seconds FROM samples")]
    assert reasons == [None, "clock_step"]
    # One sample an interval by the steady clock: none is missing, and none covers the step.
    assert max(covered) <= 2.0
    assert daemon.stop() == 0


SLOW_EXIT = """
import time
class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(3)
slow = Slow()
"""


def test_the_alarm_of_a_late_tick_does_not_kill_a_daemon_that_takes_long_to_exit(start: Start, tmp_path: Path) -> None:
    daemon = start(**spoilt(tmp_path, SLOW_EXIT))
    daemon.wait_for_samples(2)
    assert daemon.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another account")
@pytest.mark.root
def test_another_account_reads_it_up_killed_and_down(start: Start, tmp_path: Path) -> None:
    daemon = start()
    daemon.wait_for_samples(2)
    daemon.path.parent.chmod(0o755)
    for file in daemon.path.parent.iterdir():
        file.chmod(0o644)
    assert _read_as_nobody(daemon.path) >= 2
    daemon.kill()
    assert _read_as_nobody(daemon.path) >= 2
    again = start()
    again.wait_for_samples(1)
    assert again.stop() == 0
    assert _read_as_nobody(daemon.path) >= 3


READER = """
import os, sqlite3, sys
os.setgid(65534); os.setuid(65534)
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True)
print(connection.execute("SELECT count(*) FROM samples").fetchone()[0])
"""


def _read_as_nobody(path: Path) -> int:
    for folder in path.parents:
        if folder.is_relative_to("/tmp") and folder != Path("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o011)
    done = subprocess.run([sys.executable, "-c", READER, path], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_stop_that_cannot_close_the_database_says_why_and_blames_no_other_program(start: Start) -> None:
    daemon = start()
    daemon.wait_for_samples(2)
    # The disk takes nothing any more beyond the first pages of any file.
    resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE, (16384, 16384))
    assert daemon.stop() == 0
    log = daemon.errors.read_text()
    assert "the database stays in WAL mode" in log
    assert "disk I/O error" in log
    assert "another program" not in log


def test_a_stop_while_another_program_reads_says_so(start: Start) -> None:
    daemon = start()
    daemon.wait_for_samples(2)
    with closing(sqlite3.connect(daemon.path)) as stranger:
        stranger.execute("SELECT count(*) FROM sample").fetchone()
        assert daemon.stop() == 0
    assert "another program has the database open" in daemon.errors.read_text()
