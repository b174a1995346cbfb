"""When the history is rolled up, pruned and checkpointed, in steps so small that no tick waits long for one."""

import logging

from service.clock import Clock
from service.config import Retention
from service.store import Store

log = logging.getLogger(__name__)


class Keeper:
    """The jobs that keep the history small. Each call is one bounded step and says whether there is more to do."""

    def __init__(self, store: Store, clock: Clock, retention: Retention, max_bytes: int) -> None:
        self._store, self._clock, self._retention, self._max_bytes = store, clock, retention, max_bytes

    def roll_up(self) -> bool:
        """Finished minutes and hours; when there are no more, what is in the log goes into the database."""
        if self._store.roll_up():
            return True
        self._store.checkpoint()
        return False
