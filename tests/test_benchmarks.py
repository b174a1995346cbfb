"""A checkout is compared with a commit by ratios."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import against, run
from benchmarks.against import Ratio, check_out
from benchmarks.harness import Bench
from service.place import CHECKOUT as ROOT

in_a_repository = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs the repository")


@in_a_repository
def test_the_files_of_a_commit_are_checked_out_beside_the_repository(tmp_path: Path) -> None:
    check_out("HEAD", tmp_path / "there")
    assert (tmp_path / "there" / "manage.py").is_file()
    assert not (tmp_path / "there" / ".git").exists()


@in_a_repository
def test_a_commit_that_does_not_exist_fails_with_its_name() -> None:
    command = [sys.executable, "benchmarks/run.py", "--against", "no-such-commit", "--quick"]
    environment = {**os.environ, "TIDEMARK_NO_BOOTSTRAP": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "FAILED: no commit no-such-commit" in done.stdout


@pytest.mark.parametrize(
    ("first", "second", "over"),
    [
        ({"CPU": 1.2, "USS": 1.0}, None, 0),
        ({"CPU": 1.3, "USS": 1.0}, {"CPU": 1.2, "USS": 1.0}, 0),
        ({"CPU": 1.3, "USS": 1.0}, {"CPU": 1.0, "USS": 1.3}, 0),
        ({"CPU": 1.3, "USS": 1.3}, {"CPU": 1.3, "USS": 1.0}, 1),
    ],
)
def test_a_ratio_counts_only_where_it_is_over_the_bar_twice_in_a_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, first: dict[str, float], second: dict[str, float] | None, over: int
) -> None:
    measured = iter([first, second])

    def compare(bench: Bench, commit: str) -> Iterator[Ratio]:
        assert (bench.quick, commit) == (True, "abc")
        found = next(measured)
        assert found is not None, "it is measured again only where a ratio is over the bar"
        return (Ratio(name, "ms", 2.0, 2.0 * value) for name, value in found.items())

    monkeypatch.setattr(against, "compare", compare)
    assert run._compare(Bench(tmp_path, True, False), "abc") == over
