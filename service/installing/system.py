"""What the installer asks of the host and changes on it; this file alone runs useradd, systemctl and their like."""

import grp
import os
import pwd
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from service.errors import CannotInstall

# Where the host's files begin. Tests move it.
ROOT = Path("/")
NAME = "tidemark"
STATE = "/var/lib/tidemark"
SETTINGS = "/etc/tidemark/tidemark.toml"
UNIT = "/etc/systemd/system/tidemark.service"
# What the shell is of an account that nobody signs in to.
_NO_SHELLS = ("nologin", "false")
# Where root's PATH lacks them, as after `su`.
_TOOLS = "/usr/sbin:/usr/bin:/sbin:/bin"


def at(path: str) -> Path:
    return ROOT / path.lstrip("/")


def is_root() -> bool:
    return os.geteuid() == 0


def is_systemd_running() -> bool:
    """By sd_booted(3)."""
    return at("/run/systemd/system").is_dir()


def account() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(NAME)
    except KeyError:
        return None


def group_members() -> list[str] | None:
    """Who is in the group of that name; None where there is none."""
    try:
        return grp.getgrnam(NAME).gr_mem
    except KeyError:
        return None


def is_ours(found: pwd.struct_passwd) -> bool:
    """Whether the account is as `install`, or the manual before there was one, makes it."""
    return found.pw_uid != 0 and found.pw_dir == STATE and os.path.basename(found.pw_shell) in _NO_SHELLS


def read(path: str) -> str | None:
    """None where there is no such file."""
    try:
        return at(path).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def write(path: str, text: str) -> None:
    """Whole or not at all, readable by everyone whatever the umask is."""
    file = at(path)
    if not file.parent.is_dir():
        file.parent.mkdir(parents=True)
        file.parent.chmod(0o755)
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with open(new, "x", encoding="utf-8") as opened:
        os.fchmod(opened.fileno(), 0o644)
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    new.replace(file)


def remove(path: str) -> None:
    """The file, and the folder where it is empty then and is ours by its name."""
    at(path).unlink(missing_ok=True)
    if at(path).parent.name == NAME:
        with suppress(OSError):
            at(path).parent.rmdir()


def run(*command: str) -> None:
    """
    :raises CannotInstall: if there is no such program, or it fails.
    """
    done = _done(*command)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[-1]
        advice = "; `journalctl -u tidemark` says why" if command[0] == "systemctl" else ""
        raise CannotInstall(f"{' '.join(command)} failed: {said}{advice}")


def succeeds(*command: str) -> bool:
    return _done(*command).returncode == 0


def _done(*command: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which(command[0]) or shutil.which(command[0], path=_TOOLS)
    if program is None:
        raise CannotInstall(f"there is no {command[0]} here: it is needed for `{' '.join(command)}`")
    return subprocess.run(
        [program, *command[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
