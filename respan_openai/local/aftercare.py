"""What is left to do for a reader who has gone, done in a thread of its own.

A stream that nobody holds any more is closed by the garbage collector, in the middle of whatever its thread is about:
inside the lock of a store, for instance. What needs that lock would wait there for ever, so it is done elsewhere.
"""

from __future__ import annotations

import logging
import sys
from queue import SimpleQueue
from threading import Event, Lock, Thread
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["PATIENCE_SECONDS", "Aftercare", "aftercare"]


#: Seconds that a reader waits for it when he leaves. It takes some microseconds, unless his own thread is what holds
#: it up; then it is done as soon as that goes on.
PATIENCE_SECONDS = 0.2

_log = logging.getLogger("respan_openai")


class _Job(NamedTuple):
    do: Callable[[], object]
    done: Event


class Aftercare:
    """One helper thread, which does what it is given, in order."""

    def __init__(self) -> None:
        # Of all queues, this one alone may be put to from a destructor (queue.SimpleQueue.put, "reentrant").
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._lock = Lock()
        self._thread: Thread | None = None

    def get_ready(self) -> None:
        """Have the thread run; to be called before there is anything to do for it, since a destructor starts none.

        A forked process has no threads but one, so its first call starts another.
        """
        thread = self._thread
        if thread is None or not thread.is_alive():
            with self._lock:
                self._start()

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = Thread(target=self._work, name="respan-openai aftercare", daemon=True)
            self._thread.start()

    def __call__(self, do: Callable[[], object], seconds: float = 0.0) -> None:
        """Have *do* done, and wait for that at most so many *seconds*. May be called from a destructor."""
        job = _Job(do, Event())
        self._jobs.put(job)
        if seconds and not sys.is_finalizing():
            job.done.wait(seconds)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            try:
                job.do()
            except Exception as exc:
                _log.warning("What was left to do for a stream failed (%s).", type(exc).__name__)
            job.done.set()
            del job  # it holds a call, which must not stay until the next one leaves


#: That of this process.
aftercare = Aftercare()
