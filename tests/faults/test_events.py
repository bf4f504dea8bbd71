"""Streams of events that end where no answer ends: rows E1 to E6, E10, E20 and E21 of the fault catalogue.

Up to the first content nobody has seen anything, so another target may take the call. Afterwards nothing is
repeated, and the caller is told the truth: an error with what arrived.
"""

from __future__ import annotations

import openai
import pytest
from faults.answers import COMMENT, DONE, content, finish, role, usage
from faults.standing import standing
from faults.steps import Sse
from faults.streams import BEGUN, GOT, INTERFACES, SAID, WHOLE, alone, meanings, read, with_fallback

from respan_openai import RespanWarning, StreamIncomplete, StreamInterrupted, Streams, health, record_of


# --- before content ---------------------------------------------------------


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize(
    ("end", "meaning"), [("cut", "ambiguous"), ("rst", "ambiguous"), ("chunked", "fault"), ("eof", "fault")]
)
async def test_e1_cut_before_content_goes_to_the_next_target(world, interface, end, meaning) -> None:
    """However a stream ends before its first content, the next target's answer is all that the caller sees of it."""
    gateway, second, records, client = with_fallback(world, Sse(BEGUN[interface], end=end))

    async with standing({gateway: 1, second: 1}, client):
        assert await read(world, client, interface) == WHOLE[interface]

    (record,) = records
    assert meanings(record) == [meaning, None]
    assert (record.target, record.complete) == ("p2", True)
    assert record.attempts[1].possible_duplicate


@pytest.mark.parametrize("interface", INTERFACES)
async def test_e1_cut_before_content_and_nobody_else_to_ask(world, interface) -> None:
    """One request, for it may have been worked on; an error of the connection, and the SDK does not repeat it."""
    gateway, records, client = alone(world, Sse(BEGUN[interface], end="cut"))

    async with standing({gateway: 1}, client):
        with pytest.raises(openai.APIConnectionError, match="broke the connection") as caught:
            await read(world, client, interface)

    assert not isinstance(caught.value, StreamInterrupted)
    assert caught.value.record == records[0]
    assert meanings(records[0]) == ["ambiguous"]


# --- after content ----------------------------------------------------------


@pytest.mark.both_families
@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("end", ["cut", "rst"])
async def test_e2_cut_after_content_is_told(world, interface, end) -> None:
    """Nothing is repeated or spliced: what came is shown, and the error has its text, its size and the record."""
    gateway, second, records, client = with_fallback(world, Sse(SAID[interface], end=end))
    got = []

    async with standing({gateway: 1, second: 0}, client):
        with pytest.raises(StreamInterrupted, match="broke off") as caught:
            await read(world, client, interface, into=got)

    error = caught.value
    assert isinstance(error, openai.APIConnectionError)
    assert not isinstance(error, StreamIncomplete)
    assert got == GOT[interface]
    assert (error.text, error.received) == ("Hel", len(b"".join(SAID[interface])))
    assert error.events == len([said for said in SAID[interface] if said != COMMENT])
    assert error.record == records[0] == record_of(error)
    assert (error.record.complete, error.record.error) == (False, "StreamInterrupted")
    assert error.request.url.host == "127.0.0.1"
    assert health()[0].failures == 1


@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("end", ["chunked", "eof"])
async def test_e3_e4_e10_an_end_that_is_none(world, interface, end) -> None:
    """A clean end of the bytes in the middle of the answer, which the SDK takes for success, is an error."""
    gateway, second, records, client = with_fallback(world, Sse(SAID[interface], end=end))
    got = []

    async with standing({gateway: 1, second: 0}, client):
        with pytest.raises(StreamIncomplete) as caught:
            await read(world, client, interface, into=got)

    assert got == GOT[interface]
    assert (caught.value.text, caught.value.received) == ("Hel", len(b"".join(SAID[interface])))
    assert caught.value.record == records[0]
    assert (records[0].complete, records[0].error) == (False, "StreamIncomplete")


@pytest.mark.parametrize("interface", INTERFACES)
async def test_e3_an_end_that_is_none_may_pass_with_a_warning(world, interface) -> None:
    """``incomplete="warn"``: the text as it came, and a warning at the caller's line."""
    gateway, records, client = alone(world, Sse(SAID[interface]), streams=Streams(incomplete="warn"))

    async with standing({gateway: 1}, client):
        with pytest.warns(RespanWarning, match="may be cut off") as warned:
            assert await read(world, client, interface) == GOT[interface]

    assert [each.filename.endswith("world.py") for each in warned] == [True]
    assert (records[0].complete, records[0].error) == (False, None)


@pytest.mark.parametrize("interface", INTERFACES)
async def test_e3_an_end_that_is_none_may_pass(world, interface) -> None:
    """``incomplete="allow"``: the text as it came, and that is all."""
    gateway, records, client = alone(world, Sse(SAID[interface]), streams=Streams(incomplete="allow"))

    async with standing({gateway: 1}, client):
        assert await read(world, client, interface) == GOT[interface]

    assert (records[0].complete, records[0].error) == (False, None)


@pytest.mark.parametrize("incomplete", ["warn", "allow"])
async def test_e2_a_cut_is_never_let_pass(world, incomplete) -> None:
    """``incomplete`` is about ends that look like ends; a broken connection does not."""
    gateway, _, client = alone(world, Sse(SAID["chat"], end="cut"), streams=Streams(incomplete=incomplete))

    async with standing({gateway: 1}, client):
        with pytest.raises(StreamInterrupted):
            await world.text(client)


async def test_e5_a_finish_reason_is_an_end(world) -> None:
    """Some servers leave ``[DONE]`` out."""
    gateway, records, client = alone(world, Sse([*SAID["chat"], finish()]))

    async with standing({gateway: 1}, client):
        assert await world.text(client) == "Hel"

    assert (records[0].complete, records[0].error) == (True, None)


async def test_e6_done_is_an_end(world) -> None:
    """Even without a ``finish_reason``."""
    gateway, records, client = alone(world, Sse([*SAID["chat"], DONE]))

    async with standing({gateway: 1}, client):
        assert await world.text(client) == "Hel"

    assert (records[0].complete, records[0].error) == (True, None)


async def test_e20_every_choice_that_began_must_finish(world) -> None:
    """With ``n=2`` one finish reason is not enough."""
    both = [role(0), role(1), content("Hel", 0), content("Bon", 1), finish(index=0)]
    gateway, _, client = alone(world, [Sse(both), Sse([*both, finish(index=1)])])

    async with standing({gateway: 2}, client):
        with pytest.raises(StreamIncomplete) as caught:
            await world.text(client, n=2)
        assert await world.text(client, n=2) == "HelBon"

    assert caught.value.text == "Hel"


@pytest.mark.parametrize("last", [[], [usage(7)]], ids=["without", "with"])
async def test_e21_usage_comes_last_or_not_at_all(world, last) -> None:
    """The chunk that has it has no choices; the record keeps it."""
    gateway, records, client = alone(world, Sse([*SAID["chat"], finish(), *last, DONE]))

    async with standing({gateway: 1}, client):
        assert await world.text(client) == "Hel"

    assert (records[0].usage or {}).get("total_tokens") == (7 if last else None)
