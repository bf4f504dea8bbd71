"""What a fault leaves of an answer: an error in its place, nothing at all, or a part of it.

What is to be cut may be missing, because nothing was recorded or no answer began. Then the connection breaks
off before an answer begins.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

from ._answers import content_of, events_in, is_stream
from .recording import Answer, Chunk, Failure


if TYPE_CHECKING:
    from collections.abc import Sequence


__all__ = ["disconnected", "failed", "malformed", "refused", "truncated"]


#: ``type`` and ``code`` of OpenAI's errors, where they are not those of most.
_KINDS: Final = {
    401: ("invalid_request_error", "invalid_api_key"),
    429: ("requests", "rate_limit_exceeded"),
}


def refused(status: int, retry_after: float | None) -> Answer:
    """An error answer in OpenAI's shape, which asks to wait *retry_after* seconds if that is given."""
    kind, code = _KINDS.get(status, ("invalid_request_error" if status < 500 else "server_error", None))
    error = {"message": f"A fault of this test: status {status}.", "type": kind, "param": None, "code": code}
    body = json.dumps({"error": error}).encode()
    return Answer(status, (("content-type", "application/json"), *_waits(retry_after)), (Chunk(0, body),))


def _waits(seconds: float | None) -> tuple[tuple[str, str], ...]:
    if seconds is None:
        return ()
    # The one is in whole seconds (RFC 9110, 10.2.3); the other is what the SDK reads first.
    return ("retry-after", str(math.ceil(seconds))), ("retry-after-ms", str(round(seconds * 1000)))


def failed(kind: str) -> Answer:
    """No answer, but an exception of the class *kind* of the HTTP library."""
    return Answer(None, end="failed", failure=Failure(kind, 0))


def disconnected(answer: Answer | None, events: int) -> Answer:
    """*answer*, breaking off behind so many events.

    One that is no stream breaks off in its middle, or with 0 before its first byte.
    """
    if answer is None or answer.status is None:
        return failed(_BROKEN)
    chunks = _without(answer.chunks, _size_of(answer, events), None)
    at = chunks[-1].at if chunks else 0
    return answer._replace(chunks=chunks, end="failed", failure=Failure(_BROKEN, at))


#: What httpx raises if the other side closes the connection too early.
_BROKEN: Final = "RemoteProtocolError"


def _size_of(answer: Answer, events: int) -> int:
    body = content_of(answer)
    if is_stream(answer):
        return sum(map(len, events_in(body)[:events]))
    return len(body) // 2 if events else 0


def truncated(answer: Answer | None, size: int) -> Answer:
    """*answer*, over after *size* bytes as if that were all of it."""
    if answer is None or answer.status is None:
        return failed(_BROKEN)
    return answer._replace(chunks=_without(answer.chunks, size, None), end="eof", failure=None)


def malformed(answer: Answer | None) -> Answer:
    """*answer* without the second half of its body; of a stream, of the first object in an event."""
    if answer is None or answer.status is None:
        return failed(_BROKEN)
    body = content_of(answer)
    begin, end = _half_event(body) if is_stream(answer) else (len(body) // 2, len(body))
    return answer._replace(chunks=_without(answer.chunks, begin, end))


def _half_event(body: bytes) -> tuple[int, int]:
    """From where to where the second half lies; of the whole if no event holds an object."""
    start = 0
    for event in events_in(body):
        text, brace = event.rstrip(b"\r\n"), event.find(b"{")
        if brace >= 0:
            # An object is none any more as soon as its last byte is missing and its first is not.
            return start + brace + max(1, (len(text) - brace) // 2), start + len(text)
        start += len(event)
    return len(body) // 2, len(body)


def _without(chunks: Sequence[Chunk], begin: int, end: int | None) -> tuple[Chunk, ...]:
    """*chunks* without the bytes from *begin* to *end* of the whole; ``None`` is the last."""
    kept: list[Chunk] = []
    at = 0
    for chunk in chunks:
        before = chunk.data[: max(0, begin - at)]
        after = b"" if end is None else chunk.data[max(0, end - at) :]
        at += len(chunk.data)
        kept += [chunk._replace(data=before + after)] if before or after else []
    return tuple(kept)
