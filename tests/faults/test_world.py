"""Clients of the world, against its servers: what the SDK itself makes of answers and faults."""

from __future__ import annotations

import threading

import openai
import pytest
from faults.answers import (
    COMMENT,
    DONE,
    content,
    finish,
    numbered,
    openai_error,
    respan_error,
    response_delta,
    response_error,
    response_failed,
    response_incomplete,
    response_start,
    role,
    usage,
)
from faults.ports import resolve
from faults.standing import standing, until
from faults.steps import (
    Answer,
    AtAccept,
    CutBody,
    Garbage,
    Hangup,
    HangupBeforeReading,
    Ok,
    Reset,
    Silence,
    Sip,
    Sse,
    Steps,
)

from respan_openai import DIRECT


WHOLE_RESPONSE = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


@pytest.mark.both_families
async def test_every_kind_of_call(world) -> None:
    """All that is right for a request, with the text that was asked for, in every mode and family."""
    provider, other = world.provider(Ok("From here.")), world.server("p2")
    client = world.client(provider)

    async with standing({provider: 5, other: 0}, client):
        assert (await world.call(client)).choices[0].message.content == "From here."
        assert await world.text(client) == "From here."
        assert (await world.responses(client)).output_text == "From here."
        assert await world.responses_stream(client) == WHOLE_RESPONSE
        assert (await world.embeddings(client)).data[0].embedding == [0.5, 0.25]

    assert provider.requests[0].headers["authorization"] == f"Bearer {provider.key}"
    assert all(server.key in server.canaries for server in (provider, other))
    assert provider.key != other.key


async def test_a_wrapped_client(world) -> None:
    """Its calls go to the gateway, with the gateway's key; none of the provider's secrets gets there."""
    provider, gateway = world.provider(), world.gateway()
    client = world.wrapped(provider, gateway, client={"max_retries": 0})

    async with standing({provider: 0, gateway: 1}, client):
        await world.call(client)

    assert gateway.requests[0].path == "/api/chat/completions"
    assert gateway.requests[0].headers["authorization"] == f"Bearer {gateway.key}"


async def test_a_wrapped_client_with_fallbacks(world) -> None:
    """Servers become targets with keys of their own; targets stay what they are."""
    provider, gateway, second = world.provider(), world.gateway(HangupBeforeReading()), world.server("p2")
    client = world.wrapped(provider, gateway, second, DIRECT)

    async with standing({provider: 0, gateway: 0, second: 1}, client):
        await world.call(client)

    (seen,) = second.requests
    assert seen.headers["authorization"] == f"Bearer {second.key}"
    assert (seen.path, seen.json["model"]) == ("/v1/chat/completions", "gpt-4o-mini")


async def test_clients_are_as_the_sdk_makes_them(world) -> None:
    """Its retries, its timeout, its pool, and redirects followed; each can be said otherwise."""
    provider = world.provider()
    client, mine = world.client(provider), world.client(provider, max_retries=0, timeout=3)
    stock = (openai.AsyncOpenAI if world.is_async else openai.OpenAI)(api_key="k")

    assert client.max_retries == stock.max_retries == 2
    assert client._client.follow_redirects is stock._client.follow_redirects is True
    assert vars(client._client.timeout) == vars(stock._client.timeout)
    assert (mine.max_retries, mine.timeout) == (0, 3)
    await world.close(client, mine, stock)


# --- what the SDK makes of faults ------------------------------------------


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (Reset(), openai.APIConnectionError),
        (Hangup(), openai.APIConnectionError),
        (Garbage(), openai.APIConnectionError),
        (CutBody(100, b"{"), openai.APIConnectionError),
        (Silence(), openai.APITimeoutError),
        (Answer(503, openai_error()), openai.InternalServerError),
        (Answer(429, respan_error("Rate limit exceeded", retry_after=60)), openai.RateLimitError),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, type) else value.__name__,
)
async def test_a_request_that_fails(world, step, error) -> None:
    """One request, and the error that the SDK has for it; no connection is left."""
    provider = world.provider(step)
    client = world.client(provider, max_retries=0, timeout=0.2 if isinstance(step, Silence) else 30)

    async with standing({provider: 1}, client):
        with pytest.raises(error) as caught:
            await world.call(client)

    assert type(caught.value) is error


async def test_the_sdk_s_own_retries_are_seen(world) -> None:
    """Three requests for one call, as its header says."""
    provider = world.provider([Answer(500, headers={"retry-after-ms": "1"})] * 2 + [Ok()])
    client = world.client(provider)

    async with standing({provider: 3}, client):
        await world.call(client)

    assert [seen.headers["x-stainless-retry-count"] for seen in provider.requests] == ["0", "1", "2"]
    assert sorted(seen.at for seen in provider.requests) == [seen.at for seen in provider.requests]


async def test_a_connection_that_is_stale(world) -> None:
    """Kept alive, and closed when the next request comes: read by the server, and lost."""
    provider = world.provider([Ok(), Hangup(), Ok()])
    client = world.client(provider, max_retries=0)

    async with standing({provider: 3}, client):
        await world.call(client)
        with pytest.raises(openai.APIConnectionError):
            await world.call(client)
        assert provider.connections == 1
        await world.call(client)

    assert provider.connections == 2


async def test_a_connection_that_was_closed_while_idle(world) -> None:
    """Closed with the answer's last byte: the next call takes another, and nobody notices."""
    answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": []}
    provider = world.provider([Answer(200, answer, fin=True), Ok()])
    client = world.client(provider, max_retries=0)

    async with standing({provider: 2}, client):
        await world.call(client)
        await world.call(client)

    assert provider.connections == 2


@pytest.mark.parametrize("end", ["cut", "rst"])
async def test_a_stream_that_is_cut(world, end) -> None:
    """What came before is kept, and the SDK, or in older ones its HTTP library, says what happened."""
    provider = world.provider(Sse([role(), COMMENT, content("Hel")], end=end))
    client = world.client(provider, max_retries=0)
    pieces = []

    async with standing({provider: 1}, client):
        with pytest.raises((openai.APIConnectionError, world.library.TransportError)):
            await world.text(client, into=pieces)

    assert pieces == ["Hel"]


@pytest.mark.parametrize("end", ["chunked", "eof"])
async def test_a_stream_that_ends(world, end) -> None:
    """In both ways that HTTP knows, with usage and all."""
    provider = world.provider(Sse([role(), content("Hi"), finish(), usage(), DONE], end=end))
    client = world.client(provider, max_retries=0)

    async with standing({provider: 1}, client):
        assert await world.text(client) == "Hi"


async def test_a_stream_that_waits(world) -> None:
    """The caller has what came before; the rest comes when it may."""
    gate = threading.Event()
    provider = world.provider(Sse([content("a"), gate, content("b"), DONE]))
    client = world.client(provider, max_retries=0)
    pieces = []

    async def open_the_gate() -> None:
        assert await until(lambda: pieces)
        assert pieces == ["a"]
        gate.set()

    async with standing({provider: 1}, client):
        await world.together(lambda: world.text(client, into=pieces), open_the_gate)

    assert pieces == ["a", "b"]


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (response_failed(), "response.failed"),
        (response_incomplete(), "response.incomplete"),
        (response_error(), "error"),
    ],
)
async def test_responses_that_do_not_complete(world, end, kind) -> None:
    """The SDK reads each of the ends as an event, and raises nothing."""
    provider = world.provider(Sse(numbered(*response_start(), response_delta("Hel"), end)))
    client = world.client(provider, max_retries=0)
    types = []

    async with standing({provider: 1}, client):
        await world.responses_stream(client, into=types)

    assert types == [*WHOLE_RESPONSE[:5], kind]


async def test_a_request_that_does_not_get_through(world) -> None:
    """Read byte by byte; the client gives up, and its connection is seen to be gone."""
    provider = world.provider(AtAccept(Sip()))
    client = world.client(provider, max_retries=0, timeout=0.2)

    async with standing({provider: 0}, client):
        with pytest.raises(openai.APITimeoutError):
            await world.call(client, messages=[{"role": "user", "content": "x" * 10_000_000}])


async def test_together(world) -> None:
    """All at once, in every mode, with results and errors in order."""
    provider = world.provider([Steps(Silence(), Ok()), Steps(Silence(), Ok()), Answer(400)])
    client = world.client(provider, max_retries=0)

    async def third() -> None:
        assert await until(lambda: len(provider.requests) == 2)
        try:
            await world.call(client)
        finally:
            provider.release()

    async with standing({provider: 3}, client):
        one, two, three = await world.together(lambda: world.call(client), lambda: world.call(client), third)

    assert one.choices[0].message.content == two.choices[0].message.content == "Hello!"
    assert isinstance(three, openai.BadRequestError)
    assert provider.connections == 3


# --- addresses -------------------------------------------------------------


async def test_nobody_listens(world, refused) -> None:
    """RST for an answer to SYN."""
    client = world.client(world.provider(), base_url=f"http://127.0.0.1:{refused}/v1", max_retries=0)

    with pytest.raises(openai.APIConnectionError) as caught:
        await world.call(client)

    assert isinstance(caught.value.__cause__, world.library.ConnectError)


async def test_nobody_answers(world, swallowed) -> None:
    """No answer to SYN: it takes the connect timeout, which is over first."""
    timeout = world.library.Timeout(60, connect=0.1)
    base_url = f"http://127.0.0.1:{swallowed}/v1"
    client = world.client(world.provider(), base_url=base_url, max_retries=0, timeout=timeout)

    with pytest.raises(openai.APITimeoutError) as caught:
        await world.call(client)

    assert isinstance(caught.value.__cause__, world.library.ConnectTimeout)


async def test_no_address(world, unresolvable) -> None:
    """Known at once, without asking anybody."""
    client = world.client(world.provider(), base_url=f"http://{unresolvable}/v1", max_retries=0)

    with pytest.raises(openai.APIConnectionError) as caught:
        await world.call(client)

    assert isinstance(caught.value.__cause__, world.library.ConnectError)


async def test_two_addresses(world, monkeypatch) -> None:
    """The first refuses; the SDK's HTTP library takes the second."""
    resolve(monkeypatch, two_test=["127.0.0.2", "127.0.0.1"])
    provider = world.provider()
    client = world.client(provider, base_url=f"{provider.at('two.test')}/v1", max_retries=0)

    async with standing({provider: 1}, client):
        await world.call(client)


async def test_tls(world, trusted, certified) -> None:
    """A client that trusts the server's authority, and one that does not: it opens a connection, and says nothing."""
    provider = world.provider(tls=certified())
    client = world.client(provider, http_client=world.http(verify=trusted))
    other = world.client(provider, max_retries=0)

    async with standing({provider: 1}, client, other):
        await world.call(client)
        with pytest.raises(openai.APIConnectionError, match="Connection error"):
            await world.call(other)

    assert len(provider.refused) == 1
