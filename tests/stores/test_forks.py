"""What happens to stores around a fork, seen from the process that forks and from its child."""

from __future__ import annotations

import os
import warnings
from typing import Any

from respan_openai.stores import _forks


class Watched:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pause(self) -> None:
        self.told.append("pause")

    def resume(self, *, child: bool) -> None:
        self.told.append("resume in child" if child else "resume")


def forked(expected: Any) -> int:
    """Fork; 0 if *expected* holds in the child."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that other tests may have left threads behind
        pid = os.fork()
    if pid == 0:
        os._exit(0 if expected() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_pause_and_resume() -> None:
    """R10: each store is paused before a fork and resumed after it, in both processes, every time."""
    watched = Watched()
    _forks.watch(watched)
    _forks.watch(watched)

    for _ in range(2):
        assert forked(lambda: watched.told[-2:] == ["pause", "resume in child"]) == 0
    assert watched.told == ["pause", "resume"] * 2


def test_store_that_is_gone() -> None:
    """R10: being watched does not keep a store alive, and one that is gone is not paused."""
    watched = Watched()
    told = watched.told
    _forks.watch(watched)
    del watched

    assert forked(lambda: told == []) == 0
    assert told == []
