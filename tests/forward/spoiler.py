"""Stands between a sender and a receiver, and spoils what passes as it is told to."""

import contextlib
import socket
import threading
import time
from typing import Literal

# `refuse`: nobody listens; `cut`: the request breaks off in its middle; `mute`: it arrives, its answer does not;
# `busy`: 503 without asking the receiver; `slow`: every piece comes late.
Mode = Literal["well", "refuse", "cut", "mute", "busy", "slow"]
SPOILT: tuple[Mode, ...] = ("refuse", "cut", "mute", "busy", "slow")
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_PIECE_BYTES = 4096


class Spoiler:
    """A port of its own in front of another of this host. `tries`: when a connection was made, by the steady clock."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._to = port
        self.mode: Mode = "well"
        self.tries: list[float] = []
        self._listener = socket.create_server((host, 0))
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://{host}:{self.port}/api/v1/write"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.tries.append(time.monotonic())
            threading.Thread(target=self._serve, args=[client], daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            if self.mode == "refuse":
                return
            if self.mode == "busy":
                client.recv(_PIECE_BYTES)
                client.sendall(_BUSY)
                return
            with socket.create_connection(("127.0.0.1", self._to)) as receiver:
                back = threading.Thread(target=self._pump, args=[receiver, client, "mute"], daemon=True)
                back.start()
                self._pump(client, receiver, "cut")
                back.join()

    def _pump(self, source: socket.socket, to: socket.socket, spoils: Mode) -> None:
        """Until one side closes, or the mode spoils this direction; then both are closed at once."""
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE_BYTES):
                if self.mode in (spoils, "refuse", "busy"):
                    if spoils == "cut":
                        to.sendall(piece[: len(piece) // 2])
                    break
                if self.mode == "slow":
                    time.sleep(0.2)
                to.sendall(piece)
        for end in (source, to):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
