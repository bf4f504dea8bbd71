"""The local gateway as a transport of httpx and httpx2, and its own connections to providers."""

from __future__ import annotations

import asyncio
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from anyio.lowlevel import RunVar
from sniffio import current_async_library

from .._core.call import Outgoing
from .._drive import adrive, drive
from .._families import AsyncTransport, SyncTransport, family_of, without_cookies
from ..exceptions import ConfigError
from .answers import rendered
from .bridge import for_caller, for_carrier
from .echo import Echo
from .providers import Via
from .steps import LocalAwaiting, LocalBlocking


if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Self

    from .targets import Target

    Steps = Generator[Any, Any, Any]
    Serve = Callable[[Any, bytes], Steps]


__all__ = ["AsyncLocalTransport", "LocalTransport"]


# The SDK's own (openai/_constants.py); httpx's 100 connections would stall the calls after the hundredth.
_MAX_CONNECTIONS = 1000
_MAX_KEEPALIVE_CONNECTIONS = 100
_TIMEOUT_SECONDS = 600
_CONNECT_TIMEOUT_SECONDS = 5

#: Marks what the gateway sends to providers.
_MARK = "respan_openai.local"


class _Wire:
    """Reaches providers through HTTP clients that are made when first needed."""

    _client_class: ClassVar[str]

    def __init__(self, serve: Serve, name: str) -> None:
        self._serve = serve
        self._name = name
        self._clients: dict[tuple[_Loop | None, str], Any] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._name}>"

    def _loop(self) -> _Loop | None:
        return None

    def _client(self, family: Any) -> Any:
        key = (self._loop(), family.__name__)
        with self._lock:
            if key not in self._clients:
                # Clients of loops that are over cannot be closed any more, only forgotten.
                self._clients = {
                    at: kept for at, kept in self._clients.items() if not (at[0] and at[0].is_over())
                }
                self._clients[key] = _new_client(family, self._client_class)
            return self._clients[key]

    def _take_clients(self) -> list[Any]:
        here = self._loop()
        with self._lock:
            return [self._clients.pop(key) for key in list(self._clients) if key[0] is here]


class LocalTransport(_Wire, SyncTransport):
    """A ``LocalGateway`` as a transport of httpx and httpx2; each request is answered in its own family."""

    _client_class = "Client"

    def handle_request(self, request: Any) -> Any:
        """Answer one request; called by the HTTP client."""
        perform = LocalBlocking(request, self._send, _MARK)
        return drive(self._serve(request, request.read()), perform)

    def _send(self, place: Target, request: Any) -> Any:
        provider = place.provider
        if isinstance(provider, Echo):
            return _echoed(provider, request)
        if isinstance(provider, Via):
            carrier = _carrier(provider, "transport")
            return for_caller(carrier.handle_request(for_carrier(carrier, request)), request)
        client = self._client(family_of(request))
        return without_cookies(client.send(request, stream=True, follow_redirects=False), client.cookies)

    def close(self) -> None:
        """Close the connections to providers; a later request opens new ones."""
        for client in self._take_clients():
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class AsyncLocalTransport(_Wire, AsyncTransport):
    """Same as :class:`LocalTransport`, for ``AsyncClient`` on any event loop, and on several.

    Each loop has connections of its own, which are closed from that loop.
    """

    _client_class = "AsyncClient"

    def _loop(self) -> _Loop:
        return _running_loop()

    async def handle_async_request(self, request: Any) -> Any:
        """Answer one request; called by the HTTP client."""
        body = await request.aread()
        perform = LocalAwaiting(request, self._send, _MARK)
        return await adrive(self._serve(request, body), perform)

    async def _send(self, place: Target, request: Any) -> Any:
        provider = place.provider
        if isinstance(provider, Echo):
            return _echoed(provider, request)
        if isinstance(provider, Via):
            carrier = _carrier(provider, "async_transport")
            return for_caller(await carrier.handle_async_request(for_carrier(carrier, request)), request)
        client = self._client(family_of(request))
        return without_cookies(
            await client.send(request, stream=True, follow_redirects=False), client.cookies
        )

    async def aclose(self) -> None:
        """Close the running loop's connections to providers; a later request opens new ones."""
        for client in self._take_clients():
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()


def _echoed(provider: Echo, request: Any) -> Any:
    return rendered(request, provider.answer(Outgoing(str(request.url), [], request.content)))


def _carrier(provider: Via, colour: str) -> Any:
    carrier = getattr(provider, colour)
    if carrier is None:
        raise ConfigError(
            f"Provider {provider.name!r} has no {colour}, which this client needs. Pass Via({provider.name!r}, {colour}=...)."
        )
    return carrier


class _Loop:
    """Stands for the event loop it is made in, of asyncio or of trio.

    Attributes:
        is_over: Tells whether that loop has ended.
    """

    def __init__(self) -> None:
        if current_async_library() == "trio":
            from trio.lowlevel import current_trio_token

            self.is_over: Callable[[], bool] = partial(_is_over_trio, current_trio_token())
        else:
            self.is_over = asyncio.get_running_loop().is_closed


def _is_over_trio(token: Any) -> bool:
    import trio

    try:
        token.run_sync_soon(_nothing)
    except trio.RunFinishedError:
        return True
    return False


def _nothing() -> None:
    """To be run in a loop that is asked whether it still runs anything."""


_LOOP: RunVar[_Loop] = RunVar("respan_openai.local.loop")


def _running_loop() -> _Loop:
    # anyio.lowlevel.current_token() would be shorter, but exists only since anyio 4.11.
    known = _LOOP.get(None)
    if known is None:
        known = _Loop()
        _LOOP.set(known)
    return known


def _new_client(family: Any, client_class: str) -> Any:
    return getattr(family, client_class)(
        timeout=family.Timeout(_TIMEOUT_SECONDS, connect=_CONNECT_TIMEOUT_SECONDS),
        limits=family.Limits(
            max_connections=_MAX_CONNECTIONS, max_keepalive_connections=_MAX_KEEPALIVE_CONNECTIONS
        ),
    )
