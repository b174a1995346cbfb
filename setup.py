"""Ships a page of the docs, and not what an earlier build left behind; the rest is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent


class BuildWithPage(build_py):
    """The folder of docs is no package: its scripts are not shipped."""

    def run(self) -> None:
        super().run()
        docs = Path(self.build_lib) / "service" / "shipped" / "docs"
        docs.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "docs" / "sql.md", docs / "sql.md")


# pip builds in the checkout itself: a module or a migration that an upgrade took away would be installed for good.
shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)
setup(cmdclass={"build_py": BuildWithPage})
