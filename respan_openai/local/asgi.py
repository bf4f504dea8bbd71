"""Between ASGI and an HTTP library: a request read, an answer sent piece by piece, a caller who goes away.

ASGI 3.0, HTTP connection scope: https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any, Final

import openai

from .contract import JSON, detail


if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping

    from .contract import Reply

    Message = MutableMapping[str, Any]
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]


__all__ = [
    "Gone",
    "headers_of",
    "read_body",
    "relay",
    "request_for",
    "send_reply",
    "send_text",
    "unless_gone",
]


#: RFC 9110, 7.6.1, and what the request in hand has of its own: its length, and the gateway's name.
_NOT_TAKEN: Final = frozenset({
    b"connection", b"content-length", b"expect", b"host", b"keep-alive", b"proxy-authorization",
    b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
})  # fmt: skip

#: As above; ``date`` and ``server`` are those of the server in front.
_NOT_SENT: Final = frozenset({
    b"connection", b"date", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"server", b"te",
    b"trailer", b"transfer-encoding", b"upgrade",
})  # fmt: skip

#: Seconds; the SDK's own (openai/_constants.py). A caller who is more in a hurry hangs up, and is noticed.
_TIMEOUT_SECONDS: Final = 600
_CONNECT_TIMEOUT_SECONDS: Final = 5


class Gone(Exception):  # noqa: N818 -- says what happened
    """The caller has hung up."""


def headers_of(scope: Scope) -> dict[str, str]:
    """The request's headers, names in lower case; of a name that is there twice, the last one."""
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """The request's whole body.

    Raises:
        ContractError: 413 if it has more than *most* bytes, as soon as that is clear.
        Gone: if it breaks off.
    """
    announced = headers_of(scope).get("content-length", "")
    _check_size(int(announced) if announced.isdecimal() else 0, most)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        body += message.get("body", b"")
        _check_size(len(body), most)
        if not message.get("more_body", False):
            return bytes(body)


def _check_size(size: int, most: int) -> None:
    if size > most:
        message = f"The request's body is larger than the {most:,} bytes that this gateway takes. Send less."
        raise detail(413, message, ("Connection", "close"))


def _family() -> Any:
    # The library that the SDK is built on: what a provider's own transport is written for.
    names = (base.__module__.partition(".")[0] for base in openai.DefaultAsyncHttpxClient.__mro__)
    return sys.modules[next(name for name in names if name in {"httpx", "httpx2"})]


def request_for(scope: Scope, body: bytes, origin: str) -> Any:
    """The request as an HTTP library has it, addressed to *origin*.

    Raises:
        ContractError: 400 if its path is none that a URL can have.
    """
    family = _family()
    try:
        url = family.URL(origin).copy_with(raw_path=_target(scope))
    except (family.InvalidURL, ValueError):
        raise detail(400, "The request's path cannot be read.") from None
    headers = [item for item in scope["headers"] if item[0].lower() not in _NOT_TAKEN]
    timeout = family.Timeout(_TIMEOUT_SECONDS, connect=_CONNECT_TIMEOUT_SECONDS).as_dict()
    return family.Request(
        scope["method"], url, headers=headers, content=body, extensions={"timeout": timeout}
    )


def _target(scope: Scope) -> bytes:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope.get("query_string", b"")
    return path + b"?" + query if query else path


async def relay(response: Any, send: Send) -> None:
    """Send *response*, each piece as it comes, and close it in any case."""
    try:
        headers = [item for item in response.headers.raw if item[0].lower() not in _NOT_SENT]
        await send(_start(response.status_code, headers))
        async for piece in response.stream:
            await send(_part(piece, more=True))
        await send(_part(b"", more=False))
    finally:
        await response.aclose()


async def send_reply(send: Send, reply: Reply) -> None:
    """Send an answer of the gateway's own."""
    headers = [("Content-Type", reply.content_type), *reply.headers]
    await send_text(send, reply.status, b"".join(reply.chunks), headers)


async def send_text(
    send: Send, status: int, body: bytes, headers: Iterable[tuple[str, str]] = (("Content-Type", JSON),)
) -> None:
    """Send a whole answer."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    # RFC 9110, 8.6: no length on an answer that has no content.
    length = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
    await send(_start(status, [*raw, *length]))
    await send(_part(body, more=False))


def _start(status: int, headers: list[tuple[bytes, bytes]]) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def _part(body: bytes, *, more: bool) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": more}


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, None]) -> None:
    """Do *work*, but stop if the caller hangs up; what it cleans up is waited for.

    Raises:
        Gone: if the caller has hung up before it was done.
    """
    # Cancelled as a task, not as a scope of anyio: what ends a call (settling its cost, its row in the log)
    # awaits, and in a cancelled scope nothing can be awaited.
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(receive())  # after the body nothing else can come
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.wait((working, leaving))
    if working.cancelled():
        raise Gone
    working.result()
