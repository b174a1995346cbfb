"""What the fault tests share: a daemon with an outside log of what it acknowledged, file systems that can be harmed."""

import fcntl
import json
import os
import re
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service.config import ROOT
from tests.running import Running, until

# The figures that docs/reliability.md gives are of these many; `pytest -m slow` runs them.
KILLS = 200
POWER_CUTS = 50
DISK_FULL_SECONDS = 600

_ACK = re.compile(r" stored (\d+) samples, the last of (\d+)$", re.MULTILINE)


class Ack(NamedTuple):
    """What the daemon said after a COMMIT had returned."""

    samples: int
    last_ts: int


class Site:
    """One database, every daemon that runs over it, and their log, which lies outside of whatever is harmed."""

    def __init__(self, path: Path, log: Path) -> None:
        self.path, self.log = path, log
        self.daemons: list[Running] = []

    @property
    def daemon(self) -> Running:
        return self.daemons[-1]

    def start(self, *options: str, samples: int = 1, **environment: str) -> Running:
        """Start a daemon and wait for its first samples to be acknowledged."""
        before = self.stored()
        self.daemons.append(Running(self.path, self.log, "--log-level", "DEBUG", *options, **environment))
        assert self.daemon.process.poll() is None, self.told()[-500:]
        if samples:
            until(lambda: self.stored() >= before + samples)
        return self.daemon

    def kill(self) -> None:
        self.daemon.process.kill()
        self.daemon.process.wait()

    def cut_power(self, disk: "Disk") -> None:
        """And come back. What was acknowledged while the ioctl was at work does not count: of a write that is under way
        as it begins, ext4 says that it is safe, and drops it (seen without Tidemark too: 1.7 ms after its begin)."""
        size = self.log.stat().st_size
        disk.cut_power()
        self.kill()
        os.truncate(self.log, size)
        disk.unmount()
        disk.mount()

    def stop(self) -> int:
        return self.daemon.stop()

    def told(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def acked(self) -> list[Ack]:
        return acked(self.log)

    def stored(self) -> int:
        """How many samples were acknowledged so far."""
        return sum(ack.samples for ack in self.acked())

    def wait_for(self, more: int, seconds: float = 60) -> None:
        """Until that many more samples are acknowledged."""
        wanted = self.stored() + more
        until(lambda: self.stored() >= wanted, seconds)

    def health(self) -> dict[str, Any]:
        """/healthz, whatever its status."""
        return ask(self.daemon, "/healthz")[1]

    def standard_check(self, *also: Path) -> None:
        standard_check(self.path, self.acked(), self.daemon, also)

    def end(self) -> None:
        for daemon in self.daemons:
            daemon.process.kill()
            daemon.process.wait()
            assert daemon.process.stdout is not None
            daemon.process.stdout.close()


def acked(log: Path) -> list[Ack]:
    text = log.read_text(errors="replace") if log.exists() else ""
    return [Ack(int(samples), int(ts)) for samples, ts in _ACK.findall(text)]


def missing(paths: Iterable[Path], acks: list[Ack]) -> list[Ack]:
    """The acknowledgements of which the databases together lack something."""
    rows: Counter[int] = Counter()
    for path in paths:
        with reader(path) as connection:
            rows.update(ts for (ts,) in connection.execute("SELECT ts FROM sample"))
    lost = []
    wanted = Counter(ack.last_ts for ack in acks)
    before = 0
    for ack in acks:
        held = sum(number for ts, number in rows.items() if before < ts <= ack.last_ts) if ack.samples > 1 else 1
        if rows[ack.last_ts] < wanted[ack.last_ts] or held < ack.samples:
            lost.append(ack)
        before = ack.last_ts
    return lost


def standard_check(path: Path, acks: list[Ack], daemon: Running | None = None, also: Iterable[Path] = ()) -> None:
    """After any fault: the file is sound, nothing acknowledged is missing, the endpoint answers, `check` is content.

    `also`: databases that were set aside, in which acknowledged samples may lie as well.
    """
    assert problems(path) == []
    assert missing([path, *also], acks) == []
    if daemon is not None:
        status, answer = ask(daemon, "/api/process/resource-usage")
        assert (status, answer["success"]) == (200, True)
    done = verb(path, "check")
    assert done.returncode == 0, done.stdout


def problems(path: Path) -> list[str]:
    with reader(path) as connection:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
        found += [f"foreign key: {row}" for row in connection.execute("PRAGMA foreign_key_check")]
        found += [
            f"a stamp twice in one run: {row}"
            for row in connection.execute(
                "SELECT ts, run_id FROM sample JOIN stretch USING (stretch_id) GROUP BY ts, run_id HAVING count(*) > 1"
            )
        ]
    return [line for line in found if line != "ok"]


@contextmanager
def reader(path: Path) -> Iterator[sqlite3.Connection]:
    """As any other program would look; one that may write where a power cut has left a journal to be rolled back."""
    mode = "rw" if Path(f"{path}-journal").exists() else "ro"
    connection = sqlite3.connect(f"file:{path}?mode={mode}", uri=True)
    try:
        yield connection
    finally:
        connection.close()


def verb(path: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    clean = {key: value for key, value in os.environ.items() if not key.startswith("TIDEMARK_")}
    return subprocess.run(
        [sys.executable, "manage.py", "--database", path, *arguments],
        cwd=ROOT, env={**clean, "TIDEMARK_NO_BOOTSTRAP": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def ask(daemon: Running, path: str, timeout: float = 20) -> tuple[int, dict[str, Any]]:
    """Status and JSON of an answer, also of an error."""
    import urllib.error
    import urllib.request

    try:
        with urllib.request.urlopen(daemon.url + path, timeout=timeout) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def near_a_tick(random_seconds: float) -> None:
    """Sleep to a few ms after the next whole second, which is when a daemon at 1 s stores."""
    time.sleep(1.0 - time.time() % 1.0 + random_seconds)


# -- disks


def run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"


class Disk:
    """A file system of its own, mounted on a folder: ext4 in a file, whose power can be cut; or memory of a size."""

    def __init__(self, folder: Path, kind: str = "ext4", megabytes: float = 400) -> None:
        """Skips the test where this machine mounts nothing."""
        self.folder, self.kind, self._image = folder, kind, folder.with_suffix(".img")
        folder.mkdir()
        self._kilobytes = round(megabytes * 1024)
        if kind == "ext4":
            if shutil.which("mkfs.ext4") is None:
                pytest.skip("needs mkfs.ext4 (e2fsprogs)")
            self._image.touch()
            os.truncate(self._image, self._kilobytes * 1024)
            run("mkfs.ext4", "-q", "-F", self._image)
        try:
            self.mount()
        except AssertionError as error:
            pytest.skip(f"this machine mounts nothing: {error}")

    def mount(self) -> None:
        if self.kind == "ext4":
            run("mount", "-o", "loop,errors=remount-ro", self._image, self.folder)
        else:
            run("mount", "-t", "tmpfs", "-o", f"size={self._kilobytes}k", "tmpfs", self.folder)

    def unmount(self) -> None:
        """Once the last of its users, such as a child of a killed daemon, is gone."""

        def is_done() -> bool:
            return subprocess.run(["umount", self.folder], capture_output=True, check=False).returncode == 0

        if os.path.ismount(self.folder):
            until(is_done, 20)

    def cut_power(self) -> None:
        """What is not on the disk by now is gone (FS_IOC_SHUTDOWN with EXT4_GOING_FLAGS_NOLOGFLUSH)."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, 0x8004587D, struct.pack("I", 2))
        finally:
            os.close(descriptor)

    def resize(self, megabytes: float) -> None:
        """Of a tmpfs."""
        run("mount", "-o", f"remount,size={round(megabytes * 1024)}k", self.folder)

    def fill(self) -> None:
        """Take every byte that is free."""
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
    """System calls of the daemon and its children on these files fail as strace's inject says, e.g.
    `error=EIO:when=1+5`; well again afterwards."""
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


def quarantined(path: Path) -> list[Path]:
    """The databases that were set aside beside this one, oldest first."""
    return sorted(path.parent.glob(f"quarantine/*/{path.name}"), key=lambda file: file.parent.stat().st_mtime)


def overwrite(path: Path, offset: int, count: int) -> None:
    """Random bytes over a part of a file, as a sick disk or a stray program would."""
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(os.urandom(count))


needs_root = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts a file system, or harms one"),
]
