"""Disks for the fault tests: file systems that fill up, lose power, freeze and fail."""

import fcntl
import os
import shutil
import signal
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.running import Running, until


def run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"


# The Debian package that makes them, the option that does so without a question, how they are mounted.
_OF_DISKS = {
    "ext4": ("e2fsprogs", "-F", "loop,errors=remount-ro"),
    "xfs": ("xfsprogs", "-f", "loop"),
    "btrfs": ("btrfs-progs", "-f", "loop"),
}


class Disk:
    """A file system mounted on a folder: ext4 in a file, whose power can be cut, another one, or a tmpfs of a size."""

    def __init__(self, folder: Path, kind: str = "ext4", megabytes: float = 400) -> None:
        """Skips the test where this machine cannot mount."""
        self.folder, self.kind, self._image = folder, kind, folder.with_suffix(".img")
        folder.mkdir()
        self._kilobytes = round(megabytes * 1024)
        if kind in _OF_DISKS:
            package, force, _ = _OF_DISKS[kind]
            if shutil.which(f"mkfs.{kind}") is None:
                pytest.skip(f"needs mkfs.{kind} ({package})")
            self._image.touch()
            os.truncate(self._image, self._kilobytes * 1024)
            run(f"mkfs.{kind}", "-q", force, self._image)
        try:
            self.mount()
        except AssertionError as error:
            pytest.skip(f"this machine cannot mount: {error}")

    def mount(self) -> None:
        if self.kind in _OF_DISKS:
            run("mount", "-o", _OF_DISKS[self.kind][2], self._image, self.folder)
        else:
            run("mount", "-t", "tmpfs", "-o", f"size={self._kilobytes}k", "tmpfs", self.folder)

    def unmount(self) -> None:
        """Waits until its last user, such as a child of a killed daemon, is gone."""

        def is_done() -> bool:
            return subprocess.run(["umount", self.folder], capture_output=True, check=False).returncode == 0

        if os.path.ismount(self.folder):
            until(is_done, 20)

    def cut_power(self) -> None:
        """Lose what is not on the disk yet (FS_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH)."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, 0x8004587D, struct.pack("I", 2))
        finally:
            os.close(descriptor)

    def resize(self, megabytes: float) -> None:
        """Of a tmpfs."""
        run("mount", "-o", f"remount,size={round(megabytes * 1024)}k", self.folder)

    def fill(self) -> None:
        """Take every free byte."""
        with open(self.folder / "filler", "ab", buffering=0) as file:
            for size in (2**20, 4096, 512, 1):
                try:
                    while file.write(b"x" * size) == size:
                        pass
                except OSError:
                    continue

    def empty(self) -> None:
        (self.folder / "filler").unlink()

    def freeze(self) -> None:
        run("fsfreeze", "-f", self.folder)

    def thaw(self) -> None:
        subprocess.run(["fsfreeze", "-u", self.folder], capture_output=True, check=False)

    def device(self) -> str:
        found = subprocess.run(
            ["findmnt", "-n", "-o", "SOURCE", self.folder], capture_output=True, text=True, check=True
        )
        return found.stdout.strip()

    def remove(self) -> None:
        """Whatever state it is in."""
        if not os.path.ismount(self.folder):
            return
        self.thaw()
        for options in ([], ["-l"]):
            if subprocess.run(["umount", *options, self.folder], capture_output=True, check=False).returncode == 0:
                return


@contextmanager
def failing(daemon: Running, call: str, how: str, *paths: Path) -> Iterator[None]:
    """Until the block ends, system calls of the daemon and its children on these files fail as strace's inject says,
    e.g. `error=EIO:when=1+5`."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace, which makes system calls fail")
    tracer = subprocess.Popen(
        ["strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{how}",
         *(part for path in paths for part in ("-P", str(path))), "-p", str(daemon.process.pid)],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert tracer.stderr is not None
    first = tracer.stderr.readline()
    if "attached" not in first:
        tracer.wait()
        tracer.stderr.close()
        pytest.skip(f"strace may not attach here: {first.strip()}")
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
        tracer.stderr.close()


def overwrite(path: Path, offset: int, count: int) -> None:
    """Write random bytes over a part of a file, as a sick disk or a stray program would."""
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(os.urandom(count))
