"""What every answer is: a msgspec Struct, declared once; and how its numbers are rounded."""

from collections.abc import Mapping
from typing import overload

import msgspec

from service.errors import BadParameter
from service.metrics import BY_NAME, Metric

# A flat answer repeats names and units in each row: more would take tens of megabytes of the daemon.
MOST_FLAT_ROWS = 20_000


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """mypy checks it, JSON is encoded from it, OpenAPI names it, the terminal draws it. Moments are unix seconds."""


@overload
def rounded(value: float, digits: int = 2) -> float: ...
@overload
def rounded(value: float | None, digits: int = 2) -> float | None: ...
def rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)


def metric_named(name: str, known: Mapping[str, Metric] = BY_NAME) -> Metric:
    """
    :raises BadParameter: if there is no such metric.
    """
    if name not in known:
        raise BadParameter(f"metric = {name!r}: takes one of {', '.join(known)}")
    return known[name]


def check_window(start: int, end: int) -> None:
    """
    :raises BadParameter: if the window start <= ts < end is empty.
    """
    if end <= start:
        raise BadParameter("start, end: takes a start that is before its end")


def check_rows(points: int, columns: int) -> None:
    """
    :raises BadParameter: if so many points of so many columns are too many rows.
    """
    if points * columns > MOST_FLAT_ROWS:
        has = f"this has {points * columns}: ask for points = {MOST_FLAT_ROWS // columns}"
        raise BadParameter(f"format = rows: takes at most {MOST_FLAT_ROWS} rows, and {has}")
