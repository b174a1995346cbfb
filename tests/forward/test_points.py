"""What points say of gaps, boots and counters that fall; and that any rows are read by protobuf as they were meant."""

import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.forward.points import NOTHING_SENT, Points, Series, State
from service.metrics import METRICS
from service.store.forwards import Piece, Stretch
from tests.conftest import NOW
from tests.forward.oracle import bits, decoded
from tests.forward.receiver import STALE

SERIES = Series("host", {"site": "berlin"})
SENT, CPU = "tidemark_network_sent_bytes_total", "tidemark_cpu_ratio"


def stretch(number: int = 1, start: int = NOW, **options: Any) -> Stretch:
    given = {"prior_end_ts": None, "reason": None, "boot_ts": NOW - 1000, "boot_id": "boot-1", "interval_seconds": 5}
    return Stretch(stretch_id=number, start_ts=start, **{**given, **options})


def piece(of: Stretch, stamps: list[int], **values: list[int | None]) -> Piece:
    """Rows of stored values; metrics that are not given are unknown."""
    return Piece(
        of, [(ts, *(values.get(m.name, [None] * len(stamps))[i] for m in METRICS)) for i, ts in enumerate(stamps)]
    )


def read(points: Points) -> dict[str, list[tuple[int, int]]]:
    """Series -> its points: second, bits."""
    return {
        dict(labels)["__name__"]: [(ms / 1000, value) for ms, value in found]  # type: ignore[misc]
        for labels, found in decoded(SERIES.body(points.points)).items()
    }


def values(points: Points, name: str) -> list[tuple[float, float | str]]:
    """Of one series: second, value or `stale`."""
    found = read(points).get(name, [])
    return [
        (ts, "stale" if value == STALE else struct.unpack("<d", struct.pack("<Q", value))[0]) for ts, value in found
    ]


ROWS = st.lists(
    st.tuples(*(st.none() | st.integers(0, 2**53 if m.is_counter else 10_000) for m in METRICS)),
    min_size=1,
    max_size=20,
)


@given(ROWS)
def test_any_rows_are_read_by_protobuf_as_the_values_that_were_stored(rows: list[tuple[int | None, ...]]) -> None:
    stamps = [NOW + 5 * i for i in range(len(rows))]
    found = read(
        Points(NOTHING_SENT).add([Piece(stretch(), [(ts, *row) for ts, row in zip(stamps, rows, strict=True)])])
    )
    assert found["tidemark_sample_timestamp_seconds"] == [(ts, bits(ts)) for ts in stamps]
    for number, metric in enumerate(METRICS):
        known = [(ts, row[number]) for ts, row in zip(stamps, rows, strict=True) if row[number] is not None]
        sent = [point for point in found.get(metric.exposed_name, []) if point[1] != STALE]
        assert [ts for ts, _ in sent] == [ts for ts, _ in known]
        if not metric.is_counter:
            natural = [value / metric.scale for _, value in known]  # type: ignore[operator]
            wanted = [round(v / 100, 6) if metric.unit == "percent" else v for v in natural]
            assert [value for _, value in sent] == [bits(value) for value in wanted]
        ascending = [ts for ts, _ in found.get(metric.exposed_name, [])]
        assert ascending == sorted(set(ascending))


@given(ROWS, st.integers(1, 19))
def test_samples_in_two_batches_say_the_same_as_in_one(rows: list[tuple[int | None, ...]], cut: int) -> None:
    whole = [(NOW + 5 * i, *row) for i, row in enumerate(rows)]
    once = Points(NOTHING_SENT).add([Piece(stretch(), whole)])
    parts = [part for part in (whole[:cut], whole[cut:]) if part]
    state, found = NOTHING_SENT, [[] for _ in once.points]  # type: list[list[bytes]]
    for part in parts:
        points = Points(State.read(*state.written())).add([Piece(stretch(), part)])
        found = [old + new for old, new in zip(found, points.points, strict=True)]
        state = points.state
    assert found == once.points
    assert state == once.state


def test_a_counter_that_falls_within_a_boot_goes_on_from_where_it_was_and_begins_anew_with_the_next() -> None:
    first = piece(stretch(), [NOW, NOW + 5, NOW + 10], network_sent_bytes=[1000, 400, 500])
    again = piece(stretch(2, NOW + 20, prior_end_ts=NOW + 10, reason="killed"), [NOW + 20], network_sent_bytes=[300])
    assert values(Points(NOTHING_SENT).add([first, again]), SENT) == [
        (NOW, 1000),
        (NOW + 5, 1000),
        (NOW + 10, 1100),
        (NOW + 15, "stale"),
        (NOW + 20, 1100),
    ]
    booted = stretch(3, NOW + 90, prior_end_ts=NOW + 20, reason="rebooted", boot_ts=NOW + 60, boot_id="boot-2")
    after = Points(Points(NOTHING_SENT).add([first, again]).state).add(
        [piece(booted, [NOW + 95], network_sent_bytes=[5000])]
    )
    assert values(after, SENT) == [(NOW + 25, "stale"), (NOW + 60, 0), (NOW + 95, 5000)]
    assert after.state.counters["network_sent_bytes"] == (5000, 0, "boot-2")


def test_no_zero_is_sent_for_a_boot_before_the_first_sample_that_was_sent() -> None:
    of = stretch(2, NOW + 90, prior_end_ts=NOW + 20, reason="rebooted", boot_ts=NOW + 60, boot_id="boot-2")
    assert values(Points(NOTHING_SENT).add([piece(of, [NOW + 95], network_sent_bytes=[7])]), SENT) == [(NOW + 95, 7)]


def test_boots_are_distinguished_by_their_time_where_the_kernel_has_no_id() -> None:
    first = piece(stretch(boot_id=None), [NOW], network_sent_bytes=[1000])
    same = stretch(2, NOW + 20, prior_end_ts=NOW, reason="killed", boot_id=None, boot_ts=NOW - 998)
    assert (
        values(Points(NOTHING_SENT).add([first, piece(same, [NOW + 20], network_sent_bytes=[1])]), SENT)[-1][1] == 1000
    )
    other = stretch(2, NOW + 120, prior_end_ts=NOW, reason="rebooted", boot_id=None, boot_ts=NOW + 100)
    points = Points(NOTHING_SENT).add([first, piece(other, [NOW + 120], network_sent_bytes=[1])])
    assert values(points, SENT)[-2:] == [(NOW + 100, 0), (NOW + 120, 1)]


def test_a_gap_ends_each_series_and_a_break_without_a_reason_ends_none() -> None:
    first = piece(stretch(), [NOW], cpu_percent=[5000])
    gap = stretch(2, NOW + 60, prior_end_ts=NOW, reason="stopped")
    points = Points(NOTHING_SENT).add([first, piece(gap, [NOW + 60], cpu_percent=[100])])
    assert values(points, CPU) == [(NOW, 0.5), (NOW + 5, "stale"), (NOW + 60, 0.01)]
    assert values(points, "tidemark_sample_timestamp_seconds")[1] == (NOW + 5, "stale")
    assert values(points, "tidemark_swap_ratio") == []
    none = stretch(2, NOW + 6, prior_end_ts=NOW, reason=None)
    points = Points(NOTHING_SENT).add([first, piece(none, [NOW + 6], cpu_percent=[100])])
    assert values(points, CPU) == [(NOW, 0.5), (NOW + 6, 0.01)]


def test_a_marker_is_never_at_or_after_the_next_sample() -> None:
    first = piece(stretch(), [NOW], cpu_percent=[5000])
    for after in (5, 3, -100):
        gap = stretch(2, NOW + after - 1, prior_end_ts=NOW, reason="clock_step")
        points = Points(NOTHING_SENT).add([first, piece(gap, [NOW + after], cpu_percent=[100])])
        assert values(points, CPU) == [(NOW, 0.5), (NOW + after, 0.01)]


def test_a_metric_that_is_unknown_for_more_than_two_intervals_is_stale_until_it_is_known() -> None:
    stamps = [NOW + 5 * i for i in range(7)]
    points = Points(NOTHING_SENT).add([piece(stretch(), stamps, cpu_percent=[100, None, None, None, None, 200, None])])
    assert values(points, CPU) == [(NOW, 0.01), (NOW + 5, "stale"), (NOW + 25, 0.02)]
    short = Points(NOTHING_SENT).add([piece(stretch(), stamps[:4], cpu_percent=[100, None, None, 200])])
    assert values(short, CPU) == [(NOW, 0.01), (NOW + 15, 0.02)]


def test_the_markers_of_a_clean_stop_come_before_any_sample_that_can_follow() -> None:
    points = Points(Points(NOTHING_SENT).add([piece(stretch(), [NOW], cpu_percent=[100])]).state).add_end()
    assert values(points, CPU) == [(NOW + 0.001, "stale")]
