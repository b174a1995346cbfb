"""Writes what other programs recorded into the history: only time before Tidemark's own, and none of it twice.

1. Leave out the records that end after the hour in which Tidemark's own history begins, and those that were imported
   before.
2. Make the others minutes, as the steps that they are; records of more than two hours, and those of time of which own
   minutes are pruned already, only hours. A minute that exists stays.
3. Reduce the hours and days of that time again, and have minutes stand in for samples there.
4. Each contiguous part becomes a run with one stretch. Their numbers are negative, because the newest stretch is that
   with the greatest; what lies between two of them becomes a gap.

All of it is one transaction a file: killed half-way, nothing happened.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mode

from service import clock
from service.importing.steps import reduced
from service.importing.sysstat import Past, Record
from service.metrics import METRICS
from service.store import rollups
from service.store.statements import Statements
from service.store.tiers import DAYS, HOURS, MINUTES, ReducedRow, Segment, Tier, combine, progress_of, reduce
from service.store.writer import Store

# So long an average, of a night in suspend say, is not shown as the course of its minutes.
LONGEST_STEP_SECONDS = 2 * clock.HOUR
# The parts that were imported; a run of Tidemark's own has a positive number or, salvaged, its version.
_IMPORTED = "run_id < 0 AND version LIKE 'sysstat%'"

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of one file. `minutes`, `hours`: rows that are new; hours count where there are no minutes.

    `start`, `end`: of what is new, None where nothing is. `own`, `ahead`, `known`: records that were left out because
    Tidemark has that time itself, because they are ahead of the clock, or because they were imported before.
    """

    minutes: int = 0
    hours: int = 0
    start: int | None = None
    end: int | None = None
    own: int = 0
    ahead: int = 0
    known: int = 0


class _Undone(Exception):
    """What a dry run ends its transaction with."""


def bring_in(store: Store, past: Past, now: float, is_dry: bool = False) -> Imported:
    """Take one file into the history, or, where `is_dry`, find out what would be taken.

    :raises StoreFailed: if the database cannot be written; nothing of the file is.
    """
    done = Imported()
    try:
        with store.transaction() as statements:
            done = _bring_in(statements, past, now)
            if is_dry:
                raise _Undone
    except _Undone:
        pass
    return done


def _bring_in(statements: Statements, past: Past, now: float) -> Imported:
    there = _imported_spans(statements)
    first_own = _first_own_hour(statements, there)
    limit = int(now) if first_own is None else first_own
    before = [record for record in past.records if record.end <= limit]
    parts = [list(_without(record, there)) for record in before]
    new = [part for of_record in parts for part in of_record]
    left_out = len(past.records) - len(before)
    done = Imported(
        own=left_out if first_own is not None else 0,
        ahead=left_out if first_own is None else 0,
        known=sum(not of_record for of_record in parts),
    )
    if not new:
        return done
    minutes, hours = _write_tiers(statements, new, first_own)
    _write_runs(statements, past.version, new)
    _link(statements, there)
    return replace(done, minutes=minutes, hours=hours, start=new[0].start, end=new[-1].end)


# -- which time


def _first_own_hour(statements: Statements, there: Sequence[Span]) -> int | None:
    """Where the hour of the oldest row begins that was not imported; None where all was."""
    oldest = [statements.number("SELECT MIN(ts) FROM sample")]
    oldest += [_first_outside(statements, tier, there) for tier in (MINUTES, HOURS)]
    ts = min((found for found in oldest if found is not None), default=None)
    return None if ts is None else ts // clock.HOUR * clock.HOUR


def _first_outside(statements: Statements, tier: Tier, spans: Sequence[Span]) -> int | None:
    """The first bucket of a tier that touches none of the spans, which rise and do not overlap."""
    at = 0
    while (ts := statements.number(f"SELECT MIN(ts) FROM {tier.table} WHERE ts >= ?", (at,))) is not None:
        number = bisect_left(spans, ts + tier.seconds, key=lambda span: span[0]) - 1
        if number < 0 or spans[number][1] <= ts:
            return ts
        at = max(spans[number][1], ts + 1)
    return None


def _imported_spans(statements: Statements) -> list[Span]:
    found = statements.rows(f"SELECT started_ts, stopped_ts FROM run WHERE {_IMPORTED} ORDER BY started_ts")
    return [(start, end) for start, end in found]


def _without(record: Record, spans: Iterable[Span]) -> Iterator[Record]:
    """The parts of a record that lie in none of the spans, which rise and do not overlap."""
    start = record.start
    for begin, end in spans:
        if begin < record.end and end > start:
            if begin > start:
                yield replace(record, start=start, end=begin)
            start = end
    if start < record.end:
        yield replace(record, start=start)


# -- the tiers


def _write_tiers(statements: Statements, records: Sequence[Record], first_own: int | None) -> tuple[int, int]:
    """How many minutes are new, and how many hours without minutes."""
    minutes_from = progress_of(statements).minutes_from
    fine: list[Record] = []
    coarse: list[Record] = []
    for record in records:
        is_coarse = record.seconds > LONGEST_STEP_SECONDS or record.start < minutes_from
        (coarse if is_coarse else fine).append(record)
    added: dict[int, ReducedRow] = {}
    minutes = 0
    for row in reduced(fine, clock.MINUTE):
        ts = row[0] * clock.MINUTE
        if rollups.write_row(statements, MINUTES, ts, row, replaces=False):
            combine([[ts // clock.HOUR, *row[1:]]], into=added)
            minutes += 1
    alone = {row[0]: row for row in reduced(coarse, clock.HOUR)}
    for number in sorted(added.keys() | alone.keys()):
        _write_hour(statements, number, added, alone)
    _advance(statements, records[-1].end, first_own)
    start, end = records[0].start // clock.DAY * clock.DAY, -(-records[-1].end // clock.DAY) * clock.DAY
    end = min(end, progress_of(statements).days_until)
    if start < end:
        rollups.reduce_tier(statements, HOURS, DAYS, start, end, keep=0)
    return minutes, len(alone)


def _write_hour(
    statements: Statements, number: int, added: Mapping[int, ReducedRow], alone: Mapping[int, ReducedRow]
) -> None:
    """`added`: what the new minutes add to each hour, by its number. `alone`: what comes without minutes."""
    start, end = number * clock.HOUR, (number + 1) * clock.HOUR
    minutes: dict[int, ReducedRow] = {}
    combine(reduce(statements, Segment(MINUTES, start, end), METRICS, 0, clock.HOUR), into=minutes)
    before: dict[int, ReducedRow] = {}
    combine(reduce(statements, Segment(HOURS, start, end), METRICS, 0, clock.HOUR), into=before)
    new = [rows[number] for rows in (added, alone) if number in rows]
    of_minutes = [minutes[number]] if number in minutes else []
    known_ms = sum(row[2] for row in of_minutes) - sum(row[2] for row in new[: number in added])
    hour: dict[int, ReducedRow] = {}
    if number in before and before[number][2] > known_ms:
        # It holds what came without minutes.
        combine([before[number], *new], into=hour)
    else:
        combine([*of_minutes, *new[number in added :]], into=hour)
    rollups.write_row(statements, HOURS, start, hour[number], replaces=True)


def _advance(statements: Statements, end: int, first_own: int | None) -> None:
    """Minutes and hours exist up to the first own hour, or in the hour in which the import ends; the first own sample
    there has that hour rolled up again. Samples begin after what was imported."""
    hour_end = -(-end // clock.HOUR) * clock.HOUR if first_own is None else first_own
    samples_from = -(-end // clock.MINUTE) * clock.MINUTE if first_own is None else first_own
    progress = progress_of(statements)
    rollups.advance(
        statements,
        minutes_until=max(progress.minutes_until, hour_end),
        hours_until=max(progress.hours_until, hour_end),
        days_until=max(progress.days_until, hour_end // clock.DAY * clock.DAY),
        samples_from=max(progress.samples_from, samples_from),
    )


# -- runs and stretches


def _write_runs(statements: Statements, version: str, records: Sequence[Record]) -> None:
    interval = mode(record.seconds for record in records)
    run_id = min(0, statements.number("SELECT MIN(run_id) FROM run") or 0)
    stretch_id = min(0, statements.number("SELECT MIN(stretch_id) FROM stretch") or 0)
    boot: int | None = None
    for part in _contiguous(records, interval):
        run_id, stretch_id = run_id - 1, stretch_id - 1
        start, end = part[0].start, part[-1].end
        boot = boot if part[0].boot is None else part[0].boot
        statements.run(
            "INSERT INTO run (run_id, started_ts, stopped_ts, clean, boot_ts, version, interval_seconds) "
            "VALUES (?, ?, ?, 1, ?, ?, ?)",
            (run_id, start, end, boot, version, interval),
        )
        statements.run(
            "INSERT INTO stretch (stretch_id, run_id, start_ts, reason) VALUES (?, ?, ?, ?)",
            (stretch_id, run_id, start, None if part[0].boot is None else "rebooted"),
        )


def _contiguous(records: Sequence[Record], interval: int) -> Iterator[list[Record]]:
    """Parts between two restarts in which no more than two intervals are missing in one place."""
    part: list[Record] = []
    for record in records:
        if part and (record.boot is not None or record.start - part[-1].end > 2 * interval):
            yield part
            part = []
        part.append(record)
    yield part


def _link(statements: Statements, there: Sequence[Span]) -> None:
    """Say of each imported stretch, and of the first own one, where what lies before it ends, and why it ends.

    `there`: what had been imported before; the first own stretch may have followed that.
    """
    reached: int | None = None
    found = statements.rows(
        f"SELECT stretch_id, start_ts, stopped_ts, reason, interval_seconds FROM stretch JOIN run USING (run_id) "
        f"WHERE {_IMPORTED} ORDER BY start_ts"
    )
    for stretch_id, start, end, reason, interval in found:
        _break(statements, stretch_id, start, reached, interval, is_boot=reason == "rebooted")
        reached = max(end, reached or end)
    own = statements.row(
        f"SELECT stretch_id, start_ts, interval_seconds, prior_end_ts, reason FROM stretch JOIN run USING (run_id) "
        f"WHERE NOT ({_IMPORTED}) "
        "ORDER BY start_ts, stretch_id LIMIT 1"
    )
    if own is not None and (own[3] is None or own[3] in {end for _, end in there}):
        _break(statements, own[0], own[1], reached, own[2], is_boot=own[4] == "rebooted")


def _break(
    statements: Statements, stretch_id: int, start: int, before: int | None, interval: int, is_boot: bool
) -> None:
    """Between two files an interval is missing, because their first record is only what the next one starts from."""
    is_gap = before is not None and start - before > 2 * interval
    reason = "rebooted" if is_boot else "stopped" if is_gap else None
    statements.run(
        "UPDATE stretch SET prior_end_ts = ?1, reason = ?2 WHERE stretch_id = ?3 "
        "AND (prior_end_ts IS NOT ?1 OR reason IS NOT ?2)",
        (before, reason, stretch_id),
    )
