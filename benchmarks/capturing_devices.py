"""What a capture of devices costs, and what it takes on disk: a usual host, and one with 300 veths and 60 loop devices.

Over files as the kernel writes them, with a clock that runs ahead, so that half a day takes some seconds.
"""

import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import psutil

from benchmarks.harness import Bench, Figure
from service.clock import DAY, HOUR, Clock, Instant
from service.host.devices import DeviceWatch, SlowDevices
from service.host.disk_activity import DiskActivity
from service.host.interfaces import Interfaces, Links
from service.host.sensors import Batteries, Sensors
from service.recording.devices import DeviceRecorder
from service.records import Break, Sample
from service.store import database, device_rollups
from service.store.device_schema import HOURS, ROWS
from service.store.writer import Store

CAPTURE_SECONDS = 30
# Captures that are stored at once.
_AT_ONCE = 6
_SENSORS = 6
# name -> veths, loop devices, share of the veths that do something in a capture.
HOSTS = {
    "2 disks, 4 interfaces, 6 sensors": (0, 0, 0.0),
    "and 300 idle veths, 60 loops": (300, 60, 0.0),
    "and 300 busy veths, 60 loops": (300, 60, 0.6),
}


def devices(bench: Bench) -> Iterator[Figure]:
    """CPU of a capture of all devices, with what is asked once a minute; bytes that a day of them takes."""
    procfs = psutil.PROCFS_PATH
    try:
        for number, (name, (veths, loops, busy)) in enumerate(HOSTS.items()):
            host = _Host(bench.folder / f"devices{number}", veths, loops, busy)
            costs, size = _half_day(bench.new(), host, captures=240 if bench.quick else 1440)
            yield Figure(f"a capture of devices: {name}: CPU", statistics.mean(costs), "ms")
            yield Figure(f"a day of devices: {name}", size / 1e6, "MB")
    finally:
        psutil.PROCFS_PATH = procfs


class _Hurried(Clock):
    """A clock that moves only when it is made to."""

    def __init__(self) -> None:
        self.seconds = time.time() // HOUR * HOUR

    def now(self) -> Instant:
        return Instant(self.seconds, self.seconds, self.seconds)


class _Host:
    """The kernel's files of a host whose devices do something each time."""

    def __init__(self, folder: Path, veths: int, loops: int, busy: float) -> None:
        self.folder, self._busy, self._random = folder, busy, Random(1)
        self._loops = "".join(f"   7 {n} loop{n} 180 0 1260 2 30 0 20 3 0 4 9 0 0 0 0 0 0\n" for n in range(loops))
        self._disks = {"sda": [0] * 17, "sdb": [0] * 17}
        names = ("lo", "eth0", "eth1", "docker0", *(f"veth{n:07x}" for n in range(veths)))
        self._moved = {name: [0, 0] for name in names}
        for name in (*self._disks, *(f"loop{n}" for n in range(loops))):
            (folder / "block" / name / "slaves").mkdir(parents=True)
        for name in names:
            self._write(f"class/net/{name}", operstate="up", speed="10000")
        for name in ("eth0", "eth1"):
            (folder / "class/net" / name / "device").mkdir()
        for n in range(1, _SENSORS + 1):
            limits = {f"temp{n}_label": f"Core {n}", f"temp{n}_max": "84000", f"temp{n}_crit": "100000"}
            self._write("class/hwmon/hwmon0", name="coretemp", **limits)
        psutil.PROCFS_PATH = str(folder / "proc")

    def _write(self, folder: str, **files: str) -> None:
        (self.folder / folder).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (self.folder / folder / name).write_text(f"{text}\n")

    def go_on(self) -> None:
        any_of = self._random.randrange
        for name, counts in self._disks.items():
            if name == "sda" or any_of(4) == 0:
                writes = any_of(5, 90)
                counts[4], counts[6] = counts[4] + writes, counts[6] + 24 * writes
                counts[7], counts[9] = counts[7] + 3 * writes, counts[9] + 5 * writes
        for name, moved in self._moved.items():
            if name in ("lo", "eth0"):
                moved[0], moved[1] = moved[0] + any_of(500, 900_000), moved[1] + any_of(500, 300_000)
            elif name.startswith("veth") and self._random.random() < self._busy:
                moved[0] += self._random.choice([64, 1000, 70_000, 3_000_000])
        disks = "".join(f"   8 0 {name} {' '.join(map(str, counts))}\n" for name, counts in self._disks.items())
        lines = (f"{name:>6}: {got} 5 0 0 0 0 0 0 {sent} 4 0 0 0 0 0 0\n" for name, (got, sent) in self._moved.items())
        (self.folder / "proc/net").mkdir(parents=True, exist_ok=True)
        (self.folder / "proc/diskstats").write_text(self._loops + disks)
        (self.folder / "proc/net/dev").write_text("Inter-|\n face |\n" + "".join(lines))
        shown = {f"temp{n}_input": f"{self._random.choice([45, 46, 46, 46, 47])}000" for n in range(1, _SENSORS + 1)}
        self._write("class/hwmon/hwmon0", **shown)

    def watch(self, clock: Clock) -> DeviceWatch:
        def at_once(thread: threading.Thread) -> None:
            thread.start()
            thread.join()

        of_class = str(self.folder / "class")
        links, batteries = Links(f"{of_class}/net"), Batteries(f"{of_class}/power_supply")
        slow = SlowDevices(clock, Sensors(of_class), batteries, links, at_once)
        return DeviceWatch(clock, DiskActivity(str(self.folder / "block")), Interfaces(f"{of_class}/net"), slow)


def _half_day(path: Path, host: _Host, captures: int) -> tuple[list[float], float]:
    """CPU milliseconds of each capture, and the bytes of all tables of devices, for a whole day."""
    database.migrate(path)
    clock, store, costs = _Hurried(), Store(path), []
    with closing(store):
        store.open()
        store.begin_run(round(clock.seconds), None, None, "0", 5)
        store.append([Sample(round(clock.seconds), 0.0, {}, Break(None, None))])
        recorder = DeviceRecorder(host.watch(clock), store)
        for number in range(captures):
            host.go_on()
            clock.seconds += CAPTURE_SECONDS
            begun = time.process_time()
            recorder.capture()
            costs.append(1000 * (time.process_time() - begun))
            if number % _AT_ONCE == 0:
                recorder.hand_over()
                store.append([Sample(round(clock.seconds), 5.0, {})])
        while store.write(device_rollups.roll_up):
            pass
        names = ", ".join(f"'{table}'" for table in (*ROWS, *HOURS, "device"))
        query = f"SELECT SUM(pgsize) FROM dbstat WHERE name IN ({names})"
        size = store.write(lambda statements: statements.number(query)) or 0
    return costs, size * DAY / (captures * CAPTURE_SECONDS)
