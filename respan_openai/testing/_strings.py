"""The strings of a JSON value, and which of them carry on each other.

Deltas go on where the one before left off: strings at the same place of events that are about the same thing
make up one text, which may hold what none of its parts does. So do the tokens of ``logprobs``, and the words
and segments of a transcript; their bytes say it once more, in numbers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, TypeGuard


if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    Steps = tuple[str | int, ...]
    Value: TypeAlias = "str | int | Fields | list[Value] | None"


__all__ = ["Fields", "String", "parsed", "strings_of"]


class Fields(NamedTuple):
    """An object.

    Attributes:
        items: Names and values in order, also those of the same name.
    """

    items: list[tuple[str, Value]]


def parsed(text: str, *, strict: bool = True) -> Value:
    """The value of the JSON *text*; ``None`` for numbers other than integers of at most 100 digits.

    Raises:
        ValueError: if it is none, or is nested too deep.
    """
    try:
        value: Value = json.loads(
            text,
            object_pairs_hook=Fields,
            parse_int=lambda digits: int(digits) if len(digits) <= _MOST_DIGITS else None,
            parse_float=lambda _: None,
            strict=strict,
        )
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


#: Of integers; what is longer takes long to read.
_MOST_DIGITS: Final = 100


class String(NamedTuple):
    """A string in a value that was :func:`parsed`.

    Attributes:
        track: The same for strings of a kind that carry on each other, in one value or in several events.
        path: What leads to it, or to the field.
        data: What it says, in UTF-8; half a surrogate pair is kept.
        kind: A value, the name of a field, or a list of ``bytes``.
    """

    track: Hashable
    path: Steps
    data: bytes
    kind: Literal["value", "name", "bytes"] = "value"


def strings_of(value: Value, track: tuple[Hashable, ...] = (), path: Steps = ()) -> Iterator[String]:
    """Each string in *value*, which is :func:`parsed`, in order."""
    if isinstance(value, str):
        yield String(track, path, _bytes(value))
    elif isinstance(value, Fields):
        track = track if path else (_subject(value),)
        for name, inner in value.items:
            yield from _of_field(name, inner, (*track, name), (*path, name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            if isinstance(inner, str | Fields | list):  # most lists that are long are of numbers
                yield from strings_of(inner, (*track, _index(inner, at, track)), (*path, at))


def _of_field(name: str, value: Value, track: tuple[Hashable, ...], path: Steps) -> Iterator[String]:
    yield String(track, path, _bytes(name), "name")
    if name == "bytes" and _are_bytes(value):
        yield String(track, path, bytes(value), "bytes")
    else:
        yield from strings_of(value, track, path)


def _are_bytes(value: Value) -> TypeGuard[list[int]]:
    items: list[Any] = value if isinstance(value, list) else []
    return bool(items) and all(type(item) is int and 0 <= item < 256 for item in items)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


#: What tells which text an event of the Responses API, or of others that have one delta each, is about.
_SUBJECT: Final = frozenset({"type", "item_id", "output_index", "content_index", "summary_index", "index"})


def _subject(fields: Fields) -> Hashable:
    return frozenset(item for item in fields.items if item[0] in _SUBJECT and isinstance(item[1], str | int))


#: What an item is called that carries on the one before: a token, a word, a segment or a part of a text.
_PIECES: Final = ("token", "word", "text")


def _index(item: Value, at: int, track: Sequence[Hashable]) -> str | int:
    """What tells an item from others: choices and tool calls say their number, and need not come in order.

    Pieces of a text have none. The alternatives to a token do, for each belongs to another text.
    """
    name = track[-1] if track else None
    fields = dict(item.items) if isinstance(item, Fields) else {}
    said = fields.get("index")
    if isinstance(said, int):
        return said
    is_piece = any(isinstance(fields.get(piece), str) for piece in _PIECES) and name != "top_logprobs"
    return "*" if is_piece or (name == "tokens" and isinstance(item, str)) else at
