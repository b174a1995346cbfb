"""Reads bodies of remote write by protobuf's own classes: the judge of what `service.forward.encode` writes."""

import struct
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_TYPES = descriptor_pb2.FieldDescriptorProto
# github.com/prometheus/prometheus, prompb/remote.proto and types.proto: message -> (field, number, type, of what).
_MESSAGES: dict[str, list[tuple[str, int, int, str | None]]] = {
    "Label": [("name", 1, _TYPES.TYPE_STRING, None), ("value", 2, _TYPES.TYPE_STRING, None)],
    "Sample": [("value", 1, _TYPES.TYPE_DOUBLE, None), ("timestamp", 2, _TYPES.TYPE_INT64, None)],
    "TimeSeries": [("labels", 1, _TYPES.TYPE_MESSAGE, "Label"), ("samples", 2, _TYPES.TYPE_MESSAGE, "Sample")],
    "WriteRequest": [("timeseries", 1, _TYPES.TYPE_MESSAGE, "TimeSeries")],
}


def _write_request() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="remote.proto", package="prometheus", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, of in fields:
            label = _TYPES.LABEL_REPEATED if of else _TYPES.LABEL_OPTIONAL
            message.field.add(name=field, number=number, type=kind, label=label, type_name=of and f".prometheus.{of}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("prometheus.WriteRequest"))


WriteRequest = _write_request()


def bits(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def decoded(body: bytes) -> dict[tuple[tuple[str, str], ...], list[tuple[int, int]]]:
    """Labels of each series, as they come -> its points: stamp in ms, bits of the value."""
    request = WriteRequest.FromString(body)
    return {
        tuple((label.name, label.value) for label in series.labels): [
            (sample.timestamp, bits(sample.value)) for sample in series.samples
        ]
        for series in request.timeseries
    }


def unblocked(block: bytes) -> bytes:
    """A snappy block of literals and copies, by the format's description; not by the code under test."""
    length, at = _varint(block, 0)
    out = bytearray()
    while at < len(block):
        tag = block[at]
        at += 1
        if tag & 3 == 0:
            size = tag >> 2
            if size >= 60:
                width = size - 59
                size = int.from_bytes(block[at : at + width], "little")
                at += width
            out += block[at : at + size + 1]
            at += size + 1
            continue
        if tag & 3 == 1:
            size, offset = (tag >> 2 & 7) + 4, (tag >> 5) << 8 | block[at]
            at += 1
        else:
            width = 2 if tag & 3 == 2 else 4
            size, offset = (tag >> 2) + 1, int.from_bytes(block[at : at + width], "little")
            at += width
        for _ in range(size):
            out.append(out[-offset])
    assert len(out) == length
    return bytes(out)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return number, at
