"""Slow, huge, odd and hostile clients: none delays a sample or learns what it should not."""

import http.client
import json
import os
import re
import select
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import METRICS
from service.records import Break, Sample
from service.store import database
from service.store.writer import Store
from tests.conftest import Start
from tests.faults.kit import answer, rarely, verb
from tests.faults.kit_host import address, is_well, longest_covered, raw, resident_bytes, spoilt, tool
from tests.running import Running, query, until

URLS = (
    "/api/process/resource-usage",
    "/api/v1/series?metric=cpu_percent&metric=network_sent_bytes",
    "/api/v1/summary",
    "/api/v1/peaks",
    "/api/v1/gaps",
    "/api/v1/openapi.json",
    "/healthz",
    "/metrics",
)


def test_every_route_is_answered_by_the_real_daemon(start: Start) -> None:
    daemon = start()
    daemon.wait_for_samples(2)
    assert {url: answer(daemon, url)[0] for url in URLS} == dict.fromkeys(URLS, 200)


# -- slow clients


@contextmanager
def crowd(daemon: Running, number: int, first: bytes, drip: bytes) -> Iterator[list[socket.socket]]:
    """So many connections, each of which sends `first` and then `drip` every second; those cut off are replaced."""
    clients: list[socket.socket] = []
    done = threading.Event()

    def join() -> socket.socket | None:
        client = socket.socket()
        client.setblocking(False)
        try:
            client.connect(address(daemon))
        except BlockingIOError:
            pass
        except OSError:
            client.close()
            return None
        return client

    def attack() -> None:
        greeted: set[socket.socket] = set()
        while not done.is_set():
            while len(clients) < number and (client := join()) is not None:
                clients.append(client)
            for client in list(clients):
                try:
                    client.send(drip if client in greeted else first) if first else None
                    greeted.add(client)
                except BlockingIOError:
                    continue
                except OSError:
                    clients.remove(client)
                    client.close()
            done.wait(1)

    thread = threading.Thread(target=attack)
    thread.start()
    try:
        until(lambda: len(clients) >= number * 0.9, 20)
        yield clients
    finally:
        done.set()
        thread.join(20)
        for client in clients:
            client.close()


ATTACKS = {
    "headers that never end": (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"X-a: b\r\n"),
    "a body that never ends": (b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n", b"x"),
    "empty lines": (b"\r\n", b"\r\n"),
    "silence": (b"", b""),
}


@pytest.mark.parametrize(
    "attack",
    [pytest.param(name, marks=[] if name.startswith(("headers", "sil")) else pytest.mark.slow) for name in ATTACKS],
)
def test_a_thousand_slow_clients_keep_nobody_else_out_and_delay_no_sample(start: Start, attack: str) -> None:
    daemon = start()
    daemon.wait_for_samples(2)
    with crowd(daemon, 1000, *ATTACKS[attack]):
        time.sleep(1)
        waits = []
        for _ in range(10):
            since = time.monotonic()
            assert answer(daemon, "/api/process/resource-usage")[0] == 200
            waits.append(time.monotonic() - since)
            time.sleep(0.5)
        assert max(waits) < 15
    daemon.wait_for_samples(1)
    assert longest_covered(daemon) <= 2.0
    assert query(daemon.path, "SELECT count(*) FROM gaps") == [(0,)]
    assert resident_bytes(daemon.process.pid) < 120 * 2**20
    is_well(daemon)


@pytest.mark.parametrize("opening", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n"])
def test_a_client_that_begins_no_request_in_time_is_cut_off_though_the_clock_stands(
    start: Start, tmp_path: Path, opening: bytes
) -> None:
    """The wall clock, by which waitress itself measures, may be set back."""
    code = "import service.web.server as s\ns.REQUEST_SECONDS = 2.0\nimport time\ntime.time = lambda: 1e9\n"
    daemon = start(**spoilt(tmp_path, code))
    with socket.create_connection(address(daemon), timeout=20) as client:
        since, ended = time.monotonic(), False
        while not ended and time.monotonic() - since < 15:
            try:
                if opening:
                    client.send(opening[:1] if time.monotonic() - since < 1 else b"a")
                ended = bool(select.select([client], [], [], 0.5)[0]) and client.recv(1000) == b""
            except OSError:
                ended = True
    assert ended
    assert time.monotonic() - since < 10


def test_a_client_that_does_not_fetch_its_answer_is_cut_off(start: Start, tmp_path: Path) -> None:
    daemon = start(**spoilt(tmp_path, "import service.web.server as s\ns.ANSWER_SECONDS = 2.0\n"))
    daemon.wait_for_samples(1)
    request = b"GET /api/v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with ExitStack() as held:
        for _ in range(20):
            client = held.enter_context(socket.socket())
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.connect(address(daemon))
            client.sendall(request * 450)
        until(lambda: answer(daemon, "/healthz")[0] == 200)
        until(lambda: _connections(daemon) <= 2, 30)
    assert resident_bytes(daemon.process.pid) < 120 * 2**20
    assert longest_covered(daemon) <= 2.0
    is_well(daemon)


def _connections(daemon: Running) -> int:
    port = f":{address(daemon)[1]:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = {line.split()[9] for line in lines if line.split()[1].endswith(port) and line.split()[3] == "01"}
    descriptors = Path(f"/proc/{daemon.process.pid}/fd")
    held = 0
    for name in os.listdir(descriptors):
        try:
            held += os.readlink(descriptors / name)[8:-1] in inodes
        except OSError:
            continue
    return held


def test_a_slow_keep_alive_client_is_kept(start: Start, tmp_path: Path) -> None:
    """Deadlines count from the last answer, not from when the connection was made."""
    daemon = start(
        **spoilt(tmp_path, "import service.web.server as s\ns.REQUEST_SECONDS = 1.5\ns.IDLE_SECONDS = 2.5\n")
    )
    client = http.client.HTTPConnection(*address(daemon), timeout=20)
    client.connect()
    first = client.sock
    for _ in range(6):
        client.request("GET", "/healthz")
        assert json.loads(client.getresponse().read())["status"] == "ok"
        time.sleep(1)
    assert client.sock is first
    client.close()


def test_with_few_descriptors_clients_do_not_take_those_of_the_sampler(start: Start) -> None:
    limit = tool("prlimit")
    daemon = start()
    daemon.wait_for_samples(1)
    subprocess.run([limit, "--pid", str(daemon.process.pid), "--nofile=40:"], check=True)
    with crowd(daemon, 200, *ATTACKS["headers that never end"]):
        time.sleep(4)
        before = _cpu_seconds(daemon.process.pid)
        time.sleep(2)
        assert _cpu_seconds(daemon.process.pid) - before < 1.5, "it must not spin on accept()"
    subprocess.run([limit, "--pid", str(daemon.process.pid), "--nofile=1024:"], check=True)
    is_well(daemon)
    assert longest_covered(daemon) <= 2.0
    assert daemon.errors.read_text().count("\n") < 100


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- greedy clients


def test_health_and_the_endpoint_do_not_wait_behind_greedy_clients(start: Start, tmp_path: Path) -> None:
    """As if each answer of the API took half a second."""
    code = (
        "import service.answers.monitor as m, threading\n"
        "gaps = m.ResourceMonitor.gaps\n"
        "def slow(self, *window):\n"
        "    threading.Event().wait(0.5)\n"
        "    return gaps(self, *window)\n"
        "m.ResourceMonitor.gaps = slow\n"
    )
    daemon = start(**spoilt(tmp_path, code))
    daemon.wait_for_samples(2)
    done, statuses = threading.Event(), []

    def ask_on() -> None:
        while not done.is_set():
            statuses.append(answer(daemon, "/api/v1/gaps", timeout=60)[0])

    with ThreadPoolExecutor(64) as pool:
        for _ in range(64):
            pool.submit(ask_on)
        time.sleep(2)
        waits = []
        for path in ["/healthz", "/api/process/resource-usage"] * 5:
            since = time.monotonic()
            assert answer(daemon, path)[0] == 200
            waits.append(time.monotonic() - since)
        done.set()
    assert max(waits) < 2
    assert set(statuses) == {200, 503}
    assert longest_covered(daemon) <= 2.0


def test_eight_clients_at_once_are_all_answered(start: Start) -> None:
    daemon = start()
    daemon.wait_for_samples(2)
    widest = ["/api/v1/summary?window=10y", "/api/v1/processes?start=-10y", "/api/v1/peaks?window=10y"]
    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(lambda path: answer(daemon, path, timeout=60)[0], widest * 8))
    assert found == [200] * 24


# -- huge and odd requests


def test_a_body_of_a_gigabyte_is_refused_before_it_is_sent(start: Start) -> None:
    daemon = start()
    daemon.wait_for_samples(1)
    before = resident_bytes(daemon.process.pid)
    head = b"POST /api/v1/gaps HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n"
    assert raw(daemon, head + b"x" * 100_000).startswith((b"HTTP/1.1 413", b""))
    with socket.create_connection(address(daemon), timeout=20) as client:
        client.sendall(b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        try:
            while sent < 10**9:
                sent += client.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        except OSError:
            pass
    assert sent < 10**8
    assert resident_bytes(daemon.process.pid) - before < 20 * 2**20
    is_well(daemon)


HOST = b"Host: localhost\r\n"
ODD = {
    "a header of 1 MB": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 10**6 + b"\r\n\r\n",
    "10000 headers": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\r\n" * 10_000 + b"\r\n",
    "a path of 1 MB": b"GET /" + b"a" * 10**6 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "no version": b"GET /healthz\r\n\r\n",
    "another version": b"GET /healthz HTTP/9.9\r\n" + HOST + b"\r\n",
    "nothing but noise": bytes(range(256)) * 20 + b"\r\n\r\n",
    "TLS": bytes.fromhex("16030100c8010000c40303") + os.urandom(190) + b"\r\n\r\n",
    "two lengths": b"POST /healthz HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a negative length": b"POST /healthz HTTP/1.1\r\n" + HOST + b"Content-Length: -5\r\n\r\n",
    "length and chunks": b"POST / HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a folded header": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "a bare line feed": b"GET /healthz HTTP/1.1\nHost: localhost\n\n",
    "a NUL in the path": b"GET /healthz\0 HTTP/1.1\r\n" + HOST + b"\r\n",
    "a NUL in a header": b"GET /healthz HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "no host in HTTP/1.0": b"GET /healthz HTTP/1.0\r\n\r\n",
    "two hosts": b"GET /healthz HTTP/1.1\r\n" + HOST + b"Host: evil.example\r\n\r\n",
    "an absolute address": b"GET http://evil.example/healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One daemon for all the odd requests; it must be well after each."""
    folder = tmp_path_factory.mktemp("shared")
    daemon = Running(folder / "data" / "tidemark.db", folder / "errors")
    daemon.wait_for_samples(2)
    yield daemon
    daemon.end()


@pytest.mark.parametrize("request_", ODD.values(), ids=ODD)
def test_an_odd_request_gets_an_error_or_nothing_and_the_next_one_its_answer(shared: Running, request_: bytes) -> None:
    try:
        got = raw(shared, request_)
    except ConnectionError:
        got = b""
    status = got.split(b" ", 2)[1:2]
    assert not status or status[0][:1] in b"24", got[:300]
    if b"evil" in request_:
        assert status == [b"400"], got[:300]
    _reveals_nothing(got.decode("latin-1"))
    assert answer(shared, "/healthz")[0] == 200


TWO_LENGTHS = {
    "HTTP/1.1": b"GET /healthz HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.0": b"GET /healthz HTTP/1.0\r\n" + HOST + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
}


@pytest.mark.parametrize("head", TWO_LENGTHS.values(), ids=TWO_LENGTHS)
def test_a_request_with_two_lengths_is_the_last_of_its_connection(shared: Running, head: bytes) -> None:
    """What follows may be a request that was smuggled past a proxy (RFC 9112, 6.1)."""
    with socket.create_connection(address(shared), timeout=20) as client:
        client.sendall(head + b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
        client.settimeout(5)
        got = b"".join(iter(lambda: client.recv(4096), b""))
    assert got.split(b" ")[1] == b"200"
    assert (got.count(b"HTTP/1."), b"Connection: close" in got) == (1, True)


def test_a_health_check_needs_no_name(shared: Running) -> None:
    assert raw(shared, b"GET /healthz HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 200")
    assert raw(shared, b"GET /api/v1/gaps HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 400")


PATHS = [
    "//evil.example",
    "//evil.example/%2e%2e",
    "/\\evil.example",
    "/%2f%2fevil.example",
    "/..%2f..%2fetc/passwd",
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/static/../../../etc/passwd",
    "/static/..%2f..%2f..%2fconfig.py",
    "/static/%00",
    "/static//etc/passwd",
    "/api/v1/",
    "/api/v1/gaps/",
    "/api//v1/gaps",
    "/.git/config",
    "/data/tidemark.db",
    "/%ff%fe",
    "/" + "%0d%0aSet-Cookie:%20x=1",
    "/" + "a/" * 2000,
    "/healthz;x=1",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_trick_with_the_path_leads_anywhere(shared: Running, path: str) -> None:
    got = raw(shared, b"GET " + path.encode() + b" HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
    head, _, body = got.decode("latin-1").partition("\r\n\r\n")
    assert head.split(" ")[1] in ("404", "405", "400", "308"), head
    assert all(place.startswith("http://localhost/") for place in re.findall(r"(?i)location: *(.*)", head))
    assert "set-cookie" not in head.lower()
    assert "evil" not in body
    assert "root:" not in body
    _reveals_nothing(body)


@pytest.mark.parametrize("method", ["FOO", "G" * 1000, "get", "PROPFIND", "POST", "DELETE", "TRACE", "GET\t"])
def test_no_odd_method_is_served_or_becomes_a_label(shared: Running, method: str) -> None:
    got = raw(shared, f"{method} /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert got.split(b" ")[1] in (b"405", b"400", b"501"), got[:200]
    assert method not in answer(shared, "/metrics")[1]


def test_a_hundred_requests_in_one_packet_are_answered_in_order(shared: Running) -> None:
    paths = [b"/healthz", b"/nowhere"] * 50
    got = raw(shared, b"".join(b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n" for path in paths))
    assert re.findall(rb"HTTP/1.1 (\d+) ", got) == [b"200", b"404"] * 50


VALUES = [
    "-1",
    "1e309",
    "nan",
    "inf",
    "%D9%A1%D9%A2",
    "a" * 10_000,
    "%00",
    "1;DROP TABLE run",
    "'",
    "%FF",
    "1&points=2",
    "",
]


@pytest.mark.parametrize("value", VALUES)
def test_no_odd_parameter_is_an_error_of_ours(shared: Running, value: str) -> None:
    for url in (
        f"/api/v1/series?metric=cpu_percent&points={value}",
        f"/api/v1/series?metric={value}",
        f"/api/v1/series?metric=cpu_percent&start={value}",
        f"/api/v1/gaps?end={value}",
        f"/api/v1/summary?window={value}",
        f"/api/v1/peaks?count={value}",
        f"/api/v1/peaks?{value}={value}",
    ):
        status = int(raw(shared, f"GET {url} HTTP/1.0\r\nHost: localhost\r\n\r\n".replace(" TABLE ", "+").replace(
            "DROP TABLE run", "DROP").encode()).split(b" ")[1])  # fmt: skip
        assert status in (200, 400, 431), url


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.nip.io", "localhost.evil.example", "0", "127.1", "[::]"])
def test_a_name_made_to_stand_for_this_address_is_refused(shared: Running, host: str) -> None:
    status, text = answer(shared, "/healthz", {"Host": host})
    assert status == 400
    assert list(json.loads(text)) == ["error"]


def test_no_header_lets_a_foreign_page_in(shared: Running) -> None:
    ask = (
        b"GET /healthz HTTP/1.0\r\nHost: localhost\r\nOrigin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\n\r\n"
    )
    assert b"access-control" not in raw(shared, ask).lower()


def test_headers_of_a_proxy_are_not_trusted(shared: Running) -> None:
    headers = {"X-Forwarded-Host": "evil.example", "X-Forwarded-For": "127.0.0.1", "Forwarded": "host=evil.example"}
    assert answer(shared, "/healthz", headers)[0] == 200
    assert answer(shared, "/healthz", {**headers, "Host": "evil.example", "X-Forwarded-Host": "localhost"})[0] == 400


# -- what answers reveal


def _reveals_nothing(text: str) -> None:
    """No path of ours, no SQL, no stack."""
    for word in ("Traceback", "SELECT", "sqlite", ".py", "/work", "/tmp", "site-packages", "tidemark.db"):
        assert word not in text, text[:500]


def _asked(daemon: Running) -> dict[str, tuple[int, str, float]]:
    def ask(url: str) -> tuple[int, str, float]:
        since = time.monotonic()
        return (*answer(daemon, url), time.monotonic() - since)

    return {url: ask(url) for url in URLS if url not in ("/healthz", "/metrics", "/api/v1/openapi.json")}


def _are_answers_or_errors(answers: dict[str, tuple[int, str, float]], seconds: float = 4.0) -> None:
    for url, (status, text, took) in answers.items():
        assert status in (200, 500), (url, text)
        assert took < seconds, url
        if status == 500:
            body = json.loads(text)
            assert list(body) == ["error"]
            assert body["error"].startswith("Server error: ")
            _reveals_nothing(text)


@pytest.mark.parametrize("fault", ["locked", "garbled", *rarely("removed", "emptied", "unreadable")])
def test_a_database_that_cannot_be_read_is_500_without_path_or_sql(start: Start, tmp_path: Path, fault: str) -> None:
    daemon = start()
    daemon.wait_for_samples(3)
    lock = None
    if fault == "locked":
        lock = sqlite3.connect(daemon.path, isolation_level=None)
        lock.execute("PRAGMA locking_mode=EXCLUSIVE")
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            lock.close()
            lock = None
    elif fault == "garbled":
        with daemon.path.open("r+b") as file:
            file.seek(100)
            file.write(os.urandom(daemon.path.stat().st_size))
    elif fault == "removed":
        for file in daemon.path.parent.glob("tidemark.db*"):
            if not file.name.endswith(".lock"):
                file.unlink()
    elif fault == "emptied":
        os.truncate(daemon.path, 0)
    else:
        daemon.path.rename(daemon.path.with_suffix(".away"))
        daemon.path.mkdir()
    _are_answers_or_errors(_asked(daemon))
    time.sleep(1.5)
    _are_answers_or_errors(_asked(daemon))
    if lock is not None:
        lock.close()
    if fault == "unreadable":
        daemon.path.rmdir()
    assert daemon.process.poll() is None


def test_a_client_that_leaves_amid_an_answer_holds_nothing(start: Start) -> None:
    daemon = start()
    daemon.wait_for_samples(2)
    for _ in range(100):
        with socket.create_connection(address(daemon)) as client:
            client.sendall(b"GET /api/v1/series?metric=cpu_percent&start=-1h HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
    until(lambda: _connections(daemon) == 0)
    # No read transaction is left: the write-ahead log can be taken in whole.
    connection = sqlite3.connect(daemon.path)
    until(lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, 20)
    connection.close()
    assert daemon.errors.read_text().count("Traceback") == 0
    is_well(daemon)


@pytest.fixture(scope="module")
def a_week(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A week at 5 s, which ends now."""
    path = tmp_path_factory.mktemp("week") / "tidemark.db"
    database.migrate(path)
    store = Store(path)
    store.open()
    count = 7 * 86400 // 5
    first = int(time.time()) - 5 * count
    store.begin_run(first, first - 1000, "boot", "0.1.0", 5)
    samples = [
        Sample(
            first + 5 * i, 5.0, {m.name: float(i % 97) if not m.is_counter else 1000 * i for m in METRICS},
            Break(None, None) if i == 0 else None,
        )
        for i in range(count)
    ]  # fmt: skip
    for at in range(0, count, 5000):
        store.append(samples[at : at + 5000])
    while store.roll_up():
        pass
    store.close()
    return path


def test_a_week_in_one_request_is_answered_soon_and_in_little_memory(
    start: Start, a_week: Path, tmp_path: Path
) -> None:
    daemon = start(path=Path(shutil.copy(a_week, tmp_path / "tidemark.db")))
    daemon.wait_for_samples(2)
    metrics = "&".join(f"metric={metric.name}" for metric in METRICS)
    assert answer(daemon, f"/api/v1/series?{metrics}&start=-1h")[0] == 200
    before = resident_bytes(daemon.process.pid)
    for url in (
        f"/api/v1/series?{metrics}&start=-7d",
        f"/api/v1/series?{metrics}&start=-7d&points=5000",
        f"/api/v1/series?{metrics}&start=0",
        "/api/v1/summary?window=7d",
        "/api/v1/peaks?window=7d",
        "/api/v1/summary?window=10y",
    ):
        since = time.monotonic()
        status, text = answer(daemon, url)
        assert status == 200, text[:200]
        assert time.monotonic() - since < 5, url
        assert len(text) < 4 * 2**20
    assert resident_bytes(daemon.process.pid) - before < 40 * 2**20
    assert longest_covered_of_run(daemon) <= 2.0


def longest_covered_of_run(daemon: Running) -> float:
    started = "SELECT max(strftime('%s', started)) FROM runs"
    return float(query(daemon.path, f"SELECT max(covered_seconds) FROM samples WHERE ts > ({started})")[0][0])


def test_heavy_questions_from_many_clients_delay_no_sample(start: Start, a_week: Path, tmp_path: Path) -> None:
    daemon = start(path=Path(shutil.copy(a_week, tmp_path / "tidemark.db")))
    daemon.wait_for_samples(2)
    metrics = "&".join(f"metric={metric.name}" for metric in METRICS)
    end = time.monotonic() + 6

    def ask(number: int) -> list[int]:
        statuses = []
        while time.monotonic() < end:
            statuses.append(answer(daemon, f"/api/v1/series?{metrics}&start=-{4 + number}d&points=5000")[0])
        return statuses

    with ThreadPoolExecutor(12) as pool:
        found = [status for statuses in pool.map(ask, range(12)) for status in statuses]
    assert 200 in found
    assert set(found) <= {200, 500}  # cut off after ten seconds, on a slow machine
    daemon.wait_for_samples(1)
    assert longest_covered_of_run(daemon) <= 2.0
    assert resident_bytes(daemon.process.pid) < 160 * 2**20


# -- hostile names


@pytest.fixture
def hostile(tmp_path: Path) -> Iterator[str]:
    """A process with a hostile name and a secret in its command line and environment, which uses the CPU."""
    name = '<b>"&x\'\n{a="b'  # 15 bytes are all that the kernel keeps
    secret = "S3CRET-" + os.urandom(8).hex()
    program = tmp_path / "loop.py"
    program.write_text(
        "import ctypes, sys, time\n"
        "ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)\n"
        "end = time.time() + 60\nwhile time.time() < end: pass\n"
    )
    process = subprocess.Popen(
        [sys.executable, str(program), name, f"--password={secret}"], env={**os.environ, "PASSWORD": secret}
    )
    yield secret
    process.kill()
    process.wait()


def test_a_secret_in_a_command_line_is_nowhere_and_a_hostile_name_breaks_nothing(
    start: Start, tmp_path: Path, hostile: str
) -> None:
    daemon = start(
        "--log-level", "DEBUG", TIDEMARK_SAMPLING_PROCESSES_INTERVAL="1", TIDEMARK_SAMPLING_PROCESSES_COUNT="100"
    )
    daemon.wait_for_samples(5)
    texts = {url: answer(daemon, url)[1] for url in (*URLS, "/", "/api/docs", "/api/v1/processes", "/api/v1/insights")}
    for url, text in texts.items():
        assert hostile not in text, url
        assert "<b>" not in text or url.startswith("/api"), url
        if url.startswith("/api/v1") or url == "/healthz":
            json.loads(text)
    if texts["/metrics"].startswith("#"):
        assert list(text_string_to_metric_families(texts["/metrics"]))
    copy = tmp_path / "copy.db"
    assert verb(daemon.path, "backup", str(copy)).returncode == 0
    shown = [verb(daemon.path, *words).stdout for words in (["status"], ["check"], ["sql", "SELECT * FROM runs"])]
    assert daemon.stop() == 0
    secret = hostile.encode()
    assert not any(hostile in text for text in shown)
    assert secret not in copy.read_bytes()
    for file in daemon.path.parent.iterdir():
        assert secret not in file.read_bytes()
    log = daemon.errors.read_text()
    assert hostile not in log
    assert all(line[:2] == "20" or line[:4] == "    " for line in log.splitlines())


def test_a_token_is_in_no_log_and_no_answer(start: Start, tmp_path: Path) -> None:
    token = os.urandom(16).hex()
    file = tmp_path / "token"
    file.write_text(token)
    file.chmod(0o600)
    daemon = start("--log-level", "DEBUG", TIDEMARK_SERVER_TOKEN_FILE=str(file))
    daemon.wait_for_samples(1)
    wrong = os.urandom(16).hex()
    assert answer(daemon, "/api/v1/gaps", {"Authorization": f"Bearer {wrong}"})[0] == 401
    status, text = answer(daemon, "/api/v1/gaps", {"Authorization": f"Bearer {token}"})
    assert status == 200
    assert token not in text
    assert daemon.stop() == 0
    assert token not in daemon.errors.read_text()
    assert wrong not in daemon.errors.read_text()
    assert token.encode() not in daemon.path.read_bytes()


def test_health_is_degraded_while_readers_cannot_read_and_says_so(start: Start, tmp_path: Path) -> None:
    """As on a file whose mode was changed, or a disk that fails reads: samples are stored all the same."""
    sign = tmp_path / "unreadable"
    code = (
        "import pathlib, sqlite3, service.store.reader as r\n"
        f"sign, reading = pathlib.Path({str(sign)!r}), r.reading\n"
        "def refused(engine):\n"
        "    if sign.exists():\n"
        "        raise r.HistoryUnreadable('the history cannot be read') from sqlite3.OperationalError('I/O error')\n"
        "    return reading(engine)\n"
        "r.reading = refused\n"
    )
    daemon = start(**spoilt(tmp_path, code))
    daemon.wait_for_samples(2)
    is_well(daemon)
    sign.touch()
    daemon.wait_for_samples(2)
    status, text = answer(daemon, "/healthz")
    health = json.loads(text)
    assert (status, health["status"]) == (200, "degraded")
    assert health["last_error"].startswith("the history cannot be read")
    sign.unlink()
    is_well(daemon)
