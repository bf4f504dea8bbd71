"""An answer as the cache keeps it: what a hit looks like, and how an entry becomes bytes.

1. A stream is kept as its events, and comes again with the same events.
2. Of the head, the status and the content type are kept; framing, dates, cookies and rate limits were the
   first answer's own.
3. A hit says so in its header ``x-respan-cache`` and, where the answer has a usage, in ``usage.cached``: the
   word that ``request_breakdown`` has for it (reference 003:3). The other counters stay what the provider
   billed for the first call. The hit itself costs nothing, and that is for its log row and record to say.
4. Bytes that are not exactly what ``dump`` wrote are no entry, whatever else they are.

Prompts are not in an entry, but answers often repeat them: what is dumped is as confidential as
the calls are.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from itertools import accumulate, islice, pairwise
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .._core.call import parse_object
from .._core.plain import as_list, as_object
from .complete import MAX_BYTES
from .events import object_in


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Object = Mapping[str, Any]
    Read = Callable[[bytes], Object | None]


__all__ = ["HIT", "Entry", "dump", "load", "replayed"]


#: The header of an answer that comes from the cache; a record reads it as ``cache_hit``.
HIT: Final = ("x-respan-cache", "hit")


class Entry(NamedTuple):
    """A kept answer.

    Attributes:
        status: Of the first answer.
        content_type: Of the first answer; ``text/event-stream`` for a stream.
        chunks: The body, content-decoded; after :func:`replayed` one for each event of a stream, and one in
            all otherwise.
        model: The model that the answer names; ``None`` if it names none.
        provider: Who answered the first call.
        usage: The first call's, unmarked; ``None`` if the provider told none.
        log_id: The log row of the first call.
        stored_at: When it was kept, in seconds since 1970.
    """

    status: int
    content_type: str
    chunks: tuple[bytes, ...]
    model: str | None
    provider: str
    usage: Object | None
    log_id: str
    stored_at: float

    def __repr__(self) -> str:
        # Not the chunks: frames of a traceback are collected with their locals.
        return f"Entry({self.model!r}, log_id={self.log_id!r}, {len(self.chunks)} chunks)"

    def is_fresh(self, now: float, ttl: float) -> bool:
        """Whether it may be served at *now* (since 1970) to a call that takes answers of *ttl* seconds.

        The store has forgotten what is too old for the call that kept it; another call may ask for less. An
        entry of the future, from a machine whose clock is ahead, is fresh.
        """
        return now - self.stored_at < ttl


# -- what a hit looks like


def replayed(entry: Entry) -> Entry:
    """*entry* with ``"cached": true`` in the usage of its answer, cut into events if it is a stream.

    To be done once, before it is dumped: a hit then costs nothing but to be read. In a stream the last event
    that has a usage is marked: the one before ``[DONE]``, or ``response.completed``. All other bytes stay as
    they are. An answer without a usage stays as it is too, because openai-python would take the mark alone
    for one without counters; and so does one whose usage is already marked, or names something else
    ``cached``.
    """
    body = b"".join(entry.chunks)
    is_stream = entry.content_type.lower().startswith("text/event-stream")
    pieces, read = (_events(body), object_in) if is_stream else ([body], parse_object)
    at = next((at for at in reversed(range(len(pieces))) if _has_usage(pieces[at], read)), None)
    if at is not None:
        pieces[at] = _marked(pieces[at], read)
    return entry._replace(chunks=tuple(pieces))


# A blank line ends an event, and CR LF is one line end, not two (HTML standard, 9.2.5).
_BLANK_LINE = re.compile(rb"(?:\n|\r\n?+)(?:\n|\r\n?+)")

_USAGE = re.compile(rb'"usage"\s*:\s*\{')
_MARK = b'"cached":true,'

#: Most places that are tried; the usage is near the end of an answer, behind whatever else has that name.
_MOST_TRIES = 4


def _events(stream: bytes) -> list[bytes]:
    """*stream*, cut behind each blank line."""
    cuts = [0, *(found.end() for found in _BLANK_LINE.finditer(stream)), len(stream)]
    return [stream[begin:end] for begin, end in pairwise(cuts) if begin < end]


def _usage_in(said: Object | None) -> Object:
    """The usage of an answer, of a chunk, or of the response in an event."""
    found = as_object(said)
    return as_object(found.get("usage")) or as_object(as_object(found.get("response")).get("usage"))


def _has_usage(piece: bytes, read: Read) -> bool:
    return _USAGE.search(piece) is not None and bool(_usage_in(read(piece)))


def _marked(piece: bytes, read: Read) -> bytes:
    """*piece* with the mark where it makes the usage what it was, and marked; itself without such a place."""
    usage = _usage_in(read(piece))
    expected = {**usage, "cached": True}
    if usage == expected:
        return piece
    trials = islice(_trials(piece), _MOST_TRIES)
    return next((trial for trial in trials if _usage_in(read(trial)) == expected), piece)


def _trials(piece: bytes) -> Iterator[bytes]:
    for found in reversed(list(_USAGE.finditer(piece))):
        yield piece[: found.end()] + _MARK + piece[found.end() :]


# -- bytes


#: The format's name and version. It changes with the format, and older entries are then misses.
_FORMAT = b"respan-cache 1"

#: Bytes beyond which nothing is looked at: the largest answer, the lengths of its chunks and its
#: usage once more.
_MOST = 4 * MAX_BYTES

_KINDS: Mapping[str, type | tuple[type, ...]] = MappingProxyType({
    "status": int,
    "content_type": str,
    "model": (str, NoneType),
    "provider": str,
    "usage": (dict, NoneType),
    "log_id": str,
    "stored_at": (int, float),
})  # fmt: skip


def dump(entry: Entry) -> bytes:
    """*entry* as bytes: a line with the format and a checksum, a line of JSON, and the chunks in a row."""
    fields = {name: getattr(entry, name) for name in _KINDS}
    header = json.dumps({**fields, "lengths": [len(chunk) for chunk in entry.chunks]})
    content = b"".join([header.encode(), b"\n", *entry.chunks])
    return _first_line(content) + b"\n" + content


def load(data: bytes) -> Entry | None:
    """The entry that was dumped as *data*.

    ``None`` if *data* is anything else: damaged, cut off, too large, or written by a library that has another
    format. Raises nothing, so that a broken cache is a miss.
    """
    if len(data) > _MOST:
        return None
    first_line, _, content = data.partition(b"\n")
    if first_line != _first_line(content):
        return None
    header, _, body = content.partition(b"\n")
    return _entry(parse_object(header), body)


def _first_line(content: bytes) -> bytes:
    return b"%s %s" % (_FORMAT, sha256(content).hexdigest().encode())


def _entry(header: Object, body: bytes) -> Entry | None:
    """The checksum tells damage. This tells what was never dumped, though its checksum is right."""
    chunks = _cut(body, header.get("lengths"))
    fields: dict[str, Any] = {name: header.get(name) for name in _KINDS}
    if chunks is None or not all(map(isinstance, fields.values(), _KINDS.values())):
        return None
    return Entry(**fields, chunks=chunks)


def _cut(body: bytes, lengths: object) -> tuple[bytes, ...] | None:
    sizes = [size for size in as_list(lengths) if isinstance(size, int)]
    if min(sizes, default=0) < 0 or sum(sizes) != len(body):
        return None
    return tuple(body[begin:end] for begin, end in pairwise(accumulate(sizes, initial=0)))
