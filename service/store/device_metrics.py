"""The figures of each kind of device, of mounts and of services, and where in the tables they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from service.clock import HOUR, MINUTE
from service.store.device_schema import BUSY_PERCENT, SECTOR, WAIT_MS

Kind = Literal["disk", "interface", "sensor", "battery", "mount", "service"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Unit = Literal["bytes per second", "operations per second", "errors per second", "packets per second", "percent",
               "milliseconds", "degrees Celsius", "bytes", "inodes"]  # fmt: skip


@dataclass(frozen=True, slots=True)
class DeviceMetric:
    """One figure of a kind of device.

    `row`, `hour`: in SQL, its average in a row and in an hour. `weight`: with which these averages are averaged.
    `most`, `least`: of an hour its greatest and least, where they are kept; of a row they are the average. Of what
    comes as a rate there is no least.
    """

    name: str
    label: str
    unit: Unit
    help: str
    row: str
    hour: str
    weight: str = "covered_ms"
    most: str = "NULL"
    least: str = "NULL"

    @property
    def has_least(self) -> bool:
        return not self.unit.endswith("per second")


def _rate(name: str, label: str, unit: Unit, help: str, amount: str, most: str = "NULL") -> DeviceMetric:
    """`amount`: what was counted in the time of a row."""
    per_second = f"1000.0 * {amount} / covered_ms"
    return DeviceMetric(name, label, unit, help, per_second, per_second, most=most)


def _shown(name: str, label: str, unit: Unit, help: str) -> DeviceMetric:
    limits = {"most": "value_max_e1 / 10.0", "least": "value_min_e1 / 10.0"}
    return DeviceMetric(name, label, unit, help, "value_e1 / 10.0", "value_e2 / 100.0", **limits)


def _space(name: str, label: str, unit: Unit, help: str, value: str) -> DeviceMetric:
    return DeviceMetric(name, label, unit, help, value, value)


_BYTES = f"{SECTOR} * {{}}_sectors"
_USED = "100.0 * used_kb / NULLIF(used_kb + available_kb, 0)"
_SERVICE_CPU = "100.0 * COALESCE(cpu_ms, 0) / capacity_ms"
METRICS: Mapping[Kind, tuple[DeviceMetric, ...]] = {
    "disk": (
        _rate("read_bytes", "Read", "bytes per second", "Bytes read", _BYTES.format("read"),
              f"{SECTOR} * read_sectors_max"),
        _rate("written_bytes", "Written", "bytes per second", "Bytes written", _BYTES.format("written"),
              f"{SECTOR} * written_sectors_max"),
        DeviceMetric("busy_percent", "Busy", "percent", "Share of the time in which it had something to do",
                     BUSY_PERCENT, BUSY_PERCENT, most="MIN(100.0, busy_ms_max / 10.0)"),
        _rate("read_operations", "Reads", "operations per second", "Reads", "read_operations"),
        _rate("written_operations", "Writes", "operations per second", "Writes", "written_operations"),
        DeviceMetric("wait_ms", "Wait", "milliseconds", "How long an operation took on average, with its waiting",
                     WAIT_MS, WAIT_MS, weight="(read_operations + written_operations)"),
    ),
    "interface": (
        _rate("received_bytes", "Received", "bytes per second", "Bytes received", "received_bytes",
              "received_bytes_max"),
        _rate("sent_bytes", "Sent", "bytes per second", "Bytes sent", "sent_bytes", "sent_bytes_max"),
        _rate("errors", "Errors", "errors per second", "Packets with errors, both directions", "errors"),
        _rate("drops", "Drops", "packets per second", "Packets dropped, both directions", "drops"),
    ),
    "sensor": (_shown("celsius", "Temperature", "degrees Celsius", "What the sensor shows"),),
    "battery": (_shown("percent", "Charge", "percent", "How full the battery is"),),
    "mount": (
        _space("used_percent", "Used", "percent", "Used share, by df's rule", _USED),
        _space("used_bytes", "Used", "bytes", "Bytes used", "used_kb * 1024"),
        _space("available_bytes", "Available", "bytes", "Bytes that anyone may still fill", "available_kb * 1024"),
        _space("total_bytes", "Size", "bytes", "Bytes in all", "total_kb * 1024"),
        _space("used_inodes", "Inodes used", "inodes", "Inodes used", "used_inodes"),
    ),
    "service": (
        DeviceMetric("cpu_percent", "CPU", "percent", "Share of all CPUs", _SERVICE_CPU, _SERVICE_CPU),
        DeviceMetric("memory_bytes", "Memory", "bytes", "Memory, with the page cache",
                     "1024 * memory_kb", "1024 * average_kb", most="1024 * memory_kb"),
        _rate("read_bytes", "Read", "bytes per second", "Bytes read from disks", "1024 * read_kb"),
        _rate("written_bytes", "Written", "bytes per second", "Bytes written to disks", "1024 * written_kb"),
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """Where a kind is kept. `names`: in SQL, (name, number, when last seen). `rows`, `hours`: what gives the columns of
    its figures with `ts` and `covered_ms`, of :start <= ts <= :end and of :number. A row stands for the `covered_ms`
    before `ts`, an hour for itself."""

    names: str
    rows: str
    hours: str


_WITHIN = "ts >= :start AND ts <= :end"


def _device(kind: str, rows: str, hours: str) -> Source:
    of_one = f"device_id = :number AND {_WITHIN}"
    names = f"SELECT name, device_id AS number, last_ts FROM device WHERE kind = '{kind}'"
    return Source(names, f"SELECT * FROM {rows} WHERE {of_one}", f"SELECT * FROM {hours} WHERE {of_one}")


def _mount(covered_seconds: int) -> str:
    covered = f"{1000 * covered_seconds} AS covered_ms"
    return f"SELECT *, {covered} FROM filesystem WHERE mount_id = :number AND {_WITHIN}"


_USED_BY = "cpu_ms, u.memory_kb, read_kb, written_kb"
SOURCES: Mapping[Kind, Source] = {
    "disk": _device("disk", "disk_usage", "disk_hour"),
    "interface": _device("interface", "interface_usage", "interface_hour"),
    "sensor": _device("sensor", "device_value", "device_value_hour"),
    "battery": _device("battery", "device_value", "device_value_hour"),
    "mount": Source(
        "SELECT path AS name, mount_id AS number, (SELECT MAX(ts) FROM filesystem AS f "
        "WHERE f.mount_id = mount.mount_id) AS last_ts FROM mount",
        _mount(MINUTE),
        _mount(HOUR),
    ),
    # A capture without the service: it used less than is kept, which is nothing.
    "service": Source(
        "SELECT name, service_id AS number, last_ts FROM service",
        f"SELECT c.ts, covered_ms, capacity_ms, {_USED_BY} FROM capture AS c LEFT JOIN service_usage AS u "
        "ON u.ts = c.ts AND u.stretch_id = c.stretch_id AND u.service_id = :number "
        "WHERE c.ts >= :start AND c.ts <= :end",
        f"SELECT ts, covered_ms, capacity_ms, average_kb, {_USED_BY} FROM capture_hour CROSS JOIN service_hour AS u "
        f"USING (ts) WHERE u.service_id = :number AND {_WITHIN}",
    ),
}
