"""What type checkers see; checked by them, never run."""

from __future__ import annotations

from typing import assert_type

import httpx2
from openai import AsyncAzureOpenAI, AsyncOpenAI, AzureOpenAI, OpenAI

from respan_openai import (
    AsyncRespanTransport,
    CallRecord,
    Gateway,
    LocalGateway,
    OpenRouter,
    Provider,
    RespanParams,
    RespanTransport,
    body,
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
wrap("client")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
