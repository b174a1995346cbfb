"""The documentation is checked against the code: what exists is documented, what is documented exists, and what is
shown runs.

One side of each comparison comes from the code (settings, click, url_map, METRICS, views, errors, a real /metrics),
the other from the tables in docs/reference.md and docs/operating.md.
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
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import click
import pytest
from flask.testing import FlaskClient

import service
from benchmarks.generate import generate
from docs import tables
from service import config, metrics
from service.cli import cli
from service.errors import TidemarkError
from service.forward.node import NODE
from service.forward.node_devices import FAMILIES
from service.metrics import COUNTERS, GAUGES, HEADLINES, METRICS
from service.records import Reason
from service.store import schema
from service.store.reader import History
from service.store.writer import Store
from service.upkeep import archive
from tests.conftest import NOW, Fill, Start
from tests.faults.kit_host import spoilt

ROOT = Path(__file__).parent.parent
TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = {page.relative_to(ROOT).as_posix(): page for page in (*(ROOT / name for name in TOP), *ROOT.glob("docs/*.md"))}
TEXTS = {name: page.read_text(encoding="utf-8") for name, page in sorted(PAGES.items())}
README, REFERENCE, OPERATING, DESIGN, SQL, READING, STATISTICS, FLEET = (
    TEXTS[name]
    for name in (
        "README.md",
        "docs/reference.md",
        "docs/operating.md",
        "docs/design.md",
        "docs/sql.md",
        "docs/reading.md",
        "docs/statistics.md",
        "docs/fleet.md",
    )
)

GROUPS = {"metric": METRICS, "gauge": GAUGES, "counter": COUNTERS}


# -- reading Markdown


def section(text: str, heading: str) -> str:
    """The text under a heading, up to the next heading of the first or second level."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.S | re.M)
    assert found, f"no heading {heading!r}"
    return found[1]


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
        named = re.findall(r"`([^`]+)`", part)
        names += [re.sub("^X", m.name, name) for m in GROUPS[group[1]] for name in named] if group else named
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


def documented_settings() -> list[tuple[str, Any, str]]:
    rows = table(REFERENCE, "Settings", "setting")
    return [
        (name_in(key), tomllib.loads(f"value = {name_in(default)}")["value"], takes) for key, default, takes, _ in rows
    ]


def test_every_setting_is_documented_with_its_default_and_what_it_takes(tmp_path: Path) -> None:
    assert documented_settings() == settings_of_the_code(tmp_path)


def test_the_shipped_settings_file_and_the_reference_give_the_same_defaults() -> None:
    lines = (ROOT / "config" / "tidemark.toml").read_text(encoding="utf-8").splitlines()
    text = "\n".join(re.sub(r"^# (?=\w+ = )", "", line) for line in lines)
    shipped = {f"{part}.{key}": value for part, keys in tomllib.loads(text).items() for key, value in keys.items()}
    assert {key: default for key, default, _ in documented_settings()} == shipped


@pytest.mark.parametrize("page", PAGES)
def test_a_setting_or_variable_that_is_mentioned_exists(page: str) -> None:
    keys = {key for key, _, _ in documented_settings()}
    sections = "|".join({key.split(".")[0] for key in keys})
    named = set(re.findall(rf"`((?:{sections})\.[a-z_]+)`", TEXTS[page]))
    named |= {
        name for name in re.findall(r"(?<!_)TIDEMARK_[A-Z_]*[A-Z]", TEXTS[page]) if name not in config.NOT_SETTINGS
    }
    named -= set(config.set_by_kubernetes(dict.fromkeys(named, "")))
    assert named <= keys | {"TIDEMARK_" + key.replace(".", "_").upper() for key in keys}


def test_every_variable_that_is_no_setting_is_documented() -> None:
    assert [name for name in config.NOT_SETTINGS if name not in REFERENCE] == []


# -- the command line


def options_of(command: click.Command) -> dict[str, click.Option]:
    options = [param for param in command.params if isinstance(param, click.Option)]
    return {name: option for option in options for name in option.opts if name.startswith("--")}


def documented_verbs() -> dict[str, dict[str, str]]:
    """Verb -> option -> the text in brackets after it."""
    found = {}
    for verb, _, options in table(REFERENCE, "The command line", "verb"):
        named = re.findall(r"`(--[a-z-]+)`([^`]*)", options)
        found[name_in(verb)] = {name: (re.findall(r"\(([^)]*)\)", rest) or [""])[0] for name, rest in named}
    return found


def test_every_verb_is_documented_and_no_other() -> None:
    assert set(documented_verbs()) == set(cli.commands)


@pytest.mark.parametrize("verb", sorted(cli.commands))
def test_every_option_of_a_verb_is_documented_with_its_default_and_no_other(verb: str) -> None:
    options, documented = options_of(cli.commands[verb]), documented_verbs()[verb]
    assert set(documented) == set(options)
    shown = {
        name: option.show_default if isinstance(option.show_default, str) else option.default
        for name, option in options.items()
        if option.show_default
    }
    assert {name: documented[name] for name in shown} == {
        name: f"{default:g}" if isinstance(default, float) else str(default) for name, default in shown.items()
    }


def test_the_options_before_the_verb_are_documented() -> None:
    documented = re.findall(r"`(--[a-z]+)(?: FILE)?`", section(REFERENCE, "The command line").partition("| verb |")[0])
    assert set(documented) == {*options_of(cli), "--help"}


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


def test_every_exit_code_is_documented_and_no_other() -> None:
    documented = {int(code) for code, _ in table(REFERENCE, "Exit codes", "code")}
    # 2 is also click's, 130 that of an interrupt.
    assert documented == {0, 2, 130} | {kind.exit_code for kind in errors()}


# -- HTTP


def properties(schema: Any, document: Any) -> Iterator[str]:
    """The names of all properties in a JSON Schema except those that are metrics; references are followed."""
    if isinstance(schema, list):
        for part in schema:
            yield from properties(part, document)
    elif isinstance(schema, dict):
        if "$ref" in schema:
            yield from properties(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
        for name, inner in schema.get("properties", {}).items():
            if name not in metrics.BY_NAME:
                yield name
            yield from properties(inner, document)
        for inside in ("items", "additionalProperties", "anyOf", "oneOf", "allOf"):
            yield from properties(schema.get(inside), document)


def test_every_endpoint_is_documented_and_no_other(client: FlaskClient) -> None:
    documented = {name_in(path) for path, _, _ in table(REFERENCE, "The API", "path")}
    assert documented == {rule.rule for rule in client.application.url_map.iter_rules() if not rule.arguments}


def test_every_parameter_is_documented_with_its_default_and_no_other(client: FlaskClient) -> None:
    paths = client.get("/api/v1/openapi.json").json["paths"]
    for path, parameters, _ in table(REFERENCE, "The API", "path"):
        documented = dict(re.findall(r"`(\w+)` \(([^;)]*)", parameters))
        described = paths.get(name_in(path), {}).get("get", {}).get("parameters", [])
        assert documented == {
            p["name"]: "needed" if p.get("required") else str(p["schema"].get("default", "none")) for p in described
        }, path


def test_every_key_of_an_answer_is_documented_and_no_other(client: FlaskClient) -> None:
    document = client.get("/api/v1/openapi.json").json
    for path, _, answer in table(REFERENCE, "The API", "path"):
        documented = set(re.findall(r'"(\w+)"', answer)) - set(metrics.BY_NAME)
        if documented:
            responses = document["paths"][name_in(path)]["get"]["responses"]
            schema = responses["200"]["content"]["application/json"]["schema"]
            assert documented == set(properties(schema, document)), path


@pytest.mark.parametrize(
    ("page", "heading", "url"),
    [(REFERENCE, "The endpoint", "/api/process/resource-usage"), (OPERATING, "Is it well?", "/healthz")],
    ids=["endpoint", "health"],
)
def test_the_json_that_is_shown_has_the_keys_of_the_answer_in_their_order(
    client: FlaskClient, fill: Fill, page: str, heading: str, url: str
) -> None:
    fill(NOW, 1, cpu_percent=1)
    (shown,) = blocks(section(page, heading), "json")
    assert shape(client.application.json.loads(shown)) == shape(client.get(url).json)


# -- metrics, gaps


def test_every_metric_is_documented_with_unit_kind_meaning_and_name_in_metrics() -> None:
    rows = table(REFERENCE, "Metrics", "metric")
    documented = [(name_in(row[0]), *row[1:4], name_in(row[4])) for row in rows]
    assert documented == [(m.name, m.unit, m.kind, m.help, m.exposed_name) for m in METRICS]


@pytest.mark.parametrize("page", ["reference.md", "statistics.md", "fleet.md"])
def test_a_table_of_metrics_is_as_its_script_writes_it(page: str) -> None:
    text = TEXTS[f"docs/{page}"]
    assert tables.MARK in text
    assert text == tables.written(text, tables.tables()[page]), "python3 docs/tables.py writes it anew"


def test_every_series_under_the_names_of_node_exporter_is_documented_and_no_other() -> None:
    documented = [name_in(row[0]) for row in table(FLEET, "node_exporter's names", "series")]
    sent = []
    for own in NODE.labels():
        words = ",".join(f'{name}="{value}"' for name, value in own.items() if name != "__name__")
        # What the host is called is another thing on each.
        words = re.sub('="[^"]*"', "", words) if "uname" in own["__name__"] else words
        sent.append(f"{own['__name__']}{{{words}}}" if words else own["__name__"])
    for family in FAMILIES:
        words = f"{{{','.join(family.labels)}}}" if family.labels else ""
        sent += [f"{name}{words}" for name in (*family.counted, *family.shown)]
    assert documented == sent


def test_every_metric_that_came_after_the_first_schema_is_in_the_changelog() -> None:
    first = (ROOT / "tests" / "schemas" / "0001.sql").read_text(encoding="utf-8")
    later = [metric.name for metric in METRICS if f" {schema.stored(metric)} " not in first]
    assert later
    assert [name for name in later if f"`{name}`" not in TEXTS["CHANGELOG.md"]] == []


# Whatever is read through psutil or from a /proc file that is kept open fails.
NOTHING_CAN_BE_READ = """
import psutil
def fail(*_, **__):
    raise OSError(5, "made to fail")
for name in ("cpu_times", "virtual_memory", "swap_memory", "disk_usage", "disk_io_counters", "net_io_counters",
             "getloadavg", "pids", "cpu_stats"):
    setattr(psutil, name, fail)
import service.host.source
service.host.source.KeptOpen.read = fail
import service.host.limits
service.host.limits.limits = fail
"""


def documented_own_metrics() -> dict[str, str]:
    """Name -> meaning of what /metrics has of Tidemark itself; SOURCE stands for each source that the meaning names."""
    documented = {}
    for cell, _, meaning in table(OPERATING, "Is it well?", "name in /metrics"):
        name = name_in(cell)
        sources = re.findall(r"`(\w+)`", meaning) if "SOURCE" in name else [""]
        documented.update({name.replace("SOURCE", source): meaning for source in sources})
    return documented


def test_every_metric_of_tidemark_itself_is_documented_and_no_other(start: Start, tmp_path: Path) -> None:
    daemon = start(**spoilt(tmp_path, NOTHING_CAN_BE_READ))
    daemon.wait_for_samples(1)
    with urllib.request.urlopen(f"{daemon.url}/metrics", timeout=20) as answer:
        served = set(re.findall(r"^# TYPE (\w+)", answer.read().decode(), re.M))
    assert served - {metric.exposed_name for metric in METRICS} == set(documented_own_metrics())


def test_every_reason_of_a_gap_is_documented_and_no_other() -> None:
    documented = [name_in(reason) for reason, _ in table(REFERENCE, "Gaps", "reason")]
    assert documented == list(get_args(Reason))


def test_the_least_change_of_every_trend_word_is_documented() -> None:
    rows = table(STATISTICS, "Trend words", "metric")
    documented = {name_in(name): float(change.removesuffix(" a second")) for name, change in rows}
    assert documented == {metric.name: metric.minimum_change for metric in HEADLINES}


# -- views and queries


# Where the filled history has been forwarded to.
TARGET = "http://127.0.0.1:8428/api/v1/write"


# One worker has all that need it, as making it takes longer than they do.
FILLED = pytest.mark.xdist_group("filled")


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history that ends now: hours of ten weeks, minutes of two, samples of a day; memory once above 90 %."""
    path = tmp_path_factory.mktemp("filled") / "tidemark.db"
    generate(path, end_ts=int(time.time()), sample_days=1, minute_days=14, hour_days=70)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE minute SET memory_percent_max_e2 = 9512 WHERE ts = (SELECT max(ts) - 3600 FROM minute)"
        )
        connection.execute(
            "INSERT INTO forward (target, stretch_id, ts, counters, known, sent, refused, resent, skipped, "
            "acknowledged_at, last_error) SELECT ?, stretch_id, ts, '{}', '{}', "
            "1000, 10, 1, 1, ts, '503 Service Unavailable' FROM sample ORDER BY ts DESC LIMIT 1 OFFSET 100",
            [TARGET],
        )
        # Whatever hour it is, the last day has seen a busy moment.
        connection.execute("UPDATE sample SET cpu_percent_e2 = 9512 WHERE ts = (SELECT max(ts) FROM sample)")
    return path


def answer(path: Path, statement: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns and rows, by the way that the verb `sql` takes."""
    history = History(path)
    try:
        with history.query(statement, 10) as (columns, rows):
            return columns, list(rows)
    finally:
        history.close()


def columns_of(path: Path, view: str) -> list[str]:
    return [row[1] for row in answer(path, f"PRAGMA table_info({view})")[1]]


def test_every_view_is_documented_with_its_columns_and_no_other(path: Path) -> None:
    rows = table(REFERENCE, "The history in SQL", "view")
    documented = {name_in(view): columns_in(columns) for view, _, columns in rows}
    assert documented == {view: columns_of(path, view) for view in schema.views()}


@pytest.mark.parametrize("view", schema.views())
def test_the_page_of_queries_explains_each_column_and_no_other(path: Path, view: str) -> None:
    documented = [name for column, _ in table(SQL, view, "column") for name in columns_in(column)]
    assert documented == columns_of(path, view)


@pytest.mark.parametrize("view", schema.views())
def test_each_view_has_three_queries_that_ask_it(view: str) -> None:
    assert len([block for block in blocks(section(SQL, view), "sql") if f"FROM {view}" in block]) >= 3


@FILLED
@pytest.mark.parametrize(("page", "query"), [(page, query) for page in PAGES for query in blocks(TEXTS[page], "sql")])
def test_every_query_that_is_shown_gives_rows_and_no_empty_column(filled: Path, page: str, query: str) -> None:
    columns, rows = answer(filled, query)
    assert len(set(columns)) == len(columns)
    assert all(re.fullmatch("[a-z][a-z0-9_]*", column) for column in columns)
    assert rows
    assert [name for number, name in enumerate(columns) if all(row[number] is None for row in rows)] == []


@FILLED
@pytest.mark.parametrize(("page", "query"), [(page, query) for page in PAGES for query in blocks(TEXTS[page], "sql")])
def test_a_query_that_filters_by_time_searches_by_the_key(filled: Path, page: str, query: str) -> None:
    if "ts >= " in query:
        steps = [row[3] for row in answer_of_plan(filled, query)]
        assert [step for step in steps if re.match("SCAN (sample|minute|hour)$", step)] == []


def answer_of_plan(path: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()


@FILLED
def test_the_percentile_of_samples_lies_between_those_of_minima_and_maxima(filled: Path) -> None:
    bounds, exact = blocks(section(STATISTICS, "Percentiles"), "sql")
    ((low, _, high),) = answer(filled, bounds)[1]
    ((value,),) = answer(filled, exact)[1]
    assert low <= value <= high


# -- commands and other tools


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


def commands(text: str) -> list[str]:
    """The lines of its console blocks that begin with a prompt, without what stands after `#`."""
    lines = "\n".join(blocks(text, "console")).splitlines()
    return [line.removeprefix("$ ").partition("  #")[0].strip() for line in lines if line.startswith("$ ")]


# What installs, runs for good, measures, or needs another machine; the rest reads the history.
NOT_RUN = ("manage.py run", "manage.py test", "manage.py restore", "benchmarks/", "docs/screenshots", "curl ", "ssh ")
NOT_RUN += (
    "pipx ",
    "tidemark run",
    "manage.py install",
    "manage.py uninstall",
    "venv ",
    "audit/",
    "import-sar",
    "forward --verify",
)
READ_ONLY = [
    (page, command)
    for page in PAGES
    if page != "docs/reading.md"
    for command in commands(TEXTS[page])
    if not any(what in command for what in NOT_RUN)
]


@FILLED
@pytest.mark.parametrize(("page", "command"), READ_ONLY)
def test_every_command_that_is_shown_runs(
    desk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, page: str, command: str
) -> None:
    if page == "docs/fleet.md":
        monkeypatch.setenv("TIDEMARK_FORWARD_URL", TARGET)
    type_in(command)
    assert capsys.readouterr().out


def test_the_readme_shows_commands() -> None:
    assert len([command for page, command in READ_ONLY if page == "README.md"]) >= 4


def run_blocks(heading: str) -> list[str]:
    """What the Python blocks under the heading print, warnings being errors."""
    run = [sys.executable, "-W", "error", "-c"]
    texts = blocks(section(READING, heading), "python")
    return [subprocess.run([*run, text], capture_output=True, text=True, check=True).stdout for text in texts]


@FILLED
def test_the_sqlite3_shell_reads_it_as_shown(desk: Path) -> None:
    if shutil.which("sqlite3") is None:
        pytest.skip("needs the sqlite3 shell")
    (command,) = commands(section(READING, "The sqlite3 shell"))
    assert len(type_in(command).splitlines()) == 5


@FILLED
def test_datasette_reads_it_as_shown(desk: Path) -> None:
    needs("datasette")
    live, backup, copied = commands(section(READING, "Datasette"))
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


@FILLED
def test_duckdb_reads_what_export_writes_as_shown(desk: Path) -> None:
    needs("duckdb")
    for command in commands(section(READING, "DuckDB")):
        type_in(command)
    days, rows = run_blocks("DuckDB")
    assert days.count("day'") == 7
    assert re.search(r"\[\([1-9]\d*, \d", rows)


@FILLED
def test_pandas_reads_it_as_shown(desk: Path) -> None:
    needs("pandas")
    (printed,) = run_blocks("pandas")
    assert len(re.findall(r"^\d{4}-\d\d-\d\d", printed, re.M)) >= 30


@FILLED
def test_a_copy_is_made_as_shown(desk: Path) -> None:
    (command,) = commands(section(READING, "The two rules"))
    type_in(command)
    assert answer(Path("copy.db"), "SELECT count(*) FROM hours") == answer(
        Path("data/tidemark.db"), "SELECT count(*) FROM hours"
    )
    with pytest.raises(archive.CopyFailed):
        type_in(command)


# -- pages


def test_the_readme_is_short_enough_for_a_stranger() -> None:
    assert len(README.splitlines()) <= 120
    assert len(README.split()) <= 900


def test_every_hop_that_the_way_of_one_sample_names_exists() -> None:
    way = section(DESIGN, "The way of one sample")
    named = re.findall(r"`(service\.[\w.]+):([\w.]+)`", way)
    assert len(named) > 10
    for module, name in named:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part, None)
            assert found is not None, f"{module}:{name}"
    for file, name in re.findall(r"`(\w+\.js):(\w+)`", way):
        source = (ROOT / "service" / "web" / "static" / file).read_text(encoding="utf-8")
        assert re.search(rf"^(?:export )?(?:const|class|function) {name}\b", source, re.M), f"{file}:{name}"


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
    assert re.findall(r"<!--.*|TODO.*|FIXME.*", TEXTS[page].replace(tables.MARK, "")) == []


def test_every_page_is_reached_from_the_readme() -> None:
    assert {f"({name})" for name in PAGES if name != "README.md" and f"({name})" not in README} == set()


def test_the_changelog_knows_this_version() -> None:
    assert re.search(rf"^## \[{re.escape(service.__version__)}\]", TEXTS["CHANGELOG.md"], re.M)
