"""The local gateway as its users reach it, in their process or over a socket, and a provider that plays along."""

from __future__ import annotations

import asyncio
import importlib
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from inspect import isawaitable
from itertools import count
from socket import create_server
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import openai
import uvicorn

from respan_openai import AsyncRespanTransport, Gateway, Provider, RespanTransport
from respan_openai.local import LocalGateway
from respan_openai.local.server import Server
from respan_openai.stores.memory import MemoryStore
from tests.local_support import BASE_URL, CLIENT_KEY, FAMILIES, PROVIDER_KEY, answer, listening


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from respan_openai.stores.protocol import Row
    from tests.local_support import Upstream


__all__ = [
    "HELLO",
    "USAGE",
    "WAYS",
    "Host",
    "Reach",
    "Sent",
    "WatchedStore",
    "behaving",
    "chat",
    "chat_events",
    "gateway_of",
    "listening",
    "refusing",
    "response",
    "response_events",
    "sent_to",
    "stream_at_once",
]


HELLO: list[Any] = [{"role": "user", "content": "hello"}]
USAGE = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}

#: Where the gateway is, and how the SDK is used.
WAYS = ["in-process sync", "in-process asyncio", "in-process trio", "served sync", "served asyncio"]

#: Seconds after which something that should have happened has not.
PATIENCE = 20


class WatchedStore(MemoryStore):
    """Tells when a row of the log was written."""

    def __init__(self) -> None:
        super().__init__()
        self._logged = threading.Semaphore(0)
        self._expected: dict[int, threading.Event] = {}
        self._count = count(1)

    def log(self, row: Row) -> None:
        """As its parent, and wake who waits."""
        super().log(row)
        self._logged.release()
        self._expected.get(next(self._count), threading.Event()).set()

    def rows_written(self, number: int) -> threading.Event:
        """Set when so many rows are there."""
        return self._expected.setdefault(number, threading.Event())

    async def next_row(self) -> Row:
        """The newest row, once there is one more than was waited for before."""
        assert await anyio.to_thread.run_sync(self._logged.acquire, True, PATIENCE), "nothing was logged"
        return self.entries(limit=1)[0]


def gateway_of(*upstreams: Upstream, **options: Any) -> LocalGateway:
    """A gateway whose providers are *upstreams*, called ``up``, ``up2``, ... each with a key of its own."""
    names = [f"up{number if number > 1 else ''}" for number in range(1, len(upstreams) + 1)]
    providers = [
        Provider(name, upstream.base_url, PROVIDER_KEY if name == "up" else f"{PROVIDER_KEY}-{name}")
        for name, upstream in zip(names, upstreams, strict=True)
    ]
    return LocalGateway(providers, store=options.pop("store", None) or WatchedStore(), **options)


# -- the ways in


class Host:
    """One uvicorn for all gateways of a test run, each below a path of its own."""

    def __init__(self) -> None:
        self._servers: dict[str, Server] = {}
        self._socket = create_server(("127.0.0.1", 0))
        quiet: Any = {"ws": "none", "log_config": None, "access_log": False}
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(self._answer, interface="asgi3", lifespan="off", **quiet)
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_until_complete(self._uvicorn.serve([self._socket]))
        self._loop.close()

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        name, _, rest = scope["path"].removeprefix("/").partition("/")
        raw_path = scope["raw_path"].removeprefix(f"/{name}".encode())
        await self._servers[name]({**scope, "path": f"/{rest}", "raw_path": raw_path}, receive, send)

    def base_url(self, gateway: LocalGateway) -> str:
        """Where *gateway* is served from now on."""
        name = str(id(gateway))
        self._servers.setdefault(name, Server(gateway))
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/{name}/api"

    def clear(self) -> None:
        """Serve no gateway any more; their connections are closed."""
        while self._servers:
            _, server = self._servers.popitem()
            asyncio.run_coroutine_threadsafe(_shut_down(server), self._loop).result(PATIENCE)

    def close(self) -> None:
        """Give back the socket."""
        self.clear()
        self._uvicorn.should_exit = True
        self._thread.join()


async def _shut_down(server: Server) -> None:
    messages = iter([{"type": "lifespan.shutdown"}])

    async def receive() -> Any:
        return next(messages)

    async def send(_message: Any) -> None:
        """The server says that it is done."""

    await server({"type": "lifespan"}, receive, send)


class Reach:
    """Clients of gateways, all of one of the ``WAYS``, and their calls, which all ways make alike.

    Args:
        host: Serves the gateways; ``None`` has them in the process.
        mode: ``sync``, ``asyncio`` or ``trio``.
    """

    def __init__(self, host: Host | None, mode: str) -> None:
        self._host = host
        self._module = importlib.import_module(FAMILIES[0])
        self._opened: list[Any] = []
        self.is_async = mode != "sync"
        self.is_served = host is not None
        self.transport_error = self._module.TransportError

    def http(self, gateway: LocalGateway, key: str = CLIENT_KEY, **headers: str) -> Any:
        """A bare HTTP client."""
        headers = {"Authorization": f"Bearer {key}", **headers}
        options: dict[str, Any] = {"headers": headers, "base_url": BASE_URL}
        if self._host is not None:
            options |= {"base_url": self._host.base_url(gateway), "trust_env": False}
        else:
            options["transport"] = gateway.async_transport() if self.is_async else gateway.transport()
        made = (self._module.AsyncClient if self.is_async else self._module.Client)(**options)
        return self.keep(made)

    def client(self, gateway: LocalGateway, key: str = CLIENT_KEY, **options: Any) -> Any:
        """The SDK's client."""
        http = self.http(gateway)
        made = openai.AsyncOpenAI if self.is_async else openai.OpenAI
        options = {"max_retries": 0, "timeout": PATIENCE, **options}
        return made(api_key=key, base_url=str(http.base_url).rstrip("/"), http_client=http, **options)

    def keep(self, opened: Any) -> Any:
        """*opened*, to be closed at the end."""
        self._opened.append(opened)
        return opened

    def target(self, gateway: LocalGateway) -> Gateway:
        """*gateway* as what clients of this library are given: itself, or where it is served."""
        return gateway if self._host is None else Gateway(CLIENT_KEY, self._host.base_url(gateway))

    def plain(self) -> Any:
        """An SDK client that knows of no gateway."""
        made = self._module.AsyncClient if self.is_async else self._module.Client
        return self._provided(self.keep(made(trust_env=False)))

    def through(self, target: Gateway) -> Any:
        """An SDK client whose HTTP client has *target* in its transport."""
        inner = self._module.AsyncHTTPTransport() if self.is_async else self._module.HTTPTransport()
        made = self._module.AsyncClient if self.is_async else self._module.Client
        transport = (AsyncRespanTransport if self.is_async else RespanTransport)(inner, gateway=target)
        return self._provided(self.keep(made(transport=transport)))

    def _provided(self, http: Any) -> Any:
        made = openai.AsyncOpenAI if self.is_async else openai.OpenAI
        options: dict[str, Any] = {"max_retries": 0, "timeout": PATIENCE}
        return made(
            api_key="canary-client", base_url="http://provider.invalid/v1", http_client=http, **options
        )

    async def __call__(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call *method*, awaiting it where that is due."""
        result = method(*args, **kwargs)
        return await result if isawaitable(result) else result

    async def chat(self, client: Any, text: str = "hello", *, model: str = "m", **params: Any) -> Any:
        """A chat completion; what is no parameter of the SDK goes into ``extra_body``."""
        own = {
            name: params.pop(name) for name in ("stream", "stream_options", "extra_headers") if name in params
        }
        messages = [{"role": "user", "content": text}]
        create = client.chat.completions.create
        return await self(create, model=model, messages=messages, extra_body=params, **own)

    async def raw(self, client: Any, text: str = "hello", *, model: str = "m", **params: Any) -> Any:
        """Same as :meth:`chat`, with the head of the answer."""
        messages = [{"role": "user", "content": text}]
        create = client.chat.completions.with_raw_response.create
        own = {name: params.pop(name) for name in ("stream", "extra_headers") if name in params}
        return await self(create, model=model, messages=messages, extra_body=params, **own)

    async def items(self, stream: Any) -> list[Any]:
        """All that *stream* yields; it is closed, which openai 1.68 does not do at an error."""
        try:
            return [item async for item in stream] if self.is_async else list(stream)
        finally:
            if hasattr(stream, "close"):
                await self(stream.close)

    async def each(self, stream: Any) -> AsyncIterator[Any]:
        """What *stream* yields, as it comes."""
        if self.is_async:
            async for item in stream:
                yield item
        else:
            for item in stream:
                yield item

    async def first(self, stream: Any) -> Any:
        """The first that *stream* yields."""
        return await anext(aiter(stream)) if self.is_async else next(iter(stream))

    async def streamed(self, client: Any, text: str = "hello", **params: Any) -> list[Any]:
        """All chunks of a streamed chat completion."""
        return await self.items(await self.chat(client, text, stream=True, **params))

    async def at_once(self, count: int, call: Callable[[], Any]) -> list[Any]:
        """What *count* calls that are under way at one time come to."""
        if not self.is_async:
            with ThreadPoolExecutor(count) as pool:
                return [future.result() for future in [pool.submit(call) for _ in range(count)]]
        found: list[Any] = []

        async def one() -> None:
            found.append(await call())

        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(one)
        return found

    async def close(self) -> None:
        """Close all clients, and what they reach."""
        for opened in self._opened:
            await self(getattr(opened, "aclose", None) or opened.close)
        if self._host is not None:
            self._host.clear()


# -- what a provider says


def chat(text: str = "hi", **more: Any) -> dict[str, Any]:
    """A whole chat completion, with its usage."""
    message = {"role": "assistant", "content": text}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m-2025"}
    return {**head, "choices": choices, "usage": USAGE, **more}


def chat_events(*texts: str, counts: bool = False) -> list[bytes]:
    """The events of a streamed chat completion; if it *counts*, they tell the usage as OpenAI's do."""
    null = {"usage": None} if counts else {}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m-2025", **null}
    deltas: list[Any] = [{"role": "assistant", "content": ""}, *({"content": text} for text in texts), {}]
    chunks = [
        {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}]}
        for delta in deltas
    ]
    last = [{**head, "choices": [], "usage": USAGE}] if counts else []
    return [*map(_event, [*chunks, *last]), b"data: [DONE]\n\n"]


def response(text: str = "hi") -> dict[str, Any]:
    """A whole response."""
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 12,
    }
    head = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "m-2025"}
    rest = {"output": [item], "parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
    return {**head, **rest, "usage": usage}


def response_events(*texts: str) -> list[bytes]:
    """The events of a streamed response."""
    full = response("".join(texts))
    begun = {**full, "status": "in_progress", "output": [], "usage": None}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "logprobs": []}
    events = [
        {"type": "response.created", "response": begun},
        *({"type": "response.output_text.delta", **at, "delta": text} for text in texts),
        {"type": "response.completed", "response": full},
    ]
    return [
        b"event: %s\n" % str(event["type"]).encode() + _event({**event, "sequence_number": number})
        for number, event in enumerate(events)
    ]


def _event(data: Any) -> bytes:
    return b"data: %s\n\n" % json.dumps(data).encode()


def stream_at_once(wfile: Any, events: list[bytes], *, ends: bool = True) -> None:
    """Write a whole stream; unless it *ends*, the connection then breaks before its last chunk."""
    wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    wfile.write(b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in events) + b"0\r\n\r\n" * ends)
    if not ends:
        raise ConnectionAbortedError


class Sent:
    """A request as a provider got it."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.path = first.split(" ")[1]
        self.headers = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
        }

    @property
    def fields(self) -> Any:
        """The JSON body; nothing where there is none."""
        return json.loads(self.body) if self.body.startswith(b"{") else {}


def sent_to(upstream: Upstream) -> list[Sent]:
    """All requests that *upstream* got."""
    return [Sent(raw) for raw in upstream.received]


def _chat_answer(wfile: Any, fields: Any) -> None:
    if not fields.get("stream"):
        answer(wfile, 200, chat())
        return
    options = fields.get("stream_options") or {}
    stream_at_once(wfile, chat_events("h", "i", counts=bool(options.get("include_usage"))))


def _response_answer(wfile: Any, fields: Any) -> None:
    if fields.get("stream"):
        stream_at_once(wfile, response_events("h", "i"))
    else:
        answer(wfile, 200, response())


def _embedding_answer(wfile: Any, _fields: Any) -> None:
    data = [{"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}]
    usage = {"prompt_tokens": 3, "total_tokens": 3}
    answer(wfile, 200, {"object": "list", "model": "e-2025", "data": data, "usage": usage})


_ANSWERS: Mapping[str, Callable[[Any, Any], None]] = {
    "/v1/chat/completions": _chat_answer,
    "/v1/responses": _response_answer,
    "/v1/embeddings": _embedding_answer,
    "/v1/audio/speech": lambda wfile, _: answer(wfile, 200, b"RIFF\x00\xff", "Content-Type: audio/wav"),
    "/v1/audio/transcriptions": lambda wfile, _: answer(wfile, 200, {"text": "spoken"}),
}


def ordinary(wfile: Any, raw: bytes) -> None:
    """What a provider says when nothing is wrong."""
    sent = Sent(raw)
    _ANSWERS[sent.path](wfile, sent.fields)


def behaving(by_model: Mapping[str, Callable[[Any, bytes], None]]) -> Callable[[Any, bytes], None]:
    """A provider that treats some models as *by_model* says, and all others as usual."""

    def respond(wfile: Any, raw: bytes) -> None:
        by_model.get(Sent(raw).fields.get("model"), ordinary)(wfile, raw)

    return respond


def refusing(
    status: int, code: str | None = None, *, text: str = "no", once: bool = False
) -> Callable[[Any, bytes], None]:
    """A provider that answers with an error in OpenAI's shape; *once* only: the next call is answered."""
    error = {"error": {"message": text, "type": "some_error", "param": None, "code": code}}
    left: Iterator[int] = iter([status] if once else iter(lambda: status, None))

    def respond(wfile: Any, raw: bytes) -> None:
        refused = next(left, None)
        if refused is None:
            ordinary(wfile, raw)
        else:
            answer(wfile, refused, error)

    return respond
