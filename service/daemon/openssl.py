"""Keeps OpenSSL out of the daemon, which speaks no TLS: the library takes 4 MB.

asyncio, http and hashlib load it just in case. Each also works without it, and does so where sys.modules holds None.
"""

import sys

_MODULES = ("ssl", "_hashlib")


def leave_out() -> None:
    """Call it before anything else is imported."""
    for module in _MODULES:
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]
