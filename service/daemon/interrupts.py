"""Ctrl-C while the daemon starts: it ends the start, and is remembered where Python lets it get lost.

Python raises KeyboardInterrupt wherever it is just then. In a finalizer, a weak reference's callback or a hook of fork
it is printed and dropped (docs.python.org/3/library/sys.html, unraisablehook), and the start would go on.
"""

import signal
from types import FrameType

_met: list[int] = []


def remember() -> None:
    """From now on a Ctrl-C is remembered; it goes on raising KeyboardInterrupt."""
    _met.clear()
    signal.signal(signal.SIGINT, _interrupt)


def was_met() -> bool:
    """Whether there was one since."""
    return bool(_met)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _met.append(number)
    raise KeyboardInterrupt
