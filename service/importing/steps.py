"""Records of minutes become rows of minutes and hours: each record is a step, as high as its average."""

from collections.abc import Iterable, Iterator
from typing import Any

from service.importing.sysstat import Record
from service.metrics import METRICS, Metric
from service.store.schema import average_scale, encode
from service.store.tiers import ReducedRow, combine


def reduced(records: Iterable[Record], step: int) -> Iterator[ReducedRow]:
    """The buckets n * step <= t < (n + 1) * step of records in time order, as `tiers.reduce` gives them for origin 0.

    Each bucket that a record covers a part of gets its averages, also as minimum and maximum, and its bytes by the
    covered time; the parts of a record add up to it. It is one sample of the bucket that holds its end; of the one
    before where that bucket has nothing else.
    """
    open_rows: dict[int, Any] = {}
    ends_at: int | None = None
    for record in records:
        for part in _parts(record, step):
            if ends_at is not None:
                counted = part if part[0] == ends_at else open_rows[ends_at - 1]
                counted[1] += 1
                ends_at = None
            for number in [number for number in open_rows if number < part[0]]:
                yield open_rows.pop(number)
            combine([part], into=open_rows)
        ends_at = record.end // step if record.end % step == 0 else None
    if ends_at is not None:
        open_rows[ends_at - 1][1] += 1
    yield from open_rows.values()


def _parts(record: Record, step: int) -> Iterator[list[Any]]:
    for number in range(record.start // step, -(-record.end // step)):
        start, end = max(record.start, number * step), min(record.end, (number + 1) * step)
        row: list[int | None] = [number, int(number == record.end // step), (end - start) * 1000]
        for metric in METRICS:
            row += _of_metric(metric, record, start, end)
        yield row


def _of_metric(metric: Metric, record: Record, start: int, end: int) -> list[int | None]:
    value = record.values.get(metric.name)
    covered = (end - start) * 1000
    if metric.is_counter and value is not None:
        # From the record's start, so that what is rounded off here comes with the next part.
        moved = round(value * (end - record.start)) - round(value * (start - record.start))
        return [moved, covered, None, round(value)]
    stored = encode(value, metric.scale)
    if stored is None:
        return [None, 0, None, None]
    return [stored * covered * round(average_scale(metric) / metric.scale), covered, stored, stored]
