"""``params()``: in force inside the block, nowhere else, whatever the code inside is made of."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import anyio
import anyio.lowlevel
import openai
import pytest

from respan_openai import Gateway, ParamsError, params, wrap
from respan_openai._context import ambient


def now() -> dict:
    """What is in force here."""
    inner = ambient()
    return {} if inner is None else dict(inner.params)


U1 = {"customer_identifier": "u1"}
U2 = {"customer_identifier": "u2"}


def test_blocks_nest_and_the_inner_wins() -> None:
    """Key by key; ``variables`` merges inside; leaving a block restores what was before."""
    with params(customer_identifier="u1", disable_log=True, variables={"a": "1", "b": "1"}):
        with params(customer_identifier="u2", variables={"b": "2"}):
            inner = now()
        outer = now()

    assert inner == {"customer_identifier": "u2", "disable_log": True, "variables": {"a": "1", "b": "2"}}
    assert outer == {"customer_identifier": "u1", "disable_log": True, "variables": {"a": "1", "b": "1"}}
    assert now() == {}


def test_one_object_can_be_entered_many_times() -> None:
    """Nested in itself, and from several threads at once."""
    block = params(customer_identifier="u1")
    barrier = threading.Barrier(4)

    def inside() -> tuple[dict, dict]:
        with block, block:
            barrier.wait()
            seen = now()
        return seen, now()

    with ThreadPoolExecutor(4) as pool:
        results = [future.result() for future in [pool.submit(inside) for _ in range(4)]]

    assert results == [(U1, {})] * 4


def test_an_error_leaves_the_block() -> None:
    """What was before is in force again, and the error goes on."""
    with pytest.raises(KeyError), params(customer_identifier="u1"):
        raise KeyError

    assert now() == {}


def test_wrong_parameters_fail_where_they_are_written() -> None:
    """At params(...), not at the first call."""
    with pytest.raises(ParamsError, match="did you mean `customer_identifier`"):
        params(customer_identifer="u1")


def test_later_changes_of_a_value_change_nothing() -> None:
    """The block took a copy: what is checked is what is sent."""
    metadata = {"run": 1}
    block = params(metadata=metadata)
    metadata["run"] = object()

    with block:
        assert now() == {"metadata": {"run": 1}}


def test_a_decorated_function() -> None:
    """In force while it runs; name and signature are its own; partials and lambdas work as well."""

    @params(customer_identifier="u1")
    def work(extra: int) -> tuple[dict, int]:
        """Doc."""
        return now(), extra

    assert work(2) == (U1, 2)
    assert (work.__name__, work.__doc__) == ("work", "Doc.")
    assert inspect.isgeneratorfunction(params()(lambda: (yield)))
    assert params(customer_identifier="u1")(lambda: now())() == U1
    assert now() == {}


def test_a_decorated_generator() -> None:
    """In force while its own code runs, not while its consumer's does; send, throw, return and close work."""

    @params(customer_identifier="u1")
    def numbers():
        received = yield now()
        try:
            yield received, now()
        except KeyError:
            yield "caught", now()
        return "result"

    generator = numbers()
    assert next(generator) == U1
    assert now() == {}
    assert generator.send(7) == (7, U1)
    assert generator.throw(KeyError()) == ("caught", U1)
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value == "result"


def test_a_decorated_generator_that_is_closed() -> None:
    """Its clean-up runs inside the block."""
    seen = []

    @params(customer_identifier="u1")
    def numbers():
        try:
            yield 1
        finally:
            seen.append(now())

    generator = numbers()
    next(generator)
    generator.close()

    assert seen == [U1]
    assert now() == {}


async def test_decorated_coroutines_and_async_generators(anyio_backend) -> None:
    """As their blocking twins, on any event loop."""
    seen = []

    @params(customer_identifier="u1")
    async def work() -> dict:
        await anyio.lowlevel.checkpoint()
        return now()

    @params(customer_identifier="u2")
    async def numbers():
        try:
            received = yield now()
            try:
                yield received, now()
            except KeyError:
                yield "caught", now()
        finally:
            seen.append(now())

    assert await work() == U1
    generator = numbers()
    assert await generator.__anext__() == U2
    assert now() == {}
    assert await generator.asend(7) == (7, U2)
    assert await generator.athrow(KeyError()) == ("caught", U2)
    await generator.aclose()
    assert [item async for item in numbers()][:1] == [U2]
    assert seen == [U2, U2]
    assert now() == {}


async def test_an_async_with_block(anyio_backend) -> None:
    """``async with params(...)`` is the same as ``with``."""
    async with params(customer_identifier="u1"):
        seen = now()

    assert (seen, now()) == (U1, {})


async def test_tasks_do_not_see_each_other(anyio_backend) -> None:
    """Each task has its own; one started inside a block inherits a copy."""
    seen: dict[str, dict] = {}

    async def work(name: str) -> None:
        inherited = now()
        with params(thread_identifier=name):
            await anyio.lowlevel.checkpoint()
            await anyio.lowlevel.checkpoint()
            seen[name] = {**now(), "inherited": inherited}

    with params(customer_identifier="u1"):
        async with anyio.create_task_group() as group:
            for name in ("a", "b", "c"):
                group.start_soon(work, name)

    assert seen == {
        name: {"customer_identifier": "u1", "thread_identifier": name, "inherited": U1}
        for name in ("a", "b", "c")
    }


def test_threads_need_a_copied_context() -> None:
    """A plain submit starts without parameters; with copy_context().run they go along, as documented."""
    with ThreadPoolExecutor(1) as pool, params(customer_identifier="u1"):
        plain = pool.submit(now).result()
        copied = pool.submit(contextvars.copy_context().run, now).result()

    assert (plain, copied) == ({}, U1)


async def test_to_thread_copies_the_context(anyio_backend) -> None:
    """asyncio.to_thread and anyio.to_thread carry the parameters along."""
    with params(customer_identifier="u1"):
        seen = await anyio.to_thread.run_sync(now)
        also = await asyncio.to_thread(now) if anyio_backend == "asyncio" else seen

    assert seen == also == U1


def test_a_block_that_is_left_in_another_context() -> None:
    """Closing a generator from another context neither fails nor disturbs that context's own parameters."""

    def holding():
        with params(customer_identifier="u1"):
            yield

    generator = holding()
    contextvars.copy_context().run(next, generator)
    with params(customer_identifier="u2"):
        generator.close()
        assert now() == U2


async def test_a_coroutine_made_inside_and_awaited_outside(caller, served, gateway) -> None:
    """Parameters are read where the call is sent; made inside but sent outside is sent without them."""
    client = wrap(caller.client(), gateway=gateway)
    if not caller.is_async:
        with params(customer_identifier="u1"):
            later = partial(client.chat.completions.create, model="m", messages=[])
        later()
    else:
        with params(customer_identifier="u1"):
            pending = client.chat.completions.create(model="m", messages=[])
        await pending

    assert [seen.params for seen in served.seen] == [{}]


async def test_a_stream_manager_made_inside_and_entered_outside(caller, served, gateway) -> None:
    """.stream() sends when it is entered: without the block's parameters, but with its own keywords."""
    client = wrap(caller.client(), gateway=gateway)
    completions = (
        client.chat.completions
        if hasattr(client.chat.completions, "stream")
        else client.beta.chat.completions
    )

    with params(customer_identifier="u1"):
        manager = completions.stream(model="m", messages=[], thread_identifier="t")
    if caller.is_async:
        async with manager as stream:
            await stream.get_final_completion()
    else:
        with manager as stream:
            stream.get_final_completion()

    (seen,) = served.seen
    assert seen.params == {}
    assert seen.json["thread_identifier"] == "t"


async def test_context_over_defaults_and_the_call_over_both(caller, served, gateway) -> None:
    """One key in each of the three layers: the nearest one is on the wire, once."""
    client = wrap(
        caller.client(),
        gateway=gateway,
        defaults={
            "customer_identifier": "default",
            "thread_identifier": "default",
            "custom_identifier": "default",
        },
    )

    with params(customer_identifier="context", thread_identifier="context"):
        await caller.chat(client, customer_identifier="call")
        await caller.chat(client, customer_identifier="call")

    first, second = served.seen
    assert first.json["customer_identifier"] == "call"
    assert first.params == {"thread_identifier": "context", "custom_identifier": "default"}
    assert (second.body, second.params) == (first.body, first.params)


def test_threads_with_one_client(library, served) -> None:
    """Thirty-two threads, one client, each with parameters of its own: no call has another's."""
    client = wrap(
        openai.OpenAI(http_client=library.Client()),
        gateway=Gateway(base_url=served.origin),
        defaults={"disable_log": True},
    )

    def work(number: int) -> None:
        with params(customer_identifier=f"u{number}"):
            for _ in range(3):
                client.chat.completions.create(model="m", messages=[], thread_identifier=f"t{number}")

    with ThreadPoolExecutor(32) as pool:
        list(pool.map(work, range(32)))

    pairs = [
        (seen.params["customer_identifier"][1:], seen.json["thread_identifier"][1:]) for seen in served.seen
    ]
    assert len(pairs) == 96
    assert all(customer == thread for customer, thread in pairs)
    client.close()


def test_its_repr_shows_names_only() -> None:
    """A credential among the values stays out of sight."""
    shown = repr(params(credential_override={"m": {"api_key": "sk-canary"}}, customer_identifier="u1"))

    assert shown == "params(credential_override, customer_identifier)"
