"""One Server-Sent Event as its bytes: what it says, and the same event saying something else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from .._core.plain import is_object
from .._core.sse import Decoder


if TYPE_CHECKING:
    Object = dict[str, Any]


__all__ = ["ends_stream", "object_in", "with_object"]


def object_in(event: bytes) -> Object | None:
    """The JSON object that *event*, whole and with the blank line behind it, holds.

    ``None`` for anything else: a comment, ``[DONE]``, text that is no JSON or no object. The object is new at
    each call, so it may be changed.
    """
    data = _data_of(event)
    if not data:
        return None
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if is_object(found) else None


def with_object(event: bytes, value: Object) -> bytes:
    """*event* with *value* for its data; its name, its id and its comments stay."""
    kept = [line for line in event.splitlines() if line and not line.startswith(b"data")]
    # ASCII: nothing in a string is the end of a line to any reader, and half a surrogate pair passes.
    data = json.dumps(value, separators=(",", ":")).encode()
    return b"\n".join([*kept, b"data: " + data, b"", b""])


def ends_stream(event: bytes) -> bool:
    """Whether *event* is the ``[DONE]`` after which openai-python reads no further (openai/_streaming.py)."""
    return b"[DONE]" in event and (_data_of(event) or "").startswith("[DONE]")


def _data_of(event: bytes) -> str | None:
    try:
        return next((data for _, data in Decoder(len(event)).feed(event)), None)
    except UnicodeDecodeError:
        return None
