"""Every device of the host at one moment: disks, interfaces, sensors, batteries; a part that fails is left out."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from service.clock import MINUTE, Clock, Instant
from service.host.disk_activity import DiskActivity
from service.host.interfaces import Interfaces, Link, Links
from service.host.sensors import Batteries, Sensors
from service.records import DeviceKind, DeviceReading

# Of each kind so many are watched, those that are not virtual first; the rest is left out.
MOST_DEVICES = 500
# What may be slow is asked so often, and what it said counts for so long.
_ASK_SECONDS = MINUTE
_KNOWN_SECONDS = 3 * MINUTE
# Folders that never answered: each keeps a thread.
_MOST_STUCK = 3

Devices = Mapping[str, DeviceReading]


@dataclass(frozen=True, slots=True)
class DevicesRead:
    """`devices`: when those of each kind were as said, of the kinds that could be read. `errors`: what the other kinds
    raised. `left_out`: how many of a kind are beyond MOST_DEVICES. `stuck`: what never answered."""

    devices: Mapping[DeviceKind, tuple[Instant, Devices]]
    errors: Mapping[DeviceKind, Exception]
    left_out: Mapping[DeviceKind, int]
    stuck: tuple[str, ...] = ()


class DeviceWatch:
    """Reads what is counted at once; what may be slow, once a minute by a thread of its own."""

    def __init__(
        self,
        clock: Clock,
        disks: DiskActivity | None = None,
        interfaces: Interfaces | None = None,
        slow: "SlowDevices | None" = None,
    ) -> None:
        self._clock = clock
        self._counted: Mapping[DeviceKind, Callable[[], Devices]] = {
            "disk": (disks or DiskActivity()).read,
            "interface": (interfaces or Interfaces()).read,
        }
        self._slow = slow or SlowDevices(clock)
        # Interface -> its counters, its state, and both together.
        self._linked: dict[str, tuple[DeviceReading, Link, DeviceReading]] = {}

    def read(self) -> DevicesRead:
        found: dict[DeviceKind, tuple[Instant, Devices]] = {}
        errors: dict[DeviceKind, Exception] = {}
        left_out: dict[DeviceKind, int] = {}
        for kind, read in self._counted.items():
            try:
                devices = read()
            except Exception as error:  # noqa: BLE001 - a defect costs its own kind alone; the recorder logs it
                errors[kind] = error
                continue
            found[kind] = self._clock.now(), _first_of(devices)
            left_out[kind] = len(devices) - len(found[kind][1])
        newest = self._slow.newest(*(found[kind][1] if kind in found else {} for kind in ("interface", "disk")))
        if newest is not None:
            if newest.error is not None:
                errors["sensor"] = newest.error
            elif newest.at is not None:
                found["sensor"] = newest.at, _first_of(newest.sensors)
                found["battery"] = newest.at, _first_of(newest.batteries)
                left_out["sensor"] = len(newest.sensors) - len(found["sensor"][1])
            if "interface" in found:
                at, devices = found["interface"]
                found["interface"] = at, self._with_links(devices, newest.links)
        return DevicesRead(found, errors, left_out, self._slow.stuck)

    def _with_links(self, devices: Devices, links: Mapping[str, Link]) -> Devices:
        """The same reading where neither has changed."""
        before, self._linked = self._linked, {}
        unknown: Link = (None, None)
        for name, reading in devices.items():
            link, known = links.get(name, unknown), before.get(name)
            if known is not None and known[0] is reading and known[1] == link:
                self._linked[name] = known
            else:
                self._linked[name] = reading, link, reading._replace(state=link[0], speed_mbit=link[1])
        return {name: linked for name, (_, _, linked) in self._linked.items()}


def _first_of(devices: Devices) -> Devices:
    if len(devices) <= MOST_DEVICES:
        return devices
    kept = sorted(devices, key=lambda name: (devices[name].is_virtual, name))[:MOST_DEVICES]
    return {name: devices[name] for name in kept}


@dataclass
class _Answer:
    """What one round found; `at` is None until it has ended."""

    at: Instant | None = None
    sensors: Devices = field(default_factory=dict)
    batteries: Devices = field(default_factory=dict)
    links: Mapping[str, Link] = field(default_factory=dict)
    error: Exception | None = None


class SlowDevices:
    """Sensors, batteries, and whether interfaces are up. Where one never answers, the thread that asked it is left
    there, and the next one asks the others."""

    def __init__(
        self,
        clock: Clock,
        sensors: Sensors | None = None,
        batteries: Batteries | None = None,
        links: Links | None = None,
        start: Callable[[threading.Thread], None] = threading.Thread.start,
    ) -> None:
        """`start`: starts the thread of a round."""
        self._clock, self._start = clock, start
        self._sensors, self._batteries, self._links = sensors or Sensors(), batteries or Batteries(), links or Links()
        self._round: _Round | None = None
        self._newest = _Answer()
        self._stuck: dict[str, threading.Thread] = {}

    @property
    def stuck(self) -> tuple[str, ...]:
        """The folders that have not answered yet."""
        return tuple(sorted(self._stuck))

    def newest(self, interfaces: Devices, disks: Devices) -> _Answer | None:
        """What the last round found, None where that is too long ago; begins the next one where it is due."""
        now = self._clock.now()
        self._stuck = {path: thread for path, thread in self._stuck.items() if thread.is_alive()}
        self._take()
        if self._round is None or now.steady - self._round.began.steady >= _ASK_SECONDS - 1:
            self._begin(now, interfaces, disks)
        if self._newest.at is None or now.steady - self._newest.at.steady > _KNOWN_SECONDS:
            return None
        return self._newest

    def _take(self) -> None:
        if self._round is not None and self._round.answer.at is not None:
            self._newest = self._round.answer

    def _begin(self, now: Instant, interfaces: Devices, disks: Devices) -> None:
        last = self._round
        if last is not None and last.answer.at is None and last.thread.is_alive():
            self._stuck[last.abandon()] = last.thread
        if len(self._stuck) < _MOST_STUCK:
            self._round = _Round(self, now, interfaces, disks, last)
            self._start(self._round.thread)
            self._take()

    def ask(self, round_: "_Round") -> _Answer:
        """Everything once. By the round's own thread."""
        answer = _Answer()
        try:
            answer.links = dict(self._links.ask(round_.interfaces, round_.announce))
            answer.batteries = self._batteries.read(round_.announce)
            answer.sensors = self._sensors.read(round_.announce, round_.moved)
        except Exception as error:  # noqa: BLE001 - handed to the recorder, which logs it
            answer.error = error
        answer.at = self._clock.now()
        return answer

    def may_ask(self, path: str) -> bool:
        return path not in self._stuck


class _Round:
    """One time of asking everything that may be slow. `before`: the round whose disks show which have worked since."""

    def __init__(
        self, devices: SlowDevices, began: Instant, interfaces: Devices, disks: Devices, before: "_Round | None"
    ) -> None:
        self.began, self.interfaces, self.disks = began, interfaces, disks
        self.answer = _Answer()
        self._devices, self._is_over = devices, False
        self._worked = set() if before is None else {
            name for name, reading in disks.items()
            if name in before.disks and before.disks[name].values[:2] != reading.values[:2]
        }  # fmt: skip
        self._asking = "a thread that has not begun"
        self.thread = threading.Thread(target=self._run, name="slow devices", daemon=True)

    def _run(self) -> None:
        answer = self._devices.ask(self)
        if not self._is_over:
            self.answer = answer

    def announce(self, path: str) -> bool:
        """Note what is asked next; False where it is not to be asked."""
        if self._is_over or not self._devices.may_ask(path):
            return False
        self._asking = path
        return True

    def moved(self, disk: str) -> bool:
        return disk in self._worked

    def abandon(self) -> str:
        """End it; what it is stuck at."""
        self._is_over = True
        return self._asking
