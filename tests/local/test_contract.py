"""What the local gateway promises whoever calls it, through the official SDK: in the process, and over a socket.

The five interfaces of contract.md, section 1, have one test each: ``test_interface_1`` to ``test_interface_5``. The other
half of the fifth, OpenRouter in the gateway's own place, is ``test_chat_and_responses`` of tests/test_openrouter.py.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import openai
import pytest

from respan_openai import OpenRouter, Provider, RespanTransport, last_call, record_of, wrap
from respan_openai.local import Azure, Echo, LocalGateway, Model, Price, Settings, StoredPrompt
from tests.local.support import (
    HELLO,
    USAGE,
    WAYS,
    Host,
    Reach,
    WatchedStore,
    behaving,
    chat,
    chat_events,
    gateway_of,
    listening,
    refusing,
    response_events,
    sent_to,
    stream_at_once,
)
from tests.local_support import CLIENT_KEY, PROVIDER_KEY, PROXY_VARIABLES, Upstream, answer, hang_up


if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


CHAT, RESPONSES = "/chat/completions", "/responses"


@pytest.fixture(scope="module")
def host() -> Iterator[Host]:
    """The socket that gateways are served on."""
    host = Host()
    yield host
    host.close()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """How the gateway is reached."""
    return str(request.param)


@pytest.fixture
def mode(way: str) -> str:
    """How the SDK is used; the event loop follows from it."""
    return way.partition(" ")[2]


@pytest.fixture(autouse=True)
def plain_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Loopback is reached directly, and nobody reads the CA bundle: it takes longer than all the rest."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def reach(way: str, mode: str, host: Host, anyio_backend: str) -> AsyncIterator[Reach]:
    """Makes clients, and their calls."""
    reach = Reach(host if way.startswith("served") else None, mode)
    yield reach
    await reach.close()


@pytest.fixture
def up() -> Iterator[Upstream]:
    """A provider on a socket that answers as usual."""
    with listening() as upstream:
        upstream.respond = behaving({})
        yield upstream


@pytest.fixture
def up2() -> Iterator[Upstream]:
    """Another one."""
    with listening() as upstream:
        upstream.respond = behaving({})
        yield upstream


@pytest.fixture
def gateway(up: Upstream) -> LocalGateway:
    """A gateway with one provider, and a price for whatever it is asked for."""
    return gateway_of(up, prices=lambda _provider, _model: Price(1000, 2000))


#: What ``USAGE`` costs at the price above, in USD.
COST = 0.014


@pytest.fixture
def client(reach: Reach, gateway: LocalGateway) -> Any:
    """The SDK's client of it."""
    return reach.client(gateway)


def rows(gateway: LocalGateway) -> list[dict[str, Any]]:
    """The log, the oldest first."""
    return gateway.store.entries()[::-1]


def text_of(chunks: list[Any]) -> str:
    """What the chunks of a chat stream say."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def carrier(**params: Any) -> str:
    """Parameters as the header carries them."""
    return base64.b64encode(json.dumps(params).encode()).decode()


# -- requests: the endpoints


async def test_interface_1(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """Interface 1, chat completions: parameters stay here, the rest is the provider's, whose answer comes back."""
    raw = await reach.raw(client, customer_identifier="u", metadata={"run": 7}, temperature=0.5)
    completion = raw.parse()

    assert completion.choices[0].message.content == "hi"
    assert completion.usage.total_tokens == 12
    assert [(sent.path, sent.fields) for sent in sent_to(up)] == [
        ("/v1/chat/completions", {"model": "m", "messages": HELLO, "temperature": 0.5})
    ]
    assert raw.headers["X-Respan-Log-Id"] == rows(gateway)[0]["id"]


async def test_interface_2(reach: Reach, up: Upstream) -> None:
    """Interface 2, Responses: streamed, with tools, a stored prompt as instructions, and the beta header (001)."""
    prompt = StoredPrompt.from_json(
        {"id": "p", "deployed": 1, "versions": {"1": {"messages": [{"role": "system", "content": "Be {{how}}."}]}}}
    )
    client = reach.client(gateway_of(up, prompts=[prompt]))
    tools: Any = [{"type": "function", "name": "f", "parameters": {}, "strict": False}]
    stream = await reach(
        client.responses.create,
        model="m",
        input="hello",
        stream=True,
        tools=tools,
        extra_body={"prompt": {"prompt_id": "p", "variables": {"how": "brief"}, "schema_version": 2}},
        extra_headers={"X-Respan-Beta": "token-breakdown-2026-03-26"},
    )
    *_, last = await reach.items(stream)

    assert last.response.output_text == "hi"
    assert last.response.usage.token_breakdown["completion_tokens"] == 2
    (sent,) = sent_to(up)
    assert sent.path == "/v1/responses"
    expected = {"model": "m", "input": "hello", "stream": True, "tools": tools, "instructions": "Be brief."}
    assert sent.fields == expected


async def test_interface_3(reach: Reach, up: Upstream, up2: Upstream) -> None:
    """Interface 3, passthrough: OpenAI by default, Azure by the header, each with the caller's own token (000:36)."""
    openai_direct = Provider("openai", up.base_url, PROVIDER_KEY)
    azure = Azure(up2.base_url.removesuffix("/v1"), PROVIDER_KEY, "2024-10-21")
    settings = Settings(api_bases=frozenset({up2.base_url}))
    client = reach.client(LocalGateway([openai_direct, azure], store=WatchedStore(), settings=settings))
    own: Any = {"m": {"api_key": "canary-openai-token"}}
    theirs: Any = {
        "m": {
            "api_key": "canary-azure-token",
            "api_base": up2.base_url.removesuffix("/v1"),
            "api_version": "2025-01-01",
        }
    }
    await reach(client.responses.create, model="m", input="hello", extra_body={"credential_override": own})
    with pytest.raises(openai.NotFoundError):  # the double knows no deployments
        up2.respond = refusing(404)
        await reach(
            client.responses.create,
            model="m",
            input="hello",
            extra_body={"credential_override": theirs},
            extra_headers={"X-Respan-Route-Provider": "azure"},
        )

    (direct,), (routed,) = sent_to(up), sent_to(up2)
    assert (direct.path, direct.headers["authorization"]) == ("/v1/responses", "Bearer canary-openai-token")
    assert routed.path == "/openai/responses?api-version=2025-01-01"
    assert (routed.headers["api-key"], "authorization" in routed.headers) == ("canary-azure-token", False)
    for upstream in (up, up2):
        assert CLIENT_KEY.encode() not in b"".join(upstream.received)
        assert PROVIDER_KEY.encode() not in b"".join(upstream.received)


async def test_interface_4(reach: Reach, up: Upstream, up2: Upstream) -> None:
    """Interface 4, the headers: the key, parameters, the provider without another slug, beta flags."""
    gateway = gateway_of(up, up2, api_keys=[CLIENT_KEY])
    headers = {
        "X-Data-Respan-Params": carrier(customer_identifier="u"),
        "X-Respan-Route-Provider": "up2",
        "X-Respan-Beta": "token-breakdown-2026-03-26, env-scoped-integrations-2026-03-28",
    }
    completion = await reach.chat(reach.client(gateway), extra_headers=headers)

    assert completion.usage.token_breakdown == {"prompt_tokens": 10, "completion_tokens": 2}
    assert rows(gateway)[0]["customer_identifier"] == "u"
    assert [sent.fields["model"] for sent in sent_to(up2)] == ["m"]
    assert up.received == []
    assert not [name for name in sent_to(up2)[0].headers if "respan" in name]


async def test_interface_5(reach: Reach, up: Upstream) -> None:
    """Interface 5, OpenRouter behind the gateway: its key, its path, the model's whole slug (reference 004)."""
    up.base_url = up.base_url.replace("/v1", "/api/v1")
    up.respond = lambda wfile, _raw: answer(wfile, 200, chat())
    router = OpenRouter("canary-router-key", up.base_url, title="Mine")
    gateway = LocalGateway([Echo(), router], store=WatchedStore())
    completion = await reach.chat(
        reach.client(gateway), model="openrouter/openai/gpt-4o", customer_identifier="u"
    )

    (sent,) = sent_to(up)
    assert completion.choices[0].message.content == "hi"
    assert (sent.path, sent.fields["model"]) == ("/api/v1/chat/completions", "openai/gpt-4o")
    assert (sent.headers["authorization"], sent.headers["x-title"]) == ("Bearer canary-router-key", "Mine")
    assert rows(gateway)[0]["provider"] == "openrouter"


async def test_responses(reach: Reach, client: Any, up: Upstream) -> None:
    """A response in one piece, for the fields that were sent."""
    answered = await reach(client.responses.create, model="m", input="hello", metadata={"a": "b"})

    assert (answered.output_text, answered.usage.total_tokens) == ("hi", 12)
    assert sent_to(up)[0].fields == {"model": "m", "input": "hello", "metadata": {"a": "b"}}


async def test_embeddings(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """Embeddings, with what they cost."""
    create = client.embeddings.create
    found = await reach(create, model="e", input=["hello"], encoding_format="float", extra_body={"thread_identifier": "t"})

    assert found.data[0].embedding == [0.5, 0.25]
    assert sent_to(up)[0].fields == {"model": "e", "input": ["hello"], "encoding_format": "float"}
    (row,) = rows(gateway)
    assert (row["thread_identifier"], row["tokens"]["prompt"], row["cost"]) == ("t", 3, 0.003)


async def test_speech(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """Sound is passed on byte for byte, as it comes."""
    sound = await reach(client.audio.speech.create, model="tts", input="hello", voice="alloy")

    assert sound.content == b"RIFF\x00\xff"
    assert sent_to(up)[0].path == "/v1/audio/speech"
    assert [(row["status"], row["cost"]) for row in rows(gateway)] == [(200, None)]


async def test_transcription(reach: Reach, client: Any, up: Upstream) -> None:
    """The model is renamed inside the form; of the file not a byte changes, whatever is in it."""
    hostile = b"\r\n--\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nup/other\r\n" + bytes(range(256))
    file = ("a.wav", hostile, "audio/wav")
    found = await reach(client.audio.transcriptions.create, model="up/whisper", file=file, prompt="names")

    (sent,) = sent_to(up)
    assert found.text == "spoken"
    assert hostile in sent.body
    assert b'name="model"\r\n\r\nwhisper\r\n' in sent.body
    assert b'name="prompt"\r\n\r\nnames\r\n' in sent.body


async def test_parameters_of_a_form(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """In a form, too, parameters are read and kept from the provider: flags and objects as the SDK writes them."""
    params = {"custom_identifier": "c", "disable_log": True, "metadata": {"run": 7}, "respan_params": {"thread_identifier": "t"}}
    create = client.audio.transcriptions.create
    await reach(create, model="m", file=("a.wav", b"sound"), extra_body=params)

    (row,) = rows(gateway)
    assert (row["custom_identifier"], row["thread_identifier"], row["metadata"]) == ("c", "t", {"run": "7"})
    assert "input" not in row
    for name in (b"custom_identifier", b"disable_log", b"metadata", b"respan_params"):
        assert name not in sent_to(up)[0].body
    assert b"sound" in sent_to(up)[0].body


async def test_models(reach: Reach, up: Upstream) -> None:
    """The models that the settings declare, as OpenAI lists them."""
    settings = Settings(models=(Model(name="up/a"), Model(name="b")))
    listed = await reach(reach.client(gateway_of(up, settings=settings)).models.list)

    assert [(model.id, model.owned_by) for model in listed.data] == [("up/a", "up"), ("b", "up")]


# -- requests: carriers


CARRIERS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "top level": ({"custom_identifier": "c"}, {}),
    "respan_params": ({"respan_params": {"custom_identifier": "c"}}, {}),
    "keywordsai_params": ({"keywordsai_params": {"custom_identifier": "c"}}, {}),
    "header": ({}, {"X-Data-Respan-Params": carrier(custom_identifier="c")}),
    "legacy header": ({}, {"X-Data-Keywordsai-Params": carrier(custom_identifier="c")}),
}


@pytest.mark.parametrize("where", CARRIERS)
async def test_carriers(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream, where: str) -> None:
    """Three carriers and two legacy names (reference 000:3-10): all arrive, and none goes on to the provider."""
    params, headers = CARRIERS[where]
    await reach.chat(client, extra_headers=headers, **params)

    assert rows(gateway)[0]["custom_identifier"] == "c"
    (sent,) = sent_to(up)
    assert sent.fields == {"model": "m", "messages": HELLO}
    assert not [name for name in sent.headers if "respan" in name or "keywordsai" in name]


async def test_merge_order(reach: Reach, client: Any, gateway: LocalGateway) -> None:
    """Top-level body fields > respan_params > header (reference 000:7)."""
    headers = {"X-Data-Respan-Params": carrier(custom_identifier="h", thread_identifier="h", session_identifier="h")}
    namespaced = {"custom_identifier": "n", "thread_identifier": "n"}
    await reach.chat(client, extra_headers=headers, respan_params=namespaced, custom_identifier="t")

    (row,) = rows(gateway)
    found = [row[name] for name in ("custom_identifier", "thread_identifier", "session_identifier")]
    assert found == ["t", "n", "h"]


# -- requests: errors


REFUSALS: dict[str, tuple[str, str, Any, int, str | None]] = {
    "no JSON": ("POST", CHAT, b"{", 400, None),
    "no object": ("POST", CHAT, b"[]", 400, None),
    "unknown parameter": ("POST", CHAT, {"respan_params": {"cach_ttl": 1}}, 400, "respan_params.cach_ttl"),
    "wrong parameter": ("POST", CHAT, {"cache_ttl": "x"}, 400, "cache_ttl"),
    "no messages": ("POST", CHAT, {"model": "m"}, 422, "messages"),
    "no input": ("POST", RESPONSES, {"model": "m"}, 422, "input"),
    "wrong model": ("POST", CHAT, {"model": 1, "messages": HELLO}, 422, "model"),
    "no such path": ("POST", "/files", {}, 404, None),
    "no such method": ("DELETE", CHAT, {}, 405, None),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_error_bodies(reach: Reach, gateway: LocalGateway, up: Upstream, case: str) -> None:
    """Respan's own errors (contract.md, section 4): ``detail``, or ``error`` with ``param``; 422 has ``errors``."""
    method, path, body, status, param = REFUSALS[case]
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answered = await reach(reach.http(gateway).request, method, path, content=content)
    said = answered.json()

    assert answered.status_code == status
    assert list(said) == {400: ["error"], 422: ["error", "errors"]}.get(status, ["detail"])
    assert said.get("error", {}).get("param") == param
    assert list(said.get("errors", [param])) == [param]
    assert up.received == []


async def test_refused_calls_are_logged(reach: Reach, client: Any, gateway: LocalGateway) -> None:
    """Who asks why a call failed finds its row, with what was said to the caller."""
    with pytest.raises(openai.BadRequestError) as caught:
        await reach.chat(client, cache_ttl="x")

    (row,) = rows(gateway)
    assert (row["id"], row["status"]) == (caught.value.response.headers["X-Respan-Log-Id"], 400)
    assert "cache_ttl" in row["error"]


@pytest.mark.parametrize("key", ["", "wrong"])
async def test_unknown_key(reach: Reach, up: Upstream, key: str) -> None:
    """401 in Respan's shape, and nobody is asked."""
    client = reach.client(gateway_of(up, api_keys=["right"]), key=key or "none")

    with pytest.raises(openai.AuthenticationError) as caught:
        await reach.chat(client)
    assert list(caught.value.body) == ["detail"]
    assert up.received == []


async def test_environments_share_nothing(reach: Reach, up: Upstream) -> None:
    """The key decides between test and production (003:3): cache, budgets and log have nothing in common."""
    gateway = gateway_of(up, api_keys={"k-test": "test", "k-live": "production"}, prices={"m": Price(1000, 2000)})
    test, live = (reach.client(gateway, key) for key in ("k-test", "k-live"))
    params: Any = {
        "customer_params": {"customer_identifier": "u", "total_budget": 0.2},
        "cache_enabled": True,
        "max_tokens": 10,
    }
    await reach.chat(test, **params)
    await reach.chat(live, **params)

    assert len(up.received) == 2
    assert [row["environment"] for row in rows(gateway)] == ["test", "production"]
    assert len(gateway.store.entries(where={"environment": "test"})) == 1
    spent = [gateway.store.taken(json.dumps([where, "u"]), "total") for where in ("test", "production")]
    assert spent == [14_000_000, 14_000_000]
