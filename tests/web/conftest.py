"""A server over real sockets: its application answers what the tests of connections need, its clock is the test's."""

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from flask import Flask, Response, request
from waitress import wasyncore

from service.web.server import Server

# More than what the kernel keeps, with small buffers, of an answer that its client does not fetch; and so little that
# waitress keeps the rest in memory.
BIG_BYTES = 900_000
_BUFFER_BYTES = 65_536


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the steady clock says."""
    seconds = [1000.0]
    monkeypatch.setattr("service.clock.steady", lambda: seconds[0])
    return seconds


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread does at once; an error if it does not."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


class Served:
    """A server that runs in a thread; its application holds the requests for /held and /api/v1/held until `let_go`."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        # The paths of the requests that a thread works at, in the order in which they came.
        self.at_work: list[str] = []
        self._clients: list[socket.socket] = []
        self.server = Server(self._application(), "127.0.0.1", 0)
        self.port = int(self.server.address.rstrip("/").rpartition(":")[2])
        for listener in self.server._listeners:
            small = (socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            listener.adj.socket_options = [*listener.adj.socket_options, small]
        self._thread = threading.Thread(target=self.server.serve)
        self._thread.start()

    def _application(self) -> Flask:
        app = Flask("served", static_folder=None)

        @app.get("/<path:path>")
        def answer(path: str) -> Response:
            if request.environ["tidemark.refused"]:
                return Response("refused", 503)
            self.at_work.append(path)
            if path.endswith("held"):
                self.let_go.wait(30)
            if path.endswith("broken"):
                raise SystemExit
            if path == "headers":
                return Response("".join(f"{name}: {value}\n" for name, value in request.headers.items()))
            return Response(b"x" * BIG_BYTES if path == "big" else "ok")

        return app

    def connect(self, sent: bytes = b"") -> socket.socket:
        """A client's end, of a small receive buffer, that has sent this."""
        client = socket.socket()
        self._clients.append(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(30)
        client.connect(("127.0.0.1", self.port))
        client.sendall(sent)
        return client

    def ask(self, path: str, *lines: str) -> str:
        """The whole answer, on a connection of its own."""
        return fetched(self.connect(a_request(path, "Connection: close", *lines))).decode("latin-1")

    def wait_for(self, *paths: str) -> None:
        """Until threads have worked at requests for these paths, in any order."""
        until(lambda: sorted(self.at_work) == sorted(paths))

    def settle(self) -> None:
        """Until no thread works at a request."""
        until(lambda: self.server._server.task_dispatcher.active_count == 0)

    def stop(self) -> None:
        if self._thread.is_alive():
            self.server.stop()
            self._thread.join(30)
        assert not self._thread.is_alive()
        close(self.server)
        for client in self._clients:
            client.close()


def close(server: Server) -> None:
    """Close what a process that ends would leave to the kernel."""
    wasyncore.close_all(server._map, ignore_all=True)


def a_request(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def fetched(client: socket.socket) -> bytes:
    """What comes until the server closes the connection."""
    parts: list[bytes] = []
    try:
        while part := client.recv(2**20):
            parts.append(part)
    except ConnectionResetError:
        pass
    client.close()
    return b"".join(parts)


def is_open(client: socket.socket) -> bool:
    """Whether the server has neither sent more to this client nor closed its connection."""
    client.setblocking(False)
    try:
        client.recv(1)
    except BlockingIOError:
        return True
    except ConnectionResetError:
        pass
    finally:
        client.settimeout(30)
    return False


@pytest.fixture
def served() -> Iterator[Served]:
    served = Served()
    yield served
    served.let_go.set()
    served.stop()
