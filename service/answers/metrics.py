"""Metrics: the list that page and terminal draw from."""

from typing import Literal

from service.answers.answer import Answer
from service.metrics import HEADLINES, METRICS, Metric
from service.store.device_metrics import METRICS as DEVICE_METRICS
from service.store.device_metrics import Kind


class MetricDescription(Answer, frozen=True):
    """A metric; answers give a counter as its rate. `chart`: the title of the chart that it stands on.
    `is_headline`: it is among those that are shown first, of which there is a summary."""

    name: str
    label: str
    unit: str
    kind: Literal["gauge", "counter"]
    help: str
    chart: str
    is_headline: bool


class DeviceMetricDescription(Answer, frozen=True):
    """A metric of one kind of device, as it is in series with `device`."""

    kind: Kind
    name: str
    label: str
    unit: str
    help: str


class MetricList(Answer, frozen=True):
    metrics: list[MetricDescription]
    device_metrics: list[DeviceMetricDescription]


def metrics() -> MetricList:
    """Every metric of the host, and of each kind of device, in the order in which they are shown."""
    return MetricList(
        metrics=[_described(metric) for metric in METRICS],
        device_metrics=[
            DeviceMetricDescription(kind=kind, name=m.name, label=m.label, unit=m.unit, help=m.help)
            for kind, of_kind in DEVICE_METRICS.items()
            for m in of_kind
        ],
    )


def _described(metric: Metric) -> MetricDescription:
    return MetricDescription(
        name=metric.name,
        label=metric.label,
        unit=metric.unit,
        kind=metric.kind,
        help=metric.help,
        chart=metric.chart,
        is_headline=metric in HEADLINES,
    )
