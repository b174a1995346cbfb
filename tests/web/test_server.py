"""Where the server listens and whom it cuts off when; what attackers do is in tests/faults/test_web_attacks.py."""

import errno
import resource
import socket
import threading
from typing import Any

import pytest
from flask.testing import FlaskClient
from waitress import wasyncore

from service.errors import StartFailed
from service.web import server
from service.web.server import Server, listening_sockets
from tests.web.conftest import BIG_BYTES, Served, a_request, close, fetched, is_open, until

# Of the block that is set aside for documentation (RFC 5737): no host has it.
NOWHERE = "192.0.2.1"


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that every name stands for, here."""
    addresses: list[str] = []

    def getaddrinfo(_: object, port: int, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return addresses


def listened_at(host: str, port: int = 0) -> list[str]:
    sockets = listening_sockets(host, port)
    found = [bound.getsockname()[0] for bound in sockets]
    for bound in sockets:
        bound.close()
    return found


def test_it_listens_on_those_addresses_of_a_name_that_the_host_has(
    resolves: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    resolves += [NOWHERE, "127.0.0.1"]
    assert listened_at("localhost") == ["127.0.0.1"]
    assert caplog.messages == [f"cannot listen on {NOWHERE}: Cannot assign requested address"]
    resolves[:] = ["127.0.0.1", NOWHERE, "127.0.0.1", "127.0.0.2"]
    assert listened_at("localhost") == ["127.0.0.1", "127.0.0.2"]


def test_a_name_of_which_the_host_has_no_address_is_refused(resolves: list[str]) -> None:
    resolves += [NOWHERE]
    with pytest.raises(OSError, match="Cannot assign"):
        listening_sockets("localhost", 0)


def test_an_address_in_use_is_refused_though_another_is_free(resolves: list[str]) -> None:
    """Else its clients would be answered by somebody else."""
    resolves += ["127.0.0.2", "127.0.0.1"]
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        listening_sockets("localhost", other.getsockname()[1])


def test_the_refusal_names_address_and_setting(client: FlaskClient) -> None:
    with pytest.raises(StartFailed, match=rf"cannot listen on {NOWHERE}:1: .*; set server.host or server.port"):
        Server(client.application, NOWHERE, 1)


def test_the_address_is_one_to_open(client: FlaskClient) -> None:
    try:
        wide = Server(client.application, "::1", 0)
    except StartFailed:
        pytest.skip("needs IPv6")
    narrow = Server(client.application, "127.0.0.1", 0)
    for made, host in ((wide, "[::1]"), (narrow, "127.0.0.1")):
        assert made.address == f"http://{host}:{made._listeners[0].effective_port}/"
        made._server.task_dispatcher.shutdown()
        close(made)


def test_the_limit_of_descriptors_bounds_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft, most in ((1024, 256), (64, 32), (18, 9), (10, 8), (resource.RLIM_INFINITY, 256)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, soft=soft: (soft, soft))
        assert server.most_connections() == most


# -- who is cut off


def let_pass(seconds: int, served: Served, steady: list[float]) -> None:
    """Move the steady clock; the server has looked at its deadlines since."""
    served.settle()
    steady[0] += seconds
    assert served.ask("/quick").startswith("HTTP/1.1 200")


def begin(served: Served, steady: list[float], sent: bytes = b"") -> socket.socket:
    """A connection that the server knows from this second of the clock on."""
    let_pass(1, served, steady)
    client = served.connect(sent)
    let_pass(1, served, steady)
    return client


@pytest.mark.parametrize("sent", [b"", b"GET / HT"], ids=["nothing", "a part"])
def test_a_connection_that_sends_no_whole_request_is_cut_off_after_ten_seconds(
    served: Served, steady: list[float], sent: bytes
) -> None:
    client = begin(served, steady, sent)
    let_pass(10, served, steady)
    assert is_open(client)
    let_pass(1, served, steady)
    assert not is_open(client)


def test_a_request_that_drips_is_cut_off_after_ten_seconds_all_the_same(served: Served, steady: list[float]) -> None:
    client = begin(served, steady, b"G")
    for byte in b"ET / HTTP/":
        client.send(bytes([byte]))
        let_pass(1, served, steady)
    assert is_open(client)
    let_pass(1, served, steady)
    assert not is_open(client)


def answer_on(client: socket.socket) -> bytes:
    """The answer to a small request on a connection that stays."""
    client.sendall(a_request("/quick"))
    got = b""
    while not got.endswith(b"ok") and (part := client.recv(2**16)):
        got += part
    return got


def answered(served: Served, steady: list[float]) -> socket.socket:
    """A connection that was answered, known as such from this second on."""
    client = begin(served, steady)
    assert answer_on(client).startswith(b"HTTP/1.1 200")
    let_pass(1, served, steady)
    return client


def test_a_connection_that_was_answered_may_wait_thirty_seconds(served: Served, steady: list[float]) -> None:
    client = answered(served, steady)
    let_pass(30, served, steady)
    assert is_open(client)
    let_pass(1, served, steady)
    assert not is_open(client)


def test_each_answer_gives_a_connection_its_time_anew(served: Served, steady: list[float]) -> None:
    client = answered(served, steady)
    for _ in range(3):
        let_pass(20, served, steady)
        assert answer_on(client).startswith(b"HTTP/1.1 200")
    assert is_open(client)


def test_a_connection_that_wavers_between_waiting_and_asking_is_cut_off_after_both_times(
    served: Served, steady: list[float]
) -> None:
    """Two empty lines begin a request and end it."""
    client = answered(served, steady)
    for byte in (b"\r\n", b"\r\n") * 2:
        let_pass(9, served, steady)
        client.send(byte)
        let_pass(0, served, steady)  # so that the server has it before the clock moves
    let_pass(4, served, steady)
    assert is_open(client)
    let_pass(1, served, steady)
    assert not is_open(client)


def test_a_client_that_does_not_fetch_its_answer_is_cut_off_after_thirty_seconds(
    served: Served, steady: list[float]
) -> None:
    clients = [served.connect(a_request("/big")) for _ in range(2)]
    served.wait_for("big", "big")
    let_pass(1, served, steady)
    let_pass(30, served, steady)
    assert fetched_bytes(clients[0]) > BIG_BYTES
    let_pass(1, served, steady)
    assert len(fetched(clients[1])) < BIG_BYTES


def fetched_bytes(client: socket.socket) -> int:
    """How much there is of an answer that does not end the connection."""
    got = 0
    while got <= BIG_BYTES and (part := client.recv(2**20)):
        got += len(part)
    return got


def test_of_clients_that_fetch_nothing_the_oldest_is_cut_off_once_too_much_is_unread(
    served: Served, steady: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = []
    for _ in range(2):
        clients.append(begin(served, steady, a_request("/big")))
    unread = [channel.total_outbufs_len for channel in served.server._channels() if channel.total_outbufs_len]
    monkeypatch.setattr(server, "MOST_UNREAD_BYTES", sum(unread))
    let_pass(1, served, steady)
    assert len(served.server._waits) >= 2
    monkeypatch.setattr(server, "MOST_UNREAD_BYTES", sum(unread) - 1)
    let_pass(1, served, steady)
    assert len(fetched(clients[0])) < BIG_BYTES
    assert fetched_bytes(clients[1]) > BIG_BYTES


@pytest.fixture
def sixteen(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Served:
    """A server that takes sixteen connections at once, of which two are what it listens on."""
    monkeypatch.setattr(server, "CONNECTIONS", 16)
    return request.getfixturevalue("served")  # type: ignore[no-any-return]


def test_room_is_made_where_the_oldest_wait_once_seven_eighths_are_taken(sixteen: Served, steady: list[float]) -> None:
    clients = [begin(sixteen, steady) for _ in range(4)]
    clients += [sixteen.connect() for _ in range(7)]
    assert sixteen.ask("/quick").startswith("HTTP/1.1 200")
    assert [is_open(client) for client in clients] == [True] * 11
    clients.append(sixteen.connect())
    assert sixteen.ask("/quick").startswith("HTTP/1.1 200")
    assert [is_open(client) for client in clients] == [False] * 2 + [True] * 10


def test_who_waits_for_an_answer_is_not_cut_off_to_make_room(sixteen: Served, steady: list[float]) -> None:
    """Neither while it is made nor while it is fetched, though they wait longest."""
    clients = [begin(sixteen, steady, a_request("/big")), sixteen.connect(a_request("/held"))]
    sixteen.wait_for("big", "held", *["quick"] * 2)
    clients += [sixteen.connect() for _ in range(14)]
    until(lambda: not is_open(clients[2]))
    sixteen.let_go.set()
    assert fetched_bytes(clients[0]) > BIG_BYTES
    assert clients[1].recv(2**16).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_without_a_descriptor_for_a_connection_one_that_waits_makes_room(
    request: pytest.FixtureRequest, steady: list[float], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    failing: list[int] = []
    accept = wasyncore.dispatcher.accept

    def starved(listener: Any) -> Any:
        if failing:
            raise OSError(failing.pop(), "none left")
        return accept(listener)

    monkeypatch.setattr(wasyncore.dispatcher, "accept", starved)
    served: Served = request.getfixturevalue("served")
    client = begin(served, steady)
    failing.append(errno.ECONNABORTED)
    let_pass(1, served, steady)
    assert is_open(client)
    failing.append(number)
    let_pass(1, served, steady)
    assert not is_open(client)


# -- what waitress is set to


def test_a_request_whose_length_is_given_in_two_ways_is_the_last_of_its_connection(served: Served) -> None:
    lines = ("Content-Length: 5", "Transfer-Encoding: chunked")
    client = served.connect(a_request("/quick", *lines) + b"0\r\n\r\n" + a_request("/quick"))
    got = fetched(client)
    assert (got.count(b"HTTP/1.1 "), got.count(b"Connection: close")) == (1, 1)


def test_a_request_whose_length_is_given_once_is_not(served: Served) -> None:
    for line, body in (("Content-Length: 5", b"12345"), ("Transfer-Encoding: chunked", b"0\r\n\r\n")):
        client = served.connect(a_request("/quick", line) + body + a_request("/quick", "Connection: close"))
        assert fetched(client).count(b"HTTP/1.1 200") == 2


def test_what_a_proxy_says_of_the_client_is_not_passed_on(served: Served) -> None:
    given = ("X-Forwarded-For: 192.0.2.1", "X-Forwarded-Host: evil.example", "Forwarded: for=192.0.2.1", "X-Own: kept")
    answer = served.ask("/headers", *given)
    assert "Forwarded" not in answer
    assert "X-Own: kept" in answer


def test_the_answer_does_not_name_the_server(served: Served) -> None:
    assert "\r\nServer:" not in served.ask("/quick")


@pytest.mark.parametrize(("bytes_", "status"), [(15_000, "1.1 200"), (17_000, "1.0 431")])
def test_a_head_beyond_sixteen_kibibytes_is_refused(served: Served, bytes_: int, status: str) -> None:
    assert served.ask("/quick", "X-Long: " + "x" * bytes_).startswith(f"HTTP/{status}")


@pytest.mark.parametrize(("bytes_", "status"), [(65_535, "200"), (65_536, "413")])
def test_a_body_beyond_sixty_four_kibibytes_is_refused(served: Served, bytes_: int, status: str) -> None:
    client = served.connect(a_request("/quick", "Connection: close", f"Content-Length: {bytes_}"))
    if status == "200":
        client.sendall(b"x" * bytes_)
    assert fetched(client).startswith(f"HTTP/1.1 {status}".encode())


# -- the stop


def test_a_request_that_is_worked_at_when_the_server_stops_is_answered_and_a_new_one_refused(served: Served) -> None:
    client = served.connect(a_request("/held"))
    served.wait_for("held")
    served.server.stop()
    until(lambda: is_refused(served.port))
    served.let_go.set()
    assert client.recv(2**16).startswith(b"HTTP/1.1 200")


def is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except (ConnectionRefusedError, ConnectionResetError):  # reset: it was closed just then
        return True
    return False


def test_after_the_stop_no_thread_is_left(served: Served) -> None:
    assert sum(thread.name.startswith("waitress-") for thread in threading.enumerate()) == 6
    served.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("waitress-")]
