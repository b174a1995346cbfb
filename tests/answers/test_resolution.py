"""How wide buckets are and which tier fills them, for every window."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.answers.resolution import PEAK_BUCKETS, TREND_BUCKETS, resolution, stored_seconds
from service.clock import DAY, HOUR, MINUTE, YEAR
from service.store.reader import History
from service.store.tiers import HOURS, MINUTES, SAMPLES
from service.store.writer import Store
from tests.conftest import NOW, Fill

windows = st.integers(MINUTE, 10 * YEAR)


@pytest.mark.parametrize(
    ("seconds", "tier"),
    [(2 * HOUR, SAMPLES), (2 * HOUR + 1, MINUTES), (2 * DAY, MINUTES), (2 * DAY + 1, HOURS), (5 * YEAR, HOURS)],
)
def test_a_percentile_is_of_samples_up_to_two_hours_and_of_minutes_up_to_two_days(seconds: int, tier: object) -> None:
    found = resolution("percentile", seconds)
    assert (found.tier, found.step) == (tier, found.tier.seconds)


@given(windows)
@example(7 * DAY)
@example(7 * DAY - 1)
def test_a_trend_has_about_sixty_buckets_of_whole_minutes_and_of_whole_hours_from_a_week_on(seconds: int) -> None:
    step = resolution("trend", seconds).step
    assert step % (HOUR if seconds >= 7 * DAY else MINUTE) == 0
    if seconds > TREND_BUCKETS * MINUTE:
        assert 0.6 <= step * TREND_BUCKETS / seconds <= 1.5


@given(windows)
@example(PEAK_BUCKETS * 6 * HOUR)
@example(PEAK_BUCKETS * 6 * HOUR + PEAK_BUCKETS * HOUR)
def test_peaks_are_read_from_hours_only_where_buckets_are_much_wider(seconds: int) -> None:
    found = resolution("peaks", seconds)
    assert found.tier == (HOURS if found.step > 6 * HOUR else MINUTES)
    assert found.step % found.tier.seconds == 0
    if seconds > PEAK_BUCKETS * MINUTE:
        assert 0.6 <= found.step * PEAK_BUCKETS / seconds <= 1.5


@given(windows, st.sampled_from(["trend", "peaks"]))
def test_no_tier_is_coarser_than_the_buckets_that_it_fills(seconds: int, purpose: str) -> None:
    found = resolution(purpose, seconds)  # type: ignore[arg-type]
    assert found.tier.seconds <= found.step


@pytest.mark.parametrize("points", [1, 2, 7, 60, 300, 5000])
@pytest.mark.parametrize("seconds", [1, 59, HOUR, DAY, 90 * DAY, 5 * YEAR])
def test_a_series_fits_its_points_and_its_tier_divides_its_buckets(
    history: History, store: Store, fill: Fill, seconds: int, points: int
) -> None:
    fill(NOW - 100, 20, cpu_percent=1)
    start, end = NOW - seconds + 7, NOW + 7
    with history.view() as view:
        finest = stored_seconds(view, start, end)
    found = resolution("series", end - start, start=start, points=points, least=finest)
    assert found.step % found.tier.seconds == 0
    assert -(-end // found.step) - start // found.step <= points
