"""Runs a verb; its errors become one line on stderr and an exit code."""

import io
import sys

import click

from service.cli.group import ReaderGone, cli
from service.errors import TidemarkError
from service.place import PROGRAM


def main() -> int:
    """Run a verb; every error is one line on stderr with the contract's exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What the terminal's encoding lacks is shown as its code.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        result = cli.main(prog_name=PROGRAM, standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return error.exit_code
    except click.ClickException as error:
        hint = "" if isinstance(error, click.UsageError) and error.ctx is None else "; --help says what there is"
        return _fail(" ".join(error.format_message().split()).rstrip(".") + hint, error.exit_code)
    except TidemarkError as error:
        return _fail(str(error), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _fail("stopped", 130)
    except (ReaderGone, BrokenPipeError):
        # The reader of a pipe has gone (`| head`): nothing is wrong. Python would complain once more at exit.
        sys.stdout = None
        return 0
    except OSError as error:
        sys.stdout = None  # which may be what is full
        if isinstance(error, FileNotFoundError) and error.filename is None:
            return _fail("the folder that this was started in is gone; change to one that is there", 1)
        return _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)
    except Exception as error:  # noqa: BLE001 - the last door: whatever it is, people see one line
        return _fail(f"a defect in Tidemark: {type(error).__name__}: {' '.join(str(error).split())}", 1)
    return result if isinstance(result, int) else 0


def _fail(text: str, code: int) -> int:
    from service.terminal.layout import printable

    print(f"tidemark: {printable(text)}", file=sys.stderr)
    return code
