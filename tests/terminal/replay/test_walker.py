"""Where each move leads, over a real history and without a screen."""

import pytest

from service.answers.monitor import ResourceMonitor
from service.answers.replay import Spot
from service.clock import DAY
from service.errors import HistoryUnreadable
from service.terminal.replay.walker import ZOOMS, Walker
from tests.conftest import NOW, Fill
from tests.terminal.replay.conftest import ENDS, GOES_ON, PEAK, STOPS


def place(walker: Walker) -> tuple[str, int]:
    """Of what kind it is, and where it ends, in seconds after NOW; of a gap where it begins."""
    spot = walker.spot
    return spot.kind, (spot.start if spot.kind == "gap" else spot.end) - NOW


def users(walker: Walker) -> list[str]:
    found = walker.shown(5).seen.users
    return [] if found is None else [user.name for user in found.processes]


def test_it_begins_at_the_busiest_minute_and_names_who_made_it(walker: Walker) -> None:
    assert place(walker) == ("capture", PEAK + 30)
    assert users(walker)[0] == "restic"
    assert walker.message.startswith("the busiest minute")


def test_it_begins_at_the_time_that_is_asked_for(morning: None, monitor: ResourceMonitor) -> None:
    walker = Walker(monitor.replay(), monitor.write, at=NOW + 100)
    assert place(walker) == ("capture", 120)
    assert users(walker) == ["cron", "sshd"]


def test_an_empty_history_has_no_place(monitor: ResourceMonitor) -> None:
    with pytest.raises(HistoryUnreadable, match="no sample has been stored yet"):
        Walker(monitor.replay(), monitor.write)


def test_left_and_right_move_one_capture(walker: Walker) -> None:
    walker.beside(is_later=True)
    assert place(walker) == ("capture", PEAK + 60)
    walker.beside(is_later=False)
    walker.beside(is_later=False)
    assert place(walker) == ("capture", PEAK)
    assert users(walker)[0] == "cron"


@pytest.mark.parametrize(("begin", "is_later"), [(1770, True), (GOES_ON + 30, False)])
def test_a_gap_on_the_way_is_a_step_that_says_its_reason(walker: Walker, begin: int, is_later: bool) -> None:
    walker.go(NOW + begin)
    walker.beside(is_later)
    assert place(walker) == ("gap", STOPS)
    assert walker.spot.reason == "suspended"
    assert walker.shown(5).seen.values["cpu_percent"] is None
    walker.beside(is_later)
    assert place(walker) == ("capture", GOES_ON + 30 if is_later else 1770)


def test_the_newest_and_the_oldest_capture_are_where_it_ends(walker: Walker) -> None:
    walker.end()
    assert place(walker) == ("capture", ENDS - 25)
    walker.beside(is_later=True)
    assert (place(walker), walker.message) == (("capture", ENDS - 25), "this is the newest")
    walker.home()
    assert place(walker) == ("capture", 30)
    walker.beside(is_later=False)
    assert place(walker) == ("capture", 30)
    assert walker.message.startswith("the history begins at 2026-01-05T10:00:00Z")


def test_next_and_previous_are_peaks_and_gaps_in_their_order(walker: Walker) -> None:
    walker.home()
    walker.landmark(is_later=True)
    assert place(walker) == ("capture", PEAK + 30)
    walker.landmark(is_later=True)
    assert place(walker) == ("gap", STOPS)
    walker.landmark(is_later=True)
    assert (place(walker), walker.message) == (("gap", STOPS), "no later peak or gap")
    walker.landmark(is_later=False)
    assert place(walker) == ("capture", PEAK + 30)
    walker.landmark(is_later=False)
    assert (place(walker), walker.message) == (("capture", PEAK + 30), "no earlier peak or gap")


def test_a_search_that_finds_nothing_in_many_windows_goes_on_from_there(fill: Fill, monitor: ResourceMonitor) -> None:
    fill(NOW, 120, interval=3600, cpu_percent=10)
    walker = Walker(monitor.replay(), monitor.write, at=NOW)
    walker.landmark(is_later=True)
    assert walker.message.endswith("on with n")
    assert NOW + 3600 < walker.spot.end < NOW + DAY


def test_a_name_is_found_in_the_next_capture_that_it_used(walker: Walker) -> None:
    walker.home()
    walker.find("REST")
    assert place(walker) == ("capture", PEAK + 30)
    assert walker.found(is_later=True)
    assert place(walker) == ("capture", PEAK + 60)
    assert not walker.found(is_later=True)
    assert walker.message == "no process with REST in its name used CPU later"
    walker.end()
    walker.find("")
    assert place(walker) == ("capture", PEAK + 60)
    assert walker.message == "REST: none later; this is the last one before"


@pytest.mark.parametrize("text", ["sshd", "nobody", "%", "\x1b[2J"])
def test_a_name_that_hardly_used_anything_or_is_none_is_not_found(walker: Walker, text: str) -> None:
    before = walker.spot
    walker.find(text)
    assert walker.spot == before
    assert walker.message.startswith("no process with ")
    assert walker.message.isprintable()


def test_services_are_found_once_they_are_shown(walker: Walker) -> None:
    walker.home()
    walker.next_users()
    walker.find("backup")
    assert place(walker) == ("capture", PEAK + 30)
    assert users(walker) == ["backup.service"]


@pytest.mark.parametrize(("asked", "message"), [(-DAY, "the history begins at "), (9 * DAY, "the history ends at ")])
def test_a_time_beyond_the_history_leads_to_its_end(walker: Walker, asked: int, message: str) -> None:
    walker.go(NOW + asked)
    assert walker.message.startswith(message)
    assert 0 <= walker.spot.end - NOW <= ENDS


def test_a_time_within_a_gap_is_there(walker: Walker) -> None:
    walker.go(NOW + 2500)
    assert walker.spot == Spot(NOW + STOPS, NOW + GOES_ON - 5, "gap", NOW + 2500, "suspended")


def test_the_window_holds_where_one_stands_whatever_the_zoom(walker: Walker) -> None:
    for on in (-1, -1, -1, *[1] * len(ZOOMS), -1, -1):
        walker.zoomed(on)
        width = walker.columns * walker.step
        assert walker.start <= walker.spot.at < walker.start + width
        assert walker.start % walker.step == 0
        assert len(walker.shown(3).course.averages) == walker.columns
        walker.screen_on(is_later=on > 0)
        assert walker.start <= walker.spot.at < walker.start + width


def test_a_screen_and_a_column_move_by_so_much(walker: Walker) -> None:
    walker.zoomed(-2)
    at, start = walker.spot.at, walker.start
    walker.columns_on(-6)
    assert walker.spot.at == pytest.approx(at - 60, abs=30)
    assert walker.start == start
    walker.screen_on(is_later=False)
    assert walker.spot.at == pytest.approx(at - 760, abs=30)
    assert walker.start == start - 700


def test_metrics_follow_each_other_without_those_that_this_host_lacks(walker: Walker) -> None:
    seen = []
    for _ in range(30):
        walker.next_metric()
        seen.append(walker.metric)
    assert "memory_percent" in seen
    assert "swap_percent" not in seen
    assert walker.shown(3).metric == seen[-1]
    walker.next_metric(-1)
    assert walker.metric == seen[-2]


def test_new_samples_are_seen_by_the_next_move(walker: Walker, fill: Fill) -> None:
    walker.end()
    fill(NOW + ENDS + 5, 120, cpu_percent=20)
    walker.end()
    assert walker.spot.end == NOW + ENDS + 600


def test_where_samples_are_kept_without_captures_one_moves_by_columns(fill: Fill, monitor: ResourceMonitor) -> None:
    fill(NOW, 720, cpu_percent=10)
    walker = Walker(monitor.replay(), monitor.write, at=NOW + 600)
    walker.beside(is_later=True)
    assert place(walker) == ("sample", 660)
    assert walker.shown(3).seen.users is None
    assert walker.shown(3).seen.values["cpu_percent"] == 10
