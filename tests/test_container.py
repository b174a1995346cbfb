"""The image and the compose file, as far as they can be checked without an engine: what the image would hold is laid
out in a folder and run there as the Dockerfile says."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import yaml

from service import config
from tests.running import until, url_in

ROOT = Path(__file__).parent.parent
SETTINGS = {"TIDEMARK_" + row.key.replace(".", "_").upper() for row in config.load(environment={})[1]}
# Instruction -> what follows it, in order; continued lines are one.
LINES = re.sub(r"\\\n\s*", "", (ROOT / "config" / "Dockerfile").read_text()).splitlines()
DOCKERFILE = [tuple(line.split(" ", 1)) for line in LINES if line and not line.startswith("#")]
COMPOSE = yaml.safe_load((ROOT / "config" / "compose.yaml").read_text())


def said(instruction: str) -> list[str]:
    return [rest for name, rest in DOCKERFILE if name == instruction]


def words(instruction: str) -> list[str]:
    """Of the one such instruction in the form of a list."""
    (rest,) = said(instruction)
    found: list[str] = json.loads(rest[rest.index("[") :])
    return found


def environment_said() -> dict[str, str]:
    return dict(pair.split("=", 1) for line in said("ENV") for pair in line.split())


def copies() -> Iterator[tuple[Path, str]]:
    """What is copied, and to which folder in the image's own."""
    for line in said("COPY"):
        *sources, target = line.split()
        for source in sources:
            yield ROOT / source, target


def test_every_path_that_is_copied_is_there_and_is_not_kept_from_the_builder() -> None:
    rules = [line for line in (ROOT / "config/Dockerfile.dockerignore").read_text().split("\n") if line[:1] not in "#"]
    sent = [rule[1:] for rule in rules if rule.startswith("!")]
    assert rules[0] == "*"
    for path, _ in copies():
        assert path.exists()
        assert any(fnmatch(path.relative_to(ROOT).as_posix(), rule) for rule in sent), path
    assert all((ROOT / rule).exists() for rule in sent)


def test_every_setting_that_the_two_files_name_exists() -> None:
    named = set(environment_said()) | set(COMPOSE["services"]["tidemark"]["environment"])
    named |= set(re.findall(r"TIDEMARK_\w+", "\n".join(LINES)))
    assert {name for name in named if name.startswith("TIDEMARK_")} <= SETTINGS | config.NOT_SETTINGS
    comments = (ROOT / "config" / "compose.yaml").read_text()
    keys = set(re.findall(r"(?:server|storage|sampling)\.\w+", comments))
    assert {"TIDEMARK_" + key.replace(".", "_").upper() for key in keys} <= SETTINGS


def test_the_compose_file_builds_this_image_and_mounts_what_its_settings_name() -> None:
    service = COMPOSE["services"]["tidemark"]
    context = ROOT / "config" / service["build"]["context"]
    assert (context / service["build"]["dockerfile"]).resolve() == ROOT / "config" / "Dockerfile"
    mounts = dict(volume.split(":")[1::-1] for volume in service["volumes"])
    assert mounts == {said("VOLUME")[0]: "data", service["environment"]["TIDEMARK_SAMPLING_DISK_PATH"]: "/"}
    assert Path(environment_said()["TIDEMARK_STORAGE_PATH"]).parent == Path(said("VOLUME")[0])
    assert set(COMPOSE["volumes"]) == {"data"}
    assert next(volume for volume in service["volumes"] if volume.startswith("/:")).split(":")[2].split(",")[0] == "ro"


def test_the_container_has_the_limits_of_the_unit_and_no_rights() -> None:
    service = COMPOSE["services"]["tidemark"]
    unit = (ROOT / "config" / "tidemark.service").read_text()
    assert f"OOMScoreAdjust={service['oom_score_adj']}\n" in unit
    assert f"MemoryMax={service['mem_limit'].upper()}\n" in unit
    assert f"TasksMax={service['pids_limit']}\n" in unit
    assert f"TimeoutStopSec={service['stop_grace_period'].removesuffix('s')}\n" in unit
    assert (service["cap_drop"], service["read_only"]) == (["ALL"], True)
    assert said("USER") == ["tidemark"]


def test_the_image_has_every_package_by_its_hash() -> None:
    (install,) = [line for line in said("RUN") if line.startswith("pip install")]
    assert "--require-hashes -r requirements.txt" in install


@pytest.fixture
def laid_out(tmp_path: Path) -> Path:
    """What the image would hold, and an empty volume beside it."""
    folder = tmp_path / "image"
    (tmp_path / "data").mkdir()
    for source, target in copies():
        ignored = shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, folder / target, ignore=ignored)
        else:
            (folder / target).mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / target)
    return folder


def as_python(command: list[str]) -> list[str]:
    return [sys.executable if word == "python" else word for word in command]


def test_what_the_image_holds_is_enough_to_record(laid_out: Path) -> None:
    volume = str(laid_out.parent / "data")
    environment = {name: value.replace("/data", volume) for name, value in environment_said().items()}
    daemon = subprocess.Popen(
        [*as_python(words("ENTRYPOINT")), *words("CMD")],
        cwd=laid_out,
        env={"PATH": os.environ["PATH"], **environment, "TIDEMARK_SERVER_PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert daemon.stdout
    with daemon.stdout:
        url = url_in(daemon.stdout.readline())
        try:
            until(lambda: ask_health(url) == 0)
        finally:
            daemon.terminate()
            assert daemon.wait(20) == 0
    assert ask_health(url) != 0
    assert (laid_out.parent / "data" / "tidemark.db").is_file()


def ask_health(url: str) -> int:
    """The exit code of the image's HEALTHCHECK; a proxy of the environment is not asked."""
    environment = {"TIDEMARK_SERVER_PORT": url.rsplit(":", 1)[1], "http_proxy": "http://127.0.0.1:1"}
    done = subprocess.run(as_python(words("HEALTHCHECK")), env=environment, capture_output=True, check=False)
    return done.returncode


class NotWell(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(503 if self.path == "/healthz" else 200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_daemon_that_answers_and_is_not_well_is_not_healthy() -> None:
    with HTTPServer(("127.0.0.1", 0), NotWell) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        code = ask_health(f"http://127.0.0.1:{server.server_port}")
        thread.join()
    assert code == 1
