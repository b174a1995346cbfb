"""Remembers a Ctrl-C that comes while the daemon starts, because Python may lose it.

Python raises KeyboardInterrupt in whatever code is running. In a finalizer, a weak reference's callback or a hook of
fork it is printed and dropped (docs.python.org/3/library/sys.html, unraisablehook), and the start would go on.
"""

import signal
from types import FrameType

_met: list[int] = []


def remember() -> None:
    """Remember a Ctrl-C from now on; it still raises KeyboardInterrupt."""
    _met.clear()
    signal.signal(signal.SIGINT, _interrupt)


def was_met() -> bool:
    """Whether there has been one since `remember`."""
    return bool(_met)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    _met.append(number)
    raise KeyboardInterrupt
