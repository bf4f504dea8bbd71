"""Changes to bytes, and where the bytes of a plain text stand in what it was read from."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple


if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


__all__ = ["Edit", "Piece", "applied", "blanked", "mapped"]


class Edit(NamedTuple):
    """Bytes *start* to *end* are to be *new*."""

    start: int
    end: int
    new: bytes


def applied(data: bytes, edits: Iterable[Edit]) -> bytes:
    """*data* after *edits*, which are sorted and do not overlap."""
    parts: list[bytes] = []
    at = 0
    for edit in edits:
        parts += data[at : edit.start], edit.new
        at = edit.end
    return b"".join([*parts, data[at:]])


def blanked(data: bytes, edits: Iterable[Edit]) -> bytes:
    """*data* with zeros where *edits* are to be made, so that nothing more is found there, nor across."""
    zeros = [edit._replace(new=bytes(edit.end - edit.start)) for edit in sorted(edits)]
    return applied(data, zeros) if zeros else data


class Piece(NamedTuple):
    """*size* bytes of a plain text, from *at* on, are bytes *start* to *end* of its source.

    If there are as many, they are the same bytes; else they are one escape.
    """

    at: int
    size: int
    start: int
    end: int


def mapped(edits: Iterable[Edit], pieces: Sequence[Piece]) -> Iterator[Edit]:
    """What *edits* of a plain text are in its source; what comes from several places goes into the first."""
    for edit in edits:
        (start, end), *others = _sources(edit, pieces)
        yield Edit(start, end, edit.new)
        yield from (Edit(start, end, b"") for start, end in others)


def _sources(edit: Edit, pieces: Sequence[Piece]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for at in range(_piece_at(edit.start, pieces), len(pieces)):
        piece = pieces[at]
        if piece.at >= edit.end:
            break
        start, end = _source(edit, piece)
        if found and found[-1][1] == start:
            start = found.pop()[0]
        found.append((start, end))
    return found


def _piece_at(start: int, pieces: Sequence[Piece]) -> int:
    return bisect_right(pieces, start, key=lambda piece: piece.at) - 1


def _source(edit: Edit, piece: Piece) -> tuple[int, int]:
    if piece.size != piece.end - piece.start:
        return piece.start, piece.end
    return piece.start + max(edit.start - piece.at, 0), piece.end - max(piece.at + piece.size - edit.end, 0)
