"""What becomes of a stream's bytes between a provider and a caller: watched, changed where that was asked for, kept.

Events pass one by one, each as soon as it is whole. A body that is no stream of chat or Responses events passes as
it comes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol


if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .._core.sse import Watch


__all__ = ["MOST_KEPT", "Change", "Relay", "Summary"]


#: Bytes of a stream that are kept for the cache and the log.
MOST_KEPT = 8 << 20

#: What ends an event for openai-python (openai/_streaming.py, ``_iter_chunks``).
_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LONGEST_BLANK_LINE = 4

_CHAT, _RESPONSES = "/chat/completions", "/responses"


class Change(Protocol):
    """Changes a stream event by event."""

    def passed(self, event: bytes, /) -> list[bytes]:
        """What the caller gets of *event*, which is whole, its blank line included."""
        ...


class Summary(Change, Protocol):
    """A change that has something to add at the end."""

    def over(self) -> list[bytes]:
        """What the caller still gets after the last event."""
        ...


class Relay:
    """One stream on its way.

    Args:
        path: What was called.
        watch: Sees what the provider sends.
        changes: Made to each event, in order, before it is kept.
        dressing: Made after that: what is for this caller only.
        summary: Made last; ``None`` for none.
        keeps: Whether the events are kept.

    Attributes:
        watch: As given.
        kept: The events, *changes* made, up to ``MOST_KEPT`` bytes.
    """

    __slots__ = ("_changes", "_dressing", "_keeps", "_path", "_size", "_summary", "_tail", "kept", "watch")

    def __init__(
        self,
        path: str,
        watch: Watch,
        *,
        changes: Sequence[Change] = (),
        dressing: Sequence[Change] = (),
        summary: Summary | None = None,
        keeps: bool = False,
    ) -> None:
        self.watch = watch
        self.kept: list[bytes] = []
        self._path = path
        self._changes = changes
        self._dressing = dressing if summary is None else (*dressing, summary)
        self._summary = summary
        self._keeps = keeps
        self._size = 0
        self._tail = bytearray()

    @property
    def is_whole(self) -> bool:
        """Whether the answer has come to its end, and that without an error."""
        watch = self.watch
        return watch.error is None and watch.garbage is None and watch.complete

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be expected: what follows the end of a chat's text is its usage.

        Nor behind an error, at which a caller may stop to read without closing anything (openai 1.68).
        """
        watch = self.watch
        return watch.done or watch.error is not None or (self._path == _RESPONSES and watch.complete)

    @property
    def is_kept(self) -> bool:
        """Whether ``kept`` is all of it."""
        return self._keeps and self._size <= MOST_KEPT

    def passed(self, chunk: bytes, *, seen: bool = False) -> bytes:
        """What the caller gets of *chunk*, perhaps nothing yet; *seen* tells that the watch knows it.

        Raises:
            EventTooLarge: if an event has grown beyond the watch's limit.
        """
        if not seen:
            self.watch.feed(chunk)
        if self._path not in {_CHAT, _RESPONSES}:
            return self._noted(chunk)
        return b"".join(out for event in self._whole_events(chunk) for out in self._changed(event))

    def over(self) -> bytes:
        """What the caller still gets when the provider has sent its last byte."""
        self.watch.close()
        tail, self._tail = self._noted(bytes(self._tail)), bytearray()
        more = [] if self._summary is None or not self.is_whole else self._summary.over()
        return b"".join([*more, tail])  # an event without its end would swallow what comes behind it

    def _whole_events(self, chunk: bytes) -> Iterator[bytes]:
        tail, start = self._tail, 0
        # A blank line may have begun before; what was searched is not searched again.
        behind = max(0, len(tail) - _LONGEST_BLANK_LINE + 1)
        tail += chunk
        for found in list(_BLANK_LINE.finditer(tail, behind)):
            yield bytes(tail[start : found.end()])
            start = found.end()
        del tail[:start]

    def _changed(self, event: bytes) -> Iterator[bytes]:
        for each in _through(self._changes, event):
            yield from _through(self._dressing, self._noted(each))

    def _noted(self, chunk: bytes) -> bytes:
        self._size += len(chunk)
        if self._keeps and chunk:
            if self._size <= MOST_KEPT:
                self.kept.append(chunk)
            else:
                self.kept.clear()  # a part is of no use
        return chunk


def _through(changes: Sequence[Change], event: bytes) -> list[bytes]:
    events = [event]
    for change in changes:
        events = [out for each in events for out in change.passed(each)]
    return events
