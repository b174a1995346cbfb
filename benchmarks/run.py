"""Measures Tidemark and prints one table: `python3 benchmarks/run.py [--quick] [--long] [--only PART] [--list]
[--against COMMIT]`.

It starts real daemons on free ports of 127.0.0.1, over generated histories in a temporary folder (TMPDIR decides on
which disk), and changes to the project's .venv by itself. All parts take some nine minutes, or four with --quick. The
exit code is 1 if a figure is over its bar or a part fails. Figures are medians or means over many repetitions; on a
busy machine run again before you believe one. CPU is what the kernel counted for the process (schedstat), so other
programs disturb it little; USS is lower while other programs run the same Python. The HTTP client of `endpoint` is wrk,
if it is installed, and else a Python one.

`--against COMMIT` compares this checkout with a commit instead, in seven minutes: daemons of both run in turn, and the
ratio of each figure is printed. The exit code is 1 if one is over 1.25, and again when all is measured a second time.
On a machine that does other work only ratios of one run say something. With --quick, and valgrind, instructions are
counted instead of seconds, in 80 s, which any machine does alike; a test does so against the last release.

CPU per tick has a bar of 1.5 ms and an aim of 1.0 ms; USS has a bar of 42 MiB and an aim of 38.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

if TYPE_CHECKING:
    from benchmarks.harness import Bench, Figure


def change_interpreter() -> None:
    """Change to the interpreter with which `manage.py` would run a verb."""
    import manage

    python = manage.interpreter([manage.RUN], os.environ.get("TIDEMARK_NO_BOOTSTRAP") == "1")
    if python:
        os.execv(python, [python, str(Path(__file__).resolve()), *sys.argv[1:]])


def parts() -> dict[str, Callable[["Bench"], Iterator["Figure"]]]:
    """Name -> part. They are imported here, in the interpreter that has what they need."""
    from benchmarks import answering, capturing, capturing_devices, running, storing

    return {
        "tick": running.tick,
        "capture": running.capture,
        "services": capturing.services,
        "devices": capturing_devices.devices,
        "minute": running.minute,
        "memory": running.memory,
        "start": running.start,
        "endpoint": answering.endpoint,
        "first_answer": answering.first_answer,
        "history": answering.history,
        "usage": answering.usage,
        "at_rest": storing.at_rest,
        "rolling_up": storing.rolling_up,
        "keeping_small": storing.keeping_small,
    }


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"


def _line(figure: "Figure") -> str:
    bar = "" if figure.bar is None else f"{'>=' if figure.at_least else '<='} {figure.bar:g}"
    return f"{figure.name:52} {_number(figure.value):>9}  {figure.unit:10}  {bar:8}  {figure.verdict}".rstrip()


def _compare(bench: "Bench", commit: str) -> int:
    """How many ratios are over the bar, twice in a row."""
    from benchmarks.against import BAR, compare

    over: set[str] = set()
    for attempt in range(2):
        print(f"{'':52} {commit[:9]:>9} {'here':>9}  {'unit':6} {'ratio':>6}  bar")
        found = set()
        for ratio in compare(bench, commit):
            found |= {ratio.name} if ratio.is_over else set()
            figures = f"{_number(ratio.there):>9} {_number(ratio.here):>9}  {ratio.unit:6} {ratio.value:6.3f}"
            print(f"{ratio.name:52} {figures}  <= {BAR}  {'OVER' if ratio.is_over else 'ok'}", flush=True)
        over = found & over if attempt else found
        if not over:
            break
    return len(over)


def main() -> int:
    known = parts()
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--long", action="store_true", help="memory also after ten minutes")
    parser.add_argument("--only", action="append", choices=known, help="this part; may be given again")
    parser.add_argument("--list", action="store_true", help="print what each part measures, and stop")
    parser.add_argument("--against", metavar="COMMIT", help="print the ratios to a commit instead")
    given = parser.parse_args()
    if given.list:
        for name, part in known.items():
            print(f"{name:14} {(part.__doc__ or '').splitlines()[0]}")
        return 0
    from benchmarks.harness import Bench

    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="tidemark-bench-") as folder:
        bench = Bench(Path(folder), given.quick, given.long)
        try:
            missed = _compare(bench, given.against) if given.against else _measure(bench, given.only or list(known))
        except RuntimeError as error:
            missed = 1
            print(f"FAILED: {error}")
    print(f"{missed} over or failed; load {os.getloadavg()[0]:.1f}; took {time.perf_counter() - begun:.0f} s")
    return 1 if missed else 0


def _measure(bench: "Bench", names: list[str]) -> int:
    """How many figures are over their bars, or parts failed."""
    missed = 0
    print(f"{'':52} {'figure':>9}  {'unit':10}  {'bar':8}")
    for name in names:
        try:
            for figure in parts()[name](bench):
                missed += figure.verdict == "OVER"
                print(_line(figure), flush=True)
        except RuntimeError as error:
            missed += 1
            print(f"{name}: FAILED: {error}", flush=True)
    return missed


if __name__ == "__main__":
    change_interpreter()
    sys.exit(main())
