"""The page's pure modules, tested by node's own test runner where there is a node."""

import shutil
import subprocess
from pathlib import Path

import pytest

from service.config import ROOT

NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="needs node, to run the page's modules without a browser")
def test_the_pure_modules_of_the_page_do_what_their_tests_say(tmp_path: Path) -> None:
    """Side by side in one folder that says they are modules, which the static folder need not."""
    for source in (*(ROOT / "service" / "web" / "static").glob("*.js"), *(ROOT / "tests" / "web" / "js").glob("*.js")):
        shutil.copy(source, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    done = subprocess.run(["node", "--test"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# pass 0" not in done.stdout
