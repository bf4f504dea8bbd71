"""``health()``: what this process knows about the targets it has called."""

from __future__ import annotations

from ._clock import now
from ._core.health import all_health
from ._core.snapshot import TargetHealth


__all__ = ["TargetHealth", "health"]


def health() -> tuple[TargetHealth, ...]:
    """One entry for each pair of origin and credential that was called, by name and origin.

    All clients of the process share them: a breaker that one client's failures opened is open for the others.
    Nothing is sent to find out. Gateways in this process (``LocalGateway``) are not among them.
    """
    return all_health(now())
