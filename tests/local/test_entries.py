"""A kept answer: what is written is what is read, and a hit is the first answer with a mark."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseCompletedEvent

from respan_openai._core.sse import Decoder, Watch
from respan_openai.local.complete import MAX_BYTES
from respan_openai.local.echo import Echo
from respan_openai.local.entries import Entry, dump, load, replayed


CHAT = "/chat/completions"
RESPONSES = "/responses"
JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"
USAGE = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}

ENTRY = Entry(
    status=200,
    content_type=EVENTS,
    chunks=(b"data: 1\n\n", b"", b"\n\x00\xff"),
    model="m",
    provider="openai",
    usage=USAGE,
    log_id="log-1",
    stored_at=1.5,
)


# -- bytes


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
ENTRIES = st.builds(
    Entry,
    status=st.integers(100, 599),
    content_type=st.text(),
    chunks=st.lists(st.binary(max_size=20), max_size=5).map(tuple),
    model=st.none() | st.text(),
    provider=st.text(),
    usage=st.none() | st.dictionaries(st.text(), VALUES, max_size=3),
    log_id=st.text(),
    stored_at=st.floats(allow_nan=False),
)


@given(entry=ENTRIES)
def test_what_is_dumped_is_loaded(entry: Entry) -> None:
    """Every field comes back, and every chunk with its own bytes."""
    assert load(dump(entry)) == entry


@given(entry=ENTRIES, data=st.data())
def test_damage_is_a_miss(entry: Entry, data: st.DataObject) -> None:
    """A byte that is changed, lost or added anywhere makes it no entry, and never another one."""
    dumped = dump(entry)
    begin = data.draw(st.integers(0, len(dumped)))
    end = data.draw(st.integers(begin, min(begin + 8, len(dumped))))
    damaged = dumped[:begin] + data.draw(st.binary(max_size=8)) + dumped[end:]

    assert load(damaged) == (entry if damaged == dumped else None)


@given(garbage=st.binary())
def test_garbage_is_a_miss(garbage: bytes) -> None:
    """What was never an entry does not become one, and raises nothing."""
    assert load(garbage) is None


def test_every_bit_counts() -> None:
    """There is no byte that could be damaged unseen."""
    dumped = dump(ENTRY)

    for at in range(len(dumped)):
        assert load(dumped[:at] + bytes([dumped[at] ^ 1]) + dumped[at + 1 :]) is None


def signed(header: object, body: bytes = b"", form: bytes = b"respan-cache 1") -> bytes:
    """Bytes that ``dump`` never wrote, with a checksum that is right."""
    content = json.dumps(header).encode() + b"\n" + body
    return b"%s %s\n%s" % (form, sha256(content).hexdigest().encode(), content)


HEADER: dict[str, Any] = {
    "status": 200,
    "content_type": JSON,
    "model": None,
    "provider": "p",
    "usage": None,
    "log_id": "l",
    "stored_at": 1,
    "lengths": [2],
}


def test_the_format_is_known() -> None:
    """Lines that other releases can read, so that several of them can share a store."""
    assert load(signed(HEADER, b"hi")) == Entry(200, JSON, (b"hi",), None, "p", None, "l", 1)


def test_another_format_is_a_miss() -> None:
    """What another release writes differently is not guessed at."""
    assert load(signed(HEADER, b"hi", b"respan-cache 2")) is None


@pytest.mark.parametrize(
    "wrong",
    [
        *({name: [1]} for name in HEADER if name != "lengths"),
        {"lengths": None},
        {"lengths": "2"},
        {"lengths": ["2"]},
        {"lengths": [1]},
        {"lengths": [3]},
        {"lengths": [-1, 3]},
        {"lengths": [1.0, 1.0]},
    ],
)
def test_a_forged_header_is_a_miss(wrong: dict[str, Any]) -> None:
    """A right checksum does not make it an entry if a field is of another kind or the chunks do not add up."""
    assert load(signed({**HEADER, **wrong}, b"hi")) is None


@pytest.mark.parametrize("header", [[], None, "text", {}])
def test_a_header_that_is_none_is_a_miss(header: object) -> None:
    """Whatever stands in its place."""
    assert load(signed(header)) is None


def test_what_is_too_large_is_not_looked_at() -> None:
    """A store that gives too much back costs no memory beyond that."""
    large = ENTRY._replace(chunks=(bytes(4 * MAX_BYTES),))

    assert load(dump(large)) is None
    assert load(dump(ENTRY._replace(chunks=(bytes(MAX_BYTES),)))) is not None


def test_nothing_of_the_answer_is_shown() -> None:
    """Tracebacks are collected with their locals, and answers hold what people asked."""
    assert repr(ENTRY) == "Entry('m', log_id='log-1', 3 chunks)"


@pytest.mark.parametrize(
    ("now", "expected"), [(0.0, True), (1.5, True), (61.4, True), (61.5, False), (99.0, False)]
)
def test_freshness_is_what_the_call_asks_for(now: float, expected: bool) -> None:
    """A call with a shorter ``cache_ttl`` than the one that kept the answer does not get it when it is older."""
    assert ENTRY.is_fresh(now, ttl=60) is expected


# -- hits


def echo_entry(path: str, **fields: Any) -> Entry:
    """What ``Echo`` answers on *path*, as it would be kept."""
    asked = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi there"}],
        "input": "Hi there",
        **fields,
    }
    reply = Echo().answer(Echo().outgoing(path, [], json.dumps(asked).encode()))
    return ENTRY._replace(content_type=reply.content_type, chunks=reply.chunks)


def body_of(entry: Entry) -> bytes:
    return b"".join(entry.chunks)


def events_of(entry: Entry) -> list[dict[str, Any]]:
    return [json.loads(data) for _, data in Decoder(1 << 20).feed(body_of(entry)) if data != "[DONE]"]


def as_the_sdk_reads(model: Any, entry: Entry) -> Any:
    """The SDK's object for a whole answer; it does not validate (openai/_base_client.py, ``construct``)."""
    return model.construct(**json.loads(body_of(entry)))


def test_a_chat_is_marked() -> None:
    """openai-python reads it as before, and shows the mark beside the first call's counters."""
    entry = echo_entry(CHAT)
    first, again = (as_the_sdk_reads(ChatCompletion, kept) for kept in (entry, replayed(entry)))

    assert again.usage.model_extra == {"cached": True}
    assert again.usage.total_tokens == first.usage.total_tokens
    assert body_of(replayed(entry)).replace(b'"cached":true,', b"") == body_of(entry)


def test_a_response_is_marked() -> None:
    """As a chat is."""
    entry = echo_entry(RESPONSES)

    usage = as_the_sdk_reads(Response, replayed(entry)).usage

    assert usage.model_extra == {"cached": True}
    assert usage.output_tokens > 0
    assert body_of(replayed(entry)).replace(b'"cached":true,', b"") == body_of(entry)


def test_a_stream_of_a_chat_is_marked() -> None:
    """The same events, of which only the one with the usage has changed."""
    entry = echo_entry(CHAT, stream=True, stream_options={"include_usage": True})

    again = replayed(entry)

    differing = [(one, other) for one, other in zip(entry.chunks, again.chunks, strict=True) if one != other]
    assert [other.replace(b'"cached":true,', b"") for _, other in differing] == [one for one, _ in differing]
    assert len(differing) == 1
    chunk: Any = ChatCompletionChunk.construct(**events_of(again)[-1])
    assert chunk.usage.model_extra == {"cached": True}


def test_a_stream_of_a_response_is_marked() -> None:
    """In ``response.completed``, the event whose response the SDK hands over as the final one."""
    entry = echo_entry(RESPONSES, stream=True)

    again = replayed(entry)

    assert events_of(again)[:-1] == events_of(entry)[:-1]
    completed: Any = ResponseCompletedEvent.construct(**events_of(again)[-1])
    assert completed.response.usage.model_extra == {"cached": True}


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
def test_a_replayed_stream_means_the_same(path: str) -> None:
    """Whoever watches the replay sees the first call's text, end and model."""
    entry = echo_entry(path, stream=True)
    first, again = Watch(path, max_event=1 << 20), Watch(path, max_event=1 << 20)

    first.feed(body_of(entry))
    again.feed(body_of(replayed(entry)))

    assert (again.text, again.finish, again.model, again.complete) == (
        first.text,
        first.finish,
        first.model,
        True,
    )


def kept(body: bytes, content_type: str = EVENTS) -> Entry:
    return ENTRY._replace(chunks=(body,), content_type=content_type)


@given(
    lines=st.lists(st.sampled_from([b"data: a", b": hello", b"id: 1", b"", b"data: b"]), max_size=8),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cut=st.integers(0, 60),
)
def test_a_stream_is_kept_as_its_events(lines: list[bytes], end: bytes, cut: int) -> None:
    """However it came, each chunk of a replay is one event, and all bytes are there."""
    body = end.join([*lines, b""])

    chunks = replayed(ENTRY._replace(chunks=(body[:cut], body[cut:]))).chunks

    assert b"".join(chunks) == body
    assert all(chunk.endswith(end * 2) for chunk in chunks[:-1])
    assert all(len(list(Decoder(100).feed(chunk))) <= 1 for chunk in chunks)


USAGE_EVENT = b'data: {"choices":[],"usage":{"total_tokens":3}}'


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_is_an_end(end: bytes) -> None:
    """An event keeps its own lines, whichever way they end."""
    body = (b": ping" + end + USAGE_EVENT + end + end) * 2 + b"data: [DONE]" + end + end

    again = replayed(kept(body))

    assert len(again.chunks) == 3
    assert again.chunks[0] == b": ping" + end + USAGE_EVENT + end + end
    assert again.chunks[1] == again.chunks[0].replace(b'{"total', b'{"cached":true,"total')


UNMARKED = {
    "no usage": b'{"choices": []}',
    "null": b'{"usage": null}',
    "an empty one": b'{"usage": {}}',
    "one that is no object": b'{"usage": [{"usage": 1}]}',
    "one inside a text": rb'{"text": "\"usage\": {\"a\": 1}"}',
    "one elsewhere": b'{"tools": [{"usage": {"a": 1}}]}',
    "a name with escapes": rb'{"us\u0061ge": {"a": 1}, "x": {"usage": {"b": 1}}}',
    "a counter of that name": b'{"usage": {"a": 1, "cached": 5}}',
    "no JSON": b'{"usage": {"a": 1}',
    "nothing": b"",
}


@pytest.mark.parametrize("what", UNMARKED)
def test_what_cannot_be_marked_stays_as_it_is(what: str) -> None:
    """A hit without a mark is still a hit; the header says so."""
    assert body_of(replayed(kept(UNMARKED[what], JSON))) == UNMARKED[what]
    stream = b"data: " + UNMARKED[what] + b"\n\n"
    assert body_of(replayed(kept(stream))) == stream


MARKED = {
    "spaces": (b'{"usage" : { "a": 1 }}', b'{"usage" : {"cached":true, "a": 1 }}'),
    "a namesake before it": (
        b'{"x": {"usage": {"a": 1}}, "usage": {"a": 1}}',
        b'{"x": {"usage": {"a": 1}}, "usage": {"cached":true,"a": 1}}',
    ),
    "a namesake behind it": (
        b'{"usage": {"a": 1}, "x": {"usage": {"a": 1}}}',
        b'{"usage": {"cached":true,"a": 1}, "x": {"usage": {"a": 1}}}',
    ),
    "a namesake inside it": (
        b'{"usage": {"usage": {"a": 1}}}',
        b'{"usage": {"cached":true,"usage": {"a": 1}}}',
    ),
    "numbers as they are written": (
        b'{"x": 1.10, "usage": {"a": 1e2}}',
        b'{"x": 1.10, "usage": {"cached":true,"a": 1e2}}',
    ),
    "what only Python takes for a number": (b'{"usage": {"a": NaN}}', b'{"usage": {"cached":true,"a": NaN}}'),
    "one inside a response": (
        b'{"response": {"usage": {"a": 1}}, "usage": null}',
        b'{"response": {"usage": {"cached":true,"a": 1}}, "usage": null}',
    ),
}


@pytest.mark.parametrize("what", MARKED)
def test_the_mark_stands_in_the_usage(what: str) -> None:
    """Wherever that is, and in nothing else of that name; all other bytes stay."""
    given_body, expected = MARKED[what]

    assert body_of(replayed(kept(given_body, JSON))) == expected


def test_only_the_last_usage_of_a_stream_is_marked() -> None:
    """Some providers count on in every chunk, and an empty usage is none."""
    last = b'data: {"id":"request_breakdown","usage":{}}\n\n'
    body = (USAGE_EVENT + b"\n\n") * 2 + last

    assert replayed(kept(body)).chunks == (
        USAGE_EVENT + b"\n\n",
        USAGE_EVENT.replace(b'{"total', b'{"cached":true,"total') + b"\n\n",
        last,
    )


def test_marking_twice_is_marking_once() -> None:
    """A hit that is kept again is no other answer."""
    once = replayed(kept(b'{"usage": {"a": 1}}', JSON))

    assert replayed(once) == once


def test_a_body_full_of_namesakes_is_given_up() -> None:
    """Places are tried from the end, and not for ever: a body made for that cannot keep the gateway busy."""
    body = b'{"usage": {"a": 1}, "x": [' + b'{"usage": {}},' * 100 + b"0]}"

    assert body_of(replayed(kept(body, JSON))) == body
