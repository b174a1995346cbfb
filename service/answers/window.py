"""Window: which time an answer is about, of what was asked for: a length that ends now, or a start and an end."""

from typing import NamedTuple

from service.answers.answer import check_window
from service.errors import BadParameter

# Several captures: `at` a time asks who used the machine then.
_AROUND_SECONDS = 300


class Window(NamedTuple):
    """The `seconds` before `end` (unix seconds, not included); None: before now, the present second included."""

    seconds: int
    end: int | None = None


def window(now: float, default: int, length: int | None, start: int | None, end: int | None) -> Window:
    """Of a length in seconds, or instead of it a start and an end in unix seconds; None for what was left out.

    Left out, the length is `default`, an end is now, and a start is `default` before the end.

    :raises BadParameter: if there is a length and also a start or an end, or if the window is empty.
    """
    if start is None and end is None:
        return Window(default if length is None else length)
    if length is not None:
        raise BadParameter("window, start, end: takes window, or start and end instead of it")
    end = int(now) if end is None else end
    start = max(0, end - default) if start is None else start
    check_window(start, end)
    return Window(end - start, end)


def around(moment: int) -> tuple[int, int]:
    """The window start <= ts < end around a moment, in unix seconds."""
    return max(0, moment - _AROUND_SECONDS // 2), moment + _AROUND_SECONDS // 2
