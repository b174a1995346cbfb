"""Writes bodies of remote write 1.0: protobuf by hand, in a snappy block; knows nothing of samples.

The format: prometheus.io/docs/specs/prw/remote_write_spec, `prometheus.WriteRequest`; protobuf.dev/programming-guides/
encoding; github.com/google/snappy, format_description.txt. A library takes four times as long and 4 MB.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# The bits of Prometheus's staleness marker, a NaN of its own (model/value/value.go).
STALE = struct.pack("<Q", 0x7FF0000000000002)
_SECOND_MS = 1000
# The longest literal whose length takes two bytes.
_LITERAL_BYTES = 65536

_snappy: Any
try:
    from cramjam import snappy as _snappy
except ImportError:  # no wheel for this host
    _snappy = None

pack_double = struct.Struct("<d").pack


def compresses() -> bool:
    """Whether bodies are really compressed, and not only written in the format."""
    return _snappy is not None


def varint(number: int) -> bytes:
    """A base-128 varint; negative numbers as 64-bit two's complement."""
    number &= 0xFFFFFFFFFFFFFFFF
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return bytes([number << 3 | 2]) + varint(len(content)) + content


def frame(stamp_ms: int) -> tuple[bytes, bytes]:
    """What stands before and after the eight bytes of a value in a point (`Sample`) at a stamp."""
    tail = b"\x10" + varint(stamp_ms)
    return b"\x12" + varint(9 + len(tail)) + b"\x09", tail


def frames(stamps: Iterable[int]) -> list[tuple[bytes, bytes]]:
    """Of each stamp, in unix seconds."""
    return [frame(ts * _SECOND_MS) for ts in stamps]


def point(stamp_ms: int, value: bytes) -> bytes:
    """One point; `value`: eight bytes."""
    head, tail = frame(stamp_ms)
    return head + value + tail


def labels(names: Mapping[str, str]) -> bytes:
    """The labels of a series, sorted by name; those without a value are left out, as the specification asks."""
    return b"".join(
        _field(1, _field(1, name.encode()) + _field(2, value.encode()))
        for name, value in sorted(names.items())
        if value
    )


def write_request(series: Iterable[tuple[bytes, Sequence[bytes]]]) -> bytes:
    """`series`: the labels of each and its points, ascending by stamp; one without points is left out."""
    return b"".join(_field(1, b"".join((named, *points))) for named, points in series if points)


def block(body: bytes) -> bytes:
    """A snappy block, which is not snappy's framed format."""
    return literal_block(body) if _snappy is None else bytes(_snappy.compress_raw(body))


def literal_block(body: bytes) -> bytes:
    """A valid block that compresses nothing: the length, then literals."""
    parts = [varint(len(body))]
    for start in range(0, len(body), _LITERAL_BYTES):
        part = body[start : start + _LITERAL_BYTES]
        parts += [b"\xf4", struct.pack("<H", len(part) - 1), part]
    return b"".join(parts)
