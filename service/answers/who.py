"""Who: usage over time by name or by service, as columns for a stacked chart."""

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from msgspec import Meta

from service.answers.answer import Answer, check_rows, check_window
from service.answers.moments import Moment
from service.answers.processes import by_named
from service.answers.resolution import resolution
from service.clock import DAY, HOUR
from service.errors import BadParameter
from service.store.reader import View
from service.store.usages import By, Grain, Key, UsageBucket

KEYS: tuple[str, ...] = get_args(Key)
MOST_POINTS = 1000
DEFAULT_POINTS = 150
MOST_TOP = 50
DEFAULT_TOP = 6
# Up to here from captures: those of a week are read in a tenth of a second.
_CAPTURES_SECONDS = 7 * DAY


class Who(Answer, frozen=True):
    """Buckets ts <= t < ts + step that together hold the window. `series`: those that used most over the whole window,
    most first; `other`: all others of which something is known; `unattributed`: the rest of `total`, the host's own
    figure. CPU in percent of the whole machine, memory as average bytes of all processes; None where nothing was
    recorded. Of the memory of services no more is known than that of each, so that nothing of it is unattributed.
    """

    start: Moment
    end: Moment
    step: Annotated[int, Meta(ge=1)]
    by: By
    metric: Key
    unit: str
    ts: Annotated[list[int], Meta(max_length=MOST_POINTS)]
    series: dict[str, list[float | None]]
    other: list[float | None]
    unattributed: list[float | None]
    total: list[float | None]


Part = Literal["listed", "other", "unattributed"]


class WhoRow(Answer, frozen=True):
    """One bucket of one name or service, flat; `time` and `ts` are where the bucket starts. `part`: what no program's
    choice of a name can imitate, as it can `(others)`."""

    time: Moment
    ts: int
    name: str
    part: Part
    unit: str
    value: float | None


def who(
    view: View,
    start: int,
    end: int,
    points: int = DEFAULT_POINTS,
    by: str = "name",
    metric: str = "cpu",
    top: int = DEFAULT_TOP,
) -> Who:
    """At most `points` evenly spaced buckets that together hold start <= t < end.

    :raises BadParameter: if the window is empty, or `by` or `metric` unknown.
    """
    check_window(start, end)
    users, key = by_named(by), _metric_named(metric)
    chosen = _resolution(view, start, end, points)
    step, start, end = chosen.step, start // chosen.step * chosen.step, -(-end // chosen.step) * chosen.step
    stamps = list(range(start, end, step))
    names, found = view.usage_course(start, step, len(stamps), users, key, chosen.grain, top)
    bars = [_bar(found.get(number), len(names), users, key) for number in range(len(stamps))]
    return Who(
        start=Moment(start),
        end=Moment(end),
        step=step,
        by=users,
        metric=key,
        unit="percent" if key == "cpu" else "bytes",
        ts=stamps,
        series={name: [bar.parts[place] for bar in bars] for place, name in enumerate(names)},
        other=[bar.other for bar in bars],
        unattributed=[bar.unattributed for bar in bars],
        total=[bar.total for bar in bars],
    )


def who_rows(answer: Who) -> list[WhoRow]:
    """The same as flat rows: bucket by bucket in time order; in each those that are listed, then `(others)` and
    `(unattributed)`, as the terminal calls them. They add up to `total`, which has no row.

    :raises BadParameter: if they are too many.
    """
    check_rows(len(answer.ts), len(answer.series) + 2)
    parts: list[tuple[str, Part, list[float | None]]] = [
        *((name, "listed", values) for name, values in answer.series.items()),
        ("(others)", "other", answer.other),
        ("(unattributed)", "unattributed", answer.unattributed),
    ]
    return [
        WhoRow(time=Moment(ts), ts=ts, name=name, part=part, unit=answer.unit, value=values[number])
        for number, ts in enumerate(answer.ts)
        for name, part, values in parts
    ]


def _metric_named(metric: str) -> Key:
    """
    :raises BadParameter: if it is neither `cpu` nor `memory`.
    """
    if metric not in KEYS:
        raise BadParameter(f"metric = {metric!r}: takes one of {', '.join(KEYS)}")
    return "memory" if metric == "memory" else "cpu"


@dataclass(frozen=True, slots=True)
class _Resolution:
    step: int
    grain: Grain


def _resolution(view: View, start: int, end: int, points: int) -> _Resolution:
    """Buckets no narrower than what fills them: captures up to a week where they are kept, hours beyond, days where the
    buckets are days."""
    spacing = view.capture_spacing(start, end) if end - start <= _CAPTURES_SECONDS else None
    step = resolution("series", end - start, start=start, points=points, least=spacing or HOUR).step
    if spacing is not None:
        return _Resolution(step, "capture")
    return _Resolution(step, "day" if step % DAY == 0 else "hour")


@dataclass(frozen=True, slots=True)
class _Bar:
    """One bucket of the chart; all None where nothing was recorded."""

    parts: list[float | None]
    other: float | None = None
    unattributed: float | None = None
    total: float | None = None


def _bar(bucket: UsageBucket | None, listed: int, by: By, key: Key) -> _Bar:
    """Rounded first, so that the parts add up to the total as they are read."""
    if bucket is None:
        return _Bar([None] * listed)
    # To percent of all CPUs, or to average bytes.
    scale = 0.1 / bucket.capacity_seconds if key == "cpu" else 1.024 / bucket.covered_seconds
    digits = 2 if key == "cpu" else 0
    known, *each = (amount * scale for amount in bucket.amounts)
    parts = [round(amount, digits) for amount in each]
    other = round(max(0.0, known - sum(each)), digits)
    used = round(sum(parts) + other, digits)
    whole = _whole(bucket, by, key, used)
    return _Bar(
        parts=list(parts),
        other=other,
        unattributed=None if whole is None or _is_sum(by, key) else round(max(0.0, whole - used), digits),
        total=None if whole is None else round(max(whole, used), digits),
    )


def _whole(bucket: UsageBucket, by: By, key: Key, used: float) -> float | None:
    """The host's own figure."""
    if key == "cpu":
        return 100 * bucket.busy_seconds / bucket.known_seconds if bucket.known_seconds else None
    return used if _is_sum(by, key) else bucket.memory_bytes


def _is_sum(by: By, key: Key) -> bool:
    """Whether no more is known than what each used."""
    return by == "service" and key == "memory"
