"""Where one stands in the history, which window is seen, and every move; knows no screen and no key."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from service.answers.moments import Moment, Write
from service.answers.replay import Course, Latest, Replay, Seen, Spot
from service.answers.status import LATELY_SECONDS
from service.clock import DAY, HOUR, MINUTE
from service.metrics import BY_NAME, METRICS
from service.terminal.layout import printable

# Seconds of a column: even widths of a bucket.
ZOOMS = (10, 30, MINUTE, 120, 300, 600, 1800, HOUR, 2 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY)
START_ZOOM = ZOOMS.index(MINUTE)
# So many windows are searched for the next peak by one key: each is read in some milliseconds.
MOST_WINDOWS = 12
# No two captures that follow each other are further apart.
_FAR_SECONDS = 2 * HOUR


@dataclass(frozen=True, slots=True)
class Shown:
    """All that is drawn. `latest`: where the newest is followed; `spot` is then its capture, and `seen` has the values
    of its sample."""

    spot: Spot
    course: Course
    seen: Seen
    metric: str
    column: int
    message: str
    latest: Latest | None = None


class Walker:
    """One person's place. A move that finds nothing leaves it, and `message` says why."""

    def __init__(
        self, past: Replay, write: Write, columns: int = 72, at: int | None = None, is_live: bool = False
    ) -> None:
        """`at`: unix seconds to begin at; None: where the CPU was busiest in the last recorded day. `is_live`: begin at
        the newest, and follow it.

        :raises HistoryUnreadable: if nothing is stored yet.
        """
        self._past, self._write = past, write
        self.columns, self.zoom, self.metric, self.by = columns, START_ZOOM, METRICS[0].name, "name"
        self.message, self.sought = "", ""
        self._kept: tuple[object, Course] | None = None
        self.first, self.last = past.ends()
        self.start = 0
        self.spot = past.spot(self.last)
        self.latest: Latest | None = None
        if is_live:
            self.end()
        elif at is not None:
            self.go(at)
        elif (peak := past.busiest(self.metric)) is not None:
            self._stand(peak, "the busiest minute of the last day; l goes to the newest and follows it")

    @property
    def step(self) -> int:
        """Seconds of a column."""
        return ZOOMS[self.zoom]

    def shown(self, users: int) -> Shown:
        """`users`: how many names or services are listed."""
        course, latest = self._course(self.start), self.latest
        column = min(self.columns - 1, max(0, (self._at - self.start) // self.step))
        seen = self._past.seen(self.spot, self.by, self.metric, users)
        if latest is not None and latest.sample != self.spot:
            seen = replace(seen, values=self._past.seen(latest.sample, self.by, self.metric, 1).values)
        return Shown(self.spot, course, seen, self.metric, column, self.message, latest)

    # -- moves in time

    def beside(self, is_later: bool) -> None:
        """One capture, or where there is none near, one column; a gap on the way counts as one."""
        self._look_for_ends()
        here, found = self.spot, self._past.beside(self.spot, is_later)
        edge = here.end if is_later else here.start
        if found is not None and ("gap" in (here.kind, found.kind) or _apart(here, found, is_later) <= _FAR_SECONDS):
            self._stand(found)
        elif is_later and edge > self.last - LATELY_SECONDS and here.kind != "gap":
            self.message = "this is the newest" + ("" if self.latest else "; l follows it")
        elif not is_later and edge <= self.first:
            self.message = f"the history begins at {self._write(Moment(self.first))}"
        else:
            target = edge + (self.step if is_later else -self.step)
            self._stand(self._past.spot(min(self.last, max(self.first, target))))

    def columns_on(self, count: int) -> None:
        """So many columns later, or earlier where it is negative; the window moves along by whole ones of its width."""
        self._look_for_ends()
        if self.latest is not None and count > 0:
            self.message = "this is the newest"
            return
        target = min(self.last, max(self.first, self._at + count * self.step))
        if abs(count) >= self.columns:
            self.start += count * self.step
        self._stand(self._past.spot(target))

    def screen_on(self, is_later: bool) -> None:
        self.columns_on(self.columns if is_later else -self.columns)

    def go(self, ts: int) -> None:
        """To a moment, or as near as the history has it."""
        self._look_for_ends()
        bounded = min(self.last, max(self.first, ts))
        edge = "begins" if ts < bounded else "ends"
        message = "" if ts == bounded else f"the history {edge} at {self._write(Moment(bounded))}"
        self._stand(self._past.spot(bounded), message, is_centred=True)

    def home(self) -> None:
        self._look_for_ends()
        self._stand(self._past.spot(self.first))
        if self.spot.kind == "sample":
            self._stand_near_the_first()

    def end(self) -> None:
        """To the newest, which is followed from now on."""
        self._look_for_ends()
        self.latest = latest = self._past.latest()
        self.spot, self.last = latest.capture, latest.newest.ts
        self._see()

    def follow(self) -> None:
        """To what has come since."""
        message = self.message
        self.end()
        self.message = message

    def landmark(self, is_later: bool) -> None:
        """To the next peak or gap of the metric that is seen, or the one before."""
        self._look_for_ends()
        here = self.spot
        for start in self._windows(is_later):
            course = self._course(start)
            for mark in self._marks(course, is_later):
                if (mark.start, mark.end) != (here.start, here.end):
                    self._stand(mark)
                    return
        searched = start + (self.columns * self.step if is_later else 0)
        if not self.first < searched < self.last:
            self.message = f"no {'later' if is_later else 'earlier'} peak or gap"
            return
        until = self._write(Moment(searched))
        self._stand(self._past.spot(searched), f"no peak or gap up to {until}; on with {'n' if is_later else 'p'}")

    def find(self, text: str) -> None:
        """To the next capture in which somebody of that name used CPU; to the last one before where there is none."""
        self.sought = text.strip() or self.sought
        if self.found(is_later=True) or not self.sought:
            return
        if self.found(is_later=False):
            self.message = f"{printable(self.sought)}: none later; this is the last one before"
        else:
            self.message = self.message.removesuffix(" earlier")

    def found(self, is_later: bool) -> bool:
        """To the next capture of whom was last looked for; whether there is one."""
        if not self.sought:
            self.message = "/ looks for a name first"
            return False
        spot = self._past.using(self.sought, self.by, self.spot, is_later)
        if spot is None:
            who = "service" if self.by == "service" else "process"
            when = "later" if is_later else "earlier"
            self.message = f"no {who} with {printable(self.sought)} in its name used CPU {when}"
            return False
        self._stand(spot)
        return True

    # -- other moves

    def zoomed(self, by: int) -> None:
        """Wider columns by so many steps, narrower where it is negative; where one stands stays in the middle."""
        self.zoom = min(len(ZOOMS) - 1, max(0, self.zoom + by))
        self.message = ""
        self._see(is_centred=True)

    def resized(self, columns: int) -> None:
        if columns != self.columns:
            self.columns = max(1, columns)
            self._see(is_centred=True)

    def next_metric(self, on: int = 1) -> None:
        """The next of those that this host has."""
        known = self._past.seen(self.spot, self.by, self.metric, 1).values
        names = [
            metric.name
            for metric in METRICS
            if metric.name == self.metric or not metric.is_optional or known[metric.name] is not None
        ]
        self.metric = names[(names.index(self.metric) + on) % len(names)]
        self.message = BY_NAME[self.metric].help

    def next_users(self) -> None:
        self.by = "service" if self.by == "name" else "name"
        self.message = ""

    # -- within

    def _look_for_ends(self) -> None:
        """The daemon goes on recording."""
        self.first, self.last = self._past.ends()
        self.message = ""

    def _stand_near_the_first(self) -> None:
        """Where the history begins samples reach further than captures."""
        spot = self._past.beside(self.spot, is_later=True)
        if spot is not None and _apart(self.spot, spot, is_later=True) < LATELY_SECONDS:
            self._stand(spot)

    def _stand(self, spot: Spot, message: str = "", is_centred: bool = False) -> None:
        self.spot, self.message, self.latest = spot, message, None
        self._see(is_centred)

    @property
    def _at(self) -> int:
        """Where the cursor is."""
        return self.spot.at if self.latest is None else self.latest.newest.ts

    def _see(self, is_centred: bool = False) -> None:
        """Have the window hold the cursor."""
        width = self.columns * self.step
        if is_centred or not self.start <= self._at < self.start + width:
            self.start = self._at - width // 2
        latest = (self.last // self.step + 1) * self.step - width
        self.start = max(self.first // self.step * self.step, min(latest, self.start // self.step * self.step))

    def _windows(self, is_later: bool) -> Iterator[int]:
        """Where the windows begin that are searched: the one that is seen, and those after or before it."""
        width = self.columns * self.step
        for number in range(MOST_WINDOWS):
            start = self.start + (number if is_later else -number) * width
            if number and (start > self.last or start + width <= self.first or start < 0):
                return
            yield start

    def _marks(self, course: Course, is_later: bool) -> list[Spot]:
        """Peaks and gaps of a window that lie beyond where one stands, the nearest first."""
        here, marks = self.spot.at, [Spot(gap.start, gap.end, "gap", gap.start, gap.reason) for gap in course.gaps]
        beyond = [gap for gap in marks if (gap.at > here if is_later else gap.at < here)]
        for peak in course.peaks:
            if peak.start > here if is_later else peak.end <= here:
                spot = self._past.highest(self.metric, peak.start, peak.end)
                beyond += [] if spot is None else [spot]
        return sorted(beyond, key=lambda spot: spot.at, reverse=not is_later)

    def _course(self, start: int) -> Course:
        key = (self.metric, start, self.step, self.columns, self.last)
        if start != self.start:
            return self._past.course(self.metric, start, self.step, self.columns)
        if self._kept is None or self._kept[0] != key:
            self._kept = key, self._past.course(self.metric, start, self.step, self.columns)
        return self._kept[1]


def _apart(here: Spot, there: Spot, is_later: bool) -> int:
    return there.start - here.end if is_later else here.start - there.end
