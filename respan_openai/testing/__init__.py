"""For tests of code that uses this package."""

from __future__ import annotations

from .._clock import no_waiting


__all__ = ["no_waiting"]
