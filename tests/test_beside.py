"""Tidemark beside others: what is installed is measured, what is not is said."""

import time
from pathlib import Path

from benchmarks import beside
from benchmarks.beside import Spent, Tool, row, running, spent


def test_all_processes_of_a_tool_are_counted_and_ended(tmp_path: Path) -> None:
    shell = ["sh", "-c", "python3 -c 'for _ in range(3_000_000): pass\nimport time; time.sleep(60)' & wait"]
    folder = tmp_path / "tool"
    with running(Tool("busy", lambda *_: [shell]), folder) as pids:
        (folder / "kept").write_bytes(bytes(10_000))
        until = time.monotonic() + 30
        while (found := spent(pids, folder)).cpu_ms < 20 and time.monotonic() < until:
            time.sleep(0.1)
        everyone = beside.family(pids)
    assert len(everyone) == 2
    assert found.cpu_ms >= 20
    assert found.kept >= 10_000
    assert not any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)


def test_what_is_not_installed_has_no_process(tmp_path: Path) -> None:
    with running(Tool("none", lambda *_: None), tmp_path / "none") as pids:
        assert pids == []


def test_a_row_is_by_the_second_and_by_the_day() -> None:
    told = row("x", Spent(10.0, 0, 500), Spent(30.0, 2**20, 1500), 10.0, (3.0, 2.0))
    assert told == "| x | 2.00 ms | 3.0 MiB | 2.0 MiB | 100 bytes | 8,640 MiB |"
