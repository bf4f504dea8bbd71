"""httpx and httpx2: whatever comes back is of the family that the request came from.

openai 3 is built on httpx2 and accepts httpx clients too; openai 1 and 2 are built on httpx. The two
modules have the same public names, so one code path serves both once the right module is in hand.
Neither is imported here: the module that made the request is already loaded.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ._core.call import Prepared
from .exceptions import ConfigError


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from ._core.call import Outgoing, Raw

    Ended = Callable[[BaseException | None, int], None]


_LAST_EVENT = b"data: [DONE]"
_TAIL = 32


_families: dict[type, Any] = {}


def family_of(thing: object) -> Any:
    """The module, ``httpx`` or ``httpx2``, whose class *thing* is an instance of.

    Raises:
        ConfigError: if it is of neither.
    """
    cls = thing.__class__
    family = _families.get(cls)
    if family is None:
        family = _families[cls] = _module_of(cls)
    return family


def _module_of(cls: type) -> Any:
    for base in cls.__mro__:
        name = base.__module__.partition(".")[0]
        if name in {"httpx", "httpx2"}:
            return sys.modules[name]
    raise ConfigError(
        f"{cls.__module__}.{cls.__qualname__} is neither of httpx nor of httpx2. "
        "Hand in a client, transport or request of the HTTP library that your openai version uses."
    )


def is_async_client(client: object) -> bool:
    """Whether *client* is an ``AsyncClient`` of either family."""
    return isinstance(client, family_of(client).AsyncClient)


@lru_cache(maxsize=256)
def _url(family: Any, url: str) -> Any:
    # Parsing one costs as much as the rest of a rebuilt request, and a gateway has five of them.
    return family.URL(url)


def rebuilt(original: Any, outgoing: Outgoing, mark: str) -> Any:
    """A request of *original*'s family for *outgoing*, with *mark* among its extensions; *original* stays as it is.

    An unchanged body is shared, not copied, so a stream that can be read once is still read once.
    """
    family = family_of(original)
    extensions = {**original.extensions, mark: True}
    if outgoing.body is not None:
        extra = [(name.encode(), value.encode()) for name, value in outgoing.extra]
        return family.Request(
            original.method,
            _url(family, outgoing.url),
            headers=[*outgoing.headers, *extra],
            content=outgoing.body,
            extensions=extensions,
        )
    # copy.copy() would drop the stream (httpx2/_models.py, Request.__getstate__), and building the
    # request anew costs ten times as much.
    request: Any = object.__new__(original.__class__)
    request.__dict__.update(original.__dict__)
    request.url = _url(family, outgoing.url)
    request.headers = headers = _headers(family, outgoing.headers)
    for name, value in outgoing.extra:
        headers[name] = value
    request.extensions = extensions
    return request


def _headers(family: Any, raw: Raw) -> Any:
    if not isinstance(raw, Prepared):
        return family.Headers(raw)
    made = getattr(raw, "made", None)
    if made is None or made[0] is not family:
        made = raw.made = family, family.Headers(raw)
    return family.Headers(made[1])


def without_cookies(response: Any, jar: Any = None) -> Any:
    """*response* without ``Set-Cookie``, and *jar* without what it said: a jar knows hosts, but no ports and no keys.

    Args:
        response: Just received.
        jar: ``Cookies`` of the client that received it; ``None`` if the client has not seen it yet.
    """
    if "set-cookie" in response.headers:
        if jar is not None:
            said = family_of(response).Cookies()
            said.extract_cookies(response)
            for cookie in said.jar:
                with suppress(KeyError):  # a hook may have been quicker
                    jar.delete(cookie.name, cookie.domain, cookie.path)
        del response.headers["set-cookie"]
    return response


def body_in_memory(request: Any) -> bytes | None:
    """The request's body if it can be read any number of times; ``None`` for multipart and generators."""
    family = family_of(request)
    try:
        return request.content  # type: ignore[no-any-return]
    except family.RequestNotRead:
        return None


@lru_cache(maxsize=2)
def _watched_class(family: Any) -> type:  # noqa: C901 -- a class, whose methods it counts as its own branches
    class WatchedStream(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[misc]
        """A response's stream that tells once how it ended, and passes each chunk on as it comes."""

        def __init__(self, stream: Any, ended: Ended) -> None:
            self._stream = stream
            self._ended: Ended | None = ended
            self._received = 0
            self._last = b""

        def _end(self, error: BaseException | None) -> None:
            ended, self._ended = self._ended, None
            if ended is not None:
                ended(error, self._received)

        def __iter__(self) -> Iterator[bytes]:
            try:
                for chunk in self._stream:
                    self._received += len(chunk)
                    self._last = chunk if len(chunk) > _TAIL else (self._last + chunk)[-_TAIL:]
                    yield chunk
            except GeneratorExit:
                self._end(self._given_up())
                raise
            except BaseException as exc:
                self._end(exc)
                raise
            self._end(None)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            try:
                async for chunk in self._stream:
                    self._received += len(chunk)
                    self._last = chunk if len(chunk) > _TAIL else (self._last + chunk)[-_TAIL:]
                    yield chunk
            except GeneratorExit:
                self._end(self._given_up())
                raise
            except BaseException as exc:
                self._end(exc)
                raise
            self._end(None)

        def _given_up(self) -> BaseException | None:
            # The SDK stops reading at the event that says so, and closes (openai/_streaming.py).
            return None if _LAST_EVENT in self._last[-_TAIL:] else GeneratorExit()

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                self._end(self._given_up())

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                self._end(self._given_up())

    return WatchedStream


def watch(response: Any, ended: Ended) -> None:
    """Have *ended(error, bytes)* called once when the body of *response* has been read or given up.

    *error* is ``None`` after the last byte, or after the event that ends a chat stream; ``GeneratorExit`` if the
    reader stopped before.
    """
    response.stream = _watched_class(family_of(response))(response.stream, ended)
