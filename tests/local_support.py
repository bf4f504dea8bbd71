"""What the tests of the local gateway share: the SDK's HTTP libraries, its clients, and a provider on a socket."""

from __future__ import annotations

import importlib.util
import json
import socketserver
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import openai


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from respan_openai.local import LocalGateway


BASE_URL = "http://respan.invalid/api"
CLIENT_KEY = "canary-client-key-0123456789"
PROVIDER_KEY = "canary-provider-key-9876543210"

#: openai 3 is built on httpx2 and accepts httpx too; before it there is httpx only.
FAMILIES = [
    name
    for name in ("httpx2", "httpx")
    if importlib.util.find_spec(name) and (name == "httpx" or int(openai.VERSION.split(".")[0]) >= 3)
]

COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}],
}

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


def http_client(family: str, gateway: LocalGateway, **options: Any) -> Any:
    """A bare HTTP client of *family* that reaches *gateway*."""
    module = importlib.import_module(family)
    return module.Client(transport=gateway.transport(), base_url=BASE_URL, **options)


def sdk(family: str, gateway: LocalGateway, **options: Any) -> openai.OpenAI:
    """The SDK's client on top of *gateway*; closing it closes the transport."""
    options = {"api_key": CLIENT_KEY, "max_retries": 0, **options}
    return openai.OpenAI(base_url=BASE_URL, http_client=http_client(family, gateway), **options)


def async_sdk(family: str, gateway: LocalGateway, **options: Any) -> openai.AsyncOpenAI:
    """Same as :func:`sdk`, awaited."""
    module = importlib.import_module(family)
    http = module.AsyncClient(transport=gateway.async_transport())
    options = {"api_key": CLIENT_KEY, "max_retries": 0, **options}
    return openai.AsyncOpenAI(base_url=BASE_URL, http_client=http, **options)


class Upstream:
    """An OpenAI-compatible provider on a loopback socket that keeps the bytes of what it was sent."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.received: list[bytes] = []
        self.respond: Callable[[Any, bytes], None] = lambda wfile, _raw: answer(wfile, 200, COMPLETION)

    @property
    def last_head(self) -> bytes:
        """Request line and headers of the newest request, lower case."""
        return self.received[-1].partition(b"\r\n\r\n")[0].lower()

    @property
    def last_body(self) -> dict[str, Any]:
        """The newest request's JSON body."""
        return json.loads(self.received[-1].partition(b"\r\n\r\n")[2])


def answer(wfile: Any, status: int, body: Any, *headers: str) -> None:
    """Write a whole answer; *body* is sent as JSON unless it is bytes."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Said", "Content-Type: application/json", f"Content-Length: {len(content)}"]
    wfile.write("\r\n".join([*lines, *headers, "", ""]).encode() + content)


def stream(wfile: Any, *chunks: bytes | threading.Event) -> None:
    """Write an SSE answer chunk by chunk; an event among *chunks* is waited for."""
    wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    for chunk in chunks:
        if isinstance(chunk, threading.Event):
            assert chunk.wait(20), "the client never got the first chunk"
        else:
            wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            wfile.flush()
    wfile.write(b"0\r\n\r\n")


def hang_up(_wfile: Any, _raw: bytes) -> None:
    """Close the connection without an answer."""
    raise ConnectionAbortedError


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        while head := self._head():
            length = next(
                (
                    int(line[15:])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                ),
                0,
            )
            raw = head + b"\r\n" + self.rfile.read(length)
            self.server.upstream.received.append(raw)  # type: ignore[attr-defined]
            self.server.upstream.respond(self.wfile, raw)  # type: ignore[attr-defined]

    def _head(self) -> bytes:
        lines = []
        while (line := self.rfile.readline()) not in {b"", b"\r\n"}:
            lines.append(line)
        return b"".join(lines)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    upstream: Upstream

    def handle_error(self, *_: object) -> None:
        """A client that hangs up early is not the server's trouble."""


@contextmanager
def listening() -> Iterator[Upstream]:
    """Run an :class:`Upstream` in a thread."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.upstream = Upstream(f"http://127.0.0.1:{server.server_address[1]}/v1")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield server.upstream
        finally:
            server.shutdown()
            thread.join()
