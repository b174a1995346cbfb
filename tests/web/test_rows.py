"""format=rows, asked of a real server: the same values as columns, as one flat list for other programs."""

import json
import re
import shlex
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.metrics import METRICS
from service.web.server import Server
from tests.conftest import NOW, Fill, Record
from tests.running import ROOT
from tests.web.conftest import close

WINDOW = f"start={NOW - 60}&end={NOW + 60}"
Ask = Callable[[str], bytes]


@pytest.fixture
def ask(client: FlaskClient, fill: Fill, record: Record) -> Iterator[Ask]:
    """Asks a server on a port of its own; its history has two minutes, then nothing."""
    fill(NOW - 120, 12, cpu_percent=90.0)
    fill(NOW - 60, 12, cpu_percent=lambda i: 8 * i, load_1=0.5, network_sent_bytes=lambda i: 5000 * i)
    for number in range(13):
        record(NOW - 60 + 5 * number, 10.0, ("web", 1, 4.0, 10**8), ("(others)", 2, 1.0, 10**6), covered=5)
    server = Server(client.application, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve)
    thread.start()

    def ask(path: str) -> bytes:
        with urllib.request.urlopen(f"{server.address}api/v1/{path}", timeout=20) as answer:
            assert answer.headers["Content-Type"] == "application/json"
            return bytes(answer.read())

    yield ask
    server.stop()
    thread.join(20)
    close(server)


def is_flat(rows: list[dict[str, Any]]) -> bool:
    return all(not isinstance(value, (list, dict)) for row in rows for value in row.values())


def test_a_series_as_rows_has_an_object_for_each_time_and_metric(ask: Ask) -> None:
    asked = f"series?metric=cpu_percent&metric=network_sent_bytes&{WINDOW}"
    columns, rows = json.loads(ask(asked)), json.loads(ask(f"{asked}&format=rows"))
    assert is_flat(rows)
    assert [(row["ts"], row["metric"]) for row in rows] == [
        (ts, name) for ts in columns["ts"] for name in columns["series"]
    ]
    for name, column in columns["series"].items():
        mine = [row for row in rows if row["metric"] == name]
        assert {row["unit"] for row in mine} == {column["unit"]}
        for key in ("average", "minimum", "maximum"):
            assert [row[key] for row in mine] == column[key]
    assert {row["average"] for row in rows if row["ts"] >= NOW} == {None}
    assert {row["average"] for row in rows if row["metric"] == "cpu_percent"} >= {8.0, 88.0, None}


def test_times_of_rows_are_those_of_the_other_answers(ask: Ask) -> None:
    for path in (f"series?metric=load_1&{WINDOW}", f"who?{WINDOW}"):
        rows = json.loads(ask(f"{path}&format=rows"))
        assert rows[0]["time"] == json.loads(ask(path))["start"] == "2026-01-05T09:59:00Z"
        assert [datetime.fromisoformat(row["time"]).timestamp() for row in rows] == [row["ts"] for row in rows]


def test_who_as_rows_has_an_object_for_each_time_and_name_and_they_add_up(ask: Ask) -> None:
    columns, rows = json.loads(ask(f"who?{WINDOW}")), json.loads(ask(f"who?{WINDOW}&format=rows"))
    assert is_flat(rows)
    assert [row["ts"] for row in rows[::4]] == columns["ts"]
    for number, total in enumerate(columns["total"]):
        values = [row["value"] for row in rows[4 * number : 4 * number + 4]]
        assert (None in values) == (total is None)
        assert total is None or sum(values) == pytest.approx(total, abs=0.02)
    assert {row["unit"] for row in rows} == {"percent"}


def test_a_process_that_calls_itself_as_the_rest_is_called_is_told_from_it(ask: Ask) -> None:
    rows = json.loads(ask(f"who?{WINDOW}&format=rows"))
    assert [(row["name"], row["part"]) for row in rows[:4]] == [
        ("web", "listed"),
        ("(others)", "listed"),
        ("(others)", "other"),
        ("(unattributed)", "unattributed"),
    ]


def test_too_many_rows_are_refused_with_how_many_points_to_ask_for(ask: Ask) -> None:
    every = "&".join(f"metric={metric.name}" for metric in METRICS)
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(f"series?{every}&start={NOW - 5000}&end={NOW}&points=5000&format=rows")
    assert refused.value.code == 400
    text = json.loads(refused.value.read())["error"]
    assert text.startswith("format = rows: takes at most 20000 rows, and this has ")
    few = text.rpartition(" ")[2]
    assert len(json.loads(ask(f"series?{every}&start={NOW - 5000}&end={NOW}&points={few}&format=rows"))) <= 20_000


@pytest.mark.parametrize(
    ("number", "expected"), [(0, ["(others)\t5", "(unattributed)\t25", "web\t20"]), (1, ["2026-01-05T09:58:00Z"])]
)
def test_jq_reads_rows_as_shown(ask: Ask, number: int, expected: list[str]) -> None:
    if shutil.which("jq") is None:
        pytest.skip("needs jq")
    page = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
    shown = re.findall(r'^\$ curl -s "http://127.0.0.1:8930/api/v1/([^"]+)" \| (jq .+)$', page, re.M)
    path, command = shown[number]
    done = subprocess.run(shlex.split(command), input=ask(path), capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == expected
