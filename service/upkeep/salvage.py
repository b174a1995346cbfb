"""What can still be read of a damaged database, merged into the one in use; nothing that stands there is changed.

1. Read each table of the damaged file (`damaged`).
2. Give its runs and stretches numbers below all that are present (the newest stretch is the one with the greatest
   number), or those of equal rows that are present already: a second salvage adds nothing.
3. Insert what is not there; where samples were lost within a stretch, a new one begins, after a gap with the reason
   `storage`; a gap that now has samples in it is shortened to what they leave.
4. Reduce the samples to the minutes that are missing, these to hours and days, and set the progress row accordingly.
5. Insert who used the host, how full its file systems were and what its devices did, under the numbers that names,
   mounts and devices have here, and what people noted.

All of 2 to 5 is one transaction: killed half-way, nothing happened.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from service import clock
from service.store import rollups
from service.store.statements import Statements
from service.store.tiers import HOURS, MINUTES, SAMPLES, Tier, progress_of
from service.store.writer import Store
from service.upkeep.damaged import GRAINS, KEYS, Advance, Damaged, NothingSalvaged, Salvaged, Values, opened
from service.upkeep.salvaged_devices import merge_devices

# Of which rows are looked for where the mounts cannot be read.
_MOST_MOUNTS = 100
# In place of a name or a mount that could not be read.
_LOST = "(lost)"
# Every bucket is before this: what exists stays.
_KEEP_ALL = 2**62


def salvage(source: Path, store: Store, current: Path, advance: Advance) -> dict[str, Salvaged]:
    """Merge what can be read of `source`; `advance` is called with each share that is done (they add up to one).

    :raises NothingSalvaged: if that is nothing.
    :raises StoreFailed: if the current database cannot be written.
    """
    with opened(source, current) as connection, store.transaction() as target:
        damaged = Damaged(connection, lambda share: advance(share / len(KEYS)))
        _merge(target, damaged)
        if not any(salvaged.read for salvaged in damaged.tables.values()):
            raise NothingSalvaged(f"nothing can be read of {source}")
    return damaged.tables


def _merge(target: Statements, damaged: Damaged) -> None:
    lowest = min(0, target.number("SELECT MIN(stretch_id) FROM stretch") or 0)
    newest = target.number("SELECT MAX(ts) FROM sample")
    runs = sorted(damaged.rows("run", step=1), key=lambda row: -row["run_id"])
    intervals = [row["interval_seconds"] for row in runs]
    interval = float(max(set(intervals), key=intervals.count)) if intervals else 5.0
    numbers = _Numbers(target, lowest, interval, damaged.tables)
    for row in runs:
        numbers.add_run(row)
    # Downwards, so that the newest has the greatest number also where there is nothing else.
    for row in sorted(damaged.rows("stretch", step=1), key=lambda row: -row["stretch_id"]):
        numbers.add_stretch(row)
    for table in GRAINS:
        for row in damaged.rows(table, step=GRAINS[table]):
            damaged.tables[table].added += _insert(target, table, row)
    _merge_samples(target, damaged, numbers, lowest, interval)
    _shorten_gaps(target, lowest, interval)
    _roll_up(target, damaged.tables, newest)
    _merge_usage(target, damaged, numbers)
    merge_devices(target, damaged, numbers.known_stretch, _insert)


def _merge_samples(target: Statements, damaged: Damaged, numbers: "_Numbers", lowest: int, interval: float) -> None:
    # Present rows win: those of a stretch that is numbered above all that are added here.
    taken = "SELECT 1 FROM sample WHERE ts = ? AND stretch_id >= ?"
    for row in damaged.rows("sample", step=interval):
        stretch_id = numbers.stretch_of(row)
        if target.number(taken, (row["ts"], lowest)) is None:
            damaged.tables["sample"].added += _insert(target, "sample", {**row, "stretch_id": stretch_id})


def _merge_usage(target: Statements, damaged: Damaged, numbers: "_Numbers") -> None:
    """Who used the host, how full its file systems were, and what people noted. Rows that are here stay; an hour that
    both have is the one that is here."""
    own = target.number("SELECT MIN(ts) FROM capture_hour")
    names = _Words(target, damaged, "process_name", "name", last_ts=0)
    services = _Words(target, damaged, "service", "name", kind="service", last_ts=0)
    mounts = _Words(target, damaged, "mount", "path")

    def insert(table: str, step: float, within: str = "1", **here: Callable[[Values], int | None]) -> None:
        for row in damaged.rows(table, step, within):
            values = {**row, **{column: number(row) for column, number in here.items()}}
            damaged.tables[table].added += _insert(target, table, values)

    insert("capture_hour", clock.HOUR)
    insert("process_hour", clock.HOUR, name_id=names.number)
    insert("capture", 30.0, stretch_id=numbers.known_stretch)
    insert(
        "process",
        30.0,
        stretch_id=numbers.known_stretch,
        name_id=names.number,
        service_id=services.number_if_any,
        # The row of a name of several processes.
        pid=lambda row: row["pid"] if row["pid"] > 0 else -names.number(row),
    )
    insert("service_hour", clock.HOUR, service_id=services.number)
    insert("service_usage", 30.0, stretch_id=numbers.known_stretch, service_id=services.number)
    # By mount, with which their key begins.
    for there in mounts.there or range(1, _MOST_MOUNTS):
        of_one = f"mount_id = {there}"
        insert("filesystem", clock.MINUTE, of_one, stretch_id=numbers.known_stretch, mount_id=mounts.number)
    # The hour in which one history ends and the other begins, and those that were not reduced yet.
    hour_of = f"(ts - 1) / {clock.HOUR} * {clock.HOUR}"
    missing = f"SELECT MIN({hour_of}) FROM capture WHERE {hour_of} NOT IN (SELECT ts FROM capture_hour)"
    for hour in (own, target.number(missing)):
        if hour is not None:
            target.run("UPDATE use_progress SET hours_until = MIN(hours_until, ?)", (hour,))
    target.run("UPDATE use_progress SET days_until = 0")
    insert("mount_event", clock.HOUR, mount_id=mounts.number)
    insert("note", clock.HOUR)


class _Words:
    """The number here of each name, service or mount there, added where it is not known yet."""

    def __init__(self, target: Statements, damaged: Damaged, table: str, column: str, **lost: Any) -> None:
        """`lost`: what the row of one that cannot be read holds beside its name."""
        self._target, self._table, self._column, self._lost = target, table, column, lost
        self._key = KEYS[table]
        self._here: dict[int, int] = {}
        for row in damaged.rows(table, step=1):
            before = target.number(f"SELECT COUNT(*) FROM {table}") or 0
            self._here[row[self._key]] = self._of(row[column], {name: row.get(name, lost[name]) for name in lost})
            damaged.tables[table].added += (target.number(f"SELECT COUNT(*) FROM {table}") or 0) - before

    @property
    def there(self) -> list[int]:
        """The numbers that were read."""
        return sorted(self._here)

    def number(self, row: Values) -> int:
        there = row[self._key]
        if there not in self._here:
            self._here[there] = self._of(_LOST, self._lost)
        return self._here[there]

    def number_if_any(self, row: Values) -> int | None:
        return None if row.get(self._key) is None else self.number(row)

    def _of(self, word: str, more: Values) -> int:
        row: Values = {self._column: word, **more}
        _insert(self._target, self._table, row)
        known = self._target.number(f"SELECT {self._key} FROM {self._table} WHERE {self._column} = ?", (word,))
        assert known is not None
        return known


class _Numbers:
    """The number here of each run and stretch there: that of an equal one, or one below all that are present."""

    def __init__(self, target: Statements, lowest: int, interval: float, tables: Mapping[str, Salvaged]) -> None:
        self._target, self._interval, self._tables = target, interval, tables
        self._lowest_run = min(0, target.number("SELECT MIN(run_id) FROM run") or 0)
        self._lowest_stretch = lowest
        self._runs: dict[int | None, int] = {}
        self._stretches: dict[int, int] = {}
        self._run_of: dict[int, int] = {}
        self._reached: dict[int, int] = {}

    def add_run(self, row: Values) -> None:
        same = "SELECT run_id FROM run WHERE started_ts = ? AND boot_id IS ? AND version = ? AND interval_seconds = ?"
        key = tuple(row[name] for name in ("started_ts", "boot_id", "version", "interval_seconds"))
        known = self._target.number(same, key)
        if known is None:
            known = self._lowest_run = self._lowest_run - 1
            self._tables["run"].added += _insert(self._target, "run", {**row, "run_id": known})
        self._runs[row["run_id"]] = known

    def add_stretch(self, row: Values) -> None:
        self._add(row, self._runs.get(row["run_id"]) or self._substitute(row["start_ts"]))

    def _add(self, row: Values, run_id: int) -> None:
        number = row["stretch_id"]
        same = "SELECT stretch_id FROM stretch WHERE start_ts = ? AND run_id = ?"
        known = self._target.number(same, (row["start_ts"], run_id))
        if known is None:
            known = self._lowest_stretch = self._lowest_stretch - 1
            values = {**row, "stretch_id": known, "run_id": run_id}
            self._tables["stretch"].added += _insert(self._target, "stretch", values)
        self._stretches[number], self._run_of[number] = known, run_id

    def stretch_of(self, sample: Values) -> int:
        """Called in time order: where samples of a stretch are missing, a new one begins after a gap."""
        number, start = sample["stretch_id"], round(sample["ts"] - sample["covered_ms"] / 1000)
        reached = self._reached.get(number)
        begun = {"stretch_id": number, "run_id": None, "start_ts": start, "prior_end_ts": reached, "reason": None}
        if number not in self._stretches:
            self.add_stretch(begun)
        elif reached is not None and start - reached > 2 * self._interval:
            self._add({**begun, "reason": "storage"}, self._run_of[number])
        self._reached[number] = sample["ts"]
        return self._stretches[number]

    def known_stretch(self, row: Values) -> int:
        """Of what is stored beside samples, whose stretch may have no sample left."""
        return self._stretches.get(row["stretch_id"], self._lowest_stretch)

    def _substitute(self, started: int) -> int:
        """A run in place of one that could not be read."""
        if None not in self._runs:
            self._runs[None] = self._lowest_run = self._lowest_run - 1
            row = {"run_id": self._lowest_run, "started_ts": started, "clean": 0, "version": "salvaged"}
            _insert(self._target, "run", {**row, "interval_seconds": round(self._interval)})
        return self._runs[None]


def _shorten_gaps(target: Statements, lowest: int, interval: float) -> None:
    """Gaps with the reason `storage` begin later where samples before them are back; the first stretch of a database
    that was begun anew, which knew of nothing before it, gets such a gap."""
    by_samples = "SELECT MAX(ts) FROM sample WHERE ts < ?"
    # A minute that holds more than the samples that are left of it.
    by_minutes = (
        "SELECT MIN(ts + 60, ?1) FROM minute WHERE ts < ?1 AND ts + 60 > ?2 AND samples > "
        "(SELECT COUNT(*) FROM sample AS s WHERE s.ts >= minute.ts AND s.ts < minute.ts + 60) ORDER BY ts DESC LIMIT 1"
    )
    query = (
        "SELECT stretch_id, start_ts, prior_end_ts FROM stretch WHERE (reason = 'storage' AND prior_end_ts < start_ts) "
        "OR (stretch_id >= ? AND prior_end_ts IS NULL AND reason IS NULL)"
    )
    for number, start, prior_end in target.rows(query, (lowest,)):
        begin = prior_end or 0
        until = max(target.number(by_samples, (start,)) or 0, target.number(by_minutes, (start, begin)) or 0)
        if until > begin:
            reason = "storage" if start - until > 2 * interval else None
            update = "UPDATE stretch SET prior_end_ts = ?, reason = ? WHERE stretch_id = ?"
            target.run(update, (until, reason, number))


def _roll_up(target: Statements, tables: Mapping[str, Salvaged], newest: int | None) -> None:
    """Make the buckets that are missing, or that hold fewer samples than there are; what holds more stays.

    `newest`: the stamp of the newest sample that was there before."""
    progress = asdict(progress_of(target))
    found = [tables[table] for table in ("sample", *GRAINS)]
    times = [end for salvaged in found for end in (salvaged.first, salvaged.last) if end is not None]
    if times:
        not_rolled_up = target.number("SELECT MIN(ts) FROM sample WHERE ts >= ?", (progress["minutes_until"],))
        start = min(times) if not_rolled_up is None else min(*times, not_rolled_up)
        end = max(min(max(times) + clock.MINUTE, newest or max(times)), progress["minutes_until"])
        for tier, until in _reduce_days(target, start // clock.DAY * clock.DAY, end):
            progress[f"{tier.name}_until"] = max(progress[f"{tier.name}_until"], until)
    for fine, coarse in ((SAMPLES, MINUTES), (MINUTES, HOURS)):
        whole_from = _whole_from(target, fine, coarse, tables[fine.table])
        progress[f"{fine.name}_from"] = max(progress[f"{fine.name}_from"], whole_from)
    rollups.advance(target, **progress)


def _reduce_days(target: Statements, start: int, end: int) -> Iterator[tuple[Tier, int]]:
    """Each tier from the one below it, a day at a time; gives the tier, and the end of its last whole bucket."""
    for source, reduced in rollups.REDUCTIONS:
        end = end // reduced.seconds * reduced.seconds
        _drop_partial(target, source, reduced, start, end)
        for first in range(start, end, clock.DAY):
            rollups.reduce_tier(target, source, reduced, first, min(end, first + clock.DAY), keep=_KEEP_ALL)
        yield reduced, end


def _drop_partial(target: Statements, source: Tier, reduced: Tier, start: int, end: int) -> None:
    """Delete the buckets that hold fewer samples than their source has."""
    table, counted = reduced.table, "COUNT(*)" if source is SAMPLES else "SUM(samples)"
    target.run(
        f"DELETE FROM {table} WHERE ts >= ? AND ts < ? AND samples < (SELECT {counted} FROM {source.table} AS finer "
        f"WHERE finer.ts >= {table}.ts AND finer.ts < {table}.ts + {reduced.seconds})",
        (start, end),
    )


def _whole_from(target: Statements, fine: Tier, coarse: Tier, salvaged: Salvaged) -> int:
    """From when on the finer tier has all that there is: after its first row, where the coarser reaches back further,
    and after what could not be read."""
    first = target.number(f"SELECT MIN(ts) FROM {fine.table}")
    coarse_first = target.number(f"SELECT MIN(ts) FROM {coarse.table}")
    ends = [last + 1 for _, last in salvaged.lost]
    if first is not None and coarse_first is not None and coarse_first < first // clock.HOUR * clock.HOUR:
        ends.append(-(-first // clock.HOUR) * clock.HOUR)
    return -(-max(ends, default=0) // clock.MINUTE) * clock.MINUTE


def _insert(target: Statements, table: str, row: Values) -> int:
    """1 where it was not there."""
    marks = ", ".join("?" * len(row))
    statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks}) ON CONFLICT DO NOTHING"
    return target.run(statement, tuple(row.values()))
