"""The proxies of ``wrap()``. None changes the object it stands for.

* ``HttpProxy`` around the client's own HTTP client intercepts ``send``: what the user configured there
  (proxies, mounts, hooks, TLS, limits) stays in force, and what lies above it (``parse``, ``stream``, raw
  responses, retries) works because nobody touches it.
* ``WrappedClient`` and ``_Resource`` hand out ``_Method``, which lifts Respan's keywords into ``extra_body``.
"""

from __future__ import annotations

import inspect
from copy import copy
from functools import cached_property, partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

import wrapt
from openai import APIStatusError, AsyncStream, Stream

from ._building import Builder
from ._context import attach, newest
from ._core.call import PASS, WHOLE
from ._delivery import ERROR, quote
from ._families import family_of, has_header, is_async_client, without_cookies
from ._lift import accepted, lifted
from ._shim import awaiting, blocking
from ._tapes import Outbound, asent, sent
from .exceptions import NotServedError
from .fallbacks import base_of


if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Self

    from ._core.trace import Trace
    from ._shim import Shim

    _Proxy = wrapt.BaseObjectProxy[Any]
    _CallableProxy = wrapt.CallableObjectProxy[Any]

else:
    _Proxy, _CallableProxy = wrapt.BaseObjectProxy, wrapt.CallableObjectProxy


# --- the HTTP client -------------------------------------------------------


class _HttpProxy(_Proxy):
    """An HTTP client whose ``send`` goes through a shim.

    Args:
        client: The user's own; sends what is for no gateway in this process.
        shim: Decides.
        carriers: Target in this process to the client that sends what is for it.
    """

    def __init__(self, client: Any, shim: Shim, carriers: dict[Any, Any]) -> None:
        super().__init__(client)
        # Together, because an attribute of a proxy takes several times as long as one of anything else. So it is for
        # all proxies here: what they stand for is what they were made for, whatever becomes of ``__wrapped__``.
        self._self_route = shim, client, carriers
        self._self_build = Builder(client).build

    def build_request(self, *args: Any, **options: Any) -> Any:
        """As the client's own; here because wrapt looks for what is not only after a lookup has failed."""
        return self._self_build(*args, **options)


def _follows(client: Any, options: dict[str, Any]) -> bool:
    asked = options.get("follow_redirects")
    return bool(asked if isinstance(asked, bool) else client.follow_redirects)


class SyncHttpProxy(_HttpProxy):
    """Around ``Client``."""

    def send(self, request: Any, **options: Any) -> Any:
        """As ``Client.send``."""
        shim, own, carriers = self._self_route
        path = shim.takes(request)
        if path is None:
            return sent(partial(own.send, **options), Outbound(shim.let_pass(request)))

        def send(place: Any, outgoing: Any) -> Any:
            carrier = carriers.get(base_of(place), own) if carriers else own
            response = carrier.send(outgoing, stream=True, auth=None, follow_redirects=False)
            if has_header(response.headers, b"set-cookie"):
                without_cookies(response, carrier.cookies)
            return response

        mode = PASS if options.get("stream") else WHOLE
        again = partial(blocking, request, send)
        return again(shim.exchange(request, path, again, follow_redirects=_follows(own, options), mode=mode))

    def close(self) -> None:
        """As ``Client.close``; also what an in-process gateway has open."""
        _, own, carriers = self._self_route
        for carrier in carriers.values():
            carrier.close()
        own.close()


class AsyncHttpProxy(_HttpProxy):
    """Around ``AsyncClient``."""

    async def send(self, request: Any, **options: Any) -> Any:
        """As ``AsyncClient.send``."""
        shim, own, carriers = self._self_route
        path = shim.takes(request)
        if path is None:
            return await asent(partial(own.send, **options), Outbound(shim.let_pass(request)))

        async def send(place: Any, outgoing: Any) -> Any:
            carrier = carriers.get(base_of(place), own) if carriers else own
            response = await carrier.send(outgoing, stream=True, auth=None, follow_redirects=False)
            if has_header(response.headers, b"set-cookie"):
                without_cookies(response, carrier.cookies)
            return response

        mode = PASS if options.get("stream") else WHOLE
        again = partial(awaiting, request, send)
        return await again(
            shim.exchange(request, path, again, follow_redirects=_follows(own, options), mode=mode)
        )

    async def aclose(self) -> None:
        """As ``AsyncClient.aclose``; also what an in-process gateway has open."""
        _, own, carriers = self._self_route
        for carrier in carriers.values():
            await carrier.aclose()
        await own.aclose()


def http_proxy(client: Any, shim: Shim) -> _HttpProxy:
    """*client* behind a proxy for *shim*; one that already is behind a proxy gets the new one instead."""
    if issubclass(type(client), _HttpProxy):
        client = client.__wrapped__
    is_async = is_async_client(client)
    opener = "async_transport" if is_async else "transport"
    carriers = {
        target: _in_process(client, getattr(target, opener)(), is_async=is_async)
        for target in shim.plan.all_targets
        if hasattr(target, opener)
    }
    return (AsyncHttpProxy if is_async else SyncHttpProxy)(client, shim, carriers)


def _in_process(client: Any, transport: Any, *, is_async: bool) -> Any:
    family = family_of(client)
    made = family.AsyncClient if is_async else family.Client
    return made(transport=transport, event_hooks=client.event_hooks, trust_env=False)


# --- the client and its resources ------------------------------------------


def is_sdk(thing: object) -> bool:
    """Whether *thing* is a resource of the SDK, or of a user who derived it from the SDK's."""
    return any(_is_resource(base.__module__, base.__name__) for base in type(thing).__mro__)


def _is_resource(module: str, name: str) -> bool:
    # openai/_client.py also holds the clients themselves; their raw and streaming faces are what is meant.
    return module.startswith(("openai.resources", "openai._resource")) or (
        module == "openai._client" and "With" in name
    )


class _Resource(_Proxy):
    """A resource whose methods take Respan's parameters as keywords.

    Made by ``_proxied``, whose subclasses have a property for each child and method of the SDK's class: wrapt
    asks ``__getattr__`` only after a lookup has failed, which costs more than all the rest.
    """

    def __init__(self, wrapped: Any, shim: Shim) -> None:
        super().__init__(wrapped)
        self._self_shim = shim
        # What was handed out before, and the instance's own attributes.
        self._self_made: tuple[dict[str, Any], dict[str, Any]] = {}, vars(wrapped)

    def _self_make(self, name: str) -> Any:
        value = getattr(self.__wrapped__, name)
        if name == "connect":
            self._self_check_websocket(value)
        if is_sdk(value):
            return _proxied(_Resource, value)(value, self._self_shim)
        known = accepted(value) if inspect.isroutine(value) else None
        return value if known is None else _Method(value, known, self._self_shim.gateway.paths)

    def _self_check_websocket(self, connect: Any) -> None:
        # Websockets do not use the HTTP client, so this is the last place before the key is on its way.
        client: Any = getattr(getattr(connect, "__self__", None), "_client", None)
        gateway = self._self_shim.gateway
        key = getattr(client, "api_key", None)
        if isinstance(key, str) and gateway.holds(key) and not gateway.owns(str(client.base_url)):
            raise NotServedError(
                "Websockets go straight to the provider, and this client has no key but the gateway's, which must "
                "not reach it. Use a client with a provider's key for them."
            )

    def __copy__(self) -> Self:
        return type(self)(copy(self.__wrapped__), self._self_shim)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__wrapped__, name) if name.startswith("_") else self._self_make(name)

    def __setattr__(self, name: str, value: Any) -> None:
        # A tracer may replace a resource or a method after it was handed out.
        if name.startswith(("_self_", "__")):
            super().__setattr__(name, value)
        else:
            self._self_made[0].pop(name, None)
            setattr(self.__wrapped__, name, value)

    def __delattr__(self, name: str) -> None:
        self._self_made[0].pop(name, None)
        delattr(self.__wrapped__, name)


_classes: dict[tuple[type, type], type[Any]] = {}


def held_by(thing: object) -> dict[str, Any]:
    """The instance's own attributes."""
    return vars(thing)


def _proxied(base: type[Any], thing: object) -> type[Any]:
    """*base* with a property for each child and each method of the SDK's class of *thing*; made once."""
    cls = type(thing)
    made = _classes.get((base, cls))
    if made is None:
        names = [name for name in dir(cls) if not name.startswith("_") and not hasattr(base, name)]
        statics = {name: inspect.getattr_static(cls, name) for name in names}
        properties: dict[str, Any] = {
            name: _made_property(name, cls, static)
            for name, static in statics.items()
            if _is_child(static) or (inspect.isfunction(static) and accepted(static))
        }
        properties |= {name: made if hasattr(cls, name) else _absent for name, made in _PROTOCOLS.items()}
        made = _classes[base, cls] = cast("type[Any]", type(base.__name__, (base,), properties))
    return made


def _is_child(static: object) -> bool:
    return isinstance(static, cached_property)


def _made_property(name: str, cls: type, static: object) -> property:
    is_method = callable(static)
    # Looked for as an attribute of the class, a cached_property runs code of its own.
    places = [vars(each) for each in cls.__mro__[: _place_of(name, cls) + 1]]
    own, nearer = places[-1], places[:-1]

    def made(self: Any) -> Any:
        known, held = self._self_made
        # Another function on the class or the instance than when this was written: somebody traces or mocks it.
        if (
            own.get(name) is not static
            or (nearer and any(name in each for each in nearer))
            or (is_method and name in held)
        ):
            return self._self_make(name)
        found = known.get(name)
        if found is None:
            found = known[name] = self._self_make(name)
        return found

    return property(made)


def _place_of(name: str, cls: type) -> int:
    return next(at for at, each in enumerate(cls.__mro__) if name in vars(each))


class WrappedClient(_Resource):
    """What ``wrap()`` returns. ``_proxied`` adds the context manager's methods that the client has."""

    def _self_rewrap(self, copied: Any) -> Any:
        if not issubclass(type(copied._client), _HttpProxy):  # noqa: SLF001 -- see wrap()
            copied._client = http_proxy(copied._client, self._self_shim)  # noqa: SLF001 -- see wrap()
        return wrapped_client(copied, self._self_shim)

    def copy(self, **options: Any) -> Any:
        """As the client's own, and wrapped with the same settings."""
        return self._self_rewrap(self.__wrapped__.copy(**options))

    def with_options(self, **options: Any) -> Any:
        """Same as :meth:`copy`, by the client's own ``with_options``."""
        return self._self_rewrap(self.__wrapped__.with_options(**options))


def _enter(self: Any) -> Any:
    self.__wrapped__.__enter__()
    return self


def _exit(self: Any, *exc_info: object) -> Any:
    return self.__wrapped__.__exit__(*exc_info)


async def _aenter(self: Any) -> Any:
    await self.__wrapped__.__aenter__()
    return self


async def _aexit(self: Any, *exc_info: object) -> Any:
    return await self.__wrapped__.__aexit__(*exc_info)


def _raise_absent(_self: Any) -> Any:
    raise AttributeError


#: In the place of a method that wrapt gives every proxy and the SDK's class does not have.
_absent = property(_raise_absent)


# By the colour of the client: code tells sync from async by asking which of these there are.
_PROTOCOLS = {"__enter__": _enter, "__exit__": _exit, "__aenter__": _aenter, "__aexit__": _aexit}


def wrapped_client(client: Any, shim: Shim) -> WrappedClient:
    """*client*, whose HTTP client is behind a proxy already, behind the proxy that users see."""
    made: WrappedClient = _proxied(WrappedClient, client)(client, shim)
    return made


#: As Any, so that the result stays what the SDK says that it is.
_COROUTINE: Any = CoroutineType
_STREAMS: Any = (Stream, AsyncStream)


class _Method(_CallableProxy):
    """A method that takes Respan's parameters as keywords, and whose results know their record."""

    def __init__(self, wrapped: Any, known: frozenset[str], paths: frozenset[str]) -> None:
        super().__init__(wrapped)
        self._self_parts = wrapped, known, paths

    def __copy__(self) -> Self:
        return type(self)(*self._self_parts)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        method, known, paths = self._self_parts
        kwargs = lifted(method, known, paths, kwargs)
        before = newest()
        try:
            result = method(*args, **kwargs)
        except APIStatusError as exc:
            _tell(exc)
            raise
        return _awaited(result) if isinstance(result, _COROUTINE) else _known_by(result, before)


async def _awaited(pending: Coroutine[Any, Any, Any]) -> Any:
    before = newest()
    try:
        result = await pending
    except APIStatusError as exc:
        _tell(exc)
        raise
    return _known_by(result, before)


def _known_by(result: Any, before: Trace | None) -> Any:
    trace = newest()
    # That of a stream is found by its response.
    if trace is not None and trace is not before and not isinstance(result, _STREAMS):
        attach(result, trace)
    return result


def _tell(error: APIStatusError) -> None:
    """Let *error* say what a gateway says; raise the error of ours that it stands for in an old SDK."""
    own = getattr(error.response, "extensions", {}).get(ERROR)
    if own is not None:
        raise own from own.__cause__  # not from the stand-in
    quote(error)
