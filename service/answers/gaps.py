"""Gaps: when nothing was recorded, and why; also the gap that is open now."""

from typing import Annotated

from msgspec import Meta

from service.answers.answer import Answer, check_window
from service.answers.moments import Moment
from service.records import Reason
from service.store.reader import View


class Gap(Answer, frozen=True):
    """start <= t < end, for which nothing was recorded."""

    start: Moment
    end: Moment
    seconds: Annotated[int, Meta(ge=0)]
    reason: Reason


class Gaps(Answer, frozen=True):
    gaps: list[Gap]


def gaps(view: View, start: int, end: int, now: int, open_reason: Reason) -> Gaps:
    """The gaps that touch the window, whole and in time order, and the one that is open now.

    `open_reason`: why nothing is recorded now, where the newest sample is old and its run was not stopped cleanly.

    :raises BadParameter: if the window is empty.
    """
    check_window(start, end)
    found = [_gap(gap.start, gap.end, gap.reason) for gap in view.gaps(start, end)]
    newest = view.newest()
    if newest is not None and now - newest.ts > 2 * newest.interval_seconds and newest.ts < end and now > start:
        found.append(_gap(newest.ts, now, open_reason if newest.stopped_ts is None else "stopped"))
    return Gaps(gaps=found)


def _gap(start: int, end: int, reason: Reason) -> Gap:
    return Gap(start=Moment(start), end=Moment(end), seconds=end - start, reason=reason)
