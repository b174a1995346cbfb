"""Files as sadf writes them and as sadc does, and the verb that imports them."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from service import cli
from service.clock import rfc3339
from tests.running import query

HOST = "the-host"
# A figure of every kind, as sadf 12.6.1 writes them on a host with 8 GB.
FIGURES: Mapping[str, Any] = {
    "cpu-load": [{"cpu": "all", "usr": 20.0, "sys": 5.0, "iowait": 10.0, "steal": 0.0, "idle": 65.0}],
    "memory": {
        "memfree": 1000000,
        "avail": 6000000,
        "memused": 2000000,
        "memused-percent": 25.0,
        "buffers": 500000,
        "cached": 4000000,
        "slab": 500000,
        "swpfree": 750,
        "swpused": 250,
    },
    "queue": {"runq-sz": 1, "plist-sz": 160, "ldavg-1": 1.5, "ldavg-5": 1.25, "ldavg-15": 0.75, "blocked": 0},
    "psi": {
        "psi-cpu": {"some_avg10": 99.0, "some_avg": 3.5},
        "psi-mem": {"some_avg10": 99.0, "some_avg": 2.5},
        "psi-io": {"some_avg10": 99.0, "some_avg": 1.5},
    },
    "network": {
        "net-dev": [{"iface": "lo", "rxkB": 1.0, "txkB": 1.0}, {"iface": "eth0", "rxkB": 3.0, "txkB": 2.0}],
    },
    "io": {"tps": 1.0, "io-reads": {"rtps": 1.0, "bread": 2.0}, "io-writes": {"wtps": 1.0, "bwrtn": 10.0}},
    "filesystems": [
        {"mountpoint": "/boot", "MBfsfree": 1, "MBfsused": 99, "%fsused": 99.0, "%ufsused": 99.0},
        {"mountpoint": "/", "MBfsfree": 750, "MBfsused": 250, "%fsused": 25.0, "%ufsused": 50.0},
    ],
}


class Done(NamedTuple):
    code: int
    out: str
    err: str


def stamp(ts: int, seconds: int | None = None, **more: Any) -> dict[str, Any]:
    date, time = rfc3339(ts).rstrip("Z").split("T")
    return {"date": date, "time": time, "utc": 1, **({} if seconds is None else {"interval": seconds}), **more}


Sar = Callable[..., Path]
ImportSar = Callable[..., Done]
Rows = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture
def sar(tmp_path: Path) -> Sar:
    """Writes what `sadf -j` would: `sar(ends, interval=600, boots=(), host=HOST, **figures)`.

    `ends`: where each record ends, or (end, seconds, figures)."""
    numbers = iter(range(1000))

    def write(
        ends: Iterable[Any], interval: int = 600, boots: Iterable[int] = (), host: str = HOST, **figures: Any
    ) -> Path:
        records = [end if isinstance(end, tuple) else (end, interval, {}) for end in ends]
        statistics = [{"timestamp": stamp(end, seconds), **FIGURES, **figures, **own} for end, seconds, own in records]
        restarts = [{"boot": {**stamp(ts), "cpu_count": 2}} for ts in boots]
        found = {"nodename": host, "sysname": "Linux", "statistics": statistics, "restarts": restarts}
        file = tmp_path / f"sa-{next(numbers)}.json"
        file.write_text(json.dumps({"sysstat": {"hosts": [found]}}))
        return file

    return write


@pytest.fixture
def import_sar(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], path: Path) -> ImportSar:
    """Runs the verb in this process over the new database, for files of HOST."""
    for name in [name for name in os.environ if name.startswith("TIDEMARK_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str | Path, host: str | None = HOST, database: Path = path) -> Done:
        of_host = [] if host is None else ["--host", host]
        words = ["manage.py", "--database", str(database), "import-sar", *of_host, *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", words)
        code = cli.main()
        return Done(code, *capsys.readouterr())

    return run


@pytest.fixture
def rows(path: Path) -> Rows:
    """What a statement gives over the new database."""
    return lambda statement: query(path, statement)


def refused(done: Done) -> str:
    """The one line about the only file."""
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1), done
    return done.err.removeprefix("tidemark: ").rstrip("\n").partition(": ")[2]


@pytest.fixture
def sadc() -> Callable[..., None]:
    """Has sysstat record: `sadc(file)` a restart, `sadc(file, seconds, count)` that many records."""
    program = Path("/usr/lib/sysstat/sadc")
    if not program.exists() or shutil.which("sadf") is None:
        pytest.skip("needs sysstat, which records the files")

    def record(file: Path, *numbers: int) -> None:
        subprocess.run([program, "-S", "XALL", *map(str, numbers), file], check=True)

    return record
