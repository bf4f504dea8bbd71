"""The two loops: errors reach the flow, cancelling closes it, and the blocking and awaited one do the same."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from respan_openai._drive import adrive, drive


async def run(mode, flow, perform):
    """*flow* in the loop of *mode*; awaited performers are awaited there."""
    if mode == "sync":
        return drive(flow, perform)

    async def awaited(step):
        await anyio.lowlevel.checkpoint()
        return perform(step)

    return await adrive(flow, awaited)


async def test_each_step_is_answered(mode, anyio_backend) -> None:
    """What a step came to is sent in, and the flow's value comes out."""

    def flow():
        one = yield 1
        two = yield 2
        return one + two

    assert await run(mode, flow(), lambda step: step * 10) == 30


async def test_errors_are_thrown_into_the_flow(mode, anyio_backend) -> None:
    """A flow may turn an error into another step, or let it go on."""

    def flow():
        try:
            yield "fails"
        except OSError:
            return (yield "instead")

    def perform(step):
        if step == "fails":
            raise OSError
        return step

    def careless():
        yield "fails"

    assert await run(mode, flow(), perform) == "instead"
    with pytest.raises(OSError):  # noqa: PT011 -- any will do
        await run(mode, careless(), perform)


async def test_a_flow_is_always_closed(mode, anyio_backend) -> None:
    """Its clean-up has run when the loop is left, however it is left."""
    log = []

    def flow():
        try:
            yield 1
        finally:
            log.append("closed")

    with pytest.raises(KeyboardInterrupt):
        await run(mode, flow(), interrupt)

    assert log == ["closed"]


def interrupt(_step):
    raise KeyboardInterrupt


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_cancelling_reaches_the_flow(anyio_backend) -> None:
    """A cancelled wait is thrown in, and goes on outwards."""
    log = []

    def flow():
        try:
            yield 1
        except BaseException as exc:
            log.append(type(exc).__name__)
            raise

    with anyio.move_on_after(0.01) as scope:
        await adrive(flow(), lambda _step: anyio.sleep(60))

    assert scope.cancelled_caught
    assert log in (["CancelledError"], ["Cancelled"])


async def test_plain_results_need_no_await(anyio_backend) -> None:
    """One table of performers serves both loops: it may answer at once."""

    def flow():
        return (yield 1)

    assert await adrive(flow(), lambda step: step + 1) == 2
