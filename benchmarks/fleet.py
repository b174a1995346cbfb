"""What one receiver takes of a fleet: `python benchmarks/fleet.py --hosts 1000 [--seconds 60] [--engine prometheus]`.

So many hosts are simulated by the encoder and the sender of the daemon, each with a connection of its own and a sample
every five seconds, and sent to a real VictoriaMetrics and then a real Prometheus on this machine. Their first sending
makes the series and is not measured.
"""

import argparse
import heapq
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import MIB, cpu_ms, memory_mib
from service.config import load
from service.forward.destination import destination
from service.forward.encode import block
from service.forward.lines import TIDEMARK
from service.forward.points import NOTHING_SENT, Points, Series
from service.forward.send import Sender
from service.metrics import METRICS
from service.store.forwards import Piece, Stretch

ENGINES = ("victoria-metrics", "prometheus")
INTERVAL_SECONDS = 5
# Of all that are open at once in one process, a few are not the hosts' connections.
_OTHER_FILES = 100


class Sent(NamedTuple):
    """Of one process of senders. `late`: seconds after they were due; `took`: seconds of each request."""

    samples: int
    failures: list[str]
    late: list[float]
    took: list[float]
    cpu_seconds: float
    resident_bytes: int


@dataclass
class Host:
    """A simulated host: its newest sample that was sent, and what it says next."""

    series: Series
    sender: Sender
    stretch: Stretch
    sent_until: int
    number: int

    def send(self, now: int) -> tuple[int, str | None]:
        """All samples up to `now`: how many there are, and what went wrong."""
        stamps = range(self.sent_until + INTERVAL_SECONDS, now + 1, INTERVAL_SECONDS)
        rows = [(ts, *self._values(ts)) for ts in stamps]
        if not rows:
            return 0, None
        body = self.series.body(Points(NOTHING_SENT).add([Piece(self.stretch, rows)]).points)
        answer = self.sender.write(block(body))
        self.sent_until = stamps[-1]
        return len(rows), None if answer.verdict == "taken" else answer.text

    def _values(self, ts: int) -> Iterator[int]:
        """Stored values that change from sample to sample, as a busy host's do."""
        for number, metric in enumerate(METRICS):
            step = (ts // INTERVAL_SECONDS * 7919 + self.number * 104_729 + number * 31) % 5000
            yield 20_000 * ts + 977 * step if metric.is_counter else step


def senders(url: str, first: int, count: int, every: int, starts: float, measures: float, ends: float) -> Sent:
    """Send as `count` hosts until `ends`, and count from `measures` on; moments by the wall clock."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    to = destination(load(environment={}, options={"forward.url": url})[0])
    begun = int(starts) // INTERVAL_SECONDS * INTERVAL_SECONDS
    stretch = Stretch(1, begun, None, None, begun - 86_400, "boot", INTERVAL_SECONDS)
    random, queue, hosts = Random(first), [], []
    for number in range(first, first + count):
        series = Series(f"host-{number:05}.example", {"site": "here"})
        hosts.append(Host(series, Sender(to), stretch, begun - INTERVAL_SECONDS, number))
        # Racks boot together; a daemon waits for a random part of `every`.
        queue.append((starts + random.random() * every, number - first))
    heapq.heapify(queue)
    sent = Sent(0, [], [], [], 0.0, 0)
    samples, cpu = 0, None
    while queue and queue[0][0] < ends:
        due, index = heapq.heappop(queue)
        time.sleep(max(0.0, due - time.time()))
        before = time.time()
        if cpu is None and before >= measures:
            cpu = time.process_time()
        found, error = hosts[index].send(int(before))
        if before >= measures:
            samples += found
            sent.late.append(before - due)
            sent.took.append(time.time() - before)
            sent.failures.extend([error] if error else [])
        heapq.heappush(queue, (due + every, index))
    used = time.process_time() - (cpu if cpu is not None else time.process_time())
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for host in hosts:
        host.sender.close()
    return sent._replace(samples=samples, cpu_seconds=used, resident_bytes=resident)


@contextmanager
def engine(name: str, connections: int) -> Iterator[tuple[int, str]]:
    """A receiver on loopback with an empty store: its process id, and its address."""
    with socket.socket() as found, tempfile.TemporaryDirectory() as folder:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
        found.close()
        Path(folder, "prometheus.yml").write_text("storage: {tsdb: {out_of_order_time_window: 30d}}\n")
        commands = {
            "prometheus": [
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-remote-write-receiver",
                # By default 512, and a host beyond that waits.
                f"--web.max-connections={connections}",
                "--log.level=error",
            ],
            "victoria-metrics": [
                f"-storageDataPath={folder}/data",
                f"-httpListenAddr=127.0.0.1:{port}",
                "-retentionPeriod=12",
                "-dedup.minScrapeInterval=1ms",
                "-loggerLevel=ERROR",
            ],
        }
        process = subprocess.Popen([name, *commands[name]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for(port)
            yield process.pid, f"http://127.0.0.1:{port}/api/v1/write"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def measured(name: str, hosts: int, seconds: int, every: int, processes: int, connections: int) -> str:
    """One row of the table."""
    with engine(name, connections) as (pid, url), get_context("spawn").Pool(processes) as pool:
        # Until every process stands, and has made its hosts.
        starts = time.time() + 3 + hosts / 2000
        measures, ends = starts + every, starts + every + seconds
        share = [hosts * number // processes for number in range(processes + 1)]
        jobs = [
            pool.apply_async(senders, [url, share[i], share[i + 1] - share[i], every, starts, measures, ends])
            for i in range(processes)
        ]
        time.sleep(max(0.0, measures - time.time()))
        cpu = cpu_ms(pid)
        time.sleep(max(0.0, ends - time.time()))
        cores, resident = (cpu_ms(pid) - cpu) / 1000 / seconds, memory_mib(pid)[2]
        found = [job.get(600) for job in jobs]
    took = sorted(second for sent in found for second in sent.took)
    late = sorted(second for sent in found for second in sent.late)
    failures = [error for sent in found for error in sent.failures]
    points = sum(sent.samples for sent in found) * len(TIDEMARK.names) / seconds
    senders_cores = sum(sent.cpu_seconds for sent in found) / seconds
    senders_mib = sum(sent.resident_bytes for sent in found) / MIB
    p99 = statistics.quantiles(took, n=100)[98] * 1000 if len(took) > 1 else took[0] * 1000
    return (
        f"| {hosts:,} | {name} | {hosts * len(TIDEMARK.names):,} | {points:,.0f} | {len(took) / seconds:,.1f} | "
        f"{cores:.2f} | {resident:.0f} | {p99:.0f} | {senders_cores:.2f} | {senders_mib:.0f} | {late[-1]:.1f} | "
        f"{len(failures)} |" + (f"\n{failures[0]}" if failures else "")
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=60, help="how long is measured")
    parser.add_argument("--every", type=int, default=30, help="forward.every")
    parser.add_argument("--engine", choices=ENGINES, action="append")
    parser.add_argument("--processes", type=int, default=2, help="of senders")
    parser.add_argument("--connections", type=int, help="that Prometheus takes at once; two a host if left out")
    given = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and given.hosts / given.processes > most - _OTHER_FILES:
        parser.error(f"{given.hosts} connections need more files than the {most} that a process may open (ulimit -n)")
    print(
        "| hosts | receiver | series | points/s | POST/s | receiver: cores | MiB | p99 ms | senders: cores | MiB ",
        end="",
    )
    print("| most late s | failures |\n|---|---|---|---|---|---|---|---|---|---|---|---|")
    for name in given.engine or ENGINES:
        if shutil.which(name) is None:
            print(f"{name} is not installed (Debian's package)", file=sys.stderr)
            continue
        connections = given.connections or max(512, 2 * given.hosts)
        print(measured(name, given.hosts, given.seconds, given.every, given.processes, connections), flush=True)


if __name__ == "__main__":
    main()
