"""The user's own network settings stay in force: proxies, mounts, TLS, limits, timeouts."""

from __future__ import annotations

import ssl

import openai
import pytest
import trustme
from doubles import Tunnel, Upstream

from respan_openai import Gateway, wrap


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def trusted(authority) -> ssl.SSLContext:
    """What a client needs to trust the doubles' certificates."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def secure(authority):
    """A gateway that speaks TLS, with a certificate for a host of its own."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("gateway.test", "127.0.0.1").configure_cert(context)
    upstream = Upstream(tls=context)
    yield upstream
    upstream.close()


async def test_an_environment_proxy_is_used(caller, served, monkeypatch) -> None:
    """HTTP_PROXY: the gateway's host does not even resolve; the proxy gets the call, with the gateway's key."""
    monkeypatch.setenv("HTTP_PROXY", served.origin)
    client = wrap(caller.client(http_client=caller.http()), gateway=Gateway(base_url="http://gateway.test"))

    await caller.chat(client)

    (seen,) = served.seen
    assert seen.target == "http://gateway.test/api/chat/completions"
    assert seen.headers["host"] == "gateway.test"


async def test_an_environment_proxy_for_tls_is_tunnelled_through(
    caller, secure, trusted, monkeypatch
) -> None:
    """HTTPS_PROXY: the proxy sees a CONNECT to the gateway's host, and nothing of what is inside."""
    tunnel = Tunnel(secure.port)
    monkeypatch.setenv("HTTPS_PROXY", tunnel.url)
    client = wrap(
        caller.client(http_client=caller.http(verify=trusted)),
        gateway=Gateway(base_url="https://gateway.test"),
    )

    await caller.chat(client)
    await caller.close()
    tunnel.close()

    assert tunnel.asked == ["CONNECT gateway.test:443"]
    assert [seen.path for seen in secure.seen] == ["/api/chat/completions"]


async def test_no_proxy_is_obeyed(caller, served, provider, monkeypatch) -> None:
    """NO_PROXY: the gateway is called directly."""
    monkeypatch.setenv("HTTP_PROXY", provider.origin)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    client = wrap(caller.client(http_client=caller.http()), gateway=Gateway(base_url=served.origin))

    await caller.chat(client)

    assert (len(served.seen), len(provider.seen)) == (1, 0)


async def test_mounts_are_obeyed(caller, served, provider) -> None:
    """A transport that the user mounted for the gateway's host gets the call."""
    sent = []

    def answer(request):
        sent.append(str(request.url))
        return caller.library.Response(200, json={"id": "1", "choices": []})

    mounts = {"all://gateway.test": caller.library.MockTransport(answer)}
    client = wrap(
        caller.client(http_client=caller.http(mounts=mounts)),
        gateway=Gateway(base_url="https://gateway.test"),
    )

    await caller.chat(client)

    assert sent == ["https://gateway.test/api/chat/completions"]


async def test_the_user_s_trust_is_used(caller, secure, trusted) -> None:
    """verify=context: the gateway's certificate is checked against it."""
    http = caller.http(verify=trusted)
    client = wrap(caller.client(http_client=http), gateway=Gateway(base_url=secure.origin))

    await caller.chat(client)

    assert len(secure.seen) == 1


async def test_without_trust_nothing_is_sent(caller, secure) -> None:
    """An unknown authority: the SDK's connection error, and not a byte of the call."""
    client = wrap(caller.client(http_client=caller.http()), gateway=Gateway(base_url=secure.origin))

    with pytest.raises(openai.APIConnectionError):
        await caller.chat(client)

    assert secure.seen == []


async def test_timeouts_of_the_call_are_kept(caller, served, gateway) -> None:
    """timeout= of client and call reach the HTTP library unchanged."""
    seen = []

    async def note(request) -> None:
        seen.append(request.extensions["timeout"]["read"])

    hooks = {
        "request": [
            note if caller.is_async else lambda request: seen.append(request.extensions["timeout"]["read"])
        ]
    }
    client = wrap(caller.client(http_client=caller.http(event_hooks=hooks), timeout=12.0), gateway=gateway)

    await caller.chat(client)
    await caller.chat(client, timeout=3.0)

    assert seen == [12.0, 3.0]


async def test_connections_are_reused(caller, served, gateway) -> None:
    """The pool is the user's own: two calls, one connection."""
    http = caller.http(limits=caller.library.Limits(max_connections=1))
    client = wrap(caller.client(http_client=http), gateway=gateway)

    for _ in range(3):
        await caller.chat(client)

    assert (len(served.seen), served.connections) == (3, 1)
