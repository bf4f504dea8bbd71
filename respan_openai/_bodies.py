"""Bodies of answers as they come: bounded in size and time, handed on from the middle, watched to their end.

Each class here is a stream of httpx's or httpx2's, blocking and awaited at once, as the families' own
``ByteStream`` is; what both colours do is a method that neither waits nor reads.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from ._clock import now
from ._core.steps import TooLarge
from ._core.values import Value
from ._families import family_of, has_header


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


#: Under this key an answer whose body is being read keeps its iterator.
_CHUNKS = "respan_openai.chunks"

#: Under this key an answer of a class of a user's own keeps its body, once that was read and unpacked.
READ = "respan_openai.body"

#: Headers of a body as it was on the wire; untrue of one that was unpacked.
_WIRE = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})


class Alarm(Protocol):
    """Whoever sees to it that a body ends in time."""

    #: From this time on it wants to know of each chunk.
    due: float

    def passed(self) -> None:
        """A chunk came; raises if that is too late."""
        ...


#: Where httpx2 looks for how long an answer took (httpx2/_models.py, ``Response.elapsed``).
_elapsed = property(lambda stream: getattr(stream._stream, "elapsed", None))  # noqa: SLF001 -- of the classes below


class _Classes(Value):
    def __init__(self, bounded: type[Any], guarded: type[Any]) -> None:
        self.bounded = bounded
        self.guarded = guarded


def within(stream: Any, limit: int, alarm: Alarm | None) -> Iterator[bytes]:
    """The chunks of *stream*, of which *alarm* is told when they are late.

    Raises:
        TooLarge: if they are more than *limit* bytes together.
    """
    for chunk in stream:
        limit -= len(chunk)
        if limit < 0:
            raise TooLarge
        if alarm is not None and now() > alarm.due:
            alarm.passed()
        yield chunk


async def awithin(stream: Any, limit: int) -> AsyncIterator[bytes]:
    """Same as :func:`within`, awaited, where a cancel scope is the alarm."""
    async for chunk in stream:
        limit -= len(chunk)
        if limit < 0:
            raise TooLarge
        yield chunk


@lru_cache(maxsize=2)
def _classes(family: Any) -> _Classes:  # noqa: C901 -- classes, whose methods it counts as its own branches
    class Bounded(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[misc]
        """A stream that ends when it has become too large."""

        def __init__(self, stream: Any, limit: int, alarm: Alarm | None) -> None:
            self._stream = stream
            self._limit = limit
            self._alarm = alarm

        elapsed = _elapsed

        def __iter__(self) -> Iterator[bytes]:
            return within(self._stream, self._limit, self._alarm)

        def __aiter__(self) -> AsyncIterator[bytes]:
            return awithin(self._stream, self._limit)

        def close(self) -> None:
            self._stream.close()

        async def aclose(self) -> None:
            await self._stream.aclose()

    class Guarded(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[misc]
        """A stream that goes on from the middle, under the eyes of a guard.

        *resume* is asked, once, for chunks to go on with after a break; it is blocking or awaited as the stream is.
        """

        def __init__(self, stream: Any, held: list[bytes], rest: Any, guard: Any, resume: Any) -> None:
            self._stream = stream
            self._held = held[::-1]
            self._rest = rest
            self._guard = guard
            self._resume = resume
            self._further: Any = None

        elapsed = _elapsed

        def __iter__(self) -> Iterator[bytes]:
            # The SDK begins anew to read what is behind the last event: a second reader goes on from the middle.
            guard, held = self._guard, self._held
            if self._further is None:
                try:
                    while held:
                        yield held.pop()
                    for chunk in self._rest:
                        yield guard.passed(chunk)
                    guard.over()
                except GeneratorExit:
                    guard.left()
                    raise
                except BaseException as exc:
                    self._further = self._resume and self._resume(exc)
                    if self._further is None and (told := guard.broken(exc)) is not None:
                        if told is exc:
                            raise
                        raise told from exc
            if self._further is not None:
                yield from self._further

        async def __aiter__(self) -> AsyncIterator[bytes]:
            guard, held = self._guard, self._held
            if self._further is None:
                try:
                    while held:
                        yield held.pop()
                    async for chunk in self._rest:
                        yield guard.passed(chunk)
                    guard.over()
                except GeneratorExit:
                    guard.left()
                    raise
                except BaseException as exc:
                    self._further = self._resume and await self._resume(exc)
                    if self._further is None and (told := guard.broken(exc)) is not None:
                        if told is exc:
                            raise
                        raise told from exc
            if self._further is not None:
                async for chunk in self._further:
                    yield chunk

        def close(self) -> None:
            try:
                self._stream.close()
                if self._further is not None:
                    self._further.close()
            finally:
                self._guard.left()

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
                if self._further is not None:
                    await self._further.aclose()
            finally:
                self._guard.left()

    return _Classes(Bounded, Guarded)


def bound(response: Any, limit: int, alarm: Alarm | None = None) -> None:
    """Let the body of *response*, which is not read yet, end beyond *limit* bytes, and *alarm* know when it is slow."""
    response.stream = _classes(family_of(response)).bounded(response.stream, limit, alarm)


def is_packed(response: Any) -> bool:
    """Whether the body comes compressed, so that its bytes on the wire say nothing about its size."""
    headers = response.headers
    return has_header(headers, b"content-encoding") and headers["content-encoding"] != "identity"


def chunks_of(response: Any, *, awaited: bool) -> Any:
    """The iterator over the unpacked body of *response*, the same one each time."""
    chunks = response.extensions.get(_CHUNKS)
    if chunks is None:
        if awaited:
            chunks = _awaited(response.stream, response.aiter_bytes if is_packed(response) else None)
        else:
            chunks = response.iter_bytes() if is_packed(response) else iter(response.stream)
        response.extensions[_CHUNKS] = chunks
    return chunks


async def _awaited(stream: Any, unpacked: Callable[[], Any] | None) -> AsyncIterator[bytes]:
    """The chunks of *stream*, which is closed at their end.

    When a stream is forgotten, its generators are finalized in tasks of their own, oldest first. Those of httpx2 close
    each other, and would meet ("asynchronous generator is already running"); this one is older and spares them that.
    """
    try:
        async for chunk in stream if unpacked is None else unpacked():
            yield chunk
    finally:
        await stream.aclose()


def filled(response: Any, body: bytes, *, keeps: bool) -> bytes:
    """*body*, which is all of *response*, unpacked, and from now on its content.

    *keeps*: see :func:`keeps_content`. To let it read itself, where that is not needed, costs three generators more.
    """
    if keeps:
        if not response.is_stream_consumed:
            response.is_stream_consumed = True
            response._num_bytes_downloaded = len(body)  # noqa: SLF001 -- see _keeps_content
        response._content = body  # noqa: SLF001
    else:
        response.extensions[READ] = body
    return body


def keeps_content(response: Any) -> bool:
    """Whether *response* may be told what its content is: one of a user's own class reads it itself."""
    family = family_of(response)
    return response.__class__ is family.Response and _keeps_content(family)


@lru_cache(maxsize=2)
def _keeps_content(family: Any) -> bool:
    """Whether a ``Response`` of *family* keeps what it has read as both do today (httpx2/_models.py)."""
    probe: Any = family.Response(200, stream=family.ByteStream(b""))
    is_known = getattr(probe, "_num_bytes_downloaded", None) == 0 and not hasattr(probe, "_content")
    probe._content = b"probe"  # noqa: SLF001 -- this is the question
    return is_known and bool(probe.read() == probe.content == b"probe")


def whole(response: Any, body: bytes, *, status: int | None = None) -> Any:
    """*response*, read, with *body* for its unpacked body."""
    return _rebuilt(response, status, content=body)


def guarded(response: Any, guard: Any, held: list[bytes] | None = None, resume: Any = None) -> Any:
    """*response*, its body under the eyes of *guard*: *held*, which was taken from it before, then the rest."""
    family, stream = family_of(response), response.stream
    rest = response.extensions.pop(_CHUNKS, None)
    if rest is None:
        rest = family.ByteStream(b"") if response.is_stream_consumed else stream
    made = _classes(family).guarded(stream, held or [], rest, guard, resume)
    if response.is_stream_consumed:  # read whole, or begun to be unpacked: it would not be read again
        return _rebuilt(response, None, stream=made)
    response.stream = made
    return response


def _rebuilt(response: Any, status: int | None, **body: Any) -> Any:
    new = family_of(response).Response(
        response.status_code if status is None else status,
        headers=[item for item in response.headers.raw if item[0].lower() not in _WIRE],
        extensions=response.extensions,
        history=response.history,
        **body,
    )
    with suppress(RuntimeError):  # known once a client has closed the answer
        new.elapsed = response.elapsed
    return new
