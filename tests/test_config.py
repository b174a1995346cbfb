"""Where settings come from, which are refused, and that the shipped file is true."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.config import Duration, Setting, Settings, Size, load, parse_size, set_by_kubernetes
from service.errors import BadSetting

ROOT = Path(__file__).parent.parent
DEFAULT_FILE = ROOT / "config" / "tidemark.toml"

# Of each setting: good values and bad ones, as TOML has them.
GOOD: dict[str, list[Any]] = {
    "sampling.interval": [1, 3600],
    "sampling.disk_path": ["/home"],
    "sampling.processes_interval": [1, 3600],
    "sampling.processes_count": [1, 100],
    "storage.path": ["/var/lib/t.db", "~/t.db"],
    "storage.max_size": ["10MB", "1.5GB", "20000kb"],
    "retention.samples": ["2h", "1y"],
    "retention.minutes": ["1d"],
    "retention.hours": ["24h", "100y"],
    "retention.processes": ["2h"],
    "analysis.timezone": ["Europe/London", "UTC"],
    "analysis.peak_window": ["1h", "30d"],
    "server.host": ["::1"],
    "server.port": [0, 65535],
    "server.token_file": ["/etc/tidemark.token"],
    "server.allowed_hosts": [["a.example", "b-1_c", "fe80::1", "[::1]"], []],
    "server.name": ["", "db1 (Berlin)"],
    "log.level": ["DEBUG", "ERROR"],
    "log.format": ["json"],
    "forward.url": ["", "http://localhost:9090/api/v1/write", "https://[::1]/x?tenant=1"],
    "forward.token_file": ["/etc/tidemark.token"],
    "forward.user": ["ann"],
    "forward.headers": [{"X-Scope-OrgID": "a b"}, {}],
    "forward.instance": ["web-1"],
    "forward.labels": [{"site": "berlin", "_x9": ""}, {}],
    "forward.names": ["tidemark", "node"],
    "forward.every": [1, 3600],
    "forward.backfill": ["7d"],
    "forward.hold": ["1h"],
    "forward.processes": [0, 20],
}
BAD: dict[str, list[Any]] = {
    "sampling.interval": [0, -1, 3601, 1.5, "5", True, [5], float("nan"), 10**30],
    "sampling.disk_path": ["", 5, ["/"], "/\0"],
    "sampling.processes_interval": [0, 3601, "30"],
    "sampling.processes_count": [0, 101, "5"],
    "storage.path": ["", 5, "/tmp/\0.db", "~nobody-of-this-name/t.db"],
    "storage.max_size": ["9MB", "1TB", "GB", "1.5.0GB", "-1GB", "٣GB", 10**9, "9" * 400 + "GB", ""],
    "retention.samples": ["119m", "7", 7, "-7d", "forever"],
    "retention.minutes": ["23h", 90],
    "retention.hours": ["23h", "1w"],
    "retention.processes": ["119m", ["30d"]],
    "analysis.timezone": ["", "Nowhere/Else", "../../etc/passwd", 1, "UTC\0"],
    "analysis.peak_window": ["59m", "31d", 24],
    "server.host": ["", 127, ["127.0.0.1"], "a\0"],
    "server.port": [-1, 65536, "8930", 80.5],
    "server.token_file": [1, False, "a\0", "~nobody-of-this-name/token"],
    "server.allowed_hosts": ["a.example", [1], {"a": 1}, [[]], [""], ["a\0"], ["a:80"], ["a/b"], ["ü.de"]],
    "server.name": [1, ["a"], "a\0"],
    "log.level": ["info", "TRACE", "", 10],
    "log.format": ["xml", ""],
    "forward.url": [1, "x", "ftp://x/", "http://", "http:///x", "http://x:0/", "http://x:99999/", "http://x/#a"],
    "forward.token_file": [1, "a\0", "~nobody-of-this-name/token"],
    "forward.user": [1, "a:b", "a\n", "ü"],
    "forward.headers": ["a", {"a": 1}, {"Authorization": "x"}, {"content-TYPE": "x"}, {"a b": "c"}, {"a": "b\r\nc: d"}],
    "forward.instance": [1, "a\0"],
    "forward.labels": [["a"], {"a": 1}, {"__a": "b"}, {"job": "x"}, {"instance": "x"}, {"a-b": "x"}, {"9": "x"}],
    "forward.names": ["", "Node", 1],
    "forward.every": [0, 3601, "30"],
    "forward.backfill": ["7", "everything", 60],
    "forward.hold": ["all", 30],
    "forward.processes": [-1, 21, "5", 1.5],
}
DEFAULTS = {row.key: row for row in load(environment={})[1]}


def each(values: dict[str, list[Any]]) -> list[tuple[str, Any]]:
    return [(key, value) for key, ones in values.items() for value in ones]


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "tidemark.toml"
    file.write_text(text)
    return file


def rows(*arguments: Any, **options: Any) -> dict[str, Setting]:
    return {row.key: row for row in load(*arguments, **options)[1]}


def refusal(*arguments: Any, **options: Any) -> str:
    with pytest.raises(BadSetting) as caught:
        load(*arguments, **{"environment": {}, **options})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def variable(key: str) -> str:
    return "TIDEMARK_" + key.replace(".", "_").upper()


def test_the_tables_here_hold_every_setting() -> None:
    assert set(GOOD) == set(BAD) == set(DEFAULTS)


def test_the_later_of_file_environment_and_option_wins_and_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, "[sampling]\ninterval = 2\n")
    environment, options = {"TIDEMARK_SAMPLING_INTERVAL": "3"}, {"sampling.interval": 4}

    found = [
        rows(environment={})["sampling.interval"],
        rows(file, {})["sampling.interval"],
        rows(file, environment)["sampling.interval"],
        rows(file, environment, options)["sampling.interval"],
    ]

    assert [row.value for row in found] == [5, 2, 3, 4]
    origins = ["default", str(file), "environment TIDEMARK_SAMPLING_INTERVAL", "option"]
    assert [row.origin for row in found] == origins


@pytest.mark.parametrize("text", ["1e3", "5.0", "0x10", "1_0", ""])
def test_what_is_no_whole_number_in_the_file_is_none_in_the_environment(text: str) -> None:
    assert "server.port" in refusal(environment={"TIDEMARK_SERVER_PORT": text})


def test_files_are_found_from_wherever_the_daemon_was_started() -> None:
    options = {"server.token_file": "data/token", "storage.path": "data/t.db"}
    settings, _ = load(environment={}, options=options)
    assert (settings.token_file, settings.database) == (ROOT / "data/token", ROOT / "data/t.db")
    assert load(environment={})[0].token_file is None


def test_an_option_that_was_not_given_changes_nothing() -> None:
    assert rows(environment={}, options={"server.port": None}) == DEFAULTS


@pytest.mark.parametrize(("key", "value"), each(GOOD))
def test_a_good_value_is_taken(key: str, value: Any) -> None:
    row = rows(environment={}, options={key: value})[key]
    assert row.origin == "option"
    assert row.value is not None


@pytest.mark.parametrize(("key", "value"), each(BAD))
def test_a_bad_value_in_the_file_is_refused_naming_key_value_and_what_it_takes(
    tmp_path: Path, key: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    section, name = key.split(".")
    monkeypatch.setattr(tomllib, "loads", lambda _: {section: {name: value}})

    text = refusal(write(tmp_path, ""))

    assert text.startswith(f"{key} = {value!r} ({tmp_path}/tidemark.toml): takes {DEFAULTS[key].takes}")


@pytest.mark.parametrize(("key", "values"), GOOD.items())
def test_every_setting_can_be_given_by_environment(key: str, values: list[Any]) -> None:
    first = values[0]
    parts = [f"{name}={value}" for name, value in first.items()] if isinstance(first, dict) else first
    text = ", ".join(parts) if isinstance(parts, list) else str(parts)
    row = rows(environment={variable(key): text})[key]
    assert row.origin == f"environment {variable(key)}"
    assert row.value == rows(environment={}, options={key: values[0]})[key].value


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("sampling.interval", "0"),
        ("sampling.interval", "5s"),
        ("sampling.interval", "1.5"),
        ("sampling.interval", ""),
        ("sampling.interval", "٣"),
        ("server.port", "http"),
        ("storage.max_size", "1"),
        ("retention.samples", "7"),
        ("analysis.timezone", "Nowhere"),
        ("log.level", "LOUD"),
        ("forward.url", "ftp://x"),
    ],
)
def test_a_bad_value_in_the_environment_is_refused_naming_the_variable(key: str, text: str) -> None:
    error = refusal(environment={variable(key): text})
    assert error.startswith(f"{key} = {text!r} (environment {variable(key)}): takes ")


@pytest.mark.parametrize("url", ["http://ann@x/", "http://ann:secret@x/", "https://:secret@x:1/a?b"])
def test_a_url_with_a_user_or_a_password_is_refused_without_showing_it(url: str) -> None:
    error = refusal(options={"forward.url": url})
    assert "takes an http or https URL without a user or password in it" in error
    assert "ann" not in error
    assert "secret" not in error


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("[sampling]\nintervall = 5", "sampling.interval"),
        ("[sampler]\ninterval = 5", "sampling.interval"),
        ("interval = 5", "sampling.interval"),
        ("[storage.path]\nx = 1", None),
        ("[[log]]\nlevel = 'INFO'", "log.level"),
        ("[zzz]\nqqq = 1", None),
    ],
)
def test_an_unknown_key_in_the_file_is_refused_with_the_nearest_name(
    tmp_path: Path, text: str, nearest: str | None
) -> None:
    error = refusal(write(tmp_path, text))
    assert str(tmp_path / "tidemark.toml") in error
    assert nearest is None or f"did you mean {nearest}?" in error


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    error = refusal(environment={"TIDEMARK_SAMPLING_INTERVALL": "5"})
    assert error == (
        "unknown setting TIDEMARK_SAMPLING_INTERVALL (environment): did you mean TIDEMARK_SAMPLING_INTERVAL?"
    )


def test_variables_of_others_and_of_manage_py_are_left_alone() -> None:
    assert rows(environment={"TIDEMARK_NO_BOOTSTRAP": "1", "TIDE": "1", "PATH": "/bin", "tidemark_x": "1"}) == DEFAULTS


@pytest.mark.parametrize("content", [b"[sampling", b"a = ", b"\xff\xfe", b"[log]\nlevel = 'INFO'\nlevel = 'INFO'"])
def test_a_file_that_is_no_toml_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "tidemark.toml"
    file.write_bytes(content)
    assert refusal(file).startswith(f"settings file {file} cannot be read: ")


def test_a_file_that_was_asked_for_must_exist_and_be_a_file(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.toml") == f"settings file {tmp_path}/none.toml does not exist"
    assert "cannot be read" in refusal(tmp_path)


def test_numbers_in_quotes_are_refused_whatever_the_file_is_called(tmp_path: Path) -> None:
    file = write(tmp_path, "[sampling]\ninterval = '5'\n").rename(tmp_path / "tidemark.conf")
    assert "sampling.interval = '5'" in refusal(file)


def test_the_shipped_file_names_every_setting_with_its_true_default() -> None:
    commented = DEFAULT_FILE.read_text()
    shipped = tomllib.loads(re.sub(r"^# (?=\w+ = )", "", commented, flags=re.MULTILINE))
    named = {f"{section}.{name}": value for section, content in shipped.items() for name, value in content.items()}
    defaults = {key: list(row.value) if isinstance(row.value, tuple) else row.value for key, row in DEFAULTS.items()}
    assert named == defaults
    assert load(DEFAULT_FILE, {})[0] == Settings()


def test_the_shipped_file_itself_sets_nothing() -> None:
    assert not any(tomllib.loads(DEFAULT_FILE.read_text()).values())


def test_a_relative_database_lies_in_the_projects_folder_and_an_absolute_one_where_it_says() -> None:
    assert Settings().database == ROOT / "data" / "tidemark.db"
    assert load(environment={}, options={"storage.path": "/srv/t.db"})[0].database == Path("/srv/t.db")


@pytest.mark.parametrize(
    ("text", "size"), [("10MB", 10**7), ("1.5 gb", 15 * 10**8), (" 64KB ", 64000), ("0.0000004KB", 0)]
)
def test_a_size_is_a_number_with_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@given(st.integers(1, 10**6), st.sampled_from(["KB", "MB", "GB"]))
def test_a_written_size_reads_back_as_the_same(number: int, unit: str) -> None:
    size = parse_size(f"{number}{unit}")
    assert parse_size(str(Size(size))) == size


@pytest.mark.parametrize("text", ["1h", "36h", "7d", "90d", "5y", "24h", "90m", "61s"])
def test_a_duration_is_shown_as_it_was_written(text: str) -> None:
    assert str(rows(environment={}, options={"retention.hours": "5y"})["retention.hours"].value) == "5y"
    assert str(Duration({"h": 3600, "d": 86400, "y": 31_556_952, "m": 60, "s": 1}[text[-1]] * int(text[:-1]))) == text


@pytest.mark.parametrize(
    "name",
    ["PORT", "PORT_8930_TCP", "PORT_8930_TCP_ADDR", "SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP"],
)
def test_variables_of_a_kubernetes_service_are_no_settings_and_no_mistake(name: str) -> None:
    environment = {f"TIDEMARK_{name}": "tcp://10.0.0.11:8930", "TIDEMARK_SERVER_PORT": "1"}
    assert load(environment=environment)[0].server.port == 1
    assert set_by_kubernetes(environment) == [f"TIDEMARK_{name}"]


@pytest.mark.parametrize("name", ["PORTS", "SERVICE", "SERVERPORT", "MY_PORT"])
def test_other_unknown_variables_are_refused(name: str) -> None:
    with pytest.raises(BadSetting, match=f"unknown setting TIDEMARK_{name} "):
        load(environment={f"TIDEMARK_{name}": "1"})


def test_a_host_without_a_zone_database_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.clock.available_timezones", set)
    with pytest.raises(BadSetting, match=r"'No/Where'.*no time zone database: install the package tzdata"):
        load(environment={"TIDEMARK_ANALYSIS_TIMEZONE": "No/Where"})
    assert load(environment={"TIDEMARK_ANALYSIS_TIMEZONE": "UTC"})[0].analysis.timezone == "UTC"


def test_a_relative_disk_path_starts_at_the_projects_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for text, path in (("data", str(ROOT / "data")), ("/srv", "/srv"), ("~", os.path.expanduser("~"))):
        assert load(environment={"TIDEMARK_SAMPLING_DISK_PATH": text})[0].disk_path == path
    with pytest.raises(BadSetting, match="disk_path"):
        load(environment={"TIDEMARK_SAMPLING_DISK_PATH": "~nobody-of-this-name/x"})
