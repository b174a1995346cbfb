"""What the verb `forward` answers from the database: how far the history has been forwarded; and putting it back."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec

from service.config import Forward
from service.errors import TidemarkError
from service.forward.destination import Destination
from service.forward.lines import TIDEMARK, Naming
from service.forward.points import State
from service.forward.replay import replayed
from service.forward.send import Sender
from service.forward.shipper import Resume
from service.store import forwards
from service.store.database import reader_engine, reading
from service.store.statements import Statements

# Of `forward.every`: behind by more is not well.
_LATE_SENDINGS = 10


class Status(NamedTuple):
    """A row of the view `forwards`."""

    target: str
    acknowledged_ts: int | None
    acknowledged_time: str | None
    lag_seconds: int
    waiting_samples: int
    sent: int
    refused: int
    resent: int
    skipped: int
    last_error: str | None

    def is_well(self, every: int) -> bool:
        return self.last_error is None and self.lag_seconds <= _LATE_SENDINGS * every


def status(path: Path, settings: Forward) -> Status:
    """
    :raises TidemarkError: if nothing has been forwarded to that receiver.
    """
    engine = reader_engine(path)
    try:
        with reading(engine) as connection:
            row = Statements(connection).row(
                f"SELECT {', '.join(Status._fields)} FROM forwards WHERE target = ?", (settings.target,)
            )
    finally:
        engine.dispose()
    if row is None:
        raise TidemarkError(f"nothing has been forwarded to {settings.target} yet: the daemon does that while it runs")
    return Status(*row)


def again(statements: Statements, target: str, start: int, end: int | None, names: Naming = TIDEMARK) -> int:
    """Put forwarding back to the first sample with ts >= start; with an `end`, only samples with ts < end are sent
    again. Returns how many.

    :raises TidemarkError: if nothing at or after `start` has been forwarded.
    """
    row = forwards.load(statements, target)
    at = forwards.position_before(statements, start)
    if row is None or at >= row.at:
        raise TidemarkError("nothing has been forwarded from that time on; `forward --status` says how far it has come")
    resume = None
    if end is not None:
        known = None if row.resume is None else Resume.read(row.resume)
        on = (row.stretch_id, row.ts, row.counters, row.known)
        resume = Resume(end, *on) if known is None else msgspec.structs.replace(known, until=max(end, known.until))
    state, known_devices = replayed(statements, at, names, row), State.read(row.counters, row.known).devices
    if known_devices:
        from service.forward.node_devices import before

        state = replace(state, devices=before(statements, at, known_devices))
    counters, _ = state.written()
    text = None if resume is None else msgspec.json.encode(resume).decode()
    forwards.put_back(statements, target, at, counters, text)
    return forwards.between(statements, at, row.at, end)


def trial(destination: Destination) -> tuple[bool, str]:
    """Whether the receiver takes an empty request, and what it answered."""
    sender = Sender(destination)
    try:
        answer = sender.write(b"\0")
    finally:
        sender.close()
    is_well = answer.verdict == "taken"
    return is_well, f"{destination.target} {'takes what is sent' if is_well else 'does not'}: {answer.text}"
