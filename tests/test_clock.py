"""How times and durations are read and written, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import clock
from service.clock import (
    DAY,
    HOUR,
    LAST_SECOND,
    YEAR,
    Clock,
    format_duration,
    parse_day,
    parse_duration,
    parse_time,
    rfc3339,
    zone,
)

NOW = 1_767_607_200  # 2026-01-05T10:00:00Z

moments = st.integers(0, LAST_SECOND)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("90m", 5400), ("24h", DAY), ("7d", 7 * DAY), ("5y", 5 * YEAR), ("1.5h", 5400), (" 2h ", 7200)],
)
def test_a_duration_is_a_number_with_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "h",
        "90",
        "-1h",
        "1 h",
        "1H",
        "1w",
        "0s",
        "0.1s",
        "1e3s",
        "٣h",
        "1h\0",
        "1h30m",
        "nan",
        "9" * 400 + "y",
        "99999y",
    ],
)
def test_what_is_no_duration_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="number with s, m, h, d or y"):
        parse_duration(text)


@given(moments.filter(bool))
def test_a_written_duration_reads_back_as_the_same(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"), [(DAY, "24h"), (7 * DAY, "7d"), (5 * YEAR, "5y"), (1_234_567, "1234567s")]
)
def test_a_duration_is_written_short_and_exact(seconds: int, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-05T10:00:00Z", NOW),
        ("2026-01-05T11:00:00+01:00", NOW),
        ("2026-01-05T04:30:00-05:30", NOW),
        ("2026-01-05T10:00:00.9Z", NOW),
        ("2026-01-05 10:00:00+00:00", NOW),
        (str(NOW), NOW),
        (f"{NOW}.75", NOW),
        ("0", 0),
        ("now", NOW),
        (" now ", NOW),
        ("-90m", NOW - 5400),
        ("-7d", NOW - 7 * DAY),
        ("-99y", 0),
    ],
)
def test_a_time_is_rfc3339_or_unix_seconds_or_now_or_before_now(text: str, seconds: int) -> None:
    assert parse_time(text, NOW + 0.9) == seconds


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("today", "2026-01-05T00:00:00+01:00"),
        ("yesterday", "2026-01-04T00:00:00+01:00"),
        ("monday", "2026-01-05T00:00:00+01:00"),
        ("tuesday", "2025-12-30T00:00:00+01:00"),
        ("sunday", "2026-01-04T00:00:00+01:00"),
        ("2025-07-01", "2025-07-01T00:00:00+02:00"),
        ("2025-07-01T03:12", "2025-07-01T03:12:00+02:00"),
        ("2025-07-01 03:12", "2025-07-01T03:12:00+02:00"),
        ("2025-07-01t03:12:30.5", "2025-07-01T03:12:30+02:00"),
        ("2025-10-26T02:30", "2025-10-26T02:30:00+02:00"),
        ("11:00", "2026-01-05T11:00:00+01:00"),
        ("11:01", "2026-01-04T11:01:00+01:00"),
        ("03:12", "2026-01-05T03:12:00+01:00"),
        ("3:12", "2026-01-05T03:12:00+01:00"),
        ("today 3:12", "2026-01-05T03:12:00+01:00"),
        ("yesterday 23:59", "2026-01-04T23:59:00+01:00"),
        ("monday 11:00", "2026-01-05T11:00:00+01:00"),
        ("monday 11:01", "2025-12-29T11:01:00+01:00"),
        ("2025-07-01 3:12", "2025-07-01T03:12:00+02:00"),
        ("1970-01-01", "1970-01-01T01:00:00+01:00"),
    ],
)
def test_a_time_without_an_offset_is_one_of_the_zone(text: str, written: str) -> None:
    berlin = zone("Europe/Berlin")
    assert rfc3339(parse_time(text, NOW + 0.9, berlin), berlin) == written


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-01-05t10:00:00z", NOW),
        ("2026-01-05T09:59:60Z", NOW),
        ("2026-01-05T10:59:60.5+01:00", NOW),
        ("2026-01-05T09:59:60", NOW),
    ],
)
def test_a_leap_second_and_lower_case_are_read(text: str, seconds: int) -> None:
    assert parse_time(text, NOW) == seconds


@pytest.mark.parametrize(
    ("text", "begins", "hours"),
    [
        ("yesterday", "2026-01-04T00:00:00+01:00", 24),
        ("2025-10-26", "2025-10-26T00:00:00+02:00", 25),
        ("2025-03-30", "2025-03-30T00:00:00+01:00", 23),
    ],
)
def test_a_day_is_as_long_as_it_was(text: str, begins: str, hours: int) -> None:
    berlin = zone("Europe/Berlin")
    start, end = parse_day(text, NOW, berlin)
    assert (rfc3339(start, berlin), end - start) == (begins, hours * HOUR)


@pytest.mark.parametrize("text", ["", "now", "12:00", "-1d", "2026-02-30", "2026-01-05T10:00", "1969-12-31"])
def test_what_is_no_day_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="a day is today, yesterday"):
        parse_day(text, NOW, zone("Europe/Berlin"))


def test_a_plus_that_became_a_space_on_its_way_is_read_as_a_plus() -> None:
    assert parse_time("2026-01-05T11:00:00 01:00", NOW) == NOW


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "--5m",
        "+5m",
        "-1",
        "-5",
        "tomorrow",
        "Monday",
        "2026-02-30",
        "1969-12-31",
        "5000-01-01",
        "20260105T10:00",
        "2026-W01-1",
        "24:00",
        "3:1",
        "tomorrow 3:12",
        "yesterday 24:00",
        "2026-01-05T10:00:61Z",
        "2026-13-05T10:00:00Z",
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        str(LAST_SECOND + 1),
        "9" * 400,
        "1e9",
        "nan",
        "inf",
        "١٧٦٧٦٠٧٢٠٠",
        "２０２６-01-05T10:00:00Z",
        "now\0",
        "\0",
        "2026-01-05T10:00:00\0Z",
        "\udcff",
    ],
)
def test_what_is_no_time_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValueError, match="a time is RFC 3339 with an offset"):
        parse_time(text, NOW)


@given(st.text(max_size=40))
def test_any_text_is_a_time_that_can_be_written_or_is_refused(text: str) -> None:
    try:
        ts = parse_time(text, NOW)
    except ValueError:
        return
    assert parse_time(rfc3339(ts), NOW) == ts


@given(moments, st.sampled_from(["UTC", "Europe/London", "Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati"]))
def test_a_written_time_reads_back_as_the_same_in_every_zone(ts: int, name: str) -> None:
    assert parse_time(rfc3339(ts, zone(name)), NOW) == ts


def test_utc_is_written_with_z_and_another_zone_with_its_offset() -> None:
    assert rfc3339(NOW + 0.99) == "2026-01-05T10:00:00Z"
    assert rfc3339(NOW, zone("Asia/Kathmandu")) == "2026-01-05T15:45:00+05:45"
    assert rfc3339(NOW, zone("Europe/London")) == "2026-01-05T10:00:00+00:00"


def test_the_hour_that_comes_twice_is_distinguished_by_its_offset() -> None:
    london, first = zone("Europe/London"), 1_792_888_200  # 2026-10-25T00:30:00Z
    assert rfc3339(first, london) == "2026-10-25T01:30:00+01:00"
    assert rfc3339(first + HOUR, london) == "2026-10-25T01:30:00+00:00"
    labels = [clock.clock_label(first + hours * HOUR, london) for hours in (-1, 0, 1, 2)]
    assert labels == ["00:30", "01:30+01:00", "01:30+00:00", "02:30"]


def test_the_hour_that_never_comes_is_not_shown() -> None:
    london, before = zone("Europe/London"), 1_774_745_940  # 2026-03-29T00:59:00Z
    assert [clock.clock_label(before + seconds, london) for seconds in (0, 60)] == ["00:59", "02:00"]
    assert [clock.utc_offset(before + seconds, london) for seconds in (0, 60)] == [0, HOUR]


@pytest.mark.parametrize(
    "name", ["", "Nowhere/Else", "Europe", "../../etc/passwd", "/etc/localtime", "utc\0", "x" * 300]
)
def test_what_is_no_time_zone_is_refused_in_words(name: str) -> None:
    with pytest.raises(ValueError, match="Europe/Berlin"):
        zone(name)


def test_the_clocks_never_run_backwards_between_two_readings() -> None:
    before, after = Clock().now(), Clock().now()
    assert after.steady >= before.steady
    assert after.boot >= before.boot
    assert clock.steady() >= after.steady
