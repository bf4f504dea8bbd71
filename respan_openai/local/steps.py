"""What the gateway's own flow asks for, besides the steps of every flow: work for its store, and waiting for another call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import anyio.to_thread

from .._perform import Awaiting, Blocking


if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.steps import Send
    from .flights import Flight


__all__ = ["LocalAwaiting", "LocalBlocking", "Wait", "Work", "to_the_end"]


class Work(NamedTuple):
    """Answered with what *do* returns, or thrown what it raises; *blocks* tells that it may wait for a disk or network.

    Once begun it is done to its end: a caller that is cancelled meanwhile goes on only then.
    """

    do: Callable[[], Any]
    blocks: bool


class Wait(NamedTuple):
    """Wait for another call that asks the same; answered with what it landed, or ``None`` after *seconds*."""

    flight: Flight
    seconds: float


class LocalBlocking(Blocking):
    """For blocking callers."""

    def __call__(self, step: object) -> Any:
        if isinstance(step, Work):
            return step.do()
        if isinstance(step, Wait):
            return step.flight.wait_blocking(step.seconds)
        return super().__call__(step)

    def _built(self, step: Send, own: Any) -> Any:
        return _without_hooks(super()._built(step, own), self._mark)

    def _past_cassettes(self, step: Send) -> Any:
        # A cassette stands in front of the gateway: what is behind it belongs to a call that it has seen.
        return self._send_on(step.place, self._built(step, self._request))


class LocalAwaiting(Awaiting):
    """For awaiting callers."""

    def __call__(self, step: object) -> Any:
        if isinstance(step, Work):
            return to_the_end(step.do) if step.blocks else step.do()
        if isinstance(step, Wait):
            return step.flight.wait(step.seconds)
        return super().__call__(step)

    def _built(self, step: Send, own: Any) -> Any:
        return _without_hooks(super()._built(step, own), self._mark)

    async def _past_cassettes(self, step: Send) -> Any:
        return await self._send_on(step.place, self._built(step, self._request))


def _without_hooks(request: Any, mark: str) -> Any:
    # Of the caller's extensions the timeout alone: a ``trace`` hook would be shown the provider's key.
    request.extensions = {name: request.extensions[name] for name in ("timeout", mark)}
    return request


async def to_the_end(do: Callable[[], Any]) -> Any:
    """What *do* returns, or raises, in a worker thread; a cancellation takes effect only when it is through.

    A thread cannot be stopped. Left alone, nobody would know what it did: a reservation would never be given back.
    """
    returned: list[Any] = []
    raised: list[Exception] = []

    async def run() -> None:
        with anyio.CancelScope(shield=True):
            try:
                returned.append(await anyio.to_thread.run_sync(do))
            except Exception as exc:
                raised.append(exc)

    # A shield keeps off the cancellation of a scope, but not Task.cancel(): that ends at the group.
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
    if raised:
        raise raised[0]
    return returned[0]
