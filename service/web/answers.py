"""How answers become HTTP bodies: JSON in UTF-8, moments written in the zone of the settings."""

import msgspec
from flask import Response

from service.answers.moments import Write

JSON = "application/json"


def json_response(answer: object, status: int = 200, write: Write | None = None) -> Response:
    """What is no finite number becomes null. `write`: writes the moments of an answer."""
    return Response(msgspec.json.encode(answer, enc_hook=write), status, mimetype=JSON)
