"""waitress, with what it leaves open: a drain at stop and a deadline for unfinished requests; alone touches waitress.

Uses parts of waitress that are not documented (`maintenance`, `active_channels`, `_map`), so its version is pinned and
tests/test_server.py holds the behaviour.
"""

import logging
import socket
from typing import Any

from flask import Flask
from waitress import wasyncore
from waitress.server import create_server

from service import clock
from service.errors import StartFailed

THREADS = 6
CONNECTIONS = 256
# A request whose head and body have not arrived by then is cut off (a dripping client resets waitress's own timer).
REQUEST_SECONDS = 10.0
DRAIN_SECONDS = 3.0


class Server:
    """Serves one application in the thread that calls `serve`; `stop` may be called from a signal handler."""

    def __init__(self, app: Flask, host: str, port: int) -> None:
        """Binds; connections wait until `serve`.

        :raises StartFailed: if the address cannot be had.
        """
        # waitress warns whenever a request waits for a thread, which under load is each one.
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)
        self._map: dict[int, Any] = {}
        try:
            self._server: Any = create_server(
                app,
                map=self._map,
                host=host,
                port=port,
                threads=THREADS,
                connection_limit=CONNECTIONS,
                channel_timeout=30,
                cleanup_interval=2,
                asyncore_use_poll=True,
                ident=None,
                max_request_body_size=65536,
                max_request_header_size=16384,
                clear_untrusted_proxy_headers=True,
            )
        except (OSError, ValueError) as error:
            cause = getattr(error, "strerror", None) or error
            raise StartFailed(f"cannot listen on {host}:{port}: {cause}; set server.host or server.port") from None
        self._add_request_deadline()
        self._stopping = False

    @property
    def address(self) -> str:
        host, port = self._server.effective_host, self._server.effective_port
        return f"http://{f'[{host}]' if ':' in str(host) else host}:{port}/"

    def serve(self) -> None:
        """Answer requests until `stop`, then finish those in flight, and let no new ones in."""
        while not self._stopping:
            # Deadlines are looked at between two polls; with nobody connected there are none.
            timeout = 1 if self._server.active_channels else 60
            wasyncore.loop(timeout=timeout, map=self._map, use_poll=True, count=1)
        wasyncore.dispatcher.close(self._server)
        deadline = clock.steady() + DRAIN_SECONDS
        while clock.steady() < deadline and self._in_flight():
            wasyncore.loop(timeout=0.05, map=self._map, use_poll=True, count=1)
        self._server.task_dispatcher.shutdown()

    def stop(self) -> None:
        self._stopping = True
        self._server.pull_trigger()

    def _in_flight(self) -> bool:
        return any(channel.requests or channel.total_outbufs_len for channel in self._server.active_channels.values())

    def _add_request_deadline(self) -> None:
        maintain = self._server.maintenance

        def maintenance(now: float) -> None:
            maintain(now)
            for channel in list(self._server.active_channels.values()):
                request = channel.request  # the one being received; None between requests
                since = getattr(channel, "tidemark_since", None)
                if request is None:
                    channel.tidemark_since = None
                elif since is None or since[0] is not request:
                    channel.tidemark_since = (request, now)
                elif now - since[1] > REQUEST_SECONDS:
                    channel.will_close = True

        self._server.maintenance = maintenance


def is_loopback(host: str) -> bool:
    """Whether everything that the name stands for is on this machine alone; False where it cannot be resolved."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(str(address[0]).startswith("127.") or address[0] == "::1" for *_, address in found)
