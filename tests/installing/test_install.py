"""`install` and `uninstall` as typed, in a tree of their own, with useradd, systemctl and their like recorded."""

import grp
import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from service import cli, config, place
from service.cli import install as verbs
from service.installing import system

# Each writes down how it was called. What they leave behind is what `pwd`, `grp` and systemctl then answer by.
TOOLS = {
    "useradd": 'for name; do :; done; echo "$name" >"$HOST/account"',
    "userdel": ': >"$HOST/account"',
    "chown": ":",
    "systemctl": """case "$*" in
        is-active*) test -e "$HOST/active";;
        is-enabled*) test -s "$HOST/enabled";;
        "enable --now"*) test ! -e "$HOST/refuses" || { echo "Job failed." >&2; exit 1; }
            echo 1 >"$HOST/enabled"; : >"$HOST/active";;
        "disable --now"*) : >"$HOST/enabled";;
    esac""",
}
QUESTIONS = ("systemctl is-active", "systemctl is-enabled")
UNIT, SETTINGS = "etc/systemd/system/tidemark.service", "etc/tidemark/tidemark.toml"
SYSTEM_ACCOUNT = pwd.struct_passwd(("tidemark", "x", 990, 990, "", "/var/lib/tidemark", "/usr/sbin/nologin"))


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Host:
    """A tree with a checkout in /opt/tidemark, in which systemd runs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._notes, self._patch, self._capsys = folder / "host", folder / "notes", monkeypatch, capsys
        self._notes.mkdir()
        folder.chmod(0o755)
        (self.root / "run" / "systemd" / "system").mkdir(parents=True)
        self.make_checkout()
        self.make_tools(folder / "bin")
        monkeypatch.setattr(system, "ROOT", self.root)
        monkeypatch.setattr(os, "geteuid", lambda: 0)
        monkeypatch.setattr(pwd, "getpwnam", self._account)
        monkeypatch.setattr(grp, "getgrnam", self._no_group)

    def make_checkout(self, folder_name: str = "opt/tidemark") -> None:
        self.checkout = self.root / folder_name
        for folder in ("service", "migrations", "config", ".venv/bin"):
            (self.checkout / folder).mkdir(parents=True, exist_ok=True)
        for name in ("manage.py", "README.md", "requirements.txt", "service/place.py", "migrations/env.py"):
            (self.checkout / name).touch()
        for name in ("tidemark.toml", "tidemark.service"):
            shutil.copy(place.CONFIG / name, self.checkout / "config")
        python = self.checkout / ".venv" / "bin" / "python"
        python.symlink_to("/bin/true")
        for name, value in {"executable": str(python), "prefix": str(python.parent.parent)}.items():
            self._patch.setattr(sys, name, value)
        self._patch.setattr(place, "CHECKOUT", self.checkout)
        self._patch.setattr(verbs, "CHECKOUT", self.checkout)
        self._patch.setattr(place, "CONFIG", self.checkout / "config")
        for path in (self.root, *self.root.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)

    def make_tools(self, folder: Path) -> None:
        folder.mkdir()
        for name, does in TOOLS.items():
            (folder / name).write_text(f'#!/bin/sh\necho "{name} $*" >>"$HOST/calls"\n{does}\n')
            (folder / name).chmod(0o755)
        self._patch.setenv("PATH", str(folder))
        self._patch.setenv("HOST", str(self._notes))

    def _account(self, name: str) -> pwd.struct_passwd:
        if self.note("account") != name + "\n":
            raise KeyError
        return SYSTEM_ACCOUNT

    def _no_group(self, name: str) -> grp.struct_group:
        raise KeyError(name)

    def note(self, name: str) -> str:
        file = self._notes / name
        return file.read_text() if file.exists() else ""

    def refuse_start(self) -> None:
        (self._notes / "refuses").touch()

    def disable(self) -> None:
        (self._notes / "enabled").write_text("")

    def calls(self) -> list[str]:
        """The calls that change something, since the last time this was asked."""
        lines = self.note("calls").splitlines()
        (self._notes / "calls").unlink(missing_ok=True)
        return [line.replace(str(self.root), "") for line in lines if not line.startswith(QUESTIONS)]

    def files(self) -> set[str]:
        """What lies outside of the checkout."""
        files = {path.relative_to(self.root) for path in self.root.rglob("*") if not path.is_dir()}
        own = self.checkout.relative_to(self.root)
        return {str(path) for path in files if not path.is_relative_to(own) and not path.is_relative_to("opt")}

    def type(self, *arguments: str) -> Done:
        self._patch.setattr(sys, "argv", ["manage.py", *arguments])
        code = cli.main()
        return Done(code, *self._capsys.readouterr())


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Host:
    return Host(tmp_path, monkeypatch, capsys)


MADE = [
    "useradd --system --user-group --home-dir /var/lib/tidemark --no-create-home --shell /bin/false tidemark",
    "systemctl daemon-reload",
    "systemctl enable --now tidemark",
]


def test_install_makes_account_settings_and_unit_and_starts_it_saying_each(host: Host) -> None:
    done = host.type("install")
    assert (done.code, done.err) == (0, "")
    assert host.calls() == MADE
    assert host.files() == {UNIT, SETTINGS}
    assert done.out.replace(str(host.root), "").splitlines() == [
        f"account tidemark: {MADE[0]} ... made",
        "/etc/tidemark/tidemark.toml ... made",
        "/etc/systemd/system/tidemark.service ... made",
        "folder /var/lib/tidemark ... left to systemd, at the start",
        "systemctl daemon-reload ... done",
        "systemctl enable --now tidemark ... done",
        "the page: http://127.0.0.1:8930/; in the terminal: "
        "python3 manage.py --config /etc/tidemark/tidemark.toml status",
    ]


def test_the_unit_that_is_made_starts_this_checkout_and_is_the_shipped_one_else(host: Host) -> None:
    host.type("install")
    made = (host.root / UNIT).read_text().replace(str(host.checkout), "/opt/tidemark").splitlines()[1:]
    shipped = (place.CONFIG / "tidemark.service").read_text().partition("[Unit]")[2]
    expected = f"[Unit]{shipped}".replace("manage.py run", "manage.py --config /etc/tidemark/tidemark.toml run")
    assert made == expected.splitlines()


def test_systemd_understands_the_unit_that_is_made_also_of_a_folder_with_a_space(host: Host) -> None:
    tool = shutil.which("systemd-analyze", path=os.defpath)
    if tool is None:
        pytest.skip("needs systemd-analyze")
    host.make_checkout("opt/the tide")
    host.type("install")
    assert f'ExecStart="{host.checkout}/.venv/bin/python" -OO ' in (host.root / UNIT).read_text()
    done = subprocess.run([tool, "verify", host.root / UNIT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_settings_file_that_is_made_says_where_the_history_is_and_else_what_the_checkout_says(host: Host) -> None:
    file = host.checkout / "config" / "tidemark.toml"
    file.write_text(file.read_text().replace("# interval = 5 ", "interval = 7 "))
    host.type("install")
    rows = config.load(host.root / SETTINGS, environment={})[1]
    assert {row.key: row.value for row in rows if row.origin != "default"} == {
        "storage.path": "/var/lib/tidemark/tidemark.db",
        "sampling.interval": 7,
    }
    assert (host.root / SETTINGS).stat().st_mode & 0o777 == 0o644


def test_a_second_install_changes_nothing_and_says_so(host: Host) -> None:
    host.type("install")
    (host.root / "var/lib/tidemark").mkdir(parents=True)
    before = {name: (host.root / name).stat().st_ino for name in host.files()}
    host.calls()
    done = host.type("install")
    assert (done.code, host.calls()) == (0, [])
    assert {name: (host.root / name).stat().st_ino for name in host.files()} == before
    assert [line.partition(" ... ")[2] for line in done.out.splitlines()[:-1]] == [
        *["is there already"] * 4,
        "is enabled and runs already",
    ]


def test_a_unit_that_an_older_version_made_is_replaced_and_the_service_restarted(host: Host) -> None:
    shipped = host.checkout / "config" / "tidemark.service"
    text = shipped.read_text()
    shipped.write_text(text.replace("MemoryMax=256M", "MemoryMax=128M"))
    host.type("install")
    host.calls()
    shipped.write_text(text)
    assert "tidemark.service ... replaced\n" in host.type("install").out
    assert host.calls() == [*MADE[1:], "systemctl restart tidemark"]
    assert "MemoryMax=256M" in (host.root / UNIT).read_text()


def test_a_service_that_runs_and_is_not_enabled_is_enabled_and_not_restarted(host: Host) -> None:
    host.type("install")
    host.disable()
    host.calls()
    assert host.type("install").code == 0
    assert host.calls() == MADE[1:]


def test_a_program_that_pip_installed_is_started_by_its_own_script(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    script = Path(sys.prefix) / "bin" / "tidemark"
    script.touch(0o755)
    monkeypatch.setattr(place, "CHECKOUT", None)
    monkeypatch.setattr(place, "IMPORTED_FROM", host.checkout)
    monkeypatch.setattr(place, "CONFIG", host.checkout / "config")
    host.type("install")
    unit = (host.root / UNIT).read_text()
    assert f"ExecStart={sys.executable} -OO {script} --config /etc/tidemark/tidemark.toml run\n" in unit
    assert "\nEnvironment=" not in unit
    assert "\nDocumentation=" not in unit
    assert (host.root / SETTINGS).read_text() == (host.checkout / "config" / "tidemark.toml").read_text()
    script.unlink()
    assert "there is no" in host.type("install").err


def test_settings_that_are_there_stay_as_they_are_at_both(host: Host) -> None:
    (host.root / SETTINGS).parent.mkdir(parents=True)
    (host.root / SETTINGS).write_text("[server]\nport = 9000\n")
    assert "http://127.0.0.1:9000/;" in host.type("install").out
    assert "tidemark.toml ... stays, because it was changed\n" in host.type("uninstall").out
    assert (host.root / SETTINGS).read_text() == "[server]\nport = 9000\n"


def test_uninstall_takes_back_what_install_made_and_keeps_the_history(host: Host) -> None:
    host.type("install")
    data = host.root / "var/lib/tidemark/tidemark.db"
    data.parent.mkdir(parents=True)
    data.write_bytes(bytes(2_000_000))
    host.calls()
    done = host.type("uninstall")
    assert (done.code, done.err) == (0, "")
    assert host.calls() == [
        "systemctl disable --now tidemark",
        "systemctl daemon-reload",
        "chown -R -h -P root:root /var/lib/tidemark",
        "userdel tidemark",
    ]
    assert host.files() == {"var/lib/tidemark/tidemark.db"}
    assert not (host.root / "etc/tidemark").exists()
    last = done.out.splitlines()[-1]
    assert last == "the history stays in /var/lib/tidemark (2.0 MB); rm -r /var/lib/tidemark deletes it"


def test_uninstall_where_nothing_is_installed_says_so_and_does_nothing(host: Host) -> None:
    done = host.type("uninstall")
    assert (done.code, host.calls(), host.files()) == (0, [], set())
    assert [line.partition(" ... ")[2] for line in done.out.splitlines()] == ["is not there"] * 3


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_a_dry_run_says_the_steps_and_does_none_whoever_types_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    if verb == "uninstall":
        host.type("install")
        host.calls()
    before = host.files()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = host.type(verb, "--dry-run")
    assert (done.code, host.calls(), host.files()) == (0, [], before)
    assert done.out.count(" ... would be ") >= 5


@pytest.mark.parametrize("verb", ["install", "uninstall"])
def test_who_is_not_root_gets_one_line(host: Host, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    done = host.type(verb)
    assert (done.code, done.out, host.calls(), host.files()) == (1, "", [], set())
    assert done.err.startswith(f"tidemark: {verb} changes the system: type it as root")


def test_where_systemd_does_not_run_the_files_are_made_and_the_rest_is_left_to_type(host: Host) -> None:
    shutil.rmtree(host.root / "run")
    done = host.type("install")
    assert (done.code, host.calls(), host.files()) == (0, MADE[:1], {UNIT, SETTINGS})
    assert done.out.splitlines()[-1] == f"systemd does not run here; left to type: {' && '.join(MADE[1:])}"
    wanted = host.root / "etc/systemd/system/multi-user.target.wants/tidemark.service"
    wanted.parent.mkdir()
    wanted.symlink_to("/" + UNIT)
    assert host.type("uninstall").code == 0
    assert (host.calls(), host.files()) == (["userdel tidemark"], set())


def test_a_start_that_fails_is_one_line_and_a_second_install_goes_on(host: Host) -> None:
    host.refuse_start()
    done = host.type("install")
    assert done.code == 1
    assert done.out.endswith("systemctl enable --now tidemark ... failed\n")
    expected = "systemctl enable --now tidemark failed: Job failed.; `journalctl -u tidemark` says why"
    assert done.err == f"tidemark: {expected}\n"
    host.calls()
    assert host.type("install").code == 1
    assert host.calls() == MADE[1:]


def test_a_host_without_a_tool_is_one_line(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    shutil.rmtree(host.root / "run")
    done = host.type("install")
    assert (done.code, host.files()) == (1, set())
    assert done.err.startswith("tidemark: there is no useradd here")


# -- what is refused


def refused(host: Host, verb: str) -> str:
    """The line on stderr of a verb that changed nothing."""
    before = host.files()
    done = host.type(verb)
    assert (done.code, done.out, host.calls(), host.files()) == (1, "", [], before)
    assert done.err.count("\n") == 1
    return done.err


@pytest.mark.parametrize("verb", ["install", "uninstall"])
@pytest.mark.parametrize(("uid", "home", "shell"), [
    (1000, "/home/tidemark", "/bin/bash"), (990, "/var/lib/tidemark", "/bin/sh"),
    (990, "/var/lib/other", "/usr/sbin/nologin"), (0, "/var/lib/tidemark", "/usr/sbin/nologin"),
])  # fmt: skip
def test_an_account_of_that_name_that_is_not_ours_is_refused(
    host: Host, monkeypatch: pytest.MonkeyPatch, verb: str, uid: int, home: str, shell: str
) -> None:
    theirs = pwd.struct_passwd(("tidemark", "x", uid, 100, "", home, shell))
    monkeypatch.setattr(pwd, "getpwnam", lambda _: theirs)
    assert "the account tidemark is there and was not made for this" in refused(host, verb)


@pytest.mark.parametrize("verb", ["install", "uninstall"])
@pytest.mark.parametrize("edit", [lambda _: "[Service]\nExecStart=/bin/true\n", lambda made: made + "Nice=5\n"])
def test_a_unit_that_is_not_ours_or_was_edited_is_refused(host: Host, verb: str, edit: object) -> None:
    host.type("install")
    host.calls()
    text = edit((host.root / UNIT).read_text())  # type: ignore[operator]
    (host.root / UNIT).write_text(text)
    assert "was not made by `" in refused(host, verb)
    assert (host.root / UNIT).read_text() == text


@pytest.mark.parametrize(("closed", "mode", "says"), [
    ("opt", 0o700, "the account tidemark cannot enter HOST/opt, and HOST/opt/tidemark lies in it: move it to a folder"),
    ("opt/tidemark/service", 0o700, "HOST/opt/tidemark/service cannot be read by the account tidemark: chmod -R go+rX"),
    ("opt/tidemark/service/place.py", 0o600, "place.py cannot be read by the account tidemark: chmod -R go+rX HOST"),
    ("opt/tidemark/manage.py", 0o600, "manage.py cannot be read by the account tidemark: chmod -R go+rX HOST/opt"),
    ("opt/tidemark/.venv", 0o700, "HOST/opt/tidemark/.venv cannot be read by the account tidemark: chmod -R go+rX"),
])  # fmt: skip
def test_a_checkout_that_the_account_cannot_read_is_refused(host: Host, closed: str, mode: int, says: str) -> None:
    (host.root / closed).chmod(mode)
    assert says.replace("HOST", str(host.root)) in refused(host, "install")


def test_a_python_that_the_account_cannot_run_is_refused(host: Host) -> None:
    (host.root / "root").mkdir(mode=0o700)
    shutil.copy("/bin/true", host.root / "root" / "python3")
    Path(sys.executable).unlink()
    Path(sys.executable).symlink_to(host.root / "root" / "python3")
    assert f"cannot enter {host.root}/root, and this Python, {host.root}/root/python3, lies" in refused(host, "install")


def test_a_checkout_that_is_the_accounts_own_may_be_closed_to_others(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = host.checkout.stat()
    ours = pwd.struct_passwd(("tidemark", "x", found.st_uid + 1, found.st_gid, "", "/var/lib/tidemark", "/bin/false"))
    monkeypatch.setattr(pwd, "getpwnam", lambda _: ours)
    monkeypatch.setattr(os, "getgrouplist", lambda *_: [found.st_gid])
    (host.root / "opt").chmod(0o710)
    assert host.type("install").code == 0


def test_a_checkout_in_a_folder_that_the_service_does_not_see_is_refused(host: Host) -> None:
    host.make_checkout("var/tmp/tidemark")
    assert "the service does not see /var/tmp" in refused(host, "install")


def test_a_checkout_with_a_name_that_means_something_to_systemd_is_refused(host: Host) -> None:
    host.make_checkout("opt/100%h")
    assert "systemd cannot be given" in refused(host, "install")


def test_bad_settings_that_are_there_are_refused_with_their_exit_code(host: Host) -> None:
    (host.root / SETTINGS).parent.mkdir(parents=True)
    (host.root / SETTINGS).write_text("[server]\nprot = 9000\n")
    done = host.type("install")
    assert (done.code, host.calls()) == (78, [])
    assert "unknown setting server.prot" in done.err


def test_a_group_that_is_there_is_taken_and_who_is_in_it_is_said(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    there = grp.struct_group(("tidemark", "x", 990, ["alice", "bob"]))
    monkeypatch.setattr(grp, "getgrnam", lambda _: there)
    assert "(who is in its group may read the history: alice, bob) ... made\n" in host.type("install").out
    assert host.calls()[0].startswith("useradd --system --gid tidemark --home-dir")
