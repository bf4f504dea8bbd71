"""How Server-Sent Events stand in a stream: line ends, blanks, names; and a stream cut into its events.

Only the form that model providers use is known here: one data line, with at most a name before it. Everything
else, comments and events with ids or several data lines, is a piece of text.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._core.plain import is_object
from ._answers import events_in
from ._marks import number


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["NEWLINES", "Frame", "Piece", "frame_of", "pieces_of"]


NEWLINES: Final = ("\n", "\r\n", "\r")


class Frame(NamedTuple):
    """What is around the data of events.

    Attributes:
        newline: At the end of each line.
        blank: Whether there is a blank behind a colon.
        named: Whether each event whose data is an object with a ``type`` is named by it.
    """

    newline: str = "\n"
    blank: bool = True
    named: bool = False

    def name_of(self, value: Any) -> str | None:
        """The name of an event with *value* for its data."""
        name = value.get("type") if self.named and is_object(value) else None
        return name if type(name) is str else None

    def text(self, name: str | None, data: str) -> str:
        """One event, with the blank line at its end."""
        colon, newline = ": " if self.blank else ":", self.newline
        first = "" if name is None else f"event{colon}{name}{newline}"
        return f"{first}data{colon}{data}{newline}{newline}"


class Piece(NamedTuple):
    """An event, or what stands in the place of one.

    Attributes:
        text: All of it.
        frame: Around its data; ``None`` if it is none of the known form. Never ``named``.
        name: In its line ``event:``, if it has one.
        data: In its line ``data:``.
        value: Of *data*, if that is a JSON object; else *data* itself.
    """

    text: str
    frame: Frame | None = None
    name: str | None = None
    data: str = ""
    value: Any = ""


_NEWLINE: Final = r"(?:\r\n|\n|\r)"
_EVENT: Final = re.compile(
    rf"(?:event: ?(?P<name>[^\r\n]*){_NEWLINE})?"
    rf"data:(?P<blank> ?)(?P<data>[^\r\n]*)(?P<newline>{_NEWLINE})(?P=newline)"
)


def pieces_of(stream: str) -> list[Piece]:
    """*stream*, cut behind each blank line."""
    events = events_in(stream.encode("utf-8", "surrogatepass"))
    return [_piece(event.decode("utf-8", "surrogatepass")) for event in events]


def _piece(text: str) -> Piece:
    found = _EVENT.fullmatch(text)
    if found is None:
        return Piece(text)
    data = found["data"]
    return Piece(text, Frame(found["newline"], bool(found["blank"])), found["name"], data, _value(data))


def _value(data: str) -> Any:
    try:
        value = json.loads(data, parse_float=number) if data[:1] == "{" else None
    except (ValueError, RecursionError):
        return data
    return value if is_object(value) else data


def frame_of(pieces: Sequence[Piece]) -> Frame | None:
    """The frame that events among *pieces* have; ``None`` if there is no event."""
    frame = next((piece.frame for piece in pieces if piece.frame), None)
    named = Frame(named=True)
    is_named = any(piece.name is not None and piece.name == named.name_of(piece.value) for piece in pieces)
    return None if frame is None else frame._replace(named=is_named)
