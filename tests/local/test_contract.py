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


async def test_interface_2(reach: Reach, client: Any, gateway: LocalGateway, up: Upstream) -> None:
    """Interface 2, Responses: streaming, tools, a stored prompt as instructions, and the beta header (reference 001)."""
    gateway.prompts.sources  # noqa: B018
