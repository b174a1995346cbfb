"""What people ask by node_exporter's names is answered by both engines as SQL answers it.

The expressions are ours, in the manner of the usual dashboards and alerts of hosts.
"""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from service.records import Break, Capture, DeviceReading, DeviceUsage, MountUsage, OpenFiles, Sample
from service.store import captures, devices, filesystems
from service.store.writer import Store
from tests.conftest import FakeClock, Fill, all_processes, settings_for
from tests.forward.conftest import Begin, Driven
from tests.forward.engines import ENGINES, Engine

CPUS, MINUTES, GIB = 8, 12, 2**30
BUSY = 'sum by (instance) (rate(node_cpu_seconds_total{mode!~"idle|iowait"}[5m]))'
ALL = "sum by (instance) (rate(node_cpu_seconds_total[5m]))"
# Expression -> column of samples (or what is made of them) over the last five minutes -> how far it may be.
EXPRESSIONS = {
    BUSY: "8 * avg(cpu_percent) / 100",
    f"{BUSY} / {ALL}": "avg(cpu_percent) / 100",
    f'1 - sum by (instance) (rate(node_cpu_seconds_total{{mode="idle"}}[5m])) / {ALL}': (
        "avg(cpu_percent + cpu_iowait_percent) / 100"
    ),
    'sum by (instance) (rate(node_cpu_seconds_total{mode="steal"}[5m])) / on (instance) tidemark_cpus': (
        "avg(cpu_steal_percent) / 100"
    ),
    f'sum by (instance) (rate(node_cpu_seconds_total{{mode="iowait"}}[5m])) / {ALL}': "avg(cpu_iowait_percent) / 100",
    "rate(node_pressure_io_waiting_seconds_total[5m])": "avg(io_pressure) / 100",
    "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes": "0.75",
    "node_memory_MemTotal_bytes - node_memory_MemFree_bytes - node_memory_Cached_bytes - node_memory_Buffers_bytes": (
        f"{5 * GIB}"
    ),
    "(node_memory_SwapTotal_bytes - node_memory_SwapFree_bytes) / node_memory_SwapTotal_bytes": "0.25",
    "node_load1": "max(load_1)",
    "node_load5 / on (instance) tidemark_cpus": "max(load_5) / 8",
    "rate(node_context_switches_total[5m])": "1000",
    "rate(node_vmstat_pgmajfault[5m])": "20",
    "rate(node_vmstat_pswpin[5m]) + rate(node_vmstat_pswpout[5m])": "2",
    "rate(node_netstat_Tcp_RetransSegs[5m])": "3",
    "increase(node_vmstat_oom_kill[5m]) + 1": "1",
    "node_procs_running + node_procs_blocked": "4",
    "(node_filesystem_size_bytes - node_filesystem_free_bytes) / node_filesystem_size_bytes": "0.5",
    '1 - node_filesystem_avail_bytes{mountpoint="/data",fstype!~"tmpfs|overlay"} / node_filesystem_size_bytes': "0.75",
    'predict_linear(node_filesystem_avail_bytes{fstype="ext4"}[10m], 3600)': f"{2**28}",
    "node_filesystem_files_free / node_filesystem_files": "0.6",
    "node_filesystem_avail_bytes and on (instance, device, mountpoint) node_filesystem_readonly == 0": f"{2**28}",
    "node_filesystem_device_error": "0",
    'node_memory_MemTotal_bytes * on (instance) group_left (nodename) node_uname_info{nodename!=""}': f"{16 * GIB}",
    'rate(node_disk_written_bytes_total{device="sda"}[5m])': "100 * 512",
    "rate(node_disk_read_bytes_total[5m])": "50 * 512",
    "rate(node_disk_io_time_seconds_total[5m])": "0.4",
    "rate(node_disk_reads_completed_total[5m]) + rate(node_disk_writes_completed_total[5m])": "3",
    'rate(node_network_receive_bytes_total{device!~"lo|veth.*"}[5m]) * 8': "8 * 1000",
    "rate(node_network_transmit_bytes_total[5m]) / node_network_speed_bytes": "500 / 125e6",
    "rate(node_network_receive_errs_total[5m]) / rate(node_network_receive_packets_total[5m])": "30.0 / 3000",
    "rate(node_network_transmit_errs_total[5m]) / rate(node_network_transmit_packets_total[5m])": "60.0 / 1500",
    "rate(node_network_receive_drop_total[5m]) + rate(node_network_transmit_drop_total[5m])": "60.0 / 30",
    "node_network_up": "1",
    "node_filefd_allocated * 100 / node_filefd_maximum": "100 * 1149 / 2466193.0",
    "node_time_seconds - node_boot_time_seconds": "max(ts) - min(run.boot_ts)",
}


@pytest.fixture
def at(clock: FakeClock) -> int:
    clock.wall = float(int(time.time()))
    return int(time.time()) - 120


@pytest.fixture
def busy(at: int, fill: Fill, store: Store, path: Path) -> Path:
    """Twelve minutes of a host of eight CPUs."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE run SET boot_ts = ?", [at - 10_000])
    start = at - 60 * MINUTES + 5
    fill(
        start,
        12 * MINUTES,
        5,
        Break(None, None),
        cpu_count=CPUS,
        cpu_percent=lambda i: 42 + i % 7,
        cpu_user_percent=lambda i: 30 + i % 7,
        cpu_system_percent=7,
        cpu_nice_percent=1,
        cpu_irq_percent=0.5,
        cpu_softirq_percent=0.5,
        cpu_steal_percent=3,
        cpu_iowait_percent=lambda i: 5 + i % 3,
        io_pressure=lambda i: 12.5 + i % 5,
        memory_total_bytes=16 * GIB,
        memory_available_bytes=4 * GIB,
        memory_free_bytes=2 * GIB,
        memory_cached_bytes=8 * GIB,
        memory_buffers_bytes=GIB,
        swap_total_bytes=4 * GIB,
        swap_free_bytes=3 * GIB,
        load_1=2.5,
        load_5=4.0,
        load_15=1.0,
        context_switches=lambda i: 10**9 + 5000 * i,
        major_faults=lambda i: 100 * i,
        swap_in_bytes=lambda i: 4096 * 5 * i,
        swap_out_bytes=lambda i: 4096 * 5 * i,
        tcp_retransmits=lambda i: 15 * i,
        oom_kills=7,
        processes_running=3,
        processes_blocked=1,
    )
    return path


def in_use(store: Store, until: int) -> None:
    """What a disk, an interface and a file system did in these minutes."""
    moved = (1500 * 512, 3000 * 512, 60, 30, 12_000, 90)
    usage = MountUsage("/data", 2**30, 2**29, 2**28, 1000, 400, "ext4", "/dev/sda1")
    for ts in range(until - 60 * MINUTES + 30, until + 1, 30):
        rows = [
            DeviceUsage("disk", "sda", ts, 30.0, moved, DeviceReading(moved)),
            DeviceUsage(
                "interface",
                "eth0",
                ts,
                30.0,
                (30_000, 15_000, 90, 60, 60, 30, 3000, 1500),
                DeviceReading((), "up", 1000),
            ),
        ]
        capture = Capture(ts, 30.0, 240.0, 1.0, all_processes(), open_files=OpenFiles(1149, 2466193))
        store.write(lambda statements, capture=capture: captures.insert(statements, capture, 1))  # type: ignore[misc]
        store.write(lambda statements, rows=rows: devices.insert(statements, rows, 1))  # type: ignore[misc]
        store.write(lambda statements, ts=ts: filesystems.insert(statements, ts, [usage], 1))  # type: ignore[misc]


def ship(path: Path, store: Store, clock: FakeClock, engine: Engine) -> None:
    given = {"forward__url": engine.write_url, "forward__backfill": "all", "forward__names": "node"}
    driven = Driven(settings_for(path, forward__instance="host", **given), path, store, clock)
    driven.ship(400)
    # What devices did comes after the samples of its time.
    store.append([Sample(round(clock.wall), 5.0, {}, Break(round(clock.wall) - 5, None))])
    driven.ship(400)
    driven.shipper.close()
    engine.flush()


@pytest.mark.parametrize("name", ENGINES)
def test_every_expression_is_answered_as_sql_answers_it(
    name: str, begin: Begin, busy: Path, store: Store, clock: FakeClock, at: int
) -> None:
    in_use(store, at)
    engine = begin(name)
    ship(busy, store, clock, engine)
    found, wanted = {}, {}
    for expression, column in EXPRESSIONS.items():
        with closing(sqlite3.connect(busy)) as connection:
            # A range of five minutes has the samples after its start, which stand for the time between two.
            (wanted[expression],) = connection.execute(
                f"SELECT {column} FROM samples CROSS JOIN run WHERE ts > ? AND ts <= ?", (at - 300, at)
            ).fetchone()
        found[expression] = engine.by("instance", expression, at).get("host")
    assert found == pytest.approx(wanted, rel=0.02)
