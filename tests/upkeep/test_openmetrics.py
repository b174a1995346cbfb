"""The history as OpenMetrics: by the format's own parser, by promtool, and in a Prometheus that serves its blocks."""

import json
import math
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from service import cli
from service.metrics import METRICS, exposed_value
from service.records import Break
from service.store.reader import History
from service.store.writer import Store
from service.upkeep import archive
from tests.conftest import NOW, Fill
from tests.running import query, until

BOOT = NOW + 4000
SECOND = NOW + 4100
COUNTED = {"network_sent_bytes": lambda i: 1000 + i * 500, "disk_read_bytes": lambda i: i * i}
VALUES: dict[str, Any] = {"cpu_percent": lambda i: 50.86 - i % 7, "process_count": 60, "load_1": 1.25, **COUNTED}
Export = Callable[..., Path]


@pytest.fixture
def recorded(store: Store, fill: Fill) -> None:
    """An hour; then, after a boot, an hour in which the counters soon exceed what they were."""
    fill(NOW, 720, **VALUES)
    store.end_run(NOW + 3600)
    store.begin_run(SECOND, BOOT, "boot-2", "0.1.0", 5)
    grown = {name: lambda i, of=of: 500_000 + 2 * of(i) for name, of in COUNTED.items()}
    fill(SECOND, 720, begins=Break(NOW + 3595, "rebooted"), **{**VALUES, **grown})


@pytest.fixture
def export(monkeypatch: pytest.MonkeyPatch, path: Path, tmp_path: Path) -> Export:
    for name in [name for name in os.environ if name.startswith("TIDEMARK_")]:
        monkeypatch.delenv(name)

    def export(*options: str, code: int = 0) -> Path:
        out = tmp_path / "history.om"
        words = ["--database", str(path), "export", "--format", "openmetrics", "--out", str(out), *options]
        monkeypatch.setattr(sys, "argv", ["manage.py", *words])
        assert cli.main() == code
        return out

    return export


def points_in(file: Path) -> dict[str, dict[int, float]]:
    """Name of a sample -> stamp -> value, by the parser of prometheus-client."""
    found: dict[str, dict[int, float]] = {}
    for family in text_string_to_metric_families(file.read_text()):
        for sample in family.samples:
            at = found.setdefault(sample.name, {})
            ts = round(float(sample.timestamp))
            assert ts not in at
            at[ts] = sample.value
    return found


@pytest.mark.usefixtures("recorded")
def test_every_sample_is_there_under_the_names_of_the_metrics_page(export: Export, path: Path) -> None:
    found = points_in(export())
    for metric in METRICS:
        stored = query(path, f"SELECT ts, {metric.name} FROM samples WHERE {metric.name} IS NOT NULL ORDER BY ts")
        expected = {ts: exposed_value(metric, value) for ts, value in stored}
        if metric.is_counter and stored:
            expected[BOOT] = 0
        assert found.pop(metric.exposed_name, {}) == expected, metric.name
    assert list(found) == ["tidemark_sample_timestamp_seconds"]
    assert all(ts == value for ts, value in found["tidemark_sample_timestamp_seconds"].items())
    assert len(found["tidemark_sample_timestamp_seconds"]) == 1440


@pytest.mark.usefixtures("recorded")
def test_pieces_make_no_difference(export: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = export().read_text()
    monkeypatch.setattr("service.store.reader.ROWS_AT_ONCE", 100)
    assert export().read_text() == whole


def test_a_sample_each_second_is_written_also_where_a_piece_ends(
    export: Export, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(NOW, 50, interval=1, cpu_percent=10)
    monkeypatch.setattr("service.store.reader.ROWS_AT_ONCE", 7)
    assert list(points_in(export())["tidemark_cpu_ratio"]) == list(range(NOW, NOW + 50))


@pytest.mark.usefixtures("recorded")
def test_each_metric_comes_with_its_kind_and_what_it_means(export: Export) -> None:
    families = {family.name: family for family in text_string_to_metric_families(export().read_text())}
    for metric in METRICS:
        family = families.pop(metric.exposed_name.removesuffix("_total"))
        assert (family.type, family.documentation) == (metric.kind, metric.help)
    ((name, last),) = families.items()
    assert (name, last.type) == ("tidemark_sample_timestamp_seconds", "gauge")


@pytest.mark.parametrize(
    ("first", "second", "has_booted"),
    [
        (NOW - 10, NOW + 50, False),  # a minute apart: two readings of one boot
        (NOW - 11, NOW + 50, True),
        (NOW - 1000, NOW + 45, False),  # at the last sample before it
        (NOW - 1000, NOW + 46, True),
        (NOW - 1000, NOW + 99, True),
        (NOW - 1000, NOW + 100, False),  # at the first sample after it
        (None, NOW + 50, False),
        (NOW - 1000, None, False),
    ],
)
def test_a_counter_begins_at_0_where_the_host_is_known_to_have_booted_between_two_samples(
    export: Export, store: Store, fill: Fill, first: int | None, second: int | None, has_booted: bool
) -> None:
    for start, boot in ((NOW, first), (NOW + 100, second)):
        store.begin_run(start, boot, None, "0.1.0", 5)
        fill(start, 10, network_sent_bytes=lambda i: 5000 + i, cpu_percent=10)
    found = points_in(export())
    assert len(found["tidemark_cpu_ratio"]) == 20
    sent = found["tidemark_network_sent_bytes_total"]
    assert [(ts, value) for ts, value in sent.items() if value == 0] == ([(second, 0)] if has_booted else [])
    assert len(sent) == 20 + has_booted


@pytest.mark.usefixtures("recorded")
def test_only_the_window_is_written(export: Export) -> None:
    found = points_in(export("--start", str(NOW + 60), "--end", str(NOW + 120)))
    assert list(found["tidemark_cpu_ratio"]) == list(range(NOW + 60, NOW + 120, 5))
    assert found["tidemark_cpu_ratio"][NOW + 60] == 0.4586


def test_of_a_second_that_came_twice_the_later_sample_is_written(export: Export, fill: Fill) -> None:
    fill(NOW, 10, cpu_percent=10)
    fill(NOW + 20, 10, begins=Break(NOW + 45, "clock_step"), cpu_percent=20)
    found = points_in(export())["tidemark_cpu_ratio"]
    assert [found[NOW + seconds] for seconds in (15, 20, 45, 65)] == [0.1, 0.2, 0.2, 0.2]


@pytest.mark.parametrize("name", [r"a\\b", 'say "hi"', "two\nlines"])
def test_the_instance_may_be_any_text(export: Export, fill: Fill, name: str) -> None:
    fill(NOW, 1, cpu_percent=10)
    (family,) = [f for f in text_string_to_metric_families(export("--instance", name).read_text()) if f.samples][:1]
    assert family.samples[0].labels == {"instance": name, "job": "tidemark"}


def test_the_instance_is_this_host_unless_it_is_named(export: Export, fill: Fill) -> None:
    fill(NOW, 1, cpu_percent=10)
    assert f'instance="{os.uname().nodename}"' in export().read_text()


def test_the_instance_is_that_of_what_is_forwarded_unless_it_is_named(
    export: Export, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(NOW, 1, cpu_percent=1.0)
    monkeypatch.setenv("TIDEMARK_FORWARD_INSTANCE", "web-1")
    assert 'instance="web-1"' in export().read_text()
    assert 'instance="b"' in export("--instance", "b").read_text()


def test_the_labels_are_those_of_what_is_forwarded(export: Export, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(NOW, 2, load_1=1)
    monkeypatch.setenv("TIDEMARK_FORWARD_LABELS", 'site=berlin "2",rack=3')
    (family,) = [f for f in text_string_to_metric_families(export("--instance", "a").read_text()) if f.samples][:1]
    assert family.samples[0].labels == {"instance": "a", "job": "tidemark", "rack": "3", "site": 'berlin "2"'}


@pytest.mark.parametrize("options", [("--tier", "minutes"), ("--format", "csv", "--instance", "a")])
@pytest.mark.usefixtures("recorded")
def test_what_openmetrics_has_not_is_refused(
    export: Export, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    assert not export(*options, code=2).exists()
    assert capsys.readouterr().err.count("\n") == 1


# -- Prometheus itself


@pytest.fixture
def blocks(export: Export, recorded: None, tmp_path: Path) -> Path:
    """What promtool makes of the export."""
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool, which comes with Debian's package prometheus")
    folder = tmp_path / "blocks"
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(export("--instance", "a")), str(folder)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return folder


def test_promtool_makes_blocks_that_hold_every_sample(blocks: Path, path: Path) -> None:
    (blocks / "wal").mkdir()  # without which this promtool dumps nothing
    done = subprocess.run(["promtool", "tsdb", "dump", str(blocks)], check=True, capture_output=True, text=True)
    names = {metric.exposed_name: metric for metric in METRICS}
    found: dict[str, list[tuple[int, float]]] = {}
    for line in done.stdout.splitlines():
        labels, value, milliseconds = line.rsplit(" ", 2)
        name = labels.partition('__name__="')[2].partition('"')[0]
        assert labels.count("=") == 3
        found.setdefault(name, []).append((int(milliseconds) // 1000, float(value)))
    assert len(found) == 6
    for name, points in found.items():
        if name == "tidemark_sample_timestamp_seconds":
            continue
        rows = query(path, f"SELECT COUNT(*), SUM(ts) FROM samples WHERE {names[name].name} IS NOT NULL")[0]
        zero = [BOOT] if names[name].is_counter else []
        assert (len(points), sum(ts for ts, _ in points)) == (rows[0] + len(zero), rows[1] + sum(zero)), name


@pytest.fixture
def ask(blocks: Path, tmp_path: Path) -> Iterator[Callable[[str, int], float]]:
    """The one value of an expression at a time, in a Prometheus over the blocks."""
    if shutil.which("prometheus") is None:
        pytest.skip("needs Debian's package prometheus")
    (tmp_path / "p.yml").write_text("")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    options = [f"--config.file={tmp_path}/p.yml", f"--web.listen-address={address}", f"--storage.tsdb.path={blocks}"]
    options += ["--storage.tsdb.retention.time=100y", "--log.level=error"]
    server = subprocess.Popen(["prometheus", *options], cwd=tmp_path)

    def get(path: str) -> str:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def is_ready() -> bool:
        try:
            return bool(get("/-/ready"))
        except OSError:
            return False

    def ask(expression: str, at: int) -> float:
        asked = urllib.parse.urlencode({"query": expression, "time": at})
        (result,) = json.loads(get(f"/api/v1/query?{asked}"))["data"]["result"]
        return float(result["value"][1])

    try:
        until(is_ready)
        yield ask
    finally:
        server.terminate()
        server.wait()


def test_prometheus_answers_from_the_blocks_and_counts_across_the_boot(
    ask: Callable[[str, int], float], path: Path
) -> None:
    end = SECOND + 3600
    every = "tidemark_sample_timestamp_seconds[4h]"
    count, total = query(path, "SELECT COUNT(*), SUM(ts) FROM samples")[0]
    assert ask(f"count_over_time({every})", end) == count
    assert ask(f"sum_over_time({every})", end) == total
    moved = 719 * 500 + 500_000 + 2 * (1000 + 719 * 500)
    assert math.isclose(ask("increase(tidemark_network_sent_bytes_total[4h])", end), moved, rel_tol=0.01)


def test_a_history_of_imports_alone_is_no_point_at_all(export: Export, path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("INSERT INTO minute (ts, samples, covered_ms, cpu_percent_e2) VALUES (0, 1, 60000, 1)")
    connection.close()
    assert points_in(export()) == {}


@pytest.mark.usefixtures("recorded")
def test_the_points_are_counted_and_the_progress_reaches_the_end(history: History, tmp_path: Path) -> None:
    steps: list[float] = []
    out = tmp_path / "counted.om"
    points = archive.export_openmetrics(history, NOW, SECOND + 7200, {"instance": "a"}, out, steps.append)
    assert points == sum(not line.startswith("#") for line in out.read_text().splitlines()) > 720
    assert sum(steps) == pytest.approx(SECOND + 7200 - NOW)
    assert len(steps) == len(METRICS) + 1
