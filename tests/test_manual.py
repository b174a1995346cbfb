"""The man page: as its script writes it, whole, and without an error of the formatters that are here."""

import re
import shutil
import subprocess

import click
import pytest

from docs import manual
from service.cli import cli
from tests.running import ROOT

PAGE = (ROOT / "docs" / "tidemark.1").read_text(encoding="utf-8")


def entry(verb: str) -> str:
    """What the page says of a verb, with its hyphens as they are typed."""
    found = re.search(
        rf"^\.SS {re.escape(verb)}(?: [^\n]*)?\n(.*?)(?=^\.S[SH] )", PAGE.replace("\\-", "-"), re.S | re.M
    )
    assert found, f"the page does not name {verb}"
    return found[1]


def test_the_page_is_as_its_script_writes_it() -> None:
    assert manual.page() == PAGE, "python3 docs/manual.py writes it anew"


@pytest.mark.parametrize("verb", sorted(cli.commands))
def test_the_page_has_every_verb_with_its_help_and_every_option(verb: str) -> None:
    said = entry(verb)
    options = [param for param in cli.commands[verb].params if isinstance(param, click.Option)]
    for option in options:
        assert re.search(rf"^\.B {re.escape(option.opts[0])}\b", said, re.M), option.opts
    assert said.splitlines()[0]
    assert not said.startswith(".TP")


def test_the_page_calls_the_program_as_pip_installs_it() -> None:
    assert "tidemark sql" in PAGE
    assert re.findall(r"manage\.py(?! test)", PAGE) == []


def test_no_text_of_a_help_is_taken_for_a_request_of_the_formatter() -> None:
    assert PAGE.isascii()
    assert set(re.findall(r"^[.'](\S+)", PAGE, re.M)) == {"TH", "SH", "SS", "TP", "PP", "B", "BR", "I", "IR", '\\"'}
    assert set(re.findall(r"\\(f.|.)", PAGE)) <= {"fB", "fI", "fR", "-", "e", '"'}


@pytest.mark.parametrize(
    "command", [["groff", "-man", "-Tutf8", "-ww"], ["mandoc", "-T", "lint", "-W", "error"], ["man", "-l"]]
)
def test_a_formatter_finds_no_error_in_the_page(command: list[str]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    done = subprocess.run([*command, ROOT / "docs" / "tidemark.1"], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    if command[0] != "mandoc":
        shown = re.sub(r"\x1b\[\d+m|.\x08", "", done.stdout)
        assert "tidemark [--config FILE] [--database FILE] VERB [OPTIONS]" in shown
