"""A second attempt while the first is slow: who wins, what becomes of the loser, and how often it may happen."""

from __future__ import annotations

import threading

import openai
import pytest
from faults.answers import chat_stream
from faults.standing import standing
from faults.steps import Answer, Ok, Silence, Sse, Steps

from respan_openai import DIRECT, Hedge, last_call


#: Hedges after the first known latency, as early as it may.
EARLY = Hedge(samples=1, floor=0.05)


def targets(record) -> list[tuple[str, int | None, str | None]]:
    return [(attempt.target, attempt.status, attempt.error) for attempt in record.attempts]


async def test_x7_the_second_wins(world) -> None:
    """The answer of whoever comes first is delivered, once; the loser is closed and recorded."""
    gateway = world.gateway([Ok("warm"), Silence(), Ok("second")])
    client = world.wrapped(world.provider(), gateway, hedge=EARLY)

    async with standing({gateway: 3}, client):
        await world.call(client)
        answer = await world.call(client)
        record = last_call()
        gateway.release()

    assert answer.choices[0].message.content == "second"
    assert targets(record) == [("respan", None, "Hedged"), ("respan", 200, None)]
    assert record.attempts[1].possible_duplicate


async def test_x7_the_first_wins_after_all(world) -> None:
    """A first attempt that answers while the second is under way is the one delivered."""
    go_on = threading.Event()

    def script(request):
        if len(gateway.requests) == 1:
            return Ok("warm")
        if len(gateway.requests) == 2:
            return Steps(Silence(until=go_on), Ok("first"))
        go_on.set()
        return Silence()

    gateway = world.gateway()
    gateway.then(script)
    client = world.wrapped(world.provider(), gateway, hedge=EARLY)

    async with standing({gateway: 3}, client):
        await world.call(client)
        answer = await world.call(client)
        record = last_call()
        gateway.release()

    assert answer.choices[0].message.content == "first"
    assert targets(record) == [("respan", None, "Hedged"), ("respan", 200, None)]


async def test_x7_one_that_fails_does_not_end_the_race(world) -> None:
    """A failure waits for the other attempt; only if both fail is the call taken further."""
    gateway = world.gateway([Ok("warm"), Silence(), Answer(500, b"{}"), Ok("never")])
    client = world.wrapped(world.provider(), gateway, hedge=EARLY, client={"timeout": 0.4})

    async with standing({gateway: range(3, 5)}, client, deadline=3):
        await world.call(client)
        with pytest.raises(Exception) as caught:  # noqa: PT011 -- which of both failures is told is open
            await world.call(client)
        gateway.release()

    assert getattr(caught.value, "status_code", None) == 500 or "time" in str(caught.value)


async def test_x7_a_stream_is_hedged_up_to_its_first_content(world) -> None:
    """The stream that shows content first is read to its end."""
    gateway = world.gateway([Sse(chat_stream("warm")), Silence(), Sse(chat_stream("se", "cond"))])
    client = world.wrapped(world.provider(), gateway, hedge=EARLY)

    async with standing({gateway: 3}, client):
        await world.text(client)
        assert await world.text(client) == "second"
        assert last_call().complete
        gateway.release()


async def test_x7_another_gateway_before_the_same_one(world) -> None:
    """The second attempt goes to a neighbour that guards the same policies, never past the gateway."""
    gateway, other, provider = (
        world.gateway([Ok("warm"), Silence()]),
        world.server("second"),
        world.provider(),
    )
    client = world.wrapped(provider, gateway, DIRECT, world.gateway_of(other), hedge=EARLY)

    async with standing({gateway: 2, other: 1, provider: 0}, client):
        await world.call(client)
        await world.call(client)
        gateway.release()


async def test_o10_the_budget_holds(world) -> None:
    """When every call is slow, at most 5 % and five more are sent twice; it stops by itself."""
    slow = threading.Event()

    def script(_request):
        return Steps(Silence(until=slow), Ok()) if len(gateway.requests) > 1 else Ok()

    gateway = world.gateway()
    gateway.then(script)
    client = world.wrapped(world.provider(), gateway, hedge=Hedge(samples=1, floor=0.0))

    async with standing({gateway: range(21, 28)}, client, deadline=20):
        await world.call(client)
        timer = threading.Timer(0.3, slow.set)
        timer.start()
        await world.together(*(lambda: world.call(client) for _ in range(20)))
        timer.join()


@pytest.mark.parametrize(
    "more",
    [{"store": True}, {"n": 2}, {"disable_fallback": True}, {"retry_params": {"retry_enabled": False}}],
    ids=lambda more: next(iter(more)),
)
async def test_o10_what_is_never_sent_twice(world, more) -> None:
    """Stored calls, several choices, and calls that ask for one attempt."""
    slow = threading.Event()
    gateway = world.gateway([Ok("warm"), Steps(Silence(until=slow), Ok("first"))])
    client = world.wrapped(world.provider(), gateway, hedge=EARLY)

    async with standing({gateway: 2}, client):
        await world.call(client)
        timer = threading.Timer(0.2, slow.set)
        timer.start()
        assert (await world.call(client, **more)).choices[0].message.content == "first"
        timer.join()


async def test_o10_no_hedge_without_samples(world) -> None:
    """Fewer latencies than asked for, and a call is never sent twice."""
    slow = threading.Event()
    gateway = world.gateway(Steps(Silence(until=slow), Ok()))
    client = world.wrapped(world.provider(), gateway, hedge=Hedge(samples=2, floor=0.0))
    timer = threading.Timer(0.2, slow.set)

    async with standing({gateway: 2}, client):
        timer.start()
        await world.call(client)
        await world.call(client)
        timer.join()


async def test_x7_an_error_of_ours_ends_the_race(world) -> None:
    """What is no failure of a target, a hook that raises for example, reaches the caller as it is."""
    gateway = world.gateway()

    def refuse(_request) -> None:
        if len(gateway.requests) == 1:
            raise LookupError

    async def arefuse(request) -> None:
        refuse(request)

    hooks = {"request": [arefuse if world.is_async else refuse]}
    client = world.wrapped(
        world.provider(), gateway, client={"http_client": world.http(event_hooks=hooks)}, hedge=EARLY
    )

    async with standing({gateway: 1}, client):
        await world.call(client)
        with pytest.raises((LookupError, openai.APIConnectionError)) as caught:
            await world.call(client)

    assert isinstance(caught.value, LookupError) or isinstance(caught.value.__cause__, LookupError)
