"""What the gateway's own flow asks for, besides the steps of every flow: work for its store, and waiting for another call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import anyio.to_thread

from .._perform import Awaiting, Blocking


if TYPE_CHECKING:
    from collections.abc import Callable

    from .flights import Flight


__all__ = ["LocalAwaiting", "LocalBlocking", "Wait", "Work"]


class Work(NamedTuple):
    """Answered with what *do* returns, or thrown what it raises; *blocks* tells that it may wait for a disk or network."""

    do: Callable[[], Any]
    blocks: bool


class Wait(NamedTuple):
    """Wait for another call that asks the same; answered with what it landed, or ``None`` after *seconds*."""

    flight: Flight
    seconds: float


class LocalBlocking(Blocking):
    """For blocking callers."""

    def __call__(self, step: Any) -> Any:
        kind = type(step)
        if kind is Work:
            return step.do()
        if kind is Wait:
            return step.flight.wait_blocking(step.seconds)
        return super().__call__(step)


class LocalAwaiting(Awaiting):
    """For awaiting callers."""

    def __call__(self, step: Any) -> Any:
        kind = type(step)
        if kind is Work:
            return anyio.to_thread.run_sync(step.do) if step.blocks else step.do()
        if kind is Wait:
            return step.flight.wait(step.seconds)
        return super().__call__(step)
