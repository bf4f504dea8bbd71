"""The proxies of ``wrap()``. None changes the object it stands for.

* ``HttpProxy`` around the client's own HTTP client intercepts ``send``: what the user configured there
  (proxies, mounts, hooks, TLS, limits) stays in force, and what lies above it (``parse``, ``stream``, raw
  responses, retries) works because nobody touches it.
* ``WrappedClient`` and ``_Resource`` hand out ``_Method``, which lifts Respan's keywords into ``extra_body``.
"""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import wrapt
from openai import APIStatusError

from ._context import attach, newest
from ._drive import adrive, drive
from ._families import family_of, is_async_client
from ._lift import accepted, lifted
from ._transport import ERROR, performer


if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType
    from typing import Self

    from ._core.trace import Trace
    from ._transport import Shim


# --- the HTTP client -------------------------------------------------------


class _HttpProxy(wrapt.BaseObjectProxy):  # type: ignore[misc]
    """An HTTP client whose ``send`` goes through a shim.

    Args:
        client: The user's own.
        shim: Decides.
        carrier: Sends what the shim takes: *client*, or a client of an in-process gateway.
    """

    def __init__(self, client: Any, shim: Shim, carrier: Any) -> None:
        super().__init__(client)
        self._self_shim = shim
        self._self_carrier = carrier

    def _self_follows(self, options: dict[str, Any]) -> bool:
        asked = options.get("follow_redirects")
        return bool(asked if isinstance(asked, bool) else self.__wrapped__.follow_redirects)


class SyncHttpProxy(_HttpProxy):
    """Around ``Client``."""

    def send(self, request: Any, **options: Any) -> Any:
        """As ``Client.send``."""
        shim = self._self_shim
        if not shim.takes(request):
            return self.__wrapped__.send(request, **options)
        stream = options.get("stream", False)
        carrier = self._self_carrier

        def send(outgoing: Any) -> Any:
            return carrier.send(outgoing, stream=stream, auth=None, follow_redirects=False)

        steps = shim.exchange(request, follow_redirects=self._self_follows(options))
        return drive(steps, performer(request, send, "close"))

    def close(self) -> None:
        """As ``Client.close``; also what an in-process gateway has open."""
        self._self_carrier.close()
        self.__wrapped__.close()


class AsyncHttpProxy(_HttpProxy):
    """Around ``AsyncClient``."""

    async def send(self, request: Any, **options: Any) -> Any:
        """As ``AsyncClient.send``."""
        shim = self._self_shim
        if not shim.takes(request):
            return await self.__wrapped__.send(request, **options)
        stream = options.get("stream", False)
        carrier = self._self_carrier

        def send(outgoing: Any) -> Any:
            return carrier.send(outgoing, stream=stream, auth=None, follow_redirects=False)

        steps = shim.exchange(request, follow_redirects=self._self_follows(options))
        return await adrive(steps, performer(request, send, "aclose"))

    async def aclose(self) -> None:
        """As ``AsyncClient.aclose``; also what an in-process gateway has open."""
        await self._self_carrier.aclose()
        await self.__wrapped__.aclose()


def http_proxy(client: Any, shim: Shim) -> _HttpProxy:
    """*client* behind a proxy for *shim*; one that already is behind a proxy gets the new one instead."""
    if issubclass(type(client), _HttpProxy):
        client = client.__wrapped__
    is_async = is_async_client(client)
    opener = getattr(shim.gateway, "async_transport" if is_async else "transport", None)
    carrier = client if opener is None else _in_process(client, opener(), is_async=is_async)
    return (AsyncHttpProxy if is_async else SyncHttpProxy)(client, shim, carrier)


def _in_process(client: Any, transport: Any, *, is_async: bool) -> Any:
    family = family_of(client)
    made = family.AsyncClient if is_async else family.Client
    return made(transport=transport, event_hooks=client.event_hooks, trust_env=False)


# --- the client and its resources ------------------------------------------


@lru_cache(maxsize=512)
def is_sdk(cls: type) -> bool:
    """Whether *cls* is a resource of the SDK, or of a user who derived it from the SDK's."""
    return any(_is_resource(base.__module__, base.__name__) for base in cls.__mro__)


def _is_resource(module: str, name: str) -> bool:
    # openai/_client.py also holds the clients themselves; their raw and streaming faces are what is meant.
    return module.startswith(("openai.resources", "openai._resource")) or (
        module == "openai._client" and "With" in name
    )


class _Resource(wrapt.BaseObjectProxy):  # type: ignore[misc]
    """A resource whose methods take Respan's parameters as keywords."""

    def __init__(self, wrapped: Any) -> None:
        super().__init__(wrapped)
        self._self_children: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        child = self._self_children.get(name)
        if child is not None:
            return child
        value = getattr(self.__wrapped__, name)
        if name.startswith("_"):
            return value
        if is_sdk(type(value)):
            child = self._self_children[name] = _Resource(value)
            return child
        known = accepted(value) if inspect.isroutine(value) else None
        return value if known is None else _Method(value, known)

    def __setattr__(self, name: str, value: Any) -> None:
        # A tracer may replace a resource after it was handed out.
        if not name.startswith("_self_"):
            self._self_children.pop(name, None)
        super().__setattr__(name, value)


class WrappedClient(_Resource):
    """What ``wrap()`` returns."""

    def __init__(self, wrapped: Any, shim: Shim) -> None:
        super().__init__(wrapped)
        self._self_shim = shim

    def copy(self, **options: Any) -> Any:
        """As the client's own, and wrapped with the same settings."""
        copied = self.__wrapped__.copy(**options)
        if not issubclass(type(copied._client), _HttpProxy):  # noqa: SLF001 -- see wrap()
            copied._client = http_proxy(copied._client, self._self_shim)  # noqa: SLF001 -- see wrap()
        return WrappedClient(copied, self._self_shim)

    with_options = copy

    def __enter__(self) -> Self:
        self.__wrapped__.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__wrapped__.__exit__(kind, error, traceback)

    async def __aenter__(self) -> Self:
        await self.__wrapped__.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.__wrapped__.__aexit__(kind, error, traceback)


class _Method(wrapt.CallableObjectProxy):  # type: ignore[misc]
    """A method that takes Respan's parameters as keywords, and whose results know their record."""

    def __init__(self, wrapped: Any, known: frozenset[str]) -> None:
        super().__init__(wrapped)
        self._self_known = known

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        kwargs = lifted(self.__wrapped__, self._self_known, kwargs)
        before = newest()
        try:
            result = self.__wrapped__(*args, **kwargs)
        except APIStatusError as exc:
            _raise_own(exc)
            raise
        return _awaited(result) if inspect.iscoroutine(result) else _known_by(result, before)


async def _awaited(pending: Coroutine[Any, Any, Any]) -> Any:
    before = newest()
    try:
        result = await pending
    except APIStatusError as exc:
        _raise_own(exc)
        raise
    return _known_by(result, before)


def _known_by(result: Any, before: Trace | None) -> Any:
    trace = newest()
    if trace is not None and trace is not before:
        attach(result, trace)
    return result


def _raise_own(error: APIStatusError) -> None:
    """Raise the error of ours that a stand-in response carried through an old SDK."""
    own = getattr(error.response, "extensions", {}).get(ERROR)
    if own is not None:
        raise own from None
