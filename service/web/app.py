"""create_app: the Flask application and what holds for every answer (errors, headers, who may ask); starts nothing."""

import logging
import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from flask import Flask, Response, request
from flask_smorest import Api
from werkzeug.exceptions import HTTPException

import service
from service.answers.health import Health
from service.answers.monitor import ResourceMonitor
from service.clock import Clock
from service.config import Settings
from service.errors import TidemarkError, is_shortage
from service.web import api, metrics, openapi, pages, sign_in
from service.web.answers import json_response
from service.web.openapi import Error, reference
from service.web.sign_in import SignIn
from service.web.turns import REFUSED

log = logging.getLogger(__name__)

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_HEADER_LIST = list(_HEADERS.items())
# What holds no data may be kept, and is asked for again with its ETag.
_FILE_HEADER_LIST = list({**_HEADERS, "Cache-Control": "no-cache"}.items())
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Any]
_LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::\d{1,5})?")
# What a script that watches the daemon needs before it holds a token, and a person before signing in.
_OPEN_PATHS = frozenset({"/healthz", "/sign-in", "/sign-out"})
_FILES = "/static/"


class _JsonErrors(Api):  # type: ignore[misc]
    """flask-smorest with errors in the contract's form."""

    ERROR_SCHEMA = reference(Error)

    def handle_http_exception(self, error: HTTPException) -> Response:
        return _http_error(error)


def create_app(
    monitor: ResourceMonitor,
    settings: Settings,
    clock: Clock,
    health: Callable[[], Health],
    counts: Callable[[], dict[str, int]],
    token: str | None = None,
) -> Flask:
    """The application over one monitor.

    `health`: the answer of /healthz. `counts`: Tidemark's own counters for /metrics. `token`: what
    requests must bear, None for no token.
    """
    app = Flask("tidemark", static_folder=None)
    app.config.update(
        PROVIDE_AUTOMATIC_OPTIONS=False,
        MAX_CONTENT_LENGTH=65536,
        API_TITLE="Tidemark",
        API_VERSION=service.__version__,
        OPENAPI_VERSION="3.1.0",
    )
    # No redirect for `//`: a path that is not ours is a 404 like any other.
    app.url_map.merge_slashes = False
    app.register_error_handler(Exception, _server_error)
    smorest = _JsonErrors(app)
    smorest.register_blueprint(api.blueprint(monitor, clock, health))
    app.register_blueprint(openapi.blueprint(smorest.spec, api.ANSWERS))
    app.register_blueprint(metrics.blueprint(monitor, counts, health if settings.forward.url else None))
    app.register_blueprint(pages.blueprint())
    signing_in = None if token is None else SignIn(token)
    app.register_blueprint(sign_in.blueprint(signing_in))
    hosts = frozenset(map(_bare_host, (*_LOCAL_HOSTS, settings.server.host, *settings.server.allowed_hosts)))
    app.wsgi_app = _gate(app.wsgi_app, hosts, signing_in)  # type: ignore[method-assign, assignment]
    return app


def _bare_host(name: str) -> str:
    """A host's name or address as it is compared: a name in lower case without the dot of the root, an address in its
    shortest form without brackets."""
    bare = name.lower().removeprefix("[").removesuffix("]").removesuffix(".")
    address = _address(bare)
    return bare if address is None else str(address)


def _address(bare: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(bare)
    except ValueError:
        return None


@lru_cache(maxsize=64)
def _is_ours(host: str, allowed: frozenset[str]) -> bool:
    match = _HOST.fullmatch(host)
    return bool(match and _bare_host(match[1]) in allowed)


@lru_cache(maxsize=64)
def _is_address(host: str) -> bool:
    """Whether the client asked by an address and not by a name, which somebody may have made stand for this host."""
    match = _HOST.fullmatch(host)
    address = _address(_bare_host(match[1])) if match else None
    return address is not None and not address.is_unspecified


def _gate(inner: Wsgi, hosts: frozenset[str], signing_in: SignIn | None) -> Wsgi:
    """Who may ask, and the headers of every answer, before Flask: there each costs ten times as much."""

    def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        path = environ.get("PATH_INFO", "")
        is_file = path == "/" or path.startswith(_FILES)

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            own = [header for header in headers if header[0] not in _HEADERS]
            return start_response(status, own + (_FILE_HEADER_LIST if is_file else _HEADER_LIST), exc_info)

        if path == "/healthz" and environ.get("REQUEST_METHOD") == "OPTIONS":
            # HAProxy's `option httpchk /healthz` asks so, and takes a service down that answers 405.
            environ["REQUEST_METHOD"] = "GET"
        refusal = _foreign_host(environ, hosts)
        if refusal is None and environ.get(REFUSED):
            refusal = json_response({"error": "too many requests for the history at once; ask again in a moment"}, 503)
            refusal.headers["Retry-After"] = "1"
        if refusal is None and signing_in is not None and not is_file and path not in _OPEN_PATHS:
            refusal = _without_token(environ, signing_in)
        return (refusal or inner)(environ, start)

    return wsgi


def _foreign_host(environ: dict[str, Any], allowed: frozenset[str]) -> Response | None:
    """Refuse what a page of somebody else's asks through a name that it made stand for this address (DNS rebinding).

    A page cannot ask without a name or by an address of its choice, but health checks do: HAProxy's in HTTP/1.0 without
    Host, kubelet's by the address of the pod.
    """
    given = environ.get("HTTP_HOST", "")
    if _is_ours(given, allowed):
        return None
    if environ.get("PATH_INFO") == "/healthz":
        is_unnamed = "HTTP_HOST" not in environ and environ.get("SERVER_PROTOCOL") == "HTTP/1.0"
        if is_unnamed or _is_address(given):
            return None
    text = f"host {given[:80]!r} is not served here: ask for localhost, or add the name to server.allowed_hosts"
    return json_response({"error": text}, 400)


def _without_token(environ: dict[str, Any], signing_in: SignIn) -> Response | None:
    if signing_in.is_signed_in(environ):
        return None
    text = "this needs a token: send Authorization: Bearer <token>"
    if "HTTP_AUTHORIZATION" in environ:
        response = signing_in.refusal(environ.get("REMOTE_ADDR", "an unknown address"), text)
    else:
        response = json_response({"error": text}, 401)
    if response.status_code == 401:
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


_USAGE_FAILED = "💥 Error getting resource usage"
_NOT_FOUND = "not found; /api/v1/openapi.json lists what there is"


def _http_error(error: HTTPException) -> Response:
    status = error.code or 500
    methods = sorted(getattr(error, "valid_methods", None) or ())
    texts = {404: _NOT_FOUND, 405: f"method not allowed: takes {' or '.join(methods)}"}
    text = _parameter_error(error) or texts.get(status) or error.description or error.name
    response = json_response({"error": text}, status)
    if methods:
        response.headers["Allow"] = ", ".join(methods)
    return response


def _parameter_error(error: HTTPException) -> str | None:
    """The first parameter that marshmallow refused: its name, what came, what it takes."""
    messages = getattr(error, "data", {}).get("messages", {}).get("query")
    if not messages:
        return None
    schema = error.data["schema"]  # type: ignore[attr-defined]
    name = next(iter(messages))
    if name not in schema.fields:
        return f"unknown parameter {name[:40]}: takes {', '.join(schema.fields)}"
    given = ", ".join(request.args.getlist(name))[:80] or "nothing"
    return f"{name} = {given}: takes {schema.fields[name].metadata['takes']}"


def _server_error(error: Exception) -> Response:
    """An error raised on purpose says its own text; of any other only the class is answered, the rest is in the log."""
    if isinstance(error, HTTPException):
        return _http_error(error)
    if isinstance(error, TidemarkError) and error.status < 500:
        return json_response({"error": str(error)}, error.status)
    text = str(error) if isinstance(error, TidemarkError) else type(error).__name__
    unexpected = None if isinstance(error, TidemarkError) or is_shortage(error) else error
    what = _USAGE_FAILED if request.endpoint == "api.get_resource_usage" else f"error answering {request.endpoint}"
    log.error("%s: %s", what, _cause(error), exc_info=unexpected)
    return json_response({"error": f"Server error: {text}"}, 500)


def _cause(error: BaseException) -> str:
    """An error and what lay behind it, on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{text} ({_cause(error.__cause__)})" if error.__cause__ else text
