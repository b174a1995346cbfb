"""The JSON API: parameters declared once (checked by marshmallow, told by OpenAPI), answers from ResourceMonitor."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from flask import Response
from flask_smorest import Blueprint
from marshmallow import RAISE, Schema, ValidationError, fields, validate

from service import clock
from service.answers.monitor import (
    DEFAULT_POINTS,
    MOST_POINTS,
    MOST_PROCESSES,
    PEAK_COUNT,
    PROCESS_COUNT,
    SORTS,
    ResourceMonitor,
)
from service.clock import Clock
from service.metrics import METRICS
from service.web import answers
from service.web.answers import json_response

log = logging.getLogger(__name__)

_TIME_TAKES = "RFC 3339 with an offset, unix seconds, now, or a time before now like -90m, -24h, -7d"
_DURATION_TAKES = "a duration like 90m, 24h, 7d, from 1m to 10y"
_NAMES = [metric.name for metric in METRICS]


class TimeField(fields.Field[str]):
    """A moment, kept as text until the request's one `now` is read."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        try:
            clock.parse_time(value, 0)
        except ValueError as error:
            raise ValidationError(str(error)) from None
        return str(value)


class DurationField(fields.Field[int]):
    """Seconds from a duration of 1 minute to 10 years."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        try:
            seconds = clock.parse_duration(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None
        if not clock.MINUTE <= seconds <= 10 * clock.YEAR:
            raise ValidationError("out of range")
        return seconds


def _time(default: str) -> TimeField:
    return TimeField(load_default=default, metadata=_described(_TIME_TAKES, default, "string"))


def _duration(default: str) -> DurationField:
    metadata = {**_described(_DURATION_TAKES, default, "string"), "pattern": r"^[0-9]{1,11}(\.[0-9]{1,6})?[smhdy]$"}
    return DurationField(load_default=clock.parse_duration(default), metadata=metadata)


def _whole(least: int, most: int, default: int) -> fields.Integer:
    takes = f"a whole number from {least} to {most}"
    return fields.Integer(
        load_default=default, validate=validate.Range(least, most), metadata={"description": takes, "takes": takes}
    )


def _described(takes: str, default: str, kind: str) -> dict[str, Any]:
    described = f"{takes}; {default} where it is left out"
    return {"description": described, "takes": takes, "type": kind, "default": default}


def _metric_field(**options: Any) -> fields.String:
    takes = "one of " + ", ".join(_NAMES)
    return fields.String(
        validate=validate.OneOf(_NAMES), metadata={"description": "a metric's name", "takes": takes}, **options
    )


class SeriesArguments(Schema):
    metric = fields.List(
        _metric_field(),
        required=True,
        validate=validate.Length(1, len(_NAMES)),
        metadata={"description": "one or more metrics", "takes": "one or more of " + ", ".join(_NAMES)},
    )
    start = _time("-1h")
    end = _time("now")
    points = _whole(1, MOST_POINTS, DEFAULT_POINTS)


class SummaryArguments(Schema):
    window = _duration("1h")


class PeaksArguments(Schema):
    metric = _metric_field(load_default="cpu_percent")
    window = _duration("24h")
    count = _whole(1, 20, PEAK_COUNT)


class ProcessesArguments(Schema):
    start = _time("-1h")
    end = _time("now")
    sort = fields.String(
        load_default="cpu",
        validate=validate.OneOf(SORTS),
        metadata={"description": "by CPU time, or by the most memory at one moment", "takes": "cpu or memory"},
    )
    count = _whole(1, MOST_PROCESSES, PROCESS_COUNT)


class GapsArguments(Schema):
    start = _time("-7d")
    end = _time("now")


Handler = Callable[..., Response]


def blueprint(monitor: ResourceMonitor, clock_: Clock, health: Callable[[], tuple[dict[str, Any], int]]) -> Blueprint:
    """The API's routes over one monitor. `health`: the answer of /healthz and its status."""
    api = Blueprint("api", "api", description="The history of this host")
    _add_usage(api, monitor)
    _add_history(api, monitor, clock_)

    def get_health() -> Response:
        answer, status = health()
        return json_response(answer, status)

    not_well = api.alt_response(503, schema=answers.HEALTH, description="They are not", content_type=answers.JSON)
    _get(api, "/healthz", answers.HEALTH, "Are samples being taken and stored?")(not_well(get_health))
    return api


def _get(
    api: Blueprint, path: str, schema: answers.Schema, summary: str, takes: type[Schema] | None = None
) -> Callable[[Handler], Handler]:
    """Register a view: its path, its parameters (checked and described from `takes`), its answer.

    The summary is given here and not by docstring, which the daemon runs without (python -OO).
    """

    def register(view: Handler) -> Handler:
        error = {"schema": answers.ERROR, "content_type": answers.JSON}
        described = api.doc(summary=summary)(view)
        described = api.alt_response(200, schema=schema, description="The answer", content_type=answers.JSON)(described)
        described = api.alt_response(500, description="The history cannot be read", **error)(described)
        if takes is not None:
            described = api.alt_response(400, description="A bad parameter", **error)(described)
        # The description is kept and its wrappers are not: they do nothing, at a fifth of a request's cost.
        view._apidoc = described._apidoc  # type: ignore[attr-defined]
        api.route(path)(view if takes is None else _checked(api, takes)(view))
        return view

    return register


def _checked(api: Blueprint, takes: type[Schema]) -> Callable[[Handler], Handler]:
    return api.arguments(takes, location="query", error_status_code=400, unknown=RAISE)  # type: ignore[no-any-return]


def _add_usage(api: Blueprint, monitor: ResourceMonitor) -> None:
    kept: list[tuple[dict[str, Any], dict[str, Any], bytes]] = []

    @_get(api, "/api/process/resource-usage", answers.RESOURCE_USAGE, "Current system resource usage and trends")
    def get_resource_usage() -> Response:
        current = monitor.get_current_usage()
        trends = monitor.get_usage_trends()
        cpu, memory = current["cpu_percent"], current["memory_percent"]
        log.info("📈 Resource usage retrieved | CPU: %s%% | Memory: %s%%", cpu, memory)
        for known_current, known_trends, body in kept:
            if known_current is current and known_trends is trends:
                return Response(body, mimetype=answers.JSON)
        timestamp = monitor.get_timestamp()
        answer = {"success": True, "current_usage": current, "usage_trends": trends, "timestamp": timestamp}
        response = json_response(answer)
        kept[:] = [(current, trends, response.get_data())]
        return response


def _add_history(api: Blueprint, monitor: ResourceMonitor, clock_: Clock) -> None:
    @_get(api, "/api/v1/series", answers.SERIES, "Evenly spaced columns for charts; counters as rates", SeriesArguments)
    def get_series(arguments: dict[str, Any]) -> Response:
        start, end = _window(arguments, clock_)
        return json_response(monitor.series(arguments["metric"], start, end, arguments["points"]))

    @_get(api, "/api/v1/summary", answers.SUMMARY, "Every metric over the window that ends now", SummaryArguments)
    def get_summary(arguments: dict[str, Any]) -> Response:
        return json_response(monitor.summary(arguments["window"]))

    @_get(api, "/api/v1/peaks", answers.PEAKS, "When a metric stood out, in time order", PeaksArguments)
    def get_peaks(arguments: dict[str, Any]) -> Response:
        return json_response(monitor.peaks(arguments["metric"], arguments["window"], arguments["count"]))

    @_get(api, "/api/v1/processes", answers.PROCESSES, "Who used the machine in a window", ProcessesArguments)
    def get_processes(arguments: dict[str, Any]) -> Response:
        start, end = _window(arguments, clock_)
        return json_response(monitor.processes(start, end, arguments["sort"], arguments["count"]))

    @_get(api, "/api/v1/insights", answers.INSIGHTS, "What the history shows, in words, numbers and SQL")
    def get_insights() -> Response:
        return json_response(monitor.insights())

    @_get(api, "/api/v1/gaps", answers.GAPS, "Stretches of time without a record, with their reason", GapsArguments)
    def get_gaps(arguments: dict[str, Any]) -> Response:
        return json_response(monitor.gaps(*_window(arguments, clock_)))


def _window(arguments: Mapping[str, Any], clock_: Clock) -> tuple[int, int]:
    now = clock_.now().wall
    return clock.parse_time(arguments["start"], now), clock.parse_time(arguments["end"], now)
