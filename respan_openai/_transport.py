"""Transports, for those who can hand over an HTTP client but no OpenAI client."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ._families import AsyncTransport, SyncTransport, family_of, without_cookies
from ._shim import Settings, awaiting, blocking, make_shim
from ._tapes import Outbound, asent, sent
from .exceptions import ConfigError
from .fallbacks import base_of


if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from ._params import RespanParams
    from .calls import CallHook
    from .fallbacks import Fallback
    from .policy import Breaker, Hedge, Limits, Retry, Streams, Timeouts
    from .targets import Gateway


__all__ = ["AsyncRespanTransport", "RespanTransport"]


class _TransportBase:
    _method: str
    _opener: str

    def __init__(
        self,
        inner: Any,
        *,
        gateway: Gateway | None = None,
        fallbacks: Sequence[object] | Fallback | None = None,
        retry: Retry | None = None,
        timeouts: Timeouts | None = None,
        breaker: Breaker | None = None,
        hedge: Hedge | None = None,
        streams: Streams | None = None,
        limits: Limits | None = None,
        defaults: RespanParams | None = None,
        on_call: CallHook | None = None,
    ) -> None:
        if not callable(getattr(inner, self._method, None)):
            raise ConfigError(
                f"{type(self).__name__} wraps a transport with {self._method}(), such as httpx2.HTTPTransport() or "
                f"its async twin; got {type(inner).__module__}.{type(inner).__qualname__}. "
                "For a whole client use wrap()."
            )
        self._inner = inner
        self._family = _family_or_none(inner)
        self._shim = make_shim(
            Settings(gateway, fallbacks, retry, timeouts, breaker, hedge, streams, limits, defaults, on_call)
        )
        self._in_process = {
            target: opener()
            for target in self._shim.plan.all_targets
            if (opener := getattr(target, self._opener, None)) is not None
        }

    def _send_by(self, place: Any) -> Any:
        carrier = self._in_process.get(base_of(place), self._inner) if self._in_process else self._inner
        return getattr(carrier, self._method)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._inner!r}, gateway={self._shim.gateway!r})"

    def _check_family(self, request: Any) -> None:
        family = family_of(request)
        if self._family is not None and self._family is not family:
            raise ConfigError(
                f"{type(self).__name__} wraps a transport of {self._family.__name__}, but the client is of "
                f"{family.__name__}. Build both from {family.__name__}: openai 3 and newer use httpx2, older ones httpx."
            )


def _family_or_none(inner: object) -> Any:
    try:
        return family_of(inner)
    except ConfigError:
        return None  # a transport that only looks like one, as test doubles do


class RespanTransport(_TransportBase, SyncTransport):
    """A transport that sends what the gateway serves to the gateway, and the rest through *inner* as it is.

    For whoever takes an HTTP client or a transport, but no OpenAI client::

        ChatOpenAI(http_client=httpx2.Client(transport=RespanTransport(httpx2.HTTPTransport())))

    The family of *inner* decides: httpx2 for openai 3 and newer, httpx for older ones. A client that is given
    a transport does not read the proxy variables of the environment (httpx2/_client.py, ``trust_env``); build
    *inner* with ``proxy=...``, or use :func:`wrap`, which keeps the client's own. Parameters that stand in a body
    are sent as they are: their names and values are checked by :func:`wrap`, :func:`params` and :func:`body`.
    What is served is told by the end of the path, on any host: use the HTTP client for model calls alone.

    Args:
        inner: The transport below, also used for what passes through.
        gateway: Where calls go; default ``Gateway()`` with the key from the environment.
        fallbacks, retry, timeouts, breaker, hedge, streams, limits: As for :func:`wrap`. ``DIRECT`` is where the
            client's ``base_url`` points. Bodies are read whole unless they ask for a stream, speech excepted.
        defaults: Parameters for every call, below those of ``params(...)``.
        on_call: Called with the ``CallRecord`` of each call at its end.

    Raises:
        ConfigError: if *inner* is no transport, a setting is not of its kind, or there is no key.
        ParamsError: if *defaults* are not accepted.
    """

    _method = "handle_request"
    _opener = "transport"

    def handle_request(self, request: Any) -> Any:
        """Answer one request; called by the HTTP client."""
        self._check_family(request)
        path = self._shim.takes(request)
        if path is None:
            return sent(self._inner.handle_request, Outbound(self._shim.let_pass(request)))

        def send(place: Any, outgoing: Any) -> Any:
            return without_cookies(self._send_by(place)(outgoing))

        again = partial(blocking, request, send)
        return again(self._shim.exchange(request, path, again, follow_redirects=True))

    def close(self) -> None:
        """Close *inner*."""
        for carrier in self._in_process.values():
            carrier.close()
        self._inner.close()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        for carrier in self._in_process.values():
            carrier.close()
        self._inner.__exit__(kind, error, traceback)


class AsyncRespanTransport(_TransportBase, AsyncTransport):
    """Same as :class:`RespanTransport`, for ``AsyncClient`` and an async *inner*."""

    _method = "handle_async_request"
    _opener = "async_transport"

    async def handle_async_request(self, request: Any) -> Any:
        """Answer one request; called by the HTTP client."""
        self._check_family(request)
        path = self._shim.takes(request)
        if path is None:
            return await asent(self._inner.handle_async_request, Outbound(self._shim.let_pass(request)))

        async def send(place: Any, outgoing: Any) -> Any:
            return without_cookies(await self._send_by(place)(outgoing))

        again = partial(awaiting, request, send)
        return await again(self._shim.exchange(request, path, again, follow_redirects=True))

    async def aclose(self) -> None:
        """Close *inner*."""
        for carrier in self._in_process.values():
            await carrier.aclose()
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        await self._inner.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        for carrier in self._in_process.values():
            await carrier.aclose()
        await self._inner.__aexit__(kind, error, traceback)
