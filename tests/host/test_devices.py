"""What is read of disks, interfaces, sensors and batteries: of files as the kernel writes them, and of hostile ones."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from service.host.devices import MOST_DEVICES, DeviceWatch, SlowDevices
from service.host.disk_activity import DiskActivity
from service.host.interfaces import MOST_ASKED, Interfaces, Links
from service.host.sensors import Batteries, Sensors
from service.records import DeviceReading
from tests.conftest import FakeClock
from tests.faults.kit_host import tool
from tests.running import ROOT

# As Linux 6.1 writes it: 20 columns; 2.6.25 and later 14; a partition of before that 7.
DISKSTATS = """\
   7       0 loop0 14204 132 228760 1008 16885 3936 4303933 61258 0 7344 66872 0 0 0 0 6031 4605
   8       0 sda 100 5 2000 40 50 9 800 60 1 77 100 3 0 24 1 2 1
   8       1 sda1 99 5 1999 40 50 9 800 60 0 77 100
 252       0 dm-0 100 0 2000 40 50 0 800 60 0 77 100
 259       0 nvme0n1 1 0 8 0 2 0 16 5 0 4 5
 253       0 zram0 9 0 72 0 9 0 72 0 0 0 0
"""
HEAD = (
    "Inter-|   Receive                            |  Transmit\n face |bytes    packets errs ...|bytes    packets ...\n"
)


def line(name: str, received: int = 0, sent: int = 0, errors: int = 0, drops: int = 0) -> str:
    return f"{name:>6}: {received} 1 {errors} {drops} 0 0 0 0 {sent} 1 1 2 0 0 0 0\n"


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /proc of the test's own."""
    folder = tmp_path / "proc"
    (folder / "net").mkdir(parents=True)
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(folder))
    return folder


def write(folder: Path, **files: str) -> Path:
    """Files of one line each, as those of /sys."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")
    return folder


def anything(_: str) -> bool:
    return True


def nothing(_: str) -> bool:
    return False


# -- disks


@pytest.fixture
def block(tmp_path: Path) -> str:
    for name in ("loop0", "sda", "dm-0", "nvme0n1", "zram0"):
        (tmp_path / "block" / name / "slaves").mkdir(parents=True)
    (tmp_path / "block" / "dm-0" / "slaves" / "sda1").mkdir()
    return str(tmp_path / "block")


def test_each_whole_disk_is_read_and_nothing_that_stands_on_one(proc: Path, block: str) -> None:
    (proc / "diskstats").write_text(DISKSTATS)
    assert DiskActivity(block).read() == {
        "sda": DeviceReading((2000 * 512, 800 * 512, 100, 50, 77, 100)),
        "nvme0n1": DeviceReading((8 * 512, 16 * 512, 1, 2, 4, 5)),
    }


@pytest.mark.parametrize("spoilt", ["   8       0 sda 100 5 2000\n", "   8 0 sda " + "x " * 14 + "\n", "\0\xff\n" * 9])
def test_what_is_no_diskstats_is_asked_of_psutil_which_says_what_is_wrong(proc: Path, block: str, spoilt: str) -> None:
    (proc / "diskstats").write_text(spoilt + DISKSTATS.replace(" sda ", " vda "))
    with pytest.raises((ValueError, NotImplementedError, OSError, IndexError)):
        DiskActivity(block).read()
    (proc / "diskstats").write_text(DISKSTATS)
    assert set(DiskActivity(block).read()) == {"sda", "nvme0n1"}


def test_a_disk_whose_times_a_system_does_not_count_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    io = SimpleNamespace(read_bytes=1, write_bytes=2, read_count=3, write_count=4)
    monkeypatch.setattr(psutil, "LINUX", False)
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: {"disk0": io})
    assert DiskActivity().read() == {"disk0": DeviceReading((1, 2, 3, 4, None, None))}


def test_this_hosts_disks_have_what_the_kernel_counts_and_no_loop_device_is_among_them() -> None:
    def sectors() -> dict[str, tuple[int, int]]:
        lines = [text.split() for text in Path("/proc/diskstats").read_text().splitlines()]
        return {columns[2]: (512 * int(columns[5]), 512 * int(columns[9])) for columns in lines if len(columns) >= 14}

    before, found, after = sectors(), DiskActivity().read(), sectors()
    assert not [name for name in found if name.startswith(("loop", "ram"))]
    for name, reading in found.items():
        assert before[name] <= reading.values[:2] <= after[name]


# -- interfaces


def test_errors_and_drops_of_both_directions_are_added_up(proc: Path, tmp_path: Path) -> None:
    (proc / "net/dev").write_text(HEAD + line("eth0", 1000, 200, 3, 4))
    (reading,) = Interfaces(str(tmp_path)).read().values()
    assert reading.values == (1000, 200, 3 + 1, 4 + 2, 1, 2, 1, 1)


def test_veths_are_virtual_and_what_has_hardware_never_is(proc: Path, tmp_path: Path) -> None:
    net = tmp_path / "net"
    for name in ("eth0", "veth0"):
        (net / name / "device").mkdir(parents=True)
    (proc / "net/dev").write_text(HEAD + "".join(map(line, ("lo", "eth0", "veth0", "veth1a2b", "wg0", "cali12"))))
    found = Interfaces(str(net)).read()
    assert [name for name, reading in found.items() if reading.is_virtual] == ["veth1a2b", "cali12"]


def test_hundreds_without_hardware_are_virtual_whatever_their_names(proc: Path, tmp_path: Path) -> None:
    (tmp_path / "net/eth0/device").mkdir(parents=True)
    (proc / "net/dev").write_text(HEAD + line("eth0") + "".join(line(f"pod{n}") for n in range(300)))
    found = Interfaces(str(tmp_path / "net")).read()
    assert [name for name, reading in found.items() if not reading.is_virtual] == ["eth0"]


def test_a_line_that_is_the_same_is_not_taken_apart_again_and_a_changed_one_is(proc: Path, tmp_path: Path) -> None:
    interfaces = Interfaces(str(tmp_path))
    (proc / "net/dev").write_text(HEAD + line("eth0", 1) + line("eth1", 1))
    before = [interfaces.read() for _ in range(2)][-1]
    (proc / "net/dev").write_text(HEAD + line("eth0", 2) + line("eth1", 1))
    after = interfaces.read()
    assert after["eth1"] is before["eth1"]
    assert after["eth0"].values[0] == 2


@pytest.mark.parametrize("spoilt", [line("eth0")[:-9] + "\n", "eth0 1 2 3\n", line("eth0", -5), line("")])
def test_a_listing_that_is_not_the_kernels_is_no_reading(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: str
) -> None:
    def as_bad(**_: object) -> None:
        raise ValueError("neither can psutil")

    monkeypatch.setattr(psutil, "net_io_counters", as_bad)
    (proc / "net/dev").write_text(HEAD + spoilt)
    with pytest.raises(ValueError, match="psutil"):
        Interfaces(str(tmp_path)).read()


def test_names_are_bytes_and_become_text_that_can_be_stored(proc: Path, tmp_path: Path) -> None:
    (proc / "net/dev").write_bytes(HEAD.encode() + line("X").encode().replace(b"X", b"e\xff\x1bh"))
    assert list(Interfaces(str(tmp_path)).read()) == ["e\\xff\x1bh"]


def test_state_and_speed_are_unknown_where_the_kernel_does_not_say(tmp_path: Path) -> None:
    write(tmp_path / "eth0", operstate="up", speed="1000")
    write(tmp_path / "wifi", operstate="dormant", speed="-1")
    write(tmp_path / "odd", operstate="<script>", speed="4294967295")
    (tmp_path / "odd2").mkdir()
    names = dict.fromkeys(("eth0", "wifi", "odd", "odd2", "gone"), DeviceReading((0,) * 8))
    assert Links(str(tmp_path)).ask(names, anything) == {
        "eth0": ("up", 1000), "wifi": ("dormant", None), "odd": (None, None), "odd2": (None, None),
        "gone": (None, None),
    }  # fmt: skip


def test_of_hundreds_a_few_are_asked_at_once_and_all_in_turn(tmp_path: Path) -> None:
    asked: list[str] = []

    def note(path: str) -> bool:
        asked.append(path.rpartition("/")[2])
        return True

    names = {f"veth{n:03}": DeviceReading((0,) * 8, is_virtual=True) for n in range(300)}
    names["eth0"] = DeviceReading((0,) * 8)
    links = Links(str(tmp_path))
    for _ in range(10):
        before = len(asked)
        links.ask(names, note)
        assert asked[before] == "eth0"
        assert len(asked) - before == MOST_ASKED
    assert set(asked) == set(names)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes a network namespace")
def test_of_real_veths_one_that_is_renamed_is_the_same_and_one_that_is_made_again_is_not() -> None:
    space = f"tidemark-devices-{os.getpid()}"
    ip = tool("ip")
    code = (
        "import subprocess, sys; sys.path.insert(0, '.'); from service.host.interfaces import Interfaces, Links\n"
        f"def ip(text): subprocess.run(['{ip}', *text.split()], check=True)\n"
        "def see(): return {n: (r.identity, r.is_virtual) for n, r in Interfaces().read().items()}\n"
        "ip('link add veth0 type veth peer name ceth0'); one = see()\n"
        "ip('link set veth0 name wan0'); two = see()\n"
        "ip('link del wan0'); ip('link add wan0 type veth peer name ceth0'); three = see()\n"
        "assert one['veth0'][0] == two['wan0'][0] != three['wan0'][0], (one, two, three)\n"
        "assert one['veth0'][1] and not two['wan0'][1] and None not in one['lo']\n"
        "ip('link set wan0 up'); ip('link set ceth0 up')\n"
        "print(Links().ask(Interfaces().read(), lambda _: True)['wan0'][0])"
    )
    if subprocess.run([ip, "netns", "add", space], check=False).returncode:
        pytest.skip("needs network namespaces")
    try:
        inside = [ip, "netns", "exec", space, sys.executable, "-c", code]
        done = subprocess.run(inside, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.stdout.strip(), done.returncode) == ("up", 0), done.stderr
    finally:
        subprocess.run([ip, "netns", "del", space], check=True)


# -- sensors


@pytest.fixture
def sys_class(tmp_path: Path) -> Path:
    """A /sys/class with two chips, one disk's sensor, a thermal zone that shows itself twice, and batteries."""
    devices = tmp_path / "devices"
    for device in ("nvme0", "coretemp.0", "thermal_zone0"):
        (devices / device).mkdir(parents=True)
    (devices / "0:0:0:0" / "block" / "sda").mkdir(parents=True)
    hwmon = tmp_path / "hwmon"
    write(hwmon / "hwmon0", name="nvme", temp1_input="38850", temp1_label="Composite", temp1_max="81850",
          temp1_crit="84850", temp2_input="41850", temp2_label="Sensor 1", temp2_max="65261850")  # fmt: skip
    write(hwmon / "hwmon1", name="coretemp", temp1_input="51000", temp1_label="Package id 0", temp1_max="0",
          temp2_input="49000", temp2_label="Core 0", temp3_input="50000", temp3_label="Core 0",
          temp4_input="-128000", fan1_input="900")  # fmt: skip
    write(hwmon / "hwmon2", name="drivetemp", temp1_input="33000")
    write(hwmon / "hwmon3", name="acpitz", temp1_input="27800")
    for number, device in enumerate(("nvme0", "coretemp.0", "0:0:0:0", "thermal_zone0")):
        (hwmon / f"hwmon{number}" / "device").symlink_to(devices / device)
    write(tmp_path / "thermal/thermal_zone0", type="acpitz", temp="27800", trip_point_0_type="hot",
          trip_point_0_temp="100000", trip_point_1_type="critical", trip_point_1_temp="105000")  # fmt: skip
    write(tmp_path / "thermal/cooling_device0", type="Fan")
    return tmp_path


def test_every_sensor_has_its_name_value_and_limits(sys_class: Path) -> None:
    found = Sensors(str(sys_class)).read(anything, nothing)
    assert {name: (reading.values[0], reading.limits) for name, reading in found.items()} == {
        "nvme0/Composite": (38.85, (81.85, 84.85)),
        "nvme0/Sensor 1": (41.85, (None, None)),
        "coretemp.0/Package id 0": (51.0, (None, None)),
        "coretemp.0/Core 0 (temp2)": (49.0, (None, None)),
        "coretemp.0/Core 0 (temp3)": (50.0, (None, None)),
        "thermal_zone0/acpitz": (27.8, (100.0, 105.0)),
    }


def test_a_disk_that_sleeps_is_not_woken_for_its_temperature(sys_class: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    really = os.open
    monkeypatch.setattr(os, "open", lambda path, *more: opened.append(str(path)) or really(path, *more))
    Sensors(str(sys_class)).read(anything, nothing)
    assert str(sys_class / "hwmon/hwmon0/temp1_input") in opened
    assert str(sys_class / "hwmon/hwmon2/temp1_input") not in opened
    assert "drivetemp@0:0:0:0/temp1" in Sensors(str(sys_class)).read(anything, lambda disk: disk == "sda")


def test_a_chip_that_comes_or_goes_is_seen_and_values_are_read_each_time(sys_class: Path) -> None:
    sensors = Sensors(str(sys_class))
    sensors.read(anything, nothing)
    write(sys_class / "hwmon/hwmon0", temp1_input="60000")
    write(sys_class / "hwmon/hwmon9", name="usb", temp1_input="20000")
    found = sensors.read(anything, nothing)
    assert (found["nvme0/Composite"].values, found["usb/temp1"].values) == ((60.0,), (20.0,))


def test_what_a_hostile_driver_says_is_stored_as_text_or_not_at_all(sys_class: Path) -> None:
    chip = sys_class / "hwmon/hwmon0"
    (chip / "temp1_label").write_bytes(b"\xff\x1b[31m" + b"x" * 5000)
    (chip / "temp2_input").write_bytes(b"\xff" * 300)
    (name,) = (name for name in Sensors(str(sys_class)).read(anything, nothing) if name.startswith("nvme0"))
    assert name.startswith("nvme0/\\xff\x1b[31mxxx")
    assert len(name) < 80


def test_a_host_without_sensors_has_none(tmp_path: Path) -> None:
    assert Sensors(str(tmp_path)).read(anything, nothing) == {}
    assert Batteries(str(tmp_path / "no")).read(anything) == {}


def test_batteries_and_ups_are_read_and_neither_the_mains_nor_a_mouse(tmp_path: Path) -> None:
    write(tmp_path / "BAT0", type="Battery", capacity="81", status="Discharging")
    write(tmp_path / "ups", type="UPS", charge_now="40", charge_full="50", status="Unknown")
    write(tmp_path / "AC", type="Mains", online="1")
    write(tmp_path / "hid", type="Battery", scope="Device", capacity="5")
    write(tmp_path / "odd", type="Battery", capacity="700")
    found = Batteries(str(tmp_path)).read(anything)
    assert {name: (reading.values, reading.state) for name, reading in found.items()} == {
        "BAT0": ((81.0,), "discharging"), "ups": ((80.0,), None)
    }  # fmt: skip


# -- all of them


class Stubborn(Sensors):
    """Hangs at one folder until it is let go."""

    def __init__(self, hanging: set[str]) -> None:
        self.hanging, self.go = hanging, threading.Event()

    def read(self, announce: Callable[[str], bool], moved: Callable[[str], bool]) -> dict[str, DeviceReading]:
        found = {}
        for path in ("a", "b"):
            if announce(path):
                if path in self.hanging:
                    assert self.go.wait(20)
                found[path] = DeviceReading((40.0,))
        return found


@pytest.fixture
def stubborn() -> Iterator[Stubborn]:
    sensors = Stubborn(set())
    yield sensors
    sensors.go.set()


def begin(thread: threading.Thread) -> None:
    """Start a round, and wait for as long as one takes that does not hang."""
    thread.start()
    thread.join(0.3)


def test_a_sensor_that_never_answers_costs_a_thread_and_not_the_others(
    stubborn: Stubborn, clock: FakeClock, tmp_path: Path
) -> None:
    slow = SlowDevices(clock, stubborn, Batteries(str(tmp_path)), Links(str(tmp_path)), begin)
    newest = slow.newest({}, {})
    assert newest is not None
    assert set(newest.sensors) == {"a", "b"}
    stubborn.hanging.add("a")
    for _ in range(4):
        clock.pass_seconds(60)
        newest = slow.newest({}, {})
    assert newest is not None
    assert set(newest.sensors) == {"b"}
    assert slow.stuck == ("a",)
    stubborn.hanging.clear()
    stubborn.go.set()
    for thread in threading.enumerate():
        if thread.name == "slow devices":
            thread.join(10)
    clock.pass_seconds(60)
    newest = slow.newest({}, {})
    assert newest is not None
    assert set(newest.sensors) == {"a", "b"}
    assert slow.stuck == ()


def test_sensors_are_asked_once_a_minute_however_often_captures_come(
    stubborn: Stubborn, clock: FakeClock, tmp_path: Path
) -> None:
    started: list[threading.Thread] = []
    slow = SlowDevices(clock, stubborn, Batteries(str(tmp_path)), Links(str(tmp_path)), started.append)
    for _ in range(24):
        slow.newest({}, {})
        clock.pass_seconds(5)
    assert len(started) == 2


class Failing(Interfaces):
    def read(self) -> Mapping[str, DeviceReading]:
        raise OSError(5, "Input/output error")


class Many(DiskActivity):
    def read(self) -> dict[str, DeviceReading]:
        return {f"d{n}": DeviceReading((0,) * 6, is_virtual=n % 2 == 0) for n in range(3 * MOST_DEVICES)}


def test_a_kind_that_fails_is_left_out_with_its_error_and_of_too_many_the_virtual_ones_go(
    clock: FakeClock, tmp_path: Path, stubborn: Stubborn
) -> None:
    slow = SlowDevices(clock, stubborn, Batteries(str(tmp_path)), Links(str(tmp_path)), begin)
    read = DeviceWatch(clock, Many(), Failing(), slow).read()
    assert {kind: str(error) for kind, error in read.errors.items()} == {"interface": "[Errno 5] Input/output error"}
    _, disks = read.devices["disk"]
    assert len(disks) == MOST_DEVICES
    assert not any(reading.is_virtual for reading in disks.values())
    assert read.left_out["disk"] == 2 * MOST_DEVICES
