"""What devices did, of two readings each: rows that each stand for the time since the row before. Pure.

A row is written when a device did something. As long as it does nothing, or is one of the many virtual ones and does
little, its row waits and comes to stand for all that time, at most to the end of the hour. So a device without a row
for some time was not there or could not be read, and one that did nothing has a row of zeros.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from operator import lt, sub
from typing import Protocol

from service.clock import HOUR, Instant
from service.records import DeviceKind, DeviceReading, DeviceUsage

# For so long the row of a device that does nothing waits; that of a virtual one to the end of the hour.
QUIET_SECONDS = 300
# What an interface has moved when it has done something: less is the chatter of an idle network.
CHATTER_BYTES = 2**14
# What a virtual one has moved before its row is written.
LOUD_BYTES = 2**20
# Rows of one kind that are written at once, and of them of virtual devices that are loud. The others go on waiting,
# those that moved most come first.
MOST_ROWS = 50
MOST_VIRTUAL_ROWS = 4
# Of a disk and of an interface (False, True), what counts beside bytes: every operation; errors and drops.
_OTHERS = (slice(2, None), slice(2, 4))
# Rows that are complete and wait to be written: of hundreds of devices that vanish at once.
_MOST_WAITING = 1000
# Sensors that change by less show the same.
_STEP = 0.5
# What was read longer ago says nothing of the time since.
_MOST_APART = 180

Devices = Mapping[str, DeviceReading]


class Runs(Protocol):
    """Of one kind of device."""

    def add(self, at: Instant, devices: Devices) -> list[DeviceUsage]:
        """The rows that are due after this reading."""

    def finish(self) -> list[DeviceUsage]:
        """The rows of everything up to the last reading."""


def runs_of(kind: DeviceKind) -> Runs:
    return _CountedRuns(kind) if kind in ("disk", "interface") else _ShownRuns(kind)


def _usage(
    kind: DeviceKind, name: str, start: Instant, end: Instant, values: Iterable[float | None], reading: DeviceReading
) -> DeviceUsage:
    return DeviceUsage(kind, name, round(end.wall), end.steady - start.steady, tuple(values), reading)


def _is_other_hour(start: Instant, end: Instant) -> bool:
    return start.wall // HOUR != end.wall // HOUR


# -- what is counted


@dataclass(slots=True)
class _Counted:
    """One device since its last row: from `start`, where it had counted `first`, to `end` with the newest reading."""

    start: Instant
    first: tuple[float | None, ...]
    end: Instant
    newest: DeviceReading
    # Whether it has done so much since that its row is due.
    is_loud: bool = False

    @property
    def moved(self) -> tuple[float | None, ...]:
        return _difference(self.first, self.newest.values)

    @property
    def bytes(self) -> float:
        """The first two of them."""
        (first, second, *_), (now, then, *_) = self.first, self.newest.values
        return (now or 0) - (first or 0) + (then or 0) - (second or 0)

    @property
    def seconds(self) -> float:
        return self.end.steady - self.start.steady

    def begin_again(self) -> None:
        self.start, self.first, self.is_loud = self.end, self.newest.values, False


def _difference(before: tuple[float | None, ...], after: tuple[float | None, ...]) -> tuple[float | None, ...]:
    if None not in before and None not in after:
        return tuple(map(sub, after, before))
    return tuple(None if then is None or now is None else now - then for then, now in zip(before, after, strict=True))


def _bytes(moved: tuple[float | None, ...]) -> float:
    """Of disks and interfaces the first two values."""
    return (moved[0] or 0) + (moved[1] or 0)


class _CountedRuns:
    """Disks and interfaces."""

    def __init__(self, kind: DeviceKind) -> None:
        self._kind: DeviceKind = kind
        self._runs: dict[str, _Counted] = {}
        self._complete: list[DeviceUsage] = []

    def add(self, at: Instant, devices: Devices) -> list[DeviceUsage]:
        gone = {name: run for name, run in self._runs.items() if name not in devices}
        for name in gone:
            self._end(name, self._runs.pop(name))
        renamed = {run.newest.identity: run for run in gone.values() if run.newest.identity is not None}
        for name, reading in devices.items():
            known = self._runs.get(name)
            before = renamed.get(reading.identity or 0) if known is None else None
            if before is not None:
                # Under another name it goes on from where it was.
                known = self._runs[name] = _Counted(before.end, before.newest.values, before.end, before.newest)
            if known is None:
                self._runs[name] = _Counted(at, reading.values, at, reading)
            elif at.steady > known.end.steady:
                self._go_on(name, known, at, reading)
        return self._due()

    def finish(self) -> list[DeviceUsage]:
        for name, run in self._runs.items():
            self._end(name, run)
            run.begin_again()
        rows, self._complete = self._complete, []
        return rows

    def _end(self, name: str, run: _Counted) -> None:
        if run.seconds > 0:
            self._complete.append(_usage(self._kind, name, run.start, run.end, run.moved, run.newest))

    def _go_on(self, name: str, run: _Counted, at: Instant, reading: DeviceReading) -> None:
        if reading is run.newest or (reading.is_virtual and _only_adds_to(run, reading)):
            run.end, run.newest = at, reading
            return
        step = _difference(run.newest.values, reading.values)
        identities = run.newest.identity, reading.identity
        if None not in identities and identities[0] != identities[1]:
            # Another one has its name now: what it did before this reading is not known.
            self._end(name, run)
            self._runs[name] = _Counted(at, reading.values, at, reading)
            return
        has_fallen = any(value is not None and value < 0 for value in step)
        begins = not run.is_loud and self._is_loud(reading, step) and not (reading.is_virtual and any(run.moved))
        if has_fallen or begins or _link(run.newest) != _link(reading):
            self._end(name, run)
            run.begin_again()
        if has_fallen:
            self._complete.append(_usage(self._kind, name, run.end, at, [None] * len(step), reading))
            run.start, run.first = at, reading.values
        run.end, run.newest = at, reading
        run.is_loud = self._is_loud(reading, run.moved)

    def _is_loud(self, reading: DeviceReading, moved: tuple[float | None, ...]) -> bool:
        """Whether it did so much that the time of it is worth a row of its own."""
        if reading.is_virtual:
            return _bytes(moved) >= LOUD_BYTES
        is_interface = self._kind == "interface"
        return any(moved[_OTHERS[is_interface]]) or _bytes(moved) > (CHATTER_BYTES if is_interface else 0)

    def _due(self) -> list[DeviceUsage]:
        """The rows that are complete, and of the others the first that are due."""
        room = MOST_ROWS - len(self._complete)
        for name, run in _due_in_order(self._runs)[: max(0, room)]:
            self._end(name, run)
            run.begin_again()
        rows, self._complete = self._complete[:MOST_ROWS], self._complete[MOST_ROWS:][:_MOST_WAITING]
        return rows


def _only_adds_to(run: _Counted, reading: DeviceReading) -> bool:
    """Whether a virtual device has moved so little more that nothing is due. Of hundreds most have; to ask this first
    takes a third of the time of asking everything."""
    before, first, values = run.newest, run.first, reading.values
    if run.is_loud or None in values or None in before.values or None in first:
        return False
    if before[1:] != reading[1:] or any(map(lt, values, before.values)):  # type: ignore[arg-type]
        return False
    return values[0] + values[1] - first[0] - first[1] < LOUD_BYTES  # type: ignore[operator]


def _link(reading: DeviceReading) -> tuple[str | None, int | None]:
    return reading.state, reading.speed_mbit


def _is_due(run: _Counted) -> bool:
    seconds = run.end.steady - run.start.steady
    is_late = seconds >= QUIET_SECONDS and not run.newest.is_virtual
    return seconds > 0 and (run.is_loud or is_late or _is_other_hour(run.start, run.end))


def _due_in_order(runs: Mapping[str, _Counted]) -> list[tuple[str, _Counted]]:
    """First what is not virtual, then what moved most; of virtual ones that are only loud a few."""
    due = [(run.newest.is_virtual, -run.bytes, name, run) for name, run in runs.items() if _is_due(run)]
    found: list[tuple[str, _Counted]] = []
    loud = 0
    for is_virtual, _, name, run in sorted(due, key=lambda one: one[:3]):
        if is_virtual and not _is_other_hour(run.start, run.end):
            loud += 1
            if loud > MOST_VIRTUAL_ROWS:
                continue
        found.append((name, run))
    return found


# -- what is shown


@dataclass(slots=True)
class _Shown:
    """One sensor since its last row: `total` is what it showed times the seconds in which it did."""

    start: Instant
    end: Instant
    first: DeviceReading
    newest: DeviceReading
    total: float = 0.0


class _ShownRuns:
    """Sensors and batteries. A reading stands for the time since the one before."""

    def __init__(self, kind: DeviceKind) -> None:
        self._kind: DeviceKind = kind
        self._runs: dict[str, _Shown] = {}
        self._at: Instant | None = None

    def add(self, at: Instant, devices: Devices) -> list[DeviceUsage]:
        """The same reading again is none."""
        if self._at is not None and at.steady <= self._at.steady:
            return []
        self._at = at
        rows: list[DeviceUsage] = []
        for name in [name for name in self._runs if name not in devices]:
            rows += self._row(name, self._runs.pop(name))
        for name, reading in devices.items():
            run = self._runs.get(name)
            if run is None or at.steady - run.end.steady > _MOST_APART:
                rows += [] if run is None else self._row(name, run)
                self._runs[name] = _Shown(at, at, reading, reading)
            else:
                rows += self._go_on(name, run, at, reading)
        return rows[:_MOST_WAITING]

    def finish(self) -> list[DeviceUsage]:
        rows = [row for name, run in self._runs.items() for row in self._row(name, run)]
        self._runs = {}
        return rows

    def _go_on(self, name: str, run: _Shown, at: Instant, reading: DeviceReading) -> list[DeviceUsage]:
        rows = []
        if run.end is run.start:
            run.first = reading
        elif not _is_same(run.first, reading):
            rows = self._row(name, run)
            self._runs[name] = run = _Shown(run.end, run.end, reading, reading)
        (value,) = reading.values
        run.total += (value or 0.0) * (at.steady - run.end.steady)
        run.end, run.newest = at, reading
        if at.steady - run.start.steady >= QUIET_SECONDS or _is_other_hour(run.start, at):
            rows += self._row(name, run)
            self._runs[name] = _Shown(at, at, reading, reading)
        return rows

    def _row(self, name: str, run: _Shown) -> list[DeviceUsage]:
        seconds = run.end.steady - run.start.steady
        if seconds <= 0:
            return []
        return [_usage(self._kind, name, run.start, run.end, [run.total / seconds], run.newest)]


def _is_same(one: DeviceReading, other: DeviceReading) -> bool:
    (before,), (after,) = one.values, other.values
    return one.state == other.state and before is not None and after is not None and abs(after - before) < _STEP
