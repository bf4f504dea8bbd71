"""``serve`` and its sockets: which addresses it takes, and how it stops."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import signal
import socket
import sys
import threading

import httpx2
import pytest
from serve_support import PATIENCE, Scripted, refuses_connections

from respan_openai.exceptions import ConfigError
from respan_openai.local import LocalGateway, serving
from respan_openai.local.serving import listen, serve


LAN = "192.0.2.7"  # RFC 5737: an address that nobody has


def resolving_to(monkeypatch, *addresses: str) -> None:
    """Every name resolves to *addresses*."""
    found = [
        (socket.AF_INET6 if ":" in each else socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 0))
        for each in addresses
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: found)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.4.5", "localhost"])
def test_loopback_needs_no_keys(host) -> None:
    """A port is found, and it can be connected to."""
    sockets = listen(host, 0, loopback_only=True)
    port = sockets[0].getsockname()[1]
    try:
        socket.create_connection((host, port)).close()
        assert {each.getsockname()[1] for each in sockets} == {port}
    finally:
        for each in sockets:
            each.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", LAN, "fe80::1"])  # noqa: S104 -- refused
def test_anything_else_does(host) -> None:
    """Refused before anything is bound, with what to do."""
    with pytest.raises(ConfigError, match=r"no api_keys.*Give it keys, or listen on 127\.0\.0\.1"):
        listen(host, 0, loopback_only=True)


@pytest.mark.parametrize("addresses", [(LAN,), ("127.0.0.1", LAN), ("::1", "2001:db8::1")])
def test_a_name_that_also_means_another_address(monkeypatch, addresses) -> None:
    """All addresses of a name count, not the first one."""
    resolving_to(monkeypatch, *addresses)

    with pytest.raises(ConfigError, match="no api_keys"):
        listen("box.example", 0, loopback_only=True)


def test_with_keys_all_addresses_will_do() -> None:
    """0.0.0.0 is bound."""
    (bound,) = listen("0.0.0.0", 0, loopback_only=False)  # noqa: S104 -- what is tested
    with bound:
        assert bound.getsockname()[0] == "0.0.0.0"  # noqa: S104 -- as above


def test_one_address_of_a_name_may_be_absent(monkeypatch) -> None:
    """localhost may mean ::1 too, on a machine without IPv6."""
    resolving_to(monkeypatch, LAN, "127.0.0.1")

    (bound,) = listen("localhost", 0, loopback_only=False)
    with bound:
        assert bound.getsockname()[0] == "127.0.0.1"


def test_a_port_in_use() -> None:
    """One clear line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"Port {port} of 127.0.0.1 is in use by another program"):
            listen("127.0.0.1", port, loopback_only=True)


def test_an_address_in_use_gives_back_the_others(monkeypatch) -> None:
    """Of two addresses, the first one is not kept when the second one is taken."""
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        resolving_to(monkeypatch, "127.0.0.3", "127.0.0.2")
        with pytest.raises(ConfigError, match="in use"):
            listen("localhost", port, loopback_only=True)

        socket.create_server(("127.0.0.3", port)).close()


@pytest.mark.parametrize(
    ("host", "port", "message"),
    [
        (LAN, 0, "is no address of this machine"),
        ("no-such-host.invalid", 0, "does not resolve"),
        ("a" * 70 + ".example", 0, "does not resolve"),
        ("", 0, "host is empty"),
        ("127.0.0.1", 65536, "whole number from 0 to 65535"),
        ("127.0.0.1", -1, "whole number"),
        ("127.0.0.1", True, "whole number"),
        ("127.0.0.1", "80", "whole number"),
    ],
)
def test_what_cannot_be_listened_on(host, port, message) -> None:
    """Each with its own reason."""
    with pytest.raises(ConfigError, match=message):
        listen(host, port, loopback_only=False)


@pytest.mark.parametrize(("number", "message"), [(errno.EACCES, "may not be used by this user"), (errno.EMFILE, r"cannot be listened on \(no more\)")])  # fmt: skip
def test_what_the_system_refuses(monkeypatch, number, message) -> None:
    """In words, not as a traceback."""

    def create_server(*_args: object, **_options: object) -> None:
        raise OSError(number, "no more")

    monkeypatch.setattr(socket, "create_server", create_server)

    with pytest.raises(ConfigError, match=message):
        listen("127.0.0.1", 80, loopback_only=True)


def test_serve_refuses_before_it_announces() -> None:
    """Without keys nothing beyond this machine is ever bound."""
    said: list[str] = []
    with pytest.raises(ConfigError, match="no api_keys"):
        serve(LocalGateway.echo(), "0.0.0.0", 0, announce=said.append)  # noqa: S104 -- what is tested

    assert said == []


def interrupting(ready: threading.Event, *, twice: bool):
    """For *announce*: interrupts the process once the server has answered and *ready* is set."""

    def interrupt(base: str) -> None:
        assert httpx2.get(f"{base}/healthz").status_code == 200
        assert ready.wait(PATIENCE)
        os.kill(os.getpid(), signal.SIGINT)
        while twice and not refuses_connections(base):
            pass  # two signals at once would be one
        if twice:
            os.kill(os.getpid(), signal.SIGINT)

    def announce(text: str) -> None:
        base = re.search(r"Call log: +(\S+)/", text)[1]
        threading.Thread(target=interrupt, args=(base,)).start()

    return announce


def test_serve_until_it_is_interrupted(caplog) -> None:
    """Ctrl-C is an orderly end: everything is closed, and nothing raised."""
    ready = threading.Event()
    ready.set()
    gateway = Scripted()
    serve(gateway, port=0, announce=interrupting(ready, twice=False))

    assert gateway.closed == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_an_interrupt_as_soon_as_it_is_announced() -> None:
    """Is an orderly end as well: the server is there by then."""
    gateway = Scripted()
    serve(gateway, port=0, announce=lambda _: signal.raise_signal(signal.SIGINT))

    assert gateway.closed == 1


def test_an_announcement_that_fails() -> None:
    """Its error is the caller's, and the port is free again."""
    said: list[str] = []

    def announce(text: str) -> None:
        said.append(text)
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        serve(Scripted(), port=0, announce=announce)

    assert refuses_connections(re.search(r"Call log: +(\S+)/", said[0])[1])


def test_a_second_interrupt_ends_calls_at_once() -> None:
    """Not after the time that they are given: what they asked of a provider is stopped."""
    asked, stopped = threading.Event(), threading.Event()

    async def answer(_request):
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    def call(base: str) -> None:
        with pytest.raises(httpx2.HTTPError):
            httpx2.get(f"{base}/api/x", timeout=PATIENCE).raise_for_status()

    def announce(text: str) -> None:
        base = re.search(r"Call log: +(\S+)/", text)[1]
        calls.append(threading.Thread(target=call, args=(base,)))
        calls[0].start()
        interrupting(asked, twice=True)(text)

    calls: list[threading.Thread] = []
    serve(Scripted(answer), port=0, stop_seconds=600, announce=announce)
    calls[0].join()

    assert stopped.is_set()


@pytest.mark.parametrize(("host", "is_open", "expected"), [("::1", True, "http://[::1]:80/api (open"), ("box", False, "http://box:80/api (with a key")])  # fmt: skip
def test_where_it_is(host, is_open, expected) -> None:
    """What a client's ``base_url`` is, and who may come."""
    assert expected in serving._where(host, 80, is_open=is_open)


def test_serve_without_uvicorn(monkeypatch) -> None:
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)

    with pytest.raises(ConfigError, match=r"pip install 'respan-openai\[server\]'"):
        serve(Scripted(), port=0)
