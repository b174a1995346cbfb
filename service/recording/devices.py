"""Captures what disks, interfaces, sensors and batteries did, and has it stored with the samples."""

import logging
from collections.abc import Mapping
from typing import Protocol, get_args

from service.host.devices import MOST_DEVICES, DevicesRead
from service.host.source import READ_ERRORS
from service.recording.device_runs import Runs, runs_of
from service.records import DeviceKind, DeviceUsage
from service.store import devices
from service.store.writer import Store

log = logging.getLogger(__name__)

# Captures after which what is held is handed over, if nobody has asked for it: twice as many as of processes.
_CAPTURES_HELD = 12
_WORDS: Mapping[DeviceKind, str] = {
    "disk": "disks",
    "interface": "network interfaces",
    "sensor": "sensors",
    "battery": "batteries",
}


class Watch(Protocol):
    """The host's devices at one moment."""

    def read(self) -> DevicesRead: ...


class DeviceRecorder:
    """Called by the one thread that writes."""

    def __init__(self, watch: Watch, store: Store) -> None:
        self._watch, self._store = watch, store
        self._runs: dict[DeviceKind, Runs] = {kind: runs_of(kind) for kind in get_args(DeviceKind)}
        self._held: list[DeviceUsage] = []
        self._captures = 0
        self._failed: set[DeviceKind] = set()
        self._left_out: set[DeviceKind] = set()
        self._stuck: set[str] = set()

    def capture(self) -> None:
        """What each device did since the capture before; a kind that cannot be read is left out."""
        read = self._watch.read()
        for kind, (at, found) in read.devices.items():
            try:
                self._held += self._runs[kind].add(at, found)
            except Exception:  # what processes used is captured all the same, and so are the other kinds
                self._runs[kind] = runs_of(kind)
                log.exception("the %s are read anew: a defect in Tidemark", _WORDS[kind])
        self._captures += 1
        if self._captures >= _CAPTURES_HELD:
            self.hand_over()
        self._log_errors(read)
        self._log_left_out(read)
        self._log_stuck(set(read.stuck))

    def hand_over(self) -> None:
        """What is held is stored with the next sample."""
        rows, self._held, self._captures = self._held, [], 0
        if rows:
            self._store.ride(lambda statements, stretch_id: devices.insert(statements, rows, stretch_id))

    def finish(self) -> None:
        """Also what was to be written later, at the end of the run."""
        for runs in self._runs.values():
            self._held += runs.finish()
        self.hand_over()

    def _log_errors(self, read: DevicesRead) -> None:
        """Once when a kind cannot be read, and once when it can again."""
        for kind, error in read.errors.items():
            if kind not in self._failed:
                is_defect = not isinstance(error, READ_ERRORS)
                text = (
                    "reading the %s: a defect in Tidemark"
                    if is_defect
                    else "cannot read the %s: %s; storing none until it is possible"
                )
                log.error(text, _WORDS[kind], *(() if is_defect else (error,)), exc_info=error if is_defect else None)
        for kind in self._failed & set(read.devices):
            log.info("reading the %s again", _WORDS[kind])
        self._failed = (self._failed | set(read.errors)) - set(read.devices)

    def _log_left_out(self, read: DevicesRead) -> None:
        left_out = {kind for kind, count in read.left_out.items() if count}
        for kind in left_out - self._left_out:
            log.warning("%d %s are not recorded, only the first %d", read.left_out[kind], _WORDS[kind], MOST_DEVICES)
        self._left_out = left_out

    def _log_stuck(self, stuck: set[str]) -> None:
        for path in sorted(stuck - self._stuck):
            log.warning("%s does not answer; what it shows stays unknown until it does", path)
        for path in sorted(self._stuck - stuck):
            log.info("%s answers again", path)
        self._stuck = stuck
