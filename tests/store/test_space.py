"""A lack of room is told from all else that may be wrong with a folder."""

import errno
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.store import space
from service.store.schema import PAGE_BYTES

LIMIT = 2**20


@pytest.fixture
def limit() -> Iterator[None]:
    """No file of this process may be longer; Python ignores the signal that tells so."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_that_may_not_grow_is_told_from_one_that_may(tmp_path: Path, limit: None) -> None:
    assert space.lack(tmp_path) is None
    assert space.lack(tmp_path, LIMIT - PAGE_BYTES) is None
    assert space.lack(tmp_path, LIMIT) == "File too large"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EDQUOT, "Disk quota exceeded"),
        (errno.EFBIG, "File too large"),
        (errno.EIO, None),
    ],
)
def test_the_reason_is_a_lack_of_room_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, why: str | None
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwrite", refuse)
    assert space.lack(tmp_path) == why


def test_more_than_a_commit_is_written_and_a_page_where_the_file_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "pwrite", lambda _, content, at: written.append((at, len(content))))
    for size in ((), (5000,)):
        assert space.lack(tmp_path, *size) is None
    assert written == [(0, 65536), (0, PAGE_BYTES), (0, 65536), (5000, PAGE_BYTES)]


def test_a_folder_that_is_missing_lacks_no_room(tmp_path: Path) -> None:
    assert space.lack(tmp_path / "none") is None
