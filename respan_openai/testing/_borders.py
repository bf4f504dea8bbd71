"""Where a body was cut into chunks, and when each of them came.

A border is ``(offset, at)``: the byte that a chunk begins with, and the milliseconds since the request was
sent. The first one is at byte 0.
"""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Final

from ._shapes import REPAIR, ROOT, Misshapen, a_list, a_whole_number, list_of
from .recording import Chunk


if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ._shapes import Check, Place

    Border = tuple[int, int]


__all__ = ["TIMING", "a_border", "borders_in", "borders_of", "cut", "noted"]


def borders_of(chunks: Sequence[Chunk]) -> list[Border]:
    """Of *chunks*."""
    offsets = accumulate((len(chunk.data) for chunk in chunks), initial=0)
    return [(offset, chunk.at) for offset, chunk in zip(offsets, chunks, strict=False)]


def cut(body: bytes, borders: Sequence[Border], place: Place = ROOT) -> tuple[Chunk, ...]:
    """*body* in chunks again.

    Raises:
        Misshapen: if a border is outside of *body*, or not behind the one before it; as it may be once
            somebody has made a body shorter.
    """
    if len(borders) == 1 and borders[0][0] == 0:
        return (Chunk(borders[0][1], body),)
    offsets = [offset for offset, _ in borders]
    if offsets[:1] != [0] or offsets[-1] >= len(body) or any(a >= b for a, b in pairwise(offsets)):
        raise Misshapen(
            place,
            f"must begin chunks at growing bytes from 0 to the {len(body)} of the body. "
            "Correct them, or take them out to have the body in one piece.",
        )
    ends = [*offsets[1:], len(body)]
    return tuple(Chunk(at, body[begin:end]) for (begin, at), end in zip(borders, ends, strict=True))


# -- in a file: ``"at": 412`` for a body in one piece, ``"chunks": [[412, 0], [431, 1024]]`` for several


def a_border(value: Any, place: Place) -> Border:
    """The check for a border as a file has it: when the chunk came, and the byte that it begins with."""
    if len(a_list(value, place)) != 2:
        raise Misshapen(place, f"must be two whole numbers. {REPAIR}")
    at, offset = (a_whole_number(item, (place, index)) for index, item in enumerate(value))
    return offset, at


#: The checks of the keys that say where a body is cut.
TIMING: Final[Mapping[str, Check]] = {"at": a_whole_number, "chunks": list_of(a_border)}


def noted(borders: Sequence[Border]) -> dict[str, Any]:
    """What a file says about *borders*: nothing for a body that was there at once, in one piece."""
    if len(borders) > 1:
        return {"chunks": [[at, offset] for offset, at in borders]}
    return {"at": borders[0][1]} if borders and borders[0][1] else {}


def borders_in(fields: Mapping[str, Any], place: Place) -> list[Border]:
    """The borders that *fields* of a file, as :data:`TIMING` returns them, say.

    Raises:
        Misshapen: if they say it twice.
    """
    if "chunks" not in fields:
        return [(0, fields.get("at", 0))]
    if "at" in fields:
        raise Misshapen(place, 'has both "at" and "chunks". Take out "at".')
    return list(fields["chunks"])
