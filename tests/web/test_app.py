"""What holds for every answer: errors in one form, who may ask, headers; /healthz and /metrics."""

import gzip
import logging
import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from flask.testing import EnvironBuilder, FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import run_wsgi_app

from service.answers.monitor import ResourceMonitor
from service.config import Settings
from service.metrics import METRICS
from service.store.reader import History
from service.web.answers import json_response
from service.web.turns import REFUSED
from tests.conftest import HEALTH, NOW, FakeClock, Fill, client_for, settings_for

TOKEN = "a-long-random-token"
URLS = [
    "/healthz",
    "/metrics",
    "/api/process/resource-usage",
    "/api/v1/series?metric=cpu_percent",
    "/api/v1/summary",
    "/api/v1/peaks",
    "/api/v1/gaps",
    "/api/v1/openapi.json",
]
# One URL for each status that a client can bring about, on any history.
STATUSES = {
    200: "/healthz",
    400: "/api/v1/summary?window=x",
    404: "/nowhere",
    500: "/api/process/resource-usage",
}


@pytest.fixture
def guarded(monitor: ResourceMonitor, settings: Settings, clock: FakeClock) -> FlaskClient:
    return client_for(monitor, settings, clock, token=TOKEN)


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


# -- errors


@pytest.mark.parametrize(
    ("url", "text"),
    [("/nowhere", "not found; /api/v1/openapi.json lists what there is"), ("/api/v1/", None), ("/healthz/", None)],
)
def test_what_is_not_there_is_404_in_json(client: FlaskClient, url: str, text: str | None) -> None:
    response = client.get(url)
    assert (response.status_code, response.mimetype, list(response.json)) == (404, "application/json", ["error"])
    assert text is None or response.json["error"] == text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
@pytest.mark.parametrize("url", URLS)
def test_every_method_that_changes_things_is_405(client: FlaskClient, url: str, method: str) -> None:
    if (url, method) == ("/healthz", "OPTIONS"):
        pytest.skip("asked by health checks")
    response = client.open(url, method=method)
    assert (response.status_code, response.headers["Allow"]) == (405, "GET, HEAD")
    assert response.json == {"error": "method not allowed: takes GET or HEAD"}


@pytest.mark.parametrize("status", ["ok", "failing"])
def test_a_health_check_may_ask_by_options_and_is_answered_as_by_get(
    monitor: ResourceMonitor, settings: Settings, clock: FakeClock, status: Any
) -> None:
    client = client_for(monitor, settings, clock, msgspec.structs.replace(HEALTH, status=status))
    answers = [client.open("/healthz", method=method) for method in ("OPTIONS", "GET")]
    assert answers[0].status_code == answers[1].status_code == (200 if status == "ok" else 503)
    assert answers[0].json == answers[1].json
    # No page of another origin is allowed more by it.
    assert "Access-Control-Allow-Origin" not in answers[0].headers
    assert client.options("/healthz", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize("url", [*URLS, *STATUSES.values()])
def test_head_is_get_without_its_body(client: FlaskClient, url: str, fill: Fill) -> None:
    fill(NOW, 1, cpu_percent=1)
    head, get = client.head(url), client.get(url)
    assert (head.status_code, head.data) == (get.status_code, b"")
    assert dict(head.headers) == dict(get.headers)


def test_a_defect_is_500_with_its_class_alone(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResourceMonitor, "gaps", lambda *_: 1 / 0)
    response = client.get("/api/v1/gaps")
    assert (response.status_code, response.json) == (500, {"error": "Server error: ZeroDivisionError"})


@pytest.mark.parametrize("url", [url for url in URLS if url.startswith("/api/v1") and "openapi" not in url])
def test_a_history_that_cannot_be_read_is_500_on_every_route(client: FlaskClient, path: Path, url: str) -> None:
    path.unlink()
    response = client.get(url)
    assert response.status_code == 500
    assert response.json == {"error": "Server error: the history cannot be read; `check` and the log say why"}


def test_json_never_holds_a_bare_nan() -> None:
    assert json_response([math.nan, math.inf, -math.inf, 1.5]).data == b"[null,null,null,1.5]"


def test_one_request_too_many_is_503_and_may_come_again(client: FlaskClient) -> None:
    response = client.get("/api/v1/summary", environ_overrides={REFUSED: True})
    assert (response.status_code, response.headers["Retry-After"], list(response.json)) == (503, "1", ["error"])


# -- who may ask


@pytest.mark.parametrize("headers", [{}, bearing("wrong"), bearing(TOKEN + "x"), bearing(""), {"Authorization": TOKEN}])
@pytest.mark.parametrize("url", [url for url in URLS if url != "/healthz"] + ["/nowhere"])
def test_with_a_token_nothing_is_answered_without_it(guarded: FlaskClient, url: str, headers: dict[str, str]) -> None:
    response = guarded.get(url, headers=headers)
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert response.json == {"error": "this needs a token: send Authorization: Bearer <token>"}


def test_the_right_token_is_let_in(guarded: FlaskClient) -> None:
    assert guarded.get("/api/v1/gaps", headers=bearing(TOKEN)).status_code == 200


def test_a_token_beyond_ascii_is_compared_as_its_bytes(
    monitor: ResourceMonitor, settings: Settings, clock: FakeClock
) -> None:
    client = client_for(monitor, settings, clock, token="Schlüssel-der-Zürcher")
    sent = "Bearer Schlüssel-der-Zürcher".encode().decode("latin-1")
    assert client.get("/api/v1/gaps", headers={"Authorization": sent}).status_code == 200


def test_health_is_told_without_a_token(guarded: FlaskClient) -> None:
    assert guarded.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.nip.io", "localhost.evil", "evil@localhost", "a b", "", "[::1", "[::1]x", "::1:80"],
)
def test_a_name_that_was_made_to_stand_for_this_address_is_refused(client: FlaskClient, host: str) -> None:
    response = client.get("/healthz", headers={"Host": host})
    assert response.status_code == 400
    assert response.json["error"].startswith(f"host {host!r} is not served here: ask for localhost, or add the name")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8930", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8930", "box.lan", "[fe80::1]"]
)
def test_this_hosts_own_names_and_the_configured_ones_are_served(
    monitor: ResourceMonitor, path: Path, clock: FakeClock, host: str
) -> None:
    settings = settings_for(path, server__host="fe80::1", server__allowed_hosts=["Box.lan"])
    assert client_for(monitor, settings, clock).get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["localhost.", "LocalHost.:8930", "[0:0:0:0:0:0:0:1]", "[0000::0001]:8930"])
def test_loopback_is_known_by_every_way_to_write_it(client: FlaskClient, host: str) -> None:
    assert client.get("/api/v1/gaps", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["10.1.2.3", "10.1.2.3:8930", "[fd00::7]", "[fd00::7]:8930", "192.0.2.1"])
def test_a_health_check_may_ask_by_any_address_and_nothing_else_may(client: FlaskClient, host: str) -> None:
    statuses = {url: client.get(url, headers={"Host": host}).status_code for url in URLS}
    assert statuses == {url: 200 if url == "/healthz" else 400 for url in URLS}


def test_a_health_check_in_http_1_0_may_name_no_host_and_nothing_else_may(client: FlaskClient) -> None:
    def is_answered(url: str, protocol: str) -> bool:
        builder = EnvironBuilder(client.application, url, environ_overrides={"SERVER_PROTOCOL": protocol})
        environ = builder.get_environ()
        del environ["HTTP_HOST"]
        return run_wsgi_app(client.application, environ)[1].startswith("200")

    assert {url: is_answered(url, "HTTP/1.0") for url in URLS} == {url: url == "/healthz" for url in URLS}
    # HTTP/1.1 asks for a Host (RFC 9112, 3.2).
    assert not is_answered("/healthz", "HTTP/1.1")


@pytest.mark.parametrize(("status", "url"), STATUSES.items())
def test_every_answer_has_the_headers_that_browsers_heed(client: FlaskClient, status: int, url: str) -> None:
    response = client.get(url, headers={"Origin": "http://evil.example"})
    assert response.status_code == status
    assert "default-src 'self'" in response.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["Cache-Control"] == "no-store"
    assert not [name for name in response.headers.keys() if name.startswith("Access-Control")]  # noqa: SIM118


def test_refusals_have_these_headers_too(guarded: FlaskClient) -> None:
    for response in (guarded.get("/metrics"), guarded.post("/metrics"), guarded.get("/", headers={"Host": "evil"})):
        assert response.headers["X-Content-Type-Options"] == "nosniff"


# -- /healthz


@pytest.mark.parametrize(("word", "status"), [("ok", 200), ("degraded", 200), ("failing", 503)])
def test_health_is_answered_as_the_daemon_tells_it(
    monitor: ResourceMonitor, settings: Settings, clock: FakeClock, word: str, status: int
) -> None:
    health = msgspec.structs.replace(HEALTH, status=word, last_error="cannot store: disk full")
    response = client_for(monitor, settings, clock, health).get("/healthz")
    assert (response.status_code, response.json) == (status, msgspec.to_builtins(health))


# -- /metrics


def exposed(client: FlaskClient) -> dict[str, Any]:
    response = client.get("/metrics")
    assert (response.status_code, response.mimetype) == (200, "text/plain")
    return {family.name: family for family in text_string_to_metric_families(response.text)}


def test_every_metric_is_exposed_in_base_units_with_its_kind_and_help(client: FlaskClient, fill: Fill) -> None:
    fill(NOW, 1, **{metric.name: 51200 if metric.unit == "bytes" else 50 for metric in METRICS})
    families = exposed(client)
    shown = {"percent": 0.5, "bytes": 51200}
    for metric in METRICS:
        family = families[metric.exposed_name.removesuffix("_total")]
        assert (family.type, family.documentation) == (metric.kind, metric.help)
        assert family.samples[0].name == metric.exposed_name
        assert family.samples[0].value == shown.get(metric.unit, 50)


def test_it_is_text_in_one_charset(client: FlaskClient, fill: Fill) -> None:
    fill(NOW, 1, cpu_percent=50)
    assert client.get("/metrics").headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_a_ratio_has_no_more_digits_than_were_stored(client: FlaskClient, fill: Fill) -> None:
    fill(NOW, 1, cpu_percent=50.86, memory_percent=0.07, load_1=0.29)
    lines = client.get("/metrics").text.splitlines()
    assert {"tidemark_cpu_ratio 0.5086", "tidemark_memory_ratio 0.0007", "tidemark_load_1 0.29"} <= set(lines)


def test_it_is_read_once_a_sample(client: FlaskClient, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(NOW, 1, cpu_percent=50)
    views = []
    view = History.view
    monkeypatch.setattr(History, "view", lambda self, *seconds: (views.append(1), view(self, *seconds))[1])
    assert [exposed(client)["tidemark_cpu_ratio"].samples[0].value for _ in range(3)] == [0.5] * 3
    assert len(views) == 1
    fill(NOW + 5, 1, cpu_percent=70)
    assert exposed(client)["tidemark_cpu_ratio"].samples[0].value == 0.7
    assert len(views) == 2


def test_names_follow_the_rules_that_promtool_checks(client: FlaskClient, fill: Fill) -> None:
    fill(NOW, 1, **{metric.name: 51200 if metric.unit == "bytes" else 50 for metric in METRICS})
    families = list(text_string_to_metric_families(client.get("/metrics").text))
    assert len(families) == len({family.name for family in families})
    for family in families:
        assert family.documentation
        assert all(sample.name.endswith("_total") == (family.type == "counter") for sample in family.samples)
        assert not family.name.endswith(("_count", "_sum", "_bucket", "_percent", "_milliseconds"))


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (prometheus)")
def test_promtool_finds_nothing_to_say(client: FlaskClient, fill: Fill) -> None:
    fill(NOW, 1, **{metric.name: 51200 if metric.unit == "bytes" else 50 for metric in METRICS})
    shown = client.get("/metrics").data
    done = subprocess.run(["promtool", "check", "metrics"], input=shown, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_names_say_the_unit_and_counters_end_in_total() -> None:
    names = {metric.exposed_name for metric in METRICS}
    assert {"tidemark_cpu_ratio", "tidemark_io_pressure_ratio", "tidemark_load_1"} <= names
    assert "tidemark_network_sent_bytes_total" in names
    assert not any("percent" in name for name in names)


def test_what_could_not_be_read_is_absent_and_never_zero(client: FlaskClient, fill: Fill) -> None:
    fill(NOW, 1, cpu_percent=0)
    families = exposed(client)
    assert families["tidemark_cpu_ratio"].samples[0].value == 0
    assert "tidemark_memory_ratio" not in families
    assert families["tidemark_sample_timestamp_seconds"].samples[0].value == NOW


def test_tidemarks_own_counters_are_counters(client: FlaskClient, fill: Fill) -> None:
    fill(NOW, 1)
    family = exposed(client)["tidemark_samples_stored"]
    assert (family.type, family.samples[0].name) == ("counter", "tidemark_samples_stored_total")
    assert family.samples[0].value == 3


def test_without_a_readable_history_tidemark_still_tells_of_itself(
    client: FlaskClient, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert list(exposed(client)) == ["tidemark_samples_stored"]
    path.unlink()
    assert list(exposed(client)) == ["tidemark_samples_stored"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    assert caplog.messages[0] == "no sample for /metrics: no sample has been stored yet (none stored)"
    assert "unable to open database file" in caplog.messages[1]


@pytest.mark.parametrize("url", ["/", "/static/page.js", "/static/page.css", "/static/icon.svg", "/api/docs"])
def test_every_file_of_the_page_is_compressed_and_has_an_etag(client: FlaskClient, url: str) -> None:
    plain, small = client.get(url), client.get(url, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert small.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(small.data) == plain.data
    assert len(small.data) < len(plain.data)
    for answer, encoding in ((plain, "identity"), (small, "gzip")):
        assert "Accept-Encoding" in answer.headers["Vary"]
        headers = {"If-None-Match": answer.headers["ETag"], "Accept-Encoding": encoding}
        again = client.get(url, headers=headers)
        assert (again.status_code, again.data) == (304, b"")
        again.close()
        answer.close()
    assert plain.headers["ETag"] != small.headers["ETag"]


def test_what_is_no_file_of_the_page_is_not_found(client: FlaskClient) -> None:
    for path in ("/static/none.js", "/static/../app.py", "/static/%2e%2e/app.py"):
        assert client.get(path, headers={"Accept-Encoding": "gzip"}).status_code == 404
