"""Takes the notes of people into the history: looks for them at each tick, which costs one stat."""

import logging
import os
from contextlib import suppress
from pathlib import Path

from service.errors import StoreFailed
from service.store import notes
from service.store.writer import Store

log = logging.getLogger(__name__)


class NoteTaker:
    """Only the thread that writes calls its methods."""

    def __init__(self, database: Path, store: Store) -> None:
        self._database, self._store = database, store
        self._folder = str(notes.folder_of(database))
        # When the folder was changed that had nothing new.
        self._seen_ns: int | None = None
        self._is_refused: set[Path] = set()

    def look(self) -> None:
        """Take in what waits, where the folder has changed since the last call."""
        try:
            changed_ns = os.stat(self._folder).st_mtime_ns
        except OSError:
            return  # nobody has noted anything
        if changed_ns != self._seen_ns and self.take():
            self._seen_ns = changed_ns

    def take(self) -> bool:
        """Take in what waits, all in one transaction, and remove its files; also where the folder seems not to have
        changed: a file system's clock may stand still for some milliseconds.

        :returns: False where not all was taken in, so that it is to be tried again.
        """
        found = notes.waiting(self._database)
        self._put_aside(found)
        if not found.notes:
            return not found.is_cut
        try:
            self._store.write(lambda statements: notes.insert(statements, found.notes))
        except StoreFailed as failure:
            log.debug("notes wait in their files: %s", failure)
            return False
        for taken in found.notes:
            with suppress(OSError):  # its row is there, and stays one
                os.unlink(os.path.join(self._folder, taken.file_name))
        return not found.is_cut

    def _put_aside(self, found: notes.Waiting) -> None:
        """Rename what is no note, so that it is not read again; logged once."""
        for file, why in found.refused:
            if file not in self._is_refused:
                log.warning("%s is not taken in as a note: %s", file, why)
            with suppress(OSError):
                file.rename(f"{file}.refused")
        # Of those that could not be renamed either.
        self._is_refused = {file for file, _ in found.refused if os.path.lexists(file)}
