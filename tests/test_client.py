"""``wrap()``: what goes where, and what about the client stays as it was."""

from __future__ import annotations

import copy
import functools
import inspect
import json
import pickle
import traceback

import openai
import pytest
from doubles import Told, chat, reply

from respan_openai import (
    DIRECT,
    ConfigError,
    Gateway,
    NotServedError,
    OpenRouter,
    ParamsError,
    RespanWarning,
    body,
    record_of,
    wrap,
)


HELLO = [{"role": "user", "content": "Hi"}]


def notes_of(error: BaseException) -> list[str]:
    """What a traceback shows below *error*."""
    return getattr(error, "__notes__", [])


# --- what goes where -------------------------------------------------------


async def test_a_chat_completion_goes_to_the_gateway(caller, served, provider, gateway) -> None:
    """One line reroutes a client: the gateway sees the call with its own key, the provider sees nothing."""
    client = wrap(caller.client(base_url=provider.origin + "/v1"), gateway=gateway)

    result = await caller.chat(client)

    (seen,) = served.seen
    assert result.choices[0].message.content == "Hello!"
    assert seen.target == "/api/chat/completions"
    assert seen.headers["authorization"] == "Bearer rk-gateway-canary"
    assert seen.headers["host"] == f"127.0.0.1:{served.port}"
    assert seen.json == {"model": "gpt-4o-mini", "messages": HELLO}
    assert provider.seen == []


@pytest.mark.parametrize(
    ("call", "path"),
    [
        (lambda client: client.responses.create(model="m", input="Hi"), "/api/responses"),
        (
            lambda client: client.embeddings.create(model="m", input="Hi", encoding_format="float"),
            "/api/embeddings",
        ),
        (
            lambda client: client.audio.transcriptions.create(model="m", file=("a.wav", b"RIFF")),
            "/api/audio/transcriptions",
        ),
        (
            lambda client: client.audio.speech.create(model="m", voice="alloy", input="Hi"),
            "/api/audio/speech",
        ),
    ],
    ids=["responses", "embeddings", "transcriptions", "speech"],
)
async def test_every_documented_path_goes_to_the_gateway(
    caller, served, provider, gateway, call, path
) -> None:
    """Responses, embeddings, transcription and speech are rerouted as chat completions are."""
    client = wrap(caller.client(base_url=provider.origin + "/v1"), gateway=gateway)

    await caller(lambda: call(client))

    assert [seen.path for seen in served.seen] == [path]
    assert provider.seen == []


async def test_everything_else_passes_through_untouched(caller, served, provider, gateway) -> None:
    """What the gateway does not document reaches the provider byte for byte as the plain client sends it."""
    plain = caller.client(base_url=provider.origin + "/v1", organization="org", project="proj")
    client = wrap(plain, gateway=gateway, defaults={"customer_identifier": "u1"})

    for each in (plain, client):
        with pytest.raises(openai.NotFoundError):
            await caller(each.moderations.create, input="Hi")

    first, second = provider.seen
    assert first.raw == second.raw
    assert second.headers["authorization"] == "Bearer sk-provider-canary"
    assert served.seen == []


async def test_reading_a_stored_response_stays_with_the_provider(caller, served, provider, gateway) -> None:
    """Only POST is rerouted: GET on the same resource asks for the provider's own state."""
    client = wrap(caller.client(base_url=provider.origin + "/v1"), gateway=gateway)

    with pytest.raises(openai.NotFoundError):
        await caller(client.responses.retrieve, "resp_1")

    assert [seen.path for seen in provider.seen] == ["/v1/responses/resp_1"]
    assert served.seen == []


async def test_a_client_that_is_at_the_gateway_keeps_everything_there(caller, served) -> None:
    """A base_url of the gateway's origin: served paths are handled, all others stay there with the client's key."""
    client = caller.client(base_url=served.origin + "/api", api_key="rk-mine")
    wrapped = wrap(client, gateway=Gateway("rk-mine", served.origin))

    await caller.chat(wrapped, customer_identifier="u1")
    with pytest.raises(openai.NotFoundError):
        await caller(wrapped.moderations.create, input="Hi")

    assert [seen.path for seen in served.seen] == ["/api/chat/completions", "/api/moderations"]
    assert {seen.headers["authorization"] for seen in served.seen} == {"Bearer rk-mine"}


async def test_the_client_s_own_key_is_used_where_it_already_speaks_to_the_gateway(
    caller, served, monkeypatch
) -> None:
    """Without gateway=..., a client at the gateway's origin calls it with the key that it was built with."""
    monkeypatch.setenv("RESPAN_BASE_URL", served.origin)
    client = wrap(caller.client(base_url=served.origin + "/api", api_key="rk-mine"))

    await caller.chat(client)

    assert served.seen[0].headers["authorization"] == "Bearer rk-mine"


async def test_a_client_with_only_the_gateway_s_key(caller, served, provider, gateway) -> None:
    """Served calls work; for others the error says why, and the gateway's key never reaches the provider."""
    client = wrap(
        caller.client(base_url=provider.origin + "/v1", api_key="rk-gateway-canary", max_retries=2),
        gateway=gateway,
    )

    await caller.chat(client)
    with pytest.raises(NotServedError, match="must not reach a provider"):
        await caller(client.moderations.create, input="Hi")

    assert provider.seen == []


# --- parameters ------------------------------------------------------------


async def test_keywords_become_body_fields(caller, served, provider, gateway) -> None:
    """Respan's parameters are ordinary keywords, and stand at the top level of the body."""
    client = wrap(caller.client(base_url=provider.origin + "/v1"), gateway=gateway)

    await caller.chat(client, customer_identifier="u1", fallback_models=["a", "b"], extra_body={"top_k": 4})

    (seen,) = served.seen
    assert seen.json["customer_identifier"] == "u1"
    assert seen.json["fallback_models"] == ["a", "b"]
    assert seen.json["top_k"] == 4
    assert seen.params == {}


@pytest.mark.parametrize(
    ("given", "param", "match"),
    [
        ({"fallback_modles": ["a"]}, "fallback_modles", "did you mean `fallback_models`"),
        ({"cache_ttl": "soon"}, "cache_ttl", "str"),
        ({"extra_body": {"fallback_modles": ["a"]}}, "fallback_modles", "did you mean"),
        ({"extra_body": {"respan_params": ["a"]}}, "respan_params", "list"),
        (
            {"customer_identifier": "a", "extra_body": {"customer_identifier": "b"}},
            "customer_identifier",
            "twice",
        ),
    ],
    ids=[
        "unknown name",
        "wrong type",
        "unknown name in extra_body",
        "container of the wrong type",
        "given twice",
    ],
)
async def test_a_wrong_parameter_fails_before_anything_is_sent(
    caller, served, provider, gateway, given, param, match
) -> None:
    """The error names the parameter, says what to do, and is a ValueError at the caller's line."""
    client = wrap(caller.client(base_url=provider.origin + "/v1", max_retries=2), gateway=gateway)

    with pytest.raises(ParamsError, match=match) as caught:
        await caller.chat(client, **given)

    assert caught.value.param.endswith(param)
    assert isinstance(caught.value, ValueError)
    assert served.seen == provider.seen == []


async def test_an_unknown_keyword_of_nobody_is_still_the_sdk_s_type_error(caller, gateway) -> None:
    """What is no parameter of the gateway, nor nearly one, fails as it does with the plain client."""
    client = wrap(caller.client(), gateway=gateway)

    with pytest.raises(TypeError, match="zzz"):
        await caller.chat(client, zzz=1)


async def test_a_broken_header_carrier_fails_before_anything_is_sent(caller, served, gateway) -> None:
    """A header the gateway would silently ignore is refused at the call."""
    client = wrap(caller.client(), gateway=gateway)

    with pytest.raises(ParamsError):
        await caller.chat(client, extra_headers={"X-Data-Respan-Params": "no base64!"})

    assert served.seen == []


async def test_a_parameter_on_a_call_that_passes_through_is_an_error(caller, provider, gateway) -> None:
    """The provider would not know it, so it is not sent there."""
    client = wrap(caller.client(base_url=provider.origin + "/v1"), gateway=gateway)

    for given in ({"customer_identifier": "u1"}, {"extra_body": body(customer_identifier="u1")}):
        with pytest.raises(ParamsError, match="straight to the provider"):
            await caller(client.images.generate, prompt="x", **given)

    assert provider.seen == []


@pytest.mark.parametrize(
    "given",
    [
        {"models": ["a", "b"], "messages": HELLO},
        {"load_balance_group": {"group_id": "g"}, "messages": HELLO},
        {"prompt": {"prompt_id": "p"}},
        {"prompt": {"prompt_id": "p"}, "model": "m"},
    ],
    ids=["models", "load_balance_group", "prompt", "prompt and model"],
)
async def test_what_the_gateway_finds_may_be_left_out(caller, served, gateway, given) -> None:
    """The SDK's signature asks for model and messages; the gateway's router, groups and prompts bring them."""
    client = wrap(caller.client(), gateway=gateway)

    await caller(client.chat.completions.create, **given)

    (seen,) = served.seen
    assert seen.json == given


async def test_legacy_names_are_mapped(caller, served, gateway) -> None:
    """Old spellings keep working and leave as the current ones."""
    client = wrap(caller.client(), gateway=gateway)
    balanced = [{"model": "a", "weight": 1}]

    await caller.chat(
        client, loadbalance_models=balanced, extra_body={"keywordsai_params": {"disable_log": True}}
    )

    (seen,) = served.seen
    assert seen.json["load_balance_models"] == balanced
    assert seen.json["respan_params"] == {"disable_log": True}
    assert "keywordsai_params" not in seen.json


async def test_defaults_hold_for_every_call(caller, served, gateway) -> None:
    """defaults= reach the wire in the header, below what a call says itself."""
    client = wrap(
        caller.client(), gateway=gateway, defaults={"customer_identifier": "u0", "disable_log": True}
    )

    await caller.chat(client, customer_identifier="u1")

    (seen,) = served.seen
    assert seen.params == {"disable_log": True}
    assert seen.json["customer_identifier"] == "u1"


def test_wrong_defaults_fail_at_once(gateway) -> None:
    """Not at the first call, and with the parameter's name."""
    with pytest.raises(ParamsError, match="cache_ttl"):
        wrap(openai.OpenAI(), gateway=gateway, defaults={"cache_ttl": "soon"})


async def test_a_prompt_of_ours_under_the_native_keyword(caller, served, gateway) -> None:
    """responses.create(prompt=...) takes OpenAI's prompt as it is, and checks Respan's, which has prompt_id."""
    client = wrap(caller.client(), gateway=gateway)
    ask = {"model": "m", "input": "Hi"}

    await caller(client.responses.create, **ask, extra_body={"prompt": {"id": "pmpt_1"}})
    await caller(client.responses.create, **ask, prompt={"prompt_id": "p"})
    with pytest.raises(ParamsError, match="version"):
        await caller(client.responses.create, **ask, prompt={"prompt_id": "p", "verison": 1})

    assert [seen.json["prompt"] for seen in served.seen] == [{"id": "pmpt_1"}, {"prompt_id": "p"}]


async def test_openai_s_metadata_stays_openai_s(caller, served, gateway) -> None:
    """The native keyword is left as it was, and wins over metadata in force around the call."""
    client = wrap(caller.client(), gateway=gateway, defaults={"metadata": {"run": 7}})

    await caller.chat(client, metadata={"mine": "1"})

    (seen,) = served.seen
    assert seen.json["metadata"] == {"mine": "1"}
    assert seen.params == {}


# --- the client stays what it was ------------------------------------------


async def test_a_wrapped_client_is_of_the_same_type(caller, gateway) -> None:
    """isinstance holds for the client and its resources, and signatures are the SDK's."""
    plain = caller.client()
    client = wrap(plain, gateway=gateway)

    assert isinstance(client, type(plain))
    assert isinstance(client.chat.completions, type(plain.chat.completions))
    assert inspect.signature(client.chat.completions.create) == inspect.signature(
        plain.chat.completions.create
    )
    assert inspect.iscoroutinefunction(client.responses.retrieve) is inspect.iscoroutinefunction(
        plain.responses.retrieve
    )


async def test_the_given_client_is_not_changed(caller, served, provider, gateway) -> None:
    """After wrapping, the original still calls the provider, with what it had cached before."""
    plain = caller.client(base_url=provider.origin + "/v1")
    resource = plain.chat.completions
    client = wrap(plain, gateway=gateway)

    await caller(resource.create, model="m", messages=HELLO)
    await caller.chat(plain)
    await caller.chat(client)

    assert (len(provider.seen), len(served.seen)) == (2, 1)


async def test_wrapping_twice_is_harmless(caller, served, gateway) -> None:
    """Without settings it is the same client; with new ones they replace the old ones; the call is made once."""
    client = wrap(caller.client(), gateway=gateway, defaults={"customer_identifier": "u0"})
    again = wrap(client, gateway=gateway, defaults={"thread_identifier": "t"})

    assert wrap(client) is client
    await caller.chat(again)

    (seen,) = served.seen
    assert seen.params == {"thread_identifier": "t"}


@pytest.mark.parametrize("name", ["with_options", "copy"])
async def test_copies_are_wrapped_with_the_same_settings(caller, served, gateway, name) -> None:
    """with_options() and copy() keep routing and parameters, and change what they were asked to."""
    client = wrap(caller.client(), gateway=gateway, defaults={"customer_identifier": "u0"})

    copied = getattr(client, name)(timeout=12.5, default_headers={"User-Agent": "mine"})
    await caller.chat(copied, thread_identifier="t")

    (seen,) = served.seen
    assert seen.params == {"customer_identifier": "u0"}
    assert seen.json["thread_identifier"] == "t"
    assert seen.headers["user-agent"] == "mine"
    assert copied.timeout == 12.5


async def test_a_copy_with_another_http_client_is_still_wrapped(caller, served, gateway) -> None:
    """with_options(http_client=...) sends through that client, to the gateway."""
    client = wrap(caller.client(), gateway=gateway)
    seen_by_hook = []

    async def hook(request) -> None:
        seen_by_hook.append(request.url.path)

    hooks = {"request": [hook if caller.is_async else lambda request: seen_by_hook.append(request.url.path)]}
    await caller.chat(client.with_options(http_client=caller.http(event_hooks=hooks)))

    assert len(served.seen) == 1
    assert seen_by_hook == ["/api/chat/completions"]


async def test_hooks_headers_and_cookies_of_the_http_client(caller, served, gateway) -> None:
    """Hooks see request and answer; the SDK's headers go along; cookies and unknown headers stay behind."""
    log: list[str] = []

    async def on_request(request) -> None:
        log.append(f"> {request.url.path}")

    async def on_response(answer) -> None:
        log.append(f"< {answer.status_code}")

    def blocking(hook):
        return lambda event: (
            hook(event).close()
            or log.append(f"> {event.url.path}" if hasattr(event, "method") else f"< {event.status_code}")
        )

    hooks = [on_request, on_response] if caller.is_async else [blocking(on_request), blocking(on_response)]
    http = caller.http(
        event_hooks={"request": hooks[:1], "response": hooks[1:]}, cookies={"session": "canary"}
    )
    client = wrap(caller.client(http_client=http), gateway=gateway)

    with pytest.warns(RespanWarning, match="x-team"):
        await caller.chat(client, extra_headers={"X-Team": "blue", "X-Request-Id": "r1"})

    (seen,) = served.seen
    assert log == ["> /api/chat/completions", "< 200"]
    assert seen.headers["x-request-id"] == "r1"
    assert seen.headers["user-agent"].startswith(("OpenAI/", "AsyncOpenAI/"))
    assert "cookie" not in seen.headers
    assert "x-team" not in seen.headers


async def test_headers_that_are_named_are_forwarded(caller, served) -> None:
    """Gateway(headers=[...]) lets a header of the user's own through."""
    client = wrap(caller.client(), gateway=Gateway(base_url=served.origin, headers=["X-Team"]))

    await caller.chat(client, extra_headers={"X-Team": "blue"})

    assert served.seen[0].headers["x-team"] == "blue"


async def test_authentication_of_the_http_client_stays_behind(caller, served, gateway) -> None:
    """auth= of the user's HTTP client is for the provider, and is not applied to the gateway's request."""
    client = wrap(caller.client(http_client=caller.http(auth=("user", "canary"))), gateway=gateway)

    await caller.chat(client)

    assert served.seen[0].headers["authorization"] == "Bearer rk-gateway-canary"


async def test_raw_and_streaming_responses_and_parse(caller, served, gateway) -> None:
    """with_raw_response, with_streaming_response and parse work, with parameters, at either end of the path."""
    served.behave = lambda _seen: reply(200, chat(json.dumps({"name": "x"})))
    client = wrap(caller.client(), gateway=gateway)
    ask = {"model": "m", "messages": HELLO, "customer_identifier": "u1"}

    raw = await caller(client.chat.completions.with_raw_response.create, **ask)
    also_raw = (
        await caller(client.with_raw_response.chat.completions.create, **ask)
        if hasattr(client.with_raw_response, "chat")
        else raw
    )
    manager = client.chat.completions.with_streaming_response.create(**ask)
    if caller.is_async:
        async with manager as streaming:
            parsed = await streaming.parse()
    else:
        with manager as streaming:
            parsed = streaming.parse()

    assert raw.headers["x-respan-target"] == "respan"
    assert raw.parse().choices[0].message.content == also_raw.parse().choices[0].message.content
    assert parsed.choices[0].message.content == '{"name": "x"}'
    assert all(seen.json["customer_identifier"] == "u1" for seen in served.seen)


async def test_parse_into_a_model(caller, served, gateway) -> None:
    """chat.completions.parse fills a pydantic model."""
    import pydantic

    class Name(pydantic.BaseModel):
        name: str

    served.behave = lambda _seen: reply(200, chat('{"name": "x"}'))
    client = wrap(caller.client(), gateway=gateway)
    completions = (
        client.chat.completions if hasattr(client.chat.completions, "parse") else client.beta.chat.completions
    )

    result = await caller(
        completions.parse, model="m", messages=HELLO, response_format=Name, thread_identifier="t"
    )

    assert result.choices[0].message.parsed == Name(name="x")
    assert served.seen[0].json["thread_identifier"] == "t"


async def test_streams(caller, served, gateway) -> None:
    """stream=True yields the chunks, and the stream helper accumulates them."""
    client = wrap(caller.client(), gateway=gateway)

    stream = await caller.chat(client, stream=True, customer_identifier="u1")
    chunks = await caller.items(stream)

    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "Hello!"
    assert served.seen[0].json["customer_identifier"] == "u1"


async def test_the_stream_helper(caller, served, gateway) -> None:
    """chat.completions.stream() takes parameters, too."""
    client = wrap(caller.client(), gateway=gateway)
    completions = (
        client.chat.completions
        if hasattr(client.chat.completions, "stream")
        else client.beta.chat.completions
    )

    manager = completions.stream(model="m", messages=HELLO, customer_identifier="u1")
    if caller.is_async:
        async with manager as stream:
            final = await stream.get_final_completion()
    else:
        with manager as stream:
            final = stream.get_final_completion()

    assert final.choices[0].message.content == "Hello!"
    assert served.seen[0].json["customer_identifier"] == "u1"
    assert record_of(stream).target == "respan"


async def test_closing_and_context_managers(caller, served, gateway) -> None:
    """`with wrap(...) as client` hands out the wrapped client, and closes the HTTP client at its end."""
    http = caller.http()
    client = wrap(caller.client(http_client=http), gateway=gateway)

    if caller.is_async:
        async with client as entered:
            await caller.chat(entered, customer_identifier="u1")
    else:
        with client as entered:
            await caller.chat(entered, customer_identifier="u1")

    assert entered is client
    assert http.is_closed
    assert client.is_closed()


async def test_errors_are_the_sdk_s(caller, served, gateway) -> None:
    """An error status raises the SDK's own class, and its request is the SDK's own, without the gateway's key."""
    served.behave = lambda _seen: reply(429, {"detail": "slow down"}, {"x-respan-log-id": "log1"})
    client = wrap(caller.client(), gateway=gateway)

    with pytest.raises(openai.RateLimitError) as caught:
        await caller.chat(client)

    error = caught.value
    assert error.response.headers["x-respan-target"] == "respan"
    assert str(error.request.url) == "https://api.openai.com/v1/chat/completions"
    assert b"rk-gateway-canary" not in pickle.dumps((error.request.headers.raw, str(error.request.url)))
    assert record_of(error).status == 429
    assert record_of(error).log_id == "log1"


@pytest.mark.parametrize(
    "body",
    [
        {"detail": "There is no such prompt."},
        {"detail": """Neither 'this' nor "that" is a prompt."""},
        {"error": {"message": "There is no such prompt.", "type": "invalid_request_error"}},
    ],
    ids=["detail", "quotes", "error"],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_traceback_shows_what_the_gateway_says(caller, served, gateway, body, stream) -> None:
    """In either shape of its errors, and once: newer SDKs leave out a ``detail``, older ones show it."""
    served.behave = lambda _seen: reply(404, body)
    client = wrap(caller.client(), gateway=gateway)

    with pytest.raises(openai.NotFoundError) as caught:
        await caller.chat(client, stream=stream)

    assert "".join(traceback.format_exception_only(caught.value)).count("prompt") == 1


async def test_what_the_gateway_says_is_one_line_of_limited_length(caller, served, gateway) -> None:
    """Nothing in it acts on a terminal, and a note holds no more than 500 characters of it."""
    served.behave = lambda _seen: reply(422, {"detail": "\x1b[31mred\nand\tlong" + "x" * 600})
    client = wrap(caller.client(), gateway=gateway)

    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await caller.chat(client)

    if "long" in str(caught.value):
        pytest.skip("this SDK shows it by itself")
    (note,) = notes_of(caught.value)
    assert note.startswith("respan says: [31mred and longxxx")
    assert note.endswith("x…")
    assert len(note) == len("respan says: ") + 500
    assert note.isprintable()


@pytest.mark.parametrize("detail", [{"reason": "no text"}, ["no text"], "", None, 7])
async def test_a_detail_that_is_no_text_is_not_shown(caller, served, gateway, detail) -> None:
    """It may hold anything; the exception's ``body`` has it."""
    served.behave = lambda _seen: reply(422, {"detail": detail})
    client = wrap(caller.client(), gateway=gateway)

    with pytest.raises(openai.UnprocessableEntityError) as caught:
        await caller.chat(client)

    assert notes_of(caught.value) == []
    assert caught.value.body == {"detail": detail}


async def test_only_gateways_are_quoted(caller, nobody, provider) -> None:
    """What a provider says, after the gateway was asked in vain or without it, is left to the SDK."""
    provider.behave = lambda _seen: reply(401, {"detail": "said by a provider"})
    client = wrap(
        caller.client(base_url=provider.origin + "/v1"),
        gateway=Gateway("rk-gateway-canary", nobody),
        fallbacks=[DIRECT],
    )

    for call in (
        lambda: caller.chat(client),
        lambda: caller(client.moderations.create, input="Hi"),
    ):
        with pytest.raises(openai.AuthenticationError) as caught:
            await call()
        assert notes_of(caught.value) == []
    assert len(provider.seen) == 2


async def test_a_gateway_that_is_not_there(caller, nobody) -> None:
    """A refused connection is the SDK's APIConnectionError, about the SDK's own request."""
    client = wrap(caller.client(), gateway=Gateway("rk-gateway-canary", nobody))

    with pytest.raises(openai.APIConnectionError) as caught:
        await caller.chat(client)

    cause = caught.value.__cause__
    assert str(cause.request.url) == "https://api.openai.com/v1/chat/completions"
    assert "rk-gateway-canary" not in repr(cause.request.headers.raw)
    assert record_of(caught.value).attempts[0].error == type(cause).__name__


async def test_a_user_s_subclass(caller, served, gateway) -> None:
    """A subclass with a constructor of its own keeps its type and what it holds."""

    class Mine(openai.AsyncOpenAI if caller.is_async else openai.OpenAI):
        def __init__(self, tenant: str, http_client) -> None:
            super().__init__(http_client=http_client, max_retries=0)
            self.tenant = tenant

    client = wrap(Mine("acme", caller.http()), gateway=gateway)
    await caller.chat(client)

    assert isinstance(client, Mine)
    assert client.tenant == "acme"
    assert len(served.seen) == 1


async def test_subclassed_resources_follow_the_client(caller, served, gateway) -> None:
    """A resource that a subclass makes in its constructor is made anew, so that it calls through the gateway."""
    base = openai.resources.AsyncChat if caller.is_async else openai.resources.Chat

    class MyChat(base):
        pass

    class Mine(openai.AsyncOpenAI if caller.is_async else openai.OpenAI):
        def __init__(self, **options) -> None:
            super().__init__(**options)
            self.mine = MyChat(self)

    client = wrap(Mine(http_client=caller.http(), max_retries=0), gateway=gateway)
    await caller(client.mine.completions.create, model="m", messages=HELLO, thread_identifier="t")

    assert served.seen[0].json["thread_identifier"] == "t"


def test_a_resource_that_cannot_follow_is_named(gateway) -> None:
    """A resource with a constructor of its own would bypass the gateway, so there is a warning."""

    class MyChat(openai.resources.Chat):
        def __init__(self, client, extra) -> None:
            super().__init__(client)
            self.extra = extra

    client = openai.OpenAI()
    client.mine = MyChat(client, 1)

    with pytest.warns(RespanWarning, match=r"client\.mine") as caught:
        wrap(client, gateway=gateway)

    assert caught[0].filename == __file__


def test_instrumentation_that_would_be_lost_is_named(gateway) -> None:
    """A tracer's replacement on the instance does not survive wrapping: the warning says to wrap first."""
    client = openai.OpenAI()
    client.chat.completions.create = lambda **_kwargs: None

    with pytest.warns(RespanWarning, match=r"chat\.completions\.create.*[Ww]rap first") as caught:
        wrap(client, gateway=gateway)

    assert caught[0].filename == __file__


async def test_a_tracer_over_a_wrapped_client_sees_every_call(caller, served, gateway) -> None:
    """Replacing a method on the wrapped client works as on a plain one."""
    client = wrap(caller.client(), gateway=gateway)
    original = client.chat.completions.create
    traced = []

    def create(**kwargs):
        traced.append(kwargs["model"])
        return original(**kwargs)

    client.chat.completions.create = create
    await caller.chat(client, customer_identifier="u1")

    assert traced == ["gpt-4o-mini"]
    assert served.seen[0].json["customer_identifier"] == "u1"


# --- what is refused -------------------------------------------------------


@pytest.mark.parametrize("thing", [object(), openai, "client"], ids=["object", "module", "str"])
def test_only_openai_clients_are_wrapped(thing) -> None:
    """Anything else is told what to do instead."""
    with pytest.raises(ConfigError, match="RespanTransport"):
        wrap(thing)


@pytest.mark.parametrize("attribute", ["_provider", "workload_identity", "_data_residency"])
def test_clients_that_cannot_be_rerouted(attribute) -> None:
    """provider=, workload_identity= and data_residency= are refused with the reason."""
    client = openai.OpenAI()
    setattr(client, attribute, object())

    with pytest.raises(ConfigError, match=attribute.strip("_")):
        wrap(client)


def test_a_gateway_that_is_none() -> None:
    """gateway= takes a gateway, not an address."""
    with pytest.raises(ConfigError, match="str"):
        wrap(openai.OpenAI(), gateway="https://api.respan.ai")


def test_no_key_at_all(monkeypatch) -> None:
    """The error names the variables that were looked for."""
    monkeypatch.delenv("RESPAN_API_KEY")

    with pytest.raises(ConfigError, match="RESPAN_API_KEY"):
        wrap(openai.OpenAI())


async def test_on_call_is_told_once_and_cannot_break_a_call(caller, gateway, caplog) -> None:
    """A hook that raises costs a log line, not an answer."""
    told = Told()

    def hook(record) -> None:
        told(record)
        raise RuntimeError("from the hook")

    client = wrap(caller.client(), gateway=gateway, on_call=hook)
    result = await caller.chat(client)

    (record,) = told.records
    assert result.choices[0].message.content == "Hello!"
    assert (record.status, record.done, record.complete) == (200, True, True)
    assert "from the hook" in caplog.text


# --- keys that change, and calls that go elsewhere --------------------------


async def test_a_client_at_the_gateway_may_change_its_key(caller, served, monkeypatch) -> None:
    """Copies, attributes, functions and headers: the key of each call is the one that the client put on it."""
    monkeypatch.setenv("RESPAN_BASE_URL", served.origin)
    client = wrap(caller.client(base_url=served.origin + "/api", api_key="rk-1"))

    await caller.chat(client)
    await caller.chat(client.with_options(api_key="rk-2"))
    client.api_key = "rk-3"
    await caller.chat(client)
    await caller.chat(client, extra_headers={"Authorization": "Bearer rk-4"})

    assert [seen.headers["authorization"] for seen in served.seen] == [f"Bearer rk-{n}" for n in (1, 2, 3, 4)]


@pytest.mark.skipif(openai.VERSION < "2", reason="openai 1.68 takes no function as api_key")
async def test_a_client_at_the_gateway_whose_key_is_a_function(caller, served, monkeypatch) -> None:
    """It is asked by the SDK for each call, as without us."""
    monkeypatch.setenv("RESPAN_BASE_URL", served.origin)
    monkeypatch.delenv("RESPAN_API_KEY")

    async def later() -> str:
        return "rk-called"

    key = later if caller.is_async else lambda: "rk-called"
    client = wrap(caller.client(base_url=served.origin + "/api", api_key=key))

    await caller.chat(client)

    assert served.seen[0].headers["authorization"] == "Bearer rk-called"


async def test_parameters_do_not_follow_other_methods_of_a_served_resource(caller, provider, gateway) -> None:
    """chat.completions.update() goes to the provider: a parameter there is an error, in a body and as a keyword."""
    client = wrap(caller.client(base_url=provider.origin + "/v1"), gateway=gateway)

    for given in ({"customer_identifier": "u1"}, {"extra_body": body(customer_identifier="u1")}):
        with pytest.raises(ParamsError, match="straight to the provider"):
            await caller(client.chat.completions.update, "id", metadata={}, **given)

    assert provider.seen == []


async def test_parameters_do_not_follow_what_openrouter_does_not_serve(caller, provider) -> None:
    """Embeddings pass through there, so their parameters are an error."""
    client = wrap(caller.client(base_url=provider.origin + "/v1"), gateway=OpenRouter("or-key"))

    with pytest.raises(ParamsError, match="straight to the provider"):
        await caller(client.embeddings.create, model="m", input="Hi", customer_identifier="u1")

    assert provider.seen == []


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ({"api_key": "rk-gateway-canary", "default_headers": {"api-key": "x"}}, {}),
        ({}, {"Authorization": "bearer rk-gateway-canary"}),
        ({}, {"X-Api-Key": "rk-gateway-canary"}),
    ],
    ids=["behind another key", "another spelling", "another header"],
)
async def test_the_gateway_s_key_in_any_header_stays_here(
    caller, provider, gateway, options, headers
) -> None:
    """Whichever credential header it stands in, it does not go to the provider."""
    client = wrap(caller.client(base_url=provider.origin + "/v1", **options), gateway=gateway)

    with pytest.raises(NotServedError):
        await caller(client.moderations.create, input="Hi", extra_headers=headers)

    assert provider.seen == []


async def test_parameters_in_default_headers_do_not_reach_the_provider(
    caller, served, provider, gateway
) -> None:
    """The header is the gateway's: it goes there with served calls, and is left out of those that pass through."""
    headers = {"X-Data-Respan-Params": "eyJkaXNhYmxlX2xvZyI6dHJ1ZX0=", "X-Mine": "1"}
    client = wrap(caller.client(base_url=provider.origin + "/v1", default_headers=headers), gateway=gateway)

    with pytest.raises(openai.NotFoundError):
        await caller(client.moderations.create, input="Hi")
    with pytest.warns(RespanWarning, match="x-mine"):
        await caller.chat(client)

    (passed,) = provider.seen
    assert passed.headers["x-mine"] == "1"
    assert passed.json == {"input": "Hi"}
    assert not any(name.startswith("x-data") for name in passed.headers)
    assert served.seen[0].params == {"disable_log": True}


def test_websockets_of_a_client_with_only_the_gateway_s_key(gateway) -> None:
    """They would take the key straight to the provider, so connecting raises; with a provider's key it does not."""
    client = wrap(openai.OpenAI(api_key="rk-gateway-canary"), gateway=gateway)
    resource = client.realtime if hasattr(client, "realtime") else client.beta.realtime
    ordinary = wrap(openai.OpenAI(), gateway=gateway)

    with pytest.raises(NotServedError, match="Websockets"):
        _ = resource.connect
    assert callable((ordinary.realtime if hasattr(ordinary, "realtime") else ordinary.beta.realtime).connect)


# --- proxies that behave -----------------------------------------------------


def test_mocks_on_the_class_come_and_go(library, served, gateway, monkeypatch) -> None:
    """Instrumentation of all clients at once is seen while it is there, and not afterwards."""
    client = wrap(openai.OpenAI(http_client=library.Client()), gateway=gateway)
    completions = type(client.chat.completions.__wrapped__)

    client.chat.completions.create(model="m", messages=HELLO)
    with monkeypatch.context() as patched:
        patched.setattr(completions, "create", lambda _self, **_kwargs: "fake")
        assert client.chat.completions.create(model="m", messages=HELLO) == "fake"
    client.chat.completions.create(model="m", messages=HELLO, customer_identifier="u1")

    assert len(served.seen) == 2
    client.close()


async def test_a_replaced_method_can_be_put_back(caller, served, gateway) -> None:
    """Deleting the replacement on the instance brings the SDK's method back."""
    client = wrap(caller.client(), gateway=gateway)
    client.chat.completions.create = lambda **_kwargs: "fake"

    fake = client.chat.completions.create(model="m")
    del client.chat.completions.create
    await caller.chat(client, customer_identifier="u1")

    assert fake == "fake"
    assert served.seen[0].json["customer_identifier"] == "u1"


async def test_a_tracer_of_the_http_client_comes_and_goes(caller, served, gateway, monkeypatch) -> None:
    """Who replaces the HTTP client's methods sees each request once, and none after he has put them back."""
    client = wrap(caller.client(), gateway=gateway)
    http, built, sent = client._client, [], []
    build_request, send = http.build_request, http.send

    with monkeypatch.context() as patched:
        patched.setattr(
            http, "build_request", lambda *args, **options: built.append(1) or build_request(*args, **options)
        )
        patched.setattr(http, "send", lambda *args, **options: sent.append(1) or send(*args, **options))
        await caller.chat(client)
        assert {"build_request", "send"}.isdisjoint(
            vars(http.__wrapped__)
        )  # the user's own client is left alone
    await caller.chat(client)

    assert (built, sent, len(served.seen)) == ([1], [1], 2)


async def test_its_protocols_are_the_client_s(caller, gateway) -> None:
    """Code tells sync from async clients by their context managers; and copy.copy works as with a plain one."""
    plain = caller.client()
    client = wrap(plain, gateway=gateway)

    for name in ("__enter__", "__aenter__"):
        assert hasattr(client, name) == hasattr(plain, name)
    assert isinstance(copy.copy(client), type(plain))
    assert isinstance(copy.copy(client.chat), type(plain.chat))
    assert copy.copy(client.chat.completions.create).__name__ == "create"


async def test_a_copied_client_is_wrapped(caller, served, gateway) -> None:
    """copy.copy() of a wrapped client lifts and reroutes as the original."""
    await caller.chat(copy.copy(wrap(caller.client(), gateway=gateway)), customer_identifier="u1")

    assert served.seen[0].json["customer_identifier"] == "u1"


def test_what_a_subclass_computed_and_overrode_is_kept(gateway) -> None:
    """Its own cached properties keep their values, and its own with_options is the one that is called."""

    class Mine(openai.OpenAI):
        called = False

        @functools.cached_property
        def token(self) -> object:
            return object()

        def with_options(self, **options):
            type(self).called = True
            return super().with_options(**options)

    plain = Mine()
    token = plain.token
    client = wrap(plain, gateway=gateway)

    assert client.token is token
    assert isinstance(client.with_options(timeout=3), Mine)
    assert Mine.called


async def test_a_response_hook_that_raises(caller, served, gateway) -> None:
    """raise_for_status() in a hook: the error is about the SDK's request, without the gateway's key."""
    served.behave = lambda _seen: reply(500, {"error": {"message": "oops"}})

    async def later(answer) -> None:
        answer.raise_for_status()

    hook = later if caller.is_async else lambda answer: answer.raise_for_status()
    client = wrap(caller.client(http_client=caller.http(event_hooks={"response": [hook]})), gateway=gateway)

    with pytest.raises((openai.APIConnectionError, caller.library.HTTPStatusError)) as caught:
        await caller.chat(client)

    error = caught.value.__cause__ or caught.value
    assert (
        str(error.request.url)
        == str(error.response.request.url)
        == "https://api.openai.com/v1/chat/completions"
    )
    assert "rk-gateway-canary" not in repr(error.request.headers.raw)


async def test_a_redirect_that_is_not_followed_shows_no_key(caller, served, gateway) -> None:
    """The HTTP library prepares the next request with the gateway's key; it is not handed on."""
    served.behave = lambda _seen: reply(307, b"", {"location": "/moved"})
    client = wrap(caller.client(http_client=caller.http(follow_redirects=False)), gateway=gateway)

    with pytest.raises(openai.APIStatusError) as caught:
        await caller.chat(client)

    assert caught.value.response.next_request is None


async def test_cookies_of_the_gateway_are_dropped(caller, served, provider, gateway) -> None:
    """They reach neither the user's jar nor the provider; the jar keeps what was in it."""
    served.behave = lambda _seen: reply(200, chat(), {"set-cookie": "gw=canary; Path=/"})
    http = caller.http(cookies={"mine": "1"})
    client = wrap(caller.client(base_url=provider.origin + "/v1", http_client=http), gateway=gateway)

    raw = await caller(client.chat.completions.with_raw_response.create, model="m", messages=HELLO)
    await caller(client.models.with_raw_response.list)

    assert "set-cookie" not in raw.headers
    assert dict(http.cookies) == {"mine": "1"}
    assert provider.seen[0].headers["cookie"] == "mine=1"


async def test_extra_body_of_a_call_that_passes_through(caller, provider, gateway) -> None:
    """It reaches the provider as it was written: no name is looked at but those that are ours alone."""
    client = wrap(caller.client(base_url=provider.origin + "/v1"), gateway=gateway)
    extra = {"metadata": {"n": 1}, "prompt": {"id": 1}, "fallback_modles": ["a"], "models": None}

    with pytest.raises(openai.NotFoundError):
        await caller(client.moderations.create, input="Hi", extra_body=extra)

    assert provider.seen[0].json == {"input": "Hi", **extra}


def test_a_parameter_error_can_be_pickled(gateway) -> None:
    """Worker processes hand errors back by pickle: message and parameter survive."""
    with pytest.raises(ParamsError) as caught:
        body(cache_ttl="soon")

    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 -- our own
    assert (str(again), again.param) == (str(caught.value), "cache_ttl")
