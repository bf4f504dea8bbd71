"""Two attempts of one call at once: in threads where the call blocks, in tasks where it is awaited."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

import anyio

from ._clock import now


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._core.steps import Race, Racer


class _Threads:
    """A blocking race. A thread that is still reading when the race is over gives its answer back by itself."""

    def __init__(self, run: Callable[[Any], Any]) -> None:
        self._run = run
        self._done: queue.SimpleQueue[tuple[int, Any, BaseException | None]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._is_over = False

    def start(self, number: int, racer: Racer) -> None:
        context = copy_context()
        name = "respan-openai hedge"
        threading.Thread(target=context.run, args=(self._work, number, racer), name=name, daemon=True).start()

    def _work(self, number: int, racer: Racer) -> None:
        result, error = None, None
        try:
            result = self._run(racer.steps)
        except BaseException as exc:
            error = exc
        with self._lock:
            if not self._is_over:
                self._done.put((number, result, error))
                return
        with suppress(Exception):
            self._run(racer.give_back())

    def next(self, seconds: float | None = None) -> tuple[int, Any] | None:
        """Number and result of the next to finish; ``None`` if nobody does in *seconds*."""
        try:
            number, result, error = self._done.get(timeout=seconds)
        except queue.Empty:
            return None
        if error is not None:
            raise error
        return number, result

    def end(self, racers: list[Racer], seen: set[int]) -> None:
        with self._lock:
            self._is_over = True
        while not self._done.empty():
            number, _, _ = self._done.get()
            if number not in seen:
                with suppress(Exception):
                    self._run(racers[number].give_back())


def race(step: Race, run: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Perform *step*; *run* drives the steps of one attempt, and blocks."""
    threads, results, racers = _Threads(run), [None, None], [step.first]
    seen: set[int] = set()
    try:
        threads.start(0, step.first)
        finished = threads.next(step.after)
        if finished is None:
            second = step.second(now())
            if second is not None:
                racers.append(second)
                threads.start(1, second)
        while True:
            number, result = finished or threads.next() or (0, None)
            finished = None
            results[number] = result
            seen.add(number)
            if len(seen) == len(racers) or step.won(result):
                return results[0], results[1]
    finally:
        threads.end(racers, seen)


async def arace(step: Race, run: Callable[[Any], Awaitable[Any]]) -> tuple[Any, Any]:
    """Same as :func:`race`, with tasks: whoever is late is cancelled."""
    results: list[Any] = [None, None]
    errors: list[Exception] = []
    running = [step.first]
    somebody = anyio.Event()

    async def work(number: int, racer: Racer) -> None:
        try:
            results[number] = await run(racer.steps)
        except Exception as exc:
            errors.append(exc)
        running.remove(racer)
        if errors or not running or step.won(results[number]):
            group.cancel_scope.cancel()
        somebody.set()

    async with anyio.create_task_group() as group:
        group.start_soon(work, 0, step.first)
        with anyio.move_on_after(step.after):
            await somebody.wait()
        second = None if somebody.is_set() else step.second(now())
        if second is not None:
            running.append(second)
            group.start_soon(work, 1, second)
    if errors:
        raise errors[0]
    return results[0], results[1]
