"""What rules are given and what they find: findings in plain words, with the numbers and the SQL that gives them; pure.

A rule asks one question of the public views, in SQL that has its whole window as unix seconds in it, and judges the
row that comes back. The evidence is that row, so whoever runs the SQL later sees the same numbers. Where the evidence
is thin, it finds nothing. docs/insights.md gives the reason of each threshold.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Literal

from msgspec import Struct

from service.clock import DAY, HOUR, MINUTE

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")

_COUNTS = (
    *("captures", "cpus", "days", "drops", "errors", "gaps"),
    *("hours", "kills", "load", "minutes", "runs", "segments"),
)
# What a number of the evidence is, by the last words of its key: who shows one needs no more than the key.
UNITS = {
    "bytes": "bytes",
    "bytes_per_day": "bytes per day",
    "celsius": "degrees Celsius",
    "hour": "hour of the day",
    "id": "identifier",
    "ms": "milliseconds",
    "per_cpu": "per CPU",
    "per_second": "per second",
    "percent": "percent",
    "pid": "identifier",
    "seconds": "seconds",
    "ts": "time",
    **dict.fromkeys(_COUNTS, "count"),
}

Row = Mapping[str, Any]


class Finding(Struct, frozen=True, kw_only=True):
    """`evidence`: the numbers of the row that `sql` gives; the unit of each is `unit_of` its key. `device`: the one
    that it is about, as the parameter of series takes it; None for what is about no device."""

    code: str
    severity: Severity
    title: str
    detail: str
    evidence: dict[str, float | int | None]
    sql: str
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """What rules are given: `ask` runs one SELECT on the public views, `now` is unix seconds, `text` writes a moment
    and `offset` is by how many seconds local time is ahead of UTC at one."""

    ask: Callable[[str], Sequence[Row]]
    now: int
    text: Callable[[int], str]
    offset: Callable[[int], int] = lambda _: 0

    def row(self, sql: str) -> Row | None:
        """The only row; None where there is none or all of it is unknown."""
        rows = self.ask(sql)
        return rows[0] if rows and any(value is not None for value in rows[0].values()) else None

    def window(self, seconds: int) -> str:
        """The condition of the last so many seconds, in SQL."""
        return f"ts >= {self.now - seconds} AND ts < {self.now}"

    def local(self, start: int, end: int) -> str:
        """The local time of `ts` as seconds, in SQL; right for full hours in start <= ts < end."""
        offsets = [(ts, self.offset(ts)) for ts in range(start, end, HOUR)]
        changes = [(new, old[1]) for old, new in pairwise(offsets) if new[1] != old[1]]
        last = offsets[-1][1] if offsets else 0
        cases = " ".join(f"WHEN ts < {ts} THEN {before}" for (ts, _), before in changes)
        if not cases and not last:
            return "ts"
        return f"(ts + CASE {cases} ELSE {last} END)" if cases else f"(ts + {last})"


Rule = Callable[[Asked], Iterator[Finding]]


def unit_of(key: str) -> str:
    """The unit of an evidence key, by its ending in UNITS; `number` where it has none."""
    return next((unit for ending, unit in UNITS.items() if f"_{key}".endswith(f"_{ending}")), "number")


def numbers(row: Row) -> dict[str, float | int | None]:
    """What of a row is evidence: all but the texts."""
    return {key: value for key, value in row.items() if value is None or isinstance(value, (int, float))}


def quoted(text: str) -> str:
    """A text as an SQL expression. Names come from the host, and may hold anything; what would not print, or turn its
    line around, is written as its number."""
    pieces = []
    for is_printable, signs in groupby(text, str.isprintable):
        piece = "".join(signs)
        pieces.append(
            "'" + piece.replace("'", "''") + "'" if is_printable else f"char({', '.join(map(str, map(ord, piece)))})"
        )
    return " || ".join(pieces) or "''"


def size(value: float) -> str:
    for unit, factor in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if value >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value / 1000:.0f} kB"


def span(seconds: float) -> str:
    """A span in the unit that people would use."""
    for unit, length in (("day", DAY), ("hour", HOUR), ("minute", MINUTE)):
        if seconds >= 1.5 * length or unit == "minute":
            count = max(1, round(seconds / length))
            return f"{count} {unit}{'s' if count > 1 else ''}"
    raise AssertionError
