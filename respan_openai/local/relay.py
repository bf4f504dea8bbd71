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


__all__ = ["MOST_KEPT", "Change", "Relay"]


#: Bytes of a stream that are kept for the cache and the log.
MOST_KEPT = 8 << 20

#: What ends an event (HTML standard, 9.2.6).
_BLANK_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")

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
        changes: Made to each event, in order.
        summary: Made last, and not part of what is kept; ``None`` for none.
        keeps: Whether what the caller gets is kept.

    Attributes:
        kept: What the caller got.
    """

    __slots__ = ("_changes", "_keeps", "_path", "_size", "_summary", "_tail", "kept", "watch")

    def __init__(
        self, path: str, watch: Watch, *, changes: Sequence[Change], summary: Summary | None, keeps: bool
    ) -> None:
        self.watch = watch
        self.kept: list[bytes] = []
        self._path = path
        self._changes = changes
        self._summary = summary
        self._keeps = keeps
        self._size = 0
        self._tail = b""

    @property
    def is_whole(self) -> bool:
        """Whether the answer has come to its end, and that without an error."""
        watch = self.watch
        return watch.error is None and watch.garbage is None and (watch.done or watch.complete)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be expected: what follows the end of a chat's text is its usage."""
        return self.watch.done or (self._path == _RESPONSES and self.watch.complete)

    @property
    def is_kept(self) -> bool:
        """Whether ``kept`` is all of it."""
        return self._keeps and self._size <= MOST_KEPT

    def passed(self, chunk: bytes, *, seen: bool = False) -> bytes:
        """What the caller gets of *chunk*, perhaps nothing yet; *seen* tells that the watch knows it."""
        if not seen:
            self.watch.feed(chunk)
        if self._path not in {_CHAT, _RESPONSES}:
            return self._note(chunk)
        return b"".join(out for event in self._whole_events(chunk) for out in self._changed(event))

    def over(self) -> bytes:
        """What the caller still gets when the provider has sent its last byte."""
        self.watch.close()
        tail, self._tail = self._note(self._tail), b""
        more = [] if self._summary is None or not self.is_whole else self._summary.over()
        return b"".join([tail, *more])

    def _whole_events(self, chunk: bytes) -> Iterator[bytes]:
        text, start = self._tail + chunk if self._tail else chunk, 0
        # The end of a line may have come before the one that makes it a blank one.
        for found in _BLANK_LINE.finditer(text, max(0, len(self._tail) - 3)):
            yield text[start : found.end()]
            start = found.end()
        self._tail = text[start:]

    def _changed(self, event: bytes) -> Iterator[bytes]:
        events = [event]
        for change in self._changes:
            events = [out for each in events for out in change.passed(each)]
        for each in map(self._note, events):
            yield from [each] if self._summary is None else self._summary.passed(each)

    def _note(self, chunk: bytes) -> bytes:
        self._size += len(chunk)
        if self._keeps and chunk and self._size <= MOST_KEPT:
            self.kept.append(chunk)
        return chunk
