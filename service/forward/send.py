"""Sends bodies over HTTP, one at a time, and reads no more of an answer than it needs, however much there comes."""

import contextlib
import io
import socket
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Literal, NamedTuple

from service import clock
from service.forward.destination import Destination

# From the connection to the end of the answer's head and the part of its body that is read.
TIMEOUT_SECONDS = 30.0
_MOST_RETRY_AFTER_SECONDS = 300.0
# Of an answer's body: its reason is in the first lines.
_BODY_BYTES = 2048
# Of an answer altogether; http.client alone would take a hundred lines of 64 KiB.
_ANSWER_BYTES = 2**18
_SHOWN_CHARACTERS = 200
_WRITE_HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
# `taken`; `again`: the receiver or the way to it is not well; `settings`: it does not let us; `large`: too much at
# once; `refused`: it does not take these samples.
Verdict = Literal["taken", "again", "settings", "large", "refused"]


class Answer(NamedTuple):
    """What came back. `status`: None where nothing came: then `is_lost` says whether the request may have arrived, and
    `is_late` whether time was up.

    `text`: one line. `date`: the receiver's clock, unix seconds. `retry_after`: seconds that it asks us to wait.
    """

    status: int | None
    text: str
    body: str = ""
    date: float | None = None
    retry_after: float | None = None
    is_lost: bool = False
    is_late: bool = False

    @property
    def verdict(self) -> Verdict:
        """What to do; the table in docs/fleet.md."""
        status = self.status
        if status is None or status in (408, 429):
            return "again"
        if 200 <= status < 300:
            return "taken"
        if status >= 500:
            # Prometheus before 2.47 answers so (github.com/prometheus/prometheus/issues/13335).
            return "refused" if status == 500 and "too old sample" in self.body else "again"
        if status in (401, 403, 404):
            return "settings"
        return "large" if status == 413 else "refused"


class Sender:
    """One connection to a receiver, opened when it is needed and kept open. Used by one thread at a time."""

    def __init__(self, destination: Destination, timeout: float = TIMEOUT_SECONDS) -> None:
        self._to, self.timeout = destination, timeout
        self._connection: _Connection | None = None

    def write(self, block: bytes) -> Answer:
        """Send a snappy block of a WriteRequest."""
        return self.request("POST", self._to.path, block, _WRITE_HEADERS)

    def request(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], most: int = _BODY_BYTES
    ) -> Answer:
        """`most`: how many bytes of the answer's body are read."""
        is_kept = self._connection is not None
        answer = self._try(method, path, body, headers, most)
        # A connection that was kept may have been closed by the receiver in the meantime.
        if is_kept and answer.status is None and not answer.is_late:
            answer = self._try(method, path, body, headers, most)
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _try(self, method: str, path: str, body: bytes, headers: Mapping[str, str], most: int) -> Answer:
        is_sent = False
        try:
            connection = self._connection = self._connection or _connection(self._to)
            connection.deadline = clock.steady() + self.timeout
            connection.open()
            is_sent = True
            connection.request(method, path, body, {**self._to.headers, **headers})
            response = connection.getresponse()
            found = response.read(most)
            if not response.isclosed():
                self.close()
            return _answer(response, found)
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            text = f"no answer from {self._to.host}:{self._to.port}: {_why(error)}"
            return Answer(None, text, is_lost=is_sent, is_late=isinstance(error, TimeoutError))


class _Raw(io.RawIOBase):
    """Reads one answer from a socket: until a deadline, so that bytes that drip in keep nobody waiting, and no more
    than an answer may have."""

    def __init__(self, sock: socket.socket, connection: "_Connection") -> None:
        self._socket, self._connection, self._left_bytes = sock, connection, _ANSWER_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(self._connection.left())
        count = self._socket.recv_into(buffer)
        self._left_bytes -= count
        if self._left_bytes < 0:
            raise HTTPException(f"it answers with more than {_ANSWER_BYTES // 1024} KiB")
        return count


class _Connection(HTTPConnection):
    """A connection on which everything happens before `deadline`, by the steady clock."""

    deadline = 0.0
    context: Any = None

    def left(self) -> float:
        """
        :raises TimeoutError: if it is past the deadline.
        """
        seconds = self.deadline - clock.steady()
        if seconds <= 0:
            raise TimeoutError("timed out")
        return seconds

    def open(self) -> None:
        if self.sock is None:
            self.timeout = self.left()
            self.connect()
            if self.context is not None:
                self.sock = self.context.wrap_socket(self.sock, server_hostname=self.host)
        self.sock.settimeout(self.left())  # type: ignore[union-attr]

    def response_class(self, sock: socket.socket, *arguments: Any, **options: Any) -> HTTPResponse:  # type: ignore[override]
        response = HTTPResponse(sock, *arguments, **options)
        response.fp.close()
        response.fp = io.BufferedReader(_Raw(sock, self))
        return response


def _connection(to: Destination) -> _Connection:
    connection = _Connection(to.host, to.port)
    if to.is_https:
        import ssl

        connection.context = ssl.create_default_context()
        connection.context.minimum_version = ssl.TLSVersion.TLSv1_2
    return connection


def _answer(response: HTTPResponse, found: bytes) -> Answer:
    body = found.decode("utf-8", "replace")
    line = " ".join(body.split())[:_SHOWN_CHARACTERS]
    text = f"{response.status} {response.reason[:40]}{f': {line}' if line else ''}"
    if 300 <= response.status < 400:
        text += f" (to {response.headers.get('Location', 'nowhere')[:80]}; no redirect is followed: set forward.url)"
    date = _moment(response.headers.get("Date"))
    return Answer(response.status, text, body, date, _retry_after(response.headers.get("Retry-After"), date))


def _retry_after(value: str | None, date: float | None) -> float | None:
    """In seconds or as a date (RFC 9110, 10.2.3), at most five minutes."""
    if value is None:
        return None
    if value.strip().isdecimal():
        seconds = float(value)
    else:
        moment = _moment(value)
        if moment is None:
            return None
        seconds = moment - (clock.wall() if date is None else date)
    return min(max(0.0, seconds), _MOST_RETRY_AFTER_SECONDS)


def _moment(value: str | None) -> float | None:
    """The unix seconds of an HTTP date; None where it is none."""
    with contextlib.suppress(ValueError, TypeError, OverflowError, IndexError):
        found = parsedate_tz(value or "")
        return None if found is None else float(mktime_tz(found))
    return None


def _why(error: Exception) -> str:
    """On one line, and what to do where that is known."""
    if getattr(error, "verify_message", None):
        return f"its certificate does not hold ({error.verify_message}): have the host trust its issuer, or mend it"  # type: ignore[attr-defined]
    strerror = getattr(error, "strerror", None)
    return " ".join(str(strerror or error or type(error).__name__).split())[:_SHOWN_CHARACTERS]
