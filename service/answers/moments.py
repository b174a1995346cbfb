"""Moments in answers: unix seconds until web or terminal writes them, in the one way that is set up here."""

from collections.abc import Callable

from service import clock


class Moment(int):
    """Unix seconds; written as RFC 3339 in `analysis.timezone`."""


class Date(int):
    """Unix seconds; written as YYYY-MM-DD in `analysis.timezone`."""


class TimeOfDay(int):
    """Unix seconds; written as HH:MM on the clock of `analysis.timezone`."""


Write = Callable[[object], str]


def writer(zone: clock.Zone) -> Write:
    """What writes a moment of an answer as text; msgspec's `enc_hook`.

    :raises NotImplementedError: if it is given anything else, as msgspec asks of such a hook.
    """

    def write(value: object) -> str:
        if isinstance(value, Moment):
            return clock.rfc3339(value, zone)
        if isinstance(value, Date):
            return clock.rfc3339(value, zone)[: len("2026-01-31")]
        if isinstance(value, TimeOfDay):
            return clock.clock_label(value, zone)
        raise NotImplementedError(f"an answer holds {type(value).__name__}")

    return write
