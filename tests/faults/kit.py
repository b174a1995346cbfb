"""What the fault tests share: daemons with a log of what they acknowledged, verbs, questions, old histories."""

import itertools
import json
import os
import re
import shutil
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service.place import CHECKOUT as ROOT
from service.store import database
from service.store.writer import Store
from tests.conftest import NOW
from tests.faults.kit_disk import Disk
from tests.running import Running, command, environment, until

# How often docs/reliability.md says that each was done; `pytest -m slow` does it.
KILLS = 200
POWER_CUTS = 50
DISK_FULL_SECONDS = 600

USAGE = "/api/process/resource-usage"
_ACK = re.compile(r" stored (\d+) samples, the last of (\d+)$", re.MULTILINE)


def rarely(*cases: Any) -> list[Any]:
    """Further cases of a kind, of which others run each time: with `pytest -m slow`."""
    return [pytest.param(case, marks=pytest.mark.slow) for case in cases]


class Ack(NamedTuple):
    """What the daemon logs once a COMMIT has returned."""

    samples: int
    last_ts: int


class Site:
    """One database, the daemons that run over it one after the other, and their log, which is out of harm's way."""

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
        assert self.daemon.process.poll() is None, self.logged()[-500:]
        if samples:
            until(lambda: self.stored() >= before + samples)
        return self.daemon

    def kill(self) -> None:
        self.daemon.kill()

    def cut_power(self, disk: Disk) -> None:
        """Cut the power and mount the disk again. What was acknowledged during the ioctl does not count: ext4 reports a
        write that is under way as safe and then drops it (seen without Tidemark too, 1.7 ms after its begin)."""
        size = self.log.stat().st_size
        disk.cut_power()
        self.kill()
        os.truncate(self.log, size)
        disk.unmount()
        disk.mount()

    def stop(self) -> int:
        return self.daemon.stop()

    def logged(self) -> str:
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
        return health(self.daemon)

    def holds_all(self) -> None:
        """The file is sound and has every sample that was acknowledged."""
        assert problems(self.path) == []
        assert missing([self.path], self.acked()) == []

    def standard_check(self, *also: Path) -> None:
        standard_check(self.path, self.acked(), self.daemon, also)

    def end(self) -> None:
        for daemon in self.daemons:
            daemon.end()


def acked(log: Path) -> list[Ack]:
    text = log.read_text(errors="replace") if log.exists() else ""
    return [Ack(int(samples), int(ts)) for samples, ts in _ACK.findall(text)]


def missing(paths: Iterable[Path], acks: list[Ack]) -> list[Ack]:
    """The acknowledgements of samples that the databases together do not hold."""
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
    """After any fault: the file is sound, nothing acknowledged is missing, the endpoint answers, `check` is fine.

    `also`: databases that were set aside, in which acknowledged samples may lie as well.
    """
    assert problems(path) == []
    assert missing([path, *also], acks) == []
    if daemon is not None:
        status, answer = ask(daemon, USAGE)
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
    """A connection as any other program has it; one that may write if a power cut has left a journal to roll back."""
    mode = "rw" if Path(f"{path}-journal").exists() else "ro"
    connection = sqlite3.connect(f"file:{path}?mode={mode}", uri=True)
    try:
        yield connection
    finally:
        connection.close()


def gaps(path: Path) -> list[tuple[int, int]]:
    """Neighbouring stamps more than two intervals apart."""
    with reader(path) as connection:
        stamps = [ts for (ts,) in connection.execute("SELECT ts FROM sample ORDER BY ts")]
    return [(a, b) for a, b in itertools.pairwise(stamps) if b - a > 2]


def verb(
    path: Path, *arguments: str, under: Sequence[str] = (), **variables: str
) -> "subprocess.CompletedProcess[str]":
    """Run a verb over a database to its end. `under`: the program that runs it, such as strace."""
    return subprocess.run(
        [*under, *command(path, *arguments)],
        cwd=ROOT, env=environment(**variables), capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def begin(path: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """Start a verb over a database, and do not wait for it."""
    return subprocess.Popen(
        command(path, *arguments),
        cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def answer(daemon: Running, path: str, headers: dict[str, str] | None = None, timeout: float = 20) -> tuple[int, str]:
    """Status and text of an answer, also of an error."""
    try:
        request = urllib.request.Request(daemon.url + path, headers=headers or {})
        with urllib.request.urlopen(request, timeout=timeout) as got:
            return got.status, got.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def ask(daemon: Running, path: str, timeout: float = 20) -> tuple[int, dict[str, Any]]:
    """Status and JSON of an answer, also of an error."""
    status, text = answer(daemon, path, timeout=timeout)
    return status, json.loads(text)


def health(daemon: Running) -> dict[str, Any]:
    """/healthz, whatever its status."""
    return ask(daemon, "/healthz")[1]


def near_a_tick(random_seconds: float) -> None:
    """Sleep to a few ms after the next whole second, which is when a daemon at 1 s stores."""
    time.sleep(1.0 - time.time() % 1.0 + random_seconds)


# -- histories


def old_history(path: Path, new_database: Path, days: int) -> None:
    """Samples each 5 s, a third of them older than retention keeps, none rolled up yet; with gaps."""
    path.parent.mkdir(parents=True)
    shutil.copy(new_database, path)
    store = Store(path)
    store.open()
    store.begin_run(NOW, None, "boot", "0.1.0", 5)
    store.close()
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO stretch VALUES (1, 1, ?, NULL, NULL)", (NOW - 5,))
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ? - 1) "
        "INSERT INTO stretch SELECT i + 1, 1, ?2 + 3600 * i - 5, ?2 + 3600 * i - 605, 'overload' FROM n",
        (days * 24, NOW),
    )
    connection.execute(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < ? - 1) "
        "INSERT INTO sample (ts, stretch_id, covered_ms, cpu_percent_e2, network_sent_bytes) "
        "SELECT ? + 5 * i, 1 + i / 720, 5000, i % 10000, i * 1000 FROM n WHERE i % 720 < 600",
        (days * 17280, NOW),
    )
    connection.commit()
    connection.close()
    # SQLite does not sync the folder after a rollback journal is gone, so that a power cut would bring it back.
    os.sync()
    assert database.is_current(path)


def minutes_of(path: Path) -> tuple[int, int]:
    """How many samples are in the minutes or not yet rolled up into one, and their covered milliseconds."""
    with reader(path) as connection:
        counted = connection.execute(
            "SELECT SUM(samples), SUM(covered_ms) FROM (SELECT samples, covered_ms FROM minute UNION ALL "
            "SELECT 1, covered_ms FROM sample WHERE ts >= (SELECT minutes_until FROM progress))"
        ).fetchone()
    return counted[0], counted[1]


def quarantined(path: Path) -> list[Path]:
    """The databases in the quarantine beside this one, oldest first."""
    return sorted(path.parent.glob(f"quarantine/*/{path.name}"), key=lambda file: file.parent.stat().st_mtime)


needs_root = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: mounts, damages a file system or changes account"),
]
