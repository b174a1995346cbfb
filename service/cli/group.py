"""The group of all verbs, and the options that stand before each: which settings and which database."""

import re
from pathlib import Path
from typing import Any

import click

from service import __version__
from service.place import COMMAND, SETTINGS

_EPILOG = """Exit codes: 0 done; 1 the thing asked for failed; 2 usage; 73 cannot create the database; 74 I/O error at
start; 75 another daemon has this database; 76 the database is newer than this program; 78 bad or unsafe
configuration."""


# What the verbs of each file are for, in the order of the help.
_PURPOSES = {
    "serve": "Run", "install": "Run", "look": "Look", "walk": "Look", "ask": "Ask", "keep": "Keep", "ship": "Keep",
}  # fmt: skip


class ReaderGone(Exception):
    """Whoever read stdout has closed it."""


class _Verb(click.Command):
    def __init__(self, name: str | None, help: str | None = None, **options: Any) -> None:
        super().__init__(name, help=_as_typed(help), **options)


class _Verbs(click.Group):
    command_class = _Verb

    def __init__(self, name: str | None, help: str | None = None, **options: Any) -> None:
        super().__init__(name, help=_as_typed(help), **options)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderGone from None  # click would exit with 1

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The verbs by what they are for, and not in one long list."""
        limit = formatter.width - 6 - max(map(len, self.commands))
        for purpose, verbs in self.by_purpose().items():
            with formatter.section(purpose):
                formatter.write_dl([(str(verb.name), verb.get_short_help_str(limit)) for verb in verbs])

    def by_purpose(self) -> dict[str, list[click.Command]]:
        """The verbs by what they are for, in the order of the help."""
        found: dict[str, list[click.Command]] = {purpose: [] for purpose in _PURPOSES.values()}
        for _, verb in sorted(self.commands.items()):
            if verb.hidden:
                continue
            file = verb.callback.__module__.rpartition(".")[2]
            found[_PURPOSES[file]].append(verb)
        return found


def _as_typed(help_: str | None) -> str | None:
    """A help with the program called as people call it here; but pip installs no tests, which manage.py alone runs."""
    return help_ and re.sub(r"python3 manage\.py(?! test)", COMMAND, help_)


@click.group(cls=_Verbs, no_args_is_help=True, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "config_file", type=click.Path(path_type=Path), help=f"Settings file instead of {SETTINGS}.")
@click.option("--database", type=click.Path(), help="Database file instead of storage.path.")
@click.version_option(__version__, message="Tidemark %(version)s")
@click.pass_context
def cli(context: click.Context, config_file: Path | None, database: str | None) -> None:
    """Tidemark: this host's resource history, which survives restarts.

    `python3 manage.py run` records and serves it; every other verb reads the database file, whether the daemon is up
    or down.
    """
    context.obj = (config_file, {"storage.path": database and str(Path(database).absolute())})
