"""Says what time it is (wall) and how long something took (steady), reads and writes times; alone touches `time`."""

import re
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

MINUTE = 60
HOUR = 3600
DAY = 86400
# The mean Gregorian year, so that "5y" is right on average over leap years.
YEAR = 31_556_952
# 4999-12-31T23:59:59Z. A window that ends here may end later once it is rounded up to its step, by at most its own
# length: still before the year 10000, which RFC 3339 cannot write.
LAST_SECOND = 95_617_583_999

Zone = tzinfo

_UNIT_SECONDS = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY, "y": YEAR}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DURATION = re.compile(r"(\d{1,11}(?:\.\d{1,6})?)([smhdy])", re.ASCII)


class Instant(NamedTuple):
    """One moment on the three clocks, in seconds.

    `wall` is unix time and may step; `steady` never steps and stops while the host is suspended (CLOCK_MONOTONIC);
    `boot` never steps and goes on while the host is suspended (CLOCK_BOOTTIME).
    """

    wall: float
    steady: float
    boot: float


class NoZoneDatabase(ValueError):
    """The host knows no zone but UTC."""


class Clock:
    """The host's clocks; tests pass in a clock of their own."""

    def now(self) -> Instant:
        boot = time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()
        return Instant(time.time(), time.monotonic(), boot)


def parse_duration(text: str) -> int:
    """Seconds of a duration like `90m`, `24h`, `7d`, `5y`.

    :raises ValueError: if it is not a number with s, m, h, d or y, or is less than a second or beyond LAST_SECOND.
    """
    match = _DURATION.fullmatch(text.strip())
    seconds = round(float(match[1]) * _UNIT_SECONDS[match[2]]) if match else 0
    if not 1 <= seconds <= LAST_SECOND:
        raise ValueError("a duration is a number with s, m, h, d or y, like 90m or 7d")
    return seconds


def format_duration(seconds: int) -> str:
    """The shortest exact form: 604800 is `7d`, and one day is `24h`."""
    for unit in "yhm" if seconds == DAY else "ydhm":
        if seconds >= _UNIT_SECONDS[unit] and seconds % _UNIT_SECONDS[unit] == 0:
            return f"{seconds // _UNIT_SECONDS[unit]}{unit}"
    return f"{seconds}s"


def parse_time(text: str, now: float, tz: tzinfo = UTC) -> int:
    """Unix seconds of RFC 3339, unix seconds, `now`, or a time before now like `-90m`.

    In the zone: `today`, `yesterday`, a weekday (the last one, or today), a date: where that day begins; one of these
    with a time, `yesterday 3:12`; `03:12`, `3:12`: when it last was that time.

    :raises ValueError: if it is none of these; whether it is does not depend on the zone.
    """
    stripped = text.strip()
    try:
        # datetime takes a NUL for the end of the text.
        if not stripped.isprintable():
            raise ValueError
        if stripped == "now":
            return int(now)
        if stripped.startswith("-"):
            return max(0, int(now) - parse_duration(stripped[1:]))
        if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", stripped, re.ASCII):
            return _in_range(int(float(stripped)))
        local = _local_time(stripped, now, tz)
        return _with_offset(stripped) if local is None else _in_zone(local, tz)
    except (ValueError, OverflowError):
        raise ValueError(
            "a time is RFC 3339 with an offset (2026-01-31T12:00:00Z), unix seconds, now, -90m, -24h, -7d, or in "
            "analysis.timezone today, yesterday, monday to sunday, 2026-01-31, 2026-01-31T12:00, 12:00, yesterday 12:00"
        ) from None


def parse_day(text: str, now: float, tz: tzinfo) -> tuple[int, int]:
    """Where a day of the zone begins, and where the next one does: `today`, `yesterday`, a weekday, a date.

    :raises ValueError: if it is none of these.
    """
    try:
        day = _day(text.strip(), now, tz)
        if day is not None:
            return _in_zone(day, tz), _in_zone(day + timedelta(days=1), tz)
    except (ValueError, OverflowError):
        pass
    raise ValueError("a day is today, yesterday, monday to sunday, or a date like 2026-01-31")


def _local_time(text: str, now: float, tz: tzinfo) -> datetime | None:
    """What a clock in the zone shows, without its offset; None where the text has an offset, or is no time."""
    if clock := re.fullmatch(r"(?:([a-z]+|\d{4}-\d\d-\d\d) +)?(\d?\d):(\d\d)", text, re.ASCII):
        word, hour, minute = clock.groups()
        day = _day(word, now, tz) if word else _today(now, tz)
        at = None if day is None else day.replace(hour=int(hour), minute=int(minute))
        if at is None or at.replace(tzinfo=tz).timestamp() <= now:
            return at
        return at - timedelta(days=7 if word in _WEEKDAYS else 0 if word else 1)
    if re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?", text, re.ASCII):
        return _iso(text)
    return _day(text, now, tz)


def _day(text: str, now: float, tz: tzinfo) -> datetime | None:
    today = _today(now, tz)
    if text in ("today", "yesterday"):
        return today - timedelta(days=text == "yesterday")
    if text in _WEEKDAYS:
        return today - timedelta(days=(today.weekday() - _WEEKDAYS.index(text)) % 7)
    return datetime.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None


def _today(now: float, tz: tzinfo) -> datetime:
    return datetime.combine(datetime.fromtimestamp(int(now), tz).date(), datetime.min.time())


def _iso(text: str) -> datetime:
    """RFC 3339, of which Python 3.11 takes no `z`; second 60, a leap second, is the one after 59."""
    plain, leaps = re.subn(r"(?<=[T ]\d\d:\d\d:)60", "59", text.upper())
    return datetime.fromisoformat(plain) + timedelta(seconds=leaps)


def _with_offset(text: str) -> int:
    # A + in a query string that was not escaped arrives as a space.
    moment = _iso(re.sub(r" (?=\d\d:\d\d$)", "+", text))
    if moment.tzinfo is None:
        raise ValueError
    return _in_range(int(moment.timestamp()))


def _in_zone(local: datetime, tz: tzinfo) -> int:
    """Of a time that comes twice (a clock that is set back) the first."""
    _in_range(int(local.replace(tzinfo=UTC).timestamp()))
    return min(max(0, int(local.replace(tzinfo=tz).timestamp())), LAST_SECOND)


def _in_range(seconds: int) -> int:
    """
    :raises ValueError: if it is before 1970 or past LAST_SECOND.
    """
    if not 0 <= seconds <= LAST_SECOND:
        raise ValueError
    return seconds


def zone(name: str) -> tzinfo:
    """The time zone of an IANA name; UTC needs no zone database.

    :raises ValueError: if the host's zone database does not know it.
    :raises NoZoneDatabase: if the host has none.
    """
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        if not available_timezones():
            raise NoZoneDatabase("this host has no time zone database: install the package tzdata") from None
        raise ValueError("a time zone is a name like UTC or Europe/Berlin") from None


def rfc3339(ts: float, tz: tzinfo = UTC) -> str:
    """RFC 3339 to the second, in the zone; UTC is written `Z`."""
    text = datetime.fromtimestamp(int(ts), tz).isoformat()
    return text.replace("+00:00", "Z") if tz is UTC else text


def utc_offset(ts: float, tz: tzinfo) -> float:
    """Seconds by which the zone's clock is ahead of UTC at `ts`."""
    offset = datetime.fromtimestamp(int(ts), tz).utcoffset()
    return offset.total_seconds() if offset else 0.0


def clock_label(ts: float, tz: tzinfo) -> str:
    """HH:MM on the zone's clock; with the offset in an hour that comes twice, like 02:15+01:00."""
    local = datetime.fromtimestamp(int(ts), tz)
    text = local.strftime("%H:%M")
    if local.utcoffset() == local.replace(fold=1 - local.fold).utcoffset():
        return text
    return text + rfc3339(ts, tz)[len("2026-01-31T12:00:00") :]


def day_label(ts: float, tz: tzinfo) -> str:
    """YYYY-MM-DD of the zone's calendar."""
    return datetime.fromtimestamp(int(ts), tz).strftime("%Y-%m-%d")


def noons(now: float, tz: tzinfo, weeks: int) -> list[int]:
    """Noon of each day up to today, from the Monday that begins the first of so many weeks, the last of them being this
    one; in unix seconds. Noon is of its day in every zone, whatever the clock does at midnight."""
    today = datetime.fromtimestamp(int(now), tz).date()
    count = 7 * (weeks - 1) + today.weekday() + 1
    days = (today - timedelta(days=count - 1 - number) for number in range(count))
    return [int(datetime(day.year, day.month, day.day, 12, tzinfo=tz).timestamp()) for day in days]


def steady() -> float:
    """Seconds on the clock that never steps, for deadlines."""
    return time.monotonic()


def wall() -> float:
    """Unix seconds, for stamps that nothing is computed from."""
    return time.time()
