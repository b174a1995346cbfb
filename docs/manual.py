"""Writes the man page from the help of the verbs: `python3 docs/manual.py`."""

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from service import __version__  # noqa: E402
from service.cli import cli  # noqa: E402
from service.place import COMMAND, SETTINGS, SETTINGS_OF_ACCOUNTS  # noqa: E402

PAGE = ROOT / "docs" / "tidemark.1"

_HEAD = f"""\
.\\" python3 docs/manual.py writes this page from the help of the verbs.
.TH TIDEMARK 1 "" "Tidemark {__version__}" "User Commands"
.SH NAME
tidemark \\- this host's resource history, which survives restarts
.SH SYNOPSIS
.B tidemark
[\\fB\\-\\-config\\fR \\fIFILE\\fR] [\\fB\\-\\-database\\fR \\fIFILE\\fR] \\fIVERB\\fR [\\fIOPTIONS\\fR]
.SH DESCRIPTION
"""
_TAIL = """\
.SH FILES
.TP
.I /etc/tidemark/tidemark.toml
The settings of root and of the service; it may be missing. Of other accounts
.IR $XDG_CONFIG_HOME/tidemark/tidemark.toml .
.TP
.I /var/lib/tidemark
What relative paths in settings start at, for root and the service: the database is
.I data/tidemark.db
there. For other accounts
.IR $XDG_STATE_HOME/tidemark .
.SH ENVIRONMENT
.TP
.B TIDEMARK_SECTION_KEY
The setting
.IR section.key ,
which counts more than the file's;
.B tidemark config
shows all.
.SH NOTES
Every verb takes
.BR \\-\\-help ,
and prints what stands here.
.SH SEE ALSO
.BR sar (1),
.BR sqlite3 (1)
"""


def page() -> str:
    """The man page, in the macros of man(7)."""
    context = click.Context(cli, info_name="tidemark")
    parts = [_HEAD, *_paragraphs(cli.help), ".SH OPTIONS\n", *_options(cli, context)]
    for purpose, verbs in cli.by_purpose().items():
        parts.append(f".SH VERBS: {purpose.upper()}\n")
        for verb in verbs:
            inner = click.Context(verb, info_name=verb.name, parent=context)
            usage = _text(" ".join(piece for piece in verb.collect_usage_pieces(inner) if piece != "[OPTIONS]"))
            parts += [
                f".SS {_text(str(verb.name))} {usage}".rstrip() + "\n",
                *_paragraphs(verb.help),
                *_options(verb, inner),
            ]
    codes = str(cli.epilog).replace("\n", " ").removeprefix("Exit codes: ")
    rows = [code.strip(" .").split(" ", 1) for code in codes.split(";")]
    parts += [".SH EXIT STATUS\n", *(f".TP\n.B {code}\n{_text(meaning)}\n" for code, meaning in rows)]
    return "".join([*parts, _TAIL])


def _paragraphs(help_: str | None) -> Iterator[str]:
    for number, paragraph in enumerate(inspect.cleandoc(help_ or "").split("\n\n")):
        yield (".PP\n" if number else "") + _text(" ".join(paragraph.split())) + "\n"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and isinstance(parameter, click.Option) and "--help" not in parameter.opts:
            names, meaning = record
            yield f".TP\n.B {_text(names)}\n{_text(meaning)}\n"


def _text(text: str) -> str:
    """As troff reads it: no sign of it has a meaning, and what stands in backticks is bold."""
    text = text.replace(COMMAND, "tidemark") if "manage.py test" not in text else text
    text = text.replace(SETTINGS, SETTINGS_OF_ACCOUNTS)
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text)
    return re.sub(r"^(?=[.'])", r"\\&", text)


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
