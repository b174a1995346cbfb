"""What is set aside: whole, safe from a power cut, and never too much of it."""

import os
from pathlib import Path

import pytest

from service.errors import StartFailed
from service.upkeep import recovery
from tests.conftest import NOW


def test_what_is_set_aside_is_on_the_disk_under_its_new_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path(f"{path}-wal").write_bytes(b"log")
    synced: list[tuple[int, bool]] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append((os.fstat(fd).st_ino, path.exists())), fsync(fd)))
    folder = recovery.set_aside(path, "malformed", NOW)
    assert sorted(part.name for part in folder.iterdir()) == ["reason.json", path.name, f"{path.name}-wal"]
    assert not path.exists()
    assert {(folder.stat().st_ino, False), (path.parent.stat().st_ino, False)} <= set(synced)


def test_five_databases_are_set_aside_and_not_one_more(path: Path) -> None:
    for number in range(recovery.MOST_SET_ASIDE):
        path.touch()
        assert recovery.set_aside(path, "malformed", NOW).name.endswith(f"-{number + 1}")
    path.touch()
    with pytest.raises(StartFailed, match="holds 5 such files"):
        recovery.set_aside(path, "malformed", NOW)
    assert path.exists()
