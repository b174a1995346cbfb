"""The pages for people and the files that they load; all from this server, none with inline script or style."""

from pathlib import Path

from flask import Blueprint, Response, send_from_directory

_STATIC = Path(__file__).parent / "static"


def blueprint() -> Blueprint:
    """The routes of pages and static files."""
    pages = Blueprint("pages", __name__)

    @pages.route("/")
    def get_page() -> Response:
        return send_from_directory(_STATIC, "index.html")

    @pages.route("/api/docs")
    def get_docs() -> Response:
        return send_from_directory(_STATIC, "docs.html")

    @pages.route("/static/<path:name>")
    def get_static(name: str) -> Response:
        return send_from_directory(_STATIC, name)

    return pages
