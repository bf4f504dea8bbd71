"""TLS: whom to trust, and what becomes of a handshake that fails: rows T1 to T8."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import openai
import pytest
import trustme
from doubles import chat
from faults.standing import standing
from faults.steps import Answer, AtAccept, Garbage, Ok, Silence
from faults.stories import duplicates, faults_of, said, story

from respan_openai import DIRECT, CallFailed, RedirectRefused


if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.wire import Request, Wire


both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


# --- T1 to T3: a certificate that is not accepted --------------------------


@pytest.fixture
def impostor(certified) -> Callable[[str], ssl.SSLContext]:
    """What a server identifies itself with that should not be trusted as ``127.0.0.1``."""

    def unknown() -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        return context

    makers = {
        "unknown": unknown,
        "misnamed": lambda: certified("somebody.else"),
        "expired": lambda: certified(expired=True),
    }
    return lambda kind: makers[kind]()


REASONS = {"unknown": "unable to get local issuer", "misnamed": "not valid for", "expired": "has expired"}


@both_ways
@pytest.mark.parametrize("kind", REASONS)
async def test_t1_t2_t3_a_certificate_that_is_not_accepted_ends_the_call(
    world, impostor, trusted, told, kind, stream
) -> None:
    """One handshake, nothing sent, nobody else asked: somebody in between would be hidden by a fallback."""
    provider, gateway = world.provider(), world.gateway(tls=impostor(kind))
    second = world.server("p2")
    client = world.wrapped(
        provider, gateway, second, DIRECT, client={"http_client": world.http(verify=trusted)}, on_call=told
    )

    async with standing({provider: 0, gateway: 0, second: 0}, client):
        with pytest.raises(CallFailed) as caught:
            await said(world, client, stream=stream)

    assert isinstance(caught.value, openai.APIConnectionError)
    assert gateway.connections == 1
    assert [story(record) for record in told.records] == [[("respan", "trust")]]
    assert faults_of("respan") == 0


@pytest.mark.both_families
@pytest.mark.parametrize("kind", REASONS)
async def test_t1_t2_t3_the_message_says_which_host_and_why(world, impostor, trusted, kind) -> None:
    """And does not suggest to look away."""
    provider, gateway = world.provider(), world.gateway(tls=impostor(kind))
    client = world.wrapped(provider, gateway, client={"http_client": world.http(verify=trusted)})

    async with standing({provider: 0, gateway: 0}, client):
        with pytest.raises(CallFailed, match=r"^respan showed a certificate that is not accepted") as caught:
            await world.call(client)

    assert "127.0.0.1" in str(caught.value)
    assert REASONS[kind] in str(caught.value)
    assert "verify=" not in str(caught.value)


async def test_t1_a_fallback_s_certificate_is_checked_as_well(world, impostor, trusted, told) -> None:
    """It gets no prompt and no key, and what is said is its own fault."""
    provider, gateway = world.provider(), world.gateway(Answer(503))
    second, third = world.server("p2", tls=impostor("unknown")), world.server("p3")
    client = world.wrapped(
        provider, gateway, second, third, client={"http_client": world.http(verify=trusted)}, on_call=told
    )

    async with standing({provider: 0, gateway: 1, second: 0, third: 0}, client):
        with pytest.raises(openai.APIError):
            await world.call(client)

    assert story(told.records[0]) == [("respan", "overload"), ("p2", "trust")]


# --- T4 and T5: a handshake that comes to nothing --------------------------


@both_ways
async def test_t4_a_handshake_that_stalls_is_given_up_after_the_connect_timeout(
    world, certified, trusted, told, stream
) -> None:
    """Not after the read timeout; nothing was sent, so the next target is asked and there is no duplicate."""
    provider, gateway = world.provider(), world.gateway(AtAccept(Silence()), tls=certified())
    second = world.server("p2", Ok("From p2."), tls=certified())
    client = world.wrapped(
        provider,
        gateway,
        second,
        client={
            "http_client": world.http(verify=trusted),
            "timeout": world.library.Timeout(60, connect=0.4),
        },
        on_call=told,
    )

    async with standing({provider: 0, gateway: 0, second: 1}, client, deadline=1):
        assert await said(world, client, stream=stream) == "From p2."

    (record,) = told.records
    assert story(record) == [("respan", "not_sent"), ("p2", None)]
    assert duplicates(record) == [False, False]
    assert faults_of("respan") == 1


async def test_t5_plain_http_on_the_tls_port_goes_on_at_once(world, certified, trusted, told) -> None:
    """One attempt, whose request stayed here."""
    said_in_clear = Garbage(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
    provider, gateway = world.provider(), world.gateway(AtAccept(said_in_clear), tls=certified())
    second = world.server("p2", tls=certified())
    client = world.wrapped(
        provider, gateway, second, client={"http_client": world.http(verify=trusted)}, on_call=told
    )

    async with standing({provider: 0, gateway: 0, second: 1}, client):
        await world.call(client)

    (record,) = told.records
    assert story(record) == [("respan", "not_sent"), ("p2", None)]
    assert [attempt.wait for attempt in record.attempts] == [0, 0]
    assert gateway.connections == 1


# --- T6: away from TLS ------------------------------------------------------


@pytest.mark.parametrize("port", ["another_port", "same_port"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_t6_a_redirect_to_plain_http_is_refused(world, certified, trusted, told, status, port) -> None:
    """Even on the same host: nothing is sent there, nor to anybody else."""
    provider, second, plain = world.provider(), world.server("p2"), world.server("plain")
    gateway = world.gateway(tls=certified())
    where = f"http://127.0.0.1:{gateway.port if port == 'same_port' else plain.port}/api/chat/completions"
    gateway.then(Answer(status, headers={"location": where}))
    client = world.wrapped(
        provider, gateway, second, client={"http_client": world.http(verify=trusted)}, on_call=told
    )

    async with standing({provider: 0, gateway: 1, second: 0, plain: 0}, client):
        with pytest.raises(RedirectRefused, match="another origin"):
            await world.call(client)

    assert (gateway.connections, plain.connections) == (1, 0)
    assert [story(record) for record in told.records] == [[("respan", "trust")]]


# --- T7 and T8: the user's own settings -------------------------------------


@dataclass(frozen=True)
class Introduced:
    """Answers, and notes what certificate the client showed."""

    names: list[Any] = field(default_factory=list)

    def play(self, wire: Wire, request: Request | None) -> None:
        assert isinstance(wire.sock, ssl.SSLSocket)
        self.names.append(wire.sock.getpeercert() or None)
        Answer(200, chat()).play(wire, request)


@pytest.fixture
def curious(certified, authority) -> Callable[..., ssl.SSLContext]:
    """A server that asks for the client's certificate."""

    def make(*hosts: str) -> ssl.SSLContext:
        context = certified(*hosts)
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    return make


@pytest.fixture
def personal(authority, trusted) -> ssl.SSLContext:
    """What a client trusts, and a certificate of its own."""
    authority.issue_cert("client.test").configure_cert(trusted)
    return trusted


async def test_t7_the_client_s_trust_and_certificate_hold_for_the_gateway(world, curious, personal) -> None:
    """mTLS: the gateway's certificate is checked by the client's context, and it is shown the client's."""
    introduced = Introduced()
    provider, gateway = world.provider(), world.gateway(introduced, tls=curious())
    client = world.wrapped(provider, gateway, client={"http_client": world.http(verify=personal)})

    async with standing({provider: 0, gateway: 1}, client):
        await world.call(client)

    (shown,) = introduced.names
    assert ("DNS", "client.test") in shown["subjectAltName"]


async def test_t7_a_mount_gives_a_fallback_a_configuration_of_its_own(
    world, certified, curious, personal, authority
) -> None:
    """``mounts=`` is how a user says it: another trust, and nothing of the client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    introduced = Introduced()
    provider, gateway = world.provider(), world.gateway(Answer(503), tls=curious())
    second = world.server("p2", introduced, tls=curious())
    mounts = {f"https://127.0.0.1:{second.port}": transport(world, verify=context)}
    client = world.wrapped(
        provider, gateway, second, client={"http_client": world.http(verify=personal, mounts=mounts)}
    )

    async with standing({provider: 0, gateway: 1, second: 1}, client):
        await world.call(client)

    assert introduced.names == [None]


def transport(world: Any, **options: Any) -> Any:
    """A real transport of the world's family and mode."""
    library = world.library
    return (library.AsyncHTTPTransport if world.is_async else library.HTTPTransport)(**options)


async def test_t8_wrapping_loads_no_certificates(world, certified, trusted, monkeypatch) -> None:
    """``SSL_CERT_FILE`` points nowhere, so a new client would fail; wrapping and copying one makes no new one.

    What was loaded before stays in force: whom it does not trust is not trusted.
    """
    provider, gateway, second = world.provider(), world.gateway(tls=certified()), world.server("p2")
    stranger = world.server("stranger", tls=certified("somebody.else"))
    plain = world.client(provider, http_client=world.http(verify=trusted))
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/at/all.pem")
    with pytest.raises(OSError):  # noqa: PT011 -- which one is up to the library
        world.library.Client()
    client = world.wrap(plain, gateway=world.gateway_of(gateway), fallbacks=[world.provider_of(second)])
    copied, lost = client.with_options(max_retries=1), world.wrap(plain, gateway=world.gateway_of(stranger))

    async with standing({provider: 0, gateway: 1, second: 0, stranger: 0}, client):
        await world.call(copied)
        with pytest.raises(CallFailed, match="not accepted"):
            await world.call(lost)
