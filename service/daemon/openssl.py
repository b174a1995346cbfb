"""OpenSSL, left out of the daemon: it speaks no TLS, and the library is 4 MB.

asyncio, http and hashlib load it just in case; each has its own way without it, which None in sys.modules makes it
take.
"""

import sys

_MODULES = ("ssl", "_hashlib")


def leave_out() -> None:
    """Before anything else is imported."""
    for module in _MODULES:
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]
