"""Providers: where each is reached, with which key, and what becomes of it when a request brings its own."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import openai
import pytest

from respan_openai import OpenRouter, Provider
from respan_openai._core.call import Call
from respan_openai._core.health import Health
from respan_openai.exceptions import ConfigError
from respan_openai.local import Azure, Echo, LocalGateway, Via
from respan_openai.local.contract import ContractError
from respan_openai.local.credentials import Credential
from respan_openai.local.providers import Choice, base_url_of, name_at, request_for
from respan_openai.local.router import Candidate
from tests.local.support import HELLO, chat
from tests.local_support import FAMILIES, PROVIDER_KEY, Upstream, async_sdk, http_client, listening, sdk


if TYPE_CHECKING:
    from collections.abc import Iterator


STORED, THEIRS = "canary-stored-key-0123", "canary-their-key-4567"
ENDPOINT = "https://mine.openai.azure.com"
HEADERS = [(b"Authorization", b"Bearer canary-client-key"), (b"Content-Type", b"application/json")]
BODY = b'{"model":"gpt-4o","messages":[]}'


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
    outgoing = azure().outgoing(path, HEADERS, BODY)

    assert outgoing.url == ENDPOINT + expected
    assert keys_in(outgoing) == {b"api-key": STORED.encode()}
    assert (b"Host", b"mine.openai.azure.com") in outgoing.headers
    assert outgoing.body == BODY


def test_azure_transcription() -> None:
    """The model of a form is found, though its body is no JSON."""
    form = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper/1\r\n--b--\r\n'
    headers = [(b"content-type", b"multipart/form-data; boundary=b")]

    assert (
        "/deployments/whisper%2F1/audio/transcriptions?"
        in azure().outgoing("/audio/transcriptions", headers, form).url
    )


def test_azure_as_a_fallback_of_a_client() -> None:
    """Asked by ``wrap`` it has the same address and key."""
    provider = azure(deployments={"gpt-4o": "mine"})
    call = Call("POST", "", b"/chat/completions", "/chat/completions", HEADERS, BODY)
    outgoing = provider.build(call)

    assert outgoing.url == f"{ENDPOINT}/openai/deployments/mine/chat/completions?api-version=2024-10-21"
    assert keys_in(outgoing) == {b"api-key": STORED.encode()}


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
    outgoing = request_for(provider, credential, "/chat/completions", HEADERS, BODY)

    assert outgoing.url == url
    assert keys_in(outgoing) == ({} if header is None else {b"Authorization": f"Bearer {header}".encode()})


def test_credential_for_azure() -> None:
    """Address and version may be the request's (contract.md, section 1); what it leaves out is the stored one's."""
    theirs = Credential(THEIRS, "https://theirs.openai.azure.com", "2025-01-01")
    whole = request_for(azure(), theirs, "/chat/completions", HEADERS, BODY)
    key_only = request_for(azure(), THEIR_KEY, "/chat/completions", HEADERS, BODY)

    assert whole.url.startswith("https://theirs.openai.azure.com/openai/deployments/gpt-4o/")
    assert whole.url.endswith("api-version=2025-01-01")
    assert key_only.url.startswith(ENDPOINT)
    assert key_only.url.endswith("api-version=2024-10-21")
    assert keys_in(whole) == keys_in(key_only) == {b"api-key": THEIRS.encode()}


def test_credential_without_a_key() -> None:
    """Fields of other providers are no key for this one; with the stored key another account would pay."""
    credential = Credential(None, extra={"aws_region_name": "x"})
    with pytest.raises(ContractError) as caught:
        request_for(
            Provider("p", "https://a.example", STORED), credential, "/chat/completions", HEADERS, BODY
        )

    assert caught.value.reply.status == 400
    assert b"has no api_key" in caught.value.reply.chunks[0]


def test_what_openrouter_refuses() -> None:
    """Its rules are 400 with the field, not an error of this gateway (reference 004)."""
    body = b'{"model":"m","input":"a","previous_response_id":"r"}'
    with pytest.raises(ContractError) as caught:
        request_for(OpenRouter(STORED), None, "/responses", HEADERS, body)

    error = json.loads(caught.value.reply.chunks[0])["error"]
    assert (caught.value.reply.status, error["param"]) == (400, "previous_response_id")


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


# -- choices


def choice(provider: Any, credential: Credential | None = None, model: str = "m") -> Choice:
    """A candidate at *provider*."""
    return Choice(provider, Candidate(provider.name, model, model, credential, ""), BODY, Health("p", "m"))


def test_choices_and_their_keys() -> None:
    """Two of one provider share a key unless one of them came with the request."""
    one, other = Provider("a", "https://a.example", STORED), Provider("b", "https://a.example", STORED)

    assert choice(one).shares_key_with(choice(one, model="n"))
    assert not choice(one).shares_key_with(choice(one, THEIR_KEY))
    assert not choice(one).shares_key_with(choice(other))
    assert not choice(one).shares_key_with(one)
    assert "canary" not in repr(choice(one, THEIR_KEY))


def test_choice_builds() -> None:
    """It remembers its newest request, and names the model as the router did."""
    made = choice(Provider("a", "https://a.example", STORED))
    call = Call("POST", "", b"/chat/completions", "/chat/completions", HEADERS, b"{}")
    assert made.outgoing is None
    outgoing = made.build(call)

    assert made.outgoing is outgoing
    assert (outgoing.body, outgoing.model) == (BODY, "m")
    assert made.unfit(call) is None
    assert made.health(call) is made.health(call)
    assert "/embeddings" in made.paths
