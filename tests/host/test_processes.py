"""Who uses the host, from two captures of a real /proc."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.host import processes
from service.host.processes import ProcessWatch, Seen, parse_stat, reaped_ticks, ticks_since
from service.records import NameUsage, ProcessUsage
from tests.running import until

BUSY = """
import ctypes, sys, time
ctypes.CDLL(None).prctl(15, sys.argv[1].encode(), 0, 0, 0)
held = bytearray(int(sys.argv[2])); held[::4096] = b"x" * len(held[::4096])
print(flush=True)
while True: pass
"""


@contextmanager
def busy(name: str, memory_bytes: int = 1) -> Iterator["subprocess.Popen[str]"]:
    """A process of that name that uses a CPU and holds so much memory."""
    process = subprocess.Popen([sys.executable, "-c", BUSY, name, str(memory_bytes)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def captured(watch: ProcessWatch, seconds: float = 0.5) -> dict[int, ProcessUsage]:
    watch.capture()
    time.sleep(seconds)
    return {usage.pid: usage for usage in processes_of(watch)}


def processes_of(watch: ProcessWatch) -> Sequence[ProcessUsage]:
    """The single processes of a capture after the first."""
    found = watch.capture()
    assert found is not None
    return found.processes


def names_in(watch: ProcessWatch) -> dict[str, NameUsage]:
    found = watch.capture()
    assert found is not None
    return {usage.name: usage for usage in found.names}


def test_of_the_first_capture_nothing_is_known() -> None:
    assert ProcessWatch(5).capture() is None


def test_a_busy_process_has_its_name_and_what_the_kernel_counted() -> None:
    with busy("wordcount") as process:
        begun = sum(os.times()[:2])
        usage = captured(ProcessWatch(100))[process.pid]
        assert begun <= sum(os.times()[:2])
    assert usage.name == "wordcount"
    assert 0.05 < usage.cpu_seconds < 5


def test_a_large_process_is_kept_though_it_uses_no_cpu() -> None:
    # Larger than whatever else runs: the whole of it is resident.
    size = 600 * 10**6
    with busy("large", size) as process:
        os.kill(process.pid, 19)  # SIGSTOP
        usages = captured(ProcessWatch(3), 0.1)
        assert usages[process.pid].memory_bytes >= size
        assert usages[process.pid].cpu_seconds < 0.1


def test_a_process_that_grows_is_kept_long_before_it_is_among_the_largest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a host that stands still but for one that grows, one that hardly does, and one that has just come."""
    sizes = {1: (900, 900), 2: (800, 800), 3: (20, 45), 4: (50, 50.5)}
    rounds = [
        {pid: Seen(f"p{pid}", 1, 0, int(pair[number] * 10**6)) for pid, pair in sizes.items()} for number in (0, 1)
    ]
    rounds[1][5] = Seen("new", 2, 0, 400 * 10**6)
    captures = iter(rounds)
    monkeypatch.setattr(processes, "_all", lambda: next(captures).items())
    watch = ProcessWatch(1)
    watch.capture()
    assert {usage.name for usage in processes_of(watch)} == {"p1", "p3"}


def test_that_little_more_memory_is_no_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = iter([{1: Seen("a", 1, 0, size), 2: Seen("b", 1, 0, 10**9)} for size in (100, 2**20)])
    monkeypatch.setattr(processes, "_all", lambda: next(rounds).items())
    watch = ProcessWatch(1)
    watch.capture()
    assert [usage.name for usage in processes_of(watch)] == ["b"]


def test_a_process_that_began_since_the_last_capture_counts_from_its_start() -> None:
    watch = ProcessWatch(100)
    watch.capture()
    with busy("fresh") as process:
        until(lambda: sum(psutil.Process(process.pid).cpu_times()[:2]) > 0.1)
        (usage,) = [usage for usage in processes_of(watch) if usage.pid == process.pid]
    assert usage.cpu_seconds > 0.05


def test_one_that_ended_between_two_captures_is_left_out() -> None:
    watch = ProcessWatch(100)
    watch.capture()
    with busy("gone") as process:
        pass
    assert process.pid not in {usage.pid for usage in processes_of(watch)}


def test_no_more_are_kept_than_asked_for_by_each_measure() -> None:
    with busy("one"), busy("two"), busy("three"):
        assert 0 < len(captured(ProcessWatch(1), 0.2)) <= 3


def test_only_the_name_that_the_kernel_keeps_is_read_never_a_command_line_or_an_environment() -> None:
    code = (
        "import sys\n"
        "from service.host.processes import ProcessWatch\n"
        "opened = []\n"
        "sys.addaudithook(lambda event, a: opened.append(str(a[0])) if event == 'open' else None)\n"
        "watch = ProcessWatch(5); watch.capture(); watch.capture()\n"
        "print(sorted({name.rsplit('/', 1)[1] for name in opened if name.startswith('/proc/')}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['stat']"


@given(st.binary(max_size=15).filter(lambda name: b"\0" not in name))
def test_any_name_is_taken_whatever_bytes_it_holds(name: bytes) -> None:
    fields = b" ".join(str(number).encode() for number in range(4, 30))
    seen = parse_stat(b"17 (" + name + b") S " + fields)
    assert seen.name == name.decode("utf-8", "replace")
    assert (seen.cpu_ticks, seen.started_ticks) == (14 + 15, 22)
    assert seen.memory_bytes == 24 * os.sysconf("SC_PAGE_SIZE")
    seen.name.encode()


def stat_of(name: str, started: int = 22, flags: int = 0, stack: int = 28) -> bytes:
    fields = {9: flags, 22: started, 28: stack}
    return f"7 ({name}) S {' '.join(str(fields.get(number, number)) for number in range(4, 53))}".encode()


def names_of(monkeypatch: pytest.MonkeyPatch, *stats: bytes) -> list[str]:
    """The names that one process has in the captures after the first."""
    seen = [parse_stat(stat) for stat in stats]
    captures = iter(seen)
    monkeypatch.setattr(processes, "_all", lambda: [(7, next(captures))])
    watch = ProcessWatch(5)
    watch.capture()
    return [usage.name for _ in seen[1:] for usage in processes_of(watch)]


KERNEL_THREAD = 0x00200000 | 0x40


def test_a_worker_of_the_kernel_keeps_the_name_under_which_it_was_first_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["kworker/0:1-events", "kworker/0:1+ext4-rsv-c", "kworker/0:1-mm_perc", "kworker/0:1"]
    stats = [stat_of(name, flags=KERNEL_THREAD, stack=0) for name in names]
    assert names_of(monkeypatch, *stats) == ["kworker/0:1-events"] * 3


def test_a_process_that_renames_itself_keeps_its_first_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert names_of(monkeypatch, *[stat_of(name) for name in "abc"]) == ["a", "a"]


def test_a_process_that_executes_another_program_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (
        names_of(monkeypatch, stat_of("sh", stack=5), stat_of("java", stack=6), stat_of("gc", stack=6)) == ["java"] * 2
    )


def test_where_it_is_not_known_which_program_runs_the_present_name_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    assert names_of(monkeypatch, stat_of("sh", stack=0), stat_of("java", stack=0)) == ["java"]


def test_another_process_of_the_same_pid_has_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert names_of(monkeypatch, stat_of("a", started=1), stat_of("b", started=2)) == ["b"]


def test_of_a_real_process_a_new_name_is_distinguished_from_a_new_program() -> None:
    rename = (
        "import ctypes, os, sys\n"
        "for step in sys.stdin:\n"
        "    if step == 'exec\\n': os.execvp('sleep', ['sleep', '60'])\n"
        "    ctypes.CDLL(None).prctl(15, step.strip().encode(), 0, 0, 0)\n"
        "    print(flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", rename], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    )
    assert process.stdin is not None
    assert process.stdout is not None
    watch, names = ProcessWatch(10**6), []
    with process:
        for step in ("first", "second", "third", "exec"):
            process.stdin.write(f"{step}\n")
            if step == "exec":
                process.stdin.close()
                # Just after it has begun, a program has no memory yet, and nothing by which it would be kept.
                while not (seen := parse_stat(Path(f"/proc/{process.pid}/stat").read_bytes())).memory_bytes or (
                    seen.name != "sleep"
                ):
                    time.sleep(0.01)
            else:
                process.stdout.readline()
            found = watch.capture()
            names += [usage.name for usage in found.processes if usage.pid == process.pid] if found else []
        process.kill()
    assert names == ["first", "first", "sleep"]


def test_a_pid_that_was_given_to_another_process_is_another_process() -> None:
    before, now = Seen("a", 1, 100, 0), Seen("b", 2, 30, 0)
    assert ticks_since(now, before) == 30
    assert ticks_since(now, Seen("b", 2, 10, 0)) == 20


def test_what_vanishes_or_is_denied_meanwhile_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.psutil, "pids", lambda: [os.getpid(), 2**22 + 1])
    watch = ProcessWatch(5)
    watch.capture()
    assert {usage.pid for usage in processes_of(watch)} == {os.getpid()}


# -- names whole


def test_forty_equal_workers_are_one_name_whole_though_few_of_them_are_listed() -> None:
    with ExitStack() as workers:
        pids = {workers.enter_context(busy("pool", 2 * 2**20)).pid for _ in range(40)}
        watch = ProcessWatch(2)
        _signal(pids, signal.SIGSTOP)  # so that their use stands still while it is read
        watch.capture()
        begun = sum(_cpu_seconds(pid) for pid in pids)
        _signal(pids, signal.SIGCONT)
        until(lambda: sum(_cpu_seconds(pid) for pid in pids) - begun > 0.5)
        _signal(pids, signal.SIGSTOP)
        found = watch.capture()
        used = sum(_cpu_seconds(pid) for pid in pids) - begun
        _signal(pids, signal.SIGCONT)
    assert found is not None
    pool = next(usage for usage in found.names if usage.name == "pool")
    assert pool.process_count == 40
    assert pool.cpu_seconds == pytest.approx(used, rel=0.15)
    assert pool.memory_bytes > 40 * 2 * 2**20
    assert len([usage for usage in found.processes if usage.name == "pool"]) <= 3 * 2
    assert {usage.name for usage in found.processes} <= {usage.name for usage in found.names}


def _signal(pids: Iterable[int], number: int) -> None:
    """Send it, and wait until each has stopped or goes on."""
    for pid in pids:
        os.kill(pid, number)
    is_stopped = number == signal.SIGSTOP
    until(lambda: all((psutil.Process(pid).status() == psutil.STATUS_STOPPED) == is_stopped for pid in pids))


def _cpu_seconds(pid: int) -> float:
    return parse_stat(Path(f"/proc/{pid}/stat").read_bytes()).cpu_ticks / os.sysconf("SC_CLK_TCK")


def test_all_processes_are_counted_and_their_memory_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = iter([{n: Seen(f"p{n}", 1, 0, n * 1000) for n in range(1, 31)} for _ in range(2)])
    monkeypatch.setattr(processes, "_all", lambda: next(rounds).items())
    watch = ProcessWatch(2)
    watch.capture()
    found = watch.capture()
    assert found is not None
    assert (found.process_count, found.memory_bytes) == (30, 1000 * sum(range(1, 31)))
    assert [usage.name for usage in found.names] == ["p30", "p29"]


# -- children that have ended

SPIN = "import time; begun = time.process_time()\nwhile time.process_time() - begun < {seconds}: pass"


def test_what_children_used_that_lived_and_died_between_two_captures_is_the_parents() -> None:
    code = (
        "import subprocess, sys\n"
        "for line in sys.stdin:\n"
        "    subprocess.run([sys.executable, '-c', line.replace('|', chr(10))])\n"
        "    print(flush=True)"
    )
    shell = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert shell.stdin is not None
    assert shell.stdout is not None
    watch = ProcessWatch(1000)
    with shell:
        watch.capture()
        shell.stdin.write(SPIN.format(seconds=0.4).replace("\n", "|") + "\n")
        shell.stdin.flush()
        shell.stdout.readline()
        found = {usage.pid: usage for usage in processes_of(watch)}[shell.pid]
        again = {usage.pid: usage for usage in processes_of(watch)}[shell.pid]
        shell.stdin.close()
    assert 0.4 <= found.children_cpu_seconds <= found.cpu_seconds < 2
    assert again.children_cpu_seconds == 0


def test_what_a_child_was_given_before_is_not_given_again_to_the_parent_that_waits_for_it() -> None:
    before = {1: Seen("init", 1, 0, 0), 10: Seen("make", 2, 5, 0, parent=1), 11: Seen("cc", 3, 100, 0, parent=10)}
    now = {1: Seen("init", 1, 0, 0), 10: Seen("make", 2, 6, 0, parent=1, children_ticks=130)}
    assert reaped_ticks(now, before, {}) == ({10: 30}, {})


def test_a_chain_of_shells_counts_once() -> None:
    """The issue's 177 %: two shells under make end with their compiler; make alone is left."""
    before = {
        10: Seen("make", 2, 0, 0, parent=1),
        11: Seen("sh", 3, 1, 0, parent=10),
        12: Seen("sh", 4, 1, 0, parent=11),
        13: Seen("cc", 5, 1000, 0, parent=12),
    }
    now = {10: Seen("make", 2, 0, 0, parent=1, children_ticks=1 + 1 + 1077)}
    assert reaped_ticks(now, before, {})[0] == {10: 77}


def test_an_orphan_is_taken_off_from_the_ancestor_that_waits_for_it() -> None:
    before = {
        1: Seen("init", 1, 0, 0),
        10: Seen("shell", 2, 0, 0, parent=1),
        11: Seen("daemonizer", 3, 5, 0, parent=10),
        12: Seen("worker", 4, 500, 0, parent=11),
    }
    now = {1: Seen("init", 1, 0, 0, children_ticks=510), 10: Seen("shell", 2, 0, 0, parent=1, children_ticks=5)}
    assert reaped_ticks(now, before, {}) == ({1: 10, 10: 0}, {})


def test_a_child_that_ends_while_the_processes_are_read_is_taken_off_at_the_next_capture() -> None:
    before = {10: Seen("make", 2, 0, 0, parent=1), 11: Seen("cc", 3, 100, 0, parent=10)}
    # make was read before it had waited for cc, cc after.
    amid = {10: Seen("make", 2, 0, 0, parent=1)}
    grown, owed = reaped_ticks(amid, before, {})
    assert (grown, owed) == ({}, {10: 100})
    after = {10: Seen("make", 2, 0, 0, parent=1, children_ticks=120)}
    assert reaped_ticks(after, amid, owed) == ({10: 20}, {})


class Kernel:
    """Processes as the kernel accounts for them: who waits for a child is given all that it used."""

    def __init__(self) -> None:
        self.there = {1: Seen("init", 1, 0, 0)}
        self.clock = 1

    def act(self, what: int, where: int, ticks: int) -> int:
        """Fork, work or exit.

        :returns: the CPU ticks that were used.
        """
        pid = sorted(self.there)[where % len(self.there)]
        seen = self.there[pid]
        self.clock += 1
        if what == 0:
            # A pid may come back for another process.
            new = next(number for number in range(2, 100) if number not in self.there)
            self.there[new] = Seen(f"p{self.clock % 3}", self.clock, 0, 0, parent=pid)
            return 0
        if what == 1:
            self.there[pid] = seen._replace(cpu_ticks=seen.cpu_ticks + ticks)
            return ticks
        if pid != 1:
            del self.there[pid]
            parent = self.there[seen.parent]
            given = parent.children_ticks + seen.cpu_ticks + seen.children_ticks
            self.there[seen.parent] = parent._replace(children_ticks=given)
            for number, child in self.there.items():
                if child.parent == pid:
                    self.there[number] = child._replace(parent=1)
        return 0


acts = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(1, 100)), max_size=40)


@given(st.lists(acts, min_size=2, max_size=6))
def test_nothing_is_counted_twice_and_nothing_is_lost_whoever_lives_dies_and_waits(rounds: list[Any]) -> None:
    kernel = Kernel()
    before, owed = dict(kernel.there), {}
    for acts in rounds:
        used = sum(kernel.act(*act) for act in acts)
        now = dict(kernel.there)
        reaped, owed = reaped_ticks(now, before, owed)
        counted = sum(ticks_since(seen, before.get(pid)) + reaped.get(pid, 0) for pid, seen in now.items())
        assert (counted, owed) == (used, {})
        before = now


def test_children_are_cut_to_what_the_cpus_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = iter(
        [
            {10: Seen("make", 2, 0, 0), 11: Seen("other", 3, 0, 0)},
            {10: Seen("make", 2, 100, 0, children_ticks=400), 11: Seen("other", 3, 100, 0)},
        ]
    )
    monkeypatch.setattr(processes, "_all", lambda: next(rounds).items())
    watch = ProcessWatch(5)
    watch.capture()
    found = watch.capture(busy_seconds=5.0)
    assert found is not None
    assert {usage.name: (usage.cpu_seconds, usage.children_cpu_seconds) for usage in found.names} == {
        "make": (4.0, 3.0),
        "other": (1.0, 0.0),
    }
