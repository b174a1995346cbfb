"""Where the server listens; how it treats connections is in tests/faults/test_web_attacks.py."""

import socket

import pytest
from flask.testing import FlaskClient

from service.errors import StartFailed
from service.web.server import Server, listening_sockets

# Of the block that is set aside for documentation (RFC 5737): no host has it.
NOWHERE = "192.0.2.1"


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that every name stands for, here."""
    addresses: list[str] = []

    def getaddrinfo(_: object, port: int, **__: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return addresses


def listened_at(host: str, port: int = 0) -> list[str]:
    sockets = listening_sockets(host, port)
    found = [bound.getsockname()[0] for bound in sockets]
    for bound in sockets:
        bound.close()
    return found


def test_it_listens_on_those_addresses_of_a_name_that_the_host_has(resolves: list[str]) -> None:
    resolves += [NOWHERE, "127.0.0.1"]
    assert listened_at("localhost") == ["127.0.0.1"]
    resolves[:] = ["127.0.0.1", NOWHERE, "127.0.0.1", "127.0.0.2"]
    assert listened_at("localhost") == ["127.0.0.1", "127.0.0.2"]


def test_a_name_of_which_the_host_has_no_address_is_refused(resolves: list[str]) -> None:
    resolves += [NOWHERE]
    with pytest.raises(OSError, match="Cannot assign"):
        listening_sockets("localhost", 0)


def test_an_address_in_use_is_refused_though_another_is_free(resolves: list[str]) -> None:
    """Else its clients would be answered by somebody else."""
    resolves += ["127.0.0.2", "127.0.0.1"]
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError, match="in use"):
        listening_sockets("localhost", other.getsockname()[1])


def test_the_refusal_names_address_and_setting(client: FlaskClient) -> None:
    with pytest.raises(StartFailed, match=rf"cannot listen on {NOWHERE}:1: .*; set server.host or server.port"):
        Server(client.application, NOWHERE, 1)
