import itertools

from hypothesis import given
from hypothesis import strategies as st

from service.clock import DAY, HOUR, MINUTE
from service.store.tiers import HOURS, MINUTES, SAMPLES, RollupProgress, Segment, plan

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
