"""Streams that hold an error, something else than events, or events that nobody can read: rows E7 to E9, E11 and E15."""

from __future__ import annotations

from contextlib import suppress

import openai
import pytest
from doubles import chat, reply, response
from faults.answers import (
    DONE,
    event,
    finish,
    numbered,
    openai_error,
    response_delta,
    response_error,
    response_failed,
    response_incomplete,
    response_start,
    response_stream,
)
from faults.standing import standing
from faults.steps import Answer, Raw, Reset, Sse
from faults.streams import (
    BEGUN,
    GOT,
    INTERFACES,
    SAID,
    WHOLE,
    alone,
    close,
    failing,
    meanings,
    read,
    take,
    with_fallback,
)

from respan_openai import InvalidAnswer, StreamIncomplete, StreamInterrupted, health
from respan_openai.testing import no_waiting


# --- errors among the events ------------------------------------------------


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize(("code", "meaning"), [("server_error", "fault"), ("slow_down", "overload")])
async def test_e7_e9_an_error_first_goes_to_the_next_target(world, interface, code, meaning) -> None:
    """As if the answer had had its status from the beginning."""
    gateway, second, records, client = with_fallback(world, Sse(failing(interface, code)))

    async with standing({gateway: 1, second: 1}, client):
        assert await read(world, client, interface) == WHOLE[interface]

    assert meanings(records[0]) == [meaning, None]


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize(
    ("code", "error", "requests"),
    [
        ("invalid_api_key", openai.AuthenticationError, 1),
        ("insufficient_quota", openai.RateLimitError, 1),
        ("context_length_exceeded", openai.BadRequestError, 1),
        ("server_error", openai.InternalServerError, 2),
        ("server_is_overloaded", openai.InternalServerError, 3),
    ],
)
async def test_e7_e9_an_error_first_is_the_error_of_its_status(
    world, interface, code, error, requests
) -> None:
    """The caller is not handed a 200: the SDK makes of it what it makes of a status, and does not repeat it."""
    gateway, records, client = alone(world, Sse(failing(interface, code)))

    async with standing({gateway: requests}, client):
        with no_waiting(), pytest.raises(error) as caught:
            await read(world, client, interface)

    assert type(caught.value) is error
    assert caught.value.code == code
    assert len(records[0].attempts) == requests


@pytest.mark.parametrize("end", ["chunked", "open"])
@pytest.mark.parametrize(
    "events",
    [failing("chat", "invalid_api_key"), [event(b"{")]],
    ids=["error", "garbage"],
)
async def test_e7_an_error_first_gives_its_connection_back(world, end, events) -> None:
    """The rest of such a stream, which nobody will read, does not hold a connection until the client is closed."""
    gateway, _, client = alone(world, Sse(events, end=end))

    async with standing({gateway: range(1, 4)}, client):
        with no_waiting(), pytest.raises(openai.APIError):
            await world.text(client)
        pool = client._client._transport._pool
        assert not [each for each in pool.connections if not each.is_idle()]


async def test_e8_an_error_after_content_is_the_sdk_s(world) -> None:
    """It raises its own error for it; nothing is repeated, and the record is not that of a complete answer."""
    events = [*SAID["chat"], event(openai_error("Too late.", code="server_error"))]
    gateway, second, records, client = with_fallback(world, Sse(events))

    async with standing({gateway: 1, second: 0}, client):
        stream = await world.call(client, stream=True)
        assert (await take(world, stream, 2))[-1].choices[0].delta.content == "Hel"
        with pytest.raises(openai.APIError, match=r"Too late\."):
            await take(world, stream, 1)
        await close(world, stream)  # openai 1 does not do it by itself

    assert [(record.complete, record.error) for record in records] == [(False, None)]


@pytest.mark.parametrize("interface", INTERFACES)
async def test_e8_e9_an_error_after_content_counts_against_the_target(world, interface) -> None:
    """It is a fault as before content: five in a row, and the target is left alone for a while."""
    error = {"chat": event(openai_error(code="server_error")), "responses": numbered(response_failed())[0]}
    gateway, second = world.gateway(Reset()), world.server("p2", Sse([*SAID[interface], error[interface]]))
    client = world.wrapped(world.provider(), gateway, second)

    async with standing({gateway: 1, second: 1}, client):
        with suppress(openai.APIError):
            await read(world, client, interface)

    (known,) = [known for known in health() if known.name == "p2"]
    assert known.failures == 1


@pytest.mark.parametrize(
    "end", [response_failed(), response_error(), response_incomplete()], ids=lambda end: end["type"]
)
async def test_e9_an_end_of_a_response_after_content_is_delivered(world, end) -> None:
    """Be it a bad one: the SDK hands it on as an event, and so do we."""
    events = numbered(*response_start(), response_delta("Hel"), end)
    gateway, second, records, client = with_fallback(world, Sse(events))

    async with standing({gateway: 1, second: 0}, client):
        assert await world.responses_stream(client) == [*GOT["responses"], end["type"]]

    assert records[0].complete == (end["type"] == "response.incomplete")


async def test_e9_failed_before_content_goes_to_the_next_target(world) -> None:
    """``response.failed`` is an error as any other."""
    gateway, second, records, client = with_fallback(
        world, Sse(numbered(*response_start(), response_failed()))
    )

    async with standing({gateway: 1, second: 1}, client):
        assert await world.responses_stream(client) == WHOLE["responses"]

    assert meanings(records[0]) == ["fault", None]


@pytest.mark.parametrize("reason", ["max_output_tokens", "content_filter"])
async def test_e9_incomplete_before_content_is_an_answer(world, reason) -> None:
    """As ``finish_reason: length`` is: asked again, it would be billed again and come to the same."""
    events = numbered(*response_start(), response_incomplete(reason))
    gateway, second, _, client = with_fallback(world, Sse(events))

    async with standing({gateway: 1, second: 0}, client):
        assert (await world.responses_stream(client))[-1] == "response.incomplete"


# --- no events --------------------------------------------------------------


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("kind", ["application/json", None])
async def test_e11_json_instead_of_events_goes_to_the_next_target(world, interface, kind) -> None:
    """A whole answer is no stream; the SDK would read it as one without events."""
    body = {"chat": chat(), "responses": response()}[interface]
    said = reply(200, body, {"content-type": kind or "x-none/x"})
    step = Raw(said if kind else said.replace(b"content-type: x-none/x\r\n", b""))
    gateway, second, records, client = with_fallback(world, step)

    async with standing({gateway: 1, second: 1}, client):
        assert await read(world, client, interface) == WHOLE[interface]

    assert meanings(records[0]) == ["fault", None]


@pytest.mark.parametrize("interface", INTERFACES)
async def test_e11_json_instead_of_events_is_no_answer(world, interface) -> None:
    """With nobody else to ask: one more request, then an error instead of an empty text."""
    body = {"chat": chat(), "responses": response()}[interface]
    gateway, _, client = alone(world, Answer(200, body))

    async with standing({gateway: 2}, client):
        with no_waiting(), pytest.raises(InvalidAnswer, match="no answer"):
            await read(world, client, interface)


@pytest.mark.parametrize("interface", INTERFACES)
async def test_e11_a_json_error_instead_of_events(world, interface) -> None:
    """Inside a 200 too it is the error of its status."""
    gateway, _, client = alone(world, Answer(200, openai_error(code="invalid_api_key")))

    async with standing({gateway: 1}, client):
        with pytest.raises(openai.AuthenticationError):
            await read(world, client, interface)


@pytest.mark.parametrize("interface", INTERFACES)
async def test_e11_events_under_a_wrong_name_are_delivered(world, interface) -> None:
    """Events are told by what they are, and the record of the call is closed as ever."""
    body = b"".join(
        {"chat": [*SAID["chat"], finish(), DONE], "responses": response_stream("Hel", "lo!")}[interface]
    )
    gateway, records, client = alone(world, Answer(200, body, {"content-type": "text/plain"}))

    async with standing({gateway: 1}, client):
        assert await read(world, client, interface) == (["Hel"] if interface == "chat" else WHOLE[interface])

    assert [record.complete for record in records] == [True]


async def test_e11_an_error_event_under_a_wrong_name(world) -> None:
    """It is the error of its status, and nobody goes around it."""
    body = b"".join(failing("chat", "invalid_api_key"))
    gateway, second, _, client = with_fallback(world, Answer(200, body, {"content-type": "text/plain"}))

    async with standing({gateway: 1, second: 0}, client):
        with pytest.raises(openai.AuthenticationError):
            await world.text(client)


async def test_e11_events_under_a_wrong_name_must_end_too(world) -> None:
    """Half an answer is half an answer, whatever it is called."""
    gateway, _, client = alone(world, Answer(200, b"".join(SAID["chat"]), {"content-type": "text/plain"}))

    async with standing({gateway: 1}, client):
        with pytest.raises(StreamIncomplete):
            await world.text(client)


# --- garbage ----------------------------------------------------------------

GARBAGE = {
    "UTF-8": b'data: {"choices": [{"delta": {"content": "\xff"}}]}\n\n',
    "JSON": b'data: {"choices": [\n\n',
    "an object": b"data: 17\n\n",
    "deep": b"data: " + b"[" * 20_000 + b"\n\n",
}


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_e15_garbage_before_content_goes_to_the_next_target(world, interface, garbage) -> None:
    """An event that the SDK could not read is no answer."""
    gateway, second, records, client = with_fallback(world, Sse([*BEGUN[interface], garbage]))

    async with standing({gateway: 1, second: 1}, client):
        assert await read(world, client, interface) == WHOLE[interface]

    assert meanings(records[0]) == ["fault", None]


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
async def test_e15_garbage_after_content_is_told(world, interface, garbage) -> None:
    """A typed error with what arrived, not a bare ``JSONDecodeError``; the garbage itself stays out of it."""
    gateway, second, records, client = with_fallback(world, Sse([*SAID[interface], garbage]))
    got = []

    async with standing({gateway: 1, second: 0}, client):
        with pytest.raises(StreamInterrupted, match="cannot be read") as caught:
            await read(world, client, interface, into=got)

    assert got == GOT[interface]
    assert caught.value.text == "Hel"
    assert caught.value.record == records[0]
    assert "[[" not in str(caught.value)
