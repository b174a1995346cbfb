"""Which tier answers for which time, and that all of them answer the same."""

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.clock import DAY, HOUR, MINUTE
from service.metrics import COUNTERS, GAUGES, METRICS, Metric
from service.records import Break, Sample
from service.store import tiers
from service.store.tiers import (
    HOURS,
    LEADING,
    MINUTES,
    PER_METRIC,
    SAMPLES,
    ReducedRow,
    RollupProgress,
    Segment,
    combine,
    plan,
    reduce,
    reduce_samples,
)
from service.store.writer import Store

T = 1_767_600_000 // HOUR * HOUR  # a whole hour


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, int, int, RollupProgress]:
    """A window, a grain, and how far rollups and pruning have come; as the store keeps them."""
    hour = st.integers(0, 40).map(lambda n: T + n * HOUR)
    minutes_from = draw(hour)
    samples_from = draw(hour.filter(lambda ts: ts >= minutes_from))
    hours_until = draw(hour.filter(lambda ts: ts >= samples_from))
    minutes_until = hours_until + draw(st.integers(0, 59)) * MINUTE
    days_until = hours_until // DAY * DAY - draw(st.integers(0, 1)) * DAY
    start = T + draw(st.integers(-50 * HOUR, 45 * HOUR))
    end = start + draw(st.integers(1, 90 * HOUR))
    grain = draw(st.sampled_from([1, 30, MINUTE, 300, HOUR, 7200, DAY]))
    return start, end, grain, RollupProgress(minutes_until, hours_until, days_until, samples_from, minutes_from)


@given(histories())
def test_the_segments_cover_the_window_exactly_once_in_order(case: tuple[int, int, int, RollupProgress]) -> None:
    start, end, grain, progress = case
    segments = plan(start, end, grain, progress)
    assert segments[0].start == start
    assert segments[-1].end == end
    assert all(a.end == b.start for a, b in itertools.pairwise(segments))


@given(histories())
def test_rollups_are_read_only_in_whole_buckets_that_are_rolled_up(case: tuple[int, int, int, RollupProgress]) -> None:
    start, end, grain, progress = case
    until = {"minutes": progress.minutes_until, "hours": progress.hours_until, "days": progress.days_until}
    gone = {"samples": progress.samples_from, "minutes": progress.minutes_from, "hours": 0, "days": 0}
    for segment in plan(start, end, grain, progress):
        assert segment.start >= gone[segment.tier.name]
        if segment.tier is not SAMPLES and segment.start >= progress.samples_from:
            assert segment.start % segment.tier.seconds == 0
            assert segment.end <= until[segment.tier.name]
            assert segment.end % segment.tier.seconds == 0


@given(histories())
def test_nothing_coarser_than_the_grain_is_read_where_a_finer_tier_is_whole(
    case: tuple[int, int, int, RollupProgress],
) -> None:
    start, end, grain, progress = case
    for segment in plan(start, end, grain, progress):
        if segment.tier is HOURS and segment.start >= progress.minutes_from:
            assert grain >= HOUR
        if segment.tier is MINUTES and segment.start >= progress.samples_from:
            assert grain >= MINUTE


def test_a_long_window_is_hours_with_finer_edges() -> None:
    progress = RollupProgress(
        minutes_until=T + 10 * HOUR, hours_until=T + 10 * HOUR, days_until=0, samples_from=0, minutes_from=0
    )
    assert plan(T + 90, T + 3 * HOUR + 61, HOUR, progress) == [
        Segment(SAMPLES, T + 90, T + 120),
        Segment(MINUTES, T + 120, T + HOUR),
        Segment(HOURS, T + HOUR, T + 3 * HOUR),
        Segment(MINUTES, T + 3 * HOUR, T + 3 * HOUR + 60),
        Segment(SAMPLES, T + 3 * HOUR + 60, T + 3 * HOUR + 61),
    ]


# -- what a bucket says


def some_samples(seed: int, count: int = 400) -> list[Sample]:
    """Of a run in stretches: values that are missing in every other minute, counters that stand still or fall, ticks
    that cover nearly nothing."""
    chance = random.Random(seed)
    samples, ts, totals = [], T, {counter.name: 10**6 for counter in COUNTERS}
    for number in range(count):
        begins = Break(ts, "overload") if not number or chance.random() < 0.02 else None
        ts += chance.choice((1, 5, 5, 5)) + (300 if begins and number else 0)
        values: dict[str, float | None] = {gauge.name: chance.randint(0, 10_000) / 100 for gauge in GAUGES}
        for name in totals:
            totals[name] = 50 if chance.random() < 0.02 else totals[name] + chance.choice((0, 1, 10**4, 10**7))
        values |= totals
        values |= {metric.name: None for metric in METRICS if ts // MINUTE % 2 and chance.random() < 0.1}
        samples.append(Sample(ts, chance.choice((0.0, 0.099, 0.1, 0.101, 4.9, 5.0, 5.1)), values, begins))
    return samples


def added_up(rows: Sequence[ReducedRow]) -> dict[int, list[int | None]]:
    into: dict[int, ReducedRow] = {}
    combine(rows, into)
    return {number: list(row) for number, row in into.items()}


def reduced(store: Store, segment: Segment, metrics: Sequence[Metric], step: int) -> dict[int, list[int | None]]:
    with store.transaction() as statements:
        return added_up(reduce(statements, segment, metrics, segment.start - segment.start % step, step))


@pytest.mark.parametrize("metrics", [METRICS, GAUGES[:2], COUNTERS[:1]], ids=["all", "gauges", "a counter"])
@pytest.mark.parametrize("seed", range(3))
def test_samples_in_memory_say_what_they_say_once_stored(store: Store, seed: int, metrics: Sequence[Metric]) -> None:
    samples = some_samples(seed)
    store.append(samples)
    start, end = samples[150].ts, samples[-1].ts
    origin = start - start % MINUTE
    in_memory = added_up(reduce_samples(samples, metrics, start, end, origin, MINUTE))
    assert in_memory == reduced(store, Segment(SAMPLES, start, end), metrics, MINUTE)


@pytest.mark.parametrize("step", [MINUTE, HOUR])
@pytest.mark.parametrize("most_subqueries", [20_000, 0], ids=["dense", "sparse"])
def test_minutes_say_what_their_samples_say(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: int, most_subqueries: int
) -> None:
    """All but a weighted sum, which a minute's average, rounded to a hundredth, gives back within a half of it."""
    monkeypatch.setattr(tiers, "_MOST_SUBQUERIES", most_subqueries)
    samples = some_samples(7)
    store.append(samples)
    while store.roll_up():
        pass
    start, end = T + MINUTE, samples[-1].ts // MINUTE * MINUTE
    found, expected = (reduced(store, Segment(tier, start, end), METRICS, step) for tier in (MINUTES, SAMPLES))
    for rows in (found, expected):
        for row in rows.values():
            for at, metric in zip(range(LEADING, len(row), PER_METRIC), METRICS, strict=True):
                if not metric.is_counter and row[at] is not None:
                    row[at] = None if abs(row[at] - expected[row[0]][at]) <= row[at + 1] / 2 else row[at]
    assert found == expected
    assert len(found) > 1 or step == HOUR


@pytest.mark.parametrize(("covered", "rate"), [(0.1, 10_000), (0.099, None)])
def test_a_rate_is_of_a_tenth_of_a_second_or_more(store: Store, covered: float, rate: int | None) -> None:
    """What is taken right after another sample would be a spike made of rounding."""
    samples = [
        Sample(T, 5.0, {"disk_read_bytes": 0}, Break(None, None)),
        Sample(T + 1, covered, {"disk_read_bytes": 1000}),
    ]
    store.append(samples)
    metrics = [metric for metric in COUNTERS if metric.name == "disk_read_bytes"]
    stored = reduced(store, Segment(SAMPLES, T, T + MINUTE), metrics, MINUTE)
    assert added_up(reduce_samples(samples, metrics, T, T + MINUTE, T, MINUTE)) == stored
    assert stored[0][LEADING:] == [1000, round(1000 * covered), None, rate]


def test_what_is_rolled_up_in_no_bucket_of_the_window_gives_no_row(store: Store) -> None:
    assert reduced(store, Segment(MINUTES, T, T + HOUR), METRICS, MINUTE) == {}


def test_the_neighbour_of_the_first_sample_is_found_two_intervals_before_the_window(store: Store) -> None:
    """The interval is that of its run: 5 s."""
    counted = [
        Sample(T, 5.0, {"disk_read_bytes": 100}, Break(None, None)),
        Sample(T + 12, 5.0, {"disk_read_bytes": 350}),
    ]
    store.append(counted)
    metrics = [metric for metric in COUNTERS if metric.name == "disk_read_bytes"]
    assert reduced(store, Segment(SAMPLES, T + 12, T + 13), metrics, MINUTE)[0][LEADING] == 250


def test_a_day_is_read_from_days_where_they_are_rolled_up() -> None:
    midnight = T // DAY * DAY
    progress = RollupProgress(midnight + DAY, midnight + DAY, midnight + DAY, midnight + DAY, midnight)
    assert [(part.tier.name, part.start) for part in plan(midnight - DAY, midnight + DAY, DAY, progress)] == [
        ("days", midnight - DAY)
    ]
    assert {part.tier.name for part in plan(midnight, midnight + DAY, DAY - 1, progress)} == {"hours"}
