"""Bytes that the interfaces have moved since boot."""

import psutil


def network() -> dict[str, int]:
    # nowrap=False: psutil would add 2^32 and more to a counter that was reset.
    counters = psutil.net_io_counters(nowrap=False)
    if counters is None:
        return {}
    return {"network_sent_bytes": counters.bytes_sent, "network_received_bytes": counters.bytes_recv}
