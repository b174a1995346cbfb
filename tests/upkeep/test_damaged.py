"""Reading around damage: each row that can be read is, once, and of the others it is known how many there were."""

import shutil
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from service.clock import HOUR
from service.store.schema import PAGE_BYTES
from service.store.statements import Statements
from service.store.writer import Store
from service.upkeep.damaged import Damaged, NothingSalvaged, Salvaged, opened
from tests.conftest import NOW, Fill
from tests.running import query

COUNT = 600
# What SQLite refuses to work out, as it does what stands on a damaged page.
FAULT = "abs(-9223372036854775808)"


@pytest.fixture
def damaged(path: Path, fill: Fill) -> Iterator[sqlite3.Connection]:
    """A sample a second from NOW on, none of them damaged yet."""
    fill(NOW, COUNT, interval=1, cpu_percent=50)
    with closing(sqlite3.connect(path)) as connection:
        yield connection


@pytest.fixture
def sound(damaged: sqlite3.Connection, path: Path, tmp_path: Path) -> Path:
    """Another file of the same history; `path` is the one in use."""
    damaged.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (tmp_path / "aside").mkdir()
    return Path(shutil.copy(path, tmp_path / "aside" / "tidemark.db"))


def damage(connection: sqlite3.Connection, *keys: int) -> None:
    """Have SQLite fail at these samples, and at no other."""
    listed = ", ".join(str(NOW + key) for key in keys)
    columns = [row[1] for row in connection.execute("PRAGMA table_info(sample)")]
    faulty = [
        f"CASE WHEN ts IN ({listed}) THEN {FAULT} ELSE {name} END AS {name}" if name == "covered_ms" else name
        for name in columns
    ]
    connection.execute(f"CREATE TEMP VIEW sample AS SELECT {', '.join(faulty)} FROM main.sample")


def read(connection: sqlite3.Connection) -> tuple[list[int], Salvaged, list[float]]:
    """The keys that could be read, counted from NOW; what is known of the table; and the shares done."""
    shares: list[float] = []
    found = Damaged(connection, shares.append)
    keys = [row["ts"] - NOW for row in found.rows("sample", step=5)]
    return keys, found.tables["sample"], shares


@pytest.mark.parametrize(
    ("keys", "lost"),
    [
        ([], []),
        ([0], [(0, 0)]),
        ([COUNT - 1], [(COUNT - 1, COUNT - 1)]),
        ([300], [(300, 300)]),
        ([300, 301, 302], [(300, 302)]),
        ([300, 302], [(300, 300), (302, 302)]),
        ([10, 11, 200, 599], [(10, 11), (200, 200), (599, 599)]),
    ],
)
def test_all_but_the_damaged_rows_are_read_and_these_are_known(
    damaged: sqlite3.Connection, keys: list[int], lost: list[tuple[int, int]]
) -> None:
    if keys:
        damage(damaged, *keys)
    found, salvaged, shares = read(damaged)
    assert found == [key for key in range(COUNT) if key not in keys]
    assert salvaged.lost == [(NOW + first, NOW + last) for first, last in lost]
    assert (salvaged.read, salvaged.known, salvaged.added) == (COUNT - len(keys), COUNT, 0)
    assert (salvaged.first, salvaged.last) == (NOW + found[0], NOW + found[-1])
    assert sum(shares) == pytest.approx(1)


def test_of_a_destroyed_page_as_many_rows_are_missing_as_it_held(sound: Path) -> None:
    pages = "SELECT pageno, ncell FROM dbstat WHERE name = 'sample' AND pagetype = 'leaf' ORDER BY path"
    page, held = query(sound, pages)[1]
    with open(sound, "r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        file.write(b"\xa5" * PAGE_BYTES)
    with closing(sqlite3.connect(sound)) as connection:
        found, salvaged, _ = read(connection)
    # The rows before and after those of the page stand a level up, and are reached by way of it.
    assert len(found) == len(set(found))
    assert COUNT - held - 2 <= len(found) <= COUNT - held
    assert salvaged.known == COUNT


def test_rows_that_are_lost_are_counted_by_how_far_the_others_are_apart() -> None:
    salvaged = Salvaged(step=5.0)
    assert salvaged.known == 0
    salvaged.lost.append((NOW, NOW + 99))
    assert salvaged.known == 20
    for ts in (0, 10, 20, 21):
        salvaged.count(NOW + 200 + ts)
    assert salvaged.known == 4 + 10
    salvaged.lost.append((NOW + 300, NOW + 301))
    assert salvaged.known == 4 + 10 + 1


@pytest.mark.parametrize(
    "change",
    [
        "ts = -5",
        "covered_ms = -1",
        "covered_ms = 7200001",
        "covered_ms = 'much'",
        f"ts = {2**50}",
    ],
)
def test_a_row_that_is_none_of_ours_is_not_taken(damaged: sqlite3.Connection, change: str) -> None:
    damaged.execute("PRAGMA ignore_check_constraints=ON")
    damaged.execute(f"UPDATE sample SET {change} WHERE ts = {NOW + 300}")
    found, salvaged, _ = read(damaged)
    assert found == [key for key in range(COUNT) if key != 300]
    assert salvaged.read == COUNT - 1


def test_an_hour_that_begins_at_no_hour_is_not_taken(path: Path, store: Store) -> None:
    def write(statements: Statements) -> None:
        for ts in (NOW, NOW + HOUR, NOW + HOUR + 1):
            statements.run("INSERT INTO hour (ts, samples, covered_ms) VALUES (?, 1, 5000)", (ts,))

    store.write(write)
    with closing(sqlite3.connect(path)) as connection:
        rows = Damaged(connection, lambda share: None).rows("hour", step=HOUR)
        assert [row["ts"] for row in rows] == [NOW, NOW + HOUR]


def test_a_table_that_is_not_there_has_no_rows_and_is_done(damaged: sqlite3.Connection) -> None:
    damaged.execute("DROP TABLE process")
    shares: list[float] = []
    assert list(Damaged(damaged, shares.append).rows("process", step=30)) == []
    assert list(Damaged(damaged, shares.append).rows("day", step=1)) == []
    assert shares == [1, 1]


@pytest.mark.usefixtures("damaged")
def test_runs_and_names_are_read_in_the_order_of_their_numbers(path: Path, store: Store) -> None:
    store.begin_run(NOW + COUNT, None, None, "0.1.0", 5)
    store.write(lambda statements: statements.run("INSERT INTO mount (path) VALUES ('/b'), ('/a')"))
    with closing(sqlite3.connect(path)) as connection:
        found = Damaged(connection, lambda share: None)
        assert [row["started_ts"] for row in found.rows("run", step=1)] == [NOW, NOW + COUNT]
        assert [row["path"] for row in found.rows("mount", step=1)] == ["/b", "/a"]
    assert (found.tables["run"].read, found.tables["mount"].read) == (2, 2)


# -- opening the file


def files(folder: Path) -> Iterable[str]:
    return sorted(file.name for file in folder.iterdir())


@pytest.mark.parametrize("spoilt", [0, 16, 100])
def test_a_file_is_read_with_or_without_its_first_page_and_nothing_is_left_behind(
    sound: Path, path: Path, spoilt: int
) -> None:
    with open(sound, "r+b") as file:
        file.write(b"\xa5" * spoilt)
    before, there = sound.read_bytes(), files(path.parent)
    with opened(sound, path) as connection:
        found, salvaged, _ = read(connection)
        assert found == list(range(COUNT))
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM sample")
    assert salvaged.lost == []
    assert sound.read_bytes() == before
    assert files(path.parent) == there


def test_of_what_is_no_history_nothing_is_opened_and_nothing_is_left_behind(path: Path, tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.write_bytes(b"\xa5" * 40960)
    for source in (noise, tmp_path, tmp_path / "none.db"):
        with pytest.raises(NothingSalvaged), opened(source, path):
            pass
    assert files(tmp_path) == ["noise", "tidemark.db"]
