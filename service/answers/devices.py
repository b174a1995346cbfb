"""Devices: what was seen of disks, interfaces, sensors, batteries, mounts and services, with its newest figures."""

from service.answers.answer import Answer, rounded
from service.answers.moments import Moment
from service.store import device_newest
from service.store.device_metrics import KINDS, Kind
from service.store.reader import View

# Of one kind: those seen last, the virtual ones last.
MOST_LISTED = 200


class Device(Answer, frozen=True):
    """`device`: as series takes it. `figures`: its metrics over the `covered_seconds` before `ts`, by its newest row;
    empty, and the rest None, where that is longer ago than is kept as rows."""

    device: str
    kind: Kind
    name: str
    ts: int | None
    time: Moment | None
    covered_seconds: float | None
    state: str | None
    figures: dict[str, float | None]


class Devices(Answer, frozen=True):
    """`left_out`: how many more there are."""

    devices: list[Device]
    left_out: int


def devices(view: View) -> Devices:
    """Kind by kind, each in the order of the names."""
    found: list[Device] = []
    left_out = 0
    for kind in KINDS:
        known, more = view.read(lambda statements, kind=kind: device_newest.newest(statements, kind, MOST_LISTED))  # type: ignore[misc]
        left_out += more
        found += [_device(kind, one) for one in known]
    return Devices(devices=found, left_out=left_out)


def _device(kind: Kind, one: device_newest.NewestRow) -> Device:
    return Device(
        device=f"{kind}:{one.name}",
        kind=kind,
        name=one.name,
        ts=one.ts,
        time=None if one.ts is None else Moment(one.ts),
        covered_seconds=one.covered_seconds,
        state=one.state,
        figures={name: rounded(value) for name, value in one.figures.items()},
    )
