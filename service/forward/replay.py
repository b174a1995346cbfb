"""What the counters of a boot had lost, and what its sums had come to, before a sample; found anew from the history."""

from service.forward.lines import TIDEMARK, Naming
from service.forward.points import NOTHING_SENT, Boot, Points, State
from service.store import forwards
from service.store.forwards import Forward, Position
from service.store.statements import Statements

# More at once are no faster, and what they take is not wholly given back: 2000 left 6 MB behind, 100 leave 1.5.
_SAMPLES_AT_ONCE = 100
Counters = dict[str, tuple[int, int, Boot]]


def replayed(statements: Statements, at: Position, naming: Naming = TIDEMARK, sent: Forward | None = None) -> State:
    """The counters as they are after a place, had all of its boot been sent: so a sample says the same whenever it is
    sent.

    Of a boot whose beginning is deleted the sums come out too low, and would jump where they meet what was sent before.
    `sent`: how far a receiver had got, by which they are put right; where it had got nothing of that boot, they begin
    anew.
    """
    counters = _counted(statements, at, naming)
    sums = [line.counter for line in naming.lines if line.is_sum and line.counter in counters]
    if not sums:
        return State(counters, {})
    known = {} if sent is None else State.read(sent.counters, sent.known).counters
    later = {} if sent is None else _counted(statements, sent.at, naming)
    is_whole = _is_whole(statements, at)
    for name in sums:
        (total, _, boot), was, then = counters[name], known.get(name), later.get(name)
        if was is not None and then is not None and was[2] == then[2] == boot and was[0] >= then[0]:
            counters[name] = (total + was[0] - then[0], 0, boot)
        elif not is_whole:
            del counters[name]
    return State(counters, {})


def _counted(statements: Statements, at: Position, naming: Naming) -> Counters:
    """From the first sample that is stored of the boot."""
    after, points = forwards.boot_begins(statements, at), Points(NOTHING_SENT, naming)
    while after is not None:
        pieces = forwards.pieces(statements, after, at, _SAMPLES_AT_ONCE, naming.is_covered)
        if not pieces:
            break
        points = Points(points.state, naming).add(pieces)
        after = pieces[-1].end
    return points.state.counters


def _is_whole(statements: Statements, at: Position) -> bool:
    """Whether the first sample of the boot is still stored."""
    first = forwards.boot_begins(statements, at)
    start = None if first is None else forwards.starts(statements, first.stretch_id)
    return start is None or start >= (forwards.samples_from(statements) or 0)
