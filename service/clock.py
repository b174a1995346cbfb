"""Says what time it is (wall) and how long something took (steady), reads and writes times; alone touches `time`."""

import re
import time
from datetime import UTC, datetime, tzinfo
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


def parse_time(text: str, now: float) -> int:
    """Unix seconds of RFC 3339, unix seconds, `now`, or a time before now like `-90m`.

    :raises ValueError: if it is none of these.
    """
    stripped = text.strip()
    try:
        if stripped == "now":
            return int(now)
        if stripped.startswith("-"):
            return max(0, int(now) - parse_duration(stripped[1:]))
        if re.fullmatch(r"\d{1,12}(\.\d{1,9})?", stripped, re.ASCII):
            seconds = int(float(stripped))
        else:
            # datetime takes a NUL for the end of the text.
            if not stripped.isprintable():
                raise ValueError
            # A + in a query string that was not escaped arrives as a space.
            moment = datetime.fromisoformat(re.sub(r" (?=\d\d:\d\d$)", "+", stripped))
            if moment.tzinfo is None:
                raise ValueError
            seconds = int(moment.timestamp())
        if not 0 <= seconds <= LAST_SECOND:
            raise ValueError
    except (ValueError, OverflowError):
        raise ValueError(
            "a time is RFC 3339 with an offset (2026-01-31T12:00:00Z), unix seconds, now, or -90m, -24h, -7d"
        ) from None
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
    """HH:MM on the zone's clock."""
    return datetime.fromtimestamp(int(ts), tz).strftime("%H:%M")


def steady() -> float:
    """Seconds on the clock that never steps, for deadlines."""
    return time.monotonic()


def wall() -> float:
    """Unix seconds, for stamps that nothing is computed from."""
    return time.time()
