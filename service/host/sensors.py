"""How warm the host is: the sensors of hwmon (also those of NVMe disks) and of thermal zones; and its batteries."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import psutil

from service.host.mounted import printable
from service.host.small import Announce, listed, number_in, text_in
from service.records import DeviceReading

# What a sensor shows beyond these is no temperature of a host, but what it shows where nothing is connected.
_LEAST_CELSIUS, _MOST_CELSIUS = -60.0, 200.0
# What it has with SCSI and ATA disks: asking wakes a disk that sleeps, or keeps it from falling asleep.
_WAKING = "drivetemp"
# Readings after which names and limits are read again: an hour.
_LOOK_EVERY = 60
# As `status` says (Documentation/ABI/testing/sysfs-class-power); what else there is, is not known.
STATUSES = ("charging", "discharging", "not charging", "full")


class _Sensor(NamedTuple):
    """What stays the same of one: its name, the file that it is read from, and its limits."""

    name: str
    path: str
    limits: tuple[float | None, float | None]


@dataclass(frozen=True, slots=True)
class _Chip:
    """`disks`: that it is the sensor of, and that would be woken; None where there is none to wake."""

    folder: str
    disks: Sequence[str] | None
    sensors: Sequence[_Sensor]


class Sensors:
    """Reads every sensor once. A read may take long, or never end: on a thread of its own."""

    def __init__(self, folder: str = "/sys/class") -> None:
        self._folder = folder
        self._chips: dict[str, _Chip] = {}
        self._readings = 0

    def read(self, announce: Announce, moved: Callable[[str], bool]) -> dict[str, DeviceReading]:
        """By name: `nvme0/Composite`, `coretemp.0/Core 1`, `thermal_zone0/acpitz`.

        `announce`: whether a folder may be asked. `moved`: whether a disk was at work of late, and so is awake anyway.
        """
        if not psutil.LINUX:
            return _sensors_of_psutil()
        if self._readings % _LOOK_EVERY == 0:
            self._chips = {}
        self._readings += 1
        found = dict(self._of_chips(announce, moved))
        found.update(self._of_zones(announce))
        return found

    def _of_chips(self, announce: Announce, moved: Callable[[str], bool]) -> Iterator[tuple[str, DeviceReading]]:
        before, self._chips = self._chips, {}
        for name in listed(f"{self._folder}/hwmon"):
            folder = f"{self._folder}/hwmon/{name}"
            if not announce(folder):
                continue
            chip = self._chips[name] = before.get(name) or _chip(folder)
            if chip.disks is not None and not any(map(moved, chip.disks)):
                continue
            for sensor in chip.sensors:
                celsius = _celsius(sensor.path)
                if celsius is not None:
                    yield sensor.name, DeviceReading((celsius,), limits=sensor.limits)

    def _of_zones(self, announce: Announce) -> Iterator[tuple[str, DeviceReading]]:
        for zone in listed(f"{self._folder}/thermal"):
            folder = f"{self._folder}/thermal/{zone}"
            if not zone.startswith("thermal_zone") or not announce(folder):
                continue
            celsius = _celsius(f"{folder}/temp")
            if celsius is not None:
                trips = {text_in(path): path.removesuffix("_type") + "_temp" for path in _trips(folder)}
                hot, critical = (_limit(trips.get(kind)) for kind in ("hot", "critical"))
                yield f"{zone}/{text_in(f'{folder}/type') or 'temp'}", DeviceReading((celsius,), limits=(hot, critical))


def _chip(folder: str) -> _Chip:
    name, device = text_in(f"{folder}/name") or os.path.basename(folder), _target(f"{folder}/device")
    if device.startswith("thermal_zone"):
        return _Chip(folder, None, ())  # it is read as a thermal zone, too
    place = device if device.startswith(name) else f"{name}@{device}" if device else name
    inputs = [match[1] for file in listed(folder) if (match := re.fullmatch(r"(temp\d+)_input", file))]
    labels = {file: text_in(f"{folder}/{file}_label") or file for file in inputs}
    times = Counter(labels.values())
    sensors = [
        _Sensor(
            f"{place}/{label if times[label] == 1 else f'{label} ({file})'}",
            f"{folder}/{file}_input",
            (_limit(f"{folder}/{file}_max"), _limit(f"{folder}/{file}_crit")),
        )
        for file, label in labels.items()
    ]
    return _Chip(folder, listed(f"{folder}/device/block") if name == _WAKING else None, sensors)


def _celsius(path: str) -> float | None:
    """Of a file in thousandths of a degree; None where it is not known, or cannot be."""
    thousandths = number_in(path)
    if thousandths is None or not _LEAST_CELSIUS <= thousandths / 1000 <= _MOST_CELSIUS:
        return None
    return thousandths / 1000


def _limit(path: str | None) -> float | None:
    """Where a chip has no limit, some drivers say 0, or the greatest number that it can hold."""
    celsius = None if path is None else _celsius(path)
    return celsius if celsius is not None and celsius > 0 else None


def _trips(folder: str) -> list[str]:
    return [f"{folder}/{name}" for name in listed(folder) if re.fullmatch(r"trip_point_\d+_type", name)]


def _target(link: str) -> str:
    """The last part of where a link leads; empty where there is none."""
    try:
        return printable(os.path.basename(os.readlink(link)))
    except OSError:
        return ""


def _sensors_of_psutil() -> dict[str, DeviceReading]:
    ask = getattr(psutil, "sensors_temperatures", dict)
    return {
        printable(f"{chip}/{one.label or number}"): DeviceReading((one.current,), limits=(one.high, one.critical))
        for chip, several in ask().items()
        for number, one in enumerate(several, 1)
        if one.current is not None
    }


class Batteries:
    """Batteries of the host, and the UPS that the kernel knows; not those of a mouse or a keyboard."""

    def __init__(self, folder: str = "/sys/class/power_supply") -> None:
        self._folder = folder

    def read(self, announce: Announce) -> dict[str, DeviceReading]:
        if not psutil.LINUX:
            return _battery_of_psutil()
        found = {}
        for name in listed(self._folder):
            folder = f"{self._folder}/{name}"
            if announce(folder) and text_in(f"{folder}/type") in ("Battery", "UPS"):
                percent = _percent(folder)
                if percent is not None and text_in(f"{folder}/scope") != "Device":
                    status = (text_in(f"{folder}/status") or "").lower()
                    found[printable(name)] = DeviceReading((percent,), status if status in STATUSES else None)
        return found


def _percent(folder: str) -> float | None:
    """How full it is: what it says, or what it holds of what it can."""
    percent: float | None = number_in(f"{folder}/capacity")
    for what in ("energy", "charge"):
        if percent is None:
            now, full = number_in(f"{folder}/{what}_now"), number_in(f"{folder}/{what}_full")
            percent = 100 * now / full if now is not None and full else None
    return percent if percent is not None and 0 <= percent <= 100 else None


def _battery_of_psutil() -> dict[str, DeviceReading]:
    ask = getattr(psutil, "sensors_battery", None)
    battery = ask() if ask is not None else None
    if battery is None or not 0 <= battery.percent <= 100:
        return {}
    state = {True: "charging", False: "discharging"}.get(battery.power_plugged)
    return {"battery": DeviceReading((battery.percent,), state)}
