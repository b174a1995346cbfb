"""Bytes that the network interfaces have moved since boot."""

from collections.abc import Mapping

import psutil

from service.host.totals import Totals
from service.records import Reading


class Network:
    def __init__(self) -> None:
        self._totals = Totals("network_sent_bytes", "network_received_bytes")

    def go_on_from(self, counters: Mapping[str, int]) -> None:
        """See `Totals.go_on_from`."""
        self._totals.go_on_from(counters)

    def read(self) -> Reading:
        """Empty on a host without interfaces."""
        # nowrap=False: psutil would add 2^32 and more to a counter that was reset.
        interfaces = psutil.net_io_counters(pernic=True, nowrap=False)
        return self._totals.add({name: (moved.bytes_sent, moved.bytes_recv) for name, moved in interfaces.items()})
