"""Three hosts, each in its own network, report to one engine; one is cut off for a while: nothing is missing."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.forward.conftest import Begin
from tests.forward.engines import ENGINES
from tests.forward.spoiler import Spoiler
from tests.running import ROOT, RUN, command, environment, query, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
    pytest.mark.skipif(shutil.which("ip") is None, reason="needs ip (Debian's iproute2)"),
    pytest.mark.xdist_group("namespaces"),
]
STAMPS = "tidemark_sample_timestamp_seconds"


def ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


class Network:
    """A network namespace with one cable to ours. `here`: our end's address; `cut` and `mend` pull and plug it."""

    def __init__(self, number: int, held: ExitStack) -> None:
        self.name, self._cable = f"tidemark-{os.getpid()}-{number}", f"tm{number}-{os.getpid()}"
        # From the range for tests of network devices (RFC 2544), which no route leads to.
        prefix = f"198.18.{os.getpid() % 250}"
        self.here, there = f"{prefix}.{4 * number + 1}", f"{prefix}.{4 * number + 2}"
        added = subprocess.run(["ip", "netns", "add", self.name], capture_output=True, text=True, check=False)
        if added.returncode:
            pytest.skip(f"needs network namespaces: {added.stderr.strip()}")
        held.callback(ip, "netns", "del", self.name)
        ip("link", "add", self._cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        # It would go with the network, but later.
        held.callback(ip, "link", "del", self._cable)
        ip("addr", "add", f"{self.here}/30", "dev", self._cable)
        ip("link", "set", self._cable, "up")
        ip("-n", self.name, "addr", "add", f"{there}/30", "dev", "eth0")
        for device in ("lo", "eth0"):
            ip("-n", self.name, "link", "set", device, "up")

    def cut(self) -> None:
        ip("link", "set", self._cable, "down")

    def mend(self) -> None:
        ip("link", "set", self._cable, "up")


class Host:
    """A daemon in a network of its own, which reaches the engine through the cable alone."""

    def __init__(self, number: int, folder: Path, engine_port: int, held: ExitStack) -> None:
        self.path, self.instance = folder / f"host-{number}" / "tidemark.db", f"host-{number}"
        self.network = Network(number, held)
        relay = Spoiler(engine_port, self.network.here)
        held.callback(relay.close)
        names = {"URL": f"http://{self.network.here}:{relay.port}/api/v1/write", "EVERY": "1"}
        given = {f"TIDEMARK_FORWARD_{name}": value for name, value in {**names, "INSTANCE": self.instance}.items()}
        self._errors = held.enter_context((folder / f"stderr-{number}").open("w"))
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", self.network.name, *command(self.path, *RUN)],
            cwd=ROOT,
            env=environment(**given),
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
        )
        held.callback(self._end)

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait(20)

    def forwarded(self, columns: str) -> tuple[int, ...]:
        """Columns of the view `forwards`; zeros before there is a row."""
        try:
            found = query(self.path, f"SELECT {columns} FROM forwards")
        except sqlite3.OperationalError:  # the daemon has not made it yet
            found = []
        return found[0] if found else (0,) * (columns.count(",") + 1)


@contextmanager
def three_hosts(folder: Path, engine_port: int) -> Iterator[list[Host]]:
    with ExitStack() as held:
        yield [Host(number, folder, engine_port, held) for number in range(3)]


@pytest.mark.parametrize("name", ENGINES)
def test_of_three_hosts_one_is_cut_off_and_every_sample_of_all_arrives(name: str, begin: Begin, tmp_path: Path) -> None:
    engine = begin(name)
    with three_hosts(tmp_path, engine.port) as hosts:
        for host in hosts:
            until(lambda host=host: host.forwarded("sent") >= (3,))  # type: ignore[misc]
        hosts[1].network.cut()
        # What was on its way when the cable was pulled has been answered or is lost.
        until(lambda: hosts[1].forwarded("waiting_samples") >= (5,))
        assert all(host.forwarded("waiting_samples") < (5,) for host in (hosts[0], hosts[2]))
        assert hosts[1].forwarded("refused, skipped") == (0, 0)
        hosts[1].network.mend()
        until(lambda: hosts[1].forwarded("waiting_samples") < (4,))
        assert [host.stop() for host in hosts] == [0, 0, 0]
        engine.flush()
        stored = {
            host.instance: query(host.path, "SELECT count(*), sum(ts), max(ts) FROM samples")[0] for host in hosts
        }
    at = max(last for _, _, last in stored.values()) + 1
    assert engine.by("instance", f"count_over_time({STAMPS}[1h])", at) == {each: row[0] for each, row in stored.items()}
    assert engine.by("instance", f"sum_over_time({STAMPS}[1h])", at) == {each: row[1] for each, row in stored.items()}
