"""Parsed JSON, asked for by kind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai._core.plain import as_list, as_object, as_objects, is_list, is_object, parsed


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "text", b"bytes", (1,)])
def test_what_is_neither(value: Any) -> None:
    """Anything else is an empty one of the kind that was asked for, and no error."""
    assert (as_object(value), as_list(value), as_objects(value)) == ({}, [], [])
    assert not is_object(value)
    assert not is_list(value)


def test_what_is() -> None:
    """The value itself, not a copy; of an array's items those that are no objects are empty ones."""
    thing, things = {"a": 1}, [{"a": 1}, "b", None]

    assert as_object(thing) is thing
    assert as_list(things) is things
    assert as_objects(things) == [{"a": 1}, {}, {}]
    assert as_object(things) == {}
    assert as_list(thing) == []


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)
AROUND = st.text(" \t\r\n\f\v\xa0\ufeff", max_size=3)
ENCODINGS = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32", "latin-1"])


def outcome(read: Any, body: bytes) -> Any:
    """What *read* makes of *body*, or the kind of its error."""
    try:
        return json.dumps(read(body))
    except (ValueError, RecursionError) as exc:
        return type(exc)


@given(
    before=AROUND,
    value=VALUES,
    ascii_only=st.booleans(),
    after=AROUND,
    encoding=ENCODINGS,
    cut=st.integers(0, 2),
)
def test_parsed_as_json_does(before, value, ascii_only, after, encoding, cut) -> None:
    """Any encoding, white space around, cut off or not: the value, or the error, that ``json.loads`` has."""
    text = before + json.dumps(value, ensure_ascii=ascii_only) + after
    body = text.encode(encoding, "replace")[: -cut or None]

    assert outcome(parsed, body) == outcome(json.loads, body)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{}{}",
        b"{} x",
        b"{}\n",
        b"1\x00",
        b'"\xed\xa0\x80"',
        b'"\xff"',
        b"[NaN, Infinity]",
        b"9" * 5000,
        b"[" * 100_000,
        b'{"a": 1, "a": 2}',
    ],
)
def test_parsed_at_the_edges(body) -> None:
    """What is no JSON, or just so: as ``json.loads`` again."""
    assert outcome(parsed, body) == outcome(json.loads, body)
