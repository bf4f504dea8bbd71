"""What the tests of ``serve`` share: a real uvicorn in a thread, a gateway that does what a test says, and rows of its log."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import httpx2
import uvicorn

from respan_openai.local.contract import detail
from respan_openai.local.server import Server
from respan_openai.local.serving import listen
from respan_openai.stores.memory import MemoryStore


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from respan_openai.local.rows import Row


#: A patience that no test needs, unless it fails.
PATIENCE = 20


class Body(httpx2.AsyncByteStream):
    """A body whose pieces are let go one by one; it knows when it was closed."""

    def __init__(self, *pieces: bytes | threading.Event | Exception) -> None:
        self._pieces = pieces
        self.closed = threading.Event()

    async def __aiter__(self) -> Any:
        import asyncio

        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, threading.Event):
                await asyncio.to_thread(piece.wait, PATIENCE)
            else:
                yield piece

    async def aclose(self) -> None:
        self.closed.set()


class Caller(NamedTuple):
    environment: str


class Scripted:
    """A gateway whose answers a test makes up; what stands around it is real."""

    def __init__(
        self,
        answer: Callable[[Any], Awaitable[Any]] | None = None,
        *,
        keys: Mapping[str, str] | None = None,
        store: MemoryStore | None = None,
    ) -> None:
        self._answer = answer
        self._keys = keys
        self.store = MemoryStore() if store is None else store
        self.running: dict[str, Row] = {}
        self.requests: list[Any] = []
        self.closed = 0

    @property
    def accepts_anyone(self) -> bool:
        return self._keys is None

    def admit(self, headers: Mapping[str, str]) -> Caller:
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if self._keys is None:
            return Caller("production")
        if scheme != "Bearer" or key not in self._keys:
            raise detail(401, "No.")
        return Caller(self._keys[key])

    def async_transport(self) -> Scripted:
        return self

    async def handle_async_request(self, request: Any) -> Any:
        self.requests.append(request)
        assert self._answer is not None
        return await self._answer(request)

    async def aclose(self) -> None:
        self.closed += 1


@contextmanager
def served(gateway: Any, **options: Any) -> Iterator[str]:
    """Serve *gateway* on a free port of the loopback; yields where."""
    sockets = listen("127.0.0.1", 0, loopback_only=True)
    server = uvicorn.Server(
        uvicorn.Config(
            Server(gateway, **options), lifespan="on", ws="none", log_config=None, access_log=False
        )
    )
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def refuses_connections(base: str) -> bool:
    """Whether nobody listens there any more."""
    parts = urlsplit(base)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE).close()
    except ConnectionError:  # reset, if it stopped in between
        return True
    return False


def row(**values: Any) -> dict[str, Any]:
    """A row of the log as the gateway writes it."""
    return {
        "id": "log-1",
        "at": 1_790_000_000.0,
        "environment": "production",
        "path": "/chat/completions",
        "status": 200,
        "model": "openai/gpt-4o",
        "answer_model": "gpt-4o-2024-11-20",
        "provider": "openai",
        "customer_identifier": "ada",
        "custom_identifier": None,
        "thread_identifier": None,
        "stream": False,
        "tokens": {"prompt": 1234, "completion": 56, "cached": 1000, "reasoning": None},
        "cost": 0.001234,
        "latency": 1.5,
        "first_token": 0.25,
        "cache": "miss",
        "attempts": [],
        "params": {"customer_identifier": "ada"},
        "metadata": {},
        "input": {"messages": [{"role": "user", "content": "Hi"}]},
        "output": {"role": "assistant", "content": "Hello"},
        "error": None,
        **values,
    }


def attempt(**values: Any) -> dict[str, Any]:
    """An attempt as a row holds it."""
    return {
        "provider": "openai",
        "model": "gpt-4o",
        "status": 200,
        "meaning": None,
        "error": None,
        "start": 0.0,
        "ms": 100.0,
        "wait": 0.0,
        "why": "asked for",
        **values,
    }
