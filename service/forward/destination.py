"""Where the history is sent and with which credentials: made of the settings, and refused where that is unsafe."""

import os
import re
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from service import __version__
from service.address import is_loopback
from service.config import Settings, read_secret
from service.errors import BadSetting

_TOKEN = re.compile(r"[\x21-\x7e]+")
_PASSWORD = re.compile(r"[\x20-\x7e]+")


@dataclass(frozen=True, slots=True)
class Destination:
    """A receiver. `path`: with the query. `headers`: of every request, credentials among them."""

    target: str
    is_https: bool
    host: str
    port: int
    path: str
    headers: Mapping[str, str]
    instance: str
    labels: Mapping[str, str]

    def at(self, url: str) -> "Destination":
        """Another address of the same engine, with the same credentials."""
        parts = urlsplit(url)
        return Destination(
            url.partition("?")[0],
            parts.scheme == "https",
            parts.hostname or "",
            parts.port or (443 if parts.scheme == "https" else 80),
            (parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
            self.headers,
            self.instance,
            self.labels,
        )


def destination(settings: Settings, query_url: str | None = None) -> Destination:
    """What `forward.*` says; `query_url`: where credentials go besides.

    :raises BadSetting: if nothing is to be forwarded, the token's file cannot be used, or credentials would go over
        plain http to another host.
    """
    forward = settings.forward
    if not forward.url:
        raise BadSetting("forward.url is empty: set it to the remote-write address of a receiver")
    credentials = _credentials(settings)
    for url in (forward.url, query_url):
        parts = urlsplit(url or "")
        if credentials and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise BadSetting(
                f"forward.token_file would be sent to {parts.hostname} over plain http, where anyone on the way can "
                "read it: use https"
            )
    headers = {"User-Agent": f"tidemark/{__version__}", **forward.headers, **credentials}
    instance = forward.instance or os.uname().nodename
    nowhere = Destination("", False, "", 0, "", headers, instance, forward.labels)
    return nowhere.at(forward.url)


def _credentials(settings: Settings) -> dict[str, str]:
    """The header that proves who sends; empty where there is no token."""
    user, file = settings.forward.user, settings.forward_token_file
    if file is None:
        if user:
            raise BadSetting("forward.user needs a password: put it into the file of forward.token_file")
        return {}
    secret = read_secret("forward.token_file", file)
    if not (_PASSWORD if user else _TOKEN).fullmatch(secret):
        raise BadSetting(f"forward.token_file = {file} is empty, or holds what is no token: one line of ASCII")
    if user:
        return {"Authorization": f"Basic {b64encode(f'{user}:{secret}'.encode()).decode()}"}
    return {"Authorization": f"Bearer {secret}"}
