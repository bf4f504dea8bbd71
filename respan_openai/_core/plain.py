"""JSON read, and what it holds asked for by kind: bodies come from strangers, and any place may hold anything."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final


if TYPE_CHECKING:
    from typing_extensions import TypeIs

_decoded: Final = json.JSONDecoder().raw_decode

#: As Any, so that what was checked with them holds Any, not something unknown.
DICT: Final[Any] = dict
LIST: Final[Any] = list


def is_object(value: object) -> TypeIs[dict[str, Any]]:
    """Whether *value* is a JSON object."""
    return isinstance(value, dict)


def is_list(value: object) -> TypeIs[list[Any]]:
    """Whether *value* is a JSON array."""
    return isinstance(value, list)


def as_object(value: Any) -> dict[str, Any]:
    """*value* if it is an object, else an empty one."""
    return value if isinstance(value, DICT) else {}


def as_list(value: Any) -> list[Any]:
    """*value* if it is an array, else an empty one."""
    return value if isinstance(value, LIST) else []


def as_objects(value: object) -> list[dict[str, Any]]:
    """The items of *value*, each :func:`as_object`; none if it is no array."""
    return [as_object(item) for item in as_list(value)]


def parsed(body: bytes) -> Any:
    """Same as ``json.loads(body)``, which asks four functions first what *body* may be if it is not UTF-8.

    Raises:
        ValueError: if it is no JSON in UTF-8, UTF-16 or UTF-32, or holds a number with more digits than Python converts.
        RecursionError: if it is nested too deep.
    """
    try:
        text = body.decode()
        value, end = _decoded(text)
    except ValueError:
        return json.loads(body)
    return json.loads(body) if text[end:].strip(" \t\n\r") else value
