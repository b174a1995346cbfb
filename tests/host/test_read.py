from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from service.host import cpu, disks, memory
from service.host.counts import ProcessCounter
from service.host.read import Host
from service.host.source import KeptOpen
from service.metrics import COUNTERS, GAUGES

DERIVED = {"cpu_percent", "cpu_pressure", "memory_pressure", "io_pressure"}


@pytest.fixture
def here() -> Host:
    return Host("/")


def test_every_metric_has_a_reading_on_this_host(here: Host) -> None:
    reading = here.read()
    assert reading.errors == {}
    optional = {"swap_percent"} if psutil.swap_memory().total == 0 else set()
    assert set(reading.gauges) == {m.name for m in GAUGES} - DERIVED - optional
    assert set(reading.counters) == {m.name for m in COUNTERS}
    assert reading.cpu_seconds is not None


def test_percentages_lie_between_0_and_100(here: Host) -> None:
    gauges = here.read().gauges
    assert all(0 <= gauges[name] <= 100 for name in ("memory_percent", "disk_percent"))


def test_counting_processes_agrees_with_listing_them(here: Host) -> None:
    del here
    counted, listed = ProcessCounter().count(), len(psutil.pids())
    assert abs(counted - listed) <= 3


def test_outside_the_first_pid_namespace_processes_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.readlink", lambda _: "pid:[4026532000]")
    monkeypatch.setattr(psutil, "pids", lambda: [1, 2, 3])
    assert ProcessCounter().count() == 3


@pytest.mark.parametrize(
    ("collector", "call", "lost"),
    [
        ("cpu", "cpu_times", "cpu"),
        ("memory", "virtual_memory", "memory_percent"),
        ("disk", "disk_usage", "disk_percent"),
        ("load", "getloadavg", "load_1"),
        ("network", "net_io_counters", "network_sent_bytes"),
        ("disk_io", "disk_io_counters", "disk_read_bytes"),
        ("swap", "swap_memory", "swap_percent"),
    ],
)
@pytest.mark.parametrize("error", [OSError("gone"), ValueError("odd"), KeyError("MemTotal"), IndexError(), TypeError()])
def test_a_collector_that_fails_takes_only_its_own_part(
    here: Host, monkeypatch: pytest.MonkeyPatch, collector: str, call: str, lost: str, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(psutil, call, fail)
    reading = here.read()
    assert reading.errors == {collector: error}
    assert lost not in reading.gauges | reading.counters
    assert len(reading.gauges) + len(reading.counters) >= 7


def test_guest_time_counts_once_and_iowait_is_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    times = SimpleNamespace(
        user=40.0,
        nice=5.0,
        system=10.0,
        idle=30.0,
        iowait=10.0,
        irq=1.0,
        softirq=2.0,
        steal=2.0,
        guest=20.0,
        guest_nice=1.0,
    )
    monkeypatch.setattr(psutil, "cpu_times", lambda: times)
    assert cpu.cpu_seconds() == (60.0, 100.0)


def test_disk_use_is_by_the_rule_of_df(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(total=1000, used=450, free=450)  # 100 are kept for root
    monkeypatch.setattr(psutil, "disk_usage", lambda _: usage)
    assert disks.file_system_use("/") == {"disk_percent": 50.0}


@pytest.mark.parametrize("call", ["net_io_counters", "disk_io_counters"])
def test_a_host_without_network_or_disks_has_no_counters_and_no_error(
    here: Host, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(psutil, call, lambda **_: {} if call.startswith("disk") else None)
    reading = here.read()
    assert reading.errors == {}
    assert len(reading.counters) == 2


def test_partitions_do_not_count_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    io = namedtuple("io", "read_bytes write_bytes")
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: {"sda": io(7, 9), "sda1": io(6, 8)})
    monkeypatch.setattr("os.path.exists", lambda path: path == "/sys/block/sda")
    assert disks.Disks().read() == {"disk_read_bytes": 7, "disk_written_bytes": 9}


def test_psutil_is_asked_for_counters_without_wrap_protection(here: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(psutil, "net_io_counters", lambda **options: asked.setdefault("net", options) and None)
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **options: asked.setdefault("disk", options) and {})
    here.read()
    assert asked["net"]["nowrap"] is False
    assert asked["disk"]["nowrap"] is False


def test_a_kernel_without_pressure_has_none_and_no_error(tmp_path: Path) -> None:
    here = Host("/")
    here._pressure = {"cpu": KeptOpen(str(tmp_path / "missing"))}
    reading = here.read()
    assert reading.pressure_us == {}
    assert reading.errors == {}


def test_pressure_is_read_afresh_each_time_from_one_open_file(tmp_path: Path) -> None:
    file = tmp_path / "cpu"
    file.write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=100\nfull avg10=0.00 total=7\n")
    here = Host("/")
    here._pressure = {"cpu": KeptOpen(str(file))}
    assert here.read().pressure_us == {"cpu_pressure": 100}
    file.write_text("some avg10=0.00 avg60=0.00 avg300=0.00 total=250\nfull avg10=0.00 total=7\n")
    assert here.read().pressure_us == {"cpu_pressure": 250}


def test_nonsense_in_pressure_is_that_collectors_error(tmp_path: Path) -> None:
    file = tmp_path / "cpu"
    file.write_text("nothing of the kind\n")
    here = Host("/")
    here._pressure = {"cpu": KeptOpen(str(file))}
    assert set(here.read().errors) == {"pressure"}


def test_a_host_that_gets_swap_shows_it_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    swap, sizes = memory.Swap(), [0, 0]
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(total=sizes[0], used=sizes[1]))
    assert swap.read() == {}
    sizes[:] = [200, 50]
    found = [swap.read() for _ in range(memory.WITHOUT_SWAP_SKIP + 1)]
    assert found[-1] == {"swap_percent": 25.0}


def test_the_boot_has_a_time_and_an_id(here: Host) -> None:
    boot = here.boot()
    assert boot.ts is not None
    assert boot.ts > 10**9
    assert boot.id is not None
