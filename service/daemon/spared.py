"""Keeps out of the daemon's memory what its libraries import just in case.

OpenSSL takes 4 MB (asyncio, http and hashlib load it), PyYAML 3 MB (flask-smorest has it for a command of its own):
these libraries work without, and do so where sys.modules holds None. asyncio takes 1.2 MB: SQLAlchemy and APScheduler
name it at import, and use it only for coroutines, of which there are none here.
"""

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any

_OPENSSL = ("ssl", "_hashlib")
_YAML = ("yaml",)


class _Late(ModuleType):
    """Stands for a module until somebody asks for more of it than is given here; then the module is imported."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)


def spare(tls: bool) -> None:
    """Call it before anything else is imported. `tls`: whether the daemon speaks it, and needs OpenSSL."""
    for module in (() if tls else _OPENSSL) + _YAML:
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]
    if "asyncio" not in sys.modules:
        sys.modules["asyncio"] = _late_asyncio()


def _late_asyncio() -> ModuleType:
    """With what is asked for at import, of which inspect has the same (asyncio's know old generators, too)."""
    late = _Late("asyncio")
    late.__dict__.update(
        # A package, so that `from asyncio import ...` asks no further; nobody imports one of its modules by itself.
        __path__=[],
        iscoroutine=inspect.iscoroutine,
        iscoroutinefunction=inspect.iscoroutinefunction,
    )
    return late
