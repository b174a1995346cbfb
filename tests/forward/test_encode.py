"""What goes over the wire is what protobuf's own classes and snappy's own format make of it."""

import math
import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.forward import encode
from tests.forward.oracle import bits, decoded, unblocked

STAMPS = st.integers(-(2**62), 2**62)
VALUES = st.floats() | st.just(struct.unpack("<d", encode.STALE)[0])
NAMES = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.text(min_size=1), min_size=1)


@given(st.lists(st.tuples(NAMES, st.lists(st.tuples(STAMPS, VALUES), min_size=1)), unique_by=lambda s: str(s[0])))
def test_protobuf_reads_what_was_written(series: list[tuple[dict[str, str], list[tuple[int, float]]]]) -> None:
    body = encode.write_request(
        (encode.labels(names), [encode.point(ms, encode.pack_double(value)) for ms, value in points])
        for names, points in series
    )
    wanted = {tuple(sorted(names.items())): [(ms, bits(value)) for ms, value in points] for names, points in series}
    assert decoded(body) == wanted


@given(st.integers(0, 2**33), st.floats(allow_nan=False))
def test_a_frame_of_seconds_is_the_point_at_their_milliseconds(ts: int, value: float) -> None:
    ((head, tail),) = encode.frames([ts])
    assert head + encode.pack_double(value) + tail == encode.point(ts * 1000, encode.pack_double(value))


def test_labels_are_sorted_and_those_without_a_value_are_left_out() -> None:
    body = encode.write_request([(encode.labels({"b": "2", "a": "1", "c": ""}), [encode.point(1, encode.STALE)])])
    assert decoded(body) == {(("a", "1"), ("b", "2")): [(1, 0x7FF0000000000002)]}
    assert math.isnan(struct.unpack("<d", encode.STALE)[0])


def test_a_series_without_points_is_left_out() -> None:
    assert encode.write_request([(encode.labels({"a": "1"}), [])]) == b""


@pytest.mark.parametrize("block", [encode.block, encode.literal_block])
@pytest.mark.parametrize("size", [0, 1, 60, 61, 65535, 65536, 65537, 200_000])
def test_a_block_holds_what_was_put_into_it(block: Callable[[bytes], bytes], size: int) -> None:
    body = bytes(number * number % 251 for number in range(size))
    assert unblocked(block(body)) == body


@given(st.binary(max_size=200).map(lambda part: part * 20))
def test_whatever_is_put_into_a_block_comes_out(body: bytes) -> None:
    assert unblocked(encode.block(body)) == body
    assert unblocked(encode.literal_block(body)) == body
