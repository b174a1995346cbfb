"""From capture to capture, and by hours where captures are gone."""

import pytest

from service.clock import DAY, HOUR
from service.records import ServiceUsage
from service.store import usage_rollups
from service.store.reader import History
from service.store.walk import Step
from service.store.writer import Store
from tests.conftest import NOW, Record

RESTIC = ("restic", 7, 60.0, 10**6)
CRON = ("cron", 1, 3.0, 10**6)


@pytest.fixture
def hours(store: Store, record: Record) -> None:
    """Four hours from NOW on, a capture every ten minutes, of which those of the first two are gone. restic ran in the
    second hour and in the last half of the fourth."""
    service = ServiceUsage("backup.service", "service", 60.0, None, None, None, None)
    for ts in range(600, 4 * HOUR + 600, 600):
        uses = [RESTIC] if HOUR < ts <= 2 * HOUR or ts > 3.5 * HOUR else []
        record(NOW + ts, 80.0, *uses, CRON, covered=600, services=[service] if uses else [])
    while store.write(lambda statements: usage_rollups.roll_up(statements, 5)):
        pass
    store.write(lambda statements: usage_rollups.prune(statements, NOW + 2 * HOUR, NOW - DAY, 10_000))


def capture(end: int, seconds: int = 600) -> Step:
    return Step(NOW + end - seconds, NOW + end, "capture")


def hour(start: int) -> Step:
    return Step(NOW + start, NOW + start + HOUR, "hour")


@pytest.mark.parametrize(
    ("ts", "step"),
    [
        (-1, None),
        (0, hour(0)),
        (HOUR + 5, hour(HOUR)),
        (2 * HOUR - 1, hour(HOUR)),
        (2 * HOUR + 1, capture(2 * HOUR + 600)),
        (3 * HOUR, capture(3 * HOUR)),
        (3 * HOUR + 1, capture(3 * HOUR + 600)),
        (4 * HOUR + 601, None),
    ],
)
def test_a_moment_lies_in_its_capture_or_in_its_hour_where_captures_are_gone(
    hours: None, history: History, ts: int, step: Step | None
) -> None:
    with history.view() as view:
        assert view.step_at(NOW + ts) == step


def test_every_step_follows_the_one_before_it_and_back(hours: None, history: History) -> None:
    expected = [hour(0), hour(HOUR), *(capture(2 * HOUR + 600 * n) for n in range(1, 13))]
    there, back = [], []
    with history.view() as view:
        step = view.step_after(NOW - DAY)
        while step is not None:
            there.append(step)
            step = view.step_after(step.end)
        step = view.step_before(NOW + DAY)
        while step is not None:
            back.append(step)
            step = view.step_before(step.start)
    assert there == expected
    assert back == expected[::-1]


@pytest.mark.parametrize(
    ("text", "ts", "is_later", "step"),
    [
        ("restic", 0, True, hour(HOUR)),
        ("EST", 2 * HOUR, True, capture(int(3.5 * HOUR) + 600)),
        ("restic", 2 * HOUR, False, hour(HOUR)),
        ("restic", int(3.5 * HOUR), False, hour(HOUR)),
        ("restic", HOUR, False, None),
        ("restic", 4 * HOUR + 600, True, None),
        ("cron", 2 * HOUR, True, capture(2 * HOUR + 600)),
        ("", 2 * HOUR + 600, False, capture(2 * HOUR + 600)),
        ("r%c", 0, True, None),
        ("no such", 0, True, None),
    ],
)
def test_a_name_is_found_where_it_used_the_machine(
    hours: None, history: History, text: str, ts: int, is_later: bool, step: Step | None
) -> None:
    with history.view() as view:
        assert view.step_using(text, "name", NOW + ts, is_later) == step


def test_a_service_is_found_like_a_name(hours: None, history: History) -> None:
    with history.view() as view:
        assert view.step_using("backup", "service", NOW, True) == hour(HOUR)
        assert view.step_using("backup", "service", NOW + DAY, False) == capture(4 * HOUR)
        assert view.step_using("restic", "service", NOW, True) is None


def test_what_used_less_than_a_thousandth_of_the_machine_is_not_found(record: Record, history: History) -> None:
    record(NOW + 30, 60.0, ("idle", 1, 0.119, 10**6))
    record(NOW + 60, 60.0, ("idle", 1, 0.12, 10**6))
    with history.view() as view:
        assert view.step_using("idle", "name", NOW, True) == capture(60, 30)
