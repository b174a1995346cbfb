from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from service.clock import steady
from service.host import cpu, memory
from service.host.counts import Load, ProcessCounter
from service.host.pressure import Pressure
from service.host.read import Host
from service.host.source import READ_ERRORS
from service.metrics import COUNTERS, GAUGES
from service.records import CpuSeconds, Reading


@pytest.fixture
def here() -> Host:
    return Host("/")


@pytest.fixture
def portable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /proc is not Linux's, everything is read through psutil."""
    monkeypatch.setattr(psutil, "LINUX", False)


def test_every_source_can_be_read_on_this_host_and_gives_metrics_of_the_list(here: Host) -> None:
    reading = here.read()
    assert reading.errors == {}
    assert set(reading.gauges) <= {metric.name for metric in GAUGES}
    assert set(reading.counters) <= {metric.name for metric in COUNTERS}
    assert reading.cpu_seconds is not None
    assert reading.seconds_by_cpu
    assert set(reading.pressure_us) == set(Pressure().read().pressure_us)


@pytest.mark.usefixtures("portable")
def test_how_long_each_source_took_is_known_also_of_one_that_failed(
    here: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        until = steady() + 0.02
        while steady() < until:
            pass
        raise OSError("gone")

    monkeypatch.setattr(psutil, "virtual_memory", fail)
    begun = steady()
    sources = here.read().sources
    assert sum(result.seconds for result in sources.values()) <= steady() - begun
    assert 0.02 <= sources["memory"].seconds < 5
    assert all(result.seconds > 0 for result in sources.values())
    assert [name for name, result in sources.items() if result.error] == ["memory"]


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


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize(
    ("source", "call", "lost"),
    [
        ("memory", "virtual_memory", "memory_percent"),
        ("disk", "disk_usage", "disk_percent"),
        ("network", "net_io_counters", "network_sent_bytes"),
        ("disk_io", "disk_io_counters", "disk_read_bytes"),
        ("swap", "swap_memory", "swap_percent"),
    ],
)
@pytest.mark.parametrize(
    ("error", "is_defect"),
    [
        (OSError("gone"), False),
        (ValueError("odd"), False),
        (KeyError("MemTotal"), False),
        (IndexError(), False),
        (AssertionError(), False),
        (NotImplementedError(), False),
        (MemoryError(), False),
        (psutil.AccessDenied(1), False),
        # No host makes psutil raise these: a defect, which costs no more than that source, either.
        (TypeError(), True),
        (AttributeError(), True),
        (ZeroDivisionError(), True),
    ],
)
def test_a_source_that_fails_costs_only_its_own_part_and_a_defect_is_known_as_one(
    here: Host,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    call: str,
    lost: str,
    error: Exception,
    is_defect: bool,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error.with_traceback(None)  # else the parameter keeps each host that raised it, and its open files

    monkeypatch.setattr(psutil, call, fail)
    reading = here.read()
    assert reading.errors == {source: error}
    assert reading.sources[source].is_defect == is_defect
    assert lost not in {**reading.gauges, **reading.counters}
    assert len(reading.gauges) + len(reading.counters) >= 7


def test_without_a_line_of_cpus_their_times_are_lost_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "stat").touch()
    for name in ("meminfo", "vmstat", "diskstats", "net", "1"):
        (tmp_path / name).symlink_to(f"/proc/{name}")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    reading = Host("/").read()
    assert {type(error) for error in reading.errors.values()} == {ValueError}
    assert set(reading.errors) == {"cpu", "each_cpu", "activity"}
    assert not any(result.is_defect for result in reading.sources.values())
    assert reading.cpu_seconds is None


@pytest.mark.usefixtures("portable")
def test_each_state_is_kept_apart_and_guest_time_is_part_of_user_time(monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert cpu.Cpus().all().cpu_seconds == CpuSeconds(40.0, 5.0, 10.0, 1.0, 2.0, 2.0, idle=30.0, iowait=10.0)


CpuTimes = namedtuple("CpuTimes", "user system idle iowait guest")
CPU = CpuTimes(2, 2, 2, 2, 0)


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize(
    ("online", "names"),
    [
        ("0-2\n", ["0", "1", "2"]),
        ("0,3-4\n", ["0", "3", "4"]),
        ("0-3\n", ["0 of 3", "1 of 3", "2 of 3"]),  # one came between the two readings
        (None, ["0 of 3", "1 of 3", "2 of 3"]),  # no Linux
    ],
)
def test_each_cpu_goes_by_its_number_and_where_that_is_unknown_by_its_place(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, online: str | None, names: list[str]
) -> None:
    times = [CpuTimes(user=number, system=1.0, idle=2.0, iowait=1.0, guest=9.0) for number in range(3)]
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: times)
    if online is not None:
        (tmp_path / "online").write_text(online)
    read = cpu.Cpus(str(tmp_path / "online")).each()
    each = [CpuSeconds(user=number, system=1.0, idle=2.0, iowait=1.0) for number in range(3)]
    assert read.seconds_by_cpu == dict(zip(names, each, strict=True))


@pytest.mark.usefixtures("portable")
def test_a_cpu_that_goes_offline_does_not_give_its_number_to_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    online, source = tmp_path / "online", cpu.Cpus(str(tmp_path / "online"))
    found = []
    for text, count in (("0-2\n", 3), ("0,2\n", 2)):
        online.write_text(text)
        monkeypatch.setattr(psutil, "cpu_times", lambda percpu, count=count: [CpuTimes(1, 1, 1, 1, 0)] * count)
        found.append(set(source.each().seconds_by_cpu))
    assert found == [{"0", "1", "2"}, {"0", "2"}]


@pytest.mark.usefixtures("portable")
def test_the_number_of_cpus_is_that_of_the_lines_which_count_their_time(
    here: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that has 2 of 32 CPUs: sysconf says 32."""
    monkeypatch.setattr(psutil, "cpu_count", lambda: 32)
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu=False: [CpuTimes(1, 1, 1, 1, 0)] * 2 if percpu else CPU)
    assert len(here.cpus().seconds_by_cpu) == 2
    assert here.cpus().cpu_seconds == CpuSeconds(user=2.0, system=2.0, idle=2.0, iowait=2.0)


@pytest.mark.usefixtures("portable")
def test_where_the_cpus_cannot_be_read_nothing_is_known_of_them(here: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(percpu: bool = False) -> None:
        raise OSError("gone")

    monkeypatch.setattr(psutil, "cpu_times", fail)
    assert here.cpus() == Reading()


@pytest.mark.usefixtures("portable")
def test_a_host_that_lists_no_cpu_is_an_error_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: [])
    with pytest.raises(ValueError, match="no CPU"):
        cpu.Cpus().each()


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize("call", ["net_io_counters", "disk_io_counters"])
def test_a_host_without_network_or_disks_has_no_counters_and_no_error(
    here: Host, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(psutil, call, lambda **_: {})
    reading = here.read()
    assert reading.errors == {}
    moved = {"network_sent_bytes", "network_received_bytes", "disk_read_bytes", "disk_written_bytes"}
    assert len(moved & set(reading.counters)) == 2


@pytest.mark.usefixtures("portable")
def test_psutil_is_asked_for_counters_without_wrap_protection(here: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(psutil, "net_io_counters", lambda **options: asked.setdefault("net", options) and {})
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **options: asked.setdefault("disk", options) and {})
    here.read()
    assert asked["net"]["nowrap"] is False
    assert asked["disk"]["nowrap"] is False


def test_a_kernel_without_pressure_has_none_and_no_error(tmp_path: Path) -> None:
    assert Pressure(str(tmp_path / "missing")).read() == Reading()


def test_the_load_is_that_of_proc_which_a_container_may_have_of_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """lxcfs shows one; getloadavg(3) asks the kernel, for the whole host."""
    monkeypatch.setattr(psutil, "getloadavg", lambda: (64.0, 63.0, 62.0))
    file = tmp_path / "loadavg"
    load = Load(str(file))
    assert load.read().gauges == {"load_1": 64.0, "load_5": 63.0, "load_15": 62.0}  # no such file
    for first in (0.25, 3.0):
        file.write_text(f"{first} 0.50 1.75 1/120 4242\n")
        assert load.read().gauges == {"load_1": first, "load_5": 0.5, "load_15": 1.75}


@pytest.mark.parametrize("nonsense", ["", "1.0\n", "nan 1 1 1/2 3", "1 inf 1 1/2 3", "1 1 -0.5 1/2 3", "a b c"])
def test_a_load_that_cannot_be_is_an_error_of_the_host(tmp_path: Path, nonsense: str) -> None:
    (tmp_path / "loadavg").write_text(nonsense)
    with pytest.raises(ValueError, match=r"load_|zip|convert"):
        Load(str(tmp_path / "loadavg")).read()


SOME = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\nfull avg10=0.00 total=7\n"


def test_pressure_is_read_afresh_each_time_from_one_open_file(tmp_path: Path) -> None:
    file = tmp_path / "cpu"
    pressure = Pressure(str(tmp_path))
    for total in (100, 250):
        file.write_text(SOME.format(total))
        assert pressure.read() == Reading(pressure_us={"cpu_pressure": total})


@pytest.mark.parametrize("nonsense", ["", "nothing of the kind\n", "some total=\n"])
def test_nonsense_in_pressure_is_an_error_of_the_host(tmp_path: Path, nonsense: str) -> None:
    (tmp_path / "cpu").write_text(nonsense)
    with pytest.raises(READ_ERRORS):
        Pressure(str(tmp_path)).read()


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize("interval_seconds", [1, 5, 29, 31, 45, 3600])
def test_a_host_that_gets_swap_shows_it_within_a_minute_or_a_tick_and_is_seldom_asked_before(
    monkeypatch: pytest.MonkeyPatch, interval_seconds: int
) -> None:
    now, total, asked = 1000.0, 0, 0

    def swap_memory() -> SimpleNamespace:
        nonlocal asked
        asked += 1
        return SimpleNamespace(total=total, free=total - total // 4)

    monkeypatch.setattr(memory, "steady", lambda: now)
    monkeypatch.setattr(psutil, "swap_memory", swap_memory)
    swap = memory.Memory()
    without = Reading(gauges={"swap_total_bytes": 0, "swap_free_bytes": 0})
    for _ in range(100):
        assert swap.swap() == without
        now += interval_seconds
    assert asked <= 1 + 100 * interval_seconds / 30
    total, appeared = 200, now - interval_seconds
    while swap.swap() == without:
        now += interval_seconds
    assert now - appeared <= max(60, interval_seconds)
    assert swap.swap() == Reading(gauges={"swap_percent": 25.0, "swap_total_bytes": 200, "swap_free_bytes": 150})


def test_the_boot_has_a_time_and_an_id(here: Host) -> None:
    boot = here.boot()
    assert boot.ts is not None
    assert boot.ts > 10**9
    assert boot.id is not None
