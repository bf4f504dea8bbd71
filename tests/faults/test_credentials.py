"""Credentials: whose key, cookie or account goes where, and where it may show, whatever goes wrong."""

from __future__ import annotations

import dataclasses
import json
import logging
import pickle
import random
import traceback
from base64 import b64encode
from itertools import count
from typing import TYPE_CHECKING, Any

import openai
import pytest
from doubles import chat
from faults.answers import content, event, openai_error, respan_error, role
from faults.ports import resolve
from faults.standing import contains, standing
from faults.steps import Answer, CutBody, Garbage, Hangup, Ok, Reset, Sse

from respan_openai import (
    DIRECT,
    Breaker,
    ConfigError,
    Fallback,
    Gateway,
    NotServedError,
    Provider,
    RespanTransport,
    health,
    last_call,
    params,
)
from respan_openai._clock import no_waiting, sleep


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from faults.scripted import Scripted
    from faults.world import World


DOWN = Answer(503, respan_error("Down."))
RELAYED = Answer(503, openai_error("Down."))

#: Never opens, so that every target is asked again and again.
NEVER = Breaker(failures=1_000_000, minimum=1_000_000)


def bearers(server: Scripted) -> list[str]:
    """The credential of each request."""
    return [seen.headers["authorization"].removeprefix("Bearer ") for seen in server.requests]


# --- who is sent what ------------------------------------------------------


def at_random(server: Scripted, others: list[Scripted], seed: int) -> Callable[[Any], Any]:
    """A script of any faults; answers name keys and set cookies of their own, and point to the others."""
    rng = random.Random(seed)
    own = f"{server.name}-cookie-canary"
    server.canaries.append(own)

    def script(seen: Any) -> Any:
        away = {"location": rng.choice(others).origin + seen.path}
        refused = openai_error(f"Not with {server.key}.")
        faults = [
            *[Ok()] * 3,
            Answer(200, chat(), {"set-cookie": f"session={own}; Path=/"}),
            *[Answer(status, refused) for status in (400, 401, 402, 403, 408, 429, 500, 503)],
            *[Answer(status, respan_error(f"Not with {server.key}.")) for status in (401, 429, 500, 503)],
            *[Answer(status, b"", away) for status in (302, 307, 308) if "moderations" not in seen.path],
            Answer(200, b"<html>", {"content-type": "text/html"}),
            CutBody(1000, b'{"id": '),
            Reset(),
            Hangup(),
            Garbage(),
            Sse([event(refused)]),
            Sse([role(), content("Hel")], end="cut"),
        ]
        return rng.choice(faults)

    return script


def clients_of(world: World, provider: Scripted, **options: Any) -> list[Any]:
    """One for OpenAI, with an account and cookies, and one for Azure; all of it canaries of *provider*."""
    provider.canaries += ["org-canary-of-provider", "proj-canary-of-provider", "jar-canary-of-provider"]
    http = world.http(cookies={"session": provider.canaries[-1]})
    plain = world.client(
        provider,
        http_client=http,
        organization=provider.canaries[1],
        project=provider.canaries[2],
        max_retries=0,
    )
    azure = world._caller.azure(
        azure_endpoint=provider.origin, api_key=provider.key, api_version="2024-10-21", http_client=http
    )
    return [world.wrap(client, **options) for client in (plain, azure)]


def calls_of(world: World, client: Any) -> list[Callable[[], Any]]:
    """One of every kind; the last is no business of the gateway."""
    return [
        lambda: world.call(client),
        lambda: world.text(client),
        lambda: world.responses(client),
        lambda: world.embeddings(client),
        lambda: world._caller(client.moderations.create, input="Hi", model="m"),
    ]


@pytest.mark.parametrize("seed", [1, 2])
async def test_k1_each_target_is_sent_its_own_credentials_only(world, seed) -> None:
    """Keys, accounts and cookies of three targets, through a hundred calls with any faults, in any encoding."""
    provider, gateway, second = servers = [world.provider(), world.gateway(), world.server("second")]
    clients = clients_of(
        world,
        provider,
        gateway=world.gateway_of(gateway),
        fallbacks=[DIRECT, world.provider_of(second), DIRECT],
        breaker=NEVER,
    )
    for number, server in enumerate(servers):
        server.then(at_random(server, [each for each in servers if each is not server], seed * 10 + number))
    rng = random.Random(seed)
    anything = (openai.OpenAIError, world.library.TransportError, ValueError)

    async with standing(dict.fromkeys(servers), *clients, deadline=60):
        with no_waiting():
            for _ in range(34):
                client = rng.choice(clients)
                for call in rng.sample(calls_of(world, client), 3):
                    try:
                        await call()
                    except anything:
                        """What the call comes to is another matter."""
                    sleep(120)  # so that no budget is spent and no credential counts as bad

    assert min(len(server.requests) for server in servers) >= 20


async def test_k1_nothing_in_the_clear_around_tls(world, monkeypatch, trusted, certified) -> None:
    """A name is all that a handshake shows; inside, each target is sent its own."""
    names = {"gateway": "gw.test", "second": "two.test", "provider": "one.test"}
    resolve(monkeypatch, gw_test=["127.0.0.1"], two_test=["127.0.0.1"], one_test=["127.0.0.1"])
    gateway, second, provider = (world.server(name, tls=certified(host)) for name, host in names.items())
    gateway.then(DOWN)
    second.then(DOWN)
    client = world.wrap(
        world.client(
            provider, base_url=provider.at("one.test") + "/v1", http_client=world.http(verify=trusted)
        ),
        gateway=Gateway(gateway.key, gateway.at("gw.test")),
        fallbacks=[Provider("second", second.at("two.test") + "/v1", second.key), DIRECT],
    )

    async with standing({gateway: 1, second: 1, provider: 1}, client):
        await world.call(client)

    assert [bearers(each) for each in (gateway, second, provider)] == [
        [each.key] for each in (gateway, second, provider)
    ]
    assert all(
        host.encode() in each.bytes
        for each, host in zip((gateway, second, provider), names.values(), strict=True)
    )


async def test_k1_a_proxy_is_told_names_only(world, certified) -> None:
    """It is asked for each of the targets in turn, and sees no credential of any."""
    gateway, second, provider = (
        world.server(name, tls=certified()) for name in ("gateway", "second", "provider")
    )
    proxy = world.server("proxy", Hangup())
    http = world.http(proxy=proxy.origin)
    client = world.wrapped(provider, gateway, second, DIRECT, client={"http_client": http})

    async with standing({proxy: 3, gateway: 0, second: 0, provider: 0}, client):
        with pytest.raises(openai.APIConnectionError):
            await world.call(client)

    asked = [f"{seen.method} {seen.target}" for seen in proxy.requests]
    assert asked == [f"CONNECT 127.0.0.1:{each.port}" for each in (gateway, second, provider)]


# --- targets without a key -------------------------------------------------


@pytest.mark.parametrize("key", [None, ""])
def test_k2_a_provider_without_a_key_is_refused_when_it_is_made(key, monkeypatch) -> None:
    """It does not take the one of another, whatever stands in the environment."""
    for name in ("OPENAI_API_KEY", "RESPAN_API_KEY", "SECOND_API_KEY"):
        monkeypatch.setenv(name, "sk-of-somebody-else")

    with pytest.raises(ConfigError, match=r"Provider\('second'\)"):
        Provider("second", "https://second.example/v1", key)


async def test_k2_a_client_without_a_provider_s_key_has_no_direct_way(world) -> None:
    """It has the gateway's key in its place, which must not get there; that is said at construction."""
    provider, gateway = world.provider(), world.gateway()
    plain = world.client(provider, api_key=gateway.key)

    async with standing({provider: 0, gateway: 0}, plain):
        with pytest.raises(ConfigError, match="no key but the gateway's") as caught:
            world.wrap(plain, gateway=world.gateway_of(gateway), fallbacks=[DIRECT])

    assert gateway.key not in str(caught.value)


# --- keys that change ------------------------------------------------------


class Rotating:
    """A function that returns another key each time, all of them canaries of a server."""

    def __init__(self, server: Scripted) -> None:
        self._server = server
        self._numbers = count(1)

    def __call__(self) -> str:
        key = f"{self._server.name}-key-canary-{next(self._numbers)}"
        self._server.canaries.append(key)
        return key


async def test_k3_a_provider_s_key_is_asked_for_at_each_attempt(world) -> None:
    """A repeat has the key of its moment, and so has the next call."""
    gateway, second = world.gateway(DOWN), world.server("second", [RELAYED, Ok()])
    target = Provider("second", f"{second.origin}/v1", Rotating(second))
    client = world.wrapped(world.provider(), gateway, target)

    async with standing({gateway: 2, second: 3}, client):
        with no_waiting():
            await world.call(client)
            await world.call(client)

    assert bearers(second) == [f"second-key-canary-{number}" for number in (1, 2, 3)]


async def test_k3_a_gateway_s_key_is_asked_for_at_each_attempt(world) -> None:
    """What is kept of a call for the next one does not hold its key."""
    gateway = world.gateway([Ok(), DOWN, Ok()])
    target = Gateway(Rotating(gateway), gateway.origin)  # type: ignore[arg-type]
    client = world.wrap(world.client(world.provider()), gateway=target)

    async with standing({gateway: 4}, client):
        with no_waiting():
            for _ in range(3):
                await world.call(client)

    assert len({*bearers(gateway)}) == 4
    assert all(key.startswith("gateway-key-canary-") for key in bearers(gateway))


@pytest.mark.skipif(openai.VERSION < "2", reason="openai 1.68 takes no function as api_key")
async def test_k3_the_client_s_own_key_function(world) -> None:
    """The SDK asks it once a call; its key goes straight to the provider, and never to the gateway."""
    provider, gateway = world.provider(), world.gateway(DOWN)
    rotating = Rotating(provider)

    async def later() -> str:
        return rotating()

    client = world.wrapped(
        provider, gateway, DIRECT, client={"api_key": later if world.is_async else rotating}
    )

    async with standing({provider: 2, gateway: 2}, client):
        await world.call(client)
        await world.call(client)

    assert bearers(gateway) == [gateway.key] * 2
    assert bearers(provider) == [f"provider-key-canary-{number}" for number in (1, 2)]


# --- the provider's key, and overrides -------------------------------------


async def test_k4_the_client_s_key_goes_straight_or_not_at_all(world) -> None:
    """The gateway gets its own in its place, streamed or not, and on every path."""
    provider, gateway = world.provider(), world.gateway([Ok()] * 4 + [DOWN])
    client = world.wrapped(provider, gateway, DIRECT)

    async with standing({gateway: 5, provider: 2}, client):
        for call in calls_of(world, client)[:4]:
            await call()
        await world.call(client)
        with pytest.raises(openai.NotFoundError):  # by a server that knows no such path
            await calls_of(world, client)[4]()

    assert {*bearers(gateway)} == {gateway.key}
    assert {*bearers(provider)} == {provider.key}


OVERRIDE = {"gpt-4o-mini": {"api_key": "override-canary-of-user", "api_base": "https://mine.example/v1"}}


@pytest.mark.parametrize("carrier", ["keyword", "params", "respan_params", "header"])
async def test_k4_an_override_by_hand_goes_to_the_gateway_only(world, carrier) -> None:
    """Whoever writes it means the gateway; the targets behind it are sent neither key nor field."""
    provider, gateway, second = world.provider(), world.gateway(DOWN), world.server("second", DOWN)
    client = world.wrapped(provider, gateway, second, DIRECT)
    given = {"credential_override": OVERRIDE}
    as_said = {
        "keyword": given,
        "params": {},
        "respan_params": {"extra_body": {"respan_params": given}},
        "header": {"extra_headers": {"X-Data-Respan-Params": b64encode(json.dumps(given).encode()).decode()}},
    }[carrier]

    async with standing(
        {gateway: 1, second: 1, provider: 1}, client, canaries={gateway: ["override-canary-of-user"]}
    ):
        with params(**(given if carrier == "params" else {})):
            await world.call(client, **as_said)

    assert contains(gateway.bytes, "override-canary-of-user")
    assert b"credential_override" not in second.bytes + provider.bytes


async def test_k4_forwarded_credentials_go_to_the_gateway_only(world) -> None:
    """Asked for by hand: the gateway is sent the provider's key beside its own, and nobody behind it is."""
    provider, gateway, second = world.provider(), world.gateway(DOWN), world.server("second")
    target = world.gateway_of(gateway, forward_credentials=True)
    client = world.wrap(world.client(provider), gateway=target, fallbacks=[world.provider_of(second)])
    gateway.canaries.append(provider.key)

    async with standing({gateway: 1, second: 1, provider: 0}, client):
        await world.call(client)

    assert bearers(gateway) == [gateway.key]
    assert gateway.requests[0].params["credential_override"] == {"gpt-4o-mini": {"api_key": provider.key}}


# --- where keys may show ---------------------------------------------------


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """*error*, and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__


def bearer_in(error: Any) -> str | None:
    """The credential of the request that *error* shows, if it shows one."""
    try:
        return str(error.request.headers["authorization"])
    except (AttributeError, RuntimeError):
        return None


def traces_of(error: BaseException) -> str:
    """The traceback of *error* and of what it came from, with the locals of our own frames."""
    shown = []
    for each in chain(error):
        told = traceback.TracebackException.from_exception(each, capture_locals=True)
        ours = [frame for frame in told.stack if "respan_openai" in frame.filename]
        shown += [str(each), repr(each), repr(each.args), *(repr(frame.locals) for frame in ours)]
    return "\n".join(shown)


@pytest.mark.parametrize(
    "last", [RELAYED, Hangup(), Sse([role(), content("Hel")], end="cut")], ids=["answer", "error", "stream"]
)
async def test_k5_nothing_shows_a_key(world, told, caplog, recwarn, last) -> None:
    """repr, str, vars, pickle, asdict, logs, warnings, tracebacks with locals: of a call that all targets fail."""
    caplog.set_level(logging.DEBUG)
    before = last if isinstance(last, Hangup) else DOWN
    provider, gateway, second = world.provider(before), world.gateway(before), world.server("second", last)
    target, other = world.gateway_of(gateway), world.provider_of(second)
    client = world.wrap(
        world.client(provider), gateway=target, fallbacks=Fallback(DIRECT, other), on_call=told
    )

    async with standing({provider: 1, gateway: 1, second: 1}, client):
        with pytest.raises(openai.APIError) as caught:
            await world.text(client)

    (record,) = told.records
    transport = RespanTransport(world.library.HTTPTransport(), gateway=target, fallbacks=[other])
    shim = client._self_shim
    texts = [
        *map(repr, (target, other, DIRECT, Fallback(other), transport, shim.plan, client, health())),
        *(repr(vars(each)) for each in (target, other, shim, transport)),
        *(repr(each) for each in (record, dataclasses.asdict(record), last_call(), health()[0])),
        *(str(warning.message) for warning in recwarn.list),
        pickle.dumps(record).decode("latin-1"),
        traces_of(caught.value),
        caplog.text,
        repr([vars(each) for each in caplog.records]),
    ]
    transport.close()
    keys = [provider.key, gateway.key, second.key]
    assert [text for text in texts if any(key in text or repr(key)[1:-1] in text for key in keys)] == []
    # openai pickles its errors with their request, and that has the client's own key; ours are not in it.
    pickled = pickle.dumps(caught.value)
    assert not any(contains(pickled, key) for key in keys[1:])
    assert {*map(bearer_in, chain(caught.value))} - {None} == {f"Bearer {provider.key}"}


async def test_k6_addresses_hold_no_secret(world, caplog) -> None:
    """The HTTP library logs every URL at INFO: of all targets and redirects."""
    caplog.set_level(logging.INFO)
    gateway, second = world.gateway(), world.server("second", DOWN)
    gateway.then([Answer(307, b"", {"location": gateway.origin + "/api/v2/chat/completions"}), DOWN])
    provider = world.provider()
    client = world.wrapped(provider, gateway, second, DIRECT, client={"default_query": {"tenant": "one"}})

    async with standing({gateway: 2, second: 1, provider: 1}, client):
        await world.call(client, credential_override=OVERRIDE)

    assert caplog.text.count("HTTP Request: POST http://127.0.0.1:") == 4
    secrets = [gateway.key, second.key, provider.key, "override-canary-of-user"]
    assert [secret for secret in secrets if contains(caplog.text.encode(), secret)] == []


async def test_k9_what_is_kept_of_one_call_does_not_reach_another(world) -> None:
    """Two customers with clients, keys and accounts of their own behind one ``Gateway``: no call has the other's."""
    gateway, second = world.gateway([Ok(), Ok(), Ok(), Ok(), DOWN]), world.server("second")
    target, tenants = world.gateway_of(gateway), {}
    for name in ("ada-canary", "bob-canary"):
        provider = world.server(name)
        provider.canaries.append(f"org-{name}")
        plain = world.client(
            provider, organization=f"org-{name}", default_headers={"X-Respan-Tenant": f"of-{name}"}
        )
        tenants[name] = provider, world.wrap(plain, gateway=target, fallbacks=[DIRECT])
    servers = [provider for provider, _ in tenants.values()]
    clients = [client for _, client in tenants.values()]

    async with standing({gateway: 6, second: 0, **dict.fromkeys(servers, 1)}, *clients):
        for _ in range(3):
            for name, (_, client) in tenants.items():
                with params(customer_identifier=name):
                    await world.call(client, messages=[{"role": "user", "content": f"I am {name}."}])

    for number, seen in enumerate(gateway.requests):
        own, other = ("ada-canary", "bob-canary")[:: 1 if number % 2 == 0 else -1]
        assert seen.params == {"customer_identifier": own}
        assert seen.headers["x-respan-tenant"] == f"of-{own}"
        assert not contains(seen.raw, other)
        assert not contains(seen.raw, tenants[own][0].key)
    assert [bearers(server) for server in servers] == [[server.key] for server in servers]


# --- where addresses and keys come from ------------------------------------


async def test_k10_an_address_in_a_parameter_is_never_called_by_us(world) -> None:
    """``api_base`` is for the gateway to use: no request of ours goes there, also when everything else fails."""
    inside, gateway, second = world.server("inside"), world.gateway(DOWN), world.server("second", DOWN)
    client = world.wrapped(inside, gateway, second)
    override = {"gpt-4o-mini": {"api_key": "sk-of-the-user", "api_base": f"{inside.origin}/v1"}}

    async with standing({inside: 0, gateway: 1, second: 1}, client):
        with pytest.raises(openai.APIStatusError), no_waiting():
            await world.call(
                client, credential_override=override, retry_params={"retry_enabled": True, "num_retries": 1}
            )

    assert inside.connections == 0


FILES = {
    ".env": "RESPAN_API_KEY=rk-planted-canary\nRESPAN_BASE_URL={origin}\nOPENAI_API_KEY=sk-planted-canary\n",
    "respan.toml": 'api_key = "rk-planted-canary"\nbase_url = "{origin}"\n',
    "gateway.toml": 'api_key = "rk-planted-canary"\nbase_url = "{origin}"\n',
    "pyproject.toml": '[tool.respan]\nbase_url = "{origin}"\n[tool.respan-openai]\nbase_url = "{origin}"\n',
}


async def test_k11_nothing_is_read_from_the_working_directory(world, monkeypatch, tmp_path) -> None:
    """Files that somebody planted there give neither a key nor an address."""
    thief, gateway, provider = world.server("thief"), world.gateway(), world.provider()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text.format(origin=thief.origin))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RESPAN_API_KEY")

    with pytest.raises(ConfigError, match="RESPAN_API_KEY"):
        Gateway()
    assert Gateway("rk").base_url == "https://api.respan.ai/api"
    client = world.wrapped(provider, gateway)
    async with standing({thief: 0, gateway: 1, provider: 0}, client):
        await world.call(client)


async def test_k11_an_address_for_openai_in_the_environment(world, monkeypatch) -> None:
    """``OPENAI_BASE_URL`` is the SDK's to read; what it points to never sees the gateway's key."""
    thief, gateway = world.server("thief"), world.gateway()
    monkeypatch.setenv("OPENAI_BASE_URL", f"{thief.origin}/v1")
    client = world.wrap(
        world.client(thief, base_url=None, api_key=gateway.key), gateway=world.gateway_of(gateway)
    )

    async with standing({thief: 0, gateway: 1}, client):
        await world.call(client)
        with pytest.raises(NotServedError):
            await calls_of(world, client)[4]()


UNSENDABLE = ["rk-canary\n", " rk-canary", "rk canary", "rk-c\u00e4nary-canary", "rk-canary\0"]


@pytest.mark.parametrize("key", UNSENDABLE, ids=ascii)
def test_k12_a_key_that_no_header_carries(key, monkeypatch) -> None:
    """The error names where it came from, and not the key."""
    made: dict[str, Callable[[], Any]] = {
        "the api_key given to Gateway": lambda: Gateway(key),
        r"the api_key given to Provider\('second'\)": lambda: Provider("second", "https://a.example/v1", key),
    }
    if "\0" not in key:  # which no variable can hold
        monkeypatch.setenv("RESPAN_API_KEY", key)
        made["the environment variable RESPAN_API_KEY"] = Gateway

    for source, make in made.items():
        with pytest.raises(ConfigError, match=source) as caught:
            make()
        assert "canary" not in str(caught.value)


def returns_no_key() -> str:
    """What no header carries."""
    return "sk-canary of second\n"


async def refused_key(world: World) -> ConfigError:
    """The error of a call whose fallback has a key function that returns no key; nothing is sent there."""
    gateway, second = world.gateway(DOWN), world.server("second")
    target = Provider("second", f"{second.origin}/v1", returns_no_key)
    client = world.wrapped(world.provider(), gateway, target, client={"max_retries": 0})

    async with standing({gateway: 1, second: 0}, client):
        with pytest.raises(ConfigError) as caught:
            await world.call(client)
    return caught.value


async def test_k12_a_function_that_returns_no_key(world) -> None:
    """Known only when it is asked: the call ends with an error that names the target, and not the key."""
    error = await refused_key(world)

    assert "api_key function given to Provider('second') returned is empty or holds white space" in str(error)
    assert "canary" not in str(error)


async def test_k5_a_key_that_cannot_be_sent_is_in_no_frame(world) -> None:
    """Error reporters collect the locals of each frame, those of the function that refuses it too."""
    assert "canary" not in traces_of(await refused_key(world))
