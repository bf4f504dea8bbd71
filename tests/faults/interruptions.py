"""Calls that end from outside: cancelled where they are awaited, hit by a signal where they block."""

from __future__ import annotations

import asyncio
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from .standing import until


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from .world import World


async def interrupted(
    world: World,
    call: Callable[[], Awaitable[Any]],
    when: Callable[[], Any],
    error: type[BaseException] = KeyboardInterrupt,
) -> BaseException:
    """End *call* as soon as *when* holds; returns what was raised inside it.

    A task is cancelled. A blocking call, which must run in the main thread, gets *error* from a signal handler.
    """
    if not world.is_async:
        with _signalled(when, error), pytest.raises(error) as caught:
            await call()
        return caught.value
    raised: list[BaseException] = []

    async def noting() -> None:
        try:
            await call()
        except BaseException as exc:
            raised.append(exc)
            raise

    await (_by_task if on_asyncio() else _by_scope)(noting, when)
    return raised[0]


def on_asyncio() -> bool:
    """Whether the running event loop is asyncio's."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def _by_task(call: Callable[[], Any], when: Callable[[], Any]) -> None:
    task = asyncio.ensure_future(call())
    assert await until(when)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def _by_scope(call: Callable[[], Any], when: Callable[[], Any]) -> None:
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            assert await until(when)
            scope.cancel()
    assert scope.cancelled_caught


@contextmanager
def _signalled(when: Callable[[], Any], error: type[BaseException]) -> Iterator[None]:
    def strike(*_: object) -> None:
        raise error

    def watch() -> None:
        while not when() and not gone.wait(0.002):
            """Until it is time, or too late."""
        if not gone.is_set():
            signal.pthread_kill(main, signal.SIGUSR1)

    main, gone = threading.main_thread().ident or 0, threading.Event()
    before = signal.signal(signal.SIGUSR1, strike)
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        gone.set()
        watcher.join()
        signal.signal(signal.SIGUSR1, before)
