"""Which lines of a room could be wrong without a test that notices: breaks them one by one and runs the room's tests.

`python3 benchmarks/break_lines.py --wing store --most 25` prints each break that the tests let pass ("survived"), and
for each room the share that they noticed; `--room service/store/rollups.py` does so for one room. Its tests are, in
this order, `tests/<wing>/test_<room>.py` and the other files of that folder that name the room; or those of `--tests`.
A survivor is a missing test or a break that changes nothing (`<` for `<=` where both cannot be equal). Broken are
comparisons, arithmetic, and/or, `not`, numbers and truth values, what is returned, statements that are left out, and
the like of these in SQL. All happens in a temporary copy of the tree; tests that take five times as long as with
nothing broken have noticed. It needs the packages of requirements-dev.txt.
"""

import argparse
import ast
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import IO, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("service", "tests", "migrations", "config", "docs", "benchmarks", "manage.py", "pyproject.toml")
# No test takes so long by itself; the least that a run is given, as a busy machine makes any run slow now and then.
LEAST_SECONDS = 20.0
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip

SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|WHERE|BEGIN|ORDER BY|PRAGMA)\b")
IN_SQL = {" < ": " <= ", " <= ": " < ", " > ": " >= ", " >= ": " > ", " AND ": " OR ", "MAX(": "MIN(", "MIN(": "MAX("}
IN_SQL |= {"OR REPLACE": "OR IGNORE", "OR IGNORE": "OR REPLACE", " IMMEDIATE": "", " DESC": "", "=FULL": "=OFF"}


class Change(NamedTuple):
    """One break: the number of its node in the order of ast.walk, and which of that node's breaks it is."""

    node: int
    which: int
    line: int
    what: str


def expressions_of(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What an expression, or a return, can be broken into."""
    match node:
        case ast.Compare(ops=[first, *rest]):
            other = COMPARISONS[type(first)]()
            yield f"{type(first).__name__} -> {type(other).__name__}", _with(node, ops=[other, *rest])
        case ast.BinOp(op=operator) if type(operator) in OPERATORS:
            changed = OPERATORS[type(operator)]()
            yield f"{type(operator).__name__} -> {type(changed).__name__}", _with(node, op=changed)
        case ast.BoolOp(op=ast.And()):
            yield "and -> or", _with(node, op=ast.Or())
        case ast.BoolOp():
            yield "or -> and", _with(node, op=ast.And())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "not removed", operand
        case ast.Constant(value=bool(value)):
            yield f"{value} -> {not value}", ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield f"{value} -> {value + 1}", ast.Constant(value + 1)
        case ast.Constant(value=str(text)) if SQL.search(text):
            for old, new in IN_SQL.items():
                if old in text:
                    yield f"{old!r} -> {new!r}", ast.Constant(text.replace(old, new, 1))
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "returns None", ast.Return(ast.Constant(None))


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = deepcopy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def breaks_of(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """All breaks of a node, each as what it is and what stands there instead."""
    yield from expressions_of(node)
    call = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    if call or isinstance(node, ast.Raise | ast.AugAssign | ast.Continue | ast.Break):
        yield "statement removed", ast.Pass()


def skipped(tree: ast.Module) -> set[int]:
    """Nodes whose breaks no test can notice: docstrings, annotations, and what only the type checker reads."""
    roots: list[ast.AST] = []
    for node in ast.walk(tree):
        roots += [found for name in ("annotation", "returns") if (found := getattr(node, name, None)) is not None]
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            roots.append(node)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            roots.append(node)
    return {id(inner) for root in roots for inner in ast.walk(root)}


def breaks(source: str) -> list[Change]:
    tree = ast.parse(source)
    left_out = skipped(tree)
    return [
        Change(number, which, getattr(node, "lineno", 0), what)
        for number, node in enumerate(ast.walk(tree))
        if id(node) not in left_out
        for which, (what, _) in enumerate(breaks_of(node))
    ]


def broken(source: str, chosen: Change) -> str:
    """The source with this one break."""
    tree = ast.parse(source)
    target = list(ast.walk(tree))[chosen.node]
    _, replacement = list(breaks_of(target))[chosen.which]

    class Replacing(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return ast.copy_location(replacement, node) if node is target else self.generic_visit(node)

    return ast.unparse(ast.fix_missing_locations(Replacing().visit(tree)))


def environment() -> dict[str, str]:
    """Without the caller's settings. No bytecode, in the programs that tests start either: that of one break would be
    taken for the next one's, where both files are of one size and one second."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMARK_")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", "TIDEMARK_NO_BOOTSTRAP": "1"}


def passes(tree: Path, tests: Sequence[str], seconds: float | None = None, output: IO[str] | None = None) -> bool:
    """Whether the tests let pass what stands in this copy of the tree; not if they take longer than this. They end at
    the first that fails, and with all that they started where they hang."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider", *tests]
    running = subprocess.Popen(
        command,
        cwd=tree,
        env=environment(),
        stdout=output or subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return running.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def copy_tree(target: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, target / name)


def rooms_of(wing: str) -> list[str]:
    folder = ROOT / "service" / wing
    return [str(room.relative_to(ROOT)) for room in sorted(folder.rglob("*.py")) if room.name != "__init__.py"]


def tests_of(room: str) -> list[str]:
    """The files with its tests, the likeliest to notice a break first; all of the wing's where none names the room."""
    path = Path(room)
    folder = ROOT / "tests" / path.relative_to("service").parent
    own = folder / f"test_{path.stem}.py"
    files = sorted(folder.rglob("test_*.py"))
    names = re.compile(rf"\b{path.parent.name}\.{path.stem}\b|^from service.*\bimport .*\b{path.stem}\b", re.MULTILINE)
    naming = [file for file in files if file != own and names.search(file.read_text(encoding="utf-8"))]
    found = ([own] if own.exists() else []) + naming
    return [str(file.relative_to(ROOT)) for file in found or files]


def survivors(tree: Path, room: str, tests: Sequence[str], chosen: Sequence[Change]) -> Iterator[Change]:
    """In this copy of the tree, in which nothing is broken before and after. What fails even so is printed.

    :raises RuntimeError: if the tests fail without any break
    """
    source = (ROOT / room).read_text(encoding="utf-8")
    start = time.monotonic()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        if not passes(tree, tests, output=output):
            output.seek(0)
            print(output.read(), flush=True)
            raise RuntimeError(f"{room}: the tests fail with nothing broken: {' '.join(tests)}")
    seconds = max(LEAST_SECONDS, 5 * (time.monotonic() - start))
    try:
        for one in chosen:
            (tree / room).write_text(broken(source, one), encoding="utf-8")
            if passes(tree, tests, seconds):
                yield one
    finally:
        (tree / room).write_text(source, encoding="utf-8")


def try_room(tree: Path, room: str, tests: Sequence[str], most: int, seed: int) -> str:
    """Print what survives; the room's line of the summary."""
    source = (ROOT / room).read_text(encoding="utf-8")
    possible = breaks(source)
    drawn = random.Random(seed).sample(possible, min(most, len(possible)))
    lines, left = source.splitlines(), 0
    try:
        for one in survivors(tree, room, tests, sorted(drawn, key=lambda found: found.line)):
            left += 1
            print(f"survived  {room}:{one.line}  {one.what}  |  {lines[one.line - 1].strip()}", flush=True)
    except RuntimeError as error:
        return str(error)
    noticed = len(drawn) - left
    share = f"{100 * noticed / len(drawn):.0f} %" if drawn else "nothing to break"
    return f"{room}: {noticed} of {len(drawn)} noticed ({share}), seed {seed}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Break a room's lines one by one and print what its tests let pass.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--wing", help="break each room of this folder of service/")
    what.add_argument("--room", nargs="+", help="the files to break, from the project's folder")
    parser.add_argument(
        "--tests", nargs="+", help="the files with its tests [those in tests/<wing> that name the room]"
    )
    parser.add_argument("--most", type=int, default=1000, help="break at most so many a room, drawn at random [1000]")
    parser.add_argument("--seed", type=int, default=1, help="of the drawing [1]")
    given = parser.parse_args()
    summary = []
    with tempfile.TemporaryDirectory() as folder:
        copy_tree(Path(folder))
        for room in given.room or rooms_of(given.wing):
            tests = given.tests or tests_of(room)
            summary.append(try_room(Path(folder), room, tests, given.most, given.seed))
            print(summary[-1], flush=True)
    if len(summary) > 1:
        print("", *summary, sep="\n")


if __name__ == "__main__":
    main()
