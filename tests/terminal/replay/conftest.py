"""A morning to walk through: a peak that restic made, a gap, and a little after it."""

import pytest

from service.answers.monitor import ResourceMonitor
from service.records import Break, ServiceUsage
from service.terminal.replay.walker import Walker
from tests.conftest import NOW, FakeClock, Fill, Record

# In seconds after NOW: what is recorded up to where, the peak, and where it goes on after the gap.
PEAK, STOPS, GOES_ON, ENDS = 1200, 1795, 3600, 4195
CALM = [("cron", 1, 3.0, 10**6), ("sshd", 2, 0.01, 10**6)]


@pytest.fixture
def morning(fill: Fill, record: Record, clock: FakeClock) -> None:
    """10:00:00 to 10:29:55 with a minute of restic at 10:20, suspended, 11:00:00 to 11:09:55."""
    values = {"memory_percent": lambda i: 50 + i / 100, "network_received_bytes": lambda i: i * 5000}
    fill(NOW, 360, cpu_percent=lambda i: 90 if 241 <= i <= 252 else 10, **values)
    fill(NOW + GOES_ON, 120, begins=Break(NOW + STOPS, "suspended"), cpu_percent=10, **values)
    service = ServiceUsage("backup.service", "service", 100.0, 5 * 10**6, None, None, None)
    for ts in [*range(30, STOPS, 30), *range(GOES_ON + 30, ENDS, 30)]:
        if PEAK < ts <= PEAK + 60:
            record(NOW + ts, 108.0, ("restic", 7, 100.0, 5 * 10**6), *CALM, services=[service])
        else:
            record(NOW + ts, 12.0, *CALM)
    clock.wall = NOW + ENDS + 1


@pytest.fixture
def walker(morning: None, monitor: ResourceMonitor) -> Walker:
    return Walker(monitor.replay(), monitor.write, columns=70)
