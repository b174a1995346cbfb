"""Every expression of the dashboards and rules is answered, by both engines, from what was really forwarded.

Grafana itself is not to be had as a Debian package: what it draws of these files is not tested, only that they ask what
both engines answer, and name no variable that is not defined.
"""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.records import Break, Sample, ServiceUsage
from service.store import usage_rollups
from service.store.writer import Store
from tests.conftest import FakeClock, Fill, Record, settings_for
from tests.forward.conftest import Driven
from tests.forward.engines import ENGINES, Engine
from tests.running import ROOT

DASHBOARDS = sorted((ROOT / "config" / "grafana").glob("*.json"))
RULES = ROOT / "config" / "prometheus"
# What Grafana puts in their place.
GIVEN = {"$__rate_interval": "2m", "$__interval": "30s", "$instance": "troubled"}
BUILT_IN = {"__from", "__to", "__field", "__data", "__value", "__rate_interval", "__interval", "__range"}

needs_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool (Debian's prometheus)")


def panels(file: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(file.read_text())["panels"]
    return found


def of_dashboards() -> list[tuple[str, str]]:
    """Where each expression stands, and the expression with Grafana's variables put in."""
    found = []
    for file in DASHBOARDS:
        for panel in panels(file):
            for target in panel["targets"]:
                expression = target["expr"]
                for variable, value in GIVEN.items():
                    expression = expression.replace(variable, value)
                found.append((f"{file.name}: {panel['title']}", expression))
    return found


def of_rules() -> list[tuple[str, str]]:
    groups = yaml.safe_load((RULES / "tidemark.rules.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return [(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules]


@pytest.fixture
def silent(tmp_path: Path, new_database: Path) -> Iterator[Store]:
    """The history of another host."""
    store = Store(Path(shutil.copy(new_database, tmp_path / "silent.db")))
    store.open()
    yield store
    store.close()


def ship(path: Path, store: Store, clock: FakeClock, engine: Engine, instance: str) -> None:
    given = {"forward__url": engine.write_url, "forward__backfill": "all", "forward__processes": 5}
    driven = Driven(settings_for(path, forward__instance=instance, **given), path, store, clock)
    driven.ship(400)
    driven.shipper.close()
    engine.flush()


def in_trouble(at: int, fill: Fill, record: Record, store: Store) -> None:
    """Seven hours in which everything comes near its end."""
    gauges = {"cpu_percent": 97.0, "cpu_busiest_percent": 99.0, "memory_percent": 96.0, "swap_percent": 5.0}
    loads = {"load_1": 9.0, "load_5": 8.0, "load_15": 7.0, "process_count": 200}
    waits = {"cpu_pressure": 50.0, "memory_pressure": 20.0, "io_pressure": 40.0}
    names = "network_sent_bytes", "network_received_bytes", "disk_read_bytes", "disk_written_bytes"
    moved = {name: lambda i: 30_000 * i for name in names}
    begin = at - 7 * 3600
    fill(begin, 841, 30, disk_percent=lambda i: 70 + i / 40, **gauges, **loads, **waits, **moved)
    # Up to half a minute after the last whole hour, which is later than `at` where that is an hour.
    for ts in range(begin // 1800 * 1800, at // 3600 * 3600 + 31, 1800):
        web = ServiceUsage("web.service", "service", 24.0, 2**29, None, None, None)
        record(ts, 60.0, ("python", 1, 12.0, 2**28), services=[web])
    record(at // 3600 * 3600 + 30, 60.0, ("python", 1, 12.0, 2**28))
    while store.write(lambda statements: usage_rollups.roll_up(statements, 5)):
        pass


@pytest.mark.parametrize("name", ENGINES)
def test_every_expression_is_answered_from_what_was_forwarded(
    name: str, tmp_path: Path, path: Path, store: Store, silent: Store, clock: FakeClock, fill: Fill, record: Record
) -> None:
    at = int(time.time()) // 30 * 30
    clock.wall = float(at)
    in_trouble(at, fill, record, store)
    engine = Engine(name, tmp_path / name)
    try:
        ship(path, store, clock, engine, "troubled")
        silent.begin_run(at - 7200, at - 9000, "boot-9", "0.1.0", 5)
        begins: Break | None = Break(None, None)
        for ts in range(at - 7200, at - 6000, 30):
            silent.append([Sample(ts, 30.0, {"cpu_percent": 1.0}, begins)])
            begins = None
        ship(tmp_path / "silent.db", silent, clock, engine, "silent")
        asked = [*of_dashboards(), *of_rules()]
        assert len(asked) >= 45
        assert [(where, expression) for where, expression in asked if not engine.query(expression, at)] == []
        age = "time() - max by (instance) (max_over_time(tidemark_sample_timestamp_seconds[1d]))"
        assert engine.by("instance", age, at) == {"troubled": 0.0, "silent": 6030.0}
        assert engine.by("instance", f"{age} > 300", at) == {"silent": 6030.0}
        services = "sum by (instance, service) (last_over_time(tidemark_service_hour_cpu_ratio[70m]))"
        assert engine.by("service", services, at) == {"web.service": 0.2}
    finally:
        engine.stop()


def test_a_dashboard_names_no_variable_that_it_does_not_define() -> None:
    for file in DASHBOARDS:
        dashboard = json.loads(file.read_text())
        defined = {each["name"] for each in dashboard["templating"]["list"]} | BUILT_IN
        used = re.findall(r"\$\{?([A-Za-z_]+)", file.read_text())
        assert set(used) - defined == set(), file.name
        identifiers = [panel["id"] for panel in dashboard["panels"]]
        assert len(set(identifiers)) == len(identifiers)


def test_panels_lie_beside_each_other_and_lead_to_a_dashboard_or_page_that_exists() -> None:
    names = {json.loads(file.read_text())["uid"] for file in DASHBOARDS}
    assert names == {"tidemark-fleet", "tidemark-host"}
    for file in DASHBOARDS:
        taken: set[tuple[int, int]] = set()
        for panel in panels(file):
            at = panel["gridPos"]
            cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
            assert not cells & taken, panel["title"]
            assert max(x for x, _ in cells) < 24
            taken |= cells
        links = re.findall(r'"url": "([^"]+)"', file.read_text())
        assert links
        for link in links:
            own = "http://${instance}:${port}/?start=${__from:date:iso}&end=${__to:date:iso}"
            assert link == own or link.split("?")[0].removeprefix("/d/") in names


@needs_promtool
@pytest.mark.parametrize(
    "words",
    [
        ("check", "rules", "tidemark.rules.yml"),
        ("test", "rules", "tidemark.test.yml"),
        ("check", "config", "--syntax-only", "prometheus.yml"),
    ],
)
def test_promtool_takes_what_is_shipped(words: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *words], cwd=RULES, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@needs_promtool
def test_every_rule_has_a_case_that_notices_another_threshold(tmp_path: Path) -> None:
    rules = (RULES / "tidemark.rules.yml").read_text()
    shutil.copy(RULES / "tidemark.test.yml", tmp_path)
    unnoticed = []
    for alert, expression in of_rules():
        other = (
            re.sub(r"> ([\d.]+)$", r"> 2 * \1 + 1", expression) if " > " in expression else f"({expression}) * 2 + 1"
        )
        broken = yaml.safe_load(rules)
        (rule,) = [r for g in broken["groups"] for r in g["rules"] if alert in (r.get("alert"), r.get("record"))]
        rule["expr"] = other
        (tmp_path / "tidemark.rules.yml").write_text(yaml.safe_dump(broken))
        done = subprocess.run(
            ["promtool", "test", "rules", "tidemark.test.yml"], cwd=tmp_path, capture_output=True, check=False
        )
        unnoticed += [alert] * (done.returncode == 0)
    assert unnoticed == []
