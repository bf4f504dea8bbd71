"""How long to wait before the next attempt at the same target."""

from __future__ import annotations


def backoff(draw: float, retry: int, *, base: float, cap: float) -> float:
    """Seconds to wait before repeat number *retry*, which starts at 1.

    Full jitter: *draw*, uniform between 0 and 1, of the smaller of *cap* and *base* doubled with each repeat.
    Calls that failed together come back spread over the whole span, and none is kept from coming at once
    (Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    # A float overflows beyond 2.0**1023; long before that the cap holds.
    return draw * min(cap, base * 2.0 ** min(retry - 1, 1000))
