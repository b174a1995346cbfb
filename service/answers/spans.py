"""Spans: the window that `changes` is about, the one that it is compared with, and those of which the usual is."""

import math
from dataclasses import dataclass, replace

from service.answers.answer import check_window
from service.clock import DAY, HOUR, MINUTE, format_duration, parse_duration
from service.errors import BadParameter

DEFAULT_AGAINST = HOUR
LEAST_SECONDS = 5 * MINUTE
_MOST_SECONDS = 366 * DAY
# What is usual is learnt from those of so long, but not fewer, nor more.
_USUAL_SECONDS = 7 * DAY
_USUAL_CAPTURES = 8 * HOUR
_MOST_OF_CAPTURES = 20 * MINUTE
_LEAST_TILES, _MOST_TILES = 28, 336


@dataclass(frozen=True, slots=True)
class Tiles:
    """`count` windows of `step` seconds, one after the other from `start` on. `factor`: by how much the changes between
    such windows are to be widened, where they are longer than those that are asked for."""

    start: int
    step: int
    count: int
    factor: float = 1.0


@dataclass(frozen=True, slots=True)
class Spans:
    """start <= ts < end, and the same `against` seconds before.

    What is usual is learnt from tiles before it, each against the same `against` seconds before. They are whole hours
    where the window has an hour, else whole minutes, so that few rows have to be read. Between the two windows none
    lies, for an hour at most: what the window shows may have begun shortly before it.
    """

    start: int
    end: int
    against: int

    @property
    def seconds(self) -> int:
        return self.end - self.start

    @property
    def before(self) -> tuple[int, int]:
        return self.start - self.against, self.end - self.against

    @property
    def _usual_until(self) -> int:
        return max(self.before[1], self.start - HOUR)

    @property
    def grain(self) -> int:
        return HOUR if self.seconds >= HOUR else MINUTE

    @property
    def metric_tiles(self) -> Tiles:
        step = self.seconds // self.grain * self.grain
        return self._tiles(step, _USUAL_SECONDS)

    @property
    def user_tiles(self) -> Tiles:
        """Of names and services: captures have so many rows that only short tiles are made of them. In place of longer
        ones stand hours, whose averages vary less: by the square root of the lengths' ratio where each moment is by
        itself, and by less where it is not."""
        step = self.seconds // self.grain * self.grain
        if step >= HOUR:
            return self._tiles(step, _USUAL_SECONDS)
        if step > _MOST_OF_CAPTURES:
            tiles = self._tiles(HOUR, _USUAL_SECONDS)
            return replace(tiles, factor=math.sqrt(HOUR / step))
        return self._tiles(step, _USUAL_CAPTURES)

    def _tiles(self, step: int, usual: int) -> Tiles:
        grain = HOUR if step % HOUR == 0 else MINUTE
        until = self._usual_until // grain * grain
        count = min(_MOST_TILES, max(_LEAST_TILES, usual // step))
        return Tiles(until - count * step, step, count)

    def speaks_from(self, oldest: int, tiles: int) -> int:
        """From when on such a window has so many before it, in a history that begins at `oldest`."""
        return oldest + self.against + tiles * self.metric_tiles.step + self.end - self._usual_until


def parse_against(text: str) -> int:
    """Seconds of a time before the window, like `-1h`.

    :raises ValueError: if it is none.
    """
    if not text.startswith("-"):
        raise ValueError("a time before is like -1h, -1d, -7d")
    return parse_duration(text[1:])


def spans(start: int, end: int, against: int | None) -> Spans:
    """`against`: seconds; None: an hour, or where the window is longer, its length.

    :raises BadParameter: if the window is empty, too short or too long, or the two would overlap.
    """
    check_window(start, end)
    length = end - start
    if not LEAST_SECONDS <= length <= _MOST_SECONDS:
        raise BadParameter(f"start, end: takes a window of {format_duration(LEAST_SECONDS)} to 366d")
    if against is None:
        against = max(DEFAULT_AGAINST, length)
    if against < length:
        raise BadParameter(f"against: takes a time before the window, here -{format_duration(length)} or earlier")
    if start < against:
        raise BadParameter("against: takes a time after 1970")
    return Spans(start, end, against)
