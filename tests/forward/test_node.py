"""Under node_exporter's names arrives what is stored: shares are added up to seconds, over batches and boots."""

import subprocess
import sys
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.forward.lines import TIDEMARK
from service.forward.node import MODES, NODE
from service.forward.points import NOTHING_SENT, Points, Series, State
from service.forward.status import again
from service.metrics import METRICS
from service.records import Break
from service.store.forwards import Piece, Stretch
from service.store.writer import Store
from tests.conftest import NOW, FakeClock, Fill
from tests.forward.conftest import Drive
from tests.forward.receiver import Scripted
from tests.forward.told import read, taken
from tests.running import ROOT, command, environment

SERIES = Series("host", {}, NODE)
IDLE, USER = (f'node_cpu_seconds_total{{cpu="all",mode="{mode}"}}' for mode in ("idle", "user"))
BOTH = {"tidemark_sample_timestamp_seconds", "tidemark_cpus"}
PRESSURE = "node_pressure_io_waiting_seconds_total"
STRETCH = Stretch(1, NOW, None, None, NOW - 1000, "boot-1", 5)
# Shares that no float adds up exactly.
SHARES = {"cpu_user_percent": 12.34, "cpu_system_percent": 3.21, "cpu_iowait_percent": 7.07, "cpu_percent": 15.55}


def piece(rows: list[dict[str, Any]], of: Stretch = STRETCH, start: int = NOW, covered_ms: int = 5000) -> Piece:
    """Rows of stored values, five seconds apart."""
    return Piece(of, [(start + 5 * i, *(row.get(m.name) for m in METRICS), covered_ms) for i, row in enumerate(rows)])


def sent(points: Points) -> dict[str, dict[float, float | str]]:
    return read(SERIES.body(points.points))


ROWS = st.lists(
    st.fixed_dictionaries({m.name: st.none() | st.integers(0, 10_000) for m in METRICS}), min_size=1, max_size=12
)


@settings(max_examples=25)
@given(ROWS, st.integers(1, 11))
def test_samples_in_two_batches_say_the_same_as_in_one(rows: list[dict[str, Any]], cut: int) -> None:
    once = Points(NOTHING_SENT, NODE).add([piece(rows)])
    state = NOTHING_SENT
    found: list[list[bytes]] = [[] for _ in once.points]
    for part, start in ((rows[:cut], NOW), (rows[cut:], NOW + 5 * cut)):
        if part:
            points = Points(State.read(*state.written()), NODE).add([piece(part, start=start)])
            found, state = [old + new for old, new in zip(found, points.points, strict=True)], points.state
    assert found == once.points
    assert state == once.state


@settings(max_examples=25)
@given(ROWS)
def test_a_counter_never_shrinks_and_where_the_modes_are_known_they_make_up_all_the_time(
    rows: list[dict[str, Any]],
) -> None:
    for row in rows:
        row.update(cpu_count=4, cpu_percent=0)
        for mode in MODES[:-1]:
            row[f"cpu_{mode}_percent"] = (row[f"cpu_{mode}_percent"] or 0) // len(MODES)
            row["cpu_percent"] += row[f"cpu_{mode}_percent"] * (mode != "iowait")
    found = sent(Points(NOTHING_SENT, NODE).add([piece(rows)]))
    for name, points in found.items():
        if name.split("{")[0].endswith("_total"):
            values = [value for value in points.values() if value != "stale"]
            assert values == sorted(values)
    modes = [points for name, points in found.items() if name.startswith("node_cpu_seconds_total")]
    assert len(modes) == len(MODES)
    for i in range(len(rows)):
        assert sum(points[NOW + 5 * i] for points in modes) == pytest.approx(4 * 5 * (i + 1))  # type: ignore[misc]


def test_what_is_stored_arrives_in_the_units_of_node_exporter(fill: Fill, drive: Drive, receiver: Scripted) -> None:
    fill(
        NOW - 15,
        3,
        **SHARES,
        cpu_count=8,
        load_1=0.5,
        io_pressure=10.0,
        memory_total_bytes=2**34,
        swap_in_bytes=lambda i: 4096 * (1000 + i),
        context_switches=lambda i: 10**6 + i,
        tcp_established=7,
    )
    drive(forward__names="node", forward__instance="web-1").ship()
    found = taken(receiver)
    stamps = [NOW - 15 + 5 * i for i in range(3)]
    assert list(found["tidemark_sample_timestamp_seconds"]) == stamps
    assert list(found["node_time_seconds"].values()) == stamps
    assert set(found["node_boot_time_seconds"].values()) == {NOW - 1000}
    assert [found[name][NOW - 5] for name in ("node_load1", "node_memory_MemTotal_bytes", "tidemark_cpus")] == [
        0.5,
        2**34,
        8,
    ]
    assert found["node_vmstat_pswpin"][NOW - 5] == 1002
    assert found["node_context_switches_total"][NOW - 5] == 10**6 + 2
    assert found["node_netstat_Tcp_CurrEstab"][NOW - 5] == 7
    # Of 8 CPUs in 15 seconds.
    assert found[USER][NOW - 5] == pytest.approx(0.1234 * 8 * 15, abs=1e-9)
    assert found[IDLE][NOW - 5] == pytest.approx((1 - 0.1555 - 0.0707) * 8 * 15, abs=1e-9)
    assert found[PRESSURE][NOW - 5] == pytest.approx(0.1 * 15, abs=1e-9)
    (uname,) = [name for name in found if name.startswith("node_uname_info")]
    assert 'sysname="Linux"' in uname
    # Nothing is said of what is not known, and nothing comes under two names.
    assert "node_memory_MemFree_bytes" not in found
    assert {name for name in found if name.startswith("tidemark")} == BOTH


def test_where_the_kernel_did_not_tell_idle_from_waiting_it_is_idle_and_an_unknown_mode_is_no_point() -> None:
    rows = [{"cpu_count": 2, "cpu_percent": 4000, "cpu_user_percent": 4000}, {"cpu_count": 2}, {"cpu_percent": 1}]
    found = sent(Points(NOTHING_SENT, NODE).add([piece(rows)]))
    assert found[IDLE] == {NOW: 6.0}
    assert found[USER] == {NOW: 4.0}
    assert not [name for name in found if "iowait" in name]


def test_sums_begin_anew_at_a_boot_where_a_zero_is_sent_and_in_a_gap_they_stand_still() -> None:
    row = {"io_pressure": 5000}
    killed = replace_stretch(2, start=NOW + 100, prior_end_ts=NOW, reason="killed")
    booted = replace_stretch(
        3, start=NOW + 290, prior_end_ts=NOW + 100, reason="rebooted", boot_ts=NOW + 200, boot_id="boot-2"
    )
    points = Points(NOTHING_SENT, NODE)
    points.add([piece([row]), piece([row], killed, NOW + 100), piece([row], booted, NOW + 300)])
    assert sent(points)[PRESSURE] == {
        NOW: 2.5,
        NOW + 5: "stale",
        NOW + 100: 5.0,
        NOW + 105: "stale",
        NOW + 200: 0.0,
        NOW + 300: 2.5,
    }


def replace_stretch(number: int, start: int, **changed: Any) -> Stretch:
    return STRETCH._replace(stretch_id=number, start_ts=start, **changed)


def test_a_sample_says_the_same_when_it_is_sent_again_or_to_a_receiver_that_comes_later(
    fill: Fill, drive: Drive, store: Store, receiver: Scripted, clock: FakeClock
) -> None:
    shares = Random(7).choices(range(101), k=40)
    fill(NOW - 400, 20, cpu_count=4, cpu_user_percent=lambda i: shares[i], io_pressure=1.25)
    store.end_run(NOW - 300)
    store.begin_run(NOW - 200, NOW - 1000, "boot-1", "0.1.0", 5)
    fill(NOW - 200, 20, 5, Break(NOW - 305, "stopped"), cpu_count=4, cpu_user_percent=lambda i: shares[20 + i])
    driven = drive(forward__names="node", forward__every=20)
    driven.ship()
    before = taken(receiver)
    assert before[USER][NOW - 105] == pytest.approx(sum(shares) / 100 * 4 * 5)
    receiver.bodies.clear()
    target = driven.settings.forward.target
    store.write(lambda statements: again(statements, target, NOW - 350, None, NODE))
    driven.begin()
    driven.ship()
    sent_again = {ts: value for ts, value in taken(receiver)[USER].items() if value != "stale"}
    assert len(sent_again) == 30
    assert all(before[USER][ts] == value for ts, value in sent_again.items())
    receiver.bodies.clear()
    backfill = f"{round(clock.wall) - NOW + 150}s"
    drive(forward__names="node", forward__url=f"{receiver.url}/later", forward__backfill=backfill).ship()
    later = taken(receiver)[USER]
    assert 0 < len(later) < 40
    assert all(before[USER][ts] == value for ts, value in later.items())


def test_of_a_boot_whose_beginning_is_deleted_a_sum_goes_on_from_what_was_sent_or_begins_anew(
    fill: Fill, drive: Drive, store: Store, receiver: Scripted, clock: FakeClock
) -> None:
    fill(NOW - 500, 100, cpu_count=4, cpu_user_percent=50)
    driven = drive(forward__names="node")
    driven.ship()
    before = taken(receiver)[USER]
    store.write(lambda statements: statements.run("DELETE FROM sample WHERE ts < ?", (NOW - 300,)))
    store.write(lambda statements: statements.run("UPDATE progress SET samples_from = ?", (NOW - 300,)))
    target = driven.settings.forward.target
    for end in (NOW - 100, None):
        receiver.bodies.clear()
        store.write(lambda statements, end=end: again(statements, target, NOW - 200, end, NODE))  # type: ignore[misc]
        driven.begin()
        driven.ship()
        sent_again = taken(receiver)[USER]
        assert len(sent_again) == (20 if end else 40)
        assert all(before[ts] == value for ts, value in sent_again.items())
    receiver.bodies.clear()
    backfill = f"{round(clock.wall) - NOW + 150}s"
    drive(forward__names="node", forward__url=f"{receiver.url}/later", forward__backfill=backfill).ship()
    assert next(iter(taken(receiver)[USER].values())) == 0.5 * 4 * 5


def test_the_names_may_change_and_change_back(fill: Fill, drive: Drive, receiver: Scripted) -> None:
    moved = {"cpu_count": 4, "cpu_user_percent": 50, "context_switches": lambda i: 1000 + i}
    fill(NOW - 350, 10, **moved)
    drive().ship()
    for start, names in ((NOW - 250, "node"), (NOW - 150, "tidemark"), (NOW - 50, "node")):
        receiver.bodies.clear()
        fill(start, 10, 5, Break(start - 55, "stopped"), **moved)
        drive(forward__names=names).ship()
        found = taken(receiver)
        name = "node_context_switches_total" if names == "node" else "tidemark_context_switches_total"
        assert len(found[name]) == 10
        assert any(other.startswith("node_") for other in found) == (names == "node")
        assert ("tidemark_context_switches_total" in found) == (names == "tidemark")
        # Those that went on under both names have ended; the others had, without a word, when the names changed.
        assert {other for other, points in found.items() if "stale" in points.values()} == BOTH
    # Of what was counted meanwhile under other names nothing is added to it.
    assert found[USER][NOW - 5] == pytest.approx(2 * 10 * 4 * 5 * 0.5)


def test_a_request_that_is_refused_is_halved_by_its_series_too(fill: Fill, drive: Drive, receiver: Scripted) -> None:
    fill(NOW - 5, 1, cpu_count=4, cpu_user_percent=50, load_1=1.0)
    receiver.refuses = lambda points: "node_load1" in points
    driven = drive(forward__names="node")
    driven.ship()
    assert driven.row()["refused"] == 1
    assert "node_load1" not in receiver.taken
    assert {"node_cpu_seconds_total", "tidemark_sample_timestamp_seconds"} <= set(receiver.taken)


def test_only_what_uses_these_names_loads_them() -> None:
    for names, loaded in (("tidemark", False), ("node", True)):
        code = (
            "import sys; from service.forward import shipper; from service.forward.names import naming; "
            f"naming('{names}'); sys.exit('service.forward.node' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == loaded


def test_the_status_says_which_names(fill: Fill, drive: Drive, receiver: Scripted, store: Store) -> None:
    fill(NOW - 5, 1)
    driven = drive(forward__names="node")
    driven.ship()
    given = {"TIDEMARK_FORWARD_URL": receiver.url, "TIDEMARK_FORWARD_NAMES": "node"}
    verb = command(driven.path, "forward", "--status")
    done = subprocess.run(verb, cwd=ROOT, env=environment(**given), capture_output=True, text=True, check=False)
    assert "names" in done.stdout
    assert "node" in done.stdout
    done = subprocess.run(
        command(driven.path, "check"), cwd=ROOT, env=environment(**given), capture_output=True, text=True, check=False
    )
    assert "204 No Content; node names" in done.stdout


def test_the_names_of_the_two_have_only_two_in_common() -> None:
    assert set(NODE.names) & set(TIDEMARK.names) == BOTH
    assert len(set(NODE.names)) == len(NODE.names)
