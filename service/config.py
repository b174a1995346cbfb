"""Reads the settings from the file, the environment and the options, in that order; alone reads `os.environ`."""

import difflib
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from service import clock, place
from service.errors import BadSetting

PREFIX = "TIDEMARK_"
# manage.py reads this variable before any dependency is installed.
NOT_SETTINGS = frozenset({"TIDEMARK_NO_BOOTSTRAP"})
# What Kubernetes sets in every pod for a service that is called tidemark (kubernetes.io, "Accessing the Service").
_OF_KUBERNETES = re.compile(r"TIDEMARK_(SERVICE_.*|PORT|PORT_.*)")

_SIZE_BYTES = {"KB": 10**3, "MB": 10**6, "GB": 10**9}
_WHOLE = re.compile(r"[-+]?\d+", re.ASCII)
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,9})?) ?(KB|MB|GB)", re.ASCII)


# `forward.backfill` of "all": longer than any history.
EVERYTHING_SECONDS = clock.LAST_SECOND


class Duration(int):
    """Whole seconds, written as in `7d`."""

    def __str__(self) -> str:
        return "all" if self == EVERYTHING_SECONDS else clock.format_duration(int(self))


class Size(int):
    """Bytes, written as in `1GB`."""

    def __str__(self) -> str:
        for unit, size in reversed(_SIZE_BYTES.items()):
            if self >= size and self % size == 0:
                return f"{self // size}{unit}"
        return f"{self / 10**6:g}MB"


def parse_size(text: str) -> int:
    """Bytes of a size like `500MB`.

    :raises ValueError: if it is not a number (of at most 12 digits before the point) with KB, MB or GB.
    """
    match = _SIZE.fullmatch(text.strip().upper())
    if match is None:
        raise ValueError
    return round(float(match[1]) * _SIZE_BYTES[match[2]])


def _takes(text: str, **limits: Any) -> Meta:
    """What a setting takes: the words of its error message, and the limits that are checked."""
    return Meta(description=text, **limits)


# A name (ASCII, as browsers send it) or an IPv6 address, with or without brackets.
_HostName = Annotated[str, Meta(pattern=r"^(?:[A-Za-z0-9._-]+|\[?[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*\]?)\Z")]


# Each field's Meta says what the setting takes: `config`, the error messages and the docs test read it from here.
class Sampling(Struct, frozen=True):
    interval: Annotated[int, _takes("whole seconds between two samples, 1 to 3600", ge=1, le=3600)] = 5
    disk_path: Annotated[str, _takes("a path on the file system that disk_percent measures", min_length=1)] = "/"
    processes_interval: Annotated[
        int, _takes("whole seconds between two captures of the processes, 1 to 3600", ge=1, le=3600)
    ] = 30
    processes_count: Annotated[int, _takes("how many processes each capture keeps, 1 to 100", ge=1, le=100)] = 5


class Storage(Struct, frozen=True):
    path: Annotated[str, _takes("the database file; relative to the project's folder", min_length=1)] = (
        "data/tidemark.db"
    )
    max_size: Annotated[Size, _takes("a size with KB, MB or GB, at least 10MB")] = Size(10**9)


class Retention(Struct, frozen=True):
    samples: Annotated[Duration, _takes("a duration with s, m, h, d or y, at least 2h")] = Duration(7 * clock.DAY)
    minutes: Annotated[Duration, _takes("a duration with s, m, h, d or y, at least 1d")] = Duration(90 * clock.DAY)
    hours: Annotated[Duration, _takes("a duration with s, m, h, d or y, at least 1d")] = Duration(5 * clock.YEAR)
    processes: Annotated[Duration, _takes("a duration with s, m, h, d or y, at least 2h")] = Duration(30 * clock.DAY)


class Analysis(Struct, frozen=True):
    timezone: Annotated[str, _takes("a time zone's name, like UTC or Europe/Berlin", min_length=1)] = "UTC"
    peak_window: Annotated[Duration, _takes("a duration with s, m, h, d or y, 1h to 30d")] = Duration(clock.DAY)


class Server(Struct, frozen=True):
    host: Annotated[str, _takes("the address to listen on", min_length=1)] = "127.0.0.1"
    port: Annotated[int, _takes("a port, 0 to 65535 (0: any free one)", ge=0, le=65535)] = 8930
    token_file: Annotated[str, _takes("the file with the token that requests must carry")] = ""
    allowed_hosts: Annotated[tuple[_HostName, ...], _takes("a list of host names without port")] = ()
    name: Annotated[str, _takes("what the page calls this host; empty: the host's own name")] = ""


class Log(Struct, frozen=True):
    level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], _takes("DEBUG, INFO, WARNING or ERROR")] = "INFO"
    format: Annotated[Literal["text", "json"], _takes("text or json")] = "text"


class Forward(Struct, frozen=True):
    url: Annotated[
        str,
        _takes(
            "an http or https URL without a user or password in it (forward.user and forward.token_file are for these)"
        ),
    ] = ""
    token_file: Annotated[str, _takes("the file (mode 0600) with the token or password that is sent")] = ""
    user: Annotated[str, _takes("the user of basic authentication, without a colon")] = ""
    headers: Annotated[dict[str, str], _takes("names of HTTP headers with their values, none that Tidemark sets")] = {}
    instance: Annotated[str, _takes("the label `instance`; empty: the host's name")] = ""
    labels: Annotated[
        dict[str, str], _takes("names of labels with their values, none that begins with __, nor job or instance")
    ] = {}
    names: Annotated[Literal["tidemark", "node"], _takes("tidemark or node")] = "tidemark"
    every: Annotated[int, _takes("whole seconds between two sendings, 1 to 3600", ge=1, le=3600)] = 30
    backfill: Annotated[Duration, _takes('a duration with s, m, h, d or y, or "all"')] = Duration(clock.HOUR)
    hold: Annotated[Duration, _takes("a duration with s, m, h, d or y")] = Duration(30 * clock.DAY)
    processes: Annotated[int, _takes("how many names and services of each hour are sent, 0 to 20", ge=0, le=20)] = 0

    @property
    def target(self) -> str:
        """What the receiver is known by in the history: the URL without its query."""
        return self.url.partition("?")[0]


class Settings(Struct, frozen=True):
    """Every setting; `settings.sampling.interval` is the value of `sampling.interval`."""

    sampling: Sampling = Sampling()
    storage: Storage = Storage()
    retention: Retention = Retention()
    analysis: Analysis = Analysis()
    server: Server = Server()
    log: Log = Log()
    forward: Forward = Forward()

    @property
    def database(self) -> Path:
        return _placed(self.storage.path)

    @property
    def disk_path(self) -> str:
        return str(_placed(self.sampling.disk_path))

    @property
    def token_file(self) -> Path | None:
        return _placed(self.server.token_file) if self.server.token_file else None

    @property
    def forward_token_file(self) -> Path | None:
        return _placed(self.forward.token_file) if self.forward.token_file else None


def _placed(name: str) -> Path:
    """The path; a relative one starts at the project's folder (or at that of the data, where the program was installed
    as a package), wherever the daemon was started from."""
    path = Path(name).expanduser()
    return path if path.is_absolute() else place.data_folder(os.environ, os.geteuid() == 0) / path


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of `config`: the key, its value as written, where that came from, what the setting takes."""

    key: str
    value: Any
    origin: str
    takes: str


@dataclass(frozen=True, slots=True)
class _Field:
    section: str
    name: str
    type: Any
    takes: str

    @property
    def key(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def variable(self) -> str:
        return f"{PREFIX}{self.section}_{self.name}".upper()


def _fields() -> Iterator[_Field]:
    for section in msgspec.structs.fields(Settings):
        for name, hint in get_type_hints(section.type, include_extras=True).items():
            yield _Field(section.name, name, hint, hint.__metadata__[0].description)


_FIELDS: Mapping[str, _Field] = {field.key: field for field in _fields()}
_TEXT_ORIGINS = ("environment ", "option")
_VARIABLES: Mapping[str, _Field] = {field.variable: field for field in _FIELDS.values()}
_AT_LEAST = {
    "storage.max_size": 10 * 10**6,
    "retention.samples": 2 * clock.HOUR,
    "retention.minutes": clock.DAY,
    "retention.hours": clock.DAY,
    "retention.processes": 2 * clock.HOUR,
    "analysis.peak_window": clock.HOUR,
}


def load(
    file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[Settings, list[Setting]]:
    """The settings, and where each came from; options win over the environment, the environment over the file.

    `file`: None for that of `place.settings_file`, which may be missing. `options`: key -> value; one that is None
    was not given.

    :raises BadSetting: if a key is unknown or a value is not what it takes.
    """
    given: dict[str, tuple[Any, str]] = {}
    variables = os.environ if environment is None else environment
    shipped = place.settings_file(variables, os.geteuid() == 0)
    given.update(_from_file(file or shipped, must_exist=file is not None))
    given.update(_from_environment(variables))
    given.update({key: (value, "option") for key, value in (options or {}).items() if value is not None})
    values = {key: _convert(_FIELDS[key], value, origin) for key, (value, origin) in given.items()}
    settings = _build(values)
    rows = [_row(settings, field, given) for field in _FIELDS.values()]
    return settings, rows


def set_by_kubernetes(environment: Mapping[str, str] | None = None) -> list[str]:
    """The variables that look like settings and are those of a Kubernetes service; `load` leaves them out."""
    names = os.environ if environment is None else environment
    return sorted(name for name in names if _OF_KUBERNETES.fullmatch(name) and name not in _VARIABLES)


def read_secret(key: str, file: Path) -> str:
    """What a setting's file holds, which only its owner may read.

    :raises BadSetting: if it cannot be read, or others may read it.
    """
    try:
        with open(file, encoding="utf-8") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            secret = opened.read(4096).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSetting(f"{key} = {file} cannot be read: {error}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise BadSetting(f"{key} = {file} can be read by others: chmod 600 it")
    return secret


def notify_socket() -> str | None:
    """The socket on which systemd expects notifications; None where systemd did not start the daemon."""
    return os.environ.get("NOTIFY_SOCKET") or None


def _build(values: Mapping[str, Any]) -> Settings:
    sections = {}
    for section in msgspec.structs.fields(Settings):
        own = {key.split(".")[1]: value for key, value in values.items() if key.startswith(section.name + ".")}
        sections[section.name] = section.type(**own)
    return Settings(**sections)


def _row(settings: Settings, field: _Field, given: Mapping[str, tuple[Any, str]]) -> Setting:
    value = getattr(getattr(settings, field.section), field.name)
    shown = str(value) if isinstance(value, (Duration, Size)) else value
    return Setting(field.key, shown, given[field.key][1] if field.key in given else "default", field.takes)


def _from_file(path: Path, must_exist: bool) -> dict[str, tuple[Any, str]]:
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if must_exist:
            raise BadSetting(f"settings file {path} does not exist") from None
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSetting(f"settings file {path} cannot be read: {error}") from None
    given = {}
    for section, content in tree.items():
        if not isinstance(content, dict):
            raise _unknown(section, str(path), _FIELDS)
        for name, value in content.items():
            key = f"{section}.{name}"
            if key not in _FIELDS:
                raise _unknown(key, str(path), _FIELDS)
            given[key] = (value, str(path))
    return given


def _from_environment(environment: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    given: dict[str, tuple[Any, str]] = {}
    others = NOT_SETTINGS.union(set_by_kubernetes(environment))
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable in others:
            continue
        if variable not in _VARIABLES:
            raise _unknown(variable, "environment", _VARIABLES)
        field = _VARIABLES[variable]
        given[field.key] = (_from_text(field, text), f"environment {variable}")
    return given


def _from_text(field: _Field, text: str) -> Any:
    """A list is written as `a,b`, names with values as `a=1,b=2`."""
    kind = str(field.type)
    if "tuple" not in kind and "dict" not in kind:
        return text
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if "tuple" in kind:
        return parts
    # What has no value is refused where the type is checked.
    return {
        name.strip(): value.strip() if equals else None for name, equals, value in (p.partition("=") for p in parts)
    }


def _unknown(key: str, origin: str, known: Mapping[str, Any]) -> BadSetting:
    near = [name for name in known if name.startswith(f"{key}.")] or difflib.get_close_matches(key, known, 1)
    hint = f"did you mean {near[0]}?" if near else "`config` lists every setting"
    return BadSetting(f"unknown setting {key} ({origin}): {hint}")


def _convert(field: _Field, value: Any, origin: str) -> Any:
    """The typed value; text becomes a number only if it comes from the environment or an option, not from the file."""
    try:
        strict = not (isinstance(value, str) and origin.startswith(_TEXT_ORIGINS))
        if field.key == "forward.backfill" and value == "all":
            return Duration(EVERYTHING_SECONDS)
        converted = msgspec.convert(value, field.type, strict=strict, dec_hook=_decode)
        if type(converted) is int and not strict and not _WHOLE.fullmatch(value.strip()):
            raise ValueError  # msgspec takes 1e3 for a whole number, TOML does not
        _check(field.key, converted)
    except (msgspec.ValidationError, ValueError) as error:
        why = f"; {error}" if isinstance(error, clock.NoZoneDatabase) else ""
        raise BadSetting(f"{field.key} = {_shown(field.key, value)} ({origin}): takes {field.takes}{why}") from None
    return converted


def _shown(key: str, value: Any) -> str:
    """The value, without what may be a password in it."""
    if key == "forward.url" and isinstance(value, str) and "@" in value:
        return repr(f"{value.partition('//')[0]}//...@{value.rpartition('@')[2]}")
    return repr(value)


def _decode(kind: type, value: object) -> Any:
    if not isinstance(value, str):
        raise ValueError
    if kind is Duration:
        return Duration(clock.parse_duration(value))
    return Size(parse_size(value))


def _check(key: str, value: Any) -> None:
    """The limits that msgspec cannot express.

    :raises ValueError: if the value breaks one.
    """
    if key in _AT_LEAST and value < _AT_LEAST[key]:
        raise ValueError
    if key == "analysis.peak_window" and value > 30 * clock.DAY:
        raise ValueError
    if key == "analysis.timezone":
        clock.zone(value)
    if key in ("sampling.disk_path", "storage.path", "server.token_file", "forward.token_file"):
        _home(value)
    if key == "forward.url" and value:
        _check_url(value)
    if key == "forward.user" and (":" in value or not _HEADER_VALUE.fullmatch(value)):
        raise ValueError
    if key == "forward.headers":
        _check_names(value, _HEADER_NAME, RESERVED_HEADERS)
        if not all(map(_HEADER_VALUE.fullmatch, value.values())):
            raise ValueError
    if key == "forward.labels":
        _check_names(value, _LABEL_NAME, RESERVED_LABELS)
    if isinstance(value, str) and "\0" in value:
        raise ValueError


def _home(path: str) -> None:
    """
    :raises ValueError: if the path begins with `~` and the name of somebody without a home on this host.
    """
    try:
        Path(path).expanduser()
    except RuntimeError:
        raise ValueError from None


# What a receiver is addressed by in HTTP, or what Tidemark sets itself (RFC 9110).
RESERVED_HEADERS = frozenset(
    (
        *("authorization", "connection", "content-encoding", "content-length", "content-type", "cookie", "expect"),
        *("host", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "user-agent"),
        "x-prometheus-remote-write-version",
    )
)
RESERVED_LABELS = frozenset({"job", "instance"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?|")
# prometheus.io/docs/concepts/data_model; what begins with __ is kept for the engine itself.
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)


def _check_url(value: str) -> None:
    """
    :raises ValueError: if it is no http or https URL with a host, or says more than where to send.
    """
    parts = urlsplit(value)
    port = parts.port  # raises where it is none
    is_plain = value.isascii() and value.isprintable() and " " not in value
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or not is_plain:
        raise ValueError
    if "@" in parts.netloc or parts.fragment:
        raise ValueError


def _check_names(value: Mapping[str, str], pattern: re.Pattern[str], reserved: frozenset[str]) -> None:
    """
    :raises ValueError: if a name does not follow the pattern, or is reserved.
    """
    if len({name.lower() for name in value}) < len(value) and pattern is _HEADER_NAME:
        raise ValueError
    if not all(pattern.fullmatch(name) and name.lower() not in reserved for name in value):
        raise ValueError
