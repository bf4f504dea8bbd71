"""Monotonic time and waiting, in one place, so that tests of users can do without the waiting."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio.lowlevel


if TYPE_CHECKING:
    from collections.abc import Generator


class _Skipping:
    """How deep ``no_waiting()`` is nested, and how many seconds were passed over."""

    depth = 0
    seconds = 0.0


def now() -> float:
    """Monotonic seconds, those that were passed over included."""
    return time.monotonic() + _Skipping.seconds


def sleep(seconds: float) -> None:
    """Wait, or pass over *seconds* inside ``no_waiting()``."""
    if _Skipping.depth:
        _Skipping.seconds += seconds
    else:
        time.sleep(seconds)


async def asleep(seconds: float) -> None:
    """Same as :func:`sleep`, on asyncio and trio."""
    if _Skipping.depth:
        _Skipping.seconds += seconds
        await anyio.lowlevel.checkpoint()
    else:
        await anyio.sleep(seconds)


@contextmanager
def no_waiting() -> Generator[None]:
    """Inside the block, waits before retries take no time; backoff, breakers and deadlines believe they did.

    For tests. It holds for the whole process, nests, and leaves the timeouts of real sockets as they are.

    Example::

        with no_waiting():
            client.chat.completions.create(...)  # three attempts, at once
    """
    _Skipping.depth += 1
    try:
        yield
    finally:
        _Skipping.depth -= 1
