"""The file of a cassette: every tape comes back from it, and what is no such file is one clear line."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from respan_openai.testing.errors import CassetteError, CassetteFileError
from respan_openai.testing.format import FORMAT, MAX_BYTES, dumps, loads
from respan_openai.testing.recording import (
    Answer,
    Chunk,
    Failure,
    Json,
    Multipart,
    Part,
    Question,
    Raw,
    Recorded,
    Tape,
)


TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just("$lines"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS | st.just("$lines"), inner, max_size=4),
    max_leaves=8,
)
PAIRS = st.lists(st.tuples(TEXTS, TEXTS), max_size=3).map(tuple)
NAMES = st.none() | TEXTS
SIZES = st.integers(0, 2**40)
BODIES = st.one_of(
    st.none(),
    st.builds(Json, VALUES),
    st.builds(
        Multipart, st.lists(st.builds(Part, TEXTS, NAMES, NAMES, NAMES, TEXTS, SIZES), max_size=3).map(tuple)
    ),
    st.builds(Raw, NAMES, NAMES, TEXTS, SIZES),
)
QUESTIONS = st.builds(
    Question,
    method=TEXTS,
    path=TEXTS,
    query=PAIRS,
    headers=PAIRS,
    body=BODIES,
    respan=st.dictionaries(TEXTS, VALUES, max_size=2),
    via=NAMES,
    deployment=NAMES,
)
DATA = (
    st.binary(min_size=1, max_size=30)
    | st.text(min_size=1, max_size=20).map(str.encode)
    | VALUES.map(lambda value: f"data: {json.dumps(value)}\n\n".encode())
    | st.sampled_from([b'{"a":', b"1e2}", b"\r\n", b"data: [DONE]\n\n", b"\xff" * 5000])
)
KINDS = st.sampled_from(["application/json", "text/event-stream", "audio/mpeg", "text/plain"])
HEADERS = PAIRS | KINDS.map(lambda kind: (("content-type", kind), ("x-request-id", "req_1")))
ANSWERS = st.builds(
    Answer,
    status=st.none() | st.integers(100, 599),
    headers=HEADERS,
    chunks=st.lists(st.builds(Chunk, st.integers(0, 99999), DATA), max_size=4).map(tuple),
    end=st.sampled_from(["eof", "closed", "failed"]),
    failure=st.none() | st.builds(Failure, TEXTS, st.integers()),
)
TAPES = st.builds(
    Tape,
    calls=st.lists(st.builds(Recorded, QUESTIONS, ANSWERS, NAMES), max_size=3).map(tuple),
    test=NAMES,
    recorded=NAMES,
    by=NAMES,
)

ASKED = Question("POST", "/chat/completions", body=Json({"model": "m", "messages": []}))


def answered(body: bytes, kind: str = "application/json", at: int = 5) -> Recorded:
    return Recorded(ASKED, Answer(200, (("content-type", kind),), (Chunk(at, body),)))


EVENTS = [
    b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n' % word
    for word in (b"Hi", b" you")
]
TAPE = Tape(
    (
        Recorded(
            Question(
                "POST",
                "/chat/completions",
                (("a", "1"),),
                Json({"messages": [{"role": "user", "content": "Hi"}]}),
                {"customer_identifier": "u1"},
                "respan",
                "mine",
            ),
            Answer(
                200,
                (("content-type", "text/event-stream"),),
                (Chunk(412, EVENTS[0]), Chunk(430, EVENTS[1])),
                "closed",
            ),
        ),
        Recorded(
            Question("POST", "/files", body=Multipart((Part("file", "a.wav", None, None, "9f", 350),))),
            Answer(200, (), (Chunk(1, b"\xff" * 5000),)),
        ),
        Recorded(
            Question("POST", "/jsonl", body=Raw("text/plain", "hello", "x", 5)),
            Answer(None, (), (), "failed", Failure("ReadTimeout", 300)),
            "hand",
        ),
    ),
    "tests/test_agent.py::test_refund",
    "2026-11-21",
    "openai 3.54.0",
)


def unread(name: str) -> bytes:
    raise FileNotFoundError(2, "No such file or directory", name)


def read(text: str | bytes, files: dict[str, bytes] | None = None) -> Tape:
    return loads(text, unread if files is None else files.__getitem__, path="a.json")


# -- nothing is lost


@given(tape=TAPES)
@example(tape=TAPE)
@example(tape=Tape(()))
@example(tape=Tape((Recorded(Question("", ""), Answer(None)),)))
@example(tape=Tape((answered(b""),)))
def test_every_tape_comes_back(tape: Tape) -> None:
    """Every field and every byte, in the same types."""
    files: dict[str, bytes] = {}
    text = dumps(tape, files, name="test_refund")

    # By their text, because NaN is not equal to itself.
    assert repr(read(text, files)) == repr(tape)
    assert repr(read(text.encode(), files)) == repr(tape)


@given(tape=TAPES)
def test_the_text_is_stable(tape: Tape) -> None:
    """A file that is read and written again does not change: nothing to commit."""
    files: dict[str, bytes] = {}
    again: dict[str, bytes] = {}
    text = dumps(tape, files, name="a")

    assert dumps(read(text, files), again, name="a") == text
    assert again == files


def test_the_file_is_known() -> None:
    """Lines that people read in a review, and other releases have to read."""
    files: dict[str, bytes] = {}

    assert (
        dumps(TAPE, files, name="test_refund")
        == """\
{
 "respan_cassette": 1,
 "test": "tests/test_agent.py::test_refund",
 "recorded": "2026-11-21",
 "with": "openai 3.54.0",
 "calls": [
  {
   "request": {
    "method": "POST",
    "path": "/chat/completions",
    "via": "respan",
    "deployment": "mine",
    "query": {"a": "1"},
    "respan": {"customer_identifier": "u1"},
    "json": {"messages": [{"role": "user", "content": "Hi"}]}
   },
   "response": {
    "status": 200,
    "headers": {"content-type": "text/event-stream"},
    "says": "Hi you",
    "sse": {
     "shared": {"id": "c"},
     "events": [
      [412, {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}],
      [430, {"choices": [{"index": 0, "delta": {"content": " you"}}]}]
     ]
    },
    "end": "closed"
   }
  },
  {
   "request": {"method": "POST", "path": "/files", "multipart": [
    {"name": "file", "filename": "a.wav", "sha256": "9f", "bytes": 350}
   ]},
   "response": {
    "status": 200,
    "file": "test_refund.d/2.bin",
    "sha256": "d41bf2913d4c6ed6e9ef11eb8b9064ac3125a7a95b48f60e305dacf048d15c2b",
    "at": 1
   }
  },
  {
   "origin": "hand",
   "request": {"method": "POST", "path": "/jsonl", "raw": {
    "type": "text/plain",
    "text": "hello",
    "sha256": "x",
    "bytes": 5
   }},
   "error": {"type": "ReadTimeout", "at": 300}
  }
 ]
}
"""
    )


def test_what_is_the_same_is_told_once() -> None:
    """Digest and size of a text, and an ending that is as usual, are not written."""
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    question = Question("POST", "/x", body=Raw("text/plain", "hello", digest, 5))
    failed = Answer(None, end="failed", failure=Failure("ReadError", 3))

    text = dumps(Tape((Recorded(question, failed),)), {}, name="a")

    assert json.loads(text)["calls"] == [
        {
            "request": {"method": "POST", "path": "/x", "raw": {"type": "text/plain", "text": "hello"}},
            "error": {"type": "ReadError", "at": 3},
        }
    ]
    assert read(text).calls[0] == Recorded(question, failed)


def nested(levels: int, key: str = "a") -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {key: value}
    return value


def test_as_deep_as_can_be_read() -> None:
    """What is written can be read; what could not be read is refused when it is written."""
    deep = Tape((Recorded(Question("POST", "/x", body=Json(nested(196))), Answer(200)),))

    assert read(dumps(deep, {}, name="a")) == deep
    for value in (nested(197), nested(5000), nested(90, "\ud83d\ude00")):
        with pytest.raises(
            CassetteError, match=r"calls\[0\]\.request\.json.*…: is nested deeper than the 200 levels"
        ):
            dumps(Tape((Recorded(Question("POST", "/x", body=Json(value)), Answer(200)),)), {}, name="a")


def test_what_is_no_json_is_not_written() -> None:
    """A value that would come back as another one is an error where it is recorded."""
    with pytest.raises(TypeError, match="tuple is none"):
        dumps(Tape((Recorded(Question("POST", "/x", body=Json({"a": (1,)})), Answer(200)),)), {}, name="a")


# -- what is no cassette


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is no JSON (Expecting value, line 1, column 1). Name another file, or record the test again."),
        ("calls: []", "is no JSON (Expecting value, line 1, column 1). Name another file"),
        ('{"a": 1 2}', "is no JSON (Expecting ',' delimiter, line 1, column 9)."),
        ('{"respan_cassette": 1,\n "calls": [', "is cut off in line 2. Restore it"),
        ('{"respan_cassette": 1, "test": "te', "is cut off in line 1. Restore it"),
        (b"\xff{}", "is no text in UTF-8."),
        ("[]", "is JSON, but no cassette of respan-openai. Name another file"),
        ('{"interactions": []}', "is JSON, but no cassette of respan-openai. Name another file"),
        ('{"respan_cassette": "1"}', "respan_cassette: must be a whole number, and is a string. Correct it"),
        ('{"respan_cassette": true}', "respan_cassette: must be a whole number, and is true or false."),
        ('{"respan_cassette": 0}', "respan_cassette: is no format that there ever was. Correct it"),
        ('{"respan_cassette": 2, "new": {"$lines": 1}}', "has format 2, and this release reads formats up"),
        ('{"new": 1, "respan_cassette": 12}', "has format 12, and this release reads formats up to 1. U"),
        ('{"respan_cassette": 2 what', "has format 2, and this release reads formats up to 1. U"),
        ('{"respan_cassette": 1}', 'lacks "calls". Correct it, or record the test again.'),
        ('{"respan_cassette": 1, "calls": {}}', "calls: must be a list, and is an object. Correct it"),
        ('{"respan_cassette": 1, "calls": [], "odd\\n": 1}', 'has an unknown key "odd\\n"; it may have'),
        ('{"respan_cassette": 1, "calls": [], "calls": []}', 'has the key "calls" twice. Correct it'),
        ('{"respan_cassette": 1, "calls": [null]}', "calls[0]: must be an object, and is null."),
        ('{"respan_cassette": 1, "calls": [NaN]}', "holds a bare NaN, which is no JSON. Write"),
        ("[" * 201 + "]" * 201, "[0][0][0][0][0][0][0][0][0][0][0][0]…: is nested deeper than 200 levels."),
        ("[" * 100000, "is nested deeper than 200 levels. Name another file"),
        ("1" * 5000, "holds a number that is too long. Correct it"),
    ],
    ids=lambda text: repr(text[:40]),
)  # fmt: skip
def test_what_is_no_cassette(text, message) -> None:
    """One line: the file, the place, what is wrong, what to do."""
    with pytest.raises(CassetteFileError) as caught:
        read(text)

    assert str(caught.value).startswith(f"a.json: {message}")
    assert "\n" not in str(caught.value)


CALL = {"request": {"method": "POST", "path": "/x"}, "response": {"status": 200, "text": "a"}}
PART = {"name": "a", "text": "b"}


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["request"], None, "request: must be an object, and is null."),
        (["request", "x"], 1, 'request: has an unknown key "x"; it may have method, path, via,'),
        (["request", "method"], 1, "request.method: must be a string, and is a whole number."),
        (["request", "json"], {"$lines": 1}, 'request.json: holds a "$lines" that is no list of strings.'),
        (["request", "query"], {"a": 1}, "request.query.a: must be a string, and is a whole number."),
        (["request", "query"], [["a"]], "request.query[0]: must be a name and a value."),
        (["request", "query"], 1.5, "request.query: must be a list, and is a number."),
        (["request", "respan"], [], "request.respan: must be an object, and is a list."),
        (["request", "raw"], {"sha256": "x"}, 'request.raw: must have a "text", or "sha256" and "bytes".'),
        (["request", "raw"], {"text": "x", "bytes": 1}, 'request.raw: must have a "text", or "sha256" and'),
        (["request", "multipart"], [PART, {}], 'request.multipart[1]: lacks "name".'),
        (["request", "multipart"], [{"name": "a"}], 'request.multipart[0]: must have a "text", or'),
        (["response", "status"], 99, "response.status: must be an HTTP status, from 100 to 999."),
        (["response", "status"], 1000, "response.status: must be an HTTP status, from 100 to 999."),
        (["response", "headers"], {"a": None}, "response.headers.a: must be a string, and is null."),
        (["response", "end"], "x", "response.end: must be one of eof, closed, failed."),
        (["response", "says"], "x", "response.says: belongs to another kind of body."),
        (["error"], {"type": "x"}, 'error: lacks "at".'),
        (["origin"], 1, "origin: must be a string, and is a whole number."),
    ],
)  # fmt: skip
def test_every_shape_is_checked(place, value, message) -> None:
    """A mistake in a file that was changed by hand is found when it is read, at its place."""
    call = json.loads(json.dumps(CALL))
    inner = call
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value

    with pytest.raises(CassetteFileError) as caught:
        read(json.dumps({"respan_cassette": FORMAT, "calls": [CALL, call]}))

    assert str(caught.value).startswith(f"a.json: calls[1].{message}")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"request": CALL["request"]}, 'has neither "response" nor "error"'),
        ({"response": {}}, 'lacks "request"'),
        ({**CALL, "request": {"method": "GET"}}, 'request: lacks "path"'),
        ({**CALL, "request": {**CALL["request"], "json": 1, "raw": PART}}, "request.raw: has an unknown key"),
        (
            {**CALL, "request": {**CALL["request"], "json": 1, "raw": {"text": ""}}},
            "has more than one of json, multip",
        ),
    ],
)
def test_what_belongs_together(call, message) -> None:
    """A call is a request with an answer; a request has one body."""
    with pytest.raises(CassetteFileError, match=message):
        read(json.dumps({"respan_cassette": FORMAT, "calls": [call]}))


def test_answers_may_be_read_later() -> None:
    """Then what is wrong with one is raised by whoever asks for it; the rest of the file is good."""
    text = dumps(TAPE, files := {}, name="a").replace('"status": 200', '"status": 2000', 1)
    later = loads(text, files.__getitem__, path="a.json", at_once=False)

    assert [call.question for call in later.calls] == [call.question for call in TAPE.calls]
    with pytest.raises(CassetteFileError, match=r"a\.json: calls\[0\]\.response\.status: must be"):
        _ = later.calls[0].answer
    assert later.calls[1:] == TAPE.calls[1:]


def test_an_answer_is_read_once() -> None:
    """Whoever asks again gets the same one."""
    call = loads(dumps(TAPE, files := {}, name="a"), files.__getitem__, at_once=False).calls[0]

    assert call.answer is call.answer


def test_recordings_are_values() -> None:
    """Equal if they say the same, wherever from, and told apart if they do not."""
    (call, *_), (again, *others) = TAPE.calls, read(dumps(TAPE, files := {}, name="a"), files).calls

    assert (call, hash(call), repr(call)) == (again, hash(again), repr(again))
    assert call not in others
    assert call != call.question


def test_a_file_beside_is_missing() -> None:
    """It is named, with the place that names it."""
    text = dumps(TAPE, {}, name="test_refund")

    with pytest.raises(
        CassetteFileError, match=r"calls\[1\].response.file: cannot be read \(No such file or directory\)"
    ):
        read(text)


def test_no_larger_than_can_be_read() -> None:
    """The size is looked at before anything else."""
    with pytest.raises(CassetteFileError, match="larger than the 64 MiB that are read"):
        read(b"\0" * (MAX_BYTES + 1))


def test_what_editors_add_is_read() -> None:
    """A byte order mark, and line ends of Windows."""
    text = dumps(TAPE, files := {}, name="a")

    assert read(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(), files) == TAPE


def test_an_error_tells_no_value() -> None:
    """What is in the file stays there: it may be what somebody said."""
    text = json.dumps({"respan_cassette": 1, "calls": [{**CALL, "request": "canary"}], "test": ["canary"]})

    with pytest.raises(CassetteFileError) as caught:
        read(text)

    assert "canary" not in str(caught.value) + repr(caught.value)


def test_an_error_can_be_sent() -> None:
    """From one process of a test run to another, with all that it tells."""
    error = CassetteFileError("a.json", "calls[0]", "is wrong.")

    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 -- made in the line itself

    assert (str(copy), copy.path, copy.place, copy.what) == (
        "a.json: calls[0]: is wrong.",
        "a.json",
        "calls[0]",
        "is wrong.",
    )


# -- whatever comes


JUNK = VALUES | st.sampled_from([[], {}, [[]], {"events": [[1, {}]]}, {"$lines": [1]}, "eof", -1, 10**30])


def places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place, *(found for key, item in items for found in places(item, (*place, key)))]


def replaced(value: Any, place: tuple[Any, ...], junk: Any) -> Any:
    if not place:
        return junk
    copy = value.copy()
    copy[place[0]] = replaced(value[place[0]], place[1:], junk)
    return copy


@given(tape=TAPES | st.just(TAPE), data=st.data(), junk=JUNK)
def test_a_changed_file_is_read_or_refused(tape, data, junk) -> None:
    """Whatever is put in the place of anything: it is a tape, or one clear line; never another exception."""
    files: dict[str, bytes] = {}
    tree = json.loads(dumps(tape, files, name="a"))
    place = data.draw(st.sampled_from(places(tree)))
    text = json.dumps(replaced(tree, place, junk))

    try:
        found = loads(text, lambda name: files.get(name, b""))
    except CassetteFileError as exc:
        assert "\n" not in str(exc)
    else:
        assert isinstance(found, Tape)


@given(tape=TAPES | st.just(TAPE), data=st.data())
def test_a_file_that_is_cut_off_is_refused(tape, data) -> None:
    """No part of a file is taken for a whole one."""
    text = dumps(tape, {}, name="a").rstrip()
    end = data.draw(st.integers(0, len(text) - 1))

    with pytest.raises(CassetteFileError):
        read(text[:end])


@given(text=st.text() | st.binary())
def test_garbage_is_refused(text) -> None:
    """What was never a cassette is none."""
    with pytest.raises(CassetteFileError):
        read(text)
