"""Which series the samples are shipped as; here under the names of /metrics, in `node` under those of node_exporter."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from service.metrics import METRICS
from service.store.forwards import Piece

STAMP_SERIES = "tidemark_sample_timestamp_seconds"
# Of the values of samples, one series after the other; None where one is unknown.
Columns = Iterable[Sequence[int | None]]
_NONE: Mapping[str, str] = MappingProxyType({})


class Line(NamedTuple):
    """A series of the whole host.

    `name`: what it is known by in a state. `labels`: `__name__` and its own. `divisor`: a value of its column, by that,
    is what is sent. `counter`: under what a state keeps it; None for a gauge. `is_sum`: its column does not say what
    was counted since boot but what is to be added to it.
    """

    name: str
    labels: Mapping[str, str]
    divisor: float
    counter: str | None = None
    is_sum: bool = False


@dataclass(frozen=True, slots=True)
class Naming:
    """`columns`: of a piece, those of `lines`. `is_covered`: its rows end with the milliseconds that they stand for."""

    lines: tuple[Line, ...]
    columns: Callable[[Piece], Columns]
    is_covered: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Of all series; the last is that of the stamps, by which samples are counted whatever they are called."""
        return (*(line.name for line in self.lines), STAMP_SERIES)

    def labels(self) -> list[Mapping[str, str]]:
        """Of all series."""
        return [*(line.labels for line in self.lines), {"__name__": STAMP_SERIES}]


def line(
    name: str, divisor: float, counter: str | None = None, is_sum: bool = False, labels: Mapping[str, str] = _NONE
) -> Line:
    words = ",".join(f"{label}={value}" for label, value in labels.items())
    return Line(f"{name}{{{words}}}" if words else name, {"__name__": name, **labels}, divisor, counter, is_sum)


def _tidemark() -> Naming:
    lines = []
    for metric in METRICS:
        divisor = metric.scale * (100 if metric.unit == "percent" else 1)
        lines.append(line(metric.exposed_name, divisor, metric.name if metric.is_counter else None))
    return Naming(tuple(lines), lambda piece: list(zip(*piece.rows, strict=True))[1:])


TIDEMARK = _tidemark()
