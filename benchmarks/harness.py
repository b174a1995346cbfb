"""What the measurements share: a real daemon on a free port, the kernel's counts for it, clients, histories."""

import http.client
import os
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from benchmarks.generate import INTERVAL, ROOT, generate

USAGE = "/api/process/resource-usage"
MIB = 1024 * 1024


class Figure(NamedTuple):
    """One row of the table. `bar`: the most that the figure may be, or the least if `at_least`; None for no bar."""

    name: str
    value: float
    unit: str
    bar: float | None = None
    at_least: bool = False

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        return "ok" if (self.value >= self.bar if self.at_least else self.value <= self.bar) else "OVER"


@dataclass
class Bench:
    """How this run measures, and the histories that it has made so far."""

    folder: Path
    quick: bool
    long: bool
    _made: dict[str, Path] = field(default_factory=dict)
    _copies: int = 0

    def history(self, name: str, **days: float) -> Path:
        """A fresh copy of a generated history that ended as it was made; one name always means the same days."""
        if name not in self._made:
            made = self._made[name] = self.folder / f"{name}.db"
            generate(made, end_ts=int(time.time()), **days)  # type: ignore[arg-type]
        copy = self.new()
        shutil.copyfile(self._made[name], copy)
        return copy

    def year(self) -> Path:
        """A history as the default retention keeps it: 7 days of samples, 90 of minutes, five years of hours."""
        return self.history("year")

    def new(self) -> Path:
        """A path without a database."""
        self._copies += 1
        return self.folder / f"{self._copies}.db"


# -- processes


@dataclass
class Running:
    """A server that the benchmark started, and the database or file that it serves."""

    pid: int
    port: int
    database: Path


@contextmanager
def daemon(bench: Bench, database: Path, interval: int = INTERVAL, root: Path = ROOT) -> Iterator[Running]:
    """Run the daemon of the checkout at `root` as `python3 manage.py run` does, with its log in a file, until the block
    ends."""
    command = [sys.executable, "-OO", str(root / "manage.py"), "--database", str(database)]
    command += ["run", "--port", str(free_port()), "--interval", str(interval)]
    with served(bench, command, database, root) as running:
        yield running


@contextmanager
def comparison(bench: Bench, *arguments: str) -> Iterator[Running]:
    """Run one of serve.py's servers until the block ends."""
    command = [sys.executable, "-OO", str(ROOT / "benchmarks" / "serve.py"), *arguments, str(free_port())]
    with served(bench, command, Path(arguments[1])) as running:
        yield running


@contextmanager
def served(bench: Bench, command: Sequence[str], source: Path, root: Path = ROOT) -> Iterator[Running]:
    """Run what says its address in the first line that it prints, until the block ends; its log is in a file.

    :raises RuntimeError: if it does not start.
    """
    log_path = bench.folder / f"{source.name}.log"
    environment = {**os.environ, "TIDEMARK_NO_BOOTSTRAP": "1", "MALLOC_ARENA_MAX": "1"}
    with open(log_path, "ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment, cwd=root)
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        if "http://" not in line:
            raise RuntimeError(f"{' '.join(command)} did not start: {log_path.read_text()[-300:]}")
        yield Running(process.pid, int(line.rstrip().rstrip("/").rsplit(":", 1)[1]), source)
    finally:
        stop(process)


def stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


# -- the kernel's counts


def cpu_ms(pid: int) -> float:
    """CPU milliseconds of all live threads of the process (docs.kernel.org/scheduler/sched-stats.html)."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:
            continue
    return total / 1e6


def written_bytes(pid: int) -> int:
    """Bytes that the process caused to be written to the disk (proc(5), /proc/pid/io)."""
    return next(
        int(line.split()[1])
        for line in Path(f"/proc/{pid}/io").read_text().splitlines()
        if line.startswith("write_bytes")
    )


def memory_mib(pid: int) -> tuple[float, float, float]:
    """(USS, USS as if no other Python ran, resident). The second counts every page of Python's and the project's files,
    which are shared, and so not in USS, while any other Python runs, such as this benchmark."""
    unique = own = resident = 0
    is_own = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            path = rest[4] if len(rest) > 4 else ""
            is_own = "python" in path.lower() or path.startswith(str(ROOT))
        elif first == "Rss:":
            resident += int(rest[0])
            own += int(rest[0]) if is_own else 0
        elif first in ("Private_Clean:", "Private_Dirty:"):
            unique += int(rest[0])
            own += 0 if is_own else int(rest[0])
    return unique / 1024, own / 1024, resident / 1024


# -- clients


class Client:
    """One keep-alive connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def get(self, path: str) -> bytes:
        """The body.

        :raises RuntimeError: if the answer is not 200.
        """
        self._connection.request("GET", path)
        answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body[:200]!r}")
        return body

    def close(self) -> None:
        self._connection.close()


class Cost(NamedTuple):
    cpu_ms: float
    wall_ms: float


def cost_of(client: Client, pid: int, path: str) -> Cost:
    """One request: CPU of the whole server, and wall time as the client sees it."""
    before, start = cpu_ms(pid), time.perf_counter()
    client.get(path)
    wall = time.perf_counter() - start
    time.sleep(0.004)  # for what the server still does after its last byte
    return Cost(cpu_ms(pid) - before, 1000 * wall)


def requests_per_second(port: int, path: str, seconds: float) -> float:
    """Over one keep-alive connection, by wrk if there is one, else by a bare socket."""
    wrk = shutil.which("wrk")
    if wrk:
        command = [wrk, "-t1", "-c1", f"-d{seconds:.0f}s", f"http://127.0.0.1:{port}{path}"]
        lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
        if any("Non-2xx" in line for line in lines):
            raise RuntimeError(f"{path}: not every answer was 200")
        return float(next(line.split()[1] for line in lines if line.startswith("Requests/sec")))
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        count, length, end = 0, 0, time.perf_counter() + seconds
        start = time.perf_counter()
        while time.perf_counter() < end:
            connection.sendall(request)
            length = _receive_answer(connection, length)
            count += 1
        return count / (time.perf_counter() - start)


def _receive_answer(connection: socket.socket, usual_length: int) -> int:
    """Read one answer and return its length. If it is as long as the answer before, its head is not parsed."""
    received = connection.recv(65536)
    while len(received) != usual_length or not usual_length:
        head, found, body = received.partition(b"\r\n\r\n")
        if found:
            fields = head.lower().split(b"\r\n")
            expected = next(int(f.split(b":")[1]) for f in fields if f.startswith(b"content-length"))
            if len(body) >= expected:
                break
        more = connection.recv(65536)
        if not more:
            raise RuntimeError("the server closed the connection")
        received += more
    return len(received)


# -- small things


def until_fraction(fraction: float) -> None:
    """Sleep until the wall clock is at this fraction of a second: away from ticks, which fire on whole seconds."""
    time.sleep((fraction - time.time()) % 1.0)


def median_cpu_ms(work: Callable[[], object], times: int) -> float:
    """CPU of this thread for one call."""
    costs = []
    for _ in range(times):
        before = time.thread_time()
        work()
        costs.append(1000 * (time.thread_time() - before))
    return statistics.median(costs)


def count_samples(database: Path) -> int:
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT COUNT(*) FROM samples").fetchone()[0])
    finally:
        connection.close()
