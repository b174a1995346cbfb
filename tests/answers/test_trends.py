"""Trend words against the host's own week: through the monitor, on a real file."""

from collections.abc import Callable
from random import Random

import pytest

from service.answers.monitor import ResourceMonitor
from service.answers.trends import UsualShifts
from service.clock import DAY, HOUR, MINUTE
from service.config import Settings
from service.metrics import BY_NAME
from service.store.reader import History
from tests.conftest import NOW, FakeClock, Fill

DAYS = 4
END = NOW + DAYS * DAY
CPU = [BY_NAME["cpu_percent"]]


def minutes(of: Callable[[int, float], float]) -> Callable[[int], float]:
    """CPU by minute from NOW on, made of the minute's number and a draw of noise."""
    random = Random(1)
    drawn = [of(i, random.gauss(0, 1)) for i in range(DAYS * 24 * 60)]
    return lambda i: drawn[i]


def jump(i: int) -> float:
    """12 points from the last 25 minutes on."""
    return 12.0 * (i >= DAYS * 24 * 60 - 25)


QUIET = minutes(lambda i, noise: 20 + noise + jump(i))
RESTLESS = minutes(lambda i, noise: 20 + noise + 12 * (i % 60 >= 35))
JOB = minutes(lambda i, noise: 20 + noise + 30 * (i % 5 == 0))


@pytest.mark.parametrize(("load", "word"), [(QUIET, "increasing"), (RESTLESS, "stable"), (JOB, "stable")])
def test_a_jump_is_a_word_where_the_host_seldom_jumps(
    monitor: ResourceMonitor, fill: Fill, load: Callable[[int], float], word: str
) -> None:
    fill(NOW, DAYS * 24 * 60, interval=60, cpu_percent=load)
    assert monitor.get_usage_trends()["cpu_trend"] == word


def test_a_word_of_the_hour_is_the_same_in_summary_status_and_after_a_restart(
    monitor: ResourceMonitor, history: History, settings: Settings, clock: FakeClock, fill: Fill
) -> None:
    fill(NOW, DAYS * 24 * 60, interval=60, cpu_percent=QUIET)
    clock.wall = float(END - MINUTE)
    words = {monitor.get_usage_trends()["cpu_trend"], monitor.status().words["cpu_percent"]}
    words.add(ResourceMonitor(history, settings, clock).get_usage_trends()["cpu_trend"])
    found = monitor.summary().metrics["cpu_percent"].trend
    assert words | {found.word} == {"increasing"}
    assert found.change_per_hour == pytest.approx(12, abs=1.5)
    assert found.p_value is not None
    assert found.p_value < 0.05


def test_what_is_learnt_hour_by_hour_is_what_is_learnt_at_once(history: History, fill: Fill) -> None:
    fill(NOW, DAYS * 24 * 60, interval=60, cpu_percent=RESTLESS)
    grown, ends = UsualShifts(), range(NOW + DAY, END, 7 * HOUR)
    with history.view() as view:
        for end in ends:
            assert grown.of(view, CPU, end) == UsualShifts().of(view, CPU, end)
        assert len(grown.of(view, CPU, END)["cpu_percent"]) > 500


def test_a_day_is_too_little_to_compare_with(monitor: ResourceMonitor, fill: Fill) -> None:
    short = 24 * 60
    fill(NOW, short, interval=60, cpu_percent=lambda i: QUIET(i + DAYS * 24 * 60 - short))
    assert monitor.get_usage_trends()["cpu_trend"] == "stable"
