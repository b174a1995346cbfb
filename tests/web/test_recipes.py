"""The recipes of docs/reading.md for other programs: what they ask is answered, and what they take of it is there."""

import re
from typing import Any

import jinja2
import pytest
import yaml
from flask.testing import FlaskClient

from tests.conftest import NOW, Fill, Record
from tests.running import ROOT

READING = (ROOT / "docs" / "reading.md").read_text(encoding="utf-8")
BASE = "http://127.0.0.1:8930"


def of(heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", READING, re.S | re.M)
    assert found
    return found[1]


@pytest.fixture
def asked(client: FlaskClient, fill: Fill, record: Record) -> FlaskClient:
    """Of a host that has recorded for a minute."""
    fill(NOW - 60, 12, cpu_percent=42.0, memory_percent=7.0, disk_percent=95.0)
    record(NOW - 30, 50.0, ("web", 1, 40.0, 10**8))
    return client


def answer(client: FlaskClient, url: str) -> Any:
    assert url.startswith(BASE)
    response = client.get(url.removeprefix(BASE))
    assert response.status_code == 200, response.json
    return response.json


def entities() -> list[tuple[str, dict[str, Any]]]:
    """URL and entity of each that Home Assistant is told of."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```", of("Home Assistant"), re.S | re.M)
    return [
        (resource["resource"], entity)
        for resource in yaml.safe_load(block)["rest"]
        for entity in [*resource.get("sensor", []), *resource.get("binary_sensor", [])]
    ]


def rendered(template: str, value_json: Any) -> str:
    return jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(template).render(value_json=value_json)


def test_home_assistant_finds_what_its_templates_take(asked: FlaskClient) -> None:
    states = {
        entity["name"]: rendered(entity["value_template"], answer(asked, url))
        for url, entity in entities()
        if rendered(entity.get("availability", "True"), answer(asked, url)) == "True"
    }
    assert states == {
        "Server CPU": "42.0",
        "Server disk": "95.0",
        "Server busiest": "web",
        "Server needs attention": "False",
    }


def test_what_home_assistant_cannot_know_is_not_available_or_nobody(client: FlaskClient, fill: Fill) -> None:
    fill(NOW - 60, 12, memory_percent=7.0)
    for url, entity in entities():
        if "availability" in entity:
            assert rendered(entity["availability"], answer(client, url)) == "False"
        elif "processes" in url:
            assert rendered(entity["value_template"], answer(client, url)) == "nobody"


def test_the_urls_for_grafana_give_one_time_one_word_and_one_number_in_time_order(asked: FlaskClient) -> None:
    urls = re.findall(rf"^({BASE}\S+)$", of("Grafana"), re.M)
    assert len(urls) == 2
    for url, (word, number) in zip(urls, (("metric", "average"), ("name", "value")), strict=True):
        filled = url.replace("${__from:date:seconds}", str(NOW - 60)).replace("${__to:date:seconds}", str(NOW))
        rows = answer(asked, filled)
        assert {type(row[word]) for row in rows} == {str}
        assert {type(row[number]) for row in rows} <= {float, int, type(None)}
        assert any(row[number] for row in rows)
        assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)


def test_uptime_kuma_asks_for_keys_that_are_there(asked: FlaskClient) -> None:
    rows = re.findall(rf"^\| `({BASE}\S+)` \| `([^`]+)`", of("Uptime Kuma"), re.M)
    assert len(rows) == 3
    for url, query in rows:
        found = answer(asked, url)
        path = query.removeprefix("$count(").partition("[")[0]
        for key in path.split("."):
            found = found[key]
        assert not isinstance(found, dict)
