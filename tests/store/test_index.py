"""The index of SQLite's log is created so that its pages are written in place, and never over one that is there."""

import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.store import index

# linux/fs.h: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, FS_NOCOW_FL; and FS_EXTENT_FL, which ext4 sets of itself.
GET_FLAGS, SET_FLAGS, NO_COPY_ON_WRITE, EXTENTS = 0x80086601, 0x40086602, 0x800000, 0x80000


@pytest.fixture(autouse=True)
def narrow_umask() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the file system is asked: which call, and with which flags."""
    calls: list[tuple[int, int]] = []

    def ioctl(_: int, call: int, argument: bytes) -> bytes:
        calls.append((call, struct.unpack("l", argument)[0]))
        return struct.pack("l", EXTENTS)

    monkeypatch.setattr(fcntl, "ioctl", ioctl)
    return calls


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "tidemark.db"
    path.write_bytes(b"a database")
    path.chmod(0o664)
    return path


def index_of(path: Path) -> Path:
    return path.with_name(f"{path.name}-shm")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_an_empty_index_is_created_for_whom_the_database_is_and_set_not_to_be_copied(
    database: Path, asked: list[tuple[int, int]]
) -> None:
    before = descriptors()
    index.prepare(database)
    found = index_of(database).stat()
    assert (stat.S_IMODE(found.st_mode), found.st_size) == (0o664, 0)
    assert asked == [(GET_FLAGS, 0), (SET_FLAGS, EXTENTS | NO_COPY_ON_WRITE)]
    assert descriptors() == before


def test_an_index_that_is_there_stays_as_it_is(database: Path, asked: list[tuple[int, int]]) -> None:
    index_of(database).write_bytes(b"in use")
    index.prepare(database)
    assert index_of(database).read_bytes() == b"in use"
    assert stat.S_IMODE(index_of(database).stat().st_mode) == 0o600
    assert asked == []


def test_a_link_in_its_place_is_not_followed(database: Path, tmp_path: Path) -> None:
    index_of(database).symlink_to(tmp_path / "elsewhere")
    index.prepare(database)
    assert not (tmp_path / "elsewhere").exists()


def test_where_the_flag_cannot_be_had_the_index_is_there_all_the_same(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> bytes:
        raise OSError(25, "Inappropriate ioctl for device")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    before = descriptors()
    index.prepare(database)
    assert index_of(database).exists()
    assert descriptors() == before


def test_without_a_database_there_is_no_index(tmp_path: Path) -> None:
    index.prepare(tmp_path / "none.db")
    assert list(tmp_path.iterdir()) == []
