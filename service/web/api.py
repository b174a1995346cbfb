"""The JSON API: each route with its parameters and its answer, as ResourceMonitor gives it."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from flask import Response, request
from flask_smorest import Blueprint
from marshmallow import RAISE, Schema

from service import clock
from service.answers.changes import Changes
from service.answers.devices import Devices
from service.answers.events import Events
from service.answers.gaps import Gaps
from service.answers.health import Health
from service.answers.host import Host
from service.answers.insights.found import Insights
from service.answers.metrics import MetricList
from service.answers.monitor import ResourceMonitor, Snapshot
from service.answers.peaks import DEFAULT_SECONDS as PEAK_SECONDS
from service.answers.peaks import Peaks
from service.answers.processes import Processes
from service.answers.rows import Rows
from service.answers.series import Series, series_rows
from service.answers.summary import DEFAULT_SECONDS as SUMMARY_SECONDS
from service.answers.summary import Summary
from service.answers.usage import ResourceUsage
from service.answers.who import Who, who_rows
from service.answers.window import Window, window
from service.clock import Clock
from service.web.answers import JSON, json_response
from service.web.openapi import Error, reference
from service.web.parameters import (
    ChangesArguments,
    LastWeekArguments,
    PeaksArguments,
    ProcessesArguments,
    SeriesArguments,
    SqlArguments,
    SummaryArguments,
    WhoArguments,
)
from service.web.turns import DEAR

log = logging.getLogger(__name__)

ANSWERS = (
    ResourceUsage,
    Series,
    Summary,
    Peaks,
    Processes,
    Who,
    Changes,
    Insights,
    Gaps,
    Events,
    MetricList,
    Devices,
    Host,
    Rows,
    Health,
    Error,
)
Handler = Callable[..., Response]


def blueprint(monitor: ResourceMonitor, clock_: Clock, health: Callable[[], Health]) -> Blueprint:
    """The API's routes over one monitor. `health`: the answer of /healthz."""
    api = Blueprint("api", "api", description="The history of this host")
    _add_usage(api, monitor)
    _add_windows(api, monitor, clock_)
    _add_happenings(api, monitor, clock_)
    _add_lists(api, monitor)

    def get_health() -> Response:
        answer = health()
        return json_response(answer, 503 if answer.status == "failing" else 200)

    not_well = api.alt_response(503, schema=reference(Health), description="They are not", content_type=JSON)
    _get(api, "/healthz", Health, "Are samples being taken and stored?")(not_well(get_health))
    return api


def _get(
    api: Blueprint, path: str, answer: type, summary: str, takes: type[Schema] | None = None
) -> Callable[[Handler], Handler]:
    """Register a handler: its path, its parameters (checked and described from `takes`), its answer.

    The summary is given here and not by docstring, which the daemon runs without (python -OO).
    """

    def register(handler: Handler) -> Handler:
        error = {"schema": reference(Error), "content_type": JSON}
        described = api.doc(summary=summary, operationId=handler.__name__, tags=["history"])(handler)
        described = api.alt_response(
            200,
            schema=reference(answer),
            description="The answer",
            content_type=JSON,
        )(described)
        described = api.alt_response(500, description="The history cannot be read", **error)(described)
        if path.startswith(DEAR):
            described = api.alt_response(503, description="Too many requests at once", **error)(described)
        if takes is not None:
            described = api.alt_response(400, description="A bad parameter", **error)(described)
        # The description is kept and its wrappers are not: they do nothing, at a fifth of a request's cost.
        handler._apidoc = described._apidoc  # type: ignore[attr-defined]
        api.route(path)(handler if takes is None else _checked(api, takes)(handler))
        return handler

    return register


def _checked(api: Blueprint, takes: type[Schema]) -> Callable[[Handler], Handler]:
    return api.arguments(takes, location="query", error_status_code=400, unknown=RAISE)  # type: ignore[no-any-return]


def _add_usage(api: Blueprint, monitor: ResourceMonitor) -> None:
    kept: list[tuple[Snapshot, dict[str, Any], bytes]] = []

    @_get(api, "/api/process/resource-usage", ResourceUsage, "Current system resource usage and trends")
    def get_resource_usage() -> Response:
        # One snapshot: a sample that is stored meanwhile must not show in one part of the answer alone.
        snapshot = monitor.snapshot()
        if not kept or kept[0][0] is not snapshot:
            current, trends = monitor.get_current_usage(snapshot), monitor.get_usage_trends(snapshot)
            usage = snapshot.usage
            answer = {
                "success": usage.success,
                "current_usage": current,
                "usage_trends": trends,
                "timestamp": usage.timestamp,
            }
            kept[:] = [(snapshot, current, json_response(answer, write=monitor.write).get_data())]
        _, current, body = kept[0]
        log.info(
            "📈 Resource usage retrieved | CPU: %s%% | Memory: %s%%", current["cpu_percent"], current["memory_percent"]
        )
        return Response(body, mimetype=JSON)


def _add_windows(api: Blueprint, monitor: ResourceMonitor, clock_: Clock) -> None:
    def respond(answer: object) -> Response:
        return json_response(answer, write=monitor.write)

    @_get(api, "/api/v1/series", Series, "Evenly spaced columns for charts; counters as rates", SeriesArguments)
    def get_series(arguments: dict[str, Any]) -> Response:
        start, end = _window(arguments, clock_, monitor.zone)
        metrics, device = arguments.get("metric", ()), arguments.get("device")
        answer = monitor.series(metrics, start, end, arguments["points"], device)
        return respond(series_rows(answer) if arguments["format"] == "rows" else answer)

    @_get(api, "/api/v1/summary", Summary, "Every metric over a window", SummaryArguments)
    def get_summary(arguments: dict[str, Any]) -> Response:
        asked = _asked(arguments, SUMMARY_SECONDS, clock_, monitor.zone)
        return respond(monitor.summary(asked.seconds, asked.end))

    @_get(api, "/api/v1/peaks", Peaks, "When a metric stood out, in time order", PeaksArguments)
    def get_peaks(arguments: dict[str, Any]) -> Response:
        asked = _asked(arguments, PEAK_SECONDS, clock_, monitor.zone)
        return respond(monitor.peaks(arguments["metric"], asked.seconds, arguments["count"], asked.end))

    @_get(api, "/api/v1/processes", Processes, "Who used the machine in a window", ProcessesArguments)
    def get_processes(arguments: dict[str, Any]) -> Response:
        start, end = _window(arguments, clock_, monitor.zone)
        return respond(monitor.processes(start, end, arguments["sort"], arguments["count"], arguments["by"]))

    @_get(api, "/api/v1/who", Who, "Who used the machine over time, for a stacked chart", WhoArguments)
    def get_who(arguments: dict[str, Any]) -> Response:
        start, end = _window(arguments, clock_, monitor.zone)
        wanted = {name: arguments[name] for name in ("points", "by", "metric", "top")}
        answer = monitor.who(start, end, **wanted)
        return respond(who_rows(answer) if arguments["format"] == "rows" else answer)


def _add_happenings(api: Blueprint, monitor: ResourceMonitor, clock_: Clock) -> None:
    def respond(answer: object) -> Response:
        return json_response(answer, write=monitor.write)

    @_get(api, "/api/v1/changes", Changes, "What moved most against the time before, with its SQL", ChangesArguments)
    def get_changes(arguments: dict[str, Any]) -> Response:
        return respond(monitor.changes(*_window(arguments, clock_, monitor.zone), arguments["against"]))

    @_get(api, "/api/v1/gaps", Gaps, "When nothing was recorded, and why", LastWeekArguments)
    def get_gaps(arguments: dict[str, Any]) -> Response:
        return respond(monitor.gaps(*_window(arguments, clock_, monitor.zone)))

    @_get(api, "/api/v1/events", Events, "What happened to the host and to the recording", LastWeekArguments)
    def get_events(arguments: dict[str, Any]) -> Response:
        return respond(monitor.events(*_window(arguments, clock_, monitor.zone)))


def _add_lists(api: Blueprint, monitor: ResourceMonitor) -> None:
    @_get(api, "/api/v1/insights", Insights, "What the history shows, in words, numbers and SQL")
    def get_insights() -> Response:
        return json_response(monitor.insights(), write=monitor.write)

    @_get(api, "/api/v1/sql", Rows, "The rows of one SELECT on the public views, read-only and bounded", SqlArguments)
    def get_sql(arguments: dict[str, Any]) -> Response:
        # A page of somebody else's cannot read the answer, but it could have the host search for nothing.
        if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            return json_response({"error": "only Tidemark's own page and programs may ask this"}, 403)
        return json_response(monitor.rows(arguments["query"]))

    @_get(
        api, "/api/v1/devices", Devices, "Every disk, interface, sensor, battery, mount and service, with its figures"
    )
    def get_devices() -> Response:
        return json_response(monitor.devices(), write=monitor.write)

    @_get(api, "/api/v1/host", Host, "Which machine this is, and since when it is recorded")
    def get_host() -> Response:
        return json_response(monitor.host(), write=monitor.write)

    @_get(api, "/api/v1/metrics", MetricList, "Every metric: its label, unit, kind, meaning and chart")
    def get_metrics() -> Response:
        return json_response(monitor.metrics())


def _window(arguments: Mapping[str, Any], clock_: Clock, zone: clock.Zone) -> tuple[int, int]:
    now = clock_.now().wall
    return clock.parse_time(arguments["start"], now, zone), clock.parse_time(arguments["end"], now, zone)


def _asked(arguments: Mapping[str, Any], default: int, clock_: Clock, zone: clock.Zone) -> Window:
    """Of a path that takes `window`, or `start` and `end` instead of it."""
    now = clock_.now().wall
    edges = (arguments.get("start"), arguments.get("end"))
    start, end = (None if text is None else clock.parse_time(text, now, zone) for text in edges)
    return window(now, default, arguments["window"], start, end)
