"""What the tools take: checked by msgspec, described as JSON Schema; windows, as the verbs and the API take them."""

import re
from typing import Annotated, Any, ClassVar, Self

import msgspec
from msgspec import Meta

from service import clock
from service.answers.monitor import ResourceMonitor
from service.answers.window import Window, around, window
from service.errors import BadParameter
from service.metrics import METRICS
from service.store.usages import By, Key

TIME_TAKES = (
    "RFC 3339 with an offset, unix seconds, now, a time before now like -90m, -24h, -7d, or in the zone of the answers "
    "today, yesterday, monday to sunday, 2026-01-31, 2026-01-31T12:00, 12:00 (when it last was), yesterday 12:00"
)
_NAMES = [metric.name for metric in METRICS]

# A number, too: assistants write unix seconds as one.
Time = str | int | None
Metric = Annotated[str, Meta(description="The metric.", extra_json_schema={"enum": _NAMES})]
ByOption = Annotated[By, Meta(description="By the processes' name, or by service and container.")]
KeyOption = Annotated[Key, Meta(description="CPU time, or memory.")]


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The parameters of one tool, and how it answers. `says`: what it is for, in the words that an assistant reads."""

    says: ClassVar[str]

    def ask(self, monitor: ResourceMonitor, now: float) -> object:
        """The answer; moments in it are unix seconds.

        :raises TidemarkError: if there is none.
        """
        raise NotImplementedError

    @classmethod
    def read(cls, arguments: dict[str, Any]) -> Self:
        """
        :raises BadParameter: if one is unknown, missing, or not what it takes.
        """
        try:
            return msgspec.convert(arguments, cls)
        except msgspec.ValidationError as error:
            what, _, where = str(error).partition(" - at `$")
            takes = f"takes {', '.join(cls.__struct_fields__) or 'nothing'}"
            raise BadParameter(f"{where.strip('.`')}: {what}" if where else f"{what}; {takes}") from None

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """An object without references and, as not every assistant knows them, without alternatives: of those of a
        parameter the first, which is text."""
        _, components = msgspec.json.schema_components([cls])
        described: dict[str, Any] = components[cls.__name__]
        properties = {name: _plain(taken) for name, taken in described["properties"].items()}
        required = {"required": described["required"]} if described["required"] else {}
        return {"type": "object", "properties": properties, "additionalProperties": False, **required}


def _plain(taken: dict[str, Any]) -> dict[str, Any]:
    plain = {key: value for key, value in taken.items() if key != "anyOf" and (key, value) != ("default", None)}
    return {"type": "string", **plain, **taken.get("anyOf", [{}])[0]}


class Between(Parameters, frozen=True):
    """A window by its edges, a day, or a moment; left out, it is the last `length` seconds."""

    length: ClassVar[int]

    start: Annotated[Time, Meta(description="Where the window begins: -24h, yesterday, monday 3:12, ...")] = None
    end: Annotated[Time, Meta(description="Where it ends, itself not included; now, if left out.")] = None
    on: Annotated[str | None, Meta(description="Instead: that whole day: yesterday, monday, 2026-01-31.")] = None
    at: Annotated[Time, Meta(description="Instead: the five minutes around that time.")] = None

    def asked(self, now: float, zone: clock.Zone, length: int | None = None) -> Window:
        """
        :raises BadParameter: if a time is none, if the window is empty, or if it is said in more than one way.
        """
        edges = [_time(name, getattr(self, name), now, zone) for name in ("start", "end")]
        ways = (length is not None, any(edge is not None for edge in edges), self.on is not None, self.at is not None)
        if sum(ways) > 1:
            takes_length = "window; " if "window" in self.__struct_fields__ else ""
            raise BadParameter(f"takes one of these: {takes_length}start and end; on; at")
        if self.on is not None:
            edges = list(_day(self.on, now, zone))
        moment = _time("at", self.at, now, zone)
        if moment is not None:
            edges = list(around(moment))
        return window(now, self.length, length, *edges)

    def edges(self, now: float, zone: clock.Zone) -> tuple[int, int]:
        """start <= ts < end."""
        seconds, end = self.asked(now, zone)
        end = int(now) if end is None else end
        return max(0, end - seconds), end


class Length(Between, frozen=True):
    """A window also by its length."""

    window: Annotated[str | None, Meta(description="How far back from now, like 90m, 24h, 7d.")] = None

    def asked_window(self, now: float, zone: clock.Zone) -> Window:
        """
        :raises BadParameter: as `asked`, or if the length is none.
        """
        try:
            length = None if self.window is None else clock.parse_duration(self.window)
        except ValueError as error:
            raise BadParameter(f"window = {self.window!r}: {error}") from None
        return self.asked(now, zone, length)


def _time(name: str, given: Time, now: float, zone: clock.Zone) -> int | None:
    if given is None:
        return None
    try:
        return clock.parse_time(str(given), now, zone)
    except ValueError:
        raise BadParameter(f"{name} = {_short(given)}: takes {TIME_TAKES}") from None


def _day(given: str, now: float, zone: clock.Zone) -> tuple[int, int]:
    try:
        return clock.parse_day(given, now, zone)
    except ValueError as error:
        raise BadParameter(f"on = {_short(given)}: {error}") from None


def _short(given: object) -> str:
    return re.sub(r"(?s)(.{60}).+", r"\1...", repr(given))
