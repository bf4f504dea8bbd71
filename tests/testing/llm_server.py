"""An OpenAI look-alike on the loopback, and small projects whose tests call it.

It numbers its answers to each question, so that an answer that belongs to another call of the same question shows.
What it does besides depends on the model that is asked for:

* ``gzip``: the answer is compressed;
* ``busy``: the first of two requests is answered 429;
* ``dies``: a stream breaks off behind its second event;
* ``denied``: 401, and the error repeats the key.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

# A run inside of this process forgets the modules that it has loaded itself, but not what others keep of them.
import respan_openai._client
import respan_openai.testing._cassette  # noqa: F401


if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest


__all__ = ["KEYS", "LLM", "Project", "put_back", "serving"]


#: What must not be found anywhere.
KEYS = {"OPENAI_API_KEY": "sk-provider-canary", "RESPAN_API_KEY": "rk-gateway-canary"}

#: Of every project: clients that take their keys from the environment, and the address from the variable ``LLM``.
_CONFTEST = """
import os

import pytest
from openai import AsyncOpenAI, OpenAI

from respan_openai import Gateway, wrap


def wrapped(kind):
    base = os.environ.get("LLM", "http://127.0.0.1:9")
    return wrap(kind(base_url=base + "/v1"), gateway=Gateway(base_url=base + "/api"))


@pytest.fixture
def client():
    with wrapped(OpenAI) as client:
        yield client


@pytest.fixture
def make_async():
    return lambda: wrapped(AsyncOpenAI)


def body_of(text, model="gpt-4o-mini", **more):
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


@pytest.fixture
def ask(client):
    def ask(text, **more):
        return client.chat.completions.create(**body_of(text, **more)).choices[0].message.content

    return ask
"""


class Project:
    """A folder of tests, and runs of them by a pytest that has no plugins but ours and those that it is told of.

    Attributes:
        path: Of the folder.
    """

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        for name in (
            "CI",
            "RESPAN_RECORD",
            "OPENAI_API_KEY",
            "RESPAN_API_KEY",
            "PYTEST_ADDOPTS",
            "LLM",
            *_XDIST,
        ):
            monkeypatch.delenv(name, raising=False)
        self._pytester = pytester
        self._monkeypatch = monkeypatch
        self.path = pytester.path
        self.write(conftest=_CONFTEST)

    def write(self, **files: str) -> None:
        """Make Python files."""
        self._pytester.makepyfile(**files)

    def ini(self, *lines: str) -> None:
        """Make a configuration file."""
        self._pytester.makeini("\n".join(["[pytest]", *lines]))

    def run(self, *args: str, fresh: bool = False) -> pytest.RunResult:
        """Run the tests, without any server; with *fresh* in a process of their own."""
        own = ("-p", "respan_openai.pytest_plugin")
        if fresh:
            return self._pytester.runpytest_subprocess(*own, *args)
        return self._pytester.runpytest_inprocess(*own, *args, plugins=[_Keeper(self.path)])

    def record(self, *args: str, fresh: bool = False) -> pytest.RunResult:
        """Run the tests, with keys and a new server, in a mode that records."""
        with serving() as llm, self._monkeypatch.context() as patch:
            patch.setenv("LLM", llm.url)
            for name, key in KEYS.items():
                patch.setenv(name, key)
            return self.run(*(args or ("--respan-record=once",)), fresh=fresh)

    def cassettes(self) -> list[str]:
        """Paths of all files in folders for cassettes, sorted."""
        found = (path for path in self.path.rglob("cassettes/**/*") if path.is_file())
        return sorted(path.relative_to(self.path).as_posix() for path in found)


#: Tell a worker of xdist what it is; the runs inside of one are none.
_XDIST = ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID")


class _Keeper:
    """Remembers the modules that a run in this process is the first to load; see :func:`put_back`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def pytest_unconfigure(self) -> None:
        """The run is over, and nothing dropped yet."""
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and not Path(file).is_relative_to(self._folder):
                _LOADED.setdefault(name, module)


_LOADED: dict[str, Any] = {}


def put_back() -> None:
    """Put back what pytester has dropped at the end of a test.

    Loaded once more, the classes of a module would be others than those that modules know which were there before.
    """
    for name, module in _LOADED.items():
        sys.modules.setdefault(name, module)


class LLM:
    """What the server has been asked.

    Attributes:
        url: Where it is, without a path.
        asked: Paths, in the order in which they came.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[str] = []
        self._counts: Counter[bytes] = Counter()
        self._lock = threading.Lock()

    def number(self, path: str, body: bytes) -> int:
        """How often this was asked by now."""
        with self._lock:
            self.asked.append(path)
            key = path.encode() + body
            self._counts[key] += 1
            return self._counts[key]


@contextmanager
def serving() -> Iterator[LLM]:
    """The server, for as long as the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {}))
    llm = LLM(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass.llm = llm  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield llm
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    llm: ClassVar[LLM]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        path = self.path.removeprefix("/v1").removeprefix("/api")
        boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
        plain = body.replace(boundary, b"") if boundary else body
        number = self.llm.number(path, plain)
        _ANSWERS[path](self, number, plain)

    def chat(self, number: int, body: bytes) -> None:
        asked = json.loads(body)
        text = f"{number}. {asked['messages'][-1]['content']}"
        if asked["model"] == "denied":
            self.error(401, f"Incorrect API key provided: {self.headers['Authorization']}")
        elif asked["model"] == "busy" and number % 2:
            self.error(429, "Slow down.")
        elif asked.get("stream"):
            self.events(text, dies=asked["model"] == "dies")
        else:
            self.send(_completion(text), packed=asked["model"] == "gzip")

    def events(self, text: str, *, dies: bool) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for count, event in enumerate(_events(text)):
            if dies and count == 2:
                self.close_connection = True
                return
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
            self.wfile.flush()
            threading.Event().wait(0.005)  # so that each event is a packet of its own
        self.wfile.write(b"0\r\n\r\n")

    def embeddings(self, number: int, _body: bytes) -> None:
        vector = {"object": "embedding", "index": 0, "embedding": [float(number), 0.5]}
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        self.send({"object": "list", "data": [vector], "model": "text-embedding-3-small", "usage": usage})

    def heard(self, number: int, body: bytes) -> None:
        self.send({"text": f"{number}. {hashlib.sha256(body).hexdigest()[:8]}"})

    def error(self, status: int, message: str) -> None:
        error = {"message": message, "type": "error", "code": None, "param": None}
        self.send({"error": error}, status=status)

    def send(self, value: Any, *, status: int = 200, packed: bool = False) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Retry-After-Ms", "1")
        if packed:
            body = gzip.compress(body)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Quietly."""


_ANSWERS = {
    "/chat/completions": _Handler.chat,
    "/embeddings": _Handler.embeddings,
    "/audio/transcriptions": _Handler.heard,
}


def _completion(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11},
    }


def _events(text: str) -> Iterator[bytes]:
    words = [f"{word} " for word in text.split()]
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in words), {}]
    for at, delta in enumerate(deltas):
        choice = {"index": 0, "delta": delta, "finish_reason": "stop" if at == len(deltas) - 1 else None}
        chunk = {**_completion(""), "object": "chat.completion.chunk", "choices": [choice]}
        del chunk["usage"]
        yield b"data: %b\n\n" % json.dumps(chunk).encode()
    yield b"data: [DONE]\n\n"
