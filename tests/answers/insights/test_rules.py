"""What rules share: the unit of a number by its key, and how names, sizes and spans are written."""

import pytest

from service.answers.insights.rules import quoted, size, span, unit_of
from service.clock import DAY, HOUR, MINUTE


@pytest.mark.parametrize(
    ("key", "unit"),
    [
        ("used_bytes", "bytes"),
        ("growth_bytes_per_day", "bytes per day"),
        ("hour", "hour of the day"),
        ("last_run_id", "identifier"),
        ("pid", "identifier"),
        ("most_load_per_cpu", "per CPU"),
        ("day_percent", "percent"),
        ("longest_seconds", "seconds"),
        ("ts", "time"),
        ("made_ts", "time"),
        ("rising_captures", "count"),
        ("megabytes", "number"),
        ("bytes_read", "number"),
        ("", "number"),
    ],
)
def test_the_unit_of_a_number_is_the_ending_of_its_key(key: str, unit: str) -> None:
    assert unit_of(key) == unit


def test_a_quoted_name_ends_where_it_should() -> None:
    assert quoted("o'brien") == "'o''brien'"


@pytest.mark.parametrize(
    ("value", "text"), [(999, "1 kB"), (10**6, "1.0 MB"), (2.54 * 10**9, "2.5 GB"), (10**13, "10.0 TB")]
)
def test_a_size_is_in_the_largest_unit_that_it_reaches(value: float, text: str) -> None:
    assert size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1 minute"),
        (100, "2 minutes"),
        (89 * MINUTE, "89 minutes"),
        (2 * HOUR, "2 hours"),
        (DAY, "24 hours"),
        (36 * HOUR, "2 days"),
        (30 * DAY, "30 days"),
    ],
)
def test_a_span_is_in_the_unit_that_people_would_use(seconds: float, text: str) -> None:
    assert span(seconds) == text
