"""An upgrade from each older schema, killed after each step and amid its writes, is finished by the next start."""

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from service.place import CHECKOUT as ROOT
from service.store import database
from tests.faults.kit import problems, reader
from tests.faults.kit_host import tool
from tests.running import RUN, command, environment

# `python3 -m tests.faults.test_upgrade FILE` writes the newest one when its revision is released; none is ever edited.
SCHEMAS = sorted((ROOT / "tests" / "schemas").glob("*.sql"))
STEPS = [
    "CREATE TABLE later (x)",
    "INSERT INTO later WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) "
    "SELECT randomblob(500) FROM n",
    "ALTER TABLE sample ADD COLUMN later INTEGER",
    "UPDATE sample SET later = ts",
]
# A revision that is to come, which kills itself after the step that the environment names.
NEXT = """
import os
from alembic import op

revision, down_revision, branch_labels, depends_on = "9999", "{newest}", None, None


def upgrade():
    op.execute("PRAGMA cache_size=5")
    for number, step in enumerate({steps!r}):
        op.execute(step)
        if os.environ.get("KILL_AFTER") == str(number):
            os.kill(os.getpid(), 9)
"""
SAMPLES = 500


def dump(path: Path) -> str:
    """The file's schema and first rows as SQL, without the views, which each start makes anew."""
    connection = sqlite3.connect(path)
    pragmas = [
        f"PRAGMA {name}={connection.execute(f'PRAGMA {name}').fetchone()[0]};"
        for name in ("page_size", "auto_vacuum", "application_id")
    ]
    lines = [line for line in connection.iterdump() if not line.startswith("CREATE VIEW")]
    connection.close()
    return "\n".join([*pragmas, *lines]) + "\n"


def old_database(path: Path, schema: Path) -> Path:
    """A database of that schema with samples."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(schema.read_text())
    connection.execute(
        "INSERT INTO run (run_id, started_ts, clean, interval_seconds, version) VALUES (1, 1, 1, 5, '0')"
    )
    connection.execute("INSERT INTO stretch (stretch_id, run_id, start_ts) VALUES (1, 1, 1000)")
    connection.executemany(
        "INSERT INTO sample (ts, stretch_id, covered_ms) VALUES (?, 1, 5000)",
        [(1000 + 5 * number,) for number in range(SAMPLES)],
    )
    connection.commit()
    connection.close()
    return path


@pytest.fixture(scope="session")
def next_version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this program with one more revision."""
    tree = tmp_path_factory.mktemp("next") / "tree"
    tree.mkdir()
    for part in ("service", "migrations", "config"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("manage.py", "requirements.txt"):
        shutil.copy(ROOT / name, tree / name)
    newest = database.revisions()[-1]
    (tree / "migrations" / "versions" / "9999_next.py").write_text(NEXT.format(newest=newest, steps=STEPS))
    return tree


def _migrate(tree: Path, path: Path, *under: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*under, *command(path, "migrate")],
        cwd=tree, capture_output=True, text=True, timeout=60, env=environment(**variables),
    )  # fmt: skip


def _next_start_finishes_it(tree: Path, path: Path) -> None:
    """The next start finishes what was begun, with every sample."""
    process = subprocess.Popen(
        command(path, *RUN),
        cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout as output, process.stderr as errors:
        first = output.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, errors.read()
    assert "http://" in first
    assert problems(path) == []
    with reader(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
        assert connection.execute("SELECT count(*) FROM later").fetchone() == (3000,)
        counted = connection.execute("SELECT count(*) FROM samples WHERE ts < 10000").fetchone()
        assert counted == connection.execute("SELECT count(*) FROM sample WHERE later = ts").fetchone() == (SAMPLES,)
    assert not (path.parent / "quarantine").exists()


def test_the_schema_of_each_revision_is_kept_and_none_has_changed_since(new_database: Path) -> None:
    assert [schema.stem for schema in SCHEMAS] == list(database.revisions())
    assert SCHEMAS[-1].read_text() == dump(new_database)


def _kills(points: Sequence[int]) -> Iterator[Any]:
    """Every point with the oldest schema; of those after it, which run some of the same revisions, the newest and a
    third of the others with one each, as a kill takes some seconds. The rest is slow."""
    for number, schema in enumerate(SCHEMAS):
        for place, point in enumerate(points):
            is_one = schema == SCHEMAS[-1] or number % 3 == 0
            is_usual = number == 0 or (is_one and place == number % len(points))
            marks = [] if is_usual else [pytest.mark.slow]
            yield pytest.param(schema, point, marks=marks, id=f"{schema.stem}-{point}")


@pytest.mark.parametrize(("schema", "step"), list(_kills(range(len(STEPS)))))
def test_an_upgrade_killed_after_a_step_is_finished_by_the_next_start(
    next_version: Path, tmp_path: Path, schema: Path, step: int
) -> None:
    path = old_database(tmp_path / "data" / "tidemark.db", schema)
    assert _migrate(next_version, path, KILL_AFTER=str(step)).returncode != 0
    with reader(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(schema.stem,)]
    _next_start_finishes_it(next_version, path)


@pytest.mark.parametrize(("schema", "write"), list(_kills([1, 2, 50, 500, 1000])))
def test_an_upgrade_killed_amid_its_writes_is_finished_by_the_next_start(
    next_version: Path, tmp_path: Path, schema: Path, write: int
) -> None:
    path = old_database(tmp_path / "data" / "tidemark.db", schema)
    tracer = [tool("strace"), "-f", "-o", "/dev/null", "-e", "trace=pwrite64"]
    done = _migrate(next_version, path, *tracer, "-e", f"inject=pwrite64:signal=SIGKILL:when={write}")
    assert done.returncode != 0
    _next_start_finishes_it(next_version, path)


if __name__ == "__main__":
    new = Path(sys.argv[1])
    database.migrate(new)
    (ROOT / "tests" / "schemas" / f"{database.revisions()[-1]}.sql").write_text(dump(new))
