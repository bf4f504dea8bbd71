"""Targets: addresses, keys, headers, Azure, forwarded credentials."""

from __future__ import annotations

import copy
import json
import pickle

import openai
import pytest

from respan_openai import ConfigError, Gateway, OpenRouter, Provider, RespanWarning, wrap


# --- the gateway's address and key -----------------------------------------


@pytest.mark.parametrize(
    ("given", "base"),
    [
        (None, "https://api.respan.ai/api"),
        ("https://api.respan.ai/api", "https://api.respan.ai/api"),
        ("https://api.respan.ai/api/", "https://api.respan.ai/api"),
        ("https://api.respan.ai", "https://api.respan.ai/api"),
        ("https://api.respan.ai/", "https://api.respan.ai/api"),
        ("http://localhost:8000", "http://localhost:8000/api"),
        ("https://proxy.example/respan/v2/", "https://proxy.example/respan/v2"),
    ],
)
def test_forms_of_the_base_url(given, base) -> None:
    """With or without a slash; a bare origin gets /api; any other path is kept."""
    assert Gateway(base_url=given).base_url == base


@pytest.mark.parametrize("variable", ["RESPAN_BASE_URL", "KEYWORDSAI_BASE_URL"])
def test_the_base_url_from_the_environment(monkeypatch, variable) -> None:
    """The legacy variable works too, and an argument wins over both."""
    monkeypatch.setenv(variable, "https://env.example")

    assert Gateway().base_url == "https://env.example/api"
    assert Gateway(base_url="https://arg.example").base_url == "https://arg.example/api"


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("api.respan.ai", "absolute"),
        ("ftp://api.respan.ai", "absolute"),
        ("https://", "absolute"),
        ("https://user:canary@api.respan.ai", "user name"),
        ("https://api.respan.ai/api?x=1", "query"),
        ("https://api.respan.ai/api#x", "fragment"),
        ("https://api.respan.ai/../api", r"\.\."),
        ("https://api.respan.ai:0", "port 0"),
        ("https://api.respan.ai:99999", "port"),
        ("https://\u0430pi.respan.ai", "non-ASCII"),
        ("https://api.respan.ai/a b", "white space"),
        (7, "int"),
    ],
)
def test_addresses_that_are_refused(url, match) -> None:
    """At construction, naming what is wrong with them and never a password in them."""
    with pytest.raises(ConfigError, match=match) as caught:
        Gateway(base_url=url)

    assert "canary" not in str(caught.value)


def test_a_bad_address_in_the_environment_names_the_variable(monkeypatch) -> None:
    """The message says where the address came from."""
    monkeypatch.setenv("RESPAN_BASE_URL", "api.respan.ai")

    with pytest.raises(ConfigError, match="RESPAN_BASE_URL"):
        Gateway()


@pytest.mark.parametrize("variable", ["RESPAN_API_KEY", "KEYWORDSAI_API_KEY"])
def test_the_key_from_the_environment(monkeypatch, variable) -> None:
    """The legacy variable works too."""
    monkeypatch.delenv("RESPAN_API_KEY")
    monkeypatch.setenv(variable, "rk-env")

    assert Gateway().holds("rk-env")


@pytest.mark.parametrize("key", ["rk-canary\n", " rk-canary", "rk-c\u00e4nary", "rk\tcanary", ""])
@pytest.mark.parametrize("source", ["argument", "variable"])
def test_keys_that_no_header_carries(monkeypatch, key, source) -> None:
    """The error names the source of the key, and not the key."""
    monkeypatch.delenv("RESPAN_API_KEY")
    if source == "variable":
        monkeypatch.setenv("RESPAN_API_KEY", key)

    with pytest.raises(ConfigError, match="RESPAN_API_KEY" if source == "variable" else "Gateway") as caught:
        Gateway(key if source == "argument" else None)

    assert "canary" not in str(caught.value)


def test_a_key_of_another_type() -> None:
    """Named with its type."""
    with pytest.raises(ConfigError, match="int"):
        Gateway(7)


@pytest.mark.parametrize(
    "target",
    [Gateway("rk-canary"), OpenRouter("or-canary"), Provider("p", "https://p.example/v1", "sk-canary")],
    ids=["Gateway", "OpenRouter", "Provider"],
)
def test_a_target_keeps_its_key_to_itself(target) -> None:
    """repr, str, vars and pickle of a target, and format of what it holds, show no key."""
    shown = [repr(target), str(target), str(vars(target)), f"{vars(target)}", repr(copy.copy(target))]

    assert not any("canary" in text for text in shown)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(target)


# --- headers ---------------------------------------------------------------


async def test_route_provider_and_beta(caller, served) -> None:
    """Sent as headers; what a call says itself wins."""
    gateway = Gateway(base_url=served.origin, route_provider="vertex_ai", beta=["token-breakdown-2026-03-26"])
    client = wrap(caller.client(), gateway=gateway)

    await caller.chat(client)
    await caller.chat(client, extra_headers={"X-Respan-Route-Provider": "bedrock", "X-Respan-Beta": "mine"})

    first, second = served.seen
    assert first.headers["x-respan-route-provider"] == "vertex_ai"
    assert first.headers["x-respan-beta"] == "token-breakdown-2026-03-26"
    assert second.headers["x-respan-route-provider"] == "bedrock"
    assert second.headers["x-respan-beta"] == "mine"


def test_unknown_beta_flags() -> None:
    """They are sent, with a warning at the caller's line that names the known ones."""
    with pytest.warns(RespanWarning, match="token-breakdown-2026-03-26") as caught:
        Gateway(beta="brand-new-2027-01-01")

    assert caught[0].filename == __file__


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "", "\u00f6"])
def test_header_values_that_would_break_out(value) -> None:
    """Line breaks and non-ASCII never reach a header."""
    with pytest.raises(ConfigError):
        Gateway(route_provider=value or "\n")
    with pytest.raises(ConfigError):
        Gateway(beta=[value])


@pytest.mark.parametrize("name", ["Authorization", "Cookie", "X-Data-Respan-Params"])
def test_headers_that_are_never_forwarded(name) -> None:
    """Not even by name: they are the provider's credentials, or ours to write."""
    with pytest.raises(ConfigError, match="never forwarded"):
        Gateway(headers=[name])


async def test_query_parameters_of_the_user_are_kept(caller, served, gateway) -> None:
    """extra_query reaches the gateway."""
    client = wrap(caller.client(), gateway=gateway)

    await caller.chat(client, extra_query={"trace": "1"})

    assert served.seen[0].target == "/api/chat/completions?trace=1"


# --- Azure -----------------------------------------------------------------


def azure(caller, provider, **options):
    return caller.azure(
        azure_endpoint=provider.origin, api_version="2025-04-01", api_key="az-provider-canary", **options
    )


@pytest.mark.parametrize("fixed", [False, True], ids=["deployment in the call", "deployment of the client"])
async def test_an_azure_deployment(caller, served, provider, gateway, fixed) -> None:
    """Its URL becomes the gateway's path, its name azure/<name>, and the call is pinned to azure."""
    client = wrap(
        azure(caller, provider, **({"azure_deployment": "my-gpt4"} if fixed else {})), gateway=gateway
    )

    await caller.chat(client, model="my-gpt4", customer_identifier="u1")

    (seen,) = served.seen
    assert seen.target == "/api/chat/completions"
    assert seen.json["model"] == "azure/my-gpt4"
    assert seen.json["customer_identifier"] == "u1"
    assert seen.headers["x-respan-route-provider"] == "azure"
    assert seen.headers["authorization"] == "Bearer rk-gateway-canary"
    assert "api-key" not in seen.headers
    assert provider.seen == []


async def test_the_path_names_the_deployment(caller, served, provider, gateway) -> None:
    """Where client and call name different deployments, the one in the URL is the one that Azure would use."""
    client = wrap(azure(caller, provider, azure_deployment="in-path"), gateway=gateway)

    await caller.chat(client, model="in-body")

    assert served.seen[0].json["model"] == "azure/in-path"


async def test_azure_responses(caller, served, provider, gateway) -> None:
    """Responses name the deployment in the body; already prefixed names stay as they are."""
    client = wrap(azure(caller, provider), gateway=gateway)

    await caller(client.responses.create, model="my-gpt4", input="Hi")
    await caller(client.responses.create, model="azure/my-gpt4", input="Hi")

    assert [seen.path for seen in served.seen] == ["/api/responses"] * 2
    assert [seen.json["model"] for seen in served.seen] == ["azure/my-gpt4"] * 2
    assert all(seen.headers["x-respan-route-provider"] == "azure" for seen in served.seen)


async def test_azure_s_v1_surface(caller, served, gateway) -> None:
    """A plain client at <resource>.openai.azure.com/openai/v1 is an Azure client, too."""
    client = wrap(caller.client(base_url="https://res.openai.azure.com/openai/v1"), gateway=gateway)

    await caller.chat(client, model="my-gpt4")

    (seen,) = served.seen
    assert seen.json["model"] == "azure/my-gpt4"
    assert seen.headers["x-respan-route-provider"] == "azure"


async def test_an_azure_transcription(caller, served, provider, gateway) -> None:
    """A multipart body is not rewritten; the route header pins the deployment's provider."""
    client = wrap(azure(caller, provider), gateway=gateway)

    await caller(client.audio.transcriptions.create, model="my-whisper", file=("a.wav", b"RIFF"))

    (seen,) = served.seen
    assert seen.path == "/api/audio/transcriptions"
    assert seen.headers["x-respan-route-provider"] == "azure"
    assert b"my-whisper" in seen.body


async def test_other_azure_calls_pass_through(caller, served, provider, gateway) -> None:
    """Images stay with Azure, with Azure's own key and version."""
    client = wrap(azure(caller, provider), gateway=gateway)

    with pytest.raises(openai.NotFoundError):
        await caller(client.images.generate, model="d", prompt="x")

    (seen,) = provider.seen
    assert seen.target == "/openai/deployments/d/images/generations?api-version=2025-04-01"
    assert seen.headers["api-key"] == "az-provider-canary"
    assert served.seen == []


# --- forwarded credentials -------------------------------------------------


async def test_credentials_stay_at_home_by_default(caller, served, gateway) -> None:
    """No byte of the provider's key, organization or project reaches the gateway."""
    client = wrap(
        caller.client(organization="org-provider-canary", project="proj-provider-canary"), gateway=gateway
    )

    await caller.chat(client)
    await caller(client.responses.create, model="m", input="Hi")

    assert b"provider-canary" not in served.bytes


async def test_forwarded_openai_credentials(caller, served) -> None:
    """forward_credentials=True: the client's own key as credential_override for the model of the call."""
    gateway = Gateway(base_url=served.origin, forward_credentials=True)
    client = wrap(caller.client(), gateway=gateway)

    await caller(client.responses.create, model="gpt-4o-mini", input="Hi")

    (seen,) = served.seen
    assert seen.params == {"credential_override": {"gpt-4o-mini": {"api_key": "sk-provider-canary"}}}
    assert seen.headers["authorization"] == "Bearer rk-gateway-canary"


async def test_forwarded_azure_credentials(caller, served, provider) -> None:
    """For Azure with api_base and api_version."""
    gateway = Gateway(base_url=served.origin, forward_credentials=True)
    client = wrap(azure(caller, provider), gateway=gateway)

    await caller.chat(client, model="my-gpt4")

    credential = {
        "api_key": "az-provider-canary",
        "api_base": provider.origin + "/",
        "api_version": "2025-04-01",
    }
    assert served.seen[0].params == {"credential_override": {"azure/my-gpt4": credential}}


async def test_a_credential_override_of_the_user_wins(caller, served) -> None:
    """What the call says itself is not overridden by the forwarded key, which then is not sent at all."""
    gateway = Gateway(base_url=served.origin, forward_credentials=True)
    client = wrap(caller.client(), gateway=gateway)
    mine = {"m": {"api_key": "sk-mine"}}

    await caller.chat(client, model="m", credential_override=mine)

    (seen,) = served.seen
    assert seen.json["credential_override"] == mine
    assert seen.params == {}
    assert b"sk-provider-canary" not in seen.raw


async def test_the_gateway_s_own_key_is_not_forwarded_to_itself(caller, served) -> None:
    """A client built with the gateway's key has no provider key to forward."""
    client = wrap(
        caller.client(api_key="rk-gateway-canary"),
        gateway=Gateway(base_url=served.origin, forward_credentials=True),
    )

    await caller.chat(client)

    assert served.seen[0].params == {}


async def test_entra_id_tokens_cannot_be_forwarded(caller, served, provider) -> None:
    """credential_override has no field for one: the error says so, and nothing is sent."""
    client = wrap(
        caller.azure(azure_endpoint=provider.origin, api_version="2025-04-01", azure_ad_token="token-canary"),
        gateway=Gateway(base_url=served.origin, forward_credentials=True),
    )

    with pytest.raises(ConfigError, match="Entra ID") as caught:
        await caller.chat(client)

    assert "canary" not in str(caught.value)
    assert served.seen == []


async def test_a_transcription_has_its_credential_under_the_provider(caller, served) -> None:
    """The model of a multipart call is not read, so the credential is keyed by provider, as 001 and 002 allow."""
    client = wrap(caller.client(), gateway=Gateway(base_url=served.origin, forward_credentials=True))

    await caller(client.audio.transcriptions.create, model="m", file=("a.wav", b"RIFF"))

    assert served.seen[0].params == {"credential_override": {"openai": {"api_key": "sk-provider-canary"}}}


# --- providers -------------------------------------------------------------


def test_a_provider_builds_its_own_request() -> None:
    """Its own URL, host and key; of the headers that came in only the harmless ones, none of the gateway's."""
    provider = Provider("mine", "https://p.example/v1/", "sk-mine")
    came_in = [
        (b"Authorization", b"Bearer rk-canary"),
        (b"Accept", b"*/*"),
        (b"X-Respan-Beta", b"b"),
        (b"Cookie", b"c"),
    ]

    outgoing = provider.outgoing("/chat/completions", came_in, b'{"model":"m"}', "m")

    assert outgoing.url == "https://p.example/v1/chat/completions"
    assert outgoing.headers == [
        (b"Host", b"p.example"),
        (b"Accept", b"*/*"),
        (b"Authorization", b"Bearer sk-mine"),
    ]
    assert (outgoing.body, outgoing.model) == (b'{"model":"m"}', "m")


def test_a_provider_with_another_credential() -> None:
    """A copy with another key, and address if there is one; the original is as it was."""
    mine = Provider("mine", "https://p.example/v1", "sk-mine", headers=["X-Tenant"])
    theirs = mine.with_credential("sk-theirs", "https://their.example/v1/")
    headers = theirs.outgoing("/embeddings", [(b"X-Tenant", b"t")], b"{}", "m").headers

    assert (theirs.base_url, mine.base_url) == ("https://their.example/v1", "https://p.example/v1")
    assert headers == [
        (b"Host", b"their.example"),
        (b"X-Tenant", b"t"),
        (b"Authorization", b"Bearer sk-theirs"),
    ]
    assert mine.with_credential("sk-theirs").base_url == mine.base_url
    assert (b"Authorization", b"Bearer sk-mine") in mine.outgoing("/embeddings", [], b"{}", "m").headers
    with pytest.raises(ConfigError, match="white space") as caught:
        mine.with_credential("sk canary")
    assert "canary" not in str(caught.value)


def test_a_provider_without_a_key() -> None:
    """It never inherits another's: construction fails and says what to do."""
    with pytest.raises(ConfigError, match="Provider\\('mine'\\)"):
        Provider("mine", "https://p.example/v1", None)


def test_the_body_is_read_only_where_it_must_be() -> None:
    """A deployment's name is spliced in; every other byte of the body is the SDK's."""
    from respan_openai._core.call import with_string

    body = b'{"messages":[{"content":"\\"model\\":\\"x\\""}],"model":"d","stream":true}'

    assert with_string(body, "model", "azure/d") == body.replace(b'"model":"d"', b'"model":"azure/d"')
    assert json.loads(with_string(b'{"a":1}', "model", "azure/d")) == {"a": 1, "model": "azure/d"}


async def test_a_path_that_only_looks_like_azure(caller, served, gateway) -> None:
    """/openai/ in the path of another host, without an api-version, is no Azure deployment."""
    client = wrap(caller.client(base_url="https://proxy.example/openai/v1"), gateway=gateway)

    await caller.chat(client, model="gpt-4o")

    (seen,) = served.seen
    assert seen.json["model"] == "gpt-4o"
    assert "x-respan-route-provider" not in seen.headers
