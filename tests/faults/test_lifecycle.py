"""Start and stop: killed, signalled, refused or badly set up, the daemon says so in one line and harms no history."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.daemon.daemon import ALIVE_SECONDS, STOP_SECONDS
from service.installing.unit import make
from service.place import CHECKOUT as ROOT
from tests.conftest import Start
from tests.faults.kit import answer, health, needs_root, problems, rarely, verb
from tests.faults.kit_disk import Disk, failing
from tests.faults.kit_host import Systemd, is_dead, is_well, spoilt, stopped, tool
from tests.running import RUN, command, count, environment, query, until, url_in

# -- killed within the start


def _start_under(tracer: list[str], path: Path) -> int:
    process = subprocess.Popen(
        [*tracer, *command(path, *RUN)],
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as output:
        if output.readline():  # the start came through: it has fewer writes than that
            process.terminate()
    return process.wait(60)


def _kill_at_write(start: Start, path: Path, number: int) -> bool:
    """Kill the start at its so-many-th write to a file and start again; whether it was killed."""
    tracer = [tool("strace"), "-f", "-o", "/dev/null", "-e", "trace=pwrite64"]
    tracer += ["-e", f"inject=pwrite64:signal=SIGKILL:when={number}"]
    was_killed = _start_under(tracer, path) != 0
    daemon = start(path=path)
    assert daemon.url.startswith("http"), daemon.errors.read_text()
    daemon.wait_for_samples(1)
    assert problems(path) == []
    assert daemon.stop() == 0
    return was_killed


@pytest.mark.parametrize("number", [8, *rarely(1, 20)])
def test_a_first_start_killed_within_its_writes_is_made_good_by_the_next(
    start: Start, tmp_path: Path, number: int
) -> None:
    _kill_at_write(start, tmp_path / "data" / "tidemark.db", number)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_first_start_killed_at_any_of_its_writes_is_made_good_by_the_next(start: Start, tmp_path: Path) -> None:
    met = [_kill_at_write(start, tmp_path / str(number) / "tidemark.db", number) for number in range(1, 41)]
    assert sum(met) >= 20


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, *rarely(signal.SIGINT, signal.SIGHUP)])
def test_a_signal_at_any_moment_of_the_start_leaves_a_database_to_start_from(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    path = tmp_path / "data" / "tidemark.db"
    errors = tmp_path / "errors"
    for wait in (0.1, 0.4, 0.7, 1.0):
        with errors.open("a") as stderr:
            process = subprocess.Popen(
                command(path, *RUN), cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=stderr
            )
        time.sleep(wait)
        process.send_signal(number)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            assert number is signal.SIGHUP  # which a daemon that is up already ignores
            process.terminate()
            assert process.wait(10) == 0
    # Only Ctrl-C may show a stack, where it comes amid Python's own imports.
    assert "Error" not in errors.read_text() or number is signal.SIGINT
    daemon = start(path=path)
    is_well(daemon)


@pytest.mark.parametrize("content", [b"1\n", os.urandom(4096), *rarely(b"", b"4194304\n")])
def test_a_lock_file_that_was_left_is_no_lock(start: Start, tmp_path: Path, content: bytes) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "tidemark.db.lock").write_bytes(content)  # pid 1 lives, but is no daemon of ours
    daemon = start()
    daemon.wait_for_samples(1)
    assert (folder / "tidemark.db.lock").read_text().startswith(f"{daemon.process.pid}\n")
    assert daemon.stop() == 0


def test_a_lock_file_that_cannot_be_made_is_one_line_and_73(start: Start, tmp_path: Path) -> None:
    (tmp_path / "data" / "tidemark.db.lock").mkdir(parents=True)
    daemon = start()
    assert daemon.process.wait(20) == 73
    _is_one_line(daemon.errors.read_text(), "tidemark.db.lock")


QUICK_CHECKS = "import service.daemon.daemon\nservice.daemon.daemon.CHECK_FILES_SECONDS = 1\n"


def test_a_lock_file_that_is_removed_is_there_again_soon(start: Start, tmp_path: Path) -> None:
    daemon = start(**spoilt(tmp_path, QUICK_CHECKS))
    lock = Path(f"{daemon.path}.lock")
    lock.unlink()
    until(lock.exists)
    until(lambda: lock.read_text().startswith(f"{daemon.process.pid}\n"))
    second = start()
    assert second.process.wait(20) == 75
    is_well(daemon)


def test_a_daemon_whose_folder_another_has_taken_stops_and_leaves_it_alone(start: Start, tmp_path: Path) -> None:
    first = start(**spoilt(tmp_path, QUICK_CHECKS + "service.daemon.daemon.CHECK_FILES_SECONDS = 8\n"))
    folder = first.path.parent
    time.sleep(8 - (time.time() - 30.4) % 8 + 0.5)  # just after a check
    folder.rename(folder.with_name("moved"))
    second = start()
    second.wait_for_samples(1)
    assert first.process.wait(30) == 75
    assert f"another Tidemark (pid {second.process.pid})" in first.errors.read_text()
    second.wait_for_samples(2)
    second.kill()
    third = start()
    third.wait_for_samples(1)
    assert third.samples() >= 4
    is_well(third)


def test_a_lock_with_an_unreadable_pid_is_refused_in_one_line(start: Start) -> None:
    first = start()
    Path(f"{first.path}.lock").write_bytes(b"\xff\x00\n\x1b[2J" * 3)
    second = start()
    assert second.process.wait(20) == 75
    _is_one_line(second.errors.read_text(), "another Tidemark")
    is_well(first)


LOST = """
import os, signal
import service.store.database
prepare = service.store.database.prepare_folder


def lose(path):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        while True: pass
    except KeyboardInterrupt:
        pass  # as Python does in a finalizer
    prepare(path)


service.store.database.prepare_folder = lose
"""


def test_a_ctrl_c_that_python_drops_while_it_starts_still_ends_it(start: Start, tmp_path: Path) -> None:
    daemon = start(**spoilt(tmp_path, LOST))
    assert daemon.process.wait(20) == 0
    assert query(daemon.path, "SELECT clean FROM runs") == [(1,)]


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs_root)])
def test_a_first_start_on_a_disk_too_small_says_so_and_leaves_no_half(start: Start, tmp_path: Path, mark: str) -> None:
    disk = Disk(tmp_path / "disk", "tmpfs", 0.06)
    try:
        daemon = start(path=disk.folder / "tidemark.db")
        assert daemon.process.wait(20) in (73, 74)
        _is_one_line(daemon.errors.read_text(), "full")
        disk.resize(200)
        again = start(path=disk.folder / "tidemark.db")
        is_well(again)
        assert again.stop() == 0
    finally:
        disk.remove()


# -- signals


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_that_means_nothing_to_it_changes_nothing(start: Start, number: signal.Signals) -> None:
    daemon = start()
    daemon.wait_for_samples(1)
    daemon.process.send_signal(number)
    daemon.wait_for_samples(2)
    is_well(daemon)
    assert daemon.stop() == 0


NO_THREADS = """
import threading
begin, left = threading.Thread.start, {count}
def start(self):
    global left
    left -= 1
    if left < 0:
        raise RuntimeError("can't start new thread")
    begin(self)
threading.Thread.start = start
"""


@pytest.mark.parametrize("count", [0, 2, *rarely(1, 3)])
def test_a_start_without_threads_to_be_had_is_one_line_and_74(start: Start, tmp_path: Path, count: int) -> None:
    daemon = start(**spoilt(tmp_path, NO_THREADS.format(count=count)))
    assert daemon.process.wait(20) == 74
    *before, line = daemon.errors.read_text().splitlines()
    assert line.startswith("tidemark: the system gives this process no more threads or memory")
    # A job of the start may have failed for the same reason.
    assert all("(RuntimeError: can't start new thread)" in line for line in before)
    again = start()
    again.wait_for_samples(1)
    is_well(again)


@pytest.mark.parametrize("most", [12, 63])
def test_a_start_that_may_open_few_files_is_one_line_and_74(start: Start, tmp_path: Path, most: int) -> None:
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, ({most}, {most}))"
    daemon = start(**spoilt(tmp_path, limit))
    assert daemon.process.wait(20) == 74
    line = f"tidemark: this process may open only {most} files at once, and needs 64: raise LimitNOFILE= of the unit"
    assert daemon.errors.read_text() == f"{line} or `ulimit -n`\n"
    assert not daemon.path.exists()


def test_sighup_changes_nothing(start: Start) -> None:
    daemon = start()
    daemon.wait_for_samples(1)
    for _ in range(3):
        daemon.process.send_signal(signal.SIGHUP)
    is_well(daemon)
    assert query(daemon.path, "SELECT count(*) FROM runs") == [(1,)]
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    "numbers",
    [
        [signal.SIGTERM] * 5,
        [signal.SIGINT, signal.SIGTERM, signal.SIGHUP],
        *rarely([signal.SIGINT] * 3, *[[signal.SIGINT, signal.SIGTERM, signal.SIGHUP]] * 3),
    ],
)
def test_many_signals_stop_it_once_and_cleanly(start: Start, numbers: list[signal.Signals]) -> None:
    daemon = start()
    daemon.wait_for_samples(1)
    for number in numbers:
        daemon.process.send_signal(number)
    assert daemon.process.wait(10) == 0
    assert query(daemon.path, "SELECT clean FROM runs") == [(1,)]
    assert daemon.errors.read_text().count("stopped") == 1


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs_root)])
def test_a_stop_while_the_disk_hangs_ends_it_in_time_and_loses_nothing_acknowledged(
    start: Start, tmp_path: Path, mark: str
) -> None:
    disk = Disk(tmp_path / "disk")
    try:
        daemon = start(path=disk.folder / "tidemark.db")
        daemon.wait_for_samples(3)
        before = daemon.samples()
        disk.freeze()
        time.sleep(2.5)
        since = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        # The thread that waits for the disk cannot leave the kernel; the rest of the process has ended.
        until(lambda: is_dead(daemon.process.pid), 20)
        assert time.monotonic() - since < 6
        disk.thaw()
        assert daemon.process.wait(20) == 1
        assert "stopping takes longer" in daemon.errors.read_text()
        again = start(path=disk.folder / "tidemark.db")
        again.wait_for_samples(1)
        assert again.samples() > before
        assert query(again.path, "SELECT reason FROM gaps") == [("killed",)]
        is_well(again)
        assert again.stop() == 0
    finally:
        disk.remove()


# -- outputs


@pytest.mark.parametrize("closed", ["0<&- 1>&- 2>&-", "1>/dev/full 2>/dev/full", *rarely("1>&-", "2>&-")])
def test_without_its_outputs_it_records(tmp_path: Path, closed: str) -> None:
    path = tmp_path / "data" / "tidemark.db"
    process = subprocess.Popen(
        ["sh", "-c", f'exec "$@" {closed}', "sh", *command(path, *RUN)],
        cwd=ROOT, env=environment(TIDEMARK_LOG_LEVEL="DEBUG"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: path.exists() and count(path) >= 3, 20)
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    assert problems(path) == []


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_log_that_nobody_reads_holds_up_nothing(tmp_path: Path, form: str) -> None:
    """As with `run 2>&1 | less`, or Ctrl-S in a terminal."""
    path = tmp_path / "data" / "tidemark.db"
    process = subprocess.Popen(
        command(path, *RUN),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(TIDEMARK_LOG_LEVEL="DEBUG", TIDEMARK_LOG_FORMAT=form),
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        daemon = SimpleNamespace(url=url_in(process.stdout.readline()))
        until(lambda: count(path) >= 1)
        for _ in range(1200):  # each writes a line of 80 bytes and more; the pipe holds 64 KB
            assert answer(daemon, "/api/process/resource-usage")[0] == 200
        before = count(path)
        until(lambda: count(path) >= before + 3, 20)
        assert query(path, "SELECT count(*), max(covered_seconds) <= 2 FROM gaps, samples")[0][0] == 0
        process.terminate()
        logged = process.stderr.read()
        assert process.wait(20) == 0
        assert "lines are missing here" in logged or logged.count("retrieved") < 1200
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()


# -- settings


def _is_one_line(text: str, *parts: str) -> None:
    assert text.count("\n") == 1, text
    assert text.startswith("tidemark: ")
    assert "Traceback" not in text
    for part in parts:
        assert part in text


BAD = {
    "TIDEMARK_SAMPLING_INTERVAL": ["0", "-1", "nan", "1e9", "", "1.5", "9" * 400, "٣", "0x5", "5\n5"],
    "TIDEMARK_SERVER_PORT": ["-1", "65536", "http"],
    "TIDEMARK_RETENTION_SAMPLES": ["1s", "forever", "-7d", "1e9d", "9999999999999d"],
    "TIDEMARK_STORAGE_MAX_SIZE": ["1KB", "-1GB", "nanGB", "lots"],
    "TIDEMARK_ANALYSIS_TIMEZONE": ["Mars/Olympus", "../../etc/passwd", "/etc/localtime", ""],
    "TIDEMARK_LOG_LEVEL": ["LOUD", ""],
    "TIDEMARK_SERVER_ALLOWED_HOSTS": ["a b", "*", "http://x"],
    "TIDEMARK_SERVER_TOKEN_FILE": ["/nowhere/at/all", "/", "/dev/null", "/etc/hostname"],
    "TIDEMARK_FORWARD_URL": ["ftp://127.0.0.1/", "https://user:secret@receiver.example/"],
    "TIDEMARK_SAMPLING_INTERVALL": ["5"],
}


@pytest.mark.parametrize(("variable", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_bad_setting_is_one_line_and_78(tmp_path: Path, variable: str, value: str) -> None:
    done = verb(tmp_path / "data" / "tidemark.db", "run", **{"TIDEMARK_SERVER_PORT": "0", variable: value})
    assert done.returncode == 78, done.stderr
    key = variable.removeprefix("TIDEMARK_").lower().replace("_", ".", 1)
    assert key in done.stderr or variable in done.stderr
    _is_one_line(done.stderr)
    assert not (tmp_path / "data").exists()


BAD_FILES = [
    b"[sampling]\ninterval = inf\n",
    b"[sampling]\ninterval = true\n",
    b"[sampling]\ninterval = [5]\n",
    b"[sampling]\ninterval = 2026-01-01\n",
    b"[sampling]\ninterval = {}\n",
    b"sampling = 5\n",
    b"[storage]\npath = 5\n",
    b'[storage]\npath = "a\\u0000b"\n',
    b"[server]\nallowed_hosts = [1]\n",
    b'[server]\nhost = "\\u0000"\n',
    b"\xff\xfe\x00",
    b"[" * 5000,
    b"a" * 10**6,
]


@pytest.mark.parametrize("content", BAD_FILES, ids=range(len(BAD_FILES)))
def test_a_bad_settings_file_is_one_line_and_78(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "tidemark.toml"
    file.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "manage.py", "--config", file, "run"],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert done.returncode == 78, done.stderr[-500:]
    _is_one_line(done.stderr)
    assert len(done.stderr) < 1000


@pytest.mark.parametrize(
    ("host", "codes"),
    [("::", {78}), ("0.0.0.0", {78}), ("256.1.1.1", {74, 78}), ("203.0.113.7", {74, 78}), ("a..b", {74, 78})],
)
def test_an_address_that_is_open_or_none_is_one_line(tmp_path: Path, host: str, codes: set[int]) -> None:
    done = verb(tmp_path / "t.db", "run", "--port", "0", "--host", host)
    assert done.returncode in codes
    _is_one_line(done.stderr, host)


@pytest.mark.parametrize(("place", "codes"), [("/dev/null", {73, 74, 78}), ("/proc/x.db", {73, 74}), ("/", {73, 74})])
def test_a_database_where_none_can_be_is_one_line(place: str, codes: set[int]) -> None:
    done = verb(Path(place), "run", "--port", "0")
    assert done.returncode in codes, done.stderr
    _is_one_line(done.stderr, place.rsplit(".", 1)[0])


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_every_name_of_this_machine_can_be_listened_on(start: Start, host: str) -> None:
    daemon = start("--host", host)
    if host == "::1" and daemon.process.poll() is not None:
        pytest.skip(f"this machine has no ::1: {daemon.errors.read_text()}")
    is_well(daemon)
    assert daemon.stop() == 0


def test_a_name_with_two_addresses_is_listened_on_at_both(tmp_path: Path, start: Start) -> None:
    code = """
import socket
real = socket.getaddrinfo
def both(host, port, *a, **k):
    if host != "localhost":
        return real(host, port, *a, **k)
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, int(port or 0))) for ip in ("127.0.0.1", "127.0.0.2")]
socket.getaddrinfo = both
"""
    daemon = start("--host", "localhost", **spoilt(tmp_path, code))
    is_well(daemon)
    assert daemon.stop() == 0


# -- systemd

UNIT = ROOT / "config" / "tidemark.service"
QUICK_ALIVE = "import service.daemon.daemon\nservice.daemon.daemon.ALIVE_SECONDS = 1\n"


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit as `install` makes it, with the paths of programs that exist here, and with one that needs quoting."""
    readme, unit = tmp_path / "sp ace ü" / "README.md", tmp_path / "tidemark.service"
    command = [str(Path("/bin/true").resolve()), "-OO", str(readme.with_name("manage.py")), "run"]
    unit.write_text(make(UNIT.read_text(), command, readme, None))
    return unit


def test_systemd_understands_the_unit(unit: Path) -> None:
    done = subprocess.run([tool("systemd-analyze"), "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_unit_is_confined(unit: Path) -> None:
    done = subprocess.run(
        [tool("systemd-analyze"), "security", "--offline=true", "--threshold=20", unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-500:]
    assert float(re.findall(r"exposure level for .*: ([\d.]+)", done.stdout)[0]) <= 2.0


def test_the_unit_agrees_with_the_daemon() -> None:
    text = UNIT.read_text()
    assert "Type=notify\n" in text
    assert "RestartPreventExitStatus=75 76 78\n" in text
    assert "UMask=0027\n" in text
    assert "-OO /opt/tidemark/manage.py run\n" in text
    watchdog = re.search(r"WatchdogSec=(\d+)min\n", text)
    stop = re.search(r"TimeoutStopSec=(\d+)\n", text)
    assert watchdog is not None
    assert stop is not None
    assert int(watchdog[1]) * 60 >= 3 * ALIVE_SECONDS
    assert int(stop[1]) > STOP_SECONDS


def test_the_daemon_asks_the_kernel_for_nothing_that_the_unit_forbids(tmp_path: Path) -> None:
    """A real run stays within the unit's filter of system calls and its bans on writable code and kinds of sockets."""
    trace = tmp_path / "trace"
    path = tmp_path / "data" / "tidemark.db"
    python, *verb = command(path, *RUN)
    process = subprocess.Popen(
        [tool("strace"), "-f", "-qq", "-o", trace, python, "-OO", *verb],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as output:
        daemon = SimpleNamespace(url=url_in(output.readline()))
        until(lambda: count(path) >= 3)
        for page in ("/api/process/resource-usage", "/healthz", "/metrics", "/api/v1/openapi.json", "/api/v1/gaps"):
            answer(daemon, page)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        assert process.wait(20) == 0
    calls = trace.read_text()
    used = set(re.findall(r"^\d+ +(?:<\.\.\. )?([a-z0-9_]+)(?:\(| resumed)", calls, re.MULTILINE))
    assert {"pwrite64", "accept4", "statfs"} & used
    if os.geteuid() == 0:
        used.discard("fchown")  # SQLite's, and only root's
    assert used <= _allowed(UNIT.read_text()), used - _allowed(UNIT.read_text())
    assert "PROT_WRITE|PROT_EXEC" not in calls
    families = set(re.findall(r"socket\((AF_[A-Z0-9]+)", calls))
    assert families <= {"AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"}


def _allowed(unit: str) -> set[str]:
    """The system calls that the unit's filter allows, by systemd's own sets."""
    done = subprocess.run([tool("systemd-analyze"), "syscall-filter"], capture_output=True, text=True, check=True)
    sets: dict[str, set[str]] = {}
    for block in re.split(r"\n(?=@)", "\n" + done.stdout):
        lines = [line.strip() for line in block.strip().splitlines()]
        if lines and lines[0].startswith("@"):
            sets[lines[0]] = {line for line in lines[1:] if line and not line.startswith("#")}

    def members(name: str) -> set[str]:
        found: set[str] = set()
        for entry in sets[name]:
            found |= members(entry) if entry.startswith("@") else {entry}
        return found

    allowed: set[str] = set()
    for line in re.findall(r"^SystemCallFilter=(.*)$", unit, re.MULTILINE):
        for name in line.removeprefix("~").split():
            allowed = allowed - members(name) if line.startswith("~") else allowed | members(name)
    return allowed | members("@default")


@pytest.fixture
def systemd(tmp_path: Path) -> Any:
    systemd = Systemd(tmp_path)
    yield systemd
    systemd.close()


def test_systemd_is_notified_of_ready_alive_and_stopping(start: Start, tmp_path: Path, systemd: Systemd) -> None:
    daemon = start(**systemd.environment, **spoilt(tmp_path, QUICK_ALIVE))
    until(lambda: systemd.hear().count("WATCHDOG=1") >= 3)
    assert systemd.heard[0] == "READY=1"
    assert daemon.stop() == 0
    assert systemd.hear()[-1] == "STOPPING=1"


def test_a_socket_of_systemd_that_is_full_or_gone_is_no_reason_to_stop(
    start: Start, tmp_path: Path, systemd: Systemd
) -> None:
    daemon = start(**systemd.environment, **spoilt(tmp_path, QUICK_ALIVE))
    systemd.fill()
    daemon.wait_for_samples(3)
    systemd.close()
    Path(systemd.path).unlink()
    is_well(daemon)
    assert daemon.stop() == 0


def test_a_start_that_fails_never_says_ready(start: Start, systemd: Systemd) -> None:
    first = start()
    second = start("--port", first.url.rsplit(":", 1)[1], **systemd.environment)
    assert second.process.wait(20) == 75
    assert systemd.hear() == []


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs_root)])
def test_when_storing_hangs_the_watchdog_hears_nothing_and_samples_are_still_taken(
    start: Start, tmp_path: Path, systemd: Systemd, mark: str
) -> None:
    disk = Disk(tmp_path / "disk")
    try:
        daemon = start(path=disk.folder / "t.db", **systemd.environment, **spoilt(tmp_path, QUICK_ALIVE))
        until(lambda: systemd.hear().count("WATCHDOG=1") >= 2)
        disk.freeze()
        time.sleep(2)
        systemd.hear()
        systemd.heard.clear()
        time.sleep(4)
        assert systemd.hear() == []
        waiting = health(daemon)
        assert waiting["spooled_samples"] >= 3
        assert waiting["status"] == "failing"
        disk.thaw()
        until(lambda: "WATCHDOG=1" in systemd.hear())
        until(lambda: health(daemon)["status"] == "ok")
        assert query(daemon.path, "SELECT count(*) FROM gaps") == [(0,)]
        is_well(daemon)
        assert daemon.stop() == 0
    finally:
        disk.remove()


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs_root)])
def test_on_a_disk_slower_than_the_interval_samples_are_stored_and_other_jobs_run(
    start: Start, tmp_path: Path, systemd: Systemd, mark: str
) -> None:
    daemon = start(**systemd.environment, **spoilt(tmp_path, QUICK_ALIVE))
    until(lambda: systemd.hear().count("WATCHDOG=1") >= 2)
    systemd.heard.clear()
    with failing(daemon, "fdatasync", "delay_enter=2000000"):
        before, ages = daemon.samples(), []
        for _ in range(20):
            time.sleep(1)
            ages.append(health(daemon)["newest_sample_age_seconds"])
        assert daemon.samples() >= before + 10
        assert systemd.hear().count("WATCHDOG=1") >= 3
        assert max(ages) < 10
    until(lambda: health(daemon)["status"] == "ok")
    assert query(daemon.path, "SELECT count(*) FROM gaps") == [(0,)]
    is_well(daemon)


NO_SAMPLE = """
import service.host.read as h
from pathlib import Path
real = h.Host.read
def read(self):
    if Path({flag!r}).exists():
        raise Exception('odd')
    return real(self)
h.Host.read = read
"""


def test_when_no_sample_can_be_taken_the_watchdog_hears_nothing(start: Start, tmp_path: Path, systemd: Systemd) -> None:
    flag = tmp_path / "broken"
    daemon = start(**systemd.environment, **spoilt(tmp_path, QUICK_ALIVE + NO_SAMPLE.format(flag=str(flag))))
    until(lambda: systemd.hear().count("WATCHDOG=1") >= 2)
    flag.touch()
    time.sleep(2.5)
    systemd.hear()
    systemd.heard.clear()
    time.sleep(4)
    assert systemd.hear() == []
    assert health(daemon)["status"] == "failing"
    flag.unlink()
    until(lambda: "WATCHDOG=1" in systemd.hear())
    is_well(daemon)


def test_when_the_page_stalls_the_watchdog_is_notified_all_the_same(
    start: Start, tmp_path: Path, systemd: Systemd
) -> None:
    code = "import time, waitress.wasyncore as w\nw.loop = lambda **_: time.sleep(600)\n"
    daemon = start(**systemd.environment, **spoilt(tmp_path, QUICK_ALIVE + code))
    with pytest.raises(TimeoutError):
        answer(daemon, "/healthz", timeout=1)
    systemd.hear()
    systemd.heard.clear()
    until(lambda: systemd.hear().count("WATCHDOG=1") >= 3, 20)
    before = daemon.samples()
    until(lambda: daemon.samples() >= before + 2)


def test_a_stopped_process_is_not_alive(start: Start, tmp_path: Path, systemd: Systemd) -> None:
    daemon = start(**systemd.environment, **spoilt(tmp_path, QUICK_ALIVE))
    until(lambda: "WATCHDOG=1" in systemd.hear())
    with stopped(daemon.process.pid):
        systemd.hear()
        systemd.heard.clear()
        time.sleep(2)
        assert systemd.hear() == []
    until(lambda: "WATCHDOG=1" in systemd.hear())


# -- the log


def test_nothing_in_a_message_becomes_a_line_of_its_own(start: Start, tmp_path: Path) -> None:
    code = """
import psutil
def odd():
    raise Exception("a\\n2026-01-01T00:00:00+0000 INFO forged\\r\\x1b[31m\\u2028forged")
psutil.virtual_memory = odd
psutil.LINUX = False
"""
    for form in ("text", "json"):
        daemon = start(**spoilt(tmp_path, code), TIDEMARK_LOG_FORMAT=form, path=tmp_path / form / "t.db")
        until(lambda daemon=daemon: "forged" in daemon.errors.read_text())
        daemon.stop()
        text = daemon.errors.read_text()
        assert all(c.isprintable() or c == "\n" for c in text)
        lines = text.splitlines()
        if form == "json":
            assert all(json.loads(line)["level"] for line in lines)
        else:
            assert not [line for line in lines if line.startswith("2026-01-01T00:00:00+0000 INFO forged")]
