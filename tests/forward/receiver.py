"""A receiver that answers as a script says, and keeps what it took by protobuf's own classes."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.forward.oracle import decoded, unblocked

STALE = 0x7FF0000000000002
Taken = dict[str, dict[int, int]]


class Scripted:
    """Answers each request with the next of `script` (a status, or status, headers, body), then with 204 for ever.

    `refuses`: a request for whose points it holds gets 400, whatever the script says. `taken`: series -> stamp in ms ->
    bits of the value, of what was answered with 2xx.
    """

    def __init__(self, *script: Any) -> None:
        self.script: list[Any] = list(script)
        self.refuses: Callable[[Taken], bool] = lambda _: False
        self.date: str | None = None
        # What a request without points gets.
        self.answers_empty = 204
        self.requests: list[tuple[int, dict[str, str], int]] = []
        self.bodies: list[bytes] = []
        self.labels: dict[str, dict[str, str]] = {}
        self.taken: Taken = {}
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/api/v1/write"
        threading.Thread(target=self._server.serve_forever, args=[0.02], daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def statuses(self) -> list[int]:
        """Of the requests that had points in them."""
        return [status for status, _, count in self.requests if count]

    def ticks(self, name: str = "tidemark_sample_timestamp_seconds") -> list[int]:
        """The stamps of a series, in ms, without its staleness markers."""
        return sorted(ms for ms, value in self.taken.get(name, {}).items() if value != STALE)

    def _take(self, body: bytes) -> tuple[int, Any, str]:
        points: Taken = {}
        for labels, samples in decoded(unblocked(body)).items():
            names = dict(labels)
            self.labels[names["__name__"]] = names
            points[names["__name__"]] = dict(samples)
        answer = (self.script.pop(0) if self.script else 204) if points else self.answers_empty
        if points and self.refuses(points):
            answer = 400
        status, headers, text = answer if isinstance(answer, tuple) else (answer, {}, "")
        if 200 <= status < 300:
            for name, samples in points.items():
                self.taken.setdefault(name, {}).update(samples)
        return status, headers, text

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with outer.lock:
                    status, headers, text = outer._take(body)
                    points = len(decoded(unblocked(body)))
                    outer.requests.append((status, dict(self.headers), points))
                    outer.bodies.append(body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if status != 204:
                    self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode() if status != 204 else b"")

            def date_time_string(self, timestamp: float | None = None) -> str:
                return outer.date or super().date_time_string(int(timestamp) if timestamp else None)

            def log_message(self, *_: Any) -> None:
                """Says nothing."""

        return Handler
