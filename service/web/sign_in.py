"""Sign-in for browsers: a cookie that proves the token without holding it, and the routes that set and clear it."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, request

from service.web.answers import json_response

_PROOF, _NAME = b"tidemark: signed in", b"tidemark: name of the cookie"


class SignIn:
    """What proves one token; nothing is kept of who signed in, and another token makes every cookie invalid."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self.proof = hmac.new(self._token, _PROOF, hashlib.sha256).hexdigest()
        # Browsers send a cookie to every port of a host: daemons beside each other need names of their own.
        self.cookie = "tidemark_" + hmac.new(self._token, _NAME, hashlib.sha256).hexdigest()[:8]

    def is_token(self, given: bytes) -> bool:
        return hmac.compare_digest(given, self._token)

    def is_signed_in(self, environ: Mapping[str, Any]) -> bool:
        """Whether the request bears the token or the cookie. WSGI hands over the bytes of a header as Latin-1."""
        given = environ.get("HTTP_AUTHORIZATION", "").encode("latin-1", "replace")
        if hmac.compare_digest(given, b"Bearer " + self._token):
            return True
        for part in environ.get("HTTP_COOKIE", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie and hmac.compare_digest(value.encode("latin-1", "replace"), self.proof.encode()):
                return True
        return False


def blueprint(sign_in: SignIn | None) -> Blueprint:
    """The routes of signing in and out. `sign_in`: None where there is no token."""
    routes = Blueprint("sign_in", __name__)

    @routes.post("/sign-in")
    def post_sign_in() -> Response:
        if refusal := _foreign_page():
            return refusal
        if sign_in is None:
            return json_response({"error": "there is nothing to sign in to: no token is set"}, 400)
        if not sign_in.is_token(request.form.get("token", "").strip().encode()):
            return json_response({"error": "this is not the token"}, 401)
        response = Response(status=204)
        _set(response, sign_in.cookie, sign_in.proof)
        return response

    @routes.post("/sign-out")
    def post_sign_out() -> Response:
        if refusal := _foreign_page():
            return refusal
        response = Response(status=204)
        if sign_in is not None:
            _set(response, sign_in.cookie, "", max_age=0)
        return response

    return routes


def _set(response: Response, name: str, value: str, **options: Any) -> None:
    """Without a path, so that the browser takes the folder of the address that it asked, behind whichever prefix of a
    proxy. What a proxy says of https is not believed; the page's own origin says the same."""
    secure = request.headers.get("Origin", "").startswith("https:")
    response.set_cookie(name, value, path=None, httponly=True, samesite="Strict", secure=secure, **options)


def _foreign_page() -> Response | None:
    """Refuse what the page of another origin sends. A browser says so in Sec-Fetch-Site, where it takes the connection
    for safe, and in Origin; what is no browser says neither."""
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is None and origin is None:
        return None
    is_own = site == "same-origin" if site is not None else urlsplit(origin).netloc == request.headers.get("Host")
    return None if is_own else json_response({"error": "only the page itself may sign in and out"}, 403)
