"""The text at /metrics, as it changes with the samples and with what is forwarded."""

from pathlib import Path

import msgspec
import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from service.answers.health import Forwarding, Health
from service.answers.monitor import ResourceMonitor
from service.store.reader import History
from tests.conftest import HEALTH, NOW, FakeClock, Fill, client_for, settings_for


def values(client: FlaskClient) -> dict[str, float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_it_is_of_the_newest_sample_however_often_it_is_asked(
    client: FlaskClient, fill: Fill, clock: FakeClock
) -> None:
    for ts, percent in ((NOW - 5, 25.0), (NOW, 75.0)):
        fill(ts, 1, cpu_percent=percent)
        clock.pass_seconds(10)
        found = [values(client) for _ in range(3)]
        assert [each["tidemark_sample_timestamp_seconds"] for each in found] == [ts] * 3
        assert [each["tidemark_cpu_ratio"] for each in found] == [percent / 100] * 3


LAG = "tidemark_forward_lag_seconds"


@pytest.mark.parametrize(
    ("url", "forward", "lag"),
    [
        ("", msgspec.UNSET, None),
        ("http://127.0.0.1:1/", msgspec.UNSET, None),
        ("http://127.0.0.1:1/", Forwarding(None, None), None),
        ("http://127.0.0.1:1/", Forwarding(17, "refused"), 17.0),
    ],
)
def test_the_lag_of_forwarding_is_there_where_it_is_known(
    history: History,
    path: Path,
    fill: Fill,
    clock: FakeClock,
    url: str,
    forward: Forwarding | msgspec.UnsetType,
    lag: float | None,
) -> None:
    fill(NOW, 1)
    settings = settings_for(path, forward__url=url)
    health: Health = msgspec.structs.replace(HEALTH, forward=forward)
    client = client_for(ResourceMonitor(history, settings, clock), settings, clock, health)
    assert values(client).get(LAG) == lag
    assert client.get("/metrics").text.endswith("\n")
