"""What catching up with a week costs the sender: `python benchmarks/forwarding.py URL [--days 7]`.

A generated history goes to a real receiver by the code that the daemon runs, as fast as it can; the pauses between the
writer's commits, one a second, are counted apart.
"""

import argparse
import sys
import tempfile
import time
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.generate import generate
from service.clock import Clock
from service.config import load
from service.daemon.memory import resident_bytes
from service.forward import shipper as shipping
from service.forward.destination import destination
from service.forward.patience import Patience
from service.forward.shipper import Shipper
from service.store.writer import Store


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
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tidemark.db"
        now = int(time.time())
        generate(path, end_ts=now, sample_days=arguments.days, minute_days=arguments.days, hour_days=arguments.days)
        # In a new process, whose memory generating has not made large.
        with get_context("spawn").Pool(1) as pool:
            print(pool.apply(measured, [path, arguments.url]))


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
