"""For tests of code that uses this package: recorded calls, and retries that do not wait.

With pytest the plugin ``respan_cassette`` does what :func:`cassette` does without it. Names are loaded when they are
first used: a test run that makes no calls imports nothing of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any


if TYPE_CHECKING:
    from .._clock import no_waiting as no_waiting
    from ._block import cassette as cassette
    from ._cassette import Cassette as Cassette
    from .errors import CassetteError as CassetteError
    from .errors import CassetteFileError as CassetteFileError
    from .mismatch import CassetteMismatch as CassetteMismatch
    from .options import Options as Options
    from .views import CallView as CallView


__all__ = [
    "CallView",
    "Cassette",
    "CassetteError",
    "CassetteFileError",
    "CassetteMismatch",
    "Options",
    "cassette",
    "no_waiting",
]

_HOMES = {
    "CallView": ".views",
    "Cassette": "._cassette",
    "CassetteError": ".errors",
    "CassetteFileError": ".errors",
    "CassetteMismatch": ".mismatch",
    "Options": ".options",
    "cassette": "._block",
    "no_waiting": ".._clock",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
