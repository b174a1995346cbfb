"""What tests of forwarding share: a scripted receiver, and the shipper driven by hand over a real database."""

from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from service.config import Settings
from service.forward.destination import destination
from service.forward.patience import Patience
from service.forward.shipper import Shipper
from service.store.writer import Store
from tests.conftest import FakeClock, settings_for
from tests.forward.engines import Engine
from tests.forward.receiver import Scripted
from tests.running import query


@pytest.fixture
def receiver(clock: FakeClock) -> Iterator[Scripted]:
    receiver = Scripted()
    receiver.date = formatdate(clock.wall, usegmt=True)
    yield receiver
    receiver.close()


class Driven:
    """A shipper without its thread: every step is asked for, and what rides is written at once."""

    def __init__(self, settings: Settings, path: Path, store: Store, clock: FakeClock) -> None:
        self.path, self.store, self.clock = path, store, clock
        self.settings = settings
        self.waits: list[float] = []
        self.lives: list[Shipper] = []
        self.begin()

    def begin(self) -> None:
        """A new life of the daemon."""
        to, commit = destination(self.settings), self.store.write_riders
        self.shipper = Shipper(to, self.settings.forward, self.path, self.store, self.clock, commit)
        self.lives.append(self.shipper)

    def ship(self, steps: int = 60) -> None:
        """Until nothing waits."""
        for _ in range(steps):
            self.step()
            if self.shipper.has_nothing_left and self.shipper._riding is None:
                return
        raise AssertionError("it does not come to an end")

    def step(self) -> None:
        self.shipper.has_nothing_left = False
        self.clock.pass_seconds(self.settings.forward.every)
        self.shipper.step()
        self.store.write_riders()

    def row(self) -> dict[str, Any]:
        names = "acknowledged_ts, lag_seconds, waiting_samples, sent, refused, resent, skipped, last_error"
        (found,) = query(self.path, f"SELECT {names} FROM forwards")
        return dict(zip(names.split(", "), found, strict=True))


Begin = Callable[..., Engine]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Starts real engines: `begin("prometheus", out_of_order="0s")`."""
    started: list[Engine] = []

    def begin(name: str, **options: str) -> Engine:
        started.append(Engine(name, tmp_path / f"{name}-{len(started)}", **options))
        return started[-1]

    yield begin
    for engine in started:
        engine.stop()


Drive = Callable[..., Driven]


@pytest.fixture
def drive(
    path: Path, store: Store, clock: FakeClock, receiver: Scripted, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Drive]:
    """A driven shipper to the scripted receiver, by settings like `forward__every=5`; waits are noted, not slept."""
    waits: list[float] = []
    made: list[Driven] = []

    def rest(self: Patience, seconds: float) -> bool:
        if seconds > 0:
            waits.append(seconds)
        return not self._stops.is_set()

    monkeypatch.setattr(Patience, "rest", rest)

    def make(**options: Any) -> Driven:
        given = {"forward__url": receiver.url, "forward__backfill": "all", **options}
        driven = Driven(settings_for(path, **given), path, store, clock)
        driven.waits = waits
        made.append(driven)
        return driven

    yield make
    for driven in made:
        for shipper in driven.lives:
            shipper.close()
