"""What systemd is told (sd_notify(3)): ready, alive, stopping; nothing where it did not ask."""

import logging
import socket

log = logging.getLogger(__name__)


class Notifier:
    """Datagrams to systemd's socket. A socket that is gone is no reason to stop."""

    def __init__(self, address: str | None) -> None:
        """`address`: NOTIFY_SOCKET; a leading @ is the abstract name space."""
        self._address = address and address.replace("@", "\0", 1) if address and address[0] == "@" else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None

    def tell(self, state: str) -> None:
        """For example `READY=1`, `WATCHDOG=1`, `STOPPING=1`."""
        if self._socket is None or self._address is None:
            return
        try:
            self._socket.sendto(state.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            log.debug("systemd was not told %s: %s", state, error)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
