"""How full file systems are, and a mount that does not answer."""

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.host import mounted
from service.host.mounted import FileSystem
from service.host.mounts import MOST_FILE_SYSTEMS, MountWatch, usage_at
from service.records import MountsListed, MountUsage


def settle(seconds: float) -> None:
    """Wait, so long at most, until nobody asks file systems any more."""
    deadline = time.monotonic() + seconds
    for thread in threading.enumerate():
        if thread.name == "file systems":
            thread.join(max(0.0, deadline - time.monotonic()))


class Mounts:
    """File systems that answer, or hang until they are let go. The paths of one are joined by colons."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *paths: str) -> None:
        found = [FileSystem(number, tuple(same.split(":"))) for number, same in enumerate(paths)]
        monkeypatch.setattr(mounted, "file_systems", lambda: found)
        monkeypatch.setattr(mounted, "paths", lambda: iter([path for one in found for path in one.paths]))
        self.dead: dict[str, threading.Event] = {}
        self.without: set[str] = set()
        self.used: dict[str, int] = {}
        self.asked: list[str] = []
        self.found: list[str] = []
        self.watch = MountWatch(self._ask)

    def _ask(self, path: str, st_dev: int | None) -> MountUsage | None:
        self.asked.append(path)
        if path in self.dead:
            assert self.dead[path].wait(20)
        if path == "/denied":
            raise PermissionError
        used = self.used.get(path, 40)
        return None if path in self.without else MountUsage(path, 100, used, 95 - used)

    def _take(self, usages: Sequence[MountUsage]) -> None:
        self.found += [usage.path for usage in usages]

    def capture(self) -> None:
        """Capture, and wait until all that can answer has."""
        self.watch.capture(self._take)
        settle(0.2 if self.dead else 10)


def test_the_root_has_the_sizes_that_the_kernel_gives() -> None:
    found: list[MountUsage] = []
    watch = MountWatch()
    watch.capture(found.extend)
    settle(20)
    (root,) = [usage for usage in found if usage.path == "/"]
    kernel = os.statvfs("/")
    assert root.total_bytes == kernel.f_blocks * kernel.f_frsize
    assert root.used_bytes + root.available_bytes <= root.total_bytes


def test_a_dead_mount_is_left_out_and_the_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Mounts(monkeypatch, "/a", "/dead", "/z")
    host.dead["/dead"] = threading.Event()
    host.capture()
    assert host.found == []  # its thread is stuck
    host.capture()
    assert (host.found, host.watch.stuck) == (["/a", "/a", "/z"], ["/dead"])
    host.capture()
    assert host.found[3:] == ["/a", "/z"]
    assert host.asked.count("/dead") == 1
    host.dead.pop("/dead").set()


def test_a_mount_that_answers_again_is_captured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Mounts(monkeypatch, "/dead")
    gate = host.dead["/dead"] = threading.Event()
    host.capture()
    host.capture()
    gate.set()
    settle(10)
    del host.dead["/dead"]
    assert host.found == []
    host.capture()
    assert (host.found, host.watch.stuck) == (["/dead"], [])


def test_dead_mounts_keep_one_thread_each_however_long_they_are_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Mounts(monkeypatch, "/dead", "/dead too")
    gate = threading.Event()
    host.dead |= {"/dead": gate, "/dead too": gate}
    for _ in range(6):
        host.capture()
    assert len([thread for thread in threading.enumerate() if thread.name == "file systems"]) == 2
    gate.set()


def test_a_mount_that_is_gone_or_denied_has_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Mounts(monkeypatch, "/denied", "/")
    host.capture()
    assert host.found == ["/"]


def test_where_a_path_has_no_answer_the_next_one_of_its_file_system_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Mounts(monkeypatch, "/file:/denied:/srv:/srv/too", "/z")
    host.without.add("/file")
    host.capture()
    assert (host.found, host.asked) == (["/srv", "/z"], ["/file", "/denied", "/srv", "/z"])


def test_where_a_path_is_dead_the_next_one_is_asked_and_two_threads_wait_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = Mounts(monkeypatch, "/dead/a:/b", "/dead/1:/dead/2:/dead/3")
    gate = threading.Event()
    host.dead |= dict.fromkeys(("/dead/a", "/dead/1", "/dead/2", "/dead/3"), gate)
    for _ in range(5):
        host.capture()
    assert "/b" in host.found
    assert host.watch.stuck == ["/dead/1", "/dead/2", "/dead/a"]
    gate.set()


def test_of_very_many_the_fullest_are_kept_and_the_others_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [f"/{number}" for number in range(MOST_FILE_SYSTEMS + 7)]
    host = Mounts(monkeypatch, *paths)
    host.used[paths[-1]] = 90
    host.capture()
    host.capture()
    assert host.found[:2] == [paths[-1], paths[0]]
    assert len(host.found) == 2 * MOST_FILE_SYSTEMS
    assert host.watch.left_out == 7


def test_a_mounted_file_has_no_usage(tmp_path: Path) -> None:
    (tmp_path / "hosts").touch()
    assert usage_at(str(tmp_path)) is not None
    assert usage_at(str(tmp_path / "hosts")) is None


def test_a_path_that_leads_to_another_file_system_has_no_usage(tmp_path: Path) -> None:
    device = os.stat(tmp_path).st_dev
    assert usage_at(str(tmp_path), device) is not None
    assert usage_at(str(tmp_path), device + 1) is None


def test_a_path_is_recorded_to_the_byte(tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    os.mkdir(odd)
    usage = usage_at(odd)
    assert usage is not None
    assert usage.path.endswith(r"/\xff")


def test_what_is_mounted_is_listed_with_what_was_at_the_capture_before(monkeypatch: pytest.MonkeyPatch) -> None:
    host = Mounts(monkeypatch, "/", "/dead")
    assert host.watch.listed is None
    host.dead["/dead"] = threading.Event()
    host.capture()
    assert host.watch.listed == MountsListed(frozenset({"/", "/dead"}), None, MOST_FILE_SYSTEMS)
    # Also what cannot fill up.
    monkeypatch.setattr(mounted, "paths", lambda: iter(["/", "/proc", os.fsdecode(b"/a\xff")]))
    host.capture()
    host.dead["/dead"].set()
    assert host.watch.listed == MountsListed(
        frozenset({"/", "/proc", "/a\\xff"}), frozenset({"/", "/dead"}), MOST_FILE_SYSTEMS
    )
