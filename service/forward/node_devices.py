"""File systems, disks, interfaces and sensors under node_exporter's names, in requests of their own after the samples.

What was counted in a row is added up, device by device; within a row a counter rises evenly, which is all that a row
says. A row goes out half a minute after its end, and not before a later one, or one of the same time, is on the disk:
until then it may still be on its way there. A sum goes on over boots, and where one begins anew it begins at 0, at the
start of a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from service.clock import HOUR, MINUTE
from service.forward.delivery import Delivery
from service.forward.encode import STALE, labels, pack_double, point, write_request
from service.forward.hours import Read
from service.forward.points import Series, State
from service.store import shipped_devices
from service.store.device_schema import SECTOR
from service.store.forwards import Position
from service.store.shipped_devices import Span
from service.store.statements import Statements

_MS = 1000
# In `State.devices`: up to where rows were sent, as stretch and ts. Of each device: the end of its last row, in ms, and
# its sums.
CURSOR = ""
# So many devices of a kind are followed; those that come later are left out until one has not been seen for so long.
MOST, _FORGET_SECONDS = 200, 2 * HOUR
# A point at least every minute, and none further back than a default Prometheus takes.
_STEP_MS, _BACK_MS = MINUTE * _MS, 50 * MINUTE * _MS
# What another thread has read is stored with the sample after the next capture.
_LATE_SECONDS = 30
# Stamps are rounded to seconds.
_ROUNDING_MS = 5 * _MS


class Family(NamedTuple):
    """The series of one kind. `labels`: their names, as the columns of its rows begin. `counted`, `shown`: the series
    that the other columns are, each with what one of its units is."""

    kind: str
    labels: tuple[str, ...]
    counted: Mapping[str, float]
    shown: Mapping[str, float]


FAMILIES = (
    Family(
        "mount",
        ("device", "fstype", "mountpoint"),
        {},
        {
            "node_filesystem_size_bytes": 1024,
            "node_filesystem_free_bytes": 1024,
            "node_filesystem_avail_bytes": 1024,
            "node_filesystem_files": 1,
            "node_filesystem_files_free": 1,
            "node_filesystem_readonly": 1,
            "node_filesystem_device_error": 1,
        },
    ),
    Family(
        "disk",
        ("device",),
        {
            "node_disk_read_bytes_total": SECTOR,
            "node_disk_written_bytes_total": SECTOR,
            "node_disk_reads_completed_total": 1,
            "node_disk_writes_completed_total": 1,
            "node_disk_io_time_seconds_total": 0.001,
            "node_disk_io_time_weighted_seconds_total": 0.001,
        },
        {},
    ),
    Family(
        "interface",
        ("device",),
        {
            "node_network_receive_bytes_total": 1,
            "node_network_transmit_bytes_total": 1,
            "node_network_receive_packets_total": 1,
            "node_network_transmit_packets_total": 1,
            "node_network_receive_errs_total": 1,
            "node_network_transmit_errs_total": 1,
            "node_network_receive_drop_total": 1,
            "node_network_transmit_drop_total": 1,
        },
        {"node_network_up": 1, "node_network_speed_bytes": 125_000},
    ),
    Family(
        "sensor",
        ("chip", "sensor"),
        {},
        {"node_hwmon_temp_celsius": 0.1, "node_hwmon_temp_max_celsius": 0.1, "node_hwmon_temp_crit_celsius": 0.1},
    ),
    # The host itself, which needs no label.
    Family("capture", (), {}, {"node_filefd_allocated": 1, "node_filefd_maximum": 1}),
)


class NodeDevices:
    """Used by one thread at a time."""

    def __init__(self, series: Series, delivery: Delivery) -> None:
        self._common, self._delivery = series.common, delivery

    def deliver(self, read: Read, state: State, until: Position, is_new: bool) -> State:
        """Send the rows up to a place that were not sent yet; to a receiver that got none yet those after it. Returns
        the state with how far that has come, also where it was cut off.

        `is_new`: rows before that place may still come.
        """
        until = until._replace(ts=until.ts - _LATE_SECONDS * is_new)
        if CURSOR not in state.devices:
            return replace(state, devices={CURSOR: list(until)})
        if is_new:
            until = read(partial(shipped_devices.settled, until=until))
        while (found := read(partial(self._next, state.devices, until))) is not None:
            devices, body = found
            if body and not self._delivery.deliver_apart(body, "file systems and devices"):
                break
            state = replace(state, devices=devices)
        return state

    def _next(
        self, known: Mapping[str, list[int]], until: Position, statements: Statements
    ) -> tuple[dict[str, list[int]], bytes] | None:
        """What is known after the next rows, and what is sent of them; None where there are none."""
        stretch_id, ts = known[CURSOR]
        span = shipped_devices.span(statements, Position(stretch_id, ts), until, HOUR)
        if span is None:
            return None
        devices = dict(known)
        written: list[tuple[bytes, Sequence[bytes]]] = []
        for family in FAMILIES:
            points = _Points(family, devices, span)
            for row in shipped_devices.rows(statements, family.kind, span):
                points.add(row)
            for own, found in points.found.items():
                named = zip(family.labels, own, strict=True)
                common = {**self._common, **{label: value or "" for label, value in named}}
                names = (*family.counted, *family.shown)
                written += [
                    (labels({**common, "__name__": name}), of_one) for name, of_one in zip(names, found, strict=True)
                ]
        forget = (span.until - _FORGET_SECONDS) * _MS
        kept = {key: entry for key, entry in devices.items() if key != CURSOR and entry[0] > forget}
        return {CURSOR: list(span.next), **kept}, write_request(written)


class _Points:
    """The points of a kind's rows within a part of a stretch, by the values of their labels."""

    def __init__(self, family: Family, devices: dict[str, list[int]], span: Span) -> None:
        self._family, self._devices, self._stretch = family, devices, span.stretch
        self.found: dict[tuple[str | None, ...], list[list[bytes]]] = {}
        self._count = sum(key.startswith(f"{family.kind}\t") for key in devices)

    def add(self, row: Sequence[Any]) -> None:
        family, width = self._family, len(self._family.labels)
        own, (ts, covered), values = tuple(row[:width]), row[width : width + 2], row[width + 2 :]
        key = _key(family.kind, *own)
        entry = self._devices.get(key)
        if entry is None and self._count >= MOST:
            return
        if entry is None or len(entry) != 1 + len(family.counted):
            self._count += entry is None
            entry = [0, *(0 for _ in family.counted)]
        amounts, shown = values[: len(family.counted)], values[len(family.counted) :]
        points = self.found.setdefault(own, [[] for _ in (*family.counted, *family.shown)])
        last, end = entry[0], ts * _MS
        start, begins = end - covered, self._begins(last, end - covered)
        if begins and last and last + 1 < start:
            for of_one in points:
                of_one.append(point(last + 1, STALE))
        stamps = [*range(max(start if begins else start + _STEP_MS, last + 1, end - _BACK_MS), end, _STEP_MS), end]
        for stamp in stamps:
            part = (stamp - start) / covered if covered else 1.0
            self._add_at(stamp, points, entry[1:], amounts, shown, min(1.0, part))
        sums = [total + (amount or 0) for total, amount in zip(entry[1:], amounts, strict=True)]
        self._devices[key] = [end, *sums]

    def _add_at(
        self, stamp: int, points: list[list[bytes]], sums: Sequence[int], amounts: Any, shown: Any, part: float
    ) -> None:
        counted = [
            None if amount is None else total + amount * part for total, amount in zip(sums, amounts, strict=True)
        ]
        units = (*self._family.counted.values(), *self._family.shown.values())
        for of_one, value, unit in zip(points, (*counted, *shown), units, strict=True):
            if value is not None:
                of_one.append(point(stamp, pack_double(float(round(value * unit, 6)))))

    def _begins(self, last: int, start: int) -> bool:
        """Whether a row does not go on from the last one: after a gap of the history, or of the device."""
        of = self._stretch
        is_first = of.reason is not None and (of.prior_end_ts or 0) < of.start_ts and last < of.start_ts * _MS
        # File systems are read once a minute, and the old ones kept once an hour.
        longest = _ROUNDING_MS if self._family.counted else HOUR * _MS + _STEP_MS
        return not last or is_first or start > last + longest


def before(statements: Statements, at: Position, devices: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """What was known at an earlier place: the sums without what was counted since."""
    known = {key: [at.ts * _MS, *entry[1:]] for key, entry in devices.items() if key != CURSOR}
    stretch_id, ts = devices[CURSOR]
    for kind, name, since in shipped_devices.counted(statements, at, Position(stretch_id, ts)):
        entry = known.get(_key(kind, name))
        # What another version counted begins anew.
        if entry is not None and len(entry) == 1 + len(since):
            entry[1:] = [max(0, total - amount) for total, amount in zip(entry[1:], since, strict=True)]
    return {CURSOR: list(at), **known}


def _key(kind: str, *own: str | None) -> str:
    return "\t".join((kind, *(value or "" for value in own)))
