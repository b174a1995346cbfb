"""The API's description: a named schema for each answer, made from its Struct; examples; how one signs in."""

from collections.abc import Iterable, Mapping
from functools import cache
from itertools import chain
from typing import Any, get_args

import msgspec
from apispec import APISpec
from flask import Blueprint, Response

from service.analysis.trend import TrendWord
from service.answers.answer import Answer
from service.answers.insights.rules import Severity
from service.answers.moments import Date, Moment, TimeOfDay
from service.answers.series import Series, SeriesRow
from service.answers.who import Who, WhoRow
from service.metrics import METRICS
from service.records import Reason
from service.store.device_metrics import KINDS
from service.store.device_metrics import METRICS as DEVICE_METRICS
from service.store.events import Kind
from service.store.usages import By, Key
from service.web.answers import JSON, json_response

Schema = dict[str, Any]
_PLACE = "#/components/schemas/"
# The metrics of the host, and those of every kind of device.
SERIES_NAMES = tuple(dict.fromkeys([*(m.name for m in METRICS), *(m.name for m in chain(*DEVICE_METRICS.values()))]))
FORMS = ("columns", "rows")
# Sets of words that are used in several places: a client gets one type for each.
_WORDS = {
    "SeriesMetric": SERIES_NAMES,
    "MetricName": tuple(metric.name for metric in METRICS),
    "TrendWord": get_args(TrendWord),
    "EventKind": get_args(Kind),
    "GapReason": get_args(Reason),
    "Severity": get_args(Severity),
    "UsageKey": get_args(Key),
    "UsageBy": get_args(By),
    "DeviceKind": KINDS,
    "AnswerForm": FORMS,
}
# The answers that format=rows makes a flat list of, with its row, by the name of the schema for both.
_EITHER: dict[str, tuple[type[Answer], type[Answer]]] = {
    "SeriesOrRows": (Series, SeriesRow),
    "WhoOrRows": (Who, WhoRow),
}
_SIGN_IN = {
    "token": {"type": "http", "scheme": "bearer"},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "tidemark_XXXXXXXX", "description": "set by POST /sign-in"},
}


class Error(Answer, frozen=True):
    """Every error: what is wrong, and what to do."""

    error: str


def blueprint(spec: APISpec, answers: Iterable[type]) -> Blueprint:
    """The route of the document. It is made when it is first asked for, which in most daemons is never, and kept."""
    routes = Blueprint("openapi", __name__)

    @cache
    def body() -> bytes:
        return json_response(document(spec, answers)).get_data()

    @routes.get("/api/v1/openapi.json")
    def get_openapi() -> Response:
        return Response(body(), mimetype=JSON)

    return routes


def reference(answer: type) -> Schema:
    """The place of an answer's schema in the document."""
    return _reference(next((name for name, (either, _) in _EITHER.items() if either is answer), answer.__name__))


def _reference(name: str) -> Schema:
    return {"$ref": f"{_PLACE}{name}"}


def document(spec: APISpec, answers: Iterable[type]) -> dict[str, Any]:
    """What flask-smorest knows of routes and parameters, with the schemas and examples of the answers."""
    from service.web.examples import examples

    found: dict[str, Any] = _with_named_words(spec.to_dict())
    words = {name: {"type": "string", "enum": list(values)} for name, values in _WORDS.items()}
    rows = [row for _, row in _EITHER.values()]
    found["components"]["schemas"] = {**words, **_with_named_words(_schemas([*answers, *rows])), **_either_schemas()}
    found["components"]["securitySchemes"] = _SIGN_IN
    found["security"] = [{"token": []}, {"cookie": []}, {}]
    for methods in found["paths"].values():
        content = methods["get"]["responses"]["200"]["content"]["application/json"]
        name = content["schema"]["$ref"].removeprefix(_PLACE)
        content["example"] = examples()[_EITHER[name][0].__name__ if name in _EITHER else name]
    return found


def _either_schemas() -> dict[str, Schema]:
    return {
        name: {"anyOf": [_reference(answer.__name__), {"type": "array", "items": _reference(row.__name__)}]}
        for name, (answer, row) in _EITHER.items()
    }


def _schemas(answers: Iterable[type]) -> dict[str, Schema]:
    """The schemas of these answers and of all that they are made of, by name.

    Without docstrings, which the daemon runs without (python -OO).
    """
    _, found = msgspec.json.schema_components(answers, schema_hook=_text_schema, ref_template=f"{_PLACE}{{name}}")
    return {name: {key: part for key, part in schema.items() if key != "description"} for name, schema in found.items()}


def _text_schema(kind: type) -> Schema:
    if kind is Moment:
        return {"type": "string", "format": "date-time"}
    if kind is Date:
        return {"type": "string", "format": "date"}
    if kind is TimeOfDay:
        return {"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]([+-][0-9:]+)?$"}
    raise NotImplementedError(f"an answer holds {kind.__name__}")


def _with_named_words(part: Any) -> Any:
    """The same with each set of words that has a name replaced by a reference to it; what stands beside it stays."""
    if isinstance(part, list):
        return [_with_named_words(each) for each in part]
    if not isinstance(part, Mapping):
        return part
    same = {key: _with_named_words(value) for key, value in part.items()}
    name = _name_of(part.get("enum"))
    return same if name is None else {**_without(same, "enum", "type"), **_reference(name)}


def _without(schema: Schema, *keys: str) -> Schema:
    return {key: value for key, value in schema.items() if key not in keys}


def _name_of(words: object) -> str | None:
    """The order of the words does not matter."""
    if not isinstance(words, list):
        return None
    return next((name for name, known in _WORDS.items() if set(known) == set(map(str, words))), None)
