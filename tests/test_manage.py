"""manage.py on copies of itself in tmp_path: real venvs and a real pip, one wheel made here, no network."""

import ast
import base64
import hashlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

ROOT = Path(__file__).parent.parent
CLI = """
import sys
def main():
    try:
        from tidemark_probe import VERSION
    except ImportError:
        VERSION = "none"
    print(sys.prefix, VERSION, *sys.argv[1:], sep="|")
    return 7
"""


def write_wheel(folder: Path, module: str, version: str) -> str:
    """A wheel of one module; returns its lines for a requirements file."""
    info = f"{module}-{version}.dist-info"
    name = module.replace("_", "-")
    files = {
        f"{module}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {
        file: base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        for file, text in files.items()
    }
    record = "".join(f"{file},sha256={digest},\n" for file, digest in digests.items())
    wheel = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in (files | {f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}).items():
            archive.writestr(file, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"{name}=={version} \\\n    --hash=sha256:{digest}\n    # via nothing\n"


def index_at(url: str) -> dict[str, str]:
    """The environment in which pip knows no wheels but those of this index."""
    return {"PIP_INDEX_URL": url, "PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_RETRIES": "1"}


def url_of(server: socket.socket) -> str:
    return f"http://127.0.0.1:{server.getsockname()[1]}/"


class Project:
    """A copy of manage.py with a small program, pinned to two wheels that lie beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.venv = path / ".venv"
        self.wheels = path / "wheels"
        (path / "service").mkdir(parents=True)
        self.wheels.mkdir()
        shutil.copy(ROOT / "manage.py", path)
        (path / "service" / "cli.py").write_text(CLI)
        (path / "service" / "daemon").mkdir()
        (path / "service" / "daemon" / "daemon.py").write_text("import tidemark_probe, tidemark_other\n")
        self.pin("1.0")

    def pin(self, version: str) -> None:
        (self.path / "requirements.txt").write_text(
            write_wheel(self.wheels, "tidemark_probe", version) + write_wheel(self.wheels, "tidemark_other", "1")
        )

    def environment(self, **more: str) -> dict[str, str]:
        foreign = ("PIP_", "TIDEMARK_", "PYTEST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        return kept | pip | more

    def start(self, *args: str, python: str = sys.executable, **env: str) -> subprocess.Popen[str]:
        command = [python, str(self.path / "manage.py"), *args]
        return subprocess.Popen(
            command, env=self.environment(**env), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, *args: str, python: str = sys.executable, **env: str) -> tuple[int, str, str]:
        process = self.start(*args, python=python, **env)
        output, errors = process.communicate(timeout=100)
        return process.returncode, output.strip(), errors.strip()

    def module(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location("manage_copy", self.path / "manage.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project")


@pytest.fixture(scope="module")
def venv_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / ".venv"
    subprocess.run([sys.executable, "-I", "-m", "venv", path], check=True, capture_output=True)
    return path


@pytest.fixture
def project_with_venv(project: Project, venv_template: Path) -> Project:
    """Its .venv is empty and unstamped: the 3 s of making one are paid once."""
    shutil.copytree(venv_template, project.venv, symlinks=True)
    return project


def pins_of(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", (ROOT / name).read_text(), re.MULTILINE))


def test_pins_leave_out_hashes_comments_and_what_is_for_some_platforms_only(project: Project) -> None:
    text = "# made by\nFlask_Smorest==0.47.0 \\\n    --hash=sha256:0a==\n    # via x\n"
    text += "tzdata==1 ; sys_platform == 'win32' \\\n    --hash=sha256:0b\n"
    assert project.module().pins(text) == {"flask-smorest": "0.47.0"}


def test_installed_versions_are_read_from_every_folder_that_exists(project: Project, tmp_path: Path) -> None:
    for folder in ("a/Flask_Smorest-0.47.0.dist-info", "b/zope.event-6.dist-info", "b/flask"):
        (tmp_path / folder).mkdir(parents=True)
    found = project.module().installed([str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "gone")])
    assert found == {"flask-smorest": "0.47.0", "zope-event": "6"}


@pytest.mark.parametrize(("there", "suffices"), [("1.0", True), ("0.9", False)])
def test_an_interpreter_that_has_every_pinned_version_is_used_as_it_is(
    project: Project, monkeypatch: pytest.MonkeyPatch, there: str, suffices: bool
) -> None:
    for distribution in (f"tidemark_probe-{there}", "tidemark_other-1"):
        (project.path / "site" / f"{distribution}.dist-info").mkdir(parents=True)
    manage = project.module()
    monkeypatch.setattr(manage, "prepare", lambda _needed: None)
    monkeypatch.setattr(sys, "path", [str(project.path / "site")])
    assert manage.interpreter(["requirements.txt"], False) == (None if suffices else manage.PYTHON)


def test_inside_the_venv_an_emptied_stamp_outweighs_the_pins_that_seem_to_be_there(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for distribution in ("tidemark_probe-1.0", "tidemark_other-1"):
        (project.venv / f"{distribution}.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(project.venv)])
    monkeypatch.setattr(sys, "prefix", str(project.venv))
    assert project.module().suffices_here("requirements.txt")
    (project.venv / "tidemark-requirements.txt").write_text("")
    assert not project.module().suffices_here("requirements.txt")


def test_a_stamp_holds_only_for_the_python_it_was_made_for_and_while_that_is_there(project: Project) -> None:
    manage = project.module()
    (project.venv / "bin").mkdir(parents=True)
    (project.venv / "pyvenv.cfg").touch()
    for name in ("python3.11", "python3.13"):
        shutil.copy("/bin/true", project.path / name)
    stamped = []
    for name in ("python3.11", "python3.13", "python3.11"):
        (project.venv / "bin" / "python").unlink(missing_ok=True)
        (project.venv / "bin" / "python").symlink_to(project.path / name)
        if not stamped:
            Path(manage.stamp_path("requirements.txt")).write_text(manage.stamp("requirements.txt"))
        stamped.append(manage.is_stamped("requirements.txt"))
    assert stamped == [True, False, True]
    (project.path / "python3.11").unlink()
    assert not manage.is_stamped("requirements.txt")


def test_the_file_parses_on_python_3_6_and_on_an_old_one_says_so_in_one_line(project: Project) -> None:
    source = (project.path / "manage.py").read_text()
    ast.parse(source, feature_version=(3, 6))
    code = f"import sys; sys.version_info = (3, 10); __file__ = 'manage.py'; exec({source!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert re.fullmatch(r"tidemark: needs Python 3\.11 or newer; .*\n", done.stderr)


def test_an_ordinary_start_imports_nothing_that_costs(project: Project) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(project.path)!r}); import manage; manage.prepare = print;"
        "manage.interpreter([manage.RUN], False); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert not {"subprocess", "importlib.metadata", "hashlib", "pathlib", "re", "typing"} & set(loaded)


def test_without_bootstrap_the_running_interpreter_runs_the_verb_and_makes_nothing(project: Project) -> None:
    code, output, errors = project.run("run", "--port", "1", TIDEMARK_NO_BOOTSTRAP="1")
    assert (code, output, errors) == (7, f"{sys.prefix}|none|run|--port|1", "")
    assert not project.venv.exists()


def test_the_first_start_makes_the_venv_and_says_so_and_the_second_is_silent(project: Project) -> None:
    code, output, errors = project.run("run", "--port", "1")
    assert (code, output) == (7, f"{project.venv}|1.0|run|--port|1")
    assert re.sub(r"\d+\.\d", "N", errors).splitlines() == [
        "tidemark: making .venv ...",
        "tidemark: making .venv: done in N s",
        "tidemark: installing requirements.txt ...",
        "tidemark: installing requirements.txt: done in N s",
    ]
    assert project.run("run") == (7, f"{project.venv}|1.0|run", "")


@pytest.mark.parametrize(("given", "expected"), [({}, "1"), ({"MALLOC_ARENA_MAX": "3"}, "3")])
def test_what_it_starts_has_one_heap_unless_the_user_said_otherwise(
    project_with_venv: Project, given: dict[str, str], expected: str
) -> None:
    program = "import os\n\n\ndef main():\n    print(os.environ['MALLOC_ARENA_MAX'])\n"
    (project_with_venv.path / "service" / "cli.py").write_text(program)
    assert project_with_venv.run("run", **given)[1] == expected


def test_of_two_first_starts_at_once_one_sets_up_and_both_run(project: Project) -> None:
    first, second = project.start("one"), project.start("two")
    outputs, errors = zip(*(process.communicate(timeout=100) for process in (first, second)), strict=True)
    assert outputs == (f"{project.venv}|1.0|one\n", f"{project.venv}|1.0|two\n")
    assert "".join(errors).count("making .venv ...") == 1
    assert "".join(errors).count("installing requirements.txt ...") == 1
    assert "waiting for another start" in "".join(errors)


def test_other_requirements_than_the_stamped_ones_are_installed(project_with_venv: Project) -> None:
    assert project_with_venv.run("run")[1] == f"{project_with_venv.venv}|1.0|run"
    project_with_venv.pin("2.0")
    code, output, errors = project_with_venv.run("run")
    assert (code, output) == (7, f"{project_with_venv.venv}|2.0|run")
    assert "installing requirements.txt ..." in errors
    assert "making .venv" not in errors


def test_a_venv_whose_python_is_gone_is_made_anew(project_with_venv: Project) -> None:
    project_with_venv.run("run")
    (project_with_venv.venv / "bin" / "python").unlink()
    (project_with_venv.venv / "bin" / "python").symlink_to("/nowhere/python3.9")
    code, output, errors = project_with_venv.run("run")
    assert (code, output) == (7, f"{project_with_venv.venv}|1.0|run")
    assert "making .venv ..." in errors


def test_a_gutted_venv_is_filled_again_even_from_inside(project_with_venv: Project) -> None:
    for packages in project_with_venv.venv.glob("lib/python3*/site-packages"):
        shutil.rmtree(packages)
    code, output, _ = project_with_venv.run("run", python=str(project_with_venv.venv / "bin" / "python"))
    assert (code, output) == (7, f"{project_with_venv.venv}|1.0|run")


def test_a_venv_that_does_not_know_itself_is_not_started_again_and_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    manage = project.module()
    monkeypatch.setattr(manage, "is_stamped", lambda _requirements: True)
    assert manage.interpreter(["requirements.txt"], False) == manage.PYTHON
    monkeypatch.setattr(sys, "executable", manage.PYTHON)
    assert manage.interpreter(["requirements.txt"], False) is None


def test_an_active_foreign_venv_is_left_as_it_is(
    project_with_venv: Project, venv_template: Path, tmp_path: Path
) -> None:
    foreign = tmp_path / "foreign"
    shutil.copytree(venv_template, foreign, symlinks=True)
    before = sorted(path for path in foreign.rglob("*") if "__pycache__" not in path.parts)
    python = str(foreign / "bin" / "python")
    code, output, _ = project_with_venv.run("run", python=python, VIRTUAL_ENV=str(foreign))
    assert (code, output) == (7, f"{project_with_venv.venv}|1.0|run")
    assert sorted(path for path in foreign.rglob("*") if "__pycache__" not in path.parts) == before


def test_what_pythonpath_shows_is_not_taken_for_installed(project_with_venv: Project, tmp_path: Path) -> None:
    with zipfile.ZipFile(project_with_venv.wheels / "tidemark_probe-1.0-py3-none-any.whl") as wheel:
        wheel.extractall(tmp_path / "elsewhere")
    project_with_venv.run("run", PYTHONPATH=str(tmp_path / "elsewhere"))
    assert list(project_with_venv.venv.rglob("tidemark_probe-1.0.dist-info"))


@pytest.mark.parametrize("name", ["PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_DRY_RUN"])
def test_a_variable_that_leads_pip_elsewhere_or_nowhere_is_not_followed(
    project_with_venv: Project, tmp_path: Path, name: str
) -> None:
    elsewhere = "1" if name == "PIP_DRY_RUN" else str(tmp_path / "elsewhere")
    assert project_with_venv.run("run", **{name: elsewhere})[:2] == (7, f"{project_with_venv.venv}|1.0|run")
    assert not (tmp_path / "elsewhere").exists()


def test_of_a_configuration_of_pip_only_where_packages_come_from_is_followed(
    project_with_venv: Project, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    wheels = sorted(project_with_venv.wheels.iterdir())
    for wheel, folder in zip(wheels, ("global", "install"), strict=True):
        (tmp_path / folder).mkdir()
        wheel.rename(tmp_path / folder / wheel.name)
    both = f"{tmp_path}/global\n    {tmp_path}/install"
    (tmp_path / "pip.conf").write_text(
        f"[global]\nno-index = true\nfind_links = {tmp_path}/nowhere\nroot = {tmp_path}/elsewhere\n"
        f"[install]\nfind-links = {both}\ntarget = {tmp_path}/elsewhere\nno-deps = true\n"
    )
    given = {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_NO_INDEX": "", "PIP_FIND_LINKS": ""}
    assert project_with_venv.run("run", **given)[:2] == (7, f"{project_with_venv.venv}|1.0|run")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_configuration_that_pip_cannot_read_is_one_line(project_with_venv: Project, tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("no section = 1\n")
    code, output, errors = project_with_venv.run("run", PIP_CONFIG_FILE=str(tmp_path / "pip.conf"))
    assert (code, output) == (1, "")
    assert re.fullmatch("tidemark: pip cannot read its configuration: .*", errors)


def test_variables_that_mislead_a_python_mislead_neither_the_set_up_nor_the_verb(
    project_with_venv: Project, tmp_path: Path
) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "tidemark_probe.py").write_text("VERSION = 'old'\n")
    misleading = {"PYTHONPATH": str(tmp_path / "old"), "PYTHONHOME": sys.base_prefix, "PYTHONSAFEPATH": "1"}
    base = str(Path(sys.executable).resolve())
    for variables in (misleading, *({name: value} for name, value in misleading.items())):
        code, output, _ = project_with_venv.run("run", "-v", python=base, **variables)
        assert (code, output) == (7, f"{project_with_venv.venv}|1.0|run|-v"), variables
    own = str(project_with_venv.venv / "bin" / "python")
    for name in ("PYTHONPATH", "PYTHONSAFEPATH"):
        assert project_with_venv.run("run", python=own, **{name: misleading[name]})[1].split("|")[1] == "1.0"


def test_without_bootstrap_the_users_pythonpath_counts(project: Project, tmp_path: Path) -> None:
    (tmp_path / "tidemark_probe.py").write_text("VERSION = 'packaged'\n")
    output = project.run("run", TIDEMARK_NO_BOOTSTRAP="1", PYTHONPATH=str(tmp_path))[1]
    assert output == f"{sys.prefix}|packaged|run"


def test_a_version_that_an_earlier_folder_shadows_is_not_taken_for_installed(project: Project, tmp_path: Path) -> None:
    for folder in ("old/click-1.dist-info", "new/click-8.dist-info"):
        (tmp_path / folder).mkdir(parents=True)
    assert project.module().installed([str(tmp_path / "old"), str(tmp_path / "new")]) == {"click": "1"}


def test_what_is_installed_but_cannot_be_imported_is_not_stamped_and_is_made_anew(project_with_venv: Project) -> None:
    daemon = project_with_venv.path / "service" / "daemon" / "daemon.py"
    good = daemon.read_text()
    daemon.write_text("raise ImportError('probe.so: failed to map segment from shared object')\n")
    code, output, errors = project_with_venv.run("run")
    assert (code, output) == (1, "")
    assert errors.splitlines()[2:] == [
        "tidemark: requirements.txt is installed but cannot be used: ImportError: probe.so: failed to map segment "
        "from shared object -- start again to make .venv anew"
    ]
    daemon.write_text(good)
    code, output, errors = project_with_venv.run("run")
    assert (code, output) == (7, f"{project_with_venv.venv}|1.0|run")
    assert "making .venv: done" in errors


def test_a_file_system_that_loads_no_compiled_package_is_one_line_before_anything_is_made(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    manage = project.module()
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_flag=os.ST_NOEXEC))
    with pytest.raises(manage.SetupError, match=f"^{project.path} is on a file system mounted noexec, .*: move it$"):
        manage.interpreter(["requirements.txt"], False)
    assert manage.interpreter(["requirements.txt"], True) is None


@pytest.mark.parametrize("flag", ["-I", "-P"])
def test_the_program_is_found_also_where_python_leaves_out_the_folder_of_the_script(
    project: Project, flag: str
) -> None:
    command = [sys.executable, flag, str(project.path / "manage.py"), "run"]
    environment = project.environment(TIDEMARK_NO_BOOTSTRAP="1")
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, f"{sys.prefix}|none|run\n", "")


def test_a_package_that_is_missing_without_bootstrap_is_one_line(project: Project) -> None:
    (project.path / "service" / "cli.py").write_text("import never_heard_of\n")
    code, output, errors = project.run("run", TIDEMARK_NO_BOOTSTRAP="1")
    assert (code, output) == (1, "")
    assert errors == f"tidemark: {sys.executable} lacks what requirements.txt pins: No module named 'never_heard_of'"


def test_without_venv_in_python_it_names_the_one_command_that_helps(project: Project, tmp_path: Path) -> None:
    fake = tmp_path / "python3"
    said = "The venv was not created because ensurepip is not\navailable.  On Debian ..."
    fake.write_text(f"#!/bin/sh\necho '{said}'\nexit 1\n")
    fake.chmod(0o755)
    code = (
        "import runpy, sys; sys.executable, sys.argv[:] = sys.argv[1], sys.argv[2:];"
        "runpy.run_path(sys.argv[0], None, '__main__')"
    )
    command = [sys.executable, "-c", code, str(fake), str(project.path / "manage.py"), "run"]
    done = subprocess.run(command, env=project.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[1:] == [
        "tidemark: making .venv failed: The venv was not created because ensurepip is not available"
        f" -- on Debian and Ubuntu: sudo apt install python3-venv (log: {project.path}/.venv.log)"
    ]


def test_without_network_one_line_says_what_failed_and_the_next_start_finishes_it(
    project_with_venv: Project,
) -> None:
    code, output, errors = project_with_venv.run("run", **index_at("http://127.0.0.1:9/"))
    assert (code, output) == (1, "")
    assert re.fullmatch(
        r"tidemark: installing requirements.txt failed: ERROR: .* tidemark-probe==1\.0 .*"
        r" -- check the network and start again \(log: .*/\.venv\.log\)",
        errors.splitlines()[-1],
    )
    assert len(errors.splitlines()) == 2
    assert project_with_venv.run("run")[:2] == (7, f"{project_with_venv.venv}|1.0|run")


@pytest.mark.parametrize("instead", [" --hash=sha256:" + "0" * 64, ""])
def test_a_wheel_with_another_hash_or_none_is_refused(project_with_venv: Project, instead: str) -> None:
    (project_with_venv.path / "requirements.txt").write_text("tidemark-probe==1.0" + instead)
    code, output, errors = project_with_venv.run("run")
    assert (code, output) == (1, "")
    assert "HASHES" in errors.splitlines()[-1].upper()


def test_an_interrupted_set_up_ends_in_one_line_and_the_next_start_finishes_it(
    project_with_venv: Project,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent_index:
        process = project_with_venv.start("run", **index_at(url_of(silent_index)))
        connection, _ = silent_index.accept()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
        connection.close()
    assert process.returncode == 130
    assert errors.splitlines()[1:] == ["tidemark: set-up interrupted; the next start finishes it"]
    code, output, errors = project_with_venv.run("run")
    assert (code, output) == (7, f"{project_with_venv.venv}|1.0|run")
    assert "installing requirements.txt ..." in errors


def test_a_pip_that_outlives_a_killed_start_keeps_the_next_start_waiting(project_with_venv: Project) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent_index:
        killed = project_with_venv.start("run", **index_at(url_of(silent_index)))
        connection, _ = silent_index.accept()
        killed.kill()
        killed.communicate()
        following = project_with_venv.start("run")
        assert "waiting for another start" in following.stderr.readline()
        assert following.poll() is None
        connection.close()
    output, _ = following.communicate(timeout=60)
    assert output == f"{project_with_venv.venv}|1.0|run\n"


def test_a_folder_that_cannot_be_written_is_one_line_not_a_traceback(project: Project) -> None:
    (project.path / ".venv.log").mkdir()
    code, output, errors = project.run("run")
    assert (code, output) == (1, "")
    assert errors.splitlines() == [f"tidemark: [Errno 21] Is a directory: '{project.path}/.venv.log'"]


def test_the_test_verb_hands_the_rest_to_pytest_in_the_root_and_returns_its_exit_code(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (project.path / "test_it.py").write_text("import service.cli\ndef test_a(): pass\ndef test_b(): assert False\n")
    assert project.run("test", "-q", "-k", "test_a", TIDEMARK_NO_BOOTSTRAP="1")[0] == 0
    assert project.run("test", "-q", TIDEMARK_NO_BOOTSTRAP="1")[0] == 1


def test_the_test_verb_also_needs_the_test_tools_installed(project_with_venv: Project) -> None:
    (project_with_venv.path / "requirements-dev.txt").write_text("never-heard-of==1.0 --hash=sha256:" + "0" * 64)
    code, _, errors = project_with_venv.run("test")
    assert code == 1
    assert "installing requirements.txt: done" in errors
    assert "installing requirements-dev.txt failed: ERROR: " in errors
    assert project_with_venv.run("run")[2] == ""


def test_help_on_the_test_verb_is_the_programs_own(project: Project) -> None:
    assert project.run("test", "--help", TIDEMARK_NO_BOOTSTRAP="1")[1] == f"{sys.prefix}|none|test|--help"


def pinned(line: str) -> list[str]:
    """Name and version of a line of pyproject.toml, without where it is installed."""
    return line.partition(";")[0].strip().split("==")


def test_every_dependency_of_pyproject_is_pinned_and_the_test_tools_keep_the_programs_pins() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    run, test = pins_of("requirements.txt"), pins_of("requirements-dev.txt")
    wanted = {name.lower(): version for name, version in map(pinned, declared["dependencies"])}
    tools = dict(map(pinned, declared["optional-dependencies"]["dev"]))
    assert wanted.items() <= run.items() <= test.items()
    assert tools.items() <= test.items()


def test_no_committed_file_names_a_registry_or_a_folder_of_one_machine() -> None:
    hosts = [
        "pypi" + ".org",
        "python" + "hosted.org",
        "registry" + ".npmjs",
        "deb" + ".debian.org",
        "--index" + "-url",
    ]
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    texts = {name: ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()}
    named = [(name, host) for name, path in texts.items() for host in hosts if host.encode() in path.read_bytes()]
    assert named == []


def test_requirements_name_no_file_folder_or_index() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        assert not re.search(r"/(opt|tmp|root|home|work)/|file:|://|find-links", (ROOT / name).read_text())


IN_PLACE = """
import manage, sys
try:
    manage.prepare([manage.REPLAY])
except manage.SetupError as error:
    sys.exit(str(error))
"""


def test_what_one_verb_alone_needs_goes_into_the_venv_that_runs(project_with_venv: Project) -> None:
    requirements = project_with_venv.path / "requirements-replay.txt"
    requirements.write_text(write_wheel(project_with_venv.wheels, "textual", "1"))
    own = str(project_with_venv.venv / "bin" / "python")
    for code in (IN_PLACE, "import textual"):
        done = subprocess.run(
            [own, "-c", code], cwd=project_with_venv.path, env=project_with_venv.environment(), capture_output=True
        )
        assert done.returncode == 0, done.stderr
    assert project_with_venv.module().is_stamped("requirements-replay.txt")


def test_a_venv_stays_where_what_one_verb_alone_needs_cannot_be_used(project_with_venv: Project) -> None:
    requirements = project_with_venv.path / "requirements-replay.txt"
    requirements.write_text(write_wheel(project_with_venv.wheels, "tidemark_other", "1"))
    own = str(project_with_venv.venv / "bin" / "python")
    done = subprocess.run(
        [own, "-c", IN_PLACE],
        cwd=project_with_venv.path,
        env=project_with_venv.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.endswith("cannot be used: ModuleNotFoundError: No module named 'textual'\n")
    assert (project_with_venv.venv / "pyvenv.cfg").exists()
    assert not project_with_venv.module().is_stamped("requirements-replay.txt")


def test_what_one_verb_alone_needs_changes_no_version_of_the_others() -> None:
    assert pins_of("requirements.txt").items() <= pins_of("requirements-replay.txt").items()
    assert pins_of("requirements-replay.txt").items() <= pins_of("requirements-dev.txt").items()
