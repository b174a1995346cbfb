"""The receiver as it is known from its answers: takes a body, and what time it is there."""

from service.clock import Clock
from service.forward import encode
from service.forward.send import Answer, Sender


class Receiver:
    """Used by one thread at a time."""

    def __init__(self, clock: Clock, sender: Sender) -> None:
        self._clock, self._sender = clock, sender
        # Its clock, and ours that goes on in suspend and is never set, at the last answer.
        self._known: tuple[float, float] | None = None

    def write(self, body: bytes) -> Answer:
        """Send a WriteRequest; an empty one asks nothing of the receiver but an answer."""
        answer = self._sender.write(encode.block(body))
        if answer.status is not None:
            now = self._clock.now()
            self._known = (now.wall if answer.date is None else answer.date, now.boot)
        return answer

    def forget_time(self) -> None:
        """Have its clock asked for anew."""
        self._known = None

    def time(self) -> float | None:
        """Unix seconds by its clock, ours where it does not say; None before its first answer."""
        return None if self._known is None else self._known[0] + self._clock.now().boot - self._known[1]
