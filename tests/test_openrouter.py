"""OpenRouter in the gateway's place: same calls, its dialect (reference 004, contract.md section 5)."""

from __future__ import annotations

import warnings

import openai
import pytest

from respan_openai import ConfigError, OpenRouter, ParamsError, RespanWarning, params, wrap
from respan_openai._core.call import Call


@pytest.fixture
def router(served) -> OpenRouter:
    return OpenRouter("or-canary", served.origin, referer="https://me.example", title="Mine")


async def test_chat_and_responses(caller, served, provider, router) -> None:
    """Both paths go to OpenRouter with its key and headers; all else passes through to the provider."""
    client = wrap(caller.client(base_url=provider.origin + "/v1"), gateway=router)

    await caller.chat(client)
    raw = await caller(client.responses.with_raw_response.create, model="m", input="Hi")
    await caller(client.embeddings.create, model="m", input="Hi", encoding_format="float")

    assert [seen.path for seen in served.seen] == ["/api/v1/chat/completions", "/api/v1/responses"]
    assert [seen.path for seen in provider.seen] == ["/v1/embeddings"]
    assert raw.headers["x-respan-target"] == "openrouter"
    for seen in served.seen:
        assert seen.headers["authorization"] == "Bearer or-canary"
        assert seen.headers["http-referer"] == "https://me.example"
        assert seen.headers["x-title"] == "Mine"
    assert b"provider-canary" not in served.bytes


def test_its_defaults(monkeypatch) -> None:
    """Address and key variable are OpenRouter's."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "or-env")

    assert OpenRouter().base_url == "https://openrouter.ai/api/v1"
    assert OpenRouter().holds("or-env")
    monkeypatch.delenv("OPENROUTER_API_KEY")
    with pytest.raises(ConfigError, match="OPENROUTER_API_KEY"):
        OpenRouter()


TRANSLATED = {
    "fallback_models": ({"fallback_models": ["a", "b"]}, {"models": ["a", "b"]}),
    "models": ({"models": ["a"]}, {"models": ["a"]}),
    "exclude_providers": ({"exclude_providers": ["azure"]}, {"provider": {"ignore": ["azure"]}}),
    "disable_fallback": ({"disable_fallback": True}, {"provider": {"allow_fallbacks": False}}),
    "disable_fallback off": ({"disable_fallback": False}, {}),
    "thread_identifier": ({"thread_identifier": "t"}, {"session_id": "t"}),
    "customer_identifier": ({"customer_identifier": "u"}, {"user": "u"}),
    "number": ({"customer_identifier": 7}, {"user": "7"}),
    "customer_params": ({"customer_params": {"customer_identifier": "u", "name": "N"}}, {"user": "u"}),
    "trace": (
        {
            "trace_unique_id": "1",
            "trace_name": "n",
            "span_name": "s",
            "span_parent_id": "p",
            "span_workflow_name": "w",
        },
        {
            "trace": {
                "trace_id": "1",
                "trace_name": "n",
                "span_name": "s",
                "parent_span_id": "p",
                "span_workflow_name": "w",
            }
        },
    ),
    "metadata": ({"metadata": {"run": "7"}}, {"metadata": {"run": "7"}}),
    "cache off": ({"cache_enabled": False}, {}),
}


@pytest.mark.parametrize("how", ["keywords", "context", "container", "header"])
@pytest.mark.parametrize("name", TRANSLATED)
def test_parameters_in_its_words(library, served, router, name, how) -> None:
    """From whichever carrier they come, and nothing of Respan's names or headers is left on the wire."""
    given, expected = TRANSLATED[name]
    client = wrap(openai.OpenAI(http_client=library.Client()), gateway=router)
    ask = {"model": "m", "messages": []}

    if how == "keywords":
        client.chat.completions.create(**ask, **given)
    elif how == "container":
        client.chat.completions.create(**ask, extra_body={"respan_params": given})
    elif how == "header":
        from respan_openai._wire import encode_header

        client.chat.completions.create(**ask, extra_headers={"X-Data-Respan-Params": encode_header(given)})
    else:
        with params(**given):
            client.chat.completions.create(**ask)

    (seen,) = served.seen
    assert seen.json == {**ask, **expected}
    assert not any(header.startswith(("x-data", "x-respan")) for header in seen.headers)
    client.close()


def test_what_is_openrouter_s_own_wins(library, served, router) -> None:
    """provider, session_id, user and trace of the call itself are kept, key by key."""
    client = wrap(openai.OpenAI(http_client=library.Client()), gateway=router)

    with params(thread_identifier="t", customer_identifier="u", exclude_providers=["azure"], trace_name="n"):
        client.chat.completions.create(
            model="m",
            messages=[],
            user="mine",
            extra_body={
                "session_id": "s",
                "provider": {"sort": "price", "ignore": ["x"]},
                "trace": {"mine": 1},
            },
        )

    assert served.seen[0].json == {
        "model": "m",
        "messages": [],
        "user": "mine",
        "session_id": "s",
        "provider": {"sort": "price", "ignore": ["x"]},
        "trace": {"mine": 1, "trace_name": "n"},
    }
    client.close()


@pytest.mark.parametrize(
    "given",
    [
        {"cache_enabled": True},
        {"cache_ttl": 60},
        {"prompt": {"prompt_id": "p"}},
        {"request_breakdown": True},
        {"customer_params": {"customer_identifier": "u", "period_budget": 5.0}},
        {"load_balance_group": {"group_id": "g"}},
        {"credential_override": {"m": {"api_key": "sk-canary"}}},
    ],
    ids=lambda given: next(iter(given)),
)
def test_what_has_no_counterpart(library, served, router, given) -> None:
    """It would change the answer or the bill, so it is an error before anything is sent."""
    client = wrap(openai.OpenAI(http_client=library.Client(), max_retries=0), gateway=router)

    with pytest.raises(ParamsError, match="OpenRouter") as caught:
        client.chat.completions.create(model="m", messages=[], **given)

    assert "canary" not in str(caught.value)
    assert served.seen == []
    client.close()


def test_what_only_observes_is_left_out_with_a_warning(library, served, router) -> None:
    """The answer is the same without it; the warning stands at the caller's line."""
    client = wrap(openai.OpenAI(http_client=library.Client()), gateway=router)

    with pytest.warns(RespanWarning, match="properties") as caught:
        client.chat.completions.create(model="m", messages=[], properties={"a": 1})

    assert caught[0].filename == __file__
    assert served.seen[0].json == {"model": "m", "messages": []}
    client.close()


def test_metadata_is_brought_into_its_limits(library, served, router) -> None:
    """16 pairs, keys of 64 characters without brackets, values of 512, all strings; with a warning."""
    client = wrap(openai.OpenAI(http_client=library.Client()), gateway=router)
    many = {f"k{number:02}": number for number in range(20)}

    with (
        pytest.warns(RespanWarning, match="16 pairs"),
        params(metadata={"a[0]": {"x": 1}, "b" * 70: "v" * 600, **many}),
    ):
        client.chat.completions.create(model="m", messages=[])

    sent = served.seen[0].json["metadata"]
    assert len(sent) == 16
    assert sent["a0"] == '{"x":1}'
    assert sent["b" * 64] == "v" * 512
    assert sent["k00"] == "0"
    client.close()


@pytest.mark.parametrize(
    ("given", "field"),
    [({"thread_identifier": "x" * 300}, "session_id"), ({"customer_identifier": 10**300}, "user")],
)
def test_long_identifiers_are_cut(library, served, router, given, field) -> None:
    """At 256 characters, with a warning."""
    client = wrap(openai.OpenAI(http_client=library.Client()), gateway=router)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client.chat.completions.create(model="m", messages=[], **given)

    assert len(served.seen[0].json[field]) <= 256
    assert caught
    client.close()


@pytest.mark.parametrize(
    "given", [{"store": True}, {"previous_response_id": "resp_1"}], ids=lambda given: next(iter(given))
)
def test_its_responses_are_stateless(library, served, router, given) -> None:
    """store and previous_response_id would be 400 there; the error comes before anything is sent."""
    client = wrap(openai.OpenAI(http_client=library.Client(), max_retries=0), gateway=router)

    with pytest.raises(ParamsError, match="stateless"):
        client.responses.create(model="m", input="Hi", **given)
    client.responses.create(model="m", input="Hi", store=False)

    assert len(served.seen) == 1
    client.close()


def test_openai_s_own_prompt_is_kept(library, served, router) -> None:
    """Responses' native prompt template is OpenRouter's too; only Respan's has no counterpart."""
    client = wrap(openai.OpenAI(http_client=library.Client()), gateway=router)

    client.responses.create(model="m", input="Hi", extra_body={"prompt": {"id": "pmpt_1"}})

    assert served.seen[0].json["prompt"] == {"id": "pmpt_1"}
    client.close()


async def test_azure_clients_have_no_models_there(caller, served, provider, router) -> None:
    """A deployment's name means nothing to OpenRouter."""
    client = wrap(
        caller.azure(azure_endpoint=provider.origin, api_version="2025-04-01", api_key="az"), gateway=router
    )

    with pytest.raises(ConfigError, match="deployments"):
        await caller.chat(client)

    assert served.seen == []


def test_with_another_credential() -> None:
    """A copy for one call: key, address and what is known of them are its own, all else is the original's."""
    call = Call("POST", "", b"/chat/completions", "/chat/completions", [], b"{}")
    mine = OpenRouter("or-mine", title="Mine")
    known = mine.health(call)
    theirs = mine.with_credential("or-theirs", "https://their.example")

    assert theirs.base_url == "https://their.example/api/v1"
    assert theirs.holds("or-theirs")
    assert theirs.health(call) is not known
    assert (b"X-Title", b"Mine") in theirs.outgoing("/responses", [], b"{}", "m").headers
    assert (mine.base_url, mine.holds("or-mine")) == ("https://openrouter.ai/api/v1", True)
    assert mine.health(call) is known


def test_a_body_in_its_own_words() -> None:
    """Nothing is translated, from whichever carrier; what needs state is refused before it is sent."""
    router, headers = OpenRouter("or-canary"), [(b"X-Data-Respan-Params", b"e30="), (b"Accept", b"*/*")]
    body = b'{"model":"m","input":"a","customer_identifier":"u"}'
    outgoing = router.outgoing("/responses", headers, body, "m")

    assert (outgoing.body, outgoing.model) == (body, "m")
    assert [name for name, _ in outgoing.headers] == [b"Host", b"Accept", b"Authorization"]
    with pytest.raises(ParamsError, match="stateless") as caught:
        router.outgoing("/responses", headers, b'{"model":"m","store":true}', "m")
    assert caught.value.param == "store"


async def test_streams(caller, served, router) -> None:
    """A streamed answer passes, keep-alive comments included."""
    client = wrap(caller.client(), gateway=router)

    stream = await caller.chat(client, stream=True)
    chunks = await caller.items(stream)

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello!"
