"""What of the history comes next for a target: in its order, each sample once, across boots and set clocks."""

from collections.abc import Callable
from typing import Any

import pytest

from service.records import Break
from service.store import forwards
from service.store.forwards import Forward, Plan, Position
from service.store.statements import Statements
from service.store.writer import Store
from tests.conftest import NOW, Fill

BEFORE_ALL, LATE, A = Position(0, 0), NOW + 10**6, "a"

Ask = Callable[..., Any]


@pytest.fixture
def ask(store: Store) -> Ask:
    """Run a function of the room: `ask(forwards.plan, after, limit, latest)`."""
    return lambda function, *given: store.write(lambda statements: function(statements, *given))


def stamps(ask: Ask, after: Position, until: Position, limit: int = 1000) -> list[list[int]]:
    return [[row[0] for row in piece.rows] for piece in ask(forwards.pieces, after, until, limit)]


@pytest.fixture
def set_back(fill: Fill) -> None:
    """Ten seconds; then the clock was set back by five, and ten more."""
    fill(NOW, 10, interval=1)
    fill(NOW + 5, 10, interval=1, begins=Break(NOW + 9, "clock_step"))


SECOND_ENDS = Position(2, NOW + 14)


@pytest.mark.usefixtures("set_back")
def test_each_sample_comes_once_in_the_order_in_which_it_was_taken(ask: Ask) -> None:
    assert ask(forwards.plan, BEFORE_ALL, 1000, LATE) == Plan(SECOND_ENDS, 20, None, False)
    assert stamps(ask, BEFORE_ALL, SECOND_ENDS) == [list(range(NOW, NOW + 10)), list(range(NOW + 5, NOW + 15))]
    assert ask(forwards.between, BEFORE_ALL, SECOND_ENDS, None) == 20
    assert ask(forwards.plan, SECOND_ENDS, 1000, LATE) == Plan(None, 0, None, False)


@pytest.mark.usefixtures("set_back")
@pytest.mark.parametrize("limit", [1, 3, 10, 11, 19])
def test_a_limit_is_kept_to_the_sample_and_the_next_step_goes_on_after_it(ask: Ask, limit: int) -> None:
    plan = ask(forwards.plan, BEFORE_ALL, limit, LATE)
    assert plan.samples == limit
    first = ask(forwards.pieces, BEFORE_ALL, SECOND_ENDS, limit)
    assert sum(len(piece.rows) for piece in first) == limit
    assert first[-1].end == plan.end
    rest = ask(forwards.plan, plan.end, 1000, LATE)
    assert (rest.end, rest.samples) == (SECOND_ENDS, 20 - limit)
    assert ask(forwards.between, plan.end, SECOND_ENDS, None) == 20 - limit


@pytest.mark.usefixtures("set_back")
def test_what_comes_up_to_a_place_ends_with_it(ask: Ask) -> None:
    assert stamps(ask, Position(1, NOW + 7), Position(1, NOW + 9)) == [[NOW + 8, NOW + 9]]
    assert stamps(ask, Position(1, NOW + 8), Position(2, NOW + 5)) == [[NOW + 9], [NOW + 5]]
    assert stamps(ask, SECOND_ENDS, SECOND_ENDS) == []
    assert ask(forwards.between, BEFORE_ALL, SECOND_ENDS, NOW + 5) == 5
    assert ask(forwards.stamps_until, NOW + 4, NOW + 6, SECOND_ENDS) == (2, NOW + 4 + NOW + 5)
    assert ask(forwards.stamps_until, NOW + 10, NOW + 20, Position(1, NOW + 9)) == (0, 0)


@pytest.mark.usefixtures("set_back")
def test_the_rest_of_a_stretch_is_what_comes_in_it_after_a_place(ask: Ask) -> None:
    assert ask(forwards.rest_of, Position(1, NOW + 3)) == (Position(1, NOW + 9), 6)
    assert ask(forwards.rest_of, SECOND_ENDS) == (SECOND_ENDS, 0)
    assert ask(forwards.rest_of, Position(1, NOW + 9)) == (Position(1, NOW + 9), 0)
    assert ask(forwards.rest_of, Position(3, NOW)) == (Position(3, NOW), 0)


def test_nothing_at_or_after_the_end_that_is_asked_for_is_planned(ask: Ask, fill: Fill) -> None:
    fill(NOW, 10, interval=1)
    assert ask(forwards.plan, BEFORE_ALL, 1000, LATE, NOW + 5) == Plan(Position(1, NOW + 4), 5, None, False)


def test_what_is_stamped_later_than_the_receiver_takes_is_held(ask: Ask, fill: Fill) -> None:
    fill(NOW, 10, interval=1)
    held = Position(1, NOW + 5)
    assert ask(forwards.plan, BEFORE_ALL, 1000, NOW + 4.9) == Plan(Position(1, NOW + 4), 5, held, False)
    assert ask(forwards.plan, Position(1, NOW + 4), 1000, NOW + 4.9) == Plan(None, 0, held, False)
    # Those before it come first.
    assert ask(forwards.plan, BEFORE_ALL, 3, NOW + 4.9) == Plan(Position(1, NOW + 2), 3, None, False)


@pytest.mark.parametrize(("start", "is_wrong"), [(-1, True), (0, False)])
def test_a_held_stamp_is_of_a_wrong_clock_only_where_a_later_stretch_begins_before_it(
    ask: Ask, fill: Fill, start: int, is_wrong: bool
) -> None:
    """It begins an interval before its first sample."""
    fill(NOW, 1)
    fill(NOW + 3600, 1, begins=Break(NOW, "down"))
    fill(NOW + 3600 + start + 5, 1, begins=Break(NOW + 3600, "clock_step"))
    planned = ask(forwards.plan, BEFORE_ALL, 1000, NOW + 60)
    assert planned == Plan(Position(1, NOW), 1, Position(2, NOW + 3600), is_wrong)


def test_a_salvaged_stretch_is_not_cut_by_a_later_one_that_knows_nothing_of_it(ask: Ask, fill: Fill) -> None:
    fill(NOW, 3)
    fill(NOW + 600, 3, begins=Break(NOW - 600, "storage"))
    fill(NOW + 1200, 3)
    assert [len(piece) for piece in stamps(ask, BEFORE_ALL, Position(3, LATE))] == [3, 3, 3]
    assert ask(forwards.plan, BEFORE_ALL, 1000, LATE) == Plan(Position(3, NOW + 1210), 9, None, False)


@pytest.mark.usefixtures("set_back")
def test_what_is_sent_from_a_second_on_begins_with_its_sample(ask: Ask) -> None:
    at = ask(forwards.position_before, NOW + 7)
    assert stamps(ask, at, SECOND_ENDS)[0][0] == NOW + 7
    assert stamps(ask, ask(forwards.position_before, NOW + 12), SECOND_ENDS) == [[NOW + 12, NOW + 13, NOW + 14]]


def test_from_a_second_that_is_still_to_come_nothing_of_now_is_sent(ask: Ask, fill: Fill) -> None:
    assert ask(forwards.position_before, NOW) == Position(0, NOW - 1)
    fill(NOW, 3)
    at = ask(forwards.position_before, NOW + 60)
    assert at == Position(1, NOW + 59)
    fill(NOW + 60, 1)
    assert stamps(ask, at, Position(2, LATE)) == [[NOW + 60]]


def test_a_boot_begins_with_its_first_run(ask: Ask, store: Store, fill: Fill) -> None:
    fill(NOW, 2)
    store.begin_run(NOW + 60, NOW - 1000, "boot-1", "0.1.0", 5)
    fill(NOW + 60, 2, begins=Break(NOW + 5, "down"))
    store.begin_run(NOW + 600, NOW + 500, "boot-2", "0.1.0", 5)
    fill(NOW + 600, 2, begins=Break(NOW + 65, "rebooted"))
    begins = [ask(forwards.boot_begins, Position(stretch, NOW)) for stretch in (1, 2, 3)]
    assert begins == [Position(1, -1), Position(1, -1), Position(3, -1)]
    assert ask(forwards.boot_begins, Position(9, NOW)) is None


def test_where_a_boot_has_no_name_it_is_known_by_its_time_to_a_minute(ask: Ask, store: Store, fill: Fill) -> None:
    for number, boot in enumerate((NOW - 1000, NOW - 1000 + 60, NOW - 1000 + 121)):
        store.begin_run(NOW + 100 * number, boot, None, "0.1.0", 5)
        fill(NOW + 100 * number, 1)
    begins = [ask(forwards.boot_begins, Position(stretch, NOW)) for stretch in (1, 2, 3)]
    assert begins == [Position(1, -1), Position(1, -1), Position(3, -1)]


# -- the row of a target


def row(statements: Statements) -> Forward:
    found = forwards.load(statements, A)
    assert found is not None
    return found


@pytest.fixture
def begun(ask: Ask) -> Forward:
    ask(forwards.begin, A, Position(1, NOW + 4), "{}")
    found = ask(row)
    assert isinstance(found, Forward)
    return found


@pytest.mark.usefixtures("set_back")
def test_a_target_begins_once_where_it_is_told_to(ask: Ask, begun: Forward) -> None:
    assert (begun.place, begun.flight) == ((Position(1, NOW + 4), None, None), None)
    assert (begun.sent, begun.refused, begun.resent, begun.skipped, begun.last_error) == (0, 0, 0, 0, None)
    ask(forwards.begin, A, Position(2, NOW), "{}")
    assert ask(row) == begun
    assert ask(forwards.load, "b") is None


@pytest.mark.usefixtures("set_back")
def test_a_step_that_is_written_twice_counts_once(ask: Ask, begun: Forward) -> None:
    announced = begun._replace(flight_stretch_id=1, flight_ts=NOW + 9, skipped=2)
    for _ in range(2):
        ask(forwards.advance, begun, announced)
    assert ask(row) == announced
    assert announced.place == (Position(1, NOW + 4), Position(1, NOW + 9), None)
    sent = announced._replace(ts=NOW + 9, flight_stretch_id=None, flight_ts=None, sent=5, skipped=3)
    for _ in range(2):
        ask(forwards.advance, announced, sent)
    assert ask(row) == sent


@pytest.mark.usefixtures("set_back")
def test_what_is_put_back_is_sent_again(ask: Ask, begun: Forward) -> None:
    ask(forwards.advance, begun, begun._replace(ts=NOW + 9, flight_stretch_id=2, flight_ts=NOW + 6))
    ask(forwards.put_back, A, Position(1, NOW + 1), '{"x": 1}', "there")
    found = ask(row)
    assert (found.place, found.counters, found.known) == ((Position(1, NOW + 1), None, "there"), '{"x": 1}', "{}")
    assert ask(forwards.waiting, A) == 18


@pytest.mark.usefixtures("set_back", "begun")
def test_how_much_waits_and_since_when(ask: Ask) -> None:
    assert ask(forwards.waiting, A) == 15
    assert ask(forwards.lag_seconds, A) == 10
    assert (ask(forwards.waiting, "b"), ask(forwards.lag_seconds, "b")) == (0, None)
    # The second stretch begins at NOW + 4, too.
    assert ask(forwards.oldest_waiting, A) == NOW + 4
    assert ask(forwards.oldest_waiting, "b") is None
    ask(forwards.put_back, A, Position(1, NOW + 8), "{}", None)
    assert ask(forwards.oldest_waiting, A) == NOW + 4
    ask(forwards.put_back, A, SECOND_ENDS, "{}", None)
    assert (ask(forwards.oldest_waiting, A), ask(forwards.waiting, A)) == (NOW + 14, 0)


@pytest.mark.usefixtures("set_back")
def test_pruned_samples_count_as_skipped_where_they_were_never_announced(ask: Ask, begun: Forward) -> None:
    ask(forwards.count_pruned, NOW + 8)
    # 5, 6, 7 of the first stretch and of the second.
    assert ask(row).skipped == 6
    ask(forwards.advance, begun, begun._replace(flight_stretch_id=2, flight_ts=NOW + 6))
    ask(forwards.count_pruned, NOW + 9)
    # 7 and 8 of the second.
    assert ask(row).skipped == 8


@pytest.mark.usefixtures("set_back", "begun")
def test_an_error_is_noted_with_its_time_for_its_target_alone(ask: Ask) -> None:
    ask(forwards.begin, "b", BEFORE_ALL, "{}")
    ask(forwards.note_error, A, "refused", NOW)
    assert (ask(row).last_error, ask(row).last_error_at) == ("refused", NOW)
    assert ask(forwards.load, "b").last_error is None
