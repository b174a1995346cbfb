"""What services and containers used: over made trees that add up as the kernel's do, and over real cgroups."""

import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.host import cgroups
from service.host.cgroups import LEAST_CPU_US
from service.host.services import ServiceWatch, hierarchy
from service.records import ServiceUsage
from service.upkeep import checks

MS = 1000
ID = "0123456789abcdef" * 4
USER = "user.slice/user-1000.slice/user@1000.service"


@dataclass
class Used:
    """What one made cgroup used itself, and what ended in it."""

    cpu_us: int = 0
    memory: int = 0
    kills: int = 0
    moved: Counter[str] = field(default_factory=Counter)


class Tree:
    """A folder of files as the kernel shows them: each counts what is beneath it too, also what has ended."""

    def __init__(self, base: Path, known: str = "cpu io memory", has_root: bool = True) -> None:
        self.base, self.known, self.has_root = base, known, has_root
        self.sys = base.parent / "sys"
        self.used: dict[str, Used] = {"": Used()}
        base.mkdir(parents=True, exist_ok=True)
        self._devices(sda=[], dm_0=["sda"])

    def _devices(self, **devices: list[str]) -> None:
        (self.sys / "dev/block").mkdir(parents=True, exist_ok=True)
        for minor, (name, slaves) in enumerate(devices.items()):
            for slave in slaves or ["."]:
                (self.sys / "block" / name.replace("_", "-") / "slaves" / slave).mkdir(parents=True, exist_ok=True)
            link = self.sys / f"dev/block/8:{minor}"
            link.unlink(missing_ok=True)
            link.symlink_to(f"../../block/{name.replace('_', '-')}")

    def use(self, path: str, cpu_ms: float = 0, memory: int = 0, kills: int = 0, **moved: int) -> None:
        """`memory`: from now on. `moved`: `r_0=4096` are bytes read of the device 8:0."""
        parts = path.split("/")
        for count in range(1, len(parts) + 1):
            self.used.setdefault("/".join(parts[:count]), Used())
        mine = self.used[path]
        mine.cpu_us += round(cpu_ms * MS)
        mine.memory = memory or mine.memory
        mine.kills += kills
        mine.moved.update(moved)

    def end(self, path: str) -> None:
        """What it counted stays in its parent."""
        for gone in sorted((name for name in self.used if self._is_in(name, path)), reverse=True):
            ended = self.used.pop(gone)
            parent = self.used[gone.rpartition("/")[0]]
            parent.cpu_us, parent.kills = parent.cpu_us + ended.cpu_us, parent.kills + ended.kills
            parent.moved.update(ended.moved)
        # The kernel gives no inode twice; the file system of the test would.
        if (self.base / path).exists():
            (self.base / path).rename(self.base.parent / f"ended-{len(os.listdir(self.base.parent))}")

    def total_us(self, path: str = "") -> int:
        return sum(used.cpu_us for name, used in self.used.items() if self._is_in(name, path))

    @staticmethod
    def _is_in(name: str, path: str) -> bool:
        return not path or name == path or name.startswith(f"{path}/")

    def write(self) -> str:
        totals = {path: Used() for path in self.used}
        for path, used in self.used.items():
            parts = path.split("/")
            for above in {"", *("/".join(parts[:count]) for count in range(1, len(parts) + 1))}:
                total = totals[above]
                total.cpu_us, total.memory = total.cpu_us + used.cpu_us, total.memory + used.memory
                total.kills += used.kills
                total.moved.update(used.moved)
        for path, total in totals.items():
            folder = self.base / path
            folder.mkdir(parents=True, exist_ok=True)
            for file, text in self._files(path, total).items():
                (folder / file).write_text(text)
        return str(self.base)

    def _files(self, path: str, total: Used) -> dict[str, str]:
        usage, moved = total.cpu_us, total.moved
        files = {"cgroup.controllers": "cpu io memory", "cgroup.subtree_control": self.known}
        if path or self.has_root:
            files["cpu.stat"] = f"usage_usec {usage}\nuser_usec {usage}\nsystem_usec 0\nnice_usec 0\n"
        if "io" in self.known:
            lines = (f"8:{n} rbytes={moved[f'r_{n}']} wbytes={moved[f'w_{n}']} rios=1 wios=1 dbytes=0" for n in (0, 1))
            files["io.stat"] = "".join(f"{line}\n" for line in lines)
        if "memory" in self.known and path:
            files["memory.current"] = f"{total.memory}\n"
            files["memory.events"] = f"low 0\nmax 3\noom 1\noom_kill {total.kills}\n"
        return files

    def watch(self, count: int = 0) -> ServiceWatch:
        """It has taken its first capture."""
        watch = ServiceWatch(count, self.write(), str(self.sys / "dev/block"))
        assert watch.capture() is None
        return watch

    def capture(self, watch: ServiceWatch) -> list[ServiceUsage]:
        self.write()
        usages = watch.capture()
        assert usages is not None
        assert len({usage.name for usage in usages}) == len(usages)
        return usages


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "cgroup")


def cpu_ms(usages: list[ServiceUsage]) -> dict[str, float]:
    return {usage.name: round(usage.cpu_seconds * 1000, 3) for usage in usages}


def by_name(usages: list[ServiceUsage]) -> dict[str, ServiceUsage]:
    return {usage.name: usage for usage in usages}


def test_each_unit_has_what_it_used_itself_most_first(tree: Tree) -> None:
    tree.use("system.slice/a.service", cpu_ms=500)
    watch = tree.watch()
    tree.use("system.slice/a.service", cpu_ms=30)
    tree.use("system.slice/b.service", cpu_ms=50)
    tree.use(f"system.slice/docker-{ID}.scope", cpu_ms=40)
    tree.use("user.slice/user-7.slice/session-3.scope", cpu_ms=20)
    tree.use("", cpu_ms=10)
    usages = tree.capture(watch)
    assert cpu_ms(usages) == {
        "b.service": 50, "docker:0123456789ab": 40, "a.service": 30, "user-7/session-3.scope": 20, "/": 10,
    }  # fmt: skip
    assert [usage.kind for usage in usages] == ["service", "container", "service", "session", "root"]


def test_what_ends_between_two_captures_is_its_parents(tree: Tree) -> None:
    tree.use("system.slice/run-1.scope", cpu_ms=30)
    tree.use("system.slice/run-1.scope/libpod-" + ID, cpu_ms=30)
    watch = tree.watch()
    tree.use("system.slice/run-1.scope", cpu_ms=70)
    tree.use("system.slice/run-2.scope", cpu_ms=11)
    tree.end("system.slice/run-1.scope")
    tree.end("system.slice/run-2.scope")
    assert cpu_ms(tree.capture(watch)) == {"system.slice": 81}


def test_one_made_anew_under_its_name_counts_from_its_start(tree: Tree) -> None:
    tree.use("system.slice/a.service", cpu_ms=300)
    tree.use("system.slice/b.service", cpu_ms=10)
    watch = tree.watch()
    tree.end("system.slice/a.service")
    tree.use("system.slice/a.service", cpu_ms=20)
    tree.end("system.slice/b.service")
    tree.use("system.slice/b.service", cpu_ms=40)
    assert cpu_ms(tree.capture(watch)) == {"b.service": 40, "a.service": 20}


def test_one_whose_counter_is_lower_was_made_anew_too(tree: Tree) -> None:
    tree.use("system.slice/a.service", cpu_ms=300)
    watch = tree.watch()
    tree.used["system.slice/a.service"].cpu_us = 20 * MS
    tree.use("system.slice", cpu_ms=300)
    assert cpu_ms(tree.capture(watch))["a.service"] == 20


def test_all_beneath_a_container_and_a_plain_folder_of_a_service_is_one_row(tree: Tree) -> None:
    watch = tree.watch()
    tree.use("lxc.payload.web/system.slice/nginx.service", cpu_ms=30)
    tree.use("lxc.payload.web/init.scope", cpu_ms=10)
    tree.use("system.slice/ci.service/jobs/7", cpu_ms=20, memory=5)
    tree.use("system.slice/ci.service", cpu_ms=30, memory=7)
    tree.use(f"system.slice/ci.service/jobs/docker-{ID}.scope", cpu_ms=11, memory=9)
    usages = by_name(tree.capture(watch))
    assert cpu_ms(list(usages.values())) == {"lxc:web": 40, "ci.service": 50, "docker:0123456789ab": 11}
    assert usages["ci.service"].memory_bytes == 12


def test_units_of_a_user_manager_stand_apart_from_the_hosts(tree: Tree) -> None:
    tree.use("system.slice/sync.service", cpu_ms=10)
    tree.use(f"{USER}/app.slice/sync.service", cpu_ms=10)
    watch = tree.watch()
    tree.use("system.slice/sync.service", cpu_ms=20)
    tree.use(f"{USER}/app.slice/sync.service", cpu_ms=30)
    tree.use(USER, cpu_ms=40)
    assert cpu_ms(tree.capture(watch)) == {
        "user@1000.service": 40, "user@1000.service/sync.service": 30, "sync.service": 20,
    }  # fmt: skip


def test_memory_is_without_the_childrens_and_the_largest_are_there_though_they_rest(tree: Tree) -> None:
    tree.use("system.slice/big.service", memory=900)
    tree.use("system.slice/small.service", memory=10)
    tree.use("system.slice", memory=50)
    watch = tree.watch(count=2)
    tree.use("system.slice/busy.service", cpu_ms=20, memory=20)
    tree.use("system.slice/big.service", memory=700)
    usages = tree.capture(watch)
    assert [(usage.name, usage.memory_bytes) for usage in usages] == [
        ("busy.service", 20), ("big.service", 700), ("system.slice", 50),
    ]  # fmt: skip
    assert (usages[1].cpu_seconds, usages[1].read_bytes, usages[1].oom_kills) == (0, 0, 0)


def test_the_largest_is_found_among_more_than_one_capture_reads(tree: Tree) -> None:
    for number in range(300):
        tree.use(f"system.slice/s{number}.service", cpu_ms=1, memory=10 + number)
    watch = tree.watch(count=1)
    for _ in range(3):
        tree.use("system.slice/s0.service", cpu_ms=20)
        usages = tree.capture(watch)
    assert [(usage.name, usage.memory_bytes) for usage in usages] == [("s0.service", 10), ("s299.service", 309)]


def test_an_oom_kill_is_counted_once_where_it_was(tree: Tree) -> None:
    tree.use("system.slice/a.service", kills=2)
    watch = tree.watch()
    tree.use("system.slice/a.service", cpu_ms=1, kills=1)
    tree.use(f"{USER}/app.slice/b.service", cpu_ms=30, kills=2)
    usages = by_name(tree.capture(watch))
    assert {name: usage.oom_kills for name, usage in usages.items()} == {
        "a.service": 1, "user@1000.service/b.service": 2,
    }  # fmt: skip
    tree.use("system.slice/a.service", cpu_ms=30)
    assert by_name(tree.capture(watch))["a.service"].oom_kills == 0


def test_bytes_are_those_of_disks_and_not_again_of_what_stands_on_them(tree: Tree) -> None:
    tree.use("system.slice/db.service", cpu_ms=1, r_0=1000, w_0=50, r_1=1000)
    watch = tree.watch()
    tree.use("system.slice/db.service", r_0=4096, w_0=512, r_1=4096, w_1=512)
    tree.use("system.slice", w_0=7)
    tree.use("", r_0=3)
    usages = by_name(tree.capture(watch))
    assert {name: (usage.read_bytes, usage.written_bytes) for name, usage in usages.items()} == {
        "db.service": (4096, 512), "system.slice": (0, 7), "/": (3, 0),
    }  # fmt: skip


def test_what_a_controller_does_not_count_is_unknown(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "cgroup", known="cpu")
    watch = tree.watch(count=3)
    tree.use("a.service", cpu_ms=20)
    assert tree.capture(watch) == [ServiceUsage("a.service", "service", 0.02, None, None, None, None)]


def test_without_a_count_for_the_root_there_is_no_row_of_it(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "cgroup", has_root=False)
    tree.use("a.service", cpu_ms=20)
    watch = tree.watch()
    tree.use("a.service", cpu_ms=30)
    tree.use("", cpu_ms=90)
    assert cpu_ms(tree.capture(watch)) == {"a.service": 30}


def test_what_is_too_little_for_a_row_waits_until_it_is_one(tree: Tree) -> None:
    tree.use("a.slice/a.service", cpu_ms=1)
    watch = tree.watch()
    seen = []
    for _ in range(4):
        tree.use("a.slice/a.service", cpu_ms=4)
        seen.append(cpu_ms(tree.capture(watch)))
    assert seen == [{}, {}, {"a.service": 12}, {}]


def test_little_that_ended_waits_with_the_parent_until_it_is_a_row(tree: Tree) -> None:
    tree.use("a.slice/a.service", cpu_ms=1)
    watch = tree.watch()
    seen = []
    for _ in range(3):
        tree.use("a.slice/a.service", cpu_ms=20)
        tree.use("a.slice/job.scope", cpu_ms=4)
        tree.end("a.slice/job.scope")
        seen.append(cpu_ms(tree.capture(watch)))
    assert seen == [{"a.service": 20}, {"a.service": 20}, {"a.service": 20, "a.slice": 12}]


def test_what_waited_with_a_unit_is_its_parents_when_it_ends(tree: Tree) -> None:
    tree.use("a.slice/a.service", cpu_ms=1)
    tree.use("a.slice/b.service", cpu_ms=1)
    watch = tree.watch()
    for _ in range(2):
        tree.use("a.slice/a.service", cpu_ms=20)
        tree.use("a.slice/b.service", cpu_ms=4)
        assert cpu_ms(tree.capture(watch)) == {"a.service": 20}
    tree.use("a.slice/b.service", cpu_ms=4)
    tree.end("a.slice/b.service")
    tree.use("a.slice/a.service", cpu_ms=20)
    assert cpu_ms(tree.capture(watch)) == {"a.service": 20, "a.slice": 12}


def test_bytes_add_up_where_there_are_more_units_than_one_capture_asks(tree: Tree) -> None:
    """Pages that wait to be written are written for units that rest."""
    paths = [f"a.slice/s{number:03}.service" for number in range(150)]
    for path in paths:
        tree.use(path, cpu_ms=1, w_0=5)
    watch = tree.watch()
    for turn in range(6):
        for path in paths:
            tree.use(path, w_0=100 if turn < 4 else 10)
        usages = tree.capture(watch)
        assert sum(usage.written_bytes or 0 for usage in usages) == 150 * (100 if turn < 4 else 10)
        assert min(usage.written_bytes or 0 for usage in usages) >= 0


def test_beyond_forty_rows_the_least_are_their_parents(tree: Tree) -> None:
    tree.use("system.slice")
    watch = tree.watch()
    for number in range(100):
        tree.use(f"system.slice/s{number:02}.service", cpu_ms=100 + number)
    rows = cpu_ms(tree.capture(watch))
    assert len(rows) == 41
    assert rows["s99.service"] == 199
    assert rows["/"] == sum(100 + number for number in range(60))


def test_an_oom_kill_is_a_row_though_forty_others_used_more(tree: Tree) -> None:
    watch = tree.watch()
    for number in range(50):
        tree.use(f"s{number:02}.service", cpu_ms=100)
    for number in range(45):
        tree.use(f"killed{number}.service", cpu_ms=10, kills=1)
    rows = tree.capture(watch)
    assert sum(usage.oom_kills or 0 for usage in rows) == 45


def test_of_more_cgroups_than_are_known_the_rest_is_their_parents(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "_MOST_GROUPS", 4)
    for number in range(4):
        tree.use(f"a.slice/s{number}.service", cpu_ms=1000)
    watch = tree.watch()
    assert watch.is_cut
    for number in range(4):
        tree.use(f"a.slice/s{number}.service", cpu_ms=20)
    rows = cpu_ms(tree.capture(watch))
    assert rows.pop("a.slice") == 40
    assert list(rows.values()) == [20, 20]
    for name in rows:
        tree.end(f"a.slice/{name}")
    others = {f"s{number}.service" for number in range(4)} - rows.keys()
    for name in others:
        tree.use(f"a.slice/{name}", cpu_ms=30)
    # They turn up, and are not new: what they used until then was their parent's.
    assert cpu_ms(tree.capture(watch)) == {"a.slice": 60}
    for name in others:
        tree.use(f"a.slice/{name}", cpu_ms=30)
    assert cpu_ms(tree.capture(watch)) == dict.fromkeys(others, 30)


def test_what_vanishes_while_it_is_read_is_its_parents(tree: Tree) -> None:
    tree.use("a.slice/a.service", cpu_ms=10)
    watch = tree.watch()
    tree.use("a.slice/a.service", cpu_ms=20)
    tree.use("a.slice/b.service", cpu_ms=20)
    tree.write()
    for name in ("a", "b"):
        (tree.base / f"a.slice/{name}.service/cpu.stat").unlink()
    usages = watch.capture()
    assert usages is not None
    assert cpu_ms(usages) == {"a.slice": 40}


def test_a_capture_that_fails_is_followed_by_a_first_one(tree: Tree) -> None:
    watch = tree.watch()
    tree.use("a.service", cpu_ms=20)
    tree.write()
    (tree.base / "a.service/cpu.stat").unlink()
    (tree.base / "a.service/cpu.stat").mkdir()
    with pytest.raises(IsADirectoryError):
        watch.capture()
    (tree.base / "a.service/cpu.stat").rmdir()
    tree.write()
    assert watch.capture() is None
    tree.use("a.service", cpu_ms=30)
    assert cpu_ms(tree.capture(watch)) == {"a.service": 30}


PATHS = st.sampled_from([
    "", "a.slice", "a.slice/x.service", "a.slice/y.scope", "a.slice/x.service/plain", "a.slice/x.service/plain/z.scope",
    f"a.slice/docker-{ID}.scope", "lxc.payload.c/system.slice/x.service", "other/deep", f"{USER}/app.slice/x.service",
])  # fmt: skip
USE = st.tuples(PATHS, st.integers(0, 60_000))
END = st.tuples(PATHS.filter(bool), st.none())
ROUNDS = st.lists(st.lists(st.one_of(USE, END), max_size=8), min_size=2, max_size=6)


def _play(tree: Tree, steps: list[tuple[str, int | None]], grain_us: int) -> None:
    for path, used in steps:
        if used is not None:
            tree.use(path, cpu_ms=used // grain_us * grain_us / MS, r_0=used)
        elif path in tree.used:
            tree.end(path)


@settings(max_examples=60)
@given(rounds=ROUNDS)
def test_rows_add_up_to_the_roots_own_difference(rounds: list[list[tuple[str, int | None]]]) -> None:
    """In whole hundredths of a second, so that nothing is too little for a row."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder) / "cgroup")
        _play(tree, rounds[0], LEAST_CPU_US)
        watch, before, moved = tree.watch(), tree.total_us(), _moved(tree)
        for steps in rounds[1:]:
            _play(tree, steps, LEAST_CPU_US)
            usages = tree.capture(watch)
            assert round(sum(usage.cpu_seconds for usage in usages) * 1e6) == tree.total_us() - before
            assert sum(usage.read_bytes or 0 for usage in usages) == _moved(tree) - moved
            before, moved = tree.total_us(), _moved(tree)


def _moved(tree: Tree) -> int:
    return sum(used.moved["r_0"] for used in tree.used.values())


@settings(max_examples=60)
@given(rounds=ROUNDS)
def test_of_any_amounts_nothing_is_counted_twice_and_no_more_waits_than_a_row_each(
    rounds: list[list[tuple[str, int | None]]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder) / "cgroup")
        _play(tree, rounds[0], 1)
        watch, start, rows = tree.watch(), tree.total_us(), 0
        for steps in rounds[1:]:
            _play(tree, steps, 1)
            rows += round(sum(usage.cpu_seconds for usage in tree.capture(watch)) * 1e6)
            waits = tree.total_us() - start - rows
            assert 0 <= waits < 2 * LEAST_CPU_US * len(tree.used)


@pytest.mark.parametrize(
    ("files", "kind", "level", "said"),
    [
        ([], "none", "note", "no cgroups"),
        (["memory/tasks"], "v1", "note", "only cgroups of version 1"),
        (["memory/tasks", "unified/cgroup.controllers"], "hybrid", "note", "but not memory and bytes"),
        (["cgroup.controllers"], "v2", "ok", "cgroup v2"),
    ],
)
def test_check_says_which_cgroups_there_are(tmp_path: Path, files: list[str], kind: str, level: str, said: str) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
        (tmp_path / file).with_name("cgroup.subtree_control").write_text("cpu io memory\n" if kind == "v2" else "")
    assert hierarchy(str(tmp_path)) == kind
    found = checks.services(str(tmp_path))
    assert (found.level, said in found.detail) == (level, True)
    if kind in ("none", "v1"):
        watch = ServiceWatch(5, str(tmp_path))
        assert [watch.capture(), watch.capture(), watch.service_of(os.getpid())] == [None, None, None]


# Real cgroups.

MOUNT = Path("/sys/fs/cgroup")
REAL = {"v2": MOUNT, "hybrid": MOUNT / "unified"}.get(hierarchy(), MOUNT)
CPUACCT = MOUNT / "cpuacct"
needs_cgroups = pytest.mark.skipif(
    os.geteuid() != 0 or hierarchy() not in ("v2", "hybrid") or not os.access(REAL, os.W_OK),
    reason="needs root and a mount of cgroup v2 that can be written",
)
BURN = "import time\nwhile time.process_time() < {seconds}: pass"


class Real:
    """Cgroups of the kernel's, below a slice of the test's own."""

    def __init__(self, top: str) -> None:
        self.top = top
        self.make("")

    def make(self, path: str, mount: Path = REAL) -> Path:
        folder = mount / self.top / path
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def start(self, *folders: Path, seconds: float) -> "subprocess.Popen[bytes]":
        """A process that is in them from its start to its end."""
        enter = "".join(f"echo $$ > '{folder}/cgroup.procs'; " for folder in folders)
        return subprocess.Popen(["sh", "-c", f'{enter}exec "$0" -c "$1"', sys.executable, BURN.format(seconds=seconds)])

    def burn(self, *folders: Path, seconds: float) -> None:
        assert self.start(*folders, seconds=seconds).wait(60) == 0

    def remove(self) -> None:
        for mount in (REAL, CPUACCT):
            for folder, _, _ in os.walk(os.fsencode(mount / self.top), topdown=False):
                os.rmdir(folder)


@pytest.fixture
def real() -> Iterator[Real]:
    real = Real(f"tidemark-test-{os.getpid()}.slice")
    yield real
    real.remove()


def captured(watch: ServiceWatch) -> dict[str, ServiceUsage]:
    usages = watch.capture()
    assert usages is not None
    return by_name(usages)


@needs_cgroups
@pytest.mark.skipif(not CPUACCT.exists(), reason="needs cpuacct of cgroup v1, which counts the same apart")
def test_a_unit_of_short_processes_is_what_cpuacct_counts(real: Real) -> None:
    folder, oracle = real.make("short.service"), real.make("short.service", CPUACCT)
    watch = ServiceWatch(5)
    watch.capture()
    for _ in range(12):
        real.burn(folder, oracle, seconds=0.03)
    counted = int((oracle / "cpuacct.usage").read_text()) / 1e9
    assert captured(watch)["short.service"].cpu_seconds == pytest.approx(counted, rel=0.05)
    assert counted > 0.36


@needs_cgroups
def test_a_real_scope_that_ends_between_captures_is_its_parents(real: Real) -> None:
    folder = real.make(f"docker-{ID}.scope")
    watch = ServiceWatch(5)
    watch.capture()
    real.burn(folder, seconds=0.2)
    folder.rmdir()
    rows = captured(watch)
    assert "docker:0123456789ab" not in rows
    assert 0.2 <= rows[real.top].cpu_seconds < 0.5


@needs_cgroups
def test_a_real_scope_made_anew_counts_from_its_start(real: Real) -> None:
    folder = real.make("job.scope")
    real.burn(folder, seconds=0.1)
    watch = ServiceWatch(5)
    watch.capture()
    folder.rmdir()
    real.burn(real.make("job.scope"), seconds=0.3)
    assert 0.3 <= captured(watch)["job.scope"].cpu_seconds < 0.6


@needs_cgroups
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("user-7.slice/user@7.service/app.slice/foo.service", "user@7.service/foo.service"),
        ("user-7.slice/session-3.scope", "user-7/session-3.scope"),
        ("user-7.slice/user@7.service/app.slice/plain/deeper", "user@7.service/app.slice"),
        (f"docker/{ID}/inner", "docker:0123456789ab"),
        (b"\xff\x1b[31m \x80(deleted).service".decode("utf-8", "surrogateescape"), "�\x1b[31m �(deleted).service"),
    ],
)
def test_a_process_has_the_name_that_its_unit_has_in_the_capture(real: Real, path: str, name: str) -> None:
    folder = real.make(path)
    watch = ServiceWatch(5)
    watch.capture()
    process = subprocess.Popen([sys.executable, "-c", BURN.format(seconds=60)])
    try:
        (folder / "cgroup.procs").write_text(str(process.pid))
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        assert watch.service_of(process.pid) == (name, captured(watch)[name].kind)
    finally:
        process.kill()
        process.wait(10)
    assert watch.service_of(process.pid) is None


@needs_cgroups
def test_cgroups_that_come_and_go_meanwhile_do_no_harm(real: Real) -> None:
    over = threading.Event()

    def churn() -> None:
        while not over.is_set():
            for number in range(20):
                real.make(f"n{number}.scope/below.scope")
            for number in range(20):
                (REAL / real.top / f"n{number}.scope/below.scope").rmdir()
                (REAL / real.top / f"n{number}.scope").rmdir()

    watch = ServiceWatch(5)
    watch.capture()
    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(100):
            assert watch.capture() is not None
    finally:
        over.set()
        thread.join(30)
