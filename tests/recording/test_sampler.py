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


def test_a_thread_that_the_system_refuses_a_source_is_no_defect(
    sampler: Sampler, host: FakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    error = RuntimeError("can't start new thread")
    host.next = Reading(gauges={"load_1": 1.0}, sources=failing(disk=error, memory=MemoryError()))
    sampler.tick()
    assert "defect" not in caplog.text
    assert "cannot read disk: RuntimeError: can't start new thread; storing nothing" in caplog.text


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


@pytest.mark.parametrize(("seconds", "taken"), [(2.5, 2), (2.4, 1)])
def test_half_an_interval_is_the_least_that_a_sample_stands_for(
    sampler: Sampler, clock: FakeClock, seconds: float, taken: int
) -> None:
    sampler.tick()
    clock.pass_seconds(seconds)
    sampler.stand_in()
    assert sampler.counts["taken"] == taken


@pytest.mark.parametrize(("seconds", "begins"), [(10, None), (10.5, Break(NOW, "overload"))])
def test_what_is_more_than_two_intervals_late_follows_a_gap(
    sampler: Sampler, sink: Sink, clock: FakeClock, seconds: float, begins: Break | None
) -> None:
    sampler.tick()
    tick(sampler, clock, seconds)
    assert sink.stored[1].begins == begins


@pytest.mark.parametrize(
    ("interval", "end", "reason"), [(5, NOW - 10, None), (5, NOW - 11, "killed"), (1, NOW - 3, "killed")]
)
def test_a_run_follows_a_gap_where_more_than_two_intervals_are_missing(
    host: FakeHost, sink: Sink, clock: FakeClock, interval: int, end: int, reason: str | None
) -> None:
    Sampler(host, sink, clock, interval, Break(end, "killed")).tick()
    assert sink.stored[0].begins == Break(end, reason)  # type: ignore[arg-type]


def test_two_ticks_of_one_second_are_two_samples_and_the_second_follows_no_gap(
    host: FakeHost, sink: Sink, clock: FakeClock
) -> None:
    """A step of the clock is why; it loses none of them, and neither is lost time."""
    sampler = Sampler(host, sink, clock, 1, Break(None, None))
    sampler.tick()
    clock.pass_seconds(1)
    clock.step(-1)
    sampler.tick()
    assert [(sample.ts, sample.begins) for sample in sink.stored] == [
        (NOW, Break(None, None)),
        (NOW, Break(NOW, None)),
    ]


# -- what the store refuses


class Choosy(Sink):
    """Takes no sample of these stamps, as a table takes no row that breaks a rule; notes how many come at once."""

    def __init__(self, *stamps: int) -> None:
        super().__init__()
        self.stamps, self.batches, self.later = stamps, [], None

    def append(self, samples: list[Sample]) -> None:
        self.batches.append(len(samples))
        if any(sample.ts in self.stamps for sample in samples):
            raise StoreFailed("poison", "NOT NULL constraint failed")
        if self.later is not None and self.is_refusing:
            raise self.later
        super().append(samples)


def test_a_sample_that_no_table_takes_is_left_out_and_the_rest_is_stored(
    host: FakeHost, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Choosy(NOW + 10)
    sampler = Sampler(host, sink, clock, 5, Break(None, None))
    tick(sampler, clock)
    sink.is_refusing = True
    sink.later = StoreFailed("busy", "database is locked")
    tick(sampler, clock)
    sink.is_refusing = False
    tick(sampler, clock, times=2)
    assert [sample.ts for sample in sink.stored] == [NOW + 5, NOW + 15, NOW + 20]
    assert (sampler.counts["poisoned"], sampler.counts["taken"]) == (1, 4)
    assert sampler.health().spooled == 0
    assert "a sample that cannot be stored is left out: NOT NULL constraint failed" in caplog.text


def test_where_the_disk_fails_amid_samples_that_are_tried_one_by_one_the_rest_waits(
    host: FakeHost, clock: FakeClock
) -> None:
    sink = Choosy(NOW + 5)
    sink.later, sink.is_refusing = StoreFailed("full", "database or disk is full"), True
    sampler = Sampler(host, sink, clock, 5, Break(None, None))
    sampler.tick()
    assert sampler.health().spooled == 1
    tick(sampler, clock)
    assert (sampler.counts["poisoned"], sampler.health().spooled) == (0, 2)
    # All, then the oldest alone; what the disk refuses is not tried again at once.
    assert sink.batches == [1, 2, 1]
    assert sampler.health().last_error == "cannot store: NOT NULL constraint failed"


@pytest.mark.parametrize("is_mended", [True, False])
def test_a_failure_is_mended_and_where_that_helps_the_samples_are_tried_again_at_once(
    host: FakeHost, sink: Sink, clock: FakeClock, is_mended: bool
) -> None:
    failures: list[StoreFailed] = []

    def mend(failure: StoreFailed) -> bool:
        failures.append(failure)
        sink.is_refusing = False
        return is_mended

    sampler = Sampler(host, sink, clock, 5, Break(None, None), mend=mend)
    sink.is_refusing = True
    sampler.tick()
    assert [failure.kind for failure in failures] == ["full"]
    assert len(sink.stored) == is_mended
    assert sampler.counts["store_errors"] == 1
    assert (sampler.health().last_error is None) == is_mended


def test_many_that_have_waited_are_stored_five_hundred_at_once(host: FakeHost, clock: FakeClock) -> None:
    sink = Choosy()
    sampler = Sampler(host, sink, clock, 1, Break(None, None))
    sink.later, sink.is_refusing = StoreFailed("full", "database or disk is full"), True
    tick(sampler, clock, 1, times=1100)
    sink.is_refusing = False
    sink.batches.clear()
    tick(sampler, clock, 1)
    assert sink.batches == [500, 500, 101]
    assert [sample.ts for sample in sink.stored] == [NOW + 1 + n for n in range(1101)]


def test_an_error_is_logged_again_a_minute_after_the_last_time_and_its_end_once(
    sampler: Sampler, sink: Sink, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sink.is_refusing = True
    tick(sampler, clock, times=13)
    assert len(caplog.records) == 2
    assert caplog.records[1].getMessage() == "cannot store (full): database or disk is full; 13 samples wait in memory"
    sink.is_refusing = False
    tick(sampler, clock, times=3)
    assert [record.getMessage() for record in caplog.records[2:]] == ["storing again"]


def test_nothing_is_known_to_wait_while_all_is_well(sampler: Sampler, sink: Sink, clock: FakeClock) -> None:
    sampler.tick()
    assert sampler.waiting() == []
    sink.is_refusing = True
    tick(sampler, clock)
    assert [sample.ts for sample in sampler.waiting()] == [NOW + 5]
    sink.is_refusing = False
    tick(sampler, clock)
    assert sampler.waiting() == []


def test_each_count_begins_at_zero(sampler: Sampler) -> None:
    assert dict(sampler.counts) == dict.fromkeys(("taken", "stored", "dropped", "poisoned", "store_errors"), 0)


def test_after_the_history_was_set_aside_what_waits_follows_a_gap(
    sampler: Sampler, sink: Sink, clock: FakeClock
) -> None:
    sampler.tick()
    sink.is_refusing = True
    tick(sampler, clock)
    sampler.begin_anew(NOW)
    sink.is_refusing = False
    tick(sampler, clock)
    assert [sample.begins for sample in sink.stored[1:]] == [Break(NOW, "storage"), None]


def test_what_follows_each_tick_is_given_its_sample(host: FakeHost, sink: Sink, clock: FakeClock) -> None:
    followed: list[Sample] = []
    sampler = Sampler(host, sink, clock, 5, Break(None, None), follow=followed.append)
    tick(sampler, clock, times=2)
    assert followed == sink.stored


def test_no_sample_stands_in_while_one_is_taken(sink: Sink, clock: FakeClock) -> None:
    class SlowHost:
        def read(self) -> Reading:
            sampler.stand_in()
            return Reading()

    sampler = Sampler(SlowHost(), sink, clock, 5, Break(None, None))
    sampler.tick()
    assert sampler.counts["taken"] == 1


def test_a_sample_stands_in_for_the_first_tick_too(sampler: Sampler, clock: FakeClock) -> None:
    sampler.stand_in()
    assert [sample.ts for sample in sampler.waiting()] == [NOW]


def test_one_sample_that_stood_in_while_the_tick_stored_is_known_to_wait(host: FakeHost, clock: FakeClock) -> None:
    class SlowSink(Sink):
        def append(self, samples: list[Sample]) -> None:
            super().append(samples)
            clock.pass_seconds(5)
            sampler.stand_in()

    sampler = Sampler(host, SlowSink(), clock, 5, Break(None, None))
    sampler.tick()
    assert [sample.ts for sample in sampler.waiting()] == [NOW + 5]
