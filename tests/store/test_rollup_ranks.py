"""Of many rows the largest values are those that sorting all of them gives, though a guess tells which are read."""

import itertools
import random
from collections.abc import Callable, Mapping, Sequence
from math import isqrt
from typing import Any

import pytest

from service.clock import MINUTE
from service.metrics import BY_NAME
from service.records import Break, Sample
from service.store.reader import History
from service.store.rollup_ranks import RollupRows, Top
from service.store.statements import Parameters, Row, Statements
from service.store.tiers import MINUTES, Segment
from service.store.writer import Store
from tests.conftest import NOW, Fill

COUNT = 4500
COUNTER = "network_sent_bytes"
NAMES = ("cpu_percent", "load_1", "load_5", "memory_percent", "disk_percent", COUNTER)
METRICS = [BY_NAME[name] for name in NAMES]
# Up to so many rows are all read.
FEW = 2000


@pytest.fixture
def totals() -> list[float | None]:
    """Of the counter: it begins again now and then, and is not always known; whole bytes a second, as text that SQLite
    makes of others has no more than 15 digits."""
    chance, total = random.Random(3), 0
    found = []
    for _ in range(COUNT):
        total = 0 if chance.random() < 0.01 else total + MINUTE * chance.randrange(10**7)
        found.append(None if chance.random() < 0.05 else float(total))
    return found


@pytest.fixture
def values(totals: list[float | None]) -> dict[str, list[float | None]]:
    """One a minute from NOW on: noise, values that are rarely known, rare peaks, ties, growth, rates."""
    chance = random.Random(4)
    rates = [
        None if before is None or after is None or after < before else (after - before) / MINUTE
        for before, after in itertools.pairwise(totals)
    ]
    return {
        "cpu_percent": [chance.randrange(10_000) / 100 for _ in range(COUNT)],
        "load_1": [chance.randrange(9) / 4 if number % 90 == 7 else None for number in range(COUNT)],
        "load_5": [50.0 if number % 30 == 1 else 1.0 for number in range(COUNT)],
        "memory_percent": [40.0] * COUNT,
        "disk_percent": [round(number / COUNT * 90, 2) for number in range(COUNT)],
        COUNTER: [None, *rates],
    }


FillMinutes = Callable[[Mapping[str, Sequence[float | None]]], None]


@pytest.fixture
def fill_minutes(store: Store, fill: Fill) -> FillMinutes:
    """Store a sample a minute from NOW on, with these values, and roll them up."""

    def fill_minutes(columns: Mapping[str, Sequence[float | None]]) -> None:
        store.begin_run(NOW, None, None, "0.1.0", MINUTE)
        (count,) = {len(column) for column in columns.values()}
        fill(NOW, count, interval=MINUTE, **{name: column.__getitem__ for name, column in columns.items()})
        while store.roll_up():
            pass

    return fill_minutes


@pytest.fixture
def stored(
    fill_minutes: FillMinutes, values: dict[str, list[float | None]], totals: list[float | None]
) -> dict[str, list[float | None]]:
    """`values`, rolled up."""
    fill_minutes({**values, COUNTER: totals})
    return values


class Watched(Statements):
    """Counts the values that are read to be sorted here, by the place of their metric."""

    def row(self, sql: str, parameters: Parameters = ()) -> Row | None:
        found = super().row(sql, parameters)
        if ":0" in sql and "group_concat" in sql:
            assert found is not None
            self.read = [(text.count(",") + 1) // 2 if text else 0 for text in found]
        return found


Ask = Callable[..., tuple[dict[str, Top], dict[str, int]]]


@pytest.fixture
def ask(history: History) -> Ask:
    """What is found among the minutes from the first to before the last, and how many of each metric are read."""

    def ask(first: int, last: int, count: int, names: Sequence[str]) -> tuple[dict[str, Top], dict[str, int]]:
        def work(statements: Statements) -> tuple[dict[str, Top], dict[str, int]]:
            watched = Watched(statements._connection)
            watched.read = []
            rows = RollupRows(watched, Segment(MINUTES, NOW + MINUTE * first, NOW + MINUTE * last), NOW, MINUTE)
            found = rows.largest([BY_NAME[name] for name in names], count)
            return found, dict(zip([name for name in names if name in found], watched.read, strict=False))

        with history.view(seconds=300) as view:
            return view.read(work)

    return ask


def greatest(column: Sequence[float | None], first: int, last: int) -> list[float]:
    return sorted((value for value in column[first:last] if value is not None), reverse=True)


def assert_top(top: Top, name: str, column: Sequence[float | None], first: int, last: int, count: int) -> None:
    known = greatest(column, first, last)
    assert list(top.averages) == pytest.approx(known[:count]), name
    assert list(top.weights) == [60.0] * min(count, len(known))
    # Maxima are stored as integers, of rates in whole bytes.
    scale = 1 if name == COUNTER else BY_NAME[name].scale
    assert top.high == int(round(known[0] * scale, 6))
    maxima = [None if value is None else int(round(value * scale, 6)) for value in column[first:last]]
    assert top.number == first + maxima.index(top.high)


def test_they_are_those_of_the_buckets_however_many_are_asked_for(
    history: History, stored: dict[str, list[float | None]]
) -> None:
    first, last = 30, COUNT - 20
    start, end = NOW + first * MINUTE, NOW + last * MINUTE
    for count in (1, 40, 260, 5000):
        with history.view(seconds=300) as view:
            found = view.largest(METRICS, start, end, MINUTE, MINUTE, count)
        for name in NAMES:
            known = greatest(stored[name], first, last)
            assert list(found[name].averages) == pytest.approx(known[:count]), (name, count)
            assert set(found[name].weights) <= {60.0}
            whole = [-1 if value is None else int(round(value * 100, 6)) for value in stored[name][first:last]]
            if name == COUNTER:
                whole = [number // 100 for number in whole]
            assert found[name].highest == whole.index(max(whole)), (name, count)


@pytest.mark.parametrize("count", [1, 300, 700])
def test_a_guess_from_every_third_row_tells_which_are_read(
    ask: Ask, stored: dict[str, list[float | None]], count: int
) -> None:
    """Of 4400 rows. A third of the asked for are expected among them, and two standard deviations more."""
    names = ("cpu_percent", "disk_percent", COUNTER)
    first, last = 31, 4431
    rank = count // 3 + 2 * isqrt(count // 3) + 1
    found, read = ask(first, last, count, names)
    assert set(found) == set(names)
    for name in names:
        some = greatest([stored[name][number] for number in range(first, last) if number % 3 == 0], 0, last)
        known = greatest(stored[name], first, last)
        assert read[name] == sum(value >= some[rank] for value in known) >= count
        assert_top(found[name], name, stored[name], first, last, count)


def test_of_what_hardly_changes_the_guess_finds_far_too_many(ask: Ask, stored: Any) -> None:
    """Then nothing is read of it, and all is sorted elsewhere."""
    found, read = ask(0, 4400, 40, ("memory_percent", "cpu_percent"))
    assert list(found) == list(read) == ["cpu_percent"]
    assert read["cpu_percent"] < 400
    assert ask(0, 4400, 40, ("memory_percent",)) == ({}, {})


def test_of_what_is_rarely_known_all_is_read(ask: Ask, stored: dict[str, list[float | None]]) -> None:
    """A value in 90 minutes, 49 in all: too few to guess from."""
    found, read = ask(0, 4400, 300, ("load_1",))
    assert read["load_1"] == 49
    assert_top(found["load_1"], "load_1", stored["load_1"], 0, 4400, 300)


@pytest.mark.parametrize(("rows", "is_guessed"), [(FEW, False), (FEW + 1, True)])
def test_few_rows_are_all_read(ask: Ask, stored: dict[str, list[float | None]], rows: int, is_guessed: bool) -> None:
    found, read = ask(7, 7 + rows, 40, ("cpu_percent", "memory_percent"))
    assert ("memory_percent" in found) is not is_guessed
    assert (read["cpu_percent"] < rows) is is_guessed
    assert_top(found["cpu_percent"], "cpu_percent", stored["cpu_percent"], 7, 7 + rows, 40)


def spread(count: int) -> list[float | None]:
    """Different values below 60, in no order."""
    return [number * 7919 % 6000 / 100 for number in range(count)]


@pytest.mark.parametrize(("ties", "is_found"), [(9, True), (10, True), (11, False)])
def test_a_guess_is_dropped_where_more_than_twice_as_many_reach_it(
    fill_minutes: FillMinutes, ask: Ask, ties: int, is_found: bool
) -> None:
    """Of 2400 rows every second is looked at, and the fifth greatest of these is the guess for the two greatest of all:
    one is expected there, and three more may be. Ten are twice five."""
    column = spread(2500)
    column[100 : 100 + 2 * ties : 2] = [90.0] * ties
    fill_minutes({"cpu_percent": column})
    found, read = ask(0, 2400, 2, ("cpu_percent",))
    assert read == ({"cpu_percent": ties} if is_found else {})
    assert [list(top.averages) for top in found.values()] == ([[90.0, 90.0]] if is_found else [])


@pytest.mark.parametrize(("known", "read"), [(4, 10), (5, 5), (6, 5)])
def test_a_guess_needs_five_values_where_the_fifth_is_it(
    fill_minutes: FillMinutes, ask: Ask, known: int, read: int
) -> None:
    """As above; those that are known in the rows between are less."""
    column: list[float | None] = [None] * 2500
    column[100 : 100 + 2 * known : 2] = [80.0 - number for number in range(known)]
    column[201:213:2] = [1.0] * 6
    fill_minutes({"cpu_percent": column})
    found, were_read = ask(0, 2400, 2, ("cpu_percent",))
    assert were_read == {"cpu_percent": read}
    assert list(found["cpu_percent"].averages) == [80.0, 79.0]


def test_a_guess_that_finds_too_few_is_dropped(fill_minutes: FillMinutes, ask: Ask) -> None:
    """All great values lie in the rows that are looked at."""
    column = spread(2500)
    column[100:500:2] = [70 + number / 10 for number in range(200)]
    fill_minutes({"cpu_percent": column})
    assert ask(0, 2400, 100, ("cpu_percent",))[0] == {}


def test_the_rows_at_both_ends_of_a_window_count_and_none_beside_them(fill_minutes: FillMinutes, ask: Ask) -> None:
    column = spread(2500)
    column[9:11], column[2309:2311] = [99.0, 70.0], [80.0, 98.0]
    fill_minutes({"cpu_percent": column})
    top = ask(10, 2310, 3, ("cpu_percent",))[0]["cpu_percent"]
    third = greatest(column, 11, 2309)[0]
    assert list(top.averages) == [80.0, 70.0, third]
    assert (top.high, top.number) == (8000, 2309)


def test_a_row_weighs_the_time_in_which_the_metric_was_known(store: Store, ask: Ask) -> None:
    """Where a metric was known for a part of a minute; a counter's average is over that part."""
    shown = [(20.0, 0.0), (None, 300.0), (40.0, 600.0), (60.0, 4200.0)]
    samples = [
        Sample(NOW + 30 + 30 * number, 29.5, {"cpu_percent": cpu, COUNTER: total})
        for number, (cpu, total) in enumerate(shown)
    ]
    store.begin_run(NOW, None, None, "0.1.0", 30)
    store.append([*samples, Sample(NOW + 7200, 30.0, {}, Break(NOW + 150, "stopped"))])
    while store.roll_up():
        pass
    found, _ = ask(0, 60, 9, ("cpu_percent", COUNTER, "load_1"))
    cpu, sent, load = found["cpu_percent"], found[COUNTER], found["load_1"]
    assert (list(cpu.averages), list(cpu.weights), cpu.high, cpu.number) == (
        [60.0, 40.0, 20.0],
        [29.5, 29.5, 29.5],
        6000,
        2,
    )
    assert (list(sent.averages), list(sent.weights)) == (pytest.approx([3600 / 29.5, 600 / 59]), [29.5, 59.0])
    assert (sent.high, sent.number) == (int(3600 / 29.5), 2)
    assert (list(load.averages), list(load.weights), load.high, load.number) == ([], [], None, None)
