"""waitress, with what it lacks: a drain at stop, deadlines, room for good clients; beside turns alone touches it.

This uses parts of waitress that are not documented (`active_channels`, `requests`, `total_outbufs_len`, `_map`), so the
version is pinned, and tests/faults/test_web_attacks.py holds the behaviour. waitress's own time-outs go by the wall
clock and wait until a client reads, so they are replaced here.
"""

import errno
import logging
import resource
import socket
import threading
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from flask import Flask
from waitress import wasyncore
from waitress.parser import HTTPRequestParser
from waitress.server import BaseWSGIServer, create_server

from service import clock
from service.errors import StartFailed
from service.web.turns import THREADS, Channel, Dispatcher

log = logging.getLogger(__name__)

CONNECTIONS = 256
# A new connection must begin a request within this time, and a request must arrive whole within it, however steadily it
# drips; otherwise the connection is cut off.
REQUEST_SECONDS = 10.0
# How long a connection that was answered may wait before its next request, and how long a client may take to fetch one
# answer.
IDLE_SECONDS = 30.0
ANSWER_SECONDS = 30.0
# Bytes of answers that clients have not fetched; beyond it the client that has waited longest is cut off.
MOST_UNREAD_BYTES = 32 * 2**20
DRAIN_SECONDS = 3.0
# How often deadlines are checked.
_CHECK_SECONDS = 0.25
_NOTHING_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
# What a host without IPv6 answers to ::1, which its name `localhost` may stand for all the same.
_NOT_OF_THIS_HOST = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT})


class Server:
    """Serves one application on the thread that calls `serve`; `stop` may be called from anywhere."""

    def __init__(self, app: Flask, host: str, port: int) -> None:
        """Bind to each address of the host that can be had; connections wait until `serve`.

        :raises StartFailed: if an address is in use, or none is one of this host's.
        """
        # waitress warns whenever a request waits for a thread or a connection for another: under load, of each one.
        logging.getLogger("waitress").setLevel(logging.ERROR)
        self._map: dict[int, Any] = {}
        self._most = most_connections()
        dispatcher = Dispatcher()
        try:
            self._server: Any = create_server(
                app,
                map=self._map,
                sockets=listening_sockets(host, port),
                _dispatcher=dispatcher,
                connection_limit=self._most,
                asyncore_use_poll=True,
                ident=None,
                max_request_body_size=65536,
                max_request_header_size=16384,
                outbuf_high_watermark=4 * 2**20,
                clear_untrusted_proxy_headers=True,
                log_socket_errors=False,
            )
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or error
            raise StartFailed(f"cannot listen on {host}:{port}: {cause}; set server.host or server.port") from None
        dispatcher.set_thread_count(THREADS)
        # One for each address of the name: localhost is 127.0.0.1 and ::1.
        self._listeners: list[Any] = [part for part in self._map.values() if isinstance(part, BaseWSGIServer)]
        self._waits: dict[Any, _Wait] = {}
        self._next_check = 0.0
        self._is_starved = False
        for listener in self._listeners:
            listener.maintenance = lambda _: None
            listener.channel_class = _Channel
            self._heed_starvation(listener)
        self._stopping = False

    @property
    def address(self) -> str:
        host, port = self._listeners[0].effective_host, self._listeners[0].effective_port
        return f"http://{f'[{host}]' if ':' in str(host) else host}:{port}/"

    def serve(self) -> None:
        """Answer requests until `stop`; then accept no more and finish those in flight."""
        while not self._stopping:
            # Deadlines are checked between two polls; without connections there are none.
            timeout = 1 if any(self._channels()) else 60
            wasyncore.loop(timeout=timeout, map=self._map, use_poll=True, count=1)
            self._keep_room()
        for listener in self._listeners:
            wasyncore.dispatcher.close(listener)
        deadline = clock.steady() + DRAIN_SECONDS
        while clock.steady() < deadline and self._in_flight():
            wasyncore.loop(timeout=0.05, map=self._map, use_poll=True, count=1)
        self._server.task_dispatcher.shutdown(timeout=max(0.1, deadline - clock.steady()))

    def stop(self) -> None:
        self._stopping = True
        self._listeners[0].pull_trigger()

    def _channels(self) -> Iterator[Any]:
        """The open connections."""
        for listener in self._listeners:
            yield from list(listener.active_channels.values())

    def _in_flight(self) -> bool:
        return any(channel.requests or channel.total_outbufs_len for channel in self._channels())

    # -- which clients are cut off

    def _keep_room(self) -> None:
        """Cut off the connections that are past their deadline and, if room runs out, those that have waited longest.

        A request that arrives whole is answered before it could be the oldest, so well-behaved clients are answered
        even while a thousand connections only wait.
        """
        now, channels = clock.steady(), list(self._channels())
        # As waitress counts them, with what listens: it accepts none once there are `_most`.
        is_full = len(self._map) > self._most * 7 // 8 or self._is_starved
        if not channels or (now < self._next_check and not is_full):
            return
        self._next_check = now + _CHECK_SECONDS
        known = self._waits
        found = {channel: _wait(channel, known.get(channel), now) for channel in channels}
        self._waits = {channel: wait for channel, wait in found.items() if wait is not None}
        for channel, wait in list(self._waits.items()):
            if wait.is_over(now):
                self._cut_off(channel)
        if is_full:
            self._make_room()
        self._bound_unread()

    def _oldest_first(self) -> list[Any]:
        return sorted(self._waits, key=lambda channel: self._waits[channel].answered_at)

    def _make_room(self) -> None:
        idle = [channel for channel in self._oldest_first() if self._waits[channel].kind != "answer"]
        for channel in idle[: max(1, self._most // 8)]:
            self._cut_off(channel)
        if self._is_starved:
            # Without a pause accept() would fail again and again.
            self._is_starved = False
            threading.Event().wait(0.05)

    def _bound_unread(self) -> None:
        unread = sum(channel.total_outbufs_len for channel in self._waits)
        for channel in self._oldest_first():
            if unread <= MOST_UNREAD_BYTES:
                return
            if channel.total_outbufs_len:
                unread -= channel.total_outbufs_len
                self._cut_off(channel)

    def _cut_off(self, channel: Any) -> None:
        """Close the connection at once, where waitress would wait until the client reads."""
        self._waits.pop(channel, None)
        if channel.connected:
            log.debug("cut off a connection from %s", channel.addr)
            channel.handle_close()

    def _heed_starvation(self, listener: Any) -> None:
        """Notice when the process has no descriptor left for a connection; waitress does not report it."""
        accept = listener.accept

        def heeding_accept() -> Any:
            try:
                return accept()
            except OSError as error:
                self._is_starved = error.errno in _NOTHING_LEFT
                raise

        listener.accept = heeding_accept


class _Parser(HTTPRequestParser):
    """Closes the connection after a request whose length is given in two ways: a proxy before us may have read it the
    other way and take the rest for another request (rfc-editor.org/rfc/rfc9112#section-6.1)."""

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        # waitress heeds Transfer-Encoding, and takes it out of the headers, in HTTP/1.1 alone.
        if "TRANSFER_ENCODING" in self.headers or (self.chunked and "CONTENT_LENGTH" in self.headers):
            self.headers = {**self.headers, "CONNECTION": "close"}


class _Channel(Channel):
    """A connection that counts its answers."""

    parser_class = _Parser
    answers = 0

    def service(self) -> None:
        super().service()
        self.answers += 1


class _Wait(NamedTuple):
    """What a connection waits for and since when; `answers` counts whole answers, so idle bytes do not reset a wait."""

    kind: Literal["request", "idle", "answer"]
    answers: int
    since: float
    answered_at: float

    def is_over(self, now: float) -> bool:
        if self.kind == "answer":
            return now - self.since > ANSWER_SECONDS
        # Both limits together, because a client may switch between the two kinds with every byte.
        if now - self.answered_at > IDLE_SECONDS + REQUEST_SECONDS:
            return True
        return now - self.since > (IDLE_SECONDS if self.kind == "idle" else REQUEST_SECONDS)


def _wait(channel: Any, before: _Wait | None, now: float) -> _Wait | None:
    """What the connection waits for now; None while its request is being answered."""
    answers, kind = channel.answers, _kind(channel)
    if kind is None:
        return None
    answered_at = before.answered_at if before and before.answers == answers else now
    since = before.since if before and (before.kind, before.answers) == (kind, answers) else now
    return _Wait(kind, answers, since, answered_at)


def _kind(channel: Any) -> Literal["request", "idle", "answer"] | None:
    if channel.total_outbufs_len:
        return "answer"
    if channel.requests:
        return None
    return "request" if channel.request is not None or not channel.answers else "idle"


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """One bound socket for each address of the name that this host has: localhost is 127.0.0.1 and, with IPv6, ::1.

    :raises OSError: if the name is unknown, an address is in use, or none is one of this host's.
    """
    name = None if host == "*" else host.strip("[]")
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            sockets.append(_bound(family, address))
        except OSError as error:
            if error.errno not in _NOT_OF_THIS_HOST:
                for bound in sockets:
                    bound.close()
                raise
            missing = error
            log.info("cannot listen on %s: %s", address[0], error.strerror)
    if missing is not None and not sockets:
        raise missing
    return sockets


def _bound(family: int, address: Any) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except BaseException:
        bound.close()
        raise
    return bound


def most_connections() -> int:
    """How many connections to accept: at most half of the descriptors that the process may open, so that there are
    always some left for reading the host and the disk."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if soft == resource.RLIM_INFINITY else max(8, min(CONNECTIONS, soft // 2))
