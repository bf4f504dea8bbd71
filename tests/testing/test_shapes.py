"""Whether a live answer has the shape of the recorded one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai.testing.recording import Answer, Chunk, Failure
from respan_openai.testing.shapes import Change, changes


def whole(value: Any, status: int = 200, kind: str = "application/json") -> Answer:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return Answer(status, (("content-type", kind),), (Chunk(1, body),))


def stream(*events: Any, done: bool = True) -> Answer:
    """Of objects; a pair is an event's name and its object, a text its data."""
    lines = [_event(each) for each in events] + ["data: [DONE]\n\n"] * done
    return whole("".join(lines).encode(), kind="text/event-stream; charset=utf-8")


def _event(event: Any) -> str:
    if isinstance(event, tuple):
        return f"event: {event[0]}\ndata: {json.dumps(event[1])}\n\n"
    return f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n"


def found(recorded: Answer, live: Answer) -> list[tuple[str, str, str]]:
    return [tuple(change) for change in changes(recorded, live)]


def delta(**fields: Any) -> dict[str, Any]:
    return {"object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": fields}]}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 2}, []),
        ({"a": 1}, {"a": 1.5}, []),
        ({"a": 1}, {"a": 1, "b": 2}, [("info", "body.b", "is new")]),
        ({"a": 1, "b": 2}, {"a": 1}, [("warning", "body.b", "is gone")]),
        ({"a": 1}, {"a": "1"}, [("error", "body.a", "was a number, is a string")]),
        ({"a": True}, {"a": 1}, [("error", "body.a", "was a boolean, is a number")]),
        ({"a": {"b": 1}}, {"a": [1]}, [("error", "body.a", "was an object, is an array")]),
        ({"a": None}, {"a": "x"}, [("info", "body.a", "was null, is a string")]),
        ({"a": "x"}, {"a": None}, [("warning", "body.a", "was a string, is null")]),
        ({"a": None}, {"a": None}, []),
        ({"a": []}, {"a": [1]}, []),
        ({"a": [1]}, {"a": []}, []),
        ({"a": [1, "x"]}, {"a": ["y"]}, []),
        ({"a": [1]}, {"a": [1, "x"]}, [("error", "body.a[]", "was a number, is a number or a string")]),
        ({"a": [{"b": 1}, {"c": 1}]}, {"a": [{"c": 2, "b": 3}] * 9}, []),
        (
            {"o": [{"type": "text", "t": 1}, {"type": "call", "f": "x"}]},
            {"o": [{"type": "text", "t": "1"}, {"type": "image"}]},
            [
                ("warning", "body.o[call]", "is gone"),
                ("info", "body.o[image]", "is new"),
                ("error", "body.o[text].t", "was a number, is a string"),
            ],
        ),
        (
            {"a": {"b": {"c": 1}}},
            {"a": {"b": {"c": "1"}}},
            [("error", "body.a.b.c", "was a number, is a string")],
        ),
        (b"no json", {"a": 1}, [("error", "body", "was no JSON, is an object")]),
        ({"a": 1}, b"no json", [("error", "body", "was an object, is no JSON")]),
        (b"no json", b"none either", []),
        ({"model": "m-1"}, {"model": "m-2"}, [("warning", "model", "was m-1, is m-2")]),
        ({"model": "m"}, {"model": 1}, [("error", "body.model", "was a string, is a number")]),
        (
            {"response": {"model": "m-1"}},
            {"response": {"model": "m-2"}},
            [("warning", "model", "was m-1, is m-2")],
        ),
    ],
)
def test_bodies(before, after, expected) -> None:
    """New is told, gone is a warning, another type is an error; values do not matter, nor their number."""
    assert found(whole(before), whole(after)) == expected


@pytest.mark.parametrize(
    ("recorded", "live", "expected"),
    [
        (whole({}), whole({}, 201), [("warning", "status", "was 200, is 201")]),
        (whole({}), whole({"error": {}}, 404), [("error", "status", "was 2xx, is 4xx")]),
        (
            whole({}),
            whole(b"", kind="text/html"),
            [("error", "content-type", "was application/json, is text/html")],
        ),
        (whole({}), Answer(200), [("error", "content-type", "was application/json, is none")]),
        (Answer(204), Answer(204), []),
        (whole(b"\x00", kind="audio/mpeg"), whole(b"\x01\x02", kind="audio/mpeg"), []),
        (
            whole({}),
            whole({})._replace(end="failed", failure=Failure("ReadError", 1)),
            [("error", "end", "breaks off with ReadError")],
        ),
        (
            whole({})._replace(end="failed", failure=Failure("ReadError", 1)),
            whole({}),
            [("warning", "end", "broke off with ReadError, does not")],
        ),
        (whole({})._replace(end="closed"), whole({}), []),
        (
            Answer(None, failure=Failure("ReadTimeout", 1), end="failed"),
            Answer(None, failure=Failure("ConnectError", 1), end="failed"),
            [("error", "status", "was ReadTimeout, is ConnectError")],
        ),
        (Answer(None), Answer(None), []),
        (
            Answer(None, end="failed"),
            Answer(200),
            [("error", "status", "was a failure, is 2xx")],
        ),
    ],
)
def test_around_the_body(recorded, live, expected) -> None:
    """An answer of another class or type is not compared further; where a reader left is nothing."""
    assert found(recorded, live) == expected


def test_streams_of_another_length() -> None:
    """How many pieces a text comes in says nothing."""
    recorded = stream(delta(role="assistant"), delta(content="a"), delta(content="b"))
    live = stream(delta(role="assistant"), *[delta(content="c")] * 9)

    assert found(recorded, live) == []


def test_events_of_the_same_type_are_taken_together() -> None:
    """A field that one of them has is there; one that another type has is not."""
    old = [{"type": "a.delta", "x": 1}, {"type": "a.delta", "y": 1}, ("b.done", {"z": 1})]
    new = [{"type": "a.delta", "y": 2}, ("b.done", {"z": "1"})]

    assert found(stream(*old), stream(*new)) == [
        ("warning", "events[a.delta].x", "is gone"),
        ("error", "events[b.done].z", "was a number, is a string"),
    ]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (stream(delta()), stream(delta(), done=False), [("warning", "events[[DONE]]", "is gone")]),
        (
            stream({"type": "a"}, {"type": "b"}),
            stream({"type": "b"}, {"type": "a"}),
            [("warning", "events", "begin in another order")],
        ),
        (stream({"type": "a"}), stream({"type": "a"}, {"type": "c"}), [("info", "events[c]", "is new")]),
        (stream("text"), stream("other text"), []),
        (stream({"a": 1}), stream({"a": 2}), []),
        (
            stream(delta()),
            stream(delta(), "{broken"),
            [("error", "events", "have data that is no JSON"), ("info", "events[unreadable]", "is new")],
        ),
        (
            stream({"type": "r", "response": {"model": "m-1"}}),
            stream({"type": "r", "response": {"model": "m-2"}}),
            [("warning", "model", "was m-1, is m-2")],
        ),
    ],
)
def test_which_events_come(before, after, expected) -> None:
    """Types that are new, gone, or begin in another order; data that cannot be read; another model."""
    assert sorted(found(before, after)) == sorted(expected)


SECRET = "what-nobody-may-read"


@pytest.mark.parametrize("value", [SECRET, [SECRET], {"type": SECRET.title() + "!"}, 7, None, True])
@pytest.mark.parametrize("other", [1, {}, [], None, "x"])
def test_no_content_in_the_text(value, other) -> None:
    """Whatever an answer says, a change names types and fields only."""
    for recorded, live in ((value, other), (other, value)):
        for wrap in (whole, stream):
            told = str(changes(wrap({"content": recorded}), wrap({"content": live})))
            assert SECRET.lower() not in told.lower()


def test_a_name_may_be_anything() -> None:
    """Braces, escape sequences and length in a field's name do not spoil the line."""
    name = "{}\x1b[2J" + "x" * 500

    (change,) = changes(whole({"a": 1}), whole({"a": 1, name: 1}))

    assert change.place.isprintable()
    assert len(change.place) < 120


def test_depth_is_bounded() -> None:
    """An answer that is nested without end costs no recursion error."""
    text = b'{"a":' * 500 + b"1" + b"}" * 500

    assert changes(whole(text), whole(text)) == []


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "a", "b"]), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(JSON_VALUES, st.booleans())
def test_an_answer_has_its_own_shape(value, streamed) -> None:
    """The same answer once more is never a change."""
    answer = stream(value, value) if streamed else whole(value)

    assert changes(answer, answer) == []


@given(JSON_VALUES, JSON_VALUES)
def test_nothing_is_reported_as_no_change(before, after) -> None:
    """Each change names a severity, a place and what happened there, once."""
    told = changes(whole(before), whole(after))

    assert all(
        change.severity in {"info", "warning", "error"} and change.place and change.what for change in told
    )
    assert len(set(told)) == len(told)


def test_a_change_is_a_plain_value() -> None:
    """It can be compared, sorted and unpacked."""
    assert Change("info", "body.a", "is new") == ("info", "body.a", "is new")
