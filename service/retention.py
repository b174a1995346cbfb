"""When the history is rolled up, pruned and checkpointed, in steps so small that no tick waits long for one."""

import logging

from service.clock import DAY, HOUR, Clock
from service.config import Retention
from service.store import Store

log = logging.getLogger(__name__)

# The trend words and the last hour's averages need this much; no size limit takes it away.
_ALWAYS_KEPT_SECONDS = 2 * HOUR
# Rollups between two checkpoints.
_CHECKPOINT_EVERY = 6
# How much of each tier goes at once when the database is larger than it may be.
_SIZE_STEPS = (HOUR, DAY, 30 * DAY)


class Keeper:
    """The jobs that keep the history small. Each call is one bounded step and says whether there is more to do."""

    def __init__(self, store: Store, clock: Clock, retention: Retention, max_bytes: int) -> None:
        self._store, self._clock, self._max_bytes = store, clock, max_bytes
        self._kept = (int(retention.samples), int(retention.minutes), int(retention.hours))
        self._limits: tuple[int, int, int] | None = None
        self._calls = 0

    def roll_up(self) -> bool:
        """Finished minutes, hours and days; and now and then what is in the log goes into the database.

        Not each time: a commit is safe in the log, and each checkpoint writes the same few pages again.
        """
        if self._store.roll_up():
            return True
        self._calls += 1
        if self._calls % _CHECKPOINT_EVERY == 0:
            self._store.checkpoint()
        return False

    def prune(self) -> bool:
        """What is older than the settings keep, then what makes the database too large, then the freed pages."""
        if self._limits is None:
            self._limits = self._by_age()
        if self._store.prune(*self._limits):
            return True
        if self._store.used_bytes() > self._max_bytes and self._go_on_by_size():
            return True
        self._limits = None
        return self._store.shrink()

    def _by_age(self) -> tuple[int, int, int]:
        """Before when each tier goes: both older than its setting and followed by that much recorded time."""
        now = int(self._clock.now().wall)
        samples, minutes, hours = (min(now - kept, self._store.recorded_since(kept)) for kept in self._kept)
        return samples, minutes, hours

    def _go_on_by_size(self) -> bool:
        """Move the limit of the finest tier that still has something to give; False when none has."""
        now = int(self._clock.now().wall)
        newest_limit = min(now, self._store.recorded_since(_ALWAYS_KEPT_SECONDS))
        limits = list(self._limits or (0, 0, 0))
        for number, (oldest, step) in enumerate(zip(self._store.oldest(), _SIZE_STEPS, strict=True)):
            if oldest is not None and oldest // HOUR * HOUR + step <= newest_limit:
                limits[number] = oldest // HOUR * HOUR + step
                self._limits = (limits[0], limits[1], limits[2])
                log.info("the database is larger than storage.max_size; its oldest %s go", _NAMES[number])
                return True
        return False


_NAMES = ("samples", "minutes", "hours")
