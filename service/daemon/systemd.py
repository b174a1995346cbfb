"""Notifies systemd that the daemon is ready, alive or stopping (sd_notify(3)), where systemd asked for it."""

import logging
import socket

log = logging.getLogger(__name__)


class Notifier:
    """Sends datagrams to systemd's socket. If the socket is gone, the daemon goes on without."""

    def __init__(self, address: str | None) -> None:
        """`address`: NOTIFY_SOCKET; a leading @ stands for the abstract name space."""
        self._address = address and address.replace("@", "\0", 1) if address and address[0] == "@" else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address else None

    def notify(self, state: str) -> None:
        """For example `READY=1`, `WATCHDOG=1`, `STOPPING=1`."""
        if self._socket is None or self._address is None:
            return
        try:
            self._socket.sendto(state.encode(), socket.MSG_DONTWAIT, self._address)
        except OSError as error:
            log.debug("systemd could not be notified of %s: %s", state, error)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
