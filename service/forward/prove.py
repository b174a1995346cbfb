"""Proves by the engine's own count which samples are there: hour by hour, how many and the sum of their stamps.

Stamps are whole seconds and their sums exact below 2^53, so where both agree the very same samples are there.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from service.clock import HOUR, MINUTE
from service.errors import TidemarkError
from service.forward.destination import Destination
from service.forward.lines import STAMP_SERIES
from service.forward.send import Sender
from service.store import forwards
from service.store.database import reader_engine, reading
from service.store.statements import Statements

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_ANSWER_BYTES = 2**17
_WRITE_PATHS = ("/api/v1/write", "/api/v1/push", "/write")


class Proof(NamedTuple):
    """Of the time start <= ts < end: samples stored here and found there, and the sums of their stamps."""

    start: int
    end: int
    stored: int
    stored_sum: int
    found: int
    found_sum: int

    @property
    def agrees(self) -> bool:
        return (self.stored, self.stored_sum) == (self.found, self.found_sum)


def query_url(url: str) -> str:
    """Where the engine answers queries, by the address that it is written to."""
    bare = url.partition("?")[0]
    for path in _WRITE_PATHS:
        if bare.endswith(path):
            return f"{bare.removesuffix(path)}/api/v1/query"
    return f"{urlsplit(bare).scheme}://{urlsplit(bare).netloc}/api/v1/query"


def prove(path: Path, to: Destination, url: str, start: int, end: int, now: int) -> Iterator[Proof]:
    """Each hour of start <= ts < end, as far as samples are acknowledged and an engine shows them.

    :raises TidemarkError: if nothing has been forwarded, or the engine does not answer the question.
    """
    engine, sender = reader_engine(path), Sender(to.at(url))
    try:
        with reading(engine) as connection:
            row = forwards.load(Statements(connection), to.target)
            if row is None or row.acknowledged_at is None:
                raise TidemarkError(f"nothing has been forwarded to {to.target} yet: there is nothing to prove")
            at = row.at
        # An engine may show samples only some time after it took them (VictoriaMetrics: 30 s).
        end = min(end, at.ts + 1, now - MINUTE)
        while start < end:
            until = min(end, start // HOUR * HOUR + HOUR)
            with reading(engine) as connection:
                stored, total = forwards.stamps_until(Statements(connection), start, until, at)
            found, found_sum = (_asked(sender, to, url, name, start, until) for name in ("count", "sum"))
            if stored or found:
                yield Proof(start, until, stored, total, found, found_sum)
            start = until
    finally:
        sender.close()
        engine.dispose()


def _asked(sender: Sender, to: Destination, url: str, name: str, start: int, end: int) -> int:
    """Half a second early, so that it is the same whether the engine's ranges include their start or their end."""
    labels = {**to.labels, "instance": to.instance, "job": "tidemark"}
    chosen = ",".join(f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in sorted(labels.items()))
    query = f"{name}_over_time({STAMP_SERIES}{{{chosen}}}[{end - start}s])"
    body = urlencode({"query": query, "time": end - 0.5, "nocache": 1}).encode()
    answer = sender.request("POST", to.at(url).path, body, _FORM, _ANSWER_BYTES)
    try:
        if answer.status != 200:
            raise ValueError
        result = json.loads(answer.body)["data"]["result"]
        return round(math.fsum(float(series["value"][1]) for series in result))
    except (ValueError, KeyError, IndexError, TypeError):
        raise TidemarkError(f"{url} does not answer queries: {answer.text}; --query-url says where to ask") from None
