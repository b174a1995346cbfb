"""What users used, span by span, is what the captures say that lie in each, added up here row by row."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pytest

from service.clock import HOUR
from service.records import ServiceUsage
from service.store import usage_rollups
from service.store.reader import History
from service.store.usages import By
from service.store.user_spans import UserSpans
from service.store.writer import Store
from tests.conftest import NOW, Record

MB = 2**20
# Of an hour more users are kept than there are.
KEPT = 50


class Taken(NamedTuple):
    """One capture on four CPUs, and of each user the CPU seconds and the bytes."""

    ts: int
    covered: float
    used: Mapping[str, tuple[float, int | None]]

    @property
    def middle(self) -> float:
        return self.ts - self.covered / 2


Take = Callable[[By, Sequence[Taken]], None]


@pytest.fixture
def take(record: Record) -> Take:
    """Store captures: names with two processes each, which are stored beside their names."""

    def take(by: By, captures: Sequence[Taken]) -> None:
        for one in captures:
            users = one.used.items()
            if by == "service":
                services = [ServiceUsage(name, "service", cpu, size, 0, 0, 0) for name, (cpu, size) in users]
                record(one.ts, 1.0, covered=one.covered, services=services)
            else:
                first = [(name, 10 + i, cpu * 3 / 4, size or 0) for i, (name, (cpu, size)) in enumerate(users)]
                second = [(name, 90 + i, cpu / 4, 0) for i, (name, (cpu, _)) in enumerate(users)]
                record(one.ts, 1.0, *first, *second, covered=one.covered)

    return take


def expected(
    captures: Sequence[Taken], name: str, start: int, step: int, count: int
) -> tuple[dict[int, float], dict[int, int | None]]:
    """The percentages and the bytes, by number."""
    spans: dict[int, list[Taken]] = {}
    for one in captures:
        if start <= one.middle < start + step * count:
            spans.setdefault(int(one.middle - start) // step, []).append(one)
    percent, size = {}, dict[int, int | None]()
    for number, inside in spans.items():
        mine = [one.used[name] for one in inside if name in one.used]
        percent[number] = 100 * sum(cpu for cpu, _ in mine) / sum(4 * one.covered for one in inside)
        known = [bytes for _, bytes in mine if bytes is not None]
        size[number] = max(known) if known else None if mine else 0
    return percent, size


def assert_spans(
    found: Mapping[str, UserSpans], captures: Sequence[Taken], names: Sequence[str], start: int, step: int, count: int
) -> None:
    assert set(found) == set(names)
    for name in names:
        percent, size = expected(captures, name, start, step, count)
        assert found[name].cpu_percent == pytest.approx(percent), name
        assert found[name].memory_bytes == size, name


def at_random(by: By, times: Sequence[int], covered: float) -> list[Taken]:
    """Users that come and go; of one service the memory is never known, of another now and then."""
    chance = random.Random(6)
    taken = []
    for ts in times:
        used: dict[str, tuple[float, int | None]] = {}
        for name, share in (("steady", 1.0), ("now and then", 0.5), ("rare", 0.1), ("unlisted", 1.0)):
            if chance.random() < share:
                is_known = by == "name" or (name != "steady" and chance.random() < 0.7)
                size = chance.randrange(1, 900) * MB
                used[name] = (chance.randrange(1, 100) / 5, size if is_known else None)
        taken.append(Taken(ts, covered, used))
    return taken


NAMES = ("steady", "now and then", "rare", "never seen")


@pytest.mark.parametrize("by", ["name", "service"])
@pytest.mark.parametrize("step", [60, 100, HOUR - 20, HOUR + 20])
def test_of_captures_each_counts_in_the_span_of_its_middle(history: History, take: Take, by: By, step: int) -> None:
    """Every 20 s, with captures of before the first span, of after the last, and some in a gap."""
    times = [NOW + 20 * number for number in range(1, 500) if number // 12 % 5]
    captures = at_random(by, times, 19.5)
    take(by, captures)
    count = 6000 // step
    for start in (NOW + 1500, NOW + 1507):
        with history.view() as view:
            found = view.user_spans(by, NAMES, start, step, count)
        assert_spans(found, captures, NAMES, start, step, count)
        assert max(found["steady"].cpu_percent.values()) > 0


def test_a_middle_at_the_border_of_two_spans_lies_in_the_later(history: History, take: Take) -> None:
    """A window of two minutes: middles at its start, a moment before it, at the border and at its end, beside them."""
    captures = [
        Taken(NOW + ts, covered, {"job": (cpu, None)})
        for ts, covered, cpu in [
            (4, 8.002, 1.0), (5, 10.0, 2.0), (64, 8.002, 4.0), (65, 10.0, 8.0), (124, 8.002, 16.0), (125, 10.0, 32.0),
        ]
    ]  # fmt: skip
    take("service", captures)
    with history.view() as view:
        found = view.user_spans("service", ["job"], NOW, 60, 2)
    assert found["job"].cpu_percent == pytest.approx({0: 100 * 6 / (4 * 18.002), 1: 100 * 24 / (4 * 18.002)})
    assert found["job"].memory_bytes == {0: None, 1: None}


def test_who_is_in_no_capture_of_a_span_used_nothing_in_it(history: History, take: Take) -> None:
    take("name", [Taken(NOW + 30, 30, {"job": (12.0, 3 * MB)}), Taken(NOW + 90, 30, {}), Taken(NOW + 210, 30, {})])
    with history.view() as view:
        found = view.user_spans("name", ["job", "nobody"], NOW, 60, 4)
        assert view.user_spans("name", [], NOW, 60, 4) == {}
    assert (found["job"].cpu_percent, found["job"].memory_bytes) == ({0: 10.0, 1: 0, 3: 0}, {0: 3 * MB, 1: 0, 3: 0})
    assert (found["nobody"].cpu_percent, found["nobody"].memory_bytes) == ({0: 0, 1: 0, 3: 0}, {0: 0, 1: 0, 3: 0})


@pytest.mark.parametrize("by", ["name", "service"])
@pytest.mark.parametrize(("step", "count"), [(HOUR, 9), (2 * HOUR, 4), (3 * HOUR, 3)])
def test_of_whole_hours_the_hours_answer(
    store: Store, history: History, take: Take, by: By, step: int, count: int
) -> None:
    """Also where captures are gone; hours of before the first span and of after the last are none of them."""
    # One hour of the window has none.
    times = [NOW + 600 * number for number in range(1, 6 * 14 + 1) if (number - 1) // 6 != 5]
    captures = at_random(by, times, 600)
    take(by, captures)
    store.write(lambda statements: [usage_rollups.roll_up(statements, KEPT) for _ in range(20)])
    store.write(lambda statements: statements.run("DELETE FROM capture"))
    start = NOW + 2 * HOUR
    with history.view() as view:
        found = view.user_spans(by, NAMES, start, step, count)
        assert view.user_spans(by, NAMES, start, 1800, count)["steady"].cpu_percent == {}
    assert_spans(found, captures, NAMES, start, step, count)
    assert sorted(found["steady"].cpu_percent) == [number for number in range(count) if (step, number) != (HOUR, 3)]
