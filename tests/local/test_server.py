"""``Server``: what goes in and out over a real socket, with the SDK, a bare HTTP client or a socket as the caller."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from urllib.parse import urlsplit

import httpx2
import openai
import pytest
from local_support import listening, stream
from serve_support import PATIENCE, Body, Scripted, row, served

from respan_openai import Provider
from respan_openai.exceptions import StoreError
from respan_openai.local import LocalGateway
from respan_openai.local.server import Server
from respan_openai.stores.memory import MemoryStore


def event(text: str) -> bytes:
    """A chunk of a chat completion."""
    return f'data: {{"id":"1","object":"chat.completion.chunk","choices":[{{"index":0,"delta":{{"content":"{text}"}}}}]}}\n\n'.encode()


END = (
    b'data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


@pytest.fixture
def upstream(gate):
    """A provider whose second chunk waits for the gate."""
    with listening() as upstream:
        upstream.respond = lambda wfile, _raw: stream(wfile, event("one"), gate, event("two"), END)
        yield upstream


@pytest.fixture
def provider(upstream):
    return Provider("upstream", upstream.base_url, "canary-provider-key-9876543210")


def answering(status: int = 200, headers=(), body: Body | None = None):
    """An answer that a ``Scripted`` gateway gives."""

    async def answer(_request):
        return httpx2.Response(status, headers=list(headers), stream=body or Body(b"{}"))

    return answer


def exchanged(base: str, head: str) -> bytes:
    """All that comes back on a bare connection for *head*."""
    parts = urlsplit(base)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode())
        return b"".join(iter(lambda: connection.recv(65536), b""))


# -- the SDK as the caller


def test_the_sdk_is_answered() -> None:
    """A plain call over the socket is what it is in the process."""
    with served(LocalGateway.echo()) as base, openai.OpenAI(base_url=f"{base}/api", api_key="any") as client:
        answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}])

    assert answer.choices[0].message.content == "echo: Hi"


def test_a_stream_is_not_held_back(provider, gate) -> None:
    """The first chunk is there before the provider has made the second one."""
    with (
        served(LocalGateway([provider])) as base,
        openai.OpenAI(base_url=f"{base}/api", api_key="any", timeout=PATIENCE) as client,
    ):
        chunks = client.chat.completions.create(model="m", messages=[], stream=True)
        first = next(chunks).choices[0].delta.content
        gate.set()
        rest = [chunk.choices[0].delta.content for chunk in chunks]

    assert (first, rest) == ("one", ["two", None])


async def test_a_stream_is_not_held_back_from_an_async_client(provider, gate, anyio_backend) -> None:
    """Same as above, awaited."""
    with served(LocalGateway([provider])) as base:
        async with openai.AsyncOpenAI(base_url=f"{base}/api", api_key="any", timeout=PATIENCE) as client:
            chunks = await client.chat.completions.create(model="m", messages=[], stream=True)
            first = (await anext(chunks)).choices[0].delta.content
            gate.set()
            rest = [chunk.choices[0].delta.content async for chunk in chunks]

    assert (first, rest) == ("one", ["two", None])


def test_a_caller_who_leaves_a_stream_is_logged(provider, gate) -> None:
    """The provider's stream is closed, and the call has a row: what was spent is not lost."""
    logged = threading.Event()

    class Store(MemoryStore):
        def log(self, row) -> None:
            super().log(row)
            logged.set()

    gateway = LocalGateway([provider], store=Store())
    with served(gateway) as base, openai.OpenAI(base_url=f"{base}/api", api_key="any") as client:
        chunks = client.chat.completions.create(model="m", messages=[], stream=True)
        next(chunks)
        chunks.close()
        assert logged.wait(PATIENCE)
        gate.set()
        assert not gateway.running
        (entry,) = gateway.store.entries()

    assert entry["provider"] == "upstream"
    assert entry["error"]


def test_keys_are_asked_for(provider) -> None:
    """The gateway's own 401 reaches the SDK as the error it knows."""
    gateway = LocalGateway([provider], api_keys=["canary-client-key-0123456789"])
    with (
        served(gateway) as base,
        openai.OpenAI(base_url=f"{base}/api", api_key="wrong") as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.chat.completions.create(model="m", messages=[])


# -- what goes in


def test_a_request_arrives_as_it_was_sent() -> None:
    """Method, path, query, headers and body; what belongs to the connection stays with it."""
    gateway = Scripted(answering())
    with served(gateway) as base:
        httpx2.post(f"{base}/api/a%2Fb?c=%20d", content=b"\x00body", headers={"X-Own": "1", "TE": "trailers"})
    (request,) = gateway.requests

    assert request.method == "POST"
    assert request.url.raw_path == b"/api/a%2Fb?c=%20d"
    assert request.content == b"\x00body"
    assert request.headers["x-own"] == "1"
    assert {"te", "connection"}.isdisjoint(request.headers)
    assert request.headers["host"] == "respan.invalid"


def test_a_request_has_time_limits() -> None:
    """Providers are not waited for without end: ten minutes, as the SDK's own default."""
    gateway = Scripted(answering())
    with served(gateway) as base:
        httpx2.post(f"{base}/api/x")

    assert gateway.requests[0].extensions["timeout"] == {"connect": 5, "read": 600, "write": 600, "pool": 600}


def test_a_stranger_sends_no_body() -> None:
    """401 on the head alone: nobody without a key makes the server hold 64 MiB."""
    gateway = Scripted(answering(), keys={"canary-key-of-production": "production"})
    head = "POST /api/x HTTP/1.1\nHost: localhost\nConnection: close\nContent-Length: 9\n"
    with served(gateway) as base:
        for authorization in ("", "Authorization: Bearer wrong\n"):
            assert exchanged(base, f"{head}{authorization}\n").startswith(b"HTTP/1.1 401 ")
        known = exchanged(base, f"{head}Authorization: Bearer canary-key-of-production\n\n123456789")

    assert known.startswith(b"HTTP/1.1 200 ")
    assert [request.content for request in gateway.requests] == [b"123456789"]


def test_a_body_may_be_as_long_as_the_limit() -> None:
    """The limit itself is let through."""
    gateway = Scripted(answering())
    with served(gateway, most_bytes=10) as base:
        assert httpx2.post(f"{base}/api/x", content=b"x" * 10).status_code == 200


@pytest.mark.parametrize(
    "framing",
    ["Content-Length: 11\n\n", "Transfer-Encoding: chunked\n\n6\n123456\n5\n12345\n0\n\n"],
    ids=["announced", "chunked"],
)
def test_a_body_beyond_the_limit_is_refused(framing) -> None:
    """413 as soon as that is clear, without the gateway having been asked; the connection is closed."""
    gateway = Scripted(answering())
    with served(gateway, most_bytes=10) as base:
        answer = exchanged(base, f"POST /api/x HTTP/1.1\nHost: localhost\n{framing}")

    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"larger than the 10 bytes" in answer
    assert gateway.requests == []


def test_a_path_that_no_url_can_have() -> None:
    """400, and not an error of the server's."""

    async def drive() -> list[dict]:
        sent = []
        scope = {
            "type": "http", "method": "GET", "path": "/api/\x00", "raw_path": b"/api/\x00", "query_string": b"",
            "headers": [(b"host", b"localhost")],
        }  # fmt: skip

        async def receive() -> dict:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message) -> None:
            sent.append(message)

        await Server(Scripted())(scope, receive, send)
        return sent

    assert asyncio.run(drive())[0]["status"] == 400


# -- what comes out


def test_headers_are_not_doubled() -> None:
    """``date`` and ``server`` are uvicorn's; what belongs to the provider's connection stays out."""
    headers = [
        ("Date", "then"), ("Server", "other"), ("Connection", "x"), ("Keep-Alive", "1"), ("Upgrade", "h2"),
        ("X-Own", "a"), ("X-Own", "b"),
    ]  # fmt: skip
    with served(Scripted(answering(headers=headers))) as base:
        answer = httpx2.get(f"{base}/api/x")

    assert len(answer.headers.get_list("date")) == len(answer.headers.get_list("server")) == 1
    assert answer.headers["server"] == "uvicorn"
    assert answer.headers.get_list("x-own") == ["a", "b"]
    assert {"connection", "keep-alive", "upgrade"}.isdisjoint(answer.headers)


def test_each_piece_is_a_message_of_its_own() -> None:
    """Nothing is joined: three pieces are three chunks on the wire."""
    with served(Scripted(answering(body=Body(b"a", b"bb", b"ccc")))) as base:
        answer = exchanged(base, "GET /api/x HTTP/1.1\nHost: localhost\nConnection: close\n\n")

    assert b"1\r\na\r\n2\r\nbb\r\n3\r\nccc\r\n0\r\n\r\n" in answer


def test_the_body_is_closed() -> None:
    """The provider's connection is given back after the last piece."""
    body = Body(b"a")
    with served(Scripted(answering(body=body))) as base:
        httpx2.get(f"{base}/api/x")

    assert body.closed.is_set()


def test_a_caller_who_leaves_a_stream() -> None:
    """The body is closed although its next piece never comes."""
    body = Body(b"first", threading.Event())
    with served(Scripted(answering(body=body))) as base, httpx2.stream("GET", f"{base}/api/x") as answer:
        assert next(answer.iter_raw()) == b"first"
        answer.close()
        assert body.closed.wait(PATIENCE)
        body._pieces[1].set()


def test_a_caller_who_leaves_before_the_answer() -> None:
    """Whoever is being asked is told to stop."""
    asked, stopped = threading.Event(), threading.Event()

    async def answer(_request):
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    with served(Scripted(answer)) as base:
        parts = urlsplit(base)
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(b"GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert asked.wait(PATIENCE)
        assert stopped.wait(PATIENCE)


def test_a_caller_who_leaves_while_sending() -> None:
    """Half a body is no call."""
    gateway = Scripted(answering())
    with served(gateway) as base:
        parts = urlsplit(base)
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(b"POST /api/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf")
        assert httpx2.get(f"{base}/healthz").status_code == 200

    assert gateway.requests == []


def test_a_stream_that_breaks_off(caplog) -> None:
    """The caller sees that something is missing; the log has a line, and no traceback."""
    body = Body(b"first", httpx2.ReadError("canary-prompt"))
    with served(Scripted(answering(body=body))) as base, pytest.raises(httpx2.RemoteProtocolError):
        httpx2.get(f"{base}/api/x")

    assert "An answer broke off (ReadError)." in caplog.text
    assert "Traceback" not in caplog.text
    assert "canary" not in caplog.text
    assert body.closed.is_set()


def test_an_error_that_nobody_thought_of(caplog) -> None:
    """500 in the gateway's shape, that tells nothing; the log has it."""

    async def answer(_request):
        raise RuntimeError("canary-inside")

    with served(Scripted(answer)) as base:
        response = httpx2.get(f"{base}/api/x")

    assert response.status_code == 500
    assert response.json() == {"detail": "The gateway failed. Its own log says why."}
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert str(record.exc_info[1]) == "canary-inside"


# -- what lies around


@pytest.fixture(scope="module")
def idle():
    """A server that nobody asks for anything special."""
    with served(Scripted()) as base:
        yield base


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/healthz", 200, None),
        ("HEAD", "/healthz", 200, None),
        ("OPTIONS", "/healthz", 204, "GET, HEAD, OPTIONS"),
        ("POST", "/healthz", 405, "GET, HEAD, OPTIONS"),
        ("GET", "/", 200, None),
        ("HEAD", "/", 200, None),
        ("OPTIONS", "/", 204, "GET, HEAD, OPTIONS"),
        ("DELETE", "/", 405, "GET, HEAD, OPTIONS"),
        ("GET", "/calls/none", 404, None),
        ("GET", "/api", 404, None),
        ("GET", "/favicon.ico", 404, None),
    ],
)
def test_paths_and_methods(idle, method, path, status, allow) -> None:
    """What is only looked at is read with GET; HEAD has the head of that, and OPTIONS says so."""
    answer = httpx2.request(method, idle + path)

    assert (answer.status_code, answer.headers.get("allow")) == (status, allow)
    assert (answer.content == b"") == (method in {"HEAD", "OPTIONS"})


def test_health_needs_no_key() -> None:
    """Whoever starts the server can ask whether it is there."""
    with served(Scripted(keys={"k": "production"})) as base:
        assert httpx2.get(f"{base}/healthz").json() == {"status": "ok"}


def test_everything_is_closed_in_the_end() -> None:
    """Connections to providers, and the store."""
    closed = []

    class Store(MemoryStore):
        def close(self) -> None:
            closed.append("store")

    gateway = Scripted(store=Store())
    with served(gateway):
        assert gateway.closed == 0

    assert (gateway.closed, closed) == (1, ["store"])


def test_websockets_are_refused() -> None:
    """By the book: closed before it is accepted."""
    sent = []

    async def send(message) -> None:
        sent.append(message)

    asyncio.run(Server(Scripted())({"type": "websocket"}, None, send))

    assert sent == [{"type": "websocket.close", "code": 1000}]


# -- the log as a page


class Broken(MemoryStore):
    """A store that cannot be read."""

    def entries(self, **_: object):
        raise StoreError("calls.sqlite3 is locked by another process.")


def test_a_log_that_cannot_be_read() -> None:
    """503 with the reason, which names a file and no key."""
    with served(Scripted(store=Broken())) as base:
        answer = httpx2.get(base)

    assert answer.status_code == 503
    assert "calls.sqlite3 is locked" in answer.text


@pytest.mark.parametrize("path", ["/", "/?text=nobody", "/calls/none"])
@pytest.mark.parametrize("may_wait", [True, False])
def test_looking_into_the_log_holds_nobody_up(path, may_wait) -> None:
    """It is done in another thread than the one that serves, also in memory: 2,000 rows take long to read."""
    threads = set()

    class Watched(MemoryStore):
        blocks = may_wait

        def entries(self, **asked: object):
            threads.add(threading.current_thread().name)
            return super().entries(**asked)

        def entry(self, log_id: str):
            threads.add(threading.current_thread().name)
            return super().entry(log_id)

    with served(Scripted(store=Watched())) as base:
        assert httpx2.get(base + path).status_code in {200, 404}

    assert len(threads) == 1
    assert threads.pop().startswith("asyncio_")


def test_a_call_that_is_logged_and_still_among_the_running() -> None:
    """It is shown once: it may end between the two looks."""
    gateway = Scripted()
    gateway.store.log(row(id="twice"))
    gateway.running["twice"] = type("Row", (), {"finished": lambda _: row(id="twice", status=None)})()
    with served(gateway) as base:
        page = httpx2.get(base).text

    assert page.count('href="/calls/twice"') == 1
