"""Work for a store, awaited: in another thread, and to its end."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

import anyio
import pytest

from respan_openai.local.flights import Flights
from respan_openai.local.steps import LocalAwaiting, LocalBlocking, Wait, Work, to_the_end


class Gate:
    """Work that takes as long as it is told to."""

    def __init__(self) -> None:
        self.began, self.released, self.ended = threading.Event(), threading.Event(), threading.Event()

    def __call__(self) -> str:
        """Wait for the release."""
        self.began.set()
        assert self.released.wait(20)
        self.ended.set()
        return "done"


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Each event loop."""
    return str(request.param)


def fail() -> None:
    """Work that cannot be done."""
    raise LookupError("no")


@pytest.mark.anyio
async def test_done_elsewhere() -> None:
    """What it returns and raises comes back, from another thread."""
    assert await to_the_end(threading.get_ident) != threading.get_ident()
    with pytest.raises(LookupError, match="no"):
        await to_the_end(fail)


@pytest.mark.anyio
async def test_cancelled_scope_waits_for_its_end() -> None:
    """A scope that is cancelled meanwhile takes effect when the work is through."""
    gate = Gate()

    async def work() -> None:
        await to_the_end(gate)
        await anyio.lowlevel.checkpoint()  # trio tells only there
        raise AssertionError("unreachable")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await anyio.to_thread.run_sync(gate.began.wait, 20)
        tasks.cancel_scope.cancel()
        gate.released.set()

    assert gate.ended.is_set()


def test_cancelled_task_waits_for_its_end() -> None:
    """The same for asyncio's own ``cancel``, which no shield of anyio keeps off."""

    async def main(gate: Gate) -> None:
        task = asyncio.ensure_future(to_the_end(gate))
        await anyio.to_thread.run_sync(gate.began.wait, 20)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        gate.released.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert gate.ended.is_set()

    asyncio.run(main(Gate()))


@pytest.mark.anyio
async def test_in_a_scope_that_is_cancelled_already() -> None:
    """What ends a call is done even then."""
    done: list[int] = []
    with anyio.CancelScope() as scope:
        scope.cancel()
        await to_the_end(partial(done.append, 1))

    assert done == [1]


def performer(kind: Any) -> Any:
    """One that never sends anything."""
    return kind(None, None, "mark")


def test_blocking_steps() -> None:
    """Work is done at once, and a flight is waited for."""
    perform, flights = performer(LocalBlocking), Flights()
    leader, follower = flights.join("k"), flights.join("k")
    leader.land(None)

    assert perform(Work(lambda: 7, blocks=True)) == 7
    assert perform(Wait(follower, 20)) is None


@pytest.mark.anyio
async def test_awaited_steps() -> None:
    """Work that does not wait is done at once; other work, and flights, are awaited."""
    perform, flights = performer(LocalAwaiting), Flights()
    leader, follower = flights.join("k"), flights.join("k")
    leader.land(None)

    assert perform(Work(lambda: 7, blocks=False)) == 7
    assert await perform(Work(lambda: 7, blocks=True)) == 7
    assert await perform(Wait(follower, 20)) is None
