"""A call as the author of a test looks at it."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import Any

import pytest

from respan_openai.testing.recording import Answer, Chunk, Failure, Json, Multipart, Part, Question, Raw
from respan_openai.testing.views import request_dict, view


USER = {"role": "user", "content": "Hi"}
CHAT = Question("POST", "/chat/completions", body=Json({"model": "m", "messages": [USER]}), via="respan")

CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def whole(value: Any, kind: str = "application/json") -> Answer:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Answer(200, (("content-type", kind),), (Chunk(1, body),))


def stream(*events: Any) -> Answer:
    """One whose chunks are cut in the middle of events."""
    text = b"".join(b"data: %s\n\n" % json.dumps(each).encode() for each in events) + b"data: [DONE]\n\n"
    pieces = [text[at : at + 10] for at in range(0, len(text), 10)]
    chunks = tuple(Chunk(at, piece) for at, piece in enumerate(pieces))
    return Answer(200, (("content-type", "text/event-stream"),), chunks)


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


def test_the_whole_view() -> None:
    """Everything about a call, as a plain dict and as attributes."""
    question = CHAT._replace(respan={"customer_identifier": "u1"})
    message = {"role": "assistant", "content": "Ho", "tool_calls": [CALL]}
    answer = whole({"choices": [{"message": message}], "usage": {"total_tokens": 3}})

    call = view(question, answer)

    assert call == {
        "method": "POST",
        "path": "/chat/completions",
        "json": {"model": "m", "messages": [USER]},
        "messages": [USER],
        "respan": {"customer_identifier": "u1"},
        "headers": {"content-type": "application/json"},
        "status": 200,
        "failure": None,
        "text": "Ho",
        "tool_calls": [CALL],
        "usage": {"total_tokens": 3},
        "chunks": [answer.chunks[0].data],
    }
    assert all(getattr(call, name) == value for name, value in call.items())


def test_a_view_has_no_other_attribute() -> None:
    """A slip of the pen names what there is, and ``hasattr`` works."""
    call = view(CHAT, None)

    assert not hasattr(call, "txt")
    with pytest.raises(AttributeError, match="A call has no 'txt'; it has: method, path, json"):
        call.txt  # noqa: B018 -- that it raises


def test_a_call_without_an_answer() -> None:
    """While it is under way, what will come is missing, not wrong."""
    call = view(CHAT, None)

    assert (call.status, call.failure, call.text, call.usage) == (None, None, None, None)
    assert (call.headers, call.tool_calls, call.chunks) == ({}, [], [])


def test_a_streamed_chat() -> None:
    """Text, calls and usage are put together, wherever the chunks were cut."""
    piece = {"index": 0, "id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    answer = stream(
        delta(role="assistant", content=""),
        delta(content="He"),
        delta(content="llo"),
        delta(tool_calls=[piece]),
        delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a": 1}'}}]),
        {"choices": [], "usage": {"total_tokens": 9}},
    )

    call = view(CHAT, answer)

    assert (call.text, call.tool_calls, call.usage) == ("Hello", [CALL], {"total_tokens": 9})
    assert b"".join(call.chunks) == b"".join(chunk.data for chunk in answer.chunks)


@pytest.mark.parametrize("streamed", [False, True])
def test_responses(streamed) -> None:
    """The other endpoint reads the same, its usage from the last event's response too."""
    parts = [{"type": "output_text", "text": "Ho"}]
    response = {"output": [{"type": "message", "content": parts}], "usage": {"input_tokens": 1}}
    events = [
        {"type": "response.created", "response": {"usage": None}},
        {"type": "response.completed", "response": response},
    ]
    question = Question("POST", "/responses", body=Json({"input": "Hi", "instructions": "Be brief"}))

    call = view(question, stream(*events) if streamed else whole(response))

    assert (call.text, call.usage) == ("Ho", {"input_tokens": 1})
    assert call.messages == [{"role": "system", "content": "Be brief"}, USER]


@pytest.mark.parametrize(
    ("path", "answer", "text"),
    [
        ("/audio/transcriptions", whole({"text": "hello"}), "hello"),
        (
            "/audio/transcriptions",
            whole(b"1\n00:00 hello \xff", "text/plain; charset=utf-8"),
            "1\n00:00 hello \ufffd",
        ),
        ("/audio/speech", whole(b"\x00\xff", "audio/mpeg"), None),
        ("/embeddings", whole({"data": [{"embedding": [0.1]}]}), None),
        ("/chat/completions", whole({"error": {"message": "no"}}), None),
        ("/chat/completions", whole({"choices": [{"message": {"content": None}}]}), None),
        ("/chat/completions", whole(b"[1]"), None),
        ("/chat/completions", whole(b'{"a":' * 100_000), None),
        ("/chat/completions", stream(), None),
    ],
)
def test_what_was_said(path, answer, text) -> None:
    """A transcription is its text; what says nothing has none; no body is too strange to be looked at."""
    assert view(CHAT._replace(path=path), answer).text == text


def test_a_failure() -> None:
    """What the HTTP library raised is there by name, behind what had come by then."""
    answer = stream(delta(content="He"))._replace(end="failed", failure=Failure("ReadError", 5))

    call = view(CHAT, answer)

    assert (call.status, call.failure, call.text) == (200, "ReadError", "He")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, {}),
        (Json({"a": [1, None]}), {"json": {"a": [1, None]}}),
        (Json(None), {"json": None}),
        (
            Multipart((
                Part("model", None, None, "whisper-1", "00ff", 9),
                Part("file", "a.wav", "audio/wav", None, "ff00", 350),
            )),
            {
                "multipart": [
                    {"name": "model", "text": "whisper-1"},
                    {"name": "file", "filename": "a.wav", "type": "audio/wav", "sha256": "ff00", "size": 350},
                ]
            },
        ),
        (Raw("text/plain", "hi", "00", 2), {"raw": {"type": "text/plain", "text": "hi"}}),
        (Raw(None, None, "00", 5000), {"raw": {"sha256": "00", "size": 5000}}),
    ],
)  # fmt: skip
def test_a_request_for_a_snapshot(body, expected) -> None:
    """Only what is there, in values of JSON; where it was sent to is none of it."""
    question = Question("POST", "/x", body=body, via="respan", deployment="d")

    found = request_dict(question)

    assert found == {"method": "POST", "path": "/x", **expected}
    assert json.loads(json.dumps(found)) == found


def test_what_else_is_compared_is_in_the_snapshot() -> None:
    """The query, the gateway's parameters, and headers if they are compared."""
    question = Question(
        "GET", "/x", (("a", "1"), ("a", "2")), None, {"metadata": {"run": 7}}, headers=(("x-t", "1"),)
    )

    assert request_dict(question) == {
        "method": "GET",
        "path": "/x",
        "query": [["a", "1"], ["a", "2"]],
        "headers": {"x-t": "1"},
        "respan": {"metadata": {"run": 7}},
    }


def test_views_are_copies() -> None:
    """A test that changes what it looks at changes no recording, and read-only values come as plain ones."""
    question = CHAT._replace(respan=MappingProxyType({"metadata": MappingProxyType({"run": (7,)})}))

    call, request = view(question, None), request_dict(question)
    call.messages.append("x")
    call["json"]["messages"].clear()
    request["json"]["messages"].clear()

    assert question.body == Json({"model": "m", "messages": [USER]})
    assert type(call.respan["metadata"]) is dict
    assert request["respan"] == {"metadata": {"run": [7]}}
    assert view(question, None).messages == [USER]
