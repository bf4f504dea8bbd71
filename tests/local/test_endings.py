"""However a call ends, it is settled, logged and let go: by its reader, a cancellation, the collector, or an error."""

from __future__ import annotations

import asyncio
import gc
import importlib
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trio
from sniffio import current_async_library

from respan_openai import Provider
from respan_openai.exceptions import StoreError
from respan_openai.local import LocalGateway, Via
from respan_openai.local.aftercare import aftercare
from respan_openai.local.customers import account_of
from respan_openai.stores.memory import MemoryStore
from tests.local.support import HELLO, chat, chat_events, refusing, stream_at_once
from tests.local_support import FAMILIES, PROVIDER_KEY, Upstream, answer, http_client, listening, stream


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


CHAT = "/chat/completions"
ACCOUNT = account_of("production", "u")
#: A call that may cost 20 units for each of its bytes, and one for each of at most 100 tokens of its answer.
CUSTOMER = {
    "max_tokens": 100,
    "prompt_unit_price": 0,
    "completion_unit_price": 1000,
    "customer_params": {"customer_identifier": "u", "total_budget": 1000},
}
RESERVED = 100 * 1_000_000
COST = 2 * 1_000_000
ASKED = {"model": "m", "messages": HELLO, "cache_enabled": True, **CUSTOMER}
STREAMED = {**ASKED, "stream": True}


class Slow(MemoryStore):
    """A store that waits for a disk: it must not be asked in the thread of an event loop."""

    blocks = True

    def __init__(self) -> None:
        super().__init__()
        self.on_loop: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name in {
            "cached",
            "put",
            "reserve",
            "settle",
            "customer",
            "save_customer",
            "prompt",
            "log",
            "secret",
        }:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                return found
            return _noting(found, name, super().__getattribute__("on_loop"))
        return found


def _noting(method: Callable[..., Any], name: str, on_loop: list[str]) -> Callable[..., Any]:
    thread = threading.get_ident()

    def noted(*args: Any) -> Any:
        if threading.get_ident() == thread:
            on_loop.append(name)
        return method(*args)

    return noted


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each HTTP library that this SDK accepts."""
    return str(request.param)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A provider on a socket."""
    with listening() as upstream:
        upstream.respond = lambda wfile, _raw: answer(wfile, 200, chat())
        yield upstream


@pytest.fixture(params=[MemoryStore, Slow])
def store(request: pytest.FixtureRequest) -> MemoryStore:
    """One that answers at once, and one that waits."""
    made: MemoryStore = request.param()
    return made


@pytest.fixture
def gateway(upstream: Upstream, store: MemoryStore) -> LocalGateway:
    """A gateway with one provider."""
    return LocalGateway([Provider("up", upstream.base_url, PROVIDER_KEY)], store=store)


@pytest.fixture
def hanging(upstream: Upstream) -> Iterator[threading.Event]:
    """Lets the provider begin a stream, and go on when it is set."""
    released = threading.Event()
    first, *rest = [b"".join(chat_events("a")[:2]), *chat_events("b", counts=True)[1:]]
    upstream.respond = lambda wfile, _raw: stream(wfile, first, released, *rest)
    yield released
    released.set()


def ended(gateway: LocalGateway) -> dict[str, Any]:
    """The row of the one call that there was, and nothing of it is left."""
    aftercare.get_ready()
    aftercare(lambda: None, 20)
    (row,) = gateway.store.entries()
    assert gateway.running == {}
    assert list(gateway.flights._leaders) == []
    return row


def taken(gateway: LocalGateway) -> int:
    """What counts against the customer's budget."""
    return gateway.store.taken(ACCOUNT, "total")


def as_body(events: bytes, kind: str) -> Callable[[Any, bytes], None]:
    """A provider that sends *events* as a body of a known length."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(events)}\r\n\r\n"
    return lambda wfile, _raw: wfile.write(head.encode() + events)


# -- a blocking reader


def test_whole_answer(family: str, gateway: LocalGateway) -> None:
    """It is over before the caller has it."""
    with http_client(family, gateway) as http:
        assert http.post(CHAT, json=ASKED).status_code == 200
        assert (ended(gateway)["status"], taken(gateway)) == (200, COST)


def test_stream_read_to_its_end(family: str, gateway: LocalGateway, upstream: Upstream) -> None:
    """It is over before the caller has its last event."""
    upstream.respond = lambda wfile, _raw: stream_at_once(wfile, chat_events("a", counts=True))
    with http_client(family, gateway) as http, http.stream("POST", CHAT, json=STREAMED) as response:
        for chunk in response.iter_raw():
            if b"[DONE]" in chunk:
                assert (ended(gateway)["status"], taken(gateway)) == (200, COST)

    row = ended(gateway)
    assert (row["output"]["content"], row.get("error")) == ("a", None)


@pytest.mark.parametrize("chunks", [0, 1])
def test_stream_that_is_closed(
    family: str, gateway: LocalGateway, hanging: threading.Event, chunks: int
) -> None:
    """A reader who has enough closes it: what was reserved stays taken, because nobody knows what was written."""
    with http_client(family, gateway) as http:
        with http.stream("POST", CHAT, json=STREAMED) as response:
            lines = response.iter_lines()
            for _ in range(chunks):
                next(lines)
            assert len(gateway.running) == 1
            assert taken(gateway) == RESERVED
        row = ended(gateway)

    assert (row["status"], row["error"], row["cost"], taken(gateway)) == (200, "broken off", None, RESERVED)


def test_reader_who_stops_may_go_on(family: str, gateway: LocalGateway, hanging: threading.Event) -> None:
    """The SDK begins to read a stream anew behind its last event, so a loop that is left ends nothing."""
    with http_client(family, gateway) as http, http.stream("POST", CHAT, json=STREAMED) as response:
        for _ in response.stream:
            break
        assert len(gateway.running) == 1
        hanging.set()
        rest = b"".join(response.stream)

    assert rest.endswith(b"data: [DONE]\n\n")
    assert "error" not in ended(gateway)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # as with a plain client that forgets a stream
@pytest.mark.parametrize("chunks", [0, 1])
def test_stream_that_is_forgotten(
    family: str, gateway: LocalGateway, hanging: threading.Event, chunks: int
) -> None:
    """The collector finds it, be it in a circle."""
    module = importlib.import_module(family)
    with gateway.transport() as transport:
        request = module.Request("POST", f"http://respan.invalid/api{CHAT}", json=STREAMED)
        response = transport.handle_request(request)
        iterator = iter(response.stream)
        for _ in range(chunks):
            next(iterator)
        response.extensions["itself"] = [response, iterator]
        del response, iterator
        gc.collect()

    assert (ended(gateway)["error"], taken(gateway)) == ("broken off", RESERVED)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_collector_inside_the_store(family: str, gateway: LocalGateway, hanging: threading.Event) -> None:
    """What is forgotten while its own thread is in the store waits for the store, and the thread does not wait for it."""
    module = importlib.import_module(family)
    store: Any = gateway.store

    def forget(transport: Any) -> None:
        request = module.Request("POST", f"http://respan.invalid/api{CHAT}", json=STREAMED)
        response = transport.handle_request(request)
        with store._lock:
            del response
            gc.collect()
            assert gateway.running != {}

    with gateway.transport() as transport:
        thread = threading.Thread(target=forget, args=[transport], daemon=True)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()

    assert ended(gateway)["error"] == "broken off"


def test_interrupted(family: str, store: MemoryStore) -> None:
    """Ctrl-C while a provider works: it may have worked, so the estimate stays taken."""
    module = importlib.import_module(family)

    def interrupt(_request: Any) -> Any:
        raise KeyboardInterrupt

    gateway = LocalGateway([Via("v", module.MockTransport(interrupt))], store=store)
    with http_client(family, gateway) as http, pytest.raises(KeyboardInterrupt):
        http.post(CHAT, json=ASKED)

    assert (ended(gateway)["error"], taken(gateway)) == ("abandoned", RESERVED)


# -- an awaiting reader


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Each event loop."""
    return str(request.param)


def async_http(family: str, gateway: LocalGateway) -> Any:
    """A bare HTTP client, awaited."""
    module = importlib.import_module(family)
    return module.AsyncClient(transport=gateway.async_transport(), base_url="http://respan.invalid/api")


@pytest.mark.anyio
async def test_awaited_answers(family: str, gateway: LocalGateway, store: MemoryStore) -> None:
    """They end the same way, and nothing that waits for a disk is done in the thread of the loop."""
    async with async_http(family, gateway) as http:
        assert (await http.post(CHAT, json=ASKED)).status_code == 200
        assert (await http.post(CHAT, json={"model": "m"})).status_code == 422

    aftercare.get_ready()
    aftercare(lambda: None, 20)
    assert [row["status"] for row in reversed(store.entries())] == [200, 422]
    assert getattr(store, "on_loop", []) == []
    assert (gateway.running, taken(gateway)) == ({}, COST)


@pytest.mark.anyio
async def test_awaited_stream_that_is_closed(
    family: str, gateway: LocalGateway, hanging: threading.Event, store: MemoryStore
) -> None:
    """It is over when it is closed."""
    async with async_http(family, gateway) as http:
        async with http.stream("POST", CHAT, json=STREAMED) as response:
            async for _ in response.aiter_lines():
                break
        assert (ended(gateway)["error"], taken(gateway)) == ("broken off", RESERVED)

    assert getattr(store, "on_loop", []) == []


@pytest.mark.anyio
async def test_awaited_stream_read_to_its_end(
    family: str, gateway: LocalGateway, upstream: Upstream, store: MemoryStore
) -> None:
    """It is over before the caller has its last event, under whichever name its events come."""
    events = b"".join(chat_events("a", counts=True))
    async with async_http(family, gateway) as http:
        for kind in ("text/event-stream", "text/plain"):
            upstream.respond = as_body(events, kind)
            async with http.stream("POST", CHAT, json={**STREAMED, "cache_enabled": False}) as response:
                assert [chunk async for chunk in response.aiter_raw()] != []
                assert gateway.running == {}

    assert [row["output"]["content"] for row in store.entries()] == ["a", "a"]
    assert (taken(gateway), getattr(store, "on_loop", [])) == (2 * COST, [])


@pytest.mark.anyio
async def test_awaited_stream_that_breaks_off(family: str, gateway: LocalGateway, upstream: Upstream) -> None:
    """The same error as without await, and nothing behind it."""
    upstream.respond = lambda wfile, _raw: stream_at_once(wfile, chat_events("a")[:2], ends=False)
    module = importlib.import_module(family)
    async with async_http(family, gateway) as http:
        with pytest.raises(module.ReadError, match="broke the stream off") as caught:
            await http.post(CHAT, json=STREAMED)

    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert (ended(gateway)["error"], taken(gateway)) == ("RemoteProtocolError", RESERVED)


@pytest.mark.anyio
async def test_cancelled_in_a_stream(
    family: str, gateway: LocalGateway, hanging: threading.Event, store: MemoryStore
) -> None:
    """A scope that is cancelled while the provider is silent."""
    async with async_http(family, gateway) as http:
        with anyio.CancelScope() as scope:
            async with http.stream("POST", CHAT, json=STREAMED) as response:
                async for _ in response.aiter_lines():
                    scope.cancel()

    assert (ended(gateway)["error"], taken(gateway)) == ("broken off", RESERVED)
    assert getattr(store, "on_loop", []) == []


@pytest.mark.anyio
async def test_cancelled_while_asking(family: str, gateway: LocalGateway, upstream: Upstream) -> None:
    """A provider was asked and may bill it, so the estimate stays taken; who waits for the call goes on."""
    released, arrived = threading.Event(), anyio.Event()
    here = from_here()

    def respond(_wfile: Any, _raw: bytes) -> None:
        here(arrived.set)
        released.wait(20)

    upstream.respond = respond
    async with async_http(family, gateway) as http, anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: http.post(CHAT, json=ASKED))
        await arrived.wait()
        tasks.cancel_scope.cancel()
    released.set()

    row = ended(gateway)
    assert (row["error"], row["status"], taken(gateway)) == ("abandoned", None, RESERVED)


def from_here() -> Callable[[Any], Any]:
    """Has a function called in this event loop, from any thread."""
    if current_async_library() == "trio":
        return trio.lowlevel.current_trio_token().run_sync_soon
    return asyncio.get_running_loop().call_soon_threadsafe


class Reserving(Slow):
    """A store that takes its time to reserve."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.released = threading.Event(), threading.Event()

    def reserve(self, *args: Any) -> Any:
        """As its parent, when it is released."""
        self.began.set()
        assert self.released.wait(20)
        return super().reserve(*args)


@pytest.mark.parametrize("how", ["task", "scope"])
def test_cancelled_while_reserving(family: str, upstream: Upstream, how: str) -> None:
    """Nothing was sent, so what a thread reserved meanwhile is given back; also where asyncio's own cancel() came."""
    store = Reserving()
    gateway = LocalGateway([Provider("up", upstream.base_url, PROVIDER_KEY)], store=store)

    async def cancelled() -> None:
        async with async_http(family, gateway) as http:
            task = asyncio.ensure_future(scoped(http))
            await anyio.to_thread.run_sync(store.began.wait, 20)
            task.cancel() if how == "task" else scopes[0].cancel()
            await asyncio.sleep(0)
            store.released.set()
            await asyncio.wait([task])

    scopes: list[anyio.CancelScope] = []

    async def scoped(http: Any) -> None:
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await http.post(CHAT, json=ASKED)

    asyncio.run(cancelled())

    assert (ended(gateway)["error"], taken(gateway), upstream.received) == ("abandoned", 0, [])


def test_coroutine_that_is_dropped(family: str) -> None:
    """Nobody can do any work then: it is no longer among those that run, and leads nobody."""
    gateway = LocalGateway.echo()
    module = importlib.import_module(family)

    async def never(*_: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    async def begin() -> Any:
        transport: Any = gateway.async_transport()
        transport._send = never  # a provider that never answers
        request = module.Request("POST", f"http://respan.invalid/api{CHAT}", json=ASKED)
        coroutine = transport.handle_async_request(request)
        coroutine.send(None)
        assert (len(gateway.running), len(gateway.flights._leaders)) == (1, 1)
        coroutine.close()

    asyncio.run(begin())

    assert (gateway.running, len(gateway.flights._leaders)) == ({}, 0)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")
@pytest.mark.anyio
async def test_awaited_stream_that_is_forgotten(
    family: str, gateway: LocalGateway, hanging: threading.Event
) -> None:
    """The collector finds it, and the loop need not do anything."""
    module = importlib.import_module(family)
    async with gateway.async_transport() as transport:
        request = module.Request("POST", f"http://respan.invalid/api{CHAT}", json=STREAMED)
        response = await transport.handle_async_request(request)
        response.extensions["itself"] = response
        del response
        gc.collect()
        await anyio.lowlevel.checkpoint()

    assert (ended(gateway)["error"], taken(gateway)) == ("broken off", RESERVED)


# -- failures


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_refused_by_the_provider(family: str, gateway: LocalGateway, upstream: Upstream, status: int) -> None:
    """What was reserved is given back."""
    upstream.respond = refusing(status)
    with http_client(family, gateway) as http:
        assert http.post(CHAT, json=ASKED).status_code == status

    row = ended(gateway)
    assert (row["status"], row["error"][:3], taken(gateway)) == (status, str(status), 0)
    assert [attempt["status"] for attempt in row["attempts"]] == [status]


def test_lost_answer_keeps_its_estimate(family: str, gateway: LocalGateway, upstream: Upstream) -> None:
    """Though another provider's refusal is what the caller gets, the first one may have worked."""
    gone = iter([True])

    def respond(wfile: Any, raw: bytes) -> None:
        if next(gone, False):
            raise ConnectionAbortedError
        refusing(400)(wfile, raw)

    upstream.respond = respond
    with http_client(family, gateway) as http:
        assert http.post(CHAT, json={**ASKED, "fallback_models": ["n"]}).status_code == 400

    row = ended(gateway)
    assert ([attempt["status"] for attempt in row["attempts"]], taken(gateway)) == ([None, 400], RESERVED)


@pytest.mark.parametrize("status", [307, 500])
def test_large_refusal(family: str, gateway: LocalGateway, upstream: Upstream, status: int) -> None:
    """Its body goes on behind what was looked at, and no connection is left open."""
    upstream.respond = lambda wfile, _raw: answer(wfile, status, b"x" * 200_000, "Location: /elsewhere")
    module = importlib.import_module(family)
    with gateway.transport() as transport:
        for _ in range(3):
            request = module.Request("POST", f"http://respan.invalid/api{CHAT}", json=ASKED)
            response = transport.handle_request(request)
            assert len(response.read()) == (200_000 if status == 500 else len(response.content))
            response.close()
        (client,) = transport._clients.values()
        pool = client._transport._pool
        assert len(pool.connections) <= 1
        assert all(connection.is_idle() for connection in pool.connections)

    aftercare.get_ready()
    aftercare(lambda: None, 20)
    assert (response.status_code, gateway.running) == (502 if status == 307 else 500, {})


def test_stream_that_breaks_off_shows_no_key(family: str, gateway: LocalGateway, upstream: Upstream) -> None:
    """The error is of the caller's own library, and nothing behind it leads to the provider's request."""
    upstream.respond = lambda wfile, _raw: stream_at_once(wfile, chat_events("a")[:2], ends=False)
    module = importlib.import_module(family)
    with (
        http_client(family, gateway) as http,
        pytest.raises(module.ReadError, match="broke the stream off") as caught,
    ):
        http.post(CHAT, json=STREAMED)

    assert caught.value.request.url.path == "/api/chat/completions"
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    row = ended(gateway)
    assert (row["status"], row["error"], taken(gateway)) == (200, "RemoteProtocolError", RESERVED)


def test_usage_so_far_is_not_all(family: str, gateway: LocalGateway, upstream: Upstream) -> None:
    """Some providers count as they go; of a stream that broke off nobody knows what was written in the end."""
    counting = b'data: {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 1}}\n\n'
    upstream.respond = lambda wfile, _raw: stream_at_once(
        wfile, [*chat_events("a")[:2], counting], ends=False
    )
    with http_client(family, gateway) as http, pytest.raises(Exception, match="broke the stream off"):
        http.post(CHAT, json=STREAMED)

    row = ended(gateway)
    assert (row["tokens"]["completion"], row["cost"], taken(gateway)) == (1, None, RESERVED)


@pytest.mark.parametrize("kind", ["text/event-stream", "text/plain"])
def test_events_under_another_name(family: str, gateway: LocalGateway, upstream: Upstream, kind: str) -> None:
    """They are passed on all the same, and the call ends as any other."""
    events = b"".join(chat_events("a"))
    upstream.respond = as_body(events, kind)
    with http_client(family, gateway) as http:
        assert http.post(CHAT, json=STREAMED).content == events

    assert ended(gateway)["output"]["content"] == "a"


def test_speech_ends(family: str, gateway: LocalGateway, upstream: Upstream) -> None:
    """A body that passes as it comes is over at its end, with no tokens known."""
    upstream.respond = lambda wfile, _raw: answer(wfile, 200, b"RIFF" * 1000)
    fields = {**CUSTOMER, "model": "m", "input": "a", "voice": "v"}
    with http_client(family, gateway) as http:
        assert len(http.post("/audio/speech", json=fields).content) == 4000

    row = ended(gateway)
    assert (row["status"], row["tokens"], row["cost"]) == (200, None, None)


# -- a store that fails when the answer is there


class Failing(MemoryStore):
    """A store that fails to do one thing, in one way."""

    def __init__(self, what: str, error: Exception) -> None:
        super().__init__()
        self._what, self._error = what, error

    def _fail(self, what: str) -> None:
        if what == self._what:
            raise self._error

    def settle(self, *args: Any) -> None:
        """As its parent."""
        self._fail("settle")
        super().settle(*args)

    def put(self, *args: Any) -> None:
        """As its parent."""
        self._fail("put")
        super().put(*args)

    def log(self, row: Any) -> None:
        """As its parent."""
        self._fail("log")
        super().log(row)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("settle", "could not settle"),
        ("put", "The cache cannot be written"),
        ("log", "A row of the call log is lost."),
    ],
)
@pytest.mark.parametrize(
    "error", [StoreError("The store is out of reach."), OSError("canary")], ids=["StoreError", "OSError"]
)
@pytest.mark.parametrize("is_stream", [False, True])
def test_store_that_fails(
    upstream: Upstream,
    caplog: pytest.LogCaptureFixture,
    what: str,
    says: str,
    error: Exception,
    *,
    is_stream: bool,
) -> None:
    """A broken store costs a line in the log, not an answer, even if it is not the kind of error that stores promise."""
    upstream.respond = lambda wfile, _raw: (
        stream_at_once(wfile, chat_events("a", counts=True)) if is_stream else answer(wfile, 200, chat())
    )
    gateway = LocalGateway([Provider("up", upstream.base_url, PROVIDER_KEY)], store=Failing(what, error))
    with http_client(FAMILIES[0], gateway) as http:
        assert http.post(CHAT, json=STREAMED if is_stream else ASKED).status_code == 200

    assert says in caplog.text
    assert "canary" not in caplog.text
    assert gateway.running == {}
    assert list(gateway.flights._leaders) == []
    assert len(gateway.store.entries()) == (what != "log")
