"""No connection, or one that was lost before it was of use: rows C1 to C11."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import openai
import pytest
from doubles import chat
from faults.answers import respan_error
from faults.ports import _fits, resolve
from faults.standing import standing, until
from faults.steps import Answer, AtAccept, Hangup, HangupBeforeReading, Ok, Reset, Silence, Steps
from faults.stories import duplicates, faults_of, gateway_at, said, state_of, story

from respan_openai import DIRECT, Breaker, CallFailed, Gateway, Provider, Retry, _clock


if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from faults.wire import Request, Wire


ONWARD = [("respan", "not_sent"), ("p2", None)]

both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def brief(world: Any, seconds: float = 5.0, **more: float) -> Any:
    """A timeout of some *seconds*, but of less for a part of it."""
    return world.library.Timeout(seconds, **more)


# --- C1 to C4: nobody there ------------------------------------------------


@both_ways
async def test_c1_a_refused_port_goes_on_at_once(world, refused, told, stream) -> None:
    """The next target is asked without a wait; the failure counts against the one that is not there."""
    provider, second = world.provider(), world.server("p2", Ok("From p2."))
    client = world.wrap(
        world.client(provider),
        gateway=gateway_at(f"http://127.0.0.1:{refused}"),
        fallbacks=[world.provider_of(second)],
        on_call=told,
    )

    async with standing({provider: 0, second: 1}, client):
        assert await said(world, client, stream=stream) == "From p2."

    (record,) = told.records
    assert story(record) == ONWARD
    assert [attempt.wait for attempt in record.attempts] == [0, 0]
    assert duplicates(record) == [False, False]
    assert faults_of("respan") == 1
    assert second.requests[0].json["messages"] == [{"role": "user", "content": "Hi"}]


async def test_c1_without_another_target_it_is_the_end(world, refused, told) -> None:
    """One attempt: the SDK, which would make two more, is not given the chance."""
    provider = world.provider()
    gateway = gateway_at(f"http://127.0.0.1:{refused}")
    client = world.wrap(world.client(provider), gateway=gateway, on_call=told)

    async with standing({provider: 0}, client):
        with pytest.raises(
            CallFailed, match=rf"^respan at http://127\.0\.0\.1:{refused} could not be reached"
        ) as caught:
            await world.call(client)

    assert isinstance(caught.value, openai.APIConnectionError)
    assert [story(record) for record in told.records] == [[("respan", "not_sent")]]


@pytest.mark.parametrize("last", ["p2", "direct"])
async def test_c1_the_message_says_where_the_last_one_is(world, refused, last) -> None:
    """Its origin; not what else stands in a URL, such as a password in the client's own."""
    client = world.wrap(
        world.client(world.provider(), base_url=f"http://user:canary@localhost:{refused}/v1"),
        gateway=gateway_at(f"http://127.0.0.1:{refused}"),
        fallbacks=[{"p2": Provider("p2", f"http://localhost:{refused}/v1", "k"), "direct": DIRECT}[last]],
    )

    async with standing({}, client):
        with pytest.raises(CallFailed) as caught:
            await world.call(client)

    assert str(caught.value).startswith(f"{last} at http://localhost:{refused} could not be reached (")
    assert "canary" not in str(caught.value)


async def test_c2_a_port_that_does_not_answer_is_given_up_after_the_connect_timeout(
    world, swallowed, told
) -> None:
    """Nothing was sent, so nobody bills: the next target is asked, and its answer is no duplicate."""
    provider, second = world.provider(), world.server("p2")
    client = world.wrap(
        world.client(provider, timeout=brief(world, 60, connect=0.2)),
        gateway=gateway_at(f"http://127.0.0.1:{swallowed}"),
        fallbacks=[world.provider_of(second)],
        on_call=told,
    )

    async with standing({provider: 0, second: 1}, client, deadline=1):
        await world.call(client)

    (record,) = told.records
    assert story(record) == ONWARD
    assert duplicates(record) == [False, False]
    assert record.attempts[0].error == "ConnectTimeout"


async def test_c2_a_timeout_says_which_one_it_was(world, swallowed) -> None:
    """It is the SDK's timeout error, and its text does not speak of the whole call."""
    provider = world.provider()
    client = world.wrap(
        world.client(provider, timeout=brief(world, connect=0.05)),
        gateway=gateway_at(f"http://127.0.0.1:{swallowed}"),
    )

    async with standing({provider: 0}, client, deadline=1):
        with pytest.raises(
            openai.APITimeoutError, match=r"^respan at http://127\.0\.0\.1:\d+ could not.*ConnectTimeout"
        ):
            await world.call(client)


async def test_c3_a_name_without_an_address_goes_on_at_once(world, unresolvable, told) -> None:
    """As a refused port."""
    provider, second = world.provider(), world.server("p2")
    client = world.wrap(
        world.client(provider),
        gateway=gateway_at(f"http://{unresolvable}"),
        fallbacks=[world.provider_of(second)],
        on_call=told,
    )

    async with standing({provider: 0, second: 1}, client):
        await world.call(client)

    assert [story(record) for record in told.records] == [ONWARD]


async def test_c3_the_message_names_the_target_and_no_secret(world, unresolvable) -> None:
    """It says who could not be reached and why; neither a key nor a query stands in it."""
    provider = world.provider()
    gateway = gateway_at(f"http://{unresolvable}")
    client = world.wrap(
        world.client(provider, default_query={"token": "canary-in-the-query"}), gateway=gateway
    )

    async with standing({provider: 0}, client):
        with pytest.raises(
            CallFailed, match=rf"^respan at http://{unresolvable} could not be reached.*Name or service"
        ) as caught:
            await world.call(client)

    assert "canary" not in f"{caught.value} {caught.value!r} {caught.value.record}"


@contextmanager
def swallowed_at(host: str, port: int) -> Iterator[None]:
    """As ``swallowed_port``, at a certain address."""
    with ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        while _fits(held.enter_context(socket.socket()), (host, port)):
            """Until the first that does not."""
        yield


@pytest.mark.parametrize("dead", ["refused", "silent"])
async def test_c4_the_second_address_of_a_name_is_tried(world, monkeypatch, told, dead) -> None:
    """Within the connect timeout, and as a part of the same attempt."""
    resolve(monkeypatch, gateway_test=["127.0.0.2", "127.0.0.1"])
    provider, gateway = world.provider(), world.gateway()
    patience = 0.4 if dead == "silent" and not world.is_async else 3  # all of it is waited for only there
    client = world.wrap(
        world.client(provider, timeout=brief(world, connect=patience)),
        gateway=gateway_at(gateway.at("gateway.test")),
        on_call=told,
    )

    with ExitStack() as held:
        if dead == "silent":
            held.enter_context(swallowed_at("127.0.0.2", gateway.port))
        async with standing({provider: 0, gateway: 1}, client, deadline=patience):
            await world.call(client)

    assert [story(record) for record in told.records] == [[("respan", None)]]


# --- C5 to C7: a connection that is closed ---------------------------------


class ResetUnread:
    """RST, once something has come that nobody reads."""

    def play(self, wire: Wire, _request: Request | None) -> None:
        wire.sock.recv(1, socket.MSG_PEEK)
        wire.reset()


@both_ways
@pytest.mark.parametrize("step", [HangupBeforeReading(), AtAccept(ResetUnread())], ids=["fin", "rst"])
async def test_c5_a_connection_closed_before_reading_is_ambiguous(world, told, step, stream) -> None:
    """Bytes went out, and nobody here can tell who read them: asked elsewhere, and marked as a duplicate."""
    provider, gateway, second = world.provider(), world.gateway(step), world.server("p2", Ok("From p2."))
    client = world.wrapped(provider, gateway, second, on_call=told)

    async with standing({provider: 0, gateway: 0, second: 1}, client):
        assert await said(world, client, stream=stream) == "From p2."

    (record,) = told.records
    assert story(record) == [("respan", "ambiguous"), ("p2", None)]
    assert duplicates(record) == [False, True]
    assert (gateway.connections, faults_of("respan")) == (1, 1)


async def test_c5_who_wants_no_duplicates_gets_the_error(world, told) -> None:
    """``on_ambiguous="raise"``: not asked again, there or elsewhere."""
    provider, gateway, second = world.provider(), world.gateway(HangupBeforeReading()), world.server("p2")
    client = world.wrapped(provider, gateway, second, retry=Retry(on_ambiguous="raise"), on_call=told)

    async with standing({provider: 0, gateway: 0, second: 0}, client):
        with pytest.raises(CallFailed, match=r"^respan broke the connection"):
            await world.call(client)

    assert gateway.connections == 1
    assert [story(record) for record in told.records] == [[("respan", "ambiguous")]]


@pytest.mark.parametrize("step", [HangupBeforeReading(), AtAccept(Reset())], ids=["fin", "rst"])
async def test_c5_a_connection_closed_before_its_handshake_was_of_no_use(
    world, certified, trusted, told, step
) -> None:
    """Over TLS no byte of the request can have gone out, so this is no duplicate, even for who wants none."""
    provider, gateway = world.provider(), world.gateway(step, tls=certified())
    second = world.server("p2", tls=certified())
    client = world.wrapped(
        provider,
        gateway,
        second,
        client={"http_client": world.http(verify=trusted)},
        retry=Retry(on_ambiguous="raise"),
        on_call=told,
    )

    async with standing({provider: 0, gateway: 0, second: 1}, client):
        await world.call(client)

    (record,) = told.records
    assert story(record) == ONWARD
    assert duplicates(record) == [False, False]


@both_ways
async def test_c6_a_stale_connection_is_replaced_once(world, told, stream) -> None:
    """The target is well: it is asked again on a fresh connection, at once; the other target is left alone."""
    provider, gateway, second = world.provider(), world.gateway([Ok(), Hangup(), Ok()]), world.server("p2")
    client = world.wrapped(provider, gateway, second, breaker=Breaker(failures=1), on_call=told)

    async with standing({provider: 0, gateway: 3, second: 0}, client):
        await world.call(client)
        assert await said(world, client, stream=stream) == "Hello!"

    assert [seen.connection for seen in gateway.requests] == [1, 1, 2]
    record = told.records[1]
    assert story(record) == [("respan", "ambiguous"), ("respan", None)]
    assert duplicates(record) == [False, True]
    assert record.attempts[1].wait == 0
    assert faults_of("respan") == 0


async def test_c6_without_another_target_it_is_replaced_as_well(world, told) -> None:
    """Once, and then it is the end."""
    provider, gateway = world.provider(), world.gateway([Ok(), Hangup(), Ok(), Hangup()])
    client = world.wrapped(provider, gateway, on_call=told)

    async with standing({provider: 0, gateway: 5}, client):
        await world.call(client)
        await world.call(client)
        with pytest.raises(CallFailed):
            await world.call(client)

    assert story(told.records[2]) == [("respan", "ambiguous")] * 2


async def test_c6_one_call_replaces_one_connection_and_no_other(world, told) -> None:
    """What the first target has used up, the second does not get, however many attempts a call may have."""
    provider, gateway = world.provider(), world.gateway([Answer(503, respan_error()), Hangup()])
    second, third = world.server("p2", [Ok(), Hangup()]), world.server("p3")
    client = world.wrapped(provider, gateway, second, third, retry=Retry(attempts=5), on_call=told)

    async with standing({provider: 0, gateway: 3, second: 2, third: 1}, client):
        await world.call(client)
        await world.call(client)

    assert [target for target, _ in story(told.records[1])] == ["respan", "respan", "p2", "p3"]
    assert [seen.connection for seen in second.requests] == [1, 1]


async def test_c6_a_target_that_fails_on_the_fresh_connection_too_is_not_well(world) -> None:
    """Only the stale connection is free of charge: a server that closes every connection counts as failing."""
    provider, gateway, second = world.provider(), world.gateway([Ok(), Hangup()]), world.server("p2")
    client = world.wrapped(provider, gateway, second)

    async with standing({provider: 0, gateway: None, second: None}, client):
        for _ in range(6):
            await world.call(client)

    assert faults_of("respan") == 5
    assert state_of("respan") == "open"


async def test_c7_a_connection_that_was_closed_while_idle_is_not_noticed(world, told) -> None:
    """The next call takes another: one attempt, and no duplicate."""
    answer = Answer(200, chat("Bye."), fin=True)
    provider, gateway, second = world.provider(), world.gateway([answer, Ok()]), world.server("p2")
    client = world.wrapped(provider, gateway, second, on_call=told)

    async with standing({provider: 0, gateway: 2, second: 0}, client):
        assert await said(world, client, stream=False) == "Bye."
        assert await said(world, client, stream=False) == "Hello!"

    assert gateway.connections == 2
    assert [story(record) for record in told.records] == [[("respan", None)]] * 2
    assert duplicates(told.records[1]) == [False]


# --- C8: the client's own pool ---------------------------------------------


async def test_c8_an_exhausted_pool_is_nobody_else_s_fault(world, told) -> None:
    """An error at once, without a repetition, and without a mark against the target or a call to another."""
    gate = threading.Event()
    provider, gateway = world.provider(), world.gateway(Steps(Silence(gate), Ok()))
    second = world.server("p2")
    http = world.http(limits=world.library.Limits(max_connections=2))
    timeout = brief(world, pool=0.1)
    client = world.wrapped(
        provider, gateway, second, client={"http_client": http, "timeout": timeout}, on_call=told
    )

    blamed = []

    async def let_the_others_go_on() -> None:
        await until(lambda: len(told.records) == 2)
        blamed.append(faults_of("respan"))  # before any good answer clears it
        gate.set()

    async with standing({provider: 0, gateway: 2, second: 0}, client, deadline=1):
        calls = [lambda: world.call(client)] * 4
        *outcomes, _ = await world.together(*calls, let_the_others_go_on)

    failed = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert [type(outcome).__mro__[2] for outcome in failed] == [openai.APITimeoutError] * 2
    assert all("pool is exhausted" in str(outcome) for outcome in failed)
    assert [story(outcome.record) for outcome in failed] == [[("respan", "local")]] * 2
    assert len(told.records) == 4
    assert blamed == [0]


# --- C9 and C10: a proxy in between ----------------------------------------


@dataclass(frozen=True)
class Tunnel:
    """What a proxy does with CONNECT: passes bytes to and fro, with the port in the place of a host's own."""

    ports: Mapping[str, int]

    def play(self, wire: Wire, request: Request | None) -> None:
        assert request is not None
        with socket.create_connection(("127.0.0.1", self.ports[request.target])) as onward:
            wire.send(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=_pump, args=(onward, wire.sock))
            back.start()
            while wire._receive():
                onward.sendall(wire._take(len(wire._untaken)))
            onward.shutdown(socket.SHUT_WR)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(65536):
        sink.sendall(data)


@both_ways
async def test_c9_every_target_is_reached_through_the_proxy(
    world, certified, trusted, monkeypatch, told, stream
) -> None:
    """HTTPS_PROXY holds for the fallback too; the proxy learns the hosts' names, and no key."""
    provider = world.provider()
    gateway = world.gateway(Answer(503, respan_error()), tls=certified("gateway.test"))
    second = world.server("p2", Ok("From p2."), tls=certified("p2.test"))
    proxy = world.server("proxy", Tunnel({"gateway.test:443": gateway.port, "p2.test:443": second.port}))
    monkeypatch.setenv("HTTPS_PROXY", proxy.origin)
    client = world.wrap(
        world.client(provider, http_client=world.http(verify=trusted)),
        gateway=Gateway(gateway.key, "https://gateway.test"),
        fallbacks=[Provider("p2", "https://p2.test/v1", second.key)],
        on_call=told,
    )

    async with standing({provider: 0, gateway: 1, second: 1, proxy: 2}, client):
        assert await said(world, client, stream=stream) == "From p2."

    assert [f"{seen.method} {seen.target}" for seen in proxy.requests] == [
        "CONNECT gateway.test:443",
        "CONNECT p2.test:443",
    ]
    assert story(told.records[0]) == [("respan", "overload"), ("p2", None)]


async def test_c9_no_proxy_holds_for_a_fallback(world, monkeypatch) -> None:
    """A host on the list is called directly, though the target before it was called through the proxy."""
    provider, proxy, second = world.provider(), world.gateway(Answer(503)), world.server("p2")
    monkeypatch.setenv("HTTP_PROXY", proxy.origin)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    client = world.wrap(
        world.client(provider),
        gateway=Gateway(proxy.key, "http://gateway.test"),
        fallbacks=[world.provider_of(second)],
    )

    async with standing({provider: 0, proxy: 1, second: 1}, client):
        await world.call(client)

    assert proxy.requests[0].target == "http://gateway.test/api/chat/completions"


@pytest.mark.parametrize("status", [407, 502])
async def test_c10_a_proxy_that_refuses_is_not_the_target_s_fault(
    world, certified, trusted, monkeypatch, told, status
) -> None:
    """Asked once; no target is blamed, and the proxy has seen no key."""
    provider, gateway = world.provider(), world.gateway(tls=certified("gateway.test"))
    second = world.server("p2", tls=certified("p2.test"))
    proxy = world.server("proxy", Answer(status, b"Not this way."))
    monkeypatch.setenv("HTTPS_PROXY", proxy.origin)
    client = world.wrap(
        world.client(provider, http_client=world.http(verify=trusted)),
        gateway=Gateway(gateway.key, "https://gateway.test"),
        fallbacks=[Provider("p2", "https://p2.test/v1", second.key), DIRECT],
        on_call=told,
    )

    async with standing({provider: 0, gateway: 0, second: 0, proxy: 1}, client):
        with pytest.raises(
            CallFailed, match=r"^respan at https://gateway\.test could not be reached through"
        ):
            await world.call(client)

    assert [story(record) for record in told.records] == [[("respan", "local")]]
    assert faults_of("respan") == 0
    assert b"Hi" not in proxy.bytes


# --- C11: an outage --------------------------------------------------------


async def test_c11_a_target_that_refuses_is_soon_left_alone(world, refused, told) -> None:
    """Five failures open its breaker; then it gets one probe whenever that is due, and the callers notice nothing."""
    provider, second = world.provider(), world.server("p2")
    client = world.wrap(
        world.client(provider),
        gateway=gateway_at(f"http://127.0.0.1:{refused}"),
        fallbacks=[world.provider_of(second)],
        breaker=Breaker(open_for=5, open_cap=30),
        on_call=told,
    )

    async with standing({provider: 0, second: 40}, client):
        for _ in range(20):
            await world.call(client)
        outage = attempts_at("respan", told)
        with _clock.no_waiting():
            _clock.sleep(5 * 1.2 + 0.1)
        await world.together(*[lambda: world.call(client)] * 20)

    assert outage == 5
    assert attempts_at("respan", told) == 6
    assert state_of("respan") == "open"


async def test_c11_a_target_that_is_back_is_asked_again(world, monkeypatch, told) -> None:
    """The probe succeeds, and everybody follows."""
    provider, gateway, second = world.provider(), world.gateway(), world.server("p2")
    client = world.wrap(
        world.client(provider),
        gateway=gateway_at(gateway.at("gateway.test")),
        fallbacks=[world.provider_of(second)],
        on_call=told,
    )

    async with standing({provider: 0, gateway: 3, second: 7}, client):
        resolve(monkeypatch, gateway_test=["127.0.0.2"])  # where nobody listens
        for _ in range(7):
            await world.call(client)
        resolve(monkeypatch, gateway_test=["127.0.0.1"])
        with _clock.no_waiting():
            _clock.sleep(5 * 1.2 + 0.1)
        for _ in range(3):
            await world.call(client)

    assert [record.target for record in told.records] == ["p2"] * 7 + ["respan"] * 3
    assert attempts_at("respan", told) == 5 + 3
    assert state_of("respan") == "closed"


def attempts_at(name: str, told: Any) -> int:
    """How often *name* was asked."""
    return sum(target == name for record in told.records for target, _ in story(record))
