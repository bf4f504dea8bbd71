"""The shim itself, and its entrance for those who can hand over only a transport.

``Shim.exchange`` is everything that happens between the SDK's request and its response. It is a generator
like the flow inside it, so the blocking and the awaited entrances each add one line.
"""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Any, cast

import openai

from ._carriers import Ambient
from ._context import TRACE, ambient, attach, set_newest
from ._core.call import Call, Outgoing, served_path
from ._core.flow import flow
from ._core.steps import NOW, Refusal, Send
from ._core.trace import Trace
from ._drive import adrive, drive
from ._families import body_in_memory, family_of, rebuilt, watch, without_cookies
from ._params import CARRIERS, check
from .exceptions import ConfigError, NotServedError, RedirectRefused, RespanError
from .targets import Gateway


if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from types import TracebackType
    from typing import Self

    import httpx
    import httpx2

    from ._params import RespanParams
    from .calls import CallHook


__all__ = ["AsyncRespanTransport", "RespanTransport"]

_log = logging.getLogger("respan_openai")

#: Headers in which a key may stand.
_CREDENTIALS = ("authorization", "api-key", "x-api-key")

#: Marks a request that has been through a shim, so that a second one on its way leaves it alone.
DONE = "respan_openai.done"

#: Under this key the error lies in the ``extensions`` of a response that stands for it.
ERROR = "respan_openai.error"

#: Since this version the SDK lets an ``OpenAIError`` of the transport pass (openai/_base_client.py);
#: before, it repeats the call and hides the error in an ``APIConnectionError``.
_LETS_ERRORS_PASS = tuple(int(part) for part in openai.VERSION.split(".")[:2]) >= (2, 32)


class Shim:
    """One configuration, at work: where calls go, and what is added to them."""

    def __init__(
        self, gateway: Gateway, defaults: Mapping[str, Any] | None, on_call: CallHook | None
    ) -> None:
        self.gateway = gateway
        self._defaults = Ambient(check(defaults)) if defaults else None
        self._merged: tuple[Ambient | None, Ambient | None] = (None, self._defaults)
        self._on_call = on_call

    def takes(self, request: Any) -> str | None:
        """The path to serve for *request*; ``None`` if it is the business of the SDK and its provider alone.

        An empty path stands for a call that must not go anywhere: it carries the gateway's key to somebody else.
        """
        if DONE in request.extensions:
            return None
        path = served_path(request.method, request.url.raw_path)
        if path in self.gateway.paths:
            return path
        return "" if self._is_astray(request) else None

    def _is_astray(self, request: Any) -> bool:
        # The gateway's key, on its way to somebody else.
        values = [value for name in _CREDENTIALS for value in request.headers.get_list(name)]
        return any(map(self.gateway.holds, values)) and not self.gateway.owns(str(request.url))

    def let_pass(self, request: Any) -> Any:
        """*request* for the provider: as it is, but for parameters of ours in its headers."""
        found = [name for name in CARRIERS if name in request.headers]
        if not found or DONE in request.extensions or self.gateway.owns(str(request.url)):
            return request
        rest = [item for item in request.headers.raw if item[0].decode("latin-1").lower() not in found]
        return rebuilt(request, Outgoing(str(request.url), rest), DONE)

    def params(self) -> Ambient | None:
        """Context over ``defaults``; merged once for each pair of them."""
        inner = ambient()
        if self._defaults is None or inner is None:
            return inner or self._defaults
        known, merged = self._merged
        if known is not inner:
            merged = self._defaults.under(inner)
            self._merged = (inner, merged)
        return merged

    def exchange(self, request: Any, path: str, *, follow_redirects: bool) -> Generator[Any, Any, Any]:
        """From the SDK's *request* for *path* to the response that it gets."""
        trace = Trace(path or request.url.path, monotonic())
        set_newest(trace)
        try:
            answer = yield from flow(self._call(request, path, follow_redirects), self.gateway, trace)
            if isinstance(answer, Refusal):
                raise RedirectRefused(answer.reason, request=request)  # noqa: TRY301 -- recorded as any other error
        except GeneratorExit:
            raise
        except BaseException as exc:
            self._end(trace, monotonic(), error=exc)
            stand_in = _blamed(exc, request, trace)
            if stand_in is None:
                raise
            return stand_in
        self._deliver(answer, request, trace)
        return answer

    def _call(self, request: Any, path: str, follow_redirects: bool) -> Call:
        if not path:
            raise NotServedError(
                f"The gateway does not serve {request.method} {request.url.path}, and this client has no key but "
                "the gateway's, which must not reach a provider. Use a client with a provider's key for this call."
            )
        return Call(
            request.method,
            request.url,
            request.url.raw_path,
            path,
            request.headers.raw,
            body_in_memory(request),
            self.params(),
            follow_redirects,
        )

    def _deliver(self, response: Any, request: Any, trace: Trace) -> None:
        # The SDK's own request again, without the gateway's key: users see it as exc.request.
        response.request = request
        response.next_request = None
        response.extensions[TRACE] = trace
        trace.describe(response.headers)
        if response.is_closed:
            self._end(trace, trace.delivered, received=response.num_bytes_downloaded)
        else:
            watch(
                response,
                lambda error, received: self._end(trace, monotonic(), error=error, received=received),
            )

    def _end(
        self, trace: Trace, now: float, *, error: BaseException | None = None, received: int | None = None
    ) -> None:
        if trace.end(now, error=error, received=received) and self._on_call is not None:
            try:
                self._on_call(trace.record(now))
            except Exception:
                _log.exception("on_call raised; the call that it was told about is not affected.")


def _blamed(error: BaseException, request: Any, trace: Trace) -> Any:
    """Point *error* at the SDK's own request; a response to stand for it, where the SDK would repeat the call."""
    attach(error, trace)
    family = family_of(request)
    if isinstance(error, family.RequestError | family.HTTPStatusError):
        cast("Any", error).request = request
    if isinstance(error, family.HTTPStatusError):  # from a response hook that calls raise_for_status()
        cast("Any", error).response.request = request
    if not isinstance(error, RespanError):
        return None
    error.record = trace.record(monotonic())
    return None if _LETS_ERRORS_PASS else _stand_in(error, request, trace)


def _stand_in(error: RespanError, request: Any, trace: Trace) -> Any:
    return family_of(request).Response(
        400,
        headers={"x-should-retry": "false"},
        json={"error": {"message": str(error), "type": type(error).__name__, "code": "respan_openai"}},
        request=request,
        extensions={ERROR: error, TRACE: trace},
    )


def performer(request: Any, send: Callable[[Any], Any], close: str) -> Callable[[Any], Any]:
    """Carries out a flow's steps: *send* puts a request on the wire, *close* names a response's method."""

    def perform(step: Any) -> Any:
        if step is NOW:
            return monotonic()
        if type(step) is Send:
            return send(rebuilt(request, step.outgoing, DONE))
        return getattr(step.answer, close)()

    return perform


def make_shim(gateway: object, defaults: RespanParams | None, on_call: CallHook | None) -> Shim:
    """A shim from what a user said.

    Raises:
        ConfigError: if *gateway* is no gateway, or none is given and there is no key in the environment.
        ParamsError: if *defaults* are not accepted.
    """
    if gateway is None:
        gateway = Gateway()
    if not isinstance(gateway, Gateway):
        raise ConfigError(
            f"gateway= is of type {type(gateway).__name__}; expected Gateway(...), OpenRouter(...) or "
            "LocalGateway(...)."
        )
    return Shim(gateway, defaults, on_call)


if TYPE_CHECKING:

    class _SyncBase(httpx2.BaseTransport, httpx.BaseTransport): ...  # type: ignore[misc]

    class _AsyncBase(httpx2.AsyncBaseTransport, httpx.AsyncBaseTransport): ...  # type: ignore[misc]

else:
    _SyncBase = _AsyncBase = object


class _TransportBase:
    _method: str

    def __init__(
        self,
        inner: Any,
        *,
        gateway: Gateway | None = None,
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
        self._shim = make_shim(gateway, defaults, on_call)
        self._in_process = self._open_in_process()
        self._send = getattr(self._in_process or inner, self._method)

    def _open_in_process(self) -> Any:
        raise NotImplementedError

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


class RespanTransport(_TransportBase, _SyncBase):
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
        defaults: Parameters for every call, below those of ``params(...)``.
        on_call: Called with the ``CallRecord`` of each call at its end.

    Raises:
        ConfigError: if *inner* is no transport, or there is no key.
        ParamsError: if *defaults* are not accepted.
    """

    _method = "handle_request"

    def _open_in_process(self) -> Any:
        opener = getattr(self._shim.gateway, "transport", None)
        return opener and opener()

    def handle_request(self, request: Any) -> Any:
        """Answer one request; called by the HTTP client."""
        self._check_family(request)
        path = self._shim.takes(request)
        if path is None:
            return self._inner.handle_request(self._shim.let_pass(request))
        steps = self._shim.exchange(request, path, follow_redirects=True)
        return drive(steps, performer(request, lambda each: without_cookies(self._send(each)), "close"))

    def close(self) -> None:
        """Close *inner*."""
        if self._in_process:
            self._in_process.close()
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
        if self._in_process:
            self._in_process.close()
        self._inner.__exit__(kind, error, traceback)


class AsyncRespanTransport(_TransportBase, _AsyncBase):
    """Same as :class:`RespanTransport`, for ``AsyncClient`` and an async *inner*."""

    _method = "handle_async_request"

    def _open_in_process(self) -> Any:
        opener = getattr(self._shim.gateway, "async_transport", None)
        return opener and opener()

    async def handle_async_request(self, request: Any) -> Any:
        """Answer one request; called by the HTTP client."""
        self._check_family(request)
        path = self._shim.takes(request)
        if path is None:
            return await self._inner.handle_async_request(self._shim.let_pass(request))

        async def send(outgoing: Any) -> Any:
            return without_cookies(await self._send(outgoing))

        steps = self._shim.exchange(request, path, follow_redirects=True)
        return await adrive(steps, performer(request, send, "aclose"))

    async def aclose(self) -> None:
        """Close *inner*."""
        if self._in_process:
            await self._in_process.aclose()
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
        if self._in_process:
            await self._in_process.aclose()
        await self._inner.__aexit__(kind, error, traceback)
