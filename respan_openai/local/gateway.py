"""The gateway in this process: an HTTP transport that answers as the hosted gateway documents.

A request goes through one generator, ``LocalGateway.serve``: is it for us, may it come in, what does it
ask, who answers; then it is sent, and the provider's answer is passed on as it comes.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import lru_cache, partial
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

from anyio.lowlevel import RunVar

from .._core.health import Health
from .._core.steps import Close, Send
from .._drive import adrive, drive
from .._families import family_of
from .._secret import secret_from
from ..exceptions import ConfigError
from ..targets import Gateway, Provider
from .contract import PATHS, ROUTE_HEADER, ContractError, detail, invalid, read
from .echo import Echo


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterable, Iterator, Mapping
    from typing import Self

    import httpx
    import httpx2

    from .._core.call import Outgoing
    from .._core.steps import Step
    from .contract import Asked, Reply

    Serving = Generator[Step, Any, Any]


__all__ = ["AsyncLocalTransport", "LocalGateway", "LocalTransport"]


#: RFC 6761, 6.4: names under ``invalid`` never resolve, so a call that misses the transport goes nowhere.
BASE_URL = "http://respan.invalid/api"

_SERVED = {f"/api{path}".encode(): path for path in PATHS}
_ANY_KEY = "local"

_LOG_ID = "X-Respan-Log-Id"
_REQUEST_ID = "x-respan-gateway-request-id"

#: RFC 9110, 7.6.1, and what belongs between the provider and this gateway only.
_NOT_RELAYED = frozenset({
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authentication-info",
    b"proxy-connection",
    b"set-cookie",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
})  # fmt: skip

# The SDK's own (openai/_constants.py); httpx's 100 connections would stall the calls after the hundredth.
_MAX_CONNECTIONS = 1000
_MAX_KEEPALIVE_CONNECTIONS = 100
_TIMEOUT_SECONDS = 600
_CONNECT_TIMEOUT_SECONDS = 5


class LocalGateway(Gateway):
    """The gateway in this process, without an account; can be given wherever a ``Gateway`` can.

    Serves ``POST`` on ``/api/chat/completions`` and ``/api/responses``. The provider is the one that the
    header ``X-Respan-Route-Provider`` names, else the one whose name and a slash begin the model
    (``openai/gpt-4o`` asks ``openai`` for ``gpt-4o``), else the first. Names are compared without case.
    A parameter that would change the answer or the bill and is not honoured yet is answered with 400.
    The query of a request is not passed on.

    Args:
        providers: ``Provider(...)`` or ``Echo()``; the first one is the default.
        api_keys: Keys that are let in, as bearer tokens; the first is also this gateway's own, which
            ``wrap`` sends. Default: every key, and none, is let in.

    Raises:
        ConfigError: if there is no provider, two have one name, or a key cannot be used.
    """

    name = "local"

    def __init__(
        self, providers: Iterable[Provider | Echo] = (), *, api_keys: Iterable[str] | None = None
    ) -> None:
        self._providers = _by_name(providers)
        self._accepted = None if api_keys is None else _secrets(api_keys)
        self._known_health = Health(self.name, BASE_URL)  # two of them have nothing in common
        super().__init__(self._accepted[0].reveal() if self._accepted else _ANY_KEY, BASE_URL)

    @classmethod
    def echo(cls) -> Self:
        """A gateway that needs no provider: it repeats the last user message, offline."""
        return cls((Echo(),))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self._providers.values())!r})"

    def transport(self) -> LocalTransport:
        """A transport for ``Client``; closing it closes its connections to providers."""
        return LocalTransport(self)

    def async_transport(self) -> AsyncLocalTransport:
        """Same as :meth:`transport`, for ``AsyncClient``."""
        return AsyncLocalTransport(self)

    def serve(self, request: Any, body: bytes) -> Serving:
        """The flow that answers *request*, whose body is *body*; a driver performs its steps."""
        try:
            path = _served(request)
            self._admit(request.headers)
            asked = read(path, request.headers, body)
            provider, model = self._choose(asked)
            outgoing = provider.outgoing(path, request.headers.raw, asked.body_for(model))
            answer = yield from _asked_of(provider, outgoing, family_of(request))
        except ContractError as exc:
            answer, outgoing = rendered(request, exc.reply), None
        return _relayed(request, answer, outgoing)

    def _admit(self, headers: Mapping[str, str]) -> None:
        if self._accepted is None:
            return
        scheme, _, key = headers.get("authorization", "").partition(" ")
        # Counted, not any(): every key is compared, so the time taken does not tell which one was right.
        matches = sum(accepted.same_as(key.strip()) for accepted in self._accepted)
        if scheme.lower() != "bearer" or not matches:
            message = (
                "Invalid or missing API key. Send one of the gateway's api_keys as Authorization: Bearer."
            )
            raise detail(401, message, ("WWW-Authenticate", "Bearer"))

    def _choose(self, asked: Asked) -> tuple[Provider | Echo, str]:
        prefix, _, rest = asked.model.partition("/")
        named = self._providers.get(prefix.lower()) if rest else None
        if asked.route is None:
            provider = named or next(iter(self._providers.values()))
        else:
            provider = self._routed(asked.route)
        return provider, rest if provider is named else asked.model

    def _routed(self, route: str) -> Provider | Echo:
        provider = self._providers.get(route.strip().lower())
        if provider is None:
            known = ", ".join(provider.name for provider in self._providers.values())
            raise invalid(f"{ROUTE_HEADER} names no provider of this gateway; it has: {known}.", ROUTE_HEADER)
        return provider


def _by_name(providers: Iterable[object]) -> dict[str, Provider | Echo]:
    if isinstance(providers, Provider | Echo):
        raise ConfigError("providers must be a list, even of one: LocalGateway([provider]).")
    found: dict[str, Provider | Echo] = {}
    for provider in providers:
        if not isinstance(provider, Provider | Echo):
            raise ConfigError(
                f"providers holds something of type {type(provider).__name__}; expected Provider or Echo."
            )
        if found.setdefault(provider.name.lower(), provider) is not provider:
            raise ConfigError(
                f"Two providers are named {provider.name!r}. Name them apart, so that calls can choose."
            )
    if not found:
        raise ConfigError(
            "A gateway needs a provider to ask. Pass LocalGateway([Provider(name, base_url, api_key)]), "
            "or use LocalGateway.echo(), which answers offline and without a key."
        )
    return found


def _secrets(keys: Iterable[str]) -> tuple[Any, ...]:
    if isinstance(keys, str | bytes):
        raise ConfigError("api_keys must be a list, even of one: api_keys=[key].")
    secrets = tuple(secret_from(key or "", (), what="LocalGateway") for key in keys)
    if not secrets:
        raise ConfigError("api_keys is empty, so nobody could come in. Leave it out to let every key in.")
    return secrets


def _served(request: Any) -> str:
    path = _SERVED.get(request.url.raw_path.partition(b"?")[0])
    if path is None:
        served = " and ".join(f"POST /api{path}" for path in PATHS)
        raise detail(404, f"Not found. The local gateway serves {served}.")
    if request.method != "POST":
        raise detail(405, f'Method "{request.method}" not allowed.', ("Allow", "POST"))
    return path


# -- asking, and passing on


def _asked_of(provider: Provider | Echo, outgoing: Outgoing, family: Any) -> Serving:
    try:
        answer = yield Send(provider, outgoing)
    except family.TimeoutException:
        raise detail(504, f"Provider {provider.name!r} did not answer in time.") from None
    except family.RequestError as exc:
        # Its class only: the message may hold the address, and the exception holds the request with the key.
        raise detail(
            502, f"Provider {provider.name!r} could not be reached ({type(exc).__name__})."
        ) from None
    if 300 <= answer.status_code < 400:
        yield Close(answer)
        raise detail(502, f"Provider {provider.name!r} answered with a redirect, which is not followed.")
    return answer


def _relayed(request: Any, answer: Any, outgoing: Outgoing | None) -> Any:
    headers = _relayed_headers(answer.headers, outgoing)
    for name in (_LOG_ID, _REQUEST_ID):
        if name not in answer.headers:
            headers.append((name.encode(), str(uuid4()).encode()))
    return family_of(request).Response(
        answer.status_code,
        headers=headers,
        stream=answer.stream,
        extensions=answer.extensions,
        request=request,
    )


def _relayed_headers(headers: Any, outgoing: Outgoing | None) -> list[tuple[bytes, bytes]]:
    dropped = _NOT_RELAYED | {
        name.strip().lower().encode() for name in headers.get("connection", "").split(",")
    }
    keys = _keys_in(outgoing)
    return [
        (name, value)
        for name, value in headers.raw
        if name.lower() not in dropped and not any(key in value for key in keys)
    ]


def _keys_in(outgoing: Outgoing | None) -> list[bytes]:
    # For a provider that shows in its headers what it was sent. Keys of a few letters, as local servers
    # take them, are no secret and may be part of any header.
    headers = outgoing.headers if outgoing else []
    sent = [value.rpartition(b" ")[2] for name, value in headers if name.lower() == b"authorization"]
    return [key for key in sent if len(key) >= 8]


def rendered(request: Any, reply: Reply) -> Any:
    """*reply* as a response of *request*'s family, each chunk on its own."""
    family = family_of(request)
    headers = [("Content-Type", reply.content_type), *reply.headers]
    return family.Response(reply.status, headers=headers, stream=_chunks_class(family)(reply.chunks))


@lru_cache(maxsize=2)
def _chunks_class(family: Any) -> type[Any]:
    class Chunks(family.SyncByteStream, family.AsyncByteStream):  # type: ignore[misc]
        def __init__(self, chunks: tuple[bytes, ...]) -> None:
            self._chunks = chunks

        def __iter__(self) -> Iterator[bytes]:
            return iter(self._chunks)

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for chunk in self._chunks:
                yield chunk

    return Chunks


# -- the transports


if TYPE_CHECKING:

    class _SyncBase(httpx2.BaseTransport, httpx.BaseTransport): ...  # type: ignore[misc]

    class _AsyncBase(httpx2.AsyncBaseTransport, httpx.AsyncBaseTransport): ...  # type: ignore[misc]

else:
    _SyncBase = _AsyncBase = object


class _Wire:
    """Performs a flow's steps, through HTTP clients that are made when first needed."""

    _client_class: ClassVar[str]
    _closing: ClassVar[str]

    def __init__(self, gateway: LocalGateway) -> None:
        self._gateway = gateway
        self._clients: dict[tuple[_Loop | None, str], Any] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._gateway!r}>"

    def _loop(self) -> _Loop | None:
        return None

    def _perform(self, request: Any, step: Any) -> Any:
        if isinstance(step, Close):
            return getattr(step.answer, self._closing)()
        if isinstance(step.place, Echo):
            return rendered(request, step.place.answer(step.outgoing))
        family = family_of(request)
        outgoing = _on_the_wire(family, request, step.outgoing)
        return self._client(family).send(outgoing, stream=True, follow_redirects=False)

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


class LocalTransport(_Wire, _SyncBase):
    """A ``LocalGateway`` as a transport of httpx and httpx2; each request is answered in its own family."""

    _client_class = "Client"
    _closing = "close"

    def handle_request(self, request: Any) -> Any:
        """Answer one request; called by the HTTP client."""
        return drive(self._gateway.serve(request, request.read()), partial(self._perform, request))

    def close(self) -> None:
        """Close the connections to providers; a later request opens new ones."""
        for client in self._take_clients():
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


class AsyncLocalTransport(_Wire, _AsyncBase):
    """Same as :class:`LocalTransport`, for ``AsyncClient`` on any event loop, and on several.

    Each loop has connections of its own, which are closed from that loop.
    """

    _client_class = "AsyncClient"
    _closing = "aclose"

    def _loop(self) -> _Loop:
        return _running_loop()

    async def handle_async_request(self, request: Any) -> Any:
        """Answer one request; called by the HTTP client."""
        body = await request.aread()
        return await adrive(self._gateway.serve(request, body), partial(self._perform, request))

    async def aclose(self) -> None:
        """Close the running loop's connections to providers; a later request opens new ones."""
        for client in self._take_clients():
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self.aclose()


class _Loop:
    """Stands for the event loop it is made in."""

    def __init__(self) -> None:
        self._asyncio: asyncio.AbstractEventLoop | None = None
        with suppress(RuntimeError):  # trio, whose loops cannot be asked whether they are over
            self._asyncio = asyncio.get_running_loop()

    def is_over(self) -> bool:
        return self._asyncio is not None and self._asyncio.is_closed()


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


def _on_the_wire(family: Any, request: Any, outgoing: Outgoing) -> Any:
    headers = [
        item for item in outgoing.headers if item[0].lower() not in {b"content-length", b"transfer-encoding"}
    ]
    # Of the extensions the timeout alone: a ``trace`` hook would be shown the provider's key.
    kept = {name: value for name, value in request.extensions.items() if name == "timeout"}
    return family.Request("POST", outgoing.url, headers=headers, content=outgoing.body, extensions=kept)
