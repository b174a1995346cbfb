"""Who used the host arrives by the hour: the largest names and services, once, whatever they are called."""

import struct

import pytest

from service.records import ServiceUsage
from service.store import usage_rollups
from service.store.writer import Store
from tests.conftest import NOW, Fill, Record
from tests.forward.conftest import Drive
from tests.forward.oracle import decoded, unblocked
from tests.forward.receiver import Scripted

MIB = 2**20


def taken(receiver: Scripted) -> dict[tuple[str, str], list[tuple[int, float]]]:
    """Series and its name or service -> second and value, of every request in its order."""
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for body in receiver.bodies:
        for pairs, points in decoded(unblocked(body)).items():
            names = dict(pairs)
            if "_hour_" in names["__name__"]:
                assert {names["job"], names["instance"]} == {"tidemark", "web-1"}
                assert len(names) == 4
                name = names.get("process") or names["service"]
                series = found.setdefault((names["__name__"], name), [])
                series += [(ms // 1000, struct.unpack("<d", struct.pack("<Q", value))[0]) for ms, value in points]
    return found


def used(record: Record, hour: int) -> None:
    """Two captures of one hour, and one after it."""
    for ts in (hour + 1800, hour + 3600, hour + 3630):
        record(
            ts,
            60.0,
            ('na"me\n\\', 1, 12.0, 100 * MIB),
            ("small", 2, 1.2, 300 * MIB),
            ("", 3, 0.6, MIB),
            services=[ServiceUsage("web.service", "service", 24.0, 500 * MIB, None, None, None)],
        )


def roll_up(store: Store) -> None:
    while store.write(lambda statements: usage_rollups.roll_up(statements, 5)):
        pass


def test_of_each_hour_the_largest_names_and_services_arrive_at_its_end_and_once(
    fill: Fill, drive: Drive, receiver: Scripted, store: Store, record: Record
) -> None:
    for hour in (NOW - 4 * 3600, NOW - 2 * 3600):
        used(record, hour)
    roll_up(store)
    fill(NOW - 5 * 3600, 5 * 720)
    driven = drive(forward__processes=1, forward__instance="web-1")
    driven.ship()
    # 12 s of the 120 s that four CPUs have in 30 s; the capture after an hour is one of the next, which is over too.
    ends = [NOW - 3 * 3600, NOW - 2 * 3600, NOW - 3600]
    assert taken(receiver) == {
        ("tidemark_process_hour_cpu_ratio", 'na"me\n\\'): [(end, 0.1) for end in ends],
        ("tidemark_process_hour_memory_bytes", "small"): [(end, 300.0 * MIB) for end in ends],
        ("tidemark_service_hour_cpu_ratio", "web.service"): [(end, 0.2) for end in ends],
        ("tidemark_service_hour_memory_bytes", "web.service"): [(end, 500.0 * MIB) for end in ends],
    }


def test_an_hour_that_is_not_rolled_up_yet_arrives_later_also_after_a_restart(
    fill: Fill, drive: Drive, receiver: Scripted, store: Store, record: Record
) -> None:
    used(record, NOW - 7200)
    fill(NOW - 7200, 1440)
    driven = drive(forward__processes=2, forward__instance="web-1")
    driven.ship()
    assert taken(receiver) == {}
    roll_up(store)
    driven.begin()
    fill(NOW, 2)
    driven.ship()
    assert [ts for ts, _ in taken(receiver)["tidemark_service_hour_cpu_ratio", "web.service"]] == [NOW - 3600]
    fill(NOW + 10, 2)
    driven.ship()
    assert len(taken(receiver)["tidemark_service_hour_cpu_ratio", "web.service"]) == 1


@pytest.mark.parametrize("count", [0, 3])
def test_without_the_setting_no_name_leaves_the_host(
    count: int, fill: Fill, drive: Drive, receiver: Scripted, store: Store, record: Record
) -> None:
    used(record, NOW - 7200)
    roll_up(store)
    fill(NOW - 7200, 1440)
    drive(forward__processes=count, forward__instance="web-1").ship()
    assert bool(taken(receiver)) == bool(count)
    # The name that is empty cannot be a label, and is not taken for a series of the whole host.
    assert all(name for _, name in taken(receiver))


def test_hours_that_are_refused_are_logged_and_stop_nothing(
    fill: Fill, drive: Drive, receiver: Scripted, store: Store, record: Record, caplog: pytest.LogCaptureFixture
) -> None:
    used(record, NOW - 7200)
    roll_up(store)
    fill(NOW - 7200, 1440)
    receiver.refuses = lambda points: "tidemark_process_hour_cpu_ratio" in points
    driven = drive(forward__processes=3, forward__instance="web-1")
    driven.ship()
    assert "hours of names and services are refused: 400 Bad Request" in caplog.text
    assert (driven.row()["sent"], driven.row()["refused"]) == (1440, 0)
    assert receiver.statuses.count(400) == 1
