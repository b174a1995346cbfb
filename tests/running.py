"""Real daemons as processes, for tests that start, ask, kill and start again; and a wall clock that can be set."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# A daemon on a free port that samples every second.
RUN = ("run", "--port", "0", "--interval", "1")


def environment(**more: str) -> dict[str, str]:
    """The environment of a program of ours: without the caller's settings, and without a set-up."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TIDEMARK_")}
    return {**kept, "TIDEMARK_NO_BOOTSTRAP": "1", **more}


def command(path: Path, *verb: str) -> list[str]:
    """How a verb is run over one database from the project's folder."""
    return [sys.executable, "manage.py", "--database", str(path), *verb]


def url_in(line: str) -> str:
    """The address in the first line that a daemon prints."""
    return line.split(" at ")[-1].strip().rstrip("/")


class Running:
    """A daemon on a free port, over one database, sampling every second."""

    def __init__(self, path: Path, errors: Path, *options: str, **variables: str) -> None:
        self.path, self.errors = path, errors
        with errors.open("a") as stderr:
            self.process = subprocess.Popen(
                command(path, *RUN, *options),
                cwd=ROOT,
                env=environment(**variables),
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self.process.stdout is not None
        self.url = url_in(self.process.stdout.readline())

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            return json.loads(answer.read())

    def samples(self) -> int:
        return count(self.path)

    def wait_for_samples(self, more: int) -> None:
        wanted = self.samples() + more
        until(lambda: self.samples() >= wanted)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        """Kill it, if it still runs, and close its pipe."""
        self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)


def count(path: Path) -> int:
    """How many samples are stored; 0 before there is a history."""
    try:
        return int(query(path, "SELECT count(*) FROM samples")[0][0])
    except sqlite3.OperationalError:
        return 0


def query(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Rows of a statement, read as any other program would read them."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


class WallClock:
    """Shifts CLOCK_REALTIME, and nothing else, of the programs that are started with `environment`."""

    def __init__(self, folder: Path) -> None:
        """:raises OSError: if there is no C compiler."""
        source, self._library, self._file = folder / "wall.c", folder / "wall.so", folder / "shift"
        source.write_text(_SHIM)
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", self._library, source, "-ldl"], check=True)
        self._file.write_text("0")

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "WALL_SHIFT_FILE": str(self._file)}

    def shift(self, seconds: int) -> None:
        """Set it that far off, in one step, so that no program reads half a number."""
        new = self._file.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self._file)


_SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift(void) {
    const char *path = getenv("WALL_SHIFT_FILE");
    FILE *file = path ? fopen(path, "r") : NULL;
    long seconds = 0;
    if (file) { if (fscanf(file, "%ld", &seconds) != 1) seconds = 0; fclose(file); }
    return seconds;
}
int clock_gettime(clockid_t id, struct timespec *out) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, out);
    if (!result && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) out->tv_sec += shift();
    return result;
}
int gettimeofday(struct timeval *out, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    out->tv_sec = now.tv_sec; out->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
"""
