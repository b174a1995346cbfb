"""What the daemon's libraries import just in case is not in its memory, and is there for whoever asks."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# As `run` begins.
BEGIN = """
import sys
from service.daemon import spared
spared.spare(tls=False)
import service.cli.entry, service.daemon.daemon, service.web.server, service.forward.shipper
"""


def printed(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-OO", "-c", BEGIN + code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["_ssl", "_hashlib", "yaml", "asyncio.events", "mcp", "anyio", "pydantic"])
def test_it_is_not_loaded(module: str) -> None:
    assert printed(f"print(sys.modules.get({module!r}))") == "None"


def test_asyncio_is_itself_once_it_is_used() -> None:
    code = "import asyncio\nasync def one(): return 1\nprint(asyncio.run(one()), sys.modules['asyncio'].CancelledError)"
    assert printed(code) == "1 <class 'asyncio.exceptions.CancelledError'>"


def test_a_coroutine_is_known_without_asyncio() -> None:
    code = """
from sqlalchemy.util.concurrency import iscoroutine
async def one(): pass
begun = one()
print(iscoroutine(begun), iscoroutine(one))
begun.close()
"""
    assert printed(code) == "True False"
