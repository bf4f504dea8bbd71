"""Fixtures: both HTTP families, blocking and awaited, asyncio and trio, from one set of tests."""

from __future__ import annotations

import importlib
import inspect
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
import pytest
from hypothesis import HealthCheck, settings

from respan_openai import Gateway, params
from respan_openai._core.health import forget


sys.path.insert(0, str(Path(__file__).parent))

from doubles import Told, Upstream
from faults.ports import refused_port


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


MAJOR = int(openai.VERSION.split(".")[0])

# The first strategy of a process loads tables, which on a busy machine takes longer than Hypothesis allows;
# and no test of this suite asserts on time.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

#: openai 3 is built on httpx2 and takes httpx too; older ones know only httpx.
LIBRARIES = ["httpx2", "httpx"] if MAJOR >= 3 else ["httpx"]

# Now, not when a test asks for it: openai 3 looks into a module that is being imported when a forgotten stream is
# finalized meanwhile (openai/_httpx2.py, ``timeout_exceptions``).
for _name in LIBRARIES:
    importlib.import_module(_name)

#: Loading the system's certificates takes longer than most tests.
TRUST = ssl.create_default_context()

KEYS = {"OPENAI_API_KEY": "sk-provider-canary", "RESPAN_API_KEY": "rk-gateway-canary"}


@pytest.fixture(autouse=True)
def _healthy() -> None:
    """No test inherits the breakers and retry budgets of another."""
    forget()


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("RESPAN_BASE_URL", "KEYWORDSAI_API_KEY", "KEYWORDSAI_BASE_URL", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> Any:
    """The HTTP family that the client under test is built from."""
    return importlib.import_module(request.param)


@pytest.fixture(params=["sync", "asyncio", "trio"])
def mode(request: pytest.FixtureRequest) -> str:
    """How the client under test is used."""
    return str(request.param)


@pytest.fixture
def anyio_backend(mode: str) -> str:
    return "asyncio" if mode == "sync" else mode


class Caller:
    """Makes clients of one family and mode, and calls them the same way in all modes."""

    def __init__(self, library: Any, mode: str) -> None:
        self.library = library
        self.is_async = mode != "sync"
        self._opened: list[Any] = []

    def http(self, **options: Any) -> Any:
        """An HTTP client of the family."""
        options.setdefault("verify", TRUST)
        return self.keep((self.library.AsyncClient if self.is_async else self.library.Client)(**options))

    def transport(self, **options: Any) -> Any:
        """A real transport of the family."""
        options.setdefault("verify", TRUST)
        return (self.library.AsyncHTTPTransport if self.is_async else self.library.HTTPTransport)(**options)

    def client(self, **options: Any) -> Any:
        """An OpenAI client of the family."""
        options.setdefault("http_client", self.http())
        options.setdefault("max_retries", 0)
        return (openai.AsyncOpenAI if self.is_async else openai.OpenAI)(**options)

    def azure(self, **options: Any) -> Any:
        """An Azure OpenAI client of the family."""
        options.setdefault("http_client", self.http())
        options.setdefault("max_retries", 0)
        return (openai.AsyncAzureOpenAI if self.is_async else openai.AzureOpenAI)(**options)

    def keep(self, opened: Any) -> Any:
        self._opened.append(opened)
        return opened

    async def __call__(self, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        return await result if inspect.isawaitable(result) else result

    async def chat(self, client: Any, **kwargs: Any) -> Any:
        """The simplest chat completion."""
        kwargs.setdefault("model", "gpt-4o-mini")
        kwargs.setdefault("messages", [{"role": "user", "content": "Hi"}])
        return await self(client.chat.completions.create, **kwargs)

    async def items(self, stream: Any) -> list[Any]:
        """All that *stream* yields."""
        return [item async for item in stream] if self.is_async else list(stream)

    async def close(self) -> None:
        for opened in self._opened:
            await self(opened.aclose if self.is_async else opened.close)


@pytest.fixture
async def caller(library: Any, mode: str, anyio_backend: str) -> Any:
    caller = Caller(library, mode)
    yield caller
    await caller.close()


@pytest.fixture
def served() -> Iterator[Upstream]:
    """The gateway's side of a call."""
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def provider() -> Iterator[Upstream]:
    """The provider's side: what the client was built for."""
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture
def nobody() -> Iterator[str]:
    """An origin that refuses connections; of a server that was closed, another process may get the port."""
    with refused_port() as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
def gateway(served: Upstream) -> Gateway:
    return Gateway(base_url=served.origin)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(autouse=True)
def _no_params_leak() -> Iterator[None]:
    yield
    from respan_openai._context import ambient

    assert ambient() is None, f"{params.__name__} was left in force"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if inspect.iscoroutinefunction(getattr(item, "function", None)):
            item.add_marker(pytest.mark.anyio)
