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
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import openai
import pytest

from respan_openai import OpenRouter, Provider, RespanWarning, last_call, record_of, wrap
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
    response,
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
        {
            "id": "p",
            "deployed": 1,
            "versions": {"1": {"messages": [{"role": "system", "content": "Be {{how}}."}]}},
        }
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
    up2.respond = lambda wfile, _raw: answer(wfile, 200, response())
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
    found = await reach(
        create, model="e", input=["hello"], encoding_format="float", extra_body={"thread_identifier": "t"}
    )

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
    hostile = b'\r\n--\r\nContent-Disposition: form-data; name="model"\r\n\r\nup/other\r\n' + bytes(
        range(256)
    )
    file = ("a.wav", hostile, "audio/wav")
    found = await reach(client.audio.transcriptions.create, model="up/whisper", file=file, prompt="names")

    (sent,) = sent_to(up)
    assert found.text == "spoken"
    assert hostile in sent.body
    assert b'name="model"\r\n\r\nwhisper\r\n' in sent.body
    assert b'name="prompt"\r\n\r\nnames\r\n' in sent.body


async def test_parameters_of_a_form(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """In a form, too, parameters are read and kept from the provider: flags and objects as the SDK writes them."""
    params = {
        "custom_identifier": "c",
        "disable_log": True,
        "metadata": {"run": 7},
        "respan_params": {"thread_identifier": "t"},
    }
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
    headers = {
        "X-Data-Respan-Params": carrier(custom_identifier="h", thread_identifier="h", session_identifier="h")
    }
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
    gateway = gateway_of(
        up, api_keys={"k-test": "test", "k-live": "production"}, prices={"m": Price(1000, 2000)}
    )
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


# -- model choice


async def test_prefix_and_header_choose_the_provider(reach: Reach, up: Upstream, up2: Upstream) -> None:
    """A prefix names the provider; the route header pins it without a change of the slug (reference 002:8)."""
    client = reach.client(gateway_of(up, up2))
    await reach.chat(client, model="plain")
    await reach.chat(client, model="up2/prefixed")
    await reach.chat(client, model="pinned", extra_headers={"X-Respan-Route-Provider": "UP2"})
    await reach.chat(client, model="pinned", route_provider_override="up2")

    assert [sent.fields["model"] for sent in sent_to(up)] == ["plain"]
    assert [sent.fields["model"] for sent in sent_to(up2)] == ["prefixed", "pinned", "pinned"]


async def test_route_that_does_not_exist(reach: Reach, client: Any, up: Upstream) -> None:
    """A provider that nobody knows is an error with those that there are."""
    with pytest.raises(openai.BadRequestError, match="up") as caught:
        await reach.chat(client, extra_headers={"X-Respan-Route-Provider": "nobody"})
    assert caught.value.param == "X-Respan-Route-Provider"
    assert up.received == []


PRICES = {"up/dear": Price(10, 10), "up/cheap": Price(1, 1), "up/mid": Price(5, 5)}


ROUTED: dict[str, tuple[dict[str, Any], str]] = {
    "the cheapest of all": ({}, "cheap"),
    "the cheapest of those named": ({"models": ["up/dear", "up/mid"]}, "mid"),
    "the only one": ({"models": ["up/dear"]}, "dear"),
    "one is excluded": ({"exclude_models": ["up/cheap"]}, "mid"),
    "not by exclusion, if named": ({"model": "up/cheap", "exclude_models": ["up/cheap"]}, "cheap"),
    "not by the router, if named": ({"model": "up/dear", "models": ["up/cheap"]}, "dear"),
}


@pytest.mark.parametrize("case", ROUTED)
async def test_router(reach: Reach, up: Upstream, case: str) -> None:
    """Reference 003:79-89: the router chooses only where nothing names a model; the row says why."""
    params, expected = ROUTED[case]
    settings = Settings(models=tuple(Model(name=name) for name in PRICES))
    gateway = gateway_of(up, prices=PRICES, settings=settings)
    answered = await reach(reach.http(gateway).post, CHAT, json={"messages": HELLO, **params})

    assert answered.status_code == 200
    assert [sent.fields["model"] for sent in sent_to(up)] == [expected]
    assert rows(gateway)[0]["why"]


async def test_router_without_candidates(reach: Reach, up: Upstream) -> None:
    """What excludes every provider is 400, with what was left out."""
    settings = Settings(models=(Model(name="up/a"),))
    body = {"messages": HELLO, "exclude_providers": ["up"]}
    answered = await reach(reach.http(gateway_of(up, settings=settings)).post, CHAT, json=body)

    assert (answered.status_code, answered.json()["error"]["param"]) == (400, "models")
    assert up.received == []


async def test_weights(reach: Reach, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are spread as the weights say (reference 003:49), within what chance allows, four standard deviations."""
    random.seed(7)
    client = reach.client(LocalGateway([Echo()], store=WatchedStore()))
    group = {"group_id": "g", "models": [{"model": "a", "weight": 3}, {"model": "b", "weight": 1}]}
    body = {"messages": HELLO, "load_balance_group": group}
    found = Counter[str]()
    for _ in range(200):
        answered = await reach(client.post, CHAT, cast_to=dict[str, Any], body=body)
        found[answered["model"]] += 1

    assert found.keys() == {"echo/a", "echo/b"}
    assert abs(found["echo/a"] - 150) < 4 * (200 * 0.75 * 0.25) ** 0.5


BALANCED: dict[str, tuple[dict[str, Any], str]] = {
    "a saved group": ({"load_balance_group": {"group_id": "g"}}, "saved"),
    "the model wins over a group": ({"model": "m", "load_balance_group": {"group_id": "g"}}, "m"),
    "inline models win over the model": (
        {"model": "m", "load_balance_models": [{"model": "x", "weight": 1}]},
        "x",
    ),
    "in the deprecated spelling": ({"model": "m", "loadbalance_models": [{"model": "x", "weight": 1}]}, "x"),
}


@pytest.mark.parametrize("case", BALANCED)
async def test_load_balance(reach: Reach, up: Upstream, case: str) -> None:
    """Contract.md, section 3: loadbalance_models overrides the model, and the model the group."""
    params, expected = BALANCED[case]
    settings = Settings(groups={"g": ({"model": "saved", "weight": 1},)})
    http = reach.http(gateway_of(up, settings=settings))
    answered = await reach(http.post, CHAT, json={"messages": HELLO, **params})

    assert answered.status_code == 200
    assert [sent.fields["model"] for sent in sent_to(up)] == [expected]


async def test_azure_names(reach: Reach, up: Upstream) -> None:
    """``model_name_map`` names the deployment, at Azure only (reference 003:77-78)."""
    up.respond = lambda wfile, _raw: answer(wfile, 200, chat())
    azure = Azure(up.base_url.removesuffix("/v1"), "canary-azure", "2024-10-21")
    client = reach.client(LocalGateway([azure], store=WatchedStore()))
    await reach.chat(client, model="azure/gpt-4o", model_name_map={"azure/gpt-4o": "azure/mine"})

    (sent,) = sent_to(up)
    assert sent.path == "/openai/deployments/mine/chat/completions?api-version=2024-10-21"
    assert (sent.headers["api-key"], "authorization" in sent.headers) == ("canary-azure", False)


# -- credentials

#: From the strongest to the weakest.
CREDENTIALS: dict[str, Any] = {
    "credential_override by model": {"credential_override": {"m": {"api_key": "canary-1"}}},
    "credential_override by provider": {"credential_override": {"up": {"api_key": "canary-2"}}},
    "customer_credentials": {"customer_credentials": {"up": {"api_key": "canary-3"}}},
    "customer_api_keys": {"customer_api_keys": {"m": "canary-4"}},
    "stored": {},
}


@pytest.mark.parametrize("strongest", range(len(CREDENTIALS)), ids=CREDENTIALS)
async def test_credential_precedence(reach: Reach, client: Any, up: Upstream, strongest: int) -> None:
    """The strongest of those given reaches the provider, and no other (contract.md, section 3)."""
    params: dict[str, Any] = {}
    for given in list(CREDENTIALS.values())[strongest:]:
        for name, value in given.items():
            params[name] = value | params.get(name, {})
    if strongest == 0:
        params["credential_override"] |= CREDENTIALS["credential_override by provider"]["credential_override"]
    await reach.chat(client, **params)

    expected = PROVIDER_KEY if strongest == 4 else f"canary-{strongest + 1}"
    (raw,) = up.received
    assert sent_to(up)[0].headers["authorization"] == f"Bearer {expected}"
    assert raw.count(b"canary-") == 1


async def test_credential_of_a_fallback(reach: Reach, up: Upstream, up2: Upstream) -> None:
    """Each model is asked with its own credential; the stored ones stay with their providers."""
    up.respond = refusing(500)
    client = reach.client(gateway_of(up, up2))
    await reach.chat(
        client, fallback_models=["up2/n"], credential_override={"up2/n": {"api_key": "canary-own"}}
    )

    assert sent_to(up)[0].headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert sent_to(up2)[0].headers["authorization"] == "Bearer canary-own"


async def test_address_in_a_request(reach: Reach, client: Any, up: Upstream, up2: Upstream) -> None:
    """A request may not say where to send, unless the code allows that origin: else it could reach into the network."""
    override = {"m": {"api_key": "canary-own", "api_base": up2.base_url}}
    with pytest.raises(openai.BadRequestError) as caught:
        await reach.chat(client, credential_override=override)

    assert caught.value.param == "credential_override.m.api_base"
    assert "canary" not in str(caught.value)
    assert (up.received, up2.received) == ([], [])


async def test_address_that_is_allowed(reach: Reach, up: Upstream, up2: Upstream) -> None:
    """It gets the credential that came with it, never the stored one."""
    settings = Settings(api_bases=frozenset({up2.base_url}))
    client = reach.client(gateway_of(up, settings=settings))
    await reach.chat(client, credential_override={"m": {"api_key": "canary-own", "api_base": up2.base_url}})

    assert up.received == []
    assert sent_to(up2)[0].headers["authorization"] == "Bearer canary-own"
    assert PROVIDER_KEY.encode() not in up2.received[0]


FAILING = {
    "answered": behaving({}),
    "refused": refusing(401, "invalid_api_key"),
    "broken": refusing(500),
    "gone": hang_up,
    "nonsense": lambda wfile, _raw: wfile.write(b"nonsense\r\n\r\n"),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("how", FAILING)
async def test_no_key_comes_back(
    reach: Reach,
    gateway: LocalGateway,
    up: Upstream,
    caplog: pytest.LogCaptureFixture,
    how: str,
    *,
    stream: bool,
) -> None:
    """Whatever becomes of a call, no key of anyone is in the answer, the log row, Python's logs or a repr."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.DEBUG, "respan_openai")
    up.respond = FAILING[how]
    params = {
        "credential_override": {"n": {"api_key": "canary-override"}},
        "customer_credentials": {"other": {"api_key": "canary-customer"}},
        "customer_api_keys": {"k": "canary-model-key"},
        "load_balance_group": {
            "group_id": "g",
            "models": [{"model": "b", "weight": 1, "credentials": {"up": {"api_key": "canary-member"}}}],
        },
        "fallback_models": ["n"],
        "request_breakdown": True,
    }
    http = reach.http(gateway)
    answered = await reach(
        http.post, CHAT, json={"model": "m", "messages": HELLO, "stream": stream, **params}
    )

    assert answered.is_success is (how == "answered")
    shown = (
        repr(answered.headers.raw) + answered.text + json.dumps(rows(gateway)) + caplog.text + repr(gateway)
    )
    assert "canary-" not in shown
    assert PROVIDER_KEY in b"".join(up.received).decode()


# -- fallback and retry

BODY_400 = {"error": {"message": "no", "type": "invalid_request_error", "param": None, "code": "bad"}}

FAILURES = {
    "500": refusing(500),
    "503": refusing(503),
    "401": refusing(401, "invalid_api_key"),
    "out of quota": refusing(429, "insufficient_quota"),
    "too many requests": refusing(429, "rate_limit_exceeded"),
    "unknown model": refusing(404, "model_not_found"),
    "too long": refusing(400, "context_length_exceeded"),
    "gone": hang_up,
    "nonsense": lambda wfile, _raw: wfile.write(b"nonsense\r\n\r\n"),
}


NO_ANSWERS = {
    "a page": lambda wfile, _raw: answer(wfile, 200, b"<html>", "Content-Type: text/html"),
    "nothing": lambda wfile, _raw: answer(wfile, 200, b""),
    "half an object": lambda wfile, _raw: answer(wfile, 200, b'{"choices": ['),
    "a redirect": lambda wfile, _raw: answer(wfile, 302, b"", "Location: /elsewhere"),
}


@pytest.mark.parametrize("what", NO_ANSWERS)
async def test_what_is_no_answer(
    reach: Reach, client: Any, gateway: LocalGateway, up: Upstream, what: str
) -> None:
    """A 200 that holds no answer, or a redirect, is 502 in the gateway's words."""
    up.respond = NO_ANSWERS[what]
    with pytest.raises(openai.InternalServerError) as caught:
        await reach.chat(client)

    assert (caught.value.status_code, list(caught.value.body)) == (502, ["detail"])
    assert [row["status"] for row in rows(gateway)] == [502]


@pytest.mark.parametrize("stream", [False, True])
async def test_error_in_a_success(reach: Reach, up: Upstream, up2: Upstream, *, stream: bool) -> None:
    """An error under HTTP 200, as OpenRouter sends it (reference 004), is the failure that it is."""
    error = {"error": {"message": "down", "code": 502}}
    up.respond = lambda wfile, _raw: answer(wfile, 200, error)
    client = reach.client(gateway_of(up, up2))
    answered = await reach.chat(client, fallback_models=["up2/n"], stream=stream)

    assert (text_of(await reach.items(answered)) if stream else answered.choices[0].message.content) == "hi"
    with pytest.raises(openai.InternalServerError, match="down"):
        await reach.chat(client, stream=stream)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("failure", FAILURES)
async def test_fallback(reach: Reach, up: Upstream, up2: Upstream, failure: str, *, stream: bool) -> None:
    """``fallback_models`` answer when the first one fails (reference 003:51-53), streamed or not."""
    up.respond = FAILURES[failure]
    gateway = gateway_of(up, up2)
    client = reach.client(gateway)
    params: dict[str, Any] = {"fallback_models": ["up2/n"], "stream": stream}
    answered = await reach.chat(client, **params)
    text = text_of(await reach.items(answered)) if stream else answered.choices[0].message.content

    assert text == "hi"
    assert [sent.fields["model"] for sent in sent_to(up2)] == ["n"]
    (row,) = rows(gateway)
    assert (row["status"], row["provider"], row["model"]) == (200, "up2", "m")
    assert [(tried["provider"], tried["model"]) for tried in row["attempts"]] == [("up", "m"), ("up2", "n")]
    assert [tried["why"] for tried in row["attempts"]] == ["asked for", "fallback 1"]


async def test_fallback_on_the_same_provider(reach: Reach, client: Any, up: Upstream) -> None:
    """A model that its provider does not have is replaced by another of that provider."""
    up.respond = behaving({"m": refusing(404, "model_not_found")})
    await reach.chat(client, fallback_models=["n"])

    assert [sent.fields["model"] for sent in sent_to(up)] == ["m", "n"]


ENDPOINTS: dict[str, Any] = {
    "embeddings": lambda client, **own: client.embeddings.create(model="m", input="x", **own),
    "speech": lambda client, **own: client.audio.speech.create(model="m", input="x", voice="alloy", **own),
    "transcriptions": lambda client, **own: client.audio.transcriptions.create(
        model="m", file=("a.wav", b"sound"), **own
    ),
    "responses": lambda client, **own: client.responses.create(model="m", input="x", **own),
}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_fallback_elsewhere(reach: Reach, up: Upstream, up2: Upstream, endpoint: str) -> None:
    """Every endpoint falls back, a form with the other model's name in it."""
    up.respond = refusing(503)
    gateway = gateway_of(up, up2)
    headers = {"X-Data-Respan-Params": carrier(fallback_models=["up2/n"])}
    await reach(ENDPOINTS[endpoint], reach.client(gateway), extra_headers=headers)

    (sent,) = sent_to(up2)
    assert b'name="model"\r\n\r\nn\r\n' in sent.body or sent.fields["model"] == "n"
    assert [row["status"] for row in rows(gateway)] == [200]


async def test_order_of_fallbacks(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """Ranked as they are given; ``models`` beside a ``model`` come after them (reference 003:53, 81)."""
    up.respond = behaving(dict.fromkeys(("m", "a", "b"), refusing(500)))
    await reach.chat(client, fallback_models=["a", "b"], models=["c"])

    assert [sent.fields["model"] for sent in sent_to(up)] == ["m", "a", "b", "c"]
    assert rows(gateway)[0]["answer_model"] == "m-2025"


@pytest.mark.parametrize("stream", [False, True])
async def test_mistake_of_the_caller_is_not_repeated(
    reach: Reach, up: Upstream, up2: Upstream, *, stream: bool
) -> None:
    """A request that the provider refuses would be refused by others, too: the caller gets the provider's words."""
    up.respond = lambda wfile, _raw: answer(wfile, 400, BODY_400)
    client = reach.client(gateway_of(up, up2))
    with pytest.raises(openai.BadRequestError) as caught:
        await reach.chat(client, fallback_models=["up2/n"], stream=stream)

    assert caught.value.body == BODY_400["error"]
    assert up2.received == []


SWITCHED_OFF: dict[str, tuple[dict[str, Any], Settings]] = {
    "by the request": ({"fallback_models": ["up2/n"], "disable_fallback": True}, Settings()),
    "by the settings": ({"fallback_models": ["up2/n"]}, Settings(fallback=False)),
    "default list": ({"disable_fallback": True}, Settings(fallback_models=("up2/n",))),
}


@pytest.mark.parametrize("case", SWITCHED_OFF)
async def test_no_fallback(reach: Reach, up: Upstream, up2: Upstream, case: str) -> None:
    """Switched off, the first failure is what the caller gets."""
    params, settings = SWITCHED_OFF[case]
    up.respond = refusing(500)
    with pytest.raises(openai.InternalServerError):
        await reach.chat(reach.client(gateway_of(up, up2, settings=settings)), **params)

    assert (len(up.received), up2.received) == (1, [])


async def test_default_fallbacks(reach: Reach, up: Upstream, up2: Upstream) -> None:
    """The settings' list, where the request has none of its own."""
    up.respond = refusing(500)
    settings = Settings(fallback_models=("up2/n",))
    await reach.chat(reach.client(gateway_of(up, up2, settings=settings)))

    assert [sent.fields["model"] for sent in sent_to(up2)] == ["n"]


@pytest.mark.parametrize("stream", [False, True])
async def test_retry(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream, *, stream: bool) -> None:
    """``retry_params`` repeats a model that fails (reference 003:73-74)."""
    up.respond = refusing(503, once=True)
    retry = {"retry_enabled": True, "num_retries": 1, "retry_after": 0.001}
    answered = await reach.chat(client, retry_params=retry, stream=stream)
    if stream:
        assert text_of(await reach.items(answered)) == "hi"

    assert len(up.received) == 2
    assert [tried["status"] for tried in rows(gateway)[0]["attempts"]] == [503, 200]


@pytest.mark.parametrize("retry", [None, {"retry_enabled": False, "num_retries": 3}])
async def test_no_retry(reach: Reach, client: Any, up: Upstream, retry: Any) -> None:
    """Without being asked for, nothing is repeated: the caller's own client repeats calls, too."""
    up.respond = refusing(503, once=True)
    with pytest.raises(openai.InternalServerError):
        await reach.chat(client, **({} if retry is None else {"retry_params": retry}))

    assert len(up.received) == 1


async def test_first_token_timeout(reach: Reach, up: Upstream, up2: Upstream) -> None:
    """A stream that begins and then says nothing is left for the next model, in ``first_token_timeout`` seconds."""
    over = threading.Event()

    def stalls(wfile: Any, _raw: bytes) -> None:
        stream_head = (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        event = chat_events()[0]
        wfile.write(stream_head + b"%x\r\n%s\r\n" % (len(event), event))
        over.wait(20)

    up.respond = stalls
    chunks = await reach.streamed(
        reach.client(gateway_of(up, up2)), fallback_models=["up2/n"], first_token_timeout=0.05
    )
    over.set()

    assert text_of(chunks) == "hi"
    assert (len(up.received), len(up2.received)) == (1, 1)


async def test_mock_response(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """The given text, as the model that was asked for would have said it; nobody is asked, nothing is charged."""
    completion = await reach.chat(client, mock_response="as told")
    chunks = await reach.streamed(client, mock_response="as told")
    answered = await reach(
        client.responses.create, model="m", input="x", extra_body={"mock_response": "as told"}
    )

    assert (completion.choices[0].message.content, completion.model) == ("as told", "m")
    assert text_of(chunks) == "as told"
    assert (answered.output_text, answered.model) == ("as told", "m")
    assert [(row["provider"], row["cost"]) for row in rows(gateway)] == [("mock", 0)] * 3
    assert up.received == []


async def test_mock_response_streamed_on_responses(reach: Reach, client: Any) -> None:
    """The events of a response, to its end."""
    create = client.responses.create
    events = await reach.items(
        await reach(create, model="m", input="x", stream=True, extra_body={"mock_response": "as told"})
    )

    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == "as told"


# -- cache


async def asked(reach: Reach, client: Any, path: str, *, stream: bool, **params: Any) -> Any:
    """One call of *path*: its head and its text, in one piece or streamed."""
    create = client.chat.completions if path == CHAT else client.responses
    own: dict[str, Any] = {"messages": HELLO} if path == CHAT else {"input": "hello"}
    raw = await reach(create.with_raw_response.create, model="m", stream=stream, extra_body=params, **own)
    parsed = raw.parse()
    return raw.headers, await reach.items(parsed) if stream else parsed


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_cache_hit(
    reach: Reach, gateway: LocalGateway, up: Upstream, path: str, *, stream: bool
) -> None:
    """An equal call is answered without the provider: the same answer or events; head, usage and row say so."""
    client = reach.client(gateway)
    options: dict[str, Any] = {"cache_enabled": True}
    if path == CHAT and stream:
        options["stream_options"] = {"include_usage": True}
    first, one = await asked(reach, client, path, stream=stream, **options)
    second, two = await asked(reach, client, path, stream=stream, **options)

    assert len(up.received) == 1
    assert [head["x-respan-cache"] for head in (first, second)] == ["miss", "hit"]
    last, said = (one[-1], two[-1]) if stream else (one, two)
    usages = [(getattr(found, "response", None) or found).usage for found in (last, said)]
    assert [getattr(usage, "cached", None) for usage in usages] == [None, True]
    usages[1].__pydantic_extra__.pop("cached")
    assert one == two
    kept = rows(gateway)
    assert [row["id"] for row in kept] == [head["X-Respan-Log-Id"] for head in (first, second)]
    assert [(row["cache"], row["cost"]) for row in kept] == [("miss", COST), ("hit", 0)]
    assert (
        kept[0]["output"] == kept[1]["output"] == {**kept[0]["output"], "role": "assistant", "content": "hi"}
    )


async def test_streamed_hit_byte_for_byte(reach: Reach, gateway: LocalGateway) -> None:
    """Whoever did not ask for the usage gets the same bytes again, without one."""
    http = reach.http(gateway)
    body = {"model": "m", "messages": HELLO, "stream": True, "cache_enabled": True}
    first, second = [(await reach(http.post, CHAT, json=body)).content for _ in range(2)]

    assert first == second == b"".join(chat_events("h", "i"))


async def test_cache_is_off_unless_asked_for(reach: Reach, client: Any, up: Upstream) -> None:
    """Nothing is kept for a call that does not say ``cache_enabled``, and nothing kept is served to it."""
    await reach.chat(client)
    await reach.chat(client, cache_enabled=True)
    raw = await reach.raw(client)

    assert len(up.received) == 3
    assert "x-respan-cache" not in raw.headers


async def test_cache_by_setting(reach: Reach, up: Upstream) -> None:
    """The settings switch it on for all, a request off for itself."""
    client = reach.client(gateway_of(up, settings=Settings(cache_enabled=True)))
    for params in ({}, {}, {"cache_enabled": False}):
        await reach.chat(client, **params)

    assert len(up.received) == 2


FLAWED: dict[str, Any] = {
    "cut at its limit": {"choices": [{**chat()["choices"][0], "finish_reason": "length"}]},
    "filtered": {"choices": [{**chat()["choices"][0], "finish_reason": "content_filter"}]},
    "empty": {"choices": [{**chat()["choices"][0], "message": {"role": "assistant", "content": ""}}]},
}


@pytest.mark.parametrize("flaw", FLAWED)
async def test_flawed_answers_are_not_kept(reach: Reach, client: Any, up: Upstream, flaw: str) -> None:
    """What is cut short, filtered or empty is delivered, but not served again."""
    up.respond = lambda wfile, _raw: answer(wfile, 200, chat(**FLAWED[flaw]))
    for _ in range(2):
        await reach.chat(client, cache_enabled=True)

    assert len(up.received) == 2


async def test_stream_cut_at_its_limit_is_not_kept(reach: Reach, client: Any, up: Upstream) -> None:
    """The same for streams."""
    events = [event.replace(b'"stop"', b'"length"') for event in chat_events("h", "i")]
    up.respond = lambda wfile, _raw: stream_at_once(wfile, events)
    for _ in range(2):
        await reach.streamed(client, cache_enabled=True)

    assert len(up.received) == 2


APART: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "customers": ({"customer_identifier": "a"}, {"customer_identifier": "b"}, 2),
    "a customer and nobody": ({"customer_identifier": "a"}, {}, 2),
    "customers, told to share": (
        {"customer_identifier": "a", "cache_options": {"cache_by_customer": False}},
        {"customer_identifier": "b", "cache_options": {"cache_by_customer": False}},
        1,
    ),
    "credentials": (
        {"credential_override": {"m": {"api_key": "canary-1"}}},
        {"credential_override": {"m": {"api_key": "canary-2"}}},
        2,
    ),
    "the stored credential and another": ({}, {"credential_override": {"m": {"api_key": "canary-2"}}}, 2),
    "models": ({"model": "m"}, {"model": "n"}, 2),
    "models, told to share": (
        {"model": "m", "cache_options": {"is_cached_by_model": False}},
        {"model": "n", "cache_options": {"is_cached_by_model": False}},
        1,
    ),
    "parameters": ({"temperature": 0}, {"temperature": 1}, 2),
    "what only observes": ({"custom_identifier": "a"}, {"custom_identifier": "b"}, 1),
}


@pytest.mark.parametrize("case", APART)
async def test_who_shares_a_cache(reach: Reach, client: Any, up: Upstream, case: str) -> None:
    """Nobody is served what was kept for another customer or credential, unless told so (reference 003:69, 000:42)."""
    *calls, asked_for = APART[case]
    for params in calls:
        await reach.chat(client, cache_enabled=True, **params)

    assert len(up.received) == asked_for


@pytest.mark.parametrize(("params", "seconds"), [({"cache_ttl": 60}, 60), ({}, 30 * 24 * 3600)])
async def test_cache_ttl(
    reach: Reach, client: Any, gateway: LocalGateway, up: Upstream, params: dict[str, Any], seconds: float
) -> None:
    """Seconds after which an answer is not served any more; 30 days if a request does not say (reference 000:40)."""
    asked_at = 1_000_000.0
    found = []
    for later in (0, seconds - 1, seconds + 1):
        gateway.time = lambda at=asked_at + later: at
        found.append((await reach.raw(client, cache_enabled=True, **params)).headers["x-respan-cache"])

    assert found == ["miss", "hit", "miss"]
    assert len(up.received) == 2


async def test_shorter_ttl_of_a_later_call(reach: Reach, client: Any, gateway: LocalGateway) -> None:
    """A call gets no answer that is older than it takes, however long another wanted it to be kept."""
    gateway.time = lambda: 1_000_000.0
    await reach.chat(client, cache_enabled=True)
    gateway.time = lambda: 1_000_061.0
    raw = await reach.raw(client, cache_enabled=True, cache_ttl=60)

    assert raw.headers["x-respan-cache"] == "miss"


async def test_answer_of_a_fallback(reach: Reach, client: Any, up: Upstream) -> None:
    """It is not served as the first model's once that has recovered."""
    up.respond = behaving({"m": refusing(503, once=True)})
    for _ in range(2):
        await reach.chat(client, cache_enabled=True, fallback_models=["n"])

    assert [sent.fields["model"] for sent in sent_to(up)] == ["m", "n", "m"]


class Arrivals(dict[str, Any]):
    """Calls under way, and whether there were ever so many at one time."""

    def __init__(self, expected: int) -> None:
        super().__init__()
        self._expected = expected
        self.all_there = threading.Event()

    def __setitem__(self, name: str, row: Any) -> None:
        super().__setitem__(name, row)
        if len(self) == self._expected:
            self.all_there.set()


@pytest.mark.parametrize("stream", [False, True])
async def test_single_flight(reach: Reach, gateway: LocalGateway, up: Upstream, *, stream: bool) -> None:
    """Of equal calls at one time one asks the provider, and all are answered with that."""
    gateway.running = arrivals = Arrivals(6)
    usual = behaving({})

    def respond(wfile: Any, raw: bytes) -> None:
        assert arrivals.all_there.wait(20)
        usual(wfile, raw)

    up.respond = respond
    client = reach.client(gateway)
    create = client.chat.completions.create

    def one() -> Any:
        return create(model="m", messages=HELLO, stream=stream, extra_body={"cache_enabled": True})

    async def read() -> Any:
        return [item async for item in await one()]

    if stream:
        found = await reach.at_once(6, read if reach.is_async else lambda: list(one()))
    else:
        found = await reach.at_once(6, one)

    texts = [text_of(answered) if stream else answered.choices[0].message.content for answered in found]
    assert texts == ["hi"] * 6
    assert len(up.received) == 1
    assert Counter(row["cache"] for row in rows(gateway)) == {"miss": 1, "hit": 5}


async def test_single_flight_that_fails(
    reach: Reach, client: Any, gateway: LocalGateway, up: Upstream
) -> None:
    """Those who waited in vain are answered all the same."""
    gateway.running = arrivals = Arrivals(3)
    failing = refusing(400, once=True)

    def respond(wfile: Any, raw: bytes) -> None:
        assert arrivals.all_there.wait(20)
        failing(wfile, raw)

    up.respond = respond

    def one() -> Any:
        create = client.chat.completions.with_raw_response.create
        return create(model="m", messages=HELLO, extra_body={"cache_enabled": True})

    def status() -> int:
        try:
            return one().http_response.status_code
        except openai.BadRequestError:
            return 400

    async def astatus() -> int:
        try:
            return (await one()).http_response.status_code
        except openai.BadRequestError:
            return 400

    found = await reach.at_once(3, astatus if reach.is_async else status)
    assert Counter(found) == {200: 2, 400: 1}
    assert len(up.received) == 2


async def test_hit_that_is_not_logged(reach: Reach, client: Any, gateway: LocalGateway) -> None:
    """``omit_log`` leaves hits out of the log (reference 000:42), not the first call; a hit names no row then."""
    options: dict[str, Any] = {"cache_enabled": True, "cache_options": {"omit_log": True}}
    first, second = [(await reach.raw(client, **options)).headers for _ in range(2)]

    (row,) = rows(gateway)
    assert (row["id"], row["cache"]) == (first["X-Respan-Log-Id"], "miss")
    assert second["x-respan-cache"] == "hit"
    assert "X-Respan-Log-Id" not in second
    assert second["x-respan-gateway-request-id"] != row["id"]


# -- prompts

GREETING = {
    "id": "greeting",
    "deployed": 1,
    "versions": {
        "1": {
            "model": "prompted",
            "messages": [{"role": "system", "content": "Greet {{name}}."}],
            "params": {"temperature": 0.25},
            "variables": {"name": "text"},
        },
        "2": {"messages": [{"role": "system", "content": "Hail {{name}}, {{7*7}}."}]},
    },
}
PARENT = {
    "id": "parent",
    "deployed": 1,
    "versions": {"1": {"messages": [{"role": "user", "content": "<{{part}}>"}]}},
}


@pytest.fixture(params=["registry", "store"])
def prompted(request: pytest.FixtureRequest, up: Upstream) -> LocalGateway:
    """A gateway that knows the prompts, from its registry or from its store."""
    if request.param == "registry":
        return gateway_of(up, prompts={"greeting": GREETING, "parent": PARENT})
    gateway = gateway_of(up)
    for prompt in (GREETING, PARENT):
        gateway.store.save_prompt(str(prompt["id"]), prompt)
    return gateway


async def by_prompt(reach: Reach, gateway: LocalGateway, **prompt: Any) -> Any:
    """A chat that leaves its messages to a prompt."""
    create = reach.client(gateway).chat.completions.create
    return await reach(
        create, model="", messages=[], extra_body={"prompt": {"prompt_id": "greeting", **prompt}}
    )


async def test_prompt(reach: Reach, prompted: LocalGateway, up: Upstream) -> None:
    """Messages, model and settings are the prompt's; ``echo`` shows what was sent; the row says which version it was."""
    completion = await by_prompt(reach, prompted, variables={"name": "Ada"}, echo=True)

    message = {"role": "system", "content": "Greet Ada."}
    assert sent_to(up)[0].fields == {"model": "prompted", "messages": [message], "temperature": 0.25}
    assert completion.prompt_message == [message]
    (row,) = rows(prompted)
    assert row["prompt"] == {"prompt_id": "greeting", "version": 1}


async def test_versions(reach: Reach, prompted: LocalGateway, up: Upstream) -> None:
    """The deployed one, a number, or the newest draft; nothing in a text is evaluated."""
    variables = {"name": "{{7*7}}"}
    for version in ({}, {"version": 2}, {"version": "latest"}):
        extra = {"prompt": {"prompt_id": "greeting", "variables": variables, **version}}
        await reach(reach.client(prompted).chat.completions.create, model="m", messages=[], extra_body=extra)

    drafted = "Hail {{7*7}}, {{7*7}}."
    contents = [sent.fields["messages"][0]["content"] for sent in sent_to(up)]
    assert contents == ["Greet {{7*7}}.", drafted, drafted]


async def test_composed_prompt(reach: Reach, prompted: LocalGateway, up: Upstream) -> None:
    """A variable that is itself a prompt is rendered first, and put in as text (reference 003:3)."""
    part = {"_type": "prompt", "prompt_id": "greeting", "variables": {"name": "Ada"}}
    extra = {"prompt": {"prompt_id": "parent", "variables": {"part": part}}}
    await reach(reach.client(prompted).chat.completions.create, model="m", messages=[], extra_body=extra)

    assert sent_to(up)[0].fields["messages"] == [{"role": "user", "content": "<Greet Ada.>"}]


async def test_prompt_on_responses(reach: Reach, prompted: LocalGateway, up: Upstream) -> None:
    """A prompt's messages become the instructions; the input stays (reference 003:3)."""
    extra = {
        "prompt": {
            "prompt_id": "greeting",
            "variables": {"name": "Ada"},
            "schema_version": 2,
            "patch": {"temperature": 1},
        }
    }
    await reach(reach.client(prompted).responses.create, model="m", input="hello", extra_body=extra)

    expected = {"model": "prompted", "input": "hello", "instructions": "Greet Ada.", "temperature": 1}
    assert sent_to(up)[0].fields == expected


WRONG_PROMPTS: dict[str, tuple[dict[str, Any], int]] = {
    "no such prompt": ({"prompt_id": "other"}, 404),
    "no such version": ({"version": 9}, 404),
    "a variable is missing": ({}, 400),
    "a variable of another type": ({"variables": {"name": {"_type": "json", "value": 1}}}, 400),
    "a cycle": ({"variables": {"name": {"_type": "prompt", "prompt_id": "greeting"}}}, 400),
    "a patch of messages": ({"schema_version": 2, "patch": {"messages": []}}, 400),
}


@pytest.mark.parametrize("case", WRONG_PROMPTS)
async def test_wrong_prompt(reach: Reach, up: Upstream, case: str) -> None:
    """A prompt that cannot be filled in is told before anybody is asked."""
    prompt, status = WRONG_PROMPTS[case]
    with pytest.raises(openai.APIStatusError) as caught:
        await by_prompt(reach, gateway_of(up, prompts=[StoredPrompt.from_json(GREETING)]), **prompt)

    assert caught.value.status_code == status
    assert up.received == []


@pytest.mark.parametrize("endpoint", ["embeddings", "speech", "transcriptions"])
async def test_prompt_elsewhere(reach: Reach, client: Any, up: Upstream, endpoint: str) -> None:
    """Where there are no messages a prompt is an error that names it (reference 000-003 have it on two endpoints)."""
    headers = {
        "X-Data-Respan-Params": carrier(prompt={"prompt_id": "greeting", "variables": {"name": "Ada"}})
    }
    with pytest.raises(openai.BadRequestError) as caught:
        await reach(ENDPOINTS[endpoint], client, extra_headers=headers)

    assert caught.value.param == "prompt"
    assert up.received == []


# -- customers

NOON = 1_763_726_400.0  # 2025-11-21, 12:00 UTC

#: Seconds from then until the new day, week and month.
PERIODS = {
    "daily": 12 * 3600,
    "weekly": 2.5 * 24 * 3600,
    "monthly": 9.5 * 24 * 3600,
    "yearly": 40.5 * 24 * 3600,
}


#: What is reserved for a call by the customer, and what it costs in the end: 2 tokens instead of 100. In USD.
RESERVED, SPENT = 0.1, 0.002

#: The customer's account in the store.
ACCOUNT = '["production", "u"]'


def customer(**params: Any) -> dict[str, Any]:
    """Parameters of a call by a customer, at prices that make all the difference between the two above."""
    prices = {"prompt_unit_price": 0, "completion_unit_price": 1000}
    return {"max_tokens": 100, **prices, "customer_params": {"customer_identifier": "u", **params}}


def taken(gateway: LocalGateway) -> float:
    """What counts against the customer's budget in all, in USD."""
    return gateway.store.taken(ACCOUNT, "total") / 1e9


@pytest.mark.parametrize("duration", PERIODS)
async def test_period_budget(
    reach: Reach, client: Any, gateway: LocalGateway, up: Upstream, duration: str
) -> None:
    """Beyond it, 429 with the seconds until the next period, and nothing is sent; then it is as good as new."""
    gateway.time = lambda: NOON
    await reach.chat(client, **customer(period_budget=RESERVED, budget_duration=duration))
    with pytest.raises(openai.RateLimitError, match="429") as caught:
        await reach.chat(client, **customer())

    wait = PERIODS[duration]
    assert list(caught.value.response.json().values()) == [caught.value.body["detail"], wait]
    assert "budget of 0.1 USD" in caught.value.body["detail"]
    assert caught.value.response.headers["retry-after"] == str(int(wait))
    assert len(up.received) == 1
    assert Counter(row["status"] for row in rows(gateway)) == {200: 1, 429: 1}
    gateway.time = lambda: NOON + wait
    await reach.chat(client, **customer())


async def test_total_budget(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """A budget in all is never renewed, so there is nothing to wait for."""
    gateway.time = lambda: NOON
    await reach.chat(client, **customer(total_budget=RESERVED))
    gateway.time = lambda: NOON + 400 * 24 * 3600
    with pytest.raises(openai.RateLimitError) as caught:
        await reach.chat(client, **customer())

    assert list(caught.value.response.json()) == ["detail"]
    assert len(up.received) == 1


async def test_rate_limit(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """Requests by the minute, for which no price is needed."""
    gateway.time = lambda: NOON + 59
    await reach.chat(client, **customer(rate_limit=1))
    with pytest.raises(openai.RateLimitError) as caught:
        await reach.chat(client, **customer())
    gateway.time = lambda: NOON + 60
    await reach.chat(client, **customer())

    assert caught.value.response.json()["retry_after"] == 1
    assert len(up.received) == 2


async def test_budget_of_known_customer(reach: Reach, client: Any, up: Upstream) -> None:
    """Once said, a budget holds for every call of the customer, however it is named."""
    await reach.chat(client, **customer(total_budget=RESERVED))
    with pytest.raises(openai.RateLimitError):
        await reach.chat(client, **{**customer(), "customer_params": None, "customer_identifier": "u"})
    await reach.chat(client, customer_identifier="other")

    assert len(up.received) == 2


async def test_limits_that_only_warn(reach: Reach, up: Upstream, caplog: pytest.LogCaptureFixture) -> None:
    """The settings let calls beyond a budget pass; they are counted, and Python's log tells."""
    gateway = gateway_of(up, settings=Settings(limits="warn"))
    await reach.chat(reach.client(gateway), **customer(total_budget=0.001))

    assert "total budget of 0.001 USD" in caplog.text
    assert taken(gateway) == SPENT


@pytest.mark.parametrize("stream", [False, True])
async def test_actual_cost_is_settled(
    reach: Reach, client: Any, gateway: LocalGateway, *, stream: bool
) -> None:
    """What was reserved is given back but for the actual cost, with the customer's markup on top."""
    params = customer(total_budget=1, markup_percentage=50)
    answered = await reach.chat(client, stream=stream, **params)
    if stream:
        await reach.items(answered)

    assert taken(gateway) == 0.003
    (row,) = rows(gateway)
    assert (row["cost"], row["customer_cost"]) == (SPENT, 0.003)


@pytest.mark.parametrize("status", [400, 401, 500])
async def test_failed_call_is_refunded(
    reach: Reach, client: Any, gateway: LocalGateway, up: Upstream, status: int
) -> None:
    """A provider that refuses has not worked, and costs nothing."""
    up.respond = refusing(status)
    with pytest.raises(openai.APIStatusError):
        await reach.chat(client, **customer(total_budget=1))

    assert taken(gateway) == 0


async def test_broken_call_keeps_its_estimate(
    reach: Reach, client: Any, gateway: LocalGateway, up: Upstream
) -> None:
    """A provider that hangs up may have worked, and nobody knows how much: the estimate stays taken."""
    up.respond = hang_up
    with pytest.raises(openai.InternalServerError):
        await reach.chat(client, **customer(total_budget=1))

    assert taken(gateway) == RESERVED


async def test_hit_costs_the_customer_nothing(reach: Reach, client: Any, gateway: LocalGateway) -> None:
    """An answer from the cache is not charged, and refused to nobody."""
    for _ in range(3):
        await reach.chat(client, cache_enabled=True, **customer(total_budget=RESERVED))

    assert taken(gateway) == SPENT


async def test_budget_without_a_price(reach: Reach, up: Upstream) -> None:
    """A budget that cannot be counted is refused rather than let through; the request may say the prices itself."""
    client = reach.client(gateway_of(up))
    params = {"customer_identifier": "u", "total_budget": 1}
    with pytest.raises(openai.RateLimitError) as caught:
        await reach.chat(client, customer_params=params)
    await reach.chat(client, **customer())

    assert "price" in caught.value.body["detail"]
    assert len(up.received) == 1


async def test_budget_of_many_at_once(reach: Reach, up: Upstream) -> None:
    """Of calls under way at one time as many are let through as the budget pays for if each takes its most."""
    store = WatchedStore()
    gateway, refused, usual = gateway_of(up, store=store), store.rows_written(5), behaving({})

    def respond(wfile: Any, raw: bytes) -> None:
        assert refused.wait(20)
        usual(wfile, raw)

    up.respond = respond
    create = reach.client(gateway).chat.completions.create
    params = customer(total_budget=3 * RESERVED)
    limit = params.pop("max_tokens")

    def one() -> Any:
        with suppress(openai.RateLimitError):
            return create(model="m", messages=HELLO, max_tokens=limit, extra_body=params)

    async def aone() -> Any:
        with suppress(openai.RateLimitError):
            return await create(model="m", messages=HELLO, max_tokens=limit, extra_body=params)

    found = await reach.at_once(8, aone if reach.is_async else one)
    assert len([answered for answered in found if answered]) == len(up.received) == 3
    assert taken(gateway) == 3 * SPENT


# -- metering


@pytest.mark.parametrize("counts", [False, True])
async def test_stream_byte_for_byte(
    reach: Reach, gateway: LocalGateway, up: Upstream, *, counts: bool
) -> None:
    """The usage is asked for, counted, and hidden from callers who did not ask; else not a byte changes."""
    body = {"model": "m", "messages": HELLO, "stream": True}
    if counts:
        body["stream_options"] = {"include_usage": True}
    answered = await reach(reach.http(gateway).post, CHAT, json=body)

    assert answered.content == b"".join(chat_events("h", "i", counts=counts))
    assert sent_to(up)[0].fields["stream_options"] == {"include_usage": True}
    (row,) = rows(gateway)
    assert (row["tokens"]["prompt"], row["tokens"]["completion"], row["cost"]) == (10, 2, COST)


async def test_responses_stream_byte_for_byte(reach: Reach, gateway: LocalGateway) -> None:
    """The same on Responses, whose last event tells the usage in any case: there the counters are added."""
    body = {"model": "m", "input": "hello", "stream": True}
    answered = await reach(reach.http(gateway).post, RESPONSES, json=body)

    *events, last = response_events("h", "i")
    assert answered.content.startswith(b"".join(events))
    said, told = (
        json.loads(event.partition(b"data: ")[2])
        for event in (answered.content[len(b"".join(events)) :], last)
    )
    assert said["response"]["usage"].pop("cache_read_input_tokens") == 0
    assert said == told
    assert rows(gateway)[0]["cost"] == COST


SUMMARY = {
    "prompt_tokens", "completion_tokens", "cost", "prompt_messages", "completion_message", "model", "timestamp", "cached",
    "status_code", "stream", "latency", "scores", "category", "metadata", "routing_time", "full_request", "sentiment_score",
}  # fmt: skip


async def test_request_breakdown(reach: Reach, client: Any) -> None:
    """A summary at the top level of the answer (reference 003:3)."""
    completion = await reach.chat(client, request_breakdown=True, metadata={"run": 7})
    found = completion.request_breakdown

    assert found.keys() == SUMMARY
    assert (found["prompt_tokens"], found["completion_tokens"], found["cost"]) == (10, 2, COST)
    assert (found["stream"], found["cached"], found["metadata"]) == (False, False, {"run": "7"})
    assert found["full_request"] == {"model": "m", "messages": HELLO}


async def test_request_breakdown_streamed(reach: Reach, client: Any) -> None:
    """One more chunk with the summary, which nobody takes for the answer's."""
    *chunks, last = await reach.streamed(client, request_breakdown=True)

    assert text_of(chunks) == "hi"
    assert (last.id, last.model) == ("request_breakdown", "extra_parameter")
    found = last.choices[0].request_breakdown
    assert found.keys() == SUMMARY
    assert (found["cost"], found["stream"], found["completion_message"]["content"]) == (COST, True, "hi")


async def test_accumulated_usage_stays_right(reach: Reach, client: Any) -> None:
    """The SDK's own ``.stream()`` comes to the real usage and text beside the summary."""
    # Older versions have it under ``beta`` alone.
    found = getattr(client.chat.completions, "stream", None) or client.beta.chat.completions.stream
    manager = found(
        model="m",
        messages=HELLO,
        stream_options={"include_usage": True},
        extra_body={"request_breakdown": True},
    )
    if reach.is_async:
        async with manager as stream:
            final = await stream.get_final_completion()
    else:
        with manager as stream:
            final = stream.get_final_completion()

    assert (final.usage.total_tokens, final.choices[0].message.content) == (12, "hi")
    assert (final.choices[0].message.role, final.choices[0].finish_reason) == ("assistant", "stop")


async def test_breakdown_of_a_hit(reach: Reach, client: Any) -> None:
    """It is made anew for each call, and never kept: a hit is cached and free."""
    params = {"cache_enabled": True, "request_breakdown": True}
    first, second = [(await reach.chat(client, **params)).request_breakdown for _ in range(2)]
    streamed = [(await reach.streamed(client, **params))[-1].choices[0].request_breakdown for _ in range(2)]

    for one, two in ((first, second), streamed):
        assert [(found["cached"], found["cost"]) for found in (one, two)] == [(False, COST), (True, 0)]


async def test_cache_counters(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """Tokens that the provider had cached are told under Respan's names, too (contract.md, section 4)."""
    usage = {**USAGE, "prompt_tokens_details": {"cached_tokens": 4}}
    up.respond = lambda wfile, _raw: answer(wfile, 200, chat(usage=usage))
    completion = await reach.chat(client)

    assert completion.usage.cache_read_input_tokens == 4
    assert completion.usage.prompt_tokens_details.cached_tokens == 4
    assert rows(gateway)[0]["tokens"]["cached"] == 4


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("params", [{}, {"cache_enabled": True}, {"mock_response": "hi"}], ids=str)
async def test_cache_counters_of_every_answer(
    reach: Reach, client: Any, params: dict[str, Any], *, stream: bool
) -> None:
    """Of a stream, a hit and a made-up answer as well."""
    for _ in range(2):
        _, said = await asked(reach, client, RESPONSES, stream=stream, **params)
        usage = (said[-1].response if stream else said).usage

        assert usage.input_tokens_details.cached_tokens == usage.cache_read_input_tokens == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_tokens_by_kind_of_a_hit(
    reach: Reach, gateway: LocalGateway, up: Upstream, *, stream: bool
) -> None:
    """They are for the caller whose flag asks for them, whoever asked when the answer was kept."""
    found: list[bool] = []
    flag = {"X-Respan-Beta": "token-breakdown-2026-03-26"}
    for headers in (flag, {}, flag):
        flagged = reach.client(gateway, default_headers=headers)
        _, said = await asked(reach, flagged, RESPONSES, stream=stream, cache_enabled=True)
        usage = (said[-1].response if stream else said).usage
        found.append(getattr(usage, "token_breakdown", None) is not None)

    assert found == [True, False, True]
    assert len(up.received) == 1


async def test_unknown_price(reach: Reach, up: Upstream) -> None:
    """What nobody knows is null, and never 0."""
    gateway = gateway_of(up)
    completion = await reach.chat(reach.client(gateway), request_breakdown=True)

    assert completion.request_breakdown["cost"] is None
    assert rows(gateway)[0]["cost"] is None


async def test_provider_without_usage(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """The same for tokens that the provider did not count."""
    up.respond = lambda wfile, _raw: answer(
        wfile, 200, {name: value for name, value in chat().items() if name != "usage"}
    )
    await reach.chat(client)

    assert (rows(gateway)[0]["tokens"], rows(gateway)[0]["cost"]) == (None, None)


# -- log


async def test_row(reach: Reach, client: Any, gateway: LocalGateway) -> None:
    """Everything that is known about a call is in its row, and nothing is under way any more."""
    gateway.time = lambda: NOON
    raw = await reach.raw(
        client,
        customer_identifier="u",
        custom_identifier="c",
        thread_identifier="t",
        trace_unique_id="trace",
        metadata={"run": 7, "deep": {"a": [1]}, "text": "x"},
        properties={"n": 1.5, "ok": True},
        positive_feedback=True,
    )

    (row,) = rows(gateway)
    expected = {
        "id": raw.headers["X-Respan-Log-Id"],
        "at": NOON,
        "environment": "production",
        "path": CHAT,
        "status": 200,
        "model": "m",
        "answer_model": "m-2025",
        "provider": "up",
        "customer_identifier": "u",
        "custom_identifier": "c",
        "thread_identifier": "t",
        "trace_unique_id": "trace",
        "metadata": {"run": "7", "deep": '{"a": [1]}', "text": "x"},
        "properties": {"n": 1.5, "ok": True},
        "positive_feedback": True,
        "stream": False,
        "cost": COST,
        "input": {"model": "m", "messages": HELLO},
        "output": {"role": "assistant", "content": "hi"},
    }
    assert {name: row.get(name) for name in expected} == expected
    assert row["latency"] >= 0
    assert [(tried["provider"], tried["status"], tried["meaning"]) for tried in row["attempts"]] == [
        ("up", 200, None)
    ]
    assert gateway.running == {}


async def test_row_of_a_stream(reach: Reach, client: Any, gateway: LocalGateway) -> None:
    """The same, with the message that the stream amounts to, and the time to its first token."""
    await reach.streamed(client)

    (row,) = rows(gateway)
    assert (row["stream"], row["status"], row["answer_model"]) == (True, 200, "m-2025")
    assert row["output"] == {"role": "assistant", "content": "hi"}
    assert row["latency"] >= row["first_token"] >= 0
    assert row.get("error") is None


@pytest.mark.parametrize("stream", [False, True])
async def test_disable_log(reach: Reach, client: Any, gateway: LocalGateway, *, stream: bool) -> None:
    """Inputs and outputs are left out, the metrics stay (reference 000:51)."""
    params = {"disable_log": True, "variables": {"a": "secret"}}
    answered = await reach.chat(client, "secret", stream=stream, **params)
    if stream:
        await reach.items(answered)

    (row,) = rows(gateway)
    assert {"input", "output", "variables"}.isdisjoint(row)
    assert "secret" not in json.dumps(row)
    assert (row["tokens"]["prompt"], row["cost"]) == (10, COST)


async def test_disable_log_of_a_prompt(reach: Reach, prompted: LocalGateway) -> None:
    """What a stored prompt was filled with is an input, too."""
    extra = {"prompt": {"prompt_id": "greeting", "variables": {"name": "secret"}}, "disable_log": True}
    await reach(reach.client(prompted).chat.completions.create, model="m", messages=[], extra_body=extra)

    (row,) = rows(prompted)
    assert "secret" not in json.dumps(row)


@pytest.mark.parametrize("params", [{}, {"stream": True}, {"mock_response": "hi"}], ids=str)
async def test_log_omitted(reach: Reach, client: Any, gateway: LocalGateway, params: dict[str, Any]) -> None:
    """``is_log_omitted`` leaves out the whole row (params.yaml), and the header that would name it."""
    raw = await reach.raw(client, is_log_omitted=True, **params)
    if "stream" in params:
        await reach.items(raw.parse())

    assert rows(gateway) == []
    assert "X-Respan-Log-Id" not in raw.headers
    assert raw.headers["x-respan-gateway-request-id"]


async def test_log_of_a_refusal_omitted(reach: Reach, client: Any, gateway: LocalGateway) -> None:
    """A refusal leaves no row either; one that could not be read does, for it said nothing."""
    with pytest.raises(openai.BadRequestError) as refused:
        await reach.raw(client, is_log_omitted=True, route_provider_override="nobody")
    assert "X-Respan-Log-Id" not in refused.value.response.headers
    with pytest.raises(openai.BadRequestError) as unread:
        await reach.raw(client, is_log_omitted="perhaps")

    assert [row["id"] for row in rows(gateway)] == [unread.value.response.headers["X-Respan-Log-Id"]]


async def test_long_identifier_is_cut(reach: Reach, client: Any, gateway: LocalGateway) -> None:
    """At 254 characters (reference 003:95-97), with a warning where the gateway runs."""
    with pytest.warns(RespanWarning, match="254"):
        await reach.chat(client, customer_identifier="u" * 300)

    assert rows(gateway)[0]["customer_identifier"] == "u" * 254


async def test_failed_call_in_the_log(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """The provider's own status, what it was taken for, and each attempt."""
    up.respond = refusing(503)
    with pytest.raises(openai.InternalServerError) as caught:
        await reach.chat(client)

    (row,) = rows(gateway)
    assert (row["id"], row["status"]) == (caught.value.response.headers["X-Respan-Log-Id"], 503)
    assert row["error"]
    assert [tried["status"] for tried in row["attempts"]] == [503]


# -- streams that end early


@pytest.mark.parametrize("path", [CHAT, RESPONSES])
async def test_stream_that_breaks_off(reach: Reach, gateway: LocalGateway, up: Upstream, path: str) -> None:
    """The caller sees an error, the row says so, nothing of it is served again, and the estimate stays taken."""
    events = chat_events("h")[:2] if path == CHAT else response_events("h")[:2]
    up.respond = lambda wfile, _raw: stream_at_once(wfile, events, ends=False)
    client = reach.client(gateway)
    params = {"cache_enabled": True, **customer(total_budget=9)}
    del params["max_tokens"]
    for _ in range(2):
        with pytest.raises((openai.APIError, reach.transport_error)):
            await asked(reach, client, path, stream=True, **params)

    assert len(up.received) == 2
    for row in rows(gateway):
        assert row["error"]
    assert taken(gateway) == 2 * 4.096
    assert gateway.running == {}


async def test_stream_without_its_end(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """A stream that stops before its end without breaking is not served again either, and the row says so."""
    up.respond = lambda wfile, _raw: stream_at_once(wfile, chat_events("h")[:2])
    for _ in range(2):
        with suppress(openai.APIError, reach.transport_error):
            await reach.streamed(client, cache_enabled=True)

    assert len(up.received) == 2
    assert all(row["error"] for row in rows(gateway))


async def test_error_inside_a_stream(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """An error event after the first words reaches the caller as the provider said it, and is not kept."""
    error = b'data: {"error": {"message": "overloaded", "type": "server_error", "code": null}}\n\n'
    up.respond = lambda wfile, _raw: stream_at_once(wfile, [*chat_events("h")[:2], error])
    for _ in range(2):
        with pytest.raises(openai.APIError, match="overloaded"):
            await reach.streamed(client, cache_enabled=True)

    assert len(up.received) == 2
    assert all(row["error"] for row in rows(gateway))


async def test_caller_who_leaves(reach: Reach, gateway: LocalGateway, up: Upstream) -> None:
    """The connection to the provider is closed, so that it stops working, and the row is written."""
    stopped = threading.Event()

    def endless(wfile: Any, _raw: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        event = chat_events("x" * 10_000)[1]
        try:
            wfile.write(head)
            while True:
                wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        except OSError:
            stopped.set()
            raise

    up.respond = endless
    stream = await reach.chat(reach.client(gateway), stream=True, **customer(total_budget=9))
    await reach.first(stream)
    await reach(stream.close)
    store: Any = gateway.store
    row = await store.next_row()

    assert stopped.wait(20)
    assert (row["status"], row["provider"]) == (200, "up")
    assert row["error"]
    assert taken(gateway) == RESERVED
    assert gateway.running == {}


async def test_caller_without_patience(reach: Reach, gateway: LocalGateway, up: Upstream) -> None:
    """Who hangs up before the answer has a row all the same, pays the estimate, and holds nobody up."""
    over = threading.Event()
    up.respond = lambda _wfile, _raw: over.wait(20)
    client = reach.client(gateway)
    with pytest.raises((openai.APITimeoutError, openai.InternalServerError)):
        await reach.chat(client.with_options(timeout=0.2), cache_enabled=True, **customer(total_budget=9))
    store: Any = gateway.store
    row = await store.next_row()
    over.set()
    up.respond = behaving({})

    assert row["error"]
    assert gateway.running == {}
    assert taken(gateway) == RESERVED
    raw = await reach.raw(client, cache_enabled=True, **customer())
    assert raw.headers["x-respan-cache"] == "miss"


async def test_comments_in_a_stream(reach: Reach, gateway: LocalGateway, up: Upstream) -> None:
    """Comments that keep a connection alive pass as they are, also out of the cache (reference 004)."""
    events = [
        b": OPENROUTER PROCESSING\n\n",
        *chat_events("h")[:2],
        b": still here\n\n",
        *chat_events("i")[1:],
    ]
    up.respond = lambda wfile, _raw: stream_at_once(wfile, events)
    http = reach.http(gateway)
    body = {"model": "m", "messages": HELLO, "stream": True, "cache_enabled": True}
    for _ in range(2):
        answered = await reach(http.post, CHAT, json=body)
        assert answered.content == b"".join(events)

    assert len(up.received) == 1


async def test_first_words_do_not_wait(reach: Reach, client: Any, up: Upstream) -> None:
    """The provider goes on only when the caller has its first words."""
    arrived = threading.Event()
    first, *others = chat_events("h", "i")[1:]

    def respond(wfile: Any, _raw: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        wfile.write(head + b"%x\r\n%s\r\n" % (len(first), first))
        assert arrived.wait(20)
        wfile.write(b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in others) + b"0\r\n\r\n")

    up.respond = respond
    texts = []
    stream = await reach.chat(client, stream=True)
    async for chunk in reach.each(stream):
        texts.append(chunk.choices[0].delta.content)
        arrived.set()

    assert texts == ["h", "i", None]


# -- through this library's own client


async def test_wrapped_client(reach: Reach, gateway: LocalGateway, up: Upstream) -> None:
    """``wrap(client, gateway=LocalGateway(...))``: the record shows the hit, the row and the usage."""
    client = reach.keep(wrap(reach.plain(), gateway=reach.target(gateway)))
    await reach.chat(client, cache_enabled=True)
    first = last_call()
    completion = await reach.chat(client, cache_enabled=True)
    second = record_of(completion)

    assert first is not None
    assert second is not None
    assert (first.cache_hit, second.cache_hit) == (False, True)
    assert [first.log_id, second.log_id] == [row["id"] for row in rows(gateway)]
    assert first.usage == USAGE
    assert (first.target, first.answer_model, len(up.received)) == (
        "local" if not reach.is_served else "respan",
        "m-2025",
        1,
    )
    assert b"canary-client" not in up.received[0]


async def test_wrapped_stream(reach: Reach, gateway: LocalGateway) -> None:
    """The same for streams, once they have been read."""
    client = reach.keep(wrap(reach.plain(), gateway=reach.target(gateway)))
    records = []
    for _ in range(2):
        await reach.streamed(client, cache_enabled=True, stream_options={"include_usage": True})
        records.append(last_call())

    assert [record and record.cache_hit for record in records] == [False, True]
    assert [record and record.complete for record in records] == [True, True]
    assert [record and record.log_id for record in records] == [row["id"] for row in rows(gateway)]
    assert records[0] is not None
    assert records[0].usage == USAGE


async def test_transport(reach: Reach, gateway: LocalGateway) -> None:
    """The same through an HTTP client that was handed in."""
    client = reach.through(reach.target(gateway))
    first, second = [record_of(await reach.raw(client, cache_enabled=True)) for _ in range(2)]

    assert first is not None
    assert second is not None
    assert (first.cache_hit, second.cache_hit, first.usage) == (False, True, USAGE)
    assert [first.log_id, second.log_id] == [row["id"] for row in rows(gateway)]
