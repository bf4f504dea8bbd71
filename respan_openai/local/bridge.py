"""From httpx to httpx2 and back: a request for a transport of the other library, and its answer for the caller's.

The two have the same public names and different classes, so each side gets objects of its own. Nothing is copied
but heads: bodies are shared, and streams pass chunk by chunk.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .._families import family_of
from ..exceptions import ConfigError


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


__all__ = ["for_caller", "for_carrier"]


def for_carrier(carrier: object, request: Any) -> Any:
    """*request* as the library of *carrier*, a transport, has requests; its body is in memory.

    A transport of neither library gets the request as it is: it only looks like one, and knows what it can read.
    """
    try:
        family = family_of(carrier)
    except ConfigError:
        return request
    if family is family_of(request):
        return request
    return family.Request(
        request.method,
        str(request.url),
        headers=request.headers.raw,
        content=request.content,
        extensions=request.extensions,
    )


def for_caller(response: Any, request: Any) -> Any:
    """*response* as the library of *request* has responses."""
    family = family_of(request)
    if family_of(response) is family:
        return response
    return family.Response(
        response.status_code,
        headers=response.headers.raw,
        stream=_bridge(family)(response.stream),
        extensions=response.extensions,
        request=request,
    )


@lru_cache(maxsize=2)
def _bridge(family: Any) -> type[Any]:
    class Bridge(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[misc]
        """A stream of the other library."""

        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._stream)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._stream:
                yield chunk

        def close(self) -> None:
            self._stream.close()

        async def aclose(self) -> None:
            await self._stream.aclose()

    return Bridge
