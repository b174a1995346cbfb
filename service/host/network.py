"""Bytes that the network interfaces have moved since boot."""

import psutil

from service.host.source import possible
from service.records import Reading


def network() -> Reading:
    """Empty on a host without interfaces."""
    # nowrap=False: psutil would add 2^32 and more to a counter that was reset.
    counters = psutil.net_io_counters(nowrap=False)
    if counters is None:
        return Reading()
    moved = {"network_sent_bytes": counters.bytes_sent, "network_received_bytes": counters.bytes_recv}
    return Reading(counters=possible(moved))
