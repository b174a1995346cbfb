"""An odd host: an unreadable, impossible or dead source costs its own metric alone, and only while it is so."""

import json
import math
import os
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from service.host import disks
from service.host.counts import ProcessCounter
from service.host.read import Host
from service.metrics import METRICS
from service.place import CHECKOUT as ROOT
from tests.conftest import Start
from tests.faults.kit import answer, health, needs_root, rarely
from tests.faults.kit_host import (
    NAMES,
    OPTIONAL,
    FakeProc,
    dead_mount,
    is_well,
    longest_covered,
    newest,
    resident_bytes,
    spoilt,
    threads,
    tool,
)
from tests.running import query, until

# -- /proc

# Which metrics come from which file, by the charts that they are drawn on.
CHARTS = {
    "stat": ("CPU", "CPU modes", "CPUs", "Context switches", "Forks", "Runnable"),
    "meminfo": ("Memory", "Memory in bytes"),
    "vmstat": ("Swapping", "Major faults", "OOM kills"),
    "net/dev": ("Network",),
    "net/snmp": ("TCP connections", "TCP retransmits"),
    "diskstats": ("Disk I/O",),
}
SOURCES = {
    file: {metric.name for metric in METRICS if metric.chart in charts} - OPTIONAL for file, charts in CHARTS.items()
}
NO_ERROR = {("empty", "net/dev"), ("empty", "diskstats"), ("missing", "vmstat"), ("missing", "net/snmp")}
NONSENSE = {
    "empty": "",
    "words": "nothing of the kind\n\nat: all\n",
    "bytes": bytes(range(256)) * 8,
    "missing": None,
}


@pytest.mark.parametrize("kind", ["empty", "words", *rarely("bytes", "missing")])
def test_a_source_that_makes_no_sense_costs_its_own_metric_alone(start: Start, tmp_path: Path, kind: str) -> None:
    proc = FakeProc(tmp_path)
    daemon = start(**proc.environment)
    until(lambda: daemon.samples() >= 2 and None not in {newest(daemon)[name] for name in NAMES - OPTIONAL})
    for file, lost in SOURCES.items():
        if kind == "missing" and file == "diskstats":
            continue  # then psutil reads /sys/block instead
        proc.replace(file, NONSENSE[kind])
        until(lambda lost=lost: all(newest(daemon)[name] is None for name in lost))
        known = newest(daemon)
        assert {name for name in NAMES - OPTIONAL if known[name] is None} == lost
        status = health(daemon)["status"]
        # A host without a network or disks has nothing to count, which is no error; nor is a kernel without a file that
        # not every kernel has.
        assert status == "degraded" or (kind, file) in NO_ERROR
        json.loads(answer(daemon, "/api/process/resource-usage")[1], parse_constant=lambda name: pytest.fail(name))
        proc.heal(file)
        until(lambda lost=lost: all(newest(daemon)[name] is not None for name in lost))
    until(lambda: health(daemon)["status"] == "ok")
    assert query(daemon.path, "SELECT count(*) FROM gaps") == [(0,)]
    is_well(daemon)


def show_network(proc: FakeProc, **received: int) -> None:
    head = "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n"
    rows = [f"{name}: {count} 1 0 0 0 0 0 0 {count} 1 0 0 0 0 0 0\n" for name, count in received.items()]
    proc.replace("net/dev", head + "".join(rows))


def test_a_total_does_not_fall_when_the_daemon_starts_again_after_an_interface_left(
    start: Start, tmp_path: Path
) -> None:
    proc = FakeProc(tmp_path)
    show_network(proc, eth0=1000, veth0=25_000)
    first = start(**proc.environment)
    first.wait_for_samples(2)
    first.kill()
    show_network(proc, eth0=1500)
    second = start(**proc.environment)
    second.wait_for_samples(1)
    show_network(proc, eth0=1700)
    until(lambda: newest(second)["network_sent_bytes"] == 26_200)
    stored = query(second.path, "SELECT DISTINCT network_sent_bytes FROM samples ORDER BY ts")
    assert stored == [(26_000,), (26_200,)]
    is_well(second)


def test_a_counter_that_is_reset_or_loses_an_interface_makes_no_spike(start: Start, tmp_path: Path) -> None:
    proc = FakeProc(tmp_path)
    show_network(proc, eth0=4294960000, eth1=10_000)
    daemon = start(**proc.environment)
    for step in (
        {"eth0": 4294967000, "eth1": 11_000},
        {"eth0": 500, "eth1": 12_000},  # eth0 wrapped at 2^32
        {"eth0": 1500, "eth1": 13_000},
        {"eth0": 2500},  # eth1 is gone
        {"lan0": 3500},  # eth0 has another name
        {"lan0": 4500},
    ):
        daemon.wait_for_samples(1)
        show_network(proc, **step)
    daemon.wait_for_samples(2)
    series = daemon.get("/api/v1/series?metric=network_received_bytes&start=-1m&points=60")
    rates = [rate for rate in series["series"]["network_received_bytes"]["maximum"] if rate is not None]
    assert rates
    assert all(0 <= rate <= 20_000 for rate in rates), rates
    summary = daemon.get("/api/v1/summary?window=1m")["metrics"]["network_received_bytes"]
    assert 0 <= summary["maximum"] <= 20_000
    stored = query(daemon.path, "SELECT network_received_bytes FROM samples ORDER BY ts")
    assert stored == sorted(stored), "it goes on although an interface has left"
    is_well(daemon)


OWN_MOUNTS = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x00020000) == 0 and libc.mount(None, b"/", None, 0x4000 | 0x40000, None) == 0
"""


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs_root)])
def test_without_proc_it_lives_on_and_says_so(start: Start, tmp_path: Path, mark: str) -> None:
    enter = tool("nsenter")
    daemon = start(**spoilt(tmp_path, OWN_MOUNTS))
    daemon.wait_for_samples(2)
    inside = [enter, "-t", str(daemon.process.pid), "-m"]
    subprocess.run([*inside, "mount", "-t", "tmpfs", "tmpfs", "/proc"], check=True)
    until(lambda: newest(daemon)["memory_percent"] is None)
    lost = newest(daemon)
    assert lost["process_count"] is None
    assert lost["cpu_percent"] is None
    assert lost["disk_percent"] is not None
    assert health(daemon)["status"] == "degraded"
    subprocess.run([*inside, "umount", "/proc"], check=True)
    until(lambda: newest(daemon)["cpu_percent"] is not None and newest(daemon)["process_count"] is not None)
    until(lambda: health(daemon)["status"] == "ok")
    assert query(daemon.path, "SELECT count(*) FROM gaps") == [(0,)]
    is_well(daemon)


MASKED_SYS = OWN_MOUNTS + "assert libc.mount(b'tmpfs', b'/sys', b'tmpfs', 0, None) == 0\n"


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs_root)])
def test_with_sys_masked_it_is_unknown_which_devices_are_disks_and_nothing_else(
    start: Start, tmp_path: Path, mark: str
) -> None:
    daemon = start(**spoilt(tmp_path, MASKED_SYS))
    daemon.wait_for_samples(3)
    known = newest(daemon)
    lost = {"disk_read_bytes", "disk_written_bytes"}
    assert {name for name in NAMES - OPTIONAL if known[name] is None} == lost
    found = health(daemon)
    assert (found["status"], found["last_error"]) == ("degraded", "cannot read disk_io: FileNotFoundError")
    is_well(daemon)


# -- what cannot be

memory = namedtuple("memory", "total available free", defaults=(0,))
usage = namedtuple("usage", "used free")
swap = namedtuple("swap", "total free")
io = namedtuple("io", "bytes_sent bytes_recv")
disk = namedtuple("disk", "read_bytes write_bytes")
times = namedtuple("times", "user nice system idle iowait")
NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("call", "value", "source"),
    [
        ("virtual_memory", memory(100, 150), "memory"),
        ("virtual_memory", memory(100, -1), "memory"),
        ("virtual_memory", memory(100, NAN), "memory"),
        ("virtual_memory", memory(0, 0), "memory"),
        ("swap_memory", swap(100, 101), "swap"),
        ("swap_memory", swap(100, -1), "swap"),
        ("swap_memory", swap(INF, INF), "swap"),
        ("disk_usage", usage(110, -10), "disk"),
        ("disk_usage", usage(-5, 100), "disk"),
        ("disk_usage", usage(NAN, 1), "disk"),
        ("net_io_counters", {"eth0": io(-1, 0)}, "network"),
        ("net_io_counters", {"eth0": io(0, 2**64)}, "network"),
        ("net_io_counters", {"eth0": io(NAN, 0)}, "network"),
        ("disk_io_counters", {"sda": disk(-1, 0)}, "disk_io"),
        ("disk_io_counters", {"sda": disk(0, 2**65)}, "disk_io"),
    ],
)
def test_what_cannot_be_is_unknown_and_an_error_of_that_source(
    monkeypatch: pytest.MonkeyPatch, call: str, value: object, source: str
) -> None:
    monkeypatch.setattr(psutil, call, lambda *_, **__: value)
    monkeypatch.setattr(psutil, "LINUX", False)  # where psutil is asked, and every device is a disk
    reading = Host("/").read()
    assert set(reading.errors) == {source}
    assert not reading.sources[source].is_defect
    assert all(0 <= number < 2.0**63 for number in (*reading.gauges.values(), *reading.counters.values()))


@pytest.mark.parametrize(
    "impossible", [times(NAN, 0, 0, 1, 0), times(INF, 0, 0, 1, 0), times(-9, 0, 0, 1, 0), times(9, 0, 0, -10, 0)]
)
def test_cpu_times_that_cannot_be_are_unknown_of_all_cpus_and_of_each(
    monkeypatch: pytest.MonkeyPatch, impossible: object
) -> None:
    monkeypatch.setattr(psutil, "LINUX", False)
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu=False: [impossible] if percpu else impossible)
    reading = Host("/").read()
    assert reading.cpu_seconds is None
    assert [name for name in reading.errors if "cpu" not in name] == []
    assert not any(result.is_defect for result in reading.sources.values())


def test_the_ends_of_what_can_be_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "LINUX", False)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory(100, 0))
    monkeypatch.setattr(psutil, "disk_usage", lambda _: usage(0, 100))
    monkeypatch.setattr(psutil, "swap_memory", lambda: swap(100, 0))
    reading = Host("/").read()
    assert reading.errors == {}
    found = {name: reading.gauges[name] for name in ("memory_percent", "disk_percent", "swap_percent")}
    assert found == {"memory_percent": 100.0, "disk_percent": 0.0, "swap_percent": 100.0}


IMPOSSIBLE = """
import psutil
from types import SimpleNamespace as S
nan, inf = float("nan"), float("inf")
psutil.LINUX = False
psutil.virtual_memory = lambda: S(total=100, available=-7158, free=0)
psutil.disk_usage = lambda _: S(used=nan, free=nan)
psutil.getloadavg = lambda: (inf, -1.0, nan)
import service.host.counts
service.host.counts.Load.__init__.__defaults__ = ("/missing",)
psutil.net_io_counters = lambda **_: {"eth0": S(bytes_sent=2**70, bytes_recv=-5)}
psutil.cpu_times = lambda: S(user=nan, system=inf, idle=1.0)
"""


def test_an_impossible_host_is_answered_with_null(start: Start, tmp_path: Path) -> None:
    daemon = start(**spoilt(tmp_path, IMPOSSIBLE))
    daemon.wait_for_samples(3)
    status, text = answer(daemon, "/api/process/resource-usage")
    assert status == 200
    current = json.loads(text, parse_constant=lambda name: pytest.fail(name))["current_usage"]
    assert current.pop("process_count") > 0
    assert current == {
        "cpu_percent": None,
        "memory_percent": None,
        "disk_percent": None,
        "network_io": {"bytes_sent": None, "bytes_recv": None},
        "load_average": [None, None, None],
    }
    for url in ("/api/v1/summary", "/api/v1/series?metric=network_sent_bytes&metric=cpu_percent", "/api/v1/peaks"):
        status, text = answer(daemon, url)
        assert status == 200
        json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert health(daemon)["status"] == "degraded"
    assert daemon.stop() == 0


TAKEN_BACK = """
import psutil, time
from collections import namedtuple
Times = namedtuple("Times", "user nice system idle iowait irq softirq steal")
begin = time.monotonic()
def one():
    passed = time.monotonic() - begin
    return Times(100 + passed / 10, 0, 20, 5000 + passed * 0.45, 700 + passed * 0.45 - passed // 3 * 0.75, 0, 0, 0)
def cpu_times(percpu=False):
    return [one()] * 2 if percpu else Times(*[2 * seconds for seconds in one()])
psutil.LINUX = False
psutil.cpu_times = cpu_times
psutil.cpu_count = lambda *_: 32
"""


def test_of_two_cpus_that_are_steadily_busy_the_same_is_stored_while_the_kernel_takes_iowait_back(
    start: Start, tmp_path: Path
) -> None:
    """As the kernel does where it books as idle what it had booked as iowait; and as in a container with 2 of 32."""
    daemon = start(**spoilt(tmp_path, TAKEN_BACK), TIDEMARK_SAMPLING_PROCESSES_INTERVAL="2")
    daemon.wait_for_samples(10)
    assert daemon.stop() == 0
    samples = query(daemon.path, "SELECT cpu_percent, cpu_busiest_percent FROM samples WHERE covered_seconds > 0")
    captures = query(daemon.path, "SELECT cpu_percent FROM captures")
    stored = [share for row in samples + captures for share in row if share is not None]
    assert all(abs(share - 10) < 1 for share in stored), stored
    assert len(stored) >= 15
    assert query(daemon.path, "SELECT DISTINCT cpus FROM captures") == [(2,)]


# -- mounts


QUICK_DISK = "import service.host.disks as disks\ndisks._DISK_SECONDS = 0.5\n"


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs_root)])
def test_a_mount_that_dies_costs_disk_percent_alone_until_it_is_back(start: Start, tmp_path: Path, mark: str) -> None:
    folder = tmp_path / "mnt"
    folder.mkdir()
    daemon = start(**spoilt(tmp_path, QUICK_DISK), TIDEMARK_SAMPLING_DISK_PATH=str(folder))
    daemon.wait_for_samples(2)
    until(lambda: newest(daemon)["disk_percent"] is not None)
    before = threads(daemon.process.pid)
    with dead_mount(folder):
        until(lambda: newest(daemon)["disk_percent"] is None)
        daemon.wait_for_samples(4)
        known = newest(daemon)
        assert {name for name in NAMES - OPTIONAL if known[name] is None} == {"disk_percent"}
        assert threads(daemon.process.pid) <= before  # one that asked all file systems may have ended
        found = health(daemon)
        assert (found["status"], found["last_error"]) == ("degraded", "cannot read disk: TimeoutError")
    until(lambda: newest(daemon)["disk_percent"] is not None)
    until(lambda: health(daemon)["status"] == "ok")
    assert longest_covered(daemon) <= 2.0
    assert query(daemon.path, "SELECT count(*) FROM gaps") == [(0,)]
    assert daemon.errors.read_text().count("cannot read disk") == 1
    is_well(daemon)


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs_root)])
def test_a_start_and_a_stop_over_a_dead_mount_take_no_longer(start: Start, tmp_path: Path, mark: str) -> None:
    folder = tmp_path / "mnt"
    folder.mkdir()
    with dead_mount(folder):
        since = time.monotonic()
        daemon = start(TIDEMARK_SAMPLING_DISK_PATH=str(folder))
        daemon.wait_for_samples(2)
        assert newest(daemon)["disk_percent"] is None
        assert newest(daemon)["memory_percent"] is not None
        assert time.monotonic() - since < 15
        since = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - since < 5
    assert query(daemon.path, "SELECT clean FROM runs") == [(1,)]


QUICK_CAPTURES = "import service.daemon.daemon\nservice.daemon.daemon.FILESYSTEMS_SECONDS = 1\n"


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs_root)])
def test_a_dead_mount_has_no_row_and_keeps_one_thread_while_the_others_are_recorded(
    start: Start, tmp_path: Path, mark: str
) -> None:
    folder = tmp_path / "mnt"
    folder.mkdir()
    daemon = start(**spoilt(tmp_path, QUICK_CAPTURES))
    roots = "SELECT count(*) FROM filesystems WHERE mount = '/'"
    until(lambda: query(daemon.path, roots)[0][0] > 1)
    before = threads(daemon.process.pid)
    with dead_mount(folder):
        recorded = query(daemon.path, roots)[0][0]
        until(lambda: query(daemon.path, roots)[0][0] > recorded + 4)
        assert threads(daemon.process.pid) <= before + 2  # the one that is stuck, and the one that asks the others
        assert query(daemon.path, "SELECT DISTINCT mount FROM filesystems WHERE mount LIKE '%mnt'") == []
        assert health(daemon)["status"] == "ok"
    assert longest_covered(daemon) <= 2.0
    is_well(daemon)


# -- processes


def test_in_a_storm_of_processes_what_each_used_is_its_parents_and_the_parts_add_up(start: Start) -> None:
    daemon = start(TIDEMARK_SAMPLING_PROCESSES_INTERVAL="2")
    daemon.wait_for_samples(1)
    storm = "import os, time\nend = time.time() + 9\nwhile time.time() < end:\n" + (
        "    p = os.fork()\n    if p == 0:\n        for _ in range(3000): pass\n        os._exit(0)\n"
        "    os.waitpid(p, 0)\n"
    )
    storms = [subprocess.Popen([sys.executable, "-c", storm]) for _ in range(2)]
    assert [process.wait(60) for process in storms] == [0] * 2
    daemon.wait_for_samples(2)
    assert health(daemon)["status"] == "ok"
    assert query(daemon.path, "SELECT count(*) FROM gaps") == [(0,)]
    assert daemon.stop() == 0  # which stores the last captures
    seen = query(
        daemon.path,
        "SELECT c.cpu_percent, c.unattributed_cpu_percent, (SELECT sum(p.cpu_percent) FROM process_names p "
        "WHERE p.ts = c.ts), (SELECT sum(p.children_cpu_percent) FROM process_names p WHERE p.ts = c.ts) "
        "FROM captures c WHERE cpu_percent IS NOT NULL",
    )
    assert len(seen) >= 3
    # Each of the short ones is waited for at once: at least in the midst of the storm most of what they used is there.
    assert max(children for *_, children in seen) > 10
    for whole, unattributed, attributed, _ in seen:
        assert 0 <= unattributed <= whole <= 100
        assert abs(attributed + unattributed - whole) <= 0.05 * whole + 1


NAMED = """
import ctypes, sys, time
ctypes.CDLL(None).prctl(15, bytes.fromhex(sys.argv[1]), 0, 0, 0)
end = time.time() + 60
while time.time() < end: pass
"""


@pytest.mark.parametrize("name", [b"<b>\"';--", b"a\nb) R (1", b"\xff\xfe", b"\x1b[31m"])
def test_a_process_of_any_name_is_recorded_and_listed(start: Start, name: bytes) -> None:
    daemon = start(TIDEMARK_SAMPLING_PROCESSES_INTERVAL="1", TIDEMARK_SAMPLING_PROCESSES_COUNT="50")
    process = subprocess.Popen([sys.executable, "-c", NAMED, name.hex()])
    try:
        shown = name.decode("utf-8", "replace")
        until(lambda: any(row == (shown,) for row in query(daemon.path, "SELECT DISTINCT name FROM processes")))
        listed = daemon.get("/api/v1/processes?start=-1m&count=100")["processes"]
        assert shown in {process["name"] for process in listed}
    finally:
        process.kill()
        process.wait()


def test_a_storm_of_processes_is_counted_without_an_error(start: Start) -> None:
    daemon = start()
    daemon.wait_for_samples(1)
    storm = "import os, time\nend = time.time() + 5\nwhile time.time() < end:\n" + (
        "    p = os.fork()\n    if p == 0: os._exit(0)\n    os.waitpid(p, 0)\n"
    )
    storms = [subprocess.Popen([sys.executable, "-c", storm]) for _ in range(4)]
    assert [process.wait(60) for process in storms] == [0] * 4
    assert query(daemon.path, "SELECT count(*) FROM samples WHERE process_count < 5 OR process_count IS NULL") == [(0,)]
    assert health(daemon)["status"] == "ok"
    assert daemon.errors.read_text() == ""
    is_well(daemon)


@pytest.mark.parametrize("error", [psutil.NoSuchProcess(1), psutil.AccessDenied(1), psutil.ZombieProcess(1)])
def test_a_process_that_vanishes_or_hides_costs_the_count_alone(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr("os.readlink", lambda _: "pid:[4026532000]")  # a container, where processes are listed
    monkeypatch.setattr(psutil, "pids", fail)
    reading = Host("/").read()
    assert reading.errors == {"processes": error}
    assert "process_count" not in reading.gauges
    assert "memory_percent" in reading.gauges


def test_a_proc_without_processes_is_an_error_and_no_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    counter = ProcessCounter()
    assert counter.count() > 0
    real = os.stat
    monkeypatch.setattr("os.stat", lambda path, **how: SimpleNamespace(st_nlink=2) if path == "/proc" else real(path))
    with pytest.raises(ValueError, match="no process"):
        counter.count()
    monkeypatch.undo()
    assert counter.count() > 0


HIDDEN = """
import os, psutil, subprocess
from service.host.counts import ProcessCounter
helper = subprocess.Popen(
    ["sh", "-c", 'read a; for _ in 1 2 3; do sleep 60 & p="$p $!"; done; echo begun; read b; kill $p'],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
)
os.setgid(65534); os.setuid(65534)
counter = ProcessCounter()
for _ in range(2):
    assert counter.count() == len(psutil.pids()), (counter.count(), len(psutil.pids()))
    helper.stdin.write(b"\\n")
    helper.stdin.flush()
    helper.stdout.readline()
"""


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs_root)])
def test_where_proc_hides_others_what_we_see_is_counted(mark: str) -> None:
    """Also while processes come that we do not see."""
    command = 'mount -t proc -o hidepid=2 proc /proc && exec "$@"'
    done = subprocess.run(
        [tool("unshare"), "-m", "sh", "-c", command, "sh", sys.executable, "-c", HIDDEN],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# -- what a host lacks


@pytest.mark.parametrize("call", ["swap_memory", "net_io_counters", "disk_io_counters", "cpu_times"])
def test_a_psutil_that_lacks_a_function_lacks_its_metrics_alone_and_that_is_a_defect(
    monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(psutil, "LINUX", False)  # else the kernel's own files are read first
    monkeypatch.delattr(psutil, call)
    reading = Host("/").read()
    assert {result.is_defect for result in reading.sources.values() if result.error} == {True}
    assert len(reading.gauges) + len(reading.counters) >= 6


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_thread_that_asks_the_disk_is_started_again_when_it_has_died(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "_DISK_SECONDS", 0.05)

    def die(_: str) -> None:
        raise SystemExit

    asked = disks.DiskUsage("/")
    with monkeypatch.context() as broken:
        broken.setattr(psutil, "disk_usage", die)
        with pytest.raises(TimeoutError):
            asked.read()
    until(lambda: _reads(asked), 10)


def test_a_defect_in_asking_the_disk_is_raised_to_the_tick_and_the_thread_lives_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(disks, "_DISK_SECONDS", 0.05)
    asked = disks.DiskUsage("/")
    with monkeypatch.context() as broken:
        broken.setattr(psutil, "disk_usage", lambda _: None)
        with pytest.raises(AttributeError):
            asked.read()
    until(lambda: _reads(asked), 10)


def _reads(asked: disks.DiskUsage) -> bool:
    try:
        return "disk_percent" in asked.read().gauges
    except (TimeoutError, AttributeError):
        return False


@pytest.mark.parametrize("mark", [pytest.param("", marks=needs_root)])
def test_in_a_small_cgroup_it_reports_the_host_and_stays_within_the_limit(start: Start, mark: str) -> None:
    folders = [Path(f"/sys/fs/cgroup/{name}/tidemark-test-{os.getpid()}") for name in ("memory", "cpu")]
    if not all(folder.parent.is_dir() for folder in folders):
        pytest.skip("needs cgroup v1 at /sys/fs/cgroup")
    daemon = None
    try:
        for folder in folders:
            folder.mkdir()
        (folders[0] / "memory.limit_in_bytes").write_text("60M")
        (folders[1] / "cpu.cfs_quota_us").write_text("20000")
        daemon = start()
        for folder in folders:
            (folder / "cgroup.procs").write_text(str(daemon.process.pid))
        daemon.wait_for_samples(5)
        for _ in range(20):
            assert answer(daemon, "/api/process/resource-usage")[0] == 200
        total = psutil.virtual_memory()
        assert abs(newest(daemon)["memory_percent"] - 100 * (total.total - total.available) / total.total) < 25  # type: ignore[operator]
        assert resident_bytes(daemon.process.pid) < 60 * 2**20
        assert daemon.process.poll() is None
        assert daemon.stop() == 0
    finally:
        if daemon is not None:
            daemon.process.kill()
            daemon.process.wait()
        for folder in folders:
            if folder.is_dir():
                folder.rmdir()


# -- any error at all

RAISING = """
import psutil
from pathlib import Path
real = psutil.virtual_memory
class Odd(Exception): pass
class Odder(BaseException): pass
def raising():
    if Path({flag!r}).exists():
        raise {error}
    return real()
psutil.virtual_memory = raising
psutil.LINUX = False
"""


@pytest.mark.parametrize(
    "error", ["SystemExit(3)", "Odd('x\\ny')", *rarely("KeyboardInterrupt", "MemoryError", "Odder")]
)
def test_whatever_a_collector_raises_the_next_tick_comes(start: Start, tmp_path: Path, error: str) -> None:
    flag = tmp_path / "raise"
    flag.touch()
    daemon = start(**spoilt(tmp_path, RAISING.format(flag=str(flag), error=error)))
    assert daemon.url.startswith("http"), daemon.errors.read_text()
    time.sleep(4)
    assert daemon.process.poll() is None
    assert health(daemon)["status"] in ("degraded", "failing")
    assert daemon.errors.read_text().count("+0000 ERROR") <= 2
    flag.unlink()
    daemon.wait_for_samples(2)
    until(lambda: health(daemon)["status"] == "ok")
    is_well(daemon)
    assert daemon.stop() == 0


def _counts(daemon: Any) -> dict[str, float]:
    lines = answer(daemon, "/metrics")[1].splitlines()
    return {line.split(" ")[0]: float(line.split(" ")[1]) for line in lines if line[:1] != "#"}


def test_failures_are_counted(start: Start, tmp_path: Path) -> None:
    flag = tmp_path / "raise"
    daemon = start(**spoilt(tmp_path, RAISING.format(flag=str(flag), error="OSError('gone')")))
    daemon.wait_for_samples(1)
    flag.touch()
    until(lambda: _counts(daemon).get("tidemark_failed_memory_total", 0) >= 2)
    assert daemon.stop() == 0
