"""What all calls of one gateway share: connections of each event loop, health and latency of models, the secret."""

from __future__ import annotations

import asyncio
import importlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from respan_openai import Provider
from respan_openai.exceptions import StoreError
from respan_openai.local import LocalGateway
from respan_openai.local.credentials import Credential
from respan_openai.local.router import Candidate
from respan_openai.stores.memory import MemoryStore
from tests.local.support import HELLO, chat
from tests.local_support import FAMILIES, PROVIDER_KEY, Upstream, answer, http_client, listening


if TYPE_CHECKING:
    from collections.abc import Iterator


THEIRS = "canary-their-key-0123"
CANDIDATE = Candidate("echo", "m", "m", None, "")


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    """Each HTTP library that this SDK accepts."""
    return str(request.param)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A provider on a socket, which ends each connection."""
    with listening() as upstream:
        upstream.respond = lambda wfile, _raw: answer(wfile, 200, chat(), "Connection: close")
        yield upstream


@pytest.fixture
def gateway(upstream: Upstream) -> LocalGateway:
    """A gateway with one provider."""
    return LocalGateway([Provider("up", upstream.base_url, PROVIDER_KEY)])


def request(family: str, **more: Any) -> Any:
    """A chat completion."""
    body = {"model": "m", "messages": HELLO, **more}
    return importlib.import_module(family).Request(
        "POST", "http://respan.invalid/api/chat/completions", json=body
    )


async def asked(transport: Any, family: str) -> int:
    """Number of clients that *transport* has after a call."""
    response = await transport.handle_async_request(request(family))
    assert json.loads(await response.aread()) == chat()
    return len(transport._clients)


# -- connections


@pytest.mark.parametrize("run", [asyncio.run, trio.run], ids=["asyncio", "trio"])
def test_loops_that_are_over_are_forgotten(family: str, gateway: LocalGateway, run: Any) -> None:
    """However many loops one transport serves one after the other, it keeps the clients of the last one only."""
    transport = gateway.async_transport()

    async def call() -> int:
        return await asked(transport, family)

    counts = [asyncio.run(call()) if run is asyncio.run else trio.run(call) for _ in range(3)]

    assert counts == [1, 1, 1]


@pytest.mark.parametrize("run", [asyncio.run, trio.run], ids=["asyncio", "trio"])
def test_closing(family: str, gateway: LocalGateway, run: Any) -> None:
    """Closing it gives back this loop's connections, once; a later call opens new ones."""
    transport = gateway.async_transport()

    async def main() -> list[bool]:
        async with transport:
            assert await asked(transport, family) == 1
            assert await asked(transport, family) == 1
            clients = [*transport._clients.values()]
        await transport.aclose()
        assert await asked(transport, family) == 1
        await transport.aclose()
        return [client.is_closed for client in clients]

    assert (asyncio.run(main()) if run is asyncio.run else trio.run(main)) == [True]
    assert transport._clients == {}


def test_closing_while_blocking(family: str, gateway: LocalGateway) -> None:
    """The same for blocking callers."""
    transport = gateway.transport()
    with transport:
        assert transport.handle_request(request(family)).status_code == 200
        (client,) = transport._clients.values()
    transport.close()

    assert client.is_closed
    assert transport._clients == {}
    assert "canary" not in repr(transport)


# -- models


def test_health_by_credential() -> None:
    """A limit of one key says nothing about another one, and no key is kept to tell them apart."""
    gateway = LocalGateway.echo()
    own = CANDIDATE._replace(credential=Credential(THEIRS))
    other = CANDIDATE._replace(credential=Credential(f"{THEIRS}-2"))
    healths = [
        gateway.health_at(candidate) for candidate in (CANDIDATE, own, other, CANDIDATE._replace(sent="n"))
    ]

    assert len({id(health) for health in healths}) == 4
    assert gateway.health_at(own._replace(credential=Credential(THEIRS))) is healths[1]
    assert "canary" not in repr(vars(gateway)) + repr([*gateway._healths._kept])


def test_latency() -> None:
    """The newest call counts a part, the first one all."""
    gateway = LocalGateway.echo()
    gateway.measured(CANDIDATE, 1.0)
    gateway.measured(CANDIDATE, 2.0)

    assert gateway._seconds.get("echo/m") == pytest.approx(1.3)
    assert gateway._seconds.get("echo/n") is None


def test_models_of_callers_own_making() -> None:
    """Names come from requests, so they are not kept without end."""
    gateway = LocalGateway.echo()
    for number in range(5000):
        candidate = CANDIDATE._replace(sent=f"m{number}")
        gateway.measured(candidate, 1.0)
        gateway.health_at(candidate)

    assert len(gateway._seconds) == len(gateway._healths) == 4096


# -- the secret


class Secretive(MemoryStore):
    """A store that does not tell its secret the first time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def secret(self) -> bytes:
        """Fails once."""
        self.asked += 1
        if self.asked == 1:
            raise StoreError("The store is out of reach.")
        return super().secret()


def test_secret_that_cannot_be_read(
    family: str, upstream: Upstream, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is cached then, and the call is answered; later it is asked for again, and then no more."""
    store = Secretive()
    gateway = LocalGateway([Provider("up", upstream.base_url, PROVIDER_KEY)], store=store)
    with http_client(family, gateway) as http:
        body = {"model": "m", "messages": HELLO, "cache_enabled": True}
        cached = [http.post("/chat/completions", json=body).headers["x-respan-cache"] for _ in range(4)]

    assert cached == ["miss", "miss", "hit", "hit"]
    assert store.asked == 2
    assert "nothing is cached. The store is out of reach." in caplog.text


# -- prompts in the store


class Promptless(MemoryStore):
    """A store that cannot read its prompts."""

    def prompt(self, *_: Any) -> Any:
        """Fails."""
        raise StoreError("The store is out of reach.")


def garbled() -> MemoryStore:
    """A store whose prompt is none."""
    store = MemoryStore()
    store.save_prompt("p", {"canary": 1})
    return store


@pytest.mark.parametrize("make", [Promptless, garbled])
def test_stored_prompt_that_cannot_be_read(
    family: str, upstream: Upstream, caplog: pytest.LogCaptureFixture, make: Any
) -> None:
    """The call is refused, because what it asks for is not known; why stands in the log."""
    gateway = LocalGateway([Provider("up", upstream.base_url, PROVIDER_KEY)], store=make())
    with http_client(family, gateway) as http:
        body = {"model": "m", "prompt": {"prompt_id": "p"}}
        answered = http.post("/chat/completions", json=body)

    assert (answered.status_code, answered.json()["error"]["code"]) == (400, "prompt_unreadable")
    assert "A stored prompt cannot be read." in caplog.text
    assert upstream.received == []
