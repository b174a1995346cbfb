"""The wheel: built from this checkout by pip, put into a fresh venv, and run there, away from the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import place
from tests.running import url_in

ROOT = Path(__file__).parent.parent
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without the network: setuptools is one of the pinned test tools."""
    folder = tmp_path_factory.mktemp("wheel")
    copy, made = folder / "checkout", folder / "made"
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if not name.startswith("tests/") and (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    left = copy / "build" / "lib" / "service" / "taken_away.py"
    left.parent.mkdir(parents=True)
    left.write_text("# of an earlier build\n")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "-w", str(made), str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (found,) = made.iterdir()
    return found


@pytest.fixture(scope="session")
def program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The console script in a venv of its own, which sees the packages that this interpreter has."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    python = venv / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    done = subprocess.run([*pip, str(wheel)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    site = sysconfig.get_path("purelib", vars={"base": str(venv), "platbase": str(venv)})
    (Path(site) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return venv / "bin" / "tidemark"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TIDEMARK_", "PYTHON", "XDG_"))}
    return {**kept, "STATE_DIRECTORY": str(tmp_path / "state"), "TIDEMARK_SERVER_PORT": "0"}


@pytest.fixture
def run(program: Path, environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    daemon = subprocess.Popen(
        [program, "run", "--interval", "1"], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
    )
    yield daemon
    daemon.terminate()
    daemon.wait(20)
    assert daemon.stdout
    daemon.stdout.close()


def test_the_packages_of_the_wheel_are_all_folders_of_the_program() -> None:
    folders = {file.parent.relative_to(ROOT).as_posix().replace("/", ".") for file in ROOT.glob("service/**/*.py")}
    assert {package for package in PACKAGES if not package.startswith("service.shipped")} == folders


def test_the_wheel_holds_every_file_of_the_program_in_one_package(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    static = {file.relative_to(ROOT).as_posix() for file in ROOT.glob("service/web/static/**/*") if file.is_file()}
    scripts = {f"service/shipped/{file.relative_to(ROOT).as_posix()}" for file in ROOT.glob("migrations/**/*.py")}
    assert (
        static
        | scripts
        | {
            "service/shipped/docs/sql.md",
            "service/shipped/config/tidemark.toml",
            "service/shipped/config/tidemark.service",
        }
        <= names
    )
    top = {name.split("/")[0] for name in names}
    assert {name for name in top if not name.startswith("tidemark-")} == {"service"}


def test_the_wheel_holds_nothing_that_only_an_earlier_build_had(wheel: Path) -> None:
    assert [name for name in zipfile.ZipFile(wheel).namelist() if "taken_away" in name] == []


def test_the_installed_program_records_serves_its_page_and_answers_from_its_state_folder(
    run: subprocess.Popen[str], program: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    assert run.stdout
    url = url_in(run.stdout.readline())
    with urllib.request.urlopen(url, timeout=20) as page:
        assert b"<title>Tidemark" in page.read()
    assert (tmp_path / "state" / "data" / "tidemark.db").is_file()
    done = subprocess.run(
        [program, "check"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    assert str(tmp_path / "state") in done.stdout


COMPLETE = """
eval "$(_TIDEMARK_COMPLETE=bash_source tidemark)"
complete -p tidemark >&2
read -ra COMP_WORDS <<< "$1"; COMP_CWORD=$2
"$(complete -p tidemark | sed 's/.*-F \\([^ ]*\\).*/\\1/')" tidemark
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.mark.parametrize(
    ("line", "word", "offered"),
    [
        ("tidemark pr", 1, {"processes", "prune"}),
        ("tidemark --d", 1, {"--database"}),
        ("tidemark who --", 2, {"--start", "--end", "--on", "--at", "--by", "--metric", "--top", "--json", "--help"}),
        ("tidemark who --by ", 3, {"name", "service"}),
        ("tidemark peaks --metric disk_", 3, {"disk_percent", "disk_read_bytes", "disk_written_bytes"}),
        ("tidemark --database a.db export --tier m", 5, {"minutes"}),
    ],
)
def test_bash_offers_verbs_options_and_what_they_take(
    program: Path, environment: dict[str, str], line: str, word: int, offered: set[str]
) -> None:
    if shutil.which("bash") is None:
        pytest.skip("needs bash")
    found = {**environment, "PATH": f"{program.parent}:{environment['PATH']}"}
    run = ["bash", "--norc", "-c", COMPLETE, "bash", line, str(word)]
    done = subprocess.run(run, env=found, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == offered, done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script_that_asks_the_program(program: Path, environment: dict[str, str], shell: str) -> None:
    given = {**environment, "_TIDEMARK_COMPLETE": f"{shell}_source"}
    done = subprocess.run([program], env=given, capture_output=True, text=True, check=True)
    assert f"_TIDEMARK_COMPLETE={shell}_complete" in done.stdout
    asked = {**given, "_TIDEMARK_COMPLETE": f"{shell}_complete", "COMP_WORDS": "tidemark cal", "COMP_CWORD": "1"}
    asked["COMP_CWORD"] = "cal" if shell == "fish" else "1"
    assert "calendar" in subprocess.run([program], env=asked, capture_output=True, text=True, check=True).stdout


def test_man_finds_the_page_beside_the_program(program: Path, environment: dict[str, str]) -> None:
    page = program.parent.parent / "share" / "man" / "man1" / "tidemark.1"
    assert page.read_bytes() == (ROOT / "docs" / "tidemark.1").read_bytes()
    if shutil.which("man") is None:
        pytest.skip("needs man")
    found = {**environment, "PATH": f"{program.parent}:{environment['PATH']}"}
    done = subprocess.run(["man", "-w", "tidemark"], env=found, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(page)


def test_the_installed_program_is_called_so_in_its_help(program: Path, environment: dict[str, str]) -> None:
    for verb, said in (([], "`tidemark run` records"), (["sql"], "Example: tidemark sql")):
        done = subprocess.run([program, *verb, "--help"], env=environment, capture_output=True, text=True, check=True)
        assert said in done.stdout
        assert "manage.py" not in done.stdout


def test_the_installed_program_offers_only_what_it_has(program: Path, environment: dict[str, str]) -> None:
    done = subprocess.run([program, "--help"], env=environment, capture_output=True, text=True, check=True)
    assert "instead of /etc/tidemark/tidemark.toml" in done.stdout
    assert "\n  test " not in done.stdout
    assert "\n  run " in done.stdout


def test_the_installed_program_calls_itself_by_its_name(program: Path, environment: dict[str, str]) -> None:
    done = subprocess.run([program, "status"], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, "; `tidemark run` starts one" in done.stderr) == (1, True)


def test_the_installed_program_would_install_itself_unless_the_service_could_not_read_it(
    program: Path, environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [program, "install", "--dry-run"], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert str(program.parent.parent) in done.stderr
    assert "lies in it: move it to a folder that every account may enter" in done.stderr


def test_a_checkout_keeps_its_data_in_itself_whatever_the_environment_says() -> None:
    assert place.data_folder({"STATE_DIRECTORY": "/srv", "XDG_STATE_HOME": "/srv"}, is_root=True) == ROOT
    assert place.settings_file({"STATE_DIRECTORY": "/srv"}, is_root=False) == ROOT / "config" / "tidemark.toml"


@pytest.mark.parametrize(
    ("environment", "is_root", "data", "settings"),
    [
        ({"STATE_DIRECTORY": "/srv/a:/srv/b"}, False, "/srv/a", "/etc/tidemark/tidemark.toml"),
        ({}, True, "/var/lib/tidemark", "/etc/tidemark/tidemark.toml"),
        (
            {"XDG_STATE_HOME": "/srv/s", "XDG_CONFIG_HOME": "/srv/c"},
            False,
            "/srv/s/tidemark",
            "/srv/c/tidemark/tidemark.toml",
        ),
        (
            {"XDG_STATE_HOME": "s", "XDG_CONFIG_HOME": "c"},
            False,
            "/home/a/.local/state/tidemark",
            "/home/a/.config/tidemark/tidemark.toml",
        ),
    ],
)
def test_an_installed_program_keeps_data_and_settings_where_its_account_does(
    environment: dict[str, str],
    is_root: bool,
    data: str,
    settings: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(place, "CHECKOUT", None)
    monkeypatch.setenv("HOME", "/home/a")
    assert place.data_folder(environment, is_root) == Path(data)
    assert place.settings_file(environment, is_root) == Path(settings)
