"""Bytes that the network interfaces have moved since boot, and what TCP counts."""

from collections.abc import Mapping

import psutil

from service.host.source import KeptOpen, kernels_or_psutils, lines_of, possible
from service.host.totals import Moved, Totals
from service.records import Reading

# Columns of a line of /proc/net/dev (net_dev(5)): the first one received, the ninth one sent.
_COLUMNS = 16


class Network:
    def __init__(self) -> None:
        self._totals = Totals("network_sent_bytes", "network_received_bytes")
        self._file = KeptOpen(f"{psutil.PROCFS_PATH}/net/dev")

    def go_on_from(self, counters: Mapping[str, int]) -> None:
        """See `Totals.go_on_from`."""
        self._totals.go_on_from(counters)

    def read(self) -> Reading:
        """Empty on a host without interfaces."""
        return self._totals.add(kernels_or_psutils(self._moved, _moved_of_psutil))

    def _moved(self) -> dict[str, Moved]:
        _, _, *lines = lines_of(self._file.read() or b"")
        return dict(map(_moved_by, lines))


class Tcp:
    """Connections that are established, and segments sent again since boot, of IPv4 and IPv6 (/proc/net/snmp)."""

    def __init__(self) -> None:
        self._file = KeptOpen(f"{psutil.PROCFS_PATH}/net/snmp", b"\nUdp:")

    def read(self) -> Reading:
        """Empty where the kernel has no such file: no portable way counts them without asking for each connection.

        :raises ValueError: if the two lines of TCP are not there, or do not belong together.
        """
        text = self._file.read()
        if text is None:
            return Reading()
        names, values = (line.split()[1:] for line in text.split(b"\n") if line.startswith(b"Tcp: "))
        counts = dict(zip(names, values, strict=True))
        return Reading(
            possible({"tcp_established": int(counts[b"CurrEstab"])}),
            possible({"tcp_retransmits": int(counts[b"RetransSegs"])}),
        )


def _moved_by(line: str) -> tuple[str, Moved]:
    """
    :raises ValueError: if the line has not all of its columns.
    """
    name, _, rest = line.rpartition(":")
    counts = rest.split()
    if len(counts) != _COLUMNS or not name:
        raise ValueError(f"not an interface: {line!r}")
    return name.strip(), (int(counts[8]), int(counts[0]))


def _moved_of_psutil() -> dict[str, Moved]:
    # nowrap=False: psutil would add 2^32 and more to a counter that was reset.
    interfaces = psutil.net_io_counters(pernic=True, nowrap=False)
    return {name: (moved.bytes_sent, moved.bytes_recv) for name, moved in interfaces.items()}
