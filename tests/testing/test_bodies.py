"""Bodies of answers in a file: readable where they can be, and the same bytes in the same chunks always."""

from __future__ import annotations

import base64
import json
import struct
from hashlib import sha256
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from respan_openai.testing._marks import marked, parsed
from respan_openai.testing._printer import printed
from respan_openai.testing._replay import FIELDS, replayed
from respan_openai.testing._says import says
from respan_openai.testing._shapes import ROOT, Misshapen, Shape, show
from respan_openai.testing.bodies import MOST_INLINE, Beside, kept
from respan_openai.testing.recording import Chunk


JSON = "application/json"
EVENTS = "text/event-stream; charset=utf-8"

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)
CONTAINERS = st.lists(VALUES, max_size=4) | st.dictionaries(TEXTS, VALUES, max_size=4)


def fields_of(
    chunks: tuple[Chunk, ...], content_type: str, files: dict[str, bytes] | None = None
) -> dict[str, Any]:
    """What a file says about *chunks*, printed and read again."""
    fields = kept(chunks, content_type, Beside({} if files is None else files, "name.d", 3))
    return parsed(printed(marked(fields)), 200)


def played(fields: dict[str, Any], files: dict[str, bytes] | None = None) -> tuple[Chunk, ...]:
    """The chunks that *fields* stand for."""
    return replayed(Shape(FIELDS)(fields, ROOT), ROOT, (files or {}).__getitem__)


def whole(data: bytes | str, content_type: str = JSON) -> dict[str, Any]:
    """What a file says about *data* in one piece, after it has been played from there as it was."""
    chunks = (Chunk(5, data.encode() if isinstance(data, str) else data),)
    fields = fields_of(chunks, content_type)
    assert played(fields) == chunks
    return fields


@st.composite
def cuts(draw: st.DrawFn, body: bytes) -> tuple[Chunk, ...]:
    """*body*, cut anywhere, at any times."""
    inner = draw(st.sets(st.integers(1, max(len(body) - 1, 1)), max_size=4)) if len(body) > 1 else set()
    borders = [0, *sorted(inner), len(body)]
    return tuple(Chunk(draw(st.integers(0, 9999)), body[a:b]) for a, b in pairwise(borders) if a < b)


# -- JSON


@given(
    value=CONTAINERS,
    indent=st.sampled_from([None, None, 2, 4, "\t", 3]),
    separators=st.sampled_from([(",", ":"), (", ", ": "), (",", ": ")]),
    ascii_only=st.booleans(),
    space=st.tuples(st.text(" \n\r\t", max_size=3), st.text(" \n\r\t", max_size=3)),
    data=st.data(),
)
def test_json_comes_back(value, indent, separators, ascii_only, space, data) -> None:
    """However it was written and cut, the same bytes are played in the same chunks."""
    text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=ascii_only)
    chunks = data.draw(cuts(f"{space[0]}{text}{space[1]}".encode()))

    assert played(fields_of(chunks, JSON)) == chunks


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ('{"a":1,"b":[true,null,"é"]}', {"json": {"a": 1, "b": [True, None, "é"]}}),
        ('{"a": 1, "b": "\\u00e9"}', {"style": "spaced ascii", "json": {"a": 1, "b": "é"}}),
        ('{\n  "a": [\n    1\n  ]\n}\n', {"style": "indent-2", "json": {"a": [1]}, "after": "\n"}),
        ('{\n  "b": {}\n}', {"style": "indent-2", "json": {"b": {}}}),
        ('[\n    "a",\n    2.5\n]', {"style": "indent-4", "json": ["a", 2.5]}),
        ('{\n\t"a": []\n}', {"style": "indent-tab", "json": {"a": []}}),
        ('{"a":"\\u003cb\\u003e"}', {"style": "compact html", "json": {"a": "<b>"}}),
        ('\n   \n{"a":1}', {"before": "\n   \n", "json": {"a": 1}}),
        ("{}", {"json": {}}),
        ('{"a":"\\ud83d"}', {"style": "compact ascii", "json": {"a": "\ud83d"}}),
        ("[" * 150 + "]" * 150, {"json": json.loads("[" * 150 + "]" * 150)}),
    ],
    ids=lambda value: str(value)[:30],
)  # fmt: skip
def test_json_is_kept_as_values(text, fields) -> None:
    """As the usual writers of JSON write it, a body can be read and edited."""
    assert whole(text) == {**fields, "at": 5}


NOT_AGAIN = {
    "a key twice": '{"a":1,"a":2}',
    "another layout": '{"a" : 1}',
    "an escaped slash": '{"a":"\\/"}',
    "capitals in an escape": '{"a":"\\u00E9"}',
    "an escaped letter": '{"a":"\\u0041"}',
    "minus nothing": '{"a":-0}',
    "cut off": '{"a":1',
    "a number": "1",
    "a string": '"a"',
    "two": "{} {}",
    "too deep": "[" * 151 + "]" * 151,
    "much too deep": "[" * 5000,
    "too long a number": "[" + "1" * 5000 + "]",
    "a byte order mark": "\ufeff{}",
}


@pytest.mark.parametrize("text", NOT_AGAIN.values(), ids=NOT_AGAIN)
def test_what_would_not_come_back_is_text(text) -> None:
    """What Python would write in another way, what is too deep, and what is no object or list: as it is."""
    assert whole(text) == {"text": text, "at": 5}


@pytest.mark.parametrize(
    "number", ["1e2", "1E+2", "1e-7", "0.10", "1.0", "1e400", "NaN", "-Infinity", "1" * 40]
)
def test_numbers_keep_their_spelling(number) -> None:
    """A body with a number that Python writes in another way is kept as values all the same."""
    assert "json" in whole(f'{{"logprob":{number}}}')


def test_an_embedding_is_kept_as_values() -> None:
    """As base64, which is the SDK's default, and as numbers."""
    numbers = [index / 7 for index in range(40)]
    packed = base64.b64encode(struct.pack("<40f", *numbers)).decode()

    for embedding in (numbers, packed):
        fields = whole(json.dumps({"data": [{"embedding": embedding}]}, indent=2))
        assert fields["json"] == {"data": [{"embedding": embedding}]}


# -- text and bytes


@given(
    body=st.binary(min_size=1, max_size=40),
    data=st.data(),
    kind=st.sampled_from([JSON, EVENTS, "audio/mpeg", ""]),
)
@example(body=b"\x00", data=None, kind="")
@example(body=b"\xed\xa0\x80", data=None, kind=JSON)
@example(body=b"\r\n\r", data=None, kind="text/plain")
def test_any_bytes_come_back(body, data, kind) -> None:
    """Whatever they are, and whatever their type says."""
    chunks = (Chunk(1, body),) if data is None else data.draw(cuts(body))

    assert played(fields_of(chunks, kind)) == chunks


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ("one\ntwo\t", {"text": "one\ntwo\t"}),
        ("nul\0", {"base64": "bnVsAA=="}),
        (b"\xff\xfe", {"base64": "//4="}),
        ("x" * 5000, {"text": "x" * 5000}),
    ],
)
def test_text_and_bytes(body, fields) -> None:
    """Text without controls is text, of any length; the rest is base64."""
    assert whole(body, "text/plain") == {**fields, "at": 5}


def test_no_body() -> None:
    """An answer without one says nothing about it."""
    assert kept((), JSON, Beside({}, "name.d", 1)) == {}
    assert played({}) == ()


def test_chunks_are_told() -> None:
    """When each came, and the byte that it begins with; one that was there at once says nothing."""
    assert fields_of((Chunk(4, b"ab"), Chunk(7, b"c")), "") == {"text": "abc", "chunks": [[4, 0], [7, 2]]}
    assert fields_of((Chunk(0, b"ab"),), "") == {"text": "ab"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("audio/mpeg", "name.d/3.mp3"),
        ("Image/PNG; q=1", "name.d/3.png"),
        ("x/y", "name.d/3.bin"),
        ("", "name.d/3.bin"),
    ],
)
def test_large_binaries_lie_beside(kind, name) -> None:
    """More than 4 kB are in a file of their own, whose content is known."""
    body, files = b"\xff" * (MOST_INLINE + 1), dict[str, bytes]()
    chunks = (Chunk(3, body),)

    fields = fields_of(chunks, kind, files)

    assert fields == {"file": name, "sha256": sha256(body).hexdigest(), "at": 3}
    assert files == {name: body}
    assert played(fields, files) == chunks
    assert "base64" in whole(body[1:], kind)


# -- streams


def event(data: Any, name: str | None = None, end: str = "\n", colon: str = ": ", **style: Any) -> str:
    """One event as it stands on the wire; *data* that is no string is written as JSON."""
    text = data if isinstance(data, str) else json.dumps(data, **{"separators": (",", ":"), **style})
    return f"{'' if name is None else f'event{colon}{name}{end}'}data{colon}{text}{end}{end}"


BASE = {"id": "c1", "object": "chat.completion.chunk", "created": 17, "model": "m"}


def delta(content: str, **fields: Any) -> dict[str, Any]:
    return {**BASE, "choices": [{"index": 0, "delta": {"content": content}}], **fields}


def stream(*events: str) -> dict[str, Any]:
    """What a file says about *events*, each in a chunk of its own."""
    chunks = tuple(Chunk(10 * at, each.encode()) for at, each in enumerate(events))
    fields = fields_of(chunks, EVENTS)
    assert played(fields) == chunks
    return fields


def rows(fields: dict[str, Any]) -> list[Any]:
    return [row[1:] for row in fields["sse"]["events"]]


LINES = st.sampled_from(["\n", "\r\n", "\r"])
DATA = st.one_of(
    st.builds(delta, TEXTS),
    st.fixed_dictionaries({"type": st.sampled_from(["a", "b\nc", 1]), "sequence_number": st.integers()}),
    st.dictionaries(TEXTS, VALUES, max_size=3),
    st.sampled_from(["[DONE]", "", " ", "{", '{"a":1,"a":2}', "[1]", '{"a" : 1}', '{"a":1e2}', "é\u2028"]),
)
PIECES = st.one_of(
    st.builds(
        event,
        DATA,
        st.none() | st.sampled_from(["a", "b", "response.created", ""]),
        LINES,
        st.sampled_from([": ", ":"]),
        ensure_ascii=st.booleans(),
    ),
    st.sampled_from(
        [
            ": comment\n\n",
            "id: 1\ndata: {}\n\n",
            "data: a\ndata: b\n\n",
            "\n",
            "\ufeff",
            "data: x",
            "\r\n\r\n",
        ]
    ),
    TEXTS,
)


@given(pieces=st.lists(PIECES, max_size=7), repeat=st.integers(1, 3), data=st.data())
def test_any_stream_comes_back(pieces, repeat, data) -> None:
    """Whatever its events look like, and wherever it was cut, inside of events and of characters too."""
    chunks = data.draw(cuts("".join(pieces * repeat).encode()))

    assert played(fields_of(chunks, EVENTS)) == chunks


@given(
    shared=st.dictionaries(TEXTS, st.integers() | TEXTS, max_size=3),
    own=st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), min_size=1, max_size=6),
    separators=st.sampled_from([(",", ":"), (", ", ": ")]),
    ascii_only=st.booleans(),
    begins=st.lists(st.booleans(), min_size=7, max_size=7),
)
def test_a_stream_of_whole_events_comes_back(shared, own, separators, ascii_only, begins) -> None:
    """Each event in a chunk of its own or in that of the one before, in any style, with fields in common or without."""
    texts = [event({**shared, **each}, separators=separators, ensure_ascii=ascii_only) for each in own]
    data = [text.encode() for text in [*texts, event("[DONE]")]]
    starts = [0, *(at for at, begin in enumerate(begins[: len(data)]) if begin and at), len(data)]
    chunks = tuple(Chunk(at, b"".join(data[a:b])) for at, (a, b) in enumerate(pairwise(starts)))

    assert played(fields_of(chunks, EVENTS)) == chunks


@given(
    garbage=st.binary(min_size=1, max_size=4),
    contents=st.lists(TEXTS, min_size=1, max_size=3),
    data=st.data(),
)
def test_a_broken_stream_comes_back(garbage, contents, data) -> None:
    """Also if it has bytes in it that are no UTF-8."""
    events = [event(delta(content)).encode() for content in contents]
    chunks = data.draw(cuts(garbage.join(events) + garbage))

    assert played(fields_of(chunks, EVENTS)) == chunks


def test_a_chat_reads_like_an_answer() -> None:
    """What all events share is said once, what is said is said in one piece, and each event has its time."""
    fields = stream(event(delta("It was ")), event(delta("sent.")), event("[DONE]"))

    assert fields == {
        "says": "It was sent.",
        "sse": {
            "shared": BASE,
            "events": [
                [0, {"choices": [{"index": 0, "delta": {"content": "It was "}}]}],
                [10, {"choices": [{"index": 0, "delta": {"content": "sent."}}]}],
                [20, "[DONE]"],
            ],
        },
    }


def test_responses_are_named_by_their_type() -> None:
    """The name of each event is not said again if it is its type."""
    kinds = ["response.created", "response.output_text.delta", "response.completed"]
    events = [{"type": kind, "delta": "Hi"} for kind in kinds]

    fields = stream(*(event(each, each["type"]) for each in events))

    assert fields["says"] == "Hi"
    assert fields["sse"]["named"] is True
    assert [row[0]["type"] for row in rows(fields)] == kinds


def test_exceptions_are_marked() -> None:
    """One object without the shared fields, another name, comments, and a piece that is cut off."""
    odd = {**delta("a"), "id": ""}
    pieces = [event(delta(word)) for word in "abcd"]
    named = event(delta("b"), "x")

    fields = stream(event(odd), ": ping\n\n", *pieces, named, event("{}x", "done"), "data: {")

    assert rows(fields) == [
        ["whole", odd],
        ["raw", ": ping\n\n"],
        *[[{"choices": delta(word)["choices"]}] for word in "abcd"],
        ["event: x", delta("b")],
        ["event: done", "{}x"],
        ["raw", "data: {"],
    ]


def test_shared_fields_may_be_behind() -> None:
    """As Azure writes them: in alphabetical order, and empty in the first event."""
    first = {"choices": [], "created": 0, "id": "", "model": "", "prompt_filter_results": []}
    others = [{"choices": [word], "created": 17, "id": "c1", "model": "m"} for word in "abc"]

    fields = stream(*map(event, [first, *others]))

    assert fields["sse"]["shared"] == {"created": 17, "id": "c1", "model": "m"}
    assert fields["sse"]["order"] == ["choices", "created", "id", "model"]
    assert rows(fields) == [["whole", first], *([{"choices": [word]}] for word in "abc")]


def test_equal_is_not_the_same() -> None:
    """What Python calls equal is not shared: 1, 1.0 and true are other bytes."""
    assert "shared" not in stream(event({"a": 1}), event({"a": 1.0}), event({"a": True}))["sse"]


@pytest.mark.parametrize(
    ("piece", "said"),
    [
        (event({"a": "é"}, end="\r\n", ensure_ascii=False), {"newline": "\r\n"}),
        (event({"a": "é"}, colon=":", ensure_ascii=False), {"blank": False}),
        (event({"a": "é"}, ensure_ascii=True), {"style": "compact ascii"}),
        (event({"a": "é"}, separators=(", ", ": "), ensure_ascii=True), {"style": "spaced ascii"}),
        (event({"type": "x"}, "x"), {"named": True}),
    ],
)
def test_the_frame_is_told_once(piece, said) -> None:
    """Line ends, blanks, names and the style of JSON, where they are not OpenAI's."""
    fields = stream(piece)["sse"]

    assert {name: fields[name] for name in fields if name != "events"} == said
    assert isinstance(fields["events"][0][1], dict)


def test_an_event_that_says_a_shared_field_itself() -> None:
    """Written by hand: its own value stands in the place of the shared one, once."""
    rows_ = [[1, {"model": "b", "choices": []}], [2, {}]]

    first, second = played({"sse": {"shared": {"model": "a", "id": "c"}, "events": rows_}})

    assert first == Chunk(1, b'data: {"model":"b","id":"c","choices":[]}\n\n')
    assert second == Chunk(2, b'data: {"model":"a","id":"c"}\n\n')


def test_borders_within_events() -> None:
    """An event that comes with the one before has no time; a chunk that begins inside of one has its byte."""
    one = event({"a": 1}).encode()
    chunks = (
        Chunk(3, one + one[:6]),
        Chunk(8, one[6:] + one + one[:1]),
        Chunk(9, one[1:2]),
        Chunk(11, one[2:]),
    )

    fields = fields_of(chunks, EVENTS)

    assert [row[0] for row in fields["sse"]["events"]] == [3, [None, [8, 6]], None, [None, [9, 1], [11, 2]]]
    assert played(fields) == chunks


def test_what_is_no_stream_is_kept_raw() -> None:
    """A body that says it is a stream, and is none: its chunks, as text or else as base64."""
    chunks = (Chunk(1, b"<html>"), Chunk(2, b"\xff"))

    fields = fields_of(chunks, EVENTS)

    assert fields == {"sse_raw": [[1, "<html>"], [2, "base64", "/w=="]]}
    assert played(fields) == chunks


# -- what an answer says


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([delta("a"), delta("b"), "[DONE]"], "ab"),
        ([{"choices": [{"index": 1, "text": "b"}, {"index": 0, "text": "a"}]}], ["a", "b"]),
        ([{"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "a"}], "a"),
        ([{"type": "response.output_text.delta", "delta": 1}, {"type": "other", "delta": "a"}], ""),
        ([{"choices": [1, {}, {"delta": {}}, {"delta": {"content": None}}]}, {"choices": 1}, "x", {}], ""),
        ([{"choices": [{"index": "x", "delta": {"content": "a"}}]}], "a"),
        ([], ""),
    ],
)
def test_says(events, said) -> None:
    """The texts of the three APIs, by choice; everything else, however strange, is silent."""
    assert says(events) == said


# -- a file that somebody has changed


SPOKEN = {"says": "a", "sse": {"events": [[0, delta("a")]]}}
DIGEST = {"sha256": sha256(b"x").hexdigest()}


@pytest.mark.parametrize(
    ("fields", "place", "what"),
    [
        ({**SPOKEN, "says": "b"}, "says", "is not what the events say"),
        ({"json": 1, "text": "a"}, "", "has json and text, of which a body has one"),
        ({"text": "a", "says": "a"}, "says", "belongs to another kind of body"),
        ({"style": "compact"}, "style", "belongs to another kind of body"),
        ({"json": {}, "style": "x"}, "style", "must be one of compact, "),
        ({"json": {}, "style": 1}, "style", "must be one of compact, "),
        ({"json": "\ud800"}, "", "half a surrogate pair"),
        ({"text": "\ud800"}, "text", "half a surrogate pair"),
        ({"text": "ab", "chunks": [[1, 0], [2, 2]]}, "chunks", "growing bytes from 0 to the 2 of the body"),
        ({"text": "ab", "chunks": [[1, 1]]}, "chunks", "growing bytes"),
        ({"text": "ab", "chunks": [[1, 0], [2, 1], [3, 1]]}, "chunks", "growing bytes"),
        ({"text": "ab", "chunks": []}, "chunks", "growing bytes"),
        ({"text": "ab", "chunks": [[1]]}, "chunks[0]", "two whole numbers"),
        ({"text": "ab", "chunks": [[1, 0]], "at": 2}, "", 'both "at" and "chunks"'),
        ({"text": "ab", "at": True}, "at", "must be a whole number, and is true or false"),
        ({"base64": "a"}, "base64", "is no base64"),
        ({"base64": "é"}, "base64", "is no base64"),
        ({"sse_raw": [[1]]}, "sse_raw[0]", "must be milliseconds"),
        ({"sse_raw": [[1, "hex", "00"]]}, "sse_raw[0]", "must be milliseconds"),
        ({"sse_raw": [["1", "a"]]}, "sse_raw[0][0]", "must be a whole number, and is a string"),
        ({"sse_raw": [[1, "base64", "a"]]}, "sse_raw[0]", "is no base64"),
        ({"file": "name.d/3.mp3"}, "file", "its sha256 is not the one that is told"),
        ({"file": "name.d/3.mp3", **DIGEST}, "file", "its sha256 is not the one that is told"),
        ({"file": "name.d/4.mp3", **DIGEST}, "file", "cannot be read (no such thing)"),
        ({"sse": {}}, "sse", 'lacks "events"'),
        ({"sse": {"events": [], "x": 1}}, "sse", 'has an unknown key "x"; it may have newline, '),
        ({"sse": {"events": [1]}}, "sse.events[0]", "must be a list, and is a whole number"),
        ({"sse": {"events": [[]]}}, "sse.events[0]", "must be when an event came, and its data"),
        ({"sse": {"events": [[1, "raw", "a", "b"]]}}, "sse.events[0]", "must be when an event came"),
        ({"sse": {"events": [[1, "odd", "a"]]}}, "sse.events[0][1]", 'must be "raw", "whole"'),
        ({"sse": {"events": [[1, "raw", {}]]}}, "sse.events[0][2]", "must be an object, or else a string"),
        ({"sse": {"events": [[1, 5]]}}, "sse.events[0][1]", "must be an object, or else a string"),
        ({"sse": {"events": [[1.5, "a"]]}}, "sse.events[0][0]", "must be a list, and is a number"),
        ({"sse": {"events": [[None, "a"]]}}, "sse.events", "growing bytes"),
        ({"sse": {"events": [[[1, [2, 99]], "a"]]}}, "sse.events[0][0]", "outside the 9 bytes of its event"),
        ({"sse": {"events": [[[[1]], "a"]]}}, "sse.events[0][0]", "outside the 9 bytes"),
        ({"sse": {"events": [[[1, [2, 1], [3, 1]], "a"]]}}, "sse.events", "growing bytes"),
        ({"sse": {"events": [[1, "\ud800"]]}}, "sse.events[0]", "half a surrogate pair"),
        ({"sse": {"events": [], "newline": "\n\n"}}, "sse.newline", 'must be "\\n"'),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_an_error(fields, place, what) -> None:
    """It names the place, and says what is wrong there."""

    def read_file(name: str) -> bytes:
        if name == "name.d/3.mp3":
            return b"y"
        raise OSError(2, "no such thing")

    with pytest.raises(Misshapen) as caught:
        replayed(Shape(FIELDS)(fields, ROOT), ROOT, read_file)

    assert show(caught.value.place) == place
    assert what in caught.value.what


@pytest.mark.parametrize(
    "name",
    [
        "../a.d/1.mp3",
        "a.d/../1.mp3",
        "a.d/..",
        "/etc/passwd",
        "1.mp3",
        "a/1.mp3",
        "a.d\\1",
        "C:a.d/1",
        "a.d/\0",
        ".d",
        "",
    ],
)
def test_a_file_beside_is_beside(name) -> None:
    """No name of a file leads out of the folder; nothing is read for one that would."""
    with pytest.raises(Misshapen, match="must be in the folder beside the cassette"):
        played({"file": name, **DIGEST})


def test_an_edited_answer_is_played() -> None:
    """Whoever changes the events, and what they say, or takes that out, hears the change."""
    row = [0, {"choices": [{"index": 0, "delta": {"content": "b"}}]}]

    for fields in ({"sse": {"events": [row]}}, {"sse": {"events": [row]}, "says": "b"}):
        assert json.loads(played(fields)[0].data[6:])["choices"][0]["delta"]["content"] == "b"
