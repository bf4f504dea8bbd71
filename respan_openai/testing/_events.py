"""A stream of Server-Sent Events as a file keeps it: it reads like an answer, and comes back byte for byte.

    {"shared": {"id": "c1", "model": "m"},
     "events": [
      [412, {"choices": [{"index": 0, "delta": {"content": "It was "}}]}],
      [null, {"choices": [{"index": 0, "delta": {"content": "sent."}}]}],
      [460, "[DONE]"]]}

1. A row is one event: when it came, and its data. An object is JSON, written in the stream's ``style``; a
   string stands for itself. The fields of ``shared`` are in every object, in front, or where ``order`` says.
2. *When* tells the borders of chunks. A number begins a chunk, which came at that many milliseconds; ``null``
   is the rest of the chunk before. ``[412, [415, 40]]``: another chunk, which came at 415, begins with byte
   40 of the event; ``[null, [415, 40]]`` is both.
3. A word between the two tells an exception. ``whole``: an object without the shared fields; ``event: NAME``:
   an event with another name than ``named`` gives it, and whole; ``raw``: any other text, as it was.
4. What is around the data is said once, and only where it is not as OpenAI has it: ``newline``; ``blank``
   false if there is none behind a colon; ``named`` true if the name of each event is its ``type``.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._core.plain import is_object
from ._borders import a_border, cut
from ._framing import pieces_of
from ._shapes import REPAIR, Misshapen, Shape, a_list, a_string
from ._stream import COMMON, NAMED, RAW, WHOLE, common_in, common_of, stream_of
from ._styles import utf8, written
from .recording import Chunk


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._borders import Border
    from ._framing import Piece
    from ._shapes import Place
    from ._stream import Stream

    Object = dict[str, Any]


__all__ = ["EVENTS", "Played", "kept_events", "played_events"]


class Played(NamedTuple):
    """A stream that a file tells about.

    Attributes:
        chunks: Of its bytes.
        values: Of its events: objects, or the strings that are no objects.
    """

    chunks: tuple[Chunk, ...]
    values: Sequence[Any]


# -- to a file


def kept_events(body: str, borders: Sequence[Border]) -> Object | None:
    """What a file keeps of a stream; ``None`` if there is no event in it.

    Args:
        body: All of it.
        borders: Of its chunks, in bytes of UTF-8.
    """
    pieces = pieces_of(body)
    stream = stream_of(pieces)
    if stream is None:
        return None
    whens = _whens([len(piece.text.encode()) for piece in pieces], borders)
    events = [[when, *_row(stream, piece)] for when, piece in zip(whens, pieces, strict=True)]
    return {**common_of(stream), "events": events}


def _row(stream: Stream, piece: Piece) -> list[Any]:
    label, data = next(
        (label, data)
        for label, data in _candidates(stream, piece)
        if stream.text(label, stream.value(label, data)) == piece.text
    )
    return [data] if label is None else [label, data]


def _candidates(stream: Stream, piece: Piece) -> Iterator[tuple[str | None, Any]]:
    """The ways to say *piece*, the plainest first, and one that is always true last."""
    if is_object(value := piece.value):
        yield None, {key: item for key, item in value.items() if key not in stream.shared}
        yield WHOLE, value
        yield f"{NAMED}{piece.name}", value
    if piece.frame is not None:
        yield None, piece.data
        yield f"{NAMED}{piece.name}", piece.data
    yield RAW, piece.text


def _whens(sizes: Sequence[int], borders: Sequence[Border]) -> Iterator[Any]:
    """For each event the borders in it; *sizes* are of the events, in bytes."""
    left, begin = list(reversed(borders)), 0
    for size in sizes:
        inner: list[list[int]] = []
        while left and left[-1][0] < begin + size:
            offset, at = left.pop()
            inner.append([at, offset - begin])
        first = inner.pop(0)[0] if inner and inner[0][1] == 0 else None
        begin += size
        yield [first, *inner] if inner else first


# -- from a file


class _Event(NamedTuple):
    value: Any
    data: bytes
    borders: Sequence[Border]


def _event(row: Any, stream: Stream, place: Place) -> _Event:
    when, *rest = a_list(row, place) or [None]
    label = a_string(rest[0], (place, 1)) if len(rest) == 2 else None
    if len(rest) not in {1, 2}:
        raise Misshapen(place, f"must be when an event came, and its data. {REPAIR}")
    if label is not None and label not in _LABELS and not label.startswith(NAMED):
        raise Misshapen((place, 1), f'must be "raw", "whole", or "event: " and a name. {REPAIR}')
    if type(rest[-1]) is not str and (label == RAW or not is_object(rest[-1])):
        raise Misshapen((place, len(rest)), f"must be an object, or else a string. {REPAIR}")
    value = stream.value(label, rest[-1])
    data = utf8(stream.text(label, value), place)
    return _Event(value, data, _when(when, len(data), (place, 0)))


_LABELS: Final = (RAW, WHOLE)


def _when(value: Any, size: int, place: Place) -> list[Border]:
    """The borders in an event of *size* bytes."""
    if value is None:
        return []
    if type(value) is int:
        return [(0, value)]
    first, *rest = a_list(value, place) or [None]
    inner = [a_border(item, (place, at)) for at, item in enumerate(rest, 1)]
    if not all(0 < offset < size for offset, _ in inner) or type(first) is list:
        raise Misshapen(place, f"has a border outside the {size} bytes of its event. Take it out.")
    return _when(first, size, (place, 0)) + inner


def _plain_events(rows: Sequence[Any], stream: Stream) -> Played | None:
    """The stream of *rows* if none of them is an exception or holds a border; ``None`` leaves them to :func:`_event`.

    It takes half as long, and most streams are such.
    """
    if stream.order or stream.frame.named or not rows:
        return None
    shared, style, frame = stream.shared, stream.style, stream.frame
    # Once for all events, where that is how they begin.
    head = "" if style.newline or not shared else written(shared, style)[:-1] + style.comma
    chunks: list[tuple[int, list[bytes]]] = []
    values: list[Any] = []
    try:
        for when, data in rows:
            value = data if type(data) is str else {**shared, **data}
            if type(when) is int:
                chunks.append((when, []))
            elif when is not None:
                return None
            if type(value) is str:
                text = value
            elif head and data and shared.keys().isdisjoint(data):
                text = head + written(data, style)[1:]
            else:
                text = written(value, style)
            chunks[-1][1].append(frame.text(None, text).encode())
            values.append(value)
    except (TypeError, ValueError, IndexError):
        return None  # whatever is wrong is said there
    return Played(tuple([Chunk(at, b"".join(data)) for at, data in chunks]), values)


#: The check for what :func:`kept_events` returns.
EVENTS: Final = Shape({**COMMON, "events": a_list}, "events")


def played_events(fields: Object, place: Place) -> Played:
    """The stream that *fields* of a file, as :data:`EVENTS` returns them, stand for.

    Raises:
        Misshapen: for a row that is no event, or borders that do not fit it.
    """
    stream, here = common_in(fields), (place, "events")
    plain = _plain_events(fields["events"], stream)
    if plain is not None:
        return plain
    events = [_event(row, stream, (here, at)) for at, row in enumerate(fields["events"])]
    begins = accumulate((len(event.data) for event in events), initial=0)
    borders = [
        (begin + offset, at)
        for begin, event in zip(begins, events, strict=False)
        for offset, at in event.borders
    ]
    body = b"".join([event.data for event in events])
    return Played(cut(body, borders, here), [event.value for event in events])
