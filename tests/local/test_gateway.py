"""The local gateway as a door: who may come in, who is asked, and what is passed on."""

from __future__ import annotations

import asyncio
import copy
import gzip
import importlib
import json
import pickle
import threading
from typing import TYPE_CHECKING, Any

import openai
import pytest

from respan_openai.exceptions import ConfigError
from respan_openai.local import Echo, LocalGateway
from respan_openai.targets import Gateway, Provider
from tests.local_support import (
    CLIENT_KEY,
    COMPLETION,
    FAMILIES,
    PROVIDER_KEY,
    PROXY_VARIABLES,
    Upstream,
    answer,
    async_sdk,
    hang_up,
    http_client,
    listening,
    sdk,
    stream,
)


if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


HELLO: list[Any] = [{"role": "user", "content": "hello"}]
ASKED = {"model": "m", "messages": HELLO}
BODIES: dict[str, dict[str, Any]] = {
    "/chat/completions": ASKED,
    "/responses": {"model": "m", "input": "hello"},
}
PATHS = [*BODIES]


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each HTTP library that this SDK accepts."""
    return request.param


@pytest.fixture(autouse=True)
def plain_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Loopback is reached directly, and nobody reads the CA bundle: it takes longer than all the rest."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A provider on a socket."""
    with listening() as upstream:
        yield upstream


def provider(upstream: Upstream, name: str = "up") -> Provider:
    """The given provider, with its own key."""
    return Provider(name, upstream.base_url, PROVIDER_KEY)


@pytest.fixture
def gateway(upstream: Upstream) -> LocalGateway:
    """A gateway whose first provider is *upstream*, and the second an echo."""
    return LocalGateway([provider(upstream), Echo()], api_keys=[CLIENT_KEY])


@pytest.fixture
def http(family: str, gateway: LocalGateway) -> Iterator[Any]:
    """A bare HTTP client that is let in."""
    with http_client(family, gateway, headers={"Authorization": f"Bearer {CLIENT_KEY}"}) as http:
        yield http


# -- building one


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (LocalGateway, r"LocalGateway\.echo\(\)"),
        (lambda: LocalGateway([]), "needs a provider"),
        (lambda: LocalGateway(Echo()), "providers must be a list"),  # type: ignore[arg-type]
        (lambda: LocalGateway(["echo"]), "of type str"),  # type: ignore[list-item]
        (lambda: LocalGateway([Echo("a"), Echo("A")]), "named 'A'"),
        (lambda: LocalGateway([Echo()], api_keys=[]), "api_keys is empty"),
        (lambda: LocalGateway([Echo()], api_keys="key"), "api_keys must be a list"),
        (lambda: LocalGateway([Echo()], api_keys=[""]), "empty"),
        (lambda: LocalGateway([Echo()], api_keys=[None]), "is empty or"),  # type: ignore[list-item]
        (lambda: LocalGateway([Echo()], api_keys=["a\n"]), "white space"),
    ],
)
def test_settings_that_do_not_fit(make: Any, says: str) -> None:
    """A mistake is told when the gateway is built, with what to do."""
    with pytest.raises(ConfigError, match=says):
        make()


def test_is_a_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    """It can be given wherever a Gateway can; its first key is its own; the environment is not asked."""
    monkeypatch.setenv("RESPAN_API_KEY", "other")
    monkeypatch.setenv("RESPAN_BASE_URL", "http://other.invalid/api")
    gateway = LocalGateway([Echo()], api_keys=(key for key in ["first", "second"]))

    assert isinstance(gateway, Gateway)
    assert (gateway.base_url, gateway.name) == ("http://respan.invalid/api", "local")
    assert gateway.holds("first")
    assert not gateway.holds("second")


def test_keys_do_not_show(gateway: LocalGateway) -> None:
    """Neither repr nor vars shows a key, and none is pickled or copied."""
    shown = repr(gateway) + repr(vars(gateway)) + repr(gateway.transport()) + repr(vars(gateway.transport()))

    assert CLIENT_KEY not in shown
    assert PROVIDER_KEY not in shown
    for action in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            action(gateway)


def test_keys_do_not_show_after_a_call(http: Any, gateway: LocalGateway) -> None:
    """What is remembered about callers and providers holds no key either."""
    own = {"credential_override": {"echo": {"api_key": "canary"}}}
    for more in ({}, own):
        body = {**ASKED, "model": "echo/m", "cache_enabled": True, **more}
        assert http.post("/chat/completions", json=body).headers["x-respan-cache"] == "miss"

    assert not [key for key in (CLIENT_KEY, PROVIDER_KEY, "canary") if key in repr(vars(gateway))]


# -- coming in


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer wrong", f"Basic {CLIENT_KEY}", CLIENT_KEY, "Bearer é"]
)
@pytest.mark.parametrize("path", PATHS)
def test_unknown_key(
    family: str, gateway: LocalGateway, upstream: Upstream, path: str, authorization: Any
) -> None:
    """Without one of the gateway's keys it is 401, and nobody is asked."""
    headers = {} if authorization is None else {"Authorization": authorization.encode()}
    with http_client(family, gateway) as http:
        response = http.post(path, json=ASKED, headers=headers)

    assert (response.status_code, list(response.json())) == (401, ["detail"])
    assert response.headers["www-authenticate"] == "Bearer"
    assert upstream.received == []


@pytest.mark.parametrize("authorization", ["Bearer one", "bearer two", "Bearer  two "])
def test_each_of_several_keys(family: str, authorization: str) -> None:
    """Any of the given keys is let in."""
    with http_client(family, LocalGateway([Echo()], api_keys=["one", "two"])) as http:
        assert http.post(PATHS[0], json=ASKED, headers={"Authorization": authorization}).status_code == 200


def test_any_key_and_none(family: str) -> None:
    """Without api_keys everybody is let in."""
    with http_client(family, LocalGateway.echo()) as http:
        assert http.post(PATHS[0], json=ASKED).status_code == 200
        assert http.post(PATHS[0], json=ASKED, headers={"Authorization": "Bearer x"}).status_code == 200


@pytest.mark.parametrize("path", ["/files", "/chat", "/audio", "/../v1/chat/completions", "/"])
def test_unknown_path(http: Any, path: str) -> None:
    """What is not served is 404 in the gateway's own shape."""
    response = http.post(path, json=ASKED)

    assert response.status_code == 404
    assert "/api/responses" in response.json()["detail"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("path", PATHS)
def test_wrong_method(http: Any, path: str, method: str) -> None:
    """Only POST; the answer says so."""
    response = http.request(method, path)

    assert (response.status_code, list(response.json())) == (405, ["detail"])
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("path", PATHS)
def test_refused_parameter_is_an_sdk_error(family: str, path: str) -> None:
    """The SDK's exception tells which parameter is not honoured, and why."""
    with sdk(family, LocalGateway.echo()) as client, pytest.raises(openai.BadRequestError) as caught:
        client.post(path, cast_to=object, body={**BODIES[path], "weight": 1})

    assert (caught.value.param, caught.value.code) == ("weight", "not_supported")
    assert "does not honour `weight`: no document says" in caught.value.message


def test_query_of_the_request_is_not_looked_at(http: Any, upstream: Upstream) -> None:
    """A query neither hides the path nor reaches the provider."""
    assert http.post(PATHS[0], json=ASKED, params={"a": "b"}).status_code == 200
    assert upstream.last_head.startswith(b"post /v1/chat/completions http/1.1")


# -- who is asked


@pytest.mark.parametrize(
    ("model", "route", "asked", "sent"),
    [
        ("m", None, "one", "m"),
        ("two/m", None, "two", "m"),
        ("TWO/m", None, "two", "m"),
        ("two/m/n", None, "two", "m/n"),
        ("two/", None, "one", "two/"),
        ("two", None, "one", "two"),
        ("azure/d", None, "one", "azure/d"),
        ("m", "two", "two", "m"),
        ("m", " Two ", "two", "m"),
        ("two/m", "two", "two", "m"),
        ("one/m", "two", "two", "one/m"),
    ],
)
def test_choice_of_provider(family: str, model: str, route: str | None, asked: str, sent: str) -> None:
    """The header decides, then the model's prefix, then the order."""
    headers = {} if route is None else {"X-Respan-Route-Provider": route}
    with listening() as one, listening() as two:
        gateway = LocalGateway([provider(one, "one"), provider(two, "two")])
        with http_client(family, gateway) as http:
            http.post(PATHS[0], json={**ASKED, "model": model}, headers=headers)

        reached = {
            name: upstream.last_body
            for name, upstream in {"one": one, "two": two}.items()
            if upstream.received
        }

    assert reached == {asked: {**ASKED, "model": sent}}


@pytest.mark.parametrize("route", ["nobody", "", " "])
def test_unknown_route(http: Any, upstream: Upstream, route: str) -> None:
    """A provider that does not exist is an error that lists those that do."""
    response = http.post(PATHS[0], json=ASKED, headers={"X-Respan-Route-Provider": route})

    assert response.status_code == 400
    assert "up, echo" in response.json()["error"]["message"]
    assert upstream.received == []


@pytest.mark.parametrize("path", PATHS)
def test_only_openais_fields_are_sent(http: Any, upstream: Upstream, path: str) -> None:
    """Respan's parameters stay here, in whichever carrier they came."""
    carriers = {
        "custom_identifier": "c",
        "respan_params": {"thread_identifier": "t"},
        "keywordsai_params": {},
    }
    body = {**BODIES[path], "temperature": 0.5}
    http.post(path, json={**body, **carriers}, headers={"X-Data-Respan-Params": "e30="})

    assert upstream.last_body == body
    assert upstream.last_head.startswith(b"post /v1" + path.encode())
    assert b"respan" not in upstream.last_head


def test_body_of_openai_is_sent_as_it_came(http: Any, upstream: Upstream) -> None:
    """Without parameters to take out, not a byte changes."""
    body = b'{"messages": [ ],\n "x": 1.0, "model": "m"}'
    http.post(PATHS[0], content=body)

    assert upstream.received[-1].endswith(b"\r\n\r\n" + body)


# -- keys


def test_each_key_stays_on_its_side(family: str, gateway: LocalGateway, upstream: Upstream) -> None:
    """The provider never sees the client's key, nor the client the provider's, even if it is shown in headers."""
    shown = f"X-Debug: authorization={PROVIDER_KEY}"
    upstream.respond = lambda wfile, _raw: answer(wfile, 200, COMPLETION, shown, "Set-Cookie: a=b")
    with sdk(family, gateway, organization="canary-org", project="canary-project") as client:
        raw = client.chat.completions.with_raw_response.create(
            model="m", messages=HELLO, extra_headers={"Cookie": "canary-cookie", "api-key": CLIENT_KEY}
        )

    assert upstream.received[0].count(PROVIDER_KEY.encode()) == 1
    assert b"canary" not in upstream.received[0].replace(PROVIDER_KEY.encode(), b"")
    assert PROVIDER_KEY not in repr(raw.http_response.headers.raw) + raw.text + repr(
        raw.http_response.request.headers.raw
    )
    assert "set-cookie" not in raw.headers


def refused(wfile: Any, _raw: bytes) -> None:
    """The provider does not like its key."""
    answer(
        wfile, 401, {"error": {"message": "Bad key.", "type": "t", "param": None, "code": "invalid_api_key"}}
    )


def test_errors_do_not_hold_the_providers_key(family: str, gateway: LocalGateway, upstream: Upstream) -> None:
    """Whatever goes wrong, the exception and all it leads to are free of the provider's key."""
    for respond in (refused, hang_up, lambda wfile, _raw: wfile.write(b"nonsense\r\n\r\n")):
        upstream.respond = respond
        with sdk(family, gateway) as client, pytest.raises(openai.APIStatusError) as caught:
            client.chat.completions.create(model="m", messages=HELLO)

        error: BaseException | None = caught.value
        while error is not None:
            request = getattr(error, "request", None)
            assert PROVIDER_KEY not in repr(error) + repr(vars(error)) + repr(request and request.headers.raw)
            error = error.__cause__ or error.__context__


def test_trace_hook_of_the_client_sees_no_key(family: str, gateway: LocalGateway) -> None:
    """The client's own hooks watch the client's own request, not the one with the provider's key."""
    seen: list[Any] = []
    module = importlib.import_module(family)
    with gateway.transport() as transport:
        request = module.Request(
            "POST",
            "http://respan.invalid/api/chat/completions",
            json=ASKED,
            headers={"Authorization": f"Bearer {CLIENT_KEY}"},
            extensions={"trace": lambda *event: seen.append(event)},
        )
        assert transport.handle_request(request).status_code == 200

    assert seen == []


def test_trace_hook_of_an_awaiting_client_sees_no_key(family: str, gateway: LocalGateway) -> None:
    """The same for ``AsyncClient``."""
    seen: list[Any] = []
    module = importlib.import_module(family)

    async def hook(*event: Any) -> None:
        seen.append(event)

    async def main() -> int:
        request = module.Request(
            "POST",
            "http://respan.invalid/api/chat/completions",
            json=ASKED,
            headers={"Authorization": f"Bearer {CLIENT_KEY}"},
            extensions={"trace": hook},
        )
        async with gateway.async_transport() as transport:
            return (await transport.handle_async_request(request)).status_code

    assert asyncio.run(main()) == 200
    assert seen == []


# -- passing on


def test_answer_of_the_provider(family: str, gateway: LocalGateway) -> None:
    """The SDK gets what the provider said, with an id of the log row, which is the request's."""
    with sdk(family, gateway) as client:
        raw = client.chat.completions.with_raw_response.create(model="m", messages=HELLO)

    assert raw.parse().choices[0].message.content == "hi"
    log_id = raw.headers["X-Respan-Log-Id"]
    assert log_id == raw.headers["x-respan-gateway-request-id"] == gateway.store.entries()[0]["id"]
    assert type(raw.http_response).__module__.startswith(family)


@pytest.mark.parametrize("how", ["echo/m", "nothing", "m"])
def test_every_answer_has_ids(http: Any, how: str) -> None:
    """Echoes and errors too, each its own."""
    body = {} if how == "nothing" else {**ASKED, "model": how}
    ids = {http.post(PATHS[0], json=body).headers["x-respan-log-id"] for _ in range(2)}

    assert len(ids) == 2


@pytest.mark.parametrize("body", [{}, {**ASKED, "mock_response": "hi"}], ids=["error", "mock"])
def test_length_of_what_is_whole(http: Any, body: Any) -> None:
    """The gateway's own words are at hand as a whole, and so their length is told."""
    response = http.post(PATHS[0], json=body)

    assert response.headers["content-length"] == str(len(response.content))


def test_log_id_is_this_gateways(http: Any, gateway: LocalGateway, upstream: Upstream) -> None:
    """A provider that is a Respan gateway itself has rows of its own; the caller is told of the one here."""
    upstream.respond = lambda wfile, _raw: answer(wfile, 200, COMPLETION, "X-Respan-Log-Id: row")
    told = http.post(PATHS[0], json=ASKED).headers.get_list("x-respan-log-id")

    assert told == [gateway.store.entries()[0]["id"]] != ["row"]


def test_log_id_of_a_call_that_leaves_no_row(http: Any, gateway: LocalGateway, upstream: Upstream) -> None:
    """Not even the provider's is told: it is a row of another log."""
    upstream.respond = lambda wfile, _raw: answer(wfile, 200, COMPLETION, "X-Respan-Log-Id: row")
    headers = http.post(PATHS[0], json={**ASKED, "is_log_omitted": True}).headers

    assert "x-respan-log-id" not in headers
    assert gateway.store.entries() == []


def test_headers_of_one_hop_stay_there(http: Any, upstream: Upstream) -> None:
    """What concerns the connection to the provider is dropped, what concerns the call is kept."""
    hop = ("Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic")
    upstream.respond = lambda wfile, _raw: answer(wfile, 200, COMPLETION, *hop, "X-RateLimit-Remaining: 7")
    headers = http.post(PATHS[0], json=ASKED).headers

    assert headers["x-ratelimit-remaining"] == "7"
    assert not {"connection", "x-hop", "keep-alive", "proxy-authenticate"} & set(headers)


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 500, 503])
def test_error_of_the_provider(http: Any, upstream: Upstream, status: int) -> None:
    """Status, body and Retry-After are the provider's."""
    body = {"error": {"message": "no", "whatever": [1]}}
    upstream.respond = lambda wfile, _raw: answer(wfile, status, body, "Retry-After: 3")
    response = http.post(PATHS[0], json=ASKED)

    assert (response.status_code, response.json(), response.headers["retry-after"]) == (status, body, "3")


@pytest.mark.parametrize("status", [301, 302, 303, 304, 307, 308])
def test_redirect_is_not_followed(http: Any, upstream: Upstream, status: int) -> None:
    """A redirect ends in 502: prompt and key would go where nobody asked for."""
    location = f"Location: {upstream.base_url}/elsewhere"
    upstream.respond = lambda wfile, _raw: answer(wfile, status, b"", location)
    response = http.post(PATHS[0], json=ASKED)

    assert response.status_code == 502
    assert "redirect" in response.json()["detail"]
    assert len(upstream.received) == 1


def test_compressed_answer(http: Any, upstream: Upstream) -> None:
    """A compressed body is passed on as it is and decoded once."""
    packed = gzip.compress(json.dumps(COMPLETION).encode())
    upstream.respond = lambda wfile, _raw: answer(wfile, 200, packed, "Content-Encoding: gzip")

    assert http.post(PATHS[0], json=ASKED).json() == COMPLETION


def test_provider_that_is_not_there(family: str) -> None:
    """A refused connection is 502 with the provider's name, not its address."""
    with listening() as gone:
        gateway = LocalGateway([provider(gone, "gone")])
    with http_client(family, gateway) as http:
        response = http.post(PATHS[0], json=ASKED)

    assert response.status_code == 502
    assert response.json()["detail"] == "Provider 'gone' could not be reached (ConnectError)."


def test_provider_that_is_too_slow(http: Any, upstream: Upstream) -> None:
    """The client's own timeout holds for the provider, and is 504."""
    released = threading.Event()
    upstream.respond = lambda _wfile, _raw: released.wait(20)
    response = http.post(PATHS[0], json=ASKED, timeout=0.05)
    released.set()

    assert response.status_code == 504
    assert response.json()["detail"] == "Provider 'up' did not answer in time."


def test_proxy_of_the_environment(family: str, upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Providers are reached as the environment's proxy variables say."""
    monkeypatch.setenv("http_proxy", upstream.base_url.removesuffix("/v1"))
    with http_client(family, LocalGateway([Provider("far", "http://far.invalid/v1", PROVIDER_KEY)])) as http:
        assert http.post(PATHS[0], json=ASKED).status_code == 200

    assert upstream.last_head.startswith(b"post http://far.invalid/v1/chat/completions")


# -- streams


def chunk(text: str) -> bytes:
    """One SSE event of a chat completion."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
    return b"data: %s\n\n" % json.dumps(body).encode()


def test_first_chunk_does_not_wait_for_the_second(
    family: str, gateway: LocalGateway, upstream: Upstream
) -> None:
    """The provider sends its second chunk only after the client has the first one."""
    arrived = threading.Event()
    upstream.respond = lambda wfile, _raw: stream(wfile, chunk("a"), arrived, chunk("b"), b"data: [DONE]\n\n")
    texts = []
    with sdk(family, gateway) as client:
        for received in client.chat.completions.create(model="m", messages=HELLO, stream=True):
            texts.append(received.choices[0].delta.content)
            arrived.set()

    assert texts == ["a", "b"]


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore:Async generator '(openai|httpx)")  # the SDK stops at [DONE]; trio tells
async def test_first_chunk_does_not_wait_async(
    family: str, gateway: LocalGateway, upstream: Upstream
) -> None:
    """Same on asyncio and trio."""
    arrived = threading.Event()
    upstream.respond = lambda wfile, _raw: stream(wfile, chunk("a"), arrived, chunk("b"), b"data: [DONE]\n\n")
    texts = []
    async with async_sdk(family, gateway) as client:
        async for received in await client.chat.completions.create(model="m", messages=HELLO, stream=True):
            texts.append(received.choices[0].delta.content)
            arrived.set()

    assert texts == ["a", "b"]


def test_stream_that_breaks_off(family: str, gateway: LocalGateway, upstream: Upstream) -> None:
    """A provider that hangs up in the middle is an error of the client's own family, without the key."""

    def respond(wfile: Any, _raw: bytes) -> None:
        wfile.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 999\r\n\r\n" + chunk("a")
        )
        raise ConnectionAbortedError

    upstream.respond = respond
    module = importlib.import_module(family)
    with (
        sdk(family, gateway) as client,
        pytest.raises((module.ReadError, openai.APIConnectionError)) as caught,
    ):
        list(client.chat.completions.create(model="m", messages=HELLO, stream=True))

    assert PROVIDER_KEY not in repr(caught.value.request.headers.raw)


# -- awaited


@pytest.mark.anyio
async def test_async_call(family: str, gateway: LocalGateway, upstream: Upstream) -> None:
    """The same answer on asyncio and trio."""
    async with async_sdk(family, gateway) as client:
        completion = await client.chat.completions.create(model="m", messages=HELLO)

    assert completion.choices[0].message.content == "hi"
    assert upstream.last_body == {"model": "m", "messages": HELLO}


@pytest.mark.anyio
async def test_async_failures(family: str, gateway: LocalGateway, upstream: Upstream) -> None:
    """Redirects and broken connections end as they do without await."""
    async with async_sdk(family, gateway) as client:
        for respond in (lambda wfile, _: answer(wfile, 307, b"", "Location: /x"), hang_up):
            upstream.respond = respond
            with pytest.raises(openai.InternalServerError) as caught:
                await client.chat.completions.create(model="m", messages=HELLO)
            assert caught.value.status_code == 502


@pytest.mark.anyio
async def test_async_transport_is_a_context(family: str, gateway: LocalGateway, upstream: Upstream) -> None:
    """Leaving it closes the connections; a later request opens new ones."""
    module = importlib.import_module(family)
    request = module.Request(
        "POST",
        "http://respan.invalid/api/chat/completions",
        json=ASKED,
        headers={"Authorization": f"Bearer {CLIENT_KEY}"},
    )
    async with gateway.async_transport() as transport:
        for _ in range(2):
            response = await transport.handle_async_request(request)
            assert json.loads(await response.aread()) == COMPLETION
        clients = list(transport._clients.values())

    assert [client.is_closed for client in clients] == [True]
    assert transport._clients == {}
    assert len(upstream.received) == 2


def test_each_loop_has_its_own_connections(family: str, upstream: Upstream) -> None:
    """One async transport serves one loop after the other, and forgets the loops that are over."""
    upstream.respond = lambda wfile, _raw: answer(wfile, 200, COMPLETION, "Connection: close")
    module = importlib.import_module(family)
    transport = LocalGateway([provider(upstream)]).async_transport()

    async def call() -> int:
        request = module.Request("POST", "http://respan.invalid/api/chat/completions", json=ASKED)
        response = await transport.handle_async_request(request)
        await response.aread()
        return len(transport._clients)

    assert [asyncio.run(call()) for _ in range(3)] == [1, 1, 1]
    assert len(upstream.received) == 3


def test_families_do_not_mix(upstream: Upstream) -> None:
    """One transport answers each request in the family that it came from."""
    with LocalGateway([provider(upstream)]).transport() as transport:
        for family in FAMILIES:
            module = importlib.import_module(family)
            request = module.Request("POST", "http://respan.invalid/api/chat/completions", json=ASKED)
            response = transport.handle_request(request)
            assert type(response) is module.Response
            assert json.loads(response.read()) == COMPLETION


def test_threads_share_a_transport(family: str, gateway: LocalGateway, upstream: Upstream) -> None:
    """Many threads at once use one HTTP client."""
    with sdk(family, gateway) as client:
        threads = [
            threading.Thread(target=lambda: client.chat.completions.create(model="m", messages=HELLO))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(upstream.received) == 8
