"""How streams are read: each piece as it comes, no further than asked, no more than allowed, not for ever: E12 to E19, E23."""

from __future__ import annotations

import gc
import itertools
import threading
import zlib

import anyio
import openai
import pytest
from doubles import chat
from faults.answers import (
    COMMENT,
    DONE,
    chat_stream,
    chunk,
    content,
    finish,
    numbered,
    response_delta,
    response_end,
    response_start,
    role,
)
from faults.standing import standing, until
from faults.steps import Answer, Sse
from faults.streams import (
    BEGUN,
    GOT,
    INTERFACES,
    SAID,
    WHOLE,
    alone,
    close,
    comments,
    meanings,
    opened,
    read,
    take,
    with_fallback,
)

from respan_openai import CallTimedOut, LimitExceeded, Limits, StreamInterrupted, Timeouts, record_of


# --- as it comes ------------------------------------------------------------


def pieces(interface):
    """What comes up to the first content, then further events that can be sent one by one."""
    if interface == "chat":
        return [role(), content("a")], [content("b"), content("c"), finish()]
    events = numbered(*response_start(), *map(response_delta, "abc"), *response_end("abc"))
    return events[:5], events[5:]


def gzip(parts):
    """Each of *parts* so packed that it can be unpacked as soon as it has come."""
    packer = zlib.compressobj(wbits=31)
    return [packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in parts]


@pytest.mark.both_families
@pytest.mark.parametrize("interface", INTERFACES)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
async def test_e17_each_event_is_delivered_before_the_next_is_sent(world, interface, packed) -> None:
    """The first content, and every event after it: the server sends the next only when the caller has this one."""
    first, more = pieces(interface)
    parts = gzip([b"".join(first), *more]) if packed else [b"".join(first), *more]
    gates = [threading.Event() for _ in more]
    script = [parts[0], *itertools.chain.from_iterable(zip(gates, parts[1:], strict=True))]
    headers = {"content-encoding": "gzip"} if packed else {}
    gateway, records, client = alone(world, Sse(script, headers=headers), client={"timeout": 5})

    async with standing({gateway: 1}, client):
        stream = await opened(world, client, interface)
        await take(world, stream, len(first))
        for gate in gates:
            assert not gate.is_set()
            gate.set()
            await take(world, stream, 1)
        await close(world, stream)

    assert records[0].complete


async def test_e17_nothing_is_read_ahead(world) -> None:
    """A reader who pauses makes the server pause, as soon as the buffers of the system are full."""
    sent = itertools.count()
    newest = [0]

    def endless():
        yield role()
        for newest[0] in sent:
            yield content("x" * 65536)

    gateway, _, client = alone(world, Sse(endless))

    async with standing({gateway: 1}, client):
        stream = await opened(world, client, "chat")
        await take(world, stream, 3)
        seen = -1
        while newest[0] > seen:
            assert newest[0] < 1000  # 64 MB
            seen = newest[0]
            await anyio.sleep(0.1)
        await close(world, stream)


@pytest.mark.parametrize("size", [1, 7])
async def test_e17_e18_bytes_cut_anywhere_are_what_they_were(world, size) -> None:
    """In chunks of a byte or a few, every kind of line, the caller reads what a plain client reads."""
    said = chat_stream("Hel", "lo! ☂")
    streams = {
        "LF": said,
        "CRLF": [each.replace(b"\n", b"\r\n") for each in said],
        "CR": [each.replace(b"\n", b"\r") for each in said],
        "lines of data": [each.replace(b', "', b',\ndata: "') for each in said],
        "other fields": [b"id: 7\nretry: 10\nevent: \n: none\n" + each for each in said],
        "byte order mark": [b"\xef\xbb\xbf", *said],
    }
    provider = world.provider([_cut(each, size) for each in streams.values()])
    gateway = world.gateway([_cut(each, size) for each in streams.values()])
    client, plain = world.wrapped(provider, gateway), world.client(provider, http_client=world.http())

    async with standing({gateway: len(streams), provider: len(streams)}, client, plain):
        for name in streams:
            assert await world.text(client) == await world.text(plain) == "Hello! ☂", name


def _cut(events, size):
    data = b"".join(events)
    return Sse([data[at : at + size] for at in range(0, len(data), size)])


async def test_e19_what_comes_after_done_is_ignored(world) -> None:
    """Whatever it is; and its connection serves the next call, or not, as it would without us."""
    script = Sse([*SAID["chat"], finish(), DONE, b"data: {\n\n", b"garbage\n\n", content("lo!")])
    provider, gateway = world.provider(script), world.gateway(script)
    client, plain = world.wrapped(provider, gateway), world.client(provider, http_client=world.http())

    async with standing({gateway: 2, provider: 2}, client, plain):
        for _ in range(2):
            assert await world.text(client) == await world.text(plain) == "Hel"

    assert gateway.connections == provider.connections


# --- silence ----------------------------------------------------------------


@pytest.mark.parametrize(("interface", "then"), [("chat", "comments"), ("responses", "silence")])
async def test_e12_e13_no_content_in_time_goes_to_the_next_target(world, interface, then) -> None:
    """Comments and what comes before content do not count as content, however many and however often."""
    rest = comments if then == "comments" else lambda: [threading.Event()]
    step = Sse(lambda: itertools.chain(BEGUN[interface], rest()))
    gateway, second, records, client = with_fallback(world, step, timeouts=Timeouts(first_content=0.4))

    async with standing({gateway: 1, second: 1}, client, deadline=0.8):
        assert await read(world, client, interface) == WHOLE[interface]

    assert meanings(records[0]) == ["ambiguous", None]
    assert records[0].attempts[1].possible_duplicate
    assert records[0].attempts[0].ms >= 400


@pytest.mark.both_families
@pytest.mark.parametrize(
    "options", [{"timeouts": Timeouts(first_content=0.3)}, {"client": {"timeout": 0.3}}], ids=["own", "call"]
)
async def test_e12_no_content_in_time_and_nobody_else_to_ask(world, options) -> None:
    """An error that is a timeout to the SDK too, whichever of the limits it was; one request."""
    gateway, records, client = alone(world, Sse(comments), **options)

    async with standing({gateway: 1}, client, deadline=0.3):
        with pytest.raises(CallTimedOut) as caught:
            await world.text(client)

    assert isinstance(caught.value, openai.APITimeoutError)
    assert caught.value.record == records[0]
    assert meanings(records[0]) == ["ambiguous"]


@pytest.mark.both_families
@pytest.mark.parametrize(("interface", "then"), [("chat", "silence"), ("responses", "comments")])
async def test_e14_no_further_content_in_time(world, interface, then) -> None:
    """After content a stream that falls silent, or only keeps its connection alive, is told as a break."""
    rest = comments if then == "comments" else lambda: [threading.Event()]
    step = Sse(lambda: itertools.chain(SAID[interface], rest()))
    gateway, second, records, client = with_fallback(world, step, timeouts=Timeouts(idle=0.3))
    got = []

    async with standing({gateway: 1, second: 0}, client, deadline=0.3):
        with pytest.raises(StreamInterrupted, match="no content came in time") as caught:
            await read(world, client, interface, into=got)

    assert got == GOT[interface]
    assert caught.value.text == "Hel"
    assert caught.value.record == records[0]


async def test_e14_content_starts_the_time_anew(world) -> None:
    """A stream may take as long as it likes, if only there is something now and then: reasoning, say."""
    thought = chunk({"reasoning_content": "Hm."})
    gateway, _, client = alone(
        world,
        Sse([role(), content("Hel"), *[thought] * 4, content("lo!"), finish()], gap=0.1),
        timeouts=Timeouts(idle=0.5),
    )

    async with standing({gateway: 1}, client):
        assert await world.text(client) == "Hello!"


# --- limits -----------------------------------------------------------------


def endless_line():
    return itertools.chain([b"data: "], itertools.repeat(b"x" * 1024))


@pytest.mark.parametrize("event", [4096, 262_144], ids=["below what is held", "beyond"])
async def test_e16_an_event_without_an_end_is_not_read_on(world, event) -> None:
    """Before content; the limit is named, nobody else is asked, for our own limit is no fault of the target."""
    step = Sse(lambda: itertools.chain([role()], endless_line()))
    gateway, second, records, client = with_fallback(world, step, limits=Limits(event=event))

    async with standing({gateway: 1, second: 0}, client):
        with pytest.raises(LimitExceeded, match=rf"{event} bytes, th.* Limits\(event=") as caught:
            await world.text(client)

    assert caught.value.record == records[0]


async def test_e16_an_event_without_an_end_after_content(world) -> None:
    """The same limit; what came before it was delivered."""
    step = Sse(lambda: itertools.chain(SAID["chat"], endless_line()))
    gateway, second, records, client = with_fallback(world, step, limits=Limits(event=4096))
    got = []

    async with standing({gateway: 1, second: 0}, client):
        with pytest.raises(LimitExceeded, match=r"4096 bytes, the limit of Limits\(event=") as caught:
            await world.text(client, into=got)

    assert got == ["Hel"]
    assert caught.value.record == records[0]


async def test_e16_no_more_is_held_back_than_allowed(world) -> None:
    """A beginning without content that goes on for too long is delivered as it is, content or not."""
    gate = threading.Event()
    gateway, second, _, client = with_fallback(
        world,
        Sse([COMMENT * 50, role(), gate, content("Hi"), finish(), DONE]),
        limits=Limits(held=1024),
        client={"timeout": 5},
    )

    async with standing({gateway: 1, second: 0}, client):
        stream = await opened(world, client, "chat")
        assert not gate.is_set()
        gate.set()
        assert len(await take(world, stream, 3)) == 3
        await close(world, stream)


@pytest.mark.parametrize(
    "step",
    [
        Answer(200, chat("x" * 5000)),
        Sse(lambda: itertools.repeat(b" " * 1000), headers={"content-type": "application/json"}),
    ],
    ids=["a length", "no end"],
)
async def test_e16_a_body_is_not_read_on(world, step) -> None:
    """The limit is named; nobody else is asked."""
    gateway, second, records, client = with_fallback(world, step, limits=Limits(body=4096))

    async with standing({gateway: 1, second: 0}, client):
        with pytest.raises(LimitExceeded, match=r"4096 bytes, the limit of Limits\(body=") as caught:
            await world.call(client)

    assert caught.value.record == records[0]
    assert meanings(records[0]) == ["local"]


# --- readers who leave ------------------------------------------------------


@pytest.mark.parametrize("interface", INTERFACES)
async def test_e23_close_gives_the_connection_back_at_once(world, interface) -> None:
    """After a few events; the record says that the answer was given up, once, and without an error."""
    gateway, records, client = alone(world, Sse([*SAID[interface], threading.Event()]))

    async with standing({gateway: 1}, client):
        stream = await opened(world, client, interface)
        await take(world, stream, len(GOT[interface]))
        await close(world, stream)
        assert await until(gateway.closed)
        assert len(records) == 1
        await close(world, stream)

    (record,) = records
    assert record == record_of(stream)
    assert (record.done, record.complete, record.error) == (True, False, None)


async def test_e23_a_stream_that_is_dropped_is_as_stock(world) -> None:
    """Not closed, only forgotten: its connection goes where it goes without us, and the record is closed."""
    script = Sse([*SAID["chat"], threading.Event()])
    provider, gateway, records = world.provider(script), world.gateway(script), []
    client = world.wrapped(provider, gateway, on_call=records.append)
    plain = world.client(provider, http_client=world.http())

    async with standing({gateway: 1, provider: 1}, client, plain):
        for each, server in ((plain, provider), (client, gateway)):
            stream = await opened(world, each, "chat")
            await take(world, stream, 2)
            del stream
            gc.collect()
            assert await until(server.closed)

    assert [(record.done, record.complete) for record in records] == [(True, False)]
