"""The house keeps its order: arrows point downward, each library has one owner, and importing does nothing."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SERVICE = ROOT / "service"

# From the ground up: a wing imports from the floors below its own; within a wing there is no circle.
FLOORS = (
    ("errors", "clock", "metrics", "records", "config", "address", "place"),
    ("host", "analysis"),
    ("store",),
    ("recording", "answers", "upkeep", "importing", "forward", "installing"),
    ("web", "terminal", "assistant"),
    ("daemon",),
    ("cli",),
)
FLOOR = {wing: number for number, wings in enumerate(FLOORS) for wing in wings}

# Who may import what: a wing, or one room of it.
OWNERS = {
    "alembic": {"store.database"},
    "anyio": {"assistant.server"},
    "apscheduler": {"daemon.scheduler"},
    "click": {"cli"},
    "datetime": {"clock", "daemon.scheduler"},
    "flask": {"web"},
    "flask_smorest": {"web"},
    "marshmallow": {"web"},
    "mcp": {"assistant.server"},
    "mcp_types": {"assistant.server"},
    "psutil": {"host"},
    "rich": {"terminal"},
    "sqlalchemy": {"store"},
    "sqlite3": {"store", "upkeep"},
    "textual": {"terminal.replay.app"},
    "time": {"clock"},
    "waitress": {"web.server", "web.turns"},
    "werkzeug": {"web"},
    "zoneinfo": {"clock"},
}
# What the daemon does not carry in memory: 4 to 50 MB each.
HEAVY = ("alembic", "mcp", "numpy", "prometheus_client", "pytest", "rich", "sqlalchemy.orm", "textual")

FILES = sorted(SERVICE.rglob("*.py"))


def room_of(file: Path) -> str:
    return ".".join(file.relative_to(SERVICE).with_suffix("").parts).removesuffix(".__init__")


def wing_of(room: str) -> str:
    return room.split(".")[0]


ROOMS = {room_of(file): file for file in FILES if file != SERVICE / "__init__.py"}
# A wing is a folder: what the map names within it are its files.
PLAIN = {room for room, file in ROOMS.items() if file.name != "__init__.py"}


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def imports(file: Path) -> Iterator[str]:
    """Every name that is imported, also inside functions: `a.b` for `from a import b`."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def rooms_used(room: str) -> set[str]:
    """The other rooms that a room imports."""
    names = {name.removeprefix("service.") for name in imports(ROOMS[room]) if name.startswith("service.")}
    used = {name if name in ROOMS else name.rpartition(".")[0] for name in names}
    return (used & set(ROOMS)) - {room}


def test_every_wing_has_its_floor_and_every_floor_its_wings() -> None:
    assert {wing_of(room) for room in ROOMS} == set(FLOOR)


def test_the_map_of_the_house_names_every_room_and_no_other() -> None:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    lines = re.search(r"^service/\n(.*?)^```", text, re.S | re.M)
    assert lines
    named = set()
    for wing, rest in re.findall(r"^  ([a-z_]+/?) +(.*(?:\n {10,}.*)*)$", lines[1], re.M):
        rooms = {room for room in PLAIN if room.startswith(wing.replace("/", "."))} if wing.endswith("/") else {wing}
        named |= {room for room in rooms if re.search(rf"\b{room.split('.')[-1]}\b", f"{rest} {wing}")}
        assert rooms, f"no wing {wing}"
    assert named == PLAIN


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_between_wings_point_downward(room: str) -> None:
    wings = {wing_of(other) for other in rooms_used(room)} - {wing_of(room)}
    ground = wing_of(room) in FLOORS[0]
    assert [wing for wing in wings if FLOOR[wing] >= FLOOR[wing_of(room)] and not (ground and wing in FLOORS[0])] == []


def test_no_circle_of_rooms_anywhere() -> None:
    assert list(TopologicalSorter({room: rooms_used(room) for room in ROOMS}).static_order())


@pytest.mark.parametrize("room", ROOMS)
def test_a_library_is_imported_by_its_owner_alone(room: str) -> None:
    for name in imports(ROOMS[room]):
        owners = OWNERS.get(name.split(".")[0], {room})
        assert owners & {room, wing_of(room)}, f"{room} imports {name}"


@pytest.mark.parametrize("room", ROOMS)
def test_nobody_takes_a_private_name_of_another_room(room: str) -> None:
    taken = [name for name in imports(ROOMS[room]) if name.startswith("service.")]
    assert [name for name in taken if re.search(r"\._(?!_)", name)] == []


@pytest.mark.parametrize("file", FILES, ids=room_of)
def test_the_environment_is_read_by_config_alone(file: Path) -> None:
    read = {node.attr for node in ast.walk(tree(file)) if isinstance(node, ast.Attribute)}
    read |= {name.split(".")[-1] for name in imports(file) if name.startswith("os.")}
    assert not read & {"environ", "environb", "getenv"} or room_of(file) == "config"


@pytest.mark.parametrize("room", [room for room in ROOMS if wing_of(room) == "store"])
def test_nothing_opens_the_database_past_sqlite_which_would_drop_its_locks(room: str) -> None:
    calls = [node.func for node in ast.walk(tree(ROOMS[room])) if isinstance(node, ast.Call)]
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
    found = in_new_python(IMPORT_ALL.replace("{rooms}", repr(list(ROOMS))))
    assert found == [[], 1, True]


def test_the_daemon_does_not_carry_what_it_seldom_needs() -> None:
    code = f"import json, sys, service.daemon.daemon; print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    assert in_new_python(code) == []
