"""The daemon forwards beside its samples, stops cleanly, and carries nothing of it where it is off."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Start
from tests.forward.receiver import STALE, Scripted
from tests.running import ROOT, Running, command, environment, query, until


@pytest.fixture
def receiver() -> Iterator[Scripted]:
    receiver = Scripted()
    yield receiver
    receiver.close()


def verb(path: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    variables = {f"TIDEMARK_FORWARD_{name}": value for name, value in variables.items()}
    return subprocess.run(
        command(path, *words), cwd=ROOT, env=environment(**variables), capture_output=True, text=True, check=False
    )


def begun(start: Start, receiver: Scripted, *options: str, every: int = 1) -> Running:
    return start(*options, TIDEMARK_FORWARD_URL=receiver.url, TIDEMARK_FORWARD_EVERY=str(every))


def test_samples_arrive_while_they_are_taken_and_every_door_says_how_far(start: Start, receiver: Scripted) -> None:
    daemon = begun(start, receiver)
    until(lambda: len(receiver.ticks()) >= 5)
    health = daemon.get("/healthz")["forward"]
    assert health["last_error"] is None
    assert 0 <= health["lag_seconds"] <= 10
    done = verb(daemon.path, "forward", "--status", "--json", URL=receiver.url)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["target"] == receiver.url
    assert json.loads(done.stdout)["sent"] >= 3


def test_under_node_exporters_names_each_capture_is_stored_with_the_next_sample_and_has_the_open_files(
    start: Start, receiver: Scripted
) -> None:
    options = {"TIDEMARK_FORWARD_NAMES": "node", "TIDEMARK_SAMPLING_PROCESSES_INTERVAL": "1"}
    daemon = start(TIDEMARK_FORWARD_URL=receiver.url, **options)
    # Six are held at a time otherwise.
    until(lambda: 2 <= query(daemon.path, "SELECT count(*) FROM captures")[0][0] <= 6)
    assert query(daemon.path, "SELECT min(open_files) > 0 FROM captures") == [(1,)]
    assert daemon.stop() == 0


def test_a_clean_stop_sends_what_is_left_and_a_marker_after_it(start: Start, receiver: Scripted) -> None:
    daemon = begun(start, receiver, every=3600)
    daemon.wait_for_samples(3)
    assert daemon.stop() == 0
    stored = [ts for (ts,) in query(daemon.path, "SELECT ts FROM samples ORDER BY ts")]
    assert receiver.ticks() == [ts * 1000 for ts in stored]
    assert receiver.taken["tidemark_memory_ratio"][stored[-1] * 1000 + 1] == STALE
    assert query(daemon.path, "SELECT sent, waiting_samples FROM forwards") == [(len(stored), 0)]
    assert verb(daemon.path, "forward", URL=receiver.url).returncode == 0


def test_a_receiver_that_hangs_delays_no_stop(start: Start, receiver: Scripted) -> None:
    daemon = begun(start, receiver)
    until(lambda: len(receiver.ticks()) >= 1)
    with receiver.lock:
        daemon.wait_for_samples(3)
        assert daemon.stop() == 0


def test_a_receiver_that_is_away_is_said_by_the_verb_and_harms_no_sample(start: Start, receiver: Scripted) -> None:
    receiver.script = [503] * 1000
    daemon = begun(start, receiver)
    until(lambda: daemon.get("/healthz")["forward"]["last_error"] == "503 Service Unavailable")
    assert daemon.get("/healthz")["status"] == "ok"
    until(lambda: query(daemon.path, "SELECT last_error FROM forwards") == [("503 Service Unavailable",)])
    done = verb(daemon.path, "forward", URL=receiver.url)
    assert done.returncode == 1
    assert "503 Service Unavailable" in done.stdout
    daemon.wait_for_samples(3)


def test_again_needs_the_daemon_down_and_verify_an_engine_that_answers(start: Start, receiver: Scripted) -> None:
    daemon = begun(start, receiver)
    until(lambda: query(daemon.path, "SELECT sent FROM forwards") > [(1,)])
    assert verb(daemon.path, "forward", "--again", "-1h", URL=receiver.url).returncode == 75
    daemon.stop()
    done = verb(daemon.path, "forward", "--again", "-1h", URL=receiver.url)
    assert done.returncode == 0
    assert done.stdout == f"{len(receiver.ticks())} samples are sent again when the daemon runs\n"
    assert verb(daemon.path, "forward", URL=receiver.url.replace("write", "other")).returncode == 1
    assert verb(daemon.path, "forward").returncode == 78
    assert verb(daemon.path, "forward", "--verify", "--again", "-1h", URL=receiver.url).returncode == 2


@pytest.mark.parametrize("status", [204, 404])
def test_check_says_what_the_receiver_answers_to_an_empty_request(status: int, path: Path, receiver: Scripted) -> None:
    receiver.answers_empty = status
    done = verb(path, "check", URL=receiver.url)
    line = next(line for line in done.stdout.splitlines() if " forward: " in line)
    assert line.startswith("ok " if status == 204 else "bad ")
    assert str(status) in line


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1/", "https://127.0.0.1:1/"])
def test_what_is_loaded_follows_the_address(url: str, path: Path) -> None:
    code = """
import json, sys
sys.argv = ["manage.py", "--database", {path!r}, "run", "--port", "0"]
import service.daemon.daemon as room
def stop(self):
    names = ("service.forward.shipper", "http.client", "cramjam", "ssl")
    print(json.dumps([name for name in names if sys.modules.get(name) is not None]))
    raise SystemExit(0)
room.Daemon.run = stop
from service.cli import main
main()
"""
    # As `run` begins: `ssl` is left out before anything else is imported.
    code = f"from service.daemon import spared\nspared.spare(tls={url.startswith('https')})\n" + code
    done = subprocess.run(
        [sys.executable, "-c", code.replace("{path!r}", repr(str(path)))],
        cwd=ROOT,
        env=environment(**({"TIDEMARK_FORWARD_URL": url} if url else {})),
        capture_output=True,
        text=True,
        check=False,
    )
    loaded = json.loads(done.stdout.splitlines()[0])
    assert ("service.forward.shipper" in loaded) == bool(url)
    assert ("cramjam" in loaded) <= bool(url)
    assert "ssl" not in loaded or url.startswith("https")


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"URL": "http://ann:secret@127.0.0.1/"}, "without a user or password in it"),
        ({"URL": "http://192.0.2.1/", "TOKEN_FILE": "{token}"}, "over plain http"),
        ({"URL": "http://127.0.0.1/", "TOKEN_FILE": "/nowhere/token"}, "cannot be read"),
        ({"URL": "http://127.0.0.1/", "HEADERS": "Content-Type=x"}, "none that Tidemark sets"),
        ({"URL": "http://127.0.0.1/", "LABELS": "__name__=x"}, "none that begins with __"),
    ],
)
def test_what_is_unsafe_stops_the_start_with_78_and_one_line(
    variables: dict[str, str], says: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("a-long-secret")
    token.chmod(0o600)
    given = {name: value.replace("{token}", str(token)) for name, value in variables.items()}
    done = verb(tmp_path / "data" / "t.db", "run", "--port", "0", **given)
    assert done.returncode == 78
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr
