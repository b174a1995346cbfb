"""When the history is rolled up, pruned and checkpointed: in steps so small that no tick waits long for one."""

import logging

from service.clock import DAY, HOUR, Clock
from service.config import Forward, Retention, Sampling, Settings
from service.store import captures, device_rollups, filesystems, forwards, notes, old_captures, usage_rollups
from service.store.writer import Store

log = logging.getLogger(__name__)

# The trend words and the averages of the last hour need this much; it is kept however small the limit is.
_ALWAYS_KEPT_SECONDS = 2 * HOUR
# Rollups between two checkpoints.
_CHECKPOINT_EVERY = 6
# How much of each is deleted at once when the database is larger than it may be.
_SIZE_STEPS = (HOUR, DAY, DAY, 30 * DAY)
# Captures that one step deletes, with their processes.
_PRUNE_CAPTURES = 200
# Rows of devices that one step deletes of each of their tables.
_PRUNE_DEVICE_ROWS = 4000


class Keeper:
    """The jobs that keep the history small. Each call is one bounded step and says whether there is more to do."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        retention: Retention,
        max_bytes: int,
        processes_count: int = Sampling().processes_count,
        forward: Forward = Forward(),  # noqa: B008 - frozen
    ) -> None:
        """`processes_count`: how many processes a capture keeps by each measure. `forward`: to whom samples are sent,
        and for how long those that are not acknowledged are kept beyond their retention."""
        self._forward = forward
        self._store, self._clock, self._max_bytes, self._count = store, clock, max_bytes, processes_count
        self._kept = tuple(int(getattr(retention, name)) for name in _NAMES)
        self._limits: tuple[int, ...] | None = None
        self._calls = 0

    @classmethod
    def by(cls, settings: Settings, store: Store, clock: Clock) -> "Keeper":
        count = settings.sampling.processes_count
        return cls(store, clock, settings.retention, settings.storage.max_size, count, settings.forward)

    def roll_up(self) -> bool:
        """Reduce finished minutes, hours and days, who used the host and what devices did in them; now and then,
        checkpoint.

        Not each time: a commit is safe in the log, and each checkpoint writes the same few pages again.
        """
        if (
            self._store.roll_up()
            or self._store.write(lambda statements: usage_rollups.roll_up(statements, self._count))
            or self._store.write(device_rollups.roll_up)
        ):
            return True
        self._calls += 1
        if self._calls % _CHECKPOINT_EVERY == 0:
            self._store.checkpoint()
        return False

    def prune(self) -> bool:
        """Delete what is older than the settings keep, then what makes the database too large; then give back the freed
        pages."""
        limits = self._limits = self._limits or self._by_age()
        if self._delete(*limits):
            return True
        if self._store.used_bytes() > self._max_bytes and self._go_on_by_size(list(limits)):
            return True
        self._limits = None
        return self._store.shrink()

    def _delete(self, samples: int, processes: int, minutes: int, hours: int) -> bool:
        """One bounded step of each table: delete what is before these unix seconds."""
        more = self._store.prune(samples, minutes, hours)
        more |= self._store.write(lambda statements: notes.prune(statements, hours))
        more |= self._store.write(lambda statements: usage_rollups.prune(statements, processes, hours, _PRUNE_CAPTURES))
        more |= self._store.write(lambda statements: old_captures.merge(statements, samples, self._count))
        more |= self._store.write(
            lambda statements: device_rollups.prune(statements, processes, hours, _PRUNE_DEVICE_ROWS)
        )
        return more | self._store.write(lambda statements: filesystems.prune(statements, samples, hours))

    def _by_age(self) -> tuple[int, ...]:
        """Before which unix second each is deleted: older than its setting, with that much recorded time after it."""
        now = int(self._clock.now().wall)
        samples, *others = (min(now - kept, self._store.recorded_since(kept)) for kept in self._kept)
        return self._held(samples, now), *others

    def _held(self, before: int, now: int) -> int:
        """The limit of the samples, moved back to those that are not forwarded yet, as far as these are to be held."""
        target, hold = self._forward.target, self._forward.hold
        waiting = self._store.write(lambda statements: forwards.oldest_waiting(statements, target)) if target else None
        if waiting is None:
            return before
        return min(before, max(waiting, min(now - hold, self._store.recorded_since(hold))))

    def _go_on_by_size(self, limits: list[int]) -> bool:
        """Move the limit of the first that still has something to delete; False when none has."""
        now = int(self._clock.now().wall)
        newest_limit = min(now, self._store.recorded_since(_ALWAYS_KEPT_SECONDS))
        for number, (oldest, step) in enumerate(zip(self._oldest(), _SIZE_STEPS, strict=True)):
            if oldest is not None and oldest // HOUR * HOUR + step <= newest_limit:
                limits[number] = oldest // HOUR * HOUR + step
                self._limits = tuple(limits)
                log.info("the database is larger than storage.max_size; its oldest %s go", _NAMES[number])
                return True
        return False

    def _oldest(self) -> tuple[int | None, ...]:
        """The first second of each, in the order in which they are deleted."""
        samples, minutes, hours = self._store.oldest()
        usages = [self._store.write(captures.oldest), self._store.write(device_rollups.oldest)]
        return samples, min((ts for ts in usages if ts is not None), default=None), minutes, hours


# What has a retention, in the order in which it is deleted where the database is too large.
_NAMES = ("samples", "processes", "minutes", "hours")
