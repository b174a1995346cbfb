"""One call of a tool: from its name and its arguments, as they came, to the text of the answer."""

import json
import re
from contextlib import closing
from typing import Any

import msgspec

from service.answers.monitor import ResourceMonitor
from service.assistant.tools import TOOLS
from service.clock import Clock
from service.config import Settings
from service.errors import BadParameter, TidemarkError
from service.store.reader import History

# An answer beyond this is no help to an assistant, which reads all of it.
MOST_LETTERS = 200_000


def call(settings: Settings, clock: Clock, name: str, arguments: dict[str, Any]) -> str:
    """JSON in one line. The file is opened anew for each call, which takes a few milliseconds: a database that has been
    put in its place since is read, too.

    :raises TidemarkError: if there is no such tool, it does not take that, or there is no answer.
    """
    if name not in TOOLS:
        raise BadParameter(f"tool = {name[:40]!r}: takes one of {', '.join(TOOLS)}")
    asked = TOOLS[name].read(arguments)
    with closing(History(settings.database)) as history:
        history.check_readable()
        monitor = ResourceMonitor(history, settings, clock)
        answer = asked.ask(monitor, clock.now().wall)
        text = harmless(msgspec.json.encode(answer, enc_hook=monitor.write).decode())
    if len(text) > MOST_LETTERS:
        takes = "ask for less: fewer points, rows or columns, or a shorter window"
        raise TidemarkError(f"the answer of {name} has {len(text):,} letters; {takes}")
    return text


def harmless(text: str) -> str:
    """The text with what cannot be seen (control characters, what turns a line around, tags) as JSON writes its code:
    who reads the answer sees all that the assistant does. JSON stays the same JSON."""
    return text if text.isprintable() else re.sub(r"[^ -~]", _visible, text)


def _visible(sign: re.Match[str]) -> str:
    return sign[0] if sign[0].isprintable() else json.dumps(sign[0])[1:-1].replace("\x7f", "\\u007f")
