"""The SQL of a change, on the public views: one row with `before` and `after`, of a metric, name, service or device."""

from service.clock import DAY, HOUR
from service.metrics import Metric
from service.store.tiers import HOURS, MINUTES, SAMPLES, RollupProgress, Tier
from service.store.usages import By, middle_within

# start <= ts < end
Window = tuple[int, int]
# Longer windows are read from minutes, and from hours, so that the statement takes a moment only.
_MOST_OF_SAMPLES = 6 * HOUR
_MOST_OF_MINUTES = 7 * DAY
_MOST_OF_CAPTURES = 2 * HOUR
# Of devices: columns that are not counts.
_AVERAGES = ("busy_percent", "celsius")


def _two(of_window: str, before: Window, after: Window) -> str:
    """`of_window`: a subquery with {within}."""
    first, second = (of_window.format(start=start, end=end) for start, end in (before, after))
    return f"SELECT\n  {first} AS before,\n  {second} AS after"


def of_metric(progress: RollupProgress, metric: Metric, before: Window, after: Window) -> str:
    """Averages weighted by covered seconds; of counters what they grew by in a second, between neighbours without a gap
    or reset. From samples where they are kept, else from minutes or hours that begin in the window."""
    tier = _tier(progress, before[0], after[1] - after[0])
    within = "ts >= {start} AND ts < {end}"
    if not metric.is_counter:
        name = metric.name
        average = f"SUM({name} * covered_seconds) / SUM(covered_seconds)"
        return _two(f"(SELECT {average} FROM {tier.name} WHERE {within} AND {name} IS NOT NULL)", before, after)
    if tier is not SAMPLES:
        name = f"{metric.name}_increase"
        average = f"SUM({name}) / SUM(covered_seconds)"
        return _two(f"(SELECT {average} FROM {tier.name} WHERE {within} AND {name} IS NOT NULL)", before, after)
    neighbours = (
        f"SELECT ts, covered_seconds, {metric.name} - LAG({metric.name}) OVER (ORDER BY ts) AS moved, "
        f"ts - LAG(ts) OVER (ORDER BY ts) AS apart FROM samples WHERE ts >= {{start}} - {2 * HOUR} AND ts < {{end}}"
    )
    where = "ts >= {start} AND moved >= 0 AND apart < 2 * covered_seconds + 1"
    return _two(f"(SELECT SUM(moved) / SUM(covered_seconds) FROM ({neighbours}) WHERE {where})", before, after)


def _tier(progress: RollupProgress, start: int, seconds: int) -> Tier:
    if seconds <= _MOST_OF_SAMPLES and start >= progress.samples_from:
        return SAMPLES
    return MINUTES if seconds <= _MOST_OF_MINUTES and start >= progress.minutes_from else HOURS


def of_user(by: By, name: str, unit: str, before: Window, after: Window) -> str:
    """`unit`: `percent` for the average share of all CPUs, `bytes` for the most memory at one moment. From captures
    whose middle lies in the window, of long windows from the hours that begin there."""
    who = f"{by} = {_quoted(name)}"
    if after[1] - after[0] <= _MOST_OF_CAPTURES:
        view, within = ("process_names" if by == "name" else "services"), middle_within("{start}", "{end}")
        covered = f"(SELECT SUM(covered_seconds) FROM captures WHERE {within})"
    else:
        view, within = ("process_hours" if by == "name" else "service_hours"), "ts >= {start} AND ts < {end}"
        hours = f"SELECT DISTINCT ts, covered_seconds FROM {view} WHERE {within}"
        covered = f"(SELECT SUM(covered_seconds) FROM ({hours}))"
    used = "SUM(cpu_percent * covered_seconds)" if unit == "percent" else "MAX(memory_bytes)"
    of_window = f"(SELECT COALESCE({used}, 0) FROM {view} WHERE {who} AND {within})"
    return _two(f"{of_window} / {covered}" if unit == "percent" else of_window, before, after)


def of_device(kind: str, name: str, metric: str, in_rows: bool, before: Window, after: Window) -> str:
    """What was counted as a rate, anything else as an average. `in_rows`: each row by the part of its time that lies in
    the window; otherwise the hours that begin there."""
    which = f"{kind} = {_quoted(name)} AND {metric} IS NOT NULL"
    is_average = metric in _AVERAGES
    if not in_rows:
        amount = f"SUM({metric} * covered_seconds)" if is_average else f"SUM({metric})"
        hours = f"FROM {kind}_hours WHERE {which} AND ts >= {{start}} AND ts < {{end}}"
        return _two(f"(SELECT {amount} / SUM(covered_seconds) {hours})", before, after)
    value = metric if is_average else f"{metric} / covered_seconds"
    shared = "MIN(ts, {end}) - MAX(ts - covered_seconds, {start})"
    within = f"ts > {{start}} AND ts < {{end}} + {2 * HOUR}"
    rows = f"SELECT {value} AS value, {shared} AS shared FROM {kind}s WHERE {which} AND {within}"
    return _two(f"(SELECT SUM(value * shared) / SUM(shared) FROM ({rows}) WHERE shared > 0)", before, after)


def _quoted(name: str) -> str:
    """As a string of SQL in a text that is still to be formatted."""
    return "'" + name.replace("'", "''").replace("{", "{{").replace("}", "}}") + "'"
