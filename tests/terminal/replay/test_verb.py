"""The verb in a terminal and out of one: it draws, it ends, it says in one line why it does not."""

import fcntl
import os
import pty
import subprocess
import sys
import termios
import tomllib
from pathlib import Path

import pytest

from service.cli import group, walk
from service.errors import TidemarkError
from tests.running import ROOT, command, environment

# As `manage.py` starts the verb where the package is missing. An installation only says so.
WITHOUT_TEXTUAL = """
import sys
sys.modules["textual"] = None
import manage
from service import cli
manage.is_inside = lambda: {inside}
manage.prepare = lambda needed: (print("installs", *needed), sys.exit(9))
sys.exit(cli.main())
"""


class Screen:
    """A program in a terminal of 80x24, to which keys are given as soon as it has shown some words."""

    def __init__(self, arguments: list[str], *conversation: tuple[str, str], **variables: str) -> None:
        """`conversation`: words, and the keys that are pressed once they are there."""
        main, other = pty.openpty()
        given = environment(**{"TERM": "vt100", "COLUMNS": "80", "LINES": "24", **variables})
        self.process = subprocess.Popen(
            arguments,
            cwd=ROOT,
            env=given,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(other)
        self.shown, waiting = "", list(conversation)
        while piece := _read(main):
            self.shown += piece
            if waiting and waiting[0][0] in self.shown:
                os.write(main, waiting.pop(0)[1].encode())
        os.close(main)
        self.code = self.process.wait(30)


def _read(descriptor: int) -> str:
    try:
        return os.read(descriptor, 65536).decode(errors="replace")
    except OSError:  # Linux says so when the other end is closed
        return ""


def outside(path: Path, *arguments: str) -> tuple[int, str, str]:
    """The verb with pipes instead of a terminal."""
    done = subprocess.run(
        command(path, "replay", *arguments), cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_it_draws_in_a_plain_terminal_and_q_ends_it(morning: None, path: Path, variables: dict[str, str]) -> None:
    screen = Screen(command(path, "replay"), ("restic", "\x1b[C"), ("10:21:00", "q"), **variables)
    assert screen.code == 0
    assert str(path)[-20:] in screen.shown
    assert "Traceback" not in screen.shown
    assert ("\x1b[35" in screen.shown) == (not variables)
    assert "?1003h" not in screen.shown  # the mouse stays the terminal's


def test_a_terminal_without_blocks_gets_ascii(morning: None, path: Path) -> None:
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    screen = Screen(command(path, "replay"), ("restic", "q"), **ascii_only)
    assert screen.code == 0
    assert screen.shown.isascii()
    assert "^10:20" in screen.shown


def test_over_a_database_that_the_settings_name_it_shows_the_hosts_name(morning: None, path: Path) -> None:
    config = path.parent / "settings.toml"
    config.write_text(f'[storage]\npath = "{path}"\n[server]\nname = "web1"\n')
    screen = Screen([sys.executable, "manage.py", "--config", str(config), "replay"], ("restic", "q"))
    assert screen.code == 0
    assert "web1" in screen.shown


def test_an_empty_database_is_said_so_in_one_line(path: Path) -> None:
    assert outside(path) == (1, "", "tidemark: no sample has been stored yet\n")


def test_no_database_is_said_so_in_one_line(tmp_path: Path) -> None:
    code, out, err = outside(tmp_path / "none.db")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "no history at " in err


def test_a_bad_time_is_said_so_in_one_line(morning: None, path: Path) -> None:
    code, out, err = outside(path, "--at", "soon")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "'soon': a time is RFC 3339" in err


def test_where_there_is_no_terminal_it_says_what_answers_without_one(morning: None, path: Path) -> None:
    code, out, err = outside(path)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "processes --at TIME` prints who used the machine" in err


def test_a_dumb_terminal_is_none(morning: None, path: Path) -> None:
    screen = Screen(command(path, "replay"), TERM="dumb")
    assert screen.code == 1
    assert "this is none, or TERM=dumb: " in screen.shown
    assert "\x1b" not in screen.shown


@pytest.mark.parametrize(
    ("inside", "answer", "shown", "code"),
    [
        (True, "y\r", "installs requirements-replay.txt", 9),
        (True, "\r", "-m pip install -r ", 1),
        (True, "n\r", "-m pip install -r ", 1),
        (False, "", "-m pip install -r ", 1),
    ],
)
def test_a_missing_package_is_offered_where_it_can_be_installed(
    morning: None, path: Path, inside: bool, answer: str, shown: str, code: int
) -> None:
    program = [sys.executable, "-c", WITHOUT_TEXTUAL.format(inside=inside), "--database", str(path), "replay"]
    screen = Screen(program, ("[y/N]", answer))
    assert screen.code == code
    assert shown in screen.shown.replace("\r\n", "")
    assert ("[y/N]" in screen.shown) == inside
    assert "Traceback" not in screen.shown


def test_no_other_verb_imports_textual(morning: None, path: Path) -> None:
    verbs = sorted(set(group.cli.commands) - {"run", "test", "replay"})
    code = f"""
import contextlib, io, sys
from service import cli
for verb in {verbs}:
    sys.argv = ["manage.py", "--database", {str(path)!r}, verb]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        cli.main()
from service.terminal.replay import picture, walker
sys.exit("textual" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment(), check=False).returncode == 0


@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_status_watch_is_the_same_screen_at_the_newest(morning: None, path: Path, variables: dict[str, str]) -> None:
    # The morning is long past: nothing is live.
    conversation = ("not live", "\x1b[D"), ("11:09:00", "l"), ("not live", "q")
    screen = Screen(command(path, "status", "--watch"), *conversation, **variables)
    assert screen.code == 0
    assert "process, 11:09:30" in screen.shown
    assert "Traceback" not in screen.shown
    assert "?1003h" not in screen.shown


def test_status_watch_without_textual_says_in_one_line_what_there_is(morning: None, path: Path) -> None:
    program = [sys.executable, "-c", WITHOUT_TEXTUAL.format(inside=True), "--database", str(path), "status", "--watch"]
    screen = Screen(program, ("needs textual", "q"))
    assert screen.code == 0
    assert "nothing is being recorded" in screen.shown
    assert "the screen of replay, live, needs textual: python3 manage.py replay says how" in screen.shown
    assert "[y/N]" not in screen.shown


def test_the_package_that_is_named_is_the_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert extras["replay"] == [walk.PACKAGE]


def test_an_installation_names_the_package_that_is_missing_and_no_other(
    monkeypatch: pytest.MonkeyPatch, morning: None, path: Path
) -> None:
    monkeypatch.setattr(walk, "CHECKOUT", None)
    monkeypatch.setattr(walk, "has_textual", lambda: False)
    with pytest.raises(TidemarkError) as raised:
        walk.have_textual()
    assert str(raised.value) == f"replay needs the package textual: {sys.executable} -m pip install 'textual==8.2.8'"
