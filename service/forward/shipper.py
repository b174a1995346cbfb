"""Ships the history to one receiver, in order, from a thread of its own that reads and never writes.

What it wants written rides with the next sample. A batch is announced in the database before it is sent: so the very
same batch goes out first after a crash, which keeps duplicates to one batch and lets a refusal of it be understood.
"""

import logging
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from service.clock import Clock
from service.config import Forward as ForwardSettings
from service.errors import HistoryUnreadable
from service.forward.delivery import Delivery
from service.forward.destination import Destination
from service.forward.hours import Hours
from service.forward.names import apart, naming
from service.forward.patience import Patience
from service.forward.points import Series, State
from service.forward.receiver import Receiver
from service.forward.replay import replayed
from service.forward.send import Sender
from service.store import forwards
from service.store.database import identity, reader_engine, reading
from service.store.forwards import Forward, Plan, Position
from service.store.riders import Rider
from service.store.statements import Statements

log = logging.getLogger(__name__)

# Samples of one POST: with more, nothing is gained; and of all that one announcement stands for.
TICKS_A_POST, TICKS_A_FLIGHT = 400, 2000
# How much the receiver's clock may be behind a stamp. A sample two hours ahead would have a default Prometheus refuse
# every sample of the present, of all hosts.
AHEAD_SECONDS = 60
# The least time between two commits of its own, while it catches up.
_COMMIT_SECONDS = 1.0
# A rider that is not stored after this long may have been dropped with others while the disk failed.
_RIDE_AGAIN_SECONDS = 60.0
# A rider wakes the thread as it runs; its commit takes this long, or the next times longer.
_COMMIT_TAKES_SECONDS, _LONGEST_POLL_SECONDS = 0.02, 5.0
Result = TypeVar("Result")


class Writer(Protocol):
    """What is asked of the store; see `Store`."""

    def ride(self, write: Rider) -> None: ...


class Health(NamedTuple):
    """`last_error`: of the last sending, None where it went well; `failing_seconds`: for how long it has not."""

    last_error: str | None
    failing_seconds: float


class Shipper:
    """`step` is called by the thread alone, or where there is none by who drives it; the rest by any thread."""

    def __init__(
        self,
        destination: Destination,
        settings: ForwardSettings,
        path: Path,
        store: Writer,
        clock: Clock,
        commit: Callable[[], None] = lambda: None,
        guard: Callable[[str, Callable[[], object]], object] = lambda _, work: work(),
        caught_up: Callable[[], None] = lambda: None,
    ) -> None:
        """`commit`: has what rides written soon, without a sample. `guard`: runs a step and logs what it raises.
        `caught_up`: called when it is no longer behind, which takes more memory than keeping up."""
        self._settings, self._store, self._clock = settings, store, clock
        self._commit, self._guard, self._caught_up = commit, guard, caught_up
        self._is_behind = False
        self._path, self._engine = path, reader_engine(path, pooled=True)
        self._file = identity(path)
        self._target = destination.target
        # Since the start, in samples.
        self.counts: Counter[str] = Counter(sent=0, refused=0, resent=0, skipped=0)
        self._sender = Sender(destination)
        self._patience = Patience(clock, self._note_error)
        self._receiver = Receiver(clock, self._sender)
        self._naming = naming(settings.names)
        series = Series(destination.instance, dict(destination.labels), self._naming)
        self._delivery = Delivery(self._receiver, series, self._patience, clock, TICKS_A_POST)
        self._apart = apart(settings.names, series, self._delivery)
        self._hours = Hours(destination, settings.processes, self._delivery)
        # The row as it was when a change of it was given to ride, and when that was.
        self._riding: tuple[Forward | None, float] | None = None
        self._poll_seconds, self._is_awaited = _COMMIT_TAKES_SECONDS, True
        # What this process has announced and not begun to send.
        self._announced: Position | None = None
        self._skipped: int | None = None
        self.has_nothing_left = False
        self._sends_next = 0.0
        self._committed_at = 0.0
        self._wakes = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="forward", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self, seconds: float, write_riders: Callable[[], None]) -> None:
        """Stop the thread, and send what is left with the markers of a clean stop, for at most so long. What is not
        acknowledged by then is sent first at the next start. By the thread that writes.

        :raises StoreFailed: if the database cannot be written.
        """
        deadline = self._clock.now().steady + seconds
        self._is_stopping = True
        self._patience.stop()
        self._wakes.set()
        self._thread.join(seconds)
        if self._thread.is_alive():
            return
        while (left := deadline - self._clock.now().steady) > 0:
            self._sender.timeout = left
            write_riders()
            if self._guard("the last forwarding", self._last_step) is not True:
                break
        self.close()

    def close(self) -> None:
        """Close the connections; the thread has stopped, or never ran."""
        self._sender.close()
        self._engine.dispose()

    def _last_step(self) -> bool:
        """Whether another one makes sense."""
        self.has_nothing_left, self._sends_next = False, 0.0
        self.step()
        if self._riding is not None or not self.has_nothing_left:
            return self._riding is not None
        row = self._read(lambda statements: forwards.load(statements, self._target))
        if row is not None and self._patience.error is None:
            self._delivery.end(State.read(row.counters, row.known))
        return False

    def lag_seconds(self) -> int | None:
        """From the last sample acknowledged to the newest stored; None where that cannot be read, or nothing is known
        yet."""
        try:
            return self._read(lambda statements: forwards.lag_seconds(statements, self._target))
        except HistoryUnreadable:
            return None

    def health(self) -> Health:
        return Health(self._patience.error, self._patience.failing_seconds())

    # -- the thread

    def _run(self) -> None:
        # Racks boot together.
        wait = random.random() * self._settings.every
        while not self._is_stopping:
            if self._wakes.wait(wait):
                self._wakes.clear()
                self._patience.rest(_COMMIT_TAKES_SECONDS)
            if self._is_stopping:
                return
            done = self._guard("forwarding", self.step)
            wait = done if isinstance(done, float) else float(self._settings.every)

    def step(self) -> float:
        """One move: begin, announce, or send what is announced. Returns after how many seconds to call again, sooner
        where what rides has been written."""
        try:
            row = self._read(lambda statements: forwards.load(statements, self._target))
            return self._move(row)
        except HistoryUnreadable as error:
            log.debug("forwarding waits: %s", error)
            return float(self._settings.every)

    def _move(self, row: Forward | None) -> float:
        if self._is_riding(row):
            return self._poll()
        if row is None:
            return self._begin()
        self._report_skipped(row)
        if row.flight is not None:
            return self._fly(row, row.flight)
        wait = self._sends_next - self._clock.now().steady
        if wait > 0:
            return wait
        return self._plan_after(row, row)

    def _fly(self, row: Forward, until: Position) -> float:
        """Send what is announced, and have the answer written with the announcement of what comes next."""
        # Announced by an earlier life of the daemon, or begun before: it may have arrived.
        is_resent, self._announced = self._announced != until, None
        at, state, reason = row.at, State.read(row.counters, row.known), None
        sent = refused = 0
        while pieces := self._read(
            lambda s, at=at: forwards.pieces(s, at, until, self._delivery.ticks, self._naming.is_covered)  # type: ignore[misc]
        ):
            done = self._delivery.deliver(pieces, state, is_resent)
            if done is None:
                return 0.0
            at, state, reason = pieces[-1].end, done.state, done.reason or reason
            sent, refused = sent + done.sent, refused + done.refused
        self.counts.update(sent=sent, refused=refused, resent=sent * is_resent)
        state = self._hours.deliver(self._read, state, row.ts, until.ts)
        if self._apart is not None:
            state = self._apart.deliver(self._read, state, row.at if row.resume is None else until, row.resume is None)
        counters, known = state.written()
        after = row._replace(
            stretch_id=until.stretch_id,
            ts=until.ts,
            flight_stretch_id=None,
            flight_ts=None,
            counters=counters,
            known=known,
            sent=row.sent + sent,
            refused=row.refused + refused,
            resent=row.resent + is_resent,
            acknowledged_at=round(self._clock.now().wall),
            last_error=reason,
        )
        if sent + refused >= TICKS_A_POST:
            return self._plan_after(row, after)
        # Up to date: what comes next is asked when it is due, and nobody waits for this to be written.
        self._ride(row, lambda statements: forwards.advance(statements, row, after), is_awaited=False)
        return max(0.0, self._sends_next - self._clock.now().steady)

    # -- what comes next

    def _begin(self) -> float:
        """A receiver that the history knows nothing of: it gets the past as far as the settings say."""
        start = max(0, round(self._clock.now().wall) - self._settings.backfill)
        at = self._read(lambda statements: forwards.position_before(statements, start))
        counters, _ = self._read(lambda statements: replayed(statements, at, self._naming)).written()
        return self._ride(None, lambda statements: forwards.begin(statements, self._target, at, counters))

    def _plan_after(self, before: Forward, row: Forward) -> float:
        """Announce what comes after `row`, which is to be written in place of `before`."""
        if self._receiver.time() is None and not self._meet():
            return self._write(before, row)
        latest = (self._receiver.time() or 0.0) + AHEAD_SECONDS
        resume = None if row.resume is None else Resume.read(row.resume)
        until = None if resume is None else resume.until
        plan = self._read(lambda s: forwards.plan(s, row.at, TICKS_A_FLIGHT, latest, until))
        self._note_whether_behind(plan)
        now = self._clock.now().steady
        if plan.end is not None and (plan.samples >= TICKS_A_POST or now >= self._sends_next):
            self._announced, self._sends_next = plan.end, now + self._settings.every
            flight = row._replace(flight_stretch_id=plan.end.stretch_id, flight_ts=plan.end.ts)
            return self._write(before, flight, is_urgent=plan.samples >= TICKS_A_POST)
        if plan.end is None and resume is not None:
            return self._write(before, resume.applied_to(row))
        if plan.end is None and plan.held is not None:
            return self._hold(before, row, plan)
        self.has_nothing_left = plan.end is None
        if now >= self._sends_next:
            self._sends_next = now + self._settings.every
        return self._write(before, row)

    def _note_whether_behind(self, plan: Plan) -> None:
        was_behind, self._is_behind = self._is_behind, plan.samples >= TICKS_A_POST
        if was_behind and not self._is_behind:
            self._engine.dispose()
            self._caught_up()

    def _hold(self, before: Forward, row: Forward, plan: Plan) -> float:
        """Samples that a wrong clock has stamped too late: wait, or leave them out where the clock was put right."""
        # Its clock may be what has changed.
        self._receiver.forget_time()
        held = plan.held
        if held is None or not plan.is_held_for_good:
            self._sends_next = self._clock.now().steady + self._settings.every
            return self._write(before, row)
        end, count = self._read(lambda s: forwards.rest_of(s, Position(held.stretch_id, held.ts - 1)))
        log.warning("%d samples that a wrong clock has stamped are not forwarded", count)
        self.counts["skipped"] += count
        after = row._replace(stretch_id=end.stretch_id, ts=end.ts, skipped=row.skipped + count)
        self._skipped = None
        return self._write(before, after)

    def _meet(self) -> bool:
        """Ask the receiver for its clock; False where it does not answer and the wait for it was cut off."""
        while (answer := self._receiver.write(b"")).status is None:
            if not self._patience.failed(answer):
                return False
        return True

    def _report_skipped(self, row: Forward) -> None:
        """Log and count what was pruned before it could be sent."""
        if self._skipped is not None and row.skipped > self._skipped:
            more = row.skipped - self._skipped
            self.counts["skipped"] += more
            log.error("%d samples were deleted before they could be forwarded; see forward.hold", more)
        self._skipped = row.skipped

    # -- what rides

    def _is_riding(self, row: Forward | None) -> bool:
        """Whether what was given to ride is not written yet."""
        if self._riding is None:
            return False
        before, since = self._riding
        is_same = row is before if row is None or before is None else row.place == before.place
        if is_same and self._clock.now().steady - since < _RIDE_AGAIN_SECONDS:
            return True
        self._riding = None
        return False

    def _write(self, before: Forward, after: Forward, is_urgent: bool = False) -> float:
        """Have a row written in place of another, where it differs."""
        if after == before:
            return max(0.0, self._sends_next - self._clock.now().steady)
        return self._ride(before, lambda statements: forwards.advance(statements, before, after), is_urgent)

    def _ride(
        self,
        before: Forward | None,
        write: Callable[[Statements], None],
        is_urgent: bool = False,
        is_awaited: bool = True,
    ) -> float:
        """Have a change of the row written with the next sample; `is_urgent`: without waiting for one. `is_awaited`:
        the thread is woken then."""

        def rider(statements: Statements, _: int) -> None:
            write(statements)
            self._poll_seconds = _COMMIT_TAKES_SECONDS
            if self._is_awaited:
                self._wakes.set()

        self._is_awaited = is_awaited
        self._riding, self._poll_seconds = (before, self._clock.now().steady), _RIDE_AGAIN_SECONDS
        self._store.ride(rider)
        if is_urgent:
            self._patience.rest(self._committed_at + _COMMIT_SECONDS - self._clock.now().steady)
            self._committed_at = self._clock.now().steady
            self._commit()
        return _RIDE_AGAIN_SECONDS

    def _poll(self) -> float:
        """Seconds until what rides may be written: soon once it has been reached, later where that took longer."""
        # First: what is reached between the two makes the wait short.
        self._is_awaited = True
        seconds = self._poll_seconds
        self._poll_seconds = min(_LONGEST_POLL_SECONDS, 2 * seconds)
        return seconds

    def _note_error(self, text: str) -> None:
        now = round(self._clock.now().wall)
        self._store.ride(lambda statements, _: forwards.note_error(statements, self._target, text, now))

    def _read(self, work: Callable[[Statements], Result]) -> Result:
        """
        :raises HistoryUnreadable: if the database cannot be read.
        """
        if (found := identity(self._path)) != self._file:
            # Another file has been put in its place.
            self._engine.dispose()
            self._file = found
        with reading(self._engine) as connection:
            return work(Statements(connection))


class Resume(msgspec.Struct, frozen=True):
    """Where to go on from, once the samples before `until` (unix seconds) have been sent again."""

    until: int
    stretch_id: int
    ts: int
    counters: str
    known: str

    @classmethod
    def read(cls, text: str) -> "Resume":
        return msgspec.json.decode(text, type=cls)

    def applied_to(self, row: Forward) -> Forward:
        return row._replace(
            stretch_id=self.stretch_id, ts=self.ts, counters=self.counters, known=self.known, resume=None
        )
