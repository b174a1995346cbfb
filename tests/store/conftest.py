"""What tests of the store share: devices whose rows are stored one by one."""

import pytest

from service.records import DeviceKind, DeviceReading, DeviceUsage
from service.store import device_rollups, devices
from service.store.writer import Store
from tests.conftest import all_values


class Devices:
    """Stores rows of one device each."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def did(
        self,
        kind: DeviceKind,
        name: str,
        ts: int,
        *values: float | None,
        covered: float = 30.0,
        stretch: int = 1,
        **more: object,
    ) -> None:
        reading = DeviceReading(values, **more)  # type: ignore[arg-type]
        row = DeviceUsage(kind, name, ts, covered, all_values(kind, values), reading)
        self.store.write(lambda statements: devices.insert(statements, [row], stretch))

    def progress(self) -> tuple[int, int]:
        """Until when hours are made, and from when on rows are whole."""
        return self.store.write(device_rollups.progress)

    def roll_up(self) -> int:
        """How many hours it made."""
        hours = 0
        while self.store.write(device_rollups.roll_up):
            hours += 1
        return hours

    def prune(self, rows_before: int, hours_before: int = 0, most: int = 4000) -> int:
        """How many steps it took."""
        steps = 1
        while self.store.write(lambda s: device_rollups.prune(s, rows_before, hours_before, most)):
            steps += 1
        return steps


@pytest.fixture
def host(store: Store) -> Devices:
    return Devices(store)
