"""waitress, with what it leaves open: a drain at stop, deadlines, room for who asks in earnest; alone touches waitress.

Uses parts of waitress that are not documented (`active_channels`, `requests`, `total_outbufs_len`, `_map`), so its
version is pinned and tests/faults/test_web_attacks.py holds the behaviour. waitress's own time-outs go by the wall
clock and wait until a client reads, so they are replaced here.
"""

import errno
import logging
import resource
import threading
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer, create_server

from service import clock
from service.errors import StartFailed

log = logging.getLogger(__name__)

THREADS = 6
CONNECTIONS = 256
# A request whose head and body have not arrived by then is cut off, however steadily it drips, and so is a connection
# that has not begun one.
REQUEST_SECONDS = 10.0
# A connection that was answered may wait this long for the next request, and a client this long fetch one answer.
IDLE_SECONDS = 30.0
ANSWER_SECONDS = 30.0
# Bytes of answers that clients have not fetched; beyond it the one that has waited longest is cut off.
MOST_UNREAD_BYTES = 32 * 2**20
DRAIN_SECONDS = 3.0
# How often deadlines are looked at.
_LOOK_SECONDS = 0.25
_NOTHING_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Server:
    """Serves one application in the thread that calls `serve`; `stop` may be called from a signal handler."""

    def __init__(self, app: Flask, host: str, port: int) -> None:
        """Binds; connections wait until `serve`.

        :raises StartFailed: if the address cannot be had.
        """
        # waitress warns whenever a request waits for a thread and a connection for another, under load each one.
        logging.getLogger("waitress").setLevel(logging.ERROR)
        self._map: dict[int, Any] = {}
        self._most = _most_connections()
        try:
            self._server: Any = create_server(
                app,
                map=self._map,
                host=host,
                port=port,
                threads=THREADS,
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
        # One for each address that the name stands for: localhost is 127.0.0.1 and ::1.
        self._listeners: list[Any] = [part for part in self._map.values() if isinstance(part, BaseWSGIServer)]
        self._waits: dict[Any, _Wait] = {}
        self._look_at = 0.0
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
        """Answer requests until `stop`, then finish those in flight, and let no new ones in."""
        while not self._stopping:
            # Deadlines are looked at between two polls; with nobody connected there are none.
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

    # -- who is cut off

    def _keep_room(self) -> None:
        """Cut off who is past its deadline, and, where room runs out, who has kept us waiting longest.

        A request that comes whole is answered before it could be the oldest, so whoever asks in earnest is answered
        also while a thousand connections only wait.
        """
        now, channels = clock.steady(), list(self._channels())
        is_full = len(channels) > self._most * 7 // 8 or self._is_starved
        if not channels or (now < self._look_at and not is_full):
            return
        self._look_at = now + _LOOK_SECONDS
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
            # accept() would fail again at once, and again.
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
        """At once: waitress would wait until the client reads."""
        self._waits.pop(channel, None)
        if channel.connected:
            log.debug("a connection from %s is cut off", channel.addr)
            channel.handle_close()

    def _heed_starvation(self, listener: Any) -> None:
        """Learn when the process has no descriptor left for a connection; waitress keeps that to itself."""
        accept = listener.accept

        def heeding_accept() -> Any:
            try:
                return accept()
            except OSError as error:
                self._is_starved = error.errno in _NOTHING_LEFT
                raise

        listener.accept = heeding_accept


class _Channel(HTTPChannel):
    """A connection that counts its answers."""

    answers = 0

    def service(self) -> None:
        super().service()
        self.answers += 1


class _Wait(NamedTuple):
    """What a connection waits for and since when; `answers` grows with each, and not with bytes that are no request."""

    kind: Literal["request", "idle", "answer"]
    answers: int
    since: float
    answered_at: float

    def is_over(self, now: float) -> bool:
        if self.kind == "answer":
            return now - self.since > ANSWER_SECONDS
        # Together, because a client may change from one to the other and back with every byte.
        if now - self.answered_at > IDLE_SECONDS + REQUEST_SECONDS:
            return True
        return now - self.since > (IDLE_SECONDS if self.kind == "idle" else REQUEST_SECONDS)


def _wait(channel: Any, before: _Wait | None, now: float) -> _Wait | None:
    """What it waits for now; None while we are at work for it."""
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


def _most_connections() -> int:
    """At most half of what the process may open, so that clients never keep the host or the disk from being read."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS if soft == resource.RLIM_INFINITY else max(8, min(CONNECTIONS, soft // 2))
