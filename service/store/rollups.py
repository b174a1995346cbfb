"""The history made smaller, in bounded steps: rolled up from tier to tier, pruned, and its free pages given back.

Each function runs in the transaction that is open; the writer is the one who opens it.
"""

from service import clock
from service.metrics import METRICS
from service.store import forwards, schema
from service.store.statements import Statements
from service.store.tiers import (
    DAYS,
    HOURS,
    MINUTES,
    SAMPLES,
    ReducedRow,
    RollupProgress,
    Segment,
    Tier,
    combine,
    progress_of,
    reduce,
    rollup_row,
)

# How much one bounded step may touch, so that a tick never waits long for it.
ROLLUP_ROWS = 2000
PRUNE_ROWS = 2000
VACUUM_PAGES = 200
# What is reduced to what, in this order.
REDUCTIONS = ((SAMPLES, MINUTES), (MINUTES, HOURS), (HOURS, DAYS))


def advance(statements: Statements, **columns: int) -> None:
    """Set columns of the progress row."""
    assignments = ", ".join(f"{name} = :{name}" for name in columns)
    statements.run(f"UPDATE progress SET {assignments}", columns)


def begin_again_from(statements: Statements, ts: int) -> None:
    """Have each tier rolled up again from the bucket that holds `ts`, where it has come further."""
    progress = progress_of(statements)
    for _, tier in REDUCTIONS:
        until = min(progress.until(tier), ts // tier.seconds * tier.seconds)
        advance(statements, **{f"{tier.name}_until": until})


# -- rolling up


def roll_up(statements: Statements) -> bool:
    """One bounded step: reduce finished minutes, and when none are left finished hours, then finished days.

    A bucket is finished once a sample lies after it. Steps count from what the progress row says, in the same
    transaction, so that doing it twice is the same as once; empty buckets make no row.

    :returns: whether there is more to do.
    """
    progress = progress_of(statements)
    limit = statements.number("SELECT MAX(ts) FROM sample")
    if limit is None:
        return False
    for source, target in REDUCTIONS:
        limit = limit // target.seconds * target.seconds
        until = _roll_up_step(statements, source, target, progress, limit)
        if until < limit:
            return True
        limit = until
    return False


def _roll_up_step(statements: Statements, source: Tier, target: Tier, progress: RollupProgress, limit: int) -> int:
    """Reduce some of the source's rows; returns how far the target has come."""
    start = progress.until(target)
    end = _step_end(statements, source, start, limit, rows=ROLLUP_ROWS)
    if end <= start:
        return start
    reduce_tier(statements, source, target, start, end, keep=progress.whole_from(source))
    advance(statements, **{f"{target.name}_until": end})
    return end


def reduce_tier(statements: Statements, source: Tier, target: Tier, start: int, end: int, keep: int) -> None:
    """Write the buckets start <= ts < end of `target` from `source`.

    `keep`: buckets before it have lost rows of the source, and stay as they are if they exist.
    """
    buckets: dict[int, ReducedRow] = {}
    rows = reduce(statements, Segment(source, start, end), METRICS, origin=0, step=target.seconds)
    combine(rows, into=buckets)
    for number, row in sorted(buckets.items()):
        ts = number * target.seconds
        write_row(statements, target, ts, row, replaces=ts >= keep)


def write_row(statements: Statements, tier: Tier, ts: int, row: ReducedRow, replaces: bool) -> int:
    """Write the bucket that begins at `ts`; where there is one it stays, unless `replaces`.

    :returns: 1 if it is written, 0 if another one stays.
    """
    columns = [column.name for column in schema.metadata.tables[tier.table].columns]
    verb = "INSERT OR REPLACE" if replaces else "INSERT OR IGNORE"
    insert = f"{verb} INTO {tier.table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    return statements.run(insert, tuple(rollup_row(ts, row)))


def _step_end(statements: Statements, tier: Tier, start: int, limit: int, rows: int) -> int:
    """Where a bounded step from `start` ends: at `limit`, or at the minute or hour in which its last row lies."""
    last = statements.number(
        f"SELECT ts FROM {tier.table} WHERE ts >= ? AND ts < ? ORDER BY ts LIMIT 1 OFFSET {rows}", (start, limit)
    )
    if last is None:
        return limit
    unit = {SAMPLES: clock.MINUTE, MINUTES: clock.HOUR}.get(tier, clock.DAY)
    return max(last // unit * unit, start // unit * unit + unit)


# -- retention


def prune(statements: Statements, samples_before: int, minutes_before: int, hours_before: int) -> bool:
    """One bounded step: delete the oldest rows of each tier before its limit, only what has been rolled up.

    :returns: whether there is more to do.
    """
    progress = progress_of(statements)
    samples_before = min(samples_before, progress.hours_until) // clock.HOUR * clock.HOUR
    minutes_before = min(minutes_before, progress.hours_until) // clock.HOUR * clock.HOUR
    hours_before = min(hours_before, progress.days_until)
    more = _delete(statements, SAMPLES, samples_before, whole_from=progress.samples_from)
    more |= _delete(statements, MINUTES, minutes_before, whole_from=progress.minutes_from)
    more |= _delete(statements, HOURS, hours_before)
    return more | _delete(statements, DAYS, hours_before // clock.DAY * clock.DAY)


def _delete(statements: Statements, tier: Tier, before: int, whole_from: int | None = None) -> bool:
    """`whole_from`: from when on the tier is whole, where the progress row keeps that."""
    end = _step_end(statements, tier, 0, before, rows=PRUNE_ROWS)
    if tier is SAMPLES:
        forwards.count_pruned(statements, end)
    deleted = statements.run(f"DELETE FROM {tier.table} WHERE ts < ?", (end,))
    if whole_from is not None and deleted and end > whole_from:
        # Up to the next whole hour: the hour in which pruning stands is no longer whole in this tier.
        advance(statements, **{f"{tier.name}_from": -(-end // clock.HOUR) * clock.HOUR})
    return end < before


def shrink(statements: Statements) -> bool:
    """Give free pages back to the file system, a bounded number of them.

    :returns: whether there are more.
    """
    free = statements.number("PRAGMA freelist_count") or 0
    for _ in range(min(free, VACUUM_PAGES)):
        # A page at a time: the pragma frees one for each row that is fetched, and SQLAlchemy fetches no row that has no
        # column.
        statements.run("PRAGMA incremental_vacuum(1)")
    return bool(statements.number("PRAGMA freelist_count"))


def recorded_since(statements: Statements, seconds: int) -> int:
    """The start of the newest hour at or after which at least `seconds` were recorded; 0 where fewer ever were.

    Retention counts recorded time, not the clock's: a clock that is wrong by ten years ages nothing.
    """
    found = statements.number(
        "SELECT ts FROM (SELECT ts, SUM(covered_ms) OVER (ORDER BY ts DESC) AS recorded_ms FROM hour) "
        "WHERE recorded_ms >= ? ORDER BY ts DESC LIMIT 1",
        (seconds * 1000,),
    )
    return found or 0


def used_bytes(statements: Statements) -> int:
    """Bytes of the database that hold data: the file without its free pages."""
    pages, free, size = (
        statements.number(f"PRAGMA {name}") or 0 for name in ("page_count", "freelist_count", "page_size")
    )
    return (pages - free) * size


def oldest(statements: Statements) -> tuple[int | None, int | None, int | None]:
    """The first stamps of samples, minutes and hours."""
    samples, minutes, hours = (
        statements.number(f"SELECT MIN(ts) FROM {tier.table}") for tier in (SAMPLES, MINUTES, HOURS)
    )
    return samples, minutes, hours
