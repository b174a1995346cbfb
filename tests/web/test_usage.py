"""GET /api/process/resource-usage: what the user's document asks for, from the stored history."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from service.answers.monitor import ResourceMonitor, Snapshot
from service.config import Settings
from service.records import Break
from service.store.reader import History
from service.store.writer import Store
from tests.conftest import NOW, FakeClock, Fill, client_for, settings_for

URL = "/api/process/resource-usage"
# One sample in natural units, with more digits than are shown.
VALUES = {
    "cpu_percent": 45.24,
    "memory_percent": 62.06,
    "disk_percent": 78.5,
    "network_sent_bytes": 1024000,
    "network_received_bytes": 2048000,
    "process_count": 156,
    "load_1": 1.2,
    "load_5": 1.499,
    "load_15": 1.8,
}


@pytest.fixture
def views(history: History, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each read transaction on the history."""
    taken: list[int] = []
    view = history.view

    def counted(*arguments: Any) -> Any:
        taken.append(1)
        return view(*arguments)

    monkeypatch.setattr(history, "view", counted)
    return taken


def reopened(path: Path, clock: FakeClock) -> FlaskClient:
    settings = settings_for(path)
    return client_for(ResourceMonitor(History(path), settings, clock), settings, clock)


def test_the_answer_has_exactly_the_contracts_keys_in_order(client: FlaskClient, fill: Fill) -> None:
    fill(NOW, 1, **VALUES)
    answer = client.get(URL).json
    assert json.dumps(answer) == json.dumps(
        {
            "success": True,
            "current_usage": {
                "cpu_percent": 45.2,
                "memory_percent": 62.1,
                "disk_percent": 78.5,
                "network_io": {"bytes_sent": 1024000, "bytes_recv": 2048000},
                "process_count": 156,
                "load_average": [1.2, 1.5, 1.8],
            },
            "usage_trends": {
                "cpu_trend": "unknown",
                "memory_trend": "unknown",
                "disk_trend": "unknown",
                "peak_usage_times": ["10:00"],
                "average_cpu_last_hour": 45.2,
                "average_memory_last_hour": 62.1,
            },
            "timestamp": "2026-01-05T10:00:00Z",
        }
    )


def test_the_answer_is_json_in_utf8(client: FlaskClient, fill: Fill) -> None:
    fill(NOW, 1, **VALUES)
    response = client.get(URL)
    assert (response.status_code, response.mimetype) == (200, "application/json")
    assert json.loads(response.data.decode("utf-8"))


def test_what_could_not_be_read_is_null_and_never_zero(client: FlaskClient, fill: Fill) -> None:
    fill(NOW, 1)
    current = client.get(URL).json["current_usage"]
    assert current == {
        "cpu_percent": None,
        "memory_percent": None,
        "disk_percent": None,
        "network_io": {"bytes_sent": None, "bytes_recv": None},
        "process_count": None,
        "load_average": [None, None, None],
    }


def test_what_is_no_number_is_null_in_the_answer(client: FlaskClient, fill: Fill) -> None:
    fill(NOW, 1, cpu_percent=float("nan"), load_1=float("inf"))
    body = client.get(URL).text
    assert not re.search("NaN|Infinity", body)
    assert json.loads(body)["current_usage"]["cpu_percent"] is None


def test_an_hour_of_samples_has_words_averages_and_peaks(client: FlaskClient, fill: Fill) -> None:
    fill(NOW - 3600, 720, cpu_percent=20, memory_percent=lambda i: 40 + i / 36, disk_percent=50)
    trends = client.get(URL).json["usage_trends"]
    assert (trends["cpu_trend"], trends["memory_trend"], trends["disk_trend"]) == ("stable", "increasing", "stable")
    assert (trends["average_cpu_last_hour"], trends["average_memory_last_hour"]) == (20.0, 50.0)
    assert len(trends["peak_usage_times"]) == 1


def test_the_timestamp_and_the_labels_are_of_the_settings_zone(
    history: History, path: Path, clock: FakeClock, fill: Fill
) -> None:
    settings = settings_for(path, analysis__timezone="Asia/Kathmandu")
    fill(NOW, 1, **VALUES)
    answer = client_for(ResourceMonitor(history, settings, clock), settings, clock).get(URL).json
    assert answer["timestamp"] == "2026-01-05T15:45:00+05:45"
    assert answer["usage_trends"]["peak_usage_times"] == ["15:30"]


def test_the_answer_is_the_same_after_a_restart(
    client: FlaskClient, path: Path, clock: FakeClock, store: Store, fill: Fill
) -> None:
    fill(NOW - 7200, 1440, cpu_percent=lambda i: i % 90, memory_percent=lambda i: i / 20, disk_percent=1)
    before = client.get(URL).data
    store.end_run(NOW)
    store.close()
    assert reopened(path, clock).get(URL).data == before


def test_between_two_samples_the_history_is_not_read_again(client: FlaskClient, views: list[int], fill: Fill) -> None:
    fill(NOW, 1, cpu_percent=1)
    first = client.get(URL)
    assert len(views) == 1
    assert client.get(URL).data == first.data
    assert len(views) == 1


def test_a_new_sample_is_in_the_next_answer(client: FlaskClient, views: list[int], fill: Fill) -> None:
    fill(NOW, 1, cpu_percent=1)
    client.get(URL)
    fill(NOW + 5, 1, cpu_percent=99)
    answer = client.get(URL).json
    assert (answer["current_usage"]["cpu_percent"], answer["timestamp"]) == (99.0, "2026-01-05T10:00:05Z")
    assert len(views) == 2


def test_each_answer_is_logged_in_the_contracts_words(
    client: FlaskClient, fill: Fill, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fill(NOW, 1, **VALUES)
    client.get(URL)
    client.get(URL)
    line = ("service.web.api", logging.INFO, "📈 Resource usage retrieved | CPU: 45.2% | Memory: 62.1%")
    assert caplog.record_tuples == [line, line]


def test_an_empty_history_is_an_error_that_says_so(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    response = client.get(URL)
    assert (response.status_code, response.json) == (500, {"error": "Server error: no sample has been stored yet"})
    line = "💥 Error getting resource usage: no sample has been stored yet"
    assert caplog.record_tuples == [("service.web.app", logging.ERROR, line)]


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"no database at all " * 500)])
def test_a_history_that_cannot_be_read_is_told_without_path_or_sql(
    path: Path, clock: FakeClock, harm: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client = reopened(path, clock)
    harm(path)
    response = client.get(URL)
    assert response.status_code == 500
    assert response.json == {"error": "Server error: the history cannot be read; `check` and the log say why"}
    [record] = caplog.records
    assert (record.levelname, record.exc_info) == ("ERROR", None)
    assert record.getMessage().startswith("💥 Error getting resource usage: the history cannot be read;")
    assert "sqlite3" in record.getMessage()
    assert "\n" not in record.getMessage()


def test_a_defect_is_told_by_its_class_alone_and_logged_whole(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: ResourceMonitor) -> None:
        raise KeyError("SELECT secret FROM /var/lib")

    monkeypatch.setattr(ResourceMonitor, "snapshot", fail)
    assert client.get(URL).json == {"error": "Server error: KeyError"}
    [record] = caplog.records
    assert record.exc_info
    assert record.getMessage() == "💥 Error getting resource usage: 'SELECT secret FROM /var/lib'"


def test_after_an_error_the_next_answer_is_computed_afresh(client: FlaskClient, fill: Fill) -> None:
    assert client.get(URL).status_code == 500
    fill(NOW, 1, **VALUES)
    assert client.get(URL).status_code == 200


def test_a_sample_that_is_stored_while_an_answer_is_made_shows_in_no_part_of_it(
    history: History, settings: Settings, clock: FakeClock, store: Store, fill: Fill
) -> None:
    """Each call of the monitor's stores another sample: all parts of an answer must be of the one before it."""

    class Busy(ResourceMonitor):
        def get_current_usage(self, snapshot: Snapshot | None = None) -> dict[str, Any]:
            found = super().get_current_usage(snapshot)
            fill(NOW + 5, 1, begins=Break(NOW, None), cpu_percent=90)
            return found

    fill(NOW, 1, cpu_percent=10)
    monitor = Busy(history, settings, clock, lambda: store.version)
    answer = client_for(monitor, settings, clock).get(URL).json
    assert answer["current_usage"]["cpu_percent"] == 10.0
    assert answer["usage_trends"]["average_cpu_last_hour"] == 10.0
    assert answer["timestamp"] == "2026-01-05T10:00:00Z"
