"""Captures of devices ride with the samples; a kind that cannot be read is said once and costs the others nothing."""

import logging
from pathlib import Path

import pytest

from service.host.devices import DevicesRead
from service.recording.devices import DeviceRecorder
from service.records import DeviceKind, DeviceReading
from service.store.writer import Store
from tests.conftest import NOW, FakeClock, Fill
from tests.running import query


class FakeDevices:
    """A disk that writes 512 bytes from one capture to the next, and an interface."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.written = clock, 0
        self.errors: dict[DeviceKind, Exception] = {}
        self.left_out = 0

    def read(self) -> DevicesRead:
        self.written += 512
        found = {
            "disk": {"sda": DeviceReading((0, self.written, 0, 1, 0, 1))},
            "interface": {"eth0": DeviceReading((0,) * 8)},
        }
        now = self.clock.now()
        devices = {kind: (now, of_kind) for kind, of_kind in found.items() if kind not in self.errors}
        return DevicesRead(devices, self.errors, {"interface": self.left_out})  # type: ignore[arg-type]


@pytest.fixture
def seen(clock: FakeClock) -> FakeDevices:
    return FakeDevices(clock)


@pytest.fixture
def recorder(seen: FakeDevices, store: Store) -> DeviceRecorder:
    return DeviceRecorder(seen, store)


def capture(recorder: DeviceRecorder, clock: FakeClock, times: int) -> None:
    for _ in range(times):
        recorder.capture()
        clock.pass_seconds(30)


def test_what_devices_did_is_stored_with_the_next_sample_and_at_the_end_what_still_waits(
    recorder: DeviceRecorder, store: Store, clock: FakeClock, fill: Fill, path: Path
) -> None:
    fill(NOW, 1)
    capture(recorder, clock, 3)
    recorder.hand_over()
    fill(NOW + 60, 1)
    assert query(path, "SELECT ts, written_bytes FROM disks") == [(NOW + 30, 512), (NOW + 60, 512)]
    assert query(path, "SELECT * FROM interfaces") == []
    recorder.finish()
    store.end_run(NOW + 61)
    assert query(path, "SELECT ts, covered_seconds, received_bytes FROM interfaces") == [(NOW + 60, 60.0, 0)]


def test_nothing_is_held_for_long_although_nobody_asks_for_it(
    recorder: DeviceRecorder, clock: FakeClock, fill: Fill, path: Path
) -> None:
    fill(NOW, 1)
    capture(recorder, clock, 13)
    fill(NOW + 400, 1)
    assert query(path, "SELECT count(*) FROM disks") == [(11,)]


def test_a_kind_that_fails_is_said_once_and_its_next_row_covers_the_time(
    recorder: DeviceRecorder, seen: FakeDevices, clock: FakeClock, fill: Fill, path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO)
    fill(NOW, 1)
    capture(recorder, clock, 1)
    seen.errors = {"disk": OSError(5, "Input/output error")}
    capture(recorder, clock, 3)
    seen.errors = {}
    capture(recorder, clock, 2)
    assert [record.getMessage() for record in caplog.records] == [
        "cannot read the disks: [Errno 5] Input/output error; storing none until it is possible",
        "reading the disks again",
    ]
    recorder.hand_over()
    fill(NOW + 300, 1)
    assert query(path, "SELECT covered_seconds, written_bytes FROM disks") == [(120.0, 4 * 512), (30.0, 512)]


def test_a_defect_is_logged_with_where_it_is_and_the_other_kinds_are_stored(
    recorder: DeviceRecorder, seen: FakeDevices, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    seen.errors = {"interface": ZeroDivisionError()}
    capture(recorder, clock, 3)
    (record,) = caplog.records
    assert record.getMessage() == "reading the network interfaces: a defect in Tidemark"
    assert record.exc_info is not None


def test_a_defect_in_what_is_made_of_readings_costs_its_own_kind_alone(
    recorder: DeviceRecorder, seen: FakeDevices, clock: FakeClock, fill: Fill, path: Path,
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    really = seen.read

    def broken() -> DevicesRead:
        read = really()
        devices = {**read.devices, "interface": (clock.now(), {"eth0": DeviceReading((object(),))})}  # type: ignore[arg-type]
        return DevicesRead(devices, {}, {})  # type: ignore[arg-type]

    fill(NOW, 1)
    capture(recorder, clock, 1)
    monkeypatch.setattr(seen, "read", broken)
    capture(recorder, clock, 1)
    monkeypatch.setattr(seen, "read", really)
    capture(recorder, clock, 2)
    assert [record.getMessage() for record in caplog.records] == [
        "the network interfaces are read anew: a defect in Tidemark"
    ]
    recorder.finish()
    fill(NOW + 300, 1)
    assert query(path, "SELECT count(*) FROM disks") == [(3,)]
    assert query(path, "SELECT covered_seconds FROM interfaces") == [(30.0,)]


def test_what_is_left_out_is_said_once(
    recorder: DeviceRecorder, seen: FakeDevices, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    seen.left_out = 12
    capture(recorder, clock, 3)
    assert [record.getMessage() for record in caplog.records] == [
        "12 network interfaces are not recorded, only the first 500"
    ]
