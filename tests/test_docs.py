"""The documentation is held to the code: what there is, is told; what is told, is there; every query and block runs.

Lists are derived from the code (settings, click, url_map, METRICS, views, errors) and from the README's tables.
"""

import importlib
import pkgutil
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args
from unittest.mock import MagicMock

import click
import pytest
from flask.testing import FlaskClient

import service
from benchmarks.generate import generate
from service import config, metrics
from service.cli import cli
from service.daemon.daemon import Daemon
from service.errors import TidemarkError
from service.metrics import COUNTERS, GAUGES, METRICS
from service.records import Reason
from service.store import schema
from service.store.reader import History
from service.store.writer import Store
from service.upkeep import archive
from service.web.metrics import exposed_name
from tests.conftest import NOW, Fill

ROOT = Path(__file__).parent.parent
PAGES = {page.relative_to(ROOT).as_posix(): page for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))}
PAGES["CHANGELOG.md"] = ROOT / "CHANGELOG.md"
TEXTS = {name: page.read_text(encoding="utf-8") for name, page in PAGES.items()}
README, SQL, READING, STATISTICS = (
    TEXTS[n] for n in ("README.md", "docs/sql.md", "docs/reading.md", "docs/statistics.md")
)

GROUPS = {"metric": METRICS, "gauge": GAUGES, "counter": COUNTERS}


# -- reading Markdown


def section(text: str, heading: str) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.S | re.M)
    assert found, f"no heading {heading!r}"
    return found[2]


def table(text: str, heading: str, first: str) -> list[list[str]]:
    """The rows of the table under the heading whose first column is called `first`; an escaped pipe is a pipe."""
    rows: list[list[str]] = []
    for line in section(text, heading).splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if cells[:1] == [first] or (rows and cells):
            rows.append(cells)
        elif rows:
            break
    assert len(rows) > 2, f"no table of {first!r} under {heading!r}"
    return rows[2:]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.S | re.M)


def name_in(cell: str) -> str:
    """The one name in backticks."""
    (name,) = re.findall(r"`([^`]+)`", cell)
    return str(name)


def columns_in(cell: str) -> list[str]:
    """The names in backticks; after `each gauge` and the like, X stands for each of these in turn."""
    names: list[str] = []
    for part in re.split(r"(?=each (?:gauge|counter|metric) )", cell):
        group = re.match(r"each (\w+) ", part)
        told = re.findall(r"`([^`]+)`", part)
        names += [re.sub("^X", m.name, name) for m in GROUPS[group[1]] for name in told] if group else told
    return names


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def shape(answer: Any) -> Any:
    """The keys of nested objects, in order."""
    return [(key, shape(value)) for key, value in answer.items()] if isinstance(answer, dict) else None


# -- settings


def settings_of_the_code(tmp_path: Path) -> list[tuple[str, Any, str]]:
    empty = tmp_path / "empty.toml"
    empty.touch()
    rows = config.load(empty, environment={})[1]
    return [(row.key, list(row.value) if isinstance(row.value, tuple) else row.value, row.takes) for row in rows]


def told_settings() -> list[tuple[str, Any, str]]:
    rows = table(README, "Settings", "setting")
    return [
        (name_in(key), tomllib.loads(f"value = {name_in(default)}")["value"], takes) for key, default, takes, _ in rows
    ]


def test_every_setting_is_told_with_its_default_and_what_it_takes(tmp_path: Path) -> None:
    assert told_settings() == settings_of_the_code(tmp_path)


def test_the_shipped_settings_file_and_the_readme_tell_the_same_defaults() -> None:
    lines = (ROOT / "config" / "tidemark.toml").read_text(encoding="utf-8").splitlines()
    text = "\n".join(re.sub(r"^# (?=\w+ = )", "", line) for line in lines)
    shipped = {f"{part}.{key}": value for part, keys in tomllib.loads(text).items() for key, value in keys.items()}
    assert {key: default for key, default, _ in told_settings()} == shipped


@pytest.mark.parametrize("page", PAGES)
def test_a_setting_or_variable_that_is_mentioned_exists(page: str) -> None:
    sections = "|".join({key.split(".")[0] for key, _, _ in told_settings()})
    told = set(re.findall(rf"`((?:{sections})\.[a-z_]+)`", TEXTS[page]))
    told |= {name for name in re.findall(r"TIDEMARK_[A-Z_]*[A-Z]", TEXTS[page]) if name not in config.NOT_SETTINGS}
    keys = {key for key, _, _ in told_settings()}
    assert told <= keys | {"TIDEMARK_" + key.replace(".", "_").upper() for key in keys}


# -- the command line


def options_of(command: click.Command) -> dict[str, click.Option]:
    options = [param for param in command.params if isinstance(param, click.Option)]
    return {name: option for option in options for name in option.opts if name.startswith("--")}


def told_verbs() -> dict[str, dict[str, str]]:
    """Verb -> option -> what stands in brackets after it."""
    found = {}
    for verb, _, options in table(README, "The command line", "verb"):
        told = re.findall(r"`(--[a-z-]+)`([^`]*)", options)
        found[name_in(verb)] = {name: (re.findall(r"\(([^)]*)\)", rest) or [""])[0] for name, rest in told}
    return found


def test_every_verb_is_told_and_no_other() -> None:
    assert set(told_verbs()) == set(cli.commands)


@pytest.mark.parametrize("verb", sorted(cli.commands))
def test_every_option_of_a_verb_is_told_with_its_default_and_no_other(verb: str) -> None:
    options, told = options_of(cli.commands[verb]), told_verbs()[verb]
    assert set(told) == set(options)
    shown = {name: option.default for name, option in options.items() if option.show_default}
    assert {name: told[name] for name in shown} == {
        name: f"{default:g}" if isinstance(default, float) else str(default) for name, default in shown.items()
    }


def test_the_options_before_the_verb_are_told() -> None:
    told = re.findall(r"`(--[a-z]+) FILE`", section(README, "The command line"))
    assert set(told) == set(options_of(cli))


@pytest.mark.parametrize("page", PAGES)
def test_a_command_that_is_shown_has_a_verb_and_options_that_exist(page: str) -> None:
    for verb, rest in re.findall(r"python3 manage\.py ([a-z-]+)([^`\n]*)", TEXTS[page]):
        assert verb in cli.commands
        used = set() if verb == "test" else set(re.findall(r"(?<= )--[a-z-]+", rest.partition('"')[0]))
        assert used <= set(options_of(cli.commands[verb]))


def errors() -> Iterator[type[TidemarkError]]:
    for module in pkgutil.walk_packages(service.__path__, "service."):
        importlib.import_module(module.name)
    found: list[type[TidemarkError]] = [TidemarkError]
    while found:
        kind = found.pop()
        found += kind.__subclasses__()
        yield kind


def test_every_exit_code_is_told_and_no_other() -> None:
    told = {int(code) for code, _ in table(README, "Exit codes", "code")}
    # 2 is also click's, 130 that of an interrupt.
    assert told == {0, 2, 130} | {kind.exit_code for kind in errors()}


# -- HTTP


def properties(described: Any, schemas: dict[str, Any]) -> Iterator[str]:
    """The names of all properties in a JSON Schema, with those that it refers to, but those that are metrics."""
    if isinstance(described, dict):
        if "$ref" in described:
            yield from properties(schemas[described["$ref"].rpartition("/")[2]], schemas)
        for name, inner in described.get("properties", {}).items():
            if name not in metrics.BY_NAME:
                yield name
            yield from properties(inner, schemas)
        yield from properties(described.get("items"), schemas)
        yield from properties(described.get("additionalProperties"), schemas)


def test_every_endpoint_is_told_and_no_other(client: FlaskClient) -> None:
    told = {name_in(path) for path, _, _ in table(README, "The API", "path")}
    assert told == {rule.rule for rule in client.application.url_map.iter_rules() if not rule.arguments}


def test_every_parameter_is_told_with_its_default_and_no_other(client: FlaskClient) -> None:
    paths = client.get("/api/v1/openapi.json").json["paths"]
    for path, parameters, _ in table(README, "The API", "path"):
        told = dict(re.findall(r"`(\w+)` \(([^;)]*)", parameters))
        described = paths.get(name_in(path), {}).get("get", {}).get("parameters", [])
        assert told == {
            p["name"]: "needed" if p.get("required") else str(p["schema"].get("default")) for p in described
        }, path


def test_every_key_of_an_answer_is_told_and_no_other(client: FlaskClient) -> None:
    document = client.get("/api/v1/openapi.json").json
    paths, schemas = document["paths"], document["components"]["schemas"]
    for path, _, answer in table(README, "The API", "path"):
        told = set(re.findall(r'"(\w+)"', answer)) - set(metrics.BY_NAME)
        if told:
            responses = paths[name_in(path)]["get"]["responses"]
            assert told == set(properties(responses["200"]["content"]["application/json"]["schema"], schemas)), path


@pytest.mark.parametrize(
    ("heading", "url"), [("The endpoint", "/api/process/resource-usage"), ("Is it well?", "/healthz")]
)
def test_the_json_that_is_shown_has_the_keys_of_the_answer_in_their_order(
    client: FlaskClient, fill: Fill, heading: str, url: str
) -> None:
    fill(NOW, 1, cpu_percent=1)
    (shown,) = blocks(section(README, heading), "json")
    assert shape(client.application.json.loads(shown)) == shape(client.get(url).json)


# -- metrics, gaps


def test_every_metric_is_told_with_unit_kind_meaning_and_name_in_metrics() -> None:
    told = [(name_in(row[0]), *row[1:4], name_in(row[4])) for row in table(README, "Metrics", "metric")]
    assert told == [(m.name, m.unit, m.kind, m.help, exposed_name(m)) for m in METRICS]


def test_every_count_of_tidemarks_own_is_told_and_no_other() -> None:
    counted = set(
        re.findall(r'self\.counts\[f?"([\w{}]+)"\]', (ROOT / "service" / "recording" / "sampler.py").read_text())
    )
    daemon = MagicMock()
    daemon._sampler.counts = {re.sub(r"\{.*\}", "SOURCE", name): 1 for name in counted}
    of_the_code = {f"tidemark_{name}_total" for name in Daemon._counts(daemon)} | {"tidemark_sample_timestamp_seconds"}
    assert {name_in(row[0]) for row in table(README, "Metrics", "name in /metrics")} == of_the_code


def test_every_reason_of_a_gap_is_told_and_no_other() -> None:
    told = [name_in(reason) for reason, _ in table(README, "What survives what", "reason")]
    assert told == list(get_args(Reason))


def test_the_least_change_of_every_trend_word_is_told() -> None:
    told = {name_in(name): float(change.removesuffix(" a second")) for name, change in least_changes()}
    assert told == {metric.name: metric.minimum_change for metric in METRICS}


def least_changes() -> list[list[str]]:
    return table(STATISTICS, "Trend words", "metric")


# -- views and queries


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history that ends now: hours of ten weeks, minutes of two, samples of a day; memory once above 90 %."""
    path = tmp_path_factory.mktemp("filled") / "tidemark.db"
    generate(path, end_ts=int(time.time()), sample_days=1, minute_days=14, hour_days=70)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE minute SET memory_percent_max_e2 = 9512 WHERE ts = (SELECT max(ts) - 3600 FROM minute)"
        )
        # Whatever hour it is, the last day has seen a busy moment.
        connection.execute("UPDATE sample SET cpu_percent_e2 = 9512 WHERE ts = (SELECT max(ts) FROM sample)")
    return path


def answer(path: Path, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """By the door of the verb `sql`."""
    history = History(path)
    try:
        with history.query(statement, 10) as (columns, rows):
            return columns, list(rows)
    finally:
        history.close()


def test_every_view_is_told_with_its_columns_and_no_other(path: Path) -> None:
    told = {name_in(view): columns_in(columns) for view, _, columns in table(README, "The history in SQL", "view")}
    assert told == {view: [row[1] for row in answer(path, f"PRAGMA table_info({view})")[1]] for view in schema.views()}


@pytest.mark.parametrize("view", schema.views())
def test_the_page_of_queries_tells_each_column_and_no_other(path: Path, view: str) -> None:
    told = [name for column, _ in table(SQL, view, "column") for name in columns_in(column)]
    assert told == [row[1] for row in answer(path, f"PRAGMA table_info({view})")[1]]


@pytest.mark.parametrize("view", schema.views())
def test_each_view_has_three_queries_that_ask_it(view: str) -> None:
    assert len([block for block in blocks(section(SQL, view), "sql") if f"FROM {view}" in block]) >= 3


@pytest.mark.parametrize(("page", "query"), [(page, query) for page in PAGES for query in blocks(TEXTS[page], "sql")])
def test_every_query_that_is_shown_gives_rows_and_no_empty_column(filled: Path, page: str, query: str) -> None:
    columns, rows = answer(filled, query)
    assert len(set(columns)) == len(columns)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", column) for column in columns)
    assert rows
    assert [name for number, name in enumerate(columns) if all(row[number] is None for row in rows)] == []


@pytest.mark.parametrize(("page", "query"), [(page, query) for page in PAGES for query in blocks(TEXTS[page], "sql")])
def test_a_query_that_filters_by_time_searches_by_the_key(filled: Path, page: str, query: str) -> None:
    if "ts >= " in query:
        steps = [row[3] for row in answer_of_plan(filled, query)]
        assert [step for step in steps if re.match("SCAN (sample|minute|hour)$", step)] == []


def answer_of_plan(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()


def test_the_percentile_of_samples_lies_between_those_of_minima_and_maxima(filled: Path) -> None:
    bounds, exact = blocks(section(STATISTICS, "Percentiles"), "sql")
    ((low, _, high),) = answer(filled, bounds)[1]
    ((value,),) = answer(filled, exact)[1]
    assert low <= value <= high


# -- other tools


def needs(module: str) -> None:
    if find_spec(module) is None:
        pytest.skip(f"needs {module}")


@pytest.fixture
def desk(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like the project's, with a history in data/, to type the commands of the documentation in."""
    (tmp_path / "data").mkdir()
    shutil.copy(filled, tmp_path / "data" / "tidemark.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def type_in(command: str, *more: str) -> str:
    """Run a line of a console block; manage.py over data/tidemark.db, other programs as modules of this Python."""
    program, *arguments = shlex.split(command)
    if program == "python3":
        cli.main(["--database", "data/tidemark.db", *arguments[1:]], standalone_mode=False)
        return ""
    start = [program] if program == "sqlite3" else [sys.executable, "-m", program]
    return subprocess.run([*start, *arguments, *more], capture_output=True, text=True, check=True).stdout


def commands(heading: str) -> list[str]:
    lines = "\n".join(blocks(section(READING, heading), "console")).splitlines()
    return [line.removeprefix("$ ") for line in lines if line]


def run_blocks(heading: str) -> list[str]:
    """What the Python blocks under the heading print, warnings being errors."""
    run = [sys.executable, "-W", "error", "-c"]
    texts = blocks(section(READING, heading), "python")
    return [subprocess.run([*run, text], capture_output=True, text=True, check=True).stdout for text in texts]


def test_the_sqlite3_shell_reads_it_as_shown(desk: Path) -> None:
    if shutil.which("sqlite3") is None:
        pytest.skip("needs the sqlite3 shell")
    (command,) = commands("The sqlite3 shell")
    assert len(type_in(command).splitlines()) == 5


def test_datasette_reads_it_as_shown(desk: Path) -> None:
    needs("datasette")
    live, backup, copied = commands("Datasette")
    question = "?sql=select+count(*)+as+n+from+minutes&_shape=array"
    expected = f'[{{"n": {answer(Path("data/tidemark.db"), "SELECT count(*) FROM minutes")[1][0][0]}}}]'
    assert type_in(live, "--get", f"/tidemark.json{question}").strip() == expected
    type_in(backup)
    assert type_in(copied, "--get", f"/copy.json{question}").strip() == expected


def test_datasette_sees_new_samples_while_the_daemon_writes(store: Store, path: Path, fill: Fill) -> None:
    needs("datasette")
    fill(NOW, 100, cpu_percent=1)
    asked = type_in(
        f"datasette serve {path}", "--get", "/tidemark.json?sql=select+count(*)+as+n+from+samples&_shape=array"
    )
    assert asked.strip() == '[{"n": 100}]'
    fill(NOW + 500, 1, cpu_percent=1)


def test_duckdb_reads_what_export_writes_as_shown(desk: Path) -> None:
    needs("duckdb")
    for command in commands("DuckDB"):
        type_in(command)
    days, rows = run_blocks("DuckDB")
    assert days.count("day'") == 7
    assert re.search(r"\[\([1-9]\d*, \d", rows)


def test_pandas_reads_it_as_shown(desk: Path) -> None:
    needs("pandas")
    (printed,) = run_blocks("pandas")
    assert len(re.findall(r"^\d{4}-\d\d-\d\d", printed, re.M)) >= 30


def test_a_copy_is_made_as_shown(desk: Path) -> None:
    (command,) = commands("The two rules")
    type_in(command)
    assert answer(Path("copy.db"), "SELECT count(*) FROM hours") == answer(
        Path("data/tidemark.db"), "SELECT count(*) FROM hours"
    )
    with pytest.raises(archive.CopyFailed):
        type_in(command)


# -- pages


def headings(text: str) -> set[str]:
    prose = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", prose, re.M)}


@pytest.mark.parametrize("page", PAGES)
def test_links_between_pages_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", TEXTS[page]):
        file, _, anchor = target.partition("#")
        found = (PAGES[page].parent / file).resolve() if file else PAGES[page]
        assert found.exists(), target
        assert not anchor or anchor in headings(found.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("page", PAGES)
def test_a_file_of_the_project_that_is_named_exists(page: str) -> None:
    named = re.findall(r"\b((?:service|tests|benchmarks|config|docs|migrations)/[\w./]*)", TEXTS[page])
    assert [name for name in named if not (ROOT / name.rstrip(".")).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_no_folder_of_one_machine_and_no_registry(page: str) -> None:
    hosts = ("pypi" + ".org", "python" + "hosted.org", "registry" + ".npmjs", "index" + "-url")
    found = re.findall(r"(?<![\w.])/(?:work|tmp|root|opt|home|Users)/\S*|C:\\\S*|file:///\S*", TEXTS[page])
    assert found + [host for host in hosts if host in TEXTS[page]] == []


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_nothing_left_to_fill_in(page: str) -> None:
    assert re.findall(r"<!--.*|TODO.*|FIXME.*", TEXTS[page]) == []


def test_every_page_is_reached_from_the_readme() -> None:
    assert {f"({name})" for name in PAGES if name != "README.md" and f"({name})" not in README} == set()


def test_the_changelog_knows_this_version() -> None:
    assert re.search(rf"^## \[{re.escape(service.__version__)}\]", TEXTS["CHANGELOG.md"], re.M)
