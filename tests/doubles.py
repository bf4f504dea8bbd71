"""Real, small doubles: a server on the loopback that remembers every byte, and answers as SDKs expect them."""

from __future__ import annotations

import base64
import json
import socket
import socketserver
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass
class Seen:
    """One request, as its bytes came in."""

    raw: bytes
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def params(self) -> dict[str, Any]:
        """What the header carrier holds."""
        value = self.headers.get("x-data-respan-params")
        return {} if value is None else json.loads(base64.b64decode(value))


Answer = "bytes | Iterable[bytes]"


class Upstream:
    """A server on 127.0.0.1 that remembers what it was sent and answers what *behave* says."""

    def __init__(
        self, behave: Callable[[Seen], Any] | None = None, *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.behave = behave or ordinary
        self._scheme = "http" if tls is None else "https"
        self.seen: list[Seen] = []
        self.connections = 0
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                outer.connections += 1
                while (seen := _read_request(self.rfile)) is not None:
                    outer.seen.append(seen)
                    answer = outer.behave(seen)
                    if answer is None:
                        return
                    for part in [answer] if isinstance(answer, bytes) else answer:
                        self.wfile.write(part)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that hangs up is no news."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def origin(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def bytes(self) -> bytes:
        """Everything that ever came in."""
        return b"\n".join(seen.raw for seen in self.seen)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Tunnel:
    """An HTTP proxy that knows only CONNECT, and remembers which hosts it was asked for."""

    def __init__(self, port: int) -> None:
        self.asked: list[str] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                seen = _read_request(self.rfile)
                if seen is None:
                    return
                outer.asked.append(f"{seen.method} {seen.target}")
                self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
                with socket.create_connection(("127.0.0.1", port)) as onward:
                    back = threading.Thread(target=_pump, args=(onward, self.connection), daemon=True)
                    back.start()
                    _pump(self.connection, onward)
                    back.join()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        """One side hung up."""


def _read_request(file: Any) -> Seen | None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        try:
            line = file.readline()
        except OSError:
            return None
        if not line:
            return None
        head += line
    request_line, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = request_line.split(" ", 2)
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines) if name
    }
    body = _read_body(file, headers)
    return Seen(head + body, method, target, headers, body)


def _read_body(file: Any, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return bytes(file.read(int(headers.get("content-length", 0))))
    body = b""
    while size := int(file.readline(), 16):
        body += file.read(size)
        file.readline()
    file.readline()
    return body


# --- answers ---------------------------------------------------------------


def reply(status: int = 200, body: Any = None, headers: dict[str, str] | None = None) -> bytes:
    """A whole HTTP answer with a JSON body, or with bytes as they are."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content-type": "application/json", "content-length": str(len(content)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + content


def chat(text: str = "Hello!", model: str = "answered") -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}},
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }


def response(text: str = "Hello!", model: str = "answered") -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "status": "completed",
        "model": model,
        "output": [
            {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": content,
            },
        ],
        "parallel_tool_calls": False,
        "tool_choice": "auto",
        "tools": [],
    }


def chat_events(*texts: str) -> Iterator[bytes]:
    """The events of a streamed chat completion, each as the bytes of one SSE event."""
    for delta in [{"role": "assistant", "content": ""}, *({"content": text} for text in texts)]:
        yield _event(_chunk(delta, None))
    yield _event(_chunk({}, "stop"))
    yield b"data: [DONE]\n\n"


def _chunk(delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "answered",
        "choices": [choice],
    }


def _event(data: Any) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def stream_head(**headers: str) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n{lines}\r\n".encode()


def chunked(*parts: bytes) -> Iterator[bytes]:
    """*parts* as HTTP chunks, with the last one that ends them."""
    for part in parts:
        yield b"%x\r\n%s\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


def ordinary(seen: Seen) -> Any:
    """What a provider or a gateway answers when nothing is wrong."""
    if seen.body.startswith(b"{") and seen.json.get("stream"):
        return [stream_head(), *chunked(*chat_events("Hel", "lo!"))]
    if seen.path.endswith("/chat/completions"):
        return reply(200, chat())
    if seen.path.endswith("/responses"):
        return reply(200, response())
    if seen.path.endswith("/embeddings"):
        item = {"object": "embedding", "index": 0, "embedding": [0.5, 0.25]}
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return reply(200, {"object": "list", "model": "answered", "data": [item], "usage": usage})
    if seen.path.endswith("/audio/transcriptions"):
        return reply(200, {"text": "Hello!"})
    if seen.path.endswith("/audio/speech"):
        return reply(200, b"RIFF", {"content-type": "audio/wav"})
    if seen.path.endswith("/models"):
        return reply(
            200, {"object": "list", "data": [{"id": "m", "object": "model", "created": 1, "owned_by": "x"}]}
        )
    return reply(404, {"error": {"message": "no such path", "type": "invalid_request_error"}})


@dataclass
class Told:
    """An ``on_call`` hook that remembers."""

    records: list[Any] = field(default_factory=list)

    def __call__(self, record: Any, /) -> None:
        self.records.append(record)
