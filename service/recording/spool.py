"""Samples that wait in memory until they are stored."""

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from itertools import islice

from service.clock import DAY
from service.records import Break, Sample

# A day of samples, at most this many: some 20 MB of memory (a sample takes about 1 KB in Python).
MOST_SAMPLES = 20_000


class Spool:
    """The samples that wait, oldest first, each with its own time. Any thread may call any method."""

    def __init__(self, interval_seconds: int) -> None:
        self._limit = min(DAY // interval_seconds, MOST_SAMPLES)
        self._samples: deque[Sample] = deque()
        # What the first sample was before it was made to follow those that were dropped.
        self._first_was: Sample | None = None
        self._next_begins: Break | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, sample: Sample) -> bool:
        """
        :returns: whether the oldest sample was dropped to make room.
        """
        with self._lock:
            if self._next_begins is not None:
                sample, self._next_begins = replace(sample, begins=self._next_begins), None
            self._samples.append(sample)
            is_full = len(self._samples) > self._limit
            if is_full:
                self._drop_oldest()
            return is_full

    def oldest(self, most: int = MOST_SAMPLES) -> list[Sample]:
        """At most so many; they go on waiting until they are removed."""
        with self._lock:
            return list(islice(self._samples, most))

    def remove(self, stored: Iterable[Sample]) -> None:
        """Take out the oldest, which have been stored. By identity: while they were being stored, some of them may have
        been dropped, and the first of the rest may have been made to begin a stretch."""
        done = set(map(id, stored))
        with self._lock:
            while self._samples and (id(self._samples[0]) in done or id(self._first_was) in done):
                self._samples.popleft()
                self._first_was = None

    def begin_anew(self, prior_end: int | None) -> None:
        """What was stored has been set aside: the next sample to be stored follows a gap that the storage made."""
        begins = Break(prior_end, "storage")
        with self._lock:
            if self._samples:
                self._samples[0] = replace(self._samples[0], begins=begins)
            else:
                self._next_begins = begins

    def _drop_oldest(self) -> None:
        """The gap begins where the stretch before the first dropped sample ended."""
        dropped = self._samples.popleft()
        end = dropped.begins.prior_end if dropped.begins else round(dropped.ts - dropped.covered_seconds)
        self._first_was = self._samples[0]
        self._samples[0] = replace(self._first_was, begins=Break(end, "storage"))
