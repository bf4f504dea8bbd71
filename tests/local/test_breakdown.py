"""The summary of a call: its shape, its place in answers and streams, and tokens by kind."""

from __future__ import annotations

import json
from typing import Any

import pytest

from respan_openai.local.breakdown import (
    BreakdownEvents,
    breakdown,
    final_chunk,
    token_breakdown,
    with_breakdown,
    with_token_breakdown,
)
from respan_openai.local.events import object_in
from respan_openai.local.usage import Tokens


CHAT, RESPONSES = "/chat/completions", "/responses"
DONE = b"data: [DONE]\n\n"

MESSAGES = [{"role": "user", "content": "How are you doing today?"}]
REPLY = {"content": " I'm doing well, thanks for asking!", "role": "assistant"}

#: "Regular Response" in reference 003:3, but for the category, which is somebody's evaluation.
DOCUMENTED = {
    "prompt_tokens": 6,
    "completion_tokens": 9,
    "cost": 4.8e-5,
    "prompt_messages": MESSAGES,
    "completion_message": REPLY,
    "model": "claude-2",
    "cached": False,
    "timestamp": "2024-02-20T01:23:39.329729Z",
    "status_code": 200,
    "stream": False,
    "latency": 1.8415491580963135,
    "scores": {},
    "category": None,
    "metadata": {},
    "routing_time": 0.18612787732854486,
    "full_request": {"messages": MESSAGES, "model": "claude-2", "logprobs": True},
    "sentiment_score": 0,
}


def summary(**changes: Any) -> dict[str, Any]:
    """The documented example, made from plain values."""
    values = {
        "tokens": Tokens(6, 9),
        "cost": 48_000,
        "prompt_messages": MESSAGES,
        "completion_message": REPLY,
        "model": "claude-2",
        "cached": False,
        "at": 1708392219.329729,
        "status_code": 200,
        "stream": False,
        "latency": 1.8415491580963135,
        "routing_time": 0.18612787732854486,
        "full_request": {"messages": MESSAGES, "model": "claude-2", "logprobs": True},
    }
    return breakdown(**{**values, **changes})


def test_the_summary_is_the_documented_one() -> None:
    """Same names in the same order, and the same values (reference 003:3, "Regular Response")."""
    assert list(summary().items()) == list(DOCUMENTED.items())


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"tokens": None, "cost": None}, {"prompt_tokens": None, "completion_tokens": None, "cost": None}),
        ({"tokens": Tokens(5)}, {"prompt_tokens": 5, "completion_tokens": None}),
        ({"cost": 0}, {"cost": 0.0}),
        ({"cost": 1}, {"cost": 1e-09}),
        ({"completion_message": None, "model": None}, {"completion_message": None, "model": None}),
        ({"metadata": {"a": "1"}}, {"metadata": {"a": "1"}}),
        ({"at": 0.0}, {"timestamp": "1970-01-01T00:00:00.000000Z"}),
    ],
    ids=range(7),
)
def test_what_is_not_known_is_null(changes, shown) -> None:
    """And what is known to be nothing is 0."""
    found = summary(**changes)

    assert {name: found[name] for name in shown} == shown


def test_a_whole_answer_has_it_at_the_top() -> None:
    """Beside everything else, which stays as it was."""
    answer = {"id": "chatcmpl-1", "choices": []}

    assert with_breakdown(answer, DOCUMENTED) == {**answer, "request_breakdown": DOCUMENTED}
    assert answer == {"id": "chatcmpl-1", "choices": []}


# -- chat streams


#: Names in "Streaming Response" of reference 003:3.
CHUNK_NAMES = ["id", "choices", "created", "model", "object", "system_fingerprint", "usage"]
CHOICE_NAMES = ["delta", "finish_reason", "request_breakdown", "index", "message"]
NEWEST = {
    "id": "c",
    "created": 17,
    "system_fingerprint": "fp",
    "choices": [
        {"index": 1, "finish_reason": "length"},
        {"index": 0, "delta": {}, "finish_reason": "tool_calls"},
    ],
}


def test_the_last_chunk_has_the_documented_names() -> None:
    """And its own values where they do no harm to what is accumulated."""
    chunk = object_in(final_chunk(DOCUMENTED, NEWEST))
    choice = chunk["choices"][0]

    assert list(chunk) == CHUNK_NAMES
    assert list(choice) == CHOICE_NAMES
    assert (chunk["id"], chunk["model"]) == ("request_breakdown", "extra_parameter")
    assert (chunk["object"], chunk["usage"]) == ("chat.completion.chunk", None)
    assert choice["request_breakdown"] == DOCUMENTED
    assert (choice["index"], choice["message"]) == (0, {"content": None, "role": "assistant"})
    assert choice["delta"] == {"content": None, "role": None}


@pytest.mark.parametrize(
    ("before", "repeated"),
    [
        (NEWEST, (17, "fp", "tool_calls")),
        ({**NEWEST, "choices": [{"index": 1, "finish_reason": "stop"}]}, (17, "fp", None)),
        ({"choices": []}, (0, None, None)),
        (None, (0, None, None)),
    ],
    ids=["choice 0", "another choice", "no choice", "nothing"],
)
def test_the_last_chunk_repeats_what_it_would_replace(before, repeated) -> None:
    """Only of the choice that it claims to be of."""
    chunk = object_in(final_chunk(DOCUMENTED, before))

    assert (chunk["created"], chunk["system_fingerprint"], chunk["choices"][0]["finish_reason"]) == repeated


def event(thing: Any, name: str = "") -> bytes:
    return (f"event: {name}\n" if name else "").encode() + b"data: %s\n\n" % json.dumps(thing).encode()


CHUNK = event(NEWEST)
COUNTED = event({**NEWEST, "choices": [], "usage": {"total_tokens": 7}})
OURS = final_chunk(DOCUMENTED, NEWEST)


def passed(path: str, *events: bytes) -> list[bytes]:
    """What a caller gets of a stream that came to its end."""
    inserted = BreakdownEvents(path, lambda: DOCUMENTED)
    return [*(out for sent in events for out in inserted.passed(sent)), *inserted.over()]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([CHUNK, DONE], [CHUNK, OURS, DONE]),
        ([CHUNK, COUNTED, DONE], [CHUNK, OURS, COUNTED, DONE]),
        ([CHUNK], [CHUNK, OURS]),
        ([CHUNK, DONE, DONE], [CHUNK, OURS, DONE, DONE]),
        ([CHUNK, b": x\n\n", DONE], [CHUNK, b": x\n\n", OURS, DONE]),
        ([DONE], [final_chunk(DOCUMENTED), DONE]),
        ([], []),
    ],
    ids=["last", "before the usage", "without an end", "once", "comments", "nothing before", "nothing"],
)
def test_where_the_chunk_goes(events, expected) -> None:
    """It is the last one, but for that with the usage (reference 003:3), and comes once."""
    assert passed(CHAT, *events) == expected


@pytest.mark.parametrize(
    "chunk",
    [
        {**NEWEST, "usage": {"total_tokens": 7}},
        {**NEWEST, "choices": [], "usage": None},
        {**NEWEST, "choices": [], "usage": {}},
        {**NEWEST, "choices": [{"index": 0, "logprobs": []}], "usage": {"total_tokens": 7}},
        {"choices": [{"index": 0, "delta": {"content": '[DONE] "usage": [] '}}]},
    ],
    ids=range(5),
)
def test_other_chunks_are_not_the_end(chunk) -> None:
    """A usage beside choices, a first chunk without any, a text about the end."""
    sent = event(chunk)

    assert passed(CHAT, sent, DONE)[0] == sent
    assert len(passed(CHAT, sent, DONE)) == 3


def test_the_summary_is_made_when_its_place_is_reached() -> None:
    """Once, and not before: until then nobody knows what it says."""
    made: list[str] = []
    inserted = BreakdownEvents(CHAT, lambda: made.append("made") or DOCUMENTED)

    inserted.passed(CHUNK)
    assert made == []
    inserted.passed(COUNTED)
    inserted.passed(DONE)
    inserted.over()
    assert made == ["made"]


# -- Responses streams


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_a_response_has_it_in_its_last_event(kind) -> None:
    """Where the whole answer has it, and every other event passes as it is."""
    delta = event(
        {"type": "response.output_text.delta", "delta": "response.completed"}, "response.output_text.delta"
    )
    last = {"type": kind, "response": {"id": "r", "output": []}, "sequence_number": 4}

    first, second, *rest = passed(RESPONSES, delta, event(last, kind), DONE)

    assert (first, rest) == (delta, [DONE])
    assert second.startswith(f"event: {kind}\ndata: ".encode())
    assert object_in(second) == {**last, "response": {**last["response"], "request_breakdown": DOCUMENTED}}


@pytest.mark.parametrize(
    "sent",
    [
        event({"type": "response.completed"}),
        event({"type": "response.completed", "response": None}),
        event({"type": "other", "response": {}, "text": "response.completed"}),
        event({"type": None, "response": {}, "text": "response.completed"}),
        event({"type": "completed", "response": {}, "text": "response.completed"}),
        b"event: response.completed\ndata: {\n\n",
    ],
    ids=range(6),
)
def test_an_event_without_a_response_passes(sent) -> None:
    """There is no place in it."""
    assert passed(RESPONSES, sent) == [sent]


def test_other_streams_have_no_place_for_it() -> None:
    """Sound passes as it is."""
    assert passed("/audio/speech", b"RIFF", CHUNK, DONE) == [b"RIFF", CHUNK, DONE]


# -- tokens by kind


def test_tokens_by_kind() -> None:
    """What is not known is left out; what is 0 is not."""
    expected = {"prompt_tokens": 9, "completion_tokens": 5, "cached_tokens": 0, "reasoning_tokens": 4}

    assert token_breakdown(Tokens(9, 5, cached=0, reasoning=4)) == expected
    assert token_breakdown(Tokens(1, 2, 3, 4, 5, 6, 7)) == {
        "prompt_tokens": 1,
        "completion_tokens": 2,
        "cached_tokens": 3,
        "cache_creation_tokens": 4,
        "reasoning_tokens": 5,
        "audio_prompt_tokens": 6,
        "audio_completion_tokens": 7,
    }


def test_tokens_by_kind_stand_in_the_usage() -> None:
    """And nowhere if they are not known."""
    usage = {"prompt_tokens": 1, "completion_tokens": 2}

    assert with_token_breakdown(usage, Tokens(1, 2)) == {**usage, "token_breakdown": usage}
    assert with_token_breakdown(usage, None) is usage
