"""What was sent, as one reads it: series with their own labels, seconds, values."""

import struct

from tests.forward.oracle import decoded, unblocked
from tests.forward.receiver import STALE, Scripted


def named(labels: tuple[tuple[str, str], ...]) -> str:
    """A series as one writes it, without the labels that all have."""
    own = {name: value for name, value in labels if name not in ("job", "instance", "__name__")}
    words = ",".join(f'{name}="{value}"' for name, value in sorted(own.items()))
    return f"{dict(labels)['__name__']}{{{words}}}" if words else dict(labels)["__name__"]


def read(*bodies: bytes) -> dict[str, dict[float, float | str]]:
    """Series -> second -> value or `stale`."""
    found: dict[str, dict[float, float | str]] = {}
    for body in bodies:
        for labels, points in decoded(body).items():
            of_series = found.setdefault(named(labels), {})
            for ms, value in points:
                assert ms / 1000 not in of_series or bodies[1:], "twice in one body"
                told = struct.unpack("<d", struct.pack("<Q", value))[0]
                of_series[ms / 1000] = "stale" if value == STALE else told
    return found


def taken(receiver: Scripted) -> dict[str, dict[float, float | str]]:
    return read(*map(unblocked, receiver.bodies))
