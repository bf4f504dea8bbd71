"""Small parts of the gateway: who comes in, which models are listed, what is forgotten, and the helper thread."""

from __future__ import annotations

import json
import os
import sys
import threading
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from respan_openai import Provider
from respan_openai.exceptions import ConfigError
from respan_openai.local import Azure, Echo, LocalGateway, Model, Settings
from respan_openai.local.aftercare import Aftercare
from respan_openai.local.callers import Caller, Callers
from respan_openai.local.contract import ContractError
from respan_openai.local.listing import model_list
from respan_openai.local.recent import Recent


KEY = "canary-key-0123456789"


# -- callers


def test_everybody() -> None:
    """Without keys everybody comes in, to production."""
    callers = Callers(None)

    assert callers.first_key is None
    assert callers.admit({}) == callers.admit({"authorization": "Bearer x"}) == Caller("production")


@pytest.mark.parametrize(
    ("keys", "key", "environment"),
    [([KEY, "other"], "other", "production"), ({KEY: "test", "other": "staging"}, "other", "staging")],
)
def test_environments(keys: Any, key: str, environment: str) -> None:
    """A mapping says which environment a key stands for; the first key is the gateway's own."""
    callers = Callers(keys)

    assert callers.first_key == KEY
    assert callers.admit({"authorization": f"Bearer {key}"}) == Caller(environment, key)


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", f"Basic {KEY}", KEY, f"Bearer {KEY}x", "Bearer é"]
)
def test_stranger(authorization: str | None) -> None:
    """Anybody else is 401, with the scheme that is expected."""
    headers = {} if authorization is None else {"authorization": authorization}
    with pytest.raises(ContractError) as caught:
        Callers([KEY]).admit(headers)

    assert caught.value.reply.status == 401
    assert ("WWW-Authenticate", "Bearer") in caught.value.reply.headers


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (KEY, "must be a list"),
        (b"canary-bytes", "must be a list"),
        ([], "is empty, so nobody"),
        ({}, "is empty, so nobody"),
        ([""], "is empty or holds white space"),
        ([f"{KEY}\n"], "is empty or holds white space"),
        ({KEY: ""}, "name of its environment"),
        ({KEY: None}, "name of its environment"),
    ],
)
def test_wrong_keys(keys: Any, says: str) -> None:
    """What could let nobody in, or everybody, is told when the gateway is built, without the key."""
    with pytest.raises(ConfigError, match=says) as caught:
        Callers(keys)

    assert "canary" not in str(caught.value)


def test_callers_do_not_show_their_key() -> None:
    """Not in a repr, of which logs and tracebacks are full."""
    caller = Callers([KEY]).admit({"authorization": f"Bearer {KEY}"})

    assert repr(caller) == "Caller('production')"


# -- the list of models


def test_model_list() -> None:
    """Declared models with those who are asked for them, and those that a provider translates; each once."""
    providers = (
        Provider("A", "https://a.example", KEY, models={"m": "theirs"}),
        Azure("https://b.example", KEY, "v", deployments={"gpt-4o": "d"}),
        Echo(),
    )
    names = ("x", "echo/y", "unknown/z", "a/m", "ECHO/z", "azure_openai/d")
    gateway = LocalGateway(providers, settings=Settings(models=tuple(Model(name=name) for name in names)))
    listed = json.loads(model_list(gateway.router.models, gateway.providers).chunks[0])

    assert listed["object"] == "list"
    assert [(model["id"], model["owned_by"]) for model in listed["data"]] == [
        ("x", "a"),
        ("echo/y", "echo"),
        ("unknown/z", "a"),
        ("a/m", "a"),
        ("ECHO/z", "echo"),
        ("azure_openai/d", "azure"),
        ("azure/gpt-4o", "azure"),
    ]


# -- what is forgotten


def added(value: int, known: int | None) -> int:
    """*known*, which may be unknown, and *value*."""
    return (known or 0) + value


@given(st.lists(st.tuples(st.integers(0, 5), st.integers()), max_size=40), st.integers(1, 4))
def test_recent(changes: list[tuple[int, int]], most: int) -> None:
    """The newest are kept, no more than so many, each with what was made of its last value."""
    recent: Recent[int] = Recent(most)
    model: dict[int, int] = {}
    for key, value in changes:
        expected = model.pop(key, 0) + value
        assert recent.change(key, partial(added, value)) == expected
        model[key] = expected
        model = dict([*model.items()][-most:])
        assert len(recent) == len(model)

    assert {key: recent.get(key) for key in range(6)} == {key: model.get(key) for key in range(6)}


def test_recent_in_many_threads() -> None:
    """No change is lost."""
    recent: Recent[int] = Recent(2)

    def count() -> None:
        for _ in range(1000):
            recent.change("a", lambda known: (known or 0) + 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert recent.get("a") == 4000


# -- the helper thread


def test_aftercare_does_things_in_order() -> None:
    """Somewhere else than where it was asked for, and one after the other."""
    helper = Aftercare()
    done: list[tuple[int, int]] = []

    def note(number: int) -> None:
        done.append((number, threading.get_ident()))

    helper.get_ready()
    helper.get_ready()
    for number in range(3):
        helper(partial(note, number))
    helper(lambda: None, 20)

    assert [number for number, _ in done] == [0, 1, 2]
    assert {thread for _, thread in done} == {helper._thread.ident}  # type: ignore[union-attr]  # it has begun
    assert threading.get_ident() not in {thread for _, thread in done}


def test_aftercare_waits_until_there_is_a_thread() -> None:
    """What came before it is done then: nothing is lost, and nothing started by a destructor."""
    helper, done = Aftercare(), threading.Event()
    helper(done.set)
    assert helper._thread is None
    helper.get_ready()

    assert done.wait(20)


def test_aftercare_goes_on_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    """What fails is a line in the log, without its words."""
    helper, done = Aftercare(), []

    def fail() -> None:
        raise ValueError(KEY)

    helper.get_ready()
    helper(fail)
    helper(lambda: done.append(1), 20)

    assert done == [1]
    assert "failed (ValueError)" in caplog.text
    assert KEY not in caplog.text


def test_aftercare_cannot_deadlock() -> None:
    """A reader whose own thread holds what is needed waits a moment, and it is done when he goes on."""
    helper, lock, done = Aftercare(), threading.Lock(), threading.Event()
    helper.get_ready()

    def needs_lock() -> None:
        with lock:
            done.set()

    with lock:
        helper(needs_lock, 0.001)
        assert not done.is_set()

    assert done.wait(20)


@pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="no safe fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of several threads, since Python 3.12
def test_aftercare_after_a_fork() -> None:
    """The child has no helper until it needs one, and then one of its own."""
    helper = Aftercare()
    helper.get_ready()
    helper(lambda: None, 20)
    read, write = os.pipe()
    child = os.fork()
    if not child:
        helper.get_ready()
        helper(lambda: os.write(write, b"done"), 20)
        os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    told = os.read(read, 4)
    os.close(read)

    assert told == b"done"
