"""The lock: nothing that happens to its file or to the database's name lets a second daemon in."""

import logging
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from service.daemon.startup import Lock
from service.errors import AlreadyRunning, CannotCreate


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "tidemark.db"
    path.parent.mkdir()
    path.write_bytes(b"a database")
    return path


@pytest.fixture
def lock(path: Path) -> Iterator[Lock]:
    with ExitStack() as stack:
        lock = Lock(path)
        stack.push(lock)
        yield lock


def test_where_the_locks_file_is_removed_the_database_itself_is_still_locked(lock: Lock, path: Path) -> None:
    Path(f"{path}.lock").unlink()
    with pytest.raises(AlreadyRunning, match="another Tidemark"):
        Lock(path)


def test_another_name_of_the_database_is_locked_too(lock: Lock, path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    other.hardlink_to(path)
    with pytest.raises(AlreadyRunning):
        Lock(other)


def test_a_database_with_two_names_is_warned_of(path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "other.db").hardlink_to(path)
    with caplog.at_level(logging.WARNING), Lock(path):
        pass
    assert "2 names (hard links)" in caplog.text


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_lock_that_has_lost_its_file_is_taken_anew(lock: Lock, path: Path, what: str) -> None:
    if what == "file":
        Path(f"{path}.lock").unlink()
    else:
        path.parent.rename(path.parent.with_name("gone"))
    lock.hold()
    with pytest.raises(AlreadyRunning, match=r"pid \d+"):
        Lock(path)


def test_a_lock_that_another_has_taken_meanwhile_is_lost(lock: Lock, path: Path) -> None:
    path.parent.rename(path.parent.with_name("gone"))
    path.parent.mkdir()
    with Lock(path), pytest.raises(AlreadyRunning):
        lock.hold()


def test_a_database_that_comes_after_the_lock_is_locked_from_then_on(path: Path, tmp_path: Path) -> None:
    path.unlink()
    with Lock(path) as lock:
        path.write_bytes(b"a new database")
        lock.hold()
        Path(f"{path}.lock").unlink()
        with pytest.raises(AlreadyRunning):
            Lock(path)


@pytest.mark.parametrize("how", ["symlink", "hard link"])
def test_a_link_in_the_place_of_the_lock_is_refused_and_its_target_left_as_it_is(
    path: Path, tmp_path: Path, how: str
) -> None:
    target, file = tmp_path / "precious", Path(f"{path}.lock")
    target.write_text("precious")
    file.symlink_to(target) if how == "symlink" else file.hardlink_to(target)
    with pytest.raises(CannotCreate, match="remove it"), Lock(path):
        pass
    assert target.read_text() == "precious"
