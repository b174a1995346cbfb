"""The one entry, `python3 manage.py VERB ...`, for a bare Python 3.11; this file alone makes and repairs .venv.

The verb runs in this interpreter if that has every pinned version or if TIDEMARK_NO_BOOTSTRAP=1 (for packagers and
containers). Otherwise it runs in .venv beside this file, which is made and filled first unless its stamp says that it
holds today's pins. Nothing is ever installed into another environment.

A stamp is a copy of the installed requirements file below a line that names .venv's interpreter. It is emptied before
pip starts and written after .venv could import the program, so the next start finishes an installation that was cut
off, and one that went elsewhere never counts as done.

The user's environment is not trusted: what misleads a Python is removed before anything runs (but not with
TIDEMARK_NO_BOOTSTRAP=1), and of pip's settings only those that say where packages come from are followed.

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
# What the verb of that name alone needs; it asks for it.
REPLAY = "requirements-replay.txt"
# What has to be importable before a requirements file counts as installed.
IMPORTS = {RUN: "service.cli, service.daemon.daemon", TEST: "pytest", REPLAY: "textual"}
# What makes a Python import other files than its own and those beside this file.
MISLEADING = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH", "PYTHONPLATLIBDIR")
# The settings of pip that say where packages come from and how they get here. All others are left out: target, prefix,
# root, user and dry-run would install elsewhere or nowhere, and a constraint may contradict the pins.
SOURCES = frozenset(["index-url", "extra-index-url", "no-index", "find-links", "trusted-host", "cert", "client-cert"])
SOURCES |= {"proxy", "timeout", "default-timeout", "retries", "keyring-provider", "cache-dir", "no-cache-dir"}
SOURCES |= {"use-feature", "use-deprecated"}  # whose certificates are trusted


class SetupError(Exception):
    """Set-up cannot go on; the text is one line that says why and what the user can do."""


def normal(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def pins(requirements: str) -> dict[str, str]:
    """Normal name -> exact version; lines for some platforms only (`; marker`) are left out."""
    lines = [line.rstrip("\\ ") for line in requirements.splitlines() if line[:1].isalnum()]
    return {normal(line.split("==")[0]): line.split("==")[1] for line in lines if ";" not in line}


def installed(path: list[str]) -> dict[str, str]:
    """Normal name -> version of what these folders hold, from the names of the .dist-info folders; the first counts."""
    entries = [entry for folder in reversed(path) if os.path.isdir(folder) for entry in os.listdir(folder)]
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


def is_inside() -> bool:
    """Whether this interpreter is .venv's."""
    return os.path.realpath(sys.prefix) == VENV


def suffices_here(requirements: str) -> bool:
    """Whether this interpreter has every pin. In .venv a stamp, if any, decides: pip may have been cut off."""
    if is_inside() and os.path.exists(stamp_path(requirements)):
        return is_stamped(requirements)
    return pins(read(os.path.join(ROOT, requirements))).items() <= installed(sys.path).items()


def say(text: str) -> None:
    print("tidemark:", text, file=sys.stderr, flush=True)


def plain_environment() -> dict[str, str]:
    """The environment without what directs a Python or a pip."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}


def pip_environment() -> dict[str, str]:
    """The environment for pip: of the user's variables and configuration files only where packages come from.

    :raises SetupError: if pip cannot read its configuration.
    """
    import subprocess  # here, because it costs 15 ms
    from ast import literal_eval

    names = {"config-file", *SOURCES}
    users = {name: value for name, value in os.environ.items() if variable_key(name) in names}
    command = [PYTHON, "-I", "-m", "pip", "config", "list"]
    listed = subprocess.run(command, env={**plain_environment(), **users}, capture_output=True, text=True, check=False)
    if listed.returncode:
        raise SetupError("pip cannot read its configuration: " + last_line(listed.stderr))
    pairs = [line.partition("=") for line in listed.stdout.splitlines()]
    found = {}
    for section in ("global.", "install.", ":env:."):  # the later counts, as for pip
        settings = {key[len(section) :]: value for key, _, value in pairs if key.startswith(section)}
        found.update({key: value for key, value in settings.items() if key in SOURCES and literal_eval(value)})
    kept = {"PIP_" + key.upper().replace("-", "_"): literal_eval(value) for key, value in found.items()}
    return {**plain_environment(), **kept, "PIP_CONFIG_FILE": os.devnull}


def variable_key(name: str) -> str:
    """The name under which pip lists a variable, PIP_INDEX_URL as index-url; empty where it is not pip's."""
    return name[4:].lower().replace("_", "-") if name.startswith("PIP_") else ""


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]


def step(what: str, command: list[str], log: int, advice: str, environment: dict[str, str]) -> None:
    """Run one step of the set-up. It writes to the locked log, so the lock holds even if this process is killed.

    :raises SetupError: if it fails, with its first error line, else its first sentence, and the advice
    """
    import subprocess

    say(what + " ...")
    start = time.monotonic()
    os.ftruncate(log, 0)
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False)
    if done.returncode:
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
    """Install into .venv what this file pins. -I: what the user's site holds does not count.

    :raises SetupError: if pip fails, or if .venv then cannot import what was to be installed.
    """
    open(stamp_path(requirements), "w").close()
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-user", "--require-hashes"]
    pip = [PYTHON, "-I", "-m", "pip", "install", *options, "-r", os.path.join(ROOT, requirements)]
    step(f"installing {requirements}", pip, log, "check the network and start again", pip_environment())
    check_import(requirements)
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
            advice = "on Debian and Ubuntu: sudo apt install python3-venv"
            step("making .venv", make, file.fileno(), advice, {**plain_environment(), "PIP_CONFIG_FILE": os.devnull})
        for requirements in missing:
            install(requirements, file.fileno())


def options(arguments: list[str]) -> list[str]:
    """-OO for the daemon: without docstrings it takes 4 MB less. The other verbs show theirs as help."""
    return ["-OO"] if "run" in arguments and not {"-h", "--help"} & set(arguments) else []


def check_import(requirements: str) -> None:
    """Import in .venv what needs this file. Where that fails, the next start makes .venv anew, but for what one verb
    alone needs: the daemon may be running from there.

    What the daemon imports is compiled by this, 1 s now instead of at each start: pip has compiled it without -OO. -I:
    also where PYTHONDONTWRITEBYTECODE is set.

    :raises SetupError: if something cannot be imported.
    """
    import subprocess

    code = f"import sys; sys.path.insert(0, {ROOT!r}); import {IMPORTS[requirements]}"
    optimised = ["-OO"] if requirements == RUN else []
    done = subprocess.run([PYTHON, "-I", *optimised, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        advice = "" if requirements == REPLAY else " -- start again to make .venv anew"
        if advice:
            os.remove(os.path.join(VENV, "pyvenv.cfg"))
        raise SetupError(f"{requirements} is installed but cannot be used: {last_line(done.stderr)}{advice}")


def refuse_noexec() -> None:
    """:raises SetupError: if .venv is, or would be, where the kernel loads no compiled package."""
    place = VENV if os.path.isdir(VENV) else ROOT
    if os.statvfs(place).f_flag & getattr(os, "ST_NOEXEC", 0):
        raise SetupError(
            f"{place} is on a file system mounted noexec, where no compiled package can be loaded: move it"
        )


def interpreter(needed: list[str], no_bootstrap: bool) -> str | None:
    """The interpreter to change to, with everything installed; None if the running one will do.

    :raises SetupError: if the set-up fails
    """
    here = no_bootstrap or all(map(suffices_here, needed))
    if no_bootstrap or (here and not is_inside()):
        return None
    refuse_noexec()
    if here:
        return None
    if all(map(is_stamped, needed)):
        return PYTHON if sys.executable != PYTHON else None  # never change to itself
    prepare(needed)
    return PYTHON


def start_over_unmisled() -> None:
    """Begin again without the variables that mislead a Python, if any are set: they would mislead .venv's as well."""
    misleading = [name for name in MISLEADING if name in os.environ]
    for name in misleading:
        del os.environ[name]
    if misleading:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def change_interpreter() -> None:
    """Change to pytest or to the interpreter that can run the verb; return if that is the running one.

    :raises SetupError: if the set-up fails
    """
    no_bootstrap = os.environ.get("TIDEMARK_NO_BOOTSTRAP") == "1"
    if not no_bootstrap:
        start_over_unmisled()
    tests = sys.argv[1:2] == ["test"] and "--help" not in sys.argv
    python = interpreter([RUN, TEST] if tests else [RUN], no_bootstrap)
    if tests:
        os.chdir(ROOT)
        python = python or sys.executable
        os.execv(python, [python, "-m", "pytest", *sys.argv[2:]])
    if python:
        # One heap for all threads (mallopt(3)): each reuses what another has freed, 4 MB less after a day of answers.
        os.environ.setdefault("MALLOC_ARENA_MAX", "1")
        os.execv(python, [python, *options(sys.argv[1:]), os.path.join(ROOT, "manage.py"), *sys.argv[1:]])


def main() -> int | None:
    """Hand the verb over to the interpreter that can run it."""
    try:
        change_interpreter()
    except KeyboardInterrupt:
        say("set-up interrupted; the next start finishes it")
        return 130
    except (SetupError, OSError) as error:
        say(str(error))
        return 1
    if ROOT not in sys.path:  # where Python was started with -P or -I
        sys.path.insert(0, ROOT)
    try:
        from service.cli import main as run_verb
    except KeyboardInterrupt:
        return 130
    except ImportError as error:
        say(f"{sys.executable} lacks what {RUN} pins: {error}")
        return 1
    return run_verb()


if __name__ == "__main__":
    sys.exit(main())
