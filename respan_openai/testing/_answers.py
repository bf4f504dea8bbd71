"""The body of a recorded answer, and the events that it consists of."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from ._contents import media_type


if TYPE_CHECKING:
    from .recording import Answer


__all__ = ["Event", "content_of", "events_in", "events_of", "is_stream", "type_of"]


#: What ends an event; CR LF is one line end, not two (HTML standard, 9.2.5).
_BLANK_LINE: Final = re.compile(rb"(?:\n|\r\n?+)(?:\n|\r\n?+)")


class Event(NamedTuple):
    """One Server-Sent Event as the SDK reads it.

    Attributes:
        name: Its ``event:`` field; ``None`` without one.
        data: Text; bytes that are no UTF-8 are replaced.
    """

    name: str | None
    data: str


def content_of(answer: Answer) -> bytes:
    """All bytes of *answer* that came."""
    return b"".join(chunk.data for chunk in answer.chunks)


def type_of(answer: Answer) -> str:
    """The content type, lower case and without its parameters; empty if the answer has none."""
    return media_type(dict(answer.headers).get("content-type")) or ""


def is_stream(answer: Answer) -> bool:
    """Whether the body consists of events."""
    return type_of(answer) == "text/event-stream"


def events_in(body: bytes) -> list[bytes]:
    """*body* cut behind each event; its parts joined are *body* again, and the last may be only begun."""
    cuts = [0, *(found.end() for found in _BLANK_LINE.finditer(body)), len(body)]
    return [body[begin:end] for begin, end in pairwise(cuts) if begin < end]


def events_of(answer: Answer) -> list[Event]:
    """The events of *answer*, without comments and without one that never ended."""
    from .._core.sse import Decoder

    body = content_of(answer)
    return [Event(name, data) for name, data in Decoder(len(body), "replace").feed(body)]
