"""The one entry, `python3 manage.py VERB ...`, for a bare Python 3.11; this file alone makes and repairs .venv.

The verb runs in this interpreter if that has every pinned version or if TIDEMARK_NO_BOOTSTRAP=1 (for packagers and
containers). Otherwise it runs in .venv beside this file, which is made and filled first unless its stamp says that it
holds today's pins. Nothing is ever installed into another environment.

A stamp is a copy of the installed requirements file below a line that names .venv's interpreter. It is emptied before
pip starts and written after pip has succeeded, so the next start finishes an installation that was cut off.

`test` runs from here, because it needs requirements-dev.txt and not the program: pytest gets the rest of the line.
service.cli handles every other verb, and `test --help`. Each start passes through here, mostly twice, so nothing slow
is imported, such as importlib.metadata (30 ms).
"""

import fcntl
import os
import sys
import time

if sys.version_info < (3, 11):  # noqa: UP036 - why this whole file has to parse on Python 3.6
    sys.exit(f"tidemark: needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}")

ROOT = os.path.dirname(os.path.realpath(__file__))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
LOG = VENV + ".log"
RUN, TEST = "requirements.txt", "requirements-dev.txt"


class SetupError(Exception):
    """Set-up cannot go on; the text is one line that says why and what the user can do."""


def normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def pins(requirements: str) -> dict[str, str]:
    """Normal name -> exact version; lines for some platforms only (`; marker`) are left out."""
    lines = [line.rstrip("\\ ") for line in requirements.splitlines() if line[:1].isalnum()]
    return {normal(line.split("==")[0]): line.split("==")[1] for line in lines if ";" not in line}


def installed(path: list[str]) -> dict[str, str]:
    """Normal name -> version of what these folders hold, from the names of the .dist-info folders."""
    entries = [entry for folder in path if os.path.isdir(folder) for entry in os.listdir(folder)]
    found = [entry[:-10].partition("-") for entry in entries if entry.endswith(".dist-info")]
    return {normal(name): version for name, _, version in found}


def read(path: str) -> str:
    """The file's text, empty if there is no such file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def stamp_path(requirements: str) -> str:
    return os.path.join(VENV, "tidemark-" + requirements)


def stamp(requirements: str) -> str:
    """What a valid stamp contains; its first line changes when the system's Python is upgraded."""
    return f"# for {os.path.realpath(PYTHON)}\n" + read(os.path.join(ROOT, requirements))


def is_stamped(requirements: str) -> bool:
    """Whether .venv can run and holds what this file pins."""
    runs = os.access(PYTHON, os.X_OK) and os.path.isfile(os.path.join(VENV, "pyvenv.cfg"))
    return runs and read(stamp_path(requirements)) == stamp(requirements)


def suffices_here(requirements: str) -> bool:
    """Whether this interpreter has every pin. In .venv a stamp, if any, decides: pip may have been cut off."""
    if os.path.realpath(sys.prefix) == VENV and os.path.exists(stamp_path(requirements)):
        return is_stamped(requirements)
    return pins(read(os.path.join(ROOT, requirements))).items() <= installed(sys.path).items()


def say(text: str) -> None:
    print("tidemark:", text, file=sys.stderr, flush=True)


def step(what: str, command: list[str], log: int, advice: str) -> None:
    """Run one step of the set-up. It writes to the locked log, so the lock holds even if this process is killed.

    :raises SetupError: if it fails, with its first error line, else its first sentence, and the advice
    """
    import subprocess  # here, because it costs 15 ms

    say(what + " ...")
    start = time.monotonic()
    os.ftruncate(log, 0)
    if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode:
        errors = [line for line in read(LOG).splitlines() if line.startswith(("ERROR:", "Error:"))]
        reason = errors[0] if errors else " ".join(read(LOG).split()).partition(". ")[0]
        raise SetupError(f"{what} failed: {reason} -- {advice} (log: {LOG})")
    say(f"{what}: done in {time.monotonic() - start:.1f} s")


def has_pip() -> bool:
    """Whether pip runs in .venv: not if making it was cut off or the system's Python has changed."""
    import subprocess

    code = "import sys, pip; sys.exit(sys.prefix == sys.base_prefix)"
    try:
        return subprocess.run([PYTHON, "-I", "-c", code], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def install(requirements: str, log: int) -> None:
    """Install into .venv what this file pins. -I: what PYTHONPATH or the user's site holds does not count."""
    open(stamp_path(requirements), "w").close()
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-user", "--require-hashes"]
    pip = [PYTHON, "-I", "-m", "pip", "install", *options, "-r", os.path.join(ROOT, requirements)]
    step(f"installing {requirements}", pip, log, "check the network and start again")
    with open(stamp_path(requirements), "w", encoding="utf-8") as file:
        file.write(stamp(requirements))


def prepare(needed: list[str]) -> None:
    """Install these requirements files into .venv; of two starts at once the second waits and finds the work done.

    :raises SetupError: if venv or pip fails
    """
    with open(LOG, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another start that is setting up .venv ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        missing = [requirements for requirements in needed if not is_stamped(requirements)]
        if missing and not has_pip():
            make = [sys.executable, "-I", "-m", "venv", "--clear", VENV]
            step("making .venv", make, file.fileno(), "on Debian and Ubuntu: sudo apt install python3-venv")
        for requirements in missing:
            install(requirements, file.fileno())
        if missing:
            warm_up()


def options(arguments: list[str]) -> list[str]:
    """-OO for the daemon: without docstrings it takes 4 MB less. The other verbs show theirs as help."""
    return ["-OO"] if "run" in arguments and not {"-h", "--help"} & set(arguments) else []


def warm_up() -> None:
    """Compile what the daemon imports, which pip has compiled without -OO: 1 s now instead of at each start.

    -I: also where PYTHONDONTWRITEBYTECODE is set. A failure is ignored: the verb will report it.
    """
    import subprocess

    code = f"import sys; sys.path.insert(0, {ROOT!r}); import service.daemon.daemon"
    subprocess.run([PYTHON, "-I", "-OO", "-c", code], capture_output=True, check=False)


def interpreter(needed: list[str], no_bootstrap: bool) -> str | None:
    """The interpreter to change to, with everything installed; None if the running one will do.

    :raises SetupError: if the set-up fails
    """
    if no_bootstrap or all(map(suffices_here, needed)):
        return None
    if all(map(is_stamped, needed)):
        return PYTHON if sys.executable != PYTHON else None  # never change to itself
    prepare(needed)
    return PYTHON


def main() -> int | None:
    """Hand the verb over to the interpreter that can run it."""
    tests = sys.argv[1:2] == ["test"] and "--help" not in sys.argv
    try:
        python = interpreter([RUN, TEST] if tests else [RUN], os.environ.get("TIDEMARK_NO_BOOTSTRAP") == "1")
    except KeyboardInterrupt:
        say("set-up interrupted; the next start finishes it")
        return 130
    except (SetupError, OSError) as error:
        say(str(error))
        return 1
    if tests:
        os.chdir(ROOT)
        python = python or sys.executable
        os.execv(python, [python, "-m", "pytest", *sys.argv[2:]])
    if python:
        # One heap for all threads (mallopt(3)): each reuses what another has freed, 4 MB less after a day of answers.
        os.environ.setdefault("MALLOC_ARENA_MAX", "1")
        os.execv(python, [python, *options(sys.argv[1:]), os.path.join(ROOT, "manage.py"), *sys.argv[1:]])
    try:
        from service.cli import main as run_verb
    except KeyboardInterrupt:
        return 130
    return run_verb()


if __name__ == "__main__":
    sys.exit(main())
