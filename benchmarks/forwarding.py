"""What forwarding costs the sender: `python benchmarks/forwarding.py URL [--days 7]`, `... URL --live 120`.

Catching up: a generated history goes to a real receiver by the code that the daemon runs, as fast as it can; the pauses
between the writer's commits, one a second, are counted apart. Live: a daemon that forwards beside one that does not, at
an interval of a second with six samples a request, as there are at five seconds and `forward.every` of 30.
"""

import argparse
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.generate import generate
from benchmarks.harness import Bench, count_samples, cpu_ms, daemon, memory_mib
from service.clock import Clock
from service.config import load
from service.daemon.memory import resident_bytes
from service.forward import shipper as shipping
from service.forward.destination import destination
from service.forward.patience import Patience
from service.forward.shipper import Shipper
from service.store.writer import Store

# With an interval of a second six samples a request, and what a start takes.
_EVERY_SECONDS, _SETTLE_SECONDS = 6, 45


class Hurried(Patience):
    """Counts the pauses and does not make them."""

    paused_seconds = 0.0

    def rest(self, seconds: float) -> bool:
        Hurried.paused_seconds += max(0.0, seconds)
        return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--days", type=float, default=7)
    parser.add_argument("--live", type=int, metavar="SECONDS", help="measure daemons that are up to date instead")
    arguments = parser.parse_args()
    if arguments.live:
        live(arguments.url, arguments.live)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tidemark.db"
        now = int(time.time())
        generate(path, end_ts=now, sample_days=arguments.days, minute_days=arguments.days, hour_days=arguments.days)
        # In a new process, whose memory generating has not made large.
        with get_context("spawn").Pool(1) as pool:
            print(pool.apply(measured, [path, arguments.url]))


def live(url: str, seconds: int) -> None:
    """Both at once, so that what else this machine does meets both."""
    on = {"TIDEMARK_FORWARD_URL": url, "TIDEMARK_FORWARD_EVERY": str(_EVERY_SECONDS)}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), quick=False, long=False)
        day = {"sample_days": 1, "minute_days": 1, "hour_days": 1}
        with ExitStack() as held:
            off = held.enter_context(daemon(bench, bench.history("day", **day), interval=1))
            os.environ.update(on)
            forwards = held.enter_context(daemon(bench, bench.history("day", **day), interval=1))
            for name in on:
                del os.environ[name]
            # It has begun, and has caught up with the hour that a new receiver gets.
            time.sleep(_SETTLE_SECONDS)
            before = [(cpu_ms(each.pid), count_samples(each.database)) for each in (off, forwards)]
            time.sleep(seconds)
            after = [(cpu_ms(each.pid), count_samples(each.database)) for each in (off, forwards)]
            memory = [memory_mib(each.pid)[1] for each in (off, forwards)]
    without, with_it = ((cpu - was) / (count - had) for (was, had), (cpu, count) in zip(before, after, strict=True))
    print(
        f"a sample costs {without:.2f} ms of CPU, and {with_it:.2f} with forwarding: {with_it - without:+.2f} ms; "
        f"memory {memory[0]:.1f} MiB, and {memory[1]:.1f}: {memory[1] - memory[0]:+.1f} MiB"
    )


def measured(path: Path, url: str) -> str:
    given = {"storage.path": str(path), "forward.url": url, "forward.backfill": "all"}
    settings = load(environment={}, options=given)[0]
    store = Store(path)
    store.open()
    shipping.Patience = Hurried
    shipper = Shipper(destination(settings), settings.forward, path, store, Clock(), store.write_riders)
    begun, cpu, resident = time.perf_counter(), time.process_time(), resident_bytes() or 0
    most = 0
    while not shipper.has_nothing_left:
        shipper.step()
        store.write_riders()
        most = max(most, resident_bytes() or 0)
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    shipper.close()
    store.close()
    sent = shipper.counts["sent"]
    return (
        f"{sent:,} samples, {shipper.counts['refused']:,} refused: {wall:.1f} s, {cpu:.1f} s of CPU, "
        f"pauses between commits {Hurried.paused_seconds:.0f} s, memory +{(most - resident) / 2**20:.1f} MiB"
    )


if __name__ == "__main__":
    main()
