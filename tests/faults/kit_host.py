"""What the tests of time, host, lifecycle and web share: a daemon whose code, /proc or mounts a test can spoil."""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.metrics import METRICS
from service.place import CHECKOUT as ROOT
from tests.faults.kit import verb
from tests.running import Running, query

NAMES = {metric.name for metric in METRICS}
# What may be null on a healthy host too, and what the kernel also says without a file (sysinfo(2) of swap).
OPTIONAL = {"swap_percent", "cpu_limit_percent", "memory_limit_percent", "swap_total_bytes", "swap_free_bytes"}


def is_well(daemon: Running) -> None:
    """After any fault: samples go on, the file is sound, the endpoint answers, `check` finds no fault."""
    daemon.wait_for_samples(2)
    assert query(daemon.path, "PRAGMA integrity_check") == [("ok",)]
    assert daemon.get("/api/process/resource-usage")["success"] is True
    checked = verb(daemon.path, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def newest(daemon: Running) -> dict[str, float | None]:
    """The last stored sample."""
    names = sorted(NAMES)
    row = query(daemon.path, f"SELECT {', '.join(names)} FROM samples ORDER BY ts DESC LIMIT 1")[0]
    return dict(zip(names, row, strict=True))


def longest_covered(daemon: Running) -> float:
    return float(query(daemon.path, "SELECT max(covered_seconds) FROM samples")[0][0])


def resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"{pid} has gone")


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def is_dead(pid: int) -> bool:
    """Gone, or waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def spoilt(folder: Path, code: str) -> dict[str, str]:
    """The environment of a Python program that first runs `code`, which may import the project."""
    place = folder / "site"
    place.mkdir(exist_ok=True)
    (place / "sitecustomize.py").write_text(code)
    return {"PYTHONPATH": f"{place}{os.pathsep}{ROOT}"}


class FakeProc:
    """A /proc for psutil in a program of ours: links to the real one, in which files can be replaced."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "proc"
        (self._folder / "net").mkdir(parents=True)
        for name in os.listdir("/proc"):
            if name != "net":
                (self._folder / name).symlink_to(f"/proc/{name}")
        for name in os.listdir("/proc/self/net"):
            (self._folder / "net" / name).symlink_to(f"/proc/self/net/{name}")
        self.environment = spoilt(folder, f"import psutil\npsutil.PROCFS_PATH = {str(self._folder)!r}\n")

    def replace(self, name: str, content: str | bytes | None) -> None:
        """In one step. None: the file is missing."""
        if content is None:
            (self._folder / name).unlink()
            return
        new = self._folder / "new"
        new.write_bytes(content.encode() if isinstance(content, str) else content)
        new.replace(self._folder / name)

    def heal(self, name: str) -> None:
        new = self._folder / "new"
        new.symlink_to(f"/proc/{name.replace('net/', 'self/net/')}")
        new.replace(self._folder / name)


@contextmanager
def dead_mount(folder: Path) -> Iterator[None]:
    """Mounts a file system that never answers on `folder`: FUSE without a server."""
    try:
        device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        pytest.skip(f"needs /dev/fuse: {error.strerror}")
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"dead", str(folder).encode(), b"fuse", 0, options) != 0:
        os.close(device)
        pytest.skip(f"cannot mount FUSE here: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        os.close(device)
        until_unmounted(folder)


def until_unmounted(folder: Path) -> None:
    for _ in range(100):
        if subprocess.run(["umount", folder], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.05)
    subprocess.run(["umount", "-l", folder], capture_output=True, check=False)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


class Systemd:
    """The socket on which systemd hears a service."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "notify")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.path)
        self._socket.settimeout(0.05)
        self.environment = {"NOTIFY_SOCKET": self.path}
        self.heard: list[str] = []

    def hear(self) -> list[str]:
        """Everything received so far."""
        while True:
            try:
                self.heard.append(self._socket.recv(4096).decode())
            except TimeoutError:
                return self.heard

    def fill(self) -> None:
        """Send until the socket takes no more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            try:
                while True:
                    sender.sendto(b"x", socket.MSG_DONTWAIT, self.path)
            except BlockingIOError:
                pass

    def close(self) -> None:
        self._socket.close()


def raw(daemon: Running, sent: bytes, seconds: float = 20) -> bytes:
    """What comes back for these bytes, until the daemon closes or falls silent for a second after its answer."""
    host, port = address(daemon)
    with socket.create_connection((host, port), timeout=seconds) as client:
        client.sendall(sent)
        got = b""
        try:
            while piece := client.recv(65536):
                got += piece
                client.settimeout(1)
        except (TimeoutError, ConnectionError):
            pass
    return got


def address(daemon: Running) -> tuple[str, int]:
    host, port = daemon.url.removeprefix("http://").rsplit(":", 1)
    return host.strip("[]"), int(port)


def tool(name: str) -> str:
    """The path of a program, or the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found
