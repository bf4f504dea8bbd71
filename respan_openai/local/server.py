"""A ``LocalGateway`` as an ASGI application: calls below ``/api``, the call log at ``/``, ``/healthz``."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote

from ..exceptions import StoreError
from .asgi import Gone, headers_of, read_body, relay, request_for, send_reply, send_text, unless_gone
from .contract import ContractError, detail
from .markup import policy_headers
from .page import list_page, message_page
from .page_call import call_page
from .search import Search, find, under_way
from .visitors import Doors, check_local, environment_for


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from ..stores.protocol import Store
    from .asgi import Receive, Scope, Send
    from .rows import Row

    Headers = Mapping[str, str]


__all__ = ["MOST_BYTES", "Served", "Server"]


#: Bytes of a request's body: several times what a provider takes.
MOST_BYTES: Final = 64 * 2**20

#: RFC 6761, 6.4: a name that resolves nowhere, for requests that never leave the process.
_ORIGIN: Final = "http://respan.invalid"
_CALLS: Final = "/calls/"
_READING: Final = ("GET", "HEAD")

_log = logging.getLogger("respan_openai")


class Served(Doors, Protocol):
    """What is asked of a ``LocalGateway`` here, besides who may come in."""

    @property
    def store(self) -> Store:
        """Where the call log is."""
        ...

    @property
    def running(self) -> Mapping[str, Row]:
        """Rows of the calls under way, by id, the newest last."""
        ...

    def async_transport(self) -> Any:
        """What answers calls."""
        ...


class Server:
    """An ASGI application that answers as *gateway* does.

    Streams go out as they come in, one message for each piece. A caller who hangs up ends the provider's
    work. When the application is shut down, connections to providers and the gateway's store are closed.

    A gateway without keys lets in only who calls this machine by a name of its own, so that no page in a
    browser gets through; it does not see from where a connection comes. :func:`serve` binds such a gateway to
    loopback only. Whoever runs this application otherwise sees to that.

    To be mounted at the root: the pages link to ``/``.

    Args:
        gateway: Of this process.
        hosts: Names of this machine besides ``localhost``, for a gateway without keys.
        most_bytes: Of a request's body; more is refused with 413.
    """

    def __init__(self, gateway: Served, *, hosts: Iterable[str] = (), most_bytes: int = MOST_BYTES) -> None:
        self._gateway = gateway
        self._transport = gateway.async_transport()
        self._hosts = frozenset(host.lower() for host in hosts)
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, as ASGI says."""
        kinds = {"http": self._http, "lifespan": self._lifespan, "websocket": _refuse}
        await kinds[scope["type"]](scope, receive, send)

    async def _lifespan(self, _scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                break
            await send({"type": "lifespan.startup.complete"})
        await self._shut_down()
        await send({"type": "lifespan.shutdown.complete"})

    async def _shut_down(self) -> None:
        try:
            await self._transport.aclose()
        finally:
            await asyncio.to_thread(self._gateway.store.close)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = _Started(send)
        try:
            await self._routed(scope, receive, started)
        except Gone:
            return
        except ContractError as exc:
            await send_reply(send, exc.reply)
        except Exception as exc:
            await _failed(exc, started)

    async def _routed(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path == "/healthz":
            await _read_only(scope, send, self._health)
            return
        if self._gateway.accepts_anyone:
            check_local(headers_of(scope), self._hosts)
        if path.startswith("/api/"):
            await self._call(scope, receive, send)
        elif path == "/" or path.startswith(_CALLS):
            await _read_only(scope, send, self._page)
        else:
            raise detail(404, "Not found. Calls go to /api, and the call log is at /.")

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._gateway.admit(headers_of(scope))  # before the body: a stranger's is not read
        body = await read_body(scope, receive, self._most_bytes)
        request = request_for(scope, body, _ORIGIN)
        await unless_gone(receive, self._answered(request, send))

    async def _answered(self, request: Any, send: Send) -> None:
        await relay(await self._transport.handle_async_request(request), send)

    # -- what is only looked at

    async def _health(self, _scope: Scope, send: Send) -> None:
        await send_text(send, 200, b'{"status": "ok"}')

    async def _page(self, scope: Scope, send: Send) -> None:
        environment = environment_for(self._gateway, headers_of(scope))
        try:
            status, page = await self._shown(scope, environment)
        except StoreError as exc:
            status, page = 503, message_page("The call log cannot be read", str(exc))
        await send_text(send, status, page, [("Content-Type", "text/html; charset=utf-8"), *policy_headers()])

    async def _shown(self, scope: Scope, environment: str | None) -> tuple[int, bytes]:
        path: str = scope["path"]
        if path == "/":
            return 200, await self._list(scope["query_string"].decode("latin-1"), environment)
        return await self._one(unquote(path.removeprefix(_CALLS)), environment)

    async def _list(self, query: str, environment: str | None) -> bytes:
        search = Search.from_query(query).within(environment)
        running = under_way(self._running(), search)
        found = await self._looked_up(partial(find, self._gateway.store, search))
        # A call that ended between the two looks is among those that are over.
        over = {row["id"] for row in found.rows}
        running = [row for row in running if row["id"] not in over]
        return list_page(found, running, search, time.time(), environment=environment)

    async def _one(self, log_id: str, environment: str | None) -> tuple[int, bytes]:
        running = next((row for row in self._running() if row["id"] == log_id), None)
        row = running or await self._looked_up(partial(self._gateway.store.entry, log_id))
        if row is None or environment not in {None, row["environment"]}:
            return 404, message_page("No such call", "It was not logged, or has fallen out of the log.")
        return 200, call_page(row, time.time(), is_running=row is running)

    def _running(self) -> list[dict[str, Any]]:
        # Copied twice: calls in other threads come and go meanwhile.
        return [dict(row.finished()) for row in reversed(list(self._gateway.running.values()))]

    async def _looked_up(self, look: Callable[[], Any]) -> Any:
        # Also with a store that does not block: rows are read from JSON, and there may be 2,000 of them.
        return await asyncio.to_thread(look)


async def _read_only(scope: Scope, send: Send, show: Callable[[Scope, Send], Awaitable[None]]) -> None:
    method = scope["method"]
    allow = ("Allow", "GET, HEAD, OPTIONS")
    if method == "OPTIONS":
        await send_text(send, 204, b"", [allow])
    elif method in _READING:
        await show(scope, send)
    else:
        raise detail(405, f'Method "{method}" not allowed.', allow)


class _Started:
    """Sends on, and knows whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.has_begun = False

    async def __call__(self, message: Any) -> None:
        self.has_begun = True
        await self._send(message)


async def _failed(error: Exception, send: _Started) -> None:
    if send.has_begun:
        # Without its last message the connection is closed: the caller sees that something is missing.
        _log.warning("An answer broke off (%s).", type(error).__name__)
        return
    _log.error("A request could not be answered.", exc_info=error)
    await send_reply(send, detail(500, "The gateway failed. Its own log says why.").reply)


async def _refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close", "code": 1000})
