"""Where the program's own files lie, and where its data does: in a checkout below it, else in the account's folders."""

import os
from collections.abc import Mapping
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# The project's folder; None where pip installed the package alone: manage.py stands beside it in a checkout only.
CHECKOUT = _PACKAGE.parent if (_PACKAGE.parent / "manage.py").is_file() else None
# Where a Python of its own finds the package: the checkout, or site-packages.
IMPORTED_FROM = _PACKAGE.parent

# What people type before a verb.
PROGRAM = "tidemark" if CHECKOUT is None else "manage.py"
COMMAND = PROGRAM if CHECKOUT is None else f"python3 {PROGRAM}"
# What people read of `settings_file`.
SETTINGS_OF_ACCOUNTS = "/etc/tidemark/tidemark.toml (root) or ~/.config/tidemark/tidemark.toml"
SETTINGS = SETTINGS_OF_ACCOUNTS if CHECKOUT is None else "config/tidemark.toml"
_SHIPPED = CHECKOUT or _PACKAGE / "shipped"
MIGRATIONS = _SHIPPED / "migrations"
# The settings file with every default, and the unit of systemd.
CONFIG = _SHIPPED / "config"
# The page that explains the views, for those who ask from a program.
SQL_PAGE = _SHIPPED / "docs" / "sql.md"


def data_folder(environment: Mapping[str, str], is_root: bool) -> Path:
    """Where relative paths of the settings start: the checkout; else the folder that systemd gives the service, else
    /var/lib/tidemark for root and the account's own state folder (XDG Base Directory Specification) for others."""
    if CHECKOUT is not None:
        return CHECKOUT
    given = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if os.path.isabs(given):
        return Path(given)
    own = None if is_root else _of_account(environment, "XDG_STATE_HOME", ".local/state")
    return own or Path("/var/lib/tidemark")


def settings_file(environment: Mapping[str, str], is_root: bool) -> Path:
    """The file that is read where none is named; it may be missing."""
    if CHECKOUT is not None:
        return CHECKOUT / "config" / "tidemark.toml"
    is_service = os.path.isabs(environment.get("STATE_DIRECTORY", ""))
    own = None if is_root or is_service else _of_account(environment, "XDG_CONFIG_HOME", ".config")
    return (own or Path("/etc/tidemark")) / "tidemark.toml"


def _of_account(environment: Mapping[str, str], variable: str, default: str) -> Path | None:
    """The account's own folder; None where it has no home. The specification has relative paths ignored."""
    given, home = environment.get(variable, ""), os.path.expanduser("~")
    folder = given if os.path.isabs(given) else os.path.join(home, default)
    return Path(folder) / "tidemark" if os.path.isabs(folder) else None
