"""The test kit: a clock that only the test moves, a host that reads what the test gives it, real SQLite files."""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pytest
from _pytest.nodeid import NodeId
from flask.testing import FlaskClient

from service.answers.health import Health
from service.answers.monitor import ResourceMonitor
from service.clock import Clock, Instant
from service.config import Settings, load
from service.records import (
    DEVICE_VALUES,
    AllProcesses,
    Break,
    Capture,
    DeviceKind,
    NameUsage,
    ProcessUsage,
    Reading,
    Sample,
    ServiceUsage,
)
from service.store import captures, database
from service.store.reader import History
from service.store.writer import Store
from service.web.app import create_app
from tests.running import Running, WallClock

# On a busy machine making examples may take long, which says nothing of what is tested.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

# 2026-01-05T10:00:00Z, a Monday: a whole hour, so that minutes and hours begin where tests expect them.
NOW = 1_767_607_200


class FakeClock(Clock):
    """Stands still; `pass_seconds` moves all three clocks, `step` the wall alone, `suspend` all but the steady."""

    def __init__(self, wall: float = NOW) -> None:
        self.wall, self.steady, self.boot = float(wall), 1000.0, 1000.0

    def now(self) -> Instant:
        return Instant(self.wall, self.steady, self.boot)

    def pass_seconds(self, seconds: float) -> None:
        self.wall, self.steady, self.boot = self.wall + seconds, self.steady + seconds, self.boot + seconds

    def step(self, seconds: float) -> None:
        self.wall += seconds

    def suspend(self, seconds: float) -> None:
        self.wall, self.boot = self.wall + seconds, self.boot + seconds


@dataclass
class FakeHost:
    """Reads what `next` says."""

    next: Reading = field(default_factory=Reading)

    def read(self) -> Reading:
        return self.next


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """The daemon sets up the root logger; the next test finds it as it was."""
    root = logging.getLogger()
    handlers, level, raises = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], logging.raiseExceptions = handlers, raises
    root.setLevel(level)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(scope="session")
def new_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database as `migrate` makes it, which takes 70 ms, to be copied."""
    path = tmp_path_factory.mktemp("new") / "tidemark.db"
    database.migrate(path)
    return path


@pytest.fixture
def path(tmp_path: Path, new_database: Path) -> Path:
    """A new database."""
    return Path(shutil.copy(new_database, tmp_path / "tidemark.db"))


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """The writer of the new database, its first run begun at NOW with an interval of 5 s."""
    store = Store(path)
    store.open()
    store.begin_run(NOW, NOW - 1000, "boot-1", "0.1.0", 5)
    yield store
    store.close()


@pytest.fixture
def history(path: Path) -> Iterator[History]:
    history = History(path)
    yield history
    history.close()


@pytest.fixture
def settings(path: Path) -> Settings:
    return settings_for(path)


def settings_for(path: Path, **options: object) -> Settings:
    """The default settings over one database; options as `section__name`."""
    given = {key.replace("__", "."): value for key, value in options.items()}
    return load(environment={}, options={"storage.path": str(path), **given})[0]


@pytest.fixture
def monitor(history: History, settings: Settings, clock: FakeClock) -> ResourceMonitor:
    return ResourceMonitor(history, settings, clock)


Fill = Callable[..., list[Sample]]


@pytest.fixture
def fill(store: Store) -> Fill:
    """Store samples: `fill(start, count, interval=5, begins=None, cpu_percent=lambda i: i)`; values or functions."""

    def fill(start: int, count: int, interval: int = 5, begins: Break | None = None, **values: object) -> list[Sample]:
        samples = [
            Sample(
                start + i * interval,
                float(interval),
                {name: value(i) if callable(value) else value for name, value in values.items()},  # type: ignore[misc]
                (begins or Break(None, None)) if i == 0 else None,
            )
            for i in range(count)
        ]
        store.append(samples)
        return samples

    return fill


Record = Callable[..., None]


def all_values(kind: DeviceKind, first: Sequence[float | None]) -> tuple[float | None, ...]:
    """What a device of that kind did, of the first of its values: it did nothing else, or nothing is known of it."""
    rest = len(DEVICE_VALUES[kind]) - len(first)
    return (*first, *(None if None in first else 0 for _ in range(rest)))


def all_processes(*usages: ProcessUsage) -> AllProcesses:
    """Processes that are all there are, with their names added up."""
    by_name: dict[str, list[ProcessUsage]] = {}
    for usage in usages:
        by_name.setdefault(usage.name, []).append(usage)
    return AllProcesses(
        process_count=len(usages),
        memory_bytes=sum(usage.memory_bytes for usage in usages),
        names=[
            NameUsage(
                name=name,
                process_count=len(of_name),
                cpu_seconds=sum(usage.cpu_seconds for usage in of_name),
                memory_bytes=sum(usage.memory_bytes for usage in of_name),
                children_cpu_seconds=sum(usage.children_cpu_seconds for usage in of_name),
                pid=of_name[0].pid,
            )
            for name, of_name in by_name.items()
        ],
        processes=usages,
    )


@pytest.fixture
def record(store: Store) -> Record:
    """Store a capture on four CPUs: `record(ts, busy_seconds, (name, pid, cpu_seconds, memory_bytes), ...)`."""

    def record(
        ts: int,
        busy: float | None,
        *uses: tuple[str, int, float, int],
        covered: float = 30,
        services: Sequence[ServiceUsage] = (),
    ) -> None:
        usages = all_processes(*(ProcessUsage(*use) for use in uses))
        found = Capture(ts, covered, 4 * covered, busy, usages, services)
        store.write(lambda statements: captures.insert(statements, found, 1))

    return record


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Running] = []

    def begin(*options: str, path: Path | None = None, **environment: str) -> Running:
        errors = tmp_path / f"stderr-{len(started)}"
        started.append(Running(path or tmp_path / "data" / "tidemark.db", errors, *options, **environment))
        return started[-1]

    yield begin
    for daemon in started:
        daemon.end()


@pytest.fixture
def wall_clock(tmp_path: Path) -> WallClock:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc, to shift the wall clock of one program")
    return WallClock(tmp_path)


@pytest.fixture
def client(history: History, settings: Settings, clock: FakeClock, store: Store) -> FlaskClient:
    """Asks the application over the new database; /healthz says that all is well."""
    monitor = ResourceMonitor(history, settings, clock, lambda: store.version)
    return client_for(monitor, settings, clock)


HEALTH = Health(
    status="ok",
    newest_sample_age_seconds=1.5,
    interval=5,
    last_error=None,
    database_bytes=4096,
    spooled_samples=0,
)


def client_for(
    monitor: ResourceMonitor,
    settings: Settings,
    clock: Clock,
    health: Health = HEALTH,
    token: str | None = None,
) -> FlaskClient:
    return create_app(monitor, settings, clock, lambda: health, lambda: {"samples_stored": 3}, token).test_client()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """xdist 3.8 writes a test's group behind `_nodeid`, which pytest 9.2 no longer reads: then each worker has its own
    browser and its own generated histories."""
    for item in items:
        grouped = vars(item).get("_nodeid")
        if isinstance(grouped, str) and grouped != item.nodeid:
            item._id = NodeId.parse(grouped)
