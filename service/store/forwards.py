"""How far the history has been forwarded to each target, and what of it comes next; statements alone.

The order of the history is (stretch_id, ts): within a stretch stamps rise, and where the clock was set back a new
stretch begins.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from service.metrics import METRICS
from service.store.schema import stored
from service.store.statements import Row, Statements

_METRICS = ", ".join(map(stored, METRICS))
_STRETCH = (
    "SELECT stretch_id, start_ts, prior_end_ts, reason, boot_ts, boot_id, interval_seconds "
    "FROM stretch JOIN run USING (run_id) WHERE stretch_id >= ? ORDER BY stretch_id LIMIT 1"
)
_TICKS = "FROM sample WHERE ts > :after AND ts <= :until AND stretch_id = :stretch ORDER BY ts LIMIT :limit"
# Beyond every stamp.
_LAST = 2**62


class Position(NamedTuple):
    """A sample's place in the order of the history."""

    stretch_id: int
    ts: int


class Stretch(NamedTuple):
    """A stretch, with what is known of the run and the boot that it belongs to."""

    stretch_id: int
    start_ts: int
    prior_end_ts: int | None
    reason: str | None
    boot_ts: int | None
    boot_id: str | None
    interval_seconds: int


class Piece(NamedTuple):
    """Neighbouring samples of one stretch: rows of ts and the stored value of each of `METRICS`; with the milliseconds
    that each covers, where these are asked for."""

    stretch: Stretch
    rows: Sequence[Row]

    @property
    def end(self) -> Position:
        """The place of the last."""
        return Position(self.stretch.stretch_id, self.rows[-1][0])


class Forward(NamedTuple):
    """The row of one target; see `schema.forward`."""

    target: str
    stretch_id: int
    ts: int
    flight_stretch_id: int | None
    flight_ts: int | None
    counters: str
    known: str
    sent: int
    refused: int
    resent: int
    skipped: int
    acknowledged_at: int | None
    last_error: str | None
    last_error_at: int | None
    resume: str | None

    @property
    def at(self) -> Position:
        return Position(self.stretch_id, self.ts)

    @property
    def place(self) -> tuple[Position, Position | None, str | None]:
        """What of it changes with each move: where it is, up to where samples are announced, and where they go on."""
        return self.at, self.flight, self.resume

    @property
    def flight(self) -> Position | None:
        """Up to where samples are announced; None where none are."""
        if self.flight_stretch_id is None or self.flight_ts is None:
            return None
        return Position(self.flight_stretch_id, self.flight_ts)


class Plan(NamedTuple):
    """What may be sent next: `samples` many up to `end`; nothing where `end` is None.

    `held`: the sample after them, where it is stamped too late to be sent. `is_held_for_good`: a later stretch begins
    before it, so that its stamp was a wrong clock's.
    """

    end: Position | None
    samples: int
    held: Position | None = None
    is_held_for_good: bool = False


def load(statements: Statements, target: str) -> Forward | None:
    row = statements.row(f"SELECT {', '.join(Forward._fields)} FROM forward WHERE target = ?", (target,))
    return None if row is None else Forward(*row)


def begin(statements: Statements, target: str, at: Position, counters: str) -> None:
    """A new target, to which what comes after `at` is to be sent."""
    statements.run(
        "INSERT INTO forward (target, stretch_id, ts, counters, known, sent, refused, resent, skipped) "
        "VALUES (?, ?, ?, ?, '{}', 0, 0, 0, 0) ON CONFLICT (target) DO NOTHING",
        (target, at.stretch_id, at.ts, counters),
    )


def advance(statements: Statements, before: Forward, after: Forward) -> None:
    """Write the row `after`, where it is still as `before`: done twice, it is done once.

    What pruning has counted in `skipped` meanwhile is kept, as is an error that was noted.
    """
    changed = [name for name in Forward._fields if name not in ("target", "skipped")]
    statements.run(
        f"UPDATE forward SET {', '.join(f'{name} = :{name}' for name in changed)}, skipped = skipped + :more_skipped "
        "WHERE target = :target AND stretch_id = :old_stretch_id AND ts = :old_ts "
        "AND flight_stretch_id IS :old_flight_stretch_id AND flight_ts IS :old_flight_ts",
        {
            **after._asdict(),
            "more_skipped": after.skipped - before.skipped,
            **{f"old_{name}": getattr(before, name) for name in Forward._fields[1:5]},
        },
    )


def put_back(statements: Statements, target: str, at: Position, counters: str, resume: str | None) -> None:
    """Have what comes after a place sent again."""
    statements.run(
        "UPDATE forward SET stretch_id = ?, ts = ?, flight_stretch_id = NULL, flight_ts = NULL, counters = ?, "
        "known = '{}', resume = ? WHERE target = ?",
        (at.stretch_id, at.ts, counters, resume, target),
    )


def note_error(statements: Statements, target: str, text: str, now: int) -> None:
    statements.run("UPDATE forward SET last_error = ?, last_error_at = ? WHERE target = ?", (text, now, target))


def count_pruned(statements: Statements, end: int) -> None:
    """Count in `skipped` the samples before `end` that are about to be deleted and were never announced."""
    statements.run(
        "UPDATE forward SET skipped = skipped + (SELECT COUNT(*) FROM sample WHERE sample.ts < ? AND ("
        "sample.stretch_id > COALESCE(flight_stretch_id, forward.stretch_id) OR "
        "sample.stretch_id = COALESCE(flight_stretch_id, forward.stretch_id) "
        "AND sample.ts > COALESCE(flight_ts, forward.ts)))",
        (end,),
    )


def oldest_waiting(statements: Statements, target: str) -> int | None:
    """A second before which nothing waits to be sent to the target; None where it is not known yet."""
    return statements.number(
        "SELECT MIN(ts, COALESCE((SELECT MIN(start_ts) FROM stretch WHERE stretch_id > f.stretch_id), ts)) "
        "FROM forward AS f WHERE target = ?",
        (target,),
    )


def waiting(statements: Statements, target: str) -> int:
    """How many samples are stored and not acknowledged."""
    return statements.number("SELECT waiting_samples FROM forwards WHERE target = ?", (target,)) or 0


def lag_seconds(statements: Statements, target: str) -> int | None:
    """From the last sample acknowledged to the newest stored; None where nothing is known of the target."""
    return statements.number("SELECT lag_seconds FROM forwards WHERE target = ?", (target,))


def between(statements: Statements, after: Position, until: Position, before: int | None) -> int:
    """How many samples come after one place and up to another, with ts < before where that is given."""
    return (
        statements.number(
            "SELECT COUNT(*) FROM sample WHERE (stretch_id, ts) > (?, ?) AND (stretch_id, ts) <= (?, ?) AND ts < ?",
            (*after, *until, _LAST if before is None else before),
        )
        or 0
    )


def stamps_until(statements: Statements, start: int, end: int, until: Position) -> tuple[int, int]:
    """How many stamps start <= ts < end there are up to a place, and their sum; one that comes twice counts once."""
    row = statements.row(
        "SELECT COUNT(DISTINCT ts), COALESCE(SUM(DISTINCT ts), 0) FROM sample "
        "WHERE ts >= ? AND ts < ? AND (stretch_id, ts) <= (?, ?)",
        (start, end, *until),
    )
    return (0, 0) if row is None else (row[0], row[1])


def position_before(statements: Statements, start: int) -> Position:
    """The place after which, in the order of the history, the first sample with ts >= start comes."""
    first = statements.number("SELECT MIN(stretch_id) FROM sample WHERE ts >= ?", (start,))
    if first is None:
        return Position(statements.number("SELECT MAX(stretch_id) FROM stretch") or 0, start - 1)
    return Position(first, start - 1)


def boot_begins(statements: Statements, at: Position) -> Position | None:
    """The place before the first sample of the boot in which `at` lies; None where no stretch is known there."""
    row = statements.row(_STRETCH, (at.stretch_id,))
    if row is None:
        return None
    stretch = Stretch(*row)
    first = statements.number(
        "SELECT MIN(stretch_id) FROM stretch JOIN run USING (run_id) "
        "WHERE stretch_id <= ? AND (boot_id = ? OR boot_id IS NULL AND abs(boot_ts - ?) <= 60)",
        (stretch.stretch_id, stretch.boot_id, stretch.boot_ts),
    )
    return Position(stretch.stretch_id if first is None else first, -1)


def starts(statements: Statements, stretch_id: int) -> int | None:
    """When a stretch begins, unix seconds."""
    return statements.number("SELECT start_ts FROM stretch WHERE stretch_id = ?", (stretch_id,))


def samples_from(statements: Statements) -> int | None:
    """From when on no sample is deleted, unix seconds."""
    return statements.number("SELECT samples_from FROM progress")


def plan(statements: Statements, after: Position, limit: int, latest: float, until: int | None = None) -> Plan:
    """What comes after a place: at most `limit` samples, none stamped later than `latest`, nor at or after `until`."""
    end, count = None, 0
    for stretch, begins, ends in spans(statements, after):
        bound = min(ends, int(latest), _LAST if until is None else until - 1)
        found = statements.row(
            f"SELECT COUNT(*), MAX(ts) FROM (SELECT ts {_TICKS})",
            {"after": begins, "until": bound, "stretch": stretch.stretch_id, "limit": limit - count},
        )
        if found is not None and found[0]:
            begins, count = found[1], count + found[0]
            end = Position(stretch.stretch_id, begins)
        if count >= limit:
            break
        held = statements.number(
            "SELECT ts FROM sample WHERE ts > ? AND ts <= ? AND stretch_id = ? ORDER BY ts LIMIT 1",
            (max(begins, int(latest)), ends, stretch.stretch_id),
        )
        if held is not None:
            for_good = statements.number(
                "SELECT 1 FROM stretch WHERE stretch_id > ? AND start_ts < ? LIMIT 1", (stretch.stretch_id, held)
            )
            return Plan(end, count, Position(stretch.stretch_id, held), for_good is not None)
    return Plan(end, count)


def pieces(
    statements: Statements, after: Position, until: Position, limit: int, is_covered: bool = False
) -> list[Piece]:
    """The samples after one place and up to another, at most `limit`, in their order. `is_covered`: with the time that
    each stands for."""
    found: list[Piece] = []
    columns = f"{_METRICS}, covered_ms" if is_covered else _METRICS
    for stretch, begins, ends in spans(statements, after):
        if stretch.stretch_id > until.stretch_id or limit <= 0:
            break
        bound = min(ends, until.ts) if stretch.stretch_id == until.stretch_id else ends
        rows = statements.rows(
            f"SELECT ts, {columns} {_TICKS}",
            {"after": begins, "until": bound, "stretch": stretch.stretch_id, "limit": limit},
        )
        if rows:
            found.append(Piece(stretch, rows))
            limit -= len(rows)
    return found


def rest_of(statements: Statements, after: Position) -> tuple[Position, int]:
    """The last sample of the stretch in which a place lies, and how many come after that place."""
    for stretch, begins, ends in spans(statements, after):
        row = statements.row(
            "SELECT MAX(ts), COUNT(*) FROM sample WHERE ts > ? AND ts <= ? AND stretch_id = ?",
            (begins, ends, stretch.stretch_id),
        )
        if row is not None and row[1]:
            return Position(stretch.stretch_id, row[0]), row[1]
        break
    return after, 0


def spans(statements: Statements, after: Position) -> Iterator[tuple[Stretch, int, int]]:
    """Each stretch from a place on, with the stamps begins < ts <= ends between which its samples lie."""
    row = statements.row(_STRETCH, (after.stretch_id,))
    while row is not None:
        stretch = Stretch(*row)
        row = statements.row(_STRETCH, (stretch.stretch_id + 1,))
        begins = after.ts if stretch.stretch_id == after.stretch_id else stretch.start_ts - 2
        # Where it does not lie in this stretch (one that was salvaged), it bounds nothing.
        prior_end = None if row is None else Stretch(*row).prior_end_ts
        yield stretch, begins, prior_end if prior_end is not None and prior_end >= stretch.start_ts else _LAST
