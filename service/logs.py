"""The daemon's log: one handler to stderr, a line of text or of JSON a message."""

import json
import logging

from service.clock import rfc3339


def set_up(level: str, form: str) -> None:
    """`level`: a level's name. `form`: `text` or `json`. A full or closed stderr is no reason to stop."""
    logging.raiseExceptions = False
    handler = logging.StreamHandler()
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """A name that the host gives may hold a line end or worse; it must not become a line of its own."""
        line = super().formatMessage(record)
        return line if line.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in line)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": rfc3339(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
