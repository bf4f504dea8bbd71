"""The end of a broken stream, written by another target, where the user asked for it."""

from __future__ import annotations

import pytest
from faults.answers import DONE, chat_stream, content, event, finish, role
from faults.standing import standing
from faults.steps import Sse

from respan_openai import RespanWarning, StreamIncomplete, StreamInterrupted, Streams, last_call


CUT = Sse([role(), content("Once "), content("upon ")], end="cut")


def continuing(world, gateway, other, **options):
    return world.wrap(
        world.client(world.provider()),
        gateway=world.gateway_of(gateway),
        fallbacks=[world.provider_of(other, prefill=True)],
        streams=Streams(continuation=True),
        **options,
    )


async def test_e22_the_rest_is_asked_for_once(world) -> None:
    """The text so far is put to the other target as the answer's beginning; the reader sees one stream."""
    gateway = world.gateway(CUT)
    other = world.server("p2", Sse(chat_stream("a ", "time.")))
    client = continuing(world, gateway, other)

    async with standing({gateway: 1, other: 1}, client):
        text = await world.text(client, messages=[{"role": "user", "content": "Tell"}])
        record = last_call()

    assert text == "Once upon a time."
    assert other.requests[0].json["messages"] == [
        {"role": "user", "content": "Tell"},
        {"role": "assistant", "content": "Once upon "},
    ]
    assert (record.continued, record.complete, record.done) == (True, True, True)
    assert [attempt.target for attempt in record.attempts] == ["respan", "p2"]


async def test_e22_an_event_that_was_cut_in_two_does_no_harm(world) -> None:
    """The reader is given whole events only, so what follows a break begins a new one."""
    whole, broken = content("Once "), content("upon ")[:-20]
    gateway = world.gateway(Sse([role(), whole, broken], end="cut"))
    other = world.server("p2", Sse(chat_stream("more")))
    client = continuing(world, gateway, other)

    async with standing({gateway: 1, other: 1}, client):
        assert await world.text(client) == "Once more"


async def test_e22_a_stream_that_ends_too_early_is_continued_as_well(world) -> None:
    """A polite end without a finish_reason is a break like any other."""
    gateway = world.gateway(Sse([role(), content("Once ")]))
    other = world.server("p2", Sse(chat_stream("more")))
    client = continuing(world, gateway, other)

    async with standing({gateway: 1, other: 1}, client):
        assert await world.text(client) == "Once more"


async def test_e22_once(world) -> None:
    """A continuation that breaks is not continued."""
    gateway = world.gateway(CUT)
    other = world.server("p2", CUT)
    client = continuing(world, gateway, other)
    pieces: list[str] = []

    async with standing({gateway: 1, other: 1}, client):
        with pytest.raises(StreamInterrupted) as caught:
            await world.text(client, into=pieces)

    assert "".join(pieces) == "Once upon Once upon "
    assert caught.value.record.continued


async def test_e22_nobody_to_continue(world) -> None:
    """If the other target fails, the break is told as it was."""
    gateway = world.gateway(CUT)
    other = world.server("p2", Sse([], status=500))
    client = continuing(world, gateway, other)
    pieces: list[str] = []

    async with standing({gateway: 1, other: 1}, client):
        with pytest.raises(StreamInterrupted) as caught:
            await world.text(client, into=pieces)

    assert "".join(pieces) == "Once upon "
    assert caught.value.text == "Once upon "
    assert not caught.value.record.continued


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}]},
        {"response_format": {"type": "json_object"}},
        {"logprobs": True},
        {"n": 2},
        {"disable_fallback": True},
    ],
    ids=lambda more: next(iter(more)),
)
async def test_e22_what_is_more_than_text_is_refused(world, more) -> None:
    """Tools, JSON, log probabilities and several choices are never spliced, and a call that stays is left alone."""
    gateway, other = world.gateway(CUT), world.server("p2")
    client = continuing(world, gateway, other)

    async with standing({gateway: 1, other: 0}, client):
        with pytest.raises(StreamInterrupted):
            await world.text(client, **more)


async def test_e22_tool_arguments_are_refused(world) -> None:
    """An answer that turned out to be a tool call is not continued."""
    call = {"index": 0, "id": "t", "type": "function", "function": {"name": "f", "arguments": '{"a'}}
    chunk = {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}
    gateway = world.gateway(Sse([role(), content("Well, "), event(chunk)], end="cut"))
    other = world.server("p2")
    client = continuing(world, gateway, other)

    async with standing({gateway: 1, other: 0}, client):
        with pytest.raises(StreamInterrupted):
            await world.text(client)


async def test_e22_only_targets_that_go_on_from_a_beginning(world) -> None:
    """Without ``prefill`` a last assistant message would be taken for a finished turn, so nobody is asked."""
    gateway, other = world.gateway(CUT), world.server("p2")
    client = world.wrapped(world.provider(), gateway, other, streams=Streams(continuation=True))

    async with standing({gateway: 1, other: 0}, client):
        with pytest.raises(StreamInterrupted):
            await world.text(client)


async def test_e22_off_unless_asked_for(world) -> None:
    """The default repeats nothing once content was shown."""
    gateway, other = world.gateway(CUT), world.server("p2")
    client = world.wrap(
        world.client(world.provider()),
        gateway=world.gateway_of(gateway),
        fallbacks=[world.provider_of(other, prefill=True)],
    )

    async with standing({gateway: 1, other: 0}, client):
        with pytest.raises(StreamInterrupted):
            await world.text(client)


async def test_an_early_end_can_be_allowed(world) -> None:
    """``Streams(incomplete=...)``: an error by default, a warning, or nothing."""
    gateway = world.gateway(Sse([role(), content("Half")]))
    client = world.wrapped(world.provider(), gateway)
    warned = world.wrapped(world.provider(), gateway, streams=Streams(incomplete="warn"))
    allowed = world.wrapped(world.provider(), gateway, streams=Streams(incomplete="allow"))

    async with standing({gateway: 3}, client, warned, allowed):
        with pytest.raises(StreamIncomplete) as caught:
            await world.text(client)
        with pytest.warns(RespanWarning, match="cut off"):
            assert await world.text(warned) == "Half"
        assert await world.text(allowed) == "Half"
        assert not last_call().complete

    assert caught.value.text == "Half"


async def test_a_finish_reason_without_done_is_an_end(world) -> None:
    """Some servers leave ``[DONE]`` out."""
    gateway = world.gateway(Sse([role(), content("Whole"), finish()]))
    client = world.wrapped(world.provider(), gateway)

    async with standing({gateway: 1}, client):
        assert await world.text(client) == "Whole"
        assert last_call().complete
    assert DONE not in gateway.bytes


async def test_garbage_behind_content_in_one_piece(world) -> None:
    """An event that the SDK could not read is told as a break, wherever it stands in what came at once."""
    gateway = world.gateway(
        Sse([role(), content("Good"), content(" more") + b"data: {broken\n\n" + finish()])
    )
    client = world.wrapped(world.provider(), gateway)

    async with standing({gateway: 1}, client):
        with pytest.raises(StreamInterrupted, match="cannot be read") as caught:
            await world.text(client)

    assert caught.value.text == "Good more"
