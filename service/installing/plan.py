"""What is to be done to install the service or to take it away: looked up and refused first, then step by step."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from service import place
from service.config import Settings, load
from service.errors import CannotInstall
from service.installing import reach, system, unit
from service.installing.system import NAME, SETTINGS, STATE, UNIT

# Where a checkout keeps its history: outside of the checkout. An installed program keeps it in its state folder anyway.
_CHECKOUT_DATABASE = f"{STATE}/tidemark.db"
_WANTED = "/etc/systemd/system/multi-user.target.wants/tidemark.service"
_START = (("systemctl", "daemon-reload"), ("systemctl", "enable", "--now", NAME))


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the output: `what ... result`. `action`: None where nothing is to be done."""

    what: str
    result: str
    action: Callable[[], None] | None = None


def installing() -> list[Step]:
    """
    :raises CannotInstall: if something is in the way; nothing was changed then.
    :raises BadSetting: if the settings file that is there is bad.
    """
    account = system.account()
    wanted = _unit_text()
    _refuse_foreign(account is not None and not system.is_ours(account))
    reach.check(_who())
    settings_of(system.SETTINGS)
    is_new = system.read(UNIT) != wanted
    return [
        _make_account() if account is None else Step(f"account {NAME}", "is there already"),
        _file(SETTINGS, system.read(SETTINGS) is None, False, partial(system.write, SETTINGS, _settings_text())),
        _file(UNIT, is_new, system.read(UNIT) is not None, partial(system.write, UNIT, wanted)),
        Step(f"folder {STATE}", "is there already" if system.at(STATE).is_dir() else "left to systemd, at the start"),
        *_starting(is_new),
    ]


def removing() -> list[Step]:
    """In the reverse order.

    :raises CannotInstall: if what has that name is not ours; nothing was changed then.
    """
    account = system.account()
    _refuse_foreign(account is not None and not system.is_ours(account))
    return [*_stopping(), *_removing_files(), *_removing_account(account is not None)]


def is_anything_left_to_type() -> bool:
    return not system.is_systemd_running()


def to_type() -> str:
    """What starts the service where systemd does not run yet."""
    return " && ".join(shlex.join(command) for command in _START)


def settings_of(path: str) -> Settings:
    """
    :raises BadSetting: if there is such a file and it is bad.
    """
    file = system.at(path)
    return load(file, environment={})[0] if file.exists() else Settings()


def data_bytes() -> int | None:
    """What the history takes with all that lies beside it; None where there is nothing."""
    if not system.at(STATE).is_dir():
        return None
    return sum(file.lstat().st_size for file in system.at(STATE).rglob("*"))


def _refuse_foreign(is_foreign_account: bool) -> None:
    if is_foreign_account:
        text = f"the account {NAME} is there and was not made for this (its home is not {STATE}, or it has a shell)"
        raise CannotInstall(f"{text}: rename it, or write a unit of your own like config/tidemark.service")
    found = system.read(UNIT)
    if found is not None and not unit.is_made_here(found):
        text = f"{UNIT} was not made by `{place.COMMAND} install`, or was edited since"
        raise CannotInstall(f"{text}: `systemctl disable --now {NAME}`, move it away, and start this again")


def _who() -> reach.Who:
    account = system.account()
    if account is None:
        return reach.Who()
    return reach.Who(account.pw_uid, frozenset(os.getgrouplist(account.pw_name, account.pw_gid)))


def _unit_text() -> str:
    shipped = (place.CONFIG / "tidemark.service").read_text(encoding="utf-8")
    if place.CHECKOUT is None:
        program, readme, environment = Path(sys.prefix) / "bin" / "tidemark", None, None
    else:
        program, readme = place.CHECKOUT / "manage.py", place.CHECKOUT / "README.md"
        is_venv = Path(sys.prefix) == place.CHECKOUT / ".venv"
        # This Python has the packages now; without the switch manage.py might want to make a .venv.
        environment = f"TIDEMARK_STORAGE_PATH={_CHECKOUT_DATABASE}{'' if is_venv else ' TIDEMARK_NO_BOOTSTRAP=1'}"
    if not program.is_file():
        raise CannotInstall(f"there is no {program}: install Tidemark with pip or pipx, or from a checkout")
    command = (sys.executable, "-OO", str(program), "--config", SETTINGS, "run")
    return unit.make(shipped, command, readme, environment)


def _settings_text() -> str:
    """The settings of the checkout, if it has any; and where its history is, so that verbs find it by this file."""
    text = (place.CONFIG / "tidemark.toml").read_text(encoding="utf-8")
    if place.CHECKOUT is None:
        return text
    line = f'path = "{_CHECKOUT_DATABASE}"  # the unit says so, too'
    return re.sub(r"^(# )?path = .*$", line, text, count=1, flags=re.MULTILINE)


def _make_account() -> Step:
    shell = next((path for path in ("/usr/sbin/nologin", "/sbin/nologin") if system.at(path).exists()), "/bin/false")
    of_group = ("--gid", NAME) if system.group_members() is not None else ("--user-group",)
    rest = ("--home-dir", STATE, "--no-create-home", "--shell", shell, NAME)
    command = ("useradd", "--system", *of_group, *rest)
    who = ", ".join(system.group_members() or ())
    readers = f" (who is in its group may read the history: {who})" if who else ""
    return Step(f"account {NAME}: {shlex.join(command)}{readers}", "made", partial(system.run, *command))


def _file(path: str, is_needed: bool, is_there: bool, action: Callable[[], None]) -> Step:
    if not is_needed:
        return Step(path, "is there already")
    return Step(path, "replaced" if is_there else "made", action)


def _starting(is_new: bool) -> Iterator[Step]:
    if not system.is_systemd_running():
        return
    is_active = system.succeeds("systemctl", "is-active", "--quiet", NAME)
    is_enabled = is_active and system.succeeds("systemctl", "is-enabled", "--quiet", NAME)
    if is_enabled and not is_new:
        yield Step(f"service {NAME}", "is enabled and runs already")
        return
    for command in (*_START, *([("systemctl", "restart", NAME)] if is_active and is_new else [])):
        yield Step(shlex.join(command), "done", partial(system.run, *command))


def _stopping() -> Iterator[Step]:
    if system.read(UNIT) is None:
        yield Step(UNIT, "is not there")
        return
    if system.is_systemd_running():
        yield _command("systemctl", "disable", "--now", NAME)
    yield Step(UNIT, "removed", partial(system.remove, UNIT))
    if system.at(_WANTED).is_symlink():
        yield Step(_WANTED, "removed", partial(system.remove, _WANTED))
    if system.is_systemd_running():
        yield _command("systemctl", "daemon-reload")


def _removing_files() -> Iterator[Step]:
    settings = system.read(SETTINGS)
    if settings is None:
        yield Step(SETTINGS, "is not there")
    elif settings == _settings_text():
        yield Step(SETTINGS, "removed", partial(system.remove, SETTINGS))
    else:
        yield Step(SETTINGS, "stays, because it was changed")


def _removing_account(is_there: bool) -> Iterator[Step]:
    if not is_there:
        yield Step(f"account {NAME}", "is not there")
        return
    if system.at(STATE).is_dir():
        # The next account that is made may get the number of this one.
        yield _command("chown", "-R", "-h", "-P", "root:root", str(system.at(STATE)))
    yield _command("userdel", NAME)


def _command(*command: str) -> Step:
    return Step(shlex.join(command), "done", partial(system.run, *command))
