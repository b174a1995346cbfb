"""Hears a key while a picture is being watched; alone changes how the terminal gives its input."""

import os
import select
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event

from service import clock

Wait = Callable[[float], bool]


@contextmanager
def until_q() -> Iterator[Wait]:
    """What waits so many seconds, or until `q` is pressed, and says whether it was; where there are no keys to hear
    (a pipe, a job in the background, which would be stopped for changing the terminal) it only waits."""
    descriptor = _keyboard()
    if descriptor is None:
        yield Event().wait
        return
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor)
        yield lambda seconds: _q_within(descriptor, seconds)
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def are_heard() -> bool:
    return _keyboard() is not None


def _keyboard() -> int | None:
    try:
        descriptor = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        return descriptor if descriptor is not None and os.tcgetpgrp(descriptor) == os.getpgrp() else None
    except (OSError, ValueError):  # not the terminal of this session; closed
        return None


def _q_within(descriptor: int, seconds: float) -> bool:
    deadline = clock.steady() + seconds
    while (left := deadline - clock.steady()) > 0:
        if not select.select([descriptor], [], [], left)[0]:
            return False
        pressed = os.read(descriptor, 1024)
        if b"q" in pressed.lower():
            return True
        if not pressed:  # Ctrl-D: readable from now on, and nothing comes
            Event().wait(left)
    return False
