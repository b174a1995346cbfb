"""The pages for people and the files that they load; all from this server, none with inline script or style."""

import gzip
from functools import lru_cache
from mimetypes import guess_type
from pathlib import Path

from flask import Blueprint, Response, request, send_from_directory
from werkzeug.security import safe_join

_STATIC = Path(__file__).parent / "static"


def blueprint() -> Blueprint:
    """The routes of pages and static files."""
    pages = Blueprint("pages", __name__)

    @pages.route("/")
    def get_page() -> Response:
        return _file("index.html")

    @pages.route("/api/docs")
    def get_docs() -> Response:
        return _file("docs.html")

    @pages.route("/static/<path:name>")
    def get_static(name: str) -> Response:
        return _file(name)

    return pages


def _file(name: str) -> Response:
    """A file with its ETag, compressed for those who take that."""
    path = safe_join(str(_STATIC), name)
    if path is None or not Path(path).is_file() or not request.accept_encodings.quality("gzip"):
        plain = send_from_directory(_STATIC, name)
        plain.vary.add("Accept-Encoding")
        return plain
    status = Path(path).stat()
    response = Response(_compressed(path, status.st_mtime_ns), mimetype=guess_type(name)[0])
    response.headers["Content-Encoding"] = "gzip"
    response.vary.add("Accept-Encoding")
    response.set_etag(f"{status.st_mtime_ns:x}-{status.st_size:x}-gzip")
    response.make_conditional(request)
    return response


@lru_cache(maxsize=64)
def _compressed(path: str, _mtime_ns: int) -> bytes:
    """All files of the page together are some 40 kB so."""
    return gzip.compress(Path(path).read_bytes(), 9, mtime=0)
