"""How answers are written and described: JSON bodies, and the JSON Schemas that OpenAPI and the tests hold them to."""

from collections.abc import Mapping
from typing import Any, get_args

import msgspec
from flask import Response

from service.metrics import METRICS
from service.records import Reason

JSON = "application/json"

Schema = dict[str, Any]


def json_response(answer: object, status: int = 200) -> Response:
    """JSON in UTF-8; what is no finite number becomes null."""
    return Response(msgspec.json.encode(answer), status, mimetype=JSON)


def _object(properties: Mapping[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _array(items: Schema, **limits: int) -> Schema:
    return {"type": "array", "items": items, **limits}


TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": ["number", "null"]}
WHOLE: Schema = {"type": ["integer", "null"]}
TIME: Schema = {"type": "string", "format": "date-time"}
TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
WORD: Schema = {"type": "string", "enum": ["increasing", "decreasing", "stable", "unknown"]}
LABEL: Schema = {"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$"}

ERROR = _object({"error": TEXT})

RESOURCE_USAGE = _object(
    {
        "success": {"type": "boolean"},
        "current_usage": _object(
            {
                "cpu_percent": NUMBER,
                "memory_percent": NUMBER,
                "disk_percent": NUMBER,
                "network_io": _object({"bytes_sent": WHOLE, "bytes_recv": WHOLE}),
                "process_count": WHOLE,
                "load_average": _array(NUMBER, minItems=3, maxItems=3),
            }
        ),
        "usage_trends": _object(
            {
                "cpu_trend": WORD,
                "memory_trend": WORD,
                "disk_trend": WORD,
                "peak_usage_times": _array(LABEL, maxItems=3),
                "average_cpu_last_hour": NUMBER,
                "average_memory_last_hour": NUMBER,
            }
        ),
        "timestamp": TIME,
    }
)

SERIES = _object(
    {
        "start": TIME,
        "end": TIME,
        "step": {"type": "integer", "minimum": 1},
        "source": {"type": "string", "enum": ["samples", "minutes", "hours"]},
        "ts": _array({"type": "integer"}, maxItems=5000),
        "series": {
            "type": "object",
            "additionalProperties": _object(
                {"unit": TEXT, "average": _array(NUMBER), "minimum": _array(NUMBER), "maximum": _array(NUMBER)}
            ),
        },
    }
)

SUMMARY = _object(
    {
        "start": TIME,
        "end": TIME,
        "coverage": {"type": "number", "minimum": 0, "maximum": 1},
        "metrics": _object(
            {
                metric.name: _object(
                    {
                        "unit": TEXT,
                        "average": NUMBER,
                        "minimum": NUMBER,
                        "maximum": NUMBER,
                        "maximum_at": TIME_OR_NULL,
                        "p95": NUMBER,
                        "trend": _object({"word": WORD, "change_per_hour": NUMBER, "p_value": NUMBER}),
                    }
                )
                for metric in METRICS
            }
        ),
    }
)

_USES = _array(
    _object(
        {
            "name": TEXT,
            "pids": _array({"type": "integer"}),
            "cpu_percent": {"type": "number"},
            "cpu_seconds": {"type": "number"},
            "memory_bytes": {"type": "integer"},
        }
    )
)

PROCESSES = _object(
    {
        "start": TIME,
        "end": TIME,
        "covered_seconds": {"type": "number"},
        "cpu_percent": NUMBER,
        "unattributed_cpu_percent": NUMBER,
        "processes": _USES,
    }
)

INSIGHTS = _object(
    {
        "insights": _array(
            _object(
                {
                    "code": TEXT,
                    "severity": {"type": "string", "enum": ["info", "warning", "critical"]},
                    "title": TEXT,
                    "detail": TEXT,
                    "evidence": {"type": "object", "additionalProperties": NUMBER},
                    "sql": TEXT,
                }
            )
        )
    }
)

PEAKS = _object(
    {
        "start": TIME,
        "end": TIME,
        "metric": TEXT,
        "peaks": _array(
            _object(
                {
                    "label": LABEL,
                    "start": TIME,
                    "end": TIME,
                    "average": NUMBER,
                    "maximum": NUMBER,
                    "maximum_at": TIME_OR_NULL,
                    "processes": _USES,
                }
            )
        ),
    }
)

GAPS = _object(
    {
        "gaps": _array(
            _object(
                {
                    "start": TIME,
                    "end": TIME,
                    "seconds": {"type": "integer", "minimum": 0},
                    "reason": {
                        "type": "string",
                        "enum": list(get_args(Reason)),
                    },
                }
            )
        ),
    }
)

HEALTH = _object(
    {
        "status": {"type": "string", "enum": ["ok", "degraded", "failing"]},
        "newest_sample_age_seconds": NUMBER,
        "interval": {"type": "integer"},
        "last_error": {"type": ["string", "null"]},
        "database_bytes": WHOLE,
        "spooled_samples": {"type": "integer"},
    }
)
