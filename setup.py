"""Removes what an earlier build left behind, which setuptools would ship again; the rest is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup

# pip builds in the checkout itself: a module or a migration that an upgrade took away would be installed for good.
shutil.rmtree(Path(__file__).resolve().parent / "build" / "lib", ignore_errors=True)
setup()
