"""What services and containers use: a tree of files as the kernel writes them, and real control groups."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.host import services
from service.host.services import ServiceWatch
from service.records import ServiceUsage

ID = "0123456789ab" + "cd" * 26


class Tree:
    """A cgroup v2 as files. What is used in a group counts in all above it, as the kernel counts."""

    def __init__(self, root: Path, controllers: str = "cpu io memory pids") -> None:
        self.root = root
        root.mkdir(exist_ok=True)
        (root / "cgroup.controllers").write_text(controllers + "\n")
        self.usage: dict[Path, int] = {}
        self.use("", 0)

    def use(self, path: str, milliseconds: int) -> None:
        folder = self.root / path
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            self.usage[folder] = self.usage.get(folder, 0) + 1000 * milliseconds
            (folder / "cpu.stat").write_text(f"usage_usec {self.usage[folder]}\nuser_usec 1\n")
            if folder == self.root:
                return
            folder = folder.parent

    def hold(self, path: str, memory: int, kills: int = 0, io: str = "") -> None:
        folder = self.root / path
        (folder / "memory.current").write_text(f"{memory}\n")
        (folder / "memory.events").write_text(f"low 0\noom 0\noom_kill {kills}\n")
        (folder / "io.stat").write_text(io)

    def remove(self, path: str) -> None:
        folder = self.root / path
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        del self.usage[folder]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "cgroup")


def rows_of(watch: ServiceWatch) -> dict[str, ServiceUsage]:
    found = watch.capture()
    assert found is not None
    return {row.name: row for row in found}


def cpu_of(watch: ServiceWatch) -> dict[str, float]:
    return {name: row.cpu_seconds for name, row in rows_of(watch).items()}


def test_the_first_capture_gives_nothing_and_the_next_what_each_used_since(tree: Tree) -> None:
    tree.use("system.slice/nginx.service", 5000)
    tree.use("system.slice/idle.service", 70)
    watch = ServiceWatch(5, str(tree.root))
    assert watch.capture() is None
    tree.use("system.slice/nginx.service", 300)
    tree.use(f"system.slice/docker-{ID}.scope", 700)
    tree.use("", 50)
    assert cpu_of(watch) == {"docker:0123456789ab": 0.7, "nginx.service": 0.3, "/": 0.05}
    assert cpu_of(watch) == {}


def test_a_scope_that_ends_between_two_captures_leaves_its_usage_with_its_slice(tree: Tree) -> None:
    tree.use("system.slice/run-1.scope", 1000)
    watch = ServiceWatch(5, str(tree.root))
    watch.capture()
    tree.use("system.slice/run-1.scope", 400)
    tree.use("system.slice/run-2.scope", 200)
    tree.remove("system.slice/run-1.scope")
    tree.remove("system.slice/run-2.scope")
    assert cpu_of(watch) == {"system.slice": 0.6}


def test_a_group_that_is_made_anew_under_its_name_counts_from_its_beginning(tree: Tree) -> None:
    tree.use("system.slice/job.service", 1000)
    watch = ServiceWatch(5, str(tree.root))
    watch.capture()
    old = (tree.root / "system.slice/job.service").rename(tree.root / "old")
    tree.use("system.slice/job.service", 250)
    tree.usage[tree.root / "system.slice/job.service"] = 0
    tree.use("system.slice/job.service", 250)
    for file in old.iterdir():
        file.unlink()
    old.rmdir()
    assert cpu_of(watch)["job.service"] == 0.25


def test_what_a_container_runs_inside_is_the_containers(tree: Tree) -> None:
    watch = ServiceWatch(5, str(tree.root))
    watch.capture()
    tree.use(f"docker/{ID}/system.slice/nginx.service", 500)
    assert cpu_of(watch) == {"docker:0123456789ab": 0.5}


def test_the_parts_of_a_service_are_the_services_and_units_below_it_are_their_own(tree: Tree) -> None:
    watch = ServiceWatch(5, str(tree.root))
    watch.capture()
    tree.use("system.slice/web.service/workers/one", 300)
    tree.use("user.slice/user-1000.slice/user@1000.service/app.slice/music.service", 200)
    tree.use(f"system.slice/containerd.service/part/x:cri-containerd:{ID}", 100)
    assert cpu_of(watch) == {
        "web.service": 0.3,
        "user@1000.service/music.service": 0.2,
        "containerd:0123456789ab": 0.1,
    }


def test_memory_bytes_and_kills_are_each_groups_own_and_null_without_their_controllers(
    tree: Tree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 8:0 is a disk, 253:0 stands on it, 7:0 is a loop device.
    monkeypatch.setattr(services.BaseDevices, "is_base", lambda self, numbers: numbers == "8:0")
    for path in ("system.slice/a.service", "system.slice/b.service"):
        tree.use(path, 100)
    tree.hold("system.slice", 1000, kills=1, io="8:0 rbytes=100 wbytes=10\n")
    tree.hold("system.slice/a.service", 600, io="8:0 rbytes=100 wbytes=10 rios=1\n253:0 rbytes=100 wbytes=10\n")
    tree.hold("system.slice/b.service", 300, io="8:0\n")
    watch = ServiceWatch(5, str(tree.root))
    watch.capture()
    for path in ("system.slice/a.service", "system.slice/b.service"):
        tree.use(path, 100)
    tree.hold("system.slice", 1400, kills=2, io="8:0 rbytes=400 wbytes=10\n")
    tree.hold("system.slice/a.service", 900, kills=1, io="8:0 rbytes=350 wbytes=10\n253:0 rbytes=350 wbytes=10\n")
    tree.hold("system.slice/b.service", 300, io="7:0 rbytes=99 wbytes=99\n")
    found = rows_of(watch)
    assert found["a.service"] == ServiceUsage("a.service", "service", 0.1, 900, 250, 0, 1)
    assert found["b.service"] == ServiceUsage("b.service", "service", 0.1, 300, 0, 0, 0)
    # Of the slice's own, a unit that has ended read 50 bytes.
    assert found["system.slice"] == ServiceUsage("system.slice", "slice", 0.0, 200, 50, 0, 0)
    bare = Tree(tmp_path / "bare", controllers="")
    watch = ServiceWatch(5, str(bare.root))
    watch.capture()
    bare.use("x.service", 100)
    assert rows_of(watch)["x.service"] == ServiceUsage("x.service", "service", 0.1, None, None, None, None)


def test_without_cgroup_v2_nothing_is_known_and_the_hybrid_mount_is_found(tmp_path: Path) -> None:
    v1 = tmp_path / "v1"
    v1.mkdir()
    watch = ServiceWatch(5, str(v1))
    assert (watch.is_known, watch.capture(), watch.capture()) == (False, None, None)
    assert watch.service_of(os.getpid()) is None
    hybrid = Tree(v1 / "unified")
    watch = ServiceWatch(5, str(v1))
    assert watch.is_known
    watch.capture()
    hybrid.use("a.service", 100)
    assert cpu_of(watch) == {"a.service": 0.1}


def test_of_many_groups_those_that_used_most_are_rows_and_no_more_are_visited_than_the_limit(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "MOST_GROUPS", 60)
    for number in range(50):
        tree.use(f"system.slice/s{number}.service", 1)
    watch = ServiceWatch(1, str(tree.root))
    watch.capture()
    assert not watch.left_out
    for number in range(50):
        tree.use(f"system.slice/s{number}.service", 100 + number)
    found = cpu_of(watch)
    assert set(found) == {f"s{number}.service" for number in range(10, 50)}
    for number in range(50, 120):
        tree.use(f"system.slice/s{number}.service", 100)
    found = cpu_of(watch)
    assert watch.left_out
    # What is not visited is the slice's.
    assert sum(found.values()) == pytest.approx(7.0)
    assert found["system.slice"] > 1


def test_a_hostile_name_is_readable_text(tree: Tree) -> None:
    watch = ServiceWatch(5, str(tree.root))
    watch.capture()
    tree.use("a\udcff\x1b[31m<b>.service", 100)
    (name,) = cpu_of(watch)
    assert name.encode().endswith(b"<b>.service")


paths = st.lists(
    st.sampled_from(["system.slice", "a.service", "b.scope", "job", "user@7.service", f"docker-{ID}.scope"]), max_size=4
)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.tuples(paths, st.integers(0, 500)), max_size=8), min_size=2, max_size=4))
def test_the_rows_add_up_to_what_the_whole_used(
    tmp_path_factory: pytest.TempPathFactory, rounds: list[list[tuple[list[str], int]]]
) -> None:
    tree = Tree(tmp_path_factory.mktemp("tree") / "cgroup")
    watch = ServiceWatch(5, str(tree.root))
    watch.capture()
    for uses in rounds:
        for path, milliseconds in uses:
            tree.use("/".join(path), milliseconds)
        used = sum(milliseconds for _, milliseconds in uses) / 1000
        # Rows of less than a tick are left out.
        assert sum(cpu_of(watch).values()) == pytest.approx(used, abs=0.01 * 20)


# -- real control groups

ROOT = next((path for path in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified") if Path(path, "cgroup.procs").exists()), "")
SPIN = "import time\nbegun = time.process_time()\nwhile time.process_time() - begun < {seconds}: pass"


@pytest.fixture
def group() -> Iterator[Path]:
    folder = Path(ROOT, f"tidemark-test-{os.getpid()}.service")
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"needs a cgroup v2 in which it may make groups: {error}")
    yield folder
    for below in [*folder.glob("*/"), folder]:
        below.rmdir()


def spin(group: Path, seconds: float, times: int = 1) -> None:
    """Short processes, one after the other, in a control group."""
    code = f"open('{group}/cgroup.procs', 'w').write('0')\n" + SPIN.format(seconds=seconds)
    for _ in range(times):
        subprocess.run([sys.executable, "-c", code], check=True)


def usage_of(group: Path) -> float:
    return int((group / "cpu.stat").read_text().split()[1]) / 1e6


def test_a_unit_of_short_processes_has_all_that_they_used_though_none_is_left(group: Path) -> None:
    watch = ServiceWatch(5)
    watch.capture()
    spin(group, 0.05, times=8)
    found = rows_of(watch)[group.name]
    assert found.cpu_seconds == pytest.approx(usage_of(group), abs=0.001)
    assert found.cpu_seconds > 8 * 0.05
    assert found.kind == "service"


def test_a_process_knows_its_service(group: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        watch = ServiceWatch(5)
        (group / "cgroup.procs").write_text(str(process.pid))
        assert watch.service_of(process.pid) == (group.name, "service")
    finally:
        process.kill()
        process.wait()
    assert watch.service_of(2**22 + 1) is None


def test_a_group_that_vanishes_while_the_tree_is_read_does_no_harm(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        tree.use(f"{name}.service", 100)
    watch = ServiceWatch(5, str(tree.root))
    watch.capture()
    tree.use("a.service", 100)
    tree.use("b.service", 100)
    usage = services._usage_us

    def vanishing(folder: str) -> int:
        if folder.endswith("b.service"):
            raise FileNotFoundError(folder)
        return usage(folder)

    monkeypatch.setattr(services, "_usage_us", vanishing)
    assert cpu_of(watch) == {"a.service": 0.1, "/": 0.1}
