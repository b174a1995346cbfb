"""Real receivers on loopback: Debian's prometheus and victoria-metrics, started for one test and asked by HTTP."""

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.running import until

ENGINES = ("prometheus", "victoria-metrics")


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Engine:
    """A receiver with its data in a folder; `stop` and `start` keep the data."""

    def __init__(self, name: str, folder: Path, out_of_order: str = "3650d") -> None:
        """`out_of_order`: how much of the past Prometheus takes; "0s" is its default."""
        if shutil.which(name) is None:
            pytest.skip(f"needs {name} (Debian's package)")
        self.name, self._folder = name, folder
        folder.mkdir(exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.write_url = f"{self.url}/api/v1/write"
        self.allow(out_of_order)
        self.start()

    def allow(self, out_of_order: str) -> None:
        """What it takes of the past from its next start on."""
        config = f"storage:\n  tsdb:\n    out_of_order_time_window: {out_of_order}\n"
        (self._folder / "prometheus.yml").write_text(config)

    def start(self) -> None:
        commands = {
            "prometheus": [
                f"--config.file={self._folder}/prometheus.yml",
                f"--storage.tsdb.path={self._folder}/data",
                "--storage.tsdb.retention.time=3650d",
                f"--web.listen-address=127.0.0.1:{self.port}",
                "--web.enable-remote-write-receiver",
                "--log.level=error",
            ],
            "victoria-metrics": [
                f"-storageDataPath={self._folder}/data",
                f"-httpListenAddr=127.0.0.1:{self.port}",
                "-retentionPeriod=120",
                "-dedup.minScrapeInterval=1ms",
                "-search.latencyOffset=0s",
                "-loggerLevel=ERROR",
            ],
        }
        with (self._folder / "log").open("a") as log:
            self._process = subprocess.Popen([self.name, *commands[self.name]], stdout=log, stderr=log)
        until(self._is_ready)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def _is_ready(self) -> bool:
        path = "/-/ready" if self.name == "prometheus" else "/health"
        try:
            with urllib.request.urlopen(self.url + path, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def flush(self) -> None:
        """Let queries see what was written."""
        if self.name == "victoria-metrics":
            with urllib.request.urlopen(self.url + "/internal/force_flush", timeout=20):
                pass

    def query(self, query: str, at: float) -> dict[str, float]:
        """Series name (empty for a function's result) -> value at a moment."""
        return self.by("__name__", query, at)

    def by(self, label: str, query: str, at: float) -> dict[str, float]:
        """The value of that label (empty where there is none) -> value at a moment."""
        parameters = urllib.parse.urlencode({"query": query, "time": at, "nocache": 1})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{parameters}", timeout=20) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return {series["metric"].get(label, ""): float(series["value"][1]) for series in found}

    def value(self, query: str, at: float) -> float | None:
        return next(iter(self.query(query, at).values()), None)
