"""The house keeps its order: arrows point downward, each library has one owner, and importing does nothing."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SERVICE = ROOT / "service"

# A room imports only from lines above its own, so there can be no circle.
LAYERS = (
    ("errors", "clock", "metrics", "analysis", "forecast", "recurrence", "interrupts", "openssl"),
    ("config", "schema", "host", "processes", "mounts", "terminal", "logs", "systemd"),
    ("tiers", "database"),
    ("captures", "filesystems"),
    ("store", "history", "insights"),
    ("monitor", "checks", "archive", "sampler", "retention", "recorder", "recovery", "salvage"),
    ("scheduler", "drawings", "web.answers", "web.pages", "web.server"),
    ("web.api", "web.metrics", "web.sign_in", "startup"),
    ("web.app",),
    ("daemon",),
    ("cli",),
)
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}

# Who may import what; `web` stands for all of web/.
OWNERS = {
    "alembic": {"database"},
    "apscheduler": {"scheduler"},
    "click": {"cli"},
    "datetime": {"clock", "scheduler"},
    "flask": {"web"},
    "flask_smorest": {"web"},
    "marshmallow": {"web"},
    "msgspec": {"captures", "config", "terminal", "tiers", "web"},
    "psutil": {"host", "processes", "mounts"},
    "rich": {"terminal"},
    "sqlalchemy": {"schema", "database", "store", "history", "salvage"},
    "sqlite3": {"database", "store", "history", "archive", "checks", "salvage"},
    "time": {"clock"},
    "waitress": {"web"},
    "werkzeug": {"web"},
    "zoneinfo": {"clock"},
}
# What the daemon does not carry in memory: 4 to 20 MB each.
HEAVY = ("alembic", "numpy", "prometheus_client", "pytest", "rich", "sqlalchemy.orm")

FILES = sorted(SERVICE.rglob("*.py"))


def room_of(file: Path) -> str:
    return ".".join(file.relative_to(SERVICE).with_suffix("").parts)


ROOMS = [room_of(file) for file in FILES if file.name != "__init__.py"]


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def file_of(room: str) -> Path:
    return SERVICE / (room.replace(".", "/") + ".py")


def imports(file: Path) -> Iterator[str]:
    """Every name that is imported, also inside functions: `a.b` for `from a import b`."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def rooms_in(name: str) -> Iterator[str]:
    """The room that an imported name lies in; none for the package itself."""
    parts = name.removeprefix("service").strip(".").split(".")
    yield from (room for end in (1, 2) if (room := ".".join(parts[:end])) in ROOMS)


def test_every_room_has_its_place_and_every_place_its_room() -> None:
    assert sorted(LEVEL) == sorted(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_from_lines_above_its_own(room: str) -> None:
    used = {other for name in imports(file_of(room)) if name.startswith("service") for other in rooms_in(name)}
    assert {other for other in used if LEVEL[other] >= LEVEL[room]} == set()


@pytest.mark.parametrize("room", ROOMS)
def test_a_library_is_imported_by_its_owner_alone(room: str) -> None:
    for name in imports(file_of(room)):
        owners = OWNERS.get(name.split(".")[0], {room})
        assert owners & {room, room.split(".")[0]}, f"{room} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=room_of)
def test_the_environment_is_read_by_config_alone(file: Path) -> None:
    read = {node.attr for node in ast.walk(tree(file)) if isinstance(node, ast.Attribute)}
    read |= {name.split(".")[-1] for name in imports(file) if name.startswith("os.")}
    assert not read & {"environ", "environb", "getenv"} or room_of(file) == "config"


@pytest.mark.parametrize("room", ["database", "store", "history"])
def test_nothing_opens_the_database_past_sqlite_which_would_drop_its_locks(room: str) -> None:
    calls = [node.func for node in ast.walk(tree(file_of(room))) if isinstance(node, ast.Call)]
    names = {call.id for call in calls if isinstance(call, ast.Name)}
    methods = {call.attr for call in calls if isinstance(call, ast.Attribute)}
    assert "open" not in names
    assert not methods & {"read_bytes", "read_text", "write_bytes", "write_text", "copy", "copyfile"}


@pytest.mark.parametrize("file", FILES, ids=room_of)
def test_a_module_begins_with_one_line_that_says_what_it_is_for(file: Path) -> None:
    first = (ast.get_docstring(tree(file)) or "").split("\n")[0]
    assert first.endswith(".")
    assert len(first.split()) >= 3


def test_the_package_itself_imports_nothing() -> None:
    assert list(imports(SERVICE / "__init__.py")) == []


def in_new_python(code: str) -> object:
    """What a fresh interpreter prints as JSON."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


IMPORT_ALL = """
import importlib, json, os, sys, threading
# psutil counts the CPUs as it is imported.
own = ("/proc/stat", sys.prefix, sys.base_prefix, os.path.join(os.getcwd(), "service"))
seen = []
def look(event, arguments):
    if event == "open" and not str(arguments[0]).startswith(own):
        seen.append([event, str(arguments[0])])
    elif event.startswith(("sqlite3.connect", "socket.", "subprocess.", "os.fork", "os.mkdir", "os.putenv")):
        seen.append([event, repr(arguments)])
sys.addaudithook(look)
for room in {rooms}:
    importlib.import_module("service." + room)
import logging, signal
untouched = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and not logging.getLogger().handlers
print(json.dumps([seen, threading.active_count(), untouched]))
"""


def test_importing_starts_no_thread_opens_no_file_and_changes_nothing() -> None:
    found = in_new_python(IMPORT_ALL.replace("{rooms}", repr(ROOMS)))
    assert found == [[], 1, True]


def test_the_daemon_does_not_carry_what_it_seldom_needs() -> None:
    code = f"import json, sys, service.daemon; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    assert in_new_python(code) == []
