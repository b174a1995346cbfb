import logging

import pytest

from service.daemon.scheduler import Scheduler
from service.errors import StoreFailed
from service.recording.sampler import Sampler
from service.records import Break, CpuSeconds, Reading, Sample, SourceResult
from tests.conftest import NOW, FakeClock, FakeHost

TWO_CPUS = {"0": CpuSeconds(), "1": CpuSeconds()}


class Sink:
    """A store that keeps what it is given, or refuses."""

    def __init__(self) -> None:
        self.stored: list[Sample] = []
        self.is_refusing = False

    def append(self, samples: list[Sample]) -> None:
        if self.is_refusing:
            raise StoreFailed("full", "database or disk is full")
        self.stored += samples


@pytest.fixture
def host() -> FakeHost:
    return FakeHost(Reading(cpu_seconds=CpuSeconds(), seconds_by_cpu=TWO_CPUS))


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
def sampler(host: FakeHost, sink: Sink, clock: FakeClock) -> Sampler:
    return Sampler(host, sink, clock, 5, Break(None, None))


def tick(sampler: Sampler, clock: FakeClock, seconds: float = 5, times: int = 1) -> None:
    for _ in range(times):
        clock.pass_seconds(seconds)
        sampler.tick()


def test_the_first_sample_covers_nothing_and_has_no_cpu(sampler: Sampler, sink: Sink) -> None:
    sampler.tick()
    assert sink.stored == [Sample(NOW, 0.0, {}, Break(None, None))]


def test_cpu_is_the_busy_share_between_two_readings(
    sampler: Sampler, sink: Sink, clock: FakeClock, host: FakeHost
) -> None:
    sampler.tick()
    host.next = Reading(cpu_seconds=CpuSeconds(user=2.5, idle=7.5), seconds_by_cpu=TWO_CPUS)
    tick(sampler, clock)
    assert sink.stored[1].values["cpu_percent"] == 25.0
    assert sink.stored[1].covered_seconds == 5.0


def test_ticks_on_time_make_one_stretch(sampler: Sampler, sink: Sink, clock: FakeClock) -> None:
    sampler.tick()
    tick(sampler, clock, times=5)
    assert [sample.begins is None for sample in sink.stored] == [False, True, True, True, True, True]


def test_a_tick_up_to_two_intervals_late_leaves_no_gap(sampler: Sampler, sink: Sink, clock: FakeClock) -> None:
    sampler.tick()
    tick(sampler, clock, 9.9)
    assert (sink.stored[1].begins, sink.stored[1].covered_seconds) == (None, pytest.approx(9.9))


def test_a_tick_that_comes_later_leaves_a_gap(sampler: Sampler, sink: Sink, clock: FakeClock) -> None:
    sampler.tick()
    tick(sampler, clock, 60)
    assert sink.stored[1].begins == Break(NOW, "overload")
    assert sink.stored[1].covered_seconds == 5.0


def test_a_clock_set_back_begins_a_stretch_and_loses_no_sample(sampler: Sampler, sink: Sink, clock: FakeClock) -> None:
    sampler.tick()
    tick(sampler, clock)
    clock.step(-3600)
    tick(sampler, clock, times=2)
    assert [sample.ts - NOW for sample in sink.stored] == [0, 5, -3590, -3585]
    assert sink.stored[2].begins == Break(NOW + 5, "clock_step")
    assert sink.stored[3].begins is None


def test_the_first_sample_says_how_the_history_broke_off_before_this_run(
    host: FakeHost, sink: Sink, clock: FakeClock
) -> None:
    Sampler(host, sink, clock, 5, Break(NOW - 60, "killed")).tick()
    assert sink.stored[0].begins == Break(NOW - 60, "killed")


def test_what_cannot_be_stored_waits_and_is_stored_with_its_own_time(
    sampler: Sampler, sink: Sink, clock: FakeClock
) -> None:
    sampler.tick()
    sink.is_refusing = True
    tick(sampler, clock, times=3)
    assert sampler.health().spooled == 3
    assert "full" in str(sampler.health().last_error)
    sink.is_refusing = False
    tick(sampler, clock)
    assert [sample.ts - NOW for sample in sink.stored] == [0, 5, 10, 15, 20]
    assert sampler.health().last_error is None


def test_a_full_spool_drops_the_oldest_and_says_so_in_the_history(host: FakeHost, sink: Sink, clock: FakeClock) -> None:
    sampler = Sampler(host, sink, clock, 3600, Break(None, None))  # a day of hourly samples: 24
    sampler.tick()
    sink.is_refusing = True
    tick(sampler, clock, 3600, times=30)
    assert sampler.health().spooled == 24
    sink.is_refusing = False
    tick(sampler, clock, 3600)
    assert sink.stored[1].begins == Break(NOW, "storage")
    assert sampler.counts["dropped"] == 7
    assert len(sink.stored) == 1 + 24


def test_an_error_of_the_store_is_logged_once_a_minute(
    sampler: Sampler, sink: Sink, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    sink.is_refusing = True
    tick(sampler, clock, times=25)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 3


def failing(**errors: Exception) -> dict[str, SourceResult]:
    return {name: SourceResult(0.001, error, not isinstance(error, OSError)) for name, error in errors.items()}


def test_a_source_that_fails_is_logged_once_and_counted_each_time_and_logged_when_it_is_back(
    sampler: Sampler, clock: FakeClock, host: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    host.next = Reading(gauges={"load_1": 1.0}, sources=failing(disk=OSError("gone")))
    tick(sampler, clock, times=3)
    assert sampler.health().failing == ("disk",)
    host.next = Reading(sources={"disk": SourceResult(0.001)})
    tick(sampler, clock)
    assert [r.getMessage().split(":")[0] for r in caplog.records] == ["cannot read disk", "reading disk again"]
    assert sampler.counts["failed_disk"] == 3


def test_a_defect_in_a_source_goes_to_the_guard_with_its_stack_and_the_sample_is_stored_without_it(
    sampler: Sampler, sink: Sink, clock: FakeClock, host: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    try:
        len(None)  # type: ignore[arg-type]
    except TypeError as error:
        defect = error
    host.next = Reading(gauges={"load_1": 1.0}, sources=failing(disk=OSError("gone"), memory=defect))
    guard = Scheduler(clock).guard
    for _ in range(2):
        clock.pass_seconds(5)
        guard("the tick", sampler.tick)
    assert [sample.values["load_1"] for sample in sink.stored] == [1.0, 1.0]
    assert (guard.failed, sampler.counts["failed_memory"]) == (2, 2)
    (logged,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "a defect in Tidemark: cannot read memory" in logged.getMessage()
    assert "len(None)" in caplog.text
    assert sampler.health().failing == ("disk", "memory")


def test_a_defect_in_a_source_is_raised_too_by_a_sample_that_stood_in(
    sampler: Sampler, clock: FakeClock, host: FakeHost
) -> None:
    sampler.tick()
    clock.pass_seconds(9)
    host.next = Reading(sources=failing(memory=TypeError()))
    with pytest.raises(ExceptionGroup, match="a defect in Tidemark: cannot read memory"):
        sampler.stand_in()
    assert [sample.ts for sample in sampler.waiting()] == [NOW + 9]


# -- standing in


def test_a_sample_stands_in_for_a_tick_that_does_not_come(sampler: Sampler, sink: Sink, clock: FakeClock) -> None:
    sampler.tick()
    clock.pass_seconds(8.75)
    sampler.stand_in()
    assert [sample.ts for sample in sampler.waiting()] == [NOW + 9]
    tick(sampler, clock)
    assert [(sample.ts, sample.covered_seconds) for sample in sink.stored[1:]] == [(NOW + 9, 8.75), (NOW + 14, 5.0)]
    assert sampler.waiting() == []


def test_nothing_stands_in_for_a_tick_that_came(sampler: Sampler, clock: FakeClock) -> None:
    sampler.tick()
    clock.pass_seconds(2)
    sampler.stand_in()
    assert sampler.counts["taken"] == 1


def test_a_tick_just_after_a_sample_that_stood_in_takes_no_other(
    sampler: Sampler, sink: Sink, clock: FakeClock
) -> None:
    sampler.tick()
    clock.pass_seconds(9)
    sampler.stand_in()
    tick(sampler, clock, 1)
    assert [sample.covered_seconds for sample in sink.stored] == [0.0, 9.0]
    tick(sampler, clock, 4)
    assert [sample.covered_seconds for sample in sink.stored] == [0.0, 9.0, 5.0]


def test_a_tick_in_the_second_of_a_sample_that_stood_in_takes_no_other(
    host: FakeHost, sink: Sink, clock: FakeClock
) -> None:
    """Two of one stamp in one run would differ by nothing but their stretch."""
    sampler = Sampler(host, sink, clock, 1, Break(None, None))
    sampler.tick()
    clock.pass_seconds(1.75)
    sampler.stand_in()
    tick(sampler, clock, 0.6)
    tick(sampler, clock, 1)
    assert [sample.ts for sample in sink.stored] == [NOW, NOW + 2, NOW + 3]


def test_on_a_disk_slower_than_the_interval_a_tick_stores_what_waited_when_it_began_and_ends(
    host: FakeHost, clock: FakeClock
) -> None:
    class SlowSink(Sink):
        def append(self, samples: list[Sample]) -> None:
            assert len(self.stored) < 100, "the tick does not end"
            super().append(samples)
            for _ in range(3):
                clock.pass_seconds(1)
                sampler.stand_in()

    sink = SlowSink()
    sampler = Sampler(host, sink, clock, 1, Break(None, None))
    begun = clock.now().steady
    sampler.tick()
    assert ([sample.ts for sample in sink.stored], sampler.health().stored_at) == ([NOW], begun)
    assert len(sampler.waiting()) == 3
    sampler.tick()
    assert [sample.ts for sample in sink.stored] == [NOW, NOW + 1, NOW + 2, NOW + 3]
    assert sampler.health().stored_at == begun + 3


def test_each_tick_has_the_next_one_watched(host: FakeHost, sink: Sink, clock: FakeClock) -> None:
    watched: list[float] = []
    sampler = Sampler(host, sink, clock, 5, Break(None, None), watch=lambda _: watched.append(clock.now().wall))
    tick(sampler, clock, times=2)
    assert watched == [NOW + 5, NOW + 10]


def test_after_a_sample_that_stood_in_the_next_is_due_an_interval_after_it(
    host: FakeHost, sink: Sink, clock: FakeClock
) -> None:
    watched: list[float] = []
    sampler = Sampler(host, sink, clock, 5, Break(None, None), watch=watched.append)
    sampler.tick()
    clock.pass_seconds(8)
    sampler.stand_in()
    clock.pass_seconds(2)
    sampler.tick()
    assert watched[-1] == 2
