"""How full file systems are, and a mount that does not answer."""

import os
import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from service.host import mounts
from service.host.mounts import MountWatch, device_types, is_real
from service.records import MountUsage


def settle(seconds: float) -> None:
    """Wait, so long at most, until nobody asks file systems any more."""
    deadline = time.monotonic() + seconds
    for thread in threading.enumerate():
        if thread.name == "file systems":
            thread.join(max(0.0, deadline - time.monotonic()))


class Mounts:
    """Mounts that answer, or hang until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *paths: str) -> None:
        monkeypatch.setattr(mounts, "mounted_paths", lambda: list(paths))
        self.dead: dict[str, threading.Event] = {}
        self.asked: list[str] = []
        self.found: list[str] = []
        self.watch = MountWatch(self._ask)

    def _ask(self, path: str) -> MountUsage | None:
        self.asked.append(path)
        if path in self.dead:
            assert self.dead[path].wait(20)
        return MountUsage(path, 100, 40, 55)

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


def test_what_lives_in_memory_or_is_an_image_is_no_real_file_system() -> None:
    types = device_types()
    assert [is_real(fstype, types) for fstype in ("proc", "tmpfs", "squashfs", "overlay")] == [False] * 4
    assert is_real("nfs4", types)


def test_a_file_system_that_is_mounted_twice_is_listed_once_by_its_shortest_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    partitions = [
        SimpleNamespace(device=device, mountpoint=path, fstype="ext4")
        for device, path in (("/dev/a", "/srv/inside/it"), ("/dev/a", "/srv"), ("/dev/a", "/srv/too"), ("/dev/b", "/"))
    ]
    monkeypatch.setattr(mounts, "device_types", lambda: {"ext4"})
    monkeypatch.setattr(mounts.psutil, "disk_partitions", lambda all: partitions if all else [])
    assert mounts.mounted_paths() == ["/", "/srv"]


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
    monkeypatch.setattr(mounts, "mounted_paths", lambda: ["/gone", "/"])
    found: list[MountUsage] = []

    def ask(path: str) -> MountUsage | None:
        if path == "/gone":
            raise PermissionError
        return mounts.usage_at(path)

    watch = MountWatch(ask)
    watch.capture(found.extend)
    settle(10)
    assert [usage.path for usage in found] == ["/"]


def test_a_path_that_is_no_text_is_shown_with_a_mark_where_it_is_none(
    tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    os.mkdir(odd)
    usage = mounts.usage_at(odd)
    assert usage is not None
    assert usage.path.endswith("/?")
