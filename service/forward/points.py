"""Makes points of samples: what each series says, its staleness markers, and counters that never shrink.

Prometheus takes a counter that falls for one that began again at 0. Ours are sums over interfaces and disks, and fall
when one of these goes: so raw + offset is sent, where the offset grows by what was lost. At a boot they do begin again,
and the 0 is sent that Prometheus would have to guess.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from service.forward.encode import STALE, frame, frames, labels, pack_double, point, write_request
from service.forward.lines import STAMP_SERIES, TIDEMARK, Line, Naming
from service.store.forwards import Piece, Stretch
from service.store.writer import is_other_boot

# In `State.known`, of `hours`: the end of the last hour that was sent.
HOURS = "tidemark_hours"
# Among the counters of a state, as no metric is called.
_DEVICES = "devices"
_MS = 1000
# Beyond so many intervals without a value a series is stale.
_UNKNOWN_INTERVALS = 2
# A boot as it is kept: the kernel's id, or where that is not known the second at which it was.
Boot = str | int | None


@dataclass(frozen=True, slots=True)
class State:
    """What the next points depend on. `counters`: metric -> (last raw, offset, boot), of sums (sum, 0, boot). `known`:
    series -> second at which it was last known, of those without a staleness marker since. `devices`: see
    `node_devices`; written among the counters."""

    counters: dict[str, tuple[int, int, Boot]]
    known: dict[str, int]
    devices: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def read(cls, counters: str, known: str) -> "State":
        read = msgspec.json.decode(counters, type=dict[str, tuple[int, int, Boot] | dict[str, list[int]]])
        devices = read.pop(_DEVICES, {})
        return cls(read, msgspec.json.decode(known, type=dict[str, int]), devices)  # type: ignore[arg-type]

    def written(self) -> tuple[str, str]:
        counters = {**self.counters, **({_DEVICES: self.devices} if self.devices else {})}
        return msgspec.json.encode(counters).decode(), msgspec.json.encode(self.known).decode()


NOTHING_SENT = State({}, {})


class Series:
    """The labels of every series of this host, encoded once."""

    def __init__(self, instance: str, more: dict[str, str], naming: Naming = TIDEMARK) -> None:
        self.common = {**more, "job": "tidemark", "instance": instance}
        self.naming = naming
        self._labels = [labels({**self.common, **own}) for own in naming.labels()]
        self.all = range(len(self._labels))

    def points(self, state: State) -> "Points":
        return Points(state, self.naming)

    def body(self, points: Sequence[list[bytes]], chosen: Iterable[int] | None = None) -> bytes:
        """A WriteRequest of the chosen series, by their numbers in `all`."""
        return write_request(
            (self._labels[number], points[number]) for number in (self.all if chosen is None else chosen)
        )


class Points:
    """Collects the points of samples that follow a state; `points` has those of each series, in the naming's order."""

    def __init__(self, state: State, naming: Naming = TIDEMARK) -> None:
        self._naming, self._names = naming, naming.names
        self.points: list[list[bytes]] = [[] for _ in self._names]
        # Of series under other names nothing follows.
        own = {*self._names, HOURS}
        self._counters, self._devices = dict(state.counters), state.devices
        self._known = {name: ts for name, ts in state.known.items() if name in own}

    @property
    def state(self) -> State:
        return State(dict(self._counters), dict(self._known), self._devices)

    def add(self, pieces: Iterable[Piece]) -> "Points":
        for piece in pieces:
            self._begin(piece.stretch, piece.rows[0][0])
            stamps = [row[0] for row in piece.rows]
            around, columns = frames(stamps), self._naming.columns(piece)
            for number, (line, column) in enumerate(zip(self._naming.lines, columns, strict=True)):
                self._add_column(number, line, column, stamps, around, piece.stretch)
            self.points[-1] += [head + pack_double(ts) + tail for ts, (head, tail) in zip(stamps, around, strict=True)]
            self._known[STAMP_SERIES] = stamps[-1]
        return self

    def add_end(self) -> "Points":
        """Markers for a clean stop: a thousandth of a second after the last sample, so that none can come before."""
        last = self._known.get(STAMP_SERIES, 0)
        for number, name in enumerate(self._names):
            if name in self._known:
                self.points[number].append(point(last * _MS + 1, STALE))
        return self

    def _begin(self, stretch: Stretch, first_ts: int) -> None:
        """What lies between the last sample sent and the first of a stretch; nothing where it goes on with its own."""
        last = self._known.get(STAMP_SERIES)
        if last is None or last >= stretch.start_ts or stretch.prior_end_ts is None:
            return
        zero = self._boot_between(stretch, last, first_ts)
        is_gap = stretch.reason is not None and stretch.prior_end_ts < stretch.start_ts
        lines = self._naming.lines
        for number, name in enumerate(self._names):
            is_zeroed = zero is not None and number < len(lines) and lines[number].counter in self._counters
            if is_gap and name in self._known:
                stale = self._known.pop(name) + stretch.interval_seconds
                if stale < (zero if is_zeroed and zero is not None else first_ts):
                    self.points[number].append(point(stale * _MS, STALE))
            if is_zeroed and zero is not None:
                self.points[number].append(point(zero * _MS, pack_double(0.0)))

    def _boot_between(self, stretch: Stretch, last: int, first_ts: int) -> int | None:
        """The second of the boot before a stretch, where it lies after the last sample sent."""
        boot = stretch.boot_ts
        kept = (self._counters[line.counter] for line in self._naming.lines if line.counter in self._counters)
        known = next(kept, None)
        if boot is None or not last < boot < first_ts or known is None:
            return None
        return boot if _is_other(known[2], stretch) else None

    def _add_column(
        self,
        number: int,
        line: Line,
        column: Sequence[int | None],
        stamps: Sequence[int],
        around: Sequence[tuple[bytes, bytes]],
        stretch: Stretch,
    ) -> None:
        values: Iterable[Any]
        name, points = line.name, self.points[number]
        if line.counter is None:
            values = (None if value is None else value / line.divisor for value in column)
        elif line.is_sum:
            values = self._summed(line.counter, line.divisor, column, stretch)
        else:
            values = self._grown(line.counter, line.divisor, column, stretch)
        if None in column:
            points += self._with_markers(name, values, stamps, _UNKNOWN_INTERVALS * stretch.interval_seconds, stretch)
            return
        points += [head + pack_double(value) + tail for value, (head, tail) in zip(values, around, strict=True)]
        self._known[name] = stamps[-1]

    def _with_markers(
        self, name: str, values: Iterable[float | None], stamps: Sequence[int], after: int, stretch: Stretch
    ) -> Iterator[bytes]:
        for ts, value in zip(stamps, values, strict=True):
            last = self._known.get(name)
            if value is None and last is not None and ts - last > after:
                del self._known[name]
                yield point((last + stretch.interval_seconds) * _MS, STALE)
            if value is not None:
                self._known[name] = ts
                head, tail = frame(ts * _MS)
                yield head + pack_double(value) + tail

    def _grown(self, name: str, divisor: float, column: Sequence[int | None], stretch: Stretch) -> list[float | None]:
        """The counter with what it has lost in this boot."""
        last, offset, boot = self._counters.get(name, (0, 0, None))
        if name not in self._counters or _is_other(boot, stretch):
            last, offset = 0, 0
        grown: list[float | None] = []
        for raw in column:
            if raw is None:
                grown.append(None)
                continue
            if raw < last:
                offset += last - raw
            last = raw
            grown.append((raw + offset) / divisor)
        if any(raw is not None for raw in column):
            self._counters[name] = (last, offset, stretch.boot_id or stretch.boot_ts)
        return grown

    def _summed(self, name: str, divisor: float, column: Sequence[int | None], stretch: Stretch) -> list[float | None]:
        """What has been added up in this boot. In a gap nothing is."""
        total, _, boot = self._counters.get(name, (0, 0, None))
        if _is_other(boot, stretch):
            total = 0
        summed: list[float | None] = []
        for amount in column:
            total += amount or 0
            summed.append(None if amount is None else total / divisor)
        if any(amount is not None for amount in column):
            self._counters[name] = (total, 0, stretch.boot_id or stretch.boot_ts)
        return summed


def _is_other(boot: Boot, stretch: Stretch) -> bool:
    """Whether a stretch belongs to another boot than the one that is kept."""
    if isinstance(boot, str):
        return is_other_boot(boot, stretch.boot_id, None, None)
    return is_other_boot(None, None, boot, stretch.boot_ts)
