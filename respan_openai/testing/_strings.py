"""The strings of a JSON value, and which of them carry on each other.

Deltas go on where the one before left off: strings at the same place of events that are about the same thing
make up one text, which may hold what none of its parts does.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias


if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

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
    """The value of the JSON *text*; ``None`` for numbers other than integers of at most 18 digits.

    Raises:
        ValueError: if it is none, or is nested too deep.
    """
    try:
        value: Value = json.loads(
            text,
            object_pairs_hook=Fields,
            parse_int=lambda digits: int(digits) if len(digits) < 19 else None,
            parse_float=lambda _: None,
            strict=strict,
        )
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


class String(NamedTuple):
    """A string in a value that was :func:`parsed`.

    Attributes:
        track: The same for strings that carry on each other, if their values are events; ``None`` for a
            field's name.
        path: What leads to it, or to the field.
        text: What it says.
    """

    track: Hashable | None
    path: Steps
    text: str

    @property
    def data(self) -> bytes:
        """The text in UTF-8; half a surrogate pair is kept."""
        return self.text.encode("utf-8", "surrogatepass")


def strings_of(value: Value, track: tuple[Hashable, ...] = (), path: Steps = ()) -> Iterator[String]:
    """Each string in *value*, which is :func:`parsed`, in order."""
    if isinstance(value, str):
        yield String(track, path, value)
    elif isinstance(value, Fields):
        track = track if path else (_subject(value),)
        for name, inner in value.items:
            yield String(None, (*path, name), name)
            yield from strings_of(inner, (*track, name), (*path, name))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            if isinstance(inner, str | Fields | list):  # most lists that are long are of numbers
                yield from strings_of(inner, (*track, _index(inner, at)), (*path, at))


#: What tells which text an event of the Responses API, or of others that have one delta each, is about.
_SUBJECT: Final = frozenset({"type", "item_id", "output_index", "content_index", "summary_index", "index"})


def _subject(fields: Fields) -> Hashable:
    return frozenset(item for item in fields.items if item[0] in _SUBJECT and isinstance(item[1], str | int))


def _index(item: Value, at: int) -> str | int:
    """What tells an item from others: choices and tool calls say their number, and need not come in order."""
    said = dict(item.items).get("index") if isinstance(item, Fields) else None
    return said if isinstance(said, int) else at
