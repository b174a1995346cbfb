"""Which request gets a thread: few of those that read much of the history at once, so that threads are left for others.

With server.py it alone touches waitress, and like it uses parts that are not documented (`requests`, `task_class`, the
inside of the dispatcher).
"""

from collections import deque
from typing import Any

from waitress.channel import HTTPChannel
from waitress.task import ThreadedTaskDispatcher, WSGITask

from service.errors import is_shortage

THREADS = 6
# Requests for parts of the history: so many at once, each with its memory and its share of the CPUs; so many wait.
DEAR_AT_ONCE = 2
DEAR_WAITING = 48
# In the WSGI environment of a request that is one too many.
REFUSED = "tidemark.refused"
# What costs more than a moment's work begins so.
DEAR = "/api/v1/"


class _Task(WSGITask):
    def get_environment(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environment()
        environ[REFUSED] = getattr(self.channel, "is_refused", False)
        return environ


class Channel(HTTPChannel):
    """A connection that knows whether its next request is dear, and whether that has to be refused."""

    task_class = _Task
    is_refused = False

    @property
    def is_dear(self) -> bool:
        # A request that could not be parsed has no path.
        return str(getattr(self.requests[0], "path", "")).startswith(DEAR) if self.requests else False


class Dispatcher(ThreadedTaskDispatcher):
    """Threads that answer requests in the order in which they came, but dear ones only two at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._dear: deque[Any] = deque()
        self._dear_at_work = 0

    def add_task(self, task: Any) -> None:
        with self.lock:
            is_dear = task.is_dear
            task.is_refused = is_dear and len(self._dear) >= DEAR_WAITING
            (self._dear if is_dear and not task.is_refused else self.queue).append(task)
            self.queue_cv.notify()

    def handler_thread(self, thread_no: int) -> None:
        """What waitress does, but for which task is next."""
        while (found := self._next(thread_no)) is not None:
            task, is_dear = found
            try:
                task.service()
            except BaseException as error:
                stack = None if is_shortage(error) else error
                self.logger.error("a request was not answered: %s: %s", type(error).__name__, error, exc_info=stack)
            finally:
                with self.lock:
                    self._dear_at_work -= is_dear

    def _next(self, thread_no: int) -> tuple[Any, bool] | None:
        """The next task and whether it is dear; None when this thread shall end."""
        with self.lock:
            while not self.stop_count:
                if self.queue:
                    return self.queue.popleft(), False
                if self._dear and self._dear_at_work < DEAR_AT_ONCE:
                    self._dear_at_work += 1
                    return self._dear.popleft(), True
                self.active_count -= 1
                self.queue_cv.wait()
                self.active_count += 1
            self.active_count -= 1
            self.stop_count -= 1
            self.threads.discard(thread_no)
            self.thread_exit_cv.notify()
            return None

    def shutdown(self, cancel_pending: bool = True, timeout: Any = 5) -> bool:
        with self.lock:
            self.queue.extend(self._dear)
            self._dear.clear()
        return bool(super().shutdown(cancel_pending, timeout))
