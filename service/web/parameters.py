"""The parameters of the API: what each takes, checked by marshmallow, described by OpenAPI."""

from typing import Any

from flask import request
from marshmallow import Schema, ValidationError, fields, pre_load, validate

from service import clock
from service.answers.device_series import MOST_LETTERS as MOST_DEVICE_LETTERS
from service.answers.peaks import DEFAULT_COUNT as PEAK_COUNT
from service.answers.peaks import DEFAULT_SECONDS as PEAK_SECONDS
from service.answers.processes import BYS, MOST_PROCESSES, SORTS
from service.answers.processes import DEFAULT_COUNT as PROCESS_COUNT
from service.answers.rows import MOST_LETTERS
from service.answers.series import DEFAULT_POINTS, MOST_POINTS
from service.answers.spans import parse_against
from service.answers.summary import DEFAULT_SECONDS as SUMMARY_SECONDS
from service.answers.who import DEFAULT_POINTS as WHO_POINTS
from service.answers.who import DEFAULT_TOP, KEYS, MOST_TOP
from service.answers.who import MOST_POINTS as MOST_WHO_POINTS
from service.metrics import METRICS
from service.store.device_metrics import KINDS
from service.web.openapi import FORMS, SERIES_NAMES

_TIME_TAKES = (
    "RFC 3339 with an offset, unix seconds, now, a time before now like -90m, -24h, -7d, or in analysis.timezone "
    "today, yesterday, monday to sunday, 2026-01-31, 2026-01-31T12:00, 12:00, yesterday 12:00"
)
_DURATION_TAKES = "a duration like 90m, 24h, 7d, from 1m to 10y"
_AGAINST_TAKES = "how much earlier the time to compare with is: -1h, -1d, -7d; at least as much as the window is long"
_NAMES = [metric.name for metric in METRICS]


class TimeField(fields.Field[str]):
    """A moment, kept as text until the request's one `now` is read."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> str:
        try:
            # Any moment late enough for what lies before it: whether it is a time does not depend on now.
            clock.parse_time(value, clock.YEAR)
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


class AgainstField(fields.Field[int]):
    """Seconds from a time before the window like `-1h`."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> int:
        try:
            return parse_against(str(value))
        except ValueError as error:
            raise ValidationError(str(error)) from None


def _time(default: str) -> TimeField:
    return TimeField(load_default=default, metadata=_described(_TIME_TAKES, default, "string"))


def _edge(left_out: str) -> TimeField:
    metadata = {
        "description": f"instead of window: {_TIME_TAKES}; {left_out} where it is left out",
        "takes": _TIME_TAKES,
        "type": "string",
    }
    return TimeField(metadata=metadata)


class _Arguments(Schema):
    """A parameter that is given twice is no answer to which of them is meant."""

    @pre_load
    def _refuse_repeated(self, given: Any, **_: Any) -> Any:
        repeated = [
            name
            for name, values in request.args.lists()
            if len(values) > 1 and name in self.fields and not isinstance(self.fields[name], fields.List)
        ]
        if repeated:
            raise ValidationError({name: ["given more than once"] for name in repeated})
        return given


class _WindowArguments(_Arguments):
    """`window`, or `start` and `end` instead of it, which are absent where they are left out."""

    start = _edge("as long before end as window is by default")
    end = _edge("now")


def _duration(seconds: int) -> DurationField:
    described = _described(_DURATION_TAKES, clock.format_duration(seconds), "string")
    return DurationField(load_default=None, metadata={**described, "pattern": r"^[0-9]{1,11}(\.[0-9]{1,6})?[smhdy]$"})


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


_DEVICE_TAKES = f"KIND:NAME, with one of the kinds {', '.join(KINDS)}, like disk:sda"


class _SeriesMetric(validate.OneOf):
    """Of the host, or with `device` of its kind, which only the answer knows."""

    def __call__(self, value: Any) -> Any:
        if "device" not in request.args and value not in _NAMES:
            raise ValidationError(self._format_error(value))
        return value


def _form() -> fields.String:
    return fields.String(
        load_default="columns",
        validate=validate.OneOf(FORMS),
        metadata={
            "description": "columns for charts, or a flat list of rows for Grafana Infinity and jq",
            "takes": "columns or rows",
        },
    )


class SeriesArguments(_Arguments):
    metric = fields.List(
        fields.String(validate=_SeriesMetric(SERIES_NAMES)),
        validate=validate.Length(1, len(SERIES_NAMES)),
        metadata={
            "description": "one or more metrics of the host; instead of them with device those of its kind, all of "
            "them where it is left out",
            "takes": "one or more of " + ", ".join(_NAMES),
        },
    )
    device = fields.String(
        validate=validate.Length(1, MOST_DEVICE_LETTERS),
        metadata={"description": f"instead of the host, {_DEVICE_TAKES}", "takes": _DEVICE_TAKES},
    )
    start = _time("-1h")
    end = _time("now")
    points = _whole(1, MOST_POINTS, DEFAULT_POINTS)
    format = _form()


class SummaryArguments(_WindowArguments):
    window = _duration(SUMMARY_SECONDS)


class PeaksArguments(_WindowArguments):
    metric = _metric_field(load_default="cpu_percent")
    window = _duration(PEAK_SECONDS)
    count = _whole(1, 20, PEAK_COUNT)


def _by() -> fields.String:
    return fields.String(
        load_default="name",
        validate=validate.OneOf(BYS),
        metadata={
            "description": "by the processes' name, or by service",
            "takes": "name or service",
        },
    )


class ChangesArguments(_Arguments):
    start = _time("-1h")
    end = _time("now")
    against = AgainstField(
        load_default=None,
        metadata={
            "description": f"{_AGAINST_TAKES}; -1h where it is left out, or as long as a longer window",
            "takes": _AGAINST_TAKES,
            "type": "string",
            "default": "-1h",
            "pattern": r"^-[0-9]{1,11}(\.[0-9]{1,6})?[smhdy]$",
        },
    )


class ProcessesArguments(_Arguments):
    start = _time("-1h")
    end = _time("now")
    by = _by()
    sort = fields.String(
        load_default="cpu",
        validate=validate.OneOf(SORTS),
        metadata={"description": "by CPU time, or by the most memory at one moment", "takes": "cpu or memory"},
    )
    count = _whole(1, MOST_PROCESSES, PROCESS_COUNT)


class WhoArguments(_Arguments):
    start = _time("-24h")
    end = _time("now")
    points = _whole(1, MOST_WHO_POINTS, WHO_POINTS)
    by = _by()
    metric = fields.String(
        load_default="cpu",
        validate=validate.OneOf(KEYS),
        metadata={"description": "CPU time, or memory", "takes": "cpu or memory"},
    )
    top = _whole(1, MOST_TOP, DEFAULT_TOP)
    format = _form()


class SqlArguments(_Arguments):
    query = fields.String(
        required=True,
        validate=validate.Length(1, MOST_LETTERS),
        metadata={
            "description": "one SELECT on the public views",
            "takes": f"one SELECT on the public views, of at most {MOST_LETTERS} letters",
        },
    )


class LastWeekArguments(_Arguments):
    start = _time("-7d")
    end = _time("now")
