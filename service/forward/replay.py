"""What the counters of a boot had lost before a sample, found anew from the history."""

from service.forward.points import NOTHING_SENT, Points, State
from service.store import forwards
from service.store.forwards import Position
from service.store.statements import Statements

_SAMPLES_AT_ONCE = 2000


def replayed(statements: Statements, at: Position) -> State:
    """The counters as they are after a place, had all of its boot been sent: so a sample says the same whenever it is
    sent."""
    after, points = forwards.boot_begins(statements, at), Points(NOTHING_SENT)
    while after is not None:
        pieces = forwards.pieces(statements, after, at, _SAMPLES_AT_ONCE)
        if not pieces:
            break
        points = Points(points.state).add(pieces)
        after = pieces[-1].end
    return State(points.state.counters, {})
