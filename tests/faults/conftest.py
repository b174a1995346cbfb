"""Fixtures of the fault tests: they end what they started and unmount what they mounted."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.kit import Site
from tests.faults.kit_disk import Disk

MakeSite = Callable[[Path], Site]
MakeDisk = Callable[..., Disk]


@pytest.fixture
def make_disk(tmp_path: Path) -> Iterator[MakeDisk]:
    made: list[Disk] = []

    def make(kind: str = "ext4", megabytes: float = 400) -> Disk:
        made.append(Disk(tmp_path / f"disk-{len(made)}", kind, megabytes))
        return made[-1]

    yield make
    for disk in made:
        disk.remove()


@pytest.fixture
def make_site(make_disk: MakeDisk, tmp_path: Path) -> Iterator[MakeSite]:
    """Daemons over one database. Requests `make_disk`, so that they end before a disk is unmounted."""
    made: list[Site] = []

    def make(path: Path) -> Site:
        made.append(Site(path, tmp_path / f"acked-{len(made)}.log"))
        return made[-1]

    yield make
    for site in made:
        site.end()


@pytest.fixture
def site(make_site: MakeSite, tmp_path: Path) -> Site:
    return make_site(tmp_path / "data" / "tidemark.db")
