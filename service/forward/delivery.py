"""Delivers samples whatever the receiver answers: waits, halves what it refuses, and counts what nobody will take."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from service.clock import MINUTE, Clock
from service.forward.patience import Patience
from service.forward.points import Series, State
from service.forward.receiver import Receiver
from service.forward.send import Answer
from service.store.forwards import Piece, Position

log = logging.getLogger(__name__)

# Of a batch that is refused: so many POSTs more, to find what of it is.
_MOST_EXTRA_POSTS = 60
# After so many batches of which nothing was taken, none is halved for so long.
_WHOLE_REFUSALS, _NO_HALVING_SECONDS = 3, 10 * MINUTE


class Part(NamedTuple):
    """Samples that go in one POST, after a state, with the series chosen by their numbers."""

    pieces: list[Piece]
    state: State
    series: Sequence[int]
    is_resent: bool

    @property
    def size(self) -> int:
        return sum(len(piece.rows) for piece in self.pieces)


class Delivered(NamedTuple):
    """`sent`, `refused`: samples. `reason`: of the last refusal."""

    state: State
    sent: int
    refused: int
    reason: str | None


class Delivery:
    """Used by one thread at a time. `ticks`: samples of one POST; fewer after the receiver called that too much."""

    def __init__(self, receiver: Receiver, series: Series, patience: Patience, clock: Clock, ticks: int) -> None:
        self._receiver, self._series, self._patience, self._clock = receiver, series, patience, clock
        self.ticks = ticks
        self._whole_refusals = 0
        self._halves_from = 0.0

    def deliver(self, pieces: Sequence[Piece], state: State, is_resent: bool) -> Delivered | None:
        """Send samples that follow a state; None where it was cut off while it waited.

        `is_resent`: they may have arrived before, and then a refusal says that they have.
        """
        parts = [Part(list(pieces), state, self._series.all, is_resent)]
        count, refused = parts[0].size, set[Position]()
        extra, reason = _MOST_EXTRA_POSTS, None
        while parts:
            part = parts.pop()
            points = self._series.points(part.state).add(part.pieces)
            state = points.state
            answer = self._post(self._series.body(points.points, part.series), part.is_resent)
            if answer is None:
                return None
            if answer.verdict == "large":
                self.ticks = max(1, part.size // 2)
            if answer.verdict == "taken" or (part.is_resent and answer.verdict == "refused"):
                continue
            is_free = answer.verdict == "large" and part.size > 1
            halves = self._halves(part, points.points) if is_free or (extra >= 2 and self._may_halve()) else []
            if halves:
                parts += reversed(halves)
                extra -= 0 if is_free else len(halves)
                continue
            reason = answer.text
            refused |= {Position(piece.stretch.stretch_id, row[0]) for piece in part.pieces for row in piece.rows}
        self._count_whole(len(refused) == count)
        if refused and reason is not None:
            self._patience.refused(f"{len(refused)} samples", reason)
        return Delivered(state, count - len(refused), len(refused), reason)

    def deliver_apart(self, body: bytes, what: str) -> bool:
        """Send what belongs to no sample; False where it was cut off. What is refused is logged and left out."""
        answer = self._post(body, False)
        if answer is not None and answer.verdict != "taken":
            self._patience.refused(what, answer.text)
        return answer is not None

    def end(self, state: State) -> None:
        """Try once to say that no samples follow for now."""
        self._receiver.write(self._series.body(self._series.points(state).add_end().points))

    def _post(self, body: bytes, is_resent: bool) -> Answer | None:
        """The first answer that is one about what is sent; None where it was cut off."""
        while True:
            answer = self._receiver.write(body)
            if answer.verdict not in ("again", "settings"):
                break
            is_resent |= answer.is_lost
            if not self._patience.failed(answer):
                return None
        self._patience.well()
        # What is refused after an answer was lost has arrived.
        is_known = is_resent and answer.verdict == "refused"
        return answer._replace(status=200) if is_known else answer

    def _may_halve(self) -> bool:
        return self._clock.now().steady >= self._halves_from

    def _count_whole(self, is_whole: bool) -> None:
        """Where batch after batch is refused, the receiver takes none, and halving each would be for nothing."""
        self._whole_refusals = self._whole_refusals + 1 if is_whole else 0
        if self._whole_refusals >= _WHOLE_REFUSALS:
            if self._may_halve():
                log.warning("batch after batch is refused whole: for ten minutes they are not halved")
                self._halves_from = self._clock.now().steady + _NO_HALVING_SECONDS
            self._whole_refusals = 0

    def _halves(self, part: Part, points: Sequence[list[bytes]]) -> list[Part]:
        """By time; a single sample by its series; nothing where there is nothing left to halve."""
        if part.size > 1:
            first, second = _cut(part.pieces, part.size // 2)
            middle = self._series.points(part.state).add(first).state
            return [part._replace(pieces=first), part._replace(pieces=second, state=middle)]
        series = [number for number in part.series if points[number]]
        half = len(series) // 2
        if half:
            return [part._replace(series=series[:half]), part._replace(series=series[half:])]
        return []


def _cut(pieces: list[Piece], count: int) -> tuple[list[Piece], list[Piece]]:
    """The first `count` samples, and the rest."""
    first: list[Piece] = []
    for number, piece in enumerate(pieces):
        if len(piece.rows) >= count:
            first.append(Piece(piece.stretch, piece.rows[:count]))
            rest = [Piece(piece.stretch, piece.rows[count:])] if len(piece.rows) > count else []
            return first, rest + pieces[number + 1 :]
        first.append(piece)
        count -= len(piece.rows)
    return first, []
