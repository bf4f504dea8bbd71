"""Keeps a fork from copying a store while one of its threads is in the middle of something.

The child has one thread: a lock that another one held would stay locked in it for ever, and a connection that
both processes used would mix up their transactions (sqlite.org/howtocorrupt.html, section 2.6).
"""

from __future__ import annotations

import os
from functools import cache
from threading import Lock
from typing import Protocol
from weakref import WeakSet


__all__ = ["Forkable", "watch"]


class Forkable(Protocol):
    """Something that is to be at rest while the process forks."""

    def pause(self) -> None:
        """Wait until no thread is inside, and let none in."""
        ...

    def resume(self, *, child: bool) -> None:
        """Let threads in again, in the process that forked or in its *child*."""
        ...


_watched: WeakSet[Forkable] = WeakSet()
_paused: list[Forkable] = []
_forking = Lock()


def watch(store: Forkable) -> None:
    """Pause *store* around each fork from now on, for as long as it lives, where there is such a thing."""
    _register()
    _watched.add(store)


@cache
def _register() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_after_in_child)


def _before() -> None:
    _forking.acquire()
    for store in list(_watched):
        store.pause()
        _paused.append(store)


def _after(*, child: bool = False) -> None:
    while _paused:
        _paused.pop().resume(child=child)
    _forking.release()


def _after_in_child() -> None:
    _after(child=True)
