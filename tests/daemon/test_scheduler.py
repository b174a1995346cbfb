"""Jobs run on time, one at a time, whatever the clock and the jobs do."""

import logging
import threading
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.clock import Clock, Instant
from service.daemon.scheduler import AlignedTrigger, Scheduler
from tests.conftest import NOW, FakeClock
from tests.running import until


def next_fire(trigger: AlignedTrigger, now: float) -> float:
    return trigger.get_next_fire_time(None, datetime.fromtimestamp(now, UTC)).timestamp()


@given(st.integers(1, 3600), st.floats(0, 2**32))
def test_a_tick_falls_on_a_multiple_of_the_interval_half_to_one_and_a_half_of_it_ahead(
    seconds: int, now: float
) -> None:
    fire = next_fire(AlignedTrigger(seconds), now)
    assert fire % seconds == pytest.approx(0, abs=1e-3) or fire % seconds == pytest.approx(seconds, abs=1e-3)
    assert seconds / 2 - 1e-3 <= fire - now <= 1.5 * seconds + 1e-3


def test_a_tick_on_time_is_followed_by_the_next_multiple() -> None:
    assert next_fire(AlignedTrigger(5), NOW + 0.001) == NOW + 5


def test_after_a_pause_of_ten_years_one_run_is_due_and_none_of_those_missed() -> None:
    trigger = AlignedTrigger(1)
    later = datetime.fromtimestamp(NOW + 10 * 365 * 86400 + 0.2, UTC)
    assert trigger.get_next_fire_time(datetime.fromtimestamp(NOW, UTC), later) > later


class Steps:
    """A scheduler without its thread: what is due runs when the test says so, on the test's clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = FakeClock()
        self.ran: list[float] = []

        class Fake(datetime):
            @classmethod
            def now(cls, tz: object = None) -> datetime:
                del tz
                return datetime.fromtimestamp(self.clock.wall, UTC)

        monkeypatch.setattr("apscheduler.schedulers.base.datetime", Fake)
        self.scheduler = Scheduler(self.clock)
        self.scheduler.every(5, lambda: self.ran.append(self.clock.wall))

    def run(self, seconds: float, tick: float = 1.0) -> None:
        for _ in range(int(seconds / tick)):
            self.clock.pass_seconds(tick)
            self.scheduler.run_due()


@pytest.mark.parametrize("step", [-3600, -0.9, 0.9, 7200, 10 * 365 * 86400, -(NOW - 86400)])
def test_ticks_go_on_whatever_the_wall_clock_does(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    steps = Steps(monkeypatch)
    steps.run(20)
    assert len(steps.ran) == 4
    steps.clock.step(step)
    steps.run(20)
    assert 4 + 4 <= len(steps.ran) <= 4 + 5
    steps.clock.step(-step)
    steps.run(20)
    assert 8 + 4 <= len(steps.ran) <= 8 + 6


def test_a_pause_makes_one_run_and_no_backlog(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch)
    steps.run(10)
    steps.clock.pass_seconds(3600)
    steps.run(5)
    assert len(steps.ran) <= 2 + 2


def test_what_fell_due_in_a_pause_runs_in_the_order_of_its_times(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch)
    ran: list[float] = []
    for offset in (3.5, 1.5, 2.5):
        steps.scheduler.every(10, lambda offset=offset: ran.append(offset), offset=offset)
    steps.run(60, tick=10)
    assert len(ran) >= 9
    steps.run(30, tick=0.25)
    assert len(ran) >= 15
    assert ran == [1.5, 2.5, 3.5] * (len(ran) // 3)


def test_a_job_that_is_added_later_runs_like_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch)
    steps.run(10)
    late: list[float] = []
    steps.scheduler.every(5, lambda: late.append(steps.clock.wall), offset=1)
    steps.run(20)
    assert len(late) == 3  # 1 s after it was added is too soon
    assert len(steps.ran) == 6


def test_a_job_that_has_more_to_do_runs_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps(monkeypatch)
    left = [3]

    def work() -> bool:
        left[0] -= 1
        return left[0] > 0

    steps.scheduler.every(60, work)
    steps.run(60)
    steps.run(1, tick=0.1)
    assert left == [0]


@pytest.mark.parametrize("error", [SystemError("odd"), SystemExit("odd"), MemoryError("odd")])
def test_a_job_that_throws_is_counted_logged_once_a_minute_and_runs_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    steps = Steps(monkeypatch)

    def broken() -> None:
        raise error

    steps.scheduler.every(10, broken)
    steps.run(120)
    assert steps.scheduler.guard.failed == 12
    assert len(steps.ran) == 24
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    # A stack would not say where the memory went.
    assert [bool(record.exc_info) for record in caplog.records] == [not isinstance(error, MemoryError), False]


def test_an_error_in_the_scheduler_itself_does_not_end_its_thread() -> None:
    class Broken(Clock):
        failures = 1

        def now(self) -> Instant:
            if self.failures and threading.current_thread() is not threading.main_thread():
                self.failures = 0
                raise MemoryError
            return super().now()

    ran = threading.Event()
    scheduler = Scheduler(Broken())
    scheduler.every(1, ran.set)
    scheduler.start()
    assert ran.wait(20)
    scheduler.stop()
    assert scheduler.guard.failed == 1


def test_every_job_runs_on_one_thread() -> None:
    scheduler = Scheduler(Clock())
    threads: set[int] = set()
    done = threading.Event()

    def note() -> None:
        threads.add(threading.get_ident())
        if len(seen) == 4:
            done.set()
        seen.append(1)

    seen: list[int] = []
    scheduler.every(1, note)
    scheduler.every(1, note, offset=0.1)
    scheduler.start()
    assert done.wait(20)
    scheduler.stop()
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_what_is_to_run_once_runs_once_each_time_that_it_is_added() -> None:
    ran: list[int] = []
    scheduler = Scheduler(Clock())

    def work() -> None:
        ran.append(len(ran))
        if len(ran) == 2:
            scheduler.once(work)  # while it runs

    scheduler.start()
    try:
        scheduler.once(work)
        until(lambda: len(ran) == 1)
        scheduler.once(work)
        until(lambda: len(ran) == 3)
        time.sleep(2.5)  # what stayed would run each second
    finally:
        scheduler.stop()
    assert len(ran) == 3
    assert scheduler.guard.failed == 0


def test_a_stop_does_not_wait_for_the_next_job() -> None:
    scheduler = Scheduler(Clock())
    scheduler.every(3600, lambda: None)
    scheduler.start()
    begun = time.monotonic()
    scheduler.stop()
    assert time.monotonic() - begun < 2


def test_slewing_is_no_step(caplog: pytest.LogCaptureFixture) -> None:
    class Slewed(Clock):
        def __init__(self) -> None:
            self.steady = 0.0

        def now(self) -> Instant:
            self.steady += 1
            return Instant(NOW + self.steady * 1.0005, self.steady, self.steady)

    scheduler = Scheduler(Slewed())
    for _ in range(1000):
        scheduler.run_due()
    assert not caplog.records
