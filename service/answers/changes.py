"""Changes: what moved most between a window and the one before, beyond its own usual variation, with the SQL of each.

How far a change is beyond the usual is its score (`analysis.changes`): the change of the mean between the two windows,
by the spread of the changes between windows of that length, as far apart, over the seven days before; of longer windows
over as many as there are. What changed less than `Metric.minimum_change`, or a user by less than LEAST_CPU_PERCENT and
LEAST_MEMORY_BYTES, is not looked at.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from service.analysis.changes import LEAST_CHANGES, LEAST_SCORE, score
from service.answers.answer import Answer, rounded
from service.answers.device_changes import device_changes
from service.answers.moments import Moment
from service.answers.moved import LEAST_COVERAGE, Kind, Moved
from service.answers.spans import Spans
from service.metrics import METRICS, Metric
from service.store import change_sql
from service.store.reader import View
from service.store.usages import By, Usage, UserUsage
from service.store.user_spans import UserSpans

MOST_CHANGES = 20
LEAST_CPU_PERCENT = 2.0
LEAST_MEMORY_BYTES = 10**8
# Of all users of a window those that used most.
_MOST_USERS = 200


class Change(Answer, frozen=True):
    """`metric`: which figure of it moved, of the host or of `name`, which is a name, a service, or a device as
    KIND:NAME. `before`, `after`: averages, of counters as rates; of the memory of a name or service the most at one
    moment. `sql` gives both."""

    kind: Kind
    name: str
    metric: str
    unit: str
    before: float
    after: float
    change: float
    score: float
    sql: str


class Changes(Answer, frozen=True):
    """Most unusual first. `abstains`: why nothing can be said; where the history is too short, `speaks_from` is when
    such a window can first be judged."""

    start: Moment
    end: Moment
    against_start: Moment
    against_end: Moment
    changes: list[Change]
    abstains: str | None
    speaks_from: Moment | None


def changes(view: View, asked: Spans) -> Changes:
    """What moved most in start <= ts < end against the same span before; empty where nothing did."""
    abstains, speaks_from = _cannot_speak(view, asked)
    found: list[Change] = []
    if abstains is None:
        moved = sorted(one for kind in KINDS for one in kind(view, asked))
        found = [change for one in moved[:MOST_CHANGES] for change in _with_figures(view, one)]
    before_start, before_end = asked.before
    return Changes(
        start=Moment(asked.start),
        end=Moment(asked.end),
        against_start=Moment(before_start),
        against_end=Moment(before_end),
        changes=found,
        abstains=abstains,
        speaks_from=None if speaks_from is None else Moment(speaks_from),
    )


def _cannot_speak(view: View, asked: Spans) -> tuple[str | None, int | None]:
    """Why, and until when, in a history that begins too late or has a gap there."""
    oldest = view.oldest()
    if oldest is None:
        return "nothing is recorded yet", None
    speaks_from = asked.speaks_from(oldest, LEAST_CHANGES)
    if asked.end < speaks_from:
        return "the history before the window is too short to say what is usual", speaks_from
    for what, (start, end) in (("window", (asked.start, asked.end)), ("time before it", asked.before)):
        if view.buckets(start, end, end - start, [], asked.grain).covered_seconds < LEAST_COVERAGE * (end - start):
            return f"less than half of the {what} is recorded", None
    return None, None


# -- metrics


def _metrics(view: View, asked: Spans) -> Iterator[Moved]:
    """Metrics without a least change are not looked at."""
    judged = [metric for metric in METRICS if metric.minimum_change > 0]
    moved = _moved(view, asked, judged)
    if not moved:
        return
    usual = _usual_of_metrics(view, asked, list(moved))
    for metric, change in moved.items():
        scored = score(change, usual[metric.name], metric.minimum_change)
        if scored is not None and scored >= LEAST_SCORE:
            sql = change_sql.of_metric(view.progress(), metric, asked.before, (asked.start, asked.end))
            yield Moved(-scored, "metric", metric.name, metric.name, metric.shown_unit, sql)


def _moved(view: View, asked: Spans, metrics: list[Metric]) -> dict[Metric, float]:
    """Those that changed by their least change or more, and were known for half of both windows."""
    windows = [
        view.buckets(start, end, end - start, metrics, asked.grain)
        for start, end in (asked.before, (asked.start, asked.end))
    ]
    found = {}
    for metric in metrics:
        (before,), (after,) = (window.averages(metric.name) for window in windows)
        is_known = all(window.weights(metric.name)[0] >= LEAST_COVERAGE * asked.seconds for window in windows)
        if is_known and before is not None and after is not None and abs(after - before) >= metric.minimum_change:
            found[metric] = after - before
    return found


def _usual_of_metrics(view: View, asked: Spans, metrics: list[Metric]) -> dict[str, list[float]]:
    """Of each metric its changes between the windows from which the usual is learnt, where both are known by half."""
    tiles = asked.metric_tiles
    windows = [
        view.buckets(
            tiles.start - back, tiles.start - back + tiles.count * tiles.step, tiles.step, metrics, asked.grain
        )
        for back in (asked.against, 0)
    ]
    found: dict[str, list[float]] = {}
    for metric in metrics:
        known = [
            [
                value if weight >= LEAST_COVERAGE * tiles.step else None
                for value, weight in zip(each.averages(metric.name), each.weights(metric.name), strict=True)
            ]
            for each in windows
        ]
        pairs = zip(*known, strict=True)
        found[metric.name] = [after - before for before, after in pairs if before is not None and after is not None]
    return found


# -- names and services


def _names(view: View, asked: Spans) -> Iterator[Moved]:
    return _users(view, asked, "name")


def _services(view: View, asked: Spans) -> Iterator[Moved]:
    return _users(view, asked, "service")


def _users(view: View, asked: Spans, by: By) -> Iterator[Moved]:
    before, after = (
        view.usage(start, end, "cpu", _MOST_USERS, by) for start, end in (asked.before, (asked.start, asked.end))
    )
    if min(before.covered_seconds, after.covered_seconds) < LEAST_COVERAGE * asked.seconds:
        return
    moved = {
        ("percent", name): change for name, change in _differences(_shares(before), _shares(after), LEAST_CPU_PERCENT)
    } | {("bytes", name): change for name, change in _differences(_memory(before), _memory(after), LEAST_MEMORY_BYTES)}
    if not moved:
        return
    names = sorted({name for _, name in moved})
    usual_of = _usual_of_users(view, asked, by, names)
    for (unit, name), change in moved.items():
        usual = usual_of(name, unit)
        scored = score(change, usual, LEAST_CPU_PERCENT if unit == "percent" else LEAST_MEMORY_BYTES)
        if scored is not None and scored >= LEAST_SCORE:
            sql = change_sql.of_user(by, name, unit, asked.before, (asked.start, asked.end))
            yield Moved(-scored, by, name, "cpu_percent" if unit == "percent" else "memory_bytes", unit, sql)


def _shares(usage: Usage) -> Mapping[str, float]:
    return {user.name: 100 * user.cpu_seconds / usage.capacity_seconds for user in usage.users}


def _memory(usage: Usage) -> Mapping[str, float]:
    known: list[UserUsage] = [user for user in usage.users if user.memory_bytes is not None]
    return {user.name: float(user.memory_bytes or 0) for user in known}


def _differences(before: Mapping[str, float], after: Mapping[str, float], least: float) -> Iterator[tuple[str, float]]:
    """Of users that changed by `least` or more; who is not there used nothing."""
    for name in sorted({*before, *after}):
        change = after.get(name, 0.0) - before.get(name, 0.0)
        if abs(change) >= least:
            yield name, change


def _usual_of_users(view: View, asked: Spans, by: By, names: Sequence[str]) -> Callable[[str, str], list[float]]:
    """Of a name, in a unit, its changes between the windows from which the usual is learnt."""
    tiles = asked.user_tiles
    apart, rest = divmod(asked.against, tiles.step)
    if rest == 0 and apart <= tiles.count:
        # The two lie on one row of tiles, which is read once.
        whole = view.user_spans(by, names, tiles.start - asked.against, tiles.step, tiles.count + apart)
        earlier, later = whole, whole
    else:
        apart = 0
        earlier, later = (
            view.user_spans(by, names, tiles.start - back, tiles.step, tiles.count) for back in (asked.against, 0)
        )

    def usual(name: str, unit: str) -> list[float]:
        before, after = (_in_unit(spans[name], unit) for spans in (earlier, later))
        pairs = ((before.get(number - apart), value) for number, value in after.items())
        return [tiles.factor * (value - prior) for prior, value in pairs if prior is not None and value is not None]

    return usual


def _in_unit(spans: UserSpans, unit: str) -> Mapping[int, float | None]:
    return spans.cpu_percent if unit == "percent" else spans.memory_bytes


def _with_figures(view: View, moved: Moved) -> Iterator[Change]:
    """With the figures that its SQL gives; none where that gives none, as between two tiers it may."""
    (found,) = view.select(moved.sql)
    before, after = found["before"], found["after"]
    if before is not None and after is not None:
        yield Change(
            kind=moved.kind,
            name=moved.name,
            metric=moved.metric,
            unit=moved.unit,
            before=rounded(before),
            after=rounded(after),
            change=rounded(after - before),
            score=rounded(-moved.minus_score, 1),
            sql=moved.sql,
        )


# What is compared, each with its own idea of what is usual.
KINDS: tuple[Callable[[View, Spans], Iterator[Moved]], ...] = (_metrics, _names, _services, device_changes)
