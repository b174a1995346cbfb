"""What happened to the host and to the recording, and what people noted, as the answer of that name."""

from collections.abc import Sequence

from service.answers.answer import Answer, check_window
from service.answers.moments import Moment
from service.store.events import Kind
from service.store.notes import Note
from service.store.reader import View


class Event(Answer, frozen=True):
    """`evidence`: `seconds` in which nothing was recorded, or by which the clock was set; `kills` by the kernel, and of
    which `service`; the path of a `mount`, which was not yet, or still, there at `since_ts`."""

    time: Moment
    ts: int
    kind: Kind
    detail: str
    evidence: dict[str, int | str]


class Events(Answer, frozen=True):
    events: list[Event]


def events(view: View, start: int, end: int, waiting: Sequence[Note] = ()) -> Events:
    """Those of start <= ts < end, in time order. `waiting`: notes that may not be stored yet.

    :raises BadParameter: if the window is empty.
    """
    check_window(start, end)
    return Events(
        events=[
            Event(
                time=Moment(event.ts),
                ts=event.ts,
                kind=event.kind,
                detail=event.detail,
                evidence={
                    name: value
                    for name in ("seconds", "service", "kills", "mount", "since_ts")
                    if (value := getattr(event, name)) is not None
                },
            )
            for event in view.events(start, end, waiting)
        ]
    )
