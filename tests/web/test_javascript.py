"""The page's JavaScript that needs no browser, tested by node."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from service.place import CHECKOUT as ROOT

TESTS = Path("tests", "web", "js")
STATIC = Path("service", "web", "static")


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Debian's nodejs")
@pytest.mark.parametrize("test", sorted(path.name for path in (ROOT / TESTS).glob("*.test.js")))
def test_what_the_page_computes_is_right(test: str, tmp_path: Path) -> None:
    # Older nodes take a file for a module by the nearest package.json alone, and the page has none.
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for folder in (TESTS, STATIC):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    environment = {**os.environ, "TZ": "America/New_York"}
    done = subprocess.run(
        ["node", "--test", TESTS / test], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
