"""The history arrives in order and once, whatever the receiver or the network does."""

import shutil
from email.utils import formatdate
from pathlib import Path

import pytest

from service.errors import TidemarkError
from service.forward.send import Answer
from service.forward.status import again
from service.recording.retention import Keeper
from service.records import Break
from service.store import forwards
from service.store.writer import Store
from tests.conftest import NOW, FakeClock, Fill
from tests.forward.conftest import Drive, Driven
from tests.forward.oracle import bits
from tests.forward.receiver import Scripted
from tests.running import query


def stamps(start: int, count: int, interval: int = 5) -> list[int]:
    return [(start + i * interval) * 1000 for i in range(count)]


def test_what_is_stored_arrives_under_the_names_of_metrics(
    fill: Fill, drive: Drive, receiver: Scripted, clock: FakeClock
) -> None:
    fill(NOW - 50, 10, cpu_percent=lambda i: 10.25 + i, network_sent_bytes=lambda i: 1000 + i, load_1=0.5)
    driven = drive(forward__instance="web-1", forward__labels={"env": "prod"}, forward__headers={"X-Scope-OrgID": "a"})
    driven.ship()
    assert receiver.ticks() == stamps(NOW - 50, 10)
    assert receiver.labels["tidemark_cpu_ratio"] == {
        "__name__": "tidemark_cpu_ratio",
        "env": "prod",
        "instance": "web-1",
        "job": "tidemark",
    }
    assert list(receiver.taken["tidemark_cpu_ratio"].values()) == [bits(round((10.25 + i) / 100, 6)) for i in range(10)]
    assert list(receiver.taken["tidemark_network_sent_bytes_total"].values()) == [bits(1000.0 + i) for i in range(10)]
    assert list(receiver.taken["tidemark_load_1"].values()) == [bits(0.5)] * 10
    assert receiver.taken.get("tidemark_swap_ratio") is None
    headers = receiver.requests[-1][1]
    assert headers["Content-Type"] == "application/x-protobuf"
    assert headers["Content-Encoding"] == "snappy"
    assert headers["X-Prometheus-Remote-Write-Version"] == "0.1.0"
    assert headers["User-Agent"] == "tidemark/0.1.0"
    assert headers["X-Scope-OrgID"] == "a"
    assert driven.row() == {
        "acknowledged_ts": NOW - 5,
        "lag_seconds": 0,
        "waiting_samples": 0,
        "sent": 10,
        "refused": 0,
        "resent": 0,
        "skipped": 0,
        "last_error": None,
    }


def test_nothing_is_sent_before_it_is_announced_in_the_database(
    fill: Fill, drive: Drive, receiver: Scripted, store: Store, clock: FakeClock
) -> None:
    fill(NOW - 50, 10)
    driven = drive()
    for _ in range(4):
        clock.pass_seconds(30)
        driven.shipper.step()
    assert receiver.statuses == []
    for _ in range(2):
        clock.pass_seconds(30)
        driven.shipper.step()
        store.write_riders()
    assert receiver.statuses == []
    driven.ship()
    assert receiver.statuses == [204]


def test_what_waits_rides_with_the_next_sample(
    fill: Fill, drive: Drive, receiver: Scripted, store: Store, clock: FakeClock
) -> None:
    fill(NOW - 50, 10)
    driven = drive()
    for ts in range(NOW, NOW + 20, 5):
        clock.pass_seconds(30)
        driven.shipper.step()
        fill(ts, 1, begins=Break(NOW - 5, None) if ts == NOW else None)
    driven.ship()
    assert receiver.ticks() == stamps(NOW - 50, 14)


def test_live_it_writes_nothing_by_itself_and_behind_it_does(
    fill: Fill, drive: Drive, receiver: Scripted, clock: FakeClock
) -> None:
    driven, commits = drive(), []
    driven.shipper._commit = lambda: commits.append(len(receiver.statuses))
    fill(NOW - 5, 1)
    driven.ship()
    for ts in range(NOW, NOW + 60, 5):
        fill(ts, 1)
        clock.pass_seconds(5)
        driven.ship()
    assert len(receiver.ticks()) == 13
    assert commits == []
    fill(NOW - 20_000, 399, begins=Break(NOW + 55, "clock_step"))
    driven.ship()
    assert commits == []
    fill(NOW - 10_000, 400, begins=Break(NOW - 18_000, "stopped"))
    driven.ship()
    assert len(commits) == 1


def test_what_catching_up_took_is_given_back_when_it_is_done(
    fill: Fill, drive: Drive, receiver: Scripted, clock: FakeClock
) -> None:
    driven, caught_up = drive(), []
    driven.shipper._caught_up = lambda: caught_up.append(len(receiver.ticks()))
    fill(NOW - 5 * 4500, 4500)
    driven.ship()
    assert caught_up == [4500]
    fill(NOW, 3)
    clock.pass_seconds(5)
    driven.ship()
    assert caught_up == [4500]


@pytest.mark.parametrize("backfill", ["all", "1h"])
def test_a_new_receiver_gets_as_much_of_the_past_as_is_set(
    backfill: str, fill: Fill, drive: Drive, receiver: Scripted
) -> None:
    fill(NOW - 7200, 1441)
    drive(forward__backfill=backfill).ship()
    # It began when the clock had gone on by one sending.
    wanted = stamps(NOW - 7200, 1441)
    assert receiver.ticks() == [ms for ms in wanted if backfill == "all" or ms >= (NOW - 3600 + 30) * 1000]


def test_a_backlog_goes_in_posts_of_400_samples_and_flights_of_2000(
    fill: Fill, drive: Drive, receiver: Scripted
) -> None:
    fill(NOW - 5 * 4500, 4500)
    driven = drive()
    announced = []
    for _ in range(6):
        driven.step()
        announced.append(len(receiver.statuses))
    assert announced == [0, 0, 5, 10, 12, 12]
    assert receiver.ticks() == stamps(NOW - 5 * 4500, 4500)


def test_order_is_by_stretch_and_then_by_time(fill: Fill, drive: Drive, receiver: Scripted) -> None:
    fill(NOW - 1000, 5, load_1=1.0)
    # The clock was set back: stamps that come twice.
    fill(NOW - 2000, 5, load_1=2.0, begins=Break(NOW - 980, "clock_step"))
    fill(NOW - 1000, 5, load_1=3.0, begins=Break(NOW - 1980, "stopped"))
    driven = drive()
    driven.ship()
    assert driven.row()["sent"] == 15
    assert receiver.taken["tidemark_load_1"][(NOW - 1000) * 1000] == bits(3.0)
    assert len(receiver.ticks()) == 10


def test_a_stretch_without_samples_is_passed_over(fill: Fill, drive: Drive, receiver: Scripted, store: Store) -> None:
    fill(NOW - 1000, 5)
    fill(NOW - 900, 5, begins=Break(NOW - 980, "stopped"))
    fill(NOW - 800, 5, begins=Break(NOW - 880, "stopped"))
    store.write(lambda statements: statements.run("DELETE FROM sample WHERE stretch_id = 2"))
    drive().ship()
    assert receiver.ticks() == stamps(NOW - 1000, 5) + stamps(NOW - 800, 5)


# -- answers


def test_each_answer_has_its_rule(fill: Fill, drive: Drive, receiver: Scripted) -> None:
    fill(NOW - 500, 100)
    driven = drive()
    receiver.script = [503, 503, (429, {"Retry-After": "2"}, ""), 500, 401, 413, 400]
    driven.ship()
    # Whole: 503, 503, 429, 500, 401, 413; the first half: 400; its halves and the second half: taken.
    assert receiver.statuses == [503, 503, 429, 500, 401, 413, 400, 204, 204, 204]
    assert receiver.ticks() == stamps(NOW - 500, 100)
    assert driven.row()["refused"] == 0
    first, second, third, fourth, fifth = driven.waits
    assert 0.8 <= first <= 1.2
    assert 1.6 <= second <= 2.4
    assert third == 2
    assert 6.4 <= fourth <= 9.6
    assert fifth == 60


def test_waits_grow_to_a_minute_and_the_same_bytes_go_out_again(fill: Fill, drive: Drive, receiver: Scripted) -> None:
    fill(NOW - 500, 100, disk_read_bytes=lambda i: 1000 - i)
    driven = drive()
    receiver.script = [503] * 20
    driven.ship()
    assert len(driven.waits) == 20
    assert all(48 <= wait <= 72 for wait in driven.waits[8:])
    assert len({body for body in receiver.bodies if len(body) > 10}) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7), ("100000", 300), ("Mon, 05 Jan 2026 10:00:40 GMT", 40), ("Mon, 05 Jan 2026 09:00:00 GMT", 0)],
)
def test_retry_after_is_taken_in_seconds_or_as_a_date(
    header: str, seconds: int, fill: Fill, drive: Drive, receiver: Scripted
) -> None:
    fill(NOW - 500, 100)
    driven = drive()
    receiver.script = [(503, {"Retry-After": header}, "")]
    driven.ship()
    assert driven.waits == [seconds] * (seconds > 0)


def test_a_sample_that_is_refused_for_good_is_counted_and_the_rest_arrives(
    fill: Fill, drive: Drive, receiver: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    fill(NOW - 500, 100)
    bad = (NOW - 500 + 37 * 5) * 1000
    receiver.refuses = lambda points: bad in points.get("tidemark_sample_timestamp_seconds", {})
    driven = drive()
    driven.ship()
    assert receiver.ticks() == [ms for ms in stamps(NOW - 500, 100) if ms != bad]
    assert (driven.row()["refused"], driven.row()["sent"]) == (1, 99)
    assert driven.row()["last_error"].startswith("400 Bad Request")
    assert "1 samples are refused: 400 Bad Request" in caplog.text


def test_of_a_refused_sample_the_series_that_are_taken_arrive(fill: Fill, drive: Drive, receiver: Scripted) -> None:
    fill(NOW - 500, 2, cpu_percent=50.0, load_1=1.0, load_5=1.0)
    receiver.refuses = lambda points: "tidemark_load_1" in points
    driven = drive()
    driven.ship()
    assert len(receiver.ticks("tidemark_load_5")) == len(receiver.ticks("tidemark_cpu_ratio")) == 2
    assert driven.row()["refused"] == 2


def test_a_batch_is_halved_at_most_sixty_times_and_after_three_whole_refusals_not_for_ten_minutes(
    fill: Fill, drive: Drive, receiver: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    fill(NOW - 10_000, 2000)
    receiver.refuses = lambda points: True
    driven = drive()
    driven.ship()
    assert len(receiver.statuses) == 3 * 61 + 2
    assert driven.row()["refused"] == 2000
    assert [record.levelname for record in caplog.records if "are refused" in record.message] == ["ERROR"]


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_refusal_and_is_not_followed(status: int, fill: Fill, drive: Drive, receiver: Scripted) -> None:
    fill(NOW - 10, 2)
    driven = drive()
    receiver.script = [(status, {"Location": receiver.url}, "")] * 99
    driven.ship()
    assert set(receiver.statuses) == {status}
    assert driven.row()["refused"] == 2
    assert "no redirect is followed" in driven.row()["last_error"]


def test_too_old_in_a_500_is_a_refusal(fill: Fill, drive: Drive, receiver: Scripted) -> None:
    fill(NOW - 10, 1)
    driven = drive()
    receiver.script = [(500, {}, "too old sample")] * 99
    driven.ship()
    assert driven.row()["refused"] == 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_nothing_is_refused_while_the_settings_are_wrong(
    status: int, fill: Fill, drive: Drive, receiver: Scripted
) -> None:
    fill(NOW - 10, 2)
    driven = drive()
    receiver.script = [status] * 5
    driven.ship()
    assert driven.waits == [60] * 5
    assert (driven.row()["refused"], driven.row()["sent"]) == (0, 2)


def test_posts_stay_small_once_one_was_too_large(fill: Fill, drive: Drive, receiver: Scripted) -> None:
    fill(NOW - 5 * 1000, 1000)
    driven = drive()
    receiver.script = [413]
    driven.ship()
    assert receiver.statuses == [413, *[204] * 5]
    assert receiver.ticks() == stamps(NOW - 5000, 1000)


# -- crashes


def test_after_a_crash_the_very_same_batch_goes_out_first_and_its_refusal_means_that_it_had_arrived(
    fill: Fill, drive: Drive, receiver: Scripted, store: Store, clock: FakeClock
) -> None:
    fill(NOW - 500, 50)
    driven = drive()
    while not receiver.statuses:
        driven.step()
    # Sent, and the acknowledgement never written; meanwhile more samples come.
    fill(NOW - 250, 50, begins=Break(NOW - 255, None))
    receiver.script = [400]
    before = receiver.bodies[-1]
    columns = f"ts = 0, flight_stretch_id = 1, flight_ts = {NOW - 255}, sent = 0, counters = '{{}}', known = '{{}}'"
    store.write(lambda statements: statements.run(f"UPDATE forward SET {columns}"))
    driven.begin()
    driven.ship()
    assert receiver.statuses == [204, 400, 204]
    assert receiver.bodies[[len(body) > 10 for body in receiver.bodies].index(True)] == before
    assert receiver.ticks() == stamps(NOW - 500, 100)
    assert (driven.row()["sent"], driven.row()["refused"], driven.row()["resent"]) == (100, 0, 1)


def test_a_batch_whose_answer_was_lost_and_that_is_then_refused_has_arrived(
    fill: Fill, drive: Drive, receiver: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(NOW - 500, 100)
    driven = drive()
    sender, lose = driven.shipper._sender, [True]
    write = sender.write

    def lossy(block: bytes) -> Answer:
        answer = write(block)
        return Answer(None, "lost", is_lost=True) if len(block) > 1 and lose and lose.pop() else answer

    monkeypatch.setattr(sender, "write", lossy)
    receiver.script = [204, 400]
    driven.ship()
    assert receiver.statuses == [204, 400]
    assert (driven.row()["sent"], driven.row()["refused"]) == (100, 0)


# -- clocks


def test_what_is_stamped_ahead_of_the_receivers_clock_is_held_until_that_has_come(
    fill: Fill, drive: Drive, receiver: Scripted, clock: FakeClock
) -> None:
    fill(NOW + 30, 100, 10)
    driven = drive()
    receiver.date = formatdate(NOW, usegmt=True)
    for _ in range(4):
        driven.step()
    held = receiver.ticks()
    assert held == [ms for ms in stamps(NOW + 30, 100, 10) if ms <= (NOW + 60) * 1000]
    receiver.date = formatdate(NOW + 3600, usegmt=True)
    driven.ship()
    assert receiver.ticks() == stamps(NOW + 30, 100, 10)
    assert driven.row()["skipped"] == 0


def test_what_a_clock_that_was_put_right_had_stamped_is_skipped_and_the_queue_goes_on(
    fill: Fill, drive: Drive, receiver: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    years = 10 * 365 * 86_400
    fill(NOW - 500, 10)
    fill(NOW + years, 20, begins=Break(NOW - 455, "clock_step"))
    fill(NOW + years + 1000, 5, begins=Break(NOW + years + 95, "stopped"))
    fill(NOW - 100, 10, begins=Break(NOW + years + 1020, "clock_step"))
    driven = drive()
    driven.ship()
    assert receiver.ticks() == stamps(NOW - 500, 10) + stamps(NOW - 100, 10)
    assert (driven.row()["skipped"], driven.row()["sent"], driven.row()["waiting_samples"]) == (25, 20, 0)
    assert "20 samples that a wrong clock has stamped are not forwarded" in caplog.text


# -- retention


def test_samples_that_wait_outlive_their_retention_up_to_the_hold(
    fill: Fill, drive: Drive, store: Store, clock: FakeClock, receiver: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    clock.wall = NOW + 5 * 86_400.0
    receiver.date = formatdate(clock.wall, usegmt=True)
    fill(NOW, 5 * 1440, 60, cpu_percent=1.0)
    driven = drive(retention__samples="1d", forward__hold="3d")
    driven.step()
    keep(driven, store, clock)
    oldest = query(driven.path, "SELECT min(ts) FROM samples")[0][0]
    assert clock.wall - 3 * 86_400 - 7200 <= oldest <= clock.wall - 3 * 86_400
    deleted = (oldest - NOW) // 60
    assert driven.row()["skipped"] == deleted
    driven.ship()
    assert receiver.ticks() == stamps(oldest, 5 * 1440 - deleted, 60)
    keep(driven, store, clock)
    # Acknowledged, it goes as its retention says.
    oldest = query(driven.path, "SELECT min(ts) FROM samples")[0][0]
    assert oldest >= clock.wall - 86_400 - 7200
    assert driven.row()["skipped"] == deleted


def keep(driven: Driven, store: Store, clock: FakeClock) -> None:
    keeper = Keeper.by(driven.settings, store, clock)
    while keeper.roll_up():
        pass
    while keeper.prune():
        pass


def test_what_was_deleted_before_it_was_sent_is_logged_and_counted(
    fill: Fill, drive: Drive, store: Store, receiver: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    fill(NOW - 500, 100)
    driven = drive()
    driven.step()
    driven.clock.pass_seconds(-29)
    store.write(lambda statements: forwards.count_pruned(statements, NOW - 450))
    store.write(lambda statements: statements.run("DELETE FROM sample WHERE ts < ?", (NOW - 450,)))
    driven.shipper._report_skipped(found(driven)._replace(skipped=0))
    driven.ship()
    assert driven.shipper.counts["skipped"] == driven.row()["skipped"] == 10
    assert "10 samples were deleted before they could be forwarded" in caplog.text


def found(driven: Driven) -> forwards.Forward:
    row = driven.store.write(lambda statements: forwards.load(statements, driven.settings.forward.target))
    assert row is not None
    return row


# -- sent again


def test_sent_again_it_says_the_same_and_goes_on_from_where_it_was(
    fill: Fill, drive: Drive, store: Store, receiver: Scripted
) -> None:
    fall = [1000, 2000, 500, 600, 700, 100, 200, 300, 400, 500]
    fill(NOW - 50, 10, network_sent_bytes=lambda i: fall[i])
    driven = drive()
    driven.ship()
    before, posts = dict(receiver.taken["tidemark_network_sent_bytes_total"]), len(receiver.statuses)
    receiver.taken.clear()
    target = driven.settings.forward.target
    assert store.write(lambda statements: again(statements, target, NOW - 35, NOW - 20)) == 3
    driven.begin()
    driven.ship()
    assert receiver.ticks() == stamps(NOW - 35, 3)
    assert all(before[ms] == value for ms, value in receiver.taken["tidemark_network_sent_bytes_total"].items())
    fill(NOW, 1, begins=Break(NOW - 5, None), network_sent_bytes=600)
    driven.ship()
    assert receiver.ticks() == [*stamps(NOW - 35, 3), NOW * 1000]
    assert receiver.taken["tidemark_network_sent_bytes_total"][NOW * 1000] == bits(600.0 + 1500 + 600)
    assert len(receiver.statuses) == posts + 2
    store.write(lambda statements: again(statements, target, 0, None))
    driven.begin()
    driven.ship()
    assert receiver.ticks() == stamps(NOW - 50, 11)
    with pytest.raises(TidemarkError, match="nothing has been forwarded from that time on"):
        store.write(lambda statements: again(statements, target, NOW + 5, None))


# -- what is known of it


def test_an_error_is_kept_for_the_verb_and_goes_with_the_next_acknowledgement(
    fill: Fill, drive: Drive, store: Store, receiver: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    fill(NOW - 500, 100)
    driven = drive()
    seen = []
    receiver.script = [(503, {}, "  no\nroom "), 503]
    rest = type(driven.shipper._patience).rest

    def watch(self: object, seconds: float) -> bool:
        store.write_riders()
        seen.append((driven.row()["last_error"], driven.shipper.health().last_error))
        return bool(rest(self, seconds))  # type: ignore[arg-type]

    driven.shipper._patience.rest = watch.__get__(driven.shipper._patience)  # type: ignore[method-assign]
    driven.ship()
    assert ("503 Service Unavailable: no room", "503 Service Unavailable: no room") in seen
    assert driven.row()["last_error"] is None
    assert driven.shipper.health() == (None, 0.0)
    assert [r.message for r in caplog.records if "cannot forward" in r.message] == [
        "cannot forward: 503 Service Unavailable: no room; the history waits and is sent when that is over"
    ]


def test_another_database_in_its_place_is_forwarded_from_its_beginning(
    fill: Fill, drive: Drive, store: Store, receiver: Scripted, path: Path, new_database: Path
) -> None:
    fill(NOW - 500, 10)
    driven = drive()
    driven.ship()
    store.drop()
    for file in path.parent.glob("tidemark.db*"):
        file.unlink()
    shutil.copy(new_database, path)
    store.open()
    store.begin_run(NOW, NOW - 1000, "boot-1", "0.1.0", 5)
    fill(NOW - 300, 10)
    driven.ship()
    assert receiver.ticks() == stamps(NOW - 500, 10) + stamps(NOW - 300, 10)
