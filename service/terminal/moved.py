"""What moved, as `changes` draws it: a row each, most unusual first."""

from service.answers.changes import Change, Changes
from service.answers.moments import Moment, Write
from service.metrics import BY_NAME
from service.place import COMMAND
from service.store.device_metrics import METRICS
from service.terminal.layout import Block, Column, Copyable, Line, Part, Table
from service.terminal.words import amount, figure, size


def changes(answer: Changes, write: Write, with_sql: bool) -> list[Block]:
    if answer.abstains is not None:
        until = "" if answer.speaks_from is None else f"; from {write(Moment(answer.speaks_from))} on it is long enough"
        return [Line([answer.abstains + until])]
    against = f"against {write(answer.against_start)} to {write(answer.against_end)}"
    if not answer.changes:
        return [Line([f"nothing moved more than usual, {against}"])]
    columns = [
        Column("what", least=12, wraps=True),
        Column("before", right=True),
        Column("after", right=True),
        Column("beyond the usual", right=True),
    ]
    rows = [
        (_what(change), _figure(change, change.before), _figure(change, change.after), f"{figure(change.score)} x")
        for change in answer.changes
    ]
    blocks: list[Block] = [Table(columns, rows), Line([Part(against, "dim")])]
    if not with_sql:
        return [*blocks, Line([Part(f"{COMMAND} changes --sql shows the SQL", "dim")])]
    for change in answer.changes:
        blocks += [Line(), Line([_what(change)]), Copyable(change.sql)]
    return blocks


def _what(change: Change) -> str:
    if change.kind == "metric":
        return BY_NAME[change.name].label
    if change.kind == "device":
        kind = change.name.partition(":")[0]
        (label,) = (metric.label for metric in METRICS[kind] if metric.name == change.metric)  # type: ignore[index]
        return f"{label.lower()} of {change.name}"
    return f"{'CPU' if change.metric == 'cpu_percent' else 'memory'} of {change.name}"


def _figure(change: Change, value: float) -> str:
    return size(value) if change.unit == "bytes" else amount(value, change.unit)
