"""Which request gets a thread: those for the history two at a time, at once whatever else is asked."""

import socket

import pytest

from service.web import turns
from tests.web.conftest import Served, a_request, fetched, until

DEAR = "/api/v1/held"


def waiting(served: Served) -> int:
    """How many requests for the history wait for their turn."""
    return len(served.server._server.task_dispatcher._dear)


def two_at_work(served: Served) -> list[socket.socket]:
    """Two clients whose requests for the history are worked at, so that the next ones wait."""
    clients = [served.connect(a_request(DEAR, "Connection: close"))]
    served.wait_for("api/v1/held")
    clients.append(served.connect(a_request(DEAR, "Connection: close")))
    served.wait_for("api/v1/held", "api/v1/held")
    return clients


def test_requests_for_the_history_are_worked_at_two_at_a_time(served: Served) -> None:
    clients = [served.connect(a_request(DEAR, "Connection: close")) for _ in range(5)]
    until(lambda: waiting(served) == 3)
    served.wait_for("api/v1/held", "api/v1/held")
    served.let_go.set()
    assert [fetched(client).split(b" ")[1] for client in clients] == [b"200"] * 5
    served.settle()
    assert served.server._server.task_dispatcher._dear_at_work == 0


def test_whatever_else_is_asked_is_answered_meanwhile(served: Served) -> None:
    for _ in range(5):
        served.connect(a_request(DEAR))
    until(lambda: waiting(served) == 3)
    others = [served.connect(a_request("/held", "Connection: close")) for _ in range(3)]
    served.wait_for("api/v1/held", "api/v1/held", "held", "held", "held")
    assert served.ask("/quick").startswith("HTTP/1.1 200")
    served.let_go.set()
    assert all(fetched(other).startswith(b"HTTP/1.1 200") for other in others)


def test_six_requests_are_worked_at_at_once(served: Served) -> None:
    for _ in range(7):
        served.connect(a_request("/held"))
    queue = served.server._server.task_dispatcher.queue
    until(lambda: len(served.at_work) + len(queue) == 7 and len(served.at_work) == 6)
    served.let_go.set()
    served.wait_for(*["held"] * 7)


def test_one_more_than_may_wait_is_refused_at_once_and_others_after_it_are_not(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "DEAR_WAITING", 3)
    clients = two_at_work(served)
    clients += [served.connect(a_request(DEAR, "Connection: close")) for _ in range(3)]
    until(lambda: waiting(served) == 3)
    assert served.ask("/api/v1/quick").startswith("HTTP/1.1 503")
    assert served.ask("/quick").startswith("HTTP/1.1 200")
    served.let_go.set()
    assert [fetched(client).split(b" ")[1] for client in clients] == [b"200"] * 5


def test_a_connection_that_was_refused_is_answered_when_it_asks_again(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "DEAR_WAITING", 1)
    two_at_work(served)
    served.connect(a_request(DEAR))
    until(lambda: waiting(served) == 1)
    client = served.connect(a_request("/api/v1/quick"))
    assert client.recv(2**16).startswith(b"HTTP/1.1 503")
    served.let_go.set()
    served.settle()
    client.sendall(a_request("/api/v1/quick", "Connection: close"))
    assert b"HTTP/1.1 200" in fetched(client)


@pytest.fixture
def hurried(served: Served, monkeypatch: pytest.MonkeyPatch) -> Served:
    """A server that does not wait long for what is worked at when it stops."""
    monkeypatch.setattr("service.web.server.DRAIN_SECONDS", 0.1)
    return served


@pytest.mark.parametrize("path", ["broken", "api/v1/broken"])
def test_a_thread_whose_work_is_broken_off_does_the_next(
    hurried: Served, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    count = 2 * turns.THREADS
    for _ in range(count):
        hurried.connect(a_request(f"/{path}"))
    hurried.wait_for(*[path] * count)
    hurried.settle()
    assert hurried.ask("/api/v1/quick").startswith("HTTP/1.1 200")
    assert caplog.text.count("a request was not answered") == count
    hurried.stop()


def test_who_waits_for_a_turn_when_the_server_stops_is_not_worked_at(hurried: Served) -> None:
    for _ in range(3):
        hurried.connect(a_request(DEAR))
    until(lambda: waiting(hurried) == 1)
    hurried.server.stop()
    until(lambda: waiting(hurried) == 0)
    until(lambda: not hurried.server._server.task_dispatcher.queue)
    hurried.let_go.set()
    hurried.stop()
    assert hurried.at_work == ["api/v1/held"] * 2


def test_what_is_no_request_has_no_turn_of_the_history(served: Served) -> None:
    client = served.connect(b"GET\r\n\r\n")
    assert fetched(client).split(b" ")[1] == b"400"
