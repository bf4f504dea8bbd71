"""The strings of a JSON document, or of the events of a stream, at the bytes where they stand."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from ._escapes import json_pieces, plain_text
from ._strings import parsed, strings_of


if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from ._splices import Piece

    Steps = tuple[str | int, ...]


__all__ = ["Leaf", "Leaves", "leaves_of"]


class Leaf(NamedTuple):
    """A string value.

    Attributes:
        track: The same for strings that carry on each other.
        path: Names and numbers of items that lead to it, in its document or event.
        start: Where its text begins, behind the quotation mark.
        end: Where its text ends.
    """

    track: Hashable
    path: Steps
    start: int
    end: int


class Leaves(NamedTuple):
    """What was read of a document or stream.

    Attributes:
        values: In order.
        texts: Start and end of each string, names included.
        code: Start and end of what is JSON.
        is_stream: Whether it was a stream.
    """

    values: list[Leaf]
    texts: list[tuple[int, int]]
    code: list[tuple[int, int]]
    is_stream: bool = False

    def without_code(self, data: bytes) -> bytes:
        """*data* with zeros in the place of everything in JSON that is not in a string.

        A number may have the digits of a secret; replaced, it would be JSON no more.
        """
        kept = bytearray(data)
        for start, end in self.code:
            kept[start:end] = bytes(end - start)
        for start, end in self.texts:
            kept[start:end] = data[start:end]
        return bytes(kept)

    def tracks(self, data: bytes) -> Iterator[tuple[bytes, list[Piece]]]:
        """The texts that are to be looked at as a whole, and where their bytes come from.

        Those are what the events of a stream say, and strings of a document that are JSON themselves.
        """
        found: dict[Hashable, list[Leaf]] = {}
        for leaf in self.values:
            found.setdefault(leaf.track, []).append(leaf)
        for leaves in found.values():
            if self.is_stream or _is_json(data, leaves[0]):
                yield _track(data, leaves)


def _is_json(data: bytes, leaf: Leaf) -> bool:
    return _DOCUMENT.match(data, leaf.start, leaf.end) is not None


def _track(data: bytes, leaves: Iterable[Leaf]) -> tuple[bytes, list[Piece]]:
    text, pieces = bytearray(), list["Piece"]()
    for leaf in leaves:
        inner = data[leaf.start : leaf.end]
        pieces += json_pieces(inner, len(text), leaf.start)
        text += plain_text(inner)
    return bytes(text), pieces


_DOCUMENT: Final = re.compile(rb"\s*+[{\[]")
_STREAM: Final = re.compile(rb"(?:^|[\r\n])data:")


def leaves_of(data: bytes) -> Leaves | None:
    """The strings of *data*; ``None`` if it is neither a JSON document nor a stream of events."""
    if _DOCUMENT.match(data):
        found = Leaves([], [], [(0, len(data))])
        return found if _read(data, 0, found, strict=False) else None
    return _stream(data) if b"data:" in data and _STREAM.search(data) else None


# -- JSON


_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def _read(payload: bytes, start: int, found: Leaves, *, strict: bool) -> bool:
    """Add the strings of *payload*, which begins at *start*; whether it is JSON."""
    # One character for each byte: those beyond ASCII are in strings, of which only the places matter.
    text = payload.decode("latin-1")
    try:
        strings = list(strings_of(parsed(text, strict=strict)))
    except (ValueError, RecursionError):
        return False
    for string, place in zip(strings, _STRING.finditer(text), strict=True):
        begin, end = start + place.start() + 1, start + place.end() - 1
        found.texts.append((begin, end))
        if string.track is not None:
            found.values.append(Leaf(string.track, string.path, begin, end))
    return True


# -- events

_BLANK_LINE: Final = re.compile(rb"(?:\n|\r\n?+)(?:\n|\r\n?+)")
_LINE: Final = re.compile(rb"[^\r\n]++")


def _stream(data: bytes) -> Leaves:
    found = Leaves([], [], [], is_stream=True)
    cuts = [0, *(line.end() for line in _BLANK_LINE.finditer(data)), len(data)]
    for start, end in pairwise(cuts):
        _event(data, start, end, found)
    return found


def _event(data: bytes, start: int, end: int, found: Leaves) -> None:
    lines = [
        (line.start(), line.end())
        for line in _LINE.finditer(data, start, end)
        if line[0].startswith(b"data:")
    ]
    values = [(begin + 5 + (data[begin + 5 : begin + 6] == b" "), end) for begin, end in lines]
    if _read(_alone(data, start, end, values), start, found, strict=True):
        found.code.extend(values)
    else:
        found.values.extend(Leaf("data", (), begin, end) for begin, end in values)


def _alone(data: bytes, start: int, end: int, values: Sequence[tuple[int, int]]) -> bytes:
    """The event without anything but its data, each byte of which stays where it is."""
    kept = bytearray(_LINE.sub(lambda line: b" " * len(line[0]), data[start:end]))
    for begin, stop in values:
        kept[begin - start : stop - start] = data[begin:stop]
    return bytes(kept)
