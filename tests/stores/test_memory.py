"""The store in memory: what makes room for what, and a fork in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from respan_openai.exceptions import ConfigError
from respan_openai.stores.memory import MemoryStore
from respan_openai.stores.protocol import Charge


if TYPE_CHECKING:
    from collections.abc import Callable


NOW, LATER = 1000.0, 1600.0


def test_value_used_longest_ago_makes_room() -> None:
    """Reading and writing both count as use."""
    store = MemoryStore(max_bytes=30)
    for key in "abc":
        store.put(key, b"x" * 9, NOW, LATER)
    store.cached("a", NOW)
    store.put("b", b"y" * 9, NOW, LATER)
    store.put("d", b"x" * 9, NOW, LATER)

    assert [store.cached(key, NOW) is not None for key in "abcd"] == [True, True, False, True]


def test_several_values_make_room_for_a_large_one() -> None:
    """As many as it takes; one that fills the cache to the last byte is kept."""
    store = MemoryStore(max_bytes=30)
    for key in "abc":
        store.put(key, b"x" * 9, NOW, LATER)
    store.put("d", b"x" * 29, NOW, LATER)

    assert [store.cached(key, NOW) is not None for key in "abcd"] == [False, False, False, True]


def test_value_larger_than_the_cache() -> None:
    """It is not kept, what it replaces is gone, and others need not make room for it."""
    store = MemoryStore(max_bytes=30)
    store.put("a", b"old", NOW, LATER)
    store.put("b", b"other", NOW, LATER)
    store.put("a", b"x" * 30, NOW, LATER)

    assert (store.cached("a", NOW), store.cached("b", NOW)) == (None, b"other")


def test_expired_value_gives_its_room_back() -> None:
    """Once it was asked for in vain, it takes no room from others."""
    store = MemoryStore(max_bytes=30)
    store.put("old", b"x" * 17, NOW, NOW + 1)
    store.put("a", b"x" * 9, NOW, LATER)
    assert store.cached("old", NOW + 1) is None
    store.put("b", b"x" * 19, NOW, LATER)

    assert (store.cached("a", NOW), store.cached("b", NOW)) == (b"x" * 9, b"x" * 19)


def test_what_is_cached_is_bytes() -> None:
    """A buffer that is written over afterwards does not change what is kept."""
    store, buffer = MemoryStore(), bytearray(b"before")
    store.put("k", buffer, NOW, LATER)  # type: ignore[arg-type] -- a buffer where bytes are promised
    buffer[:] = b"after!"

    assert store.cached("k", NOW) == b"before"


def test_expired_holds_are_forgotten() -> None:
    """A store that runs for long does not keep the names of what was never settled."""
    store = MemoryStore()
    for number in range(5000):
        store.reserve(str(number), [Charge("a", "w", 1)], float(number), number + 10.0)

    assert len(store._ledger._holds) < 2100


@pytest.mark.parametrize("options", [{"max_bytes": 0}, {"max_bytes": None}, {"max_rows": -1}])
def test_options_are_checked(options: dict[str, Any]) -> None:
    """A bound of nothing is an error that names the argument."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        MemoryStore(**options)


def test_repr_shows_nothing() -> None:
    """What is kept is nobody's business."""
    store = MemoryStore()
    store.put("secret-canary", b"", NOW, LATER)

    assert repr(store) == "MemoryStore()"


FORKING = """
import os, threading
from respan_openai.stores.memory import MemoryStore
from respan_openai.stores.protocol import Charge
store = MemoryStore()
gone = MemoryStore()
del gone
writing = True
def write():
    number = 0
    while writing:
        number += 1
        store.put("k", b"v" * 1000, 1000.0, 1600.0)
        store.reserve(f"thread-{number}", [Charge("thread", "w", 1)], 1000.0, 1600.0)
thread = threading.Thread(target=write)
thread.start()
for child in range(20):
    pid = os.fork()
    if pid == 0:
        store.reserve("child", [Charge("a", "w", 1)], 1000.0, 1600.0)
        os._exit(store.taken("a", "w"))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
writing = False
thread.join()
print(store.taken("a", "w"))
"""


def test_r10_fork_while_a_thread_is_inside(python: Callable[..., Any]) -> None:
    """R10: a child never inherits a lock that is held; it has a copy of its own."""
    assert python(FORKING).communicate(timeout=60)[0] == "0\n"
