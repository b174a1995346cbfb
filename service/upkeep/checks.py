"""What `check` verifies: the database file, its schema and integrity, the disk, and that this host can be read."""

import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from service import clock
from service.clock import Clock
from service.config import Settings
from service.errors import TidemarkError
from service.host.devices import MOST_DEVICES, DevicesRead, DeviceWatch
from service.host.read import Host
from service.host.services import hierarchy, uncounted
from service.place import COMMAND
from service.store import database
from service.store.reader import History, View

# Fixed in 3.51.3, and in 3.50.7 and 3.44.6 of the older lines (sqlite.org/wal.html, "the WAL-reset bug").
_WAL_RESET_FIXED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))


@dataclass(frozen=True, slots=True)
class Check:
    """One thing checked and how it is: `note` is worth knowing, `bad` has to be put right."""

    level: Literal["ok", "note", "bad"]
    what: str
    detail: str


def examine(settings: Settings, clock_: Clock) -> list[Check]:
    """Everything that can be checked from outside the daemon, whether it is up or down."""
    return [*_database(settings, clock_), *_host(settings), _sqlite()]


def _database(settings: Settings, clock_: Clock) -> Iterator[Check]:
    path = settings.database
    try:
        revision = database.revision(path)
        if revision is None:
            yield Check("bad", "database", f"no history at {path} yet; `{COMMAND} run` starts one")
            return
        behind = revision != database.revisions()[-1]
        yield Check(
            "note" if behind else "ok", "schema", f"{revision}{'; `migrate` brings it up to date' if behind else ''}"
        )
        with History(path).view(seconds=3600) as view:
            problems = view.problems()
            yield Check("bad", "integrity", "; ".join(problems)) if problems else Check("ok", "integrity", "sound")
            yield from _content(view, clock_)
    except TidemarkError as error:
        # SQLAlchemy adds the statement and a link to its text; `orig` has SQLite's own.
        cause = getattr(error.__cause__, "orig", error.__cause__)
        yield Check("bad", "database", f"{error}{f' ({cause})' if cause else ''}")


def _content(view: View, clock_: Clock) -> Iterator[Check]:
    newest, oldest = view.newest(), view.oldest()
    if newest is None or oldest is None:
        yield Check("note", "history", "no sample yet")
        return
    now = clock_.now().wall
    yield Check("ok", "history", f"{clock.rfc3339(oldest)} to {clock.rfc3339(newest.ts)}")
    if newest.ts > now + clock.MINUTE:
        yield Check(
            "bad", "clock", f"the newest sample lies {newest.ts - now:,.0f} s in the future: check the host's clock"
        )
    progress = view.progress()
    if progress.hours_until > progress.minutes_until:
        yield Check("bad", "rollups", "hours are rolled up further than the minutes they are made of")


def _host(settings: Settings) -> Iterator[Check]:
    reading = Host(settings.disk_path).read()
    for name, error in reading.errors.items():
        yield Check("bad", "host", f"cannot read {name}: {type(error).__name__}: {error}")
    if not reading.errors:
        yield Check("ok", "host", "every source can be read")
    yield services()
    yield devices(DeviceWatch(Clock()))
    folder = settings.database.parent
    if folder.exists():
        disk = os.statvfs(folder)
        free = disk.f_bavail * disk.f_frsize
        level: Literal["ok", "bad"] = "bad" if free < 100 * 10**6 else "ok"
        yield Check(level, "disk", f"{free / 10**6:,.0f} MB free in {folder}")


def services(root: str = "/sys/fs/cgroup") -> Check:
    """What can be recorded of services and containers: only cgroups of version 2 are read."""
    kind = hierarchy(root)
    if kind in ("none", "v1"):
        found = "only cgroups of version 1" if kind == "v1" else "no cgroups"
        return Check("note", "services", f"{found}, so that usage is known by process name and not by service")
    missing = uncounted(root)
    found = "cgroup v2" if kind == "v2" else "cgroup v2 beside v1"
    lacks = f", but not {' and '.join(missing)}" if missing else ""
    return Check("note" if missing else "ok", "services", f"{found} counts what services and containers use{lacks}")


class Watch(Protocol):
    """The host's devices at one moment."""

    def read(self) -> DevicesRead: ...


def devices(watch: Watch) -> Check:
    """Which devices are recorded by themselves, and how many are left out."""
    read = watch.read()
    if read.errors:
        failed = "; ".join(f"{kind}: {type(error).__name__}: {error}" for kind, error in read.errors.items())
        return Check("bad", "devices", f"cannot read {failed}")
    counts = " and ".join(f"{len(found):,} of kind {kind}" for kind, (_, found) in read.devices.items())
    left_out = [f"{count:,} of kind {kind}" for kind, count in read.left_out.items() if count]
    if not left_out:
        return Check("ok", "devices", f"{counts} are recorded")
    beyond = f"{' and '.join(left_out)} are left out, beyond the first {MOST_DEVICES}"
    return Check("note", "devices", f"{counts} are recorded; {beyond}")


def _sqlite() -> Check:
    version = sqlite3.sqlite_version_info
    fixed = version >= _WAL_RESET_FIXED[0] or any(
        version[:2] == known[:2] and version >= known for known in _WAL_RESET_FIXED[1:]
    )
    if fixed:
        return Check("ok", "SQLite", sqlite3.sqlite_version)
    warning = "has the WAL-reset bug: let nothing but Tidemark write to this file"
    return Check("note", "SQLite", f"{sqlite3.sqlite_version} {warning}")
