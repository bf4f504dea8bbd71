"""Parsed JSON, asked for by kind."""

from __future__ import annotations

from typing import Any

import pytest

from respan_openai._core.plain import as_list, as_object, as_objects, is_list, is_object


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
