"""A change that is named: what `changes` and the rooms that it asks share."""

from typing import Literal, NamedTuple

Kind = Literal["metric", "name", "service", "device"]
# The least share of a window that must have been recorded.
LEAST_COVERAGE = 0.5


class Moved(NamedTuple):
    """In the order in which they are named; its figures are what the SQL gives. `metric`: which figure of it moved."""

    minus_score: float
    kind: Kind
    name: str
    metric: str
    unit: str
    sql: str
