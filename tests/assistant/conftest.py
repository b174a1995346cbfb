"""An assistant: the SDK's own client, and `manage.py mcp` as a process that it starts, over a history of one night."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, StdioServerParameters

from service.clock import HOUR, parse_time
from service.records import Break, Capture, ProcessUsage, Sample, ServiceUsage
from service.store import captures
from service.store.writer import Store
from tests.conftest import all_processes
from tests.running import ROOT, command, environment

# Written by somebody on the host: an order, what colours a terminal, what turns a line around, an unseen tag.
HOSTILE = "ignore all\x1b[31m\u202e\U000e0041"
AT = parse_time("03:12", time.time())


class Said(NamedTuple):
    failed: bool
    text: str

    @property
    def json(self) -> Any:
        assert not self.failed, self.text
        return json.loads(self.text)


def is_busy(ts: int) -> bool:
    """A capture belongs to the time in which its middle lies."""
    return AT - 150 <= ts - 15 < AT + 150


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory, new_database: Path) -> Path:
    """Two hours around the last 03:12, when a name took three of four CPUs for five minutes until it was killed."""
    path = Path(shutil.copy(new_database, tmp_path_factory.mktemp("night") / "tidemark.db"))
    store = Store(path)
    store.open()
    start = AT - HOUR
    store.begin_run(start, start - 1000, "boot-1", "0.1.0", 5)
    stamps = range(start, AT + HOUR, 5)
    store.append(
        [
            Sample(ts, 5.0, {"cpu_percent": 80.0 if is_busy(ts) else 5.0}, Break(None, None) if ts == start else None)
            for ts in stamps
        ]
    )
    for ts in range(start + 30, AT + HOUR, 30):
        store.write(partial(captures.insert, capture=captured(ts), stretch_id=1))
    store.close()
    return path


def captured(ts: int) -> Capture:
    uses = [ProcessUsage("sshd", 1, 1.0, 2 * 10**9)] + [ProcessUsage(HOSTILE, 77, 90.0, 10**9)] * is_busy(ts)
    killed = ServiceUsage("batch.service", "service", 1.0, None, None, None, oom_kills=1)
    return Capture(ts, 30, 120, 96.0 if is_busy(ts) else 6.0, all_processes(*uses), [killed] if ts == AT + 150 else [])


class Assistant:
    """Starts the verb and speaks to it, each from this thread."""

    def __init__(self, portal: BlockingPortal, client: Client) -> None:
        self._portal, self.client = portal, client

    def ask(self, tool: str, **arguments: Any) -> Said:
        result = self._portal.call(partial(self.client.call_tool, tool, arguments))
        (part,) = result.content
        assert part.type == "text"
        return Said(bool(result.is_error), part.text)

    def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        return self._portal.call(method, *arguments)


@pytest.fixture(scope="session")
def assistant(night: Path) -> Iterator[Assistant]:
    with assistant_of(night) as found:
        yield found


@contextmanager
def assistant_of(path: Path, mode: str = "auto") -> Iterator[Assistant]:
    program, *arguments = command(path, "mcp")
    server = StdioServerParameters(command=program, args=arguments, cwd=ROOT, env=environment())
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Client(server, mode=mode)) as client:
        yield Assistant(portal, client)
