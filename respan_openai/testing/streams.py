"""The body of a recorded answer, and the events that it consists of."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple


if TYPE_CHECKING:
    from .recording import Answer


__all__ = ["Event", "body_of", "events_in", "events_of", "is_stream", "media_type"]


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


def body_of(answer: Answer) -> bytes:
    """All bytes of *answer* that came."""
    return b"".join(chunk.data for chunk in answer.chunks)


def media_type(answer: Answer) -> str:
    """The content type, lower case and without its parameters; empty if the answer has none."""
    values = (value for name, value in answer.headers if name == "content-type")
    return next(values, "").partition(";")[0].strip().lower()


def is_stream(answer: Answer) -> bool:
    """Whether the body consists of events."""
    return media_type(answer) == "text/event-stream"


def events_in(body: bytes) -> list[bytes]:
    """*body* cut behind each event; its parts joined are *body* again, and the last may be only begun."""
    cuts = [0, *(found.end() for found in _BLANK_LINE.finditer(body)), len(body)]
    return [body[begin:end] for begin, end in pairwise(cuts) if begin < end]


def events_of(answer: Answer) -> list[Event]:
    """The events of *answer*, without comments and without one that never ended."""
    from .._core.sse import Decoder

    body = body_of(answer)
    return [Event(name, data) for name, data in Decoder(len(body), "replace").feed(body)]
