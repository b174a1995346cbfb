"""How full the host's file systems are. A thread asks them, because a dead mount keeps whoever asks it."""

import os
import stat
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import psutil

from service.host import mounted
from service.host.mounted import FileSystem, printable
from service.records import MountsListed, MountUsage

# Each is a row a minute. Where there are more, those with the least room left are kept.
MOST_FILE_SYSTEMS = 100
# A file system that does not answer at so many of its paths is not asked at the others: each costs a thread.
_STUCK_PATHS = 2
# Of a type or a device that is stored.
_MOST_LETTERS = 200

Keep = Callable[[Sequence[MountUsage]], None]
Ask = Callable[[str, int | None], MountUsage | None]


class MountWatch:
    """Asks every file system how full it is, each time by one thread.

    A path that does not answer keeps the thread that asked it, and is not asked again until it does; the others are
    asked by the next one. So there are at most two stuck threads for each dead file system.
    """

    def __init__(self, ask: Ask | None = None) -> None:
        """`ask`: gives the usage of the file system with this st_dev at a path; None where the path has none."""
        self._ask = ask or usage_at
        self._round: _Round | None = None
        self._stuck: dict[str, _Round] = {}
        self._left_out = 0
        self._listed: MountsListed | None = None

    def capture(self, keep: Keep) -> None:
        """Have all file systems asked. `keep` is given their usages by the thread; where that is stuck, those that it
        has by the next capture."""
        last = self._round
        if last is not None:
            if (path := last.abandon()) is not None:
                self._stuck[path] = last
            self._left_out = last.left_out
        self._stuck = {path: stuck for path, stuck in self._stuck.items() if stuck.thread.is_alive()}
        before = None if self._listed is None else self._listed.now
        self._listed = MountsListed(frozenset(map(printable, mounted.paths())), before, MOST_FILE_SYSTEMS)
        self._round = _Round(self._to_ask(), self._ask, keep)
        self._round.thread.start()

    @property
    def listed(self) -> MountsListed | None:
        """What was mounted at the capture whose usages are being kept; None before the first."""
        return self._listed

    def _to_ask(self) -> list[FileSystem]:
        """Without the paths that do not answer."""
        found = []
        for one in mounted.file_systems():
            paths = tuple(path for path in one.paths if path not in self._stuck)
            if paths and len(one.paths) - len(paths) < _STUCK_PATHS:
                found.append(replace(one, paths=paths))
        return found

    @property
    def stuck(self) -> list[str]:
        """The paths that do not answer."""
        return sorted(map(printable, self._stuck))

    @property
    def left_out(self) -> int:
        """How many were beyond MOST_FILE_SYSTEMS at the capture before the last."""
        return self._left_out


class _Round:
    """One time of asking all file systems."""

    def __init__(self, to_ask: Sequence[FileSystem], ask: Ask, keep: Keep) -> None:
        self._to_ask, self._ask, self._keep = to_ask, ask, keep
        self._found: list[MountUsage] = []
        self._asking: str | None = None
        self._is_over = False
        self._lock = threading.Lock()
        self.left_out = 0
        self.thread = threading.Thread(target=self._run, name="file systems", daemon=True)

    def abandon(self) -> str | None:
        """End it; the path that it is stuck at, None where it has ended by itself."""
        with self._lock:
            if self._is_over:
                return None
            self._finish()
            return self._asking

    def _run(self) -> None:
        for one in self._to_ask:
            usage = self._usage(one)
            with self._lock:
                if self._is_over:
                    return
                if usage is not None:
                    self._found.append(usage)
        with self._lock:
            if not self._is_over:
                self._finish()

    def _usage(self, one: FileSystem) -> MountUsage | None:
        """From the shortest path that has an answer; None where none has: no row, as for whatever is unknown."""
        for path in one.paths:
            if self._is_over:
                return None
            self._asking = path
            try:
                usage = self._ask(path, one.st_dev)
            except (OSError, ValueError, OverflowError):
                continue  # unmounted meanwhile, or denied
            if usage is not None:
                return replace(usage, fstype=_word(one.fstype), device=_word(one.source))
        return None

    def _finish(self) -> None:
        self._is_over = True
        kept = sorted(self._found, key=_free_share)[:MOST_FILE_SYSTEMS]
        self.left_out = len(self._found) - len(kept)
        if kept:
            self._keep(kept)


def _word(text: str | None) -> str | None:
    return printable(text)[:_MOST_LETTERS] if text else None


def _free_share(usage: MountUsage) -> float:
    """By df's rule: of what users may have."""
    return usage.available_bytes / max(1, usage.used_bytes + usage.available_bytes)


def usage_at(path: str, st_dev: int | None = None) -> MountUsage | None:
    """None for a single file that is mounted, for what holds nothing, and where the path leads to another file system
    than `st_dev`, because it was unmounted meanwhile or another is mounted above it."""
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode) or st_dev not in (None, found.st_dev):
        return None
    usage = psutil.disk_usage(path)
    if usage.total <= 0:
        return None
    return MountUsage(printable(path), usage.total, usage.used, usage.free, *_inodes(path))


def _inodes(path: str) -> tuple[int | None, int | None]:
    """How many there are, and how many of them are used."""
    if not hasattr(os, "statvfs"):
        return None, None
    found = os.statvfs(path)
    # 0: btrfs and others have no fixed number.
    return (found.f_files, found.f_files - found.f_ffree) if found.f_files > 0 else (None, None)
