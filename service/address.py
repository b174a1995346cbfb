"""Whether an address can be reached from this machine alone; asks the resolver."""

import socket


def is_loopback(host: str) -> bool:
    """Whether every address of the name is one of this machine alone; False where the name cannot be resolved."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(str(address[0]).startswith("127.") or address[0] == "::1" for *_, address in found)
