"""The series of one device: its own metrics, from rows or from hours; and which devices there are."""

import pytest
from flask.testing import FlaskClient

from service.clock import DAY, HOUR
from service.records import Capture, DeviceKind, DeviceReading, DeviceUsage, MountUsage, ServiceUsage
from service.store import captures, device_rollups, devices, filesystems, usage_rollups
from service.store.writer import Store
from tests.conftest import NOW, Fill, all_processes, all_values

KIB = 1024
KIND_NAME = "takes KIND:NAME, with one of the kinds disk, interface, sensor, battery, mount, service"


class Host:
    """Stores what devices did."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def did(
        self, kind: DeviceKind, name: str, ts: int, *values: float | None, covered: float = 60.0, **more: object
    ) -> None:
        reading = DeviceReading(values, **more)  # type: ignore[arg-type]
        row = DeviceUsage(kind, name, ts, covered, all_values(kind, values), reading)
        self.store.write(lambda statements: devices.insert(statements, [row], 1))

    def roll_up(self) -> None:
        for step in (device_rollups.roll_up, lambda statements: usage_rollups.roll_up(statements, 5)):
            while self.store.write(step):
                pass


@pytest.fixture
def host(store: Store, fill: Fill) -> Host:
    fill(NOW, 1, cpu_percent=1)
    return Host(store)


def series(client: FlaskClient, query: str) -> dict[str, list[float | None]]:
    response = client.get(f"/api/v1/series?{query}")
    assert response.status_code == 200, response.json
    return {name: column["average"] for name, column in response.json["series"].items()}


def test_what_was_counted_comes_as_a_rate_over_the_time_that_a_row_covers(client: FlaskClient, host: Host) -> None:
    host.did("disk", "sda", NOW - 120, 0, 0, 0, 0, 0, 0, covered=120.0)
    host.did("disk", "sda", NOW - 60, 600 * KIB, 0, 6, 0, 30_000, 12)
    host.did("disk", "sda", NOW, *[None] * 6)
    found = series(client, f"device=disk:sda&start={NOW - 300}&end={NOW}&points=6")
    assert found["read_bytes"] == [None, 0, 0, 10 * KIB, None]
    assert found["busy_percent"] == [None, 0, 0, 50, None]
    assert found["wait_ms"] == [None, None, None, 2, None]
    assert list(found) == [
        "read_bytes",
        "written_bytes",
        "busy_percent",
        "read_operations",
        "written_operations",
        "wait_ms",
    ]


def test_a_row_counts_for_each_bucket_by_the_part_of_it_that_lies_there(client: FlaskClient, host: Host) -> None:
    host.did("interface", "eth0", NOW - 30, 6000, 0, 0, 0)
    found = series(client, f"device=interface:eth0&metric=received_bytes&start={NOW - 120}&end={NOW}&points=3")
    assert found == {"received_bytes": [100, 100]}


def test_what_lies_outside_of_the_window_does_not_count(client: FlaskClient, host: Host) -> None:
    host.did("sensor", "cpu", NOW + 60, 90.0, covered=90.0)
    host.did("sensor", "cpu", NOW - 300, 20.0)
    answer = client.get(f"/api/v1/series?device=sensor:cpu&start={NOW - 60}&end={NOW}").json
    assert answer["series"]["celsius"] == {
        "unit": "degrees Celsius", "average": [90.0], "minimum": [90.0], "maximum": [90.0]
    }  # fmt: skip
    assert answer["source"] == "captures"


def test_long_windows_come_from_hours_and_what_is_not_reduced_yet_from_rows(client: FlaskClient, host: Host) -> None:
    for hours in range(80):
        host.did("disk", "sda", NOW - hours * HOUR - 1800, 3600 * KIB, 0, 1, 0, 36_000, 9, covered=600.0)
    before = series(client, f"device=disk:sda&start={NOW - 3 * DAY}&end={NOW}&points=73")
    host.roll_up()
    answer = client.get(f"/api/v1/series?device=disk:sda&start={NOW - 3 * DAY}&end={NOW}&points=73").json
    assert (answer["source"], answer["step"]) == ("hours", HOUR)
    assert answer["series"]["read_bytes"]["average"] == [6 * KIB] * 72 == before["read_bytes"]
    assert answer["series"]["read_bytes"]["minimum"] == [None] * 72
    assert answer["series"]["busy_percent"]["maximum"] == [6.0] * 72


def test_a_sensors_extremes_survive_the_hours(client: FlaskClient, host: Host) -> None:
    for minute, celsius in ((10, 40.0), (20, 90.0), (30, 50.0)):
        host.did("sensor", "cpu", NOW - 5 * DAY + 60 * minute, celsius)
    host.did("sensor", "cpu", NOW, 40.0)
    host.roll_up()
    found = client.get(f"/api/v1/series?device=sensor:cpu&start={NOW - 5 * DAY}&end={NOW - 2 * DAY}").json
    columns = found["series"]["celsius"]
    assert (columns["minimum"][0], columns["average"][0], columns["maximum"][0]) == (40.0, 60.0, 90.0)


def test_a_mount_has_its_space_and_its_inodes(client: FlaskClient, host: Host) -> None:
    usage = MountUsage("/srv", 1000 * KIB, 400 * KIB, 400 * KIB, 100, 25, "ext4", "/dev/sda1")
    for minute in range(5):
        host.store.write(lambda s, ts=NOW - 60 * minute: filesystems.insert(s, ts, [usage], 1))  # type: ignore[misc]
    found = series(client, f"device=mount:/srv&start={NOW - 240}&end={NOW}")
    assert found["used_percent"] == [50.0] * 4
    assert found["used_inodes"] == [25.0] * 4
    long = series(client, f"device=mount:/srv&metric=used_bytes&start={NOW - 5 * DAY}&end={NOW + 60}")
    assert long["used_bytes"][-1] == 400 * KIB
    assert long["used_bytes"][0] is None


def test_a_service_that_a_capture_has_not_used_nothing_in_it(client: FlaskClient, host: Host) -> None:
    web = ServiceUsage("web.service", "service", 6.0, 4096, 0, 61_440, 0)
    for minute, services in ((0, [web]), (1, []), (2, [web])):
        capture = Capture(NOW - 60 * minute, 60.0, 120.0, 30.0, all_processes(), services)
        host.store.write(lambda s, capture=capture: captures.insert(s, capture, 1))  # type: ignore[misc]
    found = series(client, f"device=service:web.service&start={NOW - 180}&end={NOW}")
    assert found["cpu_percent"] == [5.0, 0.0, 5.0]
    assert found["memory_bytes"] == [4096, None, 4096]
    assert found["written_bytes"] == [1024, None, 1024]


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("device=disk:sdx", "device = disk:sdx: takes one that is recorded: disk:sda"),
        ("device=sensor:x", "device = sensor:x: takes one that is recorded: sensor:cpu"),
        ("device=sda", f"device = sda: {KIND_NAME}"),
        ("device=gpu:0", f"device = gpu:0: {KIND_NAME}"),
        ("device=sensor:cpu&metric=load_1", "metric = 'load_1': of a sensor it takes one of celsius"),
        ("device=disk:%0A%1b[31m", "device = disk:\\n\\x1b[31m: takes one that is recorded: disk:sda"),
    ],
)  # fmt: skip
def test_what_there_is_not_gets_400_with_what_there_is(client: FlaskClient, host: Host, query: str, text: str) -> None:
    host.did("disk", "sda", NOW, 0, 0, 0, 0, 0, 0)
    host.did("sensor", "cpu", NOW, 40)
    response = client.get(f"/api/v1/series?{query}")
    assert (response.status_code, response.json) == (400, {"error": text})


def test_of_hundreds_a_few_are_named(client: FlaskClient, host: Host) -> None:
    for number in range(30):
        host.did("interface", f"veth{number:02}", NOW, 0, 0, 0, 0)
    text = client.get("/api/v1/series?device=interface:x").json["error"]
    assert text.count("interface:veth") == 20
    assert text.endswith(", ...")


def test_a_metric_of_devices_is_none_of_the_host(client: FlaskClient) -> None:
    response = client.get("/api/v1/series?metric=celsius")
    assert response.status_code == 400
    assert response.json["error"].startswith("metric = celsius: takes one or more of cpu_percent, ")


def test_the_metrics_of_each_kind_are_listed(client: FlaskClient) -> None:
    listed = client.get("/api/v1/metrics").json["device_metrics"]
    assert {"kind": "sensor", "name": "celsius", "label": "Temperature", "unit": "degrees Celsius",
            "help": "What the sensor shows"} in listed  # fmt: skip


def test_every_device_is_listed_with_its_newest_figures(client: FlaskClient, host: Host) -> None:
    host.did("disk", "sda", NOW - 60, 0, 60 * KIB, 0, 1, 600, 9)
    host.did("interface", "eth0", NOW - 60, 60, 120, 0, 0, state="up")
    host.did("interface", "gone", NOW - DAY, 60, 120, 0, 0, state="up")
    answer = client.get("/api/v1/devices").json
    found = {one["device"]: one for one in answer["devices"]}
    assert found["disk:sda"]["figures"] == {
        "read_bytes": 0, "written_bytes": KIB, "busy_percent": 1.0, "read_operations": 0, "written_operations": 0.02,
        "wait_ms": 9.0,
    }  # fmt: skip
    assert (found["interface:eth0"]["state"], found["interface:eth0"]["time"]) == ("up", "2026-01-05T09:59:00Z")
    assert (found["interface:gone"]["ts"], found["interface:gone"]["figures"]) == (None, {})
