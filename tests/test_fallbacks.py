"""Fallbacks by name: what may stand in the lists, and what each target makes of a call."""

from __future__ import annotations

import openai
import pytest
from doubles import chat, reply

from respan_openai import (
    DIRECT,
    ConfigError,
    Fallback,
    Gateway,
    LocalGateway,
    OpenRouter,
    Provider,
    RespanWarning,
    Retry,
    last_call,
    params,
    wrap,
)


GONE = "http://127.0.0.1:1"
LEFT_OUT = getattr(openai, "omit", openai.NOT_GIVEN)


def target(upstream, name="p2", **options) -> Provider:
    return Provider(name, upstream.origin + "/v1", "sk-2-canary", **options)


def gone() -> Gateway:
    """A gateway that nobody answers for."""
    return Gateway("rk-gone", GONE)


# --- what may stand in the lists -------------------------------------------


@pytest.mark.parametrize(
    ("fallbacks", "says"),
    [
        (DIRECT, "must be a list"),
        ("gpt-4o", "must be a list"),
        (7, "expected a list of targets"),
        (["gpt-4o"], "fallback_models"),
        ([object()], "expected DIRECT, Provider"),
    ],
    ids=["target", "text", "number", "model", "object"],
)
def test_what_is_no_list_of_targets(fallbacks, says) -> None:
    """A ConfigError says what is expected, when the client is wrapped."""
    with pytest.raises(ConfigError, match=says):
        wrap(openai.OpenAI(api_key="sk"), gateway=gone(), fallbacks=fallbacks)


def test_named_lists_take_models_and_targets() -> None:
    """A string in a named list is another model; an empty one, or no list at all, is refused."""
    fallback = Fallback(DIRECT, on_context=["gpt-4.1", OpenRouter("or-key")])

    assert repr(fallback).startswith("Fallback(DIRECT, on_context=['gpt-4.1', OpenRouter(")
    with pytest.raises(ConfigError, match=r"on_model=\['gpt-4o'\]"):
        Fallback(on_model="gpt-4o")
    with pytest.raises(ConfigError, match="name of another model"):
        Fallback(on_content=[""])


def test_direct_needs_a_provider_to_go_to() -> None:
    """A client with only the gateway's key, or one that already speaks to it, has none."""
    with pytest.raises(ConfigError, match="no key but the gateway's"):
        wrap(openai.OpenAI(api_key="rk-1"), gateway=Gateway("rk-1", GONE), fallbacks=[DIRECT])
    with pytest.raises(ConfigError, match="already is the gateway"):
        wrap(openai.OpenAI(api_key="sk", base_url=GONE), gateway=Gateway("rk-1", GONE), fallbacks=[DIRECT])


@pytest.mark.parametrize("name", ["retry", "timeouts", "breaker", "hedge", "streams", "limits"])
def test_settings_are_of_their_kind(name) -> None:
    """A number or a dictionary in the place of a policy is a ConfigError that names the policy."""
    with pytest.raises(
        ConfigError, match=rf"{name}= is of type dict; expected {name.capitalize()}\(\.\.\.\)"
    ):
        wrap(openai.OpenAI(api_key="sk"), gateway=gone(), **{name: {}})


@pytest.mark.parametrize("option", ["models", "overrides"])
def test_mappings_of_a_provider(option) -> None:
    """What is no mapping from strings is refused when the provider is made."""
    with pytest.raises(ConfigError, match=option):
        Provider("p", GONE, "sk", **{option: [("a", "b")]})


# --- what they make of a call ----------------------------------------------


async def test_direct_gets_the_call_without_our_parameters(caller, provider) -> None:
    """URL, key, organization and headers of the client's own; neither our header nor our fields."""
    client = wrap(caller.client(base_url=provider.origin + "/v1"), gateway=gone(), fallbacks=[DIRECT])

    with params(thread_identifier="t-1"):
        await caller.chat(client, customer_identifier="u1", metadata={"run": "7"}, seed=7)

    (seen,) = provider.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == "Bearer sk-provider-canary"
    assert not [name for name in seen.headers if "respan" in name]
    assert seen.json.keys() == {"model", "messages", "seed"}
    assert last_call().target == "direct"


async def test_direct_keeps_metadata_of_a_stored_call(caller, provider) -> None:
    """There it is OpenAI's own; a stored call stays at its target, so the gateway's failure is the end of it."""
    client = wrap(caller.client(base_url=provider.origin + "/v1"), gateway=gone(), fallbacks=[DIRECT])

    with pytest.raises(openai.APIConnectionError):
        await caller.chat(client, store=True, metadata={"run": "7"})

    assert not provider.seen


async def test_a_provider_gets_its_own_words(caller, provider) -> None:
    """The model by its name there, fields set and taken out, its own key and nobody else's."""
    other = target(
        provider, models={"gpt-4o": "llama-3.3"}, overrides={"temperature": LEFT_OUT, "top_p": 0.5}
    )
    client = wrap(caller.client(), gateway=gone(), fallbacks=[other])

    with pytest.warns(RespanWarning, match="answered with the model 'llama-3.3'; 'gpt-4o' was asked for"):
        await caller.chat(client, model="gpt-4o", temperature=1, customer_identifier="u1")
    await caller.chat(client, model="gpt-4o")

    first, second = provider.seen
    assert first.json.keys() == {"model", "messages", "top_p"}
    assert (first.json["model"], first.json["top_p"]) == ("llama-3.3", 0.5)
    assert first.headers["authorization"] == second.headers["authorization"] == "Bearer sk-2-canary"
    assert b"sk-provider-canary" not in first.raw


async def test_a_prefix_is_not_part_of_a_providers_model(caller, provider) -> None:
    """``groq/llama`` asks the provider ``groq`` for ``llama``."""
    client = wrap(caller.client(), gateway=gone(), fallbacks=[target(provider, "groq")])

    with pytest.warns(RespanWarning):
        await caller.chat(client, model="groq/llama")

    assert provider.seen[0].json["model"] == "llama"


async def test_a_key_that_changes(caller, provider) -> None:
    """A function is asked for the key at each attempt, and what is no key never leaves."""
    keys = iter(["sk-first", "sk-second", "two words"])
    other = Provider("p2", provider.origin + "/v1", lambda: next(keys))
    client = wrap(caller.client(), gateway=gone(), fallbacks=[other])

    await caller.chat(client)
    await caller.chat(client)
    with pytest.raises(ConfigError, match="function given to Provider"):
        await caller.chat(client)

    sent = [seen.headers["authorization"] for seen in provider.seen]
    assert sent == ["Bearer sk-first", "Bearer sk-second"]


@pytest.mark.parametrize(
    "more",
    [{"prompt": {"prompt_id": "p"}}, {"models": ["a", "b"], "model": LEFT_OUT}],
    ids=["prompt", "models"],
)
async def test_what_only_the_gateway_knows_stays_there(caller, provider, more) -> None:
    """A stored prompt, or a model that the gateway chooses, is not asked of a provider."""
    client = wrap(caller.client(), gateway=gone(), fallbacks=[DIRECT, target(provider)])

    with pytest.raises(openai.APIConnectionError):
        await caller.chat(client, **more)

    assert not provider.seen
    assert [attempt.target for attempt in last_call().attempts] == ["respan"]


async def test_another_model_for_one_reason(caller, served) -> None:
    """``on_model`` asks the gateway for another model, and only if the first is not there."""

    def behave(seen):
        if seen.json["model"] == "gone":
            return reply(404, {"error": {"message": "m", "code": "model_not_found"}})
        return reply(200, chat())

    served.behave = behave
    fallback = Fallback(on_model=["there"], on_context=["never"])
    client = wrap(caller.client(), gateway=Gateway("rk", served.origin), fallbacks=fallback)

    with pytest.warns(RespanWarning, match="'there'"):
        await caller.chat(client, model="gone")

    assert [seen.json["model"] for seen in served.seen] == ["gone", "there"]
    assert [attempt.model for attempt in last_call().attempts] == ["gone", "there"]


async def test_a_gateway_in_the_process_as_fallback(caller, provider) -> None:
    """It answers when the hosted one does not."""
    client = wrap(caller.client(), gateway=gone(), fallbacks=[LocalGateway.echo()])

    answer = await caller.chat(client, messages=[{"role": "user", "content": "Hello"}])

    assert answer.choices[0].message.content == "echo: Hello"
    assert [attempt.target for attempt in last_call().attempts] == ["respan", "local"]


async def test_openrouter_is_passed_over_if_it_has_no_word(caller, served) -> None:
    """A parameter that OpenRouter cannot honour takes it out of the list, for this call."""
    served.behave = lambda _seen: reply(200, chat())
    fallbacks = [OpenRouter("or-key", served.origin), target(served)]
    client = wrap(caller.client(), gateway=gone(), fallbacks=fallbacks, retry=Retry(attempts=3))

    await caller.chat(client, cache_enabled=True)
    await caller.chat(client)

    assert [seen.path for seen in served.seen] == ["/v1/chat/completions", "/api/v1/chat/completions"]
