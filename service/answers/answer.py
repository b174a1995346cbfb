"""What every answer is: a msgspec Struct, declared once; and how its numbers are rounded."""

from collections.abc import Mapping
from typing import overload

import msgspec

from service.errors import BadParameter
from service.metrics import BY_NAME, Metric


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
