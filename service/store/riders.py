"""What waits to be stored in the transaction of the next samples; no sample fails for it."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.store.file import failure_of, is_defect
from service.store.statements import Statements

log = logging.getLogger(__name__)

# Writes what belongs to a stretch, whose number it is given.
Rider = Callable[[Statements, int], object]
# An hour of captures of processes and file systems, while the disk takes nothing.
MOST_RIDERS = 200


class Riders:
    """A bounded queue. `add` may be called by any thread, the rest by the one that writes."""

    def __init__(self) -> None:
        # Since the start: `dropped` because too many waited, `poisoned` because the database took them for invalid,
        # `defective` by a defect in Tidemark.
        self.counts = Counter(dropped=0, poisoned=0, defective=0)
        self._waiting: deque[Rider] = deque()
        self._lock = threading.Lock()
        self._has_dropped = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, write: Rider) -> None:
        with self._lock:
            self._waiting.append(write)
            self._drop_oldest()

    @contextmanager
    def taken(self) -> Iterator[list[Rider]]:
        """All that wait, for one transaction. Where it fails, those that are still in the list wait again."""
        with self._lock:
            riders, self._waiting = list(self._waiting), deque()
        try:
            yield riders
        except BaseException:
            with self._lock:
                self._waiting.extendleft(reversed(riders))
                self._drop_oldest()
            raise
        self._has_dropped = False

    def write(self, riders: list[Rider], statements: Statements, stretch_id: int) -> None:
        """Write each; one that fails by a fault of its own is taken off the list, and nothing of it is stored.

        :raises Exception: if the disk fails, and with it the transaction.
        """
        for rider in list(riders):
            statements.run("SAVEPOINT rider")
            try:
                rider(statements, stretch_id)
            except Exception as error:  # whatever it is: the sample that it rides with is not to be lost for it
                if not self._is_left_out(error):
                    raise
                statements.run("ROLLBACK TO rider")
                riders.remove(rider)
            statements.run("RELEASE rider")

    def _is_left_out(self, error: Exception) -> bool:
        """Log and count a fault of the rider's own; False where the disk failed."""
        failure = failure_of(error)
        if is_defect(error):
            self.counts["defective"] += 1
            log.error("a capture is left out: a defect in Tidemark", exc_info=error)
        elif failure is not None and failure.kind == "poison":
            self.counts["poisoned"] += 1
            log.error("a capture that cannot be stored is left out: %s", failure)
        else:
            return False
        return True

    def _drop_oldest(self) -> None:
        """Make room; logged once until what waits can be stored again. Called with the lock held."""
        dropped = len(self._waiting) - MOST_RIDERS
        if dropped <= 0:
            return
        for _ in range(dropped):
            self._waiting.popleft()
        self.counts["dropped"] += dropped
        if not self._has_dropped:
            self._has_dropped = True
            log.error("%d captures wait to be stored, which is all that memory keeps: the oldest are lost", MOST_RIDERS)
