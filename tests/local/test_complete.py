"""Which answers may be kept: none that broke off, failed, was filtered or cut short."""

from __future__ import annotations

import json
from typing import Any

import pytest

from respan_openai.local.complete import MAX_BYTES, is_complete
from respan_openai.local.echo import Echo


CHAT = "/chat/completions"
RESPONSES = "/responses"
ASKED: dict[str, dict[str, Any]] = {
    CHAT: {"model": "m", "messages": [{"role": "user", "content": "Hi there"}]},
    RESPONSES: {"model": "m", "input": "Hi there"},
}


def echoed(path: str, **fields: Any) -> tuple[bytes, ...]:
    """A complete answer on *path*."""
    body = json.dumps({**ASKED[path], **fields}).encode()
    return Echo().answer(Echo().outgoing(path, [], body)).chunks


def whole(found: object, path: str = CHAT, status: int = 200) -> bool:
    """Whether *found* may be kept as the body of an answer."""
    return is_complete(path, status, [json.dumps(found).encode()], streamed=False)


def streamed(*events: object, path: str = CHAT) -> bool:
    """Whether a stream of *events* may be kept; one that is text is not written as JSON."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return is_complete(path, 200, [f"data: {text}\n\n".encode() for text in texts], streamed=True)


def choice(reason: object = "stop", **message: Any) -> dict[str, Any]:
    return {"index": 0, "finish_reason": reason, "message": message or {"content": "Hi"}}


def calling(*arguments: str) -> dict[str, Any]:
    """A message that calls a tool once with each of *arguments*."""
    return {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": text}} for text in arguments]}


# -- whole answers


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("stream", [False, True])
def test_a_complete_answer_is_kept(path: str, stream: bool) -> None:
    """Both paths, streamed or not, however the bytes are cut."""
    chunks = echoed(path, stream=stream)
    body = b"".join(chunks)

    assert is_complete(path, 200, chunks, streamed=stream)
    assert is_complete(path, 200, [body[:7], body[7:]], streamed=stream)


@pytest.mark.parametrize("status", [201, 204, 206, 400, 429, 500])
def test_only_a_200_is_kept(status: int) -> None:
    """Errors, and answers of which only a part came, are never served again."""
    assert not whole({"choices": [choice()]}, status=status)


@pytest.mark.parametrize("path", ["/embeddings", "/audio/speech"])
def test_other_paths_are_not_kept(path: str) -> None:
    """Only what is understood can be found complete."""
    assert not whole({"choices": [choice()], "status": "completed"}, path)
    assert not streamed("[DONE]", path=path)


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "function_call"])
def test_good_ends_are_kept(reason: str) -> None:
    """Whatever else the answer holds."""
    assert whole({"choices": [choice(reason), choice("stop")], "error": None})


@pytest.mark.parametrize("reason", ["length", "content_filter", "error", "eos", "", None])
def test_bad_ends_are_not_kept(reason: object) -> None:
    """Nor if only one of several choices ended so."""
    assert not whole({"choices": [choice("stop"), choice(reason)]})


@pytest.mark.parametrize(
    "found",
    [
        {},
        [],
        "text",
        None,
        {"choices": []},
        {"choices": None},
        {"choices": {"0": choice()}},
        {"choices": ["text"]},
        {"choices": [choice(content="")]},
        {"choices": [choice(content=None)]},
        {"choices": [choice("tool_calls", **calling('{"city": "Par'))]},
        {"choices": [choice()], "error": {"message": "late"}},
    ],
)
def test_what_is_no_good_chat_is_not_kept(found: object) -> None:
    """Empty, without content, with arguments that are no JSON, or with an error inside."""
    assert not whole(found)


def test_a_refusal_and_a_tool_call_are_content() -> None:
    """They are what the model has to say."""
    assert whole({"choices": [choice(content=None, refusal="No.")]})
    assert whole({"choices": [choice("tool_calls", content=None, **calling("{}", '{"a": 1}'))]})


@pytest.mark.parametrize("status", ["incomplete", "failed", "in_progress", "queued", "cancelled", None])
def test_a_response_that_is_not_completed_is_not_kept(status: object) -> None:
    """Only ``completed`` is an end that is good."""
    assert not whole({"status": status, "output": []}, RESPONSES)


def test_a_response_must_say_that_it_is_completed() -> None:
    """A body without a status is no response, and one with an error no good one."""
    assert whole({"status": "completed", "error": None}, RESPONSES)
    assert not whole({"output": []}, RESPONSES)
    assert not whole({"status": "completed", "error": {"code": "server_error"}}, RESPONSES)


@pytest.mark.parametrize("body", [b"", b"<html></html>", b'{"choices": [', b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
@pytest.mark.parametrize("stream", [False, True])
def test_garbage_is_not_kept(path: str, stream: bool, body: bytes) -> None:
    """Nothing raises, and nothing of it is kept."""
    assert not is_complete(path, 200, [body], streamed=stream)


def test_a_large_answer_is_not_kept() -> None:
    """One byte more than ``MAX_BYTES`` is too many; spaces are bytes too."""
    body = json.dumps({"choices": [choice()]}).encode()

    assert is_complete(CHAT, 200, [body.ljust(MAX_BYTES)], streamed=False)
    assert not is_complete(CHAT, 200, [body.ljust(MAX_BYTES), b" "], streamed=False)


# -- streams


def delta(index: object = 0, reason: object = None, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": fields, "finish_reason": reason}]}


def call_delta(arguments: object, call: int = 0, index: int = 0) -> dict[str, Any]:
    return delta(index, tool_calls=[{"index": call, "function": {"arguments": arguments}}])


SAID, STOP, CALLED = delta(content="Hi"), delta(reason="stop"), delta(reason="tool_calls")


def test_a_stream_is_kept_with_its_end() -> None:
    """Text, an end and ``[DONE]``, whatever other events come between."""
    assert streamed(
        delta(role="assistant", content=""), SAID, STOP, {"choices": [], "usage": {"a": 1}}, "[DONE]"
    )


@pytest.mark.parametrize(
    "events",
    [
        (),
        ("[DONE]",),
        (SAID,),
        (SAID, "[DONE]"),
        (SAID, STOP),
        (STOP, "[DONE]"),
        (delta(content=""), STOP, "[DONE]"),
        (SAID, delta(reason="length"), "[DONE]"),
        (SAID, delta(reason="content_filter"), "[DONE]"),
        (SAID, {"error": {"message": "overloaded"}}, STOP, "[DONE]"),
        (SAID, STOP, {"error": "late"}, "[DONE]"),
        (SAID, "{", STOP, "[DONE]"),
        (SAID, delta(1, content="Ho"), STOP, "[DONE]"),
        (SAID, delta(1, reason="stop"), STOP, "[DONE]"),
        (delta(1, content="Ho"), delta(1, reason="stop"), STOP, "[DONE]"),
    ],
)
def test_a_stream_that_is_not_whole_is_not_kept(events: tuple[object, ...]) -> None:
    """Broken off before its end or ``[DONE]``, cut short, filtered, with an error, or a choice without content."""
    assert not streamed(*events)


def test_a_stream_of_several_choices_is_kept() -> None:
    """Each has content and has ended well."""
    assert streamed(SAID, delta(1, refusal="No."), STOP, delta(1, reason="stop"), "[DONE]")


def test_tool_calls_in_a_stream_are_put_together() -> None:
    """Pieces of arguments are no JSON, and together they are; each call of each choice on its own."""
    pieces = [call_delta('{"a":'), call_delta("{", call=1), call_delta(" 1}"), call_delta("}", call=1)]

    assert streamed(*pieces, CALLED, "[DONE]")


@pytest.mark.parametrize("arguments", ['{"a":', '{"a": 1}}', "[1]", '{"a": 1}, '])
def test_broken_arguments_in_a_stream_are_not_kept(arguments: str) -> None:
    """Nobody could run the tool with them, today or from the cache."""
    assert not streamed(call_delta(arguments), CALLED, "[DONE]")


def test_calls_without_arguments_are_kept() -> None:
    """Some tools take none, and some providers then say nothing, or ``null``."""
    assert streamed(call_delta(""), call_delta(None), CALLED, "[DONE]")


def test_what_follows_the_end_is_not_looked_at() -> None:
    """The SDK has stopped reading, so it cannot spoil the answer."""
    tail = b"data: \xff\n\n"
    events = [call_delta("{}"), CALLED]
    chunks = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events]

    assert is_complete(CHAT, 200, [*chunks, b"data: [DONE]\n\n", tail], streamed=True)


COMPLETED = {"type": "response.completed", "response": {"status": "completed"}}


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ((COMPLETED,), True),
        ((), False),
        (({"type": "response.incomplete", "response": {}},), False),
        (({"type": "response.failed", "response": {"error": {"code": "server_error"}}},), False),
        (({"type": "error", "message": "late"},), False),
        (({"type": "error", "message": "early"}, COMPLETED), False),
        ((COMPLETED, "{"), False),
    ],
)
def test_a_stream_of_responses_ends_completed(last: tuple[object, ...], expected: bool) -> None:
    """``response.completed`` is its only good end; it has no ``[DONE]``."""
    events = [
        {"type": "response.created", "response": {}},
        {"type": "response.output_text.delta", "delta": "Hi"},
    ]

    assert streamed(*events, *last, path=RESPONSES) is expected
