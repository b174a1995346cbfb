"""Rows 77 to 79: no descriptors, no memory, no room in a cgroup; and a short soak whose figures stay flat."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.soak import Soak
from tests.faults.kit import USAGE, Site, ask, gaps, needs_root
from tests.running import until

root, as_root = needs_root
prlimit = pytest.mark.skipif(shutil.which("prlimit") is None, reason="needs prlimit (util-linux)")


def _limit(site: Site, limit: str) -> None:
    subprocess.run(["prlimit", "--pid", str(site.daemon.process.pid), limit], check=True)


def _survives(site: Site, limit: str, back: str) -> None:
    site.start(samples=2)
    ask(site.daemon, USAGE)
    _limit(site, limit)
    for _ in range(6):
        with suppress(OSError):  # without a descriptor there is no connection either
            ask(site.daemon, USAGE, timeout=2)
            ask(site.daemon, "/no-such-page", timeout=2)
        time.sleep(1)
    assert site.daemon.process.poll() is None, site.logged()[-800:]
    assert "Traceback" not in site.logged()
    _limit(site, back)
    site.wait_for(3)
    until(lambda: ask(site.daemon, "/healthz")[0] == 200)
    site.standard_check()
    assert gaps(site.path) == []


@prlimit
def test_without_free_descriptors_it_goes_on_and_recovers(site: Site) -> None:
    _survives(site, "--nofile=12:1024", "--nofile=1024:1024")


@prlimit
def test_without_free_memory_it_goes_on_and_recovers(site: Site) -> None:
    # It has more than that mapped by then, so every further map is refused.
    _survives(site, "--as=50000000:unlimited", "--as=unlimited:unlimited")


@prlimit
def test_a_first_question_without_free_memory_is_an_error_and_the_same_later_an_answer(site: Site) -> None:
    """The thread that tries the disk cannot be started, and must be once there is memory again."""
    site.start(samples=2)
    _limit(site, "--as=50000000:unlimited")
    refused = [ask(site.daemon, USAGE) for _ in range(3)]
    assert [status for status, _ in refused] == [500] * 3
    assert all(answer["error"].startswith("Server error") for _, answer in refused)
    assert "Traceback" not in site.logged()
    _limit(site, "--as=unlimited:unlimited")
    until(lambda: ask(site.daemon, USAGE)[0] == 200)
    site.standard_check()
    assert gaps(site.path) == []


@pytest.fixture
def group() -> Iterator[Path]:
    """A memory cgroup of 150 MB."""
    folder = Path("/sys/fs/cgroup/memory/tidemark-test")
    if not folder.parent.exists():
        pytest.skip("needs the memory controller of cgroup v1")
    try:
        folder.mkdir(exist_ok=True)
        (folder / "memory.limit_in_bytes").write_text("150M")
    except OSError as error:
        pytest.skip(f"cgroups cannot be made here: {error}")
    yield folder
    until(lambda: (folder / "cgroup.procs").read_text() == "", 20)
    folder.rmdir()


HOG = "import sys; sys.stdin.readline(); kept = [bytearray(4 * 2**20) for _ in range(100)]"


def _out_of_memory(site: Site, group: Path, times: int) -> None:
    for _ in range(times):
        site.start(samples=2)
        pid = site.daemon.process.pid
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
        (group / "cgroup.procs").write_text(str(pid))
        hog = subprocess.Popen([sys.executable, "-c", HOG], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        (group / "cgroup.procs").write_text(str(hog.pid))
        try:
            hog.communicate(b"\n", timeout=30)
            assert site.daemon.process.wait(20) == -9
        finally:
            hog.kill()
            hog.wait()
            site.kill()
        site.holds_all()
    site.start(samples=2)
    site.standard_check()
    print(f"{times} times out of memory, {site.stored()} samples acknowledged, 0 missing")
    site.kill()


@root
@as_root
def test_killed_for_want_of_memory_it_loses_nothing(site: Site, group: Path) -> None:
    _out_of_memory(site, group, 1)


@pytest.mark.slow
@root
@as_root
@pytest.mark.timeout(300)
def test_killed_ten_times_for_want_of_memory_it_loses_nothing(site: Site, group: Path) -> None:
    _out_of_memory(site, group, 10)


def test_figures_stay_flat_over_many_ticks(tmp_path: Path) -> None:
    """A thousandth of what `python3 -m benchmarks.soak` does."""
    soak = Soak(tmp_path / "tidemark.db", interval=5)
    try:
        soak.run(1500)
        before = soak.measure()
        soak.run(3000)
        after = soak.measure()
    finally:
        soak.close()
    assert after.samples_stored - before.samples_stored == 3000
    assert after.failed_answers == 0
    assert after.rss_bytes - before.rss_bytes < 4 * 2**20
    assert after.descriptors == before.descriptors
    # One may just be ending: each read is first tried on a thread of its own, because the disk may be stuck.
    assert after.threads <= before.threads + 1
    assert after.log_bytes < 2 * 2**20
