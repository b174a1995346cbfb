"""What Tidemark costs beside others that record a host: `python3 benchmarks/beside.py --minutes 10 [--against COMMIT]`.

All run at the same time for so long, each at one sample a second of the host's own metrics, with what they keep in a
folder of their own; what is not installed is left out, with a line that says so. Printed is a table in Markdown: CPU a
tick, memory, what a tick adds to the files, and what a day would write to the disk. On a busy machine only the ratios
within the table say something. Nothing listens beyond 127.0.0.1. It needs root, as PSS of a process is its owner's to
read, and some of the packages netdata-core, prometheus, prometheus-node-exporter, sysstat and glances.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.against import check_out
from benchmarks.generate import ROOT
from benchmarks.harness import MIB, cpu_ms, free_port, written_bytes

# Until each has started and written what it writes once.
_SETTLE_SECONDS = 60
_DAY = 86_400
# Of the host, as Tidemark has them: no cgroups, no hardware, no services.
_COLLECTORS = (
    "cpu",
    "loadavg",
    "meminfo",
    "diskstats",
    "filesystem",
    "netdev",
    "netstat",
    "pressure",
    "stat",
    "vmstat",
)
_NETDATA_OFF = ("apps", "cgroups", "charts.d", "checks", "diskspace", "fping", "go.d", "idlejitter", "ioping", "node.d")
_NETDATA_OFF += (
    "perf",
    "python.d",
    "slabinfo",
    "statsd",
    "tc",
    "timex",
    "ebpf",
    "nfacct",
    "xenstat",
    "freeipmi",
    "cups",
)
_GLANCES_ON = "cpu,percpu,load,mem,memswap,network,diskio,fs,processcount"


class Tool(NamedTuple):
    """`commands`: what is started, in this folder and with this port and the next; None where it is not installed."""

    name: str
    commands: Callable[[Path, int], list[list[str]] | None]


class Spent(NamedTuple):
    """Of all processes of a tool: milliseconds of CPU, bytes written to the disk, and of its files."""

    cpu_ms: float
    written: int
    kept: int


def tidemark(root: Path) -> Callable[[Path, int], list[list[str]]]:
    def commands(folder: Path, port: int) -> list[list[str]]:
        command = [sys.executable, "-OO", str(root / "manage.py"), "--database", str(folder / "tidemark.db")]
        return [[*command, "run", "--port", str(port), "--interval", "1"]]

    return commands


def sysstat(folder: Path, _: int) -> list[list[str]] | None:
    sadc = "/usr/lib/sysstat/sadc"
    return [[sadc, "-S", "DISK", "1", str(folder / "sa")]] if os.access(sadc, os.X_OK) else None


def netdata(folder: Path, port: int) -> list[list[str]] | None:
    if not shutil.which("netdata"):
        return None
    off = "".join(f"    {name} = no\n" for name in _NETDATA_OFF)
    folders = "".join(f"    {name} = {folder}\n" for name in ("cache directory", "lib directory", "log directory"))
    (folder / "netdata.conf").write_text(
        f"[global]\n    run as user = root\n[directories]\n{folders}[db]\n    mode = dbengine\n    update every = 1\n"
        f"[ml]\n    enabled = no\n[health]\n    enabled = no\n[plugins]\n{off}"
        f"[web]\n    bind to = 127.0.0.1:{port}\n"
    )
    return [["netdata", "-D", "-c", str(folder / "netdata.conf")]]


def prometheus(folder: Path, port: int) -> list[list[str]] | None:
    if not (shutil.which("prometheus") and shutil.which("prometheus-node-exporter")):
        return None
    address = f"127.0.0.1:{port + 1}"
    (folder / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: node, static_configs: [{{targets: ['{address}']}}]}}]\n"
    )
    exporter = ["prometheus-node-exporter", "--collector.disable-defaults", f"--web.listen-address={address}"]
    server = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}"]
    return [
        [*exporter, *(f"--collector.{name}" for name in _COLLECTORS)],
        [*server, f"--web.listen-address=127.0.0.1:{port}"],
    ]


def glances(folder: Path, _: int) -> list[list[str]] | None:
    if not shutil.which("glances"):
        return None
    command = ["glances", "--quiet", "--time", "1", "--disable-plugin", "all", "--enable-plugin", _GLANCES_ON]
    return [[*command, "--export", "csv", "--export-csv-file", str(folder / "glances.csv")]]


@contextmanager
def running(tool: Tool, folder: Path) -> Iterator[list[int]]:
    """Its processes, until the block ends; none where it is not installed."""
    folder.mkdir()
    started = []
    environment = {**os.environ, "TIDEMARK_NO_BOOTSTRAP": "1", "MALLOC_ARENA_MAX": "1"}
    for command in tool.commands(folder, free_port()) or []:
        with open(folder.with_suffix(".log"), "ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        started.append(process)
    try:
        yield [process.pid for process in started]
    finally:
        for process in started:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def family(pids: list[int]) -> list[int]:
    """These processes and what they started."""
    found = list(pids)
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def spent(pids: list[int], folder: Path) -> Spent:
    everyone = family(pids)
    kept = sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
    return Spent(sum(map(cpu_ms, everyone)), sum(map(written_bytes, everyone)), kept)


def memory(pids: list[int]) -> tuple[float, float]:
    """(PSS, USS) in MiB."""
    proportional = unique = 0
    for pid in family(pids):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                proportional += int(line.split()[1])
            elif line.startswith("Private_"):
                unique += int(line.split()[1])
    return proportional / 1024, unique / 1024


def row(name: str, before: Spent, after: Spent, seconds: float, held: tuple[float, float]) -> str:
    cpu, written, kept = (now - then for then, now in zip(before, after, strict=True))
    cells = [f"{cpu / seconds:.2f} ms", f"{held[0]:.1f} MiB", f"{held[1]:.1f} MiB", f"{kept / seconds:,.0f} bytes"]
    return f"| {name} | {' | '.join(cells)} | {written / seconds * _DAY / MIB:,.0f} MiB |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--against", metavar="COMMIT", help="another commit of Tidemark too")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidemark-beside-") as name, ExitStack() as stack:
        folder = Path(name)
        tools = [Tool("Tidemark", tidemark(ROOT))]
        if given.against:
            check_out(given.against, folder / "there")
            tools.append(Tool(f"Tidemark, {given.against[:9]}", tidemark(folder / "there")))
        tools += [Tool("sysstat", sysstat), Tool("Netdata", netdata), Tool("Prometheus and node_exporter", prometheus)]
        tools += [Tool("Glances", glances)]
        folders = [folder / str(number) for number in range(len(tools))]
        pids = [stack.enter_context(running(tool, of)) for tool, of in zip(tools, folders, strict=True)]
        time.sleep(_SETTLE_SECONDS)
        before, began = [spent(each, of) for each, of in zip(pids, folders, strict=True)], time.monotonic()
        time.sleep(60 * given.minutes)
        after, seconds = [spent(each, of) for each, of in zip(pids, folders, strict=True)], time.monotonic() - began
        print("| what | CPU a tick | PSS | USS | files grow a tick by | written a day |\n|---|---|---|---|---|---|")
        for tool, each, *both in zip(tools, pids, before, after, strict=True):
            print(row(tool.name, *both, seconds, memory(each)) if each else f"| {tool.name} | not installed | | | | |")


if __name__ == "__main__":
    from benchmarks.run import change_interpreter

    change_interpreter()
    main()
