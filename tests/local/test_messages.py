"""What was said, as messages: of requests, of whole answers, and of streams."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.local.messages import LAST_EVENTS, Answer, completion_message_of, prompt_messages_of


CHAT, RESPONSES, EMBEDDINGS = "/chat/completions", "/responses", "/embeddings"
USER = {"role": "user", "content": "Hi"}


def events(*objects: Any) -> list[bytes]:
    return [b"data: %s\n\n" % json.dumps(thing).encode() for thing in objects] + [
        b": x\n\n",
        b"data: [DONE]\n\n",
    ]


def deltas(*things: Any, index: int = 0) -> list[bytes]:
    return events(*({"choices": [{"index": index, "delta": thing}]} for thing in things))


@pytest.mark.parametrize(
    ("path", "fields", "expected"),
    [
        (CHAT, {"messages": [USER]}, [USER]),
        (CHAT, {"messages": "Hi"}, []),
        (CHAT, {}, []),
        (RESPONSES, {"input": "Hi"}, [USER]),
        (RESPONSES, {"input": [USER, {"type": "reasoning"}, 7]}, [USER, {"type": "reasoning"}]),
        (
            RESPONSES,
            {"input": "Hi", "instructions": "Be brief"},
            [{"role": "system", "content": "Be brief"}, USER],
        ),
        (RESPONSES, {"instructions": ["x"]}, []),
        (EMBEDDINGS, {"input": ["Hi", "Ho"]}, [USER, {"role": "user", "content": "Ho"}]),
        (EMBEDDINGS, {"input": [1, 2]}, []),
        ("/audio/speech", {"input": "Hi"}, [USER]),
        ("/audio/transcriptions", {}, []),
    ],
)
def test_what_was_asked(path, fields, expected) -> None:
    """In the form of chat messages, whatever the endpoint; what cannot be read is left out."""
    assert prompt_messages_of(path, fields) == expected


#: Names that have a meaning somewhere.
NAMES = [
    "choices",
    "delta",
    "message",
    "content",
    "refusal",
    "tool_calls",
    "index",
    "id",
    "function",
    "arguments",
]
NAMES += ["type", "response", "output", "item", "text", "call_id", "name"]

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}


def item(*parts: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": list(parts)}


TEXT = {"type": "output_text", "text": "Hello"}
CALLED = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "f", "arguments": '{"a": 1}'}


@pytest.mark.parametrize(
    ("path", "answer", "expected"),
    [
        (
            CHAT,
            {"choices": [{"message": {"role": "assistant", "content": "a"}}, {"message": {"content": "b"}}]},
            {"role": "assistant", "content": "a"},
        ),
        (CHAT, {"choices": [{"message": None}]}, None),
        (CHAT, {"choices": []}, None),
        (CHAT, {"choices": None}, None),
        (RESPONSES, {"output": [item(TEXT, TEXT)]}, {"role": "assistant", "content": "HelloHello"}),
        (
            RESPONSES,
            {"output": [{"type": "reasoning", "content": [{"text": "hm"}]}, item(TEXT)]},
            {"role": "assistant", "content": "Hello"},
        ),
        (RESPONSES, {"output": [CALLED]}, {"role": "assistant", "content": None, "tool_calls": [CALL]}),
        (
            RESPONSES,
            {"output": [item({"type": "refusal", "refusal": "No"})]},
            {"role": "assistant", "content": None, "refusal": "No"},
        ),
        (RESPONSES, {"output": [item({"text": 7})]}, None),
        (RESPONSES, {"output": "x"}, None),
        (RESPONSES, {}, None),
        (EMBEDDINGS, {"data": []}, None),
    ],
)
def test_what_a_whole_answer_says(path, answer, expected) -> None:
    """The first choice's message; on Responses the texts and calls of all items."""
    assert completion_message_of(path, answer) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            deltas({"role": "assistant", "content": ""}, {"content": "Hel"}, {"content": "lo"}, {}),
            {"role": "assistant", "content": "Hello"},
        ),
        (deltas({"role": "assistant", "content": ""}, {}), {"role": "assistant", "content": ""}),
        (deltas({"role": "assistant"}), {"role": "assistant", "content": None}),
        (deltas({"content": "a"}) + deltas({"content": "b"}, index=1), {"role": "assistant", "content": "a"}),
        (
            deltas({"content": None, "refusal": "N"}, {"refusal": "o"}),
            {"role": "assistant", "content": None, "refusal": "No"},
        ),
        (deltas(None, "x"), None),
        (events({"choices": "x"}, 7, {}), None),
        ([], None),
    ],
    ids=range(8),
)
def test_what_a_stream_of_chunks_says(answer, expected) -> None:
    """The pieces of the first choice, put together as far as they came."""
    assert completion_message_of(CHAT, answer) == expected


@pytest.mark.parametrize("again", [{}, {"id": "call_1", "type": "function"}], ids=["once", "again and again"])
def test_tool_calls_come_in_pieces(again) -> None:
    """Arguments are joined; id, type and name are the same however often a provider sends them."""
    answer = deltas(
        {
            "tool_calls": [
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
            ]
        },
        {"tool_calls": [{"index": 0, **again, "function": {"arguments": '{"a"'}}]},
        {
            "tool_calls": [
                {"index": 1, "id": "call_2", "type": "custom", "custom": {"name": "g", "input": "x"}}
            ]
        },
        {"tool_calls": [{"index": 0, **again, "function": {"name": None, "arguments": ": 1}"}}]},
        {"tool_calls": [{"index": 1, "custom": {"input": "y"}}]},
    )

    assert completion_message_of(CHAT, answer) == {
        "role": "assistant",
        "content": None,
        "tool_calls": [CALL, {"id": "call_2", "type": "custom", "custom": {"name": "g", "input": "xy"}}],
    }


DELTAS = ({"type": "response.output_text.delta", "delta": text} for text in ("Hel", "lo"))
BROKEN = [*DELTAS, {"type": "response.output_item.done", "item": CALLED}]


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_the_last_event_of_a_response_says_all(kind) -> None:
    """Its output holds, for it is what the SDK takes for the answer."""
    answer = events(*BROKEN, {"type": kind, "response": {"output": [item({**TEXT, "text": "Hello!"})]}})

    assert completion_message_of(RESPONSES, answer) == {"role": "assistant", "content": "Hello!"}


@pytest.mark.parametrize(
    "last", [[], [{"type": "response.failed", "response": {"output": []}}]], ids=["none", "empty"]
)
def test_a_response_that_broke_off(last) -> None:
    """What had come is put together from the events."""
    expected = {"role": "assistant", "content": "Hello", "tool_calls": [CALL]}

    assert completion_message_of(RESPONSES, events(*BROKEN, *last)) == expected


_JSON = st.recursive(
    st.none() | st.integers(0, 2) | st.sampled_from(["a", "message", "function_call", *LAST_EVENTS]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=12,
)
_CHUNK = st.fixed_dictionaries(
    {
        "choices": st.lists(
            st.fixed_dictionaries({"delta": _JSON | st.fixed_dictionaries({"tool_calls": st.lists(_JSON)})})
        )
    }
)


@given(path=st.sampled_from([CHAT, RESPONSES]), things=st.lists(_JSON | _CHUNK, max_size=4))
def test_no_answer_breaks_a_call(path, things) -> None:
    """Whatever a provider sends, there is a message or there is none; the log can keep it as JSON."""
    for answer in (events(*things), *(thing for thing in things if isinstance(thing, dict))):
        message = completion_message_of(path, answer)

        assert message is None or isinstance(json.loads(json.dumps(message)), dict)


def test_events_of_other_endpoints_say_nothing() -> None:
    """A stream of sound is no message."""
    assert completion_message_of("/audio/speech", events({"type": "speech.audio.delta"})) is None
    assert completion_message_of(RESPONSES, events({"type": "response.created", "response": {}})) is None


# -- a whole answer


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        (CHAT, b'{"id": 1}', {"id": 1}),
        (RESPONSES, b'{"id": 1}', {"id": 1}),
        (EMBEDDINGS, b'{"id": 1}', {"id": 1}),
        (CHAT, b"[1]", {}),
        (CHAT, b"no json", {}),
        ("/audio/transcriptions", b'{"text": "hi"}', {}),
        ("/audio/speech", b"{}", {}),
    ],
)
def test_bytes_of_a_whole_answer(path: str, body: bytes, says: Any) -> None:
    """The object that it is, on a path whose answers are looked into."""
    answer = Answer(path, body)

    assert (answer.body, answer.says) == (body, says)


def test_whole_answer_that_says_something_else() -> None:
    """It is written anew only where it has to be, and where that is possible."""
    answer = Answer(CHAT, b'{ "id": 1 }')

    assert answer.saying(answer.says) is answer
    assert answer.saying({**answer.says, "id": 2}).body == b'{"id":2}'
    assert answer.saying({"id": float("nan")}) is answer
    assert answer.body == b'{ "id": 1 }'


def test_message_of_a_whole_answer() -> None:
    """That of the first choice; none where nothing is looked into."""
    message = {"role": "assistant", "content": "hi"}
    body = json.dumps({"choices": [{"message": message}]}).encode()

    assert Answer(CHAT, body).message == message
    assert Answer("/audio/transcriptions", body).message is None
