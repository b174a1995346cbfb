"""What each figure of sysstat becomes, and the traps in them: seen through the verb and the public views."""

from typing import Any

import pytest

from tests.conftest import NOW
from tests.importing.conftest import FIGURES, ImportSar, Rows, Sar

PAST = NOW - 86_400 * 30
MEMORY = FIGURES["memory"]
ROOT = {"mountpoint": "/", "MBfsfree": 750, "MBfsused": 250, "%ufsused": 50.0}


@pytest.fixture
def value(sar: Sar, import_sar: ImportSar, rows: Rows) -> Any:
    """Of a metric in the one minute of a record with such figures."""

    def value(metric: str, **figures: Any) -> Any:
        assert import_sar(sar([PAST + 60], interval=60, **figures)).code == 0
        return rows(f"SELECT {metric} FROM minutes")[0][0]

    return value


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("cpu_percent", 25.0),
        ("memory_percent", 25.0),
        ("swap_percent", 25.0),
        ("disk_percent", 33.33),
        ("load_1", 1.5),
        ("load_5", 1.25),
        ("load_15", 0.75),
        ("cpu_pressure", 3.5),
        ("memory_pressure", 2.5),
        ("io_pressure", 1.5),
        ("network_received_bytes_increase", 4 * 1024 * 60),
        ("network_sent_bytes_increase", 3 * 1024 * 60),
        ("disk_read_bytes_increase", 2 * 512 * 60),
        ("disk_written_bytes_increase", 10 * 512 * 60),
        ("process_count", None),
        ("cpu_busiest_percent", None),
    ],
)
def test_each_figure_becomes_its_metric(value: Any, metric: str, expected: float | None) -> None:
    assert value(metric) == expected


@pytest.mark.parametrize(
    ("memory", "expected"),
    [
        ({**MEMORY, "avail": 0}, None),
        # As sysstat before 11.7.4 computed it.
        ({"memfree": 6000, "memused": 2000, "memused-percent": 25.0, "avail": 4000, "buffers": 9, "cached": 9}, 50.0),
        ({**MEMORY, "memused-percent": 26.0}, None),
        ({name: amount for name, amount in MEMORY.items() if name != "slab"}, None),
        ({name: amount for name, amount in MEMORY.items() if name != "avail"}, None),
    ],
)
def test_memory_is_a_share_of_a_total_that_is_known_or_it_is_unknown(
    value: Any, memory: dict[str, float], expected: float | None
) -> None:
    assert value("memory_percent", memory=memory) == expected


@pytest.mark.parametrize(
    ("metric", "figures"),
    [
        ("swap_percent", {"memory": {**MEMORY, "swpfree": 0, "swpused": 0}}),
        ("load_1", {"queue": {**FIGURES["queue"], "plist-sz": 0, "ldavg-1": 0.0}}),
        ("io_pressure", {"psi": {}}),
        ("cpu_percent", {"cpu-load": []}),
        ("cpu_percent", {"cpu-load": [{"cpu": "0", "idle": 50.0, "iowait": 0.0}]}),
        ("cpu_percent", {"cpu-load": [{"cpu": "all", "idle": 150.0, "iowait": 0.0}]}),
        ("network_sent_bytes_increase", {"network": {}}),
        ("network_sent_bytes_increase", {"network": {"net-dev": [{"iface": "a", "rxkB": 1.0, "txkB": 1.8e16}]}}),
        ("disk_read_bytes_increase", {"io": {"io-reads": {"bread": -1.0}}}),
        ("disk_percent", {"filesystems": [{**ROOT, "mountpoint": "/srv"}]}),
        ("disk_percent", {"filesystems": [{**ROOT, "MBfsfree": 0, "MBfsused": 0}]}),
    ],
)
def test_what_sysstat_did_not_record_is_unknown_and_never_0(value: Any, metric: str, figures: dict[str, Any]) -> None:
    assert value(metric, **figures) is None


def test_of_two_file_systems_at_one_mount_the_upper_counts(value: Any) -> None:
    assert value("disk_percent", filesystems=[ROOT, {**ROOT, "%ufsused": 25.0}]) == 25.0


def test_sysstat_10_called_the_cpus_otherwise(value: Any) -> None:
    assert value("cpu_percent", **{"cpu-load": [], "cpu-load-all": FIGURES["cpu-load"]}) == 25.0


def test_what_rounding_takes_below_0_is_0(value: Any) -> None:
    assert value("cpu_percent", **{"cpu-load": [{"cpu": "all", "idle": 99.99, "iowait": 0.02}]}) == 0
