"""Many calls at once, and calls that end from outside: in threads, tasks and loops, by cancellation and by signals."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import openai
import pytest
import trio
from doubles import chat, reply
from faults.answers import chat_stream, content, openai_error, respan_error, role
from faults.interruptions import interrupted, on_asyncio
from faults.standing import standing, until
from faults.steps import Answer, Ok, Raw, Silence, Sse, Steps
from faults.stories import faults_of, state_of, story

from respan_openai import Breaker, Gateway, Hedge, Retry, last_call
from respan_openai._clock import no_waiting


if TYPE_CHECKING:
    from collections.abc import Iterator

    from faults.wire import Request, Wire
    from faults.world import World


DOWN = Answer(503, respan_error("Down."))
COME_BACK = Answer(503, respan_error("Down."), {"retry-after": "9"})


def half(status: int) -> Raw:
    """The head of an answer and most of its body."""
    whole = reply(status, chat() if status == 200 else openai_error())
    return Raw(whole[:-20])


#: Where a call may be when it ends from outside: what the server says before it falls silent.
SAID = {
    "head": Raw(b""),
    "body": half(200),
    "error-body": half(503),
    "before-content": Sse([role()], end="open"),
    "after-content": Sse([role(), content("Hel")], end="open"),
}

#: What a signal handler may raise, for each of them.
RAISED = {
    "head": KeyboardInterrupt,
    "body": SystemExit,
    "error-body": GeneratorExit,
    "before-content": KeyboardInterrupt,
    "after-content": SystemExit,
}


@dataclass(frozen=True)
class Reached:
    """Falls silent, and tells when the client has had time to read what came before."""

    told: threading.Event = field(default_factory=threading.Event)

    def play(self, wire: Wire, _request: Request | None) -> None:
        wire.pause(0.03)
        self.told.set()
        wire.pause(wire.released)


def asked(world: World, client: Any, state: str) -> Any:
    """The call for *state*: an awaitable of its text."""
    return world.text(client) if "content" in state else world.call(client)


# --- calls that end from outside -------------------------------------------


@pytest.mark.parametrize("state", SAID)
async def test_x1_x2_a_call_that_is_interrupted(world, told, state) -> None:
    """Cancelled, or hit by a signal: it ends at once as it was told to, and is neither repeated nor held against anybody."""
    silence = Reached()
    gateway, second = world.gateway(Steps(SAID[state], silence)), world.server("second")
    client = world.wrapped(world.provider(), gateway, second, on_call=told)

    async with standing({gateway: 2, second: 0}, client):
        error = await interrupted(
            world, lambda: asked(world, client, state), silence.told.is_set, RAISED[state]
        )
        assert await until(gateway.closed, 1.0)
        assert isinstance(error, RAISED[state] if not world.is_async else anyio.get_cancelled_exc_class())
        assert faults_of("respan") == 0
        gateway.then(Ok("Next."))
        assert (await world.call(client)).choices[0].message.content == "Next."

    interrupted_call, following = told.records
    assert (interrupted_call.done, interrupted_call.complete) == (True, False)
    assert interrupted_call.error == (None if isinstance(error, GeneratorExit) else type(error).__name__)
    assert following.complete


async def test_x1_x2_a_wait_that_is_interrupted(world, told, caplog) -> None:
    """So it is during a backoff, and the next call may wait in its place."""
    caplog.set_level(logging.INFO, "respan_openai")
    gateway = world.gateway([COME_BACK, DOWN, Ok()])
    client = world.wrapped(world.provider(), gateway, on_call=told, retry=Retry(max_waiters=1))

    async with standing({gateway: 3}, client):
        await interrupted(world, lambda: world.call(client), lambda: "retry: respan failed" in caplog.text)
        assert story(told.records[0]) == [("respan", "overload")]
        assert len(gateway.requests) == 1
        with no_waiting():
            await world.call(client)

    assert faults_of("respan") == 0
    assert [len(record.attempts) for record in told.records] == [1, 2]


async def test_x1_x2_a_probe_that_is_interrupted(world) -> None:
    """Its place is free: the next call is a probe too, at once, and closes the breaker."""
    silence = Reached()
    gateway, second = world.gateway([DOWN, silence, Ok()]), world.server("second")
    client = world.wrapped(
        world.provider(), gateway, second, breaker=Breaker(failures=1, open_for=0.05, open_cap=0.05)
    )

    async with standing({gateway: 3, second: 1}, client):
        await world.call(client)
        assert await until(lambda: state_of("respan") == "half-open")
        await interrupted(world, lambda: world.call(client), silence.told.is_set)
        assert state_of("respan") == "half-open"
        await world.call(client)

    assert state_of("respan") == "closed"


async def test_x1_x2_a_hedged_call_that_is_interrupted(world) -> None:
    """Both attempts end with it."""
    gateway, silence = world.gateway(Ok()), Reached()
    client = world.wrapped(world.provider(), gateway, hedge=Hedge(samples=1, floor=0.02))

    async with standing({gateway: 3}, client):
        await world.call(client)
        gateway.then([Silence(), silence])
        await interrupted(world, lambda: world.call(client), silence.told.is_set)
        if not world.is_async:  # a thread cannot be told to stop reading
            gateway.release()
        assert await until(lambda: gateway.open <= 1, 1.0)

    assert faults_of("respan") == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("place", ["request", "response"])
async def test_x2_a_hook_that_ends_the_program(world, place, error) -> None:
    """What is no failure goes to the caller as it is, from wherever it is raised; nothing is asked after it."""

    def end(_: Any) -> None:
        raise error

    async def aend(_: Any) -> None:
        raise error

    hooks = {place: [aend if world.is_async else end]}
    gateway, second = world.gateway(), world.server("second")
    client = world.wrapped(
        world.provider(), gateway, second, client={"http_client": world.http(event_hooks=hooks)}
    )

    async with standing({gateway: place == "response", second: 0}, client):
        with pytest.raises(error):
            await world.call(client)
        assert await until(lambda: gateway.closed() or place == "response")

    assert faults_of("respan") == 0


class OutOfTime(BaseException):
    """What a worker's signal handler raises when a job takes too long, as gevent's ``Timeout`` is one."""


def _alarm(seconds: float) -> Any:
    def strike(*_: object) -> None:
        raise OutOfTime

    @contextlib.contextmanager
    def limit() -> Iterator[None]:
        before = signal.signal(signal.SIGALRM, strike)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    return limit()


@contextlib.asynccontextmanager
async def within(world: World, seconds: float, *, own: bool) -> Any:
    """A limit of time from outside: the loop's own, or anyio's; around a blocking call an alarm."""
    if not world.is_async:
        with _alarm(seconds):
            yield
    elif not own:
        with anyio.fail_after(seconds):
            yield
    elif on_asyncio():
        async with asyncio.timeout(seconds):
            yield
    else:
        with trio.fail_after(seconds):
            yield


@pytest.mark.parametrize("own", [True, False], ids=["own", "anyio"])
@pytest.mark.parametrize("state", ["head", "after-content", "backoff"])
async def test_x3_a_limit_of_time_around_a_call(world, state, own) -> None:
    """Whoever sets it gets its error; the attempt is closed, and the call is over when the block is."""
    gateway = world.gateway()
    client = world.wrapped(world.provider(), gateway)

    async with standing({gateway: 2}, client, deadline=2.0):
        await asked(world, client, state)  # the first call of a process loads this and that
        gateway.then(COME_BACK if state == "backoff" else Steps(SAID[state], Silence()))
        with pytest.raises((TimeoutError, trio.TooSlowError, OutOfTime)):
            async with within(world, 0.2, own=own):
                await asked(world, client, state)
        assert state == "backoff" or await until(gateway.closed, 1.0)

    assert faults_of("respan") == (state == "backoff")


# --- many at once ----------------------------------------------------------


async def test_x4_many_calls_of_one_client(world, told) -> None:
    """Thirty-two threads or tasks: each gets its own answer and its own record, and no count is off by one."""
    seen_before = set()

    def script(seen: Any) -> Any:
        said = seen.json["messages"][0]["content"]
        if said.endswith("0") and said not in seen_before:
            seen_before.add(said)
            return DOWN
        return Ok(f"{said} of {seen.json['customer_identifier']}")

    gateway = world.gateway(script)
    client = world.wrapped(world.provider(), gateway, on_call=told, breaker=Breaker(failures=100))

    async def work(number: int) -> None:
        for name in (f"{number}-a", f"{number}-b", f"{number}-{number}"):
            answer = await world.call(
                client, messages=[{"role": "user", "content": name}], customer_identifier=f"u{number}"
            )
            assert answer.choices[0].message.content == f"{name} of u{number}"
            assert len(last_call().attempts) == 1 + name.endswith("0")

    async with standing({gateway: 32 * 3 + 4}, client, deadline=30):
        with no_waiting():
            outcomes = await world.together(*[partial(work, number) for number in range(32)])

    assert [outcome for outcome in outcomes if outcome] == []
    assert len(told.records) == 32 * 3
    assert sum(len(record.attempts) for record in told.records) == len(gateway.requests)


async def test_x5_closing_a_client_with_a_call_under_way(world) -> None:
    """The call ends as with a plain client, and so does the next one; no thread is left."""
    gateway, threads = world.gateway(Silence()), {*threading.enumerate()}
    options = {"max_retries": 0, "timeout": 0.3}
    plain, wrapped = (
        world.client(gateway, **options),
        world.wrapped(world.provider(), gateway, client=options),
    )

    async def outcomes(client: Any) -> list[Any]:
        already = len(gateway.requests)

        async def close() -> None:
            assert await until(lambda: len(gateway.requests) > already)
            await world.close(client)

        under_way, _ = await world.together(lambda: world.call(client), close)
        (after,) = await world.together(lambda: world.call(client))
        return [under_way, after]

    async with standing({gateway: 2}, plain, wrapped):
        expected, found = await outcomes(plain), await outcomes(wrapped)

    assert isinstance(found[0], type(expected[0]))
    assert (type(found[1]), str(found[1])) == (type(expected[1]), str(expected[1]))
    assert [left.name for left in {*threading.enumerate()} - threads if "respan" in left.name] == []


async def test_x6_clients_of_one_origin_share_a_breaker(world) -> None:
    """However they were made: five failures of five clients open it for a sixth; for another key it is closed."""
    gateway, second, provider = world.gateway(DOWN), world.server("second"), world.provider()
    gateway.canaries.append("rk-gateway-of-somebody-else")
    first = world.wrapped(provider, gateway, second)
    clients = [
        first,
        first.with_options(timeout=30),
        first.copy(),
        world.wrapped(provider, gateway, second),
        world.wrapped(provider, gateway, second, breaker=Breaker(failures=5)),
    ]
    sixth = world.wrapped(provider, gateway, second)
    other = world.wrap(
        world.client(provider),
        gateway=Gateway(gateway.canaries[1], gateway.origin),
        fallbacks=[world.provider_of(second)],
    )

    async with standing({gateway: 5 + 0 + 1, second: 7, provider: 0}, *clients, sixth, other):
        for client in clients:
            await world.call(client)
        await world.call(sixth)
        assert story(last_call()) == [("second", None)]
        await world.call(other)
        assert story(last_call()) == [("respan", "overload"), ("second", None)]


async def test_x6_clients_of_one_origin_share_a_budget(world) -> None:
    """Twenty clients with one call each have ten repeats between them."""
    gateway, provider = world.gateway(DOWN), world.provider()
    clients = [
        world.wrapped(provider, gateway, breaker=Breaker(failures=100, minimum=100)) for _ in range(20)
    ]

    async with standing({gateway: 20 + 10}, *clients):
        with no_waiting():
            for client in clients:
                with pytest.raises(openai.InternalServerError):
                    await world.call(client)


# --- loops -----------------------------------------------------------------


async def in_a_loop(world: World, work: Any) -> Any:
    """What comes of *work* in an event loop of its own, in a thread of its own."""
    backend = "asyncio" if on_asyncio() else "trio"
    return await anyio.to_thread.run_sync(partial(anyio.run, work, backend=backend))


async def test_x8_one_client_in_two_loops(world) -> None:
    """One after the other, and a blocking client inside a loop that runs: as with a plain client."""
    gateway = world.gateway(Answer(200, chat(), {"connection": "close"}))
    client = world.wrapped(world.provider(), gateway)

    async def call() -> str:
        return (await world.call(client)).choices[0].message.content

    async with standing({gateway: 3}, client):
        assert [await in_a_loop(world, call), await in_a_loop(world, call)] == ["Hello!"] * 2
        assert await call() == "Hello!"


async def test_x8_loops_share_what_is_known_and_no_lock(world) -> None:
    """Two loops at once, each with a client of its own and both with one gateway: what one learns the other knows."""
    gateway, second = world.gateway(Steps(Silence(0.02), DOWN)), world.server("second")
    target, behind = world.gateway_of(gateway), [world.provider_of(second)]

    async def call_five_times() -> None:
        client = world.wrap(world.client(second), gateway=target, fallbacks=behind)
        for _ in range(5):
            await world.call(client)
        await world.close(client)

    async with standing({gateway: range(5, 7), second: 10}), anyio.create_task_group() as group:
        group.start_soon(in_a_loop, world, call_five_times)
        group.start_soon(in_a_loop, world, call_five_times)

    assert state_of("respan") == "open"


# --- hooks -----------------------------------------------------------------


@pytest.mark.parametrize("script", [Ok(), Answer(400, openai_error()), Sse(chat_stream("Hel", "lo!"))])
async def test_x9_a_hook_that_raises(world, script, caplog) -> None:
    """It is logged, and the call that it was told of comes out as without it."""

    def fail(_record: Any) -> None:
        raise LookupError

    gateway = world.gateway(script)
    client = world.wrapped(world.provider(), gateway, on_call=fail)

    async with standing({gateway: 1}, client):
        if isinstance(script, Answer):
            with pytest.raises(openai.BadRequestError):
                await world.call(client)
        elif isinstance(script, Sse):
            assert await world.text(client) == "Hello!"
        else:
            assert (await world.call(client)).choices[0].message.content == "Hello!"

    assert [record.levelname for record in caplog.records if "on_call raised" in record.message] == ["ERROR"]


async def test_x10_a_hook_that_calls(world) -> None:
    """A call made while another is told of works, in a task where the hook cannot wait."""
    gateway, embedded = world.gateway(), []

    async def embed() -> None:
        embedded.append(await world.embeddings(client))

    def hook(record: Any) -> None:
        if record.path == "/embeddings":
            return
        if world.is_async:
            group.start_soon(embed)
        else:
            embedded.append(client.embeddings.create(model="m", input="Hi", encoding_format="float"))

    client = world.wrapped(world.provider(), gateway, on_call=hook)

    async with standing({gateway: 4}, client), anyio.create_task_group() as group:
        await world.call(client)
        assert await world.text(client) == "Hello!"

    assert [each.data[0].embedding for each in embedded] == [[0.5, 0.25]] * 2


async def test_x10_a_call_in_the_middle_of_another(world) -> None:
    """From a hook of the HTTP client, with the same client: nothing is locked meanwhile."""
    gateway, nested = world.gateway(), []

    def hook(request: Any) -> None:
        if not nested:
            nested.append(request)
            client.embeddings.create(model="m", input="Hi", encoding_format="float")

    async def ahook(request: Any) -> None:
        if not nested:
            nested.append(request)
            await world.embeddings(client)

    hooks = {"request": [ahook if world.is_async else hook]}
    client = world.wrapped(world.provider(), gateway, client={"http_client": world.http(event_hooks=hooks)})

    async with standing({gateway: 2}, client):
        await world.call(client)

    assert [seen.path for seen in gateway.requests] == ["/api/embeddings", "/api/chat/completions"]


async def test_x10_a_hook_is_not_told_of_its_own_calls(world) -> None:
    """Whoever calls a model for every call that he is told of is not told of that one, and so on for ever."""
    gateway, told = world.gateway(), []

    async def embed() -> None:
        await world.embeddings(client)

    def hook(record: Any) -> None:
        told.append(record.path)
        if len(told) == 5:  # far enough to see that it does not end
            return
        if world.is_async:
            group.start_soon(embed)
        else:
            client.embeddings.create(model="m", input="Hi", encoding_format="float")

    client = world.wrapped(world.provider(), gateway, on_call=hook)

    async with standing({gateway: 2}, client), anyio.create_task_group() as group:
        await world.call(client)

    assert told == ["/chat/completions"]
