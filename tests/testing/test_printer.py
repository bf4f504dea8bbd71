"""Printed JSON: it reads well, one thing that differs is one line, and it is read as what it was."""

from __future__ import annotations

import base64
import json
import struct
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from respan_openai.testing._marks import Spelled, _reader, marked, number, parsed
from respan_openai.testing._printer import ROW_WIDTH, WIDTH, printed
from respan_openai.testing._shapes import Misshapen, deepest, show


#: Any string of Python, halves of surrogate pairs included; often one that could be taken for a mark.
TEXTS = (
    st.text(st.characters(exclude_categories=()))
    | st.sampled_from(["$lines", "$$lines", "$number", "$joined", "$pairs", "$float32", "embedding", "$ref"])
    | st.text(st.sampled_from("\n\r ab\ud83d\ude00\u2028"), max_size=60)
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.integers(min_value=10**40) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=12,
)
EMBEDDING = base64.b64encode(struct.pack("<16f", *range(16))).decode()


def text_of(value: object) -> str:
    """*value* as it stands in a file."""
    return printed(marked(value))


def refuse(name: str) -> None:
    raise AssertionError(name)


# -- nothing is lost


@given(value=VALUES)
@example(value={"$lines": ["a"], "b": {"$ref": "c"}})
@example(value={"$lines": ["a"]})
@example(value={"$$lines": 1, "b": 2})
@example(value={"$$$number": {"$lines": 2}})
@example(value=["\ud83d\ude00", "\ude00\ud83d", "\ud83d"])
@example(value={"\ud83d\ude00": float("-inf"), "\ud83d": float("nan")})
@example(value={"embedding": EMBEDDING, "a": {"embedding": "AAAA"}})
@example(value=[1, 1.0, True, -0.0, 1e22, 10**400])
@example(value={"a": "x" * 50 + "\n\r\n\n", "b": "\n" * 50})
def test_what_is_printed_is_read(value: object) -> None:
    """Every value that JSON text may be parsed to comes back, with the same types and in the same order."""
    assert repr(parsed(text_of(value), 200)) == repr(value)


def outcome(text: str) -> Any:
    """What *text* is read as, or the kind and the words of its error."""
    try:
        return repr(parsed(text, 200))
    except (ValueError, RecursionError, Misshapen) as exc:
        return type(exc), str(exc)


@pytest.mark.parametrize(
    "text",
    [
        '{"a": [1, 2.5, null, true, "é\\u00e9"], "b": {}}',
        *["[" * n + "]" * n for n in (199, 200, 201, 202)],
        *['{"a":' * n + "{}" + "}" * n for n in (199, 200, 201)],
        *["[" * n + "1" + "]" * n for n in (199, 200, 201)],
        "",
        "1, 2",
        "{}, {}",
        "{}], [{}",
        "]",
        "[1,]",
        '{"a": 1, "a": 2}',
        '{"a": {"b": 1, "\\u0062": 2}}',
        "[NaN]",
        "[-Infinity]",
        "1e400",
        "-0",
        "1" * 4300,
        "1" * 4301,
        '"\\ud83d"',
        '"\ud83d"',
        '"\x01"',
        "\ufeff{}",
        "null",
    ],
    ids=lambda text: f"{text[:30]!r} of {len(text)}",
)
def test_one_reader_is_as_good_as_the_other(text, monkeypatch) -> None:
    """What jiter reads for speed, and what it refuses, is what ``json`` makes of it, errors word for word."""
    quickly = outcome(text)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "jiter", None)  # as where it is not installed
        _reader.cache_clear()
        slowly = outcome(text)
    _reader.cache_clear()

    assert quickly == slowly


def test_jiter_is_what_reads() -> None:
    """It is there with every openai that is supported, and knows the limit; else a file takes twice as long to open."""
    assert _reader(200) is not None


def test_a_jiter_that_reads_escapes_wrong(monkeypatch) -> None:
    """As 0.4.0 does, which openai 1.68 accepts: it is not asked again."""
    with monkeypatch.context() as patch:
        patch.setattr("jiter.from_json", lambda *_, **__: ["\u00e2\u0080\u00a8"])
        _reader.cache_clear()
        assert parsed('"\\u2028"', 200) == "\u2028"
    _reader.cache_clear()


def test_a_limit_that_jiter_does_not_know() -> None:
    """It is not asked to read what may be nested deeper than it should."""
    assert _reader(100) is None


@given(value=VALUES)
def test_what_is_printed_is_json(value: object) -> None:
    """Any reader of JSON takes it: no NaN, no key twice; and any editor shows it: UTF-8 without controls."""
    text = text_of(value)

    json.loads(text, parse_constant=refuse)
    assert text.encode().decode() == text
    assert all(sign.isprintable() or sign in "\n\u3000\xa0" or ord(sign) > 0x9F for sign in text)


@pytest.mark.parametrize("text", ["1e2", "1E5", "1e-7", "-1.9361265e-7", "0.10", "1e400", "-0.0", "1.50"])
def test_a_number_keeps_its_spelling(text) -> None:
    """What Python would write in another way comes back as it was, and is the same number."""
    value = number(text)

    assert repr(parsed(text_of([value]), 200)[0]) == text
    assert value == float(text)


@given(value=VALUES)
def test_printing_is_stable(value: object) -> None:
    """A file that is read and written again does not change."""
    text = text_of(value)

    assert text_of(parsed(text, 200)) == text


@pytest.mark.parametrize("value", [b"bytes", {1}, (1, 2), object()], ids=["bytes", "set", "tuple", "object"])
def test_only_json_is_marked(value) -> None:
    """What would come back as something else is refused."""
    with pytest.raises(TypeError, match="holds JSON values"):
        marked([value])


# -- it reads well


def test_the_layout() -> None:
    """One line for what fits, else one for each item; texts as lines; numbers fill theirs."""
    value = {
        "format": 1,
        "calls": [
            {"empty": [], "none": None, "yes": True},
            {
                "messages": [
                    {
                        "role": "system",
                        "content": "You are a clerk in a shop for refunds.\nAnswer in one sentence.\n",
                    },
                    {"role": "user", "content": "Zürich → 東京? 😀"},
                ],
                "numbers": [index / 10 for index in range(40)],
            },
        ],
    }

    assert text_of(value) == (
        "{\n"
        ' "format": 1,\n'
        ' "calls": [\n'
        '  {"empty": [], "none": null, "yes": true},\n'
        "  {\n"
        '   "messages": [\n'
        '    {"role": "system", "content": {"$lines": [\n'
        '     "You are a clerk in a shop for refunds.",\n'
        '     "Answer in one sentence.",\n'
        '     ""\n'
        "    ]}},\n"
        '    {"role": "user", "content": "Zürich → 東京? 😀"}\n'
        "   ],\n"
        '   "numbers": [\n'
        "    0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, "
        "1.7, 1.8, 1.9, 2.0,\n"
        "    2.1, 2.2, 2.3, 2.4, 2.5, 2.6, 2.7, 2.8, 2.9, 3.0, 3.1, 3.2, 3.3, 3.4, 3.5, 3.6, 3.7, 3.8, 3.9\n"
        "   ]\n"
        "  }\n"
        " ]\n"
        "}\n"
    )


def test_an_event_has_a_line() -> None:
    """A row stays on one line although it is wider than others; one that is far too wide is spread."""
    choice = {"index": 0, "delta": {"content": "word"}, "logprobs": None, "finish_reason": None}
    rows = [
        [431, {"choices": [choice]}],
        [None, "whole", {"choices": [choice, choice]}],
        [7, {"a": "x" * 300}],
    ]

    lines = text_of({"events": rows}).splitlines()

    assert [line[:9] for line in lines[2:5]] == ["  [431, {", "  [null, ", "  [7, {"]
    assert max(map(len, lines[2:4])) > WIDTH
    assert max(map(len, lines)) <= 310


def test_lines_of_a_text_are_lines() -> None:
    """Also where they would fit on one: one that changes is one line of a diff."""
    assert text_of({"calls": [{"a": "x" * 20 + "\n" + "y" * 20}]}).splitlines()[2:-2] == [
        '  {"a": {"$lines": [',
        f'   "{"x" * 20}",',
        f'   "{"y" * 20}"',
        "  ]}}",
    ]


def test_only_two_levels_share_a_line() -> None:
    """What is nested deeper has lines of its own, so that brackets can be told apart."""
    value = {"top": {"a": {"b": {"c": {"d": {"e": "x" * 100}}}}}}

    lines = text_of(value).splitlines()

    assert lines[1:4] == [' "top": {', '  "a": {"b": {"c": {', '   "d": {']
    assert lines[5:] == ["   }", "  }}}", " }", "}"]


@given(value=st.recursive(
    st.integers(0, 999) | st.text("ab c", max_size=20),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text("abc", max_size=8), inner),
    max_leaves=60,
))  # fmt: skip
def test_lines_have_a_width(value: object) -> None:
    """No line is longer than it has to be, however much there is."""
    assert all(len(line) <= ROW_WIDTH for line in text_of(value).splitlines())


@given(words=st.lists(st.text("abc", min_size=30, max_size=60), min_size=3, max_size=8), data=st.data())
def test_a_change_is_a_small_diff(words, data) -> None:
    """One message that differs is one line that differs; one that is added is one more line."""
    at = data.draw(st.integers(0, len(words) - 1))
    messages = [{"role": "user", "content": word} for word in words]
    changed = [*messages[:at], {"role": "user", "content": "other"}, *messages[at + 1 :]]
    before, after = (text_of({"json": {"messages": each}}).splitlines() for each in (messages, changed))
    added = text_of({"json": {"messages": [messages[0], *messages]}}).splitlines()

    assert sum(old != new for old, new in zip(before, after, strict=True)) == 1
    assert len(added) == len(before) + 1


@pytest.mark.parametrize(
    "sign", ["\u2028", "\u2029", "\x00", "\x7f", "\x85", "\u202e", "\u2066", "\ufeff", "\ud800"]
)
def test_what_editors_hide_is_shown(sign) -> None:
    """Controls, line ends that are none in JSON, marks that turn the direction of writing: as escapes."""
    assert text_of([sign]) == f'[\n "\\u{ord(sign):04x}"\n]\n'


def test_short_texts_stay_strings() -> None:
    """A line end in a short text, or at an end of a long one, is no reason for lines."""
    assert marked("a\nb") == "a\nb"
    assert marked("x" * 60 + "\n\n") == "x" * 60 + "\n\n"


def test_an_embedding_tells_its_size() -> None:
    """A reader sees how many numbers there are instead of guessing it from the length of the base64."""
    assert marked({"embedding": EMBEDDING}) == {"embedding": {"$float32": {"dims": 16, "base64": EMBEDDING}}}
    assert marked({"embedding": "word" * 4}) == {"embedding": "word" * 4}


def test_references_of_schemas_are_not_escaped() -> None:
    """A ``$ref`` in the schema of a tool is no mark, and reads as it is."""
    assert marked({"$ref": "#/a"}) == {"$ref": "#/a"}


# -- what is no mark


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ('{"a": [{"$lines": "x"}]}', "a[0]", '"$lines" that is no list of strings'),
        ('{"a": {"$lines": [1]}}', "a", '"$lines" that is no list of strings'),
        ('{"a": {"$lines": [{"$number": "x"}]}}', "a", '"$number" that is no number in quotes'),
        ('[{"$joined": {}}]', "[0]", '"$joined" that is no list of strings'),
        ('[{"$number": 5}]', "[0]", "no number in quotes"),
        ('[{"$number": "٣"}]', "[0]", "no number in quotes"),
        ('[{"$number": "nan"}]', "[0]", "no number in quotes"),
        ('[{"$pairs": [1]}]', "[0]", '"$pairs" that are no list of keys and values'),
        ('[{"$pairs": [[1, 2]]}]', "[0]", '"$pairs" that are no list of keys and values'),
        ('[{"$float32": {"dims": 3, "base64": "AAAA"}}]', "[0]", '"base64" is not that of "dims" numbers'),
        ('[{"$float32": 1}]', "[0]", '"base64" is not that of "dims" numbers'),
        ('{"x y": {"a": 1, "a": 2}}', '["x y"]', 'the key "a" twice'),
        ('{"a": 1, "a" : 2}', "", 'the key "a" twice'),
        ('{"b": {"a"\n: 1, "a": 2}}', "b", 'the key "a" twice'),
        ('{"a" : 1, "a" : 2, "b": ":", "c": 1}', "", 'the key "a" twice'),
        ('{"a": "\\u003A", "b": 1, "b": 2}', "", 'the key "b" twice'),
        ('{"a": ":", "a": "x"}', "", 'the key "a" twice'),
        ('[{"\\u0024number": "x"}]', "[0]", "no number in quotes"),
        ('{"a": NaN}', "", "a bare NaN"),
        ('{"a": -Infinity}', "", "a bare -Infinity"),
        ('{"$lines": 1}', "", '"$lines" that is no list of strings'),
    ],
)  # fmt: skip
def test_a_broken_mark_is_an_error(text, place, what) -> None:
    """Whoever edits a file by hand learns where the mistake is."""
    with pytest.raises(Misshapen) as caught:
        parsed(text, 200)

    assert show(caught.value.place) == place
    assert what in caught.value.what


# -- depth


def nested(levels: int) -> object:
    value: object = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def test_depth_is_measured() -> None:
    """As many levels as are allowed pass; one more is found, and its place is told, though not all of it."""
    assert deepest(nested(200), 200) is None
    assert deepest("text", 0) is None
    assert show(deepest(nested(3), 2) or ()) == "a[0]"
    assert show(deepest(nested(201), 200) or ()) == "a[0]" + ".a[0]" * 5 + "…"


def test_a_spelled_number_is_a_number() -> None:
    """It can be compared and computed with."""
    assert Spelled("1e2") + 1 == 101
