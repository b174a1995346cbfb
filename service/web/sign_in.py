"""Signs browsers in: a cookie that proves the token without holding it, and the routes that set and clear it."""

import hashlib
import hmac
import logging
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, request

from service import clock
from service.web.answers import json_response

log = logging.getLogger(__name__)

_PROOF, _NAME = b"tidemark: signed in", b"tidemark: name of the cookie"

# So many wrong tokens in a minute are answered one by one.
MOST_WRONG = 5


class WrongTokens:
    """Counts them by the minute, over all clients, and logs at most three lines a minute.

    The right token is let in all the same, else anybody could lock others out; one of 16 characters is not found by
    trying.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since, self._count = 0.0, 0

    def add(self, address: str) -> bool:
        """Count one from that address.

        :returns: whether there are too many in this minute.
        """
        self.end_minute()
        with self._lock:
            if not self._count:
                self._since = clock.steady()
            self._count += 1
            if self._count == 1:
                log.warning("a wrong token from %s", address)
            elif self._count == MOST_WRONG + 1:
                log.warning("more than %d wrong tokens within a minute, the last from %s", MOST_WRONG, address)
            return self._count > MOST_WRONG

    def end_minute(self) -> None:
        """Log how many there were, and begin again, if a minute has passed since the first."""
        with self._lock:
            if self._count and clock.steady() - self._since >= clock.MINUTE:
                if self._count > MOST_WRONG:
                    log.warning("%d wrong tokens within a minute", self._count)
                self._count = 0


class SignIn:
    """The proof of one token. No sign-ins are stored; a new token makes every cookie invalid."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()
        self._wrong = WrongTokens()
        self.proof = hmac.new(self._token, _PROOF, hashlib.sha256).hexdigest()
        # Browsers send a cookie to every port of a host, so two daemons on it need cookies of different names.
        self.cookie = "tidemark_" + hmac.new(self._token, _NAME, hashlib.sha256).hexdigest()[:8]

    def is_token(self, given: bytes) -> bool:
        return hmac.compare_digest(given, self._token)

    def refusal(self, address: str, text: str) -> Response:
        """What a wrong token gets: 401 with that text, or 429 where there were too many."""
        if not self._wrong.add(address):
            return json_response({"error": text}, 401)
        response = json_response({"error": "too many wrong tokens; try again in a minute"}, 429)
        response.headers["Retry-After"] = str(clock.MINUTE)
        return response

    def is_signed_in(self, environ: Mapping[str, Any]) -> bool:
        """Whether the request carries the token or the cookie. WSGI passes the bytes of a header as Latin-1."""
        self._wrong.end_minute()
        given = environ.get("HTTP_AUTHORIZATION", "").encode("latin-1", "replace")
        if hmac.compare_digest(given, b"Bearer " + self._token):
            return True
        for part in environ.get("HTTP_COOKIE", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == self.cookie and hmac.compare_digest(value.encode("latin-1", "replace"), self.proof.encode()):
                return True
        return False


def blueprint(sign_in: SignIn | None) -> Blueprint:
    """The routes to sign in and out. `sign_in`: None where no token is set."""
    routes = Blueprint("sign_in", __name__)

    @routes.post("/sign-in")
    def post_sign_in() -> Response:
        if refusal := _foreign_page():
            return refusal
        if sign_in is None:
            return json_response({"error": "there is nothing to sign in to: no token is set"}, 400)
        if not sign_in.is_token(request.form.get("token", "").strip().encode()):
            return sign_in.refusal(request.remote_addr or "an unknown address", "this is not the token")
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
    """Set a cookie.

    It has no path, so that the browser takes the folder of the address it asked for, whichever prefix a proxy adds. The
    page's own origin decides whether it is `secure`: what a proxy says of https is not trusted.
    """
    secure = request.headers.get("Origin", "").startswith("https:")
    response.set_cookie(name, value, path=None, httponly=True, samesite="Strict", secure=secure, **options)


def _foreign_page() -> Response | None:
    """The refusal of a request from the page of another origin; None for any other request.

    A browser names the origin in Sec-Fetch-Site, if it takes the connection for safe, and in Origin; other programs
    send neither.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is None and origin is None:
        return None
    is_own = site == "same-origin" if site is not None else urlsplit(origin).netloc == request.headers.get("Host")
    return None if is_own else json_response({"error": "only the page itself may sign in and out"}, 403)
