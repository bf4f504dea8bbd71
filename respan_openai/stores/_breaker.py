"""Leaves a server alone that has not answered, so that calls do not wait for it one after the other."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING


if TYPE_CHECKING:
    from collections.abc import Callable


__all__ = ["Breaker"]


class Breaker:
    """Refuses after *failures* in a row, for *rest* seconds; then it lets one through to see.

    Args:
        clock: Seconds that only grow, ``time.monotonic`` for one.
        failures: In a row, from all threads together.
        rest: Seconds, from the newest failure on.
    """

    def __init__(self, clock: Callable[[], float], *, failures: int = 3, rest: float = 5.0) -> None:
        self._clock, self._failures, self._rest = clock, failures, rest
        self._failed = 0
        self._refusing_until = 0.0
        self._lock = Lock()

    def admits(self) -> bool:
        """Whether to ask now. After *rest* one caller is told so, and the next one after another *rest*."""
        if self._failed < self._failures:
            return True
        with self._lock:
            now = self._clock()
            if now < self._refusing_until:
                return False
            # The others are refused until it is known what becomes of this one.
            self._refusing_until = now + self._rest
            return True

    def succeeded(self) -> None:
        """It answered, whatever it said."""
        self._failed = 0

    def failed(self) -> None:
        """It did not answer, or not in time."""
        with self._lock:
            self._failed += 1
            self._refusing_until = self._clock() + self._rest
