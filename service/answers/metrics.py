"""Metrics: the list that page and terminal draw from."""

from typing import Literal

from service.answers.answer import Answer
from service.metrics import METRICS


class MetricDescription(Answer, frozen=True):
    """A metric; answers give a counter as its rate. `chart`: the title of the chart that it stands on."""

    name: str
    label: str
    unit: str
    kind: Literal["gauge", "counter"]
    help: str
    chart: str


class MetricList(Answer, frozen=True):
    metrics: list[MetricDescription]


def metrics() -> MetricList:
    """Every metric, in the order in which they are shown."""
    return MetricList(
        metrics=[
            MetricDescription(name=m.name, label=m.label, unit=m.unit, kind=m.kind, help=m.help, chart=m.chart)
            for m in METRICS
        ]
    )
