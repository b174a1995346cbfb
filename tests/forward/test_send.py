"""A receiver that means harm, or is not well, costs a bounded time and little memory, and has a line that says so."""

import os
import socket
import ssl
import subprocess
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from service.config import Settings
from service.errors import BadSetting
from service.forward.destination import Destination, destination
from service.forward.send import Sender
from tests.conftest import settings_for

Talk = Callable[[socket.socket], None]


def serve(talk: Talk) -> int:
    """The port of a server that talks so to each client that connects."""
    listener = socket.create_server(("127.0.0.1", 0))

    def each(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.recv(65536)
            talk(client)

    def accept() -> None:
        with listener, suppress(OSError):
            for _ in range(3):
                threading.Thread(target=each, args=[listener.accept()[0]], daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


@pytest.fixture
def sender() -> Iterator[Callable[..., Sender]]:
    made: list[Sender] = []

    def make(port: int, is_https: bool = False, timeout: float = 1.0) -> Sender:
        to = Destination("http://x", is_https, "127.0.0.1", port, "/api/v1/write", {}, "host", {})
        made.append(Sender(to, timeout))
        return made[-1]

    yield make
    for one in made:
        one.close()


def endless_body(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        client.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")


def gzip_bomb(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1000000000\r\n\r\n")
    while True:
        client.sendall(b"\x1f\x8b\x08" + b"\0" * 4096)


def large_headers(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(170):
        client.sendall(b"X-Header: " + b"x" * 60_000 + b"\r\n")


def dripping_headers(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        client.sendall(b"x")
        threading.Event().wait(0.1)


def endless_continue(client: socket.socket) -> None:
    while True:
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def silence(client: socket.socket) -> None:
    client.recv(1)


def noise(client: socket.socket) -> None:
    client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")


@pytest.mark.parametrize("talk", [endless_body, gzip_bomb])
def test_of_a_body_no_more_is_read_than_its_reason(talk: Talk, sender: Callable[..., Sender]) -> None:
    answer = sender(serve(talk), timeout=20.0).write(b"\0")
    assert answer.status in (200, 503)
    assert len(answer.text) < 300


@pytest.mark.parametrize("talk", [large_headers, endless_continue])
def test_of_an_answer_no_more_is_read_than_one_may_have(talk: Talk, sender: Callable[..., Sender]) -> None:
    answer = sender(serve(talk), timeout=50.0).write(b"\0")
    assert answer.verdict == "again"
    assert "it answers with more than 256 KiB" in answer.text


@pytest.mark.parametrize("talk", [large_headers, dripping_headers, endless_continue, silence, noise])
def test_a_hostile_answer_is_a_failure_that_says_so(talk: Talk, sender: Callable[..., Sender]) -> None:
    sending = sender(serve(talk))
    tracemalloc.start()
    answer = sending.write(b"\0")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.verdict == "again"
    assert "\n" not in answer.text
    assert len(answer.text) < 300
    assert most < 2 * 2**20


def test_a_certificate_that_does_not_hold_is_not_trusted_and_the_line_says_what_to_do(
    tmp_path: Path, sender: Callable[..., Sender]
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate]
    subprocess.run([*make, "-days", "2", "-subj", "/CN=x"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        client = listener.accept()[0]
        with client, suppress(OSError), context.wrap_socket(client, server_side=True):
            pass

    thread = threading.Thread(target=accept)
    thread.start()
    answer = sender(listener.getsockname()[1], is_https=True, timeout=20.0).write(b"\0")
    thread.join()
    listener.close()
    assert answer.verdict == "again"
    assert "its certificate does not hold (self-signed certificate): have the host trust its issuer" in answer.text


# -- credentials


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("a-long-secret\n")
    file.chmod(0o600)
    return file


def settings(path: Path, url: str, **options: object) -> Settings:
    return settings_for(path, forward__url=url, **{f"forward__{name}": value for name, value in options.items()})


def test_a_token_goes_as_bearer_and_with_a_user_as_basic(path: Path, token: Path) -> None:
    url = "https://metrics.example/api/v1/write?tenant=1"
    to = destination(settings(path, url, token_file=str(token)))
    assert (to.target, to.path, to.port) == ("https://metrics.example/api/v1/write", "/api/v1/write?tenant=1", 443)
    assert to.headers["Authorization"] == "Bearer a-long-secret"
    to = destination(settings(path, url, token_file=str(token), user="ann"))
    assert to.headers["Authorization"] == "Basic YW5uOmEtbG9uZy1zZWNyZXQ="


def test_credentials_over_plain_http_are_refused_but_to_this_machine(path: Path, token: Path) -> None:
    assert destination(settings(path, "http://127.0.0.1:1/", token_file=str(token))).headers["Authorization"]
    with pytest.raises(BadSetting, match=r"would be sent to 192\.0\.2\.1 over plain http"):
        destination(settings(path, "http://192.0.2.1/", token_file=str(token)))
    with pytest.raises(BadSetting, match=r"would be sent to 192\.0\.2\.1 over plain http"):
        destination(settings(path, "https://192.0.2.1/", token_file=str(token)), "http://192.0.2.1/api/v1/query")


def test_a_token_that_others_may_read_is_refused(path: Path, token: Path) -> None:
    token.chmod(0o640)
    with pytest.raises(BadSetting, match=r"forward\.token_file = .* can be read by others: chmod 600 it"):
        destination(settings(path, "https://x/", token_file=str(token)))


@pytest.mark.parametrize("content", ["", "two words", "a\nb", "ü"])
def test_what_is_no_token_is_refused(path: Path, token: Path, content: str) -> None:
    token.write_text(content)
    with pytest.raises(BadSetting, match="is empty, or holds what is no token"):
        destination(settings(path, "https://x/", token_file=str(token)))


def test_a_user_without_a_password_is_refused(path: Path) -> None:
    with pytest.raises(BadSetting, match=r"forward\.user needs a password"):
        destination(settings(path, "https://x/", user="ann"))


def test_the_instance_is_the_hosts_name_unless_it_is_set(path: Path) -> None:
    assert destination(settings(path, "https://x/")).instance == os.uname().nodename
    assert destination(settings(path, "https://x/", instance="web-1")).instance == "web-1"
