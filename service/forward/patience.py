"""How long to wait after a failure, and what of it is logged: the first one, then one an hour."""

import logging
import random
import threading
from collections.abc import Callable

from service.clock import HOUR, Clock
from service.forward.send import Answer

log = logging.getLogger(__name__)

_LONGEST_SECONDS = 60.0
_JITTER = 0.2
# After 401, 403 and 404: somebody has to change a setting.
_SETTINGS_SECONDS = 60.0
# An error that differs from the last is noted in the database no more often than this.
_NOTE_EVERY_SECONDS = 60.0


class Patience:
    """Waits, until it is told to stop waiting. `error`: of the last sending; None where that went well."""

    def __init__(self, clock: Clock, note: Callable[[str], None]) -> None:
        """`note`: keeps an error where `forward --status` finds it."""
        self._clock, self._note = clock, note
        self.error: str | None = None
        self._failing_since: float | None = None
        self._logged_at: dict[str, float] = {}
        self._noted_at: float | None = None
        self._failures = 0
        self._stops = threading.Event()

    def stop(self) -> None:
        """End every wait, now and from now on. Any thread."""
        self._stops.set()

    def rest(self, seconds: float) -> bool:
        """Wait; False where it was cut off."""
        return not self._stops.wait(max(0.0, seconds))

    def failing_seconds(self) -> float:
        since = self._failing_since
        return 0.0 if since is None else self._clock.now().steady - since

    def failed(self, answer: Answer) -> bool:
        """Note a failure and wait as long as it asks for: False where that was cut off."""
        now = self._clock.now().steady
        self._failing_since = now if self._failing_since is None else self._failing_since
        is_new, self.error = answer.text != self.error, answer.text
        if self._is_due("failed", now, HOUR):
            log.error("cannot forward: %s; the history waits and is sent when that is over", answer.text)
        if self._noted_at is None or (is_new and now - self._noted_at >= _NOTE_EVERY_SECONDS):
            self._noted_at = now
            self._note(answer.text)
        self._failures += 1
        return self.rest(self._seconds(answer))

    def well(self) -> None:
        """The receiver has answered, if only to refuse."""
        if self._failing_since is not None:
            log.info("forwarding again, after %.0f s", self.failing_seconds())
            self._logged_at.pop("failed", None)
        self.error = self._failing_since = self._noted_at = None
        self._failures = 0

    def refused(self, what: str, text: str) -> None:
        """Log what is not sent again, once an hour."""
        self.error = text
        if self._is_due("refused", self._clock.now().steady, HOUR):
            log.error("%s are refused: %s; once that is put right, `forward --again` sends them again", what, text)

    def _seconds(self, answer: Answer) -> float:
        if answer.verdict == "settings":
            return _SETTINGS_SECONDS
        if answer.retry_after is not None:
            return answer.retry_after
        doubled = min(_LONGEST_SECONDS, 2.0 ** min(self._failures - 1, 10))
        return doubled * (1 + _JITTER * (2 * random.random() - 1))

    def _is_due(self, what: str, now: float, every: float) -> bool:
        if what in self._logged_at and now - self._logged_at[what] < every:
            return False
        self._logged_at[what] = now
        return True
