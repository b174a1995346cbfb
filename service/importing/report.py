"""What an import did: each file, all together, and in words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from service import clock
from service.importing.past import Imported
from service.importing.sadf import FileRefused
from service.importing.sysstat import Past


class FileReport(Struct):
    """One file: what is new (unix seconds), how many records were left out, or why it was refused."""

    file: str
    version: str | None = None
    records: int = 0
    minutes: int = 0
    hours: int = 0
    start: int | None = None
    end: int | None = None
    skipped_own: int = 0
    skipped_known: int = 0
    skipped_ahead: int = 0
    error: str | None = None


class Report(Struct):
    """All files of one call."""

    host: str
    dry_run: bool
    zone: clock.Zone
    files: list[FileReport]

    def as_json(self) -> dict[str, Any]:
        """For programs: times as RFC 3339."""
        files = [{**asdict(file), "start": self._time(file.start), "end": self._time(file.end)} for file in self.files]
        return {"host": self.host, "dry_run": self.dry_run, "files": files}

    def lines(self) -> list[str]:
        """For people; without the files that were refused."""
        taken = [file for file in self.files if file.error is None]
        if not taken:
            return []
        verb = "would import" if self.dry_run else "imported"
        versions = sorted({file.version.removeprefix("sysstat ") for file in taken if file.version})
        numbered = ", ".join(version for version in versions if version != "sysstat")
        source = f"from {_count(len(taken), 'file')} of sysstat {numbered}".rstrip()
        left_out = {
            "that Tidemark recorded itself": sum(file.skipped_own for file in taken),
            "that were imported before": sum(file.skipped_known for file in taken),
            "that are ahead of the clock": sum(file.skipped_ahead for file in taken),
        }
        skipped = [f"skipped {number:,} {why}" for why, number in left_out.items() if number]
        return [f"{verb} {self._amount(taken)}, {source}", *skipped]

    def _amount(self, files: Sequence[FileReport]) -> str:
        starts = [file.start for file in files if file.start is not None]
        ends = [file.end for file in files if file.end is not None]
        if not starts:
            return f"nothing new of {self.host}"
        minutes, hours = sum(file.minutes for file in files), sum(file.hours for file in files)
        parts = [_count(minutes, "minute")] if minutes or not hours else []
        amount = " and ".join([*parts, *([_count(hours, "hour")] if hours else [])])
        return f"{amount} of {self.host}, {self._time(min(starts))} to {self._time(max(ends))}"

    def _time(self, ts: int | None) -> str | None:
        return None if ts is None else clock.rfc3339(ts, self.zone)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def of_file(past: Past, done: Imported) -> FileReport:
    return FileReport(
        file=str(past.file),
        version=past.version,
        records=len(past.records),
        minutes=done.minutes,
        hours=done.hours,
        start=done.start,
        end=done.end,
        skipped_own=done.own,
        skipped_known=done.known,
        skipped_ahead=done.ahead,
    )


def of_refused(file: Path, error: FileRefused) -> FileReport:
    return FileReport(file=str(file), error=str(error))
