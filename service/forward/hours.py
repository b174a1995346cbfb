"""Who used the host, hour by hour: the names and services that used most go to the receiver, in requests of their own.

Never a process id: each would be a series for ever. An hour is stamped at its end, and goes out once it is rolled up.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from service.clock import HOUR
from service.forward.delivery import Delivery
from service.forward.destination import Destination
from service.forward.encode import frame, labels, pack_double, write_request
from service.forward.points import HOURS, State
from service.store.statements import Statements
from service.store.usages import progress

# Of one request; so many hours of twenty names and twenty services have 1,920 points.
_HOURS_AT_ONCE = 24
_MS = 1000
_FAMILIES = (
    # Series, its label, view, column, what a unit of the column is in base units.
    ("tidemark_process_hour_cpu_ratio", "process", "process_hours", "name", "cpu_percent", 0.01),
    ("tidemark_process_hour_memory_bytes", "process", "process_hours", "name", "memory_bytes", 1),
    ("tidemark_service_hour_cpu_ratio", "service", "service_hours", "service", "cpu_percent", 0.01),
    ("tidemark_service_hour_memory_bytes", "service", "service_hours", "service", "memory_bytes", 1),
)
Read = Callable[[Callable[[Statements], Any]], Any]


class Hours:
    """`count`: how many names, and how many services, of an hour are sent by each measure; 0: none."""

    def __init__(self, destination: Destination, count: int, delivery: Delivery) -> None:
        self._common = {**destination.labels, "job": "tidemark", "instance": destination.instance}
        self._count, self._delivery = count, delivery

    def deliver(self, read: Read, state: State, after: int, until: int) -> State:
        """Send the hours that have ended by `until` and were not sent yet; of a receiver that got none yet those that
        end after `after`. Returns the state with how far that has come, also where it was cut off."""
        if not self._count:
            return state
        done = state.known.get(HOURS, after)
        while done // HOUR * HOUR + HOUR <= until:
            last, body = read(partial(self._next, done, until))
            if last is None or (body and not self._delivery.deliver_apart(body, "hours of names and services")):
                break
            done = last
        return replace(state, known={**state.known, HOURS: done})

    def _next(self, done: int, until: int, statements: Statements) -> tuple[int | None, bytes]:
        """The end of the last of the next hours that can be sent, None where there is none, and what is sent."""
        limit = min(until, progress(statements)[0]) // HOUR * HOUR
        found = statements.rows(
            "SELECT DISTINCT ts FROM process_hours WHERE ts > ? AND ts < ? ORDER BY ts LIMIT ?",
            (done - HOUR, limit, _HOURS_AT_ONCE),
        )
        starts = [row[0] for row in found]
        return (starts[-1] + HOUR if starts else None), write_request(self._series(statements, starts))

    def _series(self, statements: Statements, starts: list[int]) -> Iterator[tuple[bytes, list[bytes]]]:
        for family, label, view, column, value, unit in _FAMILIES:
            points: dict[str, list[bytes]] = {}
            for start in starts:
                head, tail = frame((start + HOUR) * _MS)
                for name, used in statements.rows(
                    f"SELECT {column}, SUM({value}) AS used FROM {view} "
                    f"WHERE ts = ? AND {column} > '' AND {value} IS NOT NULL "
                    f"GROUP BY {column} ORDER BY used DESC, {column} LIMIT ?",
                    (start, self._count),
                ):
                    points.setdefault(name, []).append(head + pack_double(round(used * unit, 8)) + tail)
            for name, of_name in points.items():
                yield labels({**self._common, "__name__": family, label: name}), of_name
