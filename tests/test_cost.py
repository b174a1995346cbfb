"""A tick, a capture and a request cost no more than they did in the last release."""

import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks import instructions
from benchmarks.against import BAR
from benchmarks.generate import ROOT
from benchmarks.harness import Bench
from benchmarks.run import _compare

needs_valgrind = pytest.mark.skipif(not instructions.can_count(), reason="needs valgrind")


def last_release() -> str | None:
    """The newest tag of a release before this commit."""
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        return None
    command = ["git", "describe", "--tags", "--abbrev=0", "--match", "v*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


@needs_valgrind
def test_nothing_costs_a_quarter_more_than_in_the_last_release(tmp_path: Path) -> None:
    release = last_release()
    if release is None:
        pytest.skip("no release has a tag in this checkout")
    assert _compare(Bench(tmp_path, quick=True, long=False), release) == 0


@pytest.mark.slow
@needs_valgrind
def test_a_checkout_costs_what_itself_costs(tmp_path: Path) -> None:
    first, second = instructions.spent(Bench(tmp_path, quick=True, long=False), [ROOT, ROOT])
    for one, other in zip(first, second, strict=True):
        assert one > 0
        assert 1 / BAR < other / one < BAR
