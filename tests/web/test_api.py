"""The v1 API: parameters that are refused say why, and every answer conforms to the OpenAPI document."""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings

import service
from service.answers.monitor import ResourceMonitor
from service.clock import DAY, parse_time
from service.config import load
from service.metrics import BY_NAME, METRICS
from service.records import Break, ServiceUsage
from service.store.reader import History
from service.store.writer import Store
from tests.conftest import NOW, FakeClock, Fill, Record, client_for
from tests.running import ROOT

TIME = (
    "takes RFC 3339 with an offset, unix seconds, now, a time before now like -90m, -24h, -7d, or in analysis.timezone "
    "today, yesterday, monday to sunday, 2026-01-31, 2026-01-31T12:00, 12:00, yesterday 12:00"
)
METRIC = "takes one of " + ", ".join(BY_NAME)
METRIC_LIST = "takes one or more of " + ", ".join(BY_NAME)
BOTH = "window, start, end: takes window, or start and end instead of it"
DURATION = "takes a duration like 90m, 24h, 7d, from 1m to 10y"
DATA = [
    "/api/process/resource-usage",
    "/api/v1/series?metric=cpu_percent",
    "/api/v1/series?metric=load_1&metric=network_sent_bytes&start=-3h&points=7",
    "/api/v1/series?metric=disk_percent&start=-90d",
    "/api/v1/series?metric=load_1&metric=network_sent_bytes&start=-3h&points=7&format=rows",
    "/api/v1/series?metric=disk_percent&start=0&points=5000",
    "/api/v1/summary",
    "/api/v1/summary?window=30d",
    "/api/v1/peaks",
    "/api/v1/peaks?metric=disk_written_bytes&window=3h&count=20",
    "/api/v1/processes",
    "/api/v1/processes?start=0&end=4999-12-31T23:59:59Z&sort=memory&count=100",
    "/api/v1/processes?by=service",
    "/api/v1/who",
    "/api/v1/who?format=rows",
    "/api/v1/who?start=-30d&by=service&metric=memory&top=2&points=30",
    "/api/v1/who?start=0&end=4999-12-31T23:59:59Z&metric=memory",
    "/api/v1/insights",
    "/api/v1/metrics",
    "/api/v1/devices",
    "/api/v1/host",
    "/api/v1/sql?query=SELECT+time,cpu_percent+FROM+samples+LIMIT+3",
    "/api/v1/gaps",
    "/api/v1/gaps?start=0&end=now",
    "/api/v1/events",
    "/api/v1/events?start=0&end=now",
    "/api/v1/changes",
    "/api/v1/changes?start=-10m&end=now&against=-1d",
]


@pytest.fixture
def filled(store: Store, fill: Fill, record: Record, clock: FakeClock) -> None:
    """Two hours of every metric and of who used the host, with a gap before them, rolled up; one process leaks."""
    for number in range(1, 241):
        record(NOW - 7200 + 30 * number, 60.0, ("web", 1, 40.0, 10**8), ("leak", 2, 1.0, 10**9 + 10**7 * number))
    fill(NOW - 86400, 1, cpu_percent=1)
    values: dict[str, Any] = {metric.name: (lambda i: i * 1000) if metric.is_counter else 42.5 for metric in METRICS}
    values["cpu_percent"] = lambda i: i % 100
    fill(NOW - 7200, 1440, begins=Break(NOW - 86400, "stopped"), **values)
    while store.roll_up():
        pass


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    answer: dict[str, Any] = client.get("/api/v1/openapi.json").json
    return answer


def whole(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """A schema with what it refers to."""
    return {**schema, "components": document["components"]}


def conforms(document: dict[str, Any], url: str, status: int, answer: object) -> None:
    described = document["paths"][url.partition("?")[0]]["get"]["responses"][str(status)]
    schema = whole(document, described["content"]["application/json"]["schema"])
    jsonschema_rs.validator_for(schema, validate_formats=True).validate(answer)


@pytest.mark.parametrize("url", [*DATA, "/healthz"])
def test_an_answer_over_a_filled_history_is_as_described(
    client: FlaskClient, document: dict[str, Any], url: str, filled: None
) -> None:
    response = client.get(url)
    assert response.status_code == 200
    conforms(document, url, 200, response.json)


@pytest.mark.parametrize("url", DATA)
def test_an_answer_over_an_empty_history_is_as_described(
    client: FlaskClient, document: dict[str, Any], url: str
) -> None:
    response = client.get(url)
    assert response.status_code == (500 if "resource-usage" in url else 200)
    conforms(document, url, response.status_code, response.json)


@pytest.mark.parametrize("url", DATA)
def test_an_answer_over_one_sample_is_as_described(
    client: FlaskClient, document: dict[str, Any], url: str, fill: Fill
) -> None:
    fill(NOW - 5, 1, cpu_percent=3)
    conforms(document, url, 200, client.get(url).json)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("series", f"metric = nothing: {METRIC_LIST}"),
        ("series?metric=x", f"metric = x: {METRIC_LIST}"),
        ("series?metric=cpu_percent&metric=x", f"metric = cpu_percent, x: {METRIC_LIST}"),
        ("series?metric=cpu_percent&points=0", "points = 0: takes a whole number from 1 to 5000"),
        ("series?metric=cpu_percent&points=5001", "points = 5001: takes a whole number from 1 to 5000"),
        ("series?metric=cpu_percent&points=1.5", "points = 1.5: takes a whole number from 1 to 5000"),
        ("series?metric=cpu_percent&format=csv", "format = csv: takes columns or rows"),
        ("who?format=", "format = nothing: takes columns or rows"),
        ("series?metric=cpu_percent&start=tomorrow", f"start = tomorrow: {TIME}"),
        ("series?metric=cpu_percent&end=2026-02-30", f"end = 2026-02-30: {TIME}"),
        ("series?metric=cpu_percent&start=%00", f"start = \0: {TIME}"),
        ("series?metric=cpu_percent&start=now&end=-1h", "start, end: takes a start that is before its end"),
        ("summary?window=abc", f"window = abc: {DURATION}"),
        ("summary?window=59s", f"window = 59s: {DURATION}"),
        ("summary?window=11y", f"window = 11y: {DURATION}"),
        ("summary?window=1h&end=now", BOTH),
        ("peaks?window=24h&start=-1h", BOTH),
        ("summary?start=now&end=-1h", "start, end: takes a start that is before its end"),
        ("peaks?start=tomorrow", f"start = tomorrow: {TIME}"),
        ("peaks?metric=x&metric=y", f"metric = x, y: {METRIC}"),
        ("peaks?count=21", "count = 21: takes a whole number from 1 to 20"),
        ("peaks?count=many", "count = many: takes a whole number from 1 to 20"),
        ("processes?sort=name", "sort = name: takes cpu or memory"),
        ("processes?by=pid", "by = pid: takes name or service"),
        ("who?metric=disk", "metric = disk: takes cpu or memory"),
        ("who?top=0", "top = 0: takes a whole number from 1 to 50"),
        ("who?top=3&top=4", "top = 3, 4: takes a whole number from 1 to 50"),
        ("processes?count=101", "count = 101: takes a whole number from 1 to 100"),
        ("processes?start=now&end=-1h", "start, end: takes a start that is before its end"),
        ("gaps?start=" + "9" * 400, f"start = {'9' * 80}: {TIME}"),
        ("gaps?foo=1", "unknown parameter foo: takes start, end"),
        ("summary?Window=1h", "unknown parameter Window: takes start, end, window"),
    ],
)
def test_a_bad_parameter_is_named_with_its_value_and_what_it_takes(client: FlaskClient, url: str, text: str) -> None:
    response = client.get(f"/api/v1/{url}")
    assert (response.status_code, response.json) == (400, {"error": text})


@pytest.mark.parametrize("moment", ["2026-01-05T11:00:00+01:00", "2026-01-05T11:00:00%2B01:00", f"{NOW}", "now"])
def test_a_moment_may_be_written_in_each_way(client: FlaskClient, moment: str) -> None:
    answer = client.get(f"/api/v1/series?metric=cpu_percent&start=-1h&end={moment}").json
    assert answer["end"] == "2026-01-05T10:00:00Z"


@pytest.mark.parametrize("points", [1, 2, 300, 5000])
@pytest.mark.parametrize("end", ["now", "4999-12-31T23:59:59Z"])
@pytest.mark.parametrize("start", ["0", "-1h"])
def test_a_series_over_any_window_is_answered(client: FlaskClient, start: str, end: str, points: int) -> None:
    response = client.get(f"/api/v1/series?metric=cpu_percent&start={start}&end={end}&points={points}")
    assert response.status_code == 200
    assert len(response.json["ts"]) <= max(2, points)


@pytest.mark.parametrize(("moment", "written"), [("2026-01-04", "T00:00:00"), ("2026-01-04T03:12", "T03:12:00")])
def test_a_moment_without_an_offset_is_one_of_the_zone(history: History, moment: str, written: str) -> None:
    kathmandu = load(environment={"TIDEMARK_ANALYSIS_TIMEZONE": "Asia/Kathmandu"})[0]
    client = client_for(ResourceMonitor(history, kathmandu, FakeClock()), kathmandu, FakeClock())
    assert client.get(f"/api/v1/processes?start={moment}").json["start"] == f"2026-01-04{written}+05:45"
    # Before 1970 in that zone, but a time all the same.
    assert client.get("/api/v1/processes?start=1970-01-01").json["start"].startswith("1970-01-01T")


def test_a_series_has_what_was_stored_and_null_where_nothing_was(client: FlaskClient, fill: Fill) -> None:
    fill(NOW + 5, 2, cpu_percent=lambda i: 10 * (i + 1))
    answer = client.get(f"/api/v1/series?metric=cpu_percent&start={NOW}&end={NOW + 25}").json
    assert answer["ts"] == [NOW, NOW + 5, NOW + 10, NOW + 15, NOW + 20]
    assert answer["series"]["cpu_percent"]["average"] == [None, 10.0, 20.0, None, None]


def test_a_counter_comes_as_a_rate(client: FlaskClient, fill: Fill) -> None:
    fill(NOW - 100, 20, network_sent_bytes=lambda i: i * 5000)
    series = client.get("/api/v1/series?metric=network_sent_bytes&start=-60s").json["series"]["network_sent_bytes"]
    assert series["unit"] == "bytes per second"
    assert set(series["average"]) <= {1000.0, None}
    assert 1000.0 in series["average"]


def test_the_host_is_told_with_when_its_history_begins(client: FlaskClient, filled: None, path: Path) -> None:
    host = client.get("/api/v1/host").json
    with sqlite3.connect(path) as connection:
        [(oldest,)] = connection.execute("SELECT MIN(ts) FROM samples")
    assert parse_time(host["recording_since"], 0) <= oldest
    # Two captures, of which one begins what the other is of, and the sample after.
    assert parse_time(host["first_capture"], 0) - parse_time(host["recording_since"], 0) == 2 * 30 + 5
    assert host["scope"] in ("host", "container")
    assert (host["name"], host["cpus"], host["version"]) == (os.uname().nodename, os.cpu_count(), service.__version__)
    assert host["memory_bytes"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_statement_is_answered_to_those_who_may_read_and_not_to_a_foreign_page(
    client: FlaskClient, filled: None
) -> None:
    asked = "/api/v1/sql?query=SELECT COUNT(*) AS n FROM samples"
    answer = client.get(asked).json
    assert (answer["columns"], answer["is_cut"]) == (["n"], False)
    assert answer["rows"][0][0] > 0
    for site, status in (("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403)):
        assert client.get(asked, headers={"Sec-Fetch-Site": site}).status_code == status
    refused = client.get("/api/v1/sql?query=DROP VIEW samples")
    assert (refused.status_code, "only reads" in refused.json["error"]) == (400, True)
    assert client.get("/api/v1/sql").status_code == 400


def test_gaps_are_told_with_their_reason(client: FlaskClient, filled: None) -> None:
    assert client.get("/api/v1/gaps").json == {
        "gaps": [
            {
                "start": "2026-01-04T10:00:00Z",
                "end": "2026-01-05T07:59:55Z",
                "seconds": 79195,
                "reason": "stopped",
            }
        ]
    }


def test_who_used_the_machine_adds_up_with_unattributed_to_the_hosts_own_figure(
    client: FlaskClient, filled: None
) -> None:
    answer = client.get("/api/v1/processes?start=-1h").json
    assert answer["covered_seconds"] == 3600
    assert [(usage["name"], usage["pids"]) for usage in answer["processes"]] == [("web", [1]), ("leak", [2])]
    parts = sum(usage["cpu_percent"] for usage in answer["processes"]) + answer["unattributed_cpu_percent"]
    assert parts == pytest.approx(answer["cpu_percent"], abs=0.05)
    assert answer["processes"][0]["cpu_percent"] == pytest.approx(100 * 40 / 120, abs=0.01)
    assert answer["cpu_percent"] == 50


def test_those_beyond_the_count_are_unattributed(client: FlaskClient, filled: None) -> None:
    answer = client.get("/api/v1/processes?start=-1h&count=1&sort=memory").json
    assert [usage["name"] for usage in answer["processes"]] == ["leak"]
    assert answer["unattributed_cpu_percent"] == pytest.approx(50 - 100 / 120, abs=0.02)


def test_a_peak_names_who_used_most_around_its_maximum_and_not_in_its_whole_bucket(
    client: FlaskClient, filled: None
) -> None:
    peaks = client.get("/api/v1/peaks?window=3h").json["peaks"]
    assert peaks
    for peak in (peak for peak in peaks if peak["processes"]):
        assert peak["date"] == peak["start"][:10]
        window = {"start": peak["processes_start"], "end": peak["processes_end"], "count": 5}
        assert peak["processes_start"] <= peak["maximum_at"] <= peak["processes_end"]
        for by in ("name", "service"):
            answer = client.get("/api/v1/processes", query_string={**window, "by": by}).json
            assert peak["processes" if by == "name" else "services"] == answer["processes"]
    assert peaks[-1]["processes"][0]["name"] == "web"


def test_a_peak_of_sixteen_seconds_has_the_name_that_made_it_and_not_that_of_its_half_hour(
    client: FlaskClient, record: Record, fill: Fill
) -> None:
    """The issue's peak: one program alone for sixteen seconds, in a half hour in which another used little, long."""
    for number in range(-60, 61):
        burst = number == 0
        fill(NOW + 5 * number, 1, cpu_percent=95.0 if burst else 5.0)
        if number % 6 == 0:
            uses = [("burst", 9, 114.0, 0)] if burst else [("steady", 1, 6.0, 0)]
            record(NOW + 5 * number, 114.0 if burst else 6.0, *uses, covered=30, services=[])
    (peak, *_) = client.get("/api/v1/peaks?window=24h&count=1").json["peaks"]
    assert peak["maximum_at"] == "2026-01-05T10:00:00Z"
    assert [usage["name"] for usage in peak["processes"]] == ["burst"]
    assert peak["processes"][0]["cpu_percent"] == 95.0
    assert (peak["processes_start"], peak["processes_end"]) == ("2026-01-05T09:59:30Z", "2026-01-05T10:00:00Z")


def test_where_no_capture_holds_the_maximum_nobody_is_named(client: FlaskClient, fill: Fill) -> None:
    fill(NOW - 600, 100, cpu_percent=lambda number: number % 90)
    (peak, *_) = client.get("/api/v1/peaks").json["peaks"]
    assert (peak["processes_start"], peak["processes"], peak["services"]) == (None, [], [])


def test_who_used_the_machine_over_time_adds_up_in_each_bucket(client: FlaskClient, filled: None) -> None:
    for query in ("start=-3h", "start=-30d", "start=-3h&top=1", "start=-3h&metric=memory", "start=-5y&points=20"):
        answer = client.get(f"/api/v1/who?{query}").json
        columns = [*answer["series"].values(), answer["other"], answer["unattributed"]]
        assert any(total is not None for total in answer["total"]), query
        for parts in zip(*columns, answer["total"], strict=True):
            assert (parts[-1] is None) == any(part is None for part in parts), query
            if parts[-1] is not None:
                assert sum(parts[:-1]) == pytest.approx(parts[-1], abs=0.05), query
    assert list(client.get("/api/v1/who?start=-3h").json["series"]) == ["web", "leak"]


def test_over_time_a_window_says_what_the_whole_of_it_says(client: FlaskClient, filled: None) -> None:
    answer = client.get("/api/v1/who?start=-1h&points=2").json
    window = {"start": answer["start"], "end": answer["end"]}
    whole = client.get("/api/v1/processes", query_string=window).json
    assert len(answer["ts"]) <= 2
    known = [value for value in answer["series"]["web"] if value is not None]
    web = next(usage for usage in whole["processes"] if usage["name"] == "web")
    assert sum(known) / len(known) == pytest.approx(web["cpu_percent"], rel=0.2)


def test_by_service_the_same_is_asked_of_services(client: FlaskClient, record: Record, fill: Fill) -> None:
    fill(NOW - 600, 120)
    used = ServiceUsage("nginx.service", "service", 12.0, 30 * 2**20, 4096, 0, 0)
    for number in range(20):
        record(NOW - 600 + 30 * number, 24.0, ("nginx", 7, 3.0, 2**20), services=[used])
    answer = client.get("/api/v1/processes?start=-10m&by=service").json
    (service,) = answer["processes"]
    assert (service["name"], service["cpu_percent"], service["memory_bytes"]) == ("nginx.service", 10.0, 30 * 2**20)
    assert (service["pids"], service["process_count"], service["children_cpu_percent"]) == ([], None, None)
    assert answer["unattributed_cpu_percent"] == 10.0
    over_time = client.get("/api/v1/who?start=-10m&by=service&metric=memory").json
    assert {value for value in over_time["series"]["nginx.service"] if value is not None} == {30 * 2**20}
    assert set(over_time["unattributed"]) == {None}


def test_a_peak_of_memory_names_who_held_most(client: FlaskClient, filled: None) -> None:
    (peak, *_) = client.get("/api/v1/peaks?metric=memory_percent&window=3h").json["peaks"]
    sizes = [usage["memory_bytes"] for usage in peak["processes"]]
    assert sizes == sorted(sizes, reverse=True) != []


def test_insights_come_with_the_sql_that_shows_them(client: FlaskClient, filled: None, path: Path) -> None:
    (growing,) = [found for found in client.get("/api/v1/insights").json["insights"] if "leak" in found["title"]]
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        cursor = connection.execute(growing["sql"])
        row = dict(zip((column[0] for column in cursor.description), cursor.fetchone(), strict=True))
    assert {key: row[key] for key in growing["evidence"]} == growing["evidence"]
    assert growing["device"] is None


def test_rules_that_need_a_longer_history_say_from_when_on_they_can_find_something(
    client: FlaskClient, filled: None
) -> None:
    since = parse_time(client.get("/api/v1/host").json["recording_since"], 0)
    later = client.get("/api/v1/insights").json["later"]
    known = [(each["rule"], round((parse_time(each["speaks_from"], 0) - since) / DAY)) for each in later]
    assert known == [
        *(("tcp_retransmits", 6), ("disk_filling", 7), ("recurring_peak", 7)),
        *(("memory_growing_for_days", 8), ("unusual_hour", 8), ("oversized", 20)),
    ]


# -- the document


def test_the_document_is_openapi_3_1_and_has_every_route(client: FlaskClient, document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    routes = {str(rule) for rule in client.application.url_map.iter_rules()}
    assert set(document["paths"]) == {
        route for route in routes if route.startswith("/api/") and route not in ("/api/v1/openapi.json", "/api/docs")
    } | {"/healthz"}


def test_every_schema_in_the_document_is_one(document: dict[str, Any]) -> None:
    for operation in (methods["get"] for methods in document["paths"].values()):
        for parameter in operation.get("parameters", []):
            assert jsonschema_rs.meta.is_valid(parameter["schema"])
        for response in operation["responses"].values():
            if "content" in response:
                assert jsonschema_rs.meta.is_valid(response["content"]["application/json"]["schema"])


def test_every_parameter_is_described_with_a_default_that_fits(document: dict[str, Any]) -> None:
    for operation in (methods["get"] for methods in document["paths"].values()):
        assert operation["summary"]
        for parameter in operation.get("parameters", []):
            assert parameter["description"]
            # What is left out of a choice, like start and end beside window, has none.
            if "default" in parameter["schema"]:
                described = whole(document, parameter["schema"])
                assert jsonschema_rs.is_valid(described, parameter["schema"]["default"])
            else:
                assert parameter["required"] or "instead of" in parameter["description"]


def test_errors_of_every_status_are_described_as_they_are_given(document: dict[str, Any]) -> None:
    described = document["components"]["responses"]["DEFAULT_ERROR"]["content"]["application/json"]["schema"]
    described = whole(document, described)
    jsonschema_rs.validate(described, {"error": "not found"})
    assert not jsonschema_rs.is_valid(described, {"code": 404, "status": "Not Found"})


def test_every_answer_and_every_object_in_it_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    """So that a client made from the document has classes whose names a person would have chosen."""
    for path, methods in document["paths"].items():
        for status, response in methods["get"]["responses"].items():
            if status != "default":
                assert list(response["content"]["application/json"]["schema"]) == ["$ref"], path
    for name, schema in document["components"]["schemas"].items():
        assert re.fullmatch("(?:[A-Z][a-z0-9]+)+", name)
        for part in parts(schema.get("properties", {})):
            assert "properties" not in part, f"an object without a name in {name}"


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every schema within one."""
    if isinstance(schema, dict):
        yield schema
        for part in schema.values():
            yield from parts(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from parts(part)


def test_every_operation_has_a_name_of_its_own_and_an_example_that_fits(document: dict[str, Any]) -> None:
    operations = [methods["get"] for methods in document["paths"].values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch("get_[a-z_]+", name) for name in names)
    for operation in operations:
        content = operation["responses"]["200"]["content"]["application/json"]
        schema = whole(document, content["schema"])
        jsonschema_rs.validator_for(schema, validate_formats=True).validate(content["example"])


def test_words_that_stand_in_several_places_are_one_type(document: dict[str, Any]) -> None:
    lists = [part["enum"] for part in parts({**document, "components": {}}) if "enum" in part]
    assert lists == []
    named = [part["enum"] for part in parts(document["components"]["schemas"]) if "enum" in part]
    assert len({frozenset(words) for words in named}) == len(named)


def test_both_ways_to_sign_in_are_described(document: dict[str, Any]) -> None:
    assert set(document["components"]["securitySchemes"]) == {"token", "cookie"}
    assert document["security"] == [{"token": []}, {"cookie": []}, {}]


SUMMARIES = """
import json, sys
from pathlib import Path
from service.clock import Clock
from service.config import load
from service.store.reader import History
from service.answers.monitor import ResourceMonitor
from service.web.app import create_app
settings, clock = load(environment={})[0], Clock()
app = create_app(ResourceMonitor(History(Path("none")), settings, clock), settings, clock, dict, dict)
print(json.dumps(app.test_client().get("/api/v1/openapi.json").json))
"""


def test_the_document_is_the_same_without_docstrings(document: dict[str, Any]) -> None:
    command = [sys.executable, "-OO", "-c", SUMMARIES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == document


# -- schemathesis


@pytest.mark.parametrize(
    "name",
    ["resource-usage", "series", "summary", "peaks", "processes", "who", "insights", "metrics", "gaps", "healthz"],
)
def test_what_a_machine_asks_is_answered_as_described(client: FlaskClient, filled: None, name: str) -> None:
    """Without the check that good data is accepted: to the document any text is a time."""
    schema = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", client.application)
    [operation] = [found.ok() for found in schema.get_all_operations() if found.ok().path.endswith(name)]

    @settings(max_examples=50, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(operation.as_strategy() | operation.as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE))
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(excluded_checks=[schemathesis.checks.positive_data_acceptance])

    ask()
