"""What an account cannot read of the files that the service needs, by their owners and modes."""

import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from service import place
from service.errors import CannotInstall
from service.installing import system

_ELSEWHERE = "move it to a folder that every account may enter, like /opt/tidemark, and install there"
_OTHER_PYTHON = "install with one that every account may run, like /usr/bin/python3 (a .venv that is there: delete it)"


@dataclass(frozen=True, slots=True)
class Who:
    """An account by its numbers; one that is not yet there has none of its own."""

    uid: int = -1
    groups: frozenset[int] = frozenset()

    def may(self, path: Path, bits: int) -> bool:
        """Whether the mode gives it these bits (4 read, 1 enter); lists of access rights are not asked."""
        found = path.stat()
        shift = 6 if found.st_uid == self.uid else 3 if found.st_gid in self.groups else 0
        return stat.S_IMODE(found.st_mode) >> shift & bits == bits


def check(who: Who) -> None:
    """
    :raises CannotInstall: if the service could not read the program, or not see it.
    """
    for path in (place.CHECKOUT or place.IMPORTED_FROM, Path(sys.prefix)):
        _check_way(path, who, f"{path} lies in it: {_ELSEWHERE}")
    for path in (Path(sys.executable).resolve(), Path(os.__file__)):
        _check_way(path, who, f"this Python, {path}, lies in it: {_OTHER_PYTHON}")
    for folder in _needed():
        for path in _files(folder):
            if not who.may(path, 5 if path.is_dir() else 4):
                fix = f"chmod -R go+rX {folder}"
                raise CannotInstall(f"{path} cannot be read by the account {system.NAME}: {fix}")


def _needed() -> Iterable[Path]:
    """Folders and files: the program, and the packages that were made for it alone."""
    if place.CHECKOUT is None:
        own = [place.IMPORTED_FROM / "service"]
    else:
        own = [place.CHECKOUT / name for name in ("manage.py", "requirements.txt", "service", "migrations")]
    is_own_python = sys.prefix != sys.base_prefix
    return [path for path in (*own, *([Path(sys.prefix)] if is_own_python else [])) if path.exists()]


def _files(top: Path) -> Iterator[Path]:
    """All that lies there. What Python has compiled is left out: it is made anew in memory where it cannot be read."""
    yield top
    for folder, folders, files in os.walk(top):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.exists():  # no link that leads nowhere
                yield path


def _check_way(path: Path, who: Who, advice: str) -> None:
    """
    :raises CannotInstall: if the account cannot enter a folder above, or the unit hides it (PrivateTmp=).
    """
    for hidden in ("/tmp", "/var/tmp"):
        if path.is_relative_to(system.at(hidden)):
            raise CannotInstall(f"the service does not see {hidden}, and {advice}")
    for folder in path.parents:
        if folder.is_relative_to(system.ROOT) and folder != system.ROOT and not who.may(folder, 1):
            raise CannotInstall(f"the account {system.NAME} cannot enter {folder}, and {advice}")
