"""Usage on streams: asked of the provider where the caller did not, and hidden from the caller again.

A chat stream tells its usage only if ``stream_options.include_usage`` asks for it. Then one more chunk comes
at the end, with the usage and without choices, and each other chunk has ``"usage": null``
(openai/types/chat/chat_completion_stream_options_param.py). Streams of the Responses API tell it in any case.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from .._core.plain import is_object
from .events import object_in, with_object


if TYPE_CHECKING:
    from collections.abc import Callable

    Object = dict[str, Any]


__all__ = ["UsageEvents", "UsageHider", "ask_for_usage", "with_usage"]


_USAGE: Final = b'"usage"'


def ask_for_usage(path: str, fields: Object) -> tuple[Object, bool]:
    """*fields* of a request so that its answer tells the usage, and whether they had to be changed for that.

    Only chat streams have to be asked. A caller's ``include_usage: false`` is not sent on: it says what the
    caller wants to see, and :class:`UsageHider` takes care of that. ``stream_options`` that are no object
    stay as they are; the provider says what is wrong with them.
    """
    options: object = fields.get("stream_options") or {}
    if path != "/chat/completions" or fields.get("stream") is not True or not is_object(options):
        return fields, False
    if options.get("include_usage"):
        return fields, False
    return {**fields, "stream_options": {**options, "include_usage": True}}, True


# What `"usage": null` at the end of a chunk looks like. What comes behind it closes the data, so the name is
# one of the chunk itself: in a string or in an inner object more would have to be closed.
_NULL_AT_END: Final = re.compile(
    rb', ?"usage": ?null((?:, ?"obfuscation": ?"[0-9A-Za-z]*")?\}(?:\r\n\r\n|\n\n|\r\r))'
)
_NULLS: Final = (re.compile(rb'"usage"\s*:\s*null\s*,\s*'), re.compile(rb'\s*,\s*"usage"\s*:\s*null'))


class UsageHider:
    """Takes out of a chat stream what only :func:`ask_for_usage` brought into it.

    The chunk at the end that has no choices is left out, and ``"usage": null`` is cut out of all others.
    Everything else passes byte for byte: events that cannot hold a usage without being parsed, events that
    cannot be read, and a usage beside choices, which some providers send without being asked.

    Attributes:
        usage: The newest one seen; ``None`` before that.
    """

    __slots__ = ("usage",)

    def __init__(self) -> None:
        self.usage: Object | None = None

    def passed(self, event: bytes) -> list[bytes]:
        """What the caller gets of *event*, which is whole, its blank line included."""
        at = event.rfind(_USAGE)
        if at < 0:
            return [event]
        # Nearly every chunk ends here. Parsing it would cost several times as much.
        null = _NULL_AT_END.search(event, max(0, at - 2))
        if null is not None and _is_one_line(event, null.start()):
            return [event[: null.start()] + event[null.start(1) :]]
        return self._studied(event)

    def _studied(self, event: bytes) -> list[bytes]:
        chunk = object_in(event) or {}
        usage = chunk.get("usage")
        if is_object(usage) and usage:
            self.usage = usage
            return [] if chunk.get("choices") == [] else [event]
        return [_without_null(event, chunk) if usage is None and "usage" in chunk else event]


def _is_one_line(event: bytes, end: int) -> bool:
    """Whether *event* up to *end* is one line, and of data: not a comment that looks like it."""
    return event.startswith(b"data:") and event.find(b"\n", 0, end) < 0 and event.find(b"\r", 0, end) < 0


def _without_null(event: bytes, chunk: Object) -> bytes:
    """*event* without the null, or as it is if that cannot be cut out of its bytes."""
    del chunk["usage"]
    cuts = (null.sub(b"", event, count=1) for null in _NULLS)
    return next((cut for cut in cuts if object_in(cut) == chunk), event)


# Most chunks of a stream have none, or a null: parsing them would cost more than all the rest.
_TOLD: Final = re.compile(rb'"usage"\s*:\s*\{')


class UsageEvents:
    """Makes *change* to each usage that a stream of *path* tells; everything else passes byte for byte."""

    __slots__ = ("_change", "_path")

    def __init__(self, path: str, change: Callable[[Object], Object]) -> None:
        self._path = path
        self._change = change

    def passed(self, event: bytes) -> list[bytes]:
        """What the caller gets of *event*, which is whole, its blank line included."""
        return [event if _TOLD.search(event) is None else with_usage(event, self._path, self._change)]


def with_usage(event: bytes, path: str, change: Callable[[Object], Object]) -> bytes:
    """*event* with what *change* makes of its usage: a chunk's, or that of a Responses event's response.

    *event* itself if it holds none, or *change* returns the object that it was given.
    """
    whole = object_in(event) if _USAGE in event else None
    if whole is None:
        return event
    holder = whole.get("response") if path == "/responses" else whole
    usage = holder.get("usage") if is_object(holder) else None
    if not is_object(holder) or not is_object(usage) or not usage:
        return event
    holder["usage"] = change(usage)
    return event if holder["usage"] is usage else with_object(event, whole)
