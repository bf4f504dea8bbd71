"""Canaries in every credential: no byte stream holds another target's, whatever goes wrong."""

from __future__ import annotations

import base64
import io
import logging
import pickle
import random
import re
import traceback

import openai
import pytest
from doubles import chat, ordinary, reply, stream_head

from respan_openai import Gateway, OpenRouter, RespanTransport, last_call, params, record_of, wrap


PROVIDERS_OWN = {
    "api_key": "sk-provider-canary",
    "organization": "org-provider-canary",
    "project": "proj-provider-canary",
}


def everything(served) -> bytes:
    """All that came in, with the header carriers decoded."""
    carriers = re.findall(rb"(?i)x-data-[a-z-]+: *(\S+)", served.bytes)
    return served.bytes + b"".join(base64.b64decode(value) for value in carriers)


def _half_a_stream():
    yield stream_head()
    yield b"5\r\ndata:\r\n"
    raise ConnectionAbortedError


FAULTS = {
    "answer": ordinary,
    "401": lambda _: reply(401, {"detail": "no"}),
    "429": lambda _: reply(429, {"detail": "slow", "retry_after": 1}, {"retry-after-ms": "1"}),
    "500": lambda _: reply(500, {"error": {"message": "oops"}}, {"retry-after-ms": "1"}),
    "html": lambda _: reply(200, b"<html>", {"content-type": "text/html"}),
    "hang up": lambda _: None,
    "half a stream": lambda _: _half_a_stream(),
    "redirect": lambda seen: reply(307, b"", {"location": f"http://localhost:1{seen.path}"}),
    "cookie": lambda _: reply(200, chat(), {"set-cookie": "gateway-canary=1; Path=/"}),
}


@pytest.mark.parametrize("seed", range(3))
async def test_each_side_sees_only_its_own(caller, served, provider, seed) -> None:
    """Served and passed-through calls, streamed and not, under random faults."""
    rng = random.Random(seed)
    for side in (served, provider):
        side.behave = lambda seen: rng.choice([*FAULTS.values()])(seen)
    http = caller.http(cookies={"provider-canary": "1"}, follow_redirects=True)
    client = wrap(
        caller.client(base_url=provider.origin + "/v1", http_client=http, **PROVIDERS_OWN),
        gateway=Gateway("rk-gateway-canary", served.origin),
    )

    for number in range(12):
        try:
            with params(customer_identifier="u1"):
                if number % 4 == 3:
                    await caller(client.moderations.create, input="Hi")
                else:
                    result = await caller.chat(client, stream=number % 2 == 1)
                    if number % 2 == 1:
                        await caller.items(result)
        except (openai.OpenAIError, ValueError, caller.library.TransportError) as exc:
            assert "canary" not in "".join(traceback.format_exception(exc))

    assert served.seen
    assert provider.seen
    assert b"provider-canary" not in everything(served)
    assert b"gateway-canary" not in everything(provider)


@pytest.mark.parametrize("header", ["Authorization", "api-key", "Cookie", "OpenAI-Organization", "X-Api-Key"])
async def test_credentials_in_the_user_s_own_headers(caller, served, gateway, header) -> None:
    """default_headers and extra_headers with a key in them are left behind as well."""
    client = wrap(caller.client(default_headers={header: "provider-canary"}), gateway=gateway)

    await caller.chat(client)
    await caller.chat(client, extra_headers={header: "provider-canary"})

    assert b"provider-canary" not in served.bytes


def test_what_is_told_to_the_user_holds_no_key(library, served, caplog, capsys) -> None:
    """Records, errors, logs, reprs and pickles of records: no key of anybody."""
    served.behave = lambda _: reply(400, {"error": {"message": "bad"}})
    stream = io.StringIO()
    gateway = Gateway("rk-gateway-canary", served.origin, forward_credentials=True)
    caplog.set_level(logging.DEBUG)
    client = wrap(
        openai.OpenAI(http_client=library.Client(), max_retries=0),
        gateway=gateway,
        on_call=lambda record: print(record, file=stream),
    )

    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="m", messages=[])

    texts = [
        stream.getvalue(),
        repr(last_call()),
        repr(record_of(caught.value)),
        pickle.dumps(last_call()).decode("latin-1"),
        "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=False).format()),
        repr(vars(gateway)),
        repr(caught.value.request.headers.raw).replace("sk-provider-canary", ""),
        repr(Gateway("rk-gateway-canary")),
        repr(OpenRouter("or-gateway-canary")),
        repr(RespanTransport(library.HTTPTransport())),
        *(record.getMessage() for record in caplog.records if record.name.startswith("respan")),
    ]
    assert not any("canary" in text for text in texts)
    client.close()


def test_the_http_library_s_log_shows_no_key(library, served, caplog) -> None:
    """Its INFO line names the URL, in which no key ever stands."""
    caplog.set_level(logging.INFO)
    client = wrap(
        openai.OpenAI(http_client=library.Client()), gateway=Gateway("rk-gateway-canary", served.origin)
    )

    client.chat.completions.create(
        model="m", messages=[], credential_override={"m": {"api_key": "sk-canary"}}
    )

    assert "/api/chat/completions" in caplog.text
    assert "canary" not in caplog.text
    client.close()


def test_frames_of_a_traceback_hold_no_key(library, nobody) -> None:
    """Error reporters collect the locals of each frame; ours show no key."""
    client = wrap(
        openai.OpenAI(http_client=library.Client(), max_retries=0), gateway=Gateway("rk-gw", nobody)
    )

    with pytest.raises(openai.APIConnectionError) as caught:
        client.chat.completions.create(model="m", messages=[])

    shown = [
        (frame.filename, name)
        for error in (caught.value, caught.value.__cause__)
        for frame in traceback.TracebackException.from_exception(error, capture_locals=True).stack
        for name, value in (frame.locals or {}).items()
        if ("rk-gw" in value or "sk-provider-canary" in value) and "respan_openai" in frame.filename
    ]
    assert shown == []
    client.close()
