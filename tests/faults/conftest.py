"""Fixtures of the fault tests: the world in every mode, certificates, and names that resolve as a test wants."""

from __future__ import annotations

import datetime as dt
import importlib
import importlib.util
import ssl
from typing import TYPE_CHECKING, Any

import openai
import pytest
import trustme
from faults.ports import UNRESOLVABLE, refused_port, resolve, swallowed_port
from faults.world import World


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


#: The HTTP library that the SDK itself is built on.
OWN = "httpx2" if int(openai.VERSION.split(".")[0]) >= 3 else "httpx"

#: How a test is run: with the SDK's own library, blocking and awaited.
WAYS = [(OWN, "sync"), (OWN, "asyncio"), (OWN, "trio")]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "both_families: run once more with httpx, where the SDK is built on httpx2"
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "way" in metafunc.fixturenames:
        more = [("httpx", "asyncio")] if _wants_both(metafunc) and OWN != "httpx" else []
        metafunc.parametrize("way", WAYS + more, indirect=True, ids="-".join)


def _wants_both(metafunc: pytest.Metafunc) -> bool:
    return metafunc.definition.get_closest_marker("both_families") is not None


@pytest.fixture
def way(request: pytest.FixtureRequest) -> Any:
    """Library and mode."""
    return request.param


@pytest.fixture
def library(way: Any) -> Any:
    """The HTTP family that the client under test is built from."""
    return importlib.import_module(way[0])


@pytest.fixture
def mode(way: Any) -> str:
    """How the client under test is used."""
    return str(way[1])


@pytest.fixture(autouse=True)
def _healthy() -> None:
    """No test inherits the breakers and retry budgets of another."""
    if importlib.util.find_spec("respan_openai._core.health") is not None:
        importlib.import_module("respan_openai._core.health").forget()


@pytest.fixture
async def world(caller: Any) -> Any:
    """Servers and clients of one family and mode; all are closed with the test."""
    world = World(caller)
    yield world
    world.shut()


# --- addresses -------------------------------------------------------------


@pytest.fixture
def unresolvable(monkeypatch: pytest.MonkeyPatch) -> str:
    """A host name without an address, which is known at once."""
    resolve(monkeypatch, **{UNRESOLVABLE: []})
    return UNRESOLVABLE


@pytest.fixture
def refused() -> Iterator[int]:
    """A port that refuses connections."""
    with refused_port() as port:
        yield port


@pytest.fixture
def swallowed() -> Iterator[int]:
    """A port that does not answer."""
    with swallowed_port() as port:
        yield port


# --- TLS -------------------------------------------------------------------


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who signs the servers' certificates."""
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA) -> ssl.SSLContext:
    """What a client needs to trust them, and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


@pytest.fixture
def certified(authority: trustme.CA) -> Callable[..., ssl.SSLContext]:
    """Makes what a server for some hosts identifies itself with; ``expired=True``: no longer valid."""

    def make(*hosts: str, expired: bool = False) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        until = _day(2001) if expired else None
        issued = authority.issue_cert(*(hosts or ("127.0.0.1",)), not_before=_day(2000), not_after=until)
        issued.configure_cert(context)
        return context

    return make


def _day(year: int) -> dt.datetime:
    return dt.datetime(year, 1, 1, tzinfo=dt.UTC)
