"""Providers: where each is reached, with which key, and what becomes of it when a request brings its own."""

from __future__ import annotations

import importlib
import json
import warnings
from typing import TYPE_CHECKING, Any

import openai
import pytest

from respan_openai import Fallback, Gateway, OpenRouter, Provider, RespanWarning, Retry, wrap
from respan_openai._core.call import Call
from respan_openai._wire import HEADER, encode_header
from respan_openai.exceptions import ConfigError
from respan_openai.local import Azure, Echo, LocalGateway, Via
from respan_openai.local.contract import ContractError
from respan_openai.local.credentials import Credential
from respan_openai.local.providers import base_url_of, name_at
from respan_openai.local.targets import request_for
from tests.local.support import HELLO, chat, sent_to
from tests.local_support import (
    FAMILIES,
    PROVIDER_KEY,
    Upstream,
    answer,
    async_sdk,
    http_client,
    listening,
    sdk,
)


if TYPE_CHECKING:
    from collections.abc import Iterator


STORED, THEIRS = "canary-stored-key-0123", "canary-their-key-4567"
ENDPOINT = "https://mine.openai.azure.com"
HEADERS = [(b"Authorization", b"Bearer canary-client-key"), (b"Content-Type", b"application/json")]
BODY = b'{"model":"gpt-4o","messages":[]}'
FILE = {"file": ("a.wav", b"RIFF")}


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each HTTP library that this SDK accepts."""
    return str(request.param)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A provider on a socket."""
    with listening() as upstream:
        yield upstream


class Nowhere:
    """A transport that is never asked."""

    def handle_request(self, request: Any) -> Any:
        """Nobody comes here."""
        raise NotImplementedError


def via() -> Via:
    """A provider that is reached through a transport."""
    return Via("v", Nowhere(), api_key=STORED)


def azure(**options: Any) -> Azure:
    """A resource of Azure."""
    return Azure(ENDPOINT, STORED, "2024-10-21", **options)


def keys_in(outgoing: Any) -> dict[bytes, bytes]:
    """Headers that hold a canary."""
    return {name: value for name, value in outgoing.headers if b"canary" in value}


# -- Azure


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/chat/completions", "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"),
        ("/embeddings", "/openai/deployments/gpt-4o/embeddings?api-version=2024-10-21"),
        ("/audio/speech", "/openai/deployments/gpt-4o/audio/speech?api-version=2024-10-21"),
        ("/responses", "/openai/responses?api-version=2024-10-21"),
    ],
)
def test_azure(path: str, expected: str) -> None:
    """The deployment stands in the path, but for Responses; the key is ``api-key``, and nobody else's comes along."""
    outgoing = azure().outgoing(path, HEADERS, BODY, "gpt-4o")

    assert outgoing.url == ENDPOINT + expected
    assert keys_in(outgoing) == {b"api-key": STORED.encode()}
    assert (b"Host", b"mine.openai.azure.com") in outgoing.headers
    assert outgoing.body == BODY


def test_azure_transcription(family: str, upstream: Upstream) -> None:
    """A form names its model in a field; the deployment in the path is that one."""
    upstream.respond = lambda wfile, _raw: answer(wfile, 200, {"text": "spoken"})
    gateway = LocalGateway([Azure(upstream.base_url, STORED, "v", deployments={"whisper/1": "mine/1"})])
    with http_client(family, gateway) as http:
        spoken = http.post("/audio/transcriptions", data={"model": "azure/whisper/1"}, files=FILE)

    (sent,) = sent_to(upstream)
    assert spoken.json() == {"text": "spoken"}
    assert sent.path == "/v1/openai/deployments/mine%2F1/audio/transcriptions?api-version=v"


@pytest.mark.parametrize("model", [".", "..", "\ud800"])
def test_azure_deployments_that_no_path_can_name(family: str, upstream: Upstream, model: str) -> None:
    """A path would lose dots, and cannot hold half a character: 400 with the field, and nothing is sent."""
    gateway = LocalGateway([Azure(upstream.base_url, STORED, "v")])
    with http_client(family, gateway) as http:
        body = json.dumps({"model": model, "messages": HELLO})
        refused = http.post("/chat/completions", content=body)

    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "model")
    assert "deployment" in refused.json()["error"]["message"]
    assert upstream.received == []


def test_azure_as_a_fallback_of_a_client() -> None:
    """Asked by ``wrap`` it has the same address and key."""
    provider = azure(deployments={"gpt-4o": "mine"})
    call = Call("POST", "", b"/chat/completions", "/chat/completions", HEADERS, BODY)
    outgoing = provider.build(call)

    assert outgoing.url == f"{ENDPOINT}/openai/deployments/mine/chat/completions?api-version=2024-10-21"
    assert keys_in(outgoing) == {b"api-key": STORED.encode()}


def test_azure_is_no_fallback_for_a_form(upstream: Upstream) -> None:
    """Its model is not read, and belongs in the path: the caller gets the gateway's own failure."""
    down = wrap(
        openai.OpenAI(api_key="sk-client", max_retries=0),
        gateway=Gateway("rk-gateway", upstream.base_url),
        fallbacks=[azure()],
        retry=Retry(attempts=2, backoff=0.0),
    )
    upstream.respond = lambda wfile, _raw: answer(wfile, 503, {"detail": "down"})
    with down, pytest.raises(openai.InternalServerError):
        down.audio.transcriptions.create(model="whisper-1", file=("a.wav", b"RIFF"))


def test_azure_as_a_fallback_says_what_it_cannot_name() -> None:
    """A name that no path can hold is no reason to end a call that another fallback may answer."""

    def unfit(path: str, model: str) -> str | None:
        body = json.dumps({"model": model, "input": "a"}).encode()
        return azure(deployments={"m": ".."}).unfit(Call("POST", "", path.encode(), path, HEADERS, body))

    assert "deployment" in str(unfit("/embeddings", "azure/.."))
    assert "deployment" in str(unfit("/embeddings", "m"))
    assert unfit("/embeddings", "gpt-4o") is None
    assert unfit("/responses", "..") is None


def test_azure_version_is_checked() -> None:
    """A line break in it would be a header of its own."""
    with pytest.raises(ConfigError, match="api_version"):
        Azure(ENDPOINT, STORED, "2024\r\nX: y")


@pytest.mark.parametrize("path", ["chat/completions", "responses"])
def test_deployments_end_to_end(family: str, upstream: Upstream, path: str) -> None:
    """The deployment stands in the URL and, where the URL names none, in the body."""
    base = upstream.base_url.removesuffix("/v1")
    gateway = LocalGateway([Azure(base, STORED, "v", deployments={"gpt-4o": "mine"})])
    with http_client(family, gateway) as http:
        assert (
            http.post(f"/{path}", json={"model": "azure/gpt-4o", "input": "a", "messages": HELLO}).status_code
            == 200
        )

    assert upstream.last_body["model"] == "mine"
    line = upstream.last_head.partition(b"\r\n")[0]
    assert line == (
        b"post /openai/responses?api-version=v http/1.1"
        if path == "responses"
        else b"post /openai/deployments/mine/chat/completions?api-version=v http/1.1"
    )


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        (Provider("p", "https://a.example", STORED, models={"m": "theirs"}), "theirs"),
        (Provider("p", "https://a.example", STORED), "m"),
        (azure(deployments={"m": "theirs"}), "theirs"),
        (Echo(), "m"),
    ],
)
def test_names(provider: Any, expected: str) -> None:
    """A provider's own name for a model is what it is asked for."""
    assert name_at(provider, "m") == expected


# -- credentials of a request

THEIR_KEY = Credential(THEIRS)
THEIR_BASE = Credential(THEIRS, "https://their.example/v1")


def request(provider: Any, credential: Credential | None = None, headers: Any = HEADERS) -> Any:
    """What *provider* is sent for a chat completion."""
    return request_for(provider, credential, "/chat/completions", headers, body=BODY, model="gpt-4o")


@pytest.mark.parametrize(
    ("provider", "credential", "url", "header"),
    [
        (Provider("p", "https://a.example/v1", STORED), None, "https://a.example/v1/chat/completions", STORED),
        (Provider("p", "https://a.example/v1", STORED), THEIR_KEY, "https://a.example/v1/chat/completions", THEIRS),
        (Provider("p", "https://a.example/v1", STORED), THEIR_BASE, "https://their.example/v1/chat/completions", THEIRS),
        (OpenRouter(STORED), None, "https://openrouter.ai/api/v1/chat/completions", STORED),
        (OpenRouter(STORED), THEIR_KEY, "https://openrouter.ai/api/v1/chat/completions", THEIRS),
        (OpenRouter(STORED), THEIR_BASE, "https://their.example/v1/chat/completions", THEIRS),
        (via(), THEIR_KEY, "http://provider.invalid/v1/chat/completions", THEIRS),
        (via(), THEIR_BASE, "https://their.example/v1/chat/completions", THEIRS),
        (Echo(), THEIR_KEY, "http://echo.invalid/chat/completions", None),
    ],
)  # fmt: skip
def test_credential_replaces_key_and_address(
    provider: Any, credential: Credential | None, url: str, header: str | None
) -> None:
    """The stored key is not sent where a request's goes, nor the other way round (contract.md, section 1)."""
    outgoing = request(provider, credential)

    assert outgoing.url == url
    assert keys_in(outgoing) == ({} if header is None else {b"Authorization": f"Bearer {header}".encode()})


def test_credential_for_azure() -> None:
    """Address and version may be the request's (contract.md, section 1); what it leaves out is the stored one's."""
    theirs = Credential(THEIRS, "https://theirs.openai.azure.com", "2025-01-01")
    whole, key_only = request(azure(), theirs), request(azure(), THEIR_KEY)

    assert whole.url.startswith("https://theirs.openai.azure.com/openai/deployments/gpt-4o/")
    assert whole.url.endswith("api-version=2025-01-01")
    assert key_only.url.startswith(ENDPOINT)
    assert key_only.url.endswith("api-version=2024-10-21")
    assert keys_in(whole) == keys_in(key_only) == {b"api-key": THEIRS.encode()}


@pytest.mark.parametrize("credential", [None, THEIR_KEY, THEIR_BASE])
def test_credential_changes_nothing_else(credential: Credential | None) -> None:
    """What a provider is told to forward or to send goes along with a request's own key, too."""
    tenant = (b"X-Tenant", b"t")
    forwarding = Provider("p", "https://a.example/v1", STORED, headers=["X-Tenant"])
    titled = OpenRouter(STORED, title="Mine", referer="https://mine.example")

    assert tenant in request(forwarding, credential, [*HEADERS, tenant]).headers
    assert {(b"X-Title", b"Mine"), (b"HTTP-Referer", b"https://mine.example")} <= {
        *request(titled, credential).headers
    }


def test_credential_does_not_repeat_a_warning() -> None:
    """A header that is left behind is named once for each provider, not for each call with its own key."""
    provider = Provider("p", "https://a.example/v1", STORED)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(3):
            request(provider, THEIR_KEY, [*HEADERS, (b"X-Tenant", b"t")])

    assert [warning.category for warning in said] == [RespanWarning]


def test_credential_for_an_origin() -> None:
    """OpenRouter's interface lies below ``/api/v1`` wherever no path is named."""
    theirs = Credential(THEIRS, "https://their.example")

    assert request(OpenRouter(STORED), theirs).url == "https://their.example/api/v1/chat/completions"


def test_version_that_no_query_can_hold(family: str) -> None:
    """A request's own version is refused with 400 and its place, as its key is."""
    theirs = {"azure": {"api_key": THEIRS, "api_version": "\xe9"}}
    with http_client(family, LocalGateway([azure()])) as http:
        refused = http.post(
            "/chat/completions", json={"model": "m", "messages": HELLO, "credential_override": theirs}
        )

    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, "credential_override.azure.api_version")
    assert THEIRS not in refused.text


def test_credential_without_a_key() -> None:
    """Fields of other providers are no key for this one; with the stored key another account would pay."""
    credential = Credential(None, extra={"aws_region_name": "x"})
    with pytest.raises(ContractError) as caught:
        request(Provider("p", "https://a.example", STORED), credential)

    assert caught.value.reply.status == 400
    assert b"has no api_key" in caught.value.reply.chunks[0]


def test_what_openrouter_refuses() -> None:
    """Its rules are 400 with the field, not an error of this gateway (reference 004)."""
    body = b'{"model":"m","input":"a","previous_response_id":"r"}'
    with pytest.raises(ContractError) as caught:
        request_for(OpenRouter(STORED), None, "/responses", HEADERS, body=body, model="m")

    error = json.loads(caught.value.reply.chunks[0])["error"]
    assert (caught.value.reply.status, error["param"]) == (400, "previous_response_id")


@pytest.mark.parametrize("carrier", ["header", "body"])
@pytest.mark.parametrize(
    "given",
    [
        {"cache_enabled": True},
        {"customer_identifier": "u1", "metadata": {"a": "b"}, "thread_identifier": "t"},
        {"fallback_models": ["openrouter/other"], "exclude_providers": ["p"]},
    ],
)
def test_openrouter_is_told_nothing_of_the_gateway(
    family: str, upstream: Upstream, carrier: str, given: dict[str, Any]
) -> None:
    """Parameters are for this gateway, whichever carrier they come in, and go no further."""
    upstream.respond = lambda wfile, _raw: answer(wfile, 200, chat())
    plain = {"model": "m", "messages": HELLO}
    headers = {HEADER: encode_header(given)} if carrier == "header" else {}
    with http_client(family, LocalGateway([OpenRouter(STORED, upstream.base_url)])) as http:
        http.post("/chat/completions", json=plain if headers else {**plain, **given}, headers=headers)

    (sent,) = sent_to(upstream)
    assert sent.fields == plain
    assert not [name for name in sent.headers if "respan" in name]


def test_openrouter_has_no_transcriptions(family: str, upstream: Upstream) -> None:
    """A path that a provider does not serve is refused, and says who serves what; nothing is sent."""
    with http_client(family, LocalGateway([OpenRouter(STORED, upstream.base_url)])) as http:
        refused = http.post("/audio/transcriptions", data={"model": "whisper-1"}, files=FILE)

    error = refused.json()["error"]
    assert (refused.status_code, error["param"]) == (400, "model")
    assert "'openrouter' serves /chat/completions and /responses" in error["message"]
    assert upstream.received == []


def test_base_urls() -> None:
    """Where a stored key goes; an echo has none."""
    assert base_url_of(Provider("p", "https://a.example/v1/", STORED)) == "https://a.example/v1"
    assert base_url_of(Echo()) is None


# -- transports of their own


def transport(family: str, seen: list[Any]) -> Any:
    """A transport of *family*, blocking and awaited, that answers everything and remembers what it was asked."""
    module = importlib.import_module(family)

    def answer(request: Any) -> Any:
        seen.append(request)
        return module.Response(200, json=chat())

    return module.MockTransport(answer)


def test_via(family: str) -> None:
    """The transport is asked in the place of a socket, with the key that it was given."""
    seen: list[Any] = []
    gateway = LocalGateway([Via("v", transport(family, seen), api_key=PROVIDER_KEY)])
    with sdk(family, gateway) as client:
        assert client.chat.completions.create(model="v/m", messages=HELLO).choices[0].message.content == "hi"

    assert str(seen[0].url) == "http://provider.invalid/v1/chat/completions"
    assert seen[0].headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert json.loads(seen[0].content)["model"] == "m"


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_via_awaited(family: str) -> None:
    """The same on asyncio and trio."""
    seen: list[Any] = []
    gateway = LocalGateway([Via("v", async_transport=transport(family, seen))])
    async with async_sdk(family, gateway) as client:
        await client.chat.completions.create(model="m", messages=HELLO)

    assert len(seen) == 1


@pytest.mark.parametrize("options", [{}, {"transport": 1}, {"async_transport": object()}])
def test_via_nothing(options: dict[str, Any]) -> None:
    """A ``Via`` without a transport could ask nobody."""
    with pytest.raises(ConfigError, match=r"Via\('v'\) needs transport="):
        Via("v", **options)


def test_via_is_no_fallback_of_a_client(family: str) -> None:
    """A client would not use its transport, so it is refused, with what to do instead."""
    via = Via("v", transport(family, []))
    with pytest.raises(ConfigError, match=r"Via\('v'\) .* fallbacks=\[LocalGateway\(\[Via\(\.\.\.\)\]\)\]"):
        wrap(openai.OpenAI(api_key="sk"), gateway=Gateway("rk"), fallbacks=[via])
    with pytest.raises(ConfigError, match="LocalGateway"):
        Fallback(on_context=[via])


def test_via_behind_a_fallback(family: str) -> None:
    """In a gateway of its own it is a client's fallback like any other."""
    seen: list[Any] = []
    client = wrap(
        openai.OpenAI(api_key="sk", max_retries=0, http_client=importlib.import_module(family).Client()),
        gateway=Gateway("rk", "http://127.0.0.1:1"),
        fallbacks=[LocalGateway([Via("v", transport(family, seen))])],
        retry=Retry(attempts=2, backoff=0.0),
    )
    with client:
        client.chat.completions.create(model="m", messages=HELLO)

    assert len(seen) == 1


def test_via_of_the_other_colour(family: str) -> None:
    """A blocking client needs a blocking transport; the error says which to pass, and the call is over."""
    gateway = LocalGateway([Via("v", async_transport=transport(family, []))])
    with (
        http_client(family, gateway) as http,
        pytest.raises(ConfigError, match=r"Pass Via\('v', transport=\.\.\.\)"),
    ):
        http.post("/chat/completions", json={"model": "m", "messages": HELLO})

    assert gateway.running == {}
    assert gateway.store.entries()[0]["error"] == "ConfigError"


@pytest.mark.skipif(len(FAMILIES) < 2, reason="this SDK knows one HTTP library only")
def test_via_of_the_other_library() -> None:
    """A transport of httpx answers a client of httpx2, and the other way round."""
    for family, other in (FAMILIES, FAMILIES[::-1]):
        seen: list[Any] = []
        with http_client(family, LocalGateway([Via("v", transport(other, seen))])) as http:
            answered = http.post("/chat/completions", json={"model": "m", "messages": HELLO})

        assert answered.json() == chat()
        assert [type(request).__module__.partition(".")[0] for request in seen] == [other]


def test_via_of_no_library(family: str) -> None:
    """What only looks like a transport is taken at its word."""
    module = importlib.import_module(family)

    class Plain:
        """Of nobody's."""

        def handle_request(self, _request: Any) -> Any:
            return module.Response(200, json=chat())

    with sdk(family, LocalGateway([Via("v", Plain())])) as client:
        assert isinstance(
            client.chat.completions.create(model="m", messages=HELLO), openai.types.chat.ChatCompletion
        )
