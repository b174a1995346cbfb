"""The daemon's log: one handler that writes each message to stderr as a line of text or of JSON."""

import json
import logging
import select
from typing import Any

from service import clock
from service.clock import rfc3339

# How long a line waits for the reader of stderr (a pager, a stopped terminal) before it is left out.
_WAIT_MILLISECONDS = 50
# In characters, so at most 4096 bytes: a pipe that poll() calls writable takes that much at once (PIPE_BUF).
_PIECE = 1024


def set_up(level: str, form: str) -> None:
    """`level`: a level's name. `form`: `text` or `json`. The daemon goes on if stderr is full or closed."""
    logging.raiseExceptions = False
    # Lines do not name the caller or the thread: finding these is half of what a line costs
    # (docs.python.org/3/howto/logging.html, "Optimization").
    logging._srcfile = None
    logging.setLogRecordFactory(_Record)
    handler = _Patient()
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)


class _Record(logging.LogRecord):
    """A record without its place in the code, its thread and its age: finding these is most of what a line costs."""

    pathname = filename = module = funcName = processName = threadName = taskName = ""
    lineno = process = thread = 0
    msecs = relativeCreated = 0.0
    exc_text = stack_info = None

    def __init__(
        self,
        name: str,
        level: int,
        _pathname: str,
        _lineno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        *_: object,
    ) -> None:
        self.name, self.msg, self.args, self.exc_info = name, msg, args, exc_info
        self.levelno, self.levelname = level, logging.getLevelName(level)
        self.created = clock.wall()


class _Patient(logging.StreamHandler[Any]):
    """Leaves a line out while stderr takes none, so that no thread, and so no sample, waits long for its reader."""

    def __init__(self) -> None:
        super().__init__()
        self._left_out = 0
        self._polled: tuple[Any, select.poll] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = self.format(record) + self.terminator
            if self._left_out and self._takes_more():
                lost = f"{self._left_out} lines are missing here: nobody read them"
                text = f"{self.terminator}{lost}{self.terminator}{text}"
            for start in range(0, len(text), _PIECE):
                if not self._takes_more():
                    self._left_out += 1
                    return
                self.stream.write(text[start : start + _PIECE])
                self.stream.flush()
            self._left_out = 0
        except (OSError, ValueError, TypeError, AttributeError):
            self.handleError(record)

    def _takes_more(self) -> bool:
        if self._polled is None or self._polled[0] is not self.stream:
            try:
                descriptor = self.stream.fileno()
            except (OSError, ValueError, AttributeError):  # not a file: a stream of a test, or none at all
                return True
            self._polled = (self.stream, select.poll())
            self._polled[1].register(descriptor, select.POLLOUT)
        return bool(self._polled[1].poll(0 if self._left_out else _WAIT_MILLISECONDS))


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__(datefmt="%Y-%m-%dT%H:%M:%S%z")
        self._second, self._stamp = -1, ""

    def format(self, record: logging.LogRecord) -> str:
        """A name from the host may hold a line end or worse; it must not become a line of its own."""
        if int(record.created) != self._second:
            # The text is kept for a second, in which there may be many lines.
            self._second, self._stamp = int(record.created), self.formatTime(record, self.datefmt)
        line = f"{self._stamp} {record.levelname} {_printable(record.getMessage())}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line

    def formatException(self, error: Any) -> str:
        """With each line indented, so that no part of an error's text can pass for a line of the log."""
        return "\n".join(f"    {_printable(line)}" for line in super().formatException(error).splitlines())


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
        return json.dumps(line)
