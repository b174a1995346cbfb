"""The unit of systemd, made from the shipped one with the paths of this program; pure."""

import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from service.errors import CannotInstall

_FIRST = "# Made by Tidemark's `install`. What differs on this host goes into `systemctl edit tidemark`. Checked by "
# systemd gives a meaning to some signs ($ % \ ;) and forbids others; a path with these is not worth the quoting.
_PLAIN = re.compile(r"[\w /.,:=@+~-]+")


def make(shipped: str, command: Sequence[str], readme: Path | None, environment: str | None) -> str:
    """The text of the unit.

    `command`: what starts the daemon, a whole path first. `readme`: None where there is none. `environment`: the line's
    value; None for no line.

    :raises CannotInstall: if a path has signs that systemd takes for something else.
    """
    body = shipped[shipped.index("[Unit]") :]
    lines = {
        "Documentation": readme and f"file:{quote(_plain(str(readme))).replace('%', '%%')}",
        "ExecStart": " ".join(_quoted(part) for part in command),
        "Environment": environment,
    }
    for key, value in lines.items():
        line = "" if value is None else f"{key}={value}\n"
        body = re.sub(rf"^{key}=.*\n", lambda _, line=line: line, body, count=1, flags=re.MULTILINE)  # type: ignore[misc]
    return f"{_FIRST}{_digest(body)}\n{body}"


def is_made_here(text: str) -> bool:
    """Whether `make` made it, and nobody has edited it since."""
    first, _, body = text.partition("\n")
    return first == _FIRST + _digest(body)


def _digest(body: str) -> str:
    return sha256(body.encode()).hexdigest()


def _quoted(part: str) -> str:
    return f'"{_plain(part)}"' if " " in part else _plain(part)


def _plain(path: str) -> str:
    if not _PLAIN.fullmatch(path):
        raise CannotInstall(f"systemd cannot be given {path!r}: move it to a folder of letters and digits")
    return path
