"""What answers cost: the endpoint and an empty view, the first answer after a sample, windows of the history."""

import statistics
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import (
    USAGE,
    Bench,
    Client,
    Cost,
    Figure,
    comparison,
    cost_of,
    daemon,
    median_cpu_ms,
    requests_per_second,
    until_fraction,
)
from service.answers.insights.found import findings
from service.answers.insights.rules import Asked
from service.clock import DAY, HOUR, YEAR
from service.metrics import METRICS
from service.store.reader import History


def endpoint(bench: Bench) -> Iterator[Figure]:
    """Requests a second over one keep-alive connection, in turns with an empty view that returns the same bytes."""
    rounds, seconds = (3, 1) if bench.quick else (9, 2)
    with daemon(bench, bench.year()) as running:
        client = Client(running.port)
        body = bench.folder / "body.json"
        body.write_bytes(client.get(USAGE))
        client.close()
        with comparison(bench, "empty", str(body)) as empty:
            pairs = []
            for _ in range(rounds):
                ours = requests_per_second(running.port, USAGE, seconds)
                pairs.append((ours, requests_per_second(empty.port, "/", seconds)))
    yield Figure("endpoint: one connection", statistics.median(ours for ours, _ in pairs), "requests/s")
    yield Figure("endpoint: an empty view", statistics.median(theirs for _, theirs in pairs), "requests/s")
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    yield Figure("endpoint: of an empty view", ratio, "ratio", 0.80, at_least=True)


def first_answer(bench: Bench) -> Iterator[Figure]:
    """The first answer after each new sample, over 7 days of samples; the same answer again comes from memory."""
    with daemon(bench, bench.year(), interval=1) as running:
        client = Client(running.port)
        client.get(USAGE)
        first, again = [], []
        for _ in range(10 if bench.quick else 30):
            until_fraction(0.6)
            first.append(cost_of(client, running.pid, USAGE))
            again.append(cost_of(client, running.pid, USAGE))
            time.sleep(0.1)
        client.close()
    new, kept = _median(first), _median(again)
    yield Figure("first answer after a sample: server CPU", new.cpu_ms, "ms", 5)
    yield Figure("first answer after a sample: wall, client's too", new.wall_ms, "ms", 5)
    yield Figure("the same answer again: server CPU", kept.cpu_ms, "ms")


WINDOWS = {"hour": "-1h", "day": "-24h", "week": "-7d", "month": "-30d", "year": "-365d", "five years": "-5y"}


def history(bench: Bench) -> Iterator[Figure]:
    """Server CPU of whole answers over 7 days of samples, 90 of minutes and five years of hours."""
    database = bench.year()
    times = 5 if bench.quick else 15
    with comparison(bench, "history", str(database)) as running:
        client = Client(running.port)
        client.get(USAGE)
        for metric in ("cpu_percent", "network_received_bytes"):
            for name, start in WINDOWS.items():
                path = f"/api/v1/series?metric={metric}&points=600&start={start}"
                yield Figure(f"series {metric}, last {name}", _answer(client, running.pid, path, times), "ms", 10)
        for window in ("1h", "24h", "30d"):
            path = f"/api/v1/summary?window={window}"
            yield Figure(f"summary {window}", _answer(client, running.pid, path, times), "ms")
        yield Figure("peaks 24h", _answer(client, running.pid, "/api/v1/peaks?window=24h", times), "ms")
        client.close()
    yield Figure("average and maximum of all over a year", _whole_year(database, times), "ms", 15)


def usage(bench: Bench) -> Iterator[Figure]:
    """Who used the machine, over 30 days of captures; and all insights, which are computed once a minute at most."""
    database = bench.year()
    times = 5 if bench.quick else 15
    with comparison(bench, "history", str(database)) as running:
        client = Client(running.port)
        for name, start in WINDOWS.items():
            path = f"/api/v1/processes?start={start}"
            bar = 15 if start == "-24h" else None
            yield Figure(f"processes, last {name}", _answer(client, running.pid, path, times), "ms", bar)
        yield Figure("peaks 24h with processes", _answer(client, running.pid, "/api/v1/peaks", times), "ms")
        client.close()
    history = History(database)
    now = int(time.time())

    def find() -> None:
        with history.view() as view:
            assert findings(Asked(view.select, now, str))

    yield Figure("insights over the default history", median_cpu_ms(find, times), "ms", 100)
    history.close()


def _answer(client: Client, pid: int, path: str, times: int) -> float:
    client.get(path)
    return _median([cost_of(client, pid, path) for _ in range(times)]).cpu_ms


def _median(costs: list[Cost]) -> Cost:
    return Cost(statistics.median(c.cpu_ms for c in costs), statistics.median(c.wall_ms for c in costs))


def _whole_year(database: Path, times: int) -> float:
    """CPU of one average and one maximum of each metric over a year of hours, in this process."""
    history = History(database)

    def reduce() -> None:
        end = int(time.time()) // HOUR * HOUR - DAY
        start = end - YEAR // HOUR * HOUR
        with history.view() as view:
            buckets = view.buckets(start, end, end - start, METRICS, DAY)
        for metric in METRICS:
            assert buckets.averages(metric.name)[0] is not None
            assert buckets.maxima(metric.name)[0] is not None

    reduce()
    cost = median_cpu_ms(reduce, times)
    history.close()
    return cost
