"""The strings of a JSON document, or of the events of a stream, at the bytes where they stand."""

from __future__ import annotations

import re
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from ._answers import events_in
from ._escapes import json_pieces, plain_text
from ._splices import Piece
from ._strings import parsed, strings_of


if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    from ._strings import String

    Steps = tuple[str | int, ...]


__all__ = ["Leaf", "Leaves", "Numbers", "leaves_of"]


Track = tuple[bytes, list[Piece]]


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


class Numbers(NamedTuple):
    """A list of bytes.

    Attributes:
        track: As a leaf's.
        start: Behind the bracket.
        end: Where the other bracket is.
        says: The bytes.
    """

    track: Hashable
    start: int
    end: int
    says: bytes


T = TypeVar("T", Leaf, Numbers)


class Leaves(NamedTuple):
    """What was read of a document or stream.

    Attributes:
        values: In order.
        numbers: In order.
        texts: Start and end of each string, names included.
        code: Start and end of what is JSON.
        is_stream: Whether it was a stream.
    """

    values: list[Leaf]
    numbers: list[Numbers]
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

    def documents(self, data: bytes) -> Iterator[Track]:
        """The strings of a document that are JSON themselves, and where their bytes come from."""
        for leaf in () if self.is_stream else self.values:
            if _DOCUMENT.match(data, leaf.start, leaf.end):
                yield _track(data, [leaf])

    def joined(self, data: bytes) -> Iterator[Track]:
        """The texts that are to be looked at as a whole, and where their bytes come from.

        Those are what the events of a stream say, and what stands in several pieces of a document.
        """
        for leaves in _by_track(self.values):
            if self.is_stream or len(leaves) > 1:
                yield _track(data, leaves)

    def spelt(self) -> Iterator[Track]:
        """The texts that stand there in numbers; each byte of a list comes from all of it."""
        for lists in _by_track(self.numbers):
            ends = accumulate(len(each.says) for each in lists)
            pieces = [
                Piece(at - len(each.says), len(each.says), each.start, each.end)
                for at, each in zip(ends, lists, strict=True)
            ]
            yield b"".join(each.says for each in lists), pieces


def _by_track(items: Iterable[T]) -> Iterable[list[T]]:
    found: dict[Hashable, list[T]] = {}
    for item in items:
        found.setdefault(item.track, []).append(item)
    return found.values()


def _track(data: bytes, leaves: Iterable[Leaf]) -> Track:
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
        found = Leaves([], [], [], [(0, len(data))])
        return found if _read(data, 0, found, strict=False) else None
    return _stream(data) if b"data:" in data and _STREAM.search(data) else None


# -- JSON


_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_LIST: Final = re.compile(r"\s*+:\s*+\[([^\]]*+)\]")


def _read(payload: bytes, start: int, found: Leaves, *, strict: bool) -> bool:
    """Add the strings of *payload*, which begins at *start*; whether it is JSON."""
    # One character for each byte: those beyond ASCII are in strings, of which only the places matter.
    text = payload.decode("latin-1")
    try:
        strings = list(strings_of(parsed(text, strict=strict)))
    except (ValueError, RecursionError):
        return False
    named = 0
    places = _STRING.finditer(text)
    for string in strings:
        place = _LIST.match(text, named) if string.kind == "bytes" else next(places)
        assert place is not None  # noqa: S101 -- it was read
        named = place.end()
        _NOTES[string.kind](found, string, start, place)
    return True


def _note_text(found: Leaves, _: String, start: int, place: re.Match[str]) -> None:
    found.texts.append((start + place.start() + 1, start + place.end() - 1))


def _note_value(found: Leaves, string: String, start: int, place: re.Match[str]) -> None:
    _note_text(found, string, start, place)
    found.values.append(Leaf(string.track, string.path, *found.texts[-1]))


def _note_bytes(found: Leaves, string: String, start: int, place: re.Match[str]) -> None:
    begin, end = place.span(1)
    found.numbers.append(Numbers(string.track, start + begin, start + end, string.data))


_NOTES: Final = {"name": _note_text, "value": _note_value, "bytes": _note_bytes}


# -- events

_LINE: Final = re.compile(rb"[^\r\n]++")


def _stream(data: bytes) -> Leaves:
    found = Leaves([], [], [], [], is_stream=True)
    for start, end in pairwise(accumulate(map(len, events_in(data)), initial=0)):
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
