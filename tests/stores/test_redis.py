"""The Redis store: a server that is down, slow or full, what is on it, and what errors show."""

from __future__ import annotations

import re
import socket
import sys
from contextlib import closing, contextmanager
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from respan_openai.exceptions import ConfigError, StoreError
from respan_openai.stores.protocol import Charge
from respan_openai.stores.redis import RedisStore


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


redis = pytest.importorskip("redis")

NOW, LATER = 1000.0, 1600.0


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(redis_url: str, namespace: str) -> Iterator[RedisStore]:
    with closing(RedisStore(redis_url, namespace=namespace, timeout=30)) as store:
        yield store


@pytest.fixture
def server(redis_url: str) -> Iterator[Any]:
    """Somebody else's connection to the server."""
    with closing(redis.Redis.from_url(redis_url)) as client:
        yield client


def keys_of(server: Any, namespace: str) -> list[bytes]:
    return sorted(server.scan_iter(f"{namespace}:*"))


def methods(store: RedisStore) -> list[Callable[[], object]]:
    """Every method, ready to be called with something secret."""
    charge = Charge("secret-canary", "w", 1)
    return [
        lambda: store.cached("secret-canary", NOW),
        lambda: store.put("secret-canary", b"secret-canary", NOW, LATER),
        lambda: store.reserve("secret-canary", [charge], NOW, LATER),
        lambda: store.settle("secret-canary", [1], NOW),
        lambda: store.taken("secret-canary", "w"),
        lambda: store.customer("secret-canary"),
        lambda: store.save_customer("secret-canary", {"name": "secret-canary"}),
        lambda: store.prompt("secret-canary"),
        lambda: store.save_prompt("secret-canary", {"text": "secret-canary"}),
        lambda: store.log({"id": "r", "at": 1.0, "text": "secret-canary"}),
        lambda: store.entry("secret-canary"),
        lambda: store.entries(where={"model": "secret-canary"}),
    ]


_COMMAND = re.compile(rb"(?:^|\r\n)\*\d+\r\n\$")


class Scripted:
    """A server on the loopback interface that answers every command with the same line, or not at all.

    Attributes:
        questions: Times that it was sent something; a transaction comes in one piece.
    """

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.questions = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listener.getsockname()[1]}"

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            Thread(target=self._answer, args=(peer,), daemon=True).start()

    def _answer(self, peer: socket.socket) -> None:
        with peer:
            while received := _received(peer):
                # redis-py introduces itself; that is not what is counted
                introduction = b"SETINFO" in received
                self.questions += not introduction
                answer = b"+OK\r\n" if introduction else self.answer
                if answer:
                    peer.sendall(answer * len(_COMMAND.findall(received)))

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


def _received(peer: socket.socket) -> bytes:
    try:
        return peer.recv(65536)
    except OSError:
        return b""


@contextmanager
def scripted(answer: bytes, **options: Any) -> Iterator[tuple[RedisStore, Scripted]]:
    """A store on a server that has nothing but *answer* to say."""
    with closing(Scripted(answer)) as server, closing(RedisStore(server.url, timeout=30, **options)) as store:
        yield store, server


def fails(store: RedisStore, match: str) -> None:
    for method in methods(store):
        with pytest.raises(StoreError, match=match) as caught:
            method()
        assert "canary" not in f"{caught.value}{caught.value.__cause__}"


# -- R11


def test_r11_down(namespace: str) -> None:
    """R11: a server that is not there is a StoreError from every method, and shows nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    clock = Clock()
    with closing(RedisStore(f"redis://127.0.0.1:{port}", namespace=namespace, clock=clock)) as store:
        for method in methods(store):
            clock.now += 6
            with pytest.raises(StoreError, match=r"cannot be reached|did not answer"):
                method()


def test_r11_slow() -> None:
    """R11: a server that accepts and says nothing is given up, at the time that was set."""
    with (
        closing(Scripted(b"")) as server,
        closing(RedisStore(server.url, timeout=0.01)) as store,
        pytest.raises(StoreError, match="did not answer in time"),
    ):
        store.reserve("h", [Charge("a", "w", 1)], NOW, LATER)


def test_r11_budget_of_an_operation() -> None:
    """R11: unless told otherwise, 50 ms for connecting and for an answer, and one try."""
    with closing(RedisStore("redis://localhost")) as store:
        options = store._client._client.connection_pool.connection_kwargs

    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (0.05, 0.05)
    assert options["retry"].get_retries() == 0


def test_r11_breaker() -> None:
    """R11: after three failures nobody asks for 5 seconds; then one does, and its answer decides."""
    clock = Clock()
    with (
        closing(Scripted(b"")) as server,
        closing(RedisStore(server.url, timeout=0.01, clock=clock)) as store,
    ):
        seen = []
        for seconds in (0, 0, 0, 0, 4.9, 0.1, 0, 4.9, 0.2):
            clock.now += seconds
            with pytest.raises(StoreError) as caught:
                store.cached("k", NOW)
            seen.append("asked again" not in str(caught.value))
        assert seen == [True, True, True, False, False, True, False, False, True]

        server.answer = b"$-1\r\n"
        clock.now += 5
        store._client._client.connection_pool.connection_kwargs["socket_timeout"] = 30
        assert [store.cached("k", NOW) for _ in range(5)] == [None] * 5


def test_r11_failures_in_a_row() -> None:
    """R11: an answer in between, of whatever kind, begins the count anew."""
    with closing(Scripted(b"")) as server, closing(RedisStore(server.url, timeout=0.05)) as store:
        for answer in (b"", b"", b"-ERR no\r\n", b"", b"", b"-ERR no\r\n"):
            server.answer = answer
            with pytest.raises(StoreError, match="refused with ResponseError" if answer else "in time"):
                store.cached("k", NOW)


def test_r11_probe_is_one() -> None:
    """R11: while the one that may ask waits for its answer, the others are refused."""
    from respan_openai.stores._breaker import Breaker

    clock = Clock()
    breaker = Breaker(clock, failures=1, rest=5)
    breaker.failed()
    clock.now += 5

    assert [breaker.admits(), breaker.admits()] == [True, False]
    clock.now += 5
    assert [breaker.admits(), breaker.admits()] == [True, False]
    breaker.succeeded()
    assert [breaker.admits(), breaker.admits()] == [True, True]


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "reading its data"),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "full"),
        (b"-READONLY You can't write against a read only replica.\r\n", "replica"),
        (b"-NOPERM this user has no permissions to run the 'eval' command\r\n", "does not let"),
        (b"-NOAUTH Authentication required.\r\n", "does not accept the user or password"),
        (
            b"-ERR unknown command 'EVAL', with args beginning with: 'secret-canary'\r\n",
            "refused with ResponseError",
        ),
    ],
    ids=lambda value: None if isinstance(value, str) else value.split()[0].decode(),
)
def test_r11_errors_of_the_server(answer: bytes, match: str) -> None:
    """R11: each says what to do about it, none repeats what was asked, and all come from every method."""
    clock = Clock()
    with scripted(answer, clock=clock) as (store, server):
        for method in methods(store):
            clock.now += 6
            before = server.questions
            with pytest.raises(StoreError, match=match) as caught:
                method()
            assert "canary" not in f"{caught.value}{caught.value.__cause__}"
            assert server.questions == before + 1


def test_r11_wrong_type(store: RedisStore, server: Any, namespace: str) -> None:
    """R11: keys that hold something else are errors, and a reservation takes nothing then."""
    for method in methods(store):
        method()
    store.reserve("secret-canary", [], NOW, LATER)
    kinds = keys_of(server, namespace)
    for key in kinds:
        server.delete(key)
        server.sadd(key, "x")

    for number, method in enumerate(methods(store)):
        if number not in (1, 8):  # putting a value or a prompt replaces whatever there was
            with pytest.raises(StoreError, match="refused") as caught:
                method()
            assert "canary" not in f"{caught.value}{caught.value.__cause__}"
    assert all(server.smembers(key) == {b"x"} for key in kinds)


@pytest.mark.parametrize("theirs", ["text", "-", "1.5", ""])
def test_r11_budget_that_is_no_number(store: RedisStore, server: Any, namespace: str, theirs: str) -> None:
    """R11: a reservation looks at all budgets before it takes from one."""
    store.reserve("h1", [Charge("a", "day", 1)], NOW, LATER)
    (day,) = (key for key in keys_of(server, namespace) if b"taken" in key)
    server.set(day, theirs)

    with pytest.raises(StoreError, match="refused"):
        store.reserve("h2", [Charge("a", "total", 5), Charge("a", "day", 5)], NOW, LATER)

    assert store.taken("a", "total") == 0


def test_budget_below_nothing(store: RedisStore, server: Any, namespace: str) -> None:
    """A server that has thrown a budget away counts from 0, and below after a settling."""
    store.reserve("h1", [Charge("a", "w", 10, 20)], NOW, LATER)
    server.delete(*(key for key in keys_of(server, namespace) if b"taken" in key))
    store.settle("h1", [3], NOW)

    assert store.taken("a", "w") == -7
    assert store.reserve("h2", [Charge("a", "w", 20, 20)], NOW, LATER) is None


def test_r11_script_flush(store: RedisStore, server: Any) -> None:
    """R11: scripts travel with each call, so that a flush in between changes nothing."""
    store.reserve("h", [Charge("a", "w", 5)], NOW, LATER)
    server.script_flush()
    store.settle("h", [2], NOW)

    assert store.taken("a", "w") == 2


def test_r11_full_server(store: RedisStore, server: Any) -> None:
    """R11: a real server without memory refuses to write, and a reservation takes nothing."""
    store.reserve("h1", [Charge("a", "w", 5)], NOW, LATER)
    server.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreError, match="maxmemory"):
            store.put("k", b"v", NOW, LATER)
        with pytest.raises(StoreError, match="maxmemory"):
            store.reserve("h2", [Charge("a", "w", 5), Charge("b", "w", 5)], NOW, LATER)
    finally:
        server.config_set("maxmemory", "0")

    assert (store.taken("a", "w"), store.taken("b", "w")) == (5, 0)


def test_r11_connections_that_the_server_closed(store: RedisStore, server: Any) -> None:
    """R11: a connection that was closed while it was idle is replaced, without an error."""
    store.put("k", b"v", NOW, LATER)
    server.client_kill_filter(_type="normal", skipme=True)

    assert store.cached("k", NOW) == b"v"


# -- what is on the server


def test_r12_keys_begin_with_namespace_and_version(store: RedisStore, server: Any, namespace: str) -> None:
    """R12: a release with another layout has other keys."""
    for method in methods(store):
        method()

    assert {key.split(b":")[2] for key in keys_of(server, namespace)} == {
        *(b"cache", b"taken", b"customer", b"prompt", b"log")
    }
    assert {key.split(b":")[1] for key in keys_of(server, namespace)} == {b"1"}


def test_r12_other_version_sees_nothing(
    redis_url: str, namespace: str, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R12: neither rows nor budgets of another layout are read."""
    store.put("k", b"v", NOW, LATER)
    store.reserve("h", [Charge("a", "w", 5)], NOW, LATER)
    monkeypatch.setattr("respan_openai.stores.redis._LAYOUT", 2)
    with closing(RedisStore(redis_url, namespace=namespace, timeout=30)) as other:
        assert (other.cached("k", NOW), other.taken("a", "w")) == (None, 0)


def test_namespaces_have_nothing_in_common(redis_url: str, namespace: str, store: RedisStore) -> None:
    """Two gateways on one server, if they say so."""
    store.save_prompt("p", {"a": 1})
    with closing(RedisStore(redis_url, namespace=f"{namespace}-other", timeout=30)) as other:
        assert other.prompt("p") is None


def test_long_keys_are_hashed(store: RedisStore, server: Any, namespace: str) -> None:
    """However long an identifier is, a key has at most 300 characters."""
    store.put("x" * 10_000, b"v", NOW, LATER)
    store.reserve("h" * 10_000, [Charge("a" * 10_000, "w", 1)], NOW, LATER)

    assert max(map(len, keys_of(server, namespace))) < 300
    assert store.taken("a" * 10_000, "w") == 1


def test_server_forgets_values_and_holds(store: RedisStore, server: Any, namespace: str) -> None:
    """Cached values and holds go away by themselves; budgets, customers, prompts and the log stay."""
    for method in methods(store):
        method()
    store.reserve("h", [Charge("a", "w", 1)], NOW, LATER)
    lives = {key.split(b":")[2]: server.pttl(key) for key in keys_of(server, namespace)}

    for kind in (b"cache", b"hold"):
        assert 500_000 < lives.pop(kind) <= 600_000
    assert set(lives.values()) == {-1}


def test_server_forgets_windows(store: RedisStore, server: Any, namespace: str) -> None:
    """One with an end goes away by itself, not before whatever was taken from it can no longer be settled."""
    for hold, expires in (("h1", NOW + 100), ("h2", NOW + 30)):
        store.reserve(hold, [Charge("a", "w", 1, None, NOW + 60)], NOW, expires)
    store.settle("h1", [0], NOW)
    (window,) = (key for key in keys_of(server, namespace) if b"taken" in key)

    assert 60_000 < server.pttl(window) <= 100_000


def test_lower_bound_of_the_log(store: RedisStore, redis_url: str, namespace: str) -> None:
    """A bound that was lowered by thousands is kept after a few rows."""
    for number in range(1010):
        store.log({"id": str(number), "at": float(number)})
    with closing(RedisStore(redis_url, namespace=namespace, max_rows=3, timeout=30)) as small:
        small.log({"id": "new1", "at": 2000.0})
        small.log({"id": "new2", "at": 2001.0})

        assert [row["id"] for row in small.entries()] == ["new2", "new1", "1009"]


def test_row_without_its_text(store: RedisStore, server: Any, namespace: str) -> None:
    """A row that the server has lost is left out of the page."""
    for number in range(3):
        store.log({"id": str(number), "at": float(number)})
    (rows,) = (key for key in keys_of(server, namespace) if b"rows" in key)
    server.hdel(rows, '["1"]')

    assert [row["id"] for row in store.entries()] == ["2", "0"]


def test_value_that_somebody_else_wrote(store: RedisStore, server: Any, namespace: str) -> None:
    """What was not written by a store is an error that does not show it."""
    store.put("k", b"v", NOW, LATER)
    store.save_prompt("p", {})
    for key in keys_of(server, namespace):
        server.set(key, b"canary")

    for method in (lambda: store.cached("k", NOW), lambda: store.prompt("p")):
        with pytest.raises(StoreError, match="something else has written") as caught:
            method()
        assert "canary" not in str(caught.value)


# -- as a whole


FORKING = """
import os, sys
from respan_openai.stores.protocol import Charge
from respan_openai.stores.redis import RedisStore
store = RedisStore(sys.argv[1], namespace=sys.argv[2], timeout=30)
store.put("k", b"v", 1000.0, 1600.0)
for child in range(3):
    if os.fork() == 0:
        for number in range(50):
            store.reserve(f"{child}-{number}", [Charge("a", "w", 1)], 1000.0, 1600.0)
            assert store.cached("k", 1000.0) == b"v"
        os._exit(0)
for number in range(50):
    assert store.cached("k", 1000.0) == b"v"
print([os.wait()[1] for _ in range(3)], store.taken("a", "w"))
"""


def test_r10_fork_after_open(redis_url: str, namespace: str, python: Callable[..., Any]) -> None:
    """R10: parent and children have connections of their own, and one budget."""
    assert python(FORKING, redis_url, namespace).communicate(timeout=60)[0] == "[0, 0, 0] 150\n"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:secret-canary@example.com:6380/2", "redis://example.com:6380/2"),
        ("rediss://:secret-canary@example.com?db=3", "rediss://example.com"),
        ("unix://user:secret-canary@/run/x.sock?db=1&password=secret-canary", "unix:///run/x.sock"),
        ("redis://:secret%2Fcanary@example.com/", "redis://example.com/"),
    ],
)
def test_repr_hides_the_password(url: str, shown: str) -> None:
    """Server and database are shown; user, password and options are not."""
    with closing(RedisStore(url)) as store:
        assert repr(store) == f"RedisStore({shown!r})"


def test_password_is_in_no_error() -> None:
    """Neither when the server cannot be reached nor when the options are wrong."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with closing(RedisStore(f"redis://u:secret-canary@127.0.0.1:{port}")) as store:
        fails(store, "127.0.0.1")
    with pytest.raises(ConfigError, match="options") as caught:
        RedisStore("redis://u:secret-canary@localhost?max_connections=secret-canary")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("localhost:6379", "http://localhost", "", "redis://host:port", None, b"redis://x"),
        *("Redis://host", "redis:/host", "redis:host"),
    ],
)
def test_url_is_checked(url: Any) -> None:
    """What is no URL of a Redis server is an error that shows one."""
    with pytest.raises(ConfigError, match="redis://"):
        RedisStore(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:12/secret-canary@host/0",
        "redis://user:12#secret-canary@host/0",
        "redis://user:12?secret-canary@host/0",
        "redis://host/secret-canary",
        "unix://user:12/secret-canary@/run/x.sock",
        "unix://secret-canary/x.sock",
    ],
)
def test_url_whose_password_is_not_encoded(url: str) -> None:
    """A `/`, `?` or `#` in it would end the address, and the rest be shown: an error that says how."""
    with pytest.raises(ConfigError, match="%2F") as caught:
        RedisStore(url)

    assert "canary" not in str(caught.value)
    assert "12" not in str(caught.value)


@pytest.mark.parametrize(
    "option", ["socket_timeout=60", "retry_on_timeout=yes", "protocol=3", "decode_responses="]
)
def test_options_that_the_store_sets_itself(option: str) -> None:
    """In the URL they would win over the store's: an error that names the option."""
    with pytest.raises(ConfigError, match=option.partition("=")[0]):
        RedisStore(f"redis://localhost?{option}")


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), "1", None])
def test_timeout_is_checked(timeout: Any) -> None:
    """It is a positive number of seconds."""
    with pytest.raises(ConfigError, match="timeout"):
        RedisStore("redis://localhost", timeout=timeout)


def test_namespace_is_checked() -> None:
    """Keys without a beginning of their own would be mixed up with those of others."""
    with pytest.raises(ConfigError, match="namespace"):
        RedisStore("redis://localhost", namespace="")


def test_extra_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without redis-py the error names what to install."""
    monkeypatch.setitem(sys.modules, "redis", None)

    with pytest.raises(ConfigError, match=r"pip install 'respan-openai\[redis\]'"):
        RedisStore("redis://localhost")


def test_nothing_is_connected_at_first() -> None:
    """A gateway starts although its server is down."""
    with scripted(b"$-1\r\n") as (store, server):
        assert server.questions == 0
        assert store.cached("k", NOW) is None
        assert server.questions == 1
