"""Has sadf write a file of sysstat as JSON, after converting it where it is old; alone starts sadf."""

import re
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, NamedTuple

from service.errors import TidemarkError

# What is asked for; man 1 sadf. Without `-r ALL` there is no slab, of which the total of the memory is rebuilt.
ACTIVITIES = ("-u", "ALL", "-r", "ALL", "-S", "-q", "ALL", "-n", "DEV", "-b", "-F", "MOUNT")
# A broken file can keep sadf busy for ever, and have it write for ever: a day of records a second is 260 MB.
SECONDS = 60
MOST_BYTES = 600 * 10**6
_PIECE_BYTES = 1 << 20
_ERROR_BYTES = 4096
_REASON_LENGTH = 200

# Without the user's language and zone, and without what sysstat itself reads (S_TIME_FORMAT and others).
_ENVIRONMENT = {"LC_ALL": "C", "TZ": "UTC"}
# sysstat's own `sa2` compresses files after some days.
_PACKED = {b"\x1f\x8b": "gunzip", b"\xfd7zXZ\0": "unxz", b"BZh": "bunzip2", b"(\xb5/\xfd": "unzstd"}
_VERSION = re.compile(r"sysstat version (\d[\w.]*)")


class FileRefused(TidemarkError):
    """A file that cannot be imported; nothing of it is. The text begins with its name."""


class Written(NamedTuple):
    """`json`: what `sadf -j` writes. `version`: `sysstat` and the version that recorded it, where that is known."""

    json: bytes
    version: str


class _Done(NamedTuple):
    code: int
    out: bytes
    errors: str

    @property
    def is_whole(self) -> bool:
        """Of a file that ends too soon sadf writes what it has, whole JSON mostly, complains, and exits with 0."""
        return self.code == 0 and not self.errors


def written(file: Path) -> Written:
    """The statistics of a file of sysstat, or of one that holds the output of `sadf -j` already.

    :raises FileRefused: if it is neither, is broken, or cannot be read here.
    """
    try:
        with open(file, "rb") as opened:
            first = opened.read(64)
            if first.lstrip().startswith(b"{"):
                return Written(_whole(file, first, opened), "sysstat")
    except OSError as error:
        raise FileRefused(f"{file}: {error.strerror or error}") from None
    for mark, program in _PACKED.items():
        if first.startswith(mark):
            raise FileRefused(f"{file}: it is compressed; unpack it first ({program})")
    if (sadf := shutil.which("sadf")) is None:
        raise FileRefused(f"{file}: no sadf here: install sysstat, or give the output of `sadf -j`")
    return _by_sadf(sadf, file.absolute())


def _whole(file: Path, first: bytes, opened: IO[bytes]) -> bytes:
    whole = first + opened.read(MOST_BYTES)
    if len(whole) > MOST_BYTES:
        raise FileRefused(_too_large(file))
    return whole


def _too_large(file: Path) -> str:
    return f"{file}: more than {MOST_BYTES // 10**6} MB of JSON; cut it by time with `sadf -j -s START -e END`"


def _by_sadf(sadf: str, file: Path) -> Written:
    done = _statistics(sadf, file)
    if done.is_whole:
        return Written(done.out, _version(sadf, file))
    recorded_by = _VERSION.search(done.errors)
    if done.out or recorded_by is None:
        raise FileRefused(f"{file}: {_reason(done, file)}")
    with tempfile.NamedTemporaryFile(prefix="tidemark-") as converted:
        changed = _run(sadf, "-c", str(file), file=file)
        if changed.code or not changed.out:
            raise FileRefused(
                f"{file}: sysstat {recorded_by[1]} recorded it, which this sadf neither reads nor converts"
            )
        converted.write(changed.out)
        converted.flush()
        done = _statistics(sadf, Path(converted.name))
        if not done.is_whole:
            raise FileRefused(
                f"{file}: sysstat {recorded_by[1]} recorded it; converted, {_reason(done, Path(converted.name))}"
            )
        return Written(done.out, f"sysstat {recorded_by[1]}")


def _statistics(sadf: str, file: Path) -> _Done:
    return _run(sadf, "-j", str(file), "--", *ACTIVITIES, file=file)


def _version(sadf: str, file: Path) -> str:
    found = _VERSION.search(_run(sadf, "-H", str(file), file=file).out.decode(errors="replace"))
    return f"sysstat {found[1]}" if found else "sysstat"


def _reason(done: _Done, file: Path) -> str:
    if done.errors.lstrip().startswith("Usage:"):
        return "this sadf is too old to be asked for all (12.3.3 is needed); give the output of `sadf -j`"
    if done.code < 0:
        return f"sadf crashed on it (signal {-done.code})"
    # Which names the file once more.
    said = " ".join(done.errors.replace(str(file), "").split()).rstrip(": ")[:_REASON_LENGTH]
    found = "broken or half written" if done.out else "no file of sysstat that sadf can read"
    return f"{found} (sadf says: {said or f'exit code {done.code}'})"


def _run(*command: str, file: Path) -> _Done:
    """
    :raises FileRefused: if it takes or writes too much.
    """
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=_ENVIRONMENT, cwd="/"
        ) as process,
    ):
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            out = _read(process.stdout, file)
            code = process.wait()
        except BaseException:
            process.kill()
            raise
        finally:
            timer.cancel()
        if code == -signal.SIGKILL:
            raise FileRefused(f"{file}: sadf has not come to an end within {SECONDS} s")
        errors.seek(0)
        return _Done(code, out, errors.read(_ERROR_BYTES).decode(errors="replace"))


def _read(stream: IO[bytes], file: Path) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := stream.read(_PIECE_BYTES):
        pieces.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise FileRefused(_too_large(file))
    return b"".join(pieces)
