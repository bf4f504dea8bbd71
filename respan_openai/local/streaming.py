"""Bodies that go out as they come in, in both HTTP libraries, blocking and awaited; and how they end.

1. The end is told once, and before the last bytes are handed over: who has the whole answer finds it in the log.
2. Whoever breaks off ends it, too: a reader who is cancelled, closes the response, or forgets it (``aftercare``). One
   who stops to read does not: he may go on later.
3. An error is one of the caller's own library, and nothing of it leads to the provider's request, which holds a key.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from .._bodies import chunks_of
from .._families import family_of, fault_of
from .aftercare import PATIENCE_SECONDS, aftercare
from .steps import to_the_end


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from .relay import Relay


__all__ = ["Body", "End", "chunks_for", "streamed"]


class End:
    """Told once how a stream ended.

    Args:
        name: Who sends it.
        finish: What is to be done then; gets the error, ``GeneratorExit`` if its reader left, ``None`` if there was
            none. It may wait for the store.
        blocks: Whether it does.
    """

    def __init__(self, name: str, finish: Callable[[BaseException | None], None], *, blocks: bool) -> None:
        self._name = name
        self._finish: Callable[[BaseException | None], None] | None = finish
        self._blocks = blocks

    def _take(self, error: BaseException | None) -> Callable[[], None] | None:
        finish, self._finish = self._finish, None
        return None if finish is None else partial(finish, error)

    def tell(self, error: BaseException | None = None) -> None:
        """Do it, unless it was done before."""
        finish = self._take(error)
        if finish is not None:
            finish()

    async def atell(self, error: BaseException | None = None) -> None:
        """Same as :meth:`tell`, awaited, and to its end even if the caller is cancelled."""
        finish = self._take(error)
        if finish is not None:
            await to_the_end(finish) if self._blocks else finish()

    def left(self, seconds: float = 0.0) -> None:
        """The reader has gone, perhaps by the garbage collector; wait for it at most so many *seconds*."""
        finish = self._take(GeneratorExit())
        if finish is not None:
            aftercare(finish, seconds)

    def error_for(self, error: BaseException, request: Any) -> BaseException:
        """What the caller of *request* gets for *error*."""
        if fault_of(error) is None:
            return error
        text = f"Provider {self._name!r} broke the stream off ({type(error).__name__})."
        return family_of(request).ReadError(text, request=request)  # type: ignore[no-any-return]


class Body:
    """A provider's body on its way.

    Args:
        response: The provider's.
        held: What was read of it before.
        is_read: Whether that is all of it.
        relay: What it passes through; ``None`` if it passes as it is.
        end: Told how it ends.
    """

    def __init__(
        self, response: Any, held: list[bytes], *, is_read: bool, relay: Relay | None, end: End
    ) -> None:
        self.response = response
        self.end = end
        self.is_read = is_read
        self._held = held
        self._relay = relay

    def take_held(self) -> list[bytes]:
        """What was read before, the first time."""
        held, self._held = self._held, []
        return held

    def passed(self, chunk: bytes, *, seen: bool = False) -> bytes:
        """As ``Relay.passed``."""
        return chunk if self._relay is None else self._relay.passed(chunk, seen=seen)

    @property
    def is_over(self) -> bool:
        """As ``Relay.is_over``."""
        return self._relay is not None and self._relay.is_over

    def over(self) -> bytes:
        """As ``Relay.over``."""
        return b"" if self._relay is None else self._relay.over()


def chunks_for(family: Any, chunks: tuple[bytes, ...]) -> Any:
    """*chunks* as a stream of *family*."""
    return _classes(family)[0](chunks)


def streamed(request: Any, status: int, headers: list[tuple[bytes, bytes]], body: Body) -> Any:
    """A response of *request*'s family whose *body* goes on."""
    aftercare.get_ready()
    family = family_of(request)
    return family.Response(
        status, headers=headers, stream=_classes(family)[1](request, body), request=request
    )


@lru_cache(maxsize=2)
def _classes(family: Any) -> tuple[type[Any], type[Any]]:  # noqa: C901 -- classes, whose methods it counts as its own
    class Chunks(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, chunks: tuple[bytes, ...]) -> None:
            self._chunks = chunks

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._chunks)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in self._chunks:
                yield chunk

    class Relayed(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, request: Any, body: Body) -> None:
            self._request = request
            self._body = body

        def __del__(self) -> None:
            self._body.end.left()

        def __iter__(self) -> Iterator[bytes]:
            told: BaseException | None = None
            try:
                yield from self._passed()
            except GeneratorExit:
                raise
            except BaseException as exc:
                self._body.end.tell(exc)
                told = self._body.end.error_for(exc, self._request)
                if told is exc:
                    raise
            if told is not None:  # out here, where it does not get the other one for its context
                raise told

        def _passed(self) -> Iterator[bytes]:
            body = self._body
            for chunk in body.take_held():
                yield from self._ready(body.passed(chunk, seen=True))
            for chunk in () if body.is_read else chunks_of(body.response, awaited=False):
                yield from self._ready(body.passed(chunk))
            tail = body.over()
            body.end.tell()
            if tail:
                yield tail

        def _ready(self, out: bytes) -> Iterator[bytes]:
            if self._body.is_over:
                self._body.end.tell()
            if out:
                yield out

        async def __aiter__(self) -> AsyncIterator[bytes]:
            body, told = self._body, None
            try:
                for chunk in body.take_held():
                    if out := await self._aready(body.passed(chunk, seen=True)):
                        yield out
                async for chunk in _rest(body):
                    if out := await self._aready(body.passed(chunk)):
                        yield out
                tail = body.over()
                await body.end.atell()
                if tail:
                    yield tail
            except GeneratorExit:
                raise
            except BaseException as exc:
                await body.end.atell(exc)
                told = body.end.error_for(exc, self._request)
                if told is exc:
                    raise
            if told is not None:  # as above
                raise told

        async def _aready(self, out: bytes) -> bytes:
            if self._body.is_over:
                await self._body.end.atell()
            return out

        def close(self) -> None:
            try:
                self._body.response.close()
            finally:
                self._body.end.left(PATIENCE_SECONDS)

        async def aclose(self) -> None:
            try:
                await self._body.response.aclose()
            finally:
                await self._body.end.atell(GeneratorExit())

    return Chunks, Relayed


def _rest(body: Body) -> Any:
    return _nothing() if body.is_read else chunks_of(body.response, awaited=True)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
