"""A loopback server in a process of its own, so that its work is not counted as the client's.

It speaks just enough HTTP/1.1, keeps connections open, and answers from memory: the ``model`` of a request
names the answer, ``chat`` or ``responses``, or ``chat-1000`` for a stream of 1,000 chunks. Each event of a
stream is an HTTP chunk of its own, as from a real server, but all are written at once, so what is left to
measure is the client.

Run as ``python -m benchmarks.server`` it prints its port and serves until its standard input is closed, which
happens at the latest when the process that started it ends.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = Path(__file__).resolve().parent.parent

_MODEL = re.compile(rb'"model": ?"([^"]*)"')
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)

#: As many as OpenAI sends, because what reads or adds a header pays for all of them.
_HEADERS = """\
Date: Thu, 01 Jan 2026 00:00:00 GMT
openai-organization: org-bench
openai-processing-ms: 12
openai-version: 2020-10-01
openai-project: proj_bench
x-request-id: req_0123456789abcdef0123456789abcdef
x-ratelimit-limit-requests: 10000
x-ratelimit-limit-tokens: 2000000
x-ratelimit-remaining-requests: 9999
x-ratelimit-remaining-tokens: 1999000
x-ratelimit-reset-requests: 6ms
x-ratelimit-reset-tokens: 0s
strict-transport-security: max-age=31536000; includeSubDomains; preload
X-Content-Type-Options: nosniff
Server: bench"""

_TEXT = "Loopback is the shortest network there is. " * 8

_CHAT = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 1767225600,
    "model": "gpt-4o-mini-2024-07-18",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": _TEXT, "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 80,
        "total_tokens": 99,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    },
    "service_tier": "default",
    "system_fingerprint": "fp_bench",
}

_RESPONSE = {
    "id": "resp_bench",
    "object": "response",
    "created_at": 1767225600,
    "status": "completed",
    "error": None,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "model": "gpt-4o-mini-2024-07-18",
    "output": [
        {
            "type": "message",
            "id": "msg_bench",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": _TEXT, "annotations": []}],
        }
    ],
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "usage": {
        "input_tokens": 19,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 80,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 99,
    },
    "user": None,
    "metadata": {},
}


@contextmanager
def running() -> Iterator[str]:
    """A server in a process of its own; yields its origin, ``http://127.0.0.1:<port>``."""
    command = [sys.executable, "-m", f"{__package__}.server"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # noqa: S603 -- ourselves
    with process:
        if process.stdout is None or process.stdin is None:
            raise AssertionError("unreachable")
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.stdin.close()


@cache
def answer(model: bytes) -> bytes:
    """The complete response, head and body, that *model* names."""
    head, pieces = head_and_body(model.decode())
    if b"-" not in model:
        return head + pieces[0]
    return b"".join([head, *map(_http_chunk, pieces), _http_chunk(b"")])


@cache
def head_and_body(model: str) -> tuple[bytes, tuple[bytes, ...]]:
    """The head of the response that *model* names, and its body: several pieces if it is sent in chunks."""
    kind, _, chunks = model.partition("-")
    if chunks:
        return _head("Content-Type: text/event-stream", "Transfer-Encoding: chunked"), (
            *_events(int(chunks)),
        )
    body = _dumped({"chat": _CHAT, "responses": _RESPONSE}[kind])
    return _head("Content-Type: application/json", f"Content-Length: {len(body)}"), (body,)


def _head(*headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", *_HEADERS.splitlines(), *headers, "", ""]
    return "\r\n".join(lines).encode()


def _http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _events(chunks: int) -> Iterator[bytes]:
    for number in range(chunks):
        delta = {"content": " word"} if number else {"role": "assistant", "content": ""}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
        shared = {
            name: _CHAT[name] for name in ("id", "created", "model", "service_tier", "system_fingerprint")
        }
        yield b"data: %s\n\n" % _dumped({**shared, "object": "chat.completion.chunk", "choices": [choice]})
    yield b"data: [DONE]\n\n"


def _dumped(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class _Connection(asyncio.Protocol):
    """One kept-alive connection; requests come one after another, never pipelined."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._wanted = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        if not self._wanted:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(received, 0, end)
            self._wanted = end + 4 + (int(length[1]) if length else 0)
        if len(received) >= self._wanted:
            model = _MODEL.search(received)
            received_model = bytes(model[1]) if model else b""
            self._received, self._wanted = bytearray(), 0
            self._transport.write(answer(received_model))


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
