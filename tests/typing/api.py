"""What type checkers see; checked by them, never run."""

from __future__ import annotations

from typing import assert_type

import httpx2
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI, omit

from respan_openai import (
    DIRECT,
    AsyncRespanTransport,
    Breaker,
    CallRecord,
    Fallback,
    Gateway,
    Hedge,
    Limits,
    LocalGateway,
    OpenRouter,
    Provider,
    RespanParams,
    RespanTransport,
    Retry,
    StreamInterrupted,
    Streams,
    TargetHealth,
    Timeouts,
    body,
    health,
    last_call,
    params,
    record_of,
    wrap,
)


class Mine(OpenAI):
    tenant: str = "acme"


assert_type(wrap(OpenAI()), OpenAI)
assert_type(wrap(AsyncOpenAI()), AsyncOpenAI)
assert_type(wrap(AzureOpenAI(azure_endpoint="https://a", api_version="1")), AzureOpenAI)
assert_type(wrap(AsyncAzureOpenAI(azure_endpoint="https://a", api_version="1")), AsyncAzureOpenAI)
assert_type(wrap(Mine()), Mine)
assert_type(wrap(Mine()).tenant, str)


def hook(record: CallRecord, /) -> None:
    """Told of each call."""


settings: RespanParams = {"customer_identifier": "u1", "cache_ttl": 60}
client = wrap(OpenAI(), gateway=Gateway(beta=["b"], headers=["x"]), defaults=settings, on_call=hook)
wrap(OpenAI(), gateway=OpenRouter("k"))
wrap(OpenAI(), gateway=LocalGateway([Provider("p", "https://p/v1", "k")], api_keys=["a"]))

httpx2.Client(transport=RespanTransport(httpx2.HTTPTransport(), gateway=LocalGateway.echo()))
httpx2.AsyncClient(transport=AsyncRespanTransport(httpx2.AsyncHTTPTransport(), on_call=hook))

assert_type(
    wrap(
        OpenAI(),
        fallbacks=[
            DIRECT,
            Provider("p", "https://p/v1", lambda: "k", models={"a": "b"}, overrides={"top_p": omit}),
        ],
        retry=Retry(attempts=2),
        timeouts=Timeouts(idle=None),
        breaker=Breaker(failures=3),
        hedge=Hedge(),
        streams=Streams(incomplete="warn"),
        limits=Limits(body=1 << 20),
    ),
    OpenAI,
)
wrap(OpenAI(), fallbacks=Fallback(DIRECT, on_context=["gpt-4.1", OpenRouter("k")]))
httpx2.Client(transport=RespanTransport(httpx2.HTTPTransport(), fallbacks=[DIRECT], retry=Retry()))
assert_type(health(), tuple[TargetHealth, ...])


def text_of(error: StreamInterrupted) -> str:
    """What arrived before a stream broke off."""
    return error.text


client.chat.completions.create(model="m", messages=[], extra_body=body(fallback_models=["a"], cache_ttl=60))


@params(customer_identifier="u1")
def work(number: int) -> str:
    """Keeps its own type."""
    return str(number)


@params(customer_identifier="u1")
async def later(number: int) -> str:
    """As well."""
    return str(number)


assert_type(work(1), str)
with params(customer_identifier="u1", metadata={"run": 7}) as block:
    assert_type(block, params)

assert_type(last_call(), CallRecord | None)
assert_type(record_of(client), CallRecord | None)

# Wrong names and types are refused.
body(fallback_modles=["a"])  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
body(cache_ttl="soon")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
params(customer_identifier=["u1"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Streams(incomplete="maybe")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Retry(3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
wrap("client")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
