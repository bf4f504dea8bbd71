"""API keys for clients that will only be answered from recordings: they cannot be sent, because nothing can be."""

from __future__ import annotations

import os
from typing import Final


__all__ = ["Keys"]


#: Different from each other: a client whose key is the gateway's own is treated as one that has no provider.
_STAND_INS: Final = {
    "OPENAI_API_KEY": "openai-key-for-replay",
    "RESPAN_API_KEY": "respan-key-for-replay",
}


class Keys:
    """Stand-ins in the environment, for variables that are not set."""

    def __init__(self) -> None:
        self._lent: set[str] = set()

    def lend(self) -> None:
        """Set what is not set, so that a client can be made."""
        for name, key in _STAND_INS.items():
            if not os.environ.get(name):
                os.environ[name] = key
                self._lent.add(name)

    def take_back(self) -> None:
        """Remove what was lent and is still there."""
        for name in self._lent:
            if os.environ.get(name) == _STAND_INS[name]:
                del os.environ[name]
        self._lent.clear()
