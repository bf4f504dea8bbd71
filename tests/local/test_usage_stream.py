"""Usage on streams: asked for, hidden again, and changed on its way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.local import usage_stream
from respan_openai.local.events import ends_stream, object_in, with_object
from respan_openai.local.usage_stream import UsageHider, ask_for_usage, with_usage


CHAT, RESPONSES = "/chat/completions", "/responses"
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
HEAD = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
DONE = b"data: [DONE]\n\n"


def choice(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}


CHUNKS = [
    {**HEAD, "choices": [choice({"role": "assistant", "content": ""})]},
    {**HEAD, "choices": [choice({"content": 'He said "usage":null, and "usage"'})]},
    {**HEAD, "choices": [choice({"content": "usage"})]},
    {
        **HEAD,
        "choices": [choice({"tool_calls": [{"index": 0, "function": {"arguments": '{"usage":null}'}}]})],
    },
    {**HEAD, "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
    {**HEAD, "choices": [choice({}, "stop")]},
]


def event(chunk: dict[str, Any], *, spaced: bool = False, line: str = "\n") -> bytes:
    """*chunk* as an event, written compactly as OpenAI does, or with spaces as others do."""
    text = json.dumps(chunk, ensure_ascii=False, separators=None if spaced else (",", ":"))
    return f"data: {text}{line}{line}".encode()


def hidden(*events: bytes) -> tuple[list[bytes], dict[str, Any] | None]:
    """What a caller gets, and what the hider has learnt."""
    hider = UsageHider()
    return [out for one in events for out in hider.passed(one)], hider.usage


# -- asking


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"stream": True}, {"include_usage": True}),
        ({"stream": True, "stream_options": None}, {"include_usage": True}),
        ({"stream": True, "stream_options": {"include_usage": False}}, {"include_usage": True}),
        ({"stream": True, "stream_options": {"include_usage": None}}, {"include_usage": True}),
        (
            {"stream": True, "stream_options": {"include_obfuscation": False}},
            {"include_obfuscation": False, "include_usage": True},
        ),
    ],
)
def test_a_chat_stream_is_asked_for_its_usage(fields, options) -> None:
    """Unless its caller did so, whose other options stay, and whose request is not touched."""
    before = json.dumps(fields)
    found, asked = ask_for_usage(CHAT, fields)

    assert (found, asked) == ({**fields, "stream_options": options}, True)
    assert json.dumps(fields) == before


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (CHAT, {}),
        (CHAT, {"stream": False}),
        (CHAT, {"stream": "yes"}),
        (CHAT, {"stream": True, "stream_options": {"include_usage": True}}),
        (CHAT, {"stream": True, "stream_options": [1]}),
        (CHAT, {"stream": True, "stream_options": "x"}),
        (RESPONSES, {"stream": True}),
        ("/audio/speech", {"stream": True}),
    ],
)
def test_whatever_else_is_left_alone(path, fields) -> None:
    """No stream, a caller who asks, an endpoint that tells anyway, options that the provider will refuse."""
    found, asked = ask_for_usage(path, fields)

    assert found is fields
    assert not asked


# -- hiding


LAYOUTS = {
    "at the end": lambda chunk, usage: {**chunk, "usage": usage},
    "before the padding": lambda chunk, usage: {**chunk, "usage": usage, "obfuscation": "a8Zk"},
    "in the middle": lambda chunk, usage: {"id": "c", "usage": usage, **chunk},
    "at the start": lambda chunk, usage: {"usage": usage, **chunk},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("spaced", [False, True])
@pytest.mark.parametrize("line", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_the_stream_is_as_if_nobody_had_asked(layout, spaced, line) -> None:
    """Byte for byte, wherever the provider writes the field; and the usage is known."""
    put = LAYOUTS[layout]
    plain = [{name: value for name, value in put(chunk, 0).items() if name != "usage"} for chunk in CHUNKS]
    sent = [put(chunk, None) for chunk in CHUNKS] + [put({**HEAD, "choices": []}, USAGE)]
    write = {"spaced": spaced, "line": line}

    got, usage = hidden(*(event(chunk, **write) for chunk in sent), DONE)

    assert got == [*(event(chunk, **write) for chunk in plain), DONE]
    assert usage == USAGE


@pytest.mark.parametrize(
    "sent",
    [
        DONE,
        b": keep-alive\n\n",
        b'event: error\ndata: {"error":{"message":"no"}}\n\n',
        b': x,"usage":null}\n\n',
        b'data: {"choices":[]}\n: x,"usage":null}\n\n',
        b'data: {"usage"\n\n',
        b'data: "usage"\n\n',
        b'data: ["usage"]\n\n',
        b'data: \xff"usage":null}\n\n',
        b'data: {"choices":[{"delta":{"content":"the \\"usage\\":null}"}}]}\n\n',
        b'data: {"choices":[],"x":{"usage":null}}\n\n',
        b'data: {"choices":[],"usage":{}}\n\n',
        b'data: {"choices":[],"x":{"usage":null},"us\\u0061ge":null}\n\n',
        b'data: {"choices":[],"us\\u0061ge":null,"b":"usage"}\n\n',
        b'data: {"choices":[],"x":"usage"}\n\n',
    ],
)  # fmt: skip
def test_everything_else_passes_byte_for_byte(sent) -> None:
    """Comments, errors, what cannot be read, and fields that are called so somewhere else."""
    assert hidden(sent) == ([sent], None)


def test_a_usage_beside_choices_stays() -> None:
    """Providers that send it there do so unasked; it is known nevertheless."""
    sent = event({**HEAD, "choices": [choice({}, "stop")], "usage": USAGE})

    assert hidden(sent) == ([sent], USAGE)


def test_an_event_over_several_lines() -> None:
    """A name, an id and data in pieces do not confuse it."""
    sent = b'id: 7\nevent: x\ndata: {"choices":[],\ndata: "a":1,"usage":null}\n\n'

    assert hidden(sent) == ([b'id: 7\nevent: x\ndata: {"choices":[],\ndata: "a":1}\n\n'], None)


@pytest.mark.parametrize(
    "inner", [b'{"x":{"a":1,"usage":null}', b'{"x":{"usage":null,"a":1}', b'{"x":[{"usage":null}]']
)
def test_a_null_of_an_inner_object_stays(inner) -> None:
    """Only the chunk's own is cut out, though it is not the first."""
    got, _ = hidden(b"data: " + inner + b',"usage":null,"choices":[]}\n\n')

    assert got == [b"data: " + inner + b',"choices":[]}\n\n']


def test_a_null_that_cannot_be_told_from_inner_ones_stays() -> None:
    """A null too many does no harm; one that is cut out at the wrong place might."""
    sent = b'data: {"x":{"usage":null,"a":1},"y":{"b":1,"usage":null},"usage":null,"choices":[]}\n\n'

    assert hidden(sent) == ([sent], None)


def test_an_event_that_cannot_hold_a_usage_is_not_parsed(monkeypatch) -> None:
    """Nor is one that ends in the null that was asked for: streams consist of these."""
    monkeypatch.setattr(usage_stream, "object_in", lambda _: pytest.fail("parsed"))
    plain, asked = (event({**CHUNKS[1], **field}) for field in ({}, {"usage": None}))

    assert hidden(event(CHUNKS[0]), event({**CHUNKS[2], "choices": []}))[1] is None
    assert hidden(asked)[0] == [plain]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='usage":,null{}\\\u2028é', max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["usage", "a", "choices"]), inner)
    ),
    max_leaves=8,
)


@given(
    chunk=st.dictionaries(st.sampled_from(["usage", "a", "choices", "obfuscation"]), _JSON),
    spaced=st.booleans(),
)
def test_no_chunk_is_damaged(chunk, spaced) -> None:
    """Its caller gets it, with or without a usage that is null, unless it only told the usage."""
    got, usage = hidden(event(chunk, spaced=spaced))
    without = {name: value for name, value in chunk.items() if name != "usage"}

    if got:
        assert object_in(got[0]) in ([chunk, without] if chunk.get("usage", 0) is None else [chunk])
    else:
        assert chunk["choices"] == []
        assert usage == chunk["usage"]


# -- changing


def test_a_usage_is_changed_where_it_stands() -> None:
    """At the top of a chunk, in the response of a Responses event; the name of the event stays."""
    chat = event({**HEAD, "choices": [], "usage": USAGE})
    response = b"event: response.completed\n" + event({"type": "x", "response": {"usage": USAGE}, "n": 1})

    assert object_in(with_usage(chat, CHAT, lambda usage: {**usage, "a": 1}))["usage"] == {**USAGE, "a": 1}
    changed = with_usage(response, RESPONSES, lambda usage: {**usage, "a": 1})
    assert changed.startswith(b"event: response.completed\ndata: ")
    assert object_in(changed) == {"type": "x", "response": {"usage": {**USAGE, "a": 1}}, "n": 1}


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        (CHAT, event(CHUNKS[0])),
        (CHAT, event({**CHUNKS[0], "usage": None})),
        (CHAT, event({**CHUNKS[0], "usage": {}})),
        (CHAT, event({"response": {"usage": USAGE}})),
        (CHAT, b'data: {"usage"\n\n'),
        (RESPONSES, event({"usage": USAGE})),
        (RESPONSES, event({"response": {"usage": None}})),
        (RESPONSES, event({"response": None, "usage": 1})),
    ],
)
def test_without_a_usage_there_is_nothing_to_change(path, sent) -> None:
    """The event passes as it is, and nobody is asked."""
    assert with_usage(sent, path, lambda _: pytest.fail("asked")) is sent


def test_a_usage_that_is_left_alone_leaves_the_bytes_alone() -> None:
    """A change that returns what it was given is none."""
    sent = event({**HEAD, "choices": [], "usage": USAGE}, spaced=True)

    assert with_usage(sent, CHAT, lambda usage: usage) is sent


# -- events


@pytest.mark.parametrize(
    ("sent", "ends"),
    [
        (DONE, True),
        (b"data:[DONE]\r\n\r\n", True),
        (b"event: end\ndata: [DONE] \n\n", True),
        (event({"content": "[DONE]"}), False),
        (b": [DONE]\n\n", False),
        (event({}), False),
    ],
)
def test_the_end_of_a_stream(sent, ends) -> None:
    """It is what openai-python takes for it, not a text that says so."""
    assert ends_stream(sent) is ends


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b": x\n\n",
        DONE,
        b"data: 7\n\n",
        b"data: {}",
        b"data: \xff\n\n",
        b"data: " + b"[" * 100_000 + b"\n\n",
    ],
    ids=range(7),
)
def test_events_without_an_object(sent) -> None:
    """They hold none, however they are broken."""
    assert object_in(sent) is None


def test_an_event_is_written_so_that_every_reader_takes_it_for_one() -> None:
    """No line end of Unicode's, no half of a surrogate pair, whatever a text holds."""
    value = {"a": "\u2028\x85\ud800\n"}
    written = with_object(b"id: 1\r\ndata: 1\r\ndata: 2\r\nevent: e\r\n\r\n", value)

    assert written.isascii()
    assert written.startswith(b"id: 1\nevent: e\ndata: ")
    assert len(written.splitlines()) == 4
    assert object_in(written) == value
