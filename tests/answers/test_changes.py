"""What moved most is named with the SQL that gives its figures, and nothing is where nothing did."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.answers.changes import Change, Changes
from service.answers.monitor import ResourceMonitor
from service.answers.spans import spans
from service.clock import DAY, HOUR, MINUTE
from service.errors import BadParameter
from service.records import Break, DeviceReading, DeviceUsage, ServiceUsage
from service.store import device_rollups, devices, usage_rollups
from service.store.writer import Store
from tests.conftest import NOW, Fill, Record, all_values
from tests.running import query
from tests.test_cli import Tidemark, failed, tidemark  # noqa: F401 - a fixture

HOURS = 31
END = NOW + HOURS * HOUR
LAST_HOUR = END - HOUR


def in_last_hour(ts: int) -> bool:
    return ts > LAST_HOUR


@pytest.fixture
def recorded(store: Store, fill: Fill) -> Callable[..., None]:
    """A sample a minute over 31 hours, as functions of time, with some noise; the minutes and hours rolled up."""

    def recorded(**values: Callable[[int], float]) -> None:
        store.begin_run(NOW, NOW - 1000, "boot-1", "0.1.0", 60)
        given = {name: (lambda i, at=at: at(NOW + 60 * (i + 1))) for name, at in values.items()}  # type: ignore[misc]
        fill(NOW + 60, HOURS * 60, 60, **given)
        while store.roll_up():
            pass

    return recorded


def noisy(level: Callable[[int], float], width: float = 1.0) -> Callable[[int], float]:
    random = Random(5)
    return lambda ts: level(ts) + random.uniform(-width, width)


def figures(path: Path, change: Change) -> tuple[float, float]:
    ((before, after),) = query(path, change.sql)
    return before, after


def named(answer: Changes) -> dict[tuple[str, str, str], Change]:
    return {(change.kind, change.name, change.unit): change for change in answer.changes}


def test_a_metric_that_moved_is_named_and_its_sql_gives_its_figures(
    recorded: Callable[..., None], monitor: ResourceMonitor, path: Path
) -> None:
    moved = 0.0

    def sent(ts: int) -> float:
        nonlocal moved
        moved += 60 * (5e6 if in_last_hour(ts) else 1e6)
        return moved

    recorded(
        cpu_percent=noisy(lambda ts: 60 if in_last_hour(ts) else 10),
        memory_percent=noisy(lambda _: 40),
        network_sent_bytes=sent,
    )
    answer = monitor.changes(LAST_HOUR + 1, END + 1)
    assert (answer.start, answer.end) == (LAST_HOUR + 1, END + 1)
    assert (answer.against_start, answer.against_end) == (LAST_HOUR + 1 - HOUR, LAST_HOUR + 1)
    assert [change.name for change in answer.changes] == ["network_sent_bytes", "cpu_percent"]
    cpu, network = named(answer)["metric", "cpu_percent", "percent"], answer.changes[0]
    assert (cpu.before, cpu.after) == pytest.approx((10, 60), abs=0.5)
    assert (network.unit, network.before, network.after) == ("bytes per second", 1e6, 5e6)
    for change in answer.changes:
        assert figures(path, change) == pytest.approx((change.before, change.after), abs=0.01)
        assert change.change == pytest.approx(change.after - change.before, abs=0.011)
        assert change.score >= 5
    # Also where the samples are gone.
    with Store(path).transaction() as statements:
        statements.run("DELETE FROM sample WHERE ts < ?", (LAST_HOUR,))
        statements.run("UPDATE progress SET samples_from = ?", (LAST_HOUR,))
    again = monitor.changes(LAST_HOUR, END)
    assert [change.name for change in again.changes] == ["network_sent_bytes", "cpu_percent"]
    for change in again.changes:
        assert "FROM minutes" in change.sql
        assert figures(path, change) == pytest.approx((change.before, change.after), abs=0.01)
    assert again.changes[0].before == pytest.approx(1e6, rel=0.01)


def test_a_counter_has_no_increase_over_a_gap_or_a_reset(
    store: Store, fill: Fill, monitor: ResourceMonitor, path: Path
) -> None:
    """A boot, which begins it at zero, and a gap, in which it went on."""
    store.begin_run(NOW, NOW - 1000, "boot-1", "0.1.0", 60)
    fill(NOW + 60, 30 * 60, 60, network_sent_bytes=lambda i: 1e12 + 60e6 * i)
    begun = NOW + 30 * HOUR + 60
    fill(begun, 20, 60, begins=Break(begun - 60, "rebooted"), network_sent_bytes=lambda i: 300e6 * i)
    later = begun + 30 * 60
    fill(later, 30, 60, begins=Break(begun + 19 * 60, "suspended"), network_sent_bytes=lambda i: 9e15 + 300e6 * i)
    (change,) = monitor.changes(LAST_HOUR + 1, END + 1).changes
    assert (change.before, change.after) == pytest.approx((1e6, 5e6))
    assert figures(path, change) == pytest.approx((1e6, 5e6))


def test_nothing_is_named_where_nothing_moved(recorded: Callable[..., None], monitor: ResourceMonitor) -> None:
    recorded(cpu_percent=noisy(lambda _: 40, 30), memory_percent=noisy(lambda ts: 10 + (ts - NOW) / HOUR, 0.1))
    for end in range(NOW + 26 * HOUR, END, HOUR):
        answer = monitor.changes(end - HOUR, end)
        assert (answer.changes, answer.abstains) == ([], None)


def test_too_short_a_history_abstains_and_says_when_it_can_speak(
    recorded: Callable[..., None], monitor: ResourceMonitor
) -> None:
    recorded(cpu_percent=lambda ts: 60 if ts > NOW + 20 * HOUR else 10)
    early = monitor.changes(NOW + 20 * HOUR, NOW + 21 * HOUR)
    assert early.changes == []
    assert early.abstains == "the history before the window is too short to say what is usual"
    assert early.speaks_from == NOW + (20 + 1 + 1) * HOUR
    assert monitor.changes(early.speaks_from - HOUR, early.speaks_from).abstains is None
    assert monitor.changes(early.speaks_from - HOUR - 1, early.speaks_from - 1).abstains is not None
    assert monitor.changes(END - 5 * MINUTE, END, DAY).speaks_from is None
    assert monitor.changes(END - 3 * HOUR, END, DAY).speaks_from == NOW + DAY + 60 * HOUR + 4 * HOUR


def test_an_empty_history_abstains(monitor: ResourceMonitor, store: Store) -> None:
    assert monitor.changes(NOW - HOUR, NOW).abstains == "nothing is recorded yet"


@pytest.mark.parametrize(("gap", "what"), [(LAST_HOUR, "window"), (LAST_HOUR - HOUR, "time before it")])
def test_where_less_than_half_is_recorded_it_abstains(
    store: Store, fill: Fill, monitor: ResourceMonitor, gap: int, what: str
) -> None:
    store.begin_run(NOW, NOW - 1000, "boot-1", "0.1.0", 60)
    fill(NOW + 60, (gap - NOW) // 60, 60, cpu_percent=10)
    fill(gap + 35 * 60, 25 + 60, 60, begins=Break(gap, "killed"), cpu_percent=90)
    answer = monitor.changes(LAST_HOUR, END)
    assert (answer.changes, answer.abstains, answer.speaks_from) == (
        [],
        f"less than half of the {what} is recorded",
        None,
    )


HOSTILE = "it's {x} %s"


@pytest.fixture
def used(recorded: Callable[..., None], record: Record, store: Store) -> None:
    """Captures every ten minutes; in the last hour one name and its service work, and another one ends."""
    recorded(cpu_percent=noisy(lambda _: 20))
    random = Random(2)
    for ts in range(NOW + 600, END + 1, 600):
        late = in_last_hour(ts)
        uses: list[tuple[str, int, float, int]] = [("steady", 1, random.uniform(300, 500), 5 * 10**8)]
        if late:
            uses.append((HOSTILE, 2, 1200.0, 3 * 10**9))
        else:
            uses.append(("ended", 3, 240.0, 10**6))
        services = [ServiceUsage("a'b.service", "service", 1200.0 if late else 24.0, 10**6, None, None, 0)]
        record(ts, 2000.0, *uses, covered=600, services=services)
    while store.write(lambda statements: usage_rollups.roll_up(statements, 5)):
        pass


@pytest.mark.parametrize("minutes", [15, 30, 60])
def test_names_and_services_that_moved_are_named_and_their_sql_gives_their_figures(
    used: None, monitor: ResourceMonitor, path: Path, minutes: int
) -> None:
    answer = monitor.changes(END - minutes * MINUTE, END, HOUR)
    found = named(answer)
    assert answer.abstains is None
    assert set(found) == {
        ("name", HOSTILE, "percent"),
        ("name", HOSTILE, "bytes"),
        ("name", "ended", "percent"),
        ("service", "a'b.service", "percent"),
    }
    work = found["name", HOSTILE, "percent"]
    assert (work.before, work.after) == (0, 50)
    assert (found["name", "ended", "percent"].before, found["name", "ended", "percent"].after) == (10, 0)
    assert found["name", HOSTILE, "bytes"].after == pytest.approx(3 * 10**9, abs=1024)
    for change in answer.changes:
        assert figures(path, change) == pytest.approx((change.before, change.after), abs=0.01)


@pytest.fixture
def busy(recorded: Callable[..., None], store: Store) -> None:
    """A disk that writes in the last hour, one that is steady, a sensor that grows hot, an interface with errors."""
    recorded(cpu_percent=noisy(lambda _: 20))
    random = Random(3)
    for ts in range(NOW + 300, END + 601, 300):
        late = in_last_hour(ts)
        written = 300 * 512 * (8000 if late else 200) * random.uniform(0.9, 1.1)
        for kind, name, values in (
            ("disk", "it's {x}", (0, round(written), 0, 60, 240_000 if late else 3000, 9)),
            ("disk", "steady", (0, round(300 * 512 * 4000 * random.uniform(0.5, 1.5)), 0, 60, 9000, 9)),
            ("interface", "eth0", (0, 0, 900 if late else 0, 0)),
            ("sensor", "cpu", (85.0 if late else 50.0 + random.uniform(-1, 1),)),
        ):
            row = DeviceUsage(kind, name, ts, 300.0, all_values(kind, values), DeviceReading(values))  # type: ignore[arg-type]
            store.write(lambda statements, row=row: devices.insert(statements, [row], 1))  # type: ignore[misc]
    while store.write(device_rollups.roll_up):
        pass


@pytest.mark.parametrize("minutes", [15, 30, 60])
def test_devices_that_moved_are_named_and_their_sql_gives_their_figures(
    busy: None, monitor: ResourceMonitor, path: Path, minutes: int
) -> None:
    answer = monitor.changes(END - minutes * MINUTE, END, HOUR)
    found = {(change.kind, change.name, change.metric): change for change in answer.changes}
    assert set(found) == {
        ("device", "disk:it's {x}", "written_bytes"),
        ("device", "disk:it's {x}", "busy_percent"),
        ("device", "interface:eth0", "errors"),
        ("device", "sensor:cpu", "celsius"),
    }
    written = found["device", "disk:it's {x}", "written_bytes"]
    assert (written.unit, written.before, written.after) == (
        "bytes per second", pytest.approx(200 * 512, rel=0.1), pytest.approx(8000 * 512, rel=0.1)
    )  # fmt: skip
    assert found["device", "disk:it's {x}", "busy_percent"].after == 80
    assert found["device", "interface:eth0", "errors"].after == 3
    assert found["device", "sensor:cpu", "celsius"].after == 85
    for change in answer.changes:
        assert figures(path, change) == pytest.approx((change.before, change.after), abs=0.01)


def test_devices_whose_rows_are_gone_are_compared_by_their_hours(
    busy: None, store: Store, monitor: ResourceMonitor, path: Path
) -> None:
    with store.transaction() as statements:
        statements.run("DELETE FROM disk_usage")
        statements.run("UPDATE device_progress SET rows_from = ?", (END,))
    moved = [change for change in monitor.changes(LAST_HOUR, END).changes if change.name.startswith("disk:")]
    assert {change.metric for change in moved} == {"written_bytes", "busy_percent"}
    for change in moved:
        assert "FROM disk_hours" in change.sql
        assert figures(path, change) == pytest.approx((change.before, change.after), abs=0.01)


def test_the_verb_draws_devices_that_moved(tidemark: Tidemark, busy: None) -> None:  # noqa: F811
    drawn = tidemark("changes", "--start", str(LAST_HOUR), "--end", str(END)).out
    assert "written of disk:it's {x}" in drawn
    assert "temperature of sensor:cpu" in drawn


def test_a_long_window_is_read_from_hours_with_the_same_figures(
    used: None, store: Store, fill: Fill, record: Record, monitor: ResourceMonitor, path: Path
) -> None:
    with store.transaction() as statements:
        # The same hours, over and over, so that three-hour windows have a past.
        for table in ("hour", "capture_hour", "process_hour", "service_hour"):
            columns = [row[1] for row in statements.rows(f"PRAGMA table_info({table})") if row[1] != "ts"]
            for back in range(24, 24 * 6, 24):
                statements.run(
                    f"INSERT OR IGNORE INTO {table} (ts, {', '.join(columns)}) SELECT ts - {back * HOUR}, "
                    f"{', '.join(columns)} FROM {table} WHERE ts >= ? AND ts < ?",
                    (NOW, NOW + 24 * HOUR),
                )
    answer = monitor.changes(END - 3 * HOUR, END)
    found = named(answer)
    assert ("name", HOSTILE, "percent") in found
    for change in answer.changes:
        if change.kind != "metric":
            assert "_hours WHERE" in change.sql
        assert figures(path, change) == pytest.approx((change.before, change.after), abs=0.01)
    assert found["name", HOSTILE, "percent"].after == pytest.approx(50 / 3, abs=0.01)


@pytest.mark.parametrize(
    ("asked", "takes"),
    [
        ((NOW, NOW, None), "start, end"),
        ((NOW, NOW + 299, None), "5m to 366d"),
        ((NOW, NOW + 367 * DAY, None), "5m to 366d"),
        ((NOW, NOW + DAY, HOUR), "against: takes a time before the window, here -24h or earlier"),
        ((100, 100 + HOUR, 2 * HOUR), "after 1970"),
    ],
)
def test_what_cannot_be_compared_is_refused(asked: tuple[int, int, int | None], takes: str) -> None:
    with pytest.raises(BadParameter, match=takes):
        spans(*asked)


@pytest.mark.parametrize(
    ("seconds", "step", "count", "factor"),
    [
        (600, 600, 48, 1),
        (20 * MINUTE + 59, 20 * MINUTE, 28, 1),
        (21 * MINUTE, HOUR, 168, (60 / 21) ** 0.5),
        (HOUR, HOUR, 168, 1),
        (DAY + 10, DAY, 28, 1),
    ],
)
def test_the_usual_of_users_is_that_of_short_tiles_of_captures_or_of_hours(
    seconds: int, step: int, count: int, factor: float
) -> None:
    """Of hours in place of shorter windows, the changes are widened."""
    tiles = spans(NOW + 90, NOW + 90 + seconds, 2 * DAY).user_tiles
    assert (tiles.step, tiles.count, tiles.factor) == (step, count, pytest.approx(factor))
    assert tiles.start + step * count <= NOW + 90 - HOUR
    assert tiles.start % (HOUR if step >= HOUR else MINUTE) == 0


def test_left_out_it_is_the_hour_before_or_the_length_of_a_longer_window() -> None:
    assert spans(NOW, NOW + 600, None).against == HOUR
    assert spans(NOW, NOW + DAY, None).against == DAY


def test_the_web_answers_and_refuses(client: FlaskClient, used: None) -> None:
    answer: Any = client.get(f"/api/v1/changes?start={LAST_HOUR}&end={END}&against=-1h").json
    assert list(answer) == [
        "start", "end", "against_start", "against_end", "changes", "abstains", "speaks_from"
    ]  # fmt: skip
    assert list(answer["changes"][0]) == [
        "kind", "name", "metric", "unit", "before", "after", "change", "score", "sql"
    ]  # fmt: skip
    for against in ("1h", "-", "-1x", "-5m", "now", "-1h&against=-1h"):
        refused = client.get(f"/api/v1/changes?start={LAST_HOUR}&end={END}&against={against}")
        assert refused.status_code == 400
        assert "against" in refused.json["error"]  # type: ignore[index]


def test_the_verb_draws_what_moved_and_gives_the_sql(tidemark: Tidemark, used: None) -> None:  # noqa: F811
    window = ("--start", str(LAST_HOUR), "--end", str(END))
    drawn = tidemark("changes", *window).out
    assert f"CPU of {HOSTILE}" in drawn
    assert "50.0 %" in drawn
    assert "SELECT" not in drawn
    assert "FROM process_names WHERE name = 'it''s {x} %s'" in " ".join(
        tidemark("changes", *window, "--sql").out.split()
    )
    assert "nothing moved" in tidemark("changes", "--start", str(LAST_HOUR - HOUR), "--end", str(LAST_HOUR)).out
    assert "on it is long enough" in tidemark("changes", "--start", str(NOW), "--end", str(NOW + HOUR)).out
    assert "a time before is like -1h" in failed(tidemark("changes", "--against", "soon"), 2)
