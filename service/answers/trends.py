"""Trend words of bucket means, as the endpoint and the summary give them."""

from collections.abc import Sequence
from functools import lru_cache

from service.analysis.trend import Trend, trend
from service.answers.resolution import resolution
from service.clock import HOUR
from service.metrics import Metric
from service.store.reader import Buckets, View

# Pure, and its minutes change once a minute while answers are made at each sample.
_trend_of = lru_cache(maxsize=64)(trend)


def trend_of(buckets: Buckets, metric: Metric) -> Trend:
    return _trend_of(tuple(buckets.averages(metric.name)), buckets.step, metric.minimum_change)


def last_hour(view: View, end: int, metrics: Sequence[Metric]) -> dict[str, Trend]:
    """Of each metric over the sixty whole minutes before `end`, by its name."""
    chosen = resolution("trend", HOUR)
    last = end // chosen.step * chosen.step
    minutes = view.buckets(last - HOUR, last, chosen.step, metrics, chosen.tier.seconds)
    return {metric.name: trend_of(minutes, metric) for metric in metrics}
