"""Clients of every kind, and the servers that they call: one set of fault tests for all of them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from .scripted import Scripted
from .standing import close


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class World:
    """Makes servers and clients of one family and mode, and calls them the same way in all modes.

    A test calls with ``await`` in every mode; a blocking client then blocks.
    """

    def __init__(self, caller: Any) -> None:
        self._caller = caller
        self._servers: list[Scripted] = []
        self.library = caller.library
        self.is_async: bool = caller.is_async

    # --- servers -----------------------------------------------------------

    def server(self, name: str, script: Any = None, **options: Any) -> Scripted:
        """A server with a key of its own, closed with the test; options as for ``Scripted``."""
        options.setdefault("key", f"{'rk' if name == 'gateway' else 'sk'}-{name}/canary+of={name}")
        server = Scripted(script, name=name, **options)
        self._servers.append(server)
        return server

    def gateway(self, script: Any = None, **options: Any) -> Scripted:
        """The server behind ``Gateway(...)``."""
        return self.server("gateway", script, **options)

    def provider(self, script: Any = None, **options: Any) -> Scripted:
        """The server that the client itself was built for."""
        return self.server("provider", script, **options)

    # --- clients -----------------------------------------------------------

    def http(self, **options: Any) -> Any:
        """An HTTP client with the SDK's own settings, but for what *options* say."""
        options.setdefault("timeout", self.library.Timeout(600, connect=5.0))
        options.setdefault("limits", self.library.Limits(max_connections=1000, max_keepalive_connections=100))
        options.setdefault("follow_redirects", True)
        return self._caller.http(**options)

    def client(self, provider: Scripted, **options: Any) -> Any:
        """A plain client of *provider*, with its key and the SDK's own retries and timeouts."""
        given = {"base_url": f"{provider.origin}/v1", "api_key": provider.key, "max_retries": 2}
        given |= {"http_client": options.pop("http_client", None) or self.http()}
        return self._caller.client(**{**given, **options})

    def wrap(self, client: Any, **options: Any) -> Any:
        """``respan_openai.wrap``."""
        from respan_openai import wrap

        return wrap(client, **options)

    def gateway_of(self, server: Scripted, **options: Any) -> Any:
        """*server* as a ``Gateway``, with its key."""
        from respan_openai import Gateway

        return Gateway(server.key, server.origin, **options)

    def provider_of(self, server: Scripted, **options: Any) -> Any:
        """*server* as a ``Provider`` for ``fallbacks``, with its key."""
        from respan_openai import Provider

        return Provider(server.name, f"{server.origin}/v1", server.key, **options)

    def wrapped(
        self,
        provider: Scripted,
        gateway: Scripted,
        *fallbacks: Any,
        client: dict[str, Any] | None = None,
        **options: Any,
    ) -> Any:
        """A client of *provider*, wrapped for *gateway*.

        Args:
            provider: What the client is built for.
            gateway: Where its calls go.
            fallbacks: Servers, or targets such as ``DIRECT``; none, and ``fallbacks`` is not given at all.
            client: Options of the client.
            options: Of ``wrap``.
        """
        if fallbacks:
            made = [self.provider_of(each) if isinstance(each, Scripted) else each for each in fallbacks]
            options["fallbacks"] = made
        plain = self.client(provider, **(client or {}))
        return self.wrap(plain, gateway=self.gateway_of(gateway), **options)

    # --- calls -------------------------------------------------------------

    async def call(self, client: Any, **kwargs: Any) -> Any:
        """A chat completion."""
        return await self._caller.chat(client, **kwargs)

    async def text(self, client: Any, into: list[str] | None = None, **kwargs: Any) -> str:
        """The text of a streamed chat completion; its pieces go into *into* as they come, also before an error."""
        pieces = [] if into is None else into
        stream = await self.call(client, stream=True, **kwargs)
        await self._each(stream, lambda chunk: pieces.extend(_text_of(chunk)))
        return "".join(pieces)

    async def responses(self, client: Any, **kwargs: Any) -> Any:
        """A response of the Responses interface."""
        kwargs = {"model": "gpt-4o-mini", "input": "Hi", **kwargs}
        return await self._caller(client.responses.create, **kwargs)

    async def responses_stream(self, client: Any, into: list[str] | None = None, **kwargs: Any) -> list[str]:
        """The types of the events of a streamed response; they go into *into* as they come."""
        types = [] if into is None else into
        stream = await self.responses(client, stream=True, **kwargs)
        await self._each(stream, lambda event: types.append(_type_of(event)))
        return types

    async def embeddings(self, client: Any, **kwargs: Any) -> Any:
        """The embedding of one word."""
        kwargs = {"model": "text-embedding-3-small", "input": "Hi", "encoding_format": "float", **kwargs}
        return await self._caller(client.embeddings.create, **kwargs)

    async def together(self, *calls: Callable[[], Awaitable[Any]]) -> list[Any]:
        """What came of *calls* that all run at once, in tasks or threads: results and errors, in order."""
        outcomes: list[Any] = [None] * len(calls)

        async def run(number: int, call: Callable[[], Awaitable[Any]]) -> None:
            try:
                outcomes[number] = await call()
            except Exception as exc:
                outcomes[number] = exc

        async with anyio.create_task_group() as group:
            for number, call in enumerate(calls):
                work = partial(run, number, call)
                group.start_soon(work if self.is_async else partial(_in_thread, work))
        return outcomes

    async def close(self, *clients: Any) -> None:
        """Close *clients*, and no server."""
        for client in clients:
            await close(client)

    def shut(self) -> None:
        """Close all servers.

        Raises:
            Exception: what a script raised.
        """
        for server in self._servers:
            server.release()
        failed = [trouble for server in self._servers for trouble in _closing(server)]
        if failed:
            raise failed[0]

    async def _each(self, stream: Any, note: Callable[[Any], Any]) -> None:
        if self.is_async:
            async for item in stream:
                note(item)
        else:
            for item in stream:
                note(item)


def _text_of(chunk: Any) -> list[str]:
    return [choice.delta.content for choice in chunk.choices if choice.delta.content]


def _type_of(event: Any) -> str:
    # openai 1 gives events whose names it does not know as {"event": name, "data": ...}.
    return str(event.type or event.event)


async def _in_thread(work: Callable[[], Any]) -> None:
    # A loop of the thread's own, in which the blocking call blocks nobody else.
    await anyio.to_thread.run_sync(anyio.run, work, limiter=anyio.CapacityLimiter(1))


def _closing(server: Scripted) -> list[Exception]:
    try:
        server.close()
    except Exception as exc:
        return [exc]
    return []
