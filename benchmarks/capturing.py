"""What a capture of services costs, over real cgroups; as root and where cgroups of version 2 can be made."""

import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Bench, Figure
from service.host.services import ServiceWatch, hierarchy

MOUNTS = {"v2": Path("/sys/fs/cgroup"), "hybrid": Path("/sys/fs/cgroup/unified")}
# The bar of the issue is for 2,000; the other is a usual host.
BARS = {100: 3.0, 2000: 30.0}


def services(bench: Bench) -> Iterator[Figure]:
    """CPU of a capture of 100 and of 2,000 cgroups, each of which has used CPU since the capture before."""
    mount = MOUNTS.get(hierarchy())
    if mount is None or os.geteuid() != 0 or not os.access(mount, os.W_OK):
        raise RuntimeError("needs root, and cgroups of version 2")
    for count, bar in BARS.items():
        costs = _costs(mount, count, repetitions=3 if bench.quick else 9)
        yield Figure(f"a capture of {count:,} cgroups that all ran: CPU", statistics.median(costs), "ms", bar)


def _costs(mount: Path, count: int, repetitions: int) -> list[float]:
    top = mount / f"tidemark-bench-{os.getpid()}.slice"
    top.mkdir()
    folders = [top / f"s{number}.service" for number in range(count)]
    try:
        for folder in folders:
            folder.mkdir()
        watch = ServiceWatch(5)
        watch.capture()
        return [_cost(watch, mount, folders) for _ in range(repetitions)]
    finally:
        for folder in [*folders, top]:
            if folder.exists():
                folder.rmdir()


def _cost(watch: ServiceWatch, mount: Path, folders: list[Path]) -> float:
    child = os.fork()
    if child == 0:
        # It goes through all of them, and leaves the last, so that they can be removed.
        for folder in [*folders, mount]:
            (folder / "cgroup.procs").write_text("0")
            until = time.process_time() + 0.0005
            while time.process_time() < until:
                pass
        os._exit(0)
    os.waitpid(child, 0)
    begun = time.process_time()
    watch.capture()
    return 1000 * (time.process_time() - begun)
